"""The one port of a role: REST for readers, WebSockets for subscribers and agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from skycore.config import Address, Config
from skycore.errors import SkycoreError
from skycore.gremlin import Limits
from skycore.server import limits
from skycore.server.acceptor import Acceptor
from skycore.server.api.recordings import PATH
from skycore.server.certificates import Certificates
from skycore.server.upgrade import UpgradeHandler
from skycore.server.websocket import KeepAlive


def keep_alive(config: Config) -> KeepAlive:
    """The configured ping rules."""
    return KeepAlive(ping_delay=config.http.ws.ping_delay, pong_timeout=config.http.ws.pong_timeout)


def query_limits(config: Config) -> Limits:
    """What one query may use."""
    return Limits(elements=config.http.rest.query_elements, seconds=config.http.rest.query_timeout)


class Port:
    """Listens on one address and serves until cancelled."""

    def __init__(
        self, key: str, address: Address, app: Any, upgrades: Mapping[str, UpgradeHandler], certificates: Certificates
    ) -> None:
        self._key = key
        self._address = address
        whole = limits.Limits(any_size=frozenset({PATH}))
        self.acceptor = Acceptor(app, upgrades, whole, tls=lambda: certificates.server)
        self.bound: list[str] = []

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Started when the address is bound; raises SkycoreError when it cannot be."""
        try:
            listeners = await trio.open_tcp_listeners(self._address.port, host=self._address.host)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SkycoreError(f"cannot listen on {self._address} ({self._key}): {reason}") from error
        self.bound = [_text(listener.socket.getsockname()) for listener in listeners]
        task_status.started()
        await self.acceptor.serve(listeners)

    async def connect(self, nursery: trio.Nursery) -> trio.SocketStream:
        """A connection from inside this process, served like any other."""
        ours, theirs = trio.socket.socketpair()
        nursery.start_soon(self.acceptor.serve_connection, trio.SocketStream(theirs))
        return trio.SocketStream(ours)


def _text(name: Any) -> str:
    return str(Address(name[0], name[1]))
