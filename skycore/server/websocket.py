"""The server's end of a WebSocket (RFC 6455).

Messages are received with wsproto, and sent as frames that were encoded once, for however many clients.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from typing import final

import attrs
import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.extensions import Extension

from skycore.errors import WebSocketClosed
from skycore.server.deflate import MIN_COMPRESSED, Agreed, Compressor, Inflate, compress
from skycore.server.wire import PeerGone, Wire

_FIN, _COMPRESSED = 0x80, 0x40
_CONTINUED = 0x0
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTROL_PAYLOAD = 125
_MESSAGE_TOO_BIG = 1009
# Frames that need no await are handled in runs of so many, so that a flood of tiny ones does not hold the loop.
_EVENTS_A_TURN = 128
_FRAGMENT = 64 << 10


def encode_frame(payload: bytes, text: bool, window_bits: int = 0) -> bytes:
    """One whole, unmasked message as a server sends it (RFC 6455, section 5.2); text payloads are UTF-8.

    ``window_bits`` other than 0: compressed for those who agreed to such a window, if it is worth it.
    """
    opcode = _TEXT if text else _BINARY
    if window_bits and len(payload) >= MIN_COMPRESSED:
        return _frame(_FIN | _COMPRESSED | opcode, compress(payload, window_bits))
    return _frame(_FIN | opcode, payload)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


@final
@attrs.frozen
class KeepAlive:
    """Ping at once and every ``ping_delay`` seconds; without a byte from the peer for ``ping_delay + pong_timeout``
    seconds the connection is given up (1006)."""

    ping_delay: float = 2.0
    pong_timeout: float = 5.0


@final
class WebSocket:
    """An open WebSocket.

    All methods may be called from any task; frames never interleave.  Once the socket is closed, by whichever
    side, ``send`` and its kin raise WebSocketClosed, and so does ``receive`` after the messages that had come.

    A slow peer holds up nobody but its own senders, and them no longer than ``Limits.send_timeout`` for each 64 KiB.
    A cancelled send may have been cut short: the socket is closed then.
    """

    def __init__(
        self, wire: Wire, early: bytes, *, message_size: int, close_timeout: float, deflate: Agreed | None = None
    ) -> None:
        self._wire = wire
        self._early = early
        self._message_size = message_size
        self._close_timeout = close_timeout
        extensions: list[Extension] = [] if deflate is None else [Inflate(deflate, message_size)]
        self._parser = Connection(ConnectionType.SERVER, extensions)
        self.window_bits = 0 if deflate is None else deflate.window_bits
        self._text: io.StringIO | None = None
        self._binary: bytearray | None = None
        self._size = 0
        self._arrived, self._messages = trio.open_memory_channel[str | bytes](1)
        self._closed: tuple[int, str] | None = None
        self._close_sent = False
        self._ended = trio.Event()

    async def receive(self) -> str | bytes:
        """The next message: str for text, bytes for binary."""
        try:
            return await self._messages.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise self._error() from None

    async def send(self, message: str | bytes) -> None:
        """Send a message: str as text, bytes as binary."""
        if isinstance(message, str):
            await self.send_frames(encode_frame(message.encode(), text=True))
        else:
            await self.send_frames(encode_frame(message, text=False))

    async def send_frames(self, frames: bytes) -> None:
        """Send frames made by ``encode_frame``, one or several joined, as they are."""
        if self._close_sent or self._closed is not None:
            await trio.lowlevel.checkpoint()
            raise self._error()
        try:
            await self._wire.write(frames)
        except PeerGone as error:
            await self._give_up(str(error))
            raise self._error() from error

    def offer_frames(self, frames: bytes) -> bool:
        """Send frames now if that needs no waiting; true when they need not be sent again (see ``Wire.offer``).

        While ``owes`` is true afterwards, the rest has to be brought on its way by ``send_frames``, be it of nothing.
        """
        if self._close_sent or self._closed is not None:
            return False
        return self._wire.offer(frames)

    @property
    def owes(self) -> bool:
        """Whether a part of what was offered waits for the next sending."""
        return self._wire.owes

    async def send_pieces(self, pieces: Iterable[bytes], text: bool) -> None:
        """Send one message that comes in pieces, in fragments of some 64 KiB, compressed if that was agreed to.

        Pings may stand between the fragments, but no other message: the caller sees to it.
        """
        compressor = Compressor(self.window_bits) if self.window_bits else None
        first = (_TEXT if text else _BINARY) | (_COMPRESSED if compressor is not None else 0)
        waiting: list[bytes] = []
        size = 0
        for piece in pieces:
            part = piece if compressor is None else compressor.add(piece)
            waiting.append(part)
            size += len(part)
            if size >= _FRAGMENT:
                await self.send_frames(_frame(first, b"".join(waiting)))
                waiting, size, first = [], 0, _CONTINUED
            elif compressor is not None:
                # What compresses well takes time long before it makes a fragment.
                await trio.lowlevel.checkpoint()
        if compressor is not None:
            waiting.append(compressor.end())
        await self.send_frames(_frame(_FIN | first, b"".join(waiting)))

    async def ping(self, payload: bytes = b"") -> None:
        """Send a ping (its pong is not waited for); ``payload`` is at most 125 bytes."""
        if len(payload) > _CONTROL_PAYLOAD:
            raise ValueError(f"a ping holds at most {_CONTROL_PAYLOAD} bytes, not {len(payload)}")
        await self.send_frames(_frame(_FIN | _PING, payload))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a handshake: send Close, give the peer ``Limits.close_timeout`` to answer.  Idempotent.

        ``code`` is 1000–1003, 1007–1014 or 3000–4999; ``reason`` is cut to 123 bytes.
        """
        if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
            raise ValueError(f"{code} is no close code that may be sent; use 1000-1003, 1007-1014 or 3000-4999")
        await self.send_close(code, reason)
        self._messages.close()
        if not self._wire.broken:
            with trio.move_on_after(self._close_timeout):
                await self._ended.wait()
        await self._wire.abort()

    async def send_close(self, code: int, reason: str = "") -> None:
        """Send Close and do not wait for the answer; nothing can be sent after it.  Never raises WebSocketClosed."""
        if self._close_sent:
            return
        self._close_sent = True
        self._closed = self._closed or (code, reason)
        payload = b""
        if code != 1005:
            text = reason.encode()[: _CONTROL_PAYLOAD - 2].decode(errors="ignore").encode()
            payload = struct.pack("!H", code) + text
        try:
            await self._wire.write(_frame(_FIN | _CLOSE, payload))
        except PeerGone as error:
            await self._give_up(str(error))

    async def keep_alive(self, settings: KeepAlive) -> None:
        """Ping, and give up a silent peer; returns when the socket is closed."""
        silence = settings.ping_delay + settings.pong_timeout
        while not self._ended.is_set():
            try:
                await self.ping()
            except WebSocketClosed:
                return
            next_ping = trio.current_time() + settings.ping_delay
            while (now := trio.current_time()) < next_ping:
                # Infinite while what has come is not taken by the handler: then the silence is ours.
                given_up = self._wire.waiting_since + silence
                if now >= given_up:
                    await self._give_up(f"nothing came from the peer for {silence:g} s")
                    return
                with trio.move_on_at(min(next_ping, given_up)):
                    await self._ended.wait()
                    return

    def _error(self) -> WebSocketClosed:
        code, reason = self._closed or (1006, "the connection is closed")
        return WebSocketClosed(code, reason)

    async def _give_up(self, reason: str) -> None:
        self._closed = self._closed or (1006, reason)
        self._arrived.close()
        await self._wire.abort()

    async def run(self) -> None:
        """Read frames until the socket is closed: queue messages, answer pings and Close.

        Runs as long as the socket lives, started by the acceptor.
        """
        try:
            data = self._early
            while not (data and await self._take(data)):
                data = await self._wire.read()
                if not data:
                    reason = self._wire.broken or "the peer left without closing the WebSocket"
                    self._closed = self._closed or (1006, reason)
                    break
            self._arrived.close()
            # Not in the finally: when the server stops, a last Close is still to be sent.
            await self._wire.abort()
        finally:
            self._arrived.close()
            self._ended.set()

    async def _take(self, data: bytes) -> bool:
        """Handle the frames that are whole with these bytes; true when the socket is closed."""
        self._parser.receive_data(data)
        for count, event in enumerate(self._parser.events(), 1):
            if isinstance(event, TextMessage | BytesMessage):
                if not await self._add(event):
                    return True
            elif isinstance(event, Ping):
                try:
                    await self.send_frames(_frame(_FIN | _PONG, bytes(event.payload)))
                except WebSocketClosed:
                    # After our own Close only the peer's is waited for.
                    if self._wire.broken:
                        return True
            elif isinstance(event, CloseConnection):
                reason = event.reason or ""
                if self._parser.state is ConnectionState.OPEN:
                    await self._fail(event.code, f"protocol error: {reason}")
                else:
                    self._closed = self._closed or (int(event.code), reason)
                    await self.send_close(int(event.code))
                return True
            if count % _EVENTS_A_TURN == 0:
                await trio.lowlevel.checkpoint()
        return False

    async def _add(self, event: TextMessage | BytesMessage) -> bool:
        """Join a part to its message, queue it when it is whole; false when it is too big."""
        data = event.data
        self._size += len(data) if isinstance(data, bytes | bytearray) or data.isascii() else len(data.encode())
        if self._size > self._message_size:
            await self._fail(_MESSAGE_TOO_BIG, f"a message is larger than {self._message_size} bytes")
            return False
        message: str | bytes
        if isinstance(data, str):
            if self._text is None and event.message_finished:
                message = data
            else:
                self._text = self._text or io.StringIO()
                self._text.write(data)
                message = self._text.getvalue() if event.message_finished else ""
        elif self._binary is None and event.message_finished:
            message = bytes(data)
        else:
            self._binary = bytearray() if self._binary is None else self._binary
            self._binary += data
            message = bytes(self._binary) if event.message_finished else b""
        if event.message_finished:
            self._text, self._binary, self._size = None, None, 0
            try:
                await self._arrived.send(message)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # Closed on our side: what still comes is of no use to anybody.
                pass
        return True

    async def _fail(self, code: int, reason: str) -> None:
        """Fail the connection (RFC 6455, section 7.1.7): say why, then wait for the peer to leave."""
        self._closed = self._closed or (code, reason)
        self._arrived.close()
        await self.send_close(code, reason)
        with trio.move_on_after(self._close_timeout):
            while await self._wire.read():
                pass
