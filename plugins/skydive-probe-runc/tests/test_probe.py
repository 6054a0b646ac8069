"""The probe over a real graph, against real runtimes in a fake host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cattrs
import pytest
import trio
import yaml
from runc_lab import settings
from skydive_probe_runc import RuncProbe, tree

from skycore.testing import ProbeLab, run_probes
from skycore.testing.containerd import Containerd
from skycore.testing.lab import FakeHost
from skycore.testing.oci import OciRuntime
from skycore.testing.podman import Podman


async def _only(lab: ProbeLab, **wanted: Any) -> dict[str, Any]:
    """Wait until exactly one container has these values, and return it."""
    await lab.until(lambda: len(lab.nodes(Type="container", **wanted)) == 1, seconds=10)
    return lab.nodes(Type="container", **wanted)[0]


def _owners(lab: ProbeLab, node: dict[str, Any]) -> list[str]:
    return [edge["@Parent"] for edge in lab.edges(RelationType="ownership") if edge["@Child"] == node["@ID"]]


def _host_id(lab: ProbeLab) -> str:
    (host,) = lab.nodes(Type="host")
    return str(host["@ID"])


def test_the_sample_configuration_shows_the_defaults() -> None:
    sample = yaml.safe_load((Path(__file__).parents[1] / "sample.yml").read_text())
    assert sample["agent"]["topology"].pop("probes") == ["runc"]
    converter = cattrs.Converter(forbid_extra_keys=True)
    assert converter.structure(sample["agent"]["topology"]["runc"], RuncProbe.Settings) == RuncProbe.Settings()


@pytest.mark.parametrize("wrong", [{"run_path": ["x"]}, {"proc_path": ""}, {"check": 0}, {"root_path": "/\0"}])
def test_wrong_settings_say_what_is_allowed(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        RuncProbe.Settings(**wrong)


async def test_the_life_of_a_container(runtime: OciRuntime) -> None:
    host = runtime.host
    async with run_probes({"runc": settings(host), "netlink": {}}, namespace=host.netns_path) as lab:
        assert not lab.nodes(Type="container")
        await trio.to_thread.run_sync(lambda: runtime.create("web", annotations={"a.role": "front", "n": "[1]"}))
        made = await _only(lab, Container__Status="created")
        state = runtime.state("web")
        details = made["Container"]
        assert (made["Name"], made["Manager"]) == ("web", "runc")
        assert (details["ID"], details["Runtime"]) == ("web", runtime.program)
        assert details["InitProcessPID"] == state["pid"]
        assert details["Labels"]["a"] == {"role": "front"}
        assert details["Labels"]["n"] == [1]
        assert details["Bundle"] == state["bundle"]
        (netns,) = lab.nodes(Type="netns")
        assert _owners(lab, made) == [netns["@ID"]]
        assert netns["Inode"] == os.stat(f"{host.proc_path}/{state['pid']}/ns/net").st_ino
        assert (netns["Name"], netns["Manager"], netns["Runtime"]) == ("web", "runc", "runc")
        await lab.until(lambda: [node for node in lab.nodes(Name="lo") if _owners(lab, node) == [netns["@ID"]]])

        await runtime.acall("start", "web")
        running = await _only(lab, Container__Status="running")
        assert running["@ID"] == made["@ID"]
        await runtime.acall("pause", "web")
        await _only(lab, Container__Status="paused")
        await runtime.acall("resume", "web")
        await _only(lab, Container__Status="running")

        # It ends, and nobody removes its state.
        await runtime.acall("kill", "web", "KILL")
        ended = await _only(lab, Container__Status="stopped")
        assert "InitProcessPID" not in ended["Container"]
        assert _owners(lab, ended) == [_host_id(lab)]
        assert not lab.nodes(Type="netns")
        await runtime.adelete("web")
        await lab.until(lambda: not lab.nodes(Type="container"))

        # The name comes again, and is another container.
        await runtime.arun("web")
        again = await _only(lab, Container__Status="running")
        assert again["@ID"] != made["@ID"]
        await runtime.adelete("web")
        await lab.until(lambda: not lab.nodes(Type="container") and not lab.nodes(Type="netns"))
        assert lab.report("runc").restarts == 0


async def test_what_is_there_already_and_what_shares_a_namespace(runtime: OciRuntime) -> None:
    host = runtime.host
    host.run("ip", "netns", "add", "shared")
    await runtime.arun("first", netns="/run/netns/shared")
    await runtime.arun("second", netns="/run/netns/shared")
    await runtime.arun("hostly", netns=None)
    async with run_probes({"runc": settings(host)}, namespace=host.netns_path) as lab:
        assert {node["Name"] for node in lab.nodes(Type="container")} == {"first", "second", "hostly"}
        (netns,) = lab.nodes(Type="netns")
        assert netns["Inode"] == os.stat(host.path("/run/netns/shared")).st_ino
        assert netns["Path"] == host.path("/run/netns/shared")
        assert netns["Name"] == "first"
        for node in lab.nodes(Type="container"):
            assert _owners(lab, node) == [_host_id(lab) if node["Name"] == "hostly" else netns["@ID"]]
        await runtime.adelete("first")
        await lab.until(lambda: [node["Name"] for node in lab.nodes(Type="netns")] == ["second"])
        await runtime.adelete("hostly")
        await runtime.adelete("second")
        await lab.until(lambda: not lab.nodes(Type="container") and not lab.nodes(Type="netns"))


async def test_limits_mounts_and_hosts(runtime: OciRuntime, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.1.2.3 Web web.example # us\n")
    mount = {"type": "bind", "source": str(hosts), "destination": "/etc/hosts", "options": ["bind", "ro"]}
    await runtime.arun("web", mounts=[mount], resources={"memory": {"limit": 64 << 20}, "cpu": {"shares": 512}})
    async with run_probes({"runc": settings(runtime.host)}, namespace=runtime.host.netns_path) as lab:
        details = (await _only(lab))["Container"]
        assert details["Resources"] == {"Memory": 64 << 20, "CPUShares": 512}
        assert details["Mounts"] == [{"Source": str(hosts), "Destination": "/etc/hosts", "ReadOnly": True}]
        assert details["Hosts"] == {
            "IP": "10.1.2.3",
            "Hostname": "web.example",
            "ByIP": {"10.1.2.3": ["web", "web.example"]},
        }


async def test_half_a_file_is_read_when_it_is_whole(fake_host: FakeHost) -> None:
    folder = Path(fake_host.path("/run/runc/web"))
    async with run_probes({"runc": settings(fake_host)}, namespace=fake_host.netns_path) as lab:
        await trio.to_thread.run_sync(lambda: folder.mkdir(parents=True))
        whole = json.dumps({"id": "web", "init_process_pid": 1, "created": "2026-01-01T00:00:00Z", "config": {}})
        with (folder / "state.json").open("w") as file:
            file.write(whole[:20])
            file.flush()
            await lab.until(lambda: "unreadable" in lab.report("runc").fields)
            assert "is no JSON" in lab.report("runc").fields["unreadable"]
            assert not lab.nodes(Type="container")
            file.write(whole[20:])
        node = await _only(lab)
        # Broken again: what was known of it stays.
        (folder / "state.json").write_text("{")
        await lab.until(lambda: "unreadable" in lab.report("runc").fields)
        assert await _only(lab) == node
        (folder / "state.json").unlink()
        await lab.until(lambda: not lab.nodes(Type="container"))
        assert "unreadable" not in lab.report("runc").fields
        assert lab.report("runc").restarts == 0


async def test_hostile_states_are_no_harm(fake_host: FakeHost) -> None:
    root = Path(fake_host.path("/run/runc"))
    annotations = [f"x={'v' * 1_000_000}", f"{'.' * 3000}=deep", 'q="\\\n\t\x01', "a=1", "a.b=2", "n=" + "[" * 100_000]
    config = {"labels": [*annotations, *(f"big{number}={'w' * 1_000_000}" for number in range(5))]}
    async with run_probes({"runc": settings(fake_host)}, namespace=fake_host.netns_path) as lab:
        for name, content in {
            "big": json.dumps({"id": "big\n\x00\ud800", "init_process_pid": 1, "config": config}),
            "list": "[]",
            "deep": "[" * 1_000_000,
            "pid": json.dumps({"init_process_pid": 2**70}),
            "type": json.dumps({"id": 5}),
            "nul": json.dumps({"config": {"labels": ["bundle=/\0"]}}),
        }.items():
            (root / name).mkdir(parents=True)
            (root / name / "state.json").write_text(content)
        (root / "fifo").mkdir()
        os.mkfifo(root / "fifo" / "state.json")
        (root / "name\n\x01\udcff".encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")).mkdir()
        (root / "loop").symlink_to(root)
        big = await _only(lab, Name="big\n\x00?")
        assert big["Container"]["Labels"]["q"] == '"\\\n\t\x01'
        assert big["Container"]["Labels"]["a"] == 1
        assert big["Container"]["LabelsLeftOut"] >= 4
        await _only(lab, Name="nul")
        await lab.until(lambda: lab.report("runc").fields.get("unreadable", "").startswith("5 folder(s)"))
        assert lab.report("runc").restarts == 0


async def test_folders_that_come_and_go_as_a_whole(fake_host: FakeHost) -> None:
    root = Path(fake_host.path("/run/runc"))

    def fill() -> None:
        for name in ("a", "b"):
            (root / name).mkdir(parents=True)
            (root / name / "state.json").write_text(json.dumps({"id": name, "created": "2026-01-01T00:00:00Z"}))

    async with run_probes({"runc": settings(fake_host)}, namespace=fake_host.netns_path) as lab:
        assert fake_host.path("/run/runc") in lab.report("runc").fields["missing"]
        for _ in range(3):
            fill()
            await lab.until(lambda: {node["Name"] for node in lab.nodes(Type="container")} == {"a", "b"})
            await fake_host.arun("rm", "-rf", "/run/runc")
            await lab.until(lambda: not lab.nodes(Type="container"))


async def test_what_happens_beside_the_folders_costs_no_inventory(
    fake_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look = tree.StateTree.look

    def counted(self: tree.StateTree) -> set[str]:
        nonlocal looks
        looks += 1
        return look(self)

    monkeypatch.setattr(tree.StateTree, "look", counted)
    async with run_probes({"runc": settings(fake_host)}, namespace=fake_host.netns_path) as lab:
        assert (looks, lab.report("runc").fields["missing"]) == (1, settings(fake_host)["run_path"])
        await fake_host.arun("sh", "-c", "for n in 1 2 3; do mkdir /run/other$n; rmdir /run/other$n; done")
        await fake_host.arun("sh", "-c", "mkdir -p /run/runc/web && echo '{}' > /run/runc/web/state.json")
        await _only(lab, Name="web")
        assert looks == 2


@pytest.mark.needs("root", "containerd", "ctr", "runc", "busybox")
async def test_containerd(fake_host: FakeHost, tmp_path: Path) -> None:
    with Containerd(fake_host, tmp_path / "log") as containerd:
        async with run_probes({"runc": settings(fake_host)}, namespace=fake_host.netns_path) as lab:
            notes = ["--annotation", "io.kubernetes.cri.container-type=container"]
            notes += ["--annotation", "io.kubernetes.cri.container-name=server", "--label", "role=front"]
            await containerd.arun("web", *notes)
            await containerd.arun("web", namespace="other")
            await lab.until(lambda: len(lab.nodes(Type="container")) == 2, seconds=10)
            (first,) = lab.nodes(Type="container", Container__Name="server")
            assert first["Container"]["Engine"] == "containerd"
            assert first["Container"]["Pod"] == {"Kind": "container"}
            assert first["Container"]["Labels"]["role"] == "front"
            assert len(lab.nodes(Type="netns")) == 2
            tasks = (await containerd.actr("task", "list")).split()
            assert str(first["Container"]["InitProcessPID"]) in tasks
            await containerd.actr("task", "pause", "web")
            await _only(lab, Container__Name="server", Container__Status="paused")
            await containerd.actr("task", "resume", "web")
            await _only(lab, Container__Name="server", Container__Status="running")
            await containerd.aremove("web")
            await containerd.aremove("web", namespace="other")
            await lab.until(lambda: not lab.nodes(Type="container") and not lab.nodes(Type="netns"))


@pytest.mark.needs("root", "podman", "busybox")
@pytest.mark.parametrize("runtime_name", ["runc", "crun"])
async def test_podman(fake_host: FakeHost, tmp_path: Path, runtime_name: str) -> None:
    with Podman(fake_host, tmp_path / "log", runtime_name) as podman:
        async with run_probes({"runc": settings(fake_host)}, namespace=fake_host.netns_path) as lab:
            id = await podman.acontainer("web", "--memory", "64m")
            node = await _only(lab, Container__Status="running")
            inspected = podman.inspect("web")
            details = node["Container"]
            assert (node["Name"], details["ID"], details["Name"]) == (id, id, "web")
            assert (details["Engine"], details["Runtime"]) == ("podman", runtime_name)
            assert (details["Image"], details["ImageID"]) == (inspected["ImageName"], inspected["Image"])
            assert details["InitProcessPID"] == inspected["State"]["Pid"]
            assert details["Resources"]["Memory"] == 64 << 20
            address = inspected["NetworkSettings"]["Networks"]["podman"]["IPAddress"]
            assert "web" in details["Hosts"]["ByIP"][address]
            await podman.apodman("rm", "--force", "--time", "0", "web")
            await lab.until(lambda: not lab.nodes(Type="container") and not lab.nodes(Type="netns"))
