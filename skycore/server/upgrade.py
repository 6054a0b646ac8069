"""From an HTTP request to a WebSocket: the opening handshake (RFC 6455, section 4.2)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, final

import h11
import structlog
import trio
from starlette.datastructures import Headers, QueryParams
from wsproto.utilities import generate_accept_token

from skycore.config.address import Address
from skycore.errors import Refusal, WebSocketClosed
from skycore.server.answer import INTERNAL_ERROR, http_date, malformed, separate
from skycore.server.deflate import negotiate
from skycore.server.target import Target
from skycore.server.websocket import KeepAlive, WebSocket
from skycore.server.wire import PeerGone, Wire

_log = structlog.get_logger(__name__)
# When the server stops: how long a peer may take to take our Close.
_FAREWELL_TIME = 0.5


@final
class UpgradeRequest:
    """What a handler knows of a client that asks for a WebSocket, and how it lets it in."""

    def __init__(self, wire: Wire, http: h11.Connection, request: h11.Request, target: Target) -> None:
        self.path = target.path
        self.query = QueryParams(target.query.decode("ascii"))
        self.headers = Headers(raw=list(request.headers))
        self.client = wire.peer_address()
        self.secure = wire.secure
        self.local = wire.local
        self.address = "" if self.client is None else str(Address(*self.client))
        self._key = _check_handshake(request)
        self._wire = wire
        self._http = http
        self._nursery: trio.Nursery | None = None
        self.socket: WebSocket | None = None

    async def accept(
        self,
        headers: Sequence[tuple[str, str]] = (),
        *,
        keep_alive: KeepAlive | None = None,
        message_size: int | None = None,
        compression: bool = False,
    ) -> WebSocket:
        """Answer 101 with these headers besides; from now on the connection is a WebSocket.

        ``keep_alive``: ping at once and again and again, and give up a silent peer.  ``message_size`` replaces
        the limit of the same name.  ``compression``: agree to permessage-deflate when the client offers it; no other
        extension and no sub-protocol is ever agreed to.  Raises WebSocketClosed (1006) when the peer has left.
        """
        if self.socket is not None or self._nursery is None:
            raise RuntimeError("accept() was called twice, or after its handler had ended")
        answer = [
            ("Date", http_date()),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", generate_accept_token(self._key).decode("ascii")),
            *headers,
        ]
        deflate = negotiate(self.headers.getlist("sec-websocket-extensions")) if compression else None
        if deflate is not None:
            answer.append(("Sec-WebSocket-Extensions", deflate.header))
        switch = h11.InformationalResponse(status_code=101, headers=answer, reason=b"Switching Protocols")
        self._wire.cancel_at_end(None)
        # From here on the socket's own task reads all the time: one task less for each WebSocket.
        await self._wire.stop_read_ahead()
        early, _ = self._http.trailing_data
        size = self._wire.limits.message_size if message_size is None else message_size
        try:
            await self._wire.write(self._http.send(switch))
        except PeerGone as error:
            raise WebSocketClosed(1006, str(error)) from error
        self.socket = WebSocket(
            self._wire, early, message_size=size, close_timeout=self._wire.limits.close_timeout, deflate=deflate
        )
        self._nursery.start_soon(self.socket.run)
        if keep_alive is not None:
            self._nursery.start_soon(self.socket.keep_alive, keep_alive)
        return self.socket


UpgradeHandler: TypeAlias = Callable[[UpgradeRequest], Awaitable[None]]
"""Serves one client of a path from before the 101 to the end.

It raises Refusal (401, 403, 404, 409, …) to turn the client away, or calls ``accept`` and talks; when it
returns, the WebSocket is closed with 1000.  WebSocketClosed may pass through it.  Until it accepts, it is
cancelled when the client leaves; afterwards ``receive`` and ``send`` raise WebSocketClosed.
"""


async def serve_upgrade(
    handler: UpgradeHandler, wire: Wire, http: h11.Connection, request: h11.Request, target: Target
) -> None:
    """Check the handshake and run the handler to its end.  Raises Refusal when the client is not let in."""
    upgrade = UpgradeRequest(wire, http, request, target)
    try:
        bodiless = isinstance(http.next_event(), h11.EndOfMessage)
    except h11.RemoteProtocolError as error:
        raise malformed(error) from error
    if not bodiless:
        raise Refusal(400, "a WebSocket upgrade request has no body")
    refusal: Refusal | None = None
    with trio.CancelScope() as until_accepted:
        wire.cancel_at_end(until_accepted)
        async with trio.open_nursery() as nursery:
            upgrade._nursery = nursery
            refusal = await _run_handler(handler, upgrade, wire)
            nursery.cancel_scope.cancel()
    if refusal is not None:
        raise refusal


async def _run_handler(handler: UpgradeHandler, upgrade: UpgradeRequest, wire: Wire) -> Refusal | None:
    """Run the handler and close its WebSocket; what to answer when it did not accept one."""
    failures: list[BaseException] = []
    try:
        await handler(upgrade)
    except BaseException as error:
        onward, failures = separate(error)
        if onward is not None:
            _report(upgrade, failures)
            if upgrade.socket is not None:
                with trio.move_on_after(_FAREWELL_TIME, shield=True):
                    await upgrade.socket.send_close(1001, "the server is stopping")
            raise onward from None
    if upgrade.socket is None:
        refusals = [failure for failure in failures if isinstance(failure, Refusal)]
        if refusals or wire.broken:
            return refusals[0] if refusals else None
    failed = _report(upgrade, failures)
    if upgrade.socket is not None:
        await upgrade.socket.close(1011 if failed else 1000)
        return None
    if not failed:
        _log.error("a WebSocket handler returned without accepting or refusing", path=upgrade.path)
    return INTERNAL_ERROR


def _report(upgrade: UpgradeRequest, failures: list[BaseException]) -> bool:
    """Log what was not the end of the WebSocket; true when there was anything."""
    unexpected = [failure for failure in failures if not isinstance(failure, WebSocketClosed)]
    for failure in unexpected:
        _log.error("a WebSocket handler failed", path=upgrade.path, exc_info=failure)
    return bool(unexpected)


def _check_handshake(request: h11.Request) -> bytes:
    """The client's key, when the request is an opening handshake as RFC 6455, section 4.2.1 wants it."""

    def values(name: bytes) -> list[bytes]:
        return [value for header, value in request.headers if header == name]

    def tokens(name: bytes) -> list[bytes]:
        return [token.strip().lower() for value in values(name) for token in value.split(b",")]

    wanted = (("Upgrade", "websocket"), ("Connection", "Upgrade, close"), ("Sec-WebSocket-Version", "13"))
    is_upgrade = b"websocket" in tokens(b"upgrade") and b"upgrade" in tokens(b"connection")
    if not is_upgrade or request.http_version < b"1.1":
        raise Refusal(426, "this path serves WebSocket only; send an upgrade request", wanted)
    if request.method != b"GET":
        raise Refusal(405, "a WebSocket upgrade request must be a GET", (("Allow", "GET"),))
    versions = values(b"sec-websocket-version")
    if not versions:
        raise Refusal(400, "Sec-WebSocket-Version is missing; it must be 13")
    if versions != [b"13"]:
        raise Refusal(426, "Sec-WebSocket-Version must be 13", wanted)
    keys = values(b"sec-websocket-key")
    try:
        size = len(b64decode(keys[0], validate=True)) if len(keys) == 1 else 0
    except binascii.Error:
        size = 0
    if size != 16:
        raise Refusal(400, "Sec-WebSocket-Key must be given once: 16 bytes in base64")
    return keys[0]
