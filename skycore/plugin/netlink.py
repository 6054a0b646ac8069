"""Netlink sockets for plugins: one that hears what changes in a namespace, one that asks it questions.

Imported by the plugins that need it (``from skycore.plugin import netlink``) and by nothing else.  It knows the frames
that all families of netlink share (linux/netlink.h) and nothing of what is inside them: a buffer holds messages
(struct nlmsghdr) in the machine's byte order.  A socket belongs for ever to the namespace in which it was opened, so
only opening enters it.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Final, Self

import attrs
import trio

# linux/netlink.h
NLM_F_REQUEST: Final = 0x01
NLM_F_MULTI: Final = 0x02
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_CAPPED: Final = 0x100
NLM_F_ACK_TLVS: Final = 0x200
NLM_F_DUMP: Final = 0x300
NLMSG_NOOP: Final = 1
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4
NLMSGERR_ATTR_MSG: Final = 1
NETLINK_ROUTE: Final = 0
NETLINK_SOCK_DIAG: Final = 4
NETLINK_GENERIC: Final = 16
NETLINK_ADD_MEMBERSHIP: Final = 1
NETLINK_CAP_ACK: Final = 10
NETLINK_EXT_ACK: Final = 11
NETLINK_GET_STRICT_CHK: Final = 12
NLA_TYPE_MASK: Final = 0x3FFF
# linux/genetlink.h
GENL_ID_CTRL: Final = 0x10
CTRL_CMD_GETFAMILY: Final = 3
CTRL_ATTR_FAMILY_ID: Final = 1
CTRL_ATTR_FAMILY_NAME: Final = 2
CTRL_ATTR_MCAST_GROUPS: Final = 7
CTRL_ATTR_MCAST_GRP_NAME: Final = 1
CTRL_ATTR_MCAST_GRP_ID: Final = 2
# linux/socket.h, asm-generic/socket.h
SOL_NETLINK: Final = 270
SO_RCVBUFFORCE: Final = 33

RECEIVE_BUFFER: Final = 1 << 20
"""Bytes of news that the kernel may keep for an EventSocket unless it says otherwise; it uses them only as needed."""

ANSWER_SECONDS: Final = 3.0
"""How long a RequestSocket waits for the kernel."""

_READ_SIZE: Final = 64 << 10  # the kernel makes no larger part of a dump than 32 KiB, and news are far smaller
_KERNEL_PORT: Final = 0
_ENDS: Final = frozenset({NLMSG_DONE, NLMSG_ERROR})

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_GENERIC = struct.Struct("=BBxx")  # struct genlmsghdr
_S32 = struct.Struct("=i")

Enter = Callable[[Callable[[], socket.socket]], socket.socket]
"""Runs the call inside a namespace: ``host.in_netns`` with its path."""


class DecodeError(ValueError):
    """Bytes that are no message of the expected form; the text says what was found where."""


class NetlinkError(OSError):
    """The kernel refused a request, or did not answer in time (ETIMEDOUT): ``errno``, and its explanation if any.

    ``buffers`` hold what it had answered before it gave up.
    """

    def __init__(self, number: int, text: str = "", buffers: Iterable[bytes] = ()) -> None:
        super().__init__(number, text or os.strerror(number))
        self.buffers = list(buffers)


@attrs.frozen
class Frame:
    """One message: the fields of struct nlmsghdr, and what follows them."""

    type: int
    flags: int
    sequence: int
    payload: bytes


@attrs.frozen
class Family:
    """A family of generic netlink: the type of its messages, and its multicast groups by name."""

    id: int
    groups: dict[str, int]


@attrs.frozen
class Events:
    """What was waiting at a socket.  ``lost``: the kernel dropped news since the last read."""

    buffers: list[bytes]
    lost: bool


@attrs.frozen
class Dump:
    """All parts of an answer.  ``interrupted``: what is listed changed meanwhile, and the list may be inconsistent."""

    buffers: list[bytes]
    interrupted: bool


def frames(buffer: bytes) -> Iterator[Frame]:
    """Cut a received buffer into messages; raises DecodeError at the first that does not fit."""
    start, size = 0, len(buffer)
    while start < size:
        length, type, flags, sequence = _header(buffer, start, size)
        yield Frame(type, flags, sequence, buffer[start + _HEADER.size : start + length])
        start += (length + 3) & ~3


def request(type: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One message to the kernel: ``type``, NLM_F_… besides NLM_F_REQUEST, and what follows the header."""
    return _HEADER.pack(_HEADER.size + len(body), type, NLM_F_REQUEST | flags, sequence, 0) + body


def verdict(frame: Frame) -> tuple[int, str]:
    """(errno, explanation or "") of NLMSG_DONE or NLMSG_ERROR; errno 0 is success.  Raises DecodeError."""
    payload = frame.payload
    # Kernels may end a dump by a bare header; then it went well.
    if not payload and frame.type == NLMSG_DONE:
        return 0, ""
    if len(payload) < _S32.size:
        raise DecodeError(f"{len(payload)} bytes where the end of an answer has at least {_S32.size}")
    code = -_S32.unpack_from(payload)[0]
    if not frame.flags & NLM_F_ACK_TLVS:
        return code, ""
    start = _S32.size
    if frame.type == NLMSG_ERROR:
        # The request follows the code: its header alone when CAPPED, else all of it.
        if len(payload) < start + _HEADER.size:
            raise DecodeError(f"an error of {len(payload)} bytes is too short for the request that it is about")
        length = _HEADER.unpack_from(payload, start)[0]
        start += _HEADER.size if frame.flags & NLM_F_CAPPED else (length + 3) & ~3
    return code, _explanation(payload, start)


