"""Classic pcap streams, piece by piece (draft-ietf-opsawg-pcap; tcpdump.org/manpages/pcap-savefile.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, final

import attrs

from skycore.plugin import CaptureError

_HEADER: Final = 24
_RECORD: Final = 16
_LARGEST: Final = 1 << 20
_MAGIC: Final = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
"""Nanoseconds in the unit of a record's second number, by the file's first number."""


@final
@attrs.frozen
class Packet:
    """One packet: its time in nanoseconds since the epoch, and its length on the wire."""

    time_ns: int
    wire_length: int
    frame: bytes


@final
class PcapStream:
    """Takes pieces of a stream in any size, and gives the packets that are complete.

    ``link_type`` is known when the first packet is given.
    """

    def __init__(self) -> None:
        self.link_type = 0
        self._buffer = bytearray()
        self._record: struct.Struct | None = None
        self._unit = 1
        self._at = 0

    def feed(self, piece: bytes) -> Iterator[Packet]:
        """The packets that this piece completes.  Raises CaptureError where the stream is damaged."""
        self._buffer += piece
        if self._record is None:
            if len(self._buffer) < _HEADER:
                return
            self._begin()
        used = 0
        assert self._record is not None
        while len(self._buffer) - used >= _RECORD:
            seconds, parts, captured, original = self._record.unpack_from(self._buffer, used)
            if captured > _LARGEST:
                raise CaptureError(f"the stream is damaged at byte {self._at + used}: a packet of {captured} bytes")
            end = used + _RECORD + captured
            if len(self._buffer) < end:
                break
            time_ns = seconds * 1_000_000_000 + parts * self._unit
            yield Packet(time_ns, max(original, captured), bytes(self._buffer[used + _RECORD : end]))
            used = end
        del self._buffer[:used]
        self._at += used

    def end(self) -> None:
        """The stream has ended.  Raises CaptureError when it ended within a packet, or before its first byte."""
        if self._record is None or self._buffer:
            raise CaptureError(f"the stream ended within a header or packet, after byte {self._at}")

    def _begin(self) -> None:
        for order in ("<", ">"):
            (magic,) = struct.unpack_from(f"{order}I", self._buffer)
            if magic in _MAGIC:
                self._unit = _MAGIC[magic]
                self._record = struct.Struct(f"{order}4I")
                # The upper bits of the last number say how long a frame check sequence is.
                self.link_type = struct.unpack_from(f"{order}I", self._buffer, 20)[0] & 0xFFFF
                del self._buffer[:_HEADER]
                self._at = _HEADER
                return
        raise CaptureError(f"this is no pcap stream: it begins with {bytes(self._buffer[:4]).hex()}")
