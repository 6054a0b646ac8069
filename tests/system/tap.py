"""A tap on the agent-analyzer link; its ledger holds what was sent and acknowledged, outside of both processes."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable
from typing import Final

import attrs
import trio

from skycore.cluster import messages
from skycore.cluster.messages import Ack, Changes, Gap, Sync

Position = tuple[int, int]
Said = tuple[str, bytes, int, int | None]
"""An element at a revision, as both ends must agree on it: ID, content, UpdatedAt, DeletedAt."""

_BINARY: Final = 0x82
_TEXT: Final = 0x81
_PATIENCE: Final = 10.0


@attrs.define
class Entry:
    """One entry as it was first seen; ``checksum`` is that of its whole message."""

    checksum: int
    said: list[Said]
    whole: bool


class Ledger:
    """Entries by (epoch, seq), and the highest position that was acknowledged."""

    def __init__(self) -> None:
        self.entries: dict[Position, Entry] = {}
        self.acknowledged: Position = (0, 0)
        self.acks = 0
        self.changes = 0
        self.gaps = 0
        self.resent = 0
        self._news = trio.Event()

    def from_agent(self, payload: bytes) -> None:
        message = messages.from_agent(payload)
        if isinstance(message, Gap):
            self.gaps += 1
        elif isinstance(message, Changes | Sync):
            position, checksum = (message.epoch, message.seq), zlib.crc32(payload)
            before = self.entries.get(position)
            if before is not None:
                assert before.checksum == checksum, f"entry {position} was sent again with other content"
                self.resent += 1
                return
            elements = [messages.element(raw) for raw in message.elements]
            said = [(item.ID, bytes(item.Metadata), item.UpdatedAt, item.DeletedAt) for item in elements]
            self.entries[position] = Entry(checksum, said, isinstance(message, Sync))
            if isinstance(message, Changes):
                self.changes += len(said)

    def from_analyzer(self, payload: bytes) -> None:
        message = messages.from_analyzer(payload)
        if isinstance(message, Ack):
            self.acks += 1
            self.acknowledged = max(self.acknowledged, (message.epoch, message.seq))
            self._news.set()
            self._news = trio.Event()

    async def acks_reach(self, count: int) -> None:
        while self.acks < count:
            await self._news.wait()


def listening(address: tuple[str, int]) -> trio.SocketListener:
    """A listener in the namespace in which this is called."""
    listener = socket.create_server(address)
    listener.setblocking(False)
    return trio.SocketListener(trio.socket.from_stdlib_socket(listener))


class Tap:
    """Takes the agent's connections and passes them on to the analyzer, both ways, as they are.

    ``dial`` opens a connection to the analyzer; it is tried again while the analyzer is away.
    """

    def __init__(self, ledger: Ledger, dial: Callable[[], socket.socket]) -> None:
        self._ledger = ledger
        self._dial = dial
        self.open = 0

    async def serve(self, agent: trio.SocketStream) -> None:
        """One connection, to its end."""
        analyzer = await self._reach()
        if analyzer is None:
            await agent.aclose()
            return
        self.open += 1
        try:
            async with agent, analyzer, trio.open_nursery() as nursery:
                nursery.start_soon(_pump, agent, analyzer, Frames(self._ledger.from_agent), nursery.cancel_scope)
                # What the analyzer has sent is read to its end, whatever becomes of it.
                await _pump(analyzer, agent, Frames(self._ledger.from_analyzer), trio.CancelScope())
                nursery.cancel_scope.cancel()
        finally:
            self.open -= 1

    async def _reach(self) -> trio.SocketStream | None:
        with trio.move_on_after(_PATIENCE):
            while True:
                try:
                    connection = await trio.to_thread.run_sync(self._dial)
                    return trio.SocketStream(trio.socket.from_stdlib_socket(connection))
                except OSError:
                    await trio.sleep(0.02)
        return None


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, frames: Frames, scope: trio.CancelScope) -> None:
    writable = True
    try:
        while data := await source.receive_some(1 << 18):
            frames.take(data)
            if writable:
                try:
                    await sink.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    writable = False
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()


class Frames:
    """Reads the messages of one direction of a WebSocket (RFC 6455, section 5.2) that nobody fragments."""

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        self._heard = heard
        self._buffer = bytearray()
        self._open = False

    def take(self, data: bytes | bytearray) -> None:
        self._buffer += data
        if not self._open:
            _, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            self._open, self._buffer = True, rest
        while self._next():
            pass

    def _next(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, start = buffer[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return False
            size = int.from_bytes(buffer[2:start], "big")
        masked = bool(buffer[1] & 0x80)
        mask = bytes(buffer[start : start + 4]) if masked else b""
        start += len(mask) if masked else 0
        if len(buffer) < start + size:
            return False
        payload = bytes(buffer[start : start + size])
        if buffer[0] in (_BINARY, _TEXT):
            self._heard(_unmasked(payload, mask) if masked else payload)
        assert buffer[0] & 0xF, "a fragmented message"
        del buffer[: start + size]
        return True


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    pad = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
