"""Generic netlink messages as bytes and as typed values; no input or output here.

Formats and numbers: linux/netlink.h (struct nlmsghdr, struct nlattr), linux/genetlink.h (struct genlmsghdr, the
controller that knows the families), linux/rtnetlink.h (links that come, change and go).  All in the machine's byte
order.  Whatever the bytes, nothing but DecodeError is raised.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import attrs

# linux/netlink.h
NLM_F_REQUEST: Final = 0x01
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
NLMSG_NOOP: Final = 1
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4
NLA_F_NESTED: Final = 0x8000
NLA_TYPE_MASK: Final = 0x3FFF

# linux/genetlink.h
GENL_ID_CTRL: Final = 0x10
CTRL_CMD_GETFAMILY: Final = 3
CTRL_ATTR_FAMILY_ID: Final = 1
CTRL_ATTR_FAMILY_NAME: Final = 2
CTRL_ATTR_MCAST_GROUPS: Final = 7
CTRL_ATTR_MCAST_GRP_NAME: Final = 1
CTRL_ATTR_MCAST_GRP_ID: Final = 2

# linux/rtnetlink.h, linux/if_link.h
RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
IFLA_IFNAME: Final = 3

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_GENERIC = struct.Struct("=BBxx")  # struct genlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")
_S32 = struct.Struct("=i")
_AF_UNSPEC: Final = 0


class DecodeError(ValueError):
    """Bytes that are no message of the expected form; the text says what was found where."""


@attrs.frozen
class Frame:
    """One message before its payload is decoded: the fields of struct nlmsghdr, and what follows."""

    type: int
    flags: int
    sequence: int
    payload: bytes


@attrs.frozen
class Family:
    """A generic netlink family: the type of its messages, and its multicast groups by name."""

    id: int
    groups: dict[str, int]


@attrs.frozen
class LinkEvent:
    """An interface came or changed, or went away when ``gone``; ``flags`` are IFF_… of linux/if.h."""

    index: int
    gone: bool
    flags: int
    name: bytes


def frames(buffer: bytes) -> Iterator[Frame]:
    """Cut a received buffer into messages; raises DecodeError at the first that does not fit."""
    start, size = 0, len(buffer)
    while start < size:
        if size - start < _HEADER.size:
            raise DecodeError(f"{size - start} bytes left at offset {start}, too few for a message header")
        length, type, flags, sequence, _port = _HEADER.unpack_from(buffer, start)
        if length < _HEADER.size or length > size - start:
            raise DecodeError(f"message at offset {start} claims {length} bytes of the {size - start} that are left")
        yield Frame(type, flags, sequence, buffer[start + _HEADER.size : start + length])
        start += _aligned(length)


def attributes(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute of ``data[start:]``; raises DecodeError at the first that does not fit."""
    end = len(data)
    while end - start >= _ATTRIBUTE.size:
        length, type = _ATTRIBUTE.unpack_from(data, start)
        if length < _ATTRIBUTE.size or length > end - start:
            raise DecodeError(f"attribute {type & NLA_TYPE_MASK} claims {length} bytes of the {end - start} left")
        yield type & NLA_TYPE_MASK, data[start + _ATTRIBUTE.size : start + length]
        start += _aligned(length)


def attribute(type: int, value: bytes) -> bytes:
    """One attribute as bytes, padded."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, type) + value + bytes(_aligned(length) - length)


def nested(type: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(type | NLA_F_NESTED, b"".join(parts))


def u8(value: bytes) -> int:
    """An unsigned number of one byte."""
    if not value:
        raise DecodeError("an empty attribute where a byte was expected")
    return value[0]


def u32(value: bytes) -> int:
    """An unsigned number of four bytes."""
    return _number(_U32, value)


def unsigned(value: bytes) -> int:
    """An unsigned number of one, two, four or eight bytes."""
    if len(value) not in (1, 2, 4, 8):
        raise DecodeError(f"{len(value)} bytes where a number was expected")
    number: int = struct.unpack({1: "=B", 2: "=H", 4: "=I", 8: "=Q"}[len(value)], value)[0]
    return number


def text(value: bytes) -> str:
    """A string that ends at its first NUL, or with the attribute; bytes that are no UTF-8 are written ``\\xNN``."""
    return value.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def request(family: int, command: int, sequence: int, *parts: bytes, dump: bool = False) -> bytes:
    """A request of a family; ``parts`` are its attributes."""
    body = _GENERIC.pack(command, 1) + b"".join(parts)
    flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else 0)
    return _HEADER.pack(_HEADER.size + len(body), family, flags, sequence, 0) + body


def family_request(name: str, sequence: int) -> bytes:
    """Ask the controller for a family; it answers ENOENT when the kernel has none of this name."""
    return request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, sequence, attribute(CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0"))


def command(payload: bytes) -> int:
    """Which message of its family a payload holds (struct genlmsghdr)."""
    if len(payload) < _GENERIC.size:
        raise DecodeError(f"{len(payload)} bytes are too few for the header of generic netlink")
    return payload[0]


def body(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a message of a family."""
    command(payload)
    return attributes(payload, _GENERIC.size)


def family(payload: bytes) -> Family:
    """The controller's answer to ``family_request``."""
    id, groups = 0, {}
    for type, value in body(payload):
        if type == CTRL_ATTR_FAMILY_ID:
            id = _number(_U16, value)
        elif type == CTRL_ATTR_MCAST_GROUPS:
            for _, entry in attributes(value):
                fields = dict(attributes(entry))
                if CTRL_ATTR_MCAST_GRP_NAME in fields and CTRL_ATTR_MCAST_GRP_ID in fields:
                    groups[text(fields[CTRL_ATTR_MCAST_GRP_NAME])] = u32(fields[CTRL_ATTR_MCAST_GRP_ID])
    if not id:
        raise DecodeError("the controller's answer holds no family")
    return Family(id, groups)


def verdict(payload: bytes) -> int:
    """The errno of NLMSG_ERROR or NLMSG_DONE; 0 when all is well."""
    return -_number(_S32, payload)


def link_event(frame: Frame) -> LinkEvent | None:
    """What a message of rtnetlink says of a link; None when it is about something else.

    A bridge tells of its ports in messages of its own family, which neither make nor end a link.
    """
    if frame.type not in (RTM_NEWLINK, RTM_DELLINK):
        return None
    if len(frame.payload) < _LINK.size:
        raise DecodeError(f"{len(frame.payload)} bytes are too few for a link")
    address_family, _type, index, flags, _changed = _LINK.unpack_from(frame.payload)
    if address_family != _AF_UNSPEC:
        return None
    name = next((value for type, value in attributes(frame.payload, _LINK.size) if type == IFLA_IFNAME), b"")
    return LinkEvent(index, frame.type == RTM_DELLINK, flags, name.split(b"\0", 1)[0])


def _number(layout: struct.Struct, value: bytes) -> int:
    if len(value) < layout.size:
        raise DecodeError(f"{len(value)} bytes where {layout.size} were expected")
    number: int = layout.unpack_from(value)[0]
    return number


def _aligned(length: int) -> int:
    return (length + 3) & ~3
