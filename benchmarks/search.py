"""The three nearest of 100,000 gallery images for 1,024 queries, 7 parts of 256 numbers, some
hidden.

    python -m benchmarks.search [--json FILE] [--queries N] [--gallery N] [--top K]
    python -m benchmarks.search --single      one query at a time, the gallery prepared or not

Ours keeps the nearest so far while tiles of distances pass; beside it whole rows of distances,
1,024 queries at a time, sorted, which is how it is defined. Each in a process of its own: seconds
of all and of the distances alone, the speed of that as a share of one large float32 matrix product
of as many operations in the same minute, and the rise of the peak of memory over the resident
embeddings. Both must name the same images.
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
from benchmarks.match import embeddings, peak_mib, product_rate
from partreid.distance import PartDistance
from partreid.retrieval.search import nearest
from partreid.types import Embeddings

PARTS, WIDTH, HIDDEN = 7, 256, 0.3


def by_sorting(distance: PartDistance, query: Embeddings, gallery: Embeddings, top: int) -> Any:
    """Rows of the nearest, by sorting every row whole."""
    blocks = [
        torch.argsort(block, dim=1, stable=True)[:, :top]
        for _, block in distance.blocks(query, gallery)
    ]
    return torch.cat(blocks).numpy()


def by_tiles(distance: PartDistance, query: Embeddings, gallery: Embeddings, top: int) -> Any:
    return nearest(distance, query, gallery, top)[0]


def one_by_one(metric: str, gallery: int, top: int, queries: int = 24) -> dict[str, Any]:
    """Seconds of a search with one query: the gallery made ready anew each time, made ready once,
    and beside them what it cannot be less than, one product of the vectors as they lie in memory.
    """
    q, g = (embeddings(n, HIDDEN, seed, PARTS, WIDTH) for seed, n in enumerate((queries, gallery)))
    distance = PartDistance(metric)  # type: ignore[arg-type]
    start = time.perf_counter()
    ready, flat = distance.prepare(g), g.vectors.flatten(1)
    numbers: dict[str, Any] = {"metric": metric, "prepare_seconds": time.perf_counter() - start}
    ways = {
        "anew": lambda one: nearest(distance, one, g, top),
        "prepared": lambda one: nearest(distance, one, ready, top),
        "plain_product": lambda one: torch.mm(flat, one.vectors.flatten(1).T),
    }
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for i in range(queries):  # the ways take turns, so that all meet the same minute
        for way, search in ways.items():
            start = time.perf_counter()
            search(q.rows([i]))
            spent[way].append(time.perf_counter() - start)
    numbers |= {f"{way}_seconds": sorted(times)[len(times) // 2] for way, times in spent.items()}
    return numbers


def measure(
    how: str, metric: str, queries: int, gallery: int, top: int, keep: str
) -> dict[str, Any]:
    q, g = (embeddings(n, HIDDEN, seed, PARTS, WIDTH) for seed, n in enumerate((queries, gallery)))
    distance = PartDistance(metric)  # type: ignore[arg-type]
    distance(q.rows(slice(0, 64)), g.rows(slice(0, 64)))  # first-call set-up of the matrix library
    before, start = peak_mib(), time.perf_counter()
    indices = {"sorting": by_sorting, "tiles": by_tiles}[how](distance, q, g, top)
    took, memory = time.perf_counter() - start, peak_mib() - before
    np.save(keep, indices)
    start = time.perf_counter()
    for _ in distance.tiles(q, g):
        pass
    spent = time.perf_counter() - start
    rate = product_rate(q, g)
    return {
        "seconds": took,
        "distance_seconds": spent,
        "extra_mib": memory,
        "product_gflops": rate / 1e9,
        "share": 2 * queries * gallery * PARTS * WIDTH / spent / rate,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="the nearest few of a large gallery")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here as well")
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--gallery", type=int, default=100_000)
    parser.add_argument("--top", type=int, default=3)
    parser.add_argument("--single", action="store_true", help="only searches with one query")
    parser.add_argument("--one", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        how, metric, *numbers, keep = options.one
        print(json.dumps(measure(how, metric, *map(int, numbers), keep)))
        return
    size = (options.queries, options.gallery, options.top)
    if options.single:
        measurements = [one_by_one(m, size[1], size[2]) for m in ("cosine", "unit_euclidean")]
        for r in measurements:
            print(
                f"{r['metric']:16} one query among {size[1]:,}: anew "
                f"{1000 * r['anew_seconds']:.0f} ms, prepared "
                f"{1000 * r['prepared_seconds']:.0f} ms, one product of the vectors "
                f"{1000 * r['plain_product_seconds']:.0f} ms; to prepare "
                f"{1000 * r['prepare_seconds']:.0f} ms"
            )
        if options.json:
            made = about(f"python -m benchmarks.search --single --gallery {size[1]}")
            shape = {"gallery": size[1], "top": size[2], "parts": PARTS, "width": WIDTH}
            options.json.write_text(
                json.dumps({**made, **shape, "rows": measurements}, indent=1) + "\n"
            )
        return
    print(
        f"{size[0]:,} queries, {size[1]:,} gallery images, the {size[2]} nearest; {PARTS} x "
        f"{WIDTH}; {torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    print(
        f"{'':24} {'seconds':>8} {'distances':>10} {'of product':>11} {'Gflop/s':>8} "
        f"{'extra MiB':>10}"
    )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for metric in ("cosine", "unit_euclidean"):
            kept = []
            for how in ("sorting", "tiles"):
                kept.append(str(Path(folder) / f"{how}.npy"))
                done = subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "benchmarks.search",
                        "--one",
                        how,
                        metric,
                        *map(str, size),
                        kept[-1],
                    ],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                rows.append({"metric": metric, "how": how, **json.loads(done.stdout)})
                r = rows[-1]
                print(
                    f"{f'{metric}, {how}':24} {r['seconds']:8.2f} {r['distance_seconds']:10.2f} "
                    f"{r['share']:11.2f} {r['product_gflops']:8.0f} {r['extra_mib']:10.0f}",
                    flush=True,
                )
            same = float((np.load(kept[0]) == np.load(kept[1])).mean())
            rows[-1]["same"] = same
            print(f"{'':24} {same:.4%} of the places hold the same image")
    if options.json:
        made = about("python -m benchmarks.search")
        options.json.write_text(
            json.dumps(
                {
                    **made,
                    "queries": size[0],
                    "gallery": size[1],
                    "top": size[2],
                    "parts": PARTS,
                    "width": WIDTH,
                    "rows": rows,
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
