"""rtnetlink sockets: one that hears what changes in a namespace, one that asks it questions.

A socket belongs for ever to the namespace in which it was opened, so only opening enters it.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self, TypeVar

import attrs
import trio

from skydive_probe_netlink import codec

# asm-generic/socket.h, linux/socket.h, linux/netlink.h
SO_RCVBUFFORCE: Final = 33
SOL_NETLINK: Final = 270
NETLINK_ADD_MEMBERSHIP: Final = 1
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11
NETLINK_GET_STRICT_CHK: Final = 12

RECEIVE_BUFFER: Final = 8 << 20
"""Bytes of changes that the kernel may keep for us; it uses them only as needed."""

_READ_SIZE: Final = 64 << 10  # the kernel makes no larger part of a dump than 32 KiB, and events are far smaller
_KERNEL_PORT: Final = 0
_ANSWER_SECONDS: Final = 3.0
_DUMPS: Final = trio.CapacityLimiter(4)  # they queue for one lock in the kernel anyway

T = TypeVar("T")

InNamespace = Callable[[Callable[[], socket.socket]], socket.socket]
"""Runs the call inside the namespace: ``host.in_netns`` with its path."""


class NetlinkError(OSError):
    """The kernel refused a request; ``errno`` and, where it gave one, its explanation."""


@attrs.frozen
class Events:
    """What was waiting at a socket.  ``lost``: the kernel dropped changes since the last read."""

    buffers: list[bytes]
    lost: bool


@attrs.frozen
class Dump:
    """All parts of the answer to a dump.  ``interrupted``: it changed meanwhile and may be inconsistent."""

    buffers: list[bytes]
    interrupted: bool


class _Socket:
    def __init__(self, enter: InNamespace, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = enter(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()


class EventSocket(_Socket):
    """Hears the multicast groups (RTNLGRP_…) of a namespace from the moment it is made.

    ``buffer``: bytes of changes that the kernel may keep, by default RECEIVE_BUFFER.  Groups that the kernel does not
    know are passed over.
    """

    def __init__(self, enter: InNamespace, groups: Iterable[int], buffer: int | None = None) -> None:
        super().__init__(enter)
        size = RECEIVE_BUFFER if buffer is None else buffer
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
            except PermissionError:
                # Without CAP_NET_ADMIN the system's bound holds (net.core.rmem_max); overruns lead to a resync.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
            self._socket.bind((0, 0))
            for group in groups:
                try:
                    self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
        except BaseException:
            self._socket.close()
            raise

    async def wait(self) -> None:
        """Return when there is something to read."""
        await trio.lowlevel.wait_readable(self._socket)

    def read(self, limit: int = 256) -> Events:
        """Take what is waiting, at most ``limit`` buffers; never waits."""
        buffers: list[bytes] = []
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
                buffers.append(buffer)
        return Events(buffers, lost)


class RequestSocket(_Socket):
    """Asks questions; one at a time.  ``protocol``: rtnetlink, or NETLINK_GENERIC."""

    def __init__(self, enter: InNamespace, protocol: int = socket.NETLINK_ROUTE) -> None:
        super().__init__(enter, protocol)
        try:
            for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
                try:
                    self._socket.setsockopt(SOL_NETLINK, option, 1)
                except OSError as error:
                    # Kernels before 4.12 or 4.20 lack the last two, and answer well without.
                    if error.errno != errno.ENOPROTOOPT:
                        raise
            self._socket.bind((0, 0))
        except BaseException:
            self._socket.close()
            raise
        self._sequences = itertools.count(1)
        self._turn = trio.Lock()

    def fileno(self) -> int:
        """The descriptor, for ioctls about this namespace's interfaces."""
        return self._socket.fileno()

    async def dump(self, request: Callable[[int], bytes]) -> Dump:
        """Send what ``request(sequence)`` builds and collect the whole answer.

        In a thread: a dump waits for the kernel's RTNL lock, which others may hold for long.
        Raises NetlinkError; DecodeError when the answer makes no sense.
        """
        return await self.call(lambda: self.ask(request))

    async def call(self, work: Callable[[], T]) -> T:
        """Run ``work``, which may use ``ask`` and ``answer`` and nothing else of this object, in a thread."""
        async with self._turn:
            return await trio.to_thread.run_sync(work, limiter=_DUMPS)

    async def nsid(self, fd: int) -> int | None:
        """By which number the socket's namespace knows the open one; None: by none, or it is no namespace."""
        async with self._turn:
            # On the loop: RTM_GETNSID takes no lock that others hold for long, and answers at once.
            return self._nsid(fd)

    def ask(self, request: Callable[[int], bytes]) -> Dump:
        """``dump`` without a thread; only inside ``call``."""
        sequence = self._send(request)
        buffers: list[bytes] = []
        interrupted = False
        while True:
            buffer = self._receive()
            useful = False
            for frame in codec.frames(buffer):
                if frame.sequence != sequence:
                    continue
                useful = True
                interrupted |= bool(frame.flags & codec.NLM_F_DUMP_INTR)
                if frame.type in {codec.NLMSG_DONE, codec.NLMSG_ERROR}:
                    _raise_for(codec.decode(frame))
                    buffers.append(buffer)
                    return Dump(buffers, interrupted)
            if useful:
                buffers.append(buffer)

    def answer(self, request: Callable[[int], bytes]) -> codec.Frame:
        """Send a question that is no dump and return the one message that answers it; only inside ``call``.

        Raises NetlinkError when the kernel refuses it.
        """
        sequence = self._send(request)
        while True:
            for frame in codec.frames(self._receive()):
                if frame.sequence == sequence:
                    if frame.type == codec.NLMSG_ERROR:
                        _raise_for(codec.decode(frame))
                    return frame

    def _nsid(self, fd: int) -> int | None:
        sequence = self._send(lambda sequence: codec.nsid_request(sequence, fd))
        while True:
            for frame in codec.frames(self._receive()):
                if frame.sequence != sequence:
                    continue
                body = codec.decode(frame)
                return body.nsid if isinstance(body, codec.NamespaceId) else None

    def _send(self, request: Callable[[int], bytes]) -> int:
        sequence = next(self._sequences) & 0xFFFFFFFF
        self._socket.sendto(request(sequence), socket.MSG_DONTWAIT, (_KERNEL_PORT, 0))
        return sequence

    def _receive(self) -> bytes:
        """The next buffer from the kernel; it has answered when ``sendto`` returns, so this hardly ever waits."""
        while True:
            try:
                buffer, sender = self._socket.recvfrom(_READ_SIZE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._socket, select.POLLIN)
                if not poll.poll(_ANSWER_SECONDS * 1000):
                    text = f"no answer from rtnetlink within {_ANSWER_SECONDS:g} s"
                    raise NetlinkError(errno.ETIMEDOUT, text) from None
                continue
            if sender[0] == _KERNEL_PORT:
                return buffer


def _raise_for(body: codec.Body | None) -> None:
    if isinstance(body, codec.Done | codec.Failure) and body.code:
        raise NetlinkError(body.code, body.text or os.strerror(body.code))
