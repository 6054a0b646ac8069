"""Captures that send to others: nfcapd and tshark are those others, and say what they got."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from skycore.errors import RequestRefused
from skycore.testing.lab import FakeHost
from tests.system.processes import Process, until
from tests.system.test_captures import ANALYZER, NO_SAMPLES, captures, create, delete, flows, pair, states

pytestmark = pytest.mark.needs("root", "ip", "nsenter", "nfcapd", "nfdump", "tcpdump", "tshark", "busybox")

AGENT: Final = "127.0.0.1:8081"
QUERY: Final = "G.V().Has('Name', 'vb')"


@pytest.fixture(scope="module")
def host() -> Iterator[FakeHost]:
    """va and vb: 10.9.0.1 here and 10.9.0.2 in a namespace of its own, which answers; the capture is on vb's peer."""
    with FakeHost() as made:
        made.run("ip", "link", "set", "lo", "up")
        made.run("ip", "netns", "add", "far")
        pair(made, "v")
        made.run("ip", "neighbour", "del", "10.9.0.2", "dev", "va")
        made.run("ip", "link", "add", "sw", "type", "bridge")
        made.run("ip", "link", "add", "wa", "type", "veth", "peer", "name", "wb", "netns", "far")
        for name in ("vb", "wa"):
            made.run("ip", "link", "set", name, "master", "sw")
        for name in ("sw", "wa"):
            made.run("ip", "link", "set", name, "up")
        far = ("ip", "netns", "exec", "far")
        made.run(*far, "ip", "address", "add", "10.9.0.2/24", "dev", "wb")
        made.run(*far, "ip", "address", "add", "2001:db8::2/64", "dev", "wb", "nodad")
        made.run(*far, "ip", "link", "set", "wb", "up")
        made.run("ip", "address", "add", "2001:db8::1/64", "dev", "va", "nodad")
        yield made


