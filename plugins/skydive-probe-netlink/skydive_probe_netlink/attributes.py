"""Netlink attributes (struct nlattr) as bytes and as values; no input or output here.

An attribute is a length, a type and a value, padded to four bytes; numbers are in the machine's byte order unless their
readers say otherwise.  Whatever the bytes, nothing but DecodeError is raised.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from skycore.plugin import netlink

# linux/netlink.h
NLA_TYPE_MASK: Final = 0x3FFF

AF_UNSPEC: Final = 0
AF_INET: Final = 2
AF_BRIDGE: Final = 7
AF_INET6: Final = 10
AF_MPLS: Final = 28

_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_U16 = struct.Struct("=H")
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")
_S32 = struct.Struct("=i")
_BE16 = struct.Struct(">H")
_BE32 = struct.Struct(">I")

Read: TypeAlias = Callable[[bytes, int, int], Any]
"""Reads the value ``payload[start:end]``; raises DecodeError."""

Table: TypeAlias = Mapping[int, tuple[str, Read]]
"""Attribute type → the name under which it is kept, and its reader."""


def aligned(length: int) -> int:
    return (length + 3) & ~3


def attribute(type: int, value: bytes) -> bytes:
    """One attribute with its padding."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, type) + value + bytes(aligned(length) - length)


def attribute_u32(type: int, value: int) -> bytes:
    return attribute(type, _U32.pack(value))


def read_attributes(table: Table, payload: bytes, start: int, end: int) -> dict[str, Any]:
    """The attributes of ``payload[start:end]`` that the table names, by its names; the last of a kind wins."""
    found: dict[str, Any] = {}
    unpack = _ATTRIBUTE.unpack_from
    while end - start >= 4:
        length, type = unpack(payload, start)
        if length < 4 or length > end - start:
            raise netlink.DecodeError(
                f"attribute {type & NLA_TYPE_MASK} claims {length} bytes of the {end - start} left"
            )
        entry = table.get(type & NLA_TYPE_MASK)
        if entry is not None:
            found[entry[0]] = entry[1](payload, start + 4, start + length)
        start += (length + 3) & ~3
    return found


def each_attribute(payload: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(type, start, end) of every attribute of ``payload[start:end]``, where one type may come several times."""
    while end - start >= 4:
        length, type = _ATTRIBUTE.unpack_from(payload, start)
        if length < 4 or length > end - start:
            raise netlink.DecodeError(
                f"attribute {type & NLA_TYPE_MASK} claims {length} bytes of the {end - start} left"
            )
        yield type & NLA_TYPE_MASK, start + 4, start + length
        start += (length + 3) & ~3


def _short(start: int, end: int, size: int) -> netlink.DecodeError:
    return netlink.DecodeError(f"{end - start} bytes where {size} were expected")


def unpack(layout: struct.Struct, payload: bytes, start: int, end: int) -> tuple[Any, ...]:
    if end - start < layout.size:
        raise _short(start, end, layout.size)
    return layout.unpack_from(payload, start)


def u8(payload: bytes, start: int, end: int) -> int:
    if end <= start:
        raise netlink.DecodeError("an empty attribute where a byte was expected")
    return payload[start]


def u16(payload: bytes, start: int, end: int) -> int:
    if end - start < 2:
        raise _short(start, end, 2)
    number: int = _U16.unpack_from(payload, start)[0]
    return number


def u32(payload: bytes, start: int, end: int) -> int:
    if end - start < 4:
        raise _short(start, end, 4)
    number: int = _U32.unpack_from(payload, start)[0]
    return number


def u64(payload: bytes, start: int, end: int) -> int:
    if end - start < 8:
        raise _short(start, end, 8)
    number: int = _U64.unpack_from(payload, start)[0]
    return number


def s32(payload: bytes, start: int, end: int) -> int:
    if end - start < 4:
        raise _short(start, end, 4)
    number: int = _S32.unpack_from(payload, start)[0]
    return number


def be16(payload: bytes, start: int, end: int) -> int:
    number: int = unpack(_BE16, payload, start, end)[0]
    return number


def be32(payload: bytes, start: int, end: int) -> int:
    number: int = unpack(_BE32, payload, start, end)[0]
    return number


def present(_payload: bytes, _start: int, _end: int) -> bool:
    """A flag: it counts that it is there."""
    return True


def boolean(payload: bytes, start: int, end: int) -> bool:
    return bool(u8(payload, start, end))


def raw(payload: bytes, start: int, end: int) -> bytes:
    return payload[start:end]


def name(payload: bytes, start: int, end: int) -> bytes:
    """A string that ends at its first NUL, or with the attribute."""
    return payload[start:end].split(b"\0", 1)[0]


def text(payload: bytes, start: int, end: int) -> str:
    """The same as text; bytes that are no UTF-8 are written ``\\xNN``."""
    return name(payload, start, end).decode("utf-8", "backslashreplace")


def hexadecimal(payload: bytes, start: int, end: int) -> str:
    """Bytes as digits, ``0a1b``."""
    return payload[start:end].hex()


def mac(payload: bytes, start: int, end: int) -> str:
    """``02:00:00:00:00:01``; "" for what is none: all bytes are zero, or it is an IP address, as L3 tunnels have."""
    value = payload[start:end]
    return value.hex(":") if any(value) and len(value) not in {4, 16} else ""


def ip(payload: bytes, start: int, end: int) -> str:
    """An IPv4 or IPv6 address, told apart by its length."""
    size = end - start
    if size not in {4, 16}:
        raise netlink.DecodeError(f"an address of {size} bytes where 4 or 16 were expected")
    return socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, payload[start:end])


def endpoint(payload: bytes, start: int, end: int) -> str:
    """The same for a tunnel's end, where the address of zeros means any; then ""."""
    return ip(payload, start, end) if any(payload[start:end]) else ""


def one_of(read: Read, names: Mapping[int, str]) -> Read:
    """Reads a number and gives its name; a number without a name is kept as digits."""

    def named(payload: bytes, start: int, end: int) -> str:
        number = read(payload, start, end)
        return names.get(number, str(number))

    return named


def bits_of(read: Read, names: Mapping[int, str]) -> Read:
    """Reads a number and gives the names of the bits that are set."""

    def named(payload: bytes, start: int, end: int) -> list[str]:
        number = read(payload, start, end)
        return [text for bit, text in names.items() if number & bit]

    return named


def scaled(read: Read, divisor: int) -> Read:
    """Reads a number of smaller units."""

    def divided(payload: bytes, start: int, end: int) -> int | float:
        number: int = read(payload, start, end)
        return number // divisor if number % divisor == 0 else number / divisor

    return divided


def nested(table: Table) -> Read:
    """Reads the attributes inside an attribute."""

    def inside(payload: bytes, start: int, end: int) -> dict[str, Any]:
        return read_attributes(table, payload, start, end)

    return inside


def each(read: Read) -> Read:
    """Reads every attribute inside an attribute, whatever its type, to a list."""

    def inside(payload: bytes, start: int, end: int) -> list[Any]:
        return [read(payload, first, last) for _, first, last in each_attribute(payload, start, end)]

    return inside
