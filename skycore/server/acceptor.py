"""The one port: HTTP requests go to an ASGI application, WebSocket upgrades to handlers by path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@final
class Acceptor:
    """Serves HTTP/1.1 (RFC 9112) and WebSocket (RFC 6455) on any trio stream.

    ``upgrades`` maps a path to its handler; every other path goes to ``app``.  Whatever happens on a
    connection, including errors of the application and of handlers, ends there.

    A peer that closes its sending side has left: what it asked for is cancelled.
    """

    def __init__(self, app: ASGIApp, upgrades: Mapping[str, UpgradeHandler], limits: Limits | None = None) -> None:
        self._app = app
        self._upgrades = dict(upgrades)
        self._limits = limits or Limits()
        self._connections = 0
        self._refused = 0
        self._full = False

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
        await trio.serve_listeners(self.serve_connection, list(listeners), task_status=task_status)

    async def serve_connection(self, stream: Stream) -> None:
        """Serve one connection to its end and close it; raises nothing but cancellation."""
        wire = Wire(stream, self._limits)
        try:
            if self._connections < self._limits.connections:
                self._connections += 1
                self._full = False
                try:
                    await Connection(wire, self._app, self._upgrades).run()
                finally:
                    self._connections -= 1
            else:
                await self._refuse(wire)
        except BaseException as error:
            onward, failures = separate(error)
            for failure in failures:
                _log.error("a connection failed", peer=wire.peer_address(), exc_info=failure)
            if onward is not None:
                raise onward from None
        finally:
            await wire.abort()

    async def _refuse(self, wire: Wire) -> None:
        if not self._full:
            self._full = True
            _log.warning("too many connections", limit=self._limits.connections, peer=wire.peer_address())
        if self._refused >= _REFUSED_AT_A_TIME:
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
