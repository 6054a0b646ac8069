"""Netlink sockets: one kind that hears what changes in a namespace, one that asks it questions.

A socket belongs for ever to the namespace in which it was opened, so only opening enters it.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

import attrs
import trio

from skydive_probe_ethtool import genetlink
from skydive_probe_ethtool.genetlink import Family, Frame

# linux/netlink.h, asm-generic/socket.h
NETLINK_ROUTE: Final = 0
NETLINK_GENERIC: Final = 16
NLM_F_MULTI: Final = 0x02
SOL_NETLINK: Final = 270
SO_RCVBUFFORCE: Final = 33
NETLINK_ADD_MEMBERSHIP: Final = 1
RTNLGRP_LINK: Final = 1

_READ_SIZE: Final = 64 << 10  # the kernel makes no larger part of a dump than 32 KiB
_RECEIVE_BUFFER: Final = 4 << 20
_FULL_SOCKET: Final = 1 << 14
"""Messages that no full socket holds more of."""
_ANSWER_SECONDS: Final = 3.0
_NOT_OFFERED: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ENOENT})

Enter = Callable[[Callable[[], socket.socket]], socket.socket]
"""Runs the call inside the namespace: ``host.in_netns`` with its path."""


class NetlinkError(OSError):
    """The kernel refused a request, or did not answer; ``errno`` says why."""


class _Socket:
    def __init__(self, enter: Enter, protocol: int) -> None:
        self._socket = enter(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol))
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _RECEIVE_BUFFER)
            except PermissionError:
                # Without CAP_NET_ADMIN the system's bound holds (net.core.rmem_max).
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._socket.bind((0, 0))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor, for ioctls about this namespace's interfaces."""
        return self._socket.fileno()


@attrs.frozen
class Events:
    """What was waiting at a socket.  ``lost``: the kernel dropped messages since the last read."""

    buffers: list[bytes]
    lost: bool


class EventSocket(_Socket):
    """Hears one multicast group of a namespace from the moment it is made."""

    def __init__(self, enter: Enter, protocol: int, group: int) -> None:
        super().__init__(enter, protocol)
        try:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except BaseException:
            self._socket.close()
            raise

    async def wait(self) -> None:
        """Return when there is something to read."""
        await trio.lowlevel.wait_readable(self._socket)

    def read(self, limit: int = 256) -> Events:
        """Take what is waiting, at most ``limit`` buffers; never waits.

        After a loss all that waits is taken: the kernel adds nothing more until the socket is empty, so only what is
        asked after that is whole.
        """
        buffers: list[bytes] = []
        lost = False
        while len(buffers) < (_FULL_SOCKET if lost else limit):
            try:
                buffer, sender = self._socket.recvfrom(_READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost = True
                continue
            if sender[0] == 0:
                buffers.append(buffer)
        return Events(buffers, lost)


class RequestSocket(_Socket):
    """Asks generic netlink, one question at a time, and waits for the answer; for worker threads."""

    def __init__(self, enter: Enter) -> None:
        super().__init__(enter, NETLINK_GENERIC)
        self._socket.settimeout(_ANSWER_SECONDS)
        self._sequences = itertools.count(1)

    def family(self, name: str) -> Family | None:
        """A family by its name; None when the kernel has none."""
        answers, error = self._ask(lambda sequence: genetlink.family_request(name, sequence))
        if error == errno.ENOENT or not answers:
            return None
        _raise_for(error)
        return genetlink.family(answers[0])

    def get(self, family: int, command: int, *parts: bytes) -> bytes | None:
        """The payload of the answer; None when it is not offered, or the driver could not tell.

        Raises NetlinkError: ENODEV when there is no such interface, ETIMEDOUT when the kernel is silent.
        """
        answers, error = self._ask(lambda sequence: genetlink.request(family, command, sequence, *parts))
        if error == errno.ENODEV:
            _raise_for(error)
        return answers[0] if answers else None

    def dump(self, family: int, command: int, *parts: bytes) -> list[bytes]:
        """The payloads of the answers about all interfaces; none when it is not offered.

        Raises NetlinkError.  One driver that fails ends the kernel's answer, and hides the interfaces behind it.
        """
        answers, error = self._ask(lambda sequence: genetlink.request(family, command, sequence, *parts, dump=True))
        if error not in _NOT_OFFERED:
            _raise_for(error)
        return answers

    def _ask(self, request: Callable[[int], bytes]) -> tuple[list[bytes], int]:
        sequence = next(self._sequences) & 0xFFFFFFFF
        self._socket.sendto(request(sequence), (0, 0))
        answers: list[bytes] = []
        for frame in self._frames(sequence):
            if frame.type in (genetlink.NLMSG_ERROR, genetlink.NLMSG_DONE):
                return answers, genetlink.verdict(frame.payload)
            answers.append(frame.payload)
            if not frame.flags & NLM_F_MULTI:
                return answers, 0
        raise AssertionError("frames never end by themselves")

    def _frames(self, sequence: int) -> Iterator[Frame]:
        while True:
            try:
                buffer, sender = self._socket.recvfrom(_READ_SIZE)
            except TimeoutError:
                text = f"no answer from generic netlink within {_ANSWER_SECONDS:g} s"
                raise NetlinkError(errno.ETIMEDOUT, text) from None
            if sender[0] == 0:
                yield from (frame for frame in genetlink.frames(buffer) if frame.sequence == sequence)


def _raise_for(error: int) -> None:
    if error:
        raise NetlinkError(error, os.strerror(error))
