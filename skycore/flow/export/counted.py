"""What a flow did since it was told about last, as collectors of NetFlow and IPFIX count it.

Only outermost flows of IP are counted, for what lies inside of a tunnel would be counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from itertools import islice
from typing import Final, final

import attrs
import msgspec

_ETHERNET: Final = 14
_TAG: Final = 4
"""Bytes of the link's header, and of each VLAN tag."""
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
"""Control bits of TCP (RFC 9293, section 3.1)."""
_PROTOCOLS: Final = {"TCP": 6, "UDP": 17, "SCTP": 132, "ICMPv4": 1, "ICMPv6": 58, "GRE": 47, "IPv4": 4, "IPv6": 41}
"""Protocol numbers (iana.org/assignments/protocol-numbers) of the layer that follows IP."""
_TCP: Final = 6
_REMEMBERED: Final = 1_000_000


class _Metric(msgspec.Struct, gc=False):
    Start: int = 0
    Last: int = 0
    ABPackets: int = 0
    ABBytes: int = 0
    BAPackets: int = 0
    BABytes: int = 0


class _Ends(msgspec.Struct, gc=False):
    A: str
    B: str
    ID: int = 0


class _Ports(msgspec.Struct, gc=False):
    A: int
    B: int
    Protocol: str = ""


class _Tcp(msgspec.Struct, gc=False):
    ABSynStart: int = 0
    BASynStart: int = 0
    ABFinStart: int = 0
    BAFinStart: int = 0
    ABRstStart: int = 0
    BARstStart: int = 0


class _Icmp(msgspec.Struct, gc=False):
    Type: str = ""
    Code: int = 0


class _Flow(msgspec.Struct, gc=False):
    UUID: str
    Start: int
    Last: int
    Metric: _Metric
    LayersPath: str = ""
    ParentUUID: str = ""
    Link: _Ends | None = None
    Network: _Ends | None = None
    Transport: _Ports | None = None
    ICMP: _Icmp | None = None
    TCPMetric: _Tcp | None = None
    LastUpdateMetric: _Metric | None = None
    FinishType: int = 0


_decode = msgspec.json.Decoder(_Flow).decode

_REQUESTS: Final = {
    1: {
        **{"ECHO": (8, 0), "TIMESTAMP": (13, 14), "INFO": (15, 16), "ADDRESS_MASK": (17, 18), "ROUTER": (10, 9)},
        **{"DESTINATION_UNREACHABLE": (3, 3), "SOURCE_QUENCH": (4, 4), "REDIRECT": (5, 5)},
        **{"TIME_EXCEEDED": (11, 11), "PARAMETER_PROBLEM": (12, 12)},
    },
    58: {
        **{"ECHO": (128, 129), "ROUTER": (133, 134), "NEIGHBOR": (135, 136), "REDIRECT": (137, 137)},
        **{"DESTINATION_UNREACHABLE": (1, 1), "PACKET_TOO_BIG": (2, 2)},
        **{"TIME_EXCEEDED": (3, 3), "PARAMETER_PROBLEM": (4, 4)},
    },
}
"""By protocol the ICMP types (RFC 792, RFC 4443, RFC 4861) of a flow's name: from A to B, and back."""


@final
@attrs.frozen
class Way:
    """One direction: packets, bytes from the network layer on, and control bits of TCP that were seen."""

    packets: int
    octets: int
    flags: int = 0
    icmp: int = 0
    """Type and code of ICMP, as 256 × type + code."""


@final
@attrs.frozen
class Counted:
    """A part of a flow; addresses in network byte order, times in milliseconds since the epoch.

    ``id`` is the flow's, ``tick_ms`` when the part was made: a flow that ends quietly shows its last part once more.
    """

    id: int
    version: int
    a: bytes
    b: bytes
    mac_a: bytes
    mac_b: bytes
    vlan: int
    port_a: int
    port_b: int
    protocol: int
    ab: Way
    ba: Way
    start_ms: int
    end_ms: int
    tick_ms: int
    ended: bool


