"""Kinds of links that only Debian's kernel has; run inside the guest by test_in_guest.py."""

from __future__ import annotations

import base64
import json
import os
import random
import sys
from collections.abc import Callable
from typing import Any

import netlink_commands as commands
import netlink_sequences as sequences
import trio
from netlink_compare import all_differences
from pyroute2.netlink.generic.wireguard import WireGuard

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import NamedNetns

MakeNetns = Callable[[], NamedNetns]
NETLINK = {"netlink": {"metrics_update": 0.5}}


async def arrange(netns: NamedNetns, *lines: str, program: str = "ip") -> None:
    for line in lines:
        await netns.arun(program, *line.split())


async def agree(lab: ProbeLab, netns: NamedNetns) -> None:
    """Wait until the graph says what ip says."""
    found: list[str] = []
    for _ in range(30):
        found = await trio.to_thread.run_sync(all_differences, lab, [netns.name], netns.name)
        if not found:
            return
        await trio.sleep(0.2)
    raise AssertionError("\n".join(found))


def only(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    (node,) = nodes
    return node


def layer2(lab: ProbeLab) -> set[tuple[str, str, str]]:
    names = {node["@ID"]: node["Name"] for node in lab.nodes()}
    edges = lab.edges(RelationType="layer2")
    return {(names[edge["@Parent"]], names[edge["@Child"]], edge.get("Type", "")) for edge in edges}


async def test_every_kind_with_its_data_and_edges(netns: MakeNetns) -> None:
    here = netns()
    await arrange(
        here,
        "link add d0 type dummy",
        "link add d1 type dummy",
        "link add d2 type dummy",
        "link set d0 up",
        "address add 10.0.0.1/24 dev d0",
        "address add fd00::1/64 dev d0 nodad",
        "link add vlan7 link d0 type vlan id 7 protocol 802.1ad gvrp on",
        "link add ipv link d1 type ipvlan mode l3 vepa",
        "link add mac link d2 type macvlan mode vepa",
        "link add gre1 type gre remote 10.0.0.2 local 10.0.0.1 ikey 5 okey 6 ttl 9",
        "link add gtap type gretap remote 10.0.0.3 local 10.0.0.1 key 77",
        "link add er type erspan remote 10.0.0.3 local 10.0.0.1 seq key 102 erspan_ver 1 erspan 123",
        "link add ipip1 type ipip remote 10.0.0.4 dev d0",
        "link add sit1 type sit remote 10.0.0.5 local 10.0.0.1",
        "link add six type ip6tnl remote fd00::2 local fd00::1",
        "link add gre6 type ip6gre remote fd00::2 local fd00::1 key 9",
        "link add vti1 type vti remote 10.0.0.6 local 10.0.0.1 key 5",
        "link add gen type geneve id 77 remote 10.0.0.9 ttl 4",
        "link add vrf7 type vrf table 77",
        "link add xf type xfrm dev d0 if_id 7",
        "link add team0 type team",
        "link set d1 master vrf7",
    )
    async with run_probes(NETLINK, namespace=here.path, started=60) as lab:
        await agree(lab, here)
        edges = {
            ("d0", "vlan7", "vlan"),
            ("d1", "ipv", "ipvlan"),
            ("d2", "mac", "macvlan"),
            ("d0", "gre1", "gre"),
            ("d0", "gtap", "gretap"),
            ("d0", "ipip1", "ipip"),
            ("d0", "sit1", "sit"),
            ("d0", "six", "ip6tnl"),
            ("d0", "gre6", "ip6gre"),
            ("d0", "vti1", "vti"),
            ("d0", "gen", "geneve"),
            ("d0", "xf", "xfrm"),
            ("vrf7", "d1", ""),
        }
        assert edges <= layer2(lab)
        assert only(lab.nodes(Name="er"))["Tunnel"]["ErspanIndex"] == 123
        assert only(lab.nodes(Name="gen"))["Tunnel"]["Source"] == "10.0.0.1"
        assert only(lab.nodes(Name="team0"))["Type"] == "team"
        index = only(lab.nodes(Name="d0"))["IfIndex"]
        assert only(lab.nodes(Name="vlan7"))["ParentIndex"] == index


async def test_bonds_and_the_release_of_a_slave(netns: MakeNetns) -> None:
    here = netns()
    await arrange(
        here,
        "link add bond0 type bond mode active-backup miimon 100 fail_over_mac active",
        "link add s0 type dummy",
        "link add s1 type dummy",
        "link set s0 master bond0",
        "link set s1 master bond0",
        "link set bond0 up",
    )
    async with run_probes(NETLINK, namespace=here.path, started=60) as lab:
        await agree(lab, here)
        await lab.until(lambda: "ActiveSlave" in only(lab.nodes(Name="bond0"))["Bond"], 10)
        slave = only(lab.nodes(Name="s0"))["BondSlave"]
        assert only(lab.nodes(Name="bond0"))["BondMode"] == "active-backup"
        assert slave["Type"] == "bond"
        assert slave["State"] in {"ACTIVE", "BACKUP"}
        assert layer2(lab) >= {("bond0", "s0", ""), ("bond0", "s1", "")}
        await arrange(here, "link set s0 nomaster")
        await lab.until(lambda: ("bond0", "s0", "") not in layer2(lab), 10)
        await agree(lab, here)
        assert not {"BondSlave", "MasterIndex"} & only(lab.nodes(Name="s0")).keys()
        assert ("bond0", "s1", "") in layer2(lab)


async def test_vlans_of_bridge_ports(netns: MakeNetns) -> None:
    here = netns()
    await arrange(
        here, "link add br0 type bridge vlan_filtering 1", "link add p0 type dummy", "link set p0 master br0 up"
    )
    async with run_probes(NETLINK, namespace=here.path, started=60) as lab:
        await agree(lab, here)
        assert only(lab.nodes(Name="p0"))["BridgeVlans"] == [{"ID": 1, "PVID": True, "Untagged": True}]
        await arrange(here, "vlan add dev p0 vid 10-20", "vlan del dev p0 vid 1", program="bridge")
        await lab.until(lambda: only(lab.nodes(Name="p0")).get("BridgeVlans") == [{"ID": 10, "End": 20}], 10)
        await agree(lab, here)
        await arrange(here, "vlan del dev p0 vid 10-20", program="bridge")
        await lab.until(lambda: "BridgeVlans" not in only(lab.nodes(Name="p0")), 10)


async def test_disciplines_and_classes_of_traffic_control(netns: MakeNetns) -> None:
    here = netns()
    root = "qdisc add dev d%d root handle 1:"
    await arrange(here, *(f"link add d{number} type dummy" for number in range(10)))
    await arrange(
        here,
        f"{root % 0} fq_codel limit 500 flows 64 target 7ms interval 90ms quantum 900 ce_threshold 2ms",
        f"{root % 1} netem delay 30ms 4ms loss 3% duplicate 2% reorder 5% gap 3 rate 8mbit limit 99",
        "qdisc add dev d2 root handle 1: prio bands 4 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 3",
        "qdisc add dev d2 parent 1:1 handle 10: sfq perturb 9 quantum 2000",
        program="tc",
    )
    async with run_probes(NETLINK, namespace=here.path, started=60) as lab:
        await agree(lab, here)
        # Of what follows tc cannot tell in JSON that is any.
        await arrange(
            here,
            "qdisc add dev d3 root handle 1: hfsc default 2",
            "class add dev d3 parent 1: classid 1:2 hfsc sc m1 4mbit d 10ms m2 2mbit ul rate 8mbit",
            "qdisc add dev d4 root handle 1: drr",
            "class add dev d4 parent 1: classid 1:7 drr quantum 1700",
            "qdisc add dev d5 root handle 1: cake bandwidth 16mbit rtt 40ms nat wash",
            "qdisc add dev d6 root handle 1: fq limit 800 flow_limit 90 quantum 3000",
            "qdisc add dev d7 root handle 1: red limit 60000 min 5000 max 15000 avpkt 1000 bandwidth 8mbit",
            "qdisc add dev d8 root handle 1: codel limit 77 target 6ms interval 80ms ecn",
            "qdisc add dev d9 root handle 1: pie limit 88 target 11ms tupdate 12ms",
            program="tc",
        )
        await lab.until(lambda: "Qdiscs" in only(lab.nodes(Name="d9")), 20)
        shown = {
            name: node["Qdiscs"][0]["Options"]
            for name in (f"d{number}" for number in range(10))
            if "Options" in (node := only(lab.nodes(Name=name)))["Qdiscs"][0]
        }
        classes = {name: only(lab.nodes(Name=name))["Classes"] for name in ("d3", "d4")}
    codel = shown["d0"]
    # The kernel keeps these in units of 1.024 us.
    assert abs(codel.pop("Target") - 7000) <= 2
    assert abs(codel.pop("Interval") - 90000) <= 2
    assert abs(codel.pop("CEThreshold") - 2000) <= 2
    assert codel.pop("MemoryLimit") > 0
    assert codel == {"Limit": 500, "Flows": 64, "Quantum": 900, "DropBatch": 64, "ECN": True}
    shares = {"Loss": 0.03, "Duplicate": 0.02, "Reorder": 0.05}
    assert shown["d1"] == {"Delay": 30_000, "Jitter": 4000, "Gap": 3, "Rate": 1_000_000, "Limit": 99, **shares}
    assert shown["d2"] == {"Bands": 4, "PriorityMap": [1, 2, 2, 2, 1, 2, 0, 0, 1, 1, 1, 1, 1, 1, 1, 3]}
    assert shown["d3"] == {"Default": "0x2"}
    curve = {"Rate": 250_000, "FirstRate": 500_000, "FirstTime": 10_000}
    assert classes["d3"] == [
        {
            "Kind": "hfsc",
            "Handle": "1:2",
            "Parent": "1:",
            "Options": {"RealTime": curve, "LinkShare": curve, "UpperLimit": {"Rate": 1_000_000}},
        }
    ]
    assert classes["d4"] == [{"Kind": "drr", "Handle": "1:7", "Parent": "root", "Options": {"Quantum": 1700}}]
    cake = {key: shown["d5"][key] for key in ("Bandwidth", "RTT", "NAT", "Wash")}
    assert cake == {"Bandwidth": 2_000_000, "RTT": 40_000, "NAT": True, "Wash": True}
    assert {key: shown["d6"][key] for key in ("Limit", "FlowLimit", "Quantum")} == {
        "Limit": 800,
        "FlowLimit": 90,
        "Quantum": 3000,
    }
    assert shown["d7"] == {"Limit": 60_000, "Min": 5000, "Max": 15_000}
    assert shown["d8"]["Limit"] == 77
    assert shown["d8"]["ECN"]
    assert shown["d9"]["Limit"] == 88


async def test_a_team_its_options_and_its_ports(netns: MakeNetns) -> None:
    here, other = netns(), netns()
    await arrange(
        here,
        "link add t0 type team",
        "link add v0 type veth peer name w0",
        "link add v1 type veth peer name w1",
        f"link set w1 netns {other.name}",
        "link set w0 up",
    )
    await here.arun("teamnl", "t0", "setoption", "mode", "activebackup")
    await arrange(here, "link set v0 master t0", "link set v1 master t0", "link set v0 up", "link set t0 up")
    await here.arun("teamnl", "-p", "v0", "t0", "setoption", "priority", "7")
    async with run_probes(NETLINK, namespace=here.path, started=60) as lab:
        await agree(lab, here)
        await lab.until(lambda: only(lab.nodes(Name="v0")).get("TeamPort", {}).get("LinkUp"), 10)
        team, first, second = (only(lab.nodes(Name=name)) for name in ("t0", "v0", "v1"))
        assert team["Team"]["Mode"] == "activebackup"
        assert first["TeamPort"]["Priority"] == 7
        assert first["TeamPort"]["Speed"] == 10_000
        assert first["TeamPort"]["Duplex"] == "full"
        assert second["TeamPort"]["LinkUp"] is False
        assert await told_by_teamnl(here, "t0", "v0") == {
            key: first["TeamPort"][key] for key in ("Enabled", "Priority", "QueueID")
        }
        assert ("t0", "v0", "") in layer2(lab)
        await here.arun("teamnl", "t0", "setoption", "activeport", str(first["IfIndex"]))
        await lab.until(lambda: only(lab.nodes(Name="t0"))["Team"].get("ActivePort") == first["IfIndex"], 10)
        await arrange(here, "link set v0 nomaster")
        await lab.until(lambda: "TeamPort" not in only(lab.nodes(Name="v0")), 10)


async def told_by_teamnl(netns: NamedNetns, team: str, port: str) -> dict[str, Any]:
    found = {}
    for key, option in (("Enabled", "enabled"), ("Priority", "priority"), ("QueueID", "queue_id")):
        told = (await netns.arun("teamnl", "-p", port, team, "getoption", option)).strip()
        found[key] = {"true": True, "false": False}[told] if told in {"true", "false"} else int(told)
    return found


# pyroute2 opens its socket where the process is, so one is started inside.
_MAKE = """
import base64, os
from pyroute2.netlink.generic.wireguard import WireGuard
wireguard = WireGuard()
wireguard.set("wg0", private_key=base64.b64encode(os.urandom(32)).decode(), listen_port=5555)
print(wireguard.info("wg0")[0].get_attr("WGDEVICE_A_PUBLIC_KEY").decode())
"""
_PEER = """
import sys
from pyroute2.netlink.generic.wireguard import WireGuard
key, address = sys.argv[1:]
peer = {"public_key": key, "endpoint_addr": address, "endpoint_port": 5555, "allowed_ips": ["10.7.0.0/24"]}
WireGuard().set("wg0", peer=peer)
"""
_SEND = """
import socket
# Nobody listens there, which the other end says.
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(bytes(100), ("10.7.0.2", 9999))
"""
_COUNTED = """
import json
from pyroute2.netlink.generic.wireguard import WireGuard
(peer,) = WireGuard().info("wg0")[0].get_attr("WGDEVICE_A_PEERS")
time = peer.get_attr("WGPEER_A_LAST_HANDSHAKE_TIME")
handshake = time["tv_sec"] * 1000 + time["tv_nsec"] // 1_000_000
bytes = {"RxBytes": peer.get_attr("WGPEER_A_RX_BYTES"), "TxBytes": peer.get_attr("WGPEER_A_TX_BYTES")}
print(json.dumps({**bytes, "LastHandshake": handshake}))
"""


async def test_bytes_and_handshakes_of_wireguard_are_metrics(netns: MakeNetns) -> None:
    here, other = netns(), netns()
    await arrange(here, "link add v0 type veth peer name v1", f"link set v1 netns {other.name}")
    public = []
    for place, inside, name in ((1, here, "v0"), (2, other, "v1")):
        await arrange(inside, f"address add 10.0.0.{place}/24 dev {name}", f"link set {name} up")
        await arrange(inside, "link add wg0 type wireguard", f"address add 10.7.0.{place}/24 dev wg0")
        public.append((await inside.arun(sys.executable, "-c", _MAKE)).strip())
    await here.arun(sys.executable, "-c", _PEER, public[1], "10.0.0.2")
    await other.arun(sys.executable, "-c", _PEER, public[0], "10.0.0.1")
    await arrange(here, "link set wg0 up")
    await arrange(other, "link set wg0 up")
    async with run_probes(NETLINK, namespace=here.path, started=60) as lab:
        await lab.until(lambda: "Wireguard" in only(lab.nodes(Name="wg0")), 20)
        before = only(lab.nodes(Name="wg0"))["Wireguard"]
        for _ in range(3):
            await here.arun(sys.executable, "-c", _SEND)
        await lab.until(lambda: only(lab.nodes(Name="wg0")).get("Metric", {}).get("Peers"), 20)
        told = json.loads(await here.arun(sys.executable, "-c", _COUNTED))
        await lab.until(lambda: only(lab.nodes(Name="wg0")).get("Metric", {}).get("Peers") == {public[1]: told}, 20)
        node = only(lab.nodes(Name="wg0"))
        assert told["RxBytes"] > 3 * 64
        assert abs(told["LastHandshake"] - node["Metric"]["Last"]) < 60_000
        # What is counted stands nowhere else, so that the revisions it makes are those of metrics.
        assert node["Wireguard"] == before


def _set_wireguard(private: str, psk: str, peer: str) -> None:
    wireguard = WireGuard()
    settings = {"public_key": peer, "endpoint_addr": "10.9.9.9", "endpoint_port": 51820, "preshared_key": psk}
    allowed = {"allowed_ips": ["10.7.0.0/16", "fd07::/64"], "persistent_keepalive": 25}
    wireguard.set("wg0", private_key=private, listen_port=5555, fwmark=7, peer={**settings, **allowed})
    wireguard.close()


async def test_wireguard_peers_without_secrets() -> None:
    # In the namespace of the process, as that is where pyroute2 sets WireGuard up.
    private, psk, peer = (base64.b64encode(os.urandom(32)).decode() for _ in range(3))
    async with run_probes({"netlink": {"metrics_update": 0.5}}, started=60) as lab:
        done = await trio.run_process(["ip", "link", "add", "wg0", "type", "wireguard"])
        assert done.returncode == 0
        await trio.to_thread.run_sync(_set_wireguard, private, psk, peer)
        await lab.until(
            lambda: [n for n in lab.nodes(Name="wg0") if "Wireguard" in n and "Peers" in n["Wireguard"]], 20
        )
        node = only(lab.nodes(Name="wg0"))
        assert node["Wireguard"]["ListenPort"] == 5555
        assert node["Wireguard"]["FwMark"] == 7
        assert len(node["Wireguard"]["PublicKey"]) == 44
        assert node["Wireguard"]["Peers"] == [
            {
                "PublicKey": peer,
                "Endpoint": "10.9.9.9:51820",
                "Keepalive": 25,
                "AllowedIPs": ["10.7.0.0/16", "fd07::/64"],
            }
        ]
        everything = repr(lab.nodes())
        assert private not in everything
        assert psk not in everything
        await trio.run_process(["ip", "link", "del", "wg0"])
        await lab.until(lambda: not lab.nodes(Name="wg0"), 10)


async def test_random_sequences_over_all_kinds() -> None:
    dice = random.Random(2026)
    numbers = [dice.randrange(2**32) for _ in range(24)]
    await sequences.check(numbers, commands.EVERYWHERE, patience=20, count=2)
