"""Re-ranking at the size of Market-1501, 3,368 queries and 15,913 gallery images, 9 parts of 512
numbers, some hidden.

    python -m benchmarks.rerank [--json FILE] [--full]

First against the dense definition in NumPy at a size that both can hold; then at full size alone:
seconds, the highest memory of the process with and without what was there before (the embeddings
and the libraries), and the speed as a share of one large matrix product, the products counted that
are needed: every pair of images once, and queries with the gallery once more. ``--full`` adds the
size of MSMT17: 11,659 + 82,161 images, 7 parts of 256 numbers. Every measurement has a process of
its own. The images are made up: people around centers, seen by cameras that shift them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.about import about
from benchmarks.match import peak_mib, product_rate
from benchmarks.reference import cosine_matrix, k_reciprocal
from partreid.distance import PartDistance
from partreid.metrics import evaluate_embeddings, rank
from partreid.retrieval import KReciprocal
from partreid.types import Embeddings

SIZES = {
    "common": (1000, 5000, 9, 512, 250),
    "market1501": (3368, 15913, 9, 512, 751),
    "msmt17": (11659, 82161, 7, 256, 3060),
}  # queries, gallery, parts, width, people
CAMERAS, HIDDEN, NOISE, SHIFT = 6, 0.3, 2.5, 0.3


def people(
    n: int, parts: int, width: int, identities: int, seed: int
) -> tuple[Embeddings, list[int], list[int]]:
    """Embeddings with identities from 1 and cameras; the first part is always visible. Nothing
    is held twice.
    """
    draw = torch.Generator().manual_seed(seed)
    world = torch.Generator().manual_seed(0)
    centers = torch.randn(identities, parts, width, generator=world)
    shifts = torch.randn(CAMERAS, parts, width, generator=world) * SHIFT
    ids, cameras = (torch.randint(most, (n,), generator=draw) for most in (identities, CAMERAS))
    vectors = torch.randn(n, parts, width, generator=draw)
    for vector, identity, camera in zip(vectors, ids.tolist(), cameras.tolist()):
        vector.mul_(NOISE).add_(centers[identity]).add_(shifts[camera])
    visibility = (torch.rand(n, parts, generator=draw) >= HIDDEN).float()
    visibility[:, 0] = 1
    return (
        Embeddings(vectors, visibility, tuple(f"e{m}" for m in range(parts))),
        (ids + 1).tolist(),
        cameras.tolist(),
    )


def measure(size: str, keep: str = "") -> dict[str, Any]:
    """Ours. keep: a file for the result, if it is to be compared."""
    queries, gallery, *world = SIZES[size]
    q, q_ids, q_cameras = people(queries, *world, seed=1)
    g, g_ids, g_cameras = people(gallery, *world, seed=2)
    known: dict[str, Any] = {
        "q_ids": q_ids,
        "g_ids": g_ids,
        "q_cams": q_cameras,
        "g_cams": g_cameras,
    }
    embeddings = sum(e.vectors.nbytes + e.visibility.nbytes for e in (q, g)) / 2**20
    distance = PartDistance("cosine")
    distance(q.rows(slice(0, 64)), g.rows(slice(0, 64)))  # first-call set-up of the matrix library
    before = peak_mib()
    last_report = time.monotonic()

    def tell(done: int, everything: int) -> None:
        nonlocal last_report
        if time.monotonic() - last_report > 10:
            last_report = time.monotonic()
            print(
                f"  {size}: {done} of {everything}, {peak_mib():.0f} MiB",
                file=sys.stderr,
                flush=True,
            )

    start = time.perf_counter()
    if keep:
        np.save(
            keep,
            torch.cat([block for _, block in KReciprocal()(distance, q, g, progress=tell)]).numpy(),
        )
        took = time.perf_counter() - start
        result: dict[str, Any] = {}
    else:
        ranking = rank(KReciprocal()(distance, q, g, progress=tell), **known)
        took = time.perf_counter() - start
        peak = peak_mib()
        result = {
            "peak_mib": peak,
            "extra_mib": peak - before,
            "mAP": ranking.mAP,
            "mAP_before": evaluate_embeddings(distance, q, g, **known).mAP,
        }
    rate = product_rate(q, g)
    n = queries + gallery
    operations = 2 * (n * (n + 1) / 2 + queries * gallery) * world[0] * world[1]
    return {
        "queries": queries,
        "gallery": gallery,
        "parts": world[0],
        "width": world[1],
        "seconds": took,
        "embeddings_mib": embeddings,
        "product_gflops": rate / 1e9,
        "share": operations / took / rate,
        **result,
    }


def measure_dense(size: str, keep: str) -> dict[str, Any]:
    queries, gallery, *world = SIZES[size]
    sides = [people(n, *world, seed=seed)[0] for n, seed in ((queries, 1), (gallery, 2))]
    vectors, seen = (
        np.concatenate([getattr(e, name).numpy() for e in sides])
        for name in ("vectors", "visibility")
    )
    before = peak_mib()
    start = time.perf_counter()
    far = cosine_matrix(vectors, seen)
    distances = time.perf_counter() - start
    result = k_reciprocal(far, queries)
    took = time.perf_counter() - start
    extra = peak_mib() - before
    np.save(keep, result)
    return {"seconds": took, "seconds_of_distances": distances, "extra_mib": extra}


def in_own_process(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rerank", "--one", *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def compare() -> dict[str, Any]:
    """Ours and the dense definition, three times in turn, so that both meet the same neighbours
    on a shared machine.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("ours.npy", "dense.npy")]
        ours, dense = zip(
            *(
                [
                    in_own_process(kind, "common", file)
                    for kind, file in zip(("ours", "dense"), files)
                ]
                for _ in range(3)
            )
        )
        difference = float(np.abs(np.load(files[0]) - np.load(files[1])).max())
    best, other = (min(rows, key=lambda row: row["seconds"]) for rows in (ours, dense))
    return {
        "ours": best,
        "dense": other,
        "times_faster": other["seconds"] / best["seconds"],
        "difference": difference,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="re-ranking at the size of Market-1501")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here as well")
    parser.add_argument(
        "--full", action="store_true", help="the size of MSMT17 too, for some minutes"
    )
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, *rest = options.one
        print(json.dumps((measure if kind == "ours" else measure_dense)(*rest)))
        return
    print(
        f"cosine distance, {HIDDEN:.0%} of the parts hidden; {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, numpy {np.__version__}\n"
    )
    record: dict[str, Any] = {"common": compare()}
    ours, dense = record["common"]["ours"], record["common"]["dense"]
    print(
        f"{ours['queries']} + {ours['gallery']}, {ours['parts']} x {ours['width']}: ours "
        f"{ours['seconds']:.1f} s, dense NumPy {dense['seconds']:.1f} s "
        f"({dense['seconds_of_distances']:.1f} s of it distances): "
        f"{record['common']['times_faster']:.1f} times faster, largest difference "
        f"{record['common']['difference']:.1e}\n"
    )
    print(
        f"{'queries + gallery':18} {'parts':>9} {'seconds':>8} {'of product':>11} {'peak MiB':>9} "
        f"{'embeddings':>11} {'extra MiB':>10}  mAP before, after"
    )
    for size in ("market1501", "msmt17") if options.full else ("market1501",):
        row = record[size] = in_own_process("ours", size)
        print(
            f"{row['queries']:>7} + {row['gallery']:<8} {row['parts']:>3} x {row['width']:<3} "
            f"{row['seconds']:8.1f} {row['share']:11.2f} {row['peak_mib']:9.0f} "
            f"{row['embeddings_mib']:11.0f} {row['extra_mib']:10.0f}  "
            f"{100 * row['mAP_before']:.1f}, {100 * row['mAP']:.1f}",
            flush=True,
        )
    print(
        "(peak: of the whole process, libraries included; extra: its rise while re-ranking and "
        "scoring)"
    )
    if options.json:
        made = about("python -m benchmarks.rerank" + " --full" * options.full)
        options.json.write_text(json.dumps({**made, **record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
