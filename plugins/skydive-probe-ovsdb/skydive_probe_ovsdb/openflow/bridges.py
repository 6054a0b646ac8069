"""Which bridges' rules are followed, and in which way; each bridge has a task of its own."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Final

import attrs
import trio

from skycore.plugin import ProbeHost
from skydive_probe_ovsdb.address import Address, Certificates, parse
from skydive_probe_ovsdb.errors import SourceLost
from skydive_probe_ovsdb.openflow.ledger import Ledger
from skydive_probe_ovsdb.openflow.native import NativeBridge
from skydive_probe_ovsdb.openflow.ofctl import OfctlBridge

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
LOG_SECONDS: Final = 60.0
_SHOWN: Final = 20


@attrs.frozen(eq=False)
class _Task:
    name: str
    scope: trio.CancelScope
    rules: Ledger
    groups: Ledger


class Bridges:
    """Starts and ends tasks as bridges come and go.  ``addresses`` are those that the configuration names."""

    def __init__(
        self,
        host: ProbeHost,
        nursery: trio.Nursery,
        database: Address,
        addresses: Mapping[str, str],
        certificates: Certificates,
        versions: tuple[str, ...],
        *,
        native: bool,
    ) -> None:
        self._host = host
        self._nursery = nursery
        self._folder = posixpath.dirname(database.path) if database.path else ""
        self._addresses = addresses
        self._certificates = certificates
        self._versions = versions
        self._native = native
        self._tasks: dict[str, _Task] = {}
        self._shown: dict[str, str] = {}
        self._logged_at = float("-inf")

    def update(self, bridges: Mapping[str, str]) -> None:
        """These bridges are there: UUID → name."""
        for uuid, task in list(self._tasks.items()):
            if bridges.get(uuid) != task.name:
                task.scope.cancel()
                task.rules.close()
                task.groups.close()
                del self._tasks[uuid]
                self._shown.pop(task.name, None)
                self._show()
        for uuid, name in bridges.items():
            if uuid not in self._tasks:
                rules, groups = (Ledger(self._host, uuid, kind) for kind in ("ofrule", "ofgroup"))
                task = self._tasks[uuid] = _Task(name, trio.CancelScope(), rules, groups)
                self._nursery.start_soon(self._keep, task)

    def _address(self, name: str) -> Address:
        if name in self._addresses:
            return parse(self._addresses[name])
        if not self._folder:
            raise SourceLost("where its OpenFlow socket is, is not known: name it in ovs.oflow.address")
        if "/" in name or name.startswith("."):
            raise SourceLost("its name is no name of a socket")
        return Address(path=posixpath.join(self._folder, f"{name}.mgmt"))

    async def _keep(self, task: _Task) -> None:
        with task.scope:
            await self._follow(task)

    async def _follow(self, task: _Task) -> None:
        name = task.name
        pause = FIRST_PAUSE
        follower: NativeBridge | OfctlBridge | None = None

        def report(text: str) -> None:
            if not task.scope.cancel_called:
                self._shown[name] = text
            self._show()

        while True:
            began = trio.current_time()
            try:
                if follower is None:
                    address = self._address(name)
                    kind = NativeBridge if self._native else OfctlBridge
                    follower = kind(address, self._certificates, self._versions, task.rules, task.groups)
                await follower.follow(report)
                reason = "the connection ended"
            except* SourceLost as error:
                reason = _first(error)
            report(f"lost: {reason}"[:300])
            self._log(name, reason)
            if trio.current_time() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _show(self) -> None:
        names = sorted(self._shown)
        shown = {name[:64]: self._shown[name] for name in names[:_SHOWN]}
        if len(names) > _SHOWN:
            shown["…"] = f"and {len(names) - _SHOWN} more"
        self._host.status(openflow=shown or None)

    def _log(self, name: str, reason: str) -> None:
        if trio.current_time() - self._logged_at >= LOG_SECONDS:
            self._logged_at = trio.current_time()
            self._host.log.warning(
                "a bridge's rules are lost; asking again every few seconds", bridge=name, reason=reason
            )


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
