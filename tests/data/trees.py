"""Small trees in the layouts of the data sets."""

from pathlib import Path
from zlib import crc32

from PIL import Image


def touch(folder: Path, *names: str) -> Path:
    """Empty files, with the folders they lie in."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def pictures(folder: Path, *names: str) -> Path:
    """The same with images of 4 x 8 pixels, each in a color of its own."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        red, green, blue = crc32(name.encode()).to_bytes(4, "big")[:3]
        Image.new("RGB", (4, 8), (red, green, blue)).save(folder / name)
    return folder


MARKET = (
    "bounding_box_train/0002_c1s1_000001_00.jpg",
    "bounding_box_train/0002_c2s1_000001_00.jpg",
    "bounding_box_train/0007_c1s1_000001_00.jpg",
    "query/0003_c1s1_000001_00.jpg",
    "query/0005_c2s1_000001_00.jpg",
    "bounding_box_test/0003_c2s1_000001_00.jpg",
    "bounding_box_test/0005_c1s1_000001_00.jpg",
    "bounding_box_test/0000_c3s1_000001_00.jpg",
    "bounding_box_test/-1_c2s1_000001_00.jpg",
)
DUKE = (
    "bounding_box_train/0001_c2_f0046182.jpg",
    "bounding_box_train/0004_c1_f0046182.jpg",
    "query/0005_c2_f0046985.jpg",
    "bounding_box_test/0005_c1_f0044158.jpg",
    "bounding_box_test/0006_c1_f0044158.jpg",
)
MSMT_LISTS = {
    "list_train.txt": "0000/0000_000_01_0303morning_0008_0.jpg "
    "0\n0001/0001_000_15_0303noon_0008_0.jpg 1\n",
    "list_val.txt": "0000/0000_001_02_0303morning_0009_0.jpg 0\n",
    "list_query.txt": "0000/0000_000_03_0303morning_0008_0.jpg 0\n",
    "list_gallery.txt": "0000/0000_001_04_0303morning_0008_0.jpg "
    "0\n0001/0001_000_04_0303noon_0008_0.jpg 1\n",
}


def msmt17(root: Path, train: str = "train", test: str = "test") -> Path:
    for name, text in MSMT_LISTS.items():
        folder = train if name in ("list_train.txt", "list_val.txt") else test
        touch(root / folder, *(line.split()[0] for line in text.splitlines()))
        (root / name).write_text(text)
    return root
