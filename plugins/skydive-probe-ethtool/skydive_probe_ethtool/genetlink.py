"""Generic netlink messages as bytes and as typed values; no input or output here.

Formats and numbers: linux/genetlink.h (struct genlmsghdr), linux/rtnetlink.h (links that come, change and go), all in
the machine's byte order.  Whatever the bytes, nothing but DecodeError is raised.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import attrs

from skycore.plugin import netlink

NLA_F_NESTED: Final = 0x8000  # linux/netlink.h

# linux/rtnetlink.h, linux/if_link.h
RTNLGRP_LINK: Final = 1
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
IFLA_IFNAME: Final = 3

_GENERIC = struct.Struct("=BBxx")  # struct genlmsghdr
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_U32 = struct.Struct("=I")
_AF_UNSPEC: Final = 0


@attrs.frozen
class LinkEvent:
    """An interface came or changed, or went away when ``gone``; ``flags`` are IFF_… of linux/if.h."""

    index: int
    gone: bool
    flags: int
    name: bytes


def nested(type: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return netlink.attribute(type | NLA_F_NESTED, b"".join(parts))


def u8(value: bytes) -> int:
    """An unsigned number of one byte."""
    if not value:
        raise netlink.DecodeError("an empty attribute where a byte was expected")
    return value[0]


def u32(value: bytes) -> int:
    """An unsigned number of four bytes."""
    return _number(_U32, value)


def unsigned(value: bytes) -> int:
    """An unsigned number of one, two, four or eight bytes."""
    if len(value) not in (1, 2, 4, 8):
        raise netlink.DecodeError(f"{len(value)} bytes where a number was expected")
    number: int = struct.unpack({1: "=B", 2: "=H", 4: "=I", 8: "=Q"}[len(value)], value)[0]
    return number


def text(value: bytes) -> str:
    """A string that ends at its first NUL, or with the attribute; bytes that are no UTF-8 are written ``\\xNN``."""
    return value.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def request(family: int, command: int, sequence: int, *parts: bytes, dump: bool = False) -> bytes:
    """A request of a family; ``parts`` are its attributes."""
    body = _GENERIC.pack(command, 1) + b"".join(parts)
    return netlink.request(family, netlink.NLM_F_DUMP if dump else 0, sequence, body)


def command(payload: bytes) -> int:
    """Which message of its family a payload holds (struct genlmsghdr)."""
    if len(payload) < _GENERIC.size:
        raise netlink.DecodeError(f"{len(payload)} bytes are too few for the header of generic netlink")
    return payload[0]


def body(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a message of a family."""
    command(payload)
    return netlink.attributes(payload, _GENERIC.size)


def link_event(frame: netlink.Frame) -> LinkEvent | None:
    """What a message of rtnetlink says of a link; None when it is about something else.

    A bridge tells of its ports in messages of its own family, which neither make nor end a link.
    """
    if frame.type not in (RTM_NEWLINK, RTM_DELLINK):
        return None
    if len(frame.payload) < _LINK.size:
        raise netlink.DecodeError(f"{len(frame.payload)} bytes are too few for a link")
    address_family, _type, index, flags, _changed = _LINK.unpack_from(frame.payload)
    if address_family != _AF_UNSPEC:
        return None
    name = next((value for type, value in netlink.attributes(frame.payload, _LINK.size) if type == IFLA_IFNAME), b"")
    return LinkEvent(index, frame.type == RTM_DELLINK, flags, name.split(b"\0", 1)[0])


def _number(layout: struct.Struct, value: bytes) -> int:
    if len(value) < layout.size:
        raise netlink.DecodeError(f"{len(value)} bytes where {layout.size} were expected")
    number: int = layout.unpack_from(value)[0]
    return number
