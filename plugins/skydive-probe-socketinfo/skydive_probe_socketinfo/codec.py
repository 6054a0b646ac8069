"""inet_diag messages as bytes and as typed values; no input or output here.

Formats and numbers are those of the kernel's headers, named beside each group.  A buffer holds messages
(struct nlmsghdr) in the machine's byte order; addresses and ports inside are in network order.  Whatever the bytes,
nothing but DecodeError is raised.
"""

from __future__ import annotations

import socket
import struct
from typing import Final, TypeAlias

import attrs

from skycore.plugin import netlink

# linux/sock_diag.h
SOCK_DIAG_BY_FAMILY: Final = 20
DESTROY_GROUPS: Final = (1, 2, 3, 4)
"""SKNLGRP_INET_TCP_DESTROY, INET_UDP, INET6_TCP and INET6_UDP."""

PROTOCOLS: Final = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP}
FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)

# net/tcp_states.h; a UDP socket is in ESTABLISHED when it is connected, else in CLOSE.
STATES: Final = {
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN_RECV",
}
# What is in TIME_WAIT or TCP_NEW_SYN_RECV (12) has no file, so no process; a busy server has many of them.
_ASKED: Final = sum(1 << state for state in STATES if state not in {6, 12})

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr; not netlink.frames, which makes an object of each
_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2
_MESSAGE = struct.Struct("=BBxx48s16xI")  # struct inet_diag_msg: family, state, id, inode
_PORTS = struct.Struct("!HH")  # idiag_sport, idiag_dport of struct inet_diag_sockid
_COOKIE = struct.Struct("=II")  # idiag_cookie
_COOKIE_AT: Final = 40  # within struct inet_diag_sockid
_MAPPED: Final = bytes(10) + b"\xff\xff"

Cookie: TypeAlias = bytes
"""The kernel's name of a socket, never reused within one boot."""

Sighting: TypeAlias = tuple[int, int, bytes, int]
"""What one dump says of a socket and what hardly changes: family, state, struct inet_diag_sockid, inode.

Comparing it with the last one is all that most sockets cost; only what differs is decoded.
"""


@attrs.frozen
class Socket:
    """A TCP or UDP socket.

    ``age`` orders the sockets of a host roughly by the time at which they were first looked at.  Addresses are text;
    an IPv4 address that an IPv6 socket uses is written as IPv4.  ``inode`` is that of its file.
    """

    age: int
    protocol: str
    state: str
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    inode: int


def dump_request(sequence: int, family: int, protocol: int) -> bytes:
    """Ask for all sockets of a family and protocol that can have a process."""
    body = _REQUEST.pack(family, protocol, 0, _ASKED)
    return netlink.request(SOCK_DIAG_BY_FAMILY, netlink.NLM_F_DUMP, sequence, body)


def collect(buffer: bytes, found: dict[Cookie, Sighting]) -> None:
    """Add the sockets of a buffer to ``found``; raises DecodeError."""
    start, end = 0, len(buffer)
    while start < end:
        if end - start < _HEADER.size:
            raise netlink.DecodeError(f"{end - start} bytes left at offset {start}, too few for a message")
        length, kind, *_ = _HEADER.unpack_from(buffer, start)
        if not _HEADER.size <= length <= end - start:
            raise netlink.DecodeError(f"a message of {length} bytes at offset {start} of a buffer of {end}")
        if kind == SOCK_DIAG_BY_FAMILY:
            if length < _HEADER.size + _MESSAGE.size:
                raise netlink.DecodeError(f"a socket of {length} bytes at offset {start}; it has at least 88")
            sighting: Sighting = _MESSAGE.unpack_from(buffer, start + _HEADER.size)
            found[sighting[2][_COOKIE_AT:]] = sighting
        start += (length + 3) & ~3


def decode(protocol: str, sighting: Sighting) -> Socket:
    """What a sighting means; ``protocol`` is TCP or UDP, which the message itself does not say."""
    family, state, id, inode = sighting
    local_port, remote_port = _PORTS.unpack_from(id)
    low, high = _COOKIE.unpack_from(id, _COOKIE_AT)
    return Socket(
        age=high << 32 | low,
        protocol=protocol,
        state=STATES.get(state, "UNKNOWN"),
        local_address=_address(family, id[4:20]),
        local_port=local_port,
        remote_address=_address(family, id[20:36]),
        remote_port=remote_port,
        inode=inode,
    )


def _address(family: int, field: bytes) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, field[:4])
    if family != socket.AF_INET6:
        raise netlink.DecodeError(
            f"a socket of the address family {family}; only IPv4 (2) and IPv6 (10) were asked for"
        )
    if field.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, field[12:])
    return socket.inet_ntop(socket.AF_INET6, field)
