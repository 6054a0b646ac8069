"""Namespaces of processes and of bind mounts, inside a fake host that has no others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from skydive_probe_netns import NetnsProbe
from skydive_probe_netns.unnamed import Found, bound, of_processes

from skycore.testing.lab import FakeHost

# Runs in the fake host, where only a process of its own can be.
AGENT = """
import os, signal, subprocess, sys, trio
from skycore.testing import run_probes

def names(lab):
    return sorted(node["Name"] for node in lab.nodes(Type="netns"))

async def main():
    run = ["unshare", "--net", "sleep", "60"]
    first = subprocess.Popen(run)
    await trio.sleep(0.3)
    second = subprocess.Popen(["nsenter", f"--net=/proc/{first.pid}/ns/net", "sleep", "61"])
    settings = {"netlink": {"metrics_update": 0}, "netns": {"run_path": "/run/netns", "scan": 0.2}}
    async with run_probes(settings) as lab:
        # Two processes in one namespace are one node, called after the first.
        await lab.until(lambda: names(lab) == [f"sleep-{first.pid}"])
        node, = lab.nodes(Type="netns")
        assert node["Path"] == f"/proc/{first.pid}/ns/net", node
        await lab.until(lambda: len(lab.nodes(Name="lo")) == 2)
        first.kill(); first.wait()
        await lab.until(lambda: names(lab) == [f"sleep-{second.pid}"])
        assert lab.nodes(Type="netns")[0]["@ID"] == node["@ID"]

        open("/run/here it is", "w").close()
        subprocess.run(["mount", "--bind", f"/proc/{second.pid}/ns/net", "/run/here it is"], check=True)
        await lab.until(lambda: names(lab) == ["here it is"])
        second.kill(); second.wait()
        await trio.sleep(0.5)
        assert names(lab) == ["here it is"] and lab.nodes(Type="netns")[0]["Path"] == "/run/here it is"

        # A name in the directory comes before all others.
        os.symlink("/run/here it is", "/run/netns/named")
        await lab.until(lambda: names(lab) == ["named"])
        assert lab.nodes(Type="netns")[0]["@ID"] == node["@ID"]
        assert len(lab.nodes(Name="lo")) == 2
        os.unlink("/run/netns/named")
        await lab.until(lambda: names(lab) == ["here it is"])
        subprocess.run(["umount", "/run/here it is"], check=True)
        await lab.until(lambda: names(lab) == [] and len(lab.nodes(Name="lo")) == 1)
        assert all(report.restarts == 0 for report in lab.host.reports())

trio.run(main)
"""


async def test_namespaces_of_processes_and_of_bind_mounts(fake_host: FakeHost) -> None:
    await fake_host.arun("mount", "-t", "tmpfs", "tmpfs", "/run")
    await fake_host.arun("mkdir", "/run/netns")
    await fake_host.arun(sys.executable, "-c", AGENT)


def test_mounts_that_are_no_network_namespaces_are_passed_over() -> None:
    mountinfo = (
        "24 1 0:22 / /proc rw,relatime shared:5 - proc proc rw\n"
        "300 29 0:4 net:[4026532301] /run/netns/one rw shared:1 - nsfs nsfs rw\n"
        "301 29 0:4 net:[4026532302] /mnt/with\\040space rw - nsfs nsfs rw\n"
        "302 29 0:4 mnt:[4026532303] /run/other rw - nsfs nsfs rw\n"
        "303 29 0:4 net:[4026532304] /run/fake rw - tmpfs tmpfs rw\n"
    )
    assert list(bound(mountinfo)) == [
        (4026532301, Found("/run/netns/one", "one")),
        (4026532302, Found("/mnt/with space", "with space")),
    ]


def test_processes_that_have_ended_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "12").mkdir()
    (tmp_path / "version").touch()
    assert list(of_processes(str(tmp_path))) == []


@pytest.mark.parametrize("value", [-1, 0.01, float("inf"), float("nan")])
def test_wrong_seconds_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="scan"):
        NetnsProbe.Settings(scan=value)
