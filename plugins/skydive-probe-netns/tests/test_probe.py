"""The probe over real namespaces.

A directory of links to namespaces stands for /run/netns, so that only this test's namespaces are seen; the
last tests use files on which a namespace is mounted, as ``ip netns`` makes them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from skydive_probe_netns import NetnsProbe
from structlog.testing import capture_logs

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import NamedNetns, run_checked

QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
MakeNetns = Callable[[], NamedNetns]


def settings(directory: Path) -> dict[str, dict[str, Any]]:
    return {"netlink": {"metrics_update": 0}, "netns": {"run_path": str(directory)}}


def name_in(directory: Path, netns: NamedNetns, name: str | bytes) -> Path:
    path = directory / os.fsdecode(name)
    path.symlink_to(netns.path)
    return path


def names(lab: ProbeLab) -> list[str]:
    return sorted(node["Name"] for node in lab.nodes(Type="netns"))


def only(nodes: list[dict[str, Any]]) -> dict[str, Any]:
    (node,) = nodes
    return node


async def test_what_is_there_and_what_comes(netns: MakeNetns, tmp_path: Path) -> None:
    here, one, two = netns(), netns(), netns()
    name_in(tmp_path, one, "one")
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        assert names(lab) == ["one"]
        node = only(lab.nodes(Type="netns"))
        status = os.stat(one.path)
        assert {key: node[key] for key in ("Path", "Inode", "Device")} == {
            "Path": f"{tmp_path}/one",
            "Inode": status.st_ino,
            "Device": status.st_dev,
        }
        path = name_in(tmp_path, two, "two")
        await lab.until(lambda: names(lab) == ["one", "two"])
        root = only(lab.nodes(Type="host"))["@ID"]
        owned = {edge["@Child"] for edge in lab.edges(RelationType="ownership") if edge["@Parent"] == root}
        assert owned >= {node["@ID"], only(lab.nodes(Name="two"))["@ID"]}
        await lab.until(lambda: len(lab.nodes(Name="lo")) == 3)
        path.unlink()
        await lab.until(lambda: names(lab) == ["one"] and len(lab.nodes(Name="lo")) == 2)


async def test_interfaces_hang_under_their_namespace(netns: MakeNetns, tmp_path: Path) -> None:
    here, one = netns(), netns()
    await one.arun("ip", "link", "add", "b0", "type", "bridge")
    name_in(tmp_path, one, "one")
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        await lab.until(lambda: lab.nodes(Name="b0"))
        owner = only(lab.nodes(Name="one"))["@ID"]
        edges = [edge for edge in lab.edges(RelationType="ownership") if edge["@Parent"] == owner]
        assert {edge["@Child"] for edge in edges} >= {only(lab.nodes(Name="b0"))["@ID"]}


async def test_two_names_of_one_namespace_are_one_node(netns: MakeNetns, tmp_path: Path) -> None:
    here, one = netns(), netns()
    name_in(tmp_path, one, "m")
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        node = only(lab.nodes(Type="netns"))
        await lab.until(lambda: len(lab.nodes(Name="lo")) == 2)
        first = name_in(tmp_path, one, "a")
        name_in(tmp_path, one, "z")
        await lab.until(lambda: names(lab) == ["a"])
        assert only(lab.nodes(Type="netns"))["@ID"] == node["@ID"]
        assert sum(report.name.startswith("netlink@") for report in lab.host.reports()) == 1
        first.unlink()
        await lab.until(lambda: names(lab) == ["m"])
        (tmp_path / "m").unlink()
        await lab.until(lambda: names(lab) == ["z"])
        # The sub-probe has been there all along.
        assert len(lab.nodes(Name="lo")) == 2
        await one.arun("ip", "link", "add", "b0", "type", "bridge")
        await lab.until(lambda: lab.nodes(Name="b0"))
        (tmp_path / "z").unlink()
        await lab.until(lambda: names(lab) == [] and len(lab.nodes(Name="lo")) == 1)
        await lab.until(lambda: not any(report.name.startswith("netlink@") for report in lab.host.reports()))


async def test_a_name_that_comes_to_mean_another_namespace(netns: MakeNetns, tmp_path: Path) -> None:
    here, one, two = netns(), netns(), netns()
    path = name_in(tmp_path, one, "x")
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        before = only(lab.nodes(Name="x"))
        path.unlink()
        name_in(tmp_path, two, "x")
        await lab.until(lambda: [node["Inode"] for node in lab.nodes(Name="x")] == [os.stat(two.path).st_ino])
        assert only(lab.nodes(Name="x"))["@ID"] != before["@ID"]
        await lab.until(lambda: len(lab.nodes(Name="lo")) == 2)


async def test_the_agents_own_namespace_is_the_host(netns: MakeNetns, tmp_path: Path) -> None:
    here, one = netns(), netns()
    name_in(tmp_path, here, "own")
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        name_in(tmp_path, one, "one")
        await lab.until(lambda: names(lab) == ["one"] and len(lab.nodes(Name="lo")) == 2)
        name_in(tmp_path, here, "own2")
        name_in(tmp_path, one, "zero")
        (tmp_path / "one").unlink()
        await lab.until(lambda: names(lab) == ["zero"])
        assert len(lab.nodes(Name="lo")) == 2
        assert lab.report("netns").fields["namespaces"] == 1


async def test_the_directory_may_come_later_go_and_come_back(netns: MakeNetns, tmp_path: Path) -> None:
    here, one = netns(), netns()
    directory = tmp_path / "run" / "netns"
    async with run_probes(settings(directory), namespace=here.path) as lab:
        assert lab.report("netns").state == "running"
        for _ in range(2):
            directory.mkdir(parents=True)
            name_in(directory, one, "one")
            await lab.until(lambda: names(lab) == ["one"])
            (directory / "one").unlink()
            directory.rmdir()
            directory.parent.rmdir()
            await lab.until(lambda: names(lab) == [])
        assert lab.report("netns").restarts == 0


async def test_what_is_no_namespace_is_passed_over(netns: MakeNetns, tmp_path: Path) -> None:
    here, one = netns(), netns()
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "missing")
    (tmp_path / "pid").symlink_to("/proc/self/ns/uts")
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        name_in(tmp_path, one, b"odd\xffname")
        await lab.until(lambda: names(lab) == ["odd\\xffname"])
        assert lab.report("netns").fields["unready"] == 2


async def test_an_overflow_is_made_good(netns: MakeNetns, tmp_path: Path) -> None:
    here, one, two = netns(), netns(), netns()
    name_in(tmp_path, one, "one")
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        for _ in range(QUEUE // 2 + 2):
            (tmp_path / "x").touch()
            (tmp_path / "x").unlink()
        (tmp_path / "one").unlink()
        name_in(tmp_path, two, "two")
        await lab.until(lambda: names(lab) == ["two"])


async def test_twenty_lives_of_one_name_are_twenty_elements(netns: MakeNetns, tmp_path: Path) -> None:
    here = netns()
    seen = set()
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        for _ in range(20):
            one = await trio.to_thread.run_sync(netns)
            path = name_in(tmp_path, one, "same")
            await lab.until(lambda: names(lab) == ["same"])
            seen.add(only(lab.nodes(Name="same"))["@ID"])
            path.unlink()
            await trio.to_thread.run_sync(one.delete)
            await lab.until(lambda: names(lab) == [])
    assert len(seen) == 20


@pytest.fixture
def mounted() -> Iterator[Callable[[Path], None]]:
    """Mounts a new namespace on a file, as ``ip netns add`` does; taken away at the end."""
    files: list[Path] = []

    def mount(file: Path) -> None:
        run_checked(["unshare", f"--net={file}", "true"])
        files.append(file)

    yield mount
    for file in files:
        run_checked(["umount", "-l", str(file)])


async def test_a_file_is_tried_again_until_the_namespace_is_mounted(
    netns: MakeNetns, tmp_path: Path, mounted: Callable[[Path], None]
) -> None:
    here = netns()
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        file = tmp_path / "late"
        file.touch()
        await lab.until(lambda: lab.report("netns").fields.get("unready") == 1)
        assert names(lab) == []
        # Nothing tells of the mount itself.
        await trio.to_thread.run_sync(mounted, file)
        await lab.until(lambda: names(lab) == ["late"])
        assert "unready" not in lab.report("netns").fields
        await lab.until(lambda: len(lab.nodes(Name="lo")) == 2)


async def test_a_file_given_up_is_tried_again_when_the_directory_changes(
    netns: MakeNetns, tmp_path: Path, mounted: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skydive_probe_netns.probe._TRIES", 1)
    here = netns()
    file = tmp_path / "late"
    file.touch()
    with capture_logs() as logs:
        async with run_probes(settings(tmp_path), namespace=here.path) as lab:
            await lab.until(lambda: any(entry["event"] == "not a network namespace" for entry in logs))
            await trio.to_thread.run_sync(mounted, file)
            (tmp_path / "other").touch()
            await lab.until(lambda: names(lab) == ["late"])


@pytest.mark.parametrize("value", ["run/netns", "", "/run\0"])
def test_wrong_settings_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="run_path"):
        NetnsProbe.Settings(run_path=value)
