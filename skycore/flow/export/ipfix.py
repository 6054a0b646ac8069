"""IPFIX (RFC 7011), each flow as one bidirectional record (RFC 5103), in datagrams of UDP.

Numbers of information elements: iana.org/assignments/ipfix.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, final

from skycore.flow.export.counted import Counted

_VERSION: Final = 10
_HEADER: Final = struct.Struct(">HHIII")
_SET: Final = struct.Struct(">HH")
_TEMPLATES: Final = 2
_REVERSE: Final = 29305
"""Private enterprise number of RFC 5103, section 6.1, under which an element counts the way back."""
_LARGEST_MESSAGE: Final = 1400
"""Bytes that pass without being cut on any usual path."""
_TEMPLATES_EACH_NS: Final = 60_000_000_000
"""Over UDP templates are told again and again (RFC 7011, section 8.4)."""
_ENDED, _STILL_ACTIVE = 3, 2
"""flowEndReason: end of flow detected, active timeout."""
_INITIATOR: Final = 1
"""biflowDirection (RFC 5103, section 6.3): A is who sent the first packet."""
_ICMPS: Final = (1, 58)

_OCTETS, _PACKETS, _PROTOCOL, _FLAGS = 1, 2, 4, 6
_SOURCE_PORT, _SOURCE_4, _INGRESS, _TARGET_PORT, _TARGET_4 = 7, 8, 10, 11, 12
_SOURCE_6, _TARGET_6, _SOURCE_MAC, _VLAN, _TARGET_MAC = 27, 28, 56, 58, 80
_END_REASON, _FLOW_ID, _START, _END, _DIRECTION = 136, 148, 152, 153, 239
_ICMP_4, _ICMP_6 = 32, 139

_COMMON: Final = (
    (_START, 8, False),
    (_END, 8, False),
    (_PACKETS, 8, False),
    (_OCTETS, 8, False),
    (_PACKETS, 8, True),
    (_OCTETS, 8, True),
    (_SOURCE_PORT, 2, False),
    (_TARGET_PORT, 2, False),
    (_PROTOCOL, 1, False),
    (_FLAGS, 1, False),
    (_FLAGS, 1, True),
    (_END_REASON, 1, False),
    (_DIRECTION, 1, False),
    (_VLAN, 2, False),
    (_SOURCE_MAC, 6, False),
    (_TARGET_MAC, 6, False),
    (_INGRESS, 4, False),
    (_FLOW_ID, 8, False),
)
_FIELDS: Final = {
    4: (256, ((_SOURCE_4, 4, False), (_TARGET_4, 4, False), (_ICMP_4, 2, False), *_COMMON)),
    6: (257, ((_SOURCE_6, 16, False), (_TARGET_6, 16, False), (_ICMP_6, 2, False), *_COMMON)),
}
"""By version of IP the template's number, and its fields: element, bytes, whether of the way back."""
_RECORDS: Final = {4: struct.Struct(">4s4sHQQQQQQHHBBBBBH6s6sIQ"), 6: struct.Struct(">16s16sHQQQQQQHHBBBBBH6s6sIQ")}


def templates() -> bytes:
    """The set with both templates."""
    body = b"".join(_template(number, fields) for number, fields in _FIELDS.values())
    return _SET.pack(_TEMPLATES, _SET.size + len(body)) + body


def _template(number: int, fields: tuple[tuple[int, int, bool], ...]) -> bytes:
    specifiers = b"".join(
        struct.pack(">HHI", element | 0x8000, size, _REVERSE) if back else struct.pack(">HH", element, size)
        for element, size, back in fields
    )
    return struct.pack(">HH", number, len(fields)) + specifiers


@final
class Ipfix:
    """An exporter of its own; ``interface`` is the index of what is captured, and the observation domain."""

    def __init__(self, interface: int) -> None:
        self._interface = interface & 0xFFFFFFFF
        self._sequence = 0
        self._told_ns = -_TEMPLATES_EACH_NS

    def datagrams(self, flows: Iterable[Counted], now_ns: int) -> Iterator[bytes]:
        """What is sent of these flows at a time in nanoseconds since the epoch."""
        sets: list[bytes] = []
        size = _HEADER.size
        records = 0
        for flow in flows:
            if not records and now_ns - self._told_ns >= _TEMPLATES_EACH_NS:
                sets, size = [templates()], _HEADER.size + len(templates())
                self._told_ns = now_ns
            data = self._set(flow)
            if records and size + len(data) > _LARGEST_MESSAGE:
                yield self._message(sets, records, now_ns)
                sets, size, records = [], _HEADER.size, 0
            sets.append(data)
            size += len(data)
            records += 1
        if records:
            yield self._message(sets, records, now_ns)

    def _set(self, flow: Counted) -> bytes:
        number = _FIELDS[flow.version][0]
        icmp = flow.ab.icmp if flow.protocol in _ICMPS else 0
        record = _RECORDS[flow.version].pack(
            flow.a,
            flow.b,
            icmp,
            flow.start_ms,
            flow.end_ms,
            flow.ab.packets,
            flow.ab.octets,
            flow.ba.packets,
            flow.ba.octets,
            flow.port_a,
            flow.port_b,
            flow.protocol,
            flow.ab.flags,
            flow.ba.flags,
            _ENDED if flow.ended else _STILL_ACTIVE,
            _INITIATOR,
            flow.vlan,
            flow.mac_a,
            flow.mac_b,
            self._interface,
            flow.id & 0xFFFFFFFFFFFFFFFF,
        )
        return _SET.pack(number, _SET.size + len(record)) + record

    def _message(self, sets: list[bytes], records: int, now_ns: int) -> bytes:
        body = b"".join(sets)
        header = _HEADER.pack(
            _VERSION,
            _HEADER.size + len(body),
            now_ns // 1_000_000_000 & 0xFFFFFFFF,
            self._sequence & 0xFFFFFFFF,
            self._interface,
        )
        # The number of data records before this message.
        self._sequence += records
        return header + body
