"""The text that Prometheus reads: its grammar, and that its sums are right."""

import re

from partreid.serve.metrics import Metrics

LINE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z]+="[^"\\\n]*",?)+)\})? ([0-9.e+-]+)$')


def read(text: str) -> dict[str, float]:
    assert text.endswith("\n")
    values, typed = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            typed[name] = kind
            continue
        match = LINE.match(line)
        assert match, line
        name = match[1]
        base = re.sub("_(bucket|sum|count)$", "", name)
        assert name in typed or typed.get(base) == "histogram", f"{name} has no type"
        key = line.rpartition(" ")[0]
        assert key not in values, f"{key} stands twice"
        values[key] = float(match[3])
    return values


def test_answers_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    for seconds, status in ((0.003, 200), (0.2, 200), (40.0, 422)):
        metrics.answered("/search", status, seconds)
    metrics.answered("/crops/{id}", 404, 0.001)
    metrics.count("batches")
    metrics.count("described_crops", 5)
    values = read(metrics.text({"crops": 7.0}))
    assert values['partreid_requests_total{route="/search",status="200"}'] == 2
    assert values['partreid_requests_total{route="/search",status="422"}'] == 1
    assert values['partreid_request_seconds_count{route="/search"}'] == 3
    assert values['partreid_request_seconds_bucket{route="/search",le="+Inf"}'] == 3
    assert values['partreid_request_seconds_bucket{route="/search",le="0.005"}'] == 1
    assert values['partreid_request_seconds_bucket{route="/search",le="0.25"}'] == 2
    assert values['partreid_request_seconds_bucket{route="/search",le="10"}'] == 2
    assert abs(values['partreid_request_seconds_sum{route="/search"}'] - 40.203) < 1e-6
    assert values["partreid_described_crops_total"] == 5 and values["partreid_crops"] == 7


def test_memory_is_that_of_this_process() -> None:
    values = read(Metrics().text({}))
    assert 1e6 < values["partreid_resident_memory_bytes"] < 1e12
