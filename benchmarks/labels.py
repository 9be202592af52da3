"""Labels that a network finds by itself: seconds and memory of ISP's clustering and HCGA's
co-parsing.

    python -m benchmarks.labels [--json FILE] [--people N ...] [--judged N]

One thread, one person of 17 images with 256 x 64 x 32 features (made up, see people.py). Speed is
told as a ratio to a plain implementation timed in the same minute: k-means of scikit-learn (one
start, both stages; NumPy's Lloyd where it is not installed) for ISP, a loop of plain PyTorch for
HCGA. The quality of co-parsing is its foreground's intersection over union with the true
silhouettes, for as many people by both; the plain loop's own spread over seeds of its net says what
difference means something. Memory is the rise of the peak over what was resident before the pass,
while made-up features stream by, each in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.match import peak_mib
from benchmarks.people import person
from benchmarks.reference import cascade_by_kmeans, co_parse_plainly
from partreid.labels import CUES
from partreid.methods.hcga.coparsing import parse_person as co_parse
from partreid.methods.hcga.coparsing import reassign
from partreid.methods.isp.labels import parse_person as cluster
from partreid.types import Sample

T = TypeVar("T")
PARTS = 6  # ISP's K = 7


def fastest(run: Callable[[], T], times: int = 3) -> tuple[float, T]:
    best, result = float("inf"), run()
    for _ in range(times):
        start = time.perf_counter()
        result = run()
        best = min(best, time.perf_counter() - start)
    return best, result


def overlap(labels: Tensor, truth: Tensor) -> float:
    """Foreground's intersection over union."""
    return float(((labels > 0) & (truth > 0)).sum() / ((labels > 0) | (truth > 0)).sum())


def measure_isp() -> dict[str, Any]:
    f, truth, cameras = person()
    noise = torch.randn(f.shape, generator=torch.Generator().manual_seed(1))
    later = f * (1 + 0.1 * noise)
    plain, (name, foreground) = fastest(lambda: cascade_by_kmeans(f.numpy(), PARTS))
    cold, first = fastest(lambda: cluster(f, cameras, None, parts=PARTS))
    warm, second = fastest(lambda: cluster(later, cameras, first.state, parts=PARTS))
    anew = cluster(later, cameras, None, parts=PARTS, seed=1)
    return {
        "reference": name,
        "reference_seconds": plain,
        "cold_seconds": cold,
        "warm_seconds": warm,
        "agreement_warm": float((first.labels == second.labels).float().mean()),
        "agreement_cold": float((first.labels == anew.labels).float().mean()),
        "iou": overlap(first.labels, truth),
        "reference_iou": overlap(torch.from_numpy(foreground), truth),
    }


def measure_hcga(people: int) -> dict[str, Any]:
    rows = []
    small, _, cameras = person(4, 64, (16, 8))
    co_parse(small, cameras, None, parts=3)  # PyTorch loads its optimizers at the first use
    for seed in range(people):
        f, truth, cameras = person(seed=seed)
        start = time.perf_counter()
        ours = co_parse(f, cameras, None, parts=3)
        middle = time.perf_counter()
        raw, steps = co_parse_plainly(f, cameras, seed=0)
        end = time.perf_counter()
        other, _ = co_parse_plainly(f, cameras, seed=1)
        rows.append(
            {
                "seconds": middle - start,
                "plain_seconds": end - middle,
                "steps": ours.notes["steps"],
                "plain_steps": steps,
                "iou": overlap(ours.labels, truth),
                "plain_iou": overlap(reassign(raw, 3)[0], truth),
                "plain_iou_other_seed": overlap(reassign(other, 3)[0], truth),
            }
        )
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return {
        "people": people,
        **mean,
        "ratio": mean["plain_seconds"] / mean["seconds"],
        "rows": rows,
    }


