"""The probe on this machine; lscpu, lsblk, uname and uptime are the witnesses."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from skydive_probe_hardware import keys
from skydive_probe_hardware.probe import HardwareProbe

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import run_checked

PROBES: dict[str, dict[str, Any]] = {"hardware": {"interval": 0}}


def host(lab: ProbeLab) -> dict[str, Any]:
    (node,) = lab.nodes(Type="host")
    return node


def run(*command: str) -> str:
    return run_checked(list(command))


async def test_this_machine() -> None:
    told = {entry["field"].rstrip(":"): entry["data"] for entry in json.loads(run("lscpu", "-J"))["lscpu"]}
    async with run_probes(PROBES) as lab:
        node = host(lab)
        assert node["Name"] == "host1"
        assert len(node["CPU"]) == len(os.sched_getaffinity(0)) == int(told["CPU(s)"])
        assert {cpu.get("ModelName") for cpu in node["CPU"]} == {told["Model name"]}
        assert node["KernelVersion"] == run("uname", "-r").strip()
        assert node["Architecture"] == run("uname", "-m").strip() == told["Architecture"]
        uptime = float(run("cat", "/proc/uptime").split()[0])
        assert abs(node["BootTime"] / 1000 - (time.time() - uptime)) < 5
        assert node["Memory"]["Total"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        assert node["Sysctl"]["net"]["core"]["somaxconn"] == int(run("cat", "/proc/sys/net/core/somaxconn"))
        listed = json.loads(run("lsblk", "-J", "-b", "-o", "NAME,SIZE,TYPE,MAJ:MIN"))["blockdevices"]
        disks = {device["name"]: device for device in listed if device["size"] and device["type"] == "disk"}
        shown = {device["Name"]: device for device in node["BlockDevices"] if device["Type"] == "disk"}
        assert {name: (d["Size"], d["MajorMinor"]) for name, d in shown.items()} == {
            name: (d["size"], d["maj:min"]) for name, d in disks.items()
        }


@pytest.mark.needs("root", "losetup")
async def test_a_block_device_comes_and_goes(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    async with run_probes(PROBES) as lab:
        path = (await trio.to_thread.run_sync(run, "losetup", "--find", "--show", "--read-only", str(image))).strip()
        try:
            device = await lab.until(lambda: named(lab, Path(path).name))
            assert (device["Type"], device["Size"], device["ReadOnly"]) == ("loop", 1 << 20, True)
            assert device["BackingFile"] == str(image)
        finally:
            await trio.to_thread.run_sync(run, "losetup", "--detach", path)
        await lab.until(lambda: not named(lab, Path(path).name))


def named(lab: ProbeLab, name: str) -> dict[str, Any]:
    return next((device for device in host(lab)["BlockDevices"] if device["Name"] == name), {})


async def test_what_is_not_announced_is_seen_each_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_probes({"hardware": {"interval": 1, "sysctls": ["kernel.hostname"]}}) as lab:
        assert host(lab)["Sysctl"]["kernel"]["hostname"] == os.uname().nodename
        revision = host(lab)["@Revision"]
        await trio.sleep(1.5)
        # Nothing has changed, so nothing was said.
        assert host(lab)["@Revision"] == revision
        monkeypatch.setattr("skydive_probe_hardware.system.here", lambda: ("9.9", "toaster"))
        await lab.until(lambda: host(lab)["Architecture"] == "toaster")


async def test_a_physical_function_and_its_virtual_ones() -> None:
    async with run_probes(PROBES) as lab:
        cards = lab.graph.claimant("cards")
        functions = {"pf": "0000:03:00.0", "vf0": "0000:03:10.0", "vf1": "0000:03:10.2", "other": "0000:04:00.0"}
        for name, address in functions.items():
            virtual = {"VfBusInfo": [functions["vf0"], functions["vf1"]]} if name == "pf" else {}
            cards.put(name, {"Name": name, "Type": "device", "BusInfo": address, **virtual})
        await lab.until(lambda: len(lab.edges(RelationType="vf")) == 2)
        edges = lab.edges(RelationType="vf")
        assert {(edge["@Parent"], edge["@Child"]) for edge in edges} == {("pf", "vf0"), ("pf", "vf1")}
        cards.drop("vf1")
        await lab.until(lambda: len(lab.edges(RelationType="vf")) == 1)


async def test_only_documented_keys_are_written() -> None:
    assert keys.table() in (Path(__file__).parent.parent / "README.md").read_text()
    known = {key for key, _, _ in keys.KEYS}
    async with run_probes(PROBES) as lab:
        node = host(lab)
    for key in node.keys() - {"Name", "Type", "Hostname", "TID", "@ID", "@Revision"}:
        members = node[key] if isinstance(node[key], list) else [node[key]]
        for member in members:
            paths = {f"{key}.{name}" for name in member} if isinstance(member, dict) and key not in known else {key}
            assert paths <= known


@pytest.mark.parametrize(
    "wrong", [{"interval": -1}, {"interval": float("nan")}, {"interval": 0.5}, {"sysctls": ("../etc/passwd",)}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        HardwareProbe.Settings(**wrong)
