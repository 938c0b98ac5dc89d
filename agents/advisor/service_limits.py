"""What a request may cost: bytes, seconds, and how many in a row; and the headers that every answer has."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.advisor.errors import AdvisorError
from agents.advisor.service_errors import problem

__all__ = ["Limits", "RateLimiter"]

#: No script at all, nothing from elsewhere, forms only to the service itself. With ``no-referrer`` browsers would hide
#: where a form comes from, which is checked.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
#: How many senders the rate limiter remembers.
_REMEMBERED = 10_000


class RateLimiter:
    """A token bucket for each sender: ``rate`` requests a second on average, twice as many at once.

    Parameters
    ----------
    rate
        Requests a second.
    clock
        Seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._clock = rate, max(2.0 * rate, 1.0), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, sender: str) -> None:
        """Count one request; AdvisorError ``TOO_MANY`` where there were too many."""
        now = self._clock()
        left, before = self._left.pop(sender, (self._most, now))
        left = min(self._most, left + (now - before) * self._rate)
        self._left[sender] = (left - 1.0 if left >= 1.0 else left, now)
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        if left < 1.0:
            raise AdvisorError("TOO_MANY", f"more than {self._rate:g} requests a second; wait and ask again")


class Limits:
    """ASGI middleware: a request is read whole before anything happens with it, and answered in time.

    What takes too long goes on: a thread cannot be stopped in the middle of a transaction. Its answer is lost, and
    whoever asks again with the same ``request_id`` gets it.

    Parameters
    ----------
    app
        What is asked.
    body_bytes
        Longest body.
    timeout_seconds
        For reading a body, and for answering.
    """

    def __init__(self, app: ASGIApp, *, body_bytes: int, timeout_seconds: float) -> None:
        self._app, self._bytes, self._seconds = app, body_bytes, timeout_seconds
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = _Sent(send)
        try:
            body = await self._read(scope, receive)
        except AdvisorError as error:
            await problem(error, scope["path"])(scope, receive, sent)
            return
        if body is not None:
            await self._answer(scope, _replay(body, receive), sent)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None when the sender has gone."""
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        parts: list[bytes] = []
        length = int(stated) if stated.isdigit() else 0
        more = length <= self._bytes
        try:
            async with asyncio.timeout(self._seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    length = sum(len(part) for part in parts)
                    more = message.get("more_body", False) and length <= self._bytes
        except TimeoutError:
            raise AdvisorError("SLOW", f"the request was not there after {self._seconds:g} s") from None
        if length > self._bytes:
            raise AdvisorError("TOO_LARGE", f"the request is longer than {self._bytes} bytes")
        return b"".join(parts)

    async def _answer(self, scope: Scope, receive: Receive, sent: _Sent) -> None:
        task = asyncio.ensure_future(self._app(scope, receive, sent))
        self._late.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait({task}, timeout=self._seconds)
        if done:
            task.result()
            return
        late = _Sent(sent.close())
        if not sent.started:
            error = AdvisorError(
                "TIMEOUT", f"no answer after {self._seconds:g} s; it may still be done: ask again with the same id"
            )
            await problem(error, scope["path"])(scope, receive, late)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            # Looked at, so that a late failure, which the log has already, is not reported as lost.
            task.exception()


class _Sent:
    """Adds the headers, and knows whether an answer has begun; closed, it lets nothing through any more."""

    def __init__(self, send: Send) -> None:
        self._send: Send | None = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if self._send is None:
            return
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    def close(self) -> Send:
        """Let nothing through from now on; what it sent to."""
        send, self._send = self._send, None
        if send is None:
            raise RuntimeError("closed twice")
        return send


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
