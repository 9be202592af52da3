"""Who may ask: anybody on this machine, from elsewhere whoever has the key.

Without a key a browser on this machine is the way in for others: a page of theirs can send forms to
127.0.0.1, and a name of theirs can be made to point there (DNS rebinding). Both say who they are,
in ``Origin``, ``Sec-Fetch-Site`` and ``Host``. With a key neither helps them: it is no cookie, so
no browser sends it by itself.
"""

import hmac
import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from partreid.errors import DataError
from partreid.utils.arguments import door
from partreid.utils.files import read_text

VARIABLE = "PARTREID_API_KEY"
SHORTEST = 16  # characters of a key
OPEN = ("/", "/page.css", "/page.js", "/health")  # say nothing of anybody
_KEY_FILE = 4096  # bytes
_MAKE_ONE = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered, as status and sentence."""

    status: int
    sentence: str


@dataclass(frozen=True)
class Access:
    """The rule for every request.

    Args:
        key: What ``Authorization: Bearer`` must say; None: only browsers and programs of this
            machine ask.
    """

    key: str | None = None

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """Why a request is refused; None if it is not.

        Args:
            method: Of the request, in capitals.
            path: Without the query.
            headers: By their names in small letters.
        """
        return (
            self._stranger(method, path, headers)
            if self.key is None
            else self._no_key(path, headers)
        )

    def _no_key(self, path: str, headers: Mapping[str, str]) -> Refusal | None:
        assert self.key is not None, "asked only where there is one"
        if path in OPEN:
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        # in constant time: else a key is found letter by letter
        same = hmac.compare_digest(given.strip().encode(), self.key.encode())
        if kind.lower() == "bearer" and same:
            return None
        return Refusal(401, "this service needs its key; send it as Authorization: Bearer KEY")

    def _stranger(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        host = headers.get("host", "")
        if not _is_here(host):
            return Refusal(
                403,
                "without a key this service answers only to names of this machine, such as "
                f"localhost, not to {host[:80] or 'none'}; start it with a key",
            )
        if method == "GET" and path in OPEN:  # a link to the page is no harm
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if (origin is not None and urlsplit(origin).netloc != host) or site not in (
            "none",
            "same-origin",
        ):
            return Refusal(
                403,
                "this request comes from the page of another address; without a key only the "
                "service's own page may ask",
            )
        return None


@door
def read_key(file: Path | None, environment: Mapping[str, str] | None = None) -> str | None:
    """The key of a file, or of the environment's ``PARTREID_API_KEY``; None if neither is there.

    Args:
        file: Holds the key alone, in one line.
        environment: None: that of this process.

    Raises:
        DataError: There is no such file, or the key is short or no plain text.
    """
    if file is not None:
        key, where = read_text(file, _KEY_FILE, "file of a key").strip(), str(file)
    else:
        value = (os.environ if environment is None else environment).get(VARIABLE)
        if value is None:
            return None
        key, where = value.strip(), VARIABLE
    if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
        raise DataError(
            f"the key in {where} must be one word of {SHORTEST} or more plain characters; make "
            f"one: {_MAKE_ONE}"
        )
    return key


@door
def require_key(host: str, key: str | None) -> None:
    """DataError if an address that others can reach is to be served without a key."""
    if key is None and not _loopback(host):
        raise DataError(
            f"{host} can be reached from other machines, so the service needs a key: give "
            f"--api-key-file FILE or set {VARIABLE} (make one: {_MAKE_ONE}), or leave --host away"
        )


def _loopback(host: str) -> bool:
    """Whether all that a name stands for is this machine alone."""
    try:
        every = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        raise DataError(
            f"there is no address {host[:80]} on this machine; give --host an own one"
        ) from None
    return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in every)


def _is_here(host: str) -> bool:
    """Whether a ``Host`` header names this machine; the port may be another, as of a tunnel."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
