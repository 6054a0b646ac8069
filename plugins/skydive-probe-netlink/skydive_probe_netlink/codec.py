"""rtnetlink messages as bytes and as typed values; no input or output here.

Formats and numbers are those of the kernel's headers, named beside each group: a buffer holds messages
(struct nlmsghdr), a message a fixed part and attributes (struct nlattr), all in the machine's byte order.
Whatever the bytes, nothing but DecodeError is raised.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs

from skydive_probe_netlink import attributes as a
from skydive_probe_netlink.attributes import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    DecodeError,
    Table,
    aligned,
    attribute,
    read_attributes,
    unpack,
)
from skydive_probe_netlink.linkdata import COMMON, read_bridge_port, read_linkinfo

# linux/netlink.h
NLM_F_REQUEST: Final = 0x01
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLM_F_DUMP: Final = 0x300
NLMSG_NOOP: Final = 1
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4
NLMSGERR_ATTR_MSG: Final = 1

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

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg
_U32 = struct.Struct("=I")
_S32 = struct.Struct("=i")
_COUNTERS = struct.Struct(f"={COUNTERS}Q")
_RTGENMSG = struct.Struct("=Bxxx")  # struct rtgenmsg, padded


@attrs.frozen
class Frame:
    """One message before its payload is decoded: the fields of struct nlmsghdr, and what follows."""

    type: int
    flags: int
    sequence: int
    port: int
    payload: bytes


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
class Done:
    """The end of a dump: ``code`` is 0 or an errno; ``text`` explains it, or is empty."""

    code: int
    text: str = ""


@attrs.frozen
class Failure:
    """The kernel's verdict on a request: ``code`` is an errno, 0 for done; ``text`` explains it, or is empty."""

    code: int
    text: str


@attrs.frozen
class Overrun:
    """Messages were lost."""


Body: TypeAlias = Link | Address | NamespaceId | Done | Failure | Overrun


def frames(buffer: bytes) -> Iterator[Frame]:
    """Cut a received buffer into messages; raises DecodeError at the first that does not fit."""
    start, size = 0, len(buffer)
    while start < size:
        if size - start < _HEADER.size:
            raise DecodeError(f"{size - start} bytes left at offset {start}, too few for a message header")
        length, type, flags, sequence, port = _HEADER.unpack_from(buffer, start)
        if length < _HEADER.size or length > size - start:
            raise DecodeError(f"message at offset {start} claims {length} bytes of the {size - start} that are left")
        yield Frame(type, flags, sequence, port, buffer[start + _HEADER.size : start + length])
        start += aligned(length)


def decode(frame: Frame, *, counters: bool = False) -> Body | None:
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
    return request(RTM_GETLINK, NLM_F_DUMP, sequence, body)


def address_dump_request(sequence: int) -> bytes:
    """RTM_GETADDR for all addresses, IPv4 and IPv6, of the namespace."""
    return request(RTM_GETADDR, NLM_F_DUMP, sequence, _ADDRESS.pack(AF_UNSPEC, 0, 0, 0, 0))


def nsid_request(sequence: int, fd: int) -> bytes:
    """RTM_GETNSID: by which number does the socket's namespace know the one open as ``fd``?"""
    return request(RTM_GETNSID, 0, sequence, _RTGENMSG.pack(AF_UNSPEC) + attribute(NETNSA_FD, _U32.pack(fd)))


def request(type: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One message to the kernel: ``type``, NLM_F_… besides NLM_F_REQUEST, and what follows the header."""
    return _HEADER.pack(_HEADER.size + len(body), type, NLM_F_REQUEST | flags, sequence, 0) + body


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
_FAILURE_ATTRIBUTES: Table = {NLMSGERR_ATTR_MSG: ("text", a.text)}


def _read_link(frame: Frame, table: Table) -> Link:
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


def _read_address(frame: Frame, _table: Table) -> Address:
    payload = frame.payload
    family, prefix_length, flags, scope, index = unpack(_ADDRESS, payload, 0, len(payload))
    found = read_attributes(_ADDRESS_ATTRIBUTES, payload, _ADDRESS.size, len(payload))
    # With a point-to-point peer IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 has IFA_LOCAL only then.
    peer: bytes = found.get("address", b"")
    local: bytes = found.get("local", peer)
    size = {AF_INET: 4, AF_INET6: 16}.get(family)
    if size is not None and (len(local) != size or prefix_length > size * 8):
        raise DecodeError(f"address of {len(local)} bytes with prefix length {prefix_length} in family {family}")
    flags = found.get("flags", flags)
    return Address(frame.type == RTM_DELADDR, family, prefix_length, flags, scope, index, local, peer or local)


def _read_nsid(frame: Frame, _table: Table) -> NamespaceId:
    found = read_attributes(_NSID_ATTRIBUTES, frame.payload, _RTGENMSG.size, len(frame.payload))
    return NamespaceId(frame.type == RTM_DELNSID, found.get("nsid"))


def _read_done(frame: Frame, _table: Table) -> Done:
    payload = frame.payload
    # Kernels may send a bare header; then the dump went well.
    if not payload:
        return Done(0)
    (code,) = unpack(_S32, payload, 0, len(payload))
    return Done(-code, _explanation(frame, _S32.size))


def _read_failure(frame: Frame, _table: Table) -> Failure:
    payload = frame.payload
    # The request follows the code: its header alone when CAPPED, else all of it.
    (code,) = unpack(_S32, payload, 0, len(payload))
    if not frame.flags & NLM_F_ACK_TLVS:
        return Failure(-code, "")
    (length, *_) = unpack(_HEADER, payload, _S32.size, len(payload))
    request = _HEADER.size if frame.flags & NLM_F_CAPPED else aligned(length)
    return Failure(-code, _explanation(frame, _S32.size + request))


def _explanation(frame: Frame, start: int) -> str:
    if not frame.flags & NLM_F_ACK_TLVS:
        return ""
    text: str = read_attributes(_FAILURE_ATTRIBUTES, frame.payload, start, len(frame.payload)).get("text", "")
    return text


def _read_overrun(_frame: Frame, _table: Table) -> Overrun:
    return Overrun()


_READERS: Mapping[int, Callable[[Frame, Table], Body]] = {
    RTM_NEWLINK: _read_link,
    RTM_DELLINK: _read_link,
    RTM_NEWADDR: _read_address,
    RTM_DELADDR: _read_address,
    RTM_NEWNSID: _read_nsid,
    RTM_DELNSID: _read_nsid,
    NLMSG_DONE: _read_done,
    NLMSG_ERROR: _read_failure,
    NLMSG_OVERRUN: _read_overrun,
}
