"""The probe with a real Open vSwitch and its userspace datapath, alone and beside netlink."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from ovs_helpers import both, linked, only, owner, settings

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import FakeHost
from skycore.testing.openvswitch import OpenVSwitch


async def test_a_bridge_with_its_ports(ovs: OpenVSwitch) -> None:
    async with run_probes({"ovsdb": settings(ovs)}, namespace=ovs.host.netns_path) as lab:
        assert not lab.nodes(Type="ovsbridge")
        await trio.to_thread.run_sync(lambda: ovs.bridge("br0", "external_ids:a.b=1"))
        bridge = await only(lab, Type="ovsbridge", Name="br0", ExtID__a__b="1")
        port = await only(lab, Type="ovsport", Name="br0")
        internal = await only(lab, Type="internal", Name="br0", OfPort=65534)
        host = lab.nodes(Type="host")[0]
        assert owner(lab, bridge) == host["@ID"]
        assert owner(lab, port) == bridge["@ID"]
        # Nothing but the database has told of it: it is the bridge's.
        assert owner(lab, internal) == bridge["@ID"]
        assert linked(lab, bridge, port, "layer2")
        assert linked(lab, port, internal, "layer2")
        assert bridge["UUID"] == await ovs.avsctl("get", "bridge", "br0", "_uuid")

        await ovs.avsctl("remove", "bridge", "br0", "external_ids", "a.b")
        await lab.until(lambda: "ExtID" not in lab.nodes(Type="ovsbridge")[0])
        await ovs.avsctl("del-br", "br0")
        await lab.until(lambda: len(lab.graph.nodes) == 1 and not lab.graph.edges)


async def test_vlans_bonds_mirrors_and_queues(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0")
    for name in ("i0", "i1", "i2", "i3"):
        ovs.vsctl("add-port", "br0", name, "--", "set", "interface", name, "type=internal")
    async with run_probes({"ovsdb": settings(ovs)}, namespace=ovs.host.netns_path) as lab:

        async def port(name: str, **metadata: Any) -> dict[str, Any]:
            return await only(lab, Type="ovsport", Name=name, **metadata)

        await ovs.avsctl("set", "port", "i0", "tag=5")
        assert "Trunks" not in (await port("i0", Vlans=5))["Ovs"]
        await ovs.avsctl("set", "port", "i0", "trunks=7,9", "vlan_mode=native-tagged")
        assert (await port("i0", Ovs__VLANMode="native-tagged"))["Vlans"] == [5, 7, 9]
        await ovs.avsctl("clear", "port", "i0", "tag")
        await lab.until(lambda: lab.nodes(Type="ovsport", Name="i0")[0]["Vlans"] == [7, 9])
        await ovs.avsctl("clear", "port", "i0", "trunks", "--", "clear", "port", "i0", "vlan_mode")
        await lab.until(lambda: not {"Vlans", "Ovs"} & lab.nodes(Type="ovsport", Name="i0")[0].keys())

        for name in ("v0", "v1"):
            await ovs.host.arun("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p")
        try:
            await ovs.avsctl("add-bond", "br0", "bond0", "v0", "v1", "lacp=active", "bond_mode=balance-tcp")
            bond = await port("bond0", BondMode="balance-tcp", LACP="active")
            for name in ("v0", "v1"):
                assert linked(lab, bond, await only(lab, Name=name), "layer2")

            await ovs.avsctl(
                "--", "--id=@o", "get", "port", "i1", "--", "--id=@s", "get", "port", "i2", "--", "--id=@m", "create",
                "mirror", "name=m", "output_port=@o", "select_src_port=@s", "--", "set", "bridge", "br0", "mirrors=@m",
            )  # fmt: skip
            output, source = await port("i1"), await port("i2")
            await lab.until(lambda: linked(lab, output, source, "mirroring"))
            mirror = lab.nodes(Type="ovsbridge")[0]["Ovs"]["Mirrors"]
            assert mirror == [{"Name": "m", "Output": ["i1"], "Sources": ["i2"]}]
            await ovs.avsctl("clear", "bridge", "br0", "mirrors")
            await lab.until(lambda: not lab.edges(RelationType="mirroring"))

            await ovs.avsctl(
                "--", "set", "port", "i3", "qos=@q", "--", "--id=@q", "create", "qos", "type=linux-htb", "queues:3=@u",
                "--", "--id=@u", "create", "queue", "other-config:max-rate=1000",
            )  # fmt: skip
            shaped = (await port("i3", Ovs__QoS__Type="linux-htb"))["Ovs"]["QoS"]
            assert shaped["Queues"] == [{"ID": 3, "OtherConfig": {"max-rate": "1000"}}]
            queue = (await ovs.avsctl("--bare", "--columns=_uuid", "list", "queue")).strip()
            await ovs.avsctl("set", "queue", queue, "other-config:max-rate=2000")
            await lab.until(
                lambda: (
                    lab.nodes(Type="ovsport", Name="i3")[0]["Ovs"]["QoS"]["Queues"][0]["OtherConfig"]
                    == {"max-rate": "2000"}
                )
            )

            await ovs.avsctl("set-controller", "br0", "tcp:127.0.0.1:20000")
            await lab.until(lambda: lab.nodes(Type="ovsbridge")[0]["Ovs"].get("Controllers"))
            (controller,) = lab.nodes(Type="ovsbridge")[0]["Ovs"]["Controllers"]
            assert controller["Target"] == "tcp:127.0.0.1:20000"
        finally:
            for name in ("v0", "v1"):
                await ovs.host.arun("ip", "link", "delete", name)


async def test_patches_are_joined_when_each_names_the_other(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0")
    ovs.bridge("br1")
    async with run_probes({"ovsdb": settings(ovs)}, namespace=ovs.host.netns_path) as lab:

        def patches() -> int:
            return len(lab.edges(RelationType="layer2", Type="patch"))

        await ovs.avsctl("add-port", "br0", "a", "--", "set", "interface", "a", "type=patch", "options:peer=b")
        await only(lab, Name="a", Type="patch")
        assert patches() == 0
        await ovs.avsctl("add-port", "br1", "b", "--", "set", "interface", "b", "type=patch", "options:peer=a")
        await lab.until(lambda: patches() == 1)
        await ovs.avsctl("set", "interface", "b", "options:peer=c")
        await lab.until(lambda: patches() == 0)
        await ovs.avsctl("set", "interface", "b", "options:peer=a")
        await lab.until(lambda: patches() == 1)
        await ovs.avsctl("del-port", "a")
        await lab.until(lambda: patches() == 0 and not lab.nodes(Name="a"))


@pytest.mark.parametrize("first", ["ovsdb", "netlink"])
async def test_one_node_for_row_and_device_in_either_order(ovs: OpenVSwitch, first: str) -> None:
    """The same node, and the same content, whichever tells first."""
    host = ovs.host
    await host.arun("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v0p")
    ovs.bridge("br0")
    if first == "ovsdb":
        # The row is there before its device.
        await host.arun("ip", "link", "delete", "v0")
        ovs.vsctl("--no-wait", "add-port", "br0", "v0", "external_ids:x=1")
    try:
        async with run_probes(both(ovs), namespace=host.netns_path) as lab:
            if first == "ovsdb":
                row = await _interface(lab, "v0")
                assert owner(lab, row) == lab.nodes(Type="ovsbridge")[0]["@ID"]
                await host.arun("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v0p")
            else:
                await only(lab, Name="v0", Type="veth")
                await ovs.avsctl("add-port", "br0", "v0", "external_ids:x=1")
            node = (await lab.until(lambda: [n for n in lab.nodes(Name="v0", Type="veth") if n.get("OfPort", -1) > 0]))[
                0
            ]
            assert node["LinkFlags"] is not None
            assert owner(lab, node) == lab.nodes(Type="host")[0]["@ID"]
            assert len([one for one in lab.nodes(Name="v0") if one["Type"] != "ovsport"]) == 1
            port = lab.nodes(Name="v0", Type="ovsport")[0]
            assert linked(lab, port, node, "layer2")

            (internal,) = await lab.until(
                lambda: [node for node in lab.nodes(Name="br0", Type="internal") if "LinkFlags" in node]
            )
            assert internal["Driver"] == "openvswitch"
            assert internal["EncapType"] == "ether"
            assert owner(lab, internal) == lab.nodes(Type="host")[0]["@ID"]
            assert not lab.graph.conflicts
            switch = lab.nodes(Name="ovs-netdev")[0]
            assert "InterfaceTypes" in switch["Ovs"]

            await ovs.avsctl("del-port", "v0")
            await lab.until(lambda: not {"UUID", "OfPort", "Ovs"} & lab.nodes(Name="v0")[0].keys())
            assert lab.nodes(Name="v0")[0]["@ID"] == node["@ID"]
    finally:
        await host.arun("ip", "link", "delete", "v0")


async def _interface(lab: ProbeLab, name: str) -> dict[str, Any]:
    """The node of an Interface row, as the database alone knows it."""

    def found() -> list[dict[str, Any]]:
        return [node for node in lab.nodes(Name=name) if node.get("Type") not in ("ovsport", "ovsbridge")]

    return (await lab.until(found))[0]


async def test_a_device_that_goes_and_comes_back(ovs: OpenVSwitch) -> None:
    host = ovs.host
    ovs.bridge("br0")
    async with run_probes(both(ovs), namespace=host.netns_path) as lab:
        await host.arun("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v0p")
        await ovs.avsctl("add-port", "br0", "v0")
        await lab.until(lambda: [node for node in lab.nodes(Name="v0", Type="veth") if "UUID" in node])
        await host.arun("ip", "link", "delete", "v0")
        # Open vSwitch's own word for such an interface.
        left = await only(lab, Name="v0", Type="system")
        assert "LinkFlags" not in left
        assert owner(lab, left) == lab.nodes(Type="ovsbridge")[0]["@ID"]
        await host.arun("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v0p")
        await lab.until(lambda: [node for node in lab.nodes(Name="v0", Type="veth") if node.get("OfPort", -1) > 0])
        assert len([node for node in lab.nodes(Name="v0") if node["Type"] != "ovsport"]) == 1
        await host.arun("ip", "link", "delete", "v0")


async def test_an_interface_that_becomes_of_another_type(ovs: OpenVSwitch) -> None:
    """An internal device is the kernel's too, a patch is not; so the row's node goes there and comes back."""
    ovs.bridge("br0")
    async with run_probes(both(ovs), namespace=ovs.host.netns_path) as lab:
        bridge = await only(lab, Type="ovsbridge")

        async def becomes(type: str, *options: str) -> dict[str, Any]:
            await ovs.avsctl("set", "interface", "i0", f"type={type}", *options)
            in_kernel = type == "internal"
            await lab.until(
                lambda: (
                    [
                        (node["Type"], "LinkFlags" in node, (owner(lab, node) == bridge["@ID"]), node.get("RemoteIP"))
                        for node in lab.nodes(Name="i0")
                        if node["Type"] != "ovsport"
                    ]
                    == [(type, in_kernel, not in_kernel, "10.0.0.9" if type in ("vxlan", "geneve") else None)]
                )
            )
            return await _interface(lab, "i0")

        await ovs.avsctl("add-port", "br0", "i0", "--", "set", "interface", "i0", "type=internal")
        first = await becomes("internal")
        patch = await becomes("patch", "options:peer=i1")
        again = await becomes("internal", "options={}")
        assert first["UUID"] == patch["UUID"] == again["UUID"]
        assert "Options" not in again.get("Ovs", {})
        await ovs.avsctl("del-port", "i0")
        await lab.until(lambda: not lab.nodes(Name="i0"))

        # Only from one tunnel to another: Open vSwitch 3.1.0 may abort otherwise.
        await ovs.avsctl("add-port", "br0", "i0", "--", "set", "interface", "i0", "type=gre")
        vxlan = await becomes("vxlan", "options:remote_ip=10.0.0.9")
        geneve = await becomes("geneve")
        assert vxlan["@ID"] == geneve["@ID"]
        assert lab.report("ovsdb").restarts == 0


async def test_an_internal_device_in_another_namespace(ovs: OpenVSwitch) -> None:
    host = ovs.host
    ovs.bridge("br0")
    await host.arun("ip", "netns", "add", "vm")
    try:
        async with run_probes(both(ovs), namespace=host.netns_path) as lab:
            await ovs.avsctl("add-port", "br0", "i0", "--", "set", "interface", "i0", "type=internal")
            before = (await lab.until(lambda: [n for n in lab.nodes(Name="i0", Type="internal") if "LinkFlags" in n]))[
                0
            ]
            await host.arun("ip", "link", "set", "i0", "netns", "vm")
            netns = await only(lab, Type="netns", Name="vm")
            moved = (
                await lab.until(
                    lambda: [
                        node
                        for node in lab.nodes(Name="i0", Type="internal")
                        if "LinkFlags" in node and node["@ID"] != before["@ID"]
                    ]
                )
            )[0]
            assert moved["UUID"] == before["UUID"]
            assert owner(lab, moved) == netns["@ID"]
            assert len(lab.nodes(Name="i0", Type="internal")) == 1
    finally:
        await host.arun("ip", "netns", "delete", "vm")


async def test_traffic_over_patch_and_vxlan_ports_counts(
    fake_hosts: Callable[[int], list[FakeHost]], tmp_path: Path
) -> None:
    """Two switches, a tunnel between them, and in the first a patch between the tunnel's bridge and a second one."""
    switches = [OpenVSwitch(host, tmp_path / f"{number}.log") for number, host in enumerate(fake_hosts(2), 1)]
    for number, switch in enumerate(switches, 1):
        host = switch.host
        switch.bridge("phy")
        host.run("ethtool", "-K", "eth0", "tx", "off")
        switch.vsctl("add-port", "phy", "eth0")
        host.run("ip", "address", "flush", "dev", "eth0")
        host.run("ip", "address", "add", f"10.200.0.{number}/24", "dev", "phy")
        host.run("ip", "link", "set", "phy", "up")
        switch.bridge("br0")
        remote = f"options:remote_ip=10.200.0.{3 - number}"
        switch.vsctl("add-port", "br0", "vx0", "--", "set", "interface", "vx0", "type=vxlan", remote, "options:key=42")
        switch.vsctl("set", "open_vswitch", ".", "other_config:stats-update-interval=1000")
    first, second = switches
    first.bridge("br1")
    first.vsctl("add-port", "br0", "a", "--", "set", "interface", "a", "type=patch", "options:peer=b")
    first.vsctl("add-port", "br1", "b", "--", "set", "interface", "b", "type=patch", "options:peer=a")
    for switch, device, address in ((first, "br1", "10.9.0.1/24"), (second, "br0", "10.9.0.2/24")):
        switch.host.run("ip", "address", "add", address, "dev", device)
        switch.host.run("ip", "link", "set", device, "up")
    probes = both(first) | {"ovsdb": settings(first, enable_stats=True)}
    async with run_probes(probes, namespace=first.host.netns_path) as lab:
        tunnel = await only(lab, Name="vx0", Type="vxlan")
        assert tunnel["RemoteIP"] == "10.200.0.2"
        await first.host.arun("busybox", "ping", "-A", "-c", "20", "-W", "5", "10.9.0.2")

        def counted(name: str) -> int:
            metric = lab.nodes(Name=name, Driver="openvswitch")[0].get("Ovs", {}).get("Metric", {})
            return int(min(metric.get("RxPackets", 0), metric.get("TxPackets", 0)))

        await lab.until(lambda: min(counted("vx0"), counted("a"), counted("b")) >= 20, 20)
        await first.host.arun("busybox", "ping", "-A", "-c", "10", "-W", "5", "10.9.0.2")
        await lab.until(lambda: lab.nodes(Name="vx0", Type="vxlan")[0]["Ovs"].get("LastUpdateMetric"), 20)
        update = lab.nodes(Name="vx0", Type="vxlan")[0]["Ovs"]["LastUpdateMetric"]
        assert update["TxPackets"] > 0
        assert update["Start"] < update["Last"]
        assert update["TxBytes"] >= 64 * update["TxPackets"]

        egress = await only(lab, Name="phy", Type="internal")
        await lab.until(lambda: lab.nodes(Name="vx0", Type="vxlan")[0].get("TunEgressIface") == "phy")
        # The address of the way out comes by netlink, and is looked for within some seconds.
        await lab.until(lambda: lab.nodes(Name="vx0", Type="vxlan")[0].get("Tunnel", {}).get("LowEnds"), 20)
        assert lab.nodes(Name="vx0", Type="vxlan")[0]["Tunnel"]["LowEnds"] == ["vxlan/42///10.200.0.1/10.200.0.2"]
        assert linked(lab, egress, tunnel, "layer2")


async def test_a_device_of_another_host_is_not_taken_for_the_rows(ovs: OpenVSwitch, fake_host: FakeHost) -> None:
    """The agent looks at one host, the database is that of another: name and index may be the same by chance."""
    ovs.bridge("br0")
    ovs.host.run("ip", "link", "add", "v0", "index", "77", "type", "veth", "peer", "name", "v0p")
    ovs.vsctl("add-port", "br0", "v0")
    fake_host.run("ip", "link", "add", "v0", "index", "77", "type", "veth", "peer", "name", "v0p")
    try:
        probes = {"ovsdb": settings(ovs), "netlink": {"metrics_update": 0}}
        async with run_probes(probes, namespace=fake_host.netns_path) as lab:
            await lab.until(
                lambda: lab.nodes(Name="v0", Type="veth") and lab.nodes(Name="v0", Type="system", IfIndex=77)
            )
            with trio.move_on_after(0.3):
                await lab.until(lambda: [node for node in lab.nodes(Name="v0", Type="veth") if "UUID" in node])
                raise AssertionError("the row was shown as another host's device")
    finally:
        ovs.host.run("ip", "link", "delete", "v0")
