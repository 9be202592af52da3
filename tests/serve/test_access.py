"""Who may ask: a key anywhere, this machine's own programs and page without one."""

import re
from pathlib import Path

import pytest

from partreid.errors import DataError
from partreid.serve.access import Access, read_key, require_key

KEY = "a-key-of-many-letters"
HOME = {"host": "127.0.0.1:8517"}


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        (f"Bearer {KEY}", None),
        (f"bearer  {KEY} ", None),
        (f"Bearer {KEY}x", 401),
        (f"Bearer {KEY[:-1]}", 401),
        (f"Basic {KEY}", 401),
        ("Bearer ", 401),
        ("Bearer schl\xfcssel", 401),
        (KEY, 401),
    ],
)
def test_with_a_key_only_it_opens(given: str | None, status: int | None) -> None:
    headers = {"host": "crops.example"} | ({} if given is None else {"authorization": given})
    refusal = Access(KEY).refusal("POST", "/search", headers)
    assert (None if refusal is None else refusal.status) == status


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/health"])
def test_what_says_nothing_of_anybody_needs_no_key(path: str) -> None:
    assert Access(KEY).refusal("GET", path, {"host": "crops.example"}) is None


@pytest.mark.parametrize("path", ["/list", "/metrics", "/openapi.json", "/page/state", "/crops/1"])
def test_all_else_does(path: str) -> None:
    refusal = Access(KEY).refusal("GET", path, HOME)
    assert refusal is not None and refusal.status == 401


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9000", "127.0.0.1:80", "127.0.0.9", "[::1]:8517"]
)
def test_without_a_key_names_of_this_machine_are_answered(host: str) -> None:
    assert Access().refusal("GET", "/list", {"host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "",
        "[::",
        "a@b",
    ],
)
def test_a_name_that_was_made_to_point_here_is_not(host: str) -> None:
    for path in ("/", "/list"):
        refusal = Access().refusal("GET", path, {"host": host})
        assert refusal is not None and refusal.status == 403 and "localhost" in refusal.sentence


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},  # another program of this machine
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:8517", "sec-fetch-site": "cross-site"},
    ],
)
def test_pages_of_other_addresses_are_refused(headers: dict[str, str]) -> None:
    for method, path in (("POST", "/forget"), ("GET", "/crops/1/picture"), ("DELETE", "/crops/1")):
        refusal = Access().refusal(method, path, HOME | headers)
        assert refusal is not None and refusal.status == 403
    assert Access().refusal("GET", "/", HOME | headers) is None  # a link to the page is no harm
    assert Access().refusal("POST", "/", HOME | headers) is not None


def test_the_own_page_may_ask() -> None:
    headers = HOME | {"origin": "http://127.0.0.1:8517", "sec-fetch-site": "same-origin"}
    assert Access().refusal("POST", "/forget", headers) is None


def test_a_key_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    assert read_key(file, {}) == KEY
    assert read_key(None, {"PARTREID_API_KEY": KEY}) == KEY
    assert read_key(file, {"PARTREID_API_KEY": "another-key-that-is-long"}) == KEY
    assert read_key(None, {}) is None


@pytest.mark.parametrize(
    "text", ["", "short", "two words of some length", "schl\xfcssel-zum-dienst", "a" * 5000]
)
def test_a_key_that_can_be_guessed_or_mangled_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(DataError):
        read_key(file, {})
    if len(text) < 5000:
        with pytest.raises(DataError, match="16 or more plain characters"):
            read_key(None, {"PARTREID_API_KEY": text})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_an_address_that_others_reach_needs_a_key(host: str) -> None:
    with pytest.raises(DataError, match=f"{re.escape(host)} can be reached.*--api-key-file"):
        require_key(host, None)
    require_key(host, KEY)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_this_machine_needs_none(host: str) -> None:
    require_key(host, None)


def test_a_host_that_is_none_is_said() -> None:
    with pytest.raises(DataError, match="no address no-such-host.invalid"):
        require_key("no-such-host.invalid", None)
