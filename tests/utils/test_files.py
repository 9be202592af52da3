"""Files are bounded before they are read, and written whole or not at all."""

import json
import os
import stat
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

from partreid.errors import DataError
from partreid.utils.arrays import read_array, read_arrays
from partreid.utils.files import (
    parse_json,
    read_bytes,
    read_json,
    read_text,
    real,
    regular,
    writable,
    write_atomically,
)


def test_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, what in (
        ("pipe", "a named pipe"),
        ("device", "a device"),
        (".", "a folder"),
        ("none", "there is no"),
        ("loop", "cannot be reached"),
        ("nul\0", "cannot be reached"),
        ("n" * 300, "cannot be reached"),
    ):
        for reader in (
            regular,
            read_text,
            read_json,
            read_array,
            read_arrays,
            lambda p: read_bytes(p, 9),
        ):
            with pytest.raises(DataError, match=what):
                reader(tmp_path / name)


def test_a_limit_takes_no_room(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"small")
    tracemalloc.start()
    try:
        assert read_bytes(tmp_path / "small", 2**30) == b"small"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not Path("/proc/version").is_file(), reason="a file of Linux's kernel")
def test_a_file_that_says_it_is_empty_is_read_whole() -> None:
    assert Path("/proc/version").stat().st_size == 0
    assert read_bytes("/proc/version", 2**16) == Path("/proc/version").read_bytes()
    with pytest.raises(DataError, match="more than"):
        read_bytes("/proc/version", 9)


def test_a_link_to_itself_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("loop", "loop/below"):
        with pytest.raises(DataError, match="leads back to itself"):
            real(tmp_path / name)
    assert real(tmp_path / "none").name == "none"
    (tmp_path / "one").symlink_to(tmp_path)
    assert real(tmp_path / "one") == real(tmp_path)


def test_text_of_any_marked_encoding(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text("Zoë/人.jpg\n", encoding=encoding)
        assert read_text(path) == "Zoë/人.jpg\n"
    path.write_bytes("one\nZoë\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"not UTF-8 \(byte 0xeb in line 2\)"):
        read_text(path)
    path.write_bytes("one".encode("utf-16-le"))
    with pytest.raises(DataError, match="zero bytes"):
        read_text(path)
    with pytest.raises(DataError, match="more than 0 MiB"):
        read_text(path, limit=3)


@pytest.mark.parametrize(
    "text, why",
    [
        ("[" * 100_000 + "]" * 100_000, "nests more than 64"),
        ('{"a":' * 100 + "1" + "}" * 100, "nests more than 64"),
        ("[1e400]", "not finite"),
        ("[-1e400]", "not finite"),
        ("[NaN]", "not finite"),
        ("[Infinity]", "not finite"),
        ("[1" + "0" * 400 + "]", "401 digits"),
        ("[1" + "0" * 5000 + "]", "digits"),
        ("{", "line 1"),
        ("", "line 1"),
        (b'"\xff"', "UTF-8"),
        ("[1] x", "line 1"),
    ],
)
def test_json_is_bounded(text: str | bytes, why: str) -> None:
    with pytest.raises(DataError, match=f"^here.*{why}"):
        parse_json(text, "here")


def test_brackets_in_strings_do_not_nest() -> None:
    value = {"a": ["[" * 1000, '\\"[[' * 50], "b": [[1, -2.5, True, None]] * 100}
    assert parse_json(json.dumps(value), "here") == value


def test_devices_and_links_stay_what_they_are(tmp_path: Path) -> None:
    write_atomically(Path("/dev/null"), b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    link, target = tmp_path / "link", tmp_path / "there" / "target"
    link.symlink_to(target)
    for data in (b"one", b"two"):  # where the link points to nothing too
        write_atomically(link, data)
        assert link.is_symlink() and target.read_bytes() == data
    assert [p.name for p in target.parent.iterdir()] == ["target"]
    with pytest.raises(DataError, match="is a folder"):
        write_atomically(tmp_path, b"x")


def test_a_pipe_is_written_to_if_somebody_reads(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="cannot be written"):
        write_atomically(pipe, b"x")
    contents: list[bytes] = []
    reader = threading.Thread(target=lambda: contents.append(pipe.read_bytes()))
    reader.start()
    for _ in range(200):
        try:
            write_atomically(pipe, b"x" * 100_000)
            break
        except DataError:
            threading.Event().wait(0.05)
    reader.join(10)
    assert contents == [b"x" * 100_000] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_permissions_of_a_replaced_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    write_atomically(path, b"1")
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o640)
    write_atomically(path, b"2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640 and path.read_bytes() == b"2"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """A process that dies while it writes; the next one that writes the same file cleans up, a
    living one's stays.
    """
    code = (
        "import os, sys; from pathlib import Path; import partreid.utils.files as f\n"
        "os.fsync = lambda n: os.kill(os.getpid(), 9)\n"
        "f.write_atomically(Path(sys.argv[1]), b'half')\n"
    )
    path = tmp_path / "file"
    assert subprocess.run([sys.executable, "-c", code, path]).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".part")
    alive = tmp_path / left.name.replace(left.name.split(".")[3], str(os.getpid()))
    alive.write_bytes(b"")
    write_atomically(path, b"whole")
    assert {p.name for p in tmp_path.iterdir()} == {
        "file",
        alive.name,
    } and path.read_bytes() == b"whole"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"before")
    code = (
        "import resource, signal, sys; from pathlib import Path; import partreid.utils.files as f\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, "
        "(1000, 1000))\n"
        "f.write_atomically(Path(sys.argv[1]), b'x' * 5000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 1 and "DataError: the disk is full" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["file"] and path.read_bytes() == b"before"


def test_targets_are_looked_at_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    writable(
        tmp_path / "file",
        None,
        tmp_path / "new" / "deep" / "b",
        Path("/dev/null"),
        Path("/dev/null"),
    )
    assert not (tmp_path / "new").exists()
    for paths, why in (
        ((tmp_path / "file", tmp_path / "link"), "two outputs"),
        ((tmp_path / "a", tmp_path / "x" / ".." / "a"), "two outputs"),
        ((tmp_path,), "is a folder"),
        ((tmp_path / "file" / "below",), "is not a folder"),
        ((tmp_path / ("n" * 300),), "written"),
        ((Path("/proc/none/x"),), "written"),
        ((tmp_path / "nul\0",), "written"),
    ):
        with pytest.raises(DataError, match=why):
            writable(*paths)


def test_limits_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    path.write_text(json.dumps(["x" * 3_000_000]))
    with pytest.raises(DataError, match=r"long.json has more than 1 MiB"):
        read_json(path, limit=2**20)
    assert read_bytes(path, 4_000_000) == path.read_bytes()
