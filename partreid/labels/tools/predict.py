"""Labels for crops that have none, by a model: in batches, a file for each crop, and on with
what is left next time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from partreid.labels.keypoints import SEEN
from partreid.labels.target import only_target
from partreid.labels.tools.base import (
    Progress,
    Written,
    claim,
    crops,
    in_order,
    place_of,
    refuse_shared,
    some,
)
from partreid.labels.tools.importing import HOME, encode_classes, encode_people
from partreid.labels.tools.models import Parser, Pose
from partreid.recipes.base import Spec
from partreid.utils.arguments import door
from partreid.utils.files import real, write_atomically
from partreid.utils.images import read_image
from partreid.utils.lock import alone_in

Target = Literal["center", "all"]


@door
def make(
    model: Parser | Pose,
    folder: Path,
    out: Path,
    name: str = "",
    target: Target = "center",
    batch: int = 16,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Written:
    """A label for every crop below ``folder``: ``out/<folders of the crop>/<stem>`` as .png of
    classes or as .json.

    Crops that have a label there are passed over unless ``overwrite``. name: of the model, kept in
    ``out/origin.json`` so that labels of two models are never mixed. target: whose foreground a
    parser's labels keep, that of the person in the center (see
    :func:`partreid.labels.target.only_target`) or everybody's; keypoints are always of the one
    person that the model sees in the whole crop. Crops in which nobody is found get no label.
    DataError names the first crop that cannot be read; those before it are done.
    """
    with alone_in(out):
        return _make(model, folder, out, name, target, batch, overwrite, progress)


def _make(
    model: Parser | Pose,
    folder: Path,
    out: Path,
    name: str,
    target: Target,
    batch: int,
    overwrite: bool,
    progress: Progress | None,
) -> Written:
    of = crops(folder)
    parser = isinstance(model, Parser)
    claim(
        out,
        {
            "kind": "parsing" if isinstance(model, Parser) else "keypoints",
            "from": name,
            "parser": model.source if isinstance(model, Parser) else None,
            "target": target if parser else None,
        },
        overwrite,
    )
    suffix = ".png" if parser else ".json"
    every = [sample.path for sample in of.train]
    targets = [out / place_of(folder, image) / f"{image.stem}{suffix}" for image in every]
    refuse_shared(targets, every)
    left = [i for i, path in enumerate(targets) if overwrite or not path.is_file()]
    encode: Callable[[Any], bytes | None] = (
        _people if isinstance(model, Pose) else (lambda labels: _classes(labels, target))
    )
    nobody: list[str] = []
    ahead = in_order(lambda i: read_image(every[left[i]]), len(left))
    for start in range(0, len(left), batch):
        here = left[start : start + batch]
        for i, output in zip(here, model([next(ahead) for _ in here]), strict=True):
            data = encode(output)
            if data is None:
                nobody.append(every[i].name)
            else:
                write_atomically(targets[i], data)
        if progress:
            progress(len(every) - len(left) + start + len(here), len(every))
    made = len(every) - len(nobody)
    text = (
        f"Labels for {made:,} of {len(every):,} crops ({100 * made / len(every):.1f} %) in {out}."
    )
    text += f" Nobody was found in {some(nobody)}." if nobody else ""
    kind = "parsing" if parser else "keypoints"
    args: dict[str, Any] = {"parts": "eight"}
    if isinstance(model, Parser):
        args = {"source": model.source, "parts": "five"}
    args |= {} if out.name == HOME[kind] else {"folder": str(real(out))}
    return Written(text, Spec(kind, **args, **({"missing": "unknown"} if nobody else {})))


def _classes(labels: Any, target: Target) -> bytes | None:
    kept = only_target(labels) if target == "center" else labels
    return encode_classes(kept) if kept.any() else None


def _people(person: Any) -> bytes | None:
    return encode_people([person]) if np.any(person.keypoints[:, 2] > SEEN) else None
