"""An array file is what its header says, or a sentence; nothing is unpacked beyond its limit."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from partreid.errors import DataError
from partreid.utils.arrays import read_array, read_arrays


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    return (
        b"\x93NUMPY"
        + version
        + len(text).to_bytes(2 if version[0] == 1 else 4, "little")
        + text
        + data
    )


HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    "data, why",
    [
        (npy(HEADER.format("<f4", (10**12,)), b"\0" * 64), "claims 4,000,000,000,000 bytes"),
        (npy(HEADER.format("<f4", (2**62, 2**62)), b"\0" * 64), "claims"),
        (npy(HEADER.format("<f4", (0, 3))), "is empty"),
        (npy(HEADER.format("<f4", "(-1, 3)"), b"\0" * 64), "claims the shape|NumPy array"),
        (npy(HEADER.format("|O", (3,)), b"cos\nsystem\n"), "not numbers"),
        (npy(HEADER.format("<U9", (3,)), b"\0" * 200), "not numbers"),
        (npy("(" * 3000 + ")" * 3000), "NumPy array"),
        (npy("{'descr': '<f4'}"), "NumPy array"),
        (npy("__import__('os')"), "NumPy array"),
        (npy(HEADER.format("<f4", (3,)), b"\0" * 11), "cut off or damaged"),
        (npy(HEADER.format("<f4", (3,)), b"\0" * 12, b"\x07\x00"), "NumPy"),
        (b"", "NumPy array"),
        (b"PK\3\4", "npz archive"),
    ],
)
def test_an_array_is_what_its_header_says(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    with pytest.raises(DataError, match=why):
        read_array(path)
    if not data.startswith(b"PK"):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("a.npy", data)
        with pytest.raises(DataError, match=why):
            read_arrays(tmp_path / "a.npz")


def test_arrays_come_back(tmp_path: Path) -> None:
    for array in (
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.asfortranarray(np.eye(3)),
        np.array(2.5),
        np.ones((2, 2), ">f4"),
        np.ones(3, bool),
    ):
        np.save(tmp_path / "a.npy", array)
        np.savez_compressed(tmp_path / "a.npz", first=array, second=array)
        loaded = read_array(tmp_path / "a.npy")
        assert (
            loaded.dtype == array.dtype and loaded.shape == array.shape and (loaded == array).all()
        )
        assert loaded.flags.writeable
        assert all((other == array).all() for other in read_arrays(tmp_path / "a.npz").values())


def test_an_archive_is_not_unpacked_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy(HEADER.format("|u1", (2**24,)), b"\0" * 2**24))
    assert path.stat().st_size < 2**16
    with pytest.raises(DataError, match="would unpack to 16 MiB"):
        read_arrays(path, limit=2**23)
    whole = path.read_bytes()
    for data in (
        whole[: len(whole) // 2],
        b"PK\5\6" + b"\0" * 18 + b"x",
        b"",
        whole.replace(b"\x08\x00", b"\x63\x00"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError):
            read_arrays(path)
    np.save(tmp_path / "b.npy", np.eye(2))
    (tmp_path / "b.npy").rename(path)
    with pytest.raises(DataError, match="under the name of an .npz"):
        read_arrays(path)
