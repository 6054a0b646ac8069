"""Pods of Kubernetes, made by containerd's CRI plugin as a kubelet would have it make them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from runc_lab import settings

from skycore.testing import ProbeLab, run_probes
from skycore.testing.containerd import IMAGE, Containerd
from skycore.testing.lab import FakeHost
from skycore.testing.pytest_plugin import require

BRIDGE = "/usr/lib/cni/bridge"


@pytest.fixture
def containerd(fake_host: FakeHost, tmp_path: Path) -> Iterator[Containerd]:
    require("root", "containerd", "ctr", "runc", "busybox", "curl")
    assert Path(BRIDGE).exists(), f"{BRIDGE} is missing; the Debian package containernetworking-plugins brings it"
    with Containerd(fake_host, tmp_path / "log", cri=True) as containerd:
        yield containerd


def _probes(host: FakeHost) -> dict[str, dict[str, Any]]:
    return {"runc": settings(host), "netns": {"run_path": host.path("/run/netns")}, "netlink": {"metrics_update": 0}}


def _container(lab: ProbeLab, id: str) -> dict[str, Any] | None:
    """The node of a container that runs."""
    found = lab.nodes(Type="container", Container__ID=id, Container__Status="running")
    return found[0] if found else None


def _below(lab: ProbeLab, node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    children = {edge["@Child"] for edge in lab.edges(RelationType="ownership") if edge["@Parent"] == node["@ID"]}
    return {child["Name"]: child for child in lab.nodes() if child["@ID"] in children}


async def test_a_pod_and_its_containers(containerd: Containerd) -> None:
    host, cri = containerd.host, containerd.cri
    async with run_probes(_probes(host), namespace=host.netns_path) as lab:
        pod = await trio.to_thread.run_sync(partial(cri.run_pod, "web-0", "shop", uid="5f1c-0a6e"))
        server = await trio.to_thread.run_sync(cri.run, pod, "server")
        side = await trio.to_thread.run_sync(cri.run, pod, "side")
        await lab.until(lambda: all(_container(lab, id) for id in (pod, server, side)), seconds=10)
        told = {"Name": "web-0", "Namespace": "shop", "UID": "5f1c-0a6e", "SandboxID": pod}
        for id, name, kind in ((pod, "", "sandbox"), (server, "server", "container"), (side, "side", "container")):
            details = (_container(lab, id) or {})["Container"]
            assert details["Engine"] == "containerd"
            assert details["Pod"] == {**told, "Kind": kind}
            assert (details.get("Name", ""), details.get("Image", "")) == (name, IMAGE if name else "")

        # One namespace for all, which CNI has given a name in /run/netns.
        (netns,) = lab.nodes(Type="netns")
        assert netns["Name"].startswith("cni-")
        assert lab.graph.nodes[netns["@ID"]].owners == ("netns", "runc")
        await lab.until(lambda: _below(lab, netns).keys() == {pod, server, side, "lo", "eth0"})
        assert not lab.graph.conflicts

        # A kubelet starts an ended container again under another ID.
        await trio.to_thread.run_sync(cri.remove, server)
        again = await trio.to_thread.run_sync(partial(cri.run, pod, "server", attempt=1))
        await lab.until(lambda: _below(lab, netns).keys() == {pod, again, side, "lo", "eth0"}, seconds=10)

        await cri.aremove_pod(pod)
        await lab.until(lambda: not lab.nodes(Type="container") and not lab.nodes(Type="netns"))
        assert not [report for report in lab.host.reports() if report.restarts]


async def test_pods_that_are_there_already_and_one_in_the_hosts_network(containerd: Containerd) -> None:
    host, cri = containerd.host, containerd.cri
    pods = {name: cri.run_pod(name) for name in ("one", "two")}
    pods["agent"] = cri.run_pod("agent", "kube-system", host_network=True)
    inside = {name: cri.run(pod, f"in-{name}") for name, pod in pods.items()}
    async with run_probes(_probes(host), namespace=host.netns_path) as lab:
        assert len(lab.nodes(Type="container")) == 6
        (root,) = lab.nodes(Type="host")
        await lab.until(lambda: {pods["agent"], inside["agent"]} <= _below(lab, root).keys())
        await lab.until(
            lambda: [lab.graph.nodes[one["@ID"]].owners for one in lab.nodes(Type="netns")] == [("netns", "runc")] * 2
        )
        members = [_below(lab, netns).keys() - {"lo", "eth0"} for netns in lab.nodes(Type="netns")]
        assert sorted(map(sorted, members)) == sorted(sorted((pods[name], inside[name])) for name in ("one", "two"))
        assert not lab.graph.conflicts
        for pod in pods.values():
            await cri.aremove_pod(pod)
        await lab.until(lambda: not lab.nodes(Type="container") and not lab.nodes(Type="netns"))
