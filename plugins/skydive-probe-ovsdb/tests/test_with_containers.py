"""Containers on a bridge of Open vSwitch: four probes over one graph, which never contradict each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from ovs_helpers import both, only, owner

from skycore.testing import ProbeLab, run_probes
from skycore.testing.oci import OciRuntime
from skycore.testing.openvswitch import OpenVSwitch
from skycore.testing.pytest_plugin import require


@pytest.fixture
def runc(ovs: OpenVSwitch) -> Iterator[OciRuntime]:
    require("runc", "busybox")
    with OciRuntime(ovs.host, "runc") as runtime:
        yield runtime


def _probes(ovs: OpenVSwitch) -> dict[str, dict[str, Any]]:
    host = ovs.host
    runc = {"run_path": [host.path("/run/runc")], "proc_path": host.proc_path, "root_path": host.path(""), "check": 0.1}
    return {**both(ovs), "runc": runc}


def _attach(ovs: OpenVSwitch, runc: OciRuntime, name: str) -> None:
    """Give a container a wire to the bridge, and an internal device of it, as ovs-docker and others do."""
    pid, host = str(runc.state(name)["pid"]), ovs.host
    host.run("ip", "link", "add", "out", "type", "veth", "peer", "name", "eth0", "netns", pid)
    ovs.vsctl("add-port", "br0", "out", "--", "set", "interface", "out", f"external_ids:iface-id={name}")
    ovs.vsctl("add-port", "br0", "in", "--", "set", "interface", "in", "type=internal")
    host.run("ip", "link", "set", "in", "netns", pid)
    host.run("ip", "link", "set", "out", "up")
    host.run("nsenter", "-t", pid, "-n", "ip", "link", "set", "eth0", "up")


def _picture(lab: ProbeLab) -> dict[str, Any] | None:
    """What is below the container's namespace, and what the bridge's ports lead to; None while a part is missing."""
    namespaces = lab.nodes(Type="netns")
    ports = {node["Name"]: node["@ID"] for node in lab.nodes(Type="ovsport")}
    devices = {
        node["Name"]: node for node in lab.nodes() if "LinkFlags" in node and node["Name"] in ("out", "in", "eth0")
    }
    if len(namespaces) != 1 or devices.keys() != {"out", "in", "eth0"} or not {"out", "in"} <= ports.keys():
        return None
    edges = {(edge["@Parent"], edge["@Child"]) for edge in lab.edges(RelationType="layer2")}
    either = edges | {(child, parent) for parent, child in edges}
    return {
        "below": {name: owner(lab, node) == namespaces[0]["@ID"] for name, node in devices.items()},
        "types": {name: (node["Type"], "UUID" in node) for name, node in devices.items()},
        "ports": [(ports[name], devices[name]["@ID"]) in edges for name in ("out", "in")],
        "wire": (devices["out"]["@ID"], devices["eth0"]["@ID"]) in either,
        "external": devices["out"].get("ExtID"),
        "container": {owner(lab, node) == namespaces[0]["@ID"] for node in lab.nodes(Type="container")},
    }


WHOLE = {
    "below": {"out": False, "in": True, "eth0": True},
    "types": {"out": ("veth", True), "in": ("internal", True), "eth0": ("veth", False)},
    "ports": [True, True],
    "wire": True,
    "external": {"iface-id": "web"},
    "container": {True},
}


@pytest.mark.parametrize("first", ["probes", "container"])
async def test_a_container_on_a_bridge(ovs: OpenVSwitch, runc: OciRuntime, first: str) -> None:
    ovs.bridge("br0")
    await runc.arun("web")
    if first == "container":
        await trio.to_thread.run_sync(_attach, ovs, runc, "web")
    async with run_probes(_probes(ovs), namespace=ovs.host.netns_path) as lab:
        if first == "probes":
            await trio.to_thread.run_sync(_attach, ovs, runc, "web")
        await lab.until(lambda: _picture(lab) == WHOLE, seconds=10)
        assert not lab.graph.conflicts

        # The container takes its devices along; their rows stay, and are the bridge's.
        await runc.adelete("web")
        await lab.until(lambda: not lab.nodes(Type="netns") and not lab.nodes(Name="eth0"))
        bridge = await only(lab, Type="ovsbridge")
        for name in ("out", "in"):
            await lab.until(
                lambda name=name: (
                    [  # type: ignore[misc]
                        (owner(lab, node) == bridge["@ID"], "LinkFlags" in node)
                        for node in lab.nodes(Name=name)
                        if node["Type"] != "ovsport"
                    ]
                    == [(True, False)]
                )
            )
        assert not lab.graph.conflicts
        assert not [report for report in lab.host.reports() if report.restarts]
