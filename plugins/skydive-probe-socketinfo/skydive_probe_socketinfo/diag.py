"""sock_diag sockets: one that lists the sockets of a namespace, one that hears which of them are closed.

A socket belongs for ever to the namespace in which it was opened, so only opening enters it; and the namespace lives
for as long as the socket does.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
from collections.abc import Callable
from typing import Final

import trio

from skydive_probe_socketinfo import codec

# linux/netlink.h, asm-generic/socket.h
NETLINK_SOCK_DIAG: Final = 4
SO_RCVBUFFORCE: Final = 33

RECEIVE_BUFFER: Final = 1 << 20
"""Bytes of news that the kernel may keep for us; it uses them only as needed."""

UNSUPPORTED: Final = frozenset({errno.ENOENT, errno.EPROTONOSUPPORT, errno.EOPNOTSUPP})
"""What the kernel answers when it cannot list the sockets of a protocol."""

_READ_SIZE: Final = 64 << 10  # the kernel makes no larger part of a dump than 32 KiB
_KERNEL_PORT: Final = 0
_ANSWER_SECONDS: Final = 3.0

InNamespace = Callable[[Callable[[], socket.socket]], socket.socket]
"""Runs the call inside the namespace: ``host.in_netns`` with its path."""


class _Socket:
    def __init__(self, enter: InNamespace) -> None:
        self._socket = enter(_open)

    def close(self) -> None:
        """Close it; nobody may be waiting for it."""
        self._socket.close()


class ListSocket(_Socket):
    """Asks which sockets there are; one question at a time."""

    def __init__(self, enter: InNamespace) -> None:
        super().__init__(enter)
        self._sequences = itertools.count(1)

    def dump(self, protocol: int) -> dict[codec.Cookie, codec.Sighting]:
        """The IPv4 and IPv6 sockets of a protocol; blocks for as long as the kernel takes, at most seconds.

        Raises OSError (one of UNSUPPORTED when the kernel cannot tell of this protocol) and codec.DecodeError.
        """
        found: dict[codec.Cookie, codec.Sighting] = {}
        for family in codec.FAMILIES:
            sequence = next(self._sequences) & 0xFFFFFFFF
            self._socket.sendto(codec.dump_request(sequence, family, protocol), socket.MSG_DONTWAIT, (_KERNEL_PORT, 0))
            while (code := codec.collect(self._receive(), sequence, found)) is None:
                pass
            if code and not (code in UNSUPPORTED and family == socket.AF_INET6):
                raise OSError(code, f"cannot list sockets: {os.strerror(code)}")
        return found

    def _receive(self) -> bytes:
        while True:
            try:
                buffer, sender = self._socket.recvfrom(_READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._socket, select.POLLIN)
                if not poll.poll(_ANSWER_SECONDS * 1000):
                    text = f"no answer from sock_diag within {_ANSWER_SECONDS:g} s"
                    raise OSError(errno.ETIMEDOUT, text) from None
                continue
            if sender[0] == _KERNEL_PORT:
                return buffer


class CloseSocket(_Socket):
    """Hears which sockets are closed, from the moment it is made."""

    def __init__(self, enter: InNamespace) -> None:
        super().__init__(enter)
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            except PermissionError:
                # Without CAP_NET_ADMIN the system's bound holds; what is lost is found out by looking.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self._socket.bind((0, codec.DESTROY_GROUPS))
        except BaseException:
            self._socket.close()
            raise

    async def wait(self) -> None:
        """Return when there is something to read."""
        await trio.lowlevel.wait_readable(self._socket)

    def read(self, limit: int) -> tuple[dict[codec.Cookie, codec.Sighting], bool]:
        """The sockets closed since the last read, at most ``limit`` of them, and whether news was lost; never waits."""
        closed: dict[codec.Cookie, codec.Sighting] = {}
        lost = False
        for _ in range(limit):
            try:
                buffer, sender = self._socket.recvfrom(_READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True
                continue
            if sender[0] == _KERNEL_PORT:
                codec.collect(buffer, None, closed)
        return closed, lost


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)
