"""MSMT17 (Wei et al., CVPR 2018): 4,101 people, 15 cameras. V2 is V1 with the faces masked.

The lists count people from 0, in training and in test anew; here from 1, for 0 means distractor.
"""

from pathlib import Path

from partreid.data.folders import Counts, is_number, require_files
from partreid.errors import DataError
from partreid.types import Benchmark, Sample
from partreid.utils.files import read_text
from partreid.utils.text import brief

LAYOUT = """\
MSMT17_V1/                      or MSMT17_V2/ with mask_train_v2 and mask_test_v2
  train/0000/0000_000_01_0303morning_0008_0.jpg
  test/0000/0000_000_02_0303morning_0014_0.jpg
  list_train.txt  list_val.txt  list_query.txt  list_gallery.txt"""

COUNTS: dict[str, Counts] = {
    "train": (1041, 32621),
    "query": (3060, 11659),
    "gallery": (3060, 82161),
}
COUNTS_WITHOUT_VAL: dict[str, Counts] = {**COUNTS, "train": (None, 30248)}

FOLDERS = (("train", "test"), ("mask_train_v2", "mask_test_v2"))  # V1, V2
RELEASES = ("MSMT17_V1", "MSMT17_V2")


def load(root: Path, val: bool = True) -> Benchmark:
    """Read the lists of either release. val: train on list_val too, as most papers do. DataError
    if images lack.
    """
    base = release(root)
    train_folder, test_folder = next(
        ((a, b) for a, b in FOLDERS if (base / a).is_dir()), FOLDERS[0]
    )
    for folder in (train_folder, test_folder):
        if not (base / folder).is_dir():
            raise DataError(
                f"there is no folder {base / folder}; give MSMT17's root with --data, the folder "
                f"that holds list_train.txt and '{folder}'"
            )
    train = _listed(base, "list_train.txt", train_folder)
    if val:
        train += _listed(base, "list_val.txt", train_folder)
    query = _listed(base, "list_query.txt", test_folder)
    gallery = _listed(base, "list_gallery.txt", test_folder)
    return Benchmark(
        "msmt17" if val else "msmt17_without_val", root, train, {"query": query}, gallery
    )


def release(root: Path) -> Path:
    """The folder with the lists: ``root`` or the one release below it."""
    if (root / "list_train.txt").is_file():
        return root
    folders = [root / name for name in RELEASES if (root / name).is_dir()]
    if len(folders) > 1:
        raise DataError(
            f"{root} holds both releases of MSMT17, and their scores do not compare; give one of "
            f"{', '.join(map(str, folders))}"
        )
    return folders[0] if folders else root


def _listed(base: Path, name: str, folder: str) -> tuple[Sample, ...]:
    """Lines of a list: path below ``folder``, identity from 0; the name's third field is the
    camera, from 1.
    """
    if not (base / name).is_file():
        raise DataError(
            f"there is no {name} in {base}; put the lists of the release beside its images"
        )
    samples = []
    for number, line in enumerate(read_text(base / name).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        parts = fields[0].rsplit("/", 1)[-1].split("_")
        if (
            len(fields) != 2
            or not is_number(fields[1])
            or len(parts) < 3
            or not is_number(parts[2])
            or fields[0].startswith("/")
            or ".." in fields[0].split("/")
        ):
            raise DataError(
                f"line {number} of {base / name} is '{brief(line.strip())}', not like "
                "0000/0000_000_01_0303morning_0008_0.jpg 0; fetch the list again"
            )
        samples.append(Sample(base / folder / fields[0], int(fields[1]) + 1, int(parts[2])))
    if not samples:
        raise DataError(f"{base / name} names no images; fetch the list again")
    require_files([s.path for s in samples], name)
    return tuple(samples)
