"""Daemons that are away, refuse, stumble, or come and go: what people see, and that nothing is lost or repeated."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import docker_witness
import pytest
import structlog
import trio
from skydive_probe_docker import probe as probe_module

from skycore.testing import ProbeLab, run_probes
from skycore.testing.dockerd import Dockerd
from skycore.testing.lab import FakeHost

ANSWERS = json.loads((Path(__file__).parent / "data" / "docker-20.10.24.json").read_text())
Answer = Callable[[str], bytes]


def _http(document: Any, status: str = "200 OK") -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def _daemon(path: Path, answer: Answer) -> AsyncIterator[list[str]]:
    """Something that speaks HTTP on a unix socket; gives the targets of all requests so far."""
    asked: list[str] = []

    async def talk(stream: trio.SocketStream) -> None:
        async with stream:
            with suppress(trio.BrokenResourceError):
                line = await stream.receive_some()
                if not line:
                    return
                target = bytes(line).split(b" ", 2)[1].decode()
                asked.append(target)
                if "/events" in target:
                    await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
                    await trio.sleep_forever()
                await stream.send_all(answer(target))

    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen()
        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                while True:
                    connection, _ = await listener.accept()
                    nursery.start_soon(talk, trio.SocketStream(connection))

            nursery.start_soon(accept)
            yield asked
            nursery.cancel_scope.cancel()


def _stale(lab: ProbeLab) -> bool:
    return (lab.graph.origin, "docker") in lab.graph.stale


@pytest.fixture
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "LONGEST_PAUSE", 0.01)


@pytest.mark.usefixtures("_quickly")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_http(b"permission denied", "403 Forbidden"), "status 403: 'permission denied'"),
        (_http(b"{", "200 OK"), "no JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "/version: "),
        (b"\x00\xff\r\n\r\n", "/version: "),
        (b"", "/version: "),
        (_http({"ApiVersion": "1.12"}), "needs 1.24"),
    ],
)
async def test_a_daemon_that_does_not_answer_is_named_once(tmp_path: Path, answer: bytes, reason: str) -> None:
    async with _daemon(tmp_path / "s", lambda _: answer) as asked:
        with structlog.testing.capture_logs() as logs:
            async with run_probes({"docker": {"url": f"unix://{tmp_path}/s"}}, started=0) as lab:
                await lab.until(lambda: len(asked) >= 10)
                report = lab.report("docker")
                assert reason in report.fields["daemon"]
                assert (report.state, report.restarts) == ("starting", 0)
                assert _stale(lab)
        assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == [
            "docker is lost; asking again every few seconds"
        ]


async def test_a_daemon_that_is_absent_is_not_asked_in_a_tight_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []
    follow = probe_module.DockerProbe._follow

    async def counted(self: Any, complete: Any) -> None:
        tried.append(trio.current_time())
        await follow(self, complete)

    monkeypatch.setattr(probe_module.DockerProbe, "_follow", counted)
    async with run_probes({"docker": {"url": f"unix://{tmp_path}/none"}}, started=0) as lab:
        await lab.until(lambda: len(tried) >= 5, seconds=10)
    pauses = [after - before for before, after in itertools.pairwise(tried)]
    assert all(pause >= wanted for pause, wanted in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=False))


async def test_a_container_that_the_daemon_stumbles_over_takes_nothing_else_away(tmp_path: Path) -> None:
    good, bad = ANSWERS["inspected"]["host"], "b" * 64
    stumbling = True

    def answer(target: str) -> bytes:
        if target == "/version":
            return _http(ANSWERS["version"])
        if target.endswith("/containers/json"):
            return _http([{"Id": good["Id"]}, {"Id": bad}])
        if bad in target:
            if stumbling:
                return _http({"message": "layer does not exist"}, "500 Internal Server Error")
            return _http({**good, "Id": bad, "Name": "/other"})
        return _http(good) if good["Id"] in target else _http({})

    async with (
        _daemon(tmp_path / "s", answer),
        run_probes({"docker": {"url": f"unix://{tmp_path}/s", "proc_path": str(tmp_path)}}) as lab,
    ):
        assert [node["Name"] for node in lab.nodes(Type="container")] == ["hostly"]
        assert "layer does not exist" in lab.report("docker").fields["unread"]
        assert not _stale(lab)


async def test_a_daemon_that_restarts_all_the_time(dockerd: Dockerd) -> None:
    """Containers keep their revisions, the log stays short, and what happens in between is not missed."""
    await dockerd.acontainer("stays")
    with structlog.testing.capture_logs() as logs:
        settings = {"docker": docker_witness.settings(dockerd, stopped=False)}
        async with run_probes(settings, namespace=dockerd.host.netns_path) as lab:
            (before,) = lab.nodes(Type="container")
            for number in range(4):
                await trio.to_thread.run_sync(dockerd.restart)
                await dockerd.acontainer(f"made{number}", "--network", "none")
                wanted = f"made{number}"
                await lab.until(lambda wanted=wanted: lab.nodes(Name=wanted, Type="container"), seconds=15)  # type: ignore[misc]
            assert lab.nodes(Name="stays", Type="container") == [before]
            assert lab.report("docker").restarts == 0
    assert len([entry for entry in logs if entry["log_level"] == "warning"]) == 1


async def test_hostile_names_and_labels(dockerd: Dockerd) -> None:
    labels = {
        "quotes": "\"'`$(x)`",
        "lines": "a\nb\r\nc\u2028",
        "control": "\x01\x1b[31m\x7f",
        "wide": "\U0001f433" * 100,
        "\u00e9\u202e.\U0001f433": "name",
        **{f"big{number}": str(number) * 100_000 for number in range(10)},
    }
    options = [part for name, value in labels.items() for part in ("--label", f"{name}={value}")]
    async with run_probes(
        {"docker": docker_witness.settings(dockerd, stopped=False)}, namespace=dockerd.host.netns_path
    ) as lab:
        await dockerd.acontainer("hostile.name_-", "--hostname", "x" * 60, *options)
        await lab.until(lambda: lab.nodes(Type="container"), seconds=10)
        (node,) = lab.nodes(Type="container")
        assert node["Name"] == "hostile.name_-"
        assert docker_witness.told(dockerd, stopped=False) == docker_witness.shown(lab)
        assert node["Container"]["Labels"]["control"] == "\x01\x1b[31m\x7f"


async def test_labels_beyond_all_bounds_are_left_out_and_counted(tmp_path: Path) -> None:
    """More than docker's command line takes, as its API does: 6 MB of labels on one container."""
    good = ANSWERS["inspected"]["host"]
    labels = {f"l{number}": "\x01" * 500_000 for number in range(12)} | {"small": "1"}
    hostile = {**good, "Name": "/" + "n" * 1_000_000, "Config": {**good["Config"], "Labels": labels}}

    def answer(target: str) -> bytes:
        if target == "/version":
            return _http(ANSWERS["version"])
        if target.endswith("/containers/json"):
            return _http([{"Id": good["Id"]}])
        return _http(hostile) if good["Id"] in target else _http({})

    async with (
        _daemon(tmp_path / "s", answer),
        run_probes({"docker": {"url": f"unix://{tmp_path}/s", "proc_path": str(tmp_path)}}) as lab,
    ):
        (node,) = lab.nodes(Type="container")
        assert node["Container"]["Labels"] == {"small": "1"}
        assert node["Container"]["LabelsLeftOut"] == 12
        assert len(node["Name"]) == 1_000_000


