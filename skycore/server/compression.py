"""Answers compressed as the client asks by Accept-Encoding (RFC 9110, section 12.5.3)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import partial
from typing import Any, Final, final

import trio
from starlette.datastructures import Headers

from skycore.server.asgi import ASGIApp, Message, Receive, Scope, Send

_SMALLEST: Final = 1024
"""Bytes; a shorter answer fits a packet or two anyhow."""
_LEVEL: Final = 4
_IN_THREAD: Final = 64 << 10
"""Bytes; more than this at a time would hold up the event loop for milliseconds."""
_COMPRESSIBLE: Final = ("text/", "application/json", "application/openmetrics-text", "image/svg+xml")
_WINDOW: Final = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
"""`deflate` is the zlib format (RFC 9110, section 8.4.1.2)."""


def chosen_encoding(accepted: Iterable[str]) -> str:
    """``gzip`` or ``deflate``, whichever the values of Accept-Encoding like better; empty for neither."""
    weights: dict[str, float] = {}
    for item in ",".join(accepted).split(","):
        name, _, parameter = item.partition(";")
        weights[name.strip().lower()] = _weight(parameter)
    best = max(_WINDOW, key=lambda name: weights.get(name, weights.get("*", 0.0)))
    return best if weights.get(best, weights.get("*", 0.0)) > 0 else ""


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


@final
class Compression:
    """ASGI middleware; every answer says that it varies by Accept-Encoding."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        encoding = chosen_encoding(Headers(raw=scope["headers"]).getlist("accept-encoding"))
        await self._app(scope, receive, _Sender(send, encoding).send)


@final
class _Sender:
    def __init__(self, send: Send, encoding: str) -> None:
        self._send = send
        self._encoding = encoding
        self._head: Message | None = None
        self._compressor: Any = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = _varying(message.get("headers", ()))
            if self._encoding and _may_be_compressed(message):
                # The body decides: a short one goes as it is.
                self._head = message
            else:
                await self._send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._head is not None:
            head, self._head = self._head, None
            if more or len(body) >= _SMALLEST:
                self._compressor = zlib.compressobj(_LEVEL, wbits=_WINDOW[self._encoding])
                head["headers"] = [pair for pair in head["headers"] if pair[0].lower() != b"content-length"]
                head["headers"].append((b"content-encoding", self._encoding.encode()))
                body = await self._compressed(body, more)
                if not more:
                    head["headers"].append((b"content-length", str(len(body)).encode()))
            await self._send(head)
        elif self._compressor is not None:
            body = await self._compressed(body, more)
        if more and not body:
            return
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _compressed(self, body: bytes, more: bool) -> bytes:
        if len(body) <= _IN_THREAD:
            packed = self._compressor.compress(body)
        else:
            # Nobody uses the compressor again after a cancellation.
            packed = await trio.to_thread.run_sync(partial(self._compressor.compress, body), abandon_on_cancel=True)
        return bytes(packed if more else packed + self._compressor.flush())


def _varying(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    kept = list(headers)
    for at, (name, value) in enumerate(kept):
        if name.lower() == b"vary":
            kept[at] = (name, value + b", Accept-Encoding")
            return kept
    return [*kept, (b"vary", b"Accept-Encoding")]


def _may_be_compressed(start: Message) -> bool:
    headers = Headers(raw=list(start["headers"]))
    return (
        start["status"] not in (204, 304)
        and "content-encoding" not in headers
        and headers.get("content-type", "").startswith(_COMPRESSIBLE)
    )
