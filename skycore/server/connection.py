"""One connection from its first byte to its last: requests one after the other, or one WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import h11
import structlog
import trio

from skycore.errors import Refusal
from skycore.server.answer import malformed, refusal_bytes
from skycore.server.asgi import ASGIApp, Exchange, asgi_scope, body_too_large
from skycore.server.target import parse_target
from skycore.server.upgrade import UpgradeHandler, serve_upgrade
from skycore.server.wire import PeerGone, Wire

_log = structlog.get_logger(__name__)
# A body that the application did not read is taken up to here, so that the connection can serve the next request.
_UNREAD_BODY = 64 << 10


@final
class Connection:
    """The loop over a connection's requests; ``run`` returns when the stream can be closed."""

    def __init__(self, wire: Wire, app: ASGIApp, upgrades: Mapping[str, UpgradeHandler]) -> None:
        self._wire = wire
        self._app = app
        self._upgrades = upgrades
        self._limits = wire.limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=wire.limits.header_size)
        self._method = b"GET"

    async def run(self) -> None:
        """Serve until the peer leaves, asks to close, misbehaves, or is idle for too long."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._wire.read_ahead)
            try:
                while await self._serve_one():
                    self._http.start_next_cycle()
            except Refusal as refusal:
                _log.debug("request refused", status=refusal.status, reason=refusal.text)
                try:
                    await self._wire.write(refusal_bytes(refusal, self._method))
                except PeerGone:
                    pass
            await self._wire.linger()
            nursery.cancel_scope.cancel()

    async def _serve_one(self) -> bool:
        """Serve one request; true when the connection can serve another.  Raises Refusal."""
        self._method = b"GET"
        request = await self._next_request()
        if request is None:
            return False
        self._method = request.method
        self._check(request)
        target = parse_target(request.target)
        handler = self._upgrades.get(target.path)
        if handler is not None:
            await serve_upgrade(handler, self._wire, self._http, request, target)
            return False
        exchange = Exchange(self._wire, self._http, request)
        await exchange.run(self._app, asgi_scope(request, target, self._wire))
        return exchange.complete and await self._finish_cycle()

    async def _next_request(self) -> h11.Request | None:
        limits = self._limits
        first = self._http.their_http_version is None
        begun = bool(self._http.trailing_data[0])
        with trio.move_on_after(limits.header_time if first or begun else limits.idle_time) as timeout:
            while True:
                try:
                    event = self._http.next_event()
                except h11.RemoteProtocolError as error:
                    raise malformed(error) from error
                if isinstance(event, h11.Request):
                    return event
                if event is not h11.NEED_DATA:
                    return None
                data = await self._wire.read()
                if data and not begun:
                    begun = True
                    timeout.deadline = trio.current_time() + limits.header_time
                self._http.receive_data(data)
        if begun:
            raise Refusal(408, f"the request's headers took longer than {limits.header_time:g} s")
        return None

    def _check(self, request: h11.Request) -> None:
        """What h11 lets pass.  Raises Refusal."""
        head_size = len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
        if head_size > self._limits.header_size:
            raise Refusal(431, f"the request's headers are larger than {self._limits.header_size} bytes")
        if not request.http_version.startswith(b"1."):
            raise Refusal(505, "this server speaks HTTP/1.1 only")
        if request.method == b"CONNECT":
            raise Refusal(501, "this server is no proxy; CONNECT is not served")
        headers = dict(request.headers)
        chunked = b"transfer-encoding" in headers
        # Two readings of where a body ends let requests be smuggled past a proxy (RFC 9112, section 6.1).
        if chunked and b"content-length" in headers:
            raise Refusal(400, "malformed HTTP request: both Transfer-Encoding and Content-Length are given")
        if chunked and request.http_version == b"1.0":
            raise Refusal(400, "malformed HTTP request: HTTP/1.0 has no Transfer-Encoding")
        if int(headers.get(b"content-length", 0)) > self._limits.largest_body(request.target):
            raise body_too_large(self._limits)

    async def _finish_cycle(self) -> bool:
        """Take what is left of the request's body; true when the next request may follow."""
        unread = 0
        if self._http.our_state is not h11.DONE:
            return False
        with trio.move_on_after(self._limits.linger_time):
            while self._http.their_state is h11.SEND_BODY and unread <= _UNREAD_BODY:
                try:
                    event = self._http.next_event()
                except h11.RemoteProtocolError:
                    return False
                if isinstance(event, h11.Data):
                    unread += len(event.data)
                elif event is h11.NEED_DATA:
                    data = await self._wire.read()
                    unread += len(data)
                    self._http.receive_data(data)
        return self._http.their_state is h11.DONE
