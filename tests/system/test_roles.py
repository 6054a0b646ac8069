"""The three roles as real processes: what they show, how they end, and what stops them from starting."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from skycore.testing.lab import FakeHost
from skycore.testing.pytest_plugin import require
from tests.system.processes import Process, content
from tests.system.world import World

AGENT, ANALYZER = "127.0.0.1:8081", "127.0.0.1:8082"
ROLES = ("agent", "analyzer", "allinone")
TOKEN = "a token that agents and analyzers share"
QUIET = {"netlink": {"metrics_update": 0}}

pytestmark = pytest.mark.needs("root", "ip", "nsenter", "unshare")


@pytest.fixture(scope="module")
def host() -> Iterator[FakeHost]:
    """A host with a veth and a bridge."""
    require("root", "ip", "nsenter", "unshare", "bash")
    with FakeHost() as made:
        made.run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
        made.run("ip", "link", "add", "br0", "type", "bridge")
        made.run("ip", "link", "set", "one", "master", "br0", "up")
        made.run("ip", "address", "add", "10.202.0.1/24", "dev", "br0")
        yield made


@attrs.define
class Here:
    """Makes processes in one host; each ends with its test."""

    host: FakeHost
    folder: Path
    made: list[Process] = attrs.field(factory=list)

    def process(self, role: str, *options: str, name: str | None = None, **configuration: Any) -> Process:
        settings = {
            "host_id": "box",
            "agent": {"listen": AGENT, "topology": QUIET},
            "analyzer": {"listen": ANALYZER},
            **configuration,
        }
        address = AGENT if role == "agent" else ANALYZER
        process = Process(self.host, role, self.folder / (name or role), settings, *options, address=address)
        self.made.append(process)
        return process


@pytest.fixture
def here(host: FakeHost, tmp_path: Path) -> Iterator[Here]:
    place = Here(host, tmp_path)
    yield place
    for process in place.made:
        process.close()


def links(host: FakeHost) -> set[str]:
    return {link["ifname"] for link in json.loads(host.run("ip", "-j", "link"))}


def names(process: Process, moment: str = "G") -> set[str]:
    """Names of the interfaces that a process shows."""
    return set(process.query(f"{moment}.V().HasKey('IfIndex').Values('Name')") or [])


def test_allinone_shows_every_link_and_follows(here: Here) -> None:
    process = here.process("allinone").start()
    process.until(lambda: names(process) == links(here.host))
    began = time.monotonic()
    here.host.run("ip", "link", "add", "new", "type", "veth", "peer", "name", "newer")
    process.until(lambda: {"new", "newer"} <= names(process), 1.0)
    assert time.monotonic() - began < 1.0
    here.host.run("ip", "link", "del", "new")
    process.until(lambda: names(process) == links(here.host), 1.0)
    status = process.status()
    assert status["History"]["State"] == "running"
    assert list(status["Agents"]) == ["box"]


def test_an_allinone_that_lists_its_own_address_has_one_link(here: Here) -> None:
    """As users of Skydive often write it; the second name cannot be told from another host's, and stands by."""
    here.host.run("ip", "address", "replace", "10.202.0.9/32", "dev", "lo")
    process = here.process(
        "allinone",
        "--insecure-listen",
        analyzer={"listen": "0.0.0.0:8082"},
        analyzers=[ANALYZER, "10.202.0.9:8082", "localhost:8082", "127.0.0.2:8082", "[::ffff:127.0.0.1]:8082"],
    ).start()
    process.until(lambda: names(process) == links(here.host))
    agent = Process(here.host, "agent", here.folder / "asked", {}, address=AGENT)

    def states() -> dict[str, Any]:
        return dict(agent.status()["Analyzers"])

    process.until(lambda: [one["SameAs"] for one in states().values() if not one["IsConnected"]] == ["local"])
    assert sorted(states()) == ["[::ffff:127.0.0.1]:8082", "box"], "four of five are known to be our own"
    (before,) = process.status()["Agents"].values()
    for number in range(10):
        here.host.run("ip", "link", "add", f"d{number}", "type", "bridge")
        process.until(lambda number=number: f"d{number}" in names(process))  # type: ignore[misc]
        here.host.run("ip", "link", "del", f"d{number}")
    (after,) = process.status()["Agents"].values()
    assert after["ConnectTime"] == before["ConnectTime"]
    assert process.log().count('"agent connected"') == 1
    assert process.log().count('"agent link refused"') == 1


