"""OpenFlow messages on a connection: framing, agreeing on a version, questions and answers in several parts.

Sources: OpenFlow Switch Specification 1.0 to 1.5, "The OpenFlow Protocol" (header, hello elements, multipart).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import attrs
import trio

from skydive_probe_ovsdb.errors import BadAnswer, SourceLost

VERSIONS: Final = {
    "OpenFlow10": 1,
    "OpenFlow11": 2,
    "OpenFlow12": 3,
    "OpenFlow13": 4,
    "OpenFlow14": 5,
    "OpenFlow15": 6,
}
OF10, OF11, OF12, OF13, OF14, OF15 = range(1, 7)

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, VENDOR = range(5)
SET_ASYNC: Final = 28
REQUEST_FORWARD: Final = 34
EXPERIMENTER_STATS: Final = 0xFFFF

ANSWER_SECONDS = 10.0
IDLE_SECONDS = 5.0
LARGEST_ANSWER: Final = 512 << 20
_HEADER: Final = struct.Struct("!BBHI")
_CHUNK: Final = 1 << 18


@attrs.frozen
class Message:
    """A message without its header."""

    version: int
    type: int
    xid: int
    body: bytes


@attrs.frozen
class Part:
    """A part of a multipart answer: ``kind`` as in its request; ``more`` parts of it follow."""

    kind: int
    more: bool
    body: bytes


class Refused(SourceLost):
    """The bridge answered with an error."""


class Connection:
    """Speaks one version of OpenFlow over a stream; every method raises SourceLost."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._start = 0
        self._xid = 0
        self._sending = trio.Lock()
        self.version = 0

    async def agree(self, offered: Iterable[str]) -> None:
        """Exchange hellos; ``version`` is then the highest that both have."""
        ours = {VERSIONS[name] for name in offered}
        highest = max(ours)
        bitmap = sum(1 << version for version in ours)
        # Element 1: bitmap of versions.
        await self._send(highest, HELLO, 0, struct.pack("!HHI", 1, 8, bitmap))
        hello = await self._within(self.receive())
        if hello.type != HELLO:
            raise BadAnswer(f"a message of type {hello.type} where a hello was expected; is this an OpenFlow bridge?")
        theirs = _bitmap(hello)
        common = ours & theirs if theirs else {version for version in ours if version <= hello.version}
        if not common:
            raise SourceLost(
                f"the bridge speaks none of the offered versions {sorted(ours)} (wire numbers) but "
                f"{sorted(theirs) or hello.version}; see ovs.oflow.openflow_versions"
            )
        self.version = max(common) if theirs else min(highest, hello.version)
        if self.version not in ours:
            raise SourceLost(f"the bridge wants version {self.version} (wire number), which is not offered")

    async def request(self, type: int, body: bytes = b"") -> int:
        """Send a message; returns its number, which the answer will have."""
        self._xid = self._xid % 0x7FFFFFFF + 1
        await self._send(self.version, type, self._xid, body)
        return self._xid

    async def ask(self, kind: int, body: bytes = b"") -> int:
        """Send a multipart request."""
        padding = b"" if self.version == OF10 else b"\0" * 4
        return await self.request(16 if self.version == OF10 else 18, struct.pack("!HH", kind, 0) + padding + body)

    def part(self, message: Message) -> Part | None:
        """A message as part of a multipart answer, if it is one."""
        reply, header = (17, 4) if self.version == OF10 else (19, 8)
        if message.type != reply:
            return None
        if len(message.body) < header:
            raise BadAnswer("a multipart answer without its header")
        kind, flags = struct.unpack_from("!HH", message.body)
        return Part(kind, bool(flags & 1), message.body[header:])

    async def next(self) -> Message:
        """The next message that is not about the connection itself; asks a silent bridge whether it is there."""
        while True:
            with trio.move_on_after(IDLE_SECONDS) as idle:
                message = await self.receive()
            if idle.cancelled_caught:
                await self.request(ECHO_REQUEST)
                message = await self._within(self.receive())
            if message.type == ECHO_REQUEST:
                await self._send(self.version, ECHO_REPLY, message.xid, message.body)
            elif message.type not in (ECHO_REPLY, HELLO):
                return message

    async def receive(self) -> Message:
        """The next message, whatever it is."""
        while True:
            available = len(self._buffer) - self._start
            if available >= _HEADER.size:
                version, type, length, xid = _HEADER.unpack_from(self._buffer, self._start)
                if length < _HEADER.size or not 1 <= version <= 6:
                    raise BadAnswer(f"no OpenFlow message: {bytes(self._buffer[self._start :][:16])!r}")
                if available >= length:
                    end = self._start + length
                    body = bytes(self._buffer[self._start + _HEADER.size : end])
                    self._start = end
                    return Message(version, type, xid, body)
            # What was read goes only when it must, not once for each message.
            del self._buffer[: self._start]
            self._start = 0
            try:
                data = await self._stream.receive_some(_CHUNK)
            except (trio.BrokenResourceError, OSError) as error:
                raise SourceLost(f"the connection broke: {error.__cause__ or error}") from error
            if not data:
                raise SourceLost("the bridge closed the connection")
            self._buffer += data

    async def _send(self, version: int, type: int, xid: int, body: bytes) -> None:
        try:
            # Questions and answers to echoes come from several tasks.
            with trio.fail_after(ANSWER_SECONDS):
                async with self._sending:
                    await self._stream.send_all(_HEADER.pack(version, type, _HEADER.size + len(body), xid) + body)
        except trio.TooSlowError as error:
            raise SourceLost(f"the bridge takes nothing for {ANSWER_SECONDS:g} s") from error
        except (trio.BrokenResourceError, OSError) as error:
            raise SourceLost(f"the connection broke: {error.__cause__ or error}") from error

    async def _within(self, receiving: object) -> Message:
        try:
            with trio.fail_after(ANSWER_SECONDS):
                message: Message = await receiving  # type: ignore[misc]
                return message
        except trio.TooSlowError as error:
            raise SourceLost(f"no answer within {ANSWER_SECONDS:g} s") from error


def _bitmap(hello: Message) -> set[int]:
    """The versions that a hello lists; none in a hello without elements."""
    at, found = 0, set()
    while at + 4 <= len(hello.body):
        type, length = struct.unpack_from("!HH", hello.body, at)
        if length < 4:
            raise BadAnswer("a hello with an element without length")
        if type == 1 and length >= 8 and at + 8 <= len(hello.body):
            (bits,) = struct.unpack_from("!I", hello.body, at + 4)
            found |= {version for version in range(32) if bits >> version & 1}
        at += (length + 7) // 8 * 8
    return found


def error_text(message: Message) -> str:
    """An error message in words."""
    if len(message.body) < 4:
        return "an error without a code"
    type, code = struct.unpack_from("!HH", message.body)
    return f"OpenFlow error, type {type} code {code}"
