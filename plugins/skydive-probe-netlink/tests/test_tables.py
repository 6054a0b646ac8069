"""Tables beside the links: garbage, and the real kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from pyroute2 import NetNS
from skydive_probe_netlink import (
    bridging,
    disciplines,
    linkdata,
    neighbours,
    nexthops,
    routes,
    rules,
    team,
    traffic,
    wireguard,
)
from skydive_probe_netlink.attributes import attribute
from skydive_probe_netlink.routes import Leg, Route
from skydive_probe_netlink.socket import RequestSocket

from skycore.plugin import netlink
from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import NamedNetns

MakeNetns = Callable[[], NamedNetns]
NETLINK: dict[str, dict[str, Any]] = {"netlink": {"metrics_update": 0}}


def only(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    (node,) = nodes
    return node


# Whatever the bytes, a decoder returns, or raises DecodeError.

attributes = st.lists(st.builds(attribute, st.integers(0, 48), st.binary(max_size=40)), max_size=6).map(b"".join)
payloads = st.binary(max_size=90) | st.builds(
    lambda head, rest: head + rest, st.binary(min_size=12, max_size=20), attributes
)
TYPES = [16, 24, 28, 32, 36, 40, 44, 84, 86, 104]


@pytest.mark.parametrize("decode", [routes.decode, neighbours.decode, rules.decode, nexthops.decode])
@given(payload=payloads)
def test_any_payload_is_decoded_or_refused(decode: Callable[[bytes], object], payload: bytes) -> None:
    try:
        decode(payload)
    except netlink.DecodeError:
        pass


@given(st.sampled_from(TYPES), payloads)
def test_any_message_of_a_dump_is_read_or_passed_over(type: int, payload: bytes) -> None:
    buffer = struct.pack("=IHHII", 16 + len(payload), type, 0, 1, 0) + payload + bytes(-len(payload) % 4)
    list(routes.read([buffer]))
    neighbours.by_interface([buffer], 5)
    rules.read([buffer], 5)
    bridging.vlans_by_interface([buffer])
    bridging.groups_by_bridge([buffer], 5)
    traffic.qdiscs([buffer])
    traffic.filters([buffer])
    traffic.classes([buffer])
    nexthops.ways(nexthops.read([buffer]))


KINDS_OF_TRAFFIC = [*((disciplines.QDISCS, kind) for kind in disciplines.QDISCS)]
KINDS_OF_TRAFFIC += [*((disciplines.CLASSES, kind) for kind in disciplines.CLASSES)]


@given(st.sampled_from(KINDS_OF_TRAFFIC), st.binary(max_size=90) | attributes)
def test_any_options_of_traffic_control_are_read_or_refused(
    which: tuple[Mapping[str, disciplines.Options], str], data: bytes
) -> None:
    options = which[0][which[1]]
    try:
        found = options.decode(data, 0, len(data))
    except netlink.DecodeError:
        return
    assert found.keys() <= {part.key for part in options.all_parts()}


@given(st.lists(st.sampled_from([2, 3]), min_size=1, max_size=2), st.lists(attributes, max_size=3))
def test_any_answer_about_a_team_is_read_or_refused(commands: list[int], parts: list[bytes]) -> None:
    inner = b"".join(attribute(1, part) for part in parts)
    payloads = [bytes([command, 1, 0, 0]) + attribute(command, inner) for command in commands]
    buffers = [struct.pack("=IHHII", 16 + len(m), 40, 0, 1, 0) + m + bytes(-len(m) % 4) for m in payloads]
    try:
        team.read({}, 5, buffers, 40)
    except netlink.DecodeError:
        pass


@given(st.sampled_from([*linkdata.KINDS, "unheard-of"]), attributes | st.binary(max_size=60))
def test_any_data_of_a_kind_leave_the_link_readable(kind: str, data: bytes) -> None:
    info = attribute(1, kind.encode() + b"\0") + attribute(2, data)
    assert linkdata.read_linkinfo(info, 0, len(info))[0] == kind


@given(st.lists(payloads, max_size=3))
def test_any_answer_about_wireguard_is_read_or_refused(messages: list[bytes]) -> None:
    buffers = [struct.pack("=IHHII", 16 + len(m), 40, 0, 1, 0) + m + bytes(-len(m) % 4) for m in messages]
    try:
        wireguard.read(buffers, 40)
    except netlink.DecodeError:
        pass


def test_wireguard_keys_that_are_secret_are_not_read() -> None:
    secret, public = bytes(range(32)), bytes(range(32, 64))
    peer = attribute(1, public) + attribute(2, secret) + attribute(5, struct.pack("=H", 25))
    payload = bytes(4) + attribute(3, secret) + attribute(4, public) + attribute(8, attribute(0, peer))
    buffer = struct.pack("=IHHII", 16 + len(payload), 40, 0, 1, 0) + payload
    device, counted = wireguard.read([buffer], 40)
    assert counted == {}
    assert device["Peers"] == [{"PublicKey": "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=", "Keepalive": 25}]
    assert set(device) == {"PublicKey", "Peers"}


def test_each_leg_of_a_multipath_route_is_on_its_interface() -> None:
    found = routes.tables_by_interface(
        [
            Route(254, 4, "0.0.0.0/0", 0, None, (Leg(2, "10.0.0.1"), Leg(3))),
            Route(254, 4, "0.0.0.0/0", 5, None, (Leg(2, "10.0.0.2"),)),
            Route(77, 2, "fd00::/64", 256, "fd00::1", (Leg(2),)),
        ],
        limit=10,
    )
    assert found[3] == [
        {
            "ID": 254,
            "Src": None,
            "Routes": [{"Protocol": 4, "Prefix": "0.0.0.0/0", "NextHops": [{"Priority": 0, "IfIndex": 3}]}],
        }
    ]
    assert [table["ID"] for table in found[2]] == [77, 254]
    assert found[2][0]["Src"] == "fd00::1"
    assert found[2][1]["Routes"][0]["NextHops"] == [
        {"Priority": 0, "IfIndex": 2, "IP": "10.0.0.1"},
        {"Priority": 5, "IfIndex": 2, "IP": "10.0.0.2"},
    ]


def test_more_routes_than_are_shown_are_left_out() -> None:
    many = [Route(254, 4, f"10.0.{number}.0/24", 0, None, (Leg(2),)) for number in range(9)]
    (table,) = routes.tables_by_interface(many, limit=4)[2]
    assert len(table["Routes"]) == 4


async def test_what_the_kernel_is_silent_about(netns: MakeNetns) -> None:
    """IPv4 routes that go with an address or with its interface are taken back without a message."""
    here = netns()
    for line in ("link add b0 type bridge", "link set b0 up", "address add 10.0.0.1/24 dev b0"):
        await here.arun("ip", *line.split())
    await here.arun("ip", "route", "add", "10.9.0.0/16", "via", "10.0.0.7")

    def prefixes(lab: ProbeLab) -> set[str]:
        tables = only(lab.nodes(Name="b0")).get("RoutingTables", [])
        return {route["Prefix"] for table in tables for route in table["Routes"] if ":" not in route["Prefix"]}

    async with run_probes(NETLINK, namespace=here.path) as lab:
        assert prefixes(lab) == {"10.0.0.0/24", "10.9.0.0/16", "10.0.0.1/32", "10.0.0.255/32"}
        await here.arun("ip", "address", "del", "10.0.0.1/24", "dev", "b0")
        await lab.until(lambda: prefixes(lab) == set())
        await here.arun("ip", "rule", "add", "from", "10.1.0.0/16", "table", "77", "pref", "9")
        await lab.until(lambda: any(rule["Priority"] == 9 for rule in only(lab.nodes(Type="host"))["Rules"]))
        await here.arun("ip", "rule", "del", "pref", "9")
        await lab.until(lambda: all(rule["Priority"] != 9 for rule in only(lab.nodes(Type="host"))["Rules"]))


async def test_queueing_disciplines_and_classifiers(netns: MakeNetns) -> None:
    here = netns()
    await here.arun("ip", "link", "add", "i0", "type", "ifb")
    async with run_probes(NETLINK, namespace=here.path) as lab:
        await here.arun("tc", "qdisc", "add", "dev", "i0", "root", "handle", "1:", "htb")
        await here.arun("tc", "qdisc", "add", "dev", "i0", "clsact")
        u32 = "filter add dev i0 ingress protocol ip prio 5 u32 match ip dst 10.0.0.1 classid 1:1"
        await here.arun("tc", *u32.split())
        node = await lab.until(lambda: [n for n in lab.nodes(Name="i0") if len(n.get("Filters", ())) > 1])
        assert only(node)["Qdiscs"] == [
            {
                "Kind": "htb",
                "Handle": "1:",
                "Parent": "root",
                "Options": {"RateToQuantum": 10, "DirectQueueLength": 32},
            },
            {"Kind": "clsact", "Handle": "ffff:", "Parent": "ingress"},
        ]
        assert {
            "Kind": "u32",
            "Parent": "ingress",
            "Handle": "0x80000800",
            "Priority": 5,
            "Protocol": "0x0800",
        } in only(node)["Filters"]
        await here.arun("tc", "qdisc", "del", "dev", "i0", "clsact")
        await here.arun("tc", "qdisc", "del", "dev", "i0", "root")
        await lab.until(lambda: not {"Qdiscs", "Filters"} & only(lab.nodes(Name="i0")).keys())


async def test_shapers_and_their_classes(netns: MakeNetns) -> None:
    here = netns()
    await here.arun("ip", "link", "add", "i0", "type", "ifb")
    shaper = "tbf rate 8mbit burst 10kb peakrate 16mbit minburst 1540 limit 9000"
    async with run_probes(NETLINK, namespace=here.path) as lab:
        for line in (
            "qdisc add dev i0 root handle 1: htb default 0x30",
            "class add dev i0 parent 1: classid 1:1 htb rate 80mbit ceil 160mbit burst 20kb cburst 30kb",
            "class add dev i0 parent 1:1 classid 1:30 htb rate 8mbit prio 3 quantum 3000",
            "class add dev i0 parent 1:1 classid 1:31 htb rate 80gbit",
            f"qdisc add dev i0 parent 1:30 handle 30: {shaper}",
        ):
            await here.arun("tc", *line.split())
        found = await lab.until(
            lambda: [n for n in lab.nodes(Name="i0") if len(n.get("Classes", ())) == 3 and len(n["Qdiscs"]) == 2]
        )
        node = only(found)
        tbf = {"Rate": 1_000_000, "Burst": 10_240, "PeakRate": 2_000_000, "MinBurst": 1540, "Limit": 9000}
        assert node["Qdiscs"][1] == {"Kind": "tbf", "Handle": "30:", "Parent": "1:30", "Options": tbf}
        outer, inner, fast = node["Classes"]
        assert (outer["Handle"], outer["Parent"], outer.get("Leaf")) == ("1:1", "root", None)
        assert {key: outer["Options"][key] for key in ("Rate", "Ceil", "Burst", "CeilBurst", "Level")} == {
            "Rate": 10_000_000,
            "Ceil": 20_000_000,
            "Burst": 20 * 1024,
            "CeilBurst": 30 * 1024,
            "Level": 7,
        }
        assert (inner["Handle"], inner["Parent"], inner["Leaf"]) == ("1:30", "1:1", "30:")
        assert inner["Options"].items() >= {"Rate": 1_000_000, "Priority": 3, "Quantum": 3000}.items()
        assert fast["Options"]["Rate"] == 10_000_000_000
        await here.arun("tc", "class", "del", "dev", "i0", "classid", "1:31")
        await lab.until(lambda: len(only(lab.nodes(Name="i0"))["Classes"]) == 2)
        await here.arun("tc", "qdisc", "del", "dev", "i0", "root")
        await lab.until(lambda: not {"Qdiscs", "Classes"} & only(lab.nodes(Name="i0")).keys())


@pytest.mark.parametrize("compatible", ["1", "0"])
async def test_next_hop_objects_and_the_routes_that_name_them(netns: MakeNetns, compatible: str) -> None:
    here = netns()
    await here.arun("sysctl", "-q", f"net.ipv4.nexthop_compat_mode={compatible}")
    for line in (
        "link add b0 type bridge",
        "link set lo up",
        "link add b1 type bridge",
        "link set b0 up",
        "link set b1 up",
        "address add 10.0.0.1/24 dev b0",
        "address add 10.1.0.1/24 dev b1",
        "nexthop add id 1 via 10.0.0.2 dev b0",
        "nexthop add id 2 via 10.1.0.2 dev b1 protocol static",
        "nexthop add id 3 group 1,5/2",
        "nexthop add id 4 blackhole",
        "nexthop add id 5 via fd00::7 dev b1 onlink",
        "route add 10.7.0.0/16 nhid 1",
        "route add 10.8.0.0/16 nhid 3",
        "-6 route add fd09::/64 nhid 5",
    ):
        await here.arun("ip", *line.split())

    async with run_probes(NETLINK, namespace=here.path) as lab:
        one, two = only(lab.nodes(Name="b0")), only(lab.nodes(Name="b1"))
        objects = only(lab.nodes(Type="host"))["Nexthops"]
        assert objects == [
            {"ID": 1, "Family": "inet", "IfIndex": one["IfIndex"], "IP": "10.0.0.2"},
            {"ID": 2, "Family": "inet", "IfIndex": two["IfIndex"], "IP": "10.1.0.2", "Protocol": 4},
            {"ID": 3, "Group": [{"ID": 1, "Weight": 5}, {"ID": 2, "Weight": 1}]},
            {"ID": 4, "Family": "inet", "Blackhole": True},
            {"ID": 5, "Family": "inet6", "IfIndex": two["IfIndex"], "IP": "fd00::7", "OnLink": True},
        ]

        def hops(node: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
            routes = [route for table in node["RoutingTables"] for route in table["Routes"]]
            return [hop for route in routes if route["Prefix"] == prefix for hop in route["NextHops"]]

        first = {"Priority": 0, "IfIndex": one["IfIndex"], "IP": "10.0.0.2"}
        assert hops(one, "10.7.0.0/16") == [{**first, "NexthopID": 1}]
        assert hops(one, "10.8.0.0/16") == [{**first, "NexthopID": 3}]
        assert hops(two, "10.8.0.0/16") == [
            {"Priority": 0, "IfIndex": two["IfIndex"], "IP": "10.1.0.2", "NexthopID": 3}
        ]
        assert hops(two, "fd09::/64") == [
            {"Priority": 1024, "IfIndex": two["IfIndex"], "IP": "fd00::7", "NexthopID": 5}
        ]
        await here.arun("ip", "nexthop", "replace", "id", "1", "via", "10.0.0.9", "dev", "b0")
        await lab.until(lambda: hops(only(lab.nodes(Name="b0")), "10.7.0.0/16")[0]["IP"] == "10.0.0.9")
        await here.arun("ip", "nexthop", "flush")
        await lab.until(lambda: "Nexthops" not in only(lab.nodes(Type="host")))
        assert "10.7.0.0/16" not in str(only(lab.nodes(Name="b0"))["RoutingTables"])


# eBPF programs, loaded with the system call itself.

BPF_PROG_LOAD, BPF_PROG_ATTACH = 5, 8
SCHED_CLS, XDP = 3, 6
BPF_TCX_INGRESS = 46


def bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, 144)
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(321, command, buffer, 144)
    if result < 0:
        raise OSError(ctypes.get_errno(), errno.errorcode[ctypes.get_errno()])
    return result


def load(kind: int, name: bytes) -> int:
    """A program that returns 0; its descriptor."""
    code = ctypes.create_string_buffer(struct.pack("=BBhi", 0xB7, 0, 0, 0) + struct.pack("=BBhi", 0x95, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"GPL")
    head = struct.pack("=IIQQIIQII", kind, 2, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0)
    return bpf(BPF_PROG_LOAD, head + name.ljust(16, b"\0"))


async def test_programs_attached(netns: MakeNetns) -> None:
    here = netns()
    await here.arun("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    descriptors = [load(XDP, b"drop_all"), load(SCHED_CLS, b"look_at")]
    try:
        with NetNS(here.name, flags=0) as writer:
            index = writer.link_lookup(ifname="v0")[0]
            writer.link("set", index=index, xdp_fd=descriptors[0])
        attach = struct.pack("=IIII", index, descriptors[1], BPF_TCX_INGRESS, 0)
        inside = os.open("/proc/self/ns/net", os.O_RDONLY)
        target = os.open(here.path, os.O_RDONLY)
        try:
            os_setns(target)
            try:
                bpf(BPF_PROG_ATTACH, attach)
            finally:
                os_setns(inside)
        finally:
            os.close(inside)
            os.close(target)
        async with run_probes({"netlink": {"metrics_update": 0.2}}, namespace=here.path) as lab:
            node = only(lab.nodes(Name="v0"))
            (xdp,), (tcx,) = node["XDP"], node["Programs"]
            assert (xdp["Mode"], xdp["Name"]) == ("drv", "drop_all")
            assert (tcx["Attach"], tcx["Name"]) == ("ingress", "look_at")
            assert xdp["ID"] != tcx["ID"]
            await here.arun("ip", "link", "set", "v0", "xdp", "off")
            await lab.until(lambda: "XDP" not in only(lab.nodes(Name="v0")))
            assert "Programs" in only(lab.nodes(Name="v0"))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def os_setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


async def test_a_message_whose_table_is_lost_is_made_good(netns: MakeNetns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skydive_probe_netlink.probe.BUFFER", 1024)
    here = netns()
    await here.arun("ip", "link", "add", "b0", "type", "bridge")
    await here.arun("ip", "link", "set", "b0", "up")
    async with run_probes(NETLINK, namespace=here.path) as lab:
        lines = "".join(f"route add 10.9.{number}.0/24 dev b0\n" for number in range(200))
        descriptor = os.memfd_create("batch")
        os.write(descriptor, lines.encode())
        here.run("ip", "-batch", f"/proc/{os.getpid()}/fd/{descriptor}")
        os.close(descriptor)

        def count() -> int:
            tables = only(lab.nodes(Name="b0")).get("RoutingTables", [])
            return sum(route["Prefix"].startswith("10.9.") for table in tables for route in table["Routes"])

        await lab.until(lambda: count() == 200)
        assert lab.report("netlink").fields["overruns"] == 0


async def test_a_table_that_cannot_be_read_is_named_and_tried_again(
    netns: MakeNetns, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fails = RequestSocket.ask, True

    def refuse(self: RequestSocket, request: Callable[[int], bytes]) -> netlink.Dump:
        if fails and struct.unpack_from("=IH", request(1))[1] == rules.RTM_GETRULE:
            raise netlink.NetlinkError(errno.EBUSY, "not now")
        return real(self, request)

    monkeypatch.setattr(RequestSocket, "ask", refuse)
    async with run_probes(NETLINK, namespace=netns().path) as lab:
        assert "not now" in lab.report("netlink").fields["unread"]["rules"]
        assert "Rules" not in only(lab.nodes(Type="host"))
        fails = False
        await lab.until(lambda: "Rules" in only(lab.nodes(Type="host")))
        await lab.until(lambda: "unread" not in lab.report("netlink").fields)


async def test_both_ends_of_a_tunnel_are_joined(netns: MakeNetns, tmp_path: Any) -> None:
    here, there = netns(), netns()
    (tmp_path / there.name).symlink_to(there.path)
    link = f"link add v0 type veth peer name v1 netns {there.name}"
    await here.arun("ip", *link.split())
    for netns_, number, device in ((here, 1, "v0"), (there, 2, "v1")):
        await netns_.arun("ip", "address", "add", f"10.0.0.{number}/24", "dev", device)
        await netns_.arun("ip", "link", "set", device, "up")
        remote = f"link add vx{number} type vxlan id 7 remote 10.0.0.{3 - number} dstport 4789"
        await netns_.arun("ip", *remote.split())
    settings = {**NETLINK, "netns": {"run_path": str(tmp_path)}, "tunnels": {}}

    def tunnels(lab: ProbeLab) -> list[tuple[str, str]]:
        names = {node["@ID"]: node["Name"] for node in lab.nodes()}
        edges = lab.edges(RelationType="layer2", Type="tunnel")
        return [(names[edge["@Parent"]], names[edge["@Child"]]) for edge in edges]

    async with run_probes(settings, namespace=here.path) as lab:
        await lab.until(lambda: tunnels(lab) == [("vx1", "vx2")])
        egress = {(only(lab.nodes(Name=f"vx{n}"))["Tunnel"]["Egress"]) for n in (1, 2)}
        assert egress <= {only(lab.nodes(Name=name))["IfIndex"] for name in ("v0", "v1")}
        await there.arun("ip", "link", "del", "vx2")
        await lab.until(lambda: tunnels(lab) == [])
        with trio.fail_after(5):
            await here.arun("ip", "address", "del", "10.0.0.1/24", "dev", "v0")
        await lab.until(lambda: "Egress" not in only(lab.nodes(Name="vx1"))["Tunnel"])
