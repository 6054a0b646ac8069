"""Neighbours and forwarding databases: who is behind an interface, by address."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a
from skydive_probe_netlink.attributes import AF_BRIDGE, AF_INET, AF_INET6, AF_UNSPEC

# linux/rtnetlink.h
RTM_NEWNEIGH: Final = 28
RTM_DELNEIGH: Final = 29
RTM_GETNEIGH: Final = 30

# linux/neighbour.h
_STATES: Final = {
    0x01: "NUD_INCOMPLETE",
    0x02: "NUD_REACHABLE",
    0x04: "NUD_STALE",
    0x08: "NUD_DELAY",
    0x10: "NUD_PROBE",
    0x20: "NUD_FAILED",
    0x40: "NUD_NOARP",
    0x80: "NUD_PERMANENT",
}
_FLAGS: Final = {
    0x01: "NTF_USE",
    0x02: "NTF_SELF",
    0x04: "NTF_MASTER",
    0x08: "NTF_PROXY",
    0x10: "NTF_EXT_LEARNED",
    0x20: "NTF_OFFLOADED",
    0x40: "NTF_STICKY",
    0x80: "NTF_ROUTER",
}
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # struct ndmsg
_ATTRIBUTES: Final[a.Table] = {
    1: ("destination", a.raw),
    2: ("address", a.raw),
    5: ("vlan", a.u16),
    7: ("vni", a.u32),
}
"""NDA_…"""


def neighbour_request(sequence: int) -> bytes:
    """RTM_GETNEIGH for the neighbours of all interfaces, IPv4 and IPv6."""
    return netlink.request(RTM_GETNEIGH, netlink.NLM_F_DUMP, sequence, _NEIGHBOUR.pack(AF_UNSPEC, 0, 0, 0, 0))


def fdb_request(sequence: int) -> bytes:
    """RTM_GETNEIGH for the forwarding databases of all interfaces."""
    return netlink.request(RTM_GETNEIGH, netlink.NLM_F_DUMP, sequence, _NEIGHBOUR.pack(AF_BRIDGE, 0, 0, 0, 0))


def decode(payload: bytes) -> tuple[int, dict[str, Any]] | None:
    """(family, entry) of a message; None for other families.  Raises DecodeError.

    What is empty is left out of the entry.
    """
    family, index, state, flags, _type = a.unpack(_NEIGHBOUR, payload, 0, len(payload))
    if family not in {AF_INET, AF_INET6, AF_BRIDGE}:
        return None
    found = a.read_attributes(_ATTRIBUTES, payload, _NEIGHBOUR.size, len(payload))
    entry: dict[str, Any] = {"IfIndex": index}
    address = found.get("address", b"")
    if address:
        entry["MAC"] = address.hex(":")
    destination = found.get("destination", b"")
    if destination:
        entry["IP"] = a.ip(destination, 0, len(destination))
    if state:
        entry["State"] = [name for bit, name in _STATES.items() if state & bit]
    if flags:
        entry["Flags"] = [name for bit, name in _FLAGS.items() if flags & bit]
    if found.get("vlan"):
        entry["Vlan"] = found["vlan"]
    if found.get("vni"):
        entry["VNI"] = found["vni"]
    return family, entry


def by_interface(buffers: Iterable[bytes], limit: int) -> dict[int, list[dict[str, Any]]]:
    """The entries of a dump's answer by ifindex, at most ``limit`` of each; what cannot be read is passed over."""
    found: dict[int, list[dict[str, Any]]] = {}
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            if frame.type != RTM_NEWNEIGH:
                continue
            try:
                decoded = decode(frame.payload)
            except netlink.DecodeError:
                continue
            if decoded is not None:
                entries = found.setdefault(decoded[1]["IfIndex"], [])
                if len(entries) < limit:
                    entries.append(decoded[1])
    return found
