"""What the kernel keeps in tables beside the links: routes, neighbours, forwarding databases, rules, and so on.

Messages about changes of a table only say that it changed; then it is read anew.  So nothing depends on which changes
the kernel announces (it is silent about many, such as the IPv4 routes that go with an address), and a loss of messages
costs nothing.  What a table costs is bounded: it is left alone for twenty times as long as reading it took.
"""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs
import trio

from skycore.plugin import netlink
from skydive_probe_netlink import bridging, neighbours, nexthops, routes, rules, traffic
from skydive_probe_netlink.attributes import AF_BRIDGE
from skydive_probe_netlink.socket import RequestSocket

ENTRIES: Final = 10_000
"""How many routes, neighbours or forwarding entries of one interface are shown at most."""

GROUPS: Final = (3, 4, 7, 8, 11, 19, 26, 32, 33)
"""linux/rtnetlink.h, RTNLGRP_: NEIGH, TC, IPV4_ROUTE, IPV4_RULE, IPV6_ROUTE, IPV6_RULE, MDB, NEXTHOP, BRVLAN."""

BUFFER: Final = 256 << 10
"""Bytes of messages about changes that the kernel may keep; more are not worth keeping."""

NAMESPACE: Final = 0
"""Stands where an ifindex does for what belongs to no interface."""

_HEAR_PAUSE: Final = 0.02
_LOAD_PAUSE: Final = 0.03
_LOAD_SHARE: Final = 20
_TRIES: Final = 3
_FAILED_SECONDS: Final = 0.1
_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EINVAL, errno.ENODEV, errno.ENOENT})

Ask: TypeAlias = Callable[[Callable[[int], bytes]], list[bytes]]
"""Sends a dump request and returns the answer's buffers."""

Contents: TypeAlias = dict[int, dict[str, Any]]
"""Metadata by ifindex."""

Load: TypeAlias = Callable[[Ask], Contents | None]
"""Reads one table, in a worker thread; None leaves it as it is."""

OF_LINKS: Final = ("routes", "neighbours", "fdb", "vlans", "groups", "traffic", "tunnels", "wireguard", "team")
"""Tables that may change, unheard, when a link or an address does."""


def _load_routes(ask: Ask) -> Contents:
    try:
        hops = nexthops.read(ask(nexthops.dump_request))
    except netlink.NetlinkError as error:
        # Linux before 5.3 has none.
        if error.errno not in _UNSUPPORTED:
            raise
        hops = {}
    found = routes.tables_by_interface(routes.read(ask(routes.dump_request), nexthops.ways(hops)), ENTRIES)
    contents: Contents = {index: {"RoutingTables": tables} for index, tables in found.items()}
    if hops:
        contents[NAMESPACE] = {"Nexthops": list(hops.values())[:ENTRIES]}
    return contents


def _load_neighbours(ask: Ask) -> Contents:
    found = neighbours.by_interface(ask(neighbours.neighbour_request), ENTRIES)
    return {index: {"Neighbors": entries} for index, entries in found.items()}


def _load_fdb(ask: Ask) -> Contents:
    found = neighbours.by_interface(ask(neighbours.fdb_request), ENTRIES)
    return {index: {"FDB": entries} for index, entries in found.items()}


def _load_rules(ask: Ask) -> Contents:
    return {NAMESPACE: {"Rules": rules.read(ask(rules.dump_request), ENTRIES)}}


def _load_vlans(ask: Ask) -> Contents:
    found = bridging.vlans_by_interface(ask(bridging.vlan_request))
    return {index: {"BridgeVlans": vlans} for index, vlans in found.items()}


def _load_groups(ask: Ask) -> Contents:
    found = bridging.groups_by_bridge(ask(bridging.mdb_request), ENTRIES)
    return {index: {"MDB": entries} for index, entries in found.items()}


def _load_traffic(ask: Ask) -> Contents:
    qdiscs, places = traffic.qdiscs(ask(traffic.qdisc_request))
    contents: dict[int, dict[str, Any]] = {index: {"Qdiscs": entries} for index, entries in qdiscs.items()}
    for index in traffic.with_classes(qdiscs):
        try:
            classes = traffic.classes(ask(_class_request(index)))
        except netlink.NetlinkError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            continue
        if classes:
            contents[index]["Classes"] = classes[:ENTRIES]
    for index, parent in places:
        try:
            found = traffic.filters(ask(_filter_request(index, parent)))
        except netlink.NetlinkError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            continue
        if found:
            contents[index].setdefault("Filters", []).extend(found[:ENTRIES])
    return contents


def _class_request(index: int) -> Callable[[int], bytes]:
    return lambda sequence: traffic.class_request(sequence, index)


def _filter_request(index: int, parent: int) -> Callable[[int], bytes]:
    return lambda sequence: traffic.filter_request(sequence, index, parent)


LOADS: Final[Mapping[str, Load]] = {
    "routes": _load_routes,
    "neighbours": _load_neighbours,
    "fdb": _load_fdb,
    "rules": _load_rules,
    "vlans": _load_vlans,
    "groups": _load_groups,
    "traffic": _load_traffic,
}
"""The tables that rtnetlink has."""


