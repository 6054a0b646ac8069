"""The table against two witnesses: a small model that is told what is in each packet, and tshark, which is not."""

from __future__ import annotations

import ipaddress
import json
import struct
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from skycore_native import Table

DATA = Path(__file__).resolve().parent.parent / "data" / "flows"
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03")
V4 = ("10.0.0.1", "10.0.0.2", "192.168.7.9")
V6 = ("fd00::1", "fd00::2", "2001:db8::99")
PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}


@attrs.frozen
class Sent:
    """One packet, in words."""

    link: tuple[int, int]
    network: tuple[int, int]
    ports: tuple[int, int]
    protocol: str
    version: int
    vlans: tuple[int, ...]
    vni: int | None
    padding: int
    time_us: int

    def addresses(self) -> tuple[str, str]:
        hosts = V4 if self.version == 4 else V6
        return hosts[self.network[0]], hosts[self.network[1]]

    def inner(self) -> bytes:
        body = bytes(self.padding)
        if self.protocol == "TCP":
            segment = struct.pack(">HHIIBBHHH", *self.ports, 1, 1, 0x50, 0x10, 1000, 0, 0) + body
        elif self.protocol == "UDP":
            segment = struct.pack(">HHHH", *self.ports, 8 + len(body), 0) + body
        else:
            segment = struct.pack(">HHII", *self.ports, 7, 0) + body
        return ethernet(self.link, self.vlans, ip(self.addresses(), PROTOCOLS[self.protocol], segment))

    def frame(self) -> bytes:
        if self.vni is None:
            return self.inner()
        vxlan = struct.pack(">BxxxI", 8, self.vni << 8) + self.inner()
        datagram = struct.pack(">HHHH", 40000 + self.ports[0] % 100, 4789, 8 + len(vxlan), 0) + vxlan
        return ethernet((0, 2), (), ip(("172.16.0.1", "172.16.0.2"), 17, datagram))


def ip(addresses: tuple[str, str], protocol: int, payload: bytes) -> bytes:
    source, destination = map(ipaddress.ip_address, addresses)
    if source.version == 6:
        header = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
    else:
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0)
    return header + source.packed + destination.packed + payload


def ethernet(link: tuple[int, int], vlans: tuple[int, ...], packet: bytes) -> bytes:
    source, destination = (bytes.fromhex(MACS[each].replace(":", "")) for each in link)
    tags = b"".join(struct.pack(">HH", 0x8100, vlan) for vlan in vlans)
    return destination + source + tags + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet


