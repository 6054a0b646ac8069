"""The fabric in a graph, with agents that come and go."""

from __future__ import annotations

from uuid import NAMESPACE_OID, uuid5

import pytest
from skydive_probe_fabric import FabricProbe

from skycore.testing.probes import run_probes

LINES = (
    "TOR[Name=tor] -> TOR_PORT[Name=port1, MTU=1500]",
    "TOR -> [color=red] OTHER",
    "TOR_PORT --> *[Type=host, Name=h1]/eth0",
)


async def test_the_nodes_are_there_as_written() -> None:
    async with run_probes({"fabric": {"links": LINES}}, role="analyzer") as lab:
        await lab.until(lambda: len(lab.nodes(Probe="fabric")) == 3)
        (tor,) = lab.nodes(Name="tor")
        (port,) = lab.nodes(Name="port1")
        id = str(uuid5(NAMESPACE_OID, "fabricTOR"))
        assert (tor["@ID"], tor["TID"], tor["Type"]) == (id, id, "device")
        assert port["MTU"] == "1500"
        edges = {(edge["@Parent"], edge["@Child"], edge["RelationType"], edge.get("color")) for edge in lab.edges()}
        (other,) = lab.nodes(Name="OTHER")
        assert edges == {
            (id, port["@ID"], "ownership", None),
            (id, port["@ID"], "layer2", None),
            (id, other["@ID"], "ownership", None),
            (id, other["@ID"], "layer2", "red"),
        }
        assert {edge["Type"] for edge in lab.edges(RelationType="layer2")} == {"fabric"}


async def test_links_follow_what_agents_find() -> None:
    async with run_probes({"fabric": {"links": LINES}}, role="analyzer") as lab:
        agent = lab.graph.claimant("agent.h1", plugin="agent")
        (port,) = await lab.until(lambda: lab.nodes(Name="port1"))
        for host in ("h1", "h2"):
            agent.put(host, {"Name": host, "Type": "host"})
            agent.put(f"{host}-eth0", {"Name": "eth0", "Type": "device"})
            agent.link(host, f"{host}-eth0", "ownership")
        agent.put("inside", {"Name": "eth0", "Type": "device"})
        agent.put("netns", {"Name": "h1", "Type": "netns"})
        agent.link("netns", "inside", "ownership")

        def linked() -> list[str]:
            return sorted(edge["@Child"] for edge in lab.edges(RelationType="layer2") if edge["@Parent"] == port["@ID"])

        await lab.until(lambda: linked() == ["h1-eth0"])
        agent.put("h1-eth0", {"Name": "eth1", "Type": "device"})
        await lab.until(lambda: linked() == [])
        agent.put("h1-eth1", {"Name": "eth0", "Type": "device"})
        agent.link("h1", "h1-eth1", "ownership")
        await lab.until(lambda: linked() == ["h1-eth1"])
        agent.drop("h1")
        await lab.until(lambda: linked() == [])
        assert lab.report("fabric").fields == {"nodes": 3, "found": 0}


async def test_a_wrong_line_fails_the_probe_alone() -> None:
    with pytest.raises(ValueError, match=r"line 2 of analyzer\.topology\.fabric, 'A => B'"):
        FabricProbe.Settings(links=("A -> B", "A => B"))
    async with run_probes({"fabric": {"links": ["A => B"]}}, role="analyzer") as lab:
        assert lab.report("fabric").state == "failed"
        assert not lab.nodes(Probe="fabric")
