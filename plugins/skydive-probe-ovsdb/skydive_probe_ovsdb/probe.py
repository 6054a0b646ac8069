"""The probe: keeps the graph equal to what the database of Open vSwitch says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import attrs
import trio

from skycore.plugin import ProbeHost
from skydive_probe_ovsdb.address import Address, Certificates, parse
from skydive_probe_ovsdb.client import Update, connected
from skydive_probe_ovsdb.errors import BadAnswer, SourceLost
from skydive_probe_ovsdb.fields import columns_to_watch
from skydive_probe_ovsdb.model import Model
from skydive_probe_ovsdb.openflow.bridges import Bridges
from skydive_probe_ovsdb.openflow.wire import VERSIONS
from skydive_probe_ovsdb.places import Places
from skydive_probe_ovsdb.publish import Publisher
from skydive_probe_ovsdb.rows import Rows
from skydive_probe_ovsdb.schema import Column

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
LOG_SECONDS = 60.0
CALM_SECONDS: Final = 0.02
"""Changes of the graph are gathered for so long before devices are looked for."""
THOROUGH_SECONDS = 5.0


@attrs.frozen
class OpenFlowSettings:
    """Whether and how the rules of bridges are shown; see README.md."""

    enable: bool = False
    native: bool = False
    openflow_versions: tuple[str, ...] = ("OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14")
    cert: str = ""
    key: str = attrs.field(default="", metadata={"secret": True})
    ca: str = ""
    address: Mapping[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for text in self.address.values():
            parse(text)
        wrong = [version for version in self.openflow_versions if version not in VERSIONS]
        if wrong or not self.openflow_versions:
            raise ValueError(f"openflow_versions are some of {', '.join(VERSIONS)}, not {', '.join(wrong) or 'none'}")

    @property
    def certificates(self) -> Certificates:
        return Certificates(self.cert, self.key, self.ca)


class OvsdbProbe:
    """Bridges, ports and interfaces of Open vSwitch, and on request its OpenFlow rules and groups.

    ``run`` counts as started with the first complete inventory; until then, and whenever the database is lost, the
    status says why.
    """

    section: ClassVar = "ovs"
    roles: ClassVar = frozenset({"agent"})
    capabilities: ClassVar = frozenset({"CAP_SYS_ADMIN"})
    precedence: ClassVar = {"Type": frozenset({"netlink"}), "Driver": frozenset({"netlink"})}

    @attrs.frozen
    class Settings:
        """``ovsdb``: where the database listens; ``enable_stats``: whether to follow the counters of interfaces."""

        ovsdb: str = "unix:///var/run/openvswitch/db.sock"
        enable_stats: bool = False
        oflow: OpenFlowSettings = OpenFlowSettings()

        def __attrs_post_init__(self) -> None:
            parse(self.ovsdb)

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._settings = settings
        self._host = host
        self._address: Address = parse(settings.ovsdb)
        self._places = Places(host)
        self._publisher = Publisher(host, self._places)
        self._rows: Rows | None = None
        self._model: Model | None = None
        self._columns: Mapping[str, Mapping[str, Column]] = {}
        self._last = ""
        self._bridges: Bridges | None = None
        self._logged_at = float("-inf")
        self._failing = False
        self._complete_at: float | None = None

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Follow the database, and come back to it when it is lost, until cancelled."""
        started = False

        def complete() -> None:
            nonlocal started
            if not started:
                started = True
                task_status.started()

        async with trio.open_nursery() as nursery:
            oflow = self._settings.oflow
            if oflow.enable:
                self._bridges = Bridges(
                    self._host,
                    nursery,
                    self._address,
                    oflow.address,
                    oflow.certificates,
                    oflow.openflow_versions,
                    native=oflow.native,
                )
            nursery.start_soon(self._follow_devices)
            await self._follow_for_ever(complete)

    # ------------------------------------------------------------------ the database

    async def _follow_for_ever(self, complete: Callable[[], None]) -> None:
        pause = FIRST_PAUSE
        while True:
            self._complete_at = None
            try:
                await self._follow(complete)
                reason = "the connection ended"
            except SourceLost as error:
                reason = str(error)
                if isinstance(error, BadAnswer):
                    self._rows = None
            self._lost(reason)
            # A server that answers only to break off at once is not to be asked in a tight loop.
            if self._complete_at is not None and trio.current_time() - self._complete_at > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _follow(self, complete: Callable[[], None]) -> None:
        """One connection, from its first inventory to its loss."""
        async with connected(self._address) as client:
            schema = await client.schema()
            columns = _watched(schema, statistics=self._settings.enable_stats)
            if columns != self._columns:
                self._rows, self._columns = None, columns
            updates = client.monitor(columns, self._last if self._rows is not None else "")
            async for update in updates:
                self._take(update)
                if self._complete_at is None:
                    self._found()
                    complete()
                self._show()

    def _take(self, update: Update) -> None:
        if self._complete_at is not None and self._model is not None:
            self._publisher.say(self._model.touched(self._model.rows.apply(update)))
        else:
            rows = Rows(self._columns) if update.complete or self._rows is None else self._rows
            rows.apply(update)
            self._rows = rows
            self._model = Model(rows)
            self._publisher.say_all(self._model)
        if self._bridges is not None and (update.complete or "Bridge" in update.rows):
            bridges = self._model.rows.tables["Bridge"]
            self._bridges.update({uuid: str(row.get("name") or "") for uuid, row in bridges.items()})
        if update.last:
            self._last = update.last

    async def _follow_devices(self) -> None:
        """Look again for the devices of interfaces when the graph has changed."""
        looked_at = trio.current_time()
        due = math.inf
        while True:
            with trio.move_on_at(due):
                await self._places.changed()
            await trio.sleep(CALM_SECONDS)
            now = trio.current_time()
            thorough = now - looked_at >= THOROUGH_SECONDS
            if thorough:
                looked_at = now
            # What only a thorough look finds has one coming, though nothing else may happen.
            due = math.inf if thorough else looked_at + THOROUGH_SECONDS
            self._publisher.say(self._publisher.misplaced(thorough=thorough))

    # ------------------------------------------------------------------ what people see

    def _found(self) -> None:
        self._complete_at = trio.current_time()
        self._host.stale(None)
        self._host.status(database=None)
        if self._failing:
            self._failing = False
            self._host.log.info("Open vSwitch's database answers again", address=str(self._address))

    def _show(self) -> None:
        refused = self._publisher.refused
        shown: dict[str, Any] = {**self._publisher.counts(), "refused": None}
        if refused:
            shown["refused"] = f"{len(refused)} shown by name only; {next(iter(refused.values()))[:300]}"
        self._host.status(**shown)

    def _lost(self, reason: str) -> None:
        message = f"{self._address}: {reason}"
        self._host.stale(message)
        self._host.status(database=message)
        self._failing = True
        if trio.current_time() - self._logged_at >= LOG_SECONDS:
            self._logged_at = trio.current_time()
            self._host.log.warning("Open vSwitch's database is lost; asking again every few seconds", reason=message)


def _watched(schema: Mapping[str, Mapping[str, Column]], *, statistics: bool) -> dict[str, dict[str, Column]]:
    """What to watch of what this server has."""
    wanted = columns_to_watch(statistics)
    if "Bridge" not in schema:
        raise BadAnswer("the database has no table Bridge; is it that of Open vSwitch?")
    return {
        table: {name: schema[table][name] for name in sorted(names) if name in schema[table]}
        for table, names in wanted.items()
        if table in schema
    }
