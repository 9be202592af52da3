"""Hostile requests over a real socket: each is answered with 4xx, and none takes memory."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from partreid.serve.limits import Limits
from partreid.utils.files import MIB
from tests.serve.conftest import Running, Service
from tests.serve.made import bomb, encoded, noise, person

LIMITS = Limits(body=2 * MIB, held=5 * MIB, seconds=1.5)


@pytest.fixture(scope="module")
def small(running: Running) -> Iterator[Service]:
    """One with narrow limits."""
    with running(limits=LIMITS) as service:
        service.enrol(60)
        service.search(60)  # what is loaded once is loaded
        yield service


class Peak:
    """How much more memory this process has taken at the most, in bytes."""

    def __enter__(self) -> "Peak":
        Path("/proc/self/clear_refs").write_text("5")
        self._before = self._high()
        return self

    def __exit__(self, *_: object) -> None:
        self.grown = self._high() - self._before

    def _high(self) -> int:
        (size,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return 1024 * int(size)


def connected(service: Service) -> socket.socket:
    where = urlsplit(service.url)
    assert where.hostname and where.port
    made = socket.create_connection((where.hostname, where.port), timeout=20)
    return made


def head(service: Service, *lines: str, path: str = "/search") -> bytes:
    host = urlsplit(service.url).netloc
    every = (f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: image/png", *lines, "", "")
    return "\r\n".join(every).encode()


def answer(sock: socket.socket) -> tuple[int, Any]:
    response = http.client.HTTPResponse(sock, method="POST")
    response.begin()
    return response.status, json.loads(response.read())


def multipart(data: bytes, name: str = "crop") -> tuple[bytes, str]:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="%b"; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n%b\r\n--x--\r\n" % (name.encode(), data)
    )
    return body, "multipart/form-data; boundary=x"


def test_a_length_that_is_too_long_is_refused_before_a_byte_of_it(small: Service) -> None:
    with Peak() as peak, connected(small) as sock:
        sock.sendall(head(small, f"Content-Length: {100 * MIB}"))
        status, body = answer(sock)
    assert status == 413 and "at most 2 MiB" in body["error"] and peak.grown < 4 * MIB


def test_a_body_without_an_end_is_cut_off(small: Service) -> None:
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    sent = 0
    with Peak() as peak, connected(small) as sock:
        sock.sendall(head(small, "Transfer-Encoding: chunked"))
        sock.settimeout(20)
        try:
            while sent < 2000:
                sock.sendall(chunk)
                sent += 1
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            pytest.fail("the service took 125 MiB")
        status, body = answer(sock)
    assert status == 413 and "at most 2 MiB" in body["error"]
    assert peak.grown < 24 * MIB
    small.search(60)


def test_a_sender_that_reads_gets_the_answer_at_once(small: Service) -> None:
    with connected(small) as sock:
        sock.sendall(head(small, "Transfer-Encoding: chunked"))
        for _ in range(33):
            sock.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        start = time.monotonic()
        assert answer(sock)[0] == 413
        assert time.monotonic() - start < 1


def test_a_body_that_trickles_is_not_waited_for(small: Service) -> None:
    with connected(small) as sock:
        sock.sendall(head(small, "Content-Length: 1000") + b"x")
        start = time.monotonic()
        status, body = answer(sock)
        assert status == 408 and "within 1.5 seconds" in body["error"]
        assert time.monotonic() - start < 8


def test_many_bodies_at_once_are_bounded_together(small: Service) -> None:
    """Three senders hold 1.9 MiB each; the last is told to come again, and then can."""
    socks = [connected(small) for _ in range(3)]
    try:
        for sock in socks[:2]:
            sock.sendall(head(small, f"Content-Length: {2 * MIB}") + bytes(19 * MIB // 10))
        time.sleep(0.3)
        body, kind = multipart(encoded(noise(680, 680)))
        assert 1.2 * MIB < len(body) < 2 * MIB
        first = small.client.post("/search", content=body, headers={"content-type": kind})
        assert first.status_code == 503 and first.headers["retry-after"] == "1"
        assert "in a moment" in first.json()["error"]
    finally:
        for sock in socks:
            sock.close()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        again = small.client.post("/search", content=body, headers={"content-type": kind})
        if again.status_code == 200:
            break
        time.sleep(0.1)
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (bomb(12_000), "12,000 x 12,000"),
        (bomb(30_000), "30,000 x 30,000"),
        (encoded(noise(20, 10), "GIF"), "a GIF"),
        (encoded(person(60))[:-30], "cut short"),
        (encoded(person(60)) + b"PK\x03\x04" + bytes(300) + b"x", "a polyglot"),
        (b"%PDF-1.7\n%%EOF", "no picture"),
        (b"", "nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_picture_is_422_with_a_sentence_and_no_memory(
    small: Service, data: bytes, name: str
) -> None:
    assert len(data) < MIB
    with Peak() as peak:
        for path, field in (("/search", "crop"), ("/enrol", "crops"), ("/page/search", "crop")):
            body, kind = multipart(data, field)
            got = small.client.post(path, content=body, headers={"content-type": kind})
            assert got.status_code == 422, got.text
            error = got.json()["error"]
            assert error.startswith("the crop ") and "\n" not in error and "0x" not in error
    assert peak.grown < 16 * MIB
    assert small.client.get("/list").json()["crops"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b"--x\r\nContent-Disposition: form-data; name=crop\r\n\r\n",
        b"--x\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n--x--",
        b'--x\r\nContent-Disposition: form-data; name="crop"\r\n\r\n'
        + b"y" * MIB
        + b"\r\n--x--\r\n",
        b"".join(
            b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\n1\r\n' % i
            for i in range(5000)
        )
        + b"--x--\r\n",
        bytes(1000),
    ],
)
def test_a_broken_form_is_4xx(small: Service, body: bytes) -> None:
    for kind in ("multipart/form-data; boundary=x", "multipart/form-data", "application/json", "x"):
        got = small.client.post("/search", content=body, headers={"content-type": kind})
        assert 400 <= got.status_code < 500 and got.json()["error"]


def test_eight_clients_are_served_without_an_error(small: Service) -> None:
    """Each searches again and again; what they are told is what one alone is told."""
    import httpx2

    crops = [encoded(person(60 + i)) for i in range(8)]

    def search(client: Any, i: int) -> tuple[int, float]:
        got = client.post("/search", files={"crop": crops[i]})
        return got.status_code, got.json()["hits"][0]["pair"]["distance"]

    alone = [search(small.client, i) for i in range(8)]
    answers: list[list[tuple[int, float]]] = [[] for _ in range(8)]

    def run(i: int) -> None:
        with httpx2.Client(base_url=small.url, timeout=60) as client:
            answers[i] = [search(client, i) for _ in range(6)]

    with Peak() as peak:
        threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    for i in range(8):
        assert len(answers[i]) == 6
        assert {status for status, _ in answers[i]} == {200}
        assert [far for _, far in answers[i]] == pytest.approx([alone[i][1]] * 6, abs=1e-4)
    assert peak.grown < 64 * MIB


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "evil.example"),
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ],
)
def test_a_page_from_elsewhere_changes_nothing(small: Service, name: str, value: str) -> None:
    for method, path in (("POST", "/forget"), ("DELETE", "/crops/1")):
        got = small.client.request(method, path, headers={name: value})
        assert got.status_code == 403 and got.headers["x-content-type-options"] == "nosniff"
    assert small.client.get("/list").json()["crops"] == 1
