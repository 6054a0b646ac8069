"""Statistics: the driver's own counters, and those that the kernel has standardised.

Sources: linux/ethtool.h (ETHTOOL_GSTATS), linux/ethtool_netlink.h (ETHTOOL_A_STATS_…, ETHTOOL_A_PAUSE_STAT_…,
ETHTOOL_A_FEC_STAT_…).  Everything here blocks and runs in a worker thread.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from skycore.plugin import netlink
from skydive_probe_ethtool import strings
from skydive_probe_ethtool.aspects import (
    ETHTOOL_A_HEADER,
    ETHTOOL_A_HEADER_FLAGS,
    ETHTOOL_FLAG_STATS,
    ETHTOOL_MSG_STATS_GET,
    FEC,
    PAUSE,
    device,
)
from skydive_probe_ethtool.genetlink import body, nested, u32, unsigned
from skydive_probe_ethtool.ioctl import Gone, Ioctl
from skydive_probe_ethtool.reader import Reader
from skydive_probe_ethtool.socket import RequestSocket

_STATS_HEADER: Final = 2
_STATS_GROUPS: Final = 3
_STATS_GROUP: Final = 4
_GROUP_ID: Final = 2
_GROUP_STAT: Final = 4
_BITSET_NOMASK, _BITSET_SIZE, _BITSET_VALUE = 1, 2, 4
_PAUSE_STATS: Final = 5
_FEC_STATS: Final = 5

GROUPS: Final[Mapping[int, tuple[str, int]]] = {
    0: ("EthPhy", strings.ETH_SS_STATS_ETH_PHY),
    1: ("EthMac", strings.ETH_SS_STATS_ETH_MAC),
    2: ("EthCtrl", strings.ETH_SS_STATS_ETH_CTRL),
    3: ("Rmon", strings.ETH_SS_STATS_RMON),
}
"""enum ETHTOOL_STATS_…: key of the group, and the string set that names its counters."""

PAUSE_COUNTERS: Final = {2: "TxFrames", 3: "RxFrames"}
FEC_COUNTERS: Final = {2: "Corrected", 3: "Uncorrectable", 4: "CorrectedBits"}


@attrs.define
class Counters:
    """Reads the counters of a namespace; remembers the names of each driver's counters between two samples."""

    limit: int
    _names: dict[tuple[int, bytes], tuple[str, ...]] = attrs.field(factory=dict)
    _groups: dict[int, tuple[str, ...]] | None = None

    def read(
        self,
        requests: RequestSocket,
        ioctl: Ioctl,
        family: netlink.Family | None,
        interfaces: Iterable[tuple[int, bytes, bool]],
    ) -> dict[int, dict[str, Any]]:
        """Counters by ifindex, without zeros.  ``interfaces``: ifindex, name, and whether a module is plugged in."""
        found: dict[int, dict[str, Any]] = {}
        listed = list(interfaces)
        reader = Reader(requests, ioctl, family)
        for index, name, module in listed:
            entry = self._driver_counters(ioctl, index, name)
            diagnostics = reader.module(index)[1] if module else {}
            if diagnostics:
                entry["Module"] = diagnostics
            found[index] = entry
        if family is not None:
            self._standard(requests, ioctl, family, found)
        known = {(index, name) for index, name, _ in listed}
        self._names = {key: value for key, value in self._names.items() if key in known}
        return {index: entry for index, entry in found.items() if entry}

    def _driver_counters(self, ioctl: Ioctl, index: int, name: bytes) -> dict[str, Any]:
        try:
            count = ioctl.count(name, strings.ETH_SS_STATS)
            names = self._names.get((index, name), ())
            if len(names) != count:
                names = self._names[index, name] = ioctl.strings(name, strings.ETH_SS_STATS)
            values = ioctl.counters(name, len(names))
        except Gone:
            return {}
        told = {name: value for name, value in zip(names, values, strict=False) if value and name}
        if len(told) <= self.limit:
            return {"Driver": told} if told else {}
        return {"Driver": dict(list(told.items())[: self.limit]), "Omitted": len(told) - self.limit}

    def _standard(
        self, requests: RequestSocket, ioctl: Ioctl, family: netlink.Family, found: dict[int, dict[str, Any]]
    ) -> None:
        wanted = nested(
            _STATS_GROUPS,
            netlink.attribute(_BITSET_NOMASK, b""),
            netlink.attribute(_BITSET_SIZE, struct.pack("=I", len(GROUPS))),
            netlink.attribute(_BITSET_VALUE, struct.pack("=I", (1 << len(GROUPS)) - 1)),
        )
        groups = _dump(requests, family, ETHTOOL_MSG_STATS_GET, nested(_STATS_HEADER), wanted)
        if groups and self._groups is None:
            reader = Reader(requests, ioctl, family)
            self._groups = {id: reader.names(stringset) for id, (_, stringset) in GROUPS.items()}
        with_stats = nested(
            ETHTOOL_A_HEADER, netlink.attribute(ETHTOOL_A_HEADER_FLAGS, struct.pack("=I", ETHTOOL_FLAG_STATS))
        )
        for payload in groups:
            _merge(found, group_counters, payload, self._groups or {})
        for payload in _dump(requests, family, PAUSE.get, with_stats):
            _merge(found, nested_counters, payload, _PAUSE_STATS, "Pause", PAUSE_COUNTERS)
        for payload in _dump(requests, family, FEC.get, with_stats):
            _merge(found, nested_counters, payload, _FEC_STATS, "Fec", FEC_COUNTERS)


