"""Capture options and sources end to end: recorded frames on a real wire, files over TCP, libpcap, our own traffic."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from skycore_native import CaptureFile

from skycore.plugin.namespaces import inside
from skycore.testing.lab import FakeHost, Underlay
from tests.system.processes import Process, until
from tests.system.test_captures import (
    AGENT,
    ANALYZER,
    NO_SAMPLES,
    QUICK,
    captures,
    create,
    delete,
    flows,
    pair,
    rows,
    send,
    states,
)

pytestmark = pytest.mark.needs("root", "ip", "nsenter", "mount")

DATA = Path(__file__).resolve().parent.parent / "data" / "flows"
Flow = dict[str, Any]


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with FakeHost() as made:
        made.run("ip", "link", "set", "lo", "up")
        # Without IPv6 the kernel says nothing by itself.
        made.run("bash", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        pair(made, "v")
        yield made


@pytest.fixture
def allinone(host: FakeHost, tmp_path: Path) -> Iterator[Process]:
    configuration = {"agent": {"topology": NO_SAMPLES}, "flow": QUICK}
    with Process(host, "allinone", tmp_path / "all", configuration, address=ANALYZER) as made:
        yield made.start()


def frames(name: str) -> list[bytes]:
    return [frame for *_, frame in CaptureFile().feed((DATA / f"{name}.pcap").read_bytes())]


def put_on_wire(host: FakeHost, sent: Sequence[bytes]) -> None:
    """Send frames from ``va``, so that ``vb`` receives them."""
    wire = inside(host.netns_path, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    inside(host.netns_path, lambda: wire.bind(("va", 0)))
    with wire:
        for frame in sent:
            wire.send(frame)


def captured(
    host: FakeHost, process: Process, sent: Sequence[bytes], done: Callable[[list[Flow]], bool], **fields: Any
) -> list[Flow]:
    """The flows of a capture with these options, on a wire with these frames, when they are what they should be."""
    made = create(process, "G.V().Has('Name', 'vb')", **fields)
    until(lambda: states(process, "vb") == ["active"], why=process.log)
    put_on_wire(host, sent)

    def found() -> list[Flow]:
        return [flow for flow in flows(process) if flow["CaptureID"] == made["UUID"]]

    until(lambda: done(found()), why=lambda: f"{found()}")
    delete(process, made["UUID"])
    until(lambda: states(process, "vb") == [])
    return found()


def paths(found: Sequence[Flow]) -> list[str]:
    return sorted(flow["LayersPath"] for flow in found)


def test_each_option_of_a_capture_on_a_real_wire(host: FakeHost, allinone: Process) -> None:
    fragments = frames("ipv4-fragments")
    whole = "Ethernet/IPv4/Fragment/ICMPv4"
    apart = captured(host, allinone, fragments, lambda found: len(found) == 2, HeaderSize=4096)
    assert "Ethernet/IPv4/Fragment" in paths(apart)
    assert all("IPMetric" not in flow for flow in apart)
    (together,) = captured(
        host, allinone, fragments, lambda found: paths(found) == [whole], HeaderSize=4096, IPDefrag=True
    )
    assert (together["IPMetric"]["Fragments"], together["IPMetric"]["FragmentErrors"]) == (1, 0)

    handshake = frames("simple-tcpv4")
    (plain,) = captured(host, allinone, handshake, lambda found: len(found) == 1)
    assert "TCPMetric" not in plain
    (timed,) = captured(host, allinone, handshake, lambda found: len(found) == 1, ExtraTCPMetric=True)
    assert timed["Start"] <= timed["TCPMetric"]["ABSynStart"] <= timed["TCPMetric"]["ABFinStart"] <= timed["Last"]
    assert "ABSegmentOutOfOrder" in timed["TCPMetric"]

    def ended(found: list[Flow]) -> bool:
        return [flow.get("TCPMetric", {}).get("ABSawEnd") for flow in found] == [1]

    (streams,) = captured(host, allinone, handshake, ended, ReassembleTCP=True)
    assert (streams["TCPMetric"]["ABSawStart"], streams["TCPMetric"]["BASawStart"]) == (1, 1)
    delivered = streams["TCPMetric"]
    assert delivered["ABPackets"] + delivered["BAPackets"] > 0 == delivered["ABSegmentSkipped"]

    names = frames("dns")
    for layers, expected in ((0, False), (2, True)):
        found = captured(host, allinone, names, lambda found: len(found) == 6, ExtraLayers=layers, HeaderSize=4096)
        assert [("DNS" in flow) for flow in found] == [expected] * 6
    questions = {question["name"] for flow in found for question in flow["DNS"]["questions"]}
    assert questions
    assert all("." in name for name in questions)

    before = rows(allinone, "SELECT count(*) FROM raw_packet")[0][0]
    (kept,) = captured(host, allinone, handshake, lambda found: len(found) == 1, RawPacketLimit=3)
    assert kept["RawPacketsCaptured"] == 3 < kept["Metric"]["ABPackets"] + kept["Metric"]["BAPackets"]
    assert rows(allinone, "SELECT count(*) FROM raw_packet")[0][0] - before == 3

    routed = frames("layer-key-mode")
    for mode, count in (("L2", 2), ("L3", 1)):
        found = captured(host, allinone, routed, lambda found, count=count: len(found) == count, LayerKeyMode=mode)  # type: ignore[misc]
        assert sum(flow["Metric"]["ABPackets"] for flow in found) == 2
        assert {flow["L3TrackingID"] for flow in found} == {"9e42a86914a043b8"}


def test_libpcap_captures_as_the_ring_does(host: FakeHost, allinone: Process) -> None:
    made = create(allinone, "G.V().Has('Name', 'vb')", Type="pcap", BPFFilter="udp port 7777", RawPacketLimit=1)
    until(lambda: states(allinone, "vb") == ["active"], why=allinone.log)
    send(host, 7777, 3)
    send(host, 7778, 3)
    until(lambda: [flow["Metric"]["ABPackets"] for flow in flows(allinone)] == [3], why=allinone.log)
    (flow,) = flows(allinone)
    assert (flow["CaptureID"], flow["RawPacketsCaptured"], flow["LayersPath"]) == (made["UUID"], 1, "Ethernet/IPv4/UDP")
    until(lambda: captures(allinone, "vb")[0]["PacketsReceived"] == 3, 70)
    host.run("ip", "link", "set", "vb", "down")
    until(lambda: states(allinone, "vb") == ["error"])
    host.run("ip", "link", "set", "vb", "up")
    until(lambda: states(allinone, "vb") == ["active"])
    send(host, 7777)
    until(lambda: len(flows(allinone)) == 2)


def test_a_file_that_is_streamed_to_a_running_agent_becomes_flows(host: FakeHost, allinone: Process) -> None:
    made = create(allinone, "G.V().Has('Name', 'vb')", Type="pcapsocket")
    until(lambda: states(allinone, "vb") == ["active"], why=allinone.log)
    address, _, port = captures(allinone, "vb")[0]["PCAPSocket"].rpartition(":")

    def stream(*pieces: bytes) -> None:
        """Each on a connection of its own, all at once; until the agent has closed them."""
        lines = [
            inside(host.netns_path, lambda: socket.create_connection((address, int(port)), timeout=20)) for _ in pieces
        ]
        for one, piece in zip(lines, pieces, strict=True):
            one.sendall(piece)
            one.shutdown(socket.SHUT_WR)
        for one in lines:
            assert one.recv(1) == b""
            one.close()

    before = time.time_ns() // 1_000_000
    file = (DATA / "simple-tcpv4.pcap").read_bytes()
    stream(b"GET / HTTP/1.1\r\n\r\n", file[: len(file) // 2])
    until(lambda: len(flows(allinone)) == 1, why=allinone.log)
    assert 0 < flows(allinone)[0]["Metric"]["ABPackets"] < 5
    stream((DATA / "simple-tcpv6.pcap").read_bytes(), (DATA / "vxlan-src-port.pcap").read_bytes())
    until(lambda: len(flows(allinone)) == 5, 30, why=allinone.log)

    def six() -> Flow:
        (found,) = [flow for flow in flows(allinone) if flow["LayersPath"] == "Ethernet/IPv6/TCP"]
        return found

    def counted(flow: Flow) -> tuple[int, int, int]:
        return flow["Metric"]["ABPackets"], flow["Metric"]["ABBytes"], flow["Metric"]["RTT"]

    # Until the update after its last packet.
    until(lambda: counted(six()) == (3, 272, 28000))
    assert (six()["CaptureID"], before <= six()["Start"] <= six()["Last"]) == (made["UUID"], True)
    assert states(allinone, "vb") == ["active"]
    assert allinone.log().count("a stream of packets is damaged") == 2


def test_our_own_traffic_is_left_out_also_where_the_analyzer_has_a_name(tmp_path: Path) -> None:
    with ExitStack() as stack:
        hosts = [stack.enter_context(FakeHost()) for _ in range(2)]
        stack.enter_context(Underlay(hosts))
        for one in hosts:
            one.run("ip", "link", "set", "lo", "up")
        hosts[1].run("bash", "-c", "echo '10.200.0.1 analyzer.test' > /run/hosts && mount --bind /run/hosts /etc/hosts")
        centre = stack.enter_context(
            Process(
                hosts[0],
                "analyzer",
                tmp_path / "centre",
                {"analyzer": {"listen": "0.0.0.0:8082"}, "flow": QUICK},
                "--insecure-listen",
                address=ANALYZER,
            )
        ).start()
        configuration = {"analyzers": ["analyzer.test:8082"], "agent": {"topology": NO_SAMPLES}, "flow": QUICK}
        agent = stack.enter_context(
            Process(hosts[1], "agent", tmp_path / "agent", configuration, address=AGENT)
        ).start()
        create(centre, "G.V().Has('Name', 'eth0')")
        until(lambda: states(centre, "eth0") == ["active"], why=agent.log)
        # Each flow that is stored is sent over this very wire, and so would be the next flow.
        for port in (7777, 7778, 7779):
            hosts[1].run("bash", "-c", f"echo hi > /dev/udp/10.200.0.1/{port}")
            until(lambda port=port: port in ports(centre), why=agent.log)  # type: ignore[misc]
        assert 8082 not in ports(centre)


def ports(process: Process) -> set[int]:
    return {port for flow in flows(process) for port in (flow.get("Transport", {}).get(end) for end in "AB") if port}
