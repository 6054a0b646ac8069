"""The probe over a real graph, against a real daemon in a fake host."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import cattrs
import pytest
import structlog
import trio
import yaml
from skydive_probe_docker import DockerProbe
from skydive_probe_docker import client as client_module
from skydive_probe_docker import probe as probe_module

from skycore.testing import ProbeLab, run_probes
from skycore.testing.dockerd import Dockerd


def _settings(dockerd: Dockerd) -> dict[str, Any]:
    """The probe runs in this process, outside the fake host, so it looks in through /proc."""
    return {
        "url": f"unix://{dockerd.socket}",
        "proc_path": dockerd.host.proc_path,
        "netns": {"run_path": dockerd.host.path("/run/docker/netns")},
    }


async def _only(lab: ProbeLab, **wanted: Any) -> dict[str, Any]:
    """Wait until exactly one node has these values, and return it."""
    await lab.until(lambda: len(lab.nodes(**wanted)) == 1, seconds=10)
    return lab.nodes(**wanted)[0]


def _owner(lab: ProbeLab, node: dict[str, Any]) -> str | None:
    owners = [edge["@Parent"] for edge in lab.edges(RelationType="ownership") if edge["@Child"] == node["@ID"]]
    assert len(owners) <= 1
    return owners[0] if owners else None


def _host_id(lab: ProbeLab) -> str:
    (host,) = lab.nodes(Type="host")
    return str(host["@ID"])


def _elements(lab: ProbeLab) -> set[str]:
    return {*lab.graph.nodes, *lab.graph.edges}


def _stale(lab: ProbeLab) -> str | None:
    """Why the docker probe's elements are stale."""
    stale = lab.graph.stale.get((lab.graph.origin, "docker"))
    return stale.reason if stale else None


async def _inspect(dockerd: Dockerd, name: str, format: str) -> str:
    return await dockerd.adocker("inspect", "--format", format, name)


def test_the_sample_configuration_shows_the_defaults() -> None:
    sample = yaml.safe_load((Path(__file__).parents[1] / "sample.yml").read_text())
    assert sample["agent"]["topology"].pop("probes") == ["docker"]
    settings = sample
    for step in DockerProbe.section.split("."):
        settings = settings[step]
    assert cattrs.Converter(forbid_extra_keys=True).structure(settings, DockerProbe.Settings) == DockerProbe.Settings()


async def test_a_restart_that_is_called_off(dockerd: Dockerd) -> None:
    """Docker sends no event when it gives up a container that waits for its next start."""
    settings = {**_settings(dockerd), "stopped": True}
    async with run_probes({"docker": settings}, namespace=dockerd.host.netns_path) as lab:
        await dockerd.adocker("run", "--detach", "--name", "again", "--restart", "always", "skt/busybox:1", "false")
        # Pauses between starts double from 100 ms; late ones are long enough to be met.
        with trio.fail_after(60):
            while True:
                await lab.until(lambda: _status(lab, "again") == "restarting", seconds=60)
                await dockerd.adocker("kill", "again")
                if await _inspect(dockerd, "again", "{{.State.Status}}") == "exited":
                    break
        await lab.until(lambda: _status(lab, "again") == "exited", seconds=20)


def _status(lab: ProbeLab, name: str) -> str | None:
    return next((str(node["Container"]["Status"]) for node in lab.nodes(Type="container", Name=name)), None)


async def test_a_container_that_runs_already(dockerd: Dockerd) -> None:
    id = await dockerd.acontainer("web", "--label", "com.example.role=front")
    async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path) as lab:
        container = await _only(lab, Type="container")
        assert container["Name"] == "web"
        assert container["Manager"] == "docker"
        assert container["Container"]["ID"] == id
        assert container["Container"]["Status"] == "running"
        assert container["Container"]["Labels"] == {"com": {"example": {"role": "front"}}}
        (netns,) = lab.nodes(Type="netns")
        pid = await _inspect(dockerd, "web", "{{.State.Pid}}")
        assert os.stat(netns["Path"]).st_ino == os.stat(f"{dockerd.host.proc_path}/{pid}/ns/net").st_ino
        assert netns["Path"].startswith(dockerd.host.path("/run/docker/netns"))
        assert netns["Inode"] == os.stat(netns["Path"]).st_ino
        assert (netns["Name"], netns["Manager"]) == ("web", "docker")
        assert netns["TID"]
        assert container["TID"]
        assert _owner(lab, container) == netns["@ID"]
        assert _owner(lab, netns) == _host_id(lab)
        assert lab.report("docker").fields["containers"] == 1


