"""What do shards take? Crops a second, CPU milliseconds and bytes a crop of ``partreid embed`` on
Parquet shards, in one process, under torchrun and on Ray; and whether they give the same.

    python -m benchmarks.bulk [--recipe NAME | --run RUN] [--crops 1000] [--shards 4] [--batch 64]
        [--processes 1 2] [--ray 2] [--bad 0] [--world DIR] [--json FILE]
    python -m benchmarks.bulk --page results/bulk.json

The model is the recipe's, never trained: rates do not depend on what is learned, but its vectors
are alike and take less room than those of a trained run. Crops are those of
the tiny synthetic benchmark, or of the one in DIR, in turn, as JPEG. Each engine runs ``python -m
partreid embed`` as a user does, one thread a process, and then once more when all is finished: what
that takes is the start, which rates and CPU milliseconds of a crop leave out. Reading alone is
measured beside: from the shard to the pixels that the network takes.

With --json the result is added to a file; --page prints the tables of docs/scale.md from it.

With --bad so many of the pictures are damaged, in five ways in turn; the lists of bad images must
name these and no others.
"""

import argparse
import contextlib
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyarrow
import torch
from pyarrow import parquet

from benchmarks.about import about
from partreid import build
from partreid.bulk.shards import heads, shards_of
from partreid.bulk.worker import _rows
from partreid.data.synthetic import PRESETS, write
from partreid.errors import DataError
from partreid.recipes import find
from partreid.recipes.base import to_plain
from partreid.train.bundle import read_model
from partreid.train.checkpoint import save_tensors
from partreid.types import PartScheme
from partreid.utils.looks import LOOKS

RECIPE = "bpbreid/table1/resnet50/market1501"
PEOPLE, PARTS = 10, ("head", "torso", "arms", "legs", "feet")


def model(name: str, folder: Path) -> Path:
    """A run folder of a recipe, never trained."""
    recipe = find(name)
    parts = PartScheme(PARTS) if "parts" in recipe.cues else None
    torch.manual_seed(0)
    bare = replace(recipe, backbone=build.unfetched(recipe.backbone))
    method = build.method(bare, PEOPLE, parts)
    meta = {
        "recipe": to_plain(recipe),
        "identities": PEOPLE,
        "steps": 0,
        "parts": {"names": parts.names, "flip": parts.flip} if parts else None,
    }
    folder.mkdir()
    save_tensors(folder / "model.safetensors", method.strip_for_inference().state_dict(), meta)
    return folder


