"""Requests drawn from the service's own OpenAPI: none is answered with 5xx, all as it says."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.serve.conftest import Running, Service
from tests.serve.made import encoded, person

schemathesis = pytest.importorskip(
    "schemathesis", reason="needs schemathesis: pip install schemathesis"
)
EXAMPLES = 25 if os.environ.get("PARTREID_ATTACK") else 6  # of each operation


@pytest.fixture(scope="module")
def service(running: Running) -> Iterator[Service]:
    with running(keep_crops=True) as made:
        made.enrol(90, 2, person="Ada", camera=1)
        yield made


def test_no_request_of_its_own_schema_is_a_fault(service: Service) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    pictures = [encoded(person(90)), encoded(person(91), "JPEG"), b"junk", None]
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    answered: dict[str, set[int]] = {}
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(), picture=st.sampled_from(pictures))
        def tried(case: Any, picture: bytes | None) -> None:
            # What it draws is hardly ever a picture.
            if picture is not None and isinstance(case.body, dict):
                for name, value in (("crop", picture), ("a", picture), ("b", picture)):
                    if name in case.body:
                        case.body[name] = value
                if "crops" in case.body:
                    case.body["crops"] = [picture]
            response = case.call(timeout=60)
            case.validate_response(response, checks=checks)
            answered.setdefault(operation.path, set()).add(response.status_code)  # noqa: B023

        tried()
    assert len(answered) >= 13
    assert 200 in answered["/search"] and 201 in answered["/enrol"]  # not only refusals were tried
    assert service.client.get("/check").json()["faults"] == []
