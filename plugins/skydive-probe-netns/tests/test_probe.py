"""The probe over real namespaces.

A directory of links to namespaces stands for /run/netns, so that only this test's namespaces are seen; the
last tests use files on which a namespace is mounted, as ``ip netns`` makes them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from skydive_probe_netns import NetnsProbe
from skydive_probe_netns.mounts import Mounts

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import FakeHost, NamedNetns, run_checked

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
        assert lab.report("netns").fields["unready"].startswith("2 file(s) are no network namespace")


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
    for file in filter(os.path.ismount, set(files)):
        run_checked(["umount", "-l", str(file)])


async def test_a_file_counts_when_a_namespace_is_mounted_on_it_and_as_long(
    netns: MakeNetns, tmp_path: Path, mounted: Callable[[Path], None]
) -> None:
    """No event of inotify tells of either; dockerd leaves the file of a namespace that has ended."""
    here = netns()
    async with run_probes(settings(tmp_path), namespace=here.path) as lab:
        file = tmp_path / "late"
        file.touch()
        await lab.until(lambda: "b'late'" in lab.report("netns").fields.get("unready", ""))
        for _ in range(3):
            assert names(lab) == []
            await trio.to_thread.run_sync(mounted, file)
            await lab.until(lambda: names(lab) == ["late"] and len(lab.nodes(Name="lo")) == 2)
            assert "unready" not in lab.report("netns").fields
            await trio.to_thread.run_sync(run_checked, ["umount", "-l", str(file)])
            await lab.until(lambda: names(lab) == [] and len(lab.nodes(Name="lo")) == 1)
            assert "b'late'" in lab.report("netns").fields["unready"]


async def test_no_mount_is_missed(tmp_path: Path, mounted: Callable[[Path], None]) -> None:
    """Changes that come while nobody waits, or just as somebody begins to, are seen as well."""
    file = tmp_path / "file"
    file.touch()
    seen: list[bool] = []
    looked = trio.Event()

    def look() -> None:
        seen.append(os.path.ismount(file))
        looked.set()

    async with trio.open_nursery() as nursery:
        with Mounts(str(tmp_path)) as mounts:
            nursery.start_soon(mounts.follow, look)
            for turn in range(100):
                # Up to a little more than the pause after a burst, so that changes meet every moment of it.
                await trio.sleep(random.random() * 0.03)
                change = partial(mounted, file) if turn % 2 == 0 else partial(run_checked, ["umount", str(file)])
                await trio.to_thread.run_sync(change)
                with trio.fail_after(5):
                    while not seen or seen[-1] != (turn % 2 == 0):
                        looked = trio.Event()
                        await looked.wait()
            nursery.cancel_scope.cancel()


async def test_mounts_of_another_mount_namespace(fake_host: FakeHost) -> None:
    """As an agent in a container looks into the host, or ours into a fake one."""
    path = fake_host.path("/run/netns")
    async with run_probes(settings(Path(path)), namespace=fake_host.netns_path) as lab:
        await fake_host.arun("ip", "netns", "add", "vm")
        await lab.until(lambda: names(lab) == ["vm"] and len(lab.nodes(Name="lo")) == 2)
        await fake_host.arun("umount", "-l", "/run/netns/vm")
        await lab.until(lambda: names(lab) == [] and len(lab.nodes(Name="lo")) == 1)


@pytest.mark.parametrize("value", ["run/netns", "", "/run\0"])
def test_wrong_settings_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="run_path"):
        NetnsProbe.Settings(run_path=value)
