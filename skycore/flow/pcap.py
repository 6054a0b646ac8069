"""Files of packets: pcap, or pcapng where packets have several link types, as a pcap has but one.

Formats: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html and
https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from skycore.flow.query import RawPacket

_MAGIC: Final = 0xA1B2C3D4
_SNAP_LENGTH: Final = 262144
"""What tcpdump writes for "as long as packets are"."""
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_ETHERNET: Final = 1
_VLAN_TYPES: Final = frozenset({0x8100, 0x88A8, 0x9100})
_IPV4, _IPV6 = 0x0800, 0x86DD
_IPV6_HEADER: Final = 40
_AT_ONCE: Final = 256


def pcap_chunks(packets: Iterable[RawPacket]) -> Iterator[bytes]:
    """A file with the packets by time; without any, one of Ethernet."""
    ordered = sorted(packets, key=lambda packet: packet.Timestamp)
    link_types = list(dict.fromkeys(packet.LinkType for packet in ordered)) or [_ETHERNET]
    if len(link_types) == 1:
        yield struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, _SNAP_LENGTH, link_types[0])
        yield from _joined(map(_record, ordered))
        return
    yield _block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    for link_type in link_types:
        yield _block(_INTERFACE, struct.pack("<HHI", link_type, 0, _SNAP_LENGTH))
    yield from _joined(_enhanced(packet, link_types) for packet in ordered)


def _record(packet: RawPacket) -> bytes:
    seconds, milliseconds = divmod(packet.Timestamp, 1000)
    length = original_length(packet)
    return struct.pack("<IIII", seconds & 0xFFFFFFFF, milliseconds * 1000, len(packet.Data), length) + packet.Data


def _enhanced(packet: RawPacket, link_types: Sequence[int]) -> bytes:
    # Microseconds, as an interface has without an option that says otherwise.
    time = packet.Timestamp * 1000
    number = link_types.index(packet.LinkType)
    head = struct.pack(
        "<IIIII", number, time >> 32 & 0xFFFFFFFF, time & 0xFFFFFFFF, len(packet.Data), original_length(packet)
    )
    return _block(_PACKET, head + packet.Data + bytes(-len(packet.Data) % 4))


def _block(type: int, body: bytes) -> bytes:
    length = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", type) + length + body + length


def original_length(packet: RawPacket) -> int:
    """The packet's length on the wire, as far as can be known.

    Captures cut packets (``HeaderSize``); the length in its IP header says how long one was.
    """
    data, start = packet.Data, 0
    if packet.LinkType == _ETHERNET:
        type, start = _number(data, 12), 14
        while type in _VLAN_TYPES:
            type, start = _number(data, start + 2), start + 4
        if type not in (_IPV4, _IPV6):
            return len(data)
    version = data[start] >> 4 if start < len(data) else 0
    if version == 4:
        return max(len(data), start + _number(data, start + 2))
    if version == 6:
        return max(len(data), start + _IPV6_HEADER + _number(data, start + 4))
    return len(data)


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _joined(records: Iterator[bytes]) -> Iterator[bytes]:
    part: list[bytes] = []
    for record in records:
        part.append(record)
        if len(part) == _AT_ONCE:
            yield b"".join(part)
            part = []
    if part:
        yield b"".join(part)