@pytest.fixture(scope="module")
def world(host: FakeHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("targets")
    quick = {"update": 1, "expire": 2}
    configuration = {"analyzers": [ANALYZER], "agent": {"topology": NO_SAMPLES}, "flow": quick}
    with (
        Process(host, "analyzer", folder / "analyzer", {"flow": quick}, address=ANALYZER) as analyzer,
        Process(host, "agent", folder / "agent", configuration, address=AGENT) as agent,
    ):
        analyzer.start()
        agent.start()
        yield analyzer


def talk(host: FakeHost) -> None:
    """Pings of both versions of IP, and a connection of TCP from va to what is behind vb."""
    server = host.popen("ip", "netns", "exec", "far", "busybox", "nc", "-l", "-p", "7070", "-e", "/bin/cat")
    until(lambda: _listens(host))
    host.run("busybox", "ping", "-c", "3", "-i", "0.2", "-s", "100", "10.9.0.2")
    host.run("busybox", "ping", "-c", "3", "-i", "0.2", "-s", "100", "2001:db8::2")
    host.run(
        "bash", "-c", "exec 3<>/dev/tcp/10.9.0.2/7070; echo hello >&3; read -r line <&3; exec 3>&-; test $line = hello"
    )
    server.kill()
    server.wait()


def _listens(host: FakeHost) -> bool:
    return f":{7070:04X}" in host.run("ip", "netns", "exec", "far", "cat", "/proc/net/tcp6", "/proc/net/tcp")


def collected(host: FakeHost, world: Process, folder: Path, type: str) -> list[dict[str, Any]]:
    """What nfcapd understood of a capture's talk, as nfdump shows it."""
    folder.mkdir(exist_ok=True)
    collector = host.popen("nfcapd", "-w", str(folder), "-p", "2055", "-b", "127.0.0.1", "-t", "600")
    until(lambda: f":{2055:04X}" in host.run("cat", "/proc/net/udp"))
    made = create(world, QUERY, TargetType=type, Target="127.0.0.1:2055", BPFFilter="icmp or icmp6 or tcp")
    try:
        until(lambda: states(world, "vb") == ["active"])
        talk(host)
        # Ticks of a second: what was counted is sent by the end of the capture at the latest.
    finally:
        delete(world, made["UUID"])
        until(lambda: captures(world, "vb") == [])
        collector.kill(15)
        collector.wait()
    (file,) = [one for one in folder.glob("nfcapd*") if one.stat().st_size > 300]
    done = subprocess.run(
        ["nfdump", "-q", "-r", str(file), "-o", "json"], capture_output=True, text=True, check=True, timeout=60
    )
    return list(objects(done.stdout))


def objects(text: str) -> Iterator[dict[str, Any]]:
    """Those that nfdump writes, one after the other: it puts no list around them, and may put commas between."""
    at, decoder = 0, json.JSONDecoder()
    while start := re.compile(r"[\s,\[\]]*(?=\{)").match(text, at):
        found, at = decoder.raw_decode(text, start.end())
        yield found


def total(records: list[dict[str, Any]], protocol: int, source: str, target: str, *names: str) -> tuple[int, ...]:
    chosen = [
        one
        for one in records
        if one["proto"] == protocol
        and source in (one.get("src4_addr"), one.get("src6_addr"))
        and target in (one.get("dst4_addr"), one.get("dst6_addr"))
    ]
    assert chosen, (records, protocol, source, target)
    return tuple(sum(int(one.get(name, 0)) for one in chosen) for name in names)


def test_nfcapd_reads_our_netflow_5(host: FakeHost, world: Process, tmp_path: Path) -> None:
    records = collected(host, world, tmp_path / "v5", "netflowv5")
    # Three echoes of 100 bytes: 128 with ICMP and IP.
    assert total(records, 1, "10.9.0.1", "10.9.0.2", "in_packets", "in_bytes") == (3, 3 * 128)
    assert total(records, 1, "10.9.0.2", "10.9.0.1", "in_packets", "in_bytes") == (3, 3 * 128)
    assert not [one for one in records if one["proto"] == 58]
    (there, *_) = [one for one in records if one["proto"] == 6 and one["dst_port"] == 7070]
    (back, *_) = [one for one in records if one["proto"] == 6 and one["src_port"] == 7070]
    for one in (there, back):
        assert "S" in one["tcp_flags"]
        assert "A" in one["tcp_flags"]
    assert total(records, 6, "10.9.0.1", "10.9.0.2", "in_packets")[0] >= 4
    assert flows(world) == []


def test_nfcapd_reads_our_ipfix(host: FakeHost, world: Process, tmp_path: Path) -> None:
    records = collected(host, world, tmp_path / "ipfix", "ipfix")
    ways = ("in_packets", "in_bytes", "out_packets", "out_bytes")
    assert total(records, 1, "10.9.0.1", "10.9.0.2", *ways) == (3, 3 * 128, 3, 3 * 128)
    assert total(records, 58, "2001:db8::1", "2001:db8::2", *ways)[0] >= 3
    packets, _, answers, _ = total(records, 6, "10.9.0.1", "10.9.0.2", *ways)
    assert packets >= 4
    assert answers >= 3


@pytest.mark.parametrize("type", ["erspanv0", "erspanv1"])
def test_tshark_takes_our_erspan_apart(type: str, host: FakeHost, world: Process, tmp_path: Path) -> None:
    file, log = tmp_path / "seen.pcap", tmp_path / "log"
    with log.open("wb") as output:
        watching = host.popen("tcpdump", "-i", "lo", "-U", "-w", str(file), "-Z", "root", "ip proto 47", output=output)
    until(lambda: "listening" in log.read_text())
    made = create(world, QUERY, TargetType=type, Target="127.0.0.1", BPFFilter="icmp", HeaderSize=64)
    try:
        until(lambda: states(world, "vb") == ["active"])
        host.run("busybox", "ping", "-c", "3", "-i", "0.2", "-s", "100", "10.9.0.2")
        until(lambda: len(mirrored(file)) >= 6)
    finally:
        delete(world, made["UUID"])
        until(lambda: captures(world, "vb") == [])
        watching.kill(15)
        watching.wait()
    seen = mirrored(file)
    assert len(seen) == 6
    assert {(one["ip.src"].split(",")[-1], one["icmp.type"]) for one in seen} == {("10.9.0.1", "8"), ("10.9.0.2", "0")}
    if type == "erspanv1":
        index = int(host.run("cat", "/sys/class/net/vb/ifindex"))
        assert {hex(int(one["gre.proto"], 0)) for one in seen} == {"0x88be"}
        assert [int(one["gre.sequence_number"]) for one in seen] == list(range(6))
        assert {(one["erspan.version"], one["erspan.spanid"], int(one["erspan.index"])) for one in seen} == {
            ("1", "1", index)
        }
        assert {one["erspan.truncated"].lower() for one in seen} <= {"1", "true"}


FIELDS: Final = (
    *("gre.proto", "gre.sequence_number", "erspan.version", "erspan.spanid", "erspan.index", "erspan.truncated"),
    *("ip.src", "icmp.type"),
)


def mirrored(file: Path) -> list[dict[str, str]]:
    if not file.exists():
        return []
    options = [word for field in FIELDS for word in ("-e", field)]
    command = ["tshark", "-r", str(file), "-n", "-Y", "icmp && gre", "-T", "fields", "-E", "separator=|", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return [dict(zip(FIELDS, row.split("|"), strict=True)) for row in done.stdout.splitlines()]


def test_a_wrong_target_is_an_error_on_the_node(world: Process) -> None:
    for target, type, reason in (
        ("nowhere.invalid:2055", "netflowv5", "cannot be looked up"),
        ("240.0.0.1:2055", "ipfix", "240.0.0.1"),
    ):
        made = create(world, QUERY, TargetType=type, Target=target)
        until(lambda: [one.get("State") for one in captures(world, "vb")] == ["error"], 30)
        assert reason in captures(world, "vb")[0]["Error"]
        delete(world, made["UUID"])
        until(lambda: captures(world, "vb") == [])
    with pytest.raises(RequestRefused, match="target type unknown"):
        create(world, QUERY, TargetType="carrier", Target="10.0.0.1:1")


def test_a_collector_that_is_away_is_told_and_the_capture_goes_on(host: FakeHost, world: Process) -> None:
    made = create(world, QUERY, TargetType="ipfix", Target="127.0.0.1:2999", BPFFilter="icmp")
    until(lambda: states(world, "vb") == ["active"])

    def told() -> str:
        host.run("busybox", "ping", "-c", "1", "10.9.0.2")
        return str(captures(world, "vb")[0].get("Error", ""))

    assert "127.0.0.1 cannot be reached" in until(told, 30)
    assert states(world, "vb") == ["active"]
    delete(world, made["UUID"])
    until(lambda: captures(world, "vb") == [])