def counted(lines: bytes) -> Iterator[Counted]:
    """What stands in a batch of flows, one JSON object a line; flows that others cannot count are left out."""
    for line in lines.splitlines():
        flow = _decode(line)
        part = flow.LastUpdateMetric
        if flow.ParentUUID or flow.Network is None or part is None or not (part.ABPackets or part.BAPackets):
            continue
        yield _of(flow, flow.Network, part)


@final
class Fresh:
    """Lets each part of a flow through once; remembered is the last part of each flow that has not ended."""

    def __init__(self) -> None:
        self._told: dict[int, int] = {}

    def of(self, flows: Iterable[Counted]) -> Iterator[Counted]:
        """Those that were not given before."""
        told = self._told
        for flow in flows:
            known = told.pop(flow.id, None)
            if not flow.ended:
                told[flow.id] = flow.tick_ms
            if known != flow.tick_ms:
                yield flow
        if len(told) > _REMEMBERED:
            # Flows that left a full table never tell their end.
            self._told = dict(islice(told.items(), _REMEMBERED // 2, None))


def _of(flow: _Flow, network: _Ends, part: _Metric) -> Counted:
    a, b = ip_address(network.A), ip_address(network.B)
    layers = flow.LayersPath.split("/")
    header = _ETHERNET + _TAG * layers.count("Dot1Q") if layers[0] == "Ethernet" else 0
    protocol = _protocol(layers, f"IPv{a.version}")
    ports = flow.Transport
    there, back = _flags(flow) if protocol == _TCP else (0, 0)
    to, fro = _icmp(flow, protocol)
    link = flow.Link if layers[0] == "Ethernet" else None
    start = max(part.Start, flow.Start)
    return Counted(
        id=int(flow.UUID, 16),
        version=a.version,
        a=a.packed,
        b=b.packed,
        mac_a=_mac(link.A) if link else bytes(6),
        mac_b=_mac(link.B) if link else bytes(6),
        vlan=link.ID & 0xFFF if link else 0,
        port_a=ports.A if ports else 0,
        port_b=ports.B if ports else 0,
        protocol=protocol,
        ab=Way(part.ABPackets, max(0, part.ABBytes - header * part.ABPackets), there, to),
        ba=Way(part.BAPackets, max(0, part.BABytes - header * part.BAPackets), back, fro),
        start_ms=start,
        end_ms=max(start, min(part.Last, flow.Last)),
        tick_ms=part.Last,
        ended=bool(flow.FinishType),
    )


def _protocol(layers: list[str], ip: str) -> int:
    """0 for one whose number the flow does not tell."""
    place = layers.index(ip) + 1 if ip in layers else len(layers)
    return _PROTOCOLS.get(layers[place], 0) if place < len(layers) else 0


def _flags(flow: _Flow) -> tuple[int, int]:
    """SYN, FIN and RST as they were seen; ACK as RFC 9293 has it: in every segment but the one that begins."""
    seen = flow.TCPMetric or _Tcp()
    ways = (
        (seen.ABSynStart, seen.ABFinStart, seen.ABRstStart, flow.Metric.ABPackets, False),
        (seen.BASynStart, seen.BAFinStart, seen.BARstStart, flow.Metric.BAPackets, bool(seen.ABSynStart)),
    )
    there, back = (
        (SYN if syn else 0)
        | (FIN if fin else 0)
        | (RST if rst else 0)
        | (ACK if packets > (1 if syn else 0) or (syn and answers) else 0)
        for syn, fin, rst, packets, answers in ways
    )
    return there, back


def _icmp(flow: _Flow, protocol: int) -> tuple[int, int]:
    if flow.ICMP is None:
        return 0, 0
    to, fro = _REQUESTS.get(protocol, {}).get(flow.ICMP.Type, (0, 0))
    return to << 8 | flow.ICMP.Code & 0xFF, fro << 8 | flow.ICMP.Code & 0xFF


def _mac(text: str) -> bytes:
    try:
        found = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return bytes(6)
    return found if len(found) == 6 else bytes(6)