async def test_the_life_of_a_container(dockerd: Dockerd) -> None:
    async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path) as lab:
        empty = _elements(lab)
        await dockerd.acontainer("web")
        container = await _only(lab, Type="container", Name="web")
        before = _elements(lab)

        await dockerd.adocker("network", "create", "second")
        await dockerd.adocker("network", "connect", "second", "web")
        await dockerd.adocker("pause", "web")
        await _only(lab, Name="web", Container__Status="paused")
        await dockerd.adocker("unpause", "web")
        await _only(lab, Name="web", Container__Status="running")
        await dockerd.adocker("rename", "web", "shop")
        renamed = await _only(lab, Type="container", Name="shop")
        assert renamed["@ID"] == container["@ID"]
        await _only(lab, Type="netns", Name="shop")
        assert _elements(lab) == before

        await dockerd.adocker("stop", "--time", "0", "shop")
        await lab.until(lambda: _elements(lab) == empty)
        await dockerd.adocker("start", "shop")
        again = await _only(lab, Type="container", Name="shop")
        assert again["@ID"] == container["@ID"]
        await dockerd.adocker("restart", "--time", "0", "shop")
        pid = await _inspect(dockerd, "shop", "{{.State.Pid}}")
        await _only(lab, Type="container", Container__InitProcessPID=int(pid))
        assert len(lab.nodes(Type="netns")) == 1
        await dockerd.adocker("rm", "--force", "shop")
        await lab.until(lambda: _elements(lab) == empty)


async def test_containers_that_share_a_namespace_share_its_node(dockerd: Dockerd) -> None:
    async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path) as lab:
        await dockerd.acontainer("zebra")
        await _only(lab, Type="container")
        await dockerd.acontainer("aardvark", "--network", "container:zebra")
        second = await _only(lab, Type="container", Name="aardvark")
        (netns,) = lab.nodes(Type="netns")
        assert netns["Name"] == "zebra"
        assert _owner(lab, second) == netns["@ID"]

        await dockerd.adocker("rm", "--force", "zebra")
        await lab.until(lambda: not lab.nodes(Type="container", Name="zebra"))
        kept = await _only(lab, Type="netns", Name="aardvark")
        assert kept["@ID"] == netns["@ID"]
        assert _owner(lab, second) == netns["@ID"]
        assert os.stat(kept["Path"]).st_ino == netns["Inode"]
        await dockerd.adocker("rm", "--force", "aardvark")
        await lab.until(lambda: not lab.nodes(Type="netns"))


async def test_a_container_in_the_hosts_namespace_is_the_hosts(dockerd: Dockerd) -> None:
    async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path) as lab:
        await dockerd.acontainer("hostly", "--network", "host")
        container = await _only(lab, Type="container")
        assert _owner(lab, container) == _host_id(lab)
        assert not lab.nodes(Type="netns")


async def test_health_and_image_follow_the_daemon(dockerd: Dockerd) -> None:
    async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path) as lab:
        check = ("--health-cmd", "test ! -e /tmp/sick", "--health-interval", "1s", "--health-retries", "1")
        await dockerd.acontainer("checked", *check)
        await _only(lab, Type="container", Container__Health="starting")
        node = await _only(lab, Type="container", Container__Health="healthy")
        assert node["Container"]["ImageID"] == await _inspect(dockerd, "checked", "{{.Image}}")
        await dockerd.adocker("exec", "checked", "touch", "/tmp/sick")
        sick = await _only(lab, Type="container", Container__Health="unhealthy")
        # Each check is two or three events; only those that change what is told make a revision.
        assert sick["@Revision"] == node["@Revision"] + 1


async def test_a_container_that_ended_is_shown_when_asked_for(dockerd: Dockerd) -> None:
    settings = {**_settings(dockerd), "stopped": True}
    async with run_probes({"docker": settings}, namespace=dockerd.host.netns_path) as lab:
        await dockerd.acontainer("task", command=["sh", "-c", "exit 3"])
        ended = await _only(lab, Type="container", Container__Status="exited")
        assert ended["Container"]["ExitCode"] == 3
        assert _owner(lab, ended) == _host_id(lab)
        assert not lab.nodes(Type="netns")
        await dockerd.adocker("create", "--name", "made", "skt/busybox:1")
        await _only(lab, Type="container", Name="made", Container__Status="created")
        await dockerd.adocker("start", "made")
        running = await _only(lab, Type="container", Name="made", Container__Status="running")
        assert _owner(lab, running) == lab.nodes(Type="netns")[0]["@ID"]
        await dockerd.adocker("kill", "made")
        killed = await _only(lab, Type="container", Name="made", Container__Status="exited")
        assert killed["Container"]["ExitCode"] == 137
        assert _owner(lab, killed) == _host_id(lab)
        await dockerd.adocker("rm", "made", "task")
        await lab.until(lambda: not lab.nodes(Type="container"))


async def test_a_container_whose_process_cannot_be_seen_is_still_shown(dockerd: Dockerd, tmp_path: Path) -> None:
    settings = {**_settings(dockerd), "proc_path": str(tmp_path)}
    await dockerd.acontainer("web")
    async with run_probes({"docker": settings}, namespace=dockerd.host.netns_path) as lab:
        container = await _only(lab, Type="container")
        assert _owner(lab, container) == _host_id(lab)
        assert "proc_path" in lab.report("docker").fields["unseen"]
        await dockerd.adocker("rm", "--force", "web")
        await lab.until(lambda: not lab.nodes(Type="container"))
        assert "unseen" not in lab.report("docker").fields


