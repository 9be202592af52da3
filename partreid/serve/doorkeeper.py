"""What stands before the application: it reads requests, and refuses those that may not pass.

A body is counted while it is read, whatever its header promised, so neither one that is too long
nor one without an end takes more memory than :class:`partreid.serve.limits.Limits` says.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any

from partreid.serve.access import Access, Refusal
from partreid.serve.limits import Limits
from partreid.serve.metrics import Metrics
from partreid.utils.files import MIB

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# In which a refused sender may read why before the connection closes: seconds, and bytes dropped.
_LINGER, _DROPPED = 2.0, 8 * MIB
# Only our own files run or are shown; pictures stand in the page itself.
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src "
        b"data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Doorkeeper:
    """An ASGI application around another.

    Args:
        app: What answers.
        access: Who may ask.
        limits: How much.
        metrics: Takes every answer.
    """

    def __init__(self, app: App, access: Access, limits: Limits, metrics: Metrics) -> None:
        self._app, self._access, self._limits, self._metrics = app, access, limits, metrics
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = monotonic(), 500

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        body = bytearray()
        try:
            refusal = self._access.refusal(scope["method"], scope["path"], _headers(scope))
            refusal = refusal or await self._read(scope, receive, body)
            if refusal is not None:
                await _refuse(refusal, receive, answer)
                return
            await self._app(scope, _replayed(bytes(body), receive), answer)
        except _Gone:
            status = 499
        finally:
            self._held -= len(body)
            # by the route, not the path: whoever asks for a million paths makes no million series
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(route, status, monotonic() - start)

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> Refusal | None:
        """The body, into ``body``; or why it is not taken."""
        most = self._limits.body
        too_long = Refusal(
            413,
            f"a request has at most {most / MIB:g} MiB; send smaller pictures, or fewer at once",
        )
        promised = _headers(scope).get("content-length", "0")
        if not promised.isdecimal() or int(promised) > most:
            return too_long
        end = monotonic() + self._limits.seconds
        more = True
        while more:
            try:
                message = await asyncio.wait_for(receive(), max(0.0, end - monotonic()))
            except asyncio.TimeoutError:
                return Refusal(
                    408, f"the request did not arrive within {self._limits.seconds:g} seconds"
                )
            if message["type"] == "http.disconnect":
                raise _Gone
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > most:
                return too_long
            if self._held + len(chunk) > self._limits.held:
                return Refusal(503, "too many requests are under way; send it again in a moment")
            body += chunk
            self._held += len(chunk)
            more = message.get("more_body", False)
        return None


class _Gone(Exception):
    """Whoever asked has hung up."""


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, then whatever comes after it."""
    sent = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(refusal: Refusal, receive: Receive, send: Send) -> None:
    """Answer before the body has ended. Closed at once, the connection would be reset, and the
    sender, still sending, would not read why; so a little more of it is taken and dropped.
    """
    body = json.dumps({"error": refusal.sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    end, more, dropped = monotonic() + _LINGER, True, 0
    while more and dropped < _DROPPED and monotonic() < end:
        try:
            message = await asyncio.wait_for(receive(), max(0.0, end - monotonic()))
        except asyncio.TimeoutError:
            break
        dropped += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
