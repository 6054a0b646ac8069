"""Policy rules: which routing table is asked for what."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a
from skydive_probe_netlink.attributes import AF_INET, AF_INET6, AF_UNSPEC

# linux/rtnetlink.h
RTM_NEWRULE: Final = 32
RTM_DELRULE: Final = 33
RTM_GETRULE: Final = 34

# linux/fib_rules.h
FIB_RULE_INVERT: Final = 0x2
_ACTIONS: Final = {1: "table", 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_NO_LIMIT: Final = 0xFFFFFFFF
_FAMILIES: Final = {AF_INET: "inet", AF_INET6: "inet6"}
_RULE = struct.Struct("=BBBBBxxBI")  # struct fib_rule_hdr
_RANGE32 = struct.Struct("=II")  # struct fib_rule_uid_range
_RANGE16 = struct.Struct("=HH")  # struct fib_rule_port_range


def _range(layout: struct.Struct) -> a.Read:
    def read(payload: bytes, start: int, end: int) -> list[int]:
        return list(a.unpack(layout, payload, start, end))

    return read


_ATTRIBUTES: Final[a.Table] = {
    1: ("To", a.ip),
    2: ("From", a.ip),
    3: ("IIf", a.text),
    4: ("Goto", a.u32),
    6: ("Priority", a.u32),
    10: ("FwMark", a.u32),
    13: ("SuppressGroup", a.u32),
    14: ("SuppressPrefixLength", a.u32),
    15: ("Table", a.u32),
    16: ("FwMask", a.u32),
    17: ("OIf", a.text),
    19: ("L3mdev", a.boolean),
    20: ("UIDs", _range(_RANGE32)),
    21: ("Protocol", a.u8),
    22: ("IPProtocol", a.u8),
    23: ("SourcePorts", _range(_RANGE16)),
    24: ("DestinationPorts", _range(_RANGE16)),
}
"""FRA_…"""


def dump_request(sequence: int) -> bytes:
    """RTM_GETRULE for the rules of all families."""
    return netlink.request(RTM_GETRULE, netlink.NLM_F_DUMP, sequence, _RULE.pack(AF_UNSPEC, 0, 0, 0, 0, 0, 0))


def decode(payload: bytes) -> dict[str, Any] | None:
    """A rule as an entry of ``Rules``; None for other families.  Raises DecodeError."""
    family, to_length, from_length, tos, table, action, flags = a.unpack(_RULE, payload, 0, len(payload))
    if family not in _FAMILIES:
        return None
    found = a.read_attributes(_ATTRIBUTES, payload, _RULE.size, len(payload))
    rule: dict[str, Any] = {
        "Family": _FAMILIES[family],
        "Priority": found.pop("Priority", 0),
        "Action": _ACTIONS.get(action, str(action)),
    }
    for key, length in (("From", from_length), ("To", to_length)):
        if key in found:
            found[key] = f"{found[key]}/{length}"
    if found.get("SuppressPrefixLength") == _NO_LIMIT:
        del found["SuppressPrefixLength"]
    if found.get("SuppressGroup") == _NO_LIMIT:
        del found["SuppressGroup"]
    if not found.get("FwMark") and not found.get("FwMask"):
        found.pop("FwMask", None)
    if tos:
        rule["TOS"] = tos
    if flags & FIB_RULE_INVERT:
        rule["Not"] = True
    number = found.pop("Table", table)
    if action == 1 and not found.get("L3mdev"):
        rule["Table"] = number
    rule.update({key: value for key, value in found.items() if value or key in {"SuppressPrefixLength", "Goto"}})
    return rule


def read(buffers: Iterable[bytes], limit: int) -> list[dict[str, Any]]:
    """``Rules`` from a dump's answer, at most ``limit``; those that cannot be read are passed over."""
    found: list[dict[str, Any]] = []
    for buffer in buffers:
        for frame in netlink.frames(buffer):
            if frame.type != RTM_NEWRULE:
                continue
            try:
                rule = decode(frame.payload)
            except netlink.DecodeError:
                continue
            if rule is not None and len(found) < limit:
                found.append(rule)
    return found