def measure_memory(kind: str, people: int, images: int) -> dict[str, Any]:
    samples = [Sample(Path(f"{i}"), i // images + 1, i % 4 + 1) for i in range(people * images)]
    cue = CUES[kind](root=Path(), samples=samples)
    f, _, cameras = person(17)
    held = f[:images]  # one person's worth, changed in place as a trunk's next output would be

    def stream() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for number in range(people):
            held[:, number % 256].mul_(1.001)
            yield torch.arange(number * images, (number + 1) * images), cameras[:images], held

    before = peak_mib()
    start = time.perf_counter()
    report = cue.refresh(0, stream)
    assert report is not None and report["people"] == people
    extra = peak_mib() - before + f.nbytes / 2**20  # one person's features are part of a pass
    return {
        "cue": kind,
        "people": people,
        "images": people * images,
        "extra_mib": extra,
        "seconds": time.perf_counter() - start,
    }


def in_own_process(*arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.labels", "--one", *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="labels from features: seconds, quality, memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here as well")
    parser.add_argument(
        "--people", type=int, nargs="*", default=[200, 2000], help="sizes of the memory test"
    )
    parser.add_argument("--judged", type=int, default=4, help="people by whom co-parsing is judged")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        kind, people, images = options.one
        print(json.dumps(measure_memory(kind, int(people), int(images))))
        return
    print(f"one thread, 17 images of 256 x 64 x 32 a person, torch {torch.__version__}\n")
    isp = measure_isp()
    print(
        f"{'ISP, K = 7 (6 parts)':34} {'seconds':>8} {'of reference':>13} {'IoU':>6} "
        f"{'agreement':>10}"
    )
    print(
        f"{isp['reference']:34} {isp['reference_seconds']:8.3f} {1:13.2f} "
        f"{isp['reference_iou']:6.3f}"
    )
    for name in ("cold", "warm"):
        iou = f"{isp['iou']:.3f}" if name == "cold" else ""
        ratio = isp[f"{name}_seconds"] / isp["reference_seconds"]
        print(
            f"{'ours, ' + name:34} {isp[f'{name}_seconds']:8.3f} {ratio:13.2f} {iou:>6} "
            f"{isp[f'agreement_{name}']:10.4f}"
        )
    print(
        "(agreement: labels of the next round, features 10 % noisier; cold: drawn anew with "
        "another seed)\n"
    )
    hcga = measure_hcga(options.judged)
    print(
        f"{'HCGA, C = 4 (3 parts), mean of ' + str(hcga['people']):34} {'seconds':>8} "
        f"{'times ours':>13} {'IoU':>6}"
    )
    print(
        f"{'plain loop':34} {hcga['plain_seconds']:8.2f} {hcga['ratio']:13.1f} "
        f"{hcga['plain_iou']:6.3f}"
    )
    print(f"{'plain loop, other seed':34} {'':8} {'':13} {hcga['plain_iou_other_seed']:6.3f}")
    print(f"{'ours':34} {hcga['seconds']:8.2f} {1:13.1f} {hcga['iou']:6.3f}\n")
    memory = []
    print(f"{'relabelling pass':20} {'people':>7} {'images':>7} {'extra MiB':>10} {'seconds':>8}")
    for people in options.people:
        row = in_own_process("isp_clusters", people, 17)
        memory.append(row)
        print(
            f"{row['cue']:20} {row['people']:7} {row['images']:7} {row['extra_mib']:10.0f} "
            f"{row['seconds']:8.1f}",
            flush=True,
        )
    if options.people:
        memory.append(in_own_process("hcga_coparsing", 20, 17))
        row = memory[-1]
        print(
            f"{row['cue']:20} {row['people']:7} {row['images']:7} {row['extra_mib']:10.0f} "
            f"{row['seconds']:8.1f}"
        )
        print("(extra: one person's features, their labelling and the banks of labels)")
    if options.json:
        options.json.write_text(
            json.dumps({"isp": isp, "hcga": hcga, "memory": memory}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
