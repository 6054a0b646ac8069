"""Kinds of links that only Debian's kernel has; run inside the guest by test_in_guest.py."""

from __future__ import annotations

import base64
import os
import random
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
