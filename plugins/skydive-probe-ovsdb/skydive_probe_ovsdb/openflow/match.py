"""Matches: OXM and NXM fields, and the fixed match of OpenFlow 1.1, as ``Filters``.

Sources: OpenFlow 1.5.1, 7.2.3 (OXM); ovs-fields(7), which lists the class and number of every NXM field.
One field has one name, whichever class it came in, so that a rule is the same over every version.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from skydive_probe_ovsdb.errors import BadAnswer

Read = Callable[[bytes], Any]


def number(raw: bytes) -> Any:
    """An integer; as hexadecimal text when 64 bits do not hold it."""
    return int.from_bytes(raw, "big") if len(raw) <= 8 else f"0x{int.from_bytes(raw, 'big'):x}"


def mac(raw: bytes) -> str:
    return raw.hex(":")


def ipv4(raw: bytes) -> str:
    return str(ipaddress.IPv4Address(raw)) if len(raw) == 4 else raw.hex()


def ipv6(raw: bytes) -> str:
    return str(ipaddress.IPv6Address(raw)) if len(raw) == 16 else raw.hex()


_BASIC: Final = [
    "in_port",
    "in_phy_port",
    "metadata",
    "eth_dst",
    "eth_src",
    "eth_type",
    "vlan_vid",
    "vlan_pcp",
    "ip_dscp",
    "ip_ecn",
    "ip_proto",
    "ipv4_src",
    "ipv4_dst",
    "tcp_src",
    "tcp_dst",
    "udp_src",
    "udp_dst",
    "sctp_src",
    "sctp_dst",
    "icmpv4_type",
    "icmpv4_code",
    "arp_op",
    "arp_spa",
    "arp_tpa",
    "arp_sha",
    "arp_tha",
    "ipv6_src",
    "ipv6_dst",
    "ipv6_flabel",
    "icmpv6_type",
    "icmpv6_code",
    "ipv6_nd_target",
    "ipv6_nd_sll",
    "ipv6_nd_tll",
    "mpls_label",
    "mpls_tc",
    "mpls_bos",
    "pbb_isid",
    "tunnel_id",
    "ipv6_exthdr",
    "oxm_40",
    "pbb_uca",
    "tcp_flags",
    "actset_output",
    "packet_type",
]
_NXM_OF: Final = [
    "in_port",
    "eth_dst",
    "eth_src",
    "eth_type",
    "vlan_tci",
    "ip_tos",
    "ip_proto",
    "ipv4_src",
    "ipv4_dst",
    "tcp_src",
    "tcp_dst",
    "udp_src",
    "udp_dst",
    "icmpv4_type",
    "icmpv4_code",
    "arp_op",
    "arp_spa",
    "arp_tpa",
]
_NXM_NX: Final = (
    *(f"reg{index}" for index in range(16)),
    *[
        "tunnel_id",
        "arp_sha",
        "arp_tha",
        "ipv6_src",
        "ipv6_dst",
        "icmpv6_type",
        "icmpv6_code",
        "ipv6_nd_target",
        "ipv6_nd_sll",
    ],
    *[
        "ipv6_nd_tll",
        "ip_frag",
        "ipv6_flabel",
        "ip_ecn",
        "ip_ttl",
        "mpls_ttl",
        "tun_src",
        "tun_dst",
        "pkt_mark",
        "tcp_flags",
        "dp_hash",
    ],
    *["recirc_id", "conj_id", "tun_gbp_id", "tun_gbp_flags"],
    *(f"tun_metadata{index}" for index in range(64)),
    *["tun_flags", "ct_state", "ct_zone", "ct_mark", "ct_label", "tun_ipv6_src", "tun_ipv6_dst"],
    *(f"xxreg{index}" for index in range(8)),
    *["ct_nw_proto", "ct_nw_src", "ct_nw_dst", "ct_ipv6_src", "ct_ipv6_dst", "ct_tp_src", "ct_tp_dst"],
)
_NAMES: Final = {
    0x0000: dict(enumerate(_NXM_OF)),
    0x0001: dict(enumerate(_NXM_NX)),
    0x8000: dict(enumerate(_BASIC)),
    0x8001: {index: f"xreg{index}" for index in range(8)},
}
_READS: Final[dict[str, Read]] = {
    **dict.fromkeys(["eth_dst", "eth_src", "arp_sha", "arp_tha", "ipv6_nd_sll", "ipv6_nd_tll"], mac),
    **dict.fromkeys(
        ["ipv4_src", "ipv4_dst", "arp_spa", "arp_tpa", "tun_src", "tun_dst", "ct_nw_src", "ct_nw_dst"], ipv4
    ),
    **dict.fromkeys(
        ["ipv6_src", "ipv6_dst", "ipv6_nd_target", "tun_ipv6_src", "tun_ipv6_dst", "ct_ipv6_src", "ct_ipv6_dst"], ipv6
    ),
}
_EXPERIMENTER: Final = 0xFFFF
_ONF: Final = 0x4F4E4600


def header(raw: bytes, at: int) -> tuple[str, int, int, bool]:
    """The name of the field at an offset, where its value begins, the length of value and mask, and if it has one.

    Raises BadAnswer.
    """
    if at + 4 > len(raw):
        raise BadAnswer("a match field without its header")
    klass, field, length = struct.unpack_from("!HBB", raw, at)
    masked, field, start = bool(field & 1), field >> 1, at + 4
    if klass == _EXPERIMENTER:
        if at + 8 > len(raw) or length < 4:
            raise BadAnswer("a match field without its experimenter")
        (experimenter,) = struct.unpack_from("!I", raw, start)
        name = _BASIC[field] if experimenter == _ONF and field in (42, 43) else f"experimenter_{experimenter:x}_{field}"
        return name, start + 4, length - 4, masked
    return _NAMES.get(klass, {}).get(field, f"class_{klass:x}_{field}"), start, length, masked


def value(name: str, raw: bytes) -> Any:
    """A field's value in the form that people know."""
    return _READS.get(name, number)(raw)