@pytest.fixture
def two_daemons(tmp_path: Path) -> Iterator[list[Dockerd]]:
    with Dockerd(FakeHost(), tmp_path / "one.log") as one, Dockerd(FakeHost(), tmp_path / "two.log") as two:
        yield [one, two]


@pytest.mark.needs("root", "dockerd", "docker", "busybox")
async def test_two_daemons_with_the_same_addresses(two_daemons: list[Dockerd]) -> None:
    """Each in its own host, with the same names, networks and addresses: two graphs that know nothing of each other."""
    for daemon in two_daemons:
        await daemon.acontainer("web")
    found = []
    for daemon in two_daemons:
        probes = {"docker": docker_witness.settings(daemon, stopped=False), "netlink": {}}
        async with run_probes(probes, namespace=daemon.host.netns_path, host_id=daemon.host.hostname) as lab:
            (node,) = lab.nodes(Type="container")
            assert docker_witness.shown(lab) == docker_witness.told(daemon, stopped=False)
            (network,) = node["Container"]["Networks"]
            (eth0,) = await lab.until(lambda lab=lab: lab.nodes(Name="eth0", Type="veth"))  # type: ignore[misc]
            assert eth0["MAC"] == network["MAC"]
            assert eth0["IPV4"] == [network["IPV4"]]
            found.append((node, network))
    (one, first), (two, second) = found
    assert first["IPV4"] == second["IPV4"]
    assert one["@ID"] != two["@ID"]
