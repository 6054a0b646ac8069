"""What collectors of others are sent: read back by decoders that know the formats only from their documents."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skycore_native import Table

from skycore.errors import CaptureError
from skycore.flow.export import ring
from skycore.flow.export.counted import ACK, FIN, RST, SYN, Counted, Fresh, Way, counted
from skycore.flow.export.erspan import Erspan
from skycore.flow.export.ipfix import Ipfix
from skycore.flow.export.netflow5 import NetFlow5
from skycore.flow.export.target import Place, check_target

BOOT = 1_600_000_000_000
NOW = (BOOT + 5_000_000) * 1_000_000 + 123_456
ways = st.builds(
    lambda packets, size, flags, icmp: Way(packets, packets * size, flags, icmp),
    st.one_of(st.integers(0, 1000), st.integers(0, 1 << 18)),
    st.integers(20, 65535),
    st.integers(0, 255),
    st.integers(0, 65535),
)


@st.composite
def flows(draw: st.DrawFn, versions: tuple[int, ...] = (4, 6)) -> Counted:
    version = draw(st.sampled_from(versions))
    address = st.binary(min_size=4 if version == 4 else 16, max_size=4 if version == 4 else 16)
    mac = st.binary(min_size=6, max_size=6)
    port = st.integers(0, 65535)
    start = BOOT + draw(st.integers(0, 4_000_000))
    return Counted(
        id=draw(st.integers(0, (1 << 64) - 1)),
        version=version,
        a=draw(address),
        b=draw(address),
        mac_a=draw(mac),
        mac_b=draw(mac),
        vlan=draw(st.integers(0, 4095)),
        port_a=draw(port),
        port_b=draw(port),
        protocol=draw(st.sampled_from([1, 6, 17, 47, 58, 132])),
        ab=draw(ways),
        ba=draw(ways),
        start_ms=start,
        end_ms=start + draw(st.integers(0, 900_000)),
        tick_ms=start + 900_000,
        ended=draw(st.booleans()),
    )


# NetFlow v5


def netflow5(datagram: bytes) -> tuple[dict[str, int], list[dict[str, Any]]]:
    names = ("version", "count", "uptime", "seconds", "nanoseconds", "sequence", "type", "id", "sampling")
    header = dict(zip(names, struct.unpack(">HHIIIIBBH", datagram[:24]), strict=True))
    fields = (
        "src", "dst", "hop", "input", "output", "packets", "octets", "first", "last", "sport", "dport", "pad", "flags",
        "protocol", "tos", "src_as", "dst_as", "src_mask", "dst_mask", "pad2",
    )  # fmt: skip
    assert len(datagram) == 24 + 48 * header["count"]
    records = [
        dict(zip(fields, struct.unpack(">4s4s4sHHIIIIHHBBBBHHBBH", datagram[at : at + 48]), strict=True))
        for at in range(24, len(datagram), 48)
    ]
    return header, records


@settings(deadline=None)
@given(st.lists(st.lists(flows(), max_size=40), max_size=3))
def test_netflow5_counts_everything_of_ipv4_in_both_directions(batches: list[list[Counted]]) -> None:
    exporter = NetFlow5(BOOT, 7)
    expected_sequence = 0
    for batch in batches:
        got: dict[tuple[Any, ...], list[int]] = {}
        for datagram in exporter.datagrams(batch, NOW):
            header, records = netflow5(datagram)
            assert (header["version"], header["sequence"]) == (5, expected_sequence & 0xFFFFFFFF)
            assert header["uptime"] == NOW // 1_000_000 - BOOT
            assert (header["seconds"], header["nanoseconds"]) == divmod(NOW, 10**9)
            assert 1 <= len(records) <= 30
            expected_sequence += len(records)
            for one in records:
                names = ("src", "dst", "sport", "dport", "protocol", "flags")
                key = (*(one[name] for name in names), one["first"] + BOOT, one["last"] + BOOT)
                assert (one["hop"], one["input"], one["pad"], one["pad2"]) == (bytes(4), 7, 0, 0)
                total = got.setdefault(key, [0, 0])
                total[0] += one["packets"]
                total[1] += one["octets"]
        wanted: dict[tuple[Any, ...], list[int]] = {}
        for flow in batch:
            icmp = flow.protocol == 1
            for way, ends, ports in (
                (flow.ab, (flow.a, flow.b), (flow.port_a, flow.port_b)),
                (flow.ba, (flow.b, flow.a), (flow.port_b, flow.port_a)),
            ):
                if flow.version == 4 and way.packets:
                    shown = (0, way.icmp) if icmp else ports
                    total = wanted.setdefault(
                        (*ends, *shown, flow.protocol, way.flags, flow.start_ms, flow.end_ms), [0, 0]
                    )
                    total[0] += way.packets
                    total[1] += way.octets
        assert got == wanted


# IPFIX


def ipfix(message: bytes, templates: dict[int, list[tuple[int, int, int]]]) -> Iterator[dict[tuple[int, int], bytes]]:
    """Records by (enterprise, element); templates are learnt on the way (RFC 7011, sections 3.1 to 3.4)."""
    version, length, _, _, _ = struct.unpack(">HHIII", message[:16])
    assert (version, length) == (10, len(message))
    at = 16
    while at < length:
        number, size = struct.unpack_from(">HH", message, at)
        body, place = message[at + 4 : at + size], 0
        if number == 2:
            while place < len(body):
                id, count = struct.unpack_from(">HH", body, place)
                place += 4
                fields = templates[id] = []
                for _ in range(count):
                    element, width = struct.unpack_from(">HH", body, place)
                    place += 4
                    enterprise = 0
                    if element & 0x8000:
                        (enterprise,) = struct.unpack_from(">I", body, place)
                        place += 4
                    fields.append((enterprise, element & 0x7FFF, width))
        else:
            width = sum(field[2] for field in templates[number])
            while place + width <= len(body):
                record = {}
                for enterprise, element, size_of_field in templates[number]:
                    record[enterprise, element] = body[place : place + size_of_field]
                    place += size_of_field
                yield record
        at += size


@settings(deadline=None)
@given(st.lists(flows(), max_size=60))
def test_ipfix_tells_each_flow_once_with_both_ways(batch: list[Counted]) -> None:
    exporter = Ipfix(42)
    templates: dict[int, list[tuple[int, int, int]]] = {}
    seen: list[dict[tuple[int, int], bytes]] = []
    for message in exporter.datagrams(batch, NOW):
        assert len(message) <= 1500
        assert struct.unpack(">IIII", message[:16])[1:] == (NOW // 10**9, len(seen), 42)
        seen += ipfix(message, templates)
    assert len(seen) == len(batch)
    for flow, one in zip(batch, seen, strict=True):
        number = {key: int.from_bytes(value, "big") for key, value in one.items()}
        source, target = ((0, 8), (0, 12)) if flow.version == 4 else ((0, 27), (0, 28))
        assert (one[source], one[target], one[0, 56], one[0, 80]) == (flow.a, flow.b, flow.mac_a, flow.mac_b)
        assert (number[0, 2], number[0, 1], number[0, 6]) == (flow.ab.packets, flow.ab.octets, flow.ab.flags)
        assert (number[29305, 2], number[29305, 1], number[29305, 6]) == (
            flow.ba.packets,
            flow.ba.octets,
            flow.ba.flags,
        )
        assert (number[0, 7], number[0, 11], number[0, 4]) == (flow.port_a, flow.port_b, flow.protocol)
        assert (number[0, 152], number[0, 153]) == (flow.start_ms, flow.end_ms)
        assert (number[0, 58], number[0, 148], number[0, 10]) == (flow.vlan, flow.id, 42)
        assert number[0, 136] == (3 if flow.ended else 2)


def test_ipfix_templates_are_told_again() -> None:
    exporter, (flow, other) = Ipfix(1), (_flow(1), _flow(2))
    told = [
        any(number == 2 for number in _sets(message))
        for at in (0, 59, 61, 100, 122)
        for message in exporter.datagrams([flow, other], NOW + at * 10**9)
    ]
    assert told == [True, False, True, False, True]


def _flow(id: int) -> Counted:
    way = Way(1, 40)
    return Counted(id, 4, b"abcd", b"efgh", bytes(6), bytes(6), 0, 1, 2, 17, way, way, BOOT, BOOT + 1, BOOT + 1, False)


def _sets(message: bytes) -> Iterator[int]:
    at = 16
    while at < len(message):
        number, size = struct.unpack_from(">HH", message, at)
        yield number
        at += size


# ERSPAN


@settings(deadline=None)
@given(st.binary(min_size=14, max_size=2000), st.booleans(), st.integers(0, 1 << 24), st.integers(1, 5))
def test_erspan_ii_is_gre_with_a_sequence_number(frame: bytes, truncated: bool, index: int, count: int) -> None:
    exporter = Erspan(2, index, 5)
    for number in range(count):
        packet = exporter.packet(frame, truncated=truncated)
        flags, protocol, sequence = struct.unpack(">HHI", packet[:8])
        assert (flags, protocol, sequence) == (0x1000, 0x88BE, number)
        first, second, third = struct.unpack(">HHI", packet[8:16])
        assert first >> 12 == 1
        tagged = frame[12:14] in (b"\x81\x00", b"\x88\xa8") and len(frame) >= 16
        tag = int.from_bytes(frame[14:16], "big") if tagged else 0
        assert (first & 0xFFF, second >> 13, second >> 11 & 3) == (tag & 0xFFF, tag >> 13, 3 if tagged else 0)
        assert (second >> 10 & 1, second & 0x3FF) == (truncated, 5)
        assert third == index & 0xFFFFF
        assert packet[16:] == frame


@settings(deadline=None)
@given(st.binary(min_size=14, max_size=200))
def test_erspan_i_is_gre_and_nothing_else(frame: bytes) -> None:
    assert Erspan(1, 3).packet(frame, truncated=False) == b"\0\0\x88\xbe" + frame


# What is counted


def line(**fields: Any) -> bytes:
    flow = {
        "UUID": "ff", "Start": BOOT, "Last": BOOT + 900, "LayersPath": "Ethernet/IPv4/TCP", "ParentUUID": "",
        "Link": {"A": "02:00:00:00:00:01", "B": "02:00:00:00:00:02", "ID": 0},
        "Network": {"A": "10.0.0.1", "B": "10.0.0.2", "ID": 0}, "Transport": {"A": 1000, "B": 80, "Protocol": "TCP"},
        "Metric": {"ABPackets": 5, "ABBytes": 500, "BAPackets": 4, "BABytes": 400, "Start": BOOT, "Last": BOOT + 900},
        "LastUpdateMetric": {"ABPackets": 2, "ABBytes": 200, "Start": BOOT + 100, "Last": BOOT + 1000},
        **fields,
    }  # fmt: skip
    return json.dumps(flow).encode() + b"\n"


def test_what_a_flow_did_since_the_last_tick_is_counted_from_the_network_layer_on() -> None:
    (one,) = counted(line())
    assert (one.ab.packets, one.ab.octets, one.ba.packets) == (2, 200 - 28, 0)
    assert (one.start_ms, one.end_ms, one.protocol, one.ended) == (BOOT + 100, BOOT + 900, 6, False)
    assert (one.a, one.mac_b) == (ip_address("10.0.0.1").packed, bytes.fromhex("020000000002"))
    (tagged,) = counted(line(LayersPath="Ethernet/Dot1Q/IPv4/TCP"))
    assert tagged.ab.octets == 200 - 36
    (bare,) = counted(line(LayersPath="IPv4/TCP"))
    assert bare.ab.octets == 200


@pytest.mark.parametrize(
    ("seen", "packets", "flags"),
    [
        ({}, (5, 4), (ACK, ACK)),
        ({"ABSynStart": 1}, (1, 0), (SYN, 0)),
        ({"ABSynStart": 1, "BASynStart": 2}, (1, 1), (SYN, SYN | ACK)),
        ({"ABSynStart": 1, "BASynStart": 2, "ABFinStart": 3}, (3, 2), (SYN | ACK | FIN, SYN | ACK)),
        ({"ABSynStart": 1, "BARstStart": 2}, (1, 1), (SYN, RST | ACK)),
    ],
)
def test_control_bits(seen: dict[str, int], packets: tuple[int, int], flags: tuple[int, int]) -> None:
    metric = {"ABPackets": packets[0], "ABBytes": 1000, "BAPackets": packets[1], "BABytes": 1000}
    (one,) = counted(line(TCPMetric=seen, Metric={**metric, "Start": 1, "Last": 2}))
    assert (one.ab.flags, one.ba.flags) == flags


def test_a_flow_that_ends_quietly_is_not_counted_twice() -> None:
    """By the table itself: nothing came since the update, and the end repeats what the update said."""
    table = Table()
    table.packet(
        bytes(12) + b"\x08\0" + bytes([0x45, 0, 0, 28, *bytes(5), 17, *bytes(10), *b"\0\1\0\2\0\x08\0\0"]),
        time_ns=BOOT * 10**6,
    )
    batches = [table.update(BOOT + 1000).flows, table.flush(BOOT + 3000).flows]
    assert [len(list(counted(batch))) for batch in batches] == [1, 1]
    fresh = Fresh()
    assert [len(list(fresh.of(counted(batch)))) for batch in batches] == [1, 0]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.booleans()), max_size=40))
def test_each_part_counts_once(parts: list[tuple[int, int, bool]]) -> None:
    fresh, last = Fresh(), dict[int, int]()
    for id, tick, ended in parts:
        way = Way(1, 40)
        one = Counted(id, 4, b"abcd", b"efgh", bytes(6), bytes(6), 0, 1, 2, 17, way, way, BOOT, BOOT + 1, tick, ended)
        assert list(fresh.of([one])) == ([] if last.get(id) == tick else [one])
        last[id] = tick
        if ended:
            del last[id]


def test_what_others_cannot_count_is_left_out() -> None:
    inner, arp, quiet = line(ParentUUID="ab"), line(Network=None), line(LastUpdateMetric=None)
    assert list(counted(inner + arp + quiet)) == []
    echo = line(LayersPath="Ethernet/IPv4/ICMPv4", Transport=None, ICMP={"Type": "ECHO"})
    (one,) = counted(echo)
    assert (one.protocol, one.ab.icmp, one.ba.icmp, one.port_b) == (1, 8 << 8, 0, 0)
    (outer,) = counted(line(LayersPath="Ethernet/IPv4/GRE", Transport=None))
    assert outer.protocol == 47


# Targets


@pytest.mark.parametrize(
    ("type", "target", "host", "port"),
    [
        ("netflowv5", "10.0.0.1:2055", "10.0.0.1", 2055),
        ("ipfix", "[2001:db8::1]:4739", "2001:db8::1", 4739),
        ("erspanv1", "collector", "collector", 0),
        ("erspanv1", "2001:db8::1", "2001:db8::1", 0),
        ("erspanv0", "10.0.0.1:0", "10.0.0.1", 0),
    ],
)
def test_targets_are_read(type: str, target: str, host: str, port: int) -> None:
    assert Place.parse(target, type) == Place(host, port)
    check_target(type, target)


@pytest.mark.parametrize(
    ("type", "target"),
    [
        *(
            ("netflowv5", target)
            for target in ("", "host", "host:", "host:0", "host:x", "host:70000", "[::1]", ":2055")
        ),
        ("", "host:1"),
        ("carrier", "host:1"),
        ("erspanv1", ""),
    ],
)
def test_wrong_targets_are_refused(type: str, target: str) -> None:
    with pytest.raises(CaptureError, match="Target"):
        check_target(type, target)


# Blocks of the kernel's ring


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=14, max_size=100), st.none() | st.integers(0, 65535)), max_size=8))
def test_frames_of_a_block_come_out_with_their_tags(packets: list[tuple[bytes, int | None]]) -> None:
    body, places = b"", []
    for number, (frame, tci) in enumerate(packets):
        size = (48 + len(frame) + 15) // 16 * 16
        status = 0x51 if tci is not None else 1
        step = size if number < len(packets) - 1 else 0
        head = struct.pack(
            "=IIIIIIHHIIHHQ", step, 1, 2, len(frame), len(frame), status, 48, 0, 0, tci or 0, 0x8100, 0, 0
        )
        places.append(len(body))
        body += (head.ljust(48, b"\0") + frame).ljust(size, b"\0")
    block = struct.pack("=IIIII", 1, 0, 0, len(packets), 48).ljust(48, b"\0") + body
    expected = [
        (
            frame if tci is None else frame[:12] + struct.pack(">HH", 0x8100, tci) + frame[12:],
            len(frame) + 4 * (tci is not None),
        )
        for frame, tci in packets
    ]
    assert list(ring.frames(block)) == expected


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_in_place_of_a_block_are_read_or_refused(block: bytes) -> None:
    try:
        list(ring.frames(block))
    except CaptureError:
        pass
