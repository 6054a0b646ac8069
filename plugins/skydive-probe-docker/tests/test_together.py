"""docker, netns and netlink over one graph: who owns what, in either order of appearance."""

from __future__ import annotations

import os
from typing import Any

import trio

from skycore.testing import ProbeLab, run_probes
from skycore.testing.dockerd import Dockerd


def _probes(dockerd: Dockerd) -> dict[str, dict[str, Any]]:
    """All three look into the fake host from outside."""
    host = dockerd.host
    return {
        "netlink": {"metrics_update": 0},
        "netns": {"run_path": host.path("/run/netns")},
        "docker": {
            "url": f"unix://{dockerd.socket}",
            "proc_path": host.proc_path,
            "netns": {"run_path": host.path("/run/docker/netns")},
        },
    }


def _owned(lab: ProbeLab, owner: str) -> dict[str, dict[str, Any]]:
    """The nodes below a node, by name."""
    children = {edge["@Child"] for edge in lab.edges(RelationType="ownership") if edge["@Parent"] == owner}
    return {node["Name"]: node for node in lab.nodes() if node["@ID"] in children}


def _layer2(lab: ProbeLab, first: str, second: str) -> bool:
    return any({edge["@Parent"], edge["@Child"]} == {first, second} for edge in lab.edges(RelationType="layer2"))


def _content(lab: ProbeLab, node: dict[str, Any]) -> dict[str, Any]:
    """What there is to say of a namespace: its metadata, its owners, and the IDs of the edges at it."""
    (fresh,) = (one for one in lab.nodes() if one["@ID"] == node["@ID"])
    edges = sorted(edge["@ID"] for edge in lab.edges() if node["@ID"] in (edge["@Parent"], edge["@Child"]))
    owners = lab.graph.nodes[node["@ID"]].owners
    return {**{key: value for key, value in fresh.items() if key != "@Revision"}, "@owners": owners, "@edges": edges}


async def test_a_container_joins_a_second_network_and_shares_its_namespace(dockerd: Dockerd) -> None:
    async with run_probes(_probes(dockerd), namespace=dockerd.host.netns_path) as lab:
        await dockerd.acontainer("web")
        netns = (await lab.until(lambda: lab.nodes(Type="netns", Name="web")))[0]
        await lab.until(lambda: {"web", "lo", "eth0"} <= _owned(lab, netns["@ID"]).keys())
        await dockerd.adocker("network", "create", "second")
        await dockerd.adocker("network", "connect", "second", "web")
        await lab.until(lambda: "eth1" in _owned(lab, netns["@ID"]))
        await dockerd.acontainer("sidecar", "--network", "container:web")
        await lab.until(lambda: "sidecar" in _owned(lab, netns["@ID"]))
        below = _owned(lab, netns["@ID"])
        assert set(below) == {"web", "sidecar", "lo", "eth0", "eth1"}
        (host,) = lab.nodes(Type="host")

        def peers() -> bool:
            outside = [node["@ID"] for node in _owned(lab, host["@ID"]).values() if node["Type"] == "veth"]
            return all(any(_layer2(lab, below[name]["@ID"], id) for id in outside) for name in ("eth0", "eth1"))

        await lab.until(peers)
        assert lab.graph.nodes[netns["@ID"]].owners == ("docker",)
        assert not lab.graph.conflicts

        await dockerd.adocker("rm", "--force", "web", "sidecar")
        await lab.until(lambda: not lab.nodes(Type="netns") and not lab.nodes(Name="eth0"))
        assert not [report for report in lab.host.reports() if report.state == "crashed"]


async def test_a_namespace_that_netns_sees_too_is_one_node_in_either_order(dockerd: Dockerd) -> None:
    await dockerd.acontainer("web")
    pid = await dockerd.adocker("inspect", "--format", "{{.State.Pid}}", "web")
    path = dockerd.host.path("/run/netns/attached")

    def settled(lab: ProbeLab) -> list[dict[str, Any]]:
        """The node, when both own it and netlink has filled it."""
        return [
            _content(lab, node)
            for node in lab.nodes(Type="netns", Name="web", Path=path)
            if lab.graph.nodes[node["@ID"]].owners == ("docker", "netns")
            and {"web", "lo", "eth0"} == _owned(lab, node["@ID"]).keys()
        ]

    async with run_probes(_probes(dockerd), namespace=dockerd.host.netns_path) as lab:
        (docker_only,) = await lab.until(lambda: lab.nodes(Type="netns", Name="web", Manager="docker"))
        assert docker_only["Path"] != path
        await dockerd.host.arun("ip", "netns", "attach", "attached", pid)
        (docker_first,) = await lab.until(lambda: settled(lab))
        assert not lab.graph.conflicts

    await trio.to_thread.run_sync(dockerd.kill9)
    async with run_probes(_probes(dockerd), namespace=dockerd.host.netns_path, started=1) as lab:
        (netns_only,) = await lab.until(lambda: lab.nodes(Type="netns"))
        assert netns_only["Name"] == "attached"
        assert "Manager" not in netns_only
        await trio.to_thread.run_sync(dockerd.restart)
        (netns_first,) = await lab.until(lambda: settled(lab), seconds=10)
        assert not lab.graph.conflicts
        assert netns_first == docker_first
        assert netns_first["Manager"] == "docker"

        interfaces = {node["@ID"] for node in _owned(lab, netns_first["@ID"]).values() if node["Name"] != "web"}
        await dockerd.adocker("rm", "--force", "web")
        await lab.until(lambda: lab.nodes(Type="netns", Name="attached"))
        left = lab.nodes(Type="netns")[0]
        assert left["@ID"] == netns_first["@ID"]
        assert lab.graph.nodes[left["@ID"]].owners == ("netns",)
        # The sub-probe is held by netns too: it goes on when docker lets go.
        assert "lo" in _owned(lab, left["@ID"])
        assert _owned(lab, left["@ID"])["lo"]["@ID"] in interfaces
        await dockerd.host.arun("ip", "netns", "delete", "attached")
        await lab.until(lambda: not lab.nodes(Type="netns") and not (interfaces & lab.graph.nodes.keys()))


async def test_a_namespace_goes_with_its_container_though_docker_leaves_its_file(dockerd: Dockerd) -> None:
    """Docker unmounts the namespace at once, and removes the file that it was mounted on within a minute."""
    folder = dockerd.host.path("/run/docker/netns")
    probes = {**_probes(dockerd), "netns": {"run_path": folder}}
    async with run_probes(probes, namespace=dockerd.host.netns_path) as lab:
        for number in range(1, 4):
            await dockerd.acontainer(f"c{number}", "--network", "none")
        await lab.until(
            lambda: (
                [lab.graph.nodes[node["@ID"]].owners for node in lab.nodes(Type="netns")] == [("docker", "netns")] * 3
            )
        )
        files = set(os.listdir(folder))
        await dockerd.adocker("rm", "--force", "c1", "c2")
        await lab.until(lambda: [node["Name"] for node in lab.nodes(Type="netns")] == ["c3"])
        await lab.until(lambda: len(lab.nodes(Name="lo")) == 2)
        assert set(os.listdir(folder)) == files, "the files were to be there still"
        assert not lab.graph.conflicts
