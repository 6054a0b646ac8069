"""Injections end to end: real agents send, and tcpdump and tshark at the other end of the wire say what came."""

from __future__ import annotations

import base64
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from skydive.packet_injector import PacketInjection
from skydive.rest.client import RESTClient

from skycore.client import Client, Collection
from skycore.client.calls import Kind
from skycore.errors import RequestRefused
from skycore.plugin.namespaces import inside
from skycore.testing.lab import FakeHost
from tests.system.processes import Process, until
from tests.system.test_captures import flows

pytestmark = pytest.mark.needs("root", "ip", "nsenter", "tcpdump", "tshark")

AGENT, ANALYZER = "127.0.0.1:8081", "127.0.0.1:8082"
SRC, DST = "G.V().Has('Name', 'va')", "G.V().Has('Name', 'vb')"
LIMITS: Final = {"max_count": 200, "max_nodes": 2, "refused_networks": ["203.0.113.0/24"]}


def run_in(process: Process, call: Callable[[Client], Any]) -> Any:
    return inside(process.host.netns_path, lambda: call(Client(ANALYZER, timeout=30)))


def inject(process: Process, ttl: str | None = None, **fields: Any) -> dict[str, Any]:
    value = {"Src": SRC, "Dst": DST, "Type": "icmp4", **fields}
    made: dict[str, Any] = run_in(
        process, lambda client: Collection(client, Kind("injectpacket", dict)).create(value, ttl=ttl)
    )
    return made


def shown(process: Process, uuid: str) -> dict[str, Any]:
    found: dict[str, Any] = run_in(process, lambda client: Collection(client, Kind("injectpacket", dict)).get(uuid))
    return found


def states(process: Process, uuid: str) -> list[tuple[str, int]]:
    return [(one["State"], one["PacketCount"]) for one in shown(process, uuid)["Nodes"]]


def query(process: Process, text: str) -> Any:
    return run_in(process, lambda client: client.query(text))


@pytest.fixture(scope="module")
def host() -> Iterator[FakeHost]:
    """va 10.9.0.1 here, vb 10.9.0.2 in a namespace of its own that answers; and a tunnel without Ethernet."""
    with FakeHost() as made:
        made.run("ip", "link", "set", "lo", "up")
        made.run("ip", "netns", "add", "far")
        made.run("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb", "netns", "far")
        far = ("ip", "netns", "exec", "far")
        for name, number, words in (("va", 1, ()), ("vb", 2, far)):
            made.run(*words, "ip", "address", "add", f"10.9.0.{number}/24", "dev", name)
            made.run(*words, "ip", "address", "add", f"2001:db8::{number}/64", "dev", name, "nodad")
            made.run(*words, "ip", "link", "set", name, "up")
        made.run("ip", "route", "add", "198.51.100.0/24", "via", "10.9.0.2")
        yield made


