"""Distances and scores at the size of Market-1501: 3,368 queries, 15,913 gallery images, 9 parts of
512 numbers.

    python -m benchmarks.match [--json FILE] [--queries N] [--gallery N] [--full] [--device cuda]

Speed of distances is told as a share of what one large float32 matrix product of as many operations
reaches on this machine in the same minute; memory as the rise of the peak over the resident
embeddings, result included, each in a process of its own. Scores are compared with sorting every
query's list. A whole evaluation streams distances into all metrics: CMC, mAP, mINP, verification
and open-set search. --full adds one at the size of MSMT17, 11,659 x 82,161, 7 x 256, which takes
some minutes on two cores.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.about import about
from benchmarks.reference import part_distance, scores_by_sorting
from partreid.distance import Metric, PartDistance
from partreid.metrics import OpenSetAccumulator, PairAccumulator, evaluate_embeddings, rank
from partreid.types import DISTRACTOR, Embeddings

PARTS, WIDTH, IDENTITIES, CAMERAS, DISTRACTORS = 9, 512, 751, 6, 2798
METRICS: tuple[Metric, ...] = ("cosine", "euclidean", "unit_euclidean")
MSMT17 = (11659, 82161, 7, 256)
Whole = np.ndarray[Any, np.dtype[np.int64]]


def embeddings(
    n: int, hidden: float, seed: int, parts: int = PARTS, width: int = WIDTH
) -> Embeddings:
    """The first embedding always visible, as a foreground is; the others hidden at random."""
    draw = torch.Generator().manual_seed(seed)
    visibility = (torch.rand(n, parts, generator=draw) >= hidden).float()
    visibility[:, 0] = 1
    return Embeddings(
        torch.randn(n, parts, width, generator=draw),
        visibility,
        tuple(f"e{m}" for m in range(parts)),
    )


def people(queries: int, gallery: int) -> tuple[Whole, Whole, Whole, Whole]:
    """Identities and cameras of queries and gallery, with Market's share of distractors."""
    draw = np.random.default_rng(0)
    q_ids, g_ids = draw.integers(1, IDENTITIES, queries), draw.integers(1, IDENTITIES, gallery)
    g_ids[: gallery * DISTRACTORS // 15913] = 0
    return (
        q_ids,
        draw.integers(1, CAMERAS + 1, queries),
        g_ids,
        draw.integers(1, CAMERAS + 1, gallery),
    )


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

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def product_rate(q: Embeddings, g: Embeddings) -> float:
    """Operations per second of the matrix product [Nq, M D] x [M D, Ng]: the better of two
    halves of the queries.
    """
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
        exact = part_distance(
            q.vectors[i].numpy(),
            g.vectors[j].numpy(),
            q.visibility[i].numpy(),
            g.visibility[j].numpy(),
            metric,
        )
        errors.append(abs(exact - float(far[i, j])))
    operations = 2 * queries * gallery * PARTS * WIDTH
    return {
        "metric": metric,
        "hidden": hidden,
        "seconds": min(times),
        "share": operations / min(times) / rate,
        "product_gflops": rate / 1e9,
        "extra_mib": memory,
        "error": max(errors),
    }


def measure_scores(queries: int, gallery: int) -> dict[str, Any]:
    q_ids, q_cameras, g_ids, g_cameras = people(queries, gallery)
    far = np.random.default_rng(1).random((queries, gallery), dtype=np.float32)
    blocks = [(slice(0, queries), torch.from_numpy(far))]

    def ours(top: int) -> dict[str, float]:
        return rank(
            blocks,
            q_ids=q_ids,
            g_ids=g_ids,
            q_cams=q_cameras,
            g_cams=g_cameras,
            distractor=DISTRACTOR,
            top=top,
        ).scores

    results: dict[str, Any] = {
        "seconds": min(seconds(lambda: ours(0)) for _ in range(2)),
        "seconds_with_top_10": seconds(lambda: ours(10)),
    }
    got = ours(0)
    for kind in ("stable", "quicksort"):
        start = time.perf_counter()
        want = scores_by_sorting(far, q_ids, q_cameras, g_ids, g_cameras, kind)
        results[f"seconds_by_{kind}"] = time.perf_counter() - start
        results[f"error_to_{kind}"] = max(abs(got[name] - want[name]) for name in got)
    return results


class Timed(PartDistance):
    """A distance that knows how long its blocks took."""

    spent = 0.0

    def blocks(
        self, q: Embeddings, g: Embeddings, rows: int = 1024
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        start = time.perf_counter()
        for span, block in super().blocks(q, g, rows):
            Timed.spent += time.perf_counter() - start
            yield span, block
            start = time.perf_counter()


def measure_evaluation(
    metric: Metric, queries: int, gallery: int, parts: int, width: int
) -> dict[str, Any]:
    """Distances streamed into all metrics, on the CPU: seconds of both, and memory."""
    q, g = embeddings(queries, 0.3, 0, parts, width), embeddings(gallery, 0.3, 1, parts, width)
    q_ids, q_cameras, g_ids, g_cameras = people(queries, gallery)
    distance = Timed(metric)
    distance(q.rows(slice(0, 64)), g.rows(slice(0, 64)))
    before, memory, best = peak_mib(), 0.0, (float("inf"), 0.0)
    for _ in range(2):  # the better of two, as everywhere here
        Timed.spent, start = 0.0, time.perf_counter()
        pairs = PairAccumulator()
        open_set = OpenSetAccumulator(q_ids=q_ids, g_ids=g_ids, distractor=DISTRACTOR)
        ranking = evaluate_embeddings(
            distance,
            q,
            g,
            q_ids=q_ids,
            g_ids=g_ids,
            q_cams=q_cameras,
            g_cams=g_cameras,
            distractor=DISTRACTOR,
            accumulators=(pairs, open_set),
        )
        scores = {**ranking.scores, **pairs.result().scores, **open_set.result().scores}
        best = min(best, (time.perf_counter() - start, Timed.spent))
        memory = memory or peak_mib()  # of one evaluation, without what the one before has left
    total, spent = best
    rate = product_rate(q.rows(slice(0, 3000)), g.rows(slice(0, 16000)))
    return {
        "metric": metric,
        "queries": queries,
        "gallery": gallery,
        "parts": parts,
        "width": width,
        "distance_seconds": spent,
        "metrics_seconds": total - spent,
        "share": 2 * queries * gallery * parts * width / spent / rate,
        "extra_mib": memory - before,
        "peak_mib": memory,
        "scores": len(scores),
    }


def measure_device(metric: Metric, queries: int, gallery: int, device: str) -> dict[str, Any]:
    """The same functions on a GPU, against the CPU."""
    q, g = embeddings(queries, 0.3, 0), embeddings(gallery, 0.3, 1)
    distance, there = PartDistance(metric), (q.to(device), g.to(device))

    def run() -> torch.Tensor:
        far = distance(*there)
        torch.cuda.synchronize(device)
        return far

    run()
    spent = min(seconds(run) for _ in range(3))
    a, b = there[0].vectors.flatten(1), there[1].vectors.flatten(1).T

    def product() -> None:
        torch.mm(a, b)
        torch.cuda.synchronize(device)

    product()
    error = float((run().cpu() - distance(q, g)).abs().max())
    people_there = people(queries, gallery)
    scored = [
        evaluate_embeddings(
            distance,
            *pair,
            q_ids=people_there[0],
            q_cams=people_there[1],
            g_ids=people_there[2],
            g_cams=people_there[3],
            distractor=DISTRACTOR,
        ).scores
        for pair in ((q, g), there)
    ]
    return {
        "metric": metric,
        "device": torch.cuda.get_device_name(device),
        "seconds": spent,
        "share": min(seconds(product) for _ in range(3)) / spent,
        "error": error,
        "score_error": max(abs(scored[0][name] - scored[1][name]) for name in scored[0]),
    }


def in_own_process(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.match", "--one", *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="distances and scores at the size of Market-1501")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here as well")
    parser.add_argument("--queries", type=int, default=3368)
    parser.add_argument("--gallery", type=int, default=15913)
    parser.add_argument(
        "--full", action="store_true", help="also an evaluation at the size of MSMT17"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="cuda: also distances on the GPU"
    )
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        what, metric, *numbers = options.one
        measure = {
            "distance": lambda hidden, *size: measure_distance(
                metric, float(hidden), *map(int, size)
            ),
            "evaluation": lambda *size: measure_evaluation(metric, *map(int, size)),
        }[what]
        print(json.dumps(measure(*numbers)))
        return
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("this machine has no GPU that PyTorch can use")
    size = (options.queries, options.gallery)
    print(
        f"{size[0]} x {size[1]}, {PARTS} x {WIDTH} float32, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, numpy {np.__version__}\n"
    )
    print(
        f"{'distance':16} {'hidden':>6} {'seconds':>8} {'of product':>11} {'extra MiB':>10} "
        f"{'max error':>10}"
    )
    distances = []
    for hidden in (0.3, 0.0):
        for metric in METRICS:
            row = in_own_process("distance", metric, hidden, *size)
            distances.append(row)
            print(
                f"{metric:16} {hidden:6.0%} {row['seconds']:8.2f} {row['share']:11.2f} "
                f"{row['extra_mib']:10.0f} {row['error']:10.1e}",
                flush=True,
            )
    print(
        f"(product: {', '.join(format(row['product_gflops'], '.0f') for row in distances)} "
        f"Gflop/s; extra MiB includes the result, {size[0] * size[1] * 4 / 2**20:.0f})\n"
    )
    scores = measure_scores(*size)
    print(f"{'CMC, mAP, mINP':32} {'seconds':>8} {'times ours':>11} {'max error':>10}")
    print(f"{'ours':32} {scores['seconds']:8.2f} {1:11.1f}")
    print(
        f"{'ours, with the 10 nearest':32} {scores['seconds_with_top_10']:8.2f} "
        f"{scores['seconds_with_top_10'] / scores['seconds']:11.1f}"
    )
    for kind in ("stable", "quicksort"):
        print(
            f"{f'argsort per query ({kind})':32} {scores[f'seconds_by_{kind}']:8.2f} "
            f"{scores[f'seconds_by_{kind}'] / scores['seconds']:11.1f} "
            f"{scores[f'error_to_{kind}']:10.1e}"
        )
    print(
        f"\n{'distance and all metrics':32} {'distance s':>10} {'of product':>11} "
        f"{'metrics s':>10} {'of distance':>12} {'extra MiB':>10} {'peak MiB':>9}"
    )
    evaluations = []
    for row in [
        ("cosine", *size, PARTS, WIDTH),
        ("unit_euclidean", *size, PARTS, WIDTH),
        *([("cosine", *MSMT17)] if options.full else []),
    ]:
        e = in_own_process("evaluation", *row)
        evaluations.append(e)
        name = f"{e['metric']} {e['queries']} x {e['gallery']}"
        print(
            f"{name:32} {e['distance_seconds']:10.2f} {e['share']:11.2f} "
            f"{e['metrics_seconds']:10.2f} {e['metrics_seconds'] / e['distance_seconds']:12.2f} "
            f"{e['extra_mib']:10.0f} {e['peak_mib']:9.0f}",
            flush=True,
        )
    print("(extra: above the embeddings; peak: of the whole process, Python and PyTorch included)")
    devices = []
    for metric in METRICS if options.device == "cuda" else ():
        devices.append(measure_device(metric, *size, options.device))
        print(
            "{device}: {metric} {seconds:.4f} s, {share:.2f} of the product, error {error:.1e}, "
            "scores {score_error:.1e}".format(**devices[-1])
        )
    if options.json:
        command = "python -m benchmarks.match" + " --full" * options.full
        command += " --device cuda" * (options.device == "cuda")
        record = {
            **about(command),
            "queries": size[0],
            "gallery": size[1],
            "parts": PARTS,
            "width": WIDTH,
            "distances": distances,
            "scores": scores,
            "evaluations": evaluations,
            "devices": devices,
        }
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