def fields(raw: bytes, start: int, end: int) -> list[dict[str, Any]]:
    """``[{Type, Value, Mask?}]`` of the fields in ``raw[start:end]``; raises BadAnswer."""
    found = []
    while start < end:
        name, at, length, masked = header(raw, start)
        if at + length > end:
            raise BadAnswer(f"the match field {name} is longer than its match")
        if name.startswith("xreg"):
            found += _registers(int(name[4:]), raw[at : at + length], masked=masked)
        elif masked:
            half = length // 2
            found.append(
                {
                    "Type": f"{name}_masked",
                    "Value": value(name, raw[at : at + half]),
                    "Mask": value(name, raw[at + half : at + length]),
                }
            )
        else:
            found.append({"Type": name, "Value": value(name, raw[at : at + length])})
        start = at + length
    return sorted(found, key=_order)


def _registers(number: int, raw: bytes, *, masked: bool) -> list[dict[str, Any]]:
    """A pair of registers, which OpenFlow 1.5 matches as one field, as the two that other versions match."""
    value, mask = (raw[:8], raw[8:16]) if masked else (raw, b"\xff" * 8)
    found: list[dict[str, Any]] = []
    for half in (0, 1):
        part = slice(4 * half, 4 * half + 4)
        name, bits = f"reg{2 * number + half}", int.from_bytes(mask[part], "big")
        if bits == 0xFFFFFFFF:
            found.append({"Type": name, "Value": int.from_bytes(value[part], "big")})
        elif bits:
            found.append({"Type": f"{name}_masked", "Value": int.from_bytes(value[part], "big"), "Mask": bits})
    return found


def _order(filter: dict[str, Any]) -> tuple[str, str]:
    return filter["Type"], str(filter["Value"])


@lru_cache(maxsize=4096)
def _padded(length: int) -> int:
    return (length + 7) // 8 * 8


def match_size(raw: bytes, at: int) -> int:
    """How many bytes the match (struct ofp_match) at an offset takes, with its padding; raises BadAnswer."""
    if at + 4 > len(raw):
        raise BadAnswer("a rule without its match")
    (length,) = struct.unpack_from("!H", raw, at + 2)
    size = _padded(length)
    if length < 4 or at + size > len(raw):
        raise BadAnswer(f"a match of {length} bytes, which is not there")
    return size


def match(raw: bytes) -> list[dict[str, Any]]:
    """``Filters`` of a struct ofp_match of OpenFlow 1.1 and later; raises BadAnswer."""
    type, length = struct.unpack_from("!HH", raw)
    if type == 1:
        return fields(raw, 4, length)
    if type == 0 and length == 88 and len(raw) >= 88:
        return _fixed(raw)
    raise BadAnswer(f"a match of the unknown type {type}")


# OpenFlow 1.1, struct ofp_match and enum ofp_flow_wildcards
_FIXED: Final = struct.Struct("!HHII6s6s6s6sHBxHBB4s4s4s4sHHIBxxxQQ")
_ALL: Final = b"\xff" * 6


def _fixed(raw: bytes) -> list[dict[str, Any]]:
    (_, _, port, wild, eth_src, no_src, eth_dst, no_dst, vlan, pcp, eth_type, tos, proto, src, no_nw_src, dst,
     no_nw_dst, tp_src, tp_dst, label, tc, metadata, no_metadata) = _FIXED.unpack_from(raw)  # fmt: skip
    found: list[dict[str, Any]] = []

    def add(name: str, value: bytes, wildcard: bytes) -> None:
        mask = bytes(byte ^ 0xFF for byte in wildcard)
        read = _READS.get(name, number)
        if not any(wildcard):
            found.append({"Type": name, "Value": read(value)})
        elif any(mask):
            found.append({"Type": f"{name}_masked", "Value": read(value), "Mask": read(mask)})

    add("eth_src", eth_src, no_src)
    add("eth_dst", eth_dst, no_dst)
    add("ipv4_src", src, no_nw_src)
    add("ipv4_dst", dst, no_nw_dst)
    add("metadata", metadata.to_bytes(8, "big"), no_metadata.to_bytes(8, "big"))
    transport = {6: "tcp", 17: "udp", 132: "sctp"}.get(proto, "tp") if not wild & (1 << 5) else "tp"
    if proto == 1 and not wild & (1 << 5):
        names = "icmpv4_type", "icmpv4_code"
    else:
        names = f"{transport}_src", f"{transport}_dst"
    simple = (
        (0, "in_port", port), (1, "vlan_vid", 0 if vlan == 0xFFFF else vlan | 0x1000), (2, "vlan_pcp", pcp),
        (3, "eth_type", eth_type), (4, "ip_dscp", tos >> 2), (5, "ip_proto", proto), (6, names[0], tp_src),
        (7, names[1], tp_dst), (8, "mpls_label", label), (9, "mpls_tc", tc),
    )  # fmt: skip
    found += [{"Type": name, "Value": value} for bit, name, value in simple if not wild >> bit & 1]
    return sorted(found, key=_order)