def attributes(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute (struct nlattr) of ``data[start:]``; DecodeError at one that does not fit."""
    end = len(data)
    while end - start >= _ATTRIBUTE.size:
        length, type = _ATTRIBUTE.unpack_from(data, start)
        if length < _ATTRIBUTE.size or length > end - start:
            raise DecodeError(f"attribute {type & NLA_TYPE_MASK} claims {length} bytes of the {end - start} left")
        yield type & NLA_TYPE_MASK, data[start + _ATTRIBUTE.size : start + length]
        start += (length + 3) & ~3


def attribute(type: int, value: bytes) -> bytes:
    """One attribute as bytes, padded."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, type) + value + bytes(-length % 4)


def _explanation(payload: bytes, start: int) -> str:
    return next((_text(value) for type, value in attributes(payload, start) if type == NLMSGERR_ATTR_MSG), "")


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _family(payload: bytes) -> Family:
    """The controller's answer to a question for a family; raises DecodeError."""
    id, groups = 0, {}
    for type, value in attributes(payload, _GENERIC.size):
        if type == CTRL_ATTR_FAMILY_ID:
            id = int.from_bytes(value, sys.byteorder)
        elif type == CTRL_ATTR_MCAST_GROUPS:
            for _, entry in attributes(value):
                fields = dict(attributes(entry))
                if CTRL_ATTR_MCAST_GRP_NAME in fields and CTRL_ATTR_MCAST_GRP_ID in fields:
                    number = int.from_bytes(fields[CTRL_ATTR_MCAST_GRP_ID], sys.byteorder)
                    groups[_text(fields[CTRL_ATTR_MCAST_GRP_NAME])] = number
    if not id:
        raise DecodeError("the controller's answer holds no family")
    return Family(id, groups)


def _header(buffer: bytes, start: int, size: int) -> tuple[int, int, int, int]:
    """(length, type, flags, sequence) of the message at ``start``."""
    if size - start < _HEADER.size:
        raise DecodeError(f"{size - start} bytes left at offset {start}, too few for a message header")
    length, type, flags, sequence, _port = _HEADER.unpack_from(buffer, start)
    if length < _HEADER.size or length > size - start:
        raise DecodeError(f"message at offset {start} claims {length} bytes of the {size - start} that are left")
    return length, type, flags, sequence


class _Socket:
    def __init__(self, enter: Enter, protocol: int) -> None:
        self._socket = enter(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol))

    def fileno(self) -> int:
        """The descriptor, for ioctls about this namespace's interfaces."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it; nobody may be waiting for it."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()


class EventSocket(_Socket):
    """Hears multicast groups of a namespace from the moment it is made.

    ``protocol`` is NETLINK_…, ``groups`` are numbers as setsockopt takes them (RTNLGRP_…); groups that the kernel does
    not know are passed over.  ``buffer``: bytes of news that the kernel may keep.
    """

    def __init__(self, enter: Enter, protocol: int, groups: Iterable[int], buffer: int = RECEIVE_BUFFER) -> None:
        super().__init__(enter, protocol)
        try:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffer)
            except PermissionError:
                # Without CAP_NET_ADMIN the system's bound holds (net.core.rmem_max); more is lost, and that is told.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
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
        """Take what is waiting, at most ``limit`` buffers; never waits.

        After a loss the kernel adds nothing more until the socket is empty: read on until there are no buffers, and ask
        for what is to be known only then.
        """
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
    """Asks questions, one at a time.

    It blocks for as long as the kernel takes, which is long when others hold the kernel's locks: for worker threads.
    """

    def __init__(self, enter: Enter, protocol: int) -> None:
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

    def ask(self, request: Callable[[int], bytes]) -> Dump:
        """Send what ``request(sequence)`` builds, and collect an answer of several messages (a dump) to its end.

        Buffers are kept whole; the message that ends the answer is among them.  Raises NetlinkError and DecodeError.
        """
        sequence = self._send(request)
        buffers: list[bytes] = []
        interrupted = False
        while True:
            buffer = self._receive()
            start, size, ours = 0, len(buffer), False
            while start < size:
                length, type, flags, number = _header(buffer, start, size)
                if number == sequence:
                    ours = True
                    interrupted |= bool(flags & NLM_F_DUMP_INTR)
                    if type in _ENDS:
                        frame = Frame(type, flags, number, buffer[start + _HEADER.size : start + length])
                        code, text = verdict(frame)
                        if code:
                            raise NetlinkError(code, text, [*buffers, buffer])
                        return Dump([*buffers, buffer], interrupted)
                start += (length + 3) & ~3
            if ours:
                buffers.append(buffer)

    def answer(self, request: Callable[[int], bytes]) -> Frame:
        """Send a question and return the one message that answers it.  Raises NetlinkError and DecodeError."""
        sequence = self._send(request)
        while True:
            for frame in frames(self._receive()):
                if frame.sequence == sequence:
                    if frame.type == NLMSG_ERROR:
                        code, text = verdict(frame)
                        if code:
                            raise NetlinkError(code, text)
                    return frame

    def family(self, name: str) -> Family | None:
        """A family by its name, from a socket of NETLINK_GENERIC; None when the kernel has none.

        Raises NetlinkError and DecodeError.
        """
        body = _GENERIC.pack(CTRL_CMD_GETFAMILY, 1) + attribute(CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0")
        try:
            return _family(self.answer(lambda sequence: request(GENL_ID_CTRL, 0, sequence, body)).payload)
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
            return None

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
                if not poll.poll(ANSWER_SECONDS * 1000):
                    raise NetlinkError(
                        errno.ETIMEDOUT, f"no answer from the kernel within {ANSWER_SECONDS:g} s"
                    ) from None
                continue
            if sender[0] == _KERNEL_PORT:
                return buffer
