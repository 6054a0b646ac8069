"""The frames in a block of a TPACKET_V3 ring, for who wants them one by one (linux/if_packet.h)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from skycore.errors import CaptureError
from skycore.flow.source import Bytes

_BLOCK: Final = struct.Struct("=II")
"""From offset 12 of a block: number of packets, offset of the first."""
_PACKET: Final = struct.Struct("=IIIIIIHHIIH")
"""tpacket3_hdr: next, sec, nsec, snaplen, len, status, mac, net, rxhash, vlan_tci, vlan_tpid."""
_VLAN_VALID, _VLAN_TPID_VALID = 0x10, 0x40
_8021Q: Final = 0x8100


def frames(block: Bytes) -> Iterator[tuple[bytes, int]]:
    """Each frame, VLAN tags put back, and its length on the wire.  Raises CaptureError for a block that contradicts
    itself."""
    view = memoryview(block)
    try:
        number, at = _BLOCK.unpack_from(view, 12)
        for _ in range(number):
            step, _, _, captured, length, status, mac, _, _, tci, tpid = _PACKET.unpack_from(view, at)
            frame = bytes(view[at + mac : at + mac + captured])
            if len(frame) != captured:
                raise CaptureError("a packet of the ring is longer than its block")
            if status & _VLAN_VALID and captured >= 12:
                tag = struct.pack(">HH", tpid if status & _VLAN_TPID_VALID else _8021Q, tci)
                frame, length = frame[:12] + tag + frame[12:], length + len(tag)
            yield frame, length
            if not step:
                return
            at += step
    except struct.error as error:
        raise CaptureError(f"a block of the ring contradicts itself: {error}") from error
