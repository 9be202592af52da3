"""Numbers about the service, as the text that Prometheus reads."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

_STEPS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Metrics:
    """Counters; may be fed from any thread."""

    _answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    _within: Counter[tuple[str, float]] = field(default_factory=Counter)
    _seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _events: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request that was answered, or whose sender hung up (499)."""
        with self._lock:
            self._answers[route, status] += 1
            self._seconds[route] += seconds
            for step in _STEPS:
                if seconds <= step:
                    self._within[route, step] += 1

    def count(self, name: str, many: int = 1) -> None:
        """Add to the counter ``partreid_NAME_total``."""
        with self._lock:
            self._events[name] += many

    def text(self, gauges: Mapping[str, float]) -> str:
        """All of them, with what is measured now, by name without ``partreid_``."""
        with self._lock:
            lines = ["# TYPE partreid_requests_total counter"]
            for (route, status), many in sorted(self._answers.items()):
                lines.append(f'partreid_requests_total{{route="{route}",status="{status}"}} {many}')
            lines.append("# TYPE partreid_request_seconds histogram")
            for route in sorted(self._seconds):
                every = sum(many for (of, _), many in self._answers.items() if of == route)
                for step in _STEPS:
                    lines.append(
                        f'partreid_request_seconds_bucket{{route="{route}",le="{step:g}"}} '
                        f"{self._within[route, step]}"
                    )
                lines += [
                    f'partreid_request_seconds_bucket{{route="{route}",le="+Inf"}} {every}',
                    f'partreid_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}',
                    f'partreid_request_seconds_count{{route="{route}"}} {every}',
                ]
            for name, many in sorted(self._events.items()):
                lines += [f"# TYPE partreid_{name}_total counter", f"partreid_{name}_total {many}"]
        for name, value in sorted({**gauges, **_memory()}.items()):
            lines += [f"# TYPE partreid_{name} gauge", f"partreid_{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _memory(read: Callable[[], str] = Path("/proc/self/status").read_text) -> dict[str, float]:
    """Bytes of this process that lie in memory, where the system says so."""
    try:
        (kib,) = (line.split()[1] for line in read().splitlines() if line.startswith("VmRSS:"))
    except (OSError, ValueError):
        return {}
    return {"resident_memory_bytes": 1024.0 * int(kib)}
