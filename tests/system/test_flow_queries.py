"""Flow queries end to end: real packets, real processes, the present and the past; slow and dead agents."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from skycore.client import Client, Collection
from skycore.client.calls import Kind
from skycore.errors import RequestRefused
from skycore.plugin.namespaces import inside
from skycore.testing.lab import FakeHost, Underlay
from tests.system.processes import Process, until

pytestmark = pytest.mark.needs("root", "ip", "nsenter", "busybox", "tshark")

ANALYZER: Final = "127.0.0.1:8082"
NO_SAMPLES: Final = {"netlink": {"metrics_update": 0}}
PCAP: Final = "application/vnd.tcpdump.pcap"


def run_in(process: Process, call: Callable[[Client], Any]) -> Any:
    return inside(process.host.netns_path, lambda: call(Client(ANALYZER, timeout=30)))


def ask(process: Process, query: str) -> Any:
    return run_in(process, lambda client: client.query(query))


def capture(process: Process, query: str, **fields: Any) -> dict[str, Any]:
    value = {"GremlinQuery": query, **fields}
    made: dict[str, Any] = run_in(process, lambda client: Collection(client, Kind("capture", dict)).create(value))
    return made


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """A host with a namespace ``web`` behind the veth pair ``out``–``eth0``."""
    with FakeHost() as made:
        made.run("ip", "link", "set", "lo", "up")
        made.run("ip", "netns", "add", "web")
        made.run("ip", "link", "add", "out", "type", "veth", "peer", "name", "eth0", "netns", "web")
        # An address of IPv6 that comes a second later would begin the captures anew.
        made.run("ip", "link", "set", "out", "addrgenmode", "none", "up")
        made.run("ip", "address", "add", "10.9.0.1/24", "dev", "out")
        made.run("ip", "-n", "web", "link", "set", "eth0", "addrgenmode", "none", "up")
        made.run("ip", "-n", "web", "address", "add", "10.9.0.2/24", "dev", "eth0")
        yield made


def ping(host: FakeHost, count: int) -> None:
    host.run("busybox", "ping", "-c", str(count), "-i", "0.05", "-W", "2", "10.9.0.2")


def test_flows_of_the_present_and_of_the_past(host: FakeHost, tmp_path: Path) -> None:
    # An update in between would be a matter of luck: flows are in the table alone until the capture ends.
    configuration = {"agent": {"topology": NO_SAMPLES}, "flow": {"update": 3600}}
    with Process(host, "allinone", tmp_path / "all", configuration, address=ANALYZER) as made:
        process = made.start()
        began = int(time.time())
        known = capture(
            process, "G.V().Has('Name', Within('out', 'eth0'))", BPFFilter="icmp", RawPacketLimit=3, HeaderSize=64
        )
        until(lambda: ask(process, "G.V().Has('Captures.State', 'active').Count()") == 2)
        ping(host, 4)
        pings = "G.Flows().Has('Application', 'ICMPv4')"
        until(lambda: ask(process, f"{pings}.Has('Metric.BAPackets', 4).Count()") == 2)
        flows = ask(process, pings)
        assert {flow["CaptureID"] for flow in flows} == {known["UUID"]}
        assert {(flow["Network"]["A"], flow["Network"]["B"]) for flow in flows} == {("10.9.0.1", "10.9.0.2")}
        assert len({flow["TrackingID"] for flow in flows}) == 1
        assert len({flow["NodeTID"] for flow in flows}) == 2
        assert ask(process, f"{pings}.Dedup().Count()") == 1
        assert ask(process, "G.V().Has('Name', 'eth0').Flows().Has('Network', '10.9.0.2').Count()") == 1
        assert ask(process, "G.V().Has('Name', 'lo').Flows()") == []
        summed = ask(process, "G.V().Has('Name', 'eth0').Flows().Has('Application', 'ICMPv4').Metrics().Sum()")
        assert (summed["ABPackets"], summed["BAPackets"], summed["ABBytes"]) == (4, 4, 4 * 98)
        assert ask(process, f"{pings}.Hops().Values('Name')") in (["out", "eth0"], ["eth0", "out"])
        assert set(ask(process, f"{pings}.Dedup().Both().Values('Name')")) == {"out", "eth0"}
        explained = ask(process, f"{pings}.Sort(DESC, 'Last').Limit(1).Explain()")
        assert [step["Operation"] for step in explained["Steps"]] == ["TakeFlows"]
        in_the_table = "G.V().Has('Name', 'eth0').Flows().Has('Application', 'ICMPv4').RawPackets()"
        check_pcap(process, in_the_table, ["8", "0", "8"], tmp_path)
        with pytest.raises(RequestRefused) as refused:
            run_in(process, lambda client: client.query_text(pings, PCAP))
        assert refused.value.status == 406
        # Still in the table alone, and in the answer about a time that ends now.
        assert ask(process, f"G.At('NOW', {int(time.time()) - began + 2}).Flows().Count()".replace("'NOW'", "NOW")) == 2
        run_in(process, lambda client: Collection(client, Kind("capture", dict)).delete(known["UUID"]))
        until(lambda: ask(process, f"{pings}.Count()") == 0)
        past = f"G.At(NOW, {int(time.time()) - began + 2})"
        until(lambda: ask(process, f"{past}.Flows().Count()") == 2)
        ended = ask(process, f"{past}.Flows().Sort('NodeTID').Has('Application', 'ICMPv4')")
        assert [flow["UUID"] for flow in ended] == [
            flow["UUID"] for flow in sorted(flows, key=lambda flow: str(flow["NodeTID"]))
        ]
        assert ask(process, f"{past}.V().Has('Name', 'eth0').Dedup().Flows().Metrics().Sum()")["ABPackets"] == 4
        check_pcap(process, past + in_the_table.removeprefix("G"), ["8", "0", "8"], tmp_path)


def check_pcap(process: Process, query: str, types: list[str], folder: Path) -> None:
    """tshark reads the ICMP types of the packets; how long frames are on the wire; and it finds nothing malformed."""
    file = folder / "packets.pcap"
    file.write_bytes(run_in(process, lambda client: client.query_text(query, PCAP)))
    fields = ["-e", "icmp.type", "-e", "frame.len", "-e", "ip.dst", "-e", "_ws.malformed"]
    read = subprocess.run(
        ["tshark", "-r", str(file), "-T", "fields", *fields], capture_output=True, text=True, check=True
    )
    rows = [line.split("\t") for line in read.stdout.splitlines()]
    assert [row[0] for row in rows] == types
    assert {row[1] for row in rows} == {"98"}
    assert {row[3] for row in rows} == {""}
    listed = ask(process, f"{query}.BPF('icmp[0] == 0')")
    ((uuid, packets),) = listed[0].items()
    assert len(packets) == types.count("0"), json.dumps(listed)
    assert ask(process, f"{query}.BPF('tcp')") == [{uuid: None}]


def with_missing(process: Process, query: str) -> tuple[Any, list[dict[str, str]], float]:
    """The answer, the agents that it says are missing, and how many seconds it took."""

    def call() -> tuple[Any, list[dict[str, str]], float]:
        body, began = json.dumps({"GremlinQuery": query}), time.monotonic()
        asked = urllib.request.Request(f"http://{ANALYZER}/api/topology", body.encode(), method="POST")
        with urllib.request.urlopen(asked, timeout=30) as answer:
            found = json.loads(answer.read())
            return found, json.loads(answer.headers.get("X-Skycore-Missing", "[]")), time.monotonic() - began

    return inside(process.host.netns_path, call)


def test_slow_and_dead_agents_are_named_and_the_others_answer(tmp_path: Path) -> None:
    with ExitStack() as stack:
        hosts = [stack.enter_context(FakeHost()) for _ in range(3)]
        stack.enter_context(Underlay(hosts))
        flow = {"update": 3600}
        configuration: dict[str, Any] = {"agent": {"topology": NO_SAMPLES}, "flow": flow}
        centre = stack.enter_context(
            Process(
                hosts[0],
                "allinone",
                tmp_path / "centre",
                {
                    **configuration,
                    "host_id": "rack0",
                    "analyzer": {"listen": "0.0.0.0:8082", "agent_timeout": 60},
                    "http": {"rest": {"query_timeout": 4}},
                },
                "--insecure-listen",
                address=ANALYZER,
            )
        ).start()
        agents = [
            stack.enter_context(
                Process(
                    host,
                    "agent",
                    tmp_path / f"agent{number}",
                    {**configuration, "host_id": f"rack{number}", "analyzers": ["10.200.0.1:8082"]},
                    address="127.0.0.1:8081",
                )
            ).start()
            for number, host in enumerate(hosts[1:], 1)
        ]
        for host in hosts:
            host.run("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb")
            # An address of IPv6 that comes a second later would begin the capture anew.
            for link in ("va", "vb"):
                host.run("ip", "link", "set", link, "addrgenmode", "none", "up")
            host.run("ip", "address", "add", "10.9.0.1/24", "dev", "va")
            host.run("ip", "neighbour", "add", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "va")
        capture(centre, "G.V().Has('Name', 'vb')", BPFFilter="udp port 7777")
        until(lambda: ask(centre, "G.V().Has('Captures.State', 'active').Count()") == 3, why=centre.log)
        for host in hosts:
            host.run("bash", "-c", "exec 3>/dev/udp/10.9.0.2/7777; echo hi >&3")
        query = "G.Flows().Has('Transport.B', 7777).Sort('NodeTID').Values('NodeTID')"
        until(lambda: len(ask(centre, query) or []) == 3)
        every = ask(centre, query)
        of_rack1 = ask(centre, "G.V().Has('@Host', 'rack1').Flows().Has('Transport.B', 7777).Values('NodeTID')")
        assert len(of_rack1) == 1
        frozen = agents[0]._inside
        assert frozen is not None
        frozen.freeze()
        try:
            found, missing, seconds = with_missing(centre, query)
            assert found == [tid for tid in every if tid not in of_rack1]
            assert [one["Host"] for one in missing] == ["rack1"]
            assert "did not answer within 2 s" in missing[0]["Reason"]
            assert 1.9 < seconds < 4
            # Of those that are not concerned nobody waits for the one that is late.
            found, missing, seconds = with_missing(centre, "G.V().Has('@Host', 'rack2').Flows().Count()")
            assert (found, missing) == (1, [])
        finally:
            frozen.thaw()
        until(lambda: with_missing(centre, query)[:2] == (every, []))
        agents[1].kill9()
        found, missing = until(lambda: _without(with_missing(centre, query), "rack2"))
        assert found == [tid for tid in every if tid not in ask(centre, "G.V().Has('@Host', 'rack2').Values('TID')")]
        assert "not connected" in missing[0]["Reason"]
        agents[1].start()
        until(lambda: with_missing(centre, query)[1] == [])


def _without(answer: tuple[Any, list[dict[str, str]], float], host: str) -> tuple[Any, list[dict[str, str]]]:
    """What was found and who is missing, once that is this host alone, and as it is known to be away; else nothing."""
    found, missing, _ = answer
    known = [one["Host"] for one in missing] == [host] and "not connected" in missing[0]["Reason"]
    return (found, missing) if known else ()  # type: ignore[return-value]
