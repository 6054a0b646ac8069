"""Large numbers, and things that vanish while they are looked at."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from netlink_compare import all_differences

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import NamedNetns, unique_name

MakeNetns = Callable[[], NamedNetns]
NETLINK: dict[str, dict[str, Any]] = {"netlink": {"metrics_update": 0}}


async def batch(netns: NamedNetns, lines: Sequence[str], *, force: bool = False) -> None:
    command = ["ip", "-n", netns.name, *(["-force"] if force else []), "-batch", "-"]
    text = "".join(f"{line}\n" for line in lines).encode()
    await trio.run_process(command, stdin=text, capture_stderr=True, check=not force)


async def agree(lab: ProbeLab, netns: NamedNetns, seconds: float = 20.0) -> None:
    found: list[str] = []
    with trio.move_on_after(seconds):
        while True:
            found = await trio.to_thread.run_sync(all_differences, lab, [netns.name], netns.name)
            if not found:
                return
            await trio.sleep(0.2)
    raise AssertionError("\n".join(found[:20]))


async def test_a_burst_of_two_thousand_pairs(netns: MakeNetns) -> None:
    here = netns()
    async with run_probes(NETLINK, namespace=here.path) as lab:
        await batch(here, [f"link add v{number} type veth peer name w{number}" for number in range(2000)])
        await lab.until(lambda: len(lab.graph.nodes) == 4002, 30)
        await lab.until(lambda: len(lab.edges(RelationType="layer2", Type="veth")) == 2000, 30)
        report = lab.report("netlink")
        assert (report.state, report.restarts) == ("running", 0)
        assert all("PeerIfIndex" in node for node in lab.nodes(Type="veth"))
        here.delete()
        # The probe's sockets keep the namespace; it goes with them.
        assert len(lab.nodes(Type="veth")) == 4000


@contextmanager
def many(count: int) -> Iterator[list[str]]:
    names = [f"{unique_name()}x{number}" for number in range(count)]
    lines = {word: "".join(f"netns {word} {name}\n" for name in names).encode() for word in ("add", "del")}
    try:
        subprocess.run(["ip", "-batch", "-"], input=lines["add"], check=True, timeout=60)
        yield names
    finally:
        subprocess.run(["ip", "-force", "-batch", "-"], input=lines["del"], check=False, timeout=60)


async def test_two_hundred_namespaces(netns: MakeNetns, tmp_path: Path) -> None:
    here = netns()
    with many(200) as names:
        for name in names:
            (tmp_path / name).symlink_to(f"/run/netns/{name}")
        pairs = [f"link add v{n} type veth peer name w netns {name}" for n, name in enumerate(names)]
        await batch(here, pairs)
        settings: dict[str, dict[str, Any]] = {**NETLINK, "netns": {"run_path": str(tmp_path)}}
        async with run_probes(settings, namespace=here.path, started=30) as lab:
            await lab.until(lambda: len(lab.nodes(Type="veth")) == 400, 30)
            await lab.until(lambda: len(lab.edges(RelationType="layer2", Type="veth")) == 200, 30)
            await lab.until(lambda: {n.get("LinkNetNsName") for n in lab.nodes(Name="v7")} == {names[7]}, 10)
            for name in names[::2]:
                (tmp_path / name).unlink()
            await lab.until(lambda: len(lab.nodes(Name="w")) == 100, 30)
            assert all(report.restarts == 0 for report in lab.host.reports())


async def test_namespaces_that_vanish_in_the_middle(netns: MakeNetns, tmp_path: Path) -> None:
    here = netns()
    dice = random.Random(7)
    settings: dict[str, dict[str, Any]] = {"netlink": {"metrics_update": 0.1}, "netns": {"run_path": str(tmp_path)}}
    async with run_probes(settings, namespace=here.path) as lab:
        for _ in range(15):
            one = await trio.to_thread.run_sync(netns)
            (tmp_path / one.name).symlink_to(one.path)
            lines = [f"link add v{number} type veth peer name w{number}" for number in range(dice.randrange(20))]
            await batch(one, lines)
            await trio.sleep(dice.random() * 0.05)
            (tmp_path / one.name).unlink()
            await trio.to_thread.run_sync(one.delete)
        await lab.until(lambda: not lab.nodes(Type="netns") and len(lab.nodes(Name="lo")) == 1, 10)
        await here.arun("ip", "link", "add", "b0", "type", "bridge")
        await lab.until(lambda: lab.nodes(Name="b0"))
        report = lab.report("netlink")
        assert (report.state, report.restarts) == ("running", 0)


async def test_renames_and_reuse_of_indexes_under_load(netns: MakeNetns) -> None:
    here = netns()
    dice = random.Random(11)
    lines: list[str] = []
    for _ in range(600):
        index = dice.randrange(10, 16)
        lines.append(dice.choice([f"link add n{index} index {index} type {dice.choice(['bridge', 'ifb'])}"] * 3))
        lines.append(f"address add 10.0.{index}.{dice.randrange(1, 9)}/24 dev n{index}")
        lines.append(f"link set n{index} {dice.choice(['up', 'down', f'mtu {dice.randrange(1300, 1500)}'])}")
        lines.append(dice.choice([f"link set n{index} name m{index}", f"link del n{index}", f"link del m{index}"]))
    async with run_probes(NETLINK, namespace=here.path) as lab:
        await batch(here, lines, force=True)
        await agree(lab, here)
        assert lab.report("netlink").restarts == 0


async def test_an_unheard_of_kind_is_shown(netns: MakeNetns, monkeypatch: pytest.MonkeyPatch) -> None:
    # As an interface of a kind looks for which the probe has no table.
    monkeypatch.setattr("skydive_probe_netlink.linkdata.KINDS", {})
    here = netns()
    await batch(here, ["link add b0 type bridge", "link set b0 up"])
    async with run_probes(NETLINK, namespace=here.path) as lab:
        (node,) = lab.nodes(Name="b0")
        assert node["Type"] == "bridge"
        assert "Bridge" not in node
        assert node["Qdisc"] == "noqueue"


def test_nobody_has_left_namespaces_behind() -> None:
    mine = f"skt-{os.getpid()}-"
    assert [name for name in os.listdir("/run/netns") if name.startswith(mine) and "x" in name] == []


async def test_a_path_that_leads_nowhere_is_asked_again(netns: MakeNetns, tmp_path: Path) -> None:
    here, other = netns(), netns()
    await here.arun("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", other.name)
    path = tmp_path / "late"
    async with run_probes({"netlink": {}}, namespace=here.path) as lab:
        claimant = lab.graph.claimant("someone")

        def put(text: str) -> None:
            metadata = {"Name": "other", "Type": "netns", "Path": str(path), "Text": text}
            claimant.put("5f1d3c3e-8f43-5d0a-9f0e-1c2d3e4f5a6b", metadata)

        put("early")
        await lab.until(lambda: "LinkNetNsID" in lab.nodes(Name="v0")[0])
        # The path is tried before there is anything.
        await trio.sleep(0.5)
        assert "LinkNetNsName" not in lab.nodes(Name="v0")[0]
        path.symlink_to(other.path)
        put("late")
        await lab.until(lambda: lab.nodes(Name="v0")[0].get("LinkNetNsName") == "other")
