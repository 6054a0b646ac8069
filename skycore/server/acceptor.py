"""The one port: HTTP requests go to an ASGI application, WebSocket upgrades to handlers by path."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import final

import structlog
import trio
from trio.abc import Listener, Stream

from skycore.errors import Refusal
from skycore.server.answer import refusal_bytes, separate
from skycore.server.asgi import ASGIApp
from skycore.server.connection import Connection
from skycore.server.limits import Limits
from skycore.server.upgrade import UpgradeHandler
from skycore.server.wire import PeerGone, Wire

_log = structlog.get_logger(__name__)
# So many connections over the limit are told so at a time; those beyond are closed without a word.
_REFUSED_AT_A_TIME = 64
# Failed TLS handshakes are told of once in so many seconds: whoever scans a network makes many.
_TOLD_EVERY = 10.0


@final
class Acceptor:
    """Serves HTTP/1.1 (RFC 9112) and WebSocket (RFC 6455) on any trio stream.

    ``upgrades`` maps a path to its handler; every other path goes to ``app``.  Whatever happens on a
    connection, including errors of the application and of handlers, ends there.

    A peer that closes its sending side has left: what it asked for is cancelled.

    ``tls`` is asked for the context of each connection that ``serve`` accepts; without it, or when it gives None,
    they are plain.
    """

    def __init__(
        self,
        app: ASGIApp,
        upgrades: Mapping[str, UpgradeHandler],
        limits: Limits | None = None,
        tls: Callable[[], ssl.SSLContext | None] = lambda: None,
    ) -> None:
        self._app = app
        self._tls = tls
        self._upgrades = dict(upgrades)
        self._limits = limits or Limits()
        self._connections = 0
        self._refused = 0
        self._full = False
        self._handshakes_failed = 0
        self._tell_from = 0.0

    @property
    def connections(self) -> int:
        """How many connections are served at present."""
        return self._connections

    async def serve(
        self,
        listeners: Sequence[Listener[Stream]],
        *,
        task_status: trio.TaskStatus[list[Listener[Stream]]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve connections until cancelled; the listeners are closed then."""
        await trio.serve_listeners(self._serve_accepted, list(listeners), task_status=task_status)

    async def _serve_accepted(self, stream: Stream) -> None:
        await self._serve(stream, self._tls())

    async def serve_connection(self, stream: Stream) -> None:
        """Serve one connection, as it is, to its end and close it; raises nothing but cancellation."""
        await self._serve(stream, None)

    async def _serve(self, stream: Stream, context: ssl.SSLContext | None) -> None:
        wire = Wire(stream, self._limits)
        try:
            if self._connections < self._limits.connections:
                self._connections += 1
                self._full = False
                try:
                    encrypted = wire if context is None else await self._shake_hands(stream, context, wire)
                    if encrypted is not None:
                        wire = encrypted
                        await Connection(wire, self._app, self._upgrades).run()
                finally:
                    self._connections -= 1
            else:
                await self._refuse(wire, plain=context is None)
        except BaseException as error:
            onward, failures = separate(error)
            for failure in failures:
                _log.error("a connection failed", peer=wire.peer_address(), exc_info=failure)
            if onward is not None:
                raise onward from None
        finally:
            await wire.abort()

    async def _shake_hands(self, stream: Stream, context: ssl.SSLContext, plain: Wire) -> Wire | None:
        """The encrypted stream; None when the peer does not get there within ``header_time``."""
        # Clients that leave without TLS's farewell are common, and lengths are told by HTTP.
        peer = plain.peer_address()
        encrypted = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        reason = f"it took longer than {self._limits.header_time:g} s"
        with trio.move_on_after(self._limits.header_time):
            try:
                await encrypted.do_handshake()
                return Wire(encrypted, self._limits)
            except trio.BrokenResourceError as error:
                cause = error.__cause__
                reason = str(getattr(cause, "reason", None) or cause or "the peer has left")
                if reason == "HTTP_REQUEST":
                    await plain.write(refusal_bytes(Refusal(400, "this port speaks TLS: use https:// or wss://")))
                    await plain.linger()
        self._handshakes_failed += 1
        now = trio.current_time()
        if now >= self._tell_from:
            self._tell_from = now + _TOLD_EVERY
            _log.warning("a TLS handshake failed", peer=peer, reason=reason, all=self._handshakes_failed)
        return None

    async def _refuse(self, wire: Wire, *, plain: bool) -> None:
        if not self._full:
            self._full = True
            _log.warning("too many connections", limit=self._limits.connections, peer=wire.peer_address())
        if self._refused >= _REFUSED_AT_A_TIME or not plain:
            return
        self._refused += 1
        try:
            text = f"too many connections: this server serves {self._limits.connections} at once; try again later"
            await wire.write(refusal_bytes(Refusal(503, text, (("Retry-After", "1"),))))
            await wire.linger()
        except PeerGone:
            pass
        finally:
            self._refused -= 1