def test_a_moment_ago_is_answered_also_after_kill_9(here: Here) -> None:
    process = here.process("allinone").start()
    process.until(lambda: names(process) == links(here.host))
    here.host.run("ip", "link", "add", "brief", "type", "veth", "peer", "name", "briefer")
    process.until(lambda: {"brief", "briefer"} <= names(process))
    time.sleep(0.05)
    then = int(time.time() * 1000)
    time.sleep(0.05)
    before = links(here.host)
    here.host.run("ip", "link", "del", "brief")
    process.until(lambda: names(process) == links(here.host))
    moment = f"G.At({then})"
    kept = process.elements(moment)
    assert names(process, moment) == before
    assert {"brief", "briefer"} <= before
    assert not {"brief", "briefer"} & names(process)
    process.until(lambda: process.status()["History"]["Backlog"] == 0)

    process.kill9()
    process.start()
    assert names(process, moment) == before
    assert content(process.elements(moment)) == content(kept)
    process.until(lambda: names(process) == links(here.host))
    ago = time.time() - then / 1000
    assert {"brief", "briefer"} <= names(process, f"G.At('-{ago:.3f}s')")


def test_an_unchanged_world_has_the_same_history_after_each_restart(here: Here) -> None:
    process = here.process("allinone").start()
    process.until(lambda: names(process) == links(here.host))
    process.until(lambda: not process.status()["Graph"]["Stale"])
    process.until(lambda: not process.status()["History"]["Backlog"])
    # Counters go on while nobody looks; an agent's first inventory reads them.
    before = {id: element for id, element in process.elements().items() if "Metric" not in element["Metadata"]}
    assert len(before) > 5
    for end in (process.kill9, process.stop):
        end()
        process.start()
        process.until(lambda: not process.status()["Graph"]["Stale"])
        now = process.elements()
        assert {id: now.get(id) for id in before} == before, "same elements, same revisions, same times"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_soon(here: Here, role: str, signum: signal.Signals) -> None:
    process = here.process(role).start()
    if role != "analyzer":
        process.until(lambda: names(process) == links(here.host))
    inside = process._inside
    assert inside is not None
    began = time.monotonic()
    inside.kill(signum)
    assert inside.wait() == 0, process.log()
    assert time.monotonic() - began < 2.0
    assert "Traceback" not in process.log()


@pytest.mark.parametrize("role", ["analyzer", "allinone"])
def test_a_signal_ends_an_analyzer_that_agents_flood(here: Here, role: str) -> None:
    """It stops to listen before it saves: else there would always be more to save."""
    process = here.process(role).start()
    flood = str(Path(__file__).with_name("flood.py"))
    agent = here.host.popen(sys.executable, flood, ANALYZER, str(here.folder / "spool"))
    try:
        process.until(lambda: process.status()["Agents"].get("flood", {}).get("Revisions", 0) > 10_000, 30)
        began = time.monotonic()
        assert process.stop() == 0, process.log()
        took = time.monotonic() - began
        assert "Traceback" not in process.log()
        assert took < 2.0
        # What it had acknowledged is not sent again, and the rest is.
        process.start()
        process.until(lambda: process.status()["Agents"].get("flood", {}).get("Acknowledged", 0) > 10_000, 30)
        assert process.status()["History"]["Gaps"] == 0
    finally:
        agent.kill()
        agent.wait()


def test_a_signal_ends_an_agent_whose_analyzer_is_frozen(here: Here) -> None:
    analyzer = here.process("analyzer").start()
    agent = here.process("agent", analyzers=[ANALYZER, "127.0.0.1:1"]).start()
    agent.until(lambda: content(agent.elements()) == content(analyzer.elements()))
    inside = analyzer._inside
    assert inside is not None
    world = World(here.host, 400)
    try:
        agent.until(lambda: agent.status()["Spool"]["Written"] > 1000, 30)
        inside.freeze()
        began = time.monotonic()
        assert agent.stop() == 0, agent.log()
        took = time.monotonic() - began
    finally:
        inside.thaw()
        world.clear()
    assert took < 2.0
    assert "Traceback" not in agent.log()


