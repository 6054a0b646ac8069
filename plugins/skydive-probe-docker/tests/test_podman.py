"""The probe against podman's service, which speaks Docker's API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import FakeHost
from skycore.testing.podman import Podman
from skycore.testing.pytest_plugin import require


@pytest.fixture(scope="module")
def _module_podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    require("root", "ip", "nsenter", "unshare", "bash", "podman", "runc", "busybox")
    with FakeHost() as host, Podman(host, tmp_path_factory.mktemp("podman") / "log", "runc") as podman:
        yield podman


@pytest.fixture
def podman(_module_podman: Podman) -> Podman:
    """podman without containers."""
    _module_podman.remove_all()
    return _module_podman


def _probes(podman: Podman) -> dict[str, dict[str, Any]]:
    return {
        "docker": {"url": f"unix://{podman.socket}", "proc_path": podman.host.proc_path},
        "runc": {
            "run_path": [podman.host.path("/run/runc")],
            "proc_path": podman.host.proc_path,
            "root_path": podman.host.path(""),
            "check": 0.1,
        },
    }


async def _only(lab: ProbeLab, **wanted: Any) -> dict[str, Any]:
    await lab.until(lambda: len(lab.nodes(Type="container", **wanted)) == 1, seconds=10)
    return lab.nodes(Type="container", **wanted)[0]


async def test_the_life_of_a_container(podman: Podman) -> None:
    settings = {"docker": _probes(podman)["docker"]}
    async with run_probes(settings, namespace=podman.host.netns_path) as lab:
        assert lab.report("docker").fields["podman"].startswith("4.")
        assert lab.report("docker").fields["api"] == "1.41"
        id = await podman.acontainer("web", "--label", "com.example.role=front", "--memory", "64m", "--expose", "80")
        node = await _only(lab, Container__Status="running")
        said, details = podman.inspect("web"), node["Container"]
        assert (node["Name"], details["ID"], details["Runtime"]) == ("web", id, "podman")
        assert details["InitProcessPID"] == said["State"]["Pid"]
        assert details["Labels"] == {"com": {"example": {"role": "front"}}}
        assert details["Resources"]["Memory"] == 64 << 20
        assert details["ImageID"].removeprefix("sha256:") == said["Image"]
        network = said["NetworkSettings"]["Networks"]["podman"]
        (shown,) = details["Networks"]
        assert (shown["MAC"], shown["IPV4"]) == (network["MacAddress"], f"{network['IPAddress']}/16")
        (netns,) = lab.nodes(Type="netns")
        assert netns["Inode"] == os.stat(f"{podman.host.proc_path}/{said['State']['Pid']}/ns/net").st_ino

        await podman.apodman("pause", "web")
        await _only(lab, Container__Status="paused")
        await podman.apodman("unpause", "web")
        await _only(lab, Container__Status="running")
        await podman.apodman("rename", "web", "shop")
        assert (await _only(lab, Name="shop"))["@ID"] == node["@ID"]
        await podman.acontainer("sidecar", "--network", "container:shop")
        await _only(lab, Name="sidecar")
        assert len(lab.nodes(Type="netns")) == 1
        await podman.apodman("rm", "--force", "--time", "0", "sidecar")
        await podman.apodman("rm", "--force", "--time", "0", "shop")
        await lab.until(lambda: not lab.nodes(Type="container") and not lab.nodes(Type="netns"))


@pytest.mark.parametrize("first", ["docker", "runc"])
async def test_one_container_known_by_its_socket_and_by_its_state(podman: Podman, first: str) -> None:
    """The node is one, the socket's word counts, and there is no conflict, whoever comes first."""
    id = await podman.acontainer("web", "--network", "none")
    probes = _probes(podman)
    order = {first: probes[first], **probes}
    async with run_probes(order, namespace=podman.host.netns_path) as lab:
        node = await _only(lab)
        await lab.until(lambda: lab.graph.nodes[node["@ID"]].owners == ("docker", "runc"))
        node = await _only(lab)
        assert (node["Name"], node["Manager"]) == ("web", "docker")
        assert (node["Container"]["ID"], node["Container"]["Runtime"]) == (id, "podman")
        (netns,) = lab.nodes(Type="netns")
        assert (netns["Name"], netns["Manager"], netns["Runtime"]) == ("web", "docker", "runc")
        assert not lab.graph.conflicts

        # Without the service the state folder still vouches for the container.
        await trio.to_thread.run_sync(podman.stop_service)
        await lab.until(lambda: (lab.graph.origin, "docker") in lab.graph.stale)
        await podman.apodman("pause", "web")
        await trio.to_thread.run_sync(podman.start_service)
        await _only(lab, Container__Status="paused")
        await podman.apodman("unpause", "web")
        await podman.apodman("rm", "--force", "--time", "0", "web")
        await lab.until(lambda: not lab.nodes(Type="container") and not lab.nodes(Type="netns"))