async def test_hostile_labels(dockerd: Dockerd) -> None:
    labels = ["a=1", "a.b=2", 'q="\\\n\t\x01', "x" * 5000 + "=y", "." * 3000 + "=deep", "big=" + "v" * 100_000]
    options = [part for label in labels for part in ("--label", label)]
    async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path) as lab:
        await dockerd.acontainer("hostile", *options)
        container = await _only(lab, Type="container")
        found = container["Container"]["Labels"]
        assert (found["a"], found["a.b"], found["q"]) == ("1", "2", '"\\\n\t\x01')
        assert len(found["big"]) == 100_000
        assert lab.report("docker").restarts == 0


async def test_a_killed_daemon_makes_stale_and_changes_nothing(dockerd: Dockerd) -> None:
    await dockerd.acontainer("web")
    await dockerd.acontainer("sidecar", "--network", "container:web")
    async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path) as lab:
        await lab.until(lambda: len(lab.nodes(Type="container")) == 2)
        before, log_end = _elements(lab), lab.graph.log.end
        await trio.to_thread.run_sync(dockerd.kill9)
        assert await lab.until(lambda: _stale(lab))
        assert lab.report("docker").fields["daemon"]
        assert _elements(lab) == before
        await trio.to_thread.run_sync(dockerd.restart)
        await lab.until(lambda: _stale(lab) is None, seconds=10)
        assert _elements(lab) == before
        assert lab.graph.log.end == log_end
        assert "daemon" not in lab.report("docker").fields
        await dockerd.adocker("rm", "--force", "sidecar")
        await _only(lab, Type="container", Name="web")


async def test_what_happened_while_the_daemon_was_lost_shows_afterwards(dockerd: Dockerd) -> None:
    await dockerd.acontainer("stays")
    await dockerd.acontainer("goes")
    pid = int(await _inspect(dockerd, "goes", "{{.State.Pid}}"))
    async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path) as lab:
        await lab.until(lambda: len(lab.nodes(Type="container")) == 2)
        await trio.to_thread.run_sync(dockerd.kill9)
        await lab.until(lambda: _stale(lab))
        await dockerd.host.arun("kill", "-9", str(pid))
        assert len(lab.nodes(Type="container")) == 2
        await trio.to_thread.run_sync(dockerd.restart)
        container = await _only(lab, Type="container")
        assert container["Name"] == "stays"
        assert len(lab.nodes(Type="netns")) == 1


async def test_a_daemon_that_hangs_is_lost_until_it_answers(dockerd: Dockerd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(probe_module, "HEARTBEAT_SECONDS", 0.1)
    await dockerd.acontainer("web")
    async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path) as lab:
        await _only(lab, Type="container")
        dockerd.freeze()
        try:
            reason = await lab.until(lambda: _stale(lab))
        finally:
            dockerd.thaw()
        assert "no answer within" in str(reason)
        await lab.until(lambda: _stale(lab) is None, seconds=10)
        assert lab.nodes(Type="container", Name="web")


async def test_a_daemon_that_comes_later(dockerd: Dockerd) -> None:
    await trio.to_thread.run_sync(dockerd.kill9)
    async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path, started=0.3) as lab:
        assert lab.report("docker").state == "starting"
        assert await lab.until(lambda: _stale(lab))
        await trio.to_thread.run_sync(dockerd.restart)
        await lab.until(lambda: lab.report("docker").state == "running", seconds=10)
        await dockerd.acontainer("web")
        await _only(lab, Type="container")


async def test_containers_that_start_during_the_first_inventory_are_not_missed(dockerd: Dockerd) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(1, 7):
            nursery.start_soon(dockerd.acontainer, f"c{number}", "--network", "none")
        async with run_probes({"docker": _settings(dockerd)}, namespace=dockerd.host.netns_path) as lab:
            await lab.until(lambda: len(lab.nodes(Type="container")) == 6, seconds=10)
            assert len(lab.nodes(Type="netns")) == 6
            await dockerd.adocker("rm", "--force", "c1", "c2", "c3", "c4", "c5")
            await lab.until(lambda: [node["Name"] for node in lab.nodes(Type="container")] == ["c6"])
            # A namespace goes with its last container, in one step.
            assert [node["Name"] for node in lab.nodes(Type="netns")] == ["c6"]


async def test_a_daemon_that_talks_nonsense_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "LONGEST_PAUSE", 0.01)
    asked = 0

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        nonlocal asked
        with trio.socket.socket(trio.socket.AF_UNIX) as listener:
            await listener.bind(str(tmp_path / "s"))
            listener.listen()
            task_status.started()
            while True:
                connection, _ = await listener.accept()
                asked += 1
                with connection:
                    await connection.recv(4096)
                    with suppress(OSError):
                        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1, 2")

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        with structlog.testing.capture_logs() as logs:
            async with run_probes({"docker": {"url": f"unix://{tmp_path}/s"}}, started=0) as lab:
                await lab.until(lambda: asked >= 10)
                report = lab.report("docker")
                assert "/version answered no JSON" in report.fields["daemon"]
                assert (report.state, report.restarts) == ("starting", 0)
        nursery.cancel_scope.cancel()
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == [
        "docker is lost; asking again every few seconds"
    ]