@pytest.mark.parametrize("role", ROLES)
def test_systemd_is_told(here: Here, role: str) -> None:
    path = here.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(20)
        process = here.process(role)
        process.program = ("env", f"NOTIFY_SOCKET={path}", "WATCHDOG_USEC=400000", *process.program)
        process.spawn()
        assert manager.recv(4096).split(b"\n")[0] == b"READY=1"
        assert process.status(), "it answers at once when it is ready"
        assert [manager.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        assert process.stop() == 0
        manager.setblocking(False)
        told: list[bytes] = []
        while not told or not told[-1].startswith(b"STOPPING=1"):
            told.append(manager.recv(4096))
        assert set(told[:-1]) <= {b"WATCHDOG=1"}


@pytest.mark.parametrize("role", ROLES)
def test_a_signal_during_the_start_ends_it_too(here: Here, role: str) -> None:
    for pause in (0.1, 0.4):
        process = here.process(role, name=f"{role}-{pause}")
        inside = process.spawn()
        time.sleep(pause)
        inside.kill(signal.SIGTERM)
        # Before the process watches signals, the kernel ends it.
        assert inside.wait() in (0, -signal.SIGTERM, 128 + signal.SIGTERM), process.log()
        assert "Traceback" not in process.log() or "KeyboardInterrupt" in process.log()


@pytest.mark.parametrize("role", ROLES)
def test_a_second_process_on_the_same_folder_is_turned_away(here: Here, role: str) -> None:
    # An agent without analyzers keeps no spool.
    nowhere = ["127.0.0.1:1"]
    first = here.process(role, analyzers=nowhere).start()
    elsewhere: dict[str, Any] = {"agent": {"listen": "127.0.0.1:8181"}, "analyzer": {"listen": "127.0.0.1:8182"}}
    second = here.process(role, analyzers=nowhere, **elsewhere)
    second.log_file = second.folder / "second.log"
    assert second.spawn().wait() == 1
    said = second.log()
    assert "Traceback" not in said
    assert "in use by another process" in said
    assert "another folder" in said
    assert first.status()


@pytest.mark.parametrize(("role", "key"), [("agent", "agent.listen"), ("analyzer", "analyzer.listen")])
def test_a_port_that_is_taken_is_told(here: Here, role: str, key: str) -> None:
    first = here.process(role, name="first").start()
    second = here.process(role, name="second")
    assert second.spawn().wait() == 1
    said = second.log()
    assert "Traceback" not in said
    assert f"({key})" in said
    assert "in use" in said
    assert first.status()


def test_wrong_configuration_ends_with_2_and_names_all_of_it(here: Here) -> None:
    process = here.process("allinone", agent={"listen": 99999, "tpology": {}})
    assert process.spawn().wait() == 2
    assert "agent.listen" in process.log()
    assert "agent.tpology" in process.log()


@pytest.mark.parametrize("given", [TOKEN, "another token, as long as that one", None])
def test_agent_and_analyzer_share_a_token(here: Here, given: str | None) -> None:
    tokens: dict[str, Any] = {}
    for name, token in (("analyzer", TOKEN), ("agent", given)):
        if token is not None:
            file = here.folder / f"{name}.token"
            file.write_text(f"{token}\n")
            tokens[name] = {"cluster": {"token_file": str(file)}}
    analyzer = here.process("analyzer", **tokens["analyzer"]).start()
    agent = here.process("agent", analyzers=[ANALYZER], **tokens.get("agent", {})).start()
    agent.until(lambda: names(agent) == links(here.host))

    def link() -> dict[str, Any]:
        (state,) = agent.status()["Analyzers"].values()
        return dict(state)

    if given == TOKEN:
        agent.until(lambda: content(agent.elements()) == content(analyzer.elements()))
        assert link()["IsConnected"]
        assert link()["Error"] is None
    else:
        agent.until(lambda: link()["Error"])
        assert "401" in link()["Error"]
        assert "cluster.token_file" in link()["Error"]
        assert not link()["IsConnected"]
        assert not analyzer.elements()
    for process in (agent, analyzer):
        assert TOKEN not in process.log()


def test_a_token_that_is_none_stops_the_start(here: Here) -> None:
    file = here.folder / "token"
    file.write_text("short\n")
    process = here.process("analyzer", cluster={"token_file": str(file)})
    assert process.spawn().wait() == 2
    assert "cluster.token_file" in process.log()
    assert "16 printable" in process.log()