def group_counters(payload: bytes, names: Mapping[int, tuple[str, ...]]) -> tuple[int, dict[str, Any]]:
    """(ifindex, counters by group) of the answer to ETHTOOL_MSG_STATS_GET."""
    index = 0
    found: dict[str, dict[str, int]] = {}
    for type, value in body(payload):
        if type == _STATS_HEADER:
            index = device(value)[0]
        elif type == _STATS_GROUP:
            id = -1
            counted: dict[int, bytes] = {}
            for kind, part in netlink.attributes(value):
                if kind == _GROUP_ID:
                    id = u32(part)
                elif kind == _GROUP_STAT:
                    counted.update(netlink.attributes(part))
            if id in GROUPS:
                known = names.get(id, ())
                named = {known[stat]: unsigned(raw) for stat, raw in counted.items() if stat < len(known)}
                found[GROUPS[id][0]] = {name: value for name, value in named.items() if value}
    return index, {key: value for key, value in found.items() if value}


def nested_counters(
    payload: bytes, attribute_type: int, key: str, names: Mapping[int, str]
) -> tuple[int, dict[str, Any]]:
    """(ifindex, counters) of an answer that holds counters in one of its attributes."""
    index = 0
    counted: dict[str, int] = {}
    for type, value in body(payload):
        if type == ETHTOOL_A_HEADER:
            index = device(value)[0]
        elif type == attribute_type:
            for kind, raw in netlink.attributes(value):
                # FEC counters are lists of which the first is the sum over all lanes.
                if kind in names and raw:
                    counted[names[kind]] = unsigned(raw[:8])
    counted = {name: value for name, value in counted.items() if value}
    return index, {key: counted} if counted else {}


def _merge(found: dict[int, dict[str, Any]], decode: Any, *arguments: Any) -> None:
    try:
        index, counted = decode(*arguments)
    except netlink.DecodeError:
        return
    if index in found:
        found[index].update(counted)


def _dump(requests: RequestSocket, family: netlink.Family, command: int, *parts: bytes) -> list[bytes]:
    """The answers about all interfaces; none when a driver fails, as the next sample may be better."""
    try:
        return requests.dump(family.id, command, *parts)
    except netlink.NetlinkError as error:
        if error.errno == errno.ETIMEDOUT:
            raise
        return []
