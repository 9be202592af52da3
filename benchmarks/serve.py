"""What the service takes: clients on loopback that search, and enrol now and then, for a minute.

    python -m benchmarks.serve RUN CROPS [--clients 8] [--seconds 60] [--json FILE]

CROPS is a folder; its crops are enrolled first and then asked for, one after the other. The service
is a process of its own with a gallery in a folder that is removed afterwards. Memory is that of
this process, asked for every few seconds: the last is to be near the first. Beside the clock stands
the time that the service computes, PostgreSQL not counted: others who use the machine hardly move
it.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.about import about
from partreid.inference import crop_paths

ENROL_EVERY = 20  # requests of a client


def started(run: Path, folder: Path) -> tuple["subprocess.Popen[str]", str]:
    """The service and its address, once it answers."""
    words = ["-m", "partreid", "serve", run, "--gallery", folder / "gallery", "--port", "0"]
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(r"serving (http://\S+) ", line):
            return process, match[1]
    raise SystemExit(f"the service did not start (status {process.wait()})")


def resident(client: Any) -> float:
    """MiB of the service that lie in memory."""
    match = re.search(
        r"^partreid_resident_memory_bytes (\S+)", client.get("/metrics").text, re.MULTILINE
    )
    assert match, "Linux says how much memory a process has"
    return float(match[1]) / 2**20


def spent(pid: int) -> float:
    """Seconds that a process has computed, on all cores: what others do at the same time hardly
    moves them.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(run: Path, crops: list[bytes], clients: int, seconds: float) -> dict[str, Any]:
    import httpx2

    times: dict[str, list[float]] = {"search": [], "enrol": []}
    statuses: Counter[int] = Counter()
    lock, numbers = threading.Lock(), count()
    with tempfile.TemporaryDirectory() as folder:
        process, address = started(run, Path(folder))
        client = httpx2.Client(
            base_url=address, timeout=120, transport=httpx2.HTTPTransport(retries=10)
        )
        start = time.monotonic()
        for first in range(0, len(crops), 16):
            files = [("crops", crop) for crop in crops[first : first + 16]]
            client.post("/enrol", files=files).raise_for_status()
        loading = time.monotonic() - start
        for crop in crops[:16]:  # what is read once is read
            client.post("/search", files={"crop": crop}).raise_for_status()
        end, computed = time.monotonic() + seconds, spent(process.pid)

        def work() -> None:
            with httpx2.Client(base_url=address, timeout=120) as mine:
                for turn in count(1):
                    if time.monotonic() > end:
                        return
                    crop = crops[next(numbers) % len(crops)]
                    kind = "enrol" if turn % ENROL_EVERY == 0 else "search"
                    field = "crops" if kind == "enrol" else "crop"
                    before = time.monotonic()
                    try:
                        status = mine.post(f"/{kind}", files={field: crop}).status_code
                    except httpx2.TransportError:
                        status = 0
                    with lock:
                        statuses[status] += 1
                        times[kind].append(time.monotonic() - before)

        threads = [threading.Thread(target=work) for _ in range(clients)]
        for thread in threads:
            thread.start()
        memory = []
        while any(thread.is_alive() for thread in threads):
            memory.append(round(resident(client)))
            time.sleep(5)
        computed = spent(process.pid) - computed
        metrics = client.get("/metrics").text
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    batches, described = (
        float(re.findall(rf"^partreid_{name}_total (\S+)", metrics, re.MULTILINE)[0])
        for name in ("batches", "described_crops")
    )
    good = statuses[200] + statuses[201]
    return {
        "run": run.name,
        "crops": len(crops),
        "clients": clients,
        "seconds": seconds,
        "enrolled_per_second": round(len(crops) / loading, 1),
        "requests": good,
        "errors": sum(statuses.values()) - good,
        "requests_per_second": round(good / seconds, 1),
        "milliseconds": {
            kind: {f"p{q}": round(1000 * float(np.percentile(some, q)), 1) for q in (50, 90, 99)}
            for kind, some in times.items()
            if some
        },
        "cpu_milliseconds_per_request": round(1000 * computed / good, 1),
        "load_average": round(os.getloadavg()[0], 1),
        "crops_per_batch": round(described / batches, 2),
        "memory_mib": memory,
        "stopped_with": status,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("crops", type=Path)
    parser.add_argument("--most", type=int, default=500, help="crops that are enrolled")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path, help="add the numbers here as well")
    options = parser.parse_args()
    crops = [path.read_bytes() for path in crop_paths(options.crops)[: options.most]]
    command = (
        f"python -m benchmarks.serve RUN CROPS --most {options.most} --clients {options.clients} "
        f"--seconds {options.seconds:g}"
    )
    record = {**about(command), **measure(options.run, crops, options.clients, options.seconds)}
    print(json.dumps(record, indent=1))
    if options.json is not None:
        before = json.loads(options.json.read_text()) if options.json.is_file() else []
        options.json.write_text(json.dumps([*before, record], indent=1) + "\n")


if __name__ == "__main__":
    main()
