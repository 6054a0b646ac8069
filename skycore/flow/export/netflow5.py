"""NetFlow version 5: IPv4 only, one record for each direction, at most 30 in a datagram.

Layout: Cisco, "NetFlow Export Datagram Format", tables B-3 (header) and B-4 (record).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, final

from skycore.flow.export.counted import Counted, Way

_HEADER: Final = struct.Struct(">HHIIIIBBH")
_RECORD: Final = struct.Struct(">4s4s4sHHIIIIHHxBBBHHBBxx")
_MOST_RECORDS: Final = 30
_LARGEST: Final = 0xFFFFFFFF
_NO_MASK: Final = 0
_ICMP: Final = 1


@final
class NetFlow5:
    """An exporter of its own: ``boot_ms`` is when it began, ``interface`` the SNMP index of what is captured."""

    def __init__(self, boot_ms: int, interface: int) -> None:
        self._boot_ms = boot_ms
        self._interface = interface & 0xFFFF
        self._sequence = 0

    def datagrams(self, flows: Iterable[Counted], now_ns: int) -> Iterator[bytes]:
        """What is sent of these flows at a time in nanoseconds since the epoch; flows of IPv6 cannot be told."""
        records: list[bytes] = []
        for flow in flows:
            if flow.version != 4:
                continue
            for record in self._records(flow):
                records.append(record)
                if len(records) == _MOST_RECORDS:
                    yield self._datagram(records, now_ns)
                    records = []
        if records:
            yield self._datagram(records, now_ns)

    def _datagram(self, records: list[bytes], now_ns: int) -> bytes:
        seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
        uptime = max(0, now_ns // 1_000_000 - self._boot_ms) & _LARGEST
        header = _HEADER.pack(
            5, len(records), uptime, seconds & _LARGEST, nanoseconds, self._sequence & _LARGEST, 0, 0, 0
        )
        # The number of the next record: of all that were sent before this datagram.
        self._sequence += len(records)
        return header + b"".join(records)

    def _records(self, flow: Counted) -> Iterator[bytes]:
        yield from self._of_way(flow, flow.ab, flow.a, flow.b, flow.port_a, flow.port_b)
        yield from self._of_way(flow, flow.ba, flow.b, flow.a, flow.port_b, flow.port_a)

    def _of_way(
        self, flow: Counted, way: Way, source: bytes, target: bytes, source_port: int, target_port: int
    ) -> Iterator[bytes]:
        """One record, or several when the counters hold more than 32 bits."""
        packets, octets = way.packets, way.octets
        if flow.protocol == _ICMP:
            # As routers do it: type and code stand where the target's port would.
            source_port, target_port = 0, way.icmp
        while packets:
            # The bytes go with the packets, and both fit.
            parts = max(1, -(-packets // _LARGEST), -(-octets // _LARGEST))
            some, bytes_of_some = max(1, packets // parts), octets // parts
            if parts == 1:
                some, bytes_of_some = packets, octets
            yield _RECORD.pack(
                source,
                target,
                bytes(4),
                self._interface,
                0,
                some,
                bytes_of_some,
                self._uptime(flow.start_ms),
                self._uptime(flow.end_ms),
                source_port,
                target_port,
                way.flags,
                flow.protocol,
                0,
                0,
                0,
                _NO_MASK,
                _NO_MASK,
            )
            packets, octets = packets - some, octets - bytes_of_some

    def _uptime(self, time_ms: int) -> int:
        return max(0, time_ms - self._boot_ms) & _LARGEST