def told_by(type: int, family: int) -> tuple[str, ...]:
    """The tables whose change a message of this type (RTM_…) and family tells."""
    if type in {routes.RTM_NEWROUTE, routes.RTM_DELROUTE, nexthops.RTM_NEWNEXTHOP, nexthops.RTM_DELNEXTHOP}:
        return ("routes", "tunnels")
    if type in {neighbours.RTM_NEWNEIGH, neighbours.RTM_DELNEIGH}:
        return ("fdb", "tunnels") if family == AF_BRIDGE else ("neighbours",)
    if type in {rules.RTM_NEWRULE, rules.RTM_DELRULE}:
        return ("rules", "tunnels")
    if traffic.RTM_NEWQDISC <= type <= traffic.RTM_DELTFILTER:
        return ("traffic",)
    if type in {bridging.RTM_NEWMDB, bridging.RTM_DELMDB}:
        return ("groups",)
    if type in {bridging.RTM_NEWVLAN, bridging.RTM_DELVLAN}:
        return ("vlans",)
    return ()


@attrs.define
class _State:
    """A table's contents, whether they are to be read anew, and not before when (trio's clock)."""

    contents: Contents = attrs.field(factory=dict)
    dirty: bool = True
    due: float = -math.inf


class Tables:
    """The tables of one namespace.

    ``changed`` is called after each reading with the ifindexes (or NAMESPACE) whose contents are new.
    """

    def __init__(
        self, events: netlink.EventSocket, requests: RequestSocket, changed: Callable[[set[int]], None]
    ) -> None:
        self._events = events
        self._requests = requests
        self._changed = changed
        self._loads = dict(LOADS)
        self._states = {name: _State() for name in LOADS}
        self._wanted = trio.Event()
        self.failures: dict[str, str] = {}
        self.prepare: Callable[[], None] = lambda: None

    def add(self, name: str, load: Load) -> None:
        """One more table, of another source."""
        self._loads[name] = load
        self._states[name] = _State()

    def put(self, name: str, contents: Contents) -> set[int]:
        """The contents of a table that was added; returns the ifindexes for which they are new."""
        state = self._states[name]
        before, state.contents = state.contents, contents
        return {i for i in before.keys() | contents.keys() if before.get(i) != contents.get(i)}

    def of(self, index: int) -> dict[str, Any]:
        """The metadata of an interface, or of the namespace."""
        metadata: dict[str, Any] = {}
        for state in self._states.values():
            found = state.contents.get(index)
            if found:
                metadata.update(found)
        return metadata

    def forget(self, index: int) -> None:
        """The interface is gone; another one may get its number before the tables are read again."""
        for state in self._states.values():
            state.contents.pop(index, None)

    def touch(self, names: Iterable[str] = ()) -> None:
        """These tables, or all, may have changed."""
        for name in names or self._states:
            if name in self._states:
                self._states[name].dirty = True
        self._wanted.set()

    async def load_all(self) -> set[int]:
        """Read every table; returns the ifindexes whose contents are new."""
        return await self._load(list(self._states))

    async def run(self) -> None:
        """Follow the changes until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear)
            await self._keep_loading()

    async def _hear(self) -> None:
        while True:
            await self._events.wait()
            self._take_events()
            await trio.sleep(_HEAR_PAUSE)

    def _take_events(self) -> None:
        events = self._events.read(1024)
        if events.lost:
            self.touch()
            return
        heard: set[tuple[int, int]] = set()
        for buffer in events.buffers:
            try:
                heard.update((frame.type, frame.payload[0] if frame.payload else 0) for frame in netlink.frames(buffer))
            except netlink.DecodeError:
                self.touch()
        for type, family in heard:
            names = told_by(type, family)
            if names:
                self.touch(names)

    async def _keep_loading(self) -> None:
        while True:
            dues = [state.due for state in self._states.values() if state.dirty]
            if not dues:
                await self._wanted.wait()
                self._wanted = trio.Event()
                continue
            # Even what is due waits a little for what comes along with it.
            await trio.sleep_until(max(min(dues), trio.current_time() + _LOAD_PAUSE))
            now = trio.current_time()
            changed = await self._load([n for n, state in self._states.items() if state.dirty and state.due <= now])
            self._changed(changed)

    async def _load(self, names: list[str]) -> set[int]:
        self.prepare()
        for name in names:
            self._states[name].dirty = False
        results = await self._requests.call(lambda: [self._read(name) for name in names])
        changed: set[int] = set()
        for name, (contents, interrupted, seconds) in zip(names, results, strict=True):
            state = self._states[name]
            state.dirty |= interrupted
            state.due = trio.current_time() + max(_LOAD_PAUSE, seconds * _LOAD_SHARE)
            if contents is None:
                continue
            changed |= self.put(name, contents)
        return changed

    def _read(self, name: str) -> tuple[Contents | None, bool, float]:
        """In a worker thread: (contents, whether they changed meanwhile, seconds it took)."""
        began = time.perf_counter()
        contents: Contents | None = None
        interrupted = False

        def ask(request: Callable[[int], bytes]) -> list[bytes]:
            nonlocal interrupted
            dump = self._requests.ask(request)
            interrupted |= dump.interrupted
            return dump.buffers

        for _ in range(_TRIES):
            interrupted = False
            try:
                contents = self._loads[name](ask)
            except (netlink.NetlinkError, netlink.DecodeError) as error:
                contents = None
                if isinstance(error, netlink.NetlinkError) and error.errno in _UNSUPPORTED:
                    contents = {}
                else:
                    # Tried again, but not at once.
                    self.failures[name] = str(error)
                    return None, True, max(_FAILED_SECONDS, time.perf_counter() - began)
                break
            self.failures.pop(name, None)
            if not interrupted:
                break
        return contents, interrupted, time.perf_counter() - began
