"""permessage-deflate (RFC 7692), so that a message is compressed once for however many clients.

Only ``server_no_context_takeover`` is ever agreed to: a compressed message then stands for itself, and the same frame
goes to every client with the same window.  What clients send may lean on their earlier messages as they like.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Final, final

import attrs
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

NAME: Final = "permessage-deflate"
MIN_COMPRESSED: Final = 256
"""Bytes below which a message is sent as it is: so little is hardly worth the client's time."""
_LEVEL = 1
# What Z_SYNC_FLUSH ends with and RFC 7692, section 7.2.1 takes off.
_TAIL = b"\x00\x00\xff\xff"
_WINDOW = re.compile(r"[0-9]{1,2}")


@final
@attrs.frozen
class Agreed:
    """What both sides agreed to: the window of our messages, and the header line that says so."""

    window_bits: int
    client_keeps_context: bool
    header: str


def negotiate(offers: Iterable[str]) -> Agreed | None:
    """Choose from the values of a client's ``Sec-WebSocket-Extensions``; None when nothing there suits.

    An offer with an unknown parameter or value is passed over, as RFC 7692, section 7 wants it.
    """
    for offer in (part for header in offers for part in header.split(",")):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name.lower() == NAME:
            agreed = _read_offer(parameters)
            if agreed is not None:
                return agreed
    return None


def _read_offer(parameters: list[str]) -> Agreed | None:
    window, keeps, header = 15, True, [NAME, "server_no_context_takeover"]
    seen: set[str] = set()
    for parameter in parameters:
        key, equals, value = (part.strip() for part in parameter.partition("="))
        value = value.strip('"')
        if key in seen:
            return None
        seen.add(key)
        if key == "client_no_context_takeover" and not equals:
            keeps = False
            header.append(key)
        elif key == "client_max_window_bits":
            if equals and not (_WINDOW.fullmatch(value) and 8 <= int(value) <= 15):
                return None
        elif key == "server_max_window_bits":
            # zlib has no raw window of 8 bits.
            if not (_WINDOW.fullmatch(value) and 9 <= int(value) <= 15):
                return None
            window = int(value)
            header.append(f"server_max_window_bits={window}")
        elif key != "server_no_context_takeover" or equals:
            return None
    return Agreed(window, keeps, "; ".join(header))


@final
class Compressor:
    """Compresses one message, in one piece or several."""

    def __init__(self, window_bits: int) -> None:
        self._deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -window_bits)

    def add(self, piece: bytes) -> bytes:
        """What the piece adds to the compressed message; may be empty."""
        return self._deflate.compress(piece)

    def end(self) -> bytes:
        """The rest of the message."""
        rest = self._deflate.flush(zlib.Z_SYNC_FLUSH)
        # A flush that has nothing to add leaves the tail out; an empty block then stands for it.
        return rest[: -len(_TAIL)] if rest.endswith(_TAIL) else rest


def compress(payload: bytes, window_bits: int) -> bytes:
    """A whole message compressed."""
    compressor = Compressor(window_bits)
    return compressor.add(payload) + compressor.end()


@final
class Inflate(Extension):
    """The receiving half, as wsproto asks for it: no message grows beyond ``message_size`` bytes."""

    name = NAME

    def __init__(self, agreed: Agreed, message_size: int) -> None:
        self._keeps_context = agreed.client_keeps_context
        self._bound = message_size
        self._inflate = zlib.decompressobj(-15)
        self._size = 0
        self._compressed = False
        self._control = False

    def offer(self) -> bool | str:
        return False

    def enabled(self) -> bool:
        return True

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._control = opcode.iscontrol()
        if rsv.rsv1 and (self._control or opcode is Opcode.CONTINUATION):
            return CloseReason.PROTOCOL_ERROR
        if not self._control and opcode is not Opcode.CONTINUATION:
            self._compressed, self._size = rsv.rsv1, 0
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        if self._control or not self._compressed:
            return data
        return self._grow(bytes(data))

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        if self._control or not self._compressed or not fin:
            return None
        rest = self._grow(_TAIL)
        if not self._keeps_context:
            self._inflate = zlib.decompressobj(-15)
        return rest

    def _grow(self, data: bytes) -> bytes | CloseReason:
        try:
            grown = self._inflate.decompress(data, self._bound - self._size + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._size += len(grown)
        if self._size > self._bound or self._inflate.unconsumed_tail:
            return CloseReason.MESSAGE_TOO_BIG
        if self._inflate.eof:
            # The client ended its stream (BFINAL); what follows is a new one.
            self._inflate = zlib.decompressobj(-15)
        return grown
