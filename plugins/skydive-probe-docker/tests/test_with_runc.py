"""docker, runc, netns and netlink over one graph: one node for one thing, and the same whoever comes first."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import docker_witness
import pytest
import trio

from skycore.testing import ProbeLab, run_probes
from skycore.testing.dockerd import Dockerd

_STEADY = ("@Revision", "Metric", "LastUpdateMetric", "FDB", "Neighbors", "RoutingTables")


def _probes(dockerd: Dockerd) -> dict[str, dict[str, Any]]:
    """All look into the fake host from outside; runc at docker's own state folder, netns at docker's namespaces."""
    host = dockerd.host
    return {
        "docker": docker_witness.settings(dockerd, stopped=False),
        "runc": {
            "run_path": [host.path("/run/docker/runtime-runc/moby")],
            "proc_path": host.proc_path,
            "root_path": host.path(""),
            "check": 0.1,
        },
        "netns": {"run_path": host.path("/run/docker/netns")},
        "netlink": {"metrics_update": 0},
    }


def _picture(lab: ProbeLab) -> dict[str, Any]:
    """Containers and namespaces with their owners, and who is below whom."""
    edges = {(edge["@Parent"], edge["@Child"]) for edge in lab.edges(RelationType="ownership")}
    nodes = [*lab.nodes(Type="container"), *lab.nodes(Type="netns")]
    return {
        node["@ID"]: {
            **{key: value for key, value in node.items() if key not in _STEADY},
            "@owners": lab.graph.nodes[node["@ID"]].owners,
            "@above": sorted(parent for parent, child in edges if child == node["@ID"]),
        }
        for node in nodes
    }


def _complete(lab: ProbeLab) -> bool:
    containers, namespaces = lab.nodes(Type="container"), lab.nodes(Type="netns")
    owned = [lab.graph.nodes[node["@ID"]].owners for node in (*containers, *namespaces)]
    wanted = [("docker", "runc")] * 3 + [("docker", "netns", "runc")] * 2
    return sorted(owned) == sorted(wanted)


async def test_whoever_comes_first_the_picture_is_the_same(dockerd: Dockerd) -> None:
    await dockerd.acontainer("web", "--label", "com.example.role=front")
    await dockerd.acontainer("sidecar", "--network", "container:web")
    await dockerd.acontainer("lonely", "--network", "none")
    probes, pictures = _probes(dockerd), []
    for first, second, third in permutations(("docker", "runc", "netns")):
        order = {name: probes[name] for name in (first, second, third, "netlink")}
        async with run_probes(order, namespace=dockerd.host.netns_path) as lab:
            await lab.until(lambda lab=lab: _complete(lab), seconds=10)  # type: ignore[misc]
            assert not lab.graph.conflicts
            pictures.append(_picture(lab))
    assert all(picture == pictures[0] for picture in pictures)
    names = {node["Name"]: node for node in pictures[0].values() if node["Type"] == "container"}
    assert names.keys() == {"web", "sidecar", "lonely"}
    assert {(node["Manager"], node["Container"]["Runtime"]) for node in names.values()} == {("docker", "docker")}
    namespaces = {node["Name"]: node for node in pictures[0].values() if node["Type"] == "netns"}
    assert namespaces.keys() == {"web", "lonely"}
    assert {node["Runtime"] for node in namespaces.values()} == {"runc"}
    assert names["sidecar"]["@above"] == names["web"]["@above"] == [namespaces["web"]["@ID"]]


@pytest.mark.parametrize("late", ["docker", "runc"])
async def test_who_comes_late_adds_its_word_and_who_goes_takes_it_back(dockerd: Dockerd, late: str) -> None:
    """Containers appear one by one while both run; then the daemon dies, and the state folders still tell."""
    probes = _probes(dockerd)
    early = "runc" if late == "docker" else "docker"
    order = {early: probes[early], late: probes[late]}
    async with run_probes(order, namespace=dockerd.host.netns_path) as lab:
        id = await dockerd.acontainer("web")
        await lab.until(lambda: [one.owners for one in lab.graph.nodes.values()].count(("docker", "runc")) == 2)
        (node,) = lab.nodes(Type="container")
        assert (node["Name"], node["Container"]["ID"]) == ("web", id)
        await trio.to_thread.run_sync(dockerd.kill9)
        await lab.until(lambda: (lab.graph.origin, "docker") in lab.graph.stale)
        assert [one["@ID"] for one in lab.nodes(Type="container")] == [node["@ID"]]
        await trio.to_thread.run_sync(dockerd.restart)
        await lab.until(lambda: not lab.graph.stale, seconds=10)
        await dockerd.adocker("pause", "web")
        await lab.until(lambda: lab.nodes(Container__Status="paused"))
        await dockerd.adocker("unpause", "web")
        await dockerd.adocker("rm", "--force", "web")
        await lab.until(lambda: not lab.nodes(Type="container") and not lab.nodes(Type="netns"))
        assert not lab.graph.conflicts


async def test_a_conflict_without_precedence_is_visible(dockerd: Dockerd) -> None:
    """What nobody declared is shown as a conflict: here a stranger says a container's keys as well."""
    settings = {"docker": docker_witness.settings(dockerd, stopped=False)}
    async with run_probes(settings, namespace=dockerd.host.netns_path) as lab:
        await dockerd.acontainer("web")
        (node,) = await lab.until(lambda: lab.nodes(Type="container"))
        stranger = lab.graph.claimant("stranger")
        stranger.put(node["@ID"], {"Name": "mine", "Type": "container"})
        await lab.until(lambda: node["@ID"] in lab.graph.conflicts)
        (conflict,) = lab.graph.conflicts[node["@ID"]]
        assert conflict.key == "Name"
        assert lab.nodes(Type="container")[0]["Name"] == "web"
