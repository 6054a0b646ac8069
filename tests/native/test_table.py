"""What a table does besides counting: ticks, limits, fragments, segments, application layers, rings, bad files."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from skycore_native import Table

DATA = Path(__file__).resolve().parent.parent / "data" / "flows"
A, B = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
START_MS = 1_700_000_000_000


def ipv4(protocol: int, payload: bytes, *, fragment: int = 0, ident: int = 0, source: int = 1) -> bytes:
    """An Ethernet frame from 10.0.0.`source` to 10.0.0.200."""
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident, fragment, 64, protocol, 0,
                         bytes([10, 0, 0, source]), bytes([10, 0, 0, 200]))  # fmt: skip
    return B + A + b"\x08\0" + header + payload


def ipv6(next_header: int, payload: bytes) -> bytes:
    header = struct.pack(">IHBB", 6 << 28, len(payload), next_header, 64)
    return B + A + b"\x86\xdd" + header + bytes(15) + b"\x01" + bytes(15) + b"\x02" + payload


def udp(payload: bytes, *, ports: tuple[int, int] = (1000, 2000), source: int = 1) -> bytes:
    return ipv4(17, struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload, source=source)


def tcp(payload: bytes = b"", *, flags: int = 0x10, sequence: int = 0, ports: tuple[int, int] = (1000, 80)) -> bytes:
    return ipv4(6, struct.pack(">HHIIBBHHH", *ports, sequence, 0, 0x50, flags, 100, 0, 0) + payload)


def feed(table: Table, *frames: bytes, at_ms: int = START_MS) -> None:
    for number, frame in enumerate(frames):
        table.packet(frame, time_ns=(at_ms + number) * 1_000_000)


def flows_of(lines: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def only(table: Table) -> dict[str, Any]:
    (flow,) = flows_of(table.flows().flows)
    return flow


# Ticks


def test_a_quiet_flow_is_not_sent_again() -> None:
    table = Table()
    feed(table, udp(b"x"))
    assert len(table.update(START_MS + 1000)) == 1
    assert len(table.update(START_MS + 2000)) == 0
    (flow,) = flows_of(table.flows().flows)
    assert flow["LastUpdateMetric"] | {"Start": START_MS + 1000, "Last": START_MS + 2000} == flow["LastUpdateMetric"]
    assert flow["LastUpdateMetric"]["ABPackets"] == 0
    assert flow["Metric"]["ABPackets"] == 1


def test_an_update_in_steps_is_the_same() -> None:
    steps, whole = Table(), Table()
    for number in range(100):
        for table in (steps, whole):
            feed(table, udp(b"x", ports=(number, 9999)))
    batches = [steps.update(START_MS + 1000, most=30)]
    while batches[-1].more:
        feed(steps, udp(b"x", ports=(99, 9999)))
        batches.append(steps.update(START_MS + 1000, most=30))
    found = [flow for batch in batches for flow in flows_of(batch.flows)]
    assert [len(batch) for batch in batches] == [30, 30, 30, 10]
    assert [flow["UUID"] for flow in found] == [flow["UUID"] for flow in flows_of(whole.update(START_MS + 1000).flows)]
    assert {flow["LastUpdateMetric"]["Last"] for flow in found} == {START_MS + 1000}
    assert found[-1]["LastUpdateMetric"]["ABPackets"] == 4


def test_expire_ends_what_was_quiet_since_the_tick_before() -> None:
    table = Table()
    feed(table, udp(b"x"))
    assert len(table.expire(START_MS + 600_000)) == 0
    feed(table, udp(b"x", ports=(1, 2)))
    first = table.expire(START_MS + 1_200_000, most=1)
    second = table.expire(START_MS + 1_200_000, most=1)
    assert (len(first), first.more, len(second), second.more) == (1, True, 1, False)
    assert json.loads(first.flows)["FinishType"] == 1
    assert len(table) == 0


def test_a_closed_connection_is_held_for_late_packets() -> None:
    table = Table()
    feed(table, tcp(flags=4))
    (flow,) = flows_of(table.update(START_MS + 1000).flows)
    assert flow["FinishType"] == 3
    table.update(START_MS + 14_000)
    assert len(table) == 1
    assert len(table.update(START_MS + 15_001)) == 0
    assert len(table) == 0


def test_an_application_may_time_out_early() -> None:
    table = Table(timeouts=[("dns", 10)], udp_names=[(2000, "mine")])
    feed(table, udp(bytes(12), ports=(1000, 53)), udp(b"x"))
    names = {flow["Application"] for flow in flows_of(table.update(START_MS + 1000).flows)}
    assert names == {"DNS", "MINE"}
    (ended,) = flows_of(table.update(START_MS + 15_000).flows)
    assert (ended["Application"], ended["FinishType"]) == ("DNS", 1)


def test_a_full_table_lets_the_quietest_go_and_says_so() -> None:
    table = Table(max_flows=10)
    for source in range(1, 31):
        feed(table, udp(b"x", source=source))
    stats = table.stats()
    assert (len(table), stats["created"], stats["evicted"], stats["lost"]) == (10, 30, 20, 0)
    assert len(table.update(START_MS + 1000)) == 30


def test_what_left_early_is_bounded_and_counted() -> None:
    table = Table(max_flows=1)
    for number in range(3000):
        feed(table, udp(b"x", ports=(number, 9999)))
    stats = table.stats()
    assert (stats["evicted"], stats["lost"]) == (2999, 2999 - 1024)
    assert len(table.flush(START_MS)) == 1025


# Limits


def test_sampling_and_header_size() -> None:
    table = Table(sampling=3, header_size=40, raw_packet_limit=1)
    feed(table, *[udp(bytes(100))] * 7)
    assert only(table)["Metric"]["ABPackets"] == 2
    assert table.stats()["sampled_out"] == 5
    kept = json.loads(table.update(START_MS).raw_packets)
    assert len(base64.b64decode(kept["Data"])) == 40
    assert only(table)["Metric"]["ABBytes"] == 2 * 142


@pytest.mark.parametrize("wrong", [{"max_flows": 0}, {"layer_key_mode": "L4"}, {"sampling": 0}])
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Table(**wrong)


# Fragments


def whole_datagram(size: int) -> bytes:
    return struct.pack(">HHHH", 1000, 2000, 8 + size, 0) + bytes(size)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_fragments_become_one_packet_in_any_order(order: tuple[int, ...]) -> None:
    data = whole_datagram(52)
    pieces = [
        ipv4(17, data[0:24], fragment=0x2000, ident=7),
        ipv4(17, data[24:48], fragment=0x2003, ident=7),
        ipv4(17, data[48:60], fragment=0x0006, ident=7),
    ]
    table = Table(defragment_bytes=10_000)
    feed(table, *(pieces[each] for each in order))
    flow = only(table)
    assert flow["LayersPath"] == "Ethernet/IPv4/Fragment/UDP"
    assert flow["Transport"] == {"Protocol": "UDP", "A": 1000, "B": 2000, "ID": 0}
    assert flow["Metric"]["ABBytes"] == len(pieces[order[-1]])  # as Skydive: the frame that completes it
    assert flow["IPMetric"] == {"Fragments": 2, "FragmentErrors": 0}
    assert table.stats()["fragments_held"] == 2


def test_fragments_of_ipv6() -> None:
    data = whole_datagram(32)
    table = Table(defragment_bytes=10_000)
    feed(
        table,
        ipv6(44, struct.pack(">BBHI", 17, 0, 1, 99) + data[:24]),
        ipv6(44, struct.pack(">BBHI", 17, 0, 24, 99) + data[24:]),
    )
    assert only(table)["LayersPath"] == "Ethernet/IPv6/IPv6Fragment/UDP"
    assert only(table)["IPMetric"]["Fragments"] == 1


def test_overlapping_fragments_are_refused_and_counted() -> None:
    data = whole_datagram(52)
    table = Table(defragment_bytes=10_000)
    feed(
        table,
        ipv4(17, data[0:24], fragment=0x2000, ident=7),
        ipv4(17, b"evil" * 6, fragment=0x2002, ident=7),
        ipv4(17, data[24:60], fragment=0x0003, ident=7),
    )
    paths = {flow["LayersPath"]: flow for flow in flows_of(table.flows().flows)}
    assert set(paths) == {"Ethernet/IPv4/Fragment", "Ethernet/IPv4/Fragment/UDP"}
    assert paths["Ethernet/IPv4/Fragment/UDP"]["IPMetric"] == {"Fragments": 1, "FragmentErrors": 1}
    assert table.stats()["fragments_refused"] == 1


def test_held_fragments_are_bounded_in_bytes_and_time() -> None:
    table = Table(defragment_bytes=5000)
    for ident in range(1000):
        feed(table, ipv4(17, bytes(80), fragment=0x2000, ident=ident))
    lost = table.stats()["fragments_lost"]
    assert 1000 - lost <= 5000 // 80
    feed(table, ipv4(17, bytes(80), fragment=0x2000, ident=5000), at_ms=START_MS + 31_000)
    assert table.stats()["fragments_lost"] == 1000


# Segments


def test_segments_are_followed() -> None:
    table = Table(reassemble_tcp=True)
    feed(
        table,
        tcp(flags=2, sequence=100),
        tcp(b"b" * 10, sequence=111),
        tcp(b"a" * 10, sequence=101),
        tcp(b"a" * 10, sequence=101),
        tcp(b"d" * 10, sequence=131),
    )
    metric = flows_of(table.flush(START_MS + 10).flows)[0]["TCPMetric"]
    assert {key: value for key, value in metric.items() if value and key.startswith("AB")} == {
        "ABSynStart": START_MS,
        "ABSynTTL": 64,
        "ABPackets": 4,
        "ABBytes": 30,
        "ABSegmentOutOfOrder": 1,
        "ABSegmentSkipped": 1,
        "ABSegmentSkippedBytes": 10,
        "ABSegmentRetransmitted": 1,
        "ABSawStart": 1,
    }


# Application layers


def test_dns_over_tcp_and_names_of_tls_and_http() -> None:
    query = struct.pack(">HHHHHH", 77, 0x0100, 1, 0, 0, 0) + b"\x07example\x03org\0\0\x01\0\x01"
    table = Table(extra_layers=255)
    feed(
        table,
        tcp(struct.pack(">H", len(query)) + query, ports=(1000, 53)),
        tcp(b"GET /a HTTP/1.1\r\nHost: example.org\r\n\r\n", ports=(1001, 8080)),
    )
    by_port = {flow["Transport"]["B"]: flow for flow in flows_of(table.flows().flows)}
    dns = by_port[53]["DNS"]
    assert dns["questions"] == [{"name": "example.org", "type": "A", "class": "IN"}]
    assert (dns["ID"], dns["op_code"], dns["RD"]) == (77, "Query", True)
    assert by_port[8080]["HTTP"] == {"method": "GET", "host": "example.org"}
    plain = Table()
    feed(plain, tcp(struct.pack(">H", len(query)) + query, ports=(1000, 53)))
    assert "DNS" not in only(plain)


def test_dhcp_and_vrrp() -> None:
    lease = bytes([1, 1, 6, 2]) + struct.pack(">IHH", 0xABCD, 3, 0x8000) + bytes(32) + b"server".ljust(64, b"\0")
    lease += b"boot.img".ljust(128, b"\0") + b"\x63\x82\x53\x63"
    table = Table(extra_layers=255)
    feed(
        table,
        udp(lease, ports=(68, 67)),
        ipv4(112, bytes([0x21, 9, 100, 1, 0, 5, 0, 0])),
        udp(b"\x01\0\0\x07", ports=(546, 547)),
    )
    found = {flow["Application"]: flow for flow in flows_of(table.flows().flows)}
    assert found["DHCPv4"]["DHCPv4"] == {
        "hardware_len": 6,
        "hardware_opts": 2,
        "xid": 0xABCD,
        "secs": 3,
        "flags": 0x8000,
        "server_name": base64.b64encode(b"server").decode(),
        "file": base64.b64encode(b"boot.img").decode(),
    }
    assert found["VRRP"]["VRRPv2"] == {"version": 2, "virtual_rtrID": 9, "priority": 100, "adver_int": 5}
    assert found["DHCPv6"]["DHCPv6"] == {"message_type": "Solicit", "transaction_id": 7}


# Counters of other sources


RECORD: dict[str, Any] = {
    "Network": {"Protocol": "IPV4", "A": "192.168.0.2", "B": "192.168.0.1"},
    "Transport": {"Protocol": "TCP", "A": 36108, "B": 3333},
    "Metric": {"ABPackets": 5, "ABBytes": 344, "BAPackets": 3, "BABytes": 206},
    "Start": START_MS,
    "Last": START_MS + 1000,
}


def turned(record: dict[str, Any]) -> dict[str, Any]:
    """The same, told by the other end."""
    metric = record["Metric"]
    swapped = {key: {**record[key], "A": record[key]["B"], "B": record[key]["A"]} for key in ("Network", "Transport")}
    back = {key: metric[("BA" if key[:2] == "AB" else "AB") + key[2:]] for key in metric}
    return record | swapped | {"Metric": back}


def test_records_of_other_sources_are_flows_with_the_same_ids() -> None:
    trace = (DATA / "simple-tcpv4.pcap").read_bytes()
    seen_l2, seen_l3 = Table(), Table(layer_key_mode="L3")
    for packets in (seen_l2, seen_l3):
        packets.pcap(trace)
    # Without MAC addresses: the ids of L3 mode.
    table = Table()
    assert table.record(json.dumps(RECORD).encode() + b"\n" + json.dumps(turned(RECORD)).encode()) == 2
    flow = only(table)
    assert flow["Metric"]["ABPackets"] == 10
    assert flow["Metric"]["BABytes"] == 412
    for key in ("TrackingID", "L3TrackingID", "CommunityID"):
        assert flow[key] == only(seen_l3)[key]
    # With them: those of L2 mode.
    seen = only(seen_l2)
    table = Table()
    table.record(json.dumps(RECORD | {"Link": {"A": seen["Link"]["A"], "B": seen["Link"]["B"]}}).encode())
    for key in ("TrackingID", "L3TrackingID", "CommunityID"):
        assert only(table)[key] == seen[key]


def test_replacing_counters_keeps_the_updates() -> None:
    table = Table()
    table.record(json.dumps(RECORD).encode(), operation="replace")
    table.update(START_MS + 2000)
    more = RECORD | {"Metric": RECORD["Metric"] | {"ABPackets": 9}, "Last": START_MS + 3000}
    table.record(json.dumps(more).encode(), operation="replace")
    (flow,) = flows_of(table.update(START_MS + 4000).flows)
    assert flow["Metric"]["ABPackets"] == 9
    assert (flow["LastUpdateMetric"]["ABPackets"], flow["LastUpdateMetric"]["BAPackets"]) == (4, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Network": {"A": "nonsense", "B": "10.0.0.1"}}, "line 2"),
        ({"Network": None}, "needs Link or Network"),
        ({"Transport": {"Protocol": "XTP", "A": 1, "B": 2}}, "XTP"),
        ({"Last": 0}, "Last"),
        ({"LayersPath": "Ethernet/Nothing"}, "Nothing"),
    ],
)
def test_wrong_records_are_refused_together(change: dict[str, Any], reason: str) -> None:
    table = Table()
    with pytest.raises(ValueError, match=reason):
        table.record(json.dumps(RECORD).encode() + b"\n" + json.dumps(RECORD | change).encode())
    assert len(table) == 0


# Rings and files


def ring_block(frames: list[tuple[bytes, int | None]]) -> bytes:
    """A block of TPACKET_V3 as linux/if_packet.h lays it out; with the VLAN tag of a frame, if any."""
    out = bytearray(struct.pack("=IIIIIIQ", 1, 0, 0, len(frames), 48, 0, 0) + bytes(16))
    for number, (frame, vlan) in enumerate(frames):
        size = (82 + len(frame) + 7) // 8 * 8
        status = 1 | (0x50 if vlan is not None else 0)
        header = struct.pack("=IIIIIIHHIHH", size if number + 1 < len(frames) else 0, START_MS // 1000, 5, len(frame),
                             len(frame), status, 82, 82, 0, 0, 0)  # fmt: skip
        header = header[:28] + struct.pack("=IIHH", 0, vlan or 0, 0x8100, 0)
        out += (header.ljust(82, b"\0") + frame).ljust(size, b"\0")
    return bytes(out)


def test_a_block_of_a_ring_has_its_tags_back() -> None:
    table = Table(raw_packet_limit=1)
    assert table.block(ring_block([(udp(b"x"), None), (udp(b"x"), 42)])) == 2
    tagged = {flow["LayersPath"]: flow for flow in flows_of(table.flows().flows)}
    assert tagged["Ethernet/Dot1Q/IPv4/UDP"]["Link"]["ID"] == 42
    assert tagged["Ethernet/Dot1Q/IPv4/UDP"]["Metric"]["ABBytes"] == len(udp(b"x")) + 4
    kept = [base64.b64decode(json.loads(line)["Data"]) for line in table.update(START_MS).raw_packets.splitlines()]
    assert sorted(kept) == sorted([udp(b"x"), udp(b"x")[:12] + b"\x81\0\0\x2a" + udp(b"x")[12:]])


@pytest.mark.parametrize("size", [0, 20, 47, 60, 100, 200])
def test_a_block_that_contradicts_itself_is_refused(size: int) -> None:
    block = ring_block([(udp(b"x" * 50), None), (udp(b"x" * 50), None)])
    with pytest.raises(ValueError, match="TPACKET_V3"):
        Table().block(block[:size])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends within the file header"),
        (b"GIF89a", "begins with"),
        ((DATA / "simple-tcpv4.pcap").read_bytes()[:-1], "ends within a packet"),
        ((DATA / "simple-tcpv4.pcap").read_bytes()[:20] + struct.pack("<I", 147), "link type 147"),
        ((DATA / "simple-tcpv4.pcap").read_bytes()[:24] + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30), "at byte 24"),
    ],
)
def test_damaged_files_say_where(data: bytes, reason: str) -> None:
    def read() -> None:
        table = Table()
        table.pcap(data)
        table.pcap_end()

    with pytest.raises(ValueError, match=reason):
        read()


def test_pcapng_is_read_like_pcap() -> None:
    def block(kind: int, body: bytes) -> bytes:
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    frame = udp(b"xy")
    padded = frame.ljust((len(frame) + 3) // 4 * 4, b"\0")
    data = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += block(1, struct.pack("<HHI", 1, 0, 0) + struct.pack("<HHBxxxHH", 9, 1, 9, 0, 0))  # nanoseconds
    time = START_MS * 1_000_000
    data += block(6, struct.pack("<IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame)) + padded)
    table = Table()
    for at in range(0, len(data), 7):
        table.pcap(data[at : at + 7])
    table.pcap_end()
    assert only(table)["Start"] == START_MS
    assert table.pcap(b"") == time
