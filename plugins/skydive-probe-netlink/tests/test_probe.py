"""The probe over the real kernel; ``ip`` and pyroute2 are the witnesses."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from pyroute2 import NetNS
from skydive_probe_netlink import NetlinkProbe
from skydive_probe_netlink.socket import RequestSocket

from skycore.plugin import netlink
from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import NamedNetns

MakeNetns = Callable[[], NamedNetns]
NETLINK = {"netlink": {"metrics_update": 0}}
STATES = {"LOWERLAYERDOWN": "LOWER-LAYER-DOWN", "NOTPRESENT": "NOT-PRESENT"}


def batch(netns: NamedNetns, *lines: str) -> None:
    """Run many ``ip`` commands in one process."""
    descriptor = os.memfd_create("batch")
    try:
        os.write(descriptor, "\n".join(lines).encode("utf-8", "surrogateescape"))
        netns.run("ip", "-batch", f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


async def abatch(netns: NamedNetns, *lines: str) -> None:
    await trio.to_thread.run_sync(lambda: batch(netns, *lines))


def as_ip_tells(netns: NamedNetns) -> dict[str, dict[str, Any]]:
    """Metadata of every interface by name, made from what iproute2 and pyroute2 print."""
    addresses = {entry["ifindex"]: entry["addr_info"] for entry in json.loads(netns.run("ip", "-j", "address"))}
    links = json.loads(netns.run("ip", "-j", "-d", "link"))
    indexes = {link["ifname"]: link["ifindex"] for link in links}
    with NetNS(netns.name, flags=0) as witness:
        flags = {link["index"]: link["flags"] for link in witness.get_links()}
    told = {}
    for link in links:
        kind = link.get("linkinfo", {}).get("info_kind")
        lower = link.get("link_index") or indexes.get(link.get("link", ""))
        index = link["ifindex"]
        bits = {"UP": 1, "BROADCAST": 2, "LOOPBACK": 8, "POINTTOPOINT": 16, "MULTICAST": 4096}
        metadata = {
            "Name": link["ifname"],
            "Type": {None: "device", "tun": "tuntap"}.get(kind, kind),
            "EncapType": link["link_type"],
            "IfIndex": index,
            "MTU": link["mtu"],
            "MAC": link["address"] if link.get("address", "").strip("0:") else None,
            "State": STATES.get(link["operstate"], link["operstate"]),
            "LinkFlags": [name for name, bit in bits.items() if flags[index] & bit],
            "MasterIndex": indexes.get(link.get("master", "")),
            "ParentIndex": lower,
            "PeerIfIndex": lower if kind == "veth" else None,
            "LinkNetNsID": link.get("link_netnsid"),
            "IPV4": [f"{a['local']}/{a['prefixlen']}" for a in addresses[index] if a["family"] == "inet"] or None,
            "IPV6": [f"{a['local']}/{a['prefixlen']}" for a in addresses[index] if a["family"] == "inet6"] or None,
        }
        told[link["ifname"]] = {key: value for key, value in metadata.items() if value is not None}
    return told


_COMPARED = frozenset(
    {"Name", "Type", "EncapType", "IfIndex", "MTU", "MAC", "State", "LinkFlags", "IPV4", "IPV6"}
    | {"MasterIndex", "ParentIndex", "PeerIfIndex", "LinkNetNsID"}
)


def as_lab_tells(lab: ProbeLab) -> dict[str, dict[str, Any]]:
    return {
        node["Name"]: {key: value for key, value in node.items() if key in _COMPARED}
        for node in lab.nodes()
        if "IfIndex" in node
    }


async def until_as_ip_tells(lab: ProbeLab, netns: NamedNetns, seconds: float = 5.0) -> dict[str, dict[str, Any]]:
    """Wait until the graph shows what ``ip`` shows; the failing comparison says what differs."""
    expected = {}
    with trio.move_on_after(seconds):
        while True:
            expected = await trio.to_thread.run_sync(as_ip_tells, netns)
            if as_lab_tells(lab) == expected:
                return expected
            await trio.sleep(0.05)
    assert as_lab_tells(lab) == expected
    return expected


def layer2(lab: ProbeLab) -> set[tuple[str, str, str]]:
    """(parent, child, Type) of each layer2 edge, by names."""
    names = {node["@ID"]: node["Name"] for node in lab.nodes()}
    edges = lab.edges(RelationType="layer2")
    found = [(names[edge["@Parent"]], names[edge["@Child"]], edge.get("Type", "")) for edge in edges]
    assert len(found) == len(set(found))
    return set(found)


def only(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    (node,) = nodes
    return node


async def test_every_kind_of_link_as_ip_tells_it(netns: MakeNetns) -> None:
    here = netns()
    await abatch(
        here,
        "link add br0 type bridge",
        "link add v0 type veth peer name v1",
        "link set v0 master br0",
        "link set v0 up",
        "link add mac0 link v1 type macvlan mode bridge",
        "link add vx0 type vxlan id 42 dev v1 dstport 4789",
        "link add vx1 type vxlan id 43 remote 10.9.9.9 dstport 4790",
        "link add ifb7 type ifb",
        "tuntap add tap0 mode tap",
        "tuntap add tun0 mode tun",
        "link set lo up",
        "link set br0 up mtu 1400",
        "link set tun0 up",
        "address add 10.0.0.1/24 dev br0",
        "address add 10.0.0.2/24 dev br0",
        "address add 10.1.0.1 peer 10.1.0.2/32 dev tun0",
        "address add fd00::1/64 dev br0 nodad",
    )
    async with run_probes(NETLINK, namespace=here.path) as lab:
        told = await until_as_ip_tells(lab, here)
        assert len(told) == 10
        assert told["lo"]["LinkFlags"] == ["UP", "LOOPBACK"]
        assert told["br0"]["IPV4"] == ["10.0.0.1/24", "10.0.0.2/24"]
        pair = sorted(("v0", "v1"), key=lambda name: told[name]["IfIndex"])
        assert layer2(lab) == {
            ("br0", "v0", ""),
            (*pair, "veth"),
            ("v1", "mac0", "macvlan"),
            ("v1", "vx0", "vxlan"),
        }
        root = only(lab.nodes(Type="host"))["@ID"]
        owned = {edge["@Child"] for edge in lab.edges(RelationType="ownership") if edge["@Parent"] == root}
        assert owned == {node["@ID"] for node in lab.nodes() if "IfIndex" in node}
        drivers = {node["Name"]: node["Driver"] for node in lab.nodes() if "IfIndex" in node}
    for name, driver in drivers.items():
        printed = await trio.to_thread.run_sync(ethtool_driver, here, name)
        assert (name, driver) == (name, printed)


def ethtool_driver(netns: NamedNetns, name: str) -> str:
    """What ethtool prints as the driver; "" when the interface has none."""
    printed = netns.run("sh", "-c", f"ethtool -i {name} 2>/dev/null || true")
    return next((line.removeprefix("driver: ") for line in printed.splitlines() if line.startswith("driver: ")), "")


async def test_changes_are_followed_and_keys_vanish(netns: MakeNetns) -> None:
    here = netns()
    await abatch(here, "link add br0 type bridge", "link add v0 type veth peer name v1")
    async with run_probes(NETLINK, namespace=here.path) as lab:
        before = only(lab.nodes(Name="v0"))
        await abatch(
            here, "link set v0 master br0", "link set v0 up", "link set v1 up", "address add 10.0.0.1/8 dev v0"
        )
        await until_as_ip_tells(lab, here)
        assert ("br0", "v0", "") in layer2(lab)
        assert "MasterIndex" in only(lab.nodes(Name="v0"))

        await abatch(here, "link set v0 nomaster", "address del 10.0.0.1/8 dev v0", "link set v0 mtu 1300")
        await until_as_ip_tells(lab, here)
        after = only(lab.nodes(Name="v0"))
        assert not {"MasterIndex", "IPV4"} & after.keys()
        assert ("br0", "v0", "") not in layer2(lab)

        await abatch(here, "link set v0 down", "link set v0 name renamed")
        await until_as_ip_tells(lab, here)
        renamed = only(lab.nodes(Name="renamed"))
        assert renamed["@ID"] == before["@ID"]
        assert renamed["TID"] != before["TID"]

        await abatch(here, "link del br0", "link del v1")
        assert set(await until_as_ip_tells(lab, here)) == {"lo"}
        assert len(lab.edges()) == 1


async def test_the_same_index_made_anew_is_the_same_element_only_by_its_index(netns: MakeNetns) -> None:
    here = netns()
    await abatch(here, "link add ia index 7 type bridge")
    async with run_probes(NETLINK, namespace=here.path) as lab:
        before = only(lab.nodes(Name="ia"))
        await abatch(
            here, "link set ia name ib", "address add 10.0.0.1/8 dev ib", "link del ib", "link add ic index 7 type ifb"
        )
        await until_as_ip_tells(lab, here)
        after = only(lab.nodes(Name="ic"))
        assert (after["@ID"], after["Driver"], after["Type"]) == (before["@ID"], "ifb", "ifb")


async def test_odd_names_are_text(netns: MakeNetns) -> None:
    here = netns()
    await here.arun("ip", "link", "add", "odd\udcff\x07é", "type", "bridge")
    async with run_probes(NETLINK, namespace=here.path) as lab:
        node = only(lab.nodes(Type="bridge"))
        assert node["Name"] == "odd\\xff\x07é"
        assert node["Driver"] == "bridge"


async def test_bursts_end_as_the_kernel_does(netns: MakeNetns) -> None:
    here = netns()
    made = [f"link add v{i} type veth peer name w{i}" for i in range(80)]
    async with run_probes(NETLINK, namespace=here.path) as lab:
        await abatch(here, *made, *(f"link set w{i} name x{i}" for i in range(0, 80, 3)))
        await abatch(here, *(f"link del v{i}" for i in range(0, 80, 2)))
        await until_as_ip_tells(lab, here)
        assert len(layer2(lab)) == 40
        assert lab.report("netlink").fields["overruns"] == 0


async def test_what_comes_during_the_inventory_is_not_missed(netns: MakeNetns) -> None:
    here = netns()
    batch(here, *(f"link add v{i} type veth peer name w{i}" for i in range(60)))
    changes = [f"link {change}" for i in range(60) for change in (f"del v{i}", f"add n{i} type bridge")]
    done = trio.Event()

    async def change() -> None:
        await abatch(here, *changes)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        while not await here.arun("ip", "-br", "link", "show", "type", "bridge"):
            pass
        async with run_probes(NETLINK, namespace=here.path) as lab:
            assert not done.is_set()
            await done.wait()
            await until_as_ip_tells(lab, here)
            assert len(lab.nodes(Type="bridge")) == 60


async def test_lost_changes_lead_to_a_new_inventory(netns: MakeNetns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skydive_probe_netlink.probe.EVENTS", 1024)
    here = netns()
    async with run_probes(NETLINK, namespace=here.path) as lab:
        bridge = await lab.until(lambda: lab.nodes(Name="lo"))
        # One blocking call: the loop cannot read while the kernel writes more than the buffer holds.
        batch(here, *(f"link add b{i} type bridge" for i in range(20)), "link del b3")
        await until_as_ip_tells(lab, here)
        assert len(lab.nodes(Type="bridge")) == 19
        assert lab.report("netlink").fields["overruns"] >= 1
        assert lab.report("netlink").restarts == 0
        assert only(lab.nodes(Name="lo"))["@Revision"] == only(bridge)["@Revision"]


async def test_an_inventory_that_is_interrupted_again_and_again_still_shows(
    netns: MakeNetns, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, dumps = RequestSocket.dump, 0

    async def interrupted(self: RequestSocket, request: Callable[[int], bytes]) -> netlink.Dump:
        nonlocal dumps
        dumps += 1
        # Each try is two dumps; the first inventory has four tries.
        return attrs.evolve(await real(self, request), interrupted=dumps <= 10)

    monkeypatch.setattr(RequestSocket, "dump", interrupted)
    monkeypatch.setattr("skydive_probe_netlink.follow._INVENTORY_RETRY", 0.3)
    monkeypatch.setattr("skydive_probe_netlink.follow._INVENTORY_PAUSE", 0.01)
    here = netns()
    async with run_probes(NETLINK, namespace=here.path) as lab:
        assert dumps == 8
        await here.arun("ip", "link", "add", "b0", "type", "bridge")
        await until_as_ip_tells(lab, here)
        await lab.until(lambda: lab.report("netlink").fields["inventories"] == 2)
        assert dumps == 12
        await until_as_ip_tells(lab, here)


async def test_counters_are_sampled(netns: MakeNetns) -> None:
    here = netns()
    await abatch(here, "link set lo up", "link add b0 type bridge")
    async with run_probes({"netlink": {"metrics_update": 0.1}}, namespace=here.path) as lab:
        assert "Metric" not in only(lab.nodes(Name="b0"))
        await here.arun("python3", "-c", "import socket; socket.socket(2, 2).sendto(bytes(100), ('127.0.0.1', 9))")
        await lab.until(lambda: "Metric" in only(lab.nodes(Name="lo")))
        first = only(lab.nodes(Name="lo"))["Metric"]
        await here.arun("python3", "-c", "import socket; socket.socket(2, 2).sendto(bytes(100), ('127.0.0.1', 9))")
        await lab.until(lambda: only(lab.nodes(Name="lo"))["Metric"]["TxPackets"] > first["TxPackets"])
        node = only(lab.nodes(Name="lo"))
        assert node["LastUpdateMetric"]["TxBytes"] == node["Metric"]["TxBytes"] - first["TxBytes"]
        assert first["Last"] <= node["LastUpdateMetric"]["Start"] < node["LastUpdateMetric"]["Last"]
        (shown,) = json.loads(await here.arun("ip", "-j", "-s", "link", "show", "lo"))
        assert node["Metric"]["TxBytes"] == shown["stats64"]["tx"]["bytes"]
        assert "Metric" not in only(lab.nodes(Name="b0"))


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_wrong_settings_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="metrics_update"):
        NetlinkProbe.Settings(metrics_update=value)


async def test_ports_of_ovs_system_have_no_master_edge(netns: MakeNetns) -> None:
    here = netns()
    await abatch(here, "link add ovs-system type bridge", "link add i0 type ifb", "link set i0 master ovs-system")
    async with run_probes(NETLINK, namespace=here.path) as lab:
        assert "MasterIndex" in only(lab.nodes(Name="i0"))
        assert layer2(lab) == set()


# Across namespaces: a directory of links to namespaces stands for /run/netns, so that nobody else's are seen.


def name_in(directory: Path, netns: NamedNetns) -> None:
    (directory / netns.name).symlink_to(netns.path)


def settings(directory: Path) -> dict[str, dict[str, Any]]:
    return {**NETLINK, "netns": {"run_path": str(directory)}}


def veth_ends(lab: ProbeLab) -> list[set[str]]:
    names = {node["@ID"]: node["Name"] for node in lab.nodes()}
    return [{names[edge["@Parent"]], names[edge["@Child"]]} for edge in lab.edges(RelationType="layer2", Type="veth")]


def is_in(lab: ProbeLab, name: str, netns: NamedNetns) -> bool:
    """Whether there is one interface of this name, and it is in this namespace."""
    names = {node["@ID"]: node["Name"] for node in lab.nodes()}
    owners = [names[e["@Parent"]] for e in lab.edges(RelationType="ownership") if names[e["@Child"]] == name]
    return owners == [netns.name]


@pytest.mark.parametrize("named", ["before", "after"])
async def test_veth_peers_in_two_namespaces(netns: MakeNetns, tmp_path: Path, named: str) -> None:
    here, there, other = netns(), netns(), netns()
    # Equal ifindexes, and a third namespace with the same one: only the number of the namespace tells them apart.
    await here.arun(
        "ip", "link", "add", "va", "index", "7", "type", "veth", "peer", "name", "vb", "netns", there.name, "index", "7"
    )
    await other.arun("ip", "link", "add", "vc", "index", "7", "type", "veth", "peer", "name", "vd", "index", "8")
    if named == "before":
        name_in(tmp_path, there)
        name_in(tmp_path, other)
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        if named == "after":
            name_in(tmp_path, other)
            name_in(tmp_path, there)
        await lab.until(lambda: sorted(veth_ends(lab), key=sorted) == [{"va", "vb"}, {"vc", "vd"}])
        await lab.until(lambda: "PeerIfIndex" in only(lab.nodes(Name="vb")))
        assert {only(lab.nodes(Name=name))["PeerIfIndex"] for name in ("va", "vb")} == {7}


async def test_veth_between_two_named_namespaces(netns: MakeNetns, tmp_path: Path) -> None:
    here, one, two = netns(), netns(), netns()
    name_in(tmp_path, one)
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        await one.arun("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb", "netns", two.name)
        await lab.until(lambda: lab.nodes(Name="va"))
        name_in(tmp_path, two)
        await lab.until(lambda: veth_ends(lab) == [{"va", "vb"}])


async def test_a_veth_that_moves_takes_its_edge_along(netns: MakeNetns, tmp_path: Path) -> None:
    here, home, one, two = netns(), netns(), netns(), netns()
    for named in (home, one, two):
        name_in(tmp_path, named)
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        await home.arun("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb")
        await lab.until(lambda: veth_ends(lab) == [{"va", "vb"}])
        for place, target in ((home, one), (one, two), (two, home), (home, two)):
            await place.arun("ip", "link", "set", "vb", "netns", target.name)
            await lab.until(partial(is_in, lab, "vb", target))
            await lab.until(lambda: veth_ends(lab) == [{"va", "vb"}])
        (tmp_path / two.name).unlink()
        two.delete()
        await lab.until(lambda: not lab.nodes(Name="va"))
        assert lab.edges(RelationType="layer2") == []


async def test_a_move_that_the_kernel_does_not_announce_is_seen_at_the_next_sample(
    netns: MakeNetns, tmp_path: Path
) -> None:
    here, one, two = netns(), netns(), netns()
    await here.arun("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb", "netns", one.name)
    async with run_probes({"netlink": {"metrics_update": 0.2}}, namespace=here.path) as lab:
        before = only(lab.nodes(Name="va"))
        await one.arun("ip", "link", "set", "vb", "index", "77", "netns", two.name)
        await lab.until(lambda: only(lab.nodes(Name="va"))["PeerIfIndex"] == 77)
        assert only(lab.nodes(Name="va"))["LinkNetNsID"] != before["LinkNetNsID"]


async def test_a_macvlan_in_another_namespace_hangs_under_its_lower_device(netns: MakeNetns, tmp_path: Path) -> None:
    here, one, two = netns(), netns(), netns()
    name_in(tmp_path, one)
    name_in(tmp_path, two)
    await abatch(one, "link add low type ifb", "link add up0 link low type macvlan")
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        await lab.until(lambda: layer2(lab) == {("low", "up0", "macvlan")})
        await one.arun("ip", "link", "set", "up0", "netns", two.name)
        await lab.until(lambda: any("LinkNetNsID" in node for node in lab.nodes(Name="up0")))
        await lab.until(lambda: layer2(lab) == {("low", "up0", "macvlan")})


AGENT = """
import sys, trio
from skycore.testing import run_probes