@pytest.fixture(scope="module")
def world(host: FakeHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """An analyzer, and an agent that knows the wire."""
    folder = tmp_path_factory.mktemp("world")
    quick = {"update": 0.3}
    analyzer = Process(
        host, "analyzer", folder / "analyzer", {"flow": quick, "analyzer": {"injection": LIMITS}}, address=ANALYZER
    )
    configuration = {
        "analyzers": [ANALYZER],
        "agent": {
            "topology": {"probes": ["netns"], "netlink": {"metrics_update": 0}, "netns": {"run_path": "/run/netns"}},
            "injection": {"max_rate": 100, "max_active": 2},
        },
        "flow": quick,
    }
    with analyzer, Process(host, "agent", folder / "agent", configuration, address=AGENT) as agent:
        analyzer.start()
        agent.start()
        until(
            lambda: (
                len(query(analyzer, "G.V().Has('Name', Within('va', 'vb')).HasKey('IPV4').Has('State', 'UP')")) == 2
            ),
            why=agent.log,
        )
        yield analyzer


@contextmanager
def seen(host: FakeHost, folder: Path, expression: str) -> Iterator[Callable[[int], list[dict[str, str]]]]:
    """What passes vb meanwhile: called with how many packets are expected, gives what tshark reads of them."""
    file, log = folder / "seen.pcap", folder / "tcpdump.log"
    words = ("ip", "netns", "exec", "far", "tcpdump", "-i", "vb", "-U", "-w", str(file), "-Z", "root", expression)
    with log.open("wb") as output:
        process = host.popen(*words, output=output)
    try:
        until(lambda: "listening" in log.read_text(), why=log.read_text)

        def read(count: int) -> list[dict[str, str]]:
            until(lambda: len(packets(file)) >= count)
            return packets(file)

        yield read
    finally:
        process.kill(signal.SIGTERM)
        process.wait()


FIELDS: Final = (
    *("eth.src", "eth.dst", "ip.src", "ip.dst", "ip.ttl", "ipv6.src", "ipv6.dst", "ipv6.hlim"),
    *("icmp.type", "icmp.ident", "icmp.seq", "icmpv6.type", "icmpv6.echo.identifier"),
    *("tcp.srcport", "tcp.dstport", "tcp.flags.syn", "tcp.flags.ack", "tcp.len", "udp.srcport", "udp.dstport"),
    *(f"{name}.checksum.status" for name in ("icmp", "icmpv6", "tcp", "udp")),
    *("data.len", "data.data"),
)


def packets(file: Path) -> list[dict[str, str]]:
    """As tshark understands them, checksums verified."""
    options = [word for field in FIELDS for word in ("-e", field)]
    checks = [word for name in ("ip", "tcp", "udp") for word in ("-o", f"{name}.check_checksum:TRUE")]
    done = subprocess.run(
        ["tshark", "-r", str(file), "-n", *checks, "-T", "fields", "-E", "separator=|", *options],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return [dict(zip(FIELDS, line.split("|"), strict=True)) for line in done.stdout.splitlines()]


def macs(host: FakeHost) -> tuple[str, str]:
    return (
        host.run("cat", "/sys/class/net/va/address").strip(),
        host.run("ip", "netns", "exec", "far", "cat", "/sys/class/net/vb/address").strip(),
    )


def test_echo_requests_arrive_as_asked_and_are_answered(host: FakeHost, world: Process, tmp_path: Path) -> None:
    with seen(host, tmp_path, "icmp") as read:
        made = inject(world, Count=3, ICMPID=77, Interval=20, TTL=9, Payload="ping", IncrementPayload=2)
        found = read(6)
    requests = [one for one in found if one["icmp.type"] == "8"]
    answers = [one for one in found if one["icmp.type"] == "0"]
    assert [one["icmp.seq"].split(",")[0] for one in requests] == [one["icmp.seq"].split(",")[0] for one in answers]
    assert [int(one["data.len"]) for one in requests] == [4, 6, 8]
    assert [bytes.fromhex(one["data.data"])[:4] for one in requests] == [b"ping"] * 3
    near, far = macs(host)
    for one in requests:
        assert (one["eth.src"], one["eth.dst"], one["ip.src"], one["ip.dst"]) == (near, far, "10.9.0.1", "10.9.0.2")
        assert (one["ip.ttl"], one["icmp.ident"].split(",")[0]) == ("9", "77")
        assert one["icmp.checksum.status"] == "1"
    assert len(made["TrackingIDs"]) == len(made["L3TrackingIDs"]) == 1
    until(lambda: states(world, made["UUID"]) == [("done", 3)])


@pytest.mark.parametrize("type", ["icmp6", "tcp4", "tcp6", "udp4", "udp6"])
def test_each_type_is_right_to_its_last_bit(type: str, host: FakeHost, world: Process, tmp_path: Path) -> None:
    expression = {"icmp6": "icmp6[0] == 128", "tcp4": "tcp port 7001", "udp4": "udp port 7001"}
    with seen(host, tmp_path, expression.get(type, f"ip6 and {type[:3]} port 7001")) as read:
        inject(world, Type=type, SrcPort=7000, DstPort=7001, ICMPID=5, TTL=11, Payload="x" * 20)
        one = read(1)[0]
    if type[-1] == "6":
        assert (one["ipv6.src"], one["ipv6.dst"], one["ipv6.hlim"]) == ("2001:db8::1", "2001:db8::2", "11")
    else:
        assert (one["ip.src"], one["ip.dst"], one["ip.ttl"]) == ("10.9.0.1", "10.9.0.2", "11")
    if type == "icmp6":
        assert (one["icmpv6.type"], int(one["icmpv6.echo.identifier"], 0)) == ("128", 5)
        assert one["icmpv6.checksum.status"] == "1"
        return
    protocol = type[:3]
    assert (one[f"{protocol}.srcport"], one[f"{protocol}.dstport"]) == ("7000", "7001")
    assert one[f"{protocol}.checksum.status"] == "1"
    if protocol == "tcp":
        assert (one["tcp.flags.syn"].lower(), one["tcp.flags.ack"].lower()) in (("1", "0"), ("true", "false"))
        assert one["tcp.len"] == "20"


def test_the_client_of_skydives_users_injects(host: FakeHost, world: Process, tmp_path: Path) -> None:
    def use() -> PacketInjection:
        client = RESTClient(ANALYZER)
        made = client.injection_create(SRC, DST, type="icmp4", icmp_id=31, count=2, interval=10)
        assert made.uuid in {one.uuid for one in client.injection_list()}
        client.injection_delete(made.uuid)
        return made

    with seen(host, tmp_path, "icmp[0] == 8") as read:
        made = inside(world.host.netns_path, use)
        assert read(1)[0]["icmp.ident"].split(",")[0] == "31"
    assert made.trackingid


def test_random_packets_differ_and_the_answer_names_their_flows(host: FakeHost, world: Process, tmp_path: Path) -> None:
    with seen(host, tmp_path, "udp dst port 7002") as read:
        made = inject(world, Type="udp4", SrcPort=6000, DstPort=7002, Mode="random", Count=20)
        ports = [int(one["udp.srcport"]) for one in read(20)]
    assert ports[0] == 6000
    assert len(set(ports)) > 15
    until(lambda: states(world, made["UUID"]) == [("done", 20)])
    assert len(shown(world, made["UUID"])["TrackingIDs"]) == len(set(ports))


def test_tracking_ids_are_those_of_the_flows_that_captures_make(host: FakeHost, world: Process, tmp_path: Path) -> None:
    run_in(
        world,
        lambda client: Collection(client, Kind("capture", dict)).create(
            {"GremlinQuery": DST, "BPFFilter": "udp port 7003 or icmp6"}
        ),
    )
    until(lambda: query(world, f"{DST}.Has('Captures.State', 'active').Count()") == 1)
    wanted: list[tuple[str, dict[str, Any]]] = [("udp4", {"DstPort": 7003}), ("icmp6", {"ICMPID": 3})]
    for type, fields in wanted:
        made = inject(world, Type=type, Count=2, **fields)
        (flow,) = until(partial(followed, world, made))
        assert flow["L3TrackingID"] in made["L3TrackingIDs"]


def followed(process: Process, made: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in flows(process) if one["TrackingID"] in made["TrackingIDs"]]


def test_a_recording_is_sent_as_it_is(host: FakeHost, world: Process, tmp_path: Path) -> None:
    frames = [bytes.fromhex("02000000000202000000000188b5") + bytes([number]) * 50 for number in range(3)]
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    file += b"".join(struct.pack("<IIII", 1, 0, len(frame), len(frame)) + frame for frame in frames)
    with pytest.raises(RequestRefused, match="refused_networks"):
        inject(world, Pcap=base64.b64encode(file).decode())


def test_what_runs_is_shown_on_its_node_and_ends_when_it_is_deleted(host: FakeHost, world: Process) -> None:
    made = inject(world, Count=200, Interval=200, ICMPID=9)
    until(lambda: query(world, f"{SRC}.Has('PacketInjections.ID', '{made['UUID']}').Count()") == 1)
    ((entry,),) = query(world, f"{SRC}.Values('PacketInjections')")
    near, far = (base64.b64encode(bytes.fromhex(mac.replace(":", ""))).decode() for mac in macs(host))
    assert entry["PacketCount"] >= 1
    assert {key: value for key, value in entry.items() if key != "PacketCount"} == {
        **{"UUID": made["UUID"], "ID": made["UUID"], "State": "active"},
        **{"SrcIP": "10.9.0.1", "SrcMAC": near, "SrcPort": 0, "DstIP": "10.9.0.2", "DstMAC": far, "DstPort": 0},
        **{"Type": "icmp4", "Count": 200, "ICMPID": 9, "Interval": 200, "Mode": "unique", "TTL": 64},
        **{"IncrementPayload": 0, "Payload": "", "Pcap": None},
    }
    run_in(world, lambda client: Collection(client, Kind("injectpacket", dict)).delete(made["UUID"]))
    until(lambda: query(world, f"{SRC}.HasKey('PacketInjections').Count()") == 0)
    # And by its time to live.
    brief = inject(world, ttl="1s", Count=200, Interval=200)
    until(
        lambda: brief["UUID"] not in run_in(world, lambda client: Collection(client, Kind("injectpacket", dict)).list())
    )
    until(lambda: query(world, f"{SRC}.HasKey('PacketInjections').Count()") == 0)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Src": "G.V().Has('Name', 'nobody')"}, "Not able to find a source node for 'G.V().Has('Name', 'nobody')'"),
        ({"Src": "G.V().Has('Type', 'host')"}, "is no interface"),
        ({"Src": "G.V("}, "Src: Not a valid Gremlin expression"),
        ({"Dst": "G.V().Has('Name', 'nobody')"}, "No destination node and IP"),
        ({"Dst": "", "DstIP": "203.0.113.5"}, "nothing may be sent to 203.0.113.5"),
        ({"Dst": "", "DstIP": "192.0.2.1"}, "Failed to resolve destination MAC address"),
        ({"Dst": "", "DstIP": "2001:db8::2"}, "DstIP: 2001:db8::2 is no IPv4 address"),
        ({"Type": "sctp4"}, "given type is not supported"),
        ({"Count": 201}, "analyzer.injection.max_count"),
        ({"Mode": "often"}, "Mode: must be one of"),
        ({"SrcPort": -1}, "SrcPort: must be from 0 to 65535"),
        ({"Payload": "x" * 3000}, "nothing was sent: va: Message too long"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_reason(fields: dict[str, Any], reason: str, world: Process) -> None:
    with pytest.raises(RequestRefused) as refused:
        inject(world, **fields)
    assert refused.value.status == 400
    assert reason in refused.value.text
    assert len(query(world, "G.V().HasKey('PacketInjections')")) == 0


def test_a_routed_destination_is_reached_by_the_next_hop(host: FakeHost, world: Process, tmp_path: Path) -> None:
    with seen(host, tmp_path, "dst host 198.51.100.9") as read:
        inject(world, Dst="", DstIP="198.51.100.9/24")
        (one,) = read(1)
    assert one["eth.dst"] == macs(host)[1]


def test_the_rate_and_the_number_of_what_runs_are_bounded(host: FakeHost, world: Process, tmp_path: Path) -> None:
    with seen(host, tmp_path, "udp dst port 7009") as read:
        fast = inject(world, Type="udp4", DstPort=7009, Count=150)
        inject(world, ttl="3s", Count=200, Interval=1000)
        with pytest.raises(RequestRefused, match=r"agent\.injection\.max_active"):
            inject(world)
        assert states(world, fast["UUID"])[0][0] == "active"
        assert len(read(150)) == 150
    until(lambda: states(world, fast["UUID"]) == [("done", 150)])