def bomb() -> bytes:
    """A PNG of a few bytes that claims 100,000 x 100,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk


def damaged(data: bytes, how: int) -> bytes | None:
    """Half a file, nothing, no picture, one that claims to be vast, or a row without one."""
    return (data[: len(data) // 2], b"", b"no picture at all", bomb(), None)[how % 5]


def write_shards(
    folder: Path, pictures: list[bytes], crops: int, shards: int, bad: int
) -> set[int]:
    """Shards of so many crops; the ids of the damaged ones."""
    folder.mkdir()
    every = crops // bad if bad else 0
    ruined = set(range(0, crops, every)[:bad]) if bad else set()
    order = {i: place for place, i in enumerate(sorted(ruined))}
    each = -(-crops // shards)
    for number in range(shards):
        ids = range(number * each, min(crops, (number + 1) * each))
        images = [
            damaged(pictures[i % len(pictures)], order[i])
            if i in ruined
            else pictures[i % len(pictures)]
            for i in ids
        ]
        table = {"id": list(ids), "image": images, "camera": [1 + i % 6 for i in ids]}
        parquet.write_table(pyarrow.table(table), folder / f"{number:04}.parquet")
    return ruined


def embed(engine: list[str], run: Path, shards: Path, out: Path, rest: list[str]) -> dict[str, Any]:
    """Seconds, CPU seconds and exit status of one command."""
    words = [*engine, "-m", "partreid", "embed", run, shards, "--out", out, "--device", "cpu"]
    began, before = time.perf_counter(), _cpu()
    ended = subprocess.run(
        [*map(str, words), *rest],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    numbers = {
        "seconds": time.perf_counter() - began,
        "cpu": _cpu() - before,
        "status": ended.returncode,
        "told": [line for line in ended.stderr.splitlines() if " crops in " in line],
    }
    if ended.returncode not in (0, 1, 3) or not numbers["told"]:
        raise SystemExit(f"{' '.join(map(str, words))}\n{ended.stderr[-3000:]}")
    return numbers


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def reading(shards: Path, size: tuple[int, int]) -> float:
    """CPU milliseconds that a crop takes from the shard to the network's pixels and its looks."""
    crops, began = 0, _cpu() + time.process_time()
    for head in heads(shards_of(shards)):
        for _, sources in _rows(head):
            crops += len(sources)
            for source in sources:
                with contextlib.suppress(DataError):
                    source.read(size)
    return 1e3 * (_cpu() + time.process_time() - began) / crops


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def measure(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    world = arguments.world or write(PRESETS["tiny"], scratch / "world", workers=1)
    samples = build.benchmark("synthetic-tiny", world)
    paths = [s.path for s in (*samples.gallery, *samples.train)]
    pictures = [Path(path).read_bytes() for path in paths]
    run, shards = arguments.run or model(arguments.recipe, scratch / "run"), scratch / "in"
    recipe = read_model(run / "model.safetensors")[0]
    ruined = write_shards(shards, pictures, arguments.crops, arguments.shards, arguments.bad)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    read = reading(shards, recipe.size)
    print(f"reading: CPU {read:.2f} ms/crop")
    engines: dict[str, tuple[list[str], list[str]]] = {}
    for n in arguments.processes:
        name = "one process" if n == 1 else f"torchrun x {n}"
        engines[name] = ([sys.executable, *([] if n == 1 else [*torchrun, str(n)])], [])
    if arguments.ray:
        rest = ["--engine", "ray", "--actors", str(arguments.ray)]
        engines[f"ray x {arguments.ray}"] = ([sys.executable], rest)
    rows: list[dict[str, Any]] = []
    first: dict[str, bytes] = {}
    for name, (engine, rest) in engines.items():
        out = scratch / name.replace(" ", "-")
        rest = [*rest, "--batch", str(arguments.batch)]
        work, again = (embed(engine, run, shards, out, rest) for _ in range(2))
        good, written = arguments.crops - len(ruined), files(out)
        first = first or written
        listed = {
            i for p in (out / "bad").glob("*") for i in parquet.read_table(p)["id"].to_pylist()
        }
        ours = not name.startswith("ray")  # Ray's workers are not this process's children
        row = {
            "engine": name,
            "crops": good,
            "bad": len(ruined),
            "listed": sorted(listed) == sorted(ruined),
            "status": work["status"],
            "told": work["told"][0].split(" -> ")[0],
            "seconds": round(work["seconds"], 1),
            "start_seconds": round(again["seconds"], 1),
            "crops_per_second": round(arguments.crops / (work["seconds"] - again["seconds"]), 2),
            "cpu_ms_per_crop": round(1e3 * (work["cpu"] - again["cpu"]) / arguments.crops, 1)
            if ours
            else None,
            "bytes_per_crop": round(
                sum(len(data) for n, data in written.items() if "bad" not in n) / good, 1
            ),
            "same_bytes": written == first,
        }
        rows.append(row)
        print(
            f"{name:14} {row['crops_per_second']:8.2f} crops/s  CPU {row['cpu_ms_per_crop']} "
            f"ms/crop  {row['bytes_per_crop']:.0f} bytes/crop  start {row['start_seconds']:.1f} s  "
            f"same bytes: {row['same_bytes']}  status {row['status']}: {row['told']}",
            flush=True,
        )
    load = [round(x, 1) for x in os.getloadavg()]
    example = parquet.read_schema(next((scratch / "one-process").glob("*.parquet")))
    note = json.loads(example.metadata[b"partreid"])
    return {
        "recipe": recipe.name,
        "trained": arguments.run is not None,
        "size": list(recipe.size),
        "embeddings": [len(note["names"]), note["width"]],
        "looks": len(LOOKS),
        "bytes_in_per_crop": round(sum(map(len, pictures)) / len(pictures), 1),
        "read_ms_per_crop": round(read, 2),
        "batch": arguments.batch,
        "shards": arguments.shards,
        "load": load,  # processes that wanted a core meanwhile, on how many cores
        "cores": os.cpu_count(),
        "rows": rows,
    }


CROPS, SHARD = 10**8, 20_000
INT8 = 16.0  # crops a second and core, see docs/scale.md
GPU = 1.0  # ms a crop, assumed


def page(entries: list[dict[str, Any]]) -> list[str]:
    """The tables of docs/scale.md: what was measured, and what it comes to."""
    lines = [
        "| recipe, size | crops | engine | crops/s | CPU ms a crop | bytes a crop, of as many "
        "without compression | same bytes | exit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries:
        raw = _raw(entry)
        trained = ", trained" if entry["trained"] else ""
        for row in entry["rows"]:
            cpu = "-" if row["cpu_ms_per_crop"] is None else f"{row['cpu_ms_per_crop']:.1f}"
            bad = f", {row['bad']} bad" if row["bad"] else ""
            lines.append(
                f"| {entry['recipe']}, {entry['size'][0]} x {entry['size'][1]}{trained} "
                f"| {row['crops'] + row['bad']:,}{bad} | {row['engine']} "
                f"| {row['crops_per_second']:.1f} | {cpu} "
                f"| {row['bytes_per_crop']:,.0f} of {raw:,} "
                f"| {'yes' if row['same_bytes'] else 'no'} | {row['status']} |"
            )
    entry, row = entries[0], entries[0]["rows"][0]
    cpu, read, (m, d) = row["cpu_ms_per_crop"], entry["read_ms_per_crop"], entry["embeddings"]
    looked = f" + {entry['looks']} x 4" if "looks" in entry else ""
    one, hour = _raw(entry), 3.6e6

    def gigabytes(size: float) -> str:
        return f"{CROPS * size / 1e9:,.0f} GB"

    lines += [
        "",
        "| of 10^8 crops | arithmetic | result |",
        "|---|---|---|",
        f"| shards | 10^8 / {SHARD:,} | {CROPS // SHARD:,} |",
        f"| bytes, at most | 10^8 x ({m} x {d} x 2 + {m} x 4{looked}) | {gigabytes(one)}, "
        f"{SHARD * one / 1e6:,.0f} MB a shard |",
        f"| core-hours, PyTorch | 10^8 x {cpu:.1f} ms / 3.6 x 10^6 | {CROPS * cpu / hour:,.0f} |",
        f"| hours on 8 machines of 16 such cores | that / 128 | {CROPS * cpu / hour / 128:,.0f} |",
        f"| core-hours, int8, as stated below | 10^8 x ({1e3 / INT8:.1f} + {read:.1f}) ms / "
        f"3.6 x 10^6 | {CROPS * (1e3 / INT8 + read) / hour:,.0f} |",
        f"| hours on 8 machines of 16 such cores, int8 | that / 128 "
        f"| {CROPS * (1e3 / INT8 + read) / hour / 128:,.0f} |",
        f"| hours on 8 GPUs, not measured, {GPU:.0f} ms of a GPU a crop assumed | 10^8 x "
        f"({read:.1f} + {GPU:.1f}) ms / 8 / 3.6 x 10^6 "
        f"| {CROPS * (read + GPU) / hour / 8:,.1f} |",
        f"| lost by a kill, at most | {SHARD:,} x {cpu:.1f} ms / 60,000 "
        f"| {SHARD * cpu / 6e4:,.0f} core-minutes |",
    ]
    return lines


def _raw(entry: dict[str, Any]) -> int:
    """Bytes of a crop's vectors in float16, visibilities and looks in float32; shards of earlier
    versions have no looks.
    """
    m, d = entry["embeddings"]
    return int(m * d * 2 + m * 4 + entry.get("looks", 0) * 4)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--crops", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--ray", type=int, default=0)
    parser.add_argument("--bad", type=int, default=0)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--world", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    arguments = parser.parse_args()
    if arguments.page is not None:
        print("\n".join(page(json.loads(arguments.page.read_text(encoding="utf-8")))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        numbers = measure(arguments, Path(scratch))
    if arguments.json is not None:
        words = " ".join(sys.argv[1:]).replace(f" --json {arguments.json}", "")
        entry = about(f"python -m benchmarks.bulk {words}") | numbers
        every = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
        every = [old for old in every if old["command"] != entry["command"]] + [entry]
        arguments.json.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