async def main():
    async with run_probes({"netlink": {}, "netns": {"run_path": sys.argv[1]}}) as lab:
        await lab.until(lambda: lab.edges(RelationType="layer2", Type="macvlan"))

trio.run(main)
"""


async def test_the_lower_device_may_be_in_the_agents_own_namespace(netns: MakeNetns, tmp_path: Path) -> None:
    here, there = netns(), netns()
    name_in(tmp_path, there)
    await abatch(here, "link add low type ifb", f"link add up0 link low netns {there.name} type macvlan")
    # A process of its own, as only a process has a namespace of its own.
    await here.arun(sys.executable, "-c", AGENT, str(tmp_path))


async def test_a_number_given_to_another_namespace_means_that_one(netns: MakeNetns, tmp_path: Path) -> None:
    here, one, two = netns(), netns(), netns()
    name_in(tmp_path, one)
    name_in(tmp_path, two)
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        peer = ("type", "veth", "peer", "name", "vb", "index", "9", "netns")
        await here.arun("ip", "link", "add", "va", *peer, one.name)
        await lab.until(lambda: veth_ends(lab) == [{"va", "vb"}])
        number = only(lab.nodes(Name="va"))["LinkNetNsID"]
        (tmp_path / one.name).unlink()
        one.delete()
        await lab.until(lambda: not lab.nodes(Name="va"))
        await here.arun("ip", "link", "add", "va", *peer, two.name)
        await lab.until(lambda: veth_ends(lab) == [{"va", "vb"}])
        assert only(lab.nodes(Name="va"))["LinkNetNsID"] == number
