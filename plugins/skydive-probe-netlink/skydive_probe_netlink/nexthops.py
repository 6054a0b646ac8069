"""Next hop objects: ways out that have a number of their own, which routes and groups name (ip-nexthop(8)).

Formats: linux/nexthop.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a
from skydive_probe_netlink.attributes import AF_INET, AF_INET6, AF_UNSPEC
from skydive_probe_netlink.routes import Leg

# linux/rtnetlink.h
RTM_NEWNEXTHOP: Final = 104
RTM_DELNEXTHOP: Final = 105
RTM_GETNEXTHOP: Final = 106

_MESSAGE = struct.Struct("=BBBxI")  # struct nhmsg: family, scope, protocol, flags
_MEMBER = struct.Struct("=IBBxx")  # struct nexthop_grp: id, weight, weight_high (since Linux 6.12, else 0)
_FAMILIES: Final = {AF_INET: "inet", AF_INET6: "inet6"}
_GROUP_TYPES: Final = {0: "mpath", 1: "resilient"}
_ONLINK: Final = 4  # linux/rtnetlink.h, RTNH_F_ONLINK


def _group(payload: bytes, start: int, end: int) -> list[dict[str, int]]:
    """The members with their weights, which the kernel keeps one less."""
    if (end - start) % _MEMBER.size:
        raise netlink.DecodeError(f"a group of {end - start} bytes, which is no multiple of {_MEMBER.size}")
    members = _MEMBER.iter_unpack(payload[start:end])
    return [{"ID": id, "Weight": (high << 8 | low) + 1} for id, low, high in members]


_ATTRIBUTES: Final[a.Table] = {
    1: ("ID", a.u32),
    2: ("Group", _group),
    3: ("GroupType", a.one_of(a.u16, _GROUP_TYPES)),
    4: ("Blackhole", a.present),
    5: ("IfIndex", a.u32),
    6: ("IP", a.ip),
    11: ("FDB", a.present),
    12: ("Resilience", a.nested({1: ("Buckets", a.u16)})),
}
"""NHA_…"""


def dump_request(sequence: int) -> bytes:
    """RTM_GETNEXTHOP for all next hop objects."""
    return netlink.request(RTM_GETNEXTHOP, netlink.NLM_F_DUMP, sequence, _MESSAGE.pack(AF_UNSPEC, 0, 0, 0))


def decode(payload: bytes) -> dict[str, Any]:
    """An entry of ``Nexthops``; raises DecodeError."""
    family, _scope, protocol, flags = a.unpack(_MESSAGE, payload, 0, len(payload))
    found = a.read_attributes(_ATTRIBUTES, payload, _MESSAGE.size, len(payload))
    if "ID" not in found:
        raise netlink.DecodeError("a next hop object without its number")
    entry = {key: value for key, value in found.items() if value}
    # Only of resilient groups it says anything.
    if found.get("GroupType") == "mpath":
        del entry["GroupType"]
    if family in _FAMILIES:
        entry["Family"] = _FAMILIES[family]
    if protocol:
        entry["Protocol"] = protocol
    if flags & _ONLINK:
        entry["OnLink"] = True
    return entry


def read(buffers: Iterable[bytes]) -> dict[int, dict[str, Any]]:
    """The objects of a dump's answer by their numbers, in ascending order; what cannot be read is passed over."""
    found: dict[int, dict[str, Any]] = {}
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            if frame.type == RTM_NEWNEXTHOP:
                try:
                    entry = decode(frame.payload)
                except netlink.DecodeError:
                    continue
                found[entry["ID"]] = entry
    return {number: found[number] for number in sorted(found)}


def ways(objects: Mapping[int, Mapping[str, Any]]) -> dict[int, tuple[Leg, ...]]:
    """The ways out behind each number, those of its members for a group."""
    single = {
        number: (Leg(entry["IfIndex"], entry.get("IP", "")),) for number, entry in objects.items() if "IfIndex" in entry
    }
    groups = {
        number: tuple(leg for member in entry["Group"] for leg in single.get(member["ID"], ()))
        for number, entry in objects.items()
        if "Group" in entry
    }
    return {**single, **groups}
