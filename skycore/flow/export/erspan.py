"""ERSPAN: frames in GRE, as switches mirror them.

Types I and II of draft-foschiano-erspan-03, section 4; GRE: RFC 2784 and, with a sequence number, RFC 2890.
"""

from __future__ import annotations

import struct
from typing import Final, final

PROTOCOL: Final = 47
"""GRE, in the IP header."""
_ERSPAN: Final = 0x88BE
_WITH_SEQUENCE: Final = 0x1000
_VERSION_OF_TYPE_II: Final = 1
_TAGGED: Final = 3
"""En: the frame had a VLAN tag, and still has it."""
_TAGS: Final = (b"\x81\x00", b"\x88\xa8")
SESSION: Final = 1


@final
class Erspan:
    """Type I (nothing but GRE), or II with a session and the port that is mirrored."""

    def __init__(self, type: int, interface: int, session: int = SESSION) -> None:
        self._type = type
        self._index = interface & 0xFFFFF
        self._session = session & 0x3FF
        self._sequence = 0

    def packet(self, frame: bytes | memoryview, *, truncated: bool) -> bytes:
        """GRE with a frame in it; ``truncated``: the frame was longer than what is given."""
        if self._type == 1:
            return struct.pack(">HH", 0, _ERSPAN) + frame
        header = self.header(bytes(frame[12:16]), truncated=truncated)
        gre = struct.pack(">HHI", _WITH_SEQUENCE, _ERSPAN, self._sequence)
        self._sequence = self._sequence + 1 & 0xFFFFFFFF
        return gre + header + frame

    def header(self, after_addresses: bytes, *, truncated: bool) -> bytes:
        """Version, VLAN, COS, En, T and session; then the port's index."""
        tagged = after_addresses[:2] in _TAGS and len(after_addresses) == 4
        tag = int.from_bytes(after_addresses[2:4], "big") if tagged else 0
        return struct.pack(
            ">HHI",
            _VERSION_OF_TYPE_II << 12 | tag & 0xFFF,
            tag >> 13 << 13 | (_TAGGED << 11 if tagged else 0) | truncated << 10 | self._session,
            self._index,
        )
