"""Distances and scores at the size of Market-1501: 3,368 queries, 15,913 gallery images, 9 parts of 512 numbers.

    python -m benchmarks.match [--json FILE] [--queries N] [--gallery N]

Speed of distances is told as a share of what one large float32 matrix product of as many operations reaches on this
machine in the same minute; memory as the rise of the peak over the resident embeddings, result included, each in a
process of its own. Scores are compared with sorting every query's list.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.reference import part_distance, scores_by_sorting
from partreid.distance import Metric, PartDistance
from partreid.match import rank
from partreid.types import Embeddings

PARTS, WIDTH, IDENTITIES, CAMERAS, DISTRACTORS = 9, 512, 751, 6, 2798
METRICS: tuple[Metric, ...] = ("cosine", "euclidean", "unit_euclidean")


def embeddings(n: int, hidden: float, seed: int) -> Embeddings:
    """The first embedding always visible, as a foreground is; the others hidden at random."""
    draw = torch.Generator().manual_seed(seed)
    visibility = (torch.rand(n, PARTS, generator=draw) >= hidden).float()
    visibility[:, 0] = 1
    return Embeddings(torch.randn(n, PARTS, WIDTH, generator=draw), visibility, tuple(f"e{m}" for m in range(PARTS)))


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_mib() -> float:
    """Highest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20  # bytes on macOS


def product_rate(q: Embeddings, g: Embeddings) -> float:
    """Operations per second of the matrix product [Nq, M D] x [M D, Ng]: the better of two halves of the queries."""
    a, b = q.vectors.flatten(1), g.vectors.flatten(1).T
    half = max(1, len(a) // 2)
    out = torch.zeros(half, b.shape[1])
    best = min(seconds(lambda: torch.mm(a[:half], b, out=out)) for _ in range(2))
    return 2 * half * b.numel() / best


def measure_distance(metric: Metric, hidden: float, queries: int, gallery: int) -> dict[str, Any]:
    q, g = embeddings(queries, hidden, 0), embeddings(gallery, hidden, 1)
    distance = PartDistance(metric)
    distance(q.rows(slice(0, 64)), g.rows(slice(0, 64)))  # first-call set-up of the matrix library
    before = peak_mib()
    start = time.perf_counter()
    far = distance(q, g)
    times = [time.perf_counter() - start]
    memory = peak_mib() - before
    rate = product_rate(q, g)
    for _ in range(2):  # in turn, so that both meet the same neighbours on a shared machine
        times.append(seconds(lambda: distance(q, g)))
        rate = max(rate, product_rate(q, g))
    draw = np.random.default_rng(0)
    errors = []
    for i, j in zip(draw.integers(0, queries, 300), draw.integers(0, gallery, 300)):
        exact = part_distance(q.vectors[i].numpy(), g.vectors[j].numpy(), q.visibility[i].numpy(),
                              g.visibility[j].numpy(), metric)
        errors.append(abs(exact - float(far[i, j])))
    operations = 2 * queries * gallery * PARTS * WIDTH
    return {"metric": metric, "hidden": hidden, "seconds": min(times), "share": operations / min(times) / rate,
            "product_gflops": rate / 1e9, "extra_mib": memory, "error": max(errors)}


def measure_scores(queries: int, gallery: int) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    q_ids, g_ids = draw.integers(1, IDENTITIES, queries), draw.integers(1, IDENTITIES, gallery)
    g_ids[:gallery * DISTRACTORS // 15913] = 0
    q_cameras, g_cameras = draw.integers(1, CAMERAS + 1, queries), draw.integers(1, CAMERAS + 1, gallery)
    far = draw.random((queries, gallery), dtype=np.float32)
    far -= 0.5 * (q_ids[:, None] == g_ids)
    block = [(slice(0, queries), torch.from_numpy(far))]

    def ours(top: int) -> dict[str, float]:
        return rank(block, q_ids, q_cameras, g_ids, g_cameras, top=top).scores

    results: dict[str, Any] = {"seconds": min(seconds(lambda: ours(0)) for _ in range(2)),
                               "seconds_with_top_10": seconds(lambda: ours(10))}
    got = ours(0)
    for kind in ("stable", "quicksort"):
        start = time.perf_counter()
        want = scores_by_sorting(far, q_ids, q_cameras, g_ids, g_cameras, kind)
        results[f"seconds_by_{kind}"] = time.perf_counter() - start
        results[f"error_to_{kind}"] = max(abs(got[name] - want[name]) for name in got)
    return results


def in_own_process(*arguments: object) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "benchmarks.match", "--one", *map(str, arguments)], check=True,
                          stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="distances and scores at the size of Market-1501")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here as well")
    parser.add_argument("--queries", type=int, default=3368)
    parser.add_argument("--gallery", type=int, default=15913)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        metric, hidden, queries, gallery = options.one
        print(json.dumps(measure_distance(metric, float(hidden), int(queries), int(gallery))))
        return
    size = (options.queries, options.gallery)
    print(f"{size[0]} x {size[1]}, {PARTS} x {WIDTH} float32, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, numpy {np.__version__}\n")
    print(f"{'distance':16} {'hidden':>6} {'seconds':>8} {'of product':>11} {'extra MiB':>10} {'max error':>10}")
    distances = []
    for hidden in (0.3, 0.0):
        for metric in METRICS:
            row = in_own_process(metric, hidden, *size)
            distances.append(row)
            print(f"{metric:16} {hidden:6.0%} {row['seconds']:8.2f} {row['share']:11.2f} {row['extra_mib']:10.0f} "
                  f"{row['error']:10.1e}", flush=True)
    print(f"(product: {', '.join(format(row['product_gflops'], '.0f') for row in distances)} Gflop/s; "
          f"extra MiB includes the result, {size[0] * size[1] * 4 / 2 ** 20:.0f})\n")
    scores = measure_scores(*size)
    print(f"{'CMC, mAP, mINP':32} {'seconds':>8} {'times ours':>11} {'max error':>10}")
    print(f"{'ours':32} {scores['seconds']:8.2f} {1:11.1f}")
    print(f"{'ours, with the 10 nearest':32} {scores['seconds_with_top_10']:8.2f} "
          f"{scores['seconds_with_top_10'] / scores['seconds']:11.1f}")
    for kind in ("stable", "quicksort"):
        print(f"{f'argsort per query ({kind})':32} {scores[f'seconds_by_{kind}']:8.2f} "
              f"{scores[f'seconds_by_{kind}'] / scores['seconds']:11.1f} {scores[f'error_to_{kind}']:10.1e}")
    if options.json:
        machine = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__,
                   "numpy": np.__version__, "python": platform.python_version()}
        options.json.write_text(json.dumps({"queries": size[0], "gallery": size[1], "parts": PARTS, "width": WIDTH,
                                            "distances": distances, "scores": scores, **machine}, indent=1) + "\n")


if __name__ == "__main__":
    main()
