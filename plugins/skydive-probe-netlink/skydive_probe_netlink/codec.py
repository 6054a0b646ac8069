"""rtnetlink messages as bytes and as typed values; no input or output here.

Formats and numbers are those of the kernel's headers, named beside each group: a message holds a fixed part and
attributes (struct nlattr), all in the machine's byte order.
Whatever the bytes, nothing but DecodeError is raised.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from skycore.plugin import netlink
from skydive_probe_netlink import attributes as a
from skydive_probe_netlink.attributes import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    Table,
    attribute,
    read_attributes,
    unpack,
)
from skydive_probe_netlink.linkdata import COMMON, read_bridge_port, read_linkinfo

# linux/rtnetlink.h
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWNSID: Final = 88
RTM_DELNSID: Final = 89
RTM_GETNSID: Final = 90
RTEXT_FILTER_SKIP_STATS: Final = 1 << 3
RTNLGRP_LINK: Final = 1
RTNLGRP_IPV4_IFADDR: Final = 5
RTNLGRP_IPV6_IFADDR: Final = 9
RTNLGRP_NSID: Final = 28

# linux/if_link.h
IFLA_ADDRESS: Final = 1
IFLA_IFNAME: Final = 3
IFLA_MTU: Final = 4
IFLA_LINK: Final = 5
IFLA_MASTER: Final = 10
IFLA_PROTINFO: Final = 12
IFLA_OPERSTATE: Final = 16
IFLA_LINKINFO: Final = 18
IFLA_STATS64: Final = 23
IFLA_EXT_MASK: Final = 29
IFLA_LINK_NETNSID: Final = 37
IFLA_NEW_NETNSID: Final = 45
IFLA_NEW_IFINDEX: Final = 49

# linux/if_addr.h
IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
IFA_FLAGS: Final = 8
IFA_F_SECONDARY: Final = 0x01

# linux/net_namespace.h
NETNSA_NSID: Final = 1
NETNSA_FD: Final = 3
NETNSA_NSID_NOT_ASSIGNED: Final = -1

COUNTERS: Final = 23
"""How many counters of struct rtnl_link_stats64 (linux/if_link.h) are read, from its start."""

_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_U32 = struct.Struct("=I")
_COUNTERS = struct.Struct(f"={COUNTERS}Q")
_RTGENMSG = struct.Struct("=Bxxx")  # struct rtgenmsg, padded


@attrs.frozen
class Link:
    """RTM_NEWLINK, or RTM_DELLINK when ``gone``.

    ``name`` and ``address`` are raw; ``mtu`` is None when the message does not carry it, which is so in messages that
    tell of one aspect only (wireless events).  ``lower`` is IFLA_LINK (0: none), an ifindex in the namespace
    ``lower_nsid`` (None: the interface's own).  ``new_nsid`` and ``new_index`` say where a ``gone`` link
    moved.  ``details`` is metadata as the graph shows it (``linkdata``).  ``counters`` are the first COUNTERS of
    IFLA_STATS64, when asked for.
    """

    gone: bool
    family: int
    arphrd: int
    index: int
    flags: int
    name: bytes = b""
    address: bytes = b""
    mtu: int | None = None
    lower: int = 0
    lower_nsid: int | None = None
    master: int = 0
    operstate: int = 0
    kind: str = ""
    new_nsid: int | None = None
    new_index: int = 0
    details: dict[str, Any] = attrs.field(factory=dict)
    counters: tuple[int, ...] | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Address:
    """RTM_NEWADDR, or RTM_DELADDR when ``gone``.

    ``local`` is the interface's own address, 4 or 16 bytes; ``peer`` the other end's, or the same.
    """

    gone: bool
    family: int
    prefix_length: int
    flags: int
    scope: int
    index: int
    local: bytes
    peer: bytes


@attrs.frozen
class NamespaceId:
    """RTM_NEWNSID, or RTM_DELNSID when ``gone``: the number by which one namespace knows another.

    ``nsid`` is None when the other has no number here.
    """

    gone: bool
    nsid: int | None


@attrs.frozen
class Overrun:
    """Messages were lost."""


Body: TypeAlias = Link | Address | NamespaceId | Overrun


def decode(frame: netlink.Frame, *, counters: bool = False) -> Body | None:
    """The message's content; None for types that are not read here.  Raises DecodeError.

    ``counters``: read IFLA_STATS64 of links too (most readers do not need it, and it is the larger part).
    """
    read = _READERS.get(frame.type)
    if read is None:
        return None
    return read(frame, _LINK_AND_COUNTERS if counters else _LINK_ATTRIBUTES)


def link_dump_request(sequence: int, *, counters: bool = False) -> bytes:
    """RTM_GETLINK for all links of the namespace."""
    mask = 0 if counters else RTEXT_FILTER_SKIP_STATS
    body = _LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + attribute(IFLA_EXT_MASK, _U32.pack(mask))
    return netlink.request(RTM_GETLINK, netlink.NLM_F_DUMP, sequence, body)


def address_dump_request(sequence: int) -> bytes:
    """RTM_GETADDR for all addresses, IPv4 and IPv6, of the namespace."""
    return netlink.request(RTM_GETADDR, netlink.NLM_F_DUMP, sequence, _ADDRESS.pack(AF_UNSPEC, 0, 0, 0, 0))


def nsid_request(sequence: int, fd: int) -> bytes:
    """RTM_GETNSID: by which number does the socket's namespace know the one open as ``fd``?"""
    return netlink.request(RTM_GETNSID, 0, sequence, _RTGENMSG.pack(AF_UNSPEC) + attribute(NETNSA_FD, _U32.pack(fd)))


def _nsid(payload: bytes, start: int, end: int) -> int | None:
    number = a.s32(payload, start, end)
    return None if number == NETNSA_NSID_NOT_ASSIGNED else number


def _counters(payload: bytes, start: int, end: int) -> tuple[int, ...]:
    return unpack(_COUNTERS, payload, start, end)


_CORE_ATTRIBUTES: Table = {
    IFLA_ADDRESS: ("address", a.raw),
    IFLA_IFNAME: ("name", a.name),
    IFLA_MTU: ("mtu", a.u32),
    IFLA_LINK: ("lower", a.u32),
    IFLA_MASTER: ("master", a.u32),
    IFLA_PROTINFO: ("port", read_bridge_port),
    IFLA_OPERSTATE: ("operstate", a.u8),
    IFLA_LINKINFO: ("info", read_linkinfo),
    IFLA_LINK_NETNSID: ("lower_nsid", _nsid),
    IFLA_NEW_NETNSID: ("new_nsid", _nsid),
    IFLA_NEW_IFINDEX: ("new_index", a.u32),
}
_LINK_FIELDS: Final = frozenset(name for name, _ in _CORE_ATTRIBUTES.values()) - {"info", "port"} | {"counters"}
_LINK_ATTRIBUTES: Table = {**COMMON.table, **_CORE_ATTRIBUTES}
_LINK_AND_COUNTERS: Table = {**_LINK_ATTRIBUTES, IFLA_STATS64: ("counters", _counters)}
_ADDRESS_ATTRIBUTES: Table = {IFA_ADDRESS: ("address", a.raw), IFA_LOCAL: ("local", a.raw), IFA_FLAGS: ("flags", a.u32)}
_NSID_ATTRIBUTES: Table = {NETNSA_NSID: ("nsid", _nsid)}


def _read_link(frame: netlink.Frame, table: Table) -> Link:
    payload = frame.payload
    family, arphrd, index, flags, _change = unpack(_LINK, payload, 0, len(payload))
    found = read_attributes(table, payload, _LINK.size, len(payload))
    core = {name: found.pop(name) for name in _LINK_FIELDS & found.keys()}
    kind, more = found.pop("info", ("", {}))
    port = found.pop("port", {})
    details = COMMON.tidy(found)
    details.update(more)
    details.update(port)
    return Link(frame.type == RTM_DELLINK, family, arphrd, index, flags, kind=kind, details=details, **core)


def _read_address(frame: netlink.Frame, _table: Table) -> Address:
    payload = frame.payload
    family, prefix_length, flags, scope, index = unpack(_ADDRESS, payload, 0, len(payload))
    found = read_attributes(_ADDRESS_ATTRIBUTES, payload, _ADDRESS.size, len(payload))
    # With a point-to-point peer IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 has IFA_LOCAL only then.
    peer: bytes = found.get("address", b"")
    local: bytes = found.get("local", peer)
    size = {AF_INET: 4, AF_INET6: 16}.get(family)
    if size is not None and (len(local) != size or prefix_length > size * 8):
        raise netlink.DecodeError(
            f"address of {len(local)} bytes with prefix length {prefix_length} in family {family}"
        )
    flags = found.get("flags", flags)
    return Address(frame.type == RTM_DELADDR, family, prefix_length, flags, scope, index, local, peer or local)


def _read_nsid(frame: netlink.Frame, _table: Table) -> NamespaceId:
    found = read_attributes(_NSID_ATTRIBUTES, frame.payload, _RTGENMSG.size, len(frame.payload))
    return NamespaceId(frame.type == RTM_DELNSID, found.get("nsid"))


def _read_overrun(_frame: netlink.Frame, _table: Table) -> Overrun:
    return Overrun()


_READERS: Mapping[int, Callable[[netlink.Frame, Table], Body]] = {
    RTM_NEWLINK: _read_link,
    RTM_DELLINK: _read_link,
    RTM_NEWADDR: _read_address,
    RTM_DELADDR: _read_address,
    RTM_NEWNSID: _read_nsid,
    RTM_DELNSID: _read_nsid,
    netlink.NLMSG_OVERRUN: _read_overrun,
}
