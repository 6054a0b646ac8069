"""What bridges know besides their forwarding databases: VLANs of their ports, and multicast groups."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import Any, Final

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a
from skydive_probe_netlink import codec
from skydive_probe_netlink.attributes import AF_BRIDGE

# linux/rtnetlink.h
RTM_NEWMDB: Final = 84
RTM_DELMDB: Final = 85
RTM_GETMDB: Final = 86
RTM_NEWVLAN: Final = 112
RTM_DELVLAN: Final = 113
RTEXT_FILTER_BRVLAN_COMPRESSED: Final = 1 << 2
IFLA_AF_SPEC: Final = 26

# linux/if_bridge.h
IFLA_BRIDGE_VLAN_INFO: Final = 2
_PVID: Final = 0x02
_UNTAGGED: Final = 0x04
_RANGE_BEGIN: Final = 0x08
_RANGE_END: Final = 0x10
MDBA_MDB: Final = 1
_MDB_FLAGS: Final = {0x01: "offload", 0x02: "fast-leave", 0x04: "star-excl", 0x08: "blocked"}
_STATES: Final = {0: "temporary", 1: "permanent"}
_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_VLAN = struct.Struct("=HH")  # struct bridge_vlan_info
_PORT = struct.Struct("=Bxxxi")  # struct br_port_msg
_ENTRY = struct.Struct("=IBBH16s")  # struct br_mdb_entry, up to the address's protocol
_ENTRY_SIZE: Final = 28
_ENTRY_ATTRIBUTES: Final[a.Table] = {4: ("Source", a.ip), 5: ("Protocol", a.u8)}
"""MDBA_MDB_EATTR_…"""


def vlan_request(sequence: int) -> bytes:
    """RTM_GETLINK for the VLANs of all bridges and their ports."""
    body = _LINK.pack(AF_BRIDGE, 0, 0, 0, 0) + a.attribute_u32(codec.IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED)
    return netlink.request(codec.RTM_GETLINK, netlink.NLM_F_DUMP, sequence, body)


def mdb_request(sequence: int) -> bytes:
    """RTM_GETMDB for the multicast groups of all bridges."""
    return netlink.request(RTM_GETMDB, netlink.NLM_F_DUMP, sequence, _PORT.pack(AF_BRIDGE, 0))


def vlans_by_interface(buffers: Iterable[bytes]) -> dict[int, list[dict[str, Any]]]:
    """``BridgeVlans`` by ifindex; what cannot be read is passed over."""
    found: dict[int, list[dict[str, Any]]] = {}
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            if frame.type != codec.RTM_NEWLINK:
                continue
            try:
                index, vlans = _vlans(frame.payload)
            except netlink.DecodeError:
                continue
            if vlans:
                found[index] = vlans
    return found


def _vlans(payload: bytes) -> tuple[int, list[dict[str, Any]]]:
    _family, _type, index, _flags, _change = a.unpack(_LINK, payload, 0, len(payload))
    vlans: list[dict[str, Any]] = []
    for type, start, end in a.each_attribute(payload, _LINK.size, len(payload)):
        if type != IFLA_AF_SPEC:
            continue
        for kind, first, last in a.each_attribute(payload, start, end):
            if kind != IFLA_BRIDGE_VLAN_INFO:
                continue
            flags, number = a.unpack(_VLAN, payload, first, last)
            if flags & _RANGE_END and vlans:
                vlans[-1]["End"] = number
                continue
            vlan: dict[str, Any] = {"ID": number}
            if flags & _PVID:
                vlan["PVID"] = True
            if flags & _UNTAGGED:
                vlan["Untagged"] = True
            vlans.append(vlan)
    return index, vlans


def groups_by_bridge(buffers: Iterable[bytes], limit: int) -> dict[int, list[dict[str, Any]]]:
    """``MDB`` by the bridge's ifindex, at most ``limit`` of each; what cannot be read is passed over."""
    found: dict[int, list[dict[str, Any]]] = {}
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            if frame.type not in {RTM_NEWMDB, RTM_GETMDB}:
                continue
            try:
                bridge, entries = _groups(frame.payload)
            except netlink.DecodeError:
                continue
            if entries:
                known = found.setdefault(bridge, [])
                known += entries[: limit - len(known)]
    return found


def _groups(payload: bytes) -> tuple[int, list[dict[str, Any]]]:
    _family, bridge = a.unpack(_PORT, payload, 0, len(payload))
    entries = []
    for type, start, end in a.each_attribute(payload, _PORT.size, len(payload)):
        if type != MDBA_MDB:
            continue
        for _, first, last in a.each_attribute(payload, start, end):
            entries += [_group(payload, at, to) for _, at, to in a.each_attribute(payload, first, last)]
    return bridge, entries


def _group(payload: bytes, start: int, end: int) -> dict[str, Any]:
    port, state, flags, vlan, address = a.unpack(_ENTRY, payload, start, end)
    protocol = a.be16(payload, start + _ENTRY.size, end)
    entry: dict[str, Any] = {
        "Group": _group_address(protocol, address),
        "Port": port,
        "State": _STATES.get(state, str(state)),
    }
    if flags:
        entry["Flags"] = [name for bit, name in _MDB_FLAGS.items() if flags & bit]
    if vlan:
        entry["Vlan"] = vlan
    entry.update(a.read_attributes(_ENTRY_ATTRIBUTES, payload, start + _ENTRY_SIZE, end))
    return entry


def _group_address(protocol: int, address: bytes) -> str:
    if protocol == _IPV4:
        return socket.inet_ntop(socket.AF_INET, address[:4])
    if protocol == _IPV6:
        return socket.inet_ntop(socket.AF_INET6, address)
    return address[:6].hex(":")
