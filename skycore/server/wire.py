"""One connection's byte stream: read ahead within a bound, written in timed slices that never interleave."""

from __future__ import annotations

import math
import os
import socket
from typing import final

import trio
from trio.abc import HalfCloseableStream, Stream

from skycore.server.limits import Limits

_SLICE = 64 << 10
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class PeerGone(ConnectionError):
    """Nothing more can be written: the peer left or was too slow (an OSError, as ASGI 2.4 asks of ``send``)."""


@final
class Wire:
    """A stream as the server uses it.

    While ``read_ahead`` runs, it reads up to ``limits.header_size`` bytes that nobody asked for yet, so that
    the end of the stream is noticed while a request is being served; afterwards ``read`` reads by itself.
    """

    def __init__(self, stream: Stream, limits: Limits) -> None:
        self._stream = stream
        self.limits = limits
        self._buffer = bytearray()
        self._ended = False
        self._readable = trio.lowlevel.ParkingLot()
        self._drained = trio.lowlevel.ParkingLot()
        self._ahead: trio.CancelScope | None = None
        self._ahead_done = trio.Event()
        self._watch: trio.CancelScope | None = None
        self._write_lock = trio.Lock()
        self._broken = ""
        self._owed: memoryview | None = None
        # When the present wait for bytes began; infinite while nobody waits, as when a reader is held back.
        self.waiting_since = math.inf

    @property
    def ended(self) -> bool:
        """The peer will send nothing more (it may have left, or closed its sending side only)."""
        return self._ended

    @property
    def broken(self) -> str:
        """Why nothing more can be written; empty as long as it can."""
        return self._broken

    @property
    def secure(self) -> bool:
        """The stream is encrypted."""
        return isinstance(self._stream, trio.SSLStream)

    @property
    def local(self) -> bool:
        """The stream is a socket pair, so that its other end is in this process; no peer can make it look so."""
        return isinstance(self._stream, trio.SocketStream) and self._stream.socket.family == socket.AF_UNIX

    def peer_address(self) -> tuple[str, int] | None:
        """The peer's address and port; None for streams that are not TCP."""
        stream = self._stream
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        return _address(stream, "getpeername")

    def own_address(self) -> tuple[str, int] | None:
        """Our own address and port; None for streams that are not TCP."""
        stream = self._stream
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        return _address(stream, "getsockname")

    async def read_ahead(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fill the buffer as it is emptied, until the stream ends or ``stop_read_ahead``."""
        with trio.CancelScope() as scope:
            self._ahead = scope
            task_status.started()
            try:
                while not self._ended:
                    while len(self._buffer) >= self.limits.header_size:
                        await self._drained.park()
                    await self._fill()
                    self._readable.unpark_all()
            finally:
                self._ahead = None
                self._ahead_done.set()
                self._readable.unpark_all()

    async def stop_read_ahead(self) -> None:
        """End ``read_ahead``; what it has read stays for ``read``."""
        if self._ahead is not None:
            self._ahead.cancel()
            await self._ahead_done.wait()

    def cancel_at_end(self, scope: trio.CancelScope | None) -> None:
        """Cancel ``scope`` when the peer has left, at once when it already has; None: nothing any more."""
        self._watch = scope
        if scope is not None and self._ended:
            scope.cancel()

    async def read(self) -> bytes:
        """What has arrived, at least a byte; empty at the end of the stream, also when it broke."""
        if self._buffer:
            await trio.lowlevel.checkpoint()
        while not self._buffer and not self._ended:
            if self._ahead is None:
                await self._fill()
            else:
                await self._readable.park()
        data = bytes(self._buffer)
        self._buffer.clear()
        self._drained.unpark_all()
        return data

    async def _fill(self) -> None:
        self.waiting_since = trio.current_time()
        try:
            data = await self._stream.receive_some(self.limits.header_size if self._ahead else _SLICE)
        except _GONE:
            data = b""
        finally:
            self.waiting_since = math.inf
        if data:
            self._buffer += data
        else:
            self._ended = True
            if self._watch is not None:
                self._watch.cancel()

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write everything, after what other tasks are writing.

        Raises PeerGone when the peer has left, or did not take a slice within ``send_timeout``: the stream is
        closed then.  A write that is cancelled may have been cut short, so nothing can be written after it.
        """
        async with self._write_lock:
            if self._broken:
                raise PeerGone(f"cannot send: {self._broken}")
            try:
                if self._owed is not None:
                    await self._write_slices(self._owed)
                    self._owed = None
                await self._write_slices(memoryview(data))
            except BaseException:
                self._broken = self._broken or "an earlier write was cut short"
                raise

    def offer(self, data: bytes) -> bool:
        """Write now what the kernel takes at once, without waiting; true when ``data`` need not be written again.

        True means that all is written, or that the rest is *owed*: the next ``write``, be it of nothing, writes that
        first.  False means that nothing was written: another task is writing, the kernel's buffer is full, the peer
        has left, or the stream is no TCP connection of our own (TLS).
        """
        if self._owed is not None or self._broken or self._write_lock.locked():
            return False
        if not isinstance(self._stream, trio.SocketStream):
            return False
        try:
            # A trio socket does not block (trio.socket), and send_all would cost two turns of the event loop.
            written = os.write(self._stream.socket.fileno(), data)
        except OSError:
            return False
        if written < len(data):
            self._owed = memoryview(data)[written:]
        return True

    @property
    def owes(self) -> bool:
        """Whether a part of what was offered waits for the next ``write``."""
        return self._owed is not None

    async def _write_slices(self, data: memoryview) -> None:
        for start in range(0, len(data), _SLICE):
            with trio.move_on_after(self.limits.send_timeout) as timeout:
                try:
                    await self._stream.send_all(data[start : start + _SLICE])
                except _GONE as error:
                    self._broken = "the peer has left"
                    raise PeerGone(f"cannot send: {self._broken}") from error
            if timeout.cancelled_caught:
                self._broken = f"the peer did not take {_SLICE >> 10} KiB within {self.limits.send_timeout:g} s"
                await self.abort()
                raise PeerGone(f"cannot send: {self._broken}")

    async def linger(self) -> None:
        """Close our side, then wait a little for the peer to close its own.

        Closing a socket with unread input resets the connection, which may destroy our last answer before
        the peer has read it (RFC 9112, section 9.6).
        """
        if self._broken:
            return
        with trio.move_on_after(self.limits.linger_time):
            if isinstance(self._stream, trio.SSLStream):
                await self._linger_encrypted(self._stream)
            elif isinstance(self._stream, HalfCloseableStream):
                try:
                    async with self._write_lock:
                        await self._stream.send_eof()
                except _GONE:
                    return
                while await self.read():
                    pass

    async def _linger_encrypted(self, stream: trio.SSLStream[Stream]) -> None:
        """The same with TLS's own end (close_notify, RFC 8446, section 6.1) before that of TCP."""
        await self.stop_read_ahead()
        transport = stream.transport_stream
        async with self._write_lock:
            self._broken = "the connection is closed"
            try:
                # Fails after its farewell was sent when the peer has said more, or leaves without one.
                await stream.unwrap()
            except (*_GONE, trio.BusyResourceError):
                pass
            try:
                if isinstance(transport, HalfCloseableStream):
                    await transport.send_eof()
                while await transport.receive_some(_SLICE):
                    pass
            except _GONE:
                pass

    async def abort(self) -> None:
        """Close the stream at once; idempotent."""
        self._broken = self._broken or "the connection is closed"
        # Shielded, so that a sender learns why it failed before the end of the stream cancels it.
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)


def _address(stream: Stream, question: str) -> tuple[str, int] | None:
    if not isinstance(stream, trio.SocketStream):
        return None
    try:
        address = getattr(stream.socket, question)()
    except OSError:
        return None
    return (address[0], address[1]) if isinstance(address, tuple) and len(address) >= 2 else None
