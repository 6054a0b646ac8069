"""An all-in-one that sees containers by docker's API and by the state folders of runtimes, as a user asks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skycore.client import Client
from skycore.plugin.namespaces import inside
from skycore.testing.containerd import Containerd
from skycore.testing.lab import FakeHost
from skycore.testing.podman import Podman
from tests.system.processes import Process

pytestmark = pytest.mark.needs("root", "podman", "containerd", "ctr", "runc", "busybox")


def test_containers_of_podman_and_containerd_in_one_graph(fake_host: FakeHost, tmp_path: Path) -> None:
    topology = {
        "probes": ["docker", "runc"],
        "docker": {"url": "unix:///run/podman.sock"},
        "runc": {"check": 0.1},
    }
    configuration = {"host_id": "box", "agent": {"topology": topology}}
    with (
        Podman(fake_host, tmp_path / "podman.log", "runc") as podman,
        Containerd(fake_host, tmp_path / "containerd.log") as containerd,
        Process(fake_host, "allinone", tmp_path / "skycore", configuration, address="127.0.0.1:8082") as process,
    ):
        id = podman.container("web", "--label", "com.example.role=front")
        process.start()
        containerd.run("batch", "--label", "role=back")

        def containers() -> dict[str, dict[str, Any]]:
            return {node["Metadata"]["Name"]: node for node in process.query("G.V().Has('Type', 'container')")}

        process.until(lambda: containers().keys() == {"web", "batch"})
        found = containers()
        # Known to both probes; podman's own word counts.
        assert found["web"]["Metadata"]["Container"]["ID"] == id
        assert found["web"]["Metadata"]["Container"]["Runtime"] == "podman"
        assert found["batch"]["Metadata"]["Container"]["Engine"] == "containerd"
        (same,) = process.query("G.V().Has('Container.Labels.com.example.role', 'front')")
        assert same["ID"] == found["web"]["ID"]
        # The veth of podman's bridge, seen by netlink inside the namespace that both probes hold.
        veths = process.query("G.V().Has('Name', 'web', 'Type', 'netns').Out().Has('Type', 'veth')")
        (network,) = found["web"]["Metadata"]["Container"]["Networks"]
        assert [node["Metadata"]["MAC"] for node in veths] == [network["MAC"]]
        agent = inside(fake_host.netns_path, Client("127.0.0.1:8081").status)
        assert agent["Graph"]["Conflicts"] == []
        assert agent["TopologyProbes"]["docker"]["containers"] == 1
        assert agent["TopologyProbes"]["runc"]["containers"] == 2

        podman.podman("rm", "--force", "--time", "0", "web")
        process.until(lambda: containers().keys() == {"batch"})
        containerd.ctr("task", "pause", "batch")
        process.until(lambda: containers()["batch"]["Metadata"]["Container"]["Status"] == "paused")
        containerd.remove("batch")
        process.until(lambda: not process.query("G.V().Has('Type', Within('container', 'netns'))"))