def pcap(frames: list[tuple[int, bytes]]) -> bytes:
    """A file of (time in µs, frame)."""
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for time_us, frame in frames:
        out += struct.pack("<IIII", time_us // 1_000_000, time_us % 1_000_000, len(frame), len(frame)) + frame
    return out


pairs = st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(lambda pair: pair[0] != pair[1])
packets = st.builds(
    Sent,
    link=pairs,
    network=pairs,
    # None means a tunnel or a protocol of its own.
    ports=st.tuples(st.sampled_from([40001, 40002, 9999]), st.sampled_from([40001, 40003, 8888])),
    protocol=st.sampled_from(list(PROTOCOLS)),
    version=st.sampled_from([4, 6]),
    vlans=st.lists(st.integers(1, 4094), max_size=3).map(tuple),
    vni=st.none() | st.integers(0, 2**24 - 1),
    padding=st.integers(0, 1000),
    time_us=st.integers(1_700_000_000_000_000, 1_700_000_001_000_000),
)


Flow = tuple[str, str, str, int, str, str, int, str, int, int]
"""Layers, MACs, VLANs, addresses, tunnel id, protocol and ports; from A to B."""


def modelled(sent: list[Sent]) -> dict[Flow, list[int]]:
    """What the table is to count, worked out in words: [AB packets, AB bytes, BA packets, BA bytes]."""
    flows: dict[Any, tuple[Flow, list[int]]] = {}

    def count(flow: Flow, key: Any, size: int) -> None:
        first, counted = flows.setdefault(key, (flow, [0, 0, 0, 0]))
        # The other way round, when the link is.
        side = 0 if first[1:3] == flow[1:3] else 2
        counted[side] += 1
        counted[side + 1] += size

    for one in sent:
        inner, whole = one.inner(), one.frame()
        parent: Any = None
        if one.vni is not None:
            outer = ("Ethernet/IPv4/UDP/VXLAN", MACS[0], MACS[2], 0, "172.16.0.1", "172.16.0.2", one.vni, "UDP")
            parent = outer
            port = next((flow[0][8] for key, flow in flows.items() if key == outer), 40000 + one.ports[0] % 100)
            count((*outer, port, 4789), outer, len(whole))
        vlans = sum(vlan << 12 * at for at, vlan in enumerate(one.vlans))
        path = "/".join(["Ethernet", *["Dot1Q"] * len(one.vlans), f"IPv{one.version}", one.protocol])
        macs = MACS[one.link[0]], MACS[one.link[1]]
        flow = (path, *macs, vlans, *one.addresses(), 0, one.protocol, *one.ports)
        ends = zip(macs, one.addresses(), one.ports, strict=True)
        key = (frozenset(ends), path, vlans, parent)
        count(flow, key, len(inner))
    # Flows in two tunnels look alike.
    found: dict[Flow, list[int]] = {}
    for flow, counted in flows.values():
        found[flow] = [a + b for a, b in zip(found.get(flow, [0] * 4), counted, strict=True)]
    return found


def counted_by(table: Table) -> dict[Flow, list[int]]:
    found: dict[Flow, list[int]] = {}
    for line in table.flows().flows.splitlines():
        flow = json.loads(line)
        link, network, transport, metric = (flow[key] for key in ("Link", "Network", "Transport", "Metric"))
        key = (
            flow["LayersPath"],
            *(link[each] for each in ("A", "B", "ID")),
            *(network[each] for each in ("A", "B", "ID")),
            *(transport[each] for each in ("Protocol", "A", "B")),
        )
        counted = [metric[each] for each in ("ABPackets", "ABBytes", "BAPackets", "BABytes")]
        found[key] = [a + b for a, b in zip(found.get(key, [0] * 4), counted, strict=True)]
    return found


@given(st.lists(packets, max_size=60), st.integers(1, 100_000))
def test_the_table_counts_as_the_model(sent: list[Sent], piece: int) -> None:
    data = pcap([(one.time_us, one.frame()) for one in sent])
    table = Table()
    for at in range(0, len(data), piece):
        table.pcap(data[at : at + piece])
    table.pcap_end()
    assert counted_by(table) == modelled(sent)
    assert table.stats()["packets"] == len(sent)
    times = [one.time_us // 1000 for one in sent]
    flows = [json.loads(line) for line in table.flush(max(times, default=0)).flows.splitlines()]
    assert max((flow["Last"] for flow in flows), default=None) == max(times, default=None)
    assert len(table) == 0


@given(st.lists(packets, min_size=1, max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_updates_add_up_to_the_whole(sent: list[Sent], cuts: list[int]) -> None:
    """The sum of a flow's LastUpdateMetrics is its Metric, wherever the ticks fall."""
    table = Table()
    sums: Counter[tuple[str, str]] = Counter()
    last: dict[str, dict[str, int]] = {}

    def take(lines: bytes) -> None:
        for line in lines.splitlines():
            flow = json.loads(line)
            last[flow["UUID"]] = flow["Metric"]
            for key in ("ABPackets", "ABBytes", "BAPackets", "BABytes"):
                sums[flow["UUID"], key] += flow["LastUpdateMetric"][key]

    for number, one in enumerate(sent):
        table.packet(one.frame(), time_ns=one.time_us * 1000)
        if number in cuts:
            take(table.update(1_700_000_001_000 + number).flows)
    take(table.update(1_700_000_002_000).flows)
    for (uuid, key), total in sums.items():
        assert last[uuid][key] == total


@given(st.binary(max_size=300), st.sampled_from([0, 1, 12, 101, 113, 276]), st.integers(0, 2**63))
@example(b"", 1, 0)
def test_any_bytes_are_a_packet(frame: bytes, link_type: int, time_ns: int) -> None:
    table = Table(tcp_times=True, reassemble_tcp=True, defragment_bytes=10_000, extra_layers=255, raw_packet_limit=3)
    for _ in range(2):
        table.packet(frame, time_ns=time_ns, link_type=link_type)
    for batch in (table.flows(), table.update(1), table.flush(2)):
        for line in batch.flows.splitlines():
            assert json.loads(line)["LayersPath"]


# tshark


FIELDS = ("frame.len", "eth.src", "eth.dst", "vlan.id", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst")
PORTS = ("tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport", "sctp.srcport", "sctp.dstport")


def dissected_by_tshark(file: Path) -> list[dict[str, list[str]]]:
    """The values of each field, outermost first, for every packet."""
    names = (*FIELDS, *PORTS, "communityid", "frame.protocols")
    command = [
        "tshark",
        "-r",
        str(file),
        "-n",
        "--enable-protocol",
        "communityid",
        "-T",
        "fields",
        "-E",
        "occurrence=a",
    ]
    for name in names:
        command += ["-e", name]
    command += ["-o", "ip.defragment:FALSE"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    rows = []
    for line in done.stdout.splitlines():
        values = line.split("\t")
        rows.append({name: value.split(",") if value else [] for name, value in zip(names, values, strict=True)})
    return rows


def outermost_by_tshark(rows: list[dict[str, list[str]]]) -> Counter[tuple[frozenset[Any], tuple[str, ...], str]]:
    """Packets and bytes of conversations: ends, VLANs, protocol."""
    found: Counter[tuple[frozenset[Any], tuple[str, ...], str]] = Counter()
    for row in rows:
        version = "ip" if row["frame.protocols"][0].split(":").count("ip") else "ipv6"
        network = [row[f"{version}.{side}"][:1] for side in ("src", "dst")]
        if not network[0]:
            continue
        layers = row["frame.protocols"][0].split(":")
        protocol = next((layer for layer in layers if layer in {"tcp", "udp", "sctp"}), "")
        ports = [row[f"{protocol}.{side}"][:1] if protocol else [] for side in ("srcport", "dstport")]
        ends = frozenset((row[f"eth.{side}"][0], *network[at], *ports[at]) for at, side in enumerate(("src", "dst")))
        found[ends, tuple(row["vlan.id"]), "packets"] += 1
        found[ends, tuple(row["vlan.id"]), "bytes"] += int(row["frame.len"][0])
    return found


def outermost_by_table(table: Table) -> Counter[tuple[frozenset[Any], tuple[str, ...], str]]:
    found: Counter[tuple[frozenset[Any], tuple[str, ...], str]] = Counter()
    for line in table.flows().flows.splitlines():
        flow = json.loads(line)
        if flow["ParentUUID"] or "Network" not in flow:
            continue
        ends = frozenset(
            (flow["Link"][end], flow["Network"][end], *([str(flow["Transport"][end])] if "Transport" in flow else []))
            for end in ("A", "B")
        )
        tags = flow["LayersPath"].split("/").count("Dot1Q")
        vlans = tuple(str(flow["Link"]["ID"] >> 12 * at & 0xFFF) for at in range(tags))
        metric = flow["Metric"]
        found[ends, vlans, "packets"] += metric["ABPackets"] + metric["BAPackets"]
        found[ends, vlans, "bytes"] += metric["ABBytes"] + metric["BABytes"]
    return found


def generated() -> list[Sent]:
    """Some of everything, the same each time."""
    sent = []
    for number in range(600):
        turned = number % 3 == 0
        ends = ((0, 1), (1, 0))[turned]
        ports = (40001 + number % 7, 8888)
        sent.append(
            Sent(
                link=ends,
                network=ends,
                ports=ports[::-1] if turned else ports,
                protocol=("TCP", "UDP", "SCTP")[number % 3],
                version=(4, 6)[number // 3 % 2],
                vlans=((), (10,), (10, 20))[number // 6 % 3],
                vni=None,
                padding=number,
                time_us=1_700_000_000_000_000 + number,
            )
        )
    return sent


@pytest.mark.parametrize("name", ["generated", *sorted(path.name for path in DATA.glob("*.pcap"))])
def test_conversations_are_those_of_tshark(name: str, tmp_path: Path) -> None:
    file = DATA / name
    if name == "generated":
        file = tmp_path / "generated.pcap"
        file.write_bytes(pcap([(one.time_us, one.frame()) for one in generated()]))
    rows = [row for row in dissected_by_tshark(file) if row["eth.src"]]
    table = Table()
    table.pcap(file.read_bytes())
    theirs, ours = outermost_by_tshark(rows), outermost_by_table(table)
    if name == "vxlan-src-port.pcap":  # one flow, whatever the source port of the tunnel is
        assert sum(theirs.values()) == sum(ours.values()) == 2 + 208
        return
    assert theirs
    assert ours == theirs


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.pcap")))
def test_community_ids_are_those_of_tshark(name: str) -> None:
    table = Table()
    table.pcap((DATA / name).read_bytes())
    flows = [json.loads(line) for line in table.flows().flows.splitlines()]
    ours = {flow["CommunityID"] for flow in flows if "CommunityID" in flow}
    theirs = {value for row in dissected_by_tshark(DATA / name) for value in row["communityid"][:1]}
    assert theirs
    assert theirs <= ours or "Fragment" in {flow["Application"] for flow in flows}
