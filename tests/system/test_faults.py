"""What breaks between two agents and their analyzers, and what is lost by it: nothing, or what a gap says.

Three analyzers get everything from both agents, while both kernels change all the time.  Two of the analyzers are
disturbed; the third one is the witness: its links hold, so what its history has is what the others' must have, each
revision once.  Wires, filters (nf_tables, by iptables) and processes are real.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from skycore.testing.lab import FakeHost, Underlay
from skycore.testing.pytest_plugin import require
from tests.system.judge import History
from tests.system.processes import Process, content
from tests.system.tap import Said
from tests.system.world import World

AGENT = "127.0.0.1:8081"
PORTS = {"first": 8082, "second": 8083, "witness": 8084}
RATE = 60
SILENCE = 7.0
"""Seconds of silence after which either end gives a link up, by default: a ping is due, and five seconds."""
PATIENCE = 600
QUIET = {"probes": ["-netns"], "netlink": {"metrics_update": 0}}


@attrs.define
class Cluster:
    """Agents by their host's name, analyzers by their own."""

    hosts: dict[str, FakeHost]
    centre: FakeHost
    agents: dict[str, Process]
    analyzers: dict[str, Process]
    scratch: Path

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Both kernels change all the while; at the end all that was said has arrived everywhere."""
        worlds = [World(host, RATE) for host in self.hosts.values()]
        try:
            self.await_changes(100)
            yield
            self.await_changes(100)
        finally:
            for world in worlds:
                world.clear()
        self.settled()

    def await_changes(self, count: int) -> None:
        """Wait until each agent has said so much more."""
        for agent in self.agents.values():
            goal = agent.status()["Spool"]["Written"] + count
            agent.until(lambda agent=agent, goal=goal: agent.status()["Spool"]["Written"] >= goal, 40)  # type: ignore[misc]

    def settled(self) -> None:
        """Wait until everything is acknowledged by everyone, and everyone shows the same."""
        for agent in self.agents.values():
            agent.until(lambda agent=agent: _all_said(agent), 40)  # type: ignore[misc]
        for analyzer in self.analyzers.values():
            analyzer.until(lambda analyzer=analyzer: self.same(analyzer), 40)  # type: ignore[misc]

    def same(self, analyzer: Process) -> bool:
        """Whether the analyzer holds exactly what the agents do, and can vouch for it."""
        union: dict[str, str] = {}
        for agent in self.agents.values():
            union |= content(agent.elements())
        return content(analyzer.elements()) == union and not analyzer.status()["Graph"]["Stale"]

    def kept(self, name: str) -> Counter[Said]:
        """All revisions in an analyzer's history, in a copy made while it stands still."""
        analyzer = self.analyzers[name]
        history = History(analyzer.state, self.scratch / f"copy-{name}")
        inside = analyzer._inside
        assert inside is not None
        analyzer.until(lambda: analyzer.status()["History"]["Backlog"] == 0)
        inside.freeze()
        try:
            history.copy()
        finally:
            inside.thaw()
        history.read(0)
        assert history.gaps == analyzer.status()["History"]["Gaps"]
        return history.kept

    def link(self, host: str, analyzer: str) -> dict[str, Any]:
        """What an agent's status says of a link; all analyzers are on one host, so each is shown by its address."""
        (found,) = (
            link for link in self.agents[host].status()["Analyzers"].values() if link["Port"] == PORTS[analyzer]
        )
        return dict(found)

    def cut(self, analyzer: str, *, heal: bool = False) -> None:
        """Drop what goes from and to an analyzer, on the wire alone; nobody is told."""
        verb, port = "-D" if heal else "-I", str(PORTS[analyzer])
        for chain, side, end in (("INPUT", "-i", "--dport"), ("OUTPUT", "-o", "--sport")):
            self.centre.run("iptables", verb, chain, side, "eth0", "-p", "tcp", end, port, "-j", "DROP")

    def nothing_was_lost(self) -> None:
        """The disturbed analyzers have what the witness has, each revision once."""
        witness = self.kept("witness")
        assert set(witness.values()) == {1}
        for name in ("first", "second"):
            kept = self.kept(name)
            assert kept == witness, f"{name}: {len(witness - kept)} lost, {len(kept - witness)} too many"
            assert self.analyzers[name].status()["History"]["Gaps"] == 0
        for host in self.hosts:
            assert self.agents[host].status()["Spool"]["Dropped"] == 0


def _all_said(agent: Process) -> bool:
    status = agent.status()
    written = status["Spool"]["Written"]
    return all(link["Acknowledged"] == written for link in status["Analyzers"].values())


@contextmanager
def cluster_of(folder: Path, names: list[str], **spool: Any) -> Iterator[Cluster]:
    """Hosts of these names with an agent each, and the three analyzers on a host of their own."""
    with ExitStack() as stack:
        hosts = [stack.enter_context(FakeHost(name)) for name in (*names, "centre")]
        underlay = stack.enter_context(Underlay(hosts))
        *outer, centre = hosts
        analyzers = {}
        for name, port in PORTS.items():
            address = f"{underlay.addresses['centre']}:{port}"
            settings: dict[str, Any] = {"analyzer": {"listen": address, "agent_timeout": PATIENCE}}
            process = Process(centre, "analyzer", folder / name, settings, "--insecure-listen", address=address)
            analyzers[name] = stack.enter_context(process)
        addresses = [f"{underlay.addresses['centre']}:{port}" for port in PORTS.values()]
        agents = {}
        for host in outer:
            settings = {"analyzers": addresses, "agent": {"listen": AGENT, "topology": QUIET, **spool}}
            process = Process(host, "agent", folder / host.hostname, settings, address=AGENT)
            agents[host.hostname] = stack.enter_context(process)
        for process in (*analyzers.values(), *agents.values()):
            process.spawn()
        for process in (*analyzers.values(), *agents.values()):
            process.until(process._answers, 40)
        made = Cluster({host.hostname: host for host in outer}, centre, agents, analyzers, folder)
        made.settled()
        yield made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    require("root", "ip", "nsenter", "unshare", "bash", "iptables")
    with cluster_of(tmp_path_factory.mktemp("faults"), ["one", "two"]) as made:
        yield made


def test_each_analyzer_is_started_again_in_turn(cluster: Cluster) -> None:
    """By SIGTERM and by SIGKILL; one of the two is always there."""
    with cluster.changing():
        for end in ("stop", "kill9", "stop", "kill9"):
            for name in ("first", "second"):
                process = cluster.analyzers[name]
                began = time.monotonic()
                getattr(process, end)()
                assert end != "stop" or time.monotonic() - began < 2.0
                cluster.await_changes(20)
                process.start()
                process.until(lambda process=process: not process.status()["Graph"]["Stale"], 40)  # type: ignore[misc]
    cluster.nothing_was_lost()


def test_a_wire_that_drops_everything_for_a_while(cluster: Cluster) -> None:
    process = cluster.analyzers["first"]
    with cluster.changing():
        cluster.cut("first")
        began = time.monotonic()
        try:
            for host in cluster.hosts:
                error = cluster.agents[host].until(lambda host=host: cluster.link(host, "first")["Error"], 30)  # type: ignore[misc]
                assert "nothing came from the analyzer for 7 s" in error or "no connection" in error
            process.until(lambda: len(process.status()["Graph"]["Stale"]) == len(cluster.hosts), 30)
            assert not process.status()["Agents"]
            assert time.monotonic() - began >= SILENCE - 2
            for host in cluster.hosts:
                assert cluster.link(host, "second")["IsConnected"]
                assert cluster.link(host, "witness")["IsConnected"]
        finally:
            cluster.cut("first", heal=True)
        process.until(lambda: not process.status()["Graph"]["Stale"], 40)
    cluster.nothing_was_lost()


def test_an_analyzer_that_died_behind_a_cut_wire_is_found_again_by_quiet_agents(cluster: Cluster) -> None:
    """The agents' connections are half open: their other end is gone, and nobody could tell them."""
    process = cluster.analyzers["second"]
    cluster.cut("second")
    try:
        process.kill9()
        process.start()
    finally:
        cluster.cut("second", heal=True)
    process.until(lambda: not process.status()["Graph"]["Stale"], 40)
    cluster.settled()
    cluster.nothing_was_lost()


@pytest.mark.parametrize("which", ["analyzer", "agent"])
def test_a_process_that_stands_still(cluster: Cluster, which: str) -> None:
    """SIGSTOP for longer than anybody waits; then it goes on as if nothing had been."""
    process = cluster.analyzers["first"] if which == "analyzer" else cluster.agents["two"]
    witness = cluster.analyzers["witness"]
    inside = process._inside
    assert inside is not None
    with cluster.changing():
        inside.freeze()
        try:
            if which == "analyzer":
                agent = cluster.agents["one"]
                agent.until(lambda: cluster.link("one", "first")["Error"], 30)
            else:
                witness.until(
                    lambda: [one["Origin"] for one in witness.status()["Graph"]["Stale"]] == ["agent.two"], 30
                )
        finally:
            inside.thaw()
        for analyzer in cluster.analyzers.values():
            analyzer.until(lambda analyzer=analyzer: not analyzer.status()["Graph"]["Stale"], 40)  # type: ignore[misc]
    cluster.nothing_was_lost()


def test_what_a_full_spool_could_not_keep_is_a_gap_of_just_that_size(tmp_path: Path) -> None:
    require("root", "ip", "nsenter", "unshare", "bash", "iptables")
    with cluster_of(tmp_path, ["only"], spool={"max_bytes": 1 << 20}) as cluster:
        agent, first = cluster.agents["only"], cluster.analyzers["first"]
        with cluster.changing():
            first.kill9()
            agent.until(lambda: agent.status()["Spool"]["Dropped"] > 300, 60)
            first.start()
            first.until(lambda: not first.status()["Graph"]["Stale"], 40)
            living = len(first.elements())
        dropped = agent.status()["Spool"]["Dropped"]
        history = first.status()["History"]
        assert history["Gaps"] > 0
        told = sum(gap["Lost"] for gap in history["LatestGaps"])
        witness = cluster.kept("witness")
        kept = cluster.kept("first")
        missing = list((witness - kept).elements())
        # What began in the gap and ended behind it cannot end in a history that never saw it: so an end may be missing
        # that the gap does not count.
        known = {said[0] for said in kept}
        counted = [said for said in missing if said[0] in known or said[3] is None]
        # Dropped besides may be what was under way; told but not missing, the last of what lived, from the state.
        assert 0 < told <= dropped
        assert len(counted) <= told <= len(missing) + living
        assert cluster.analyzers["witness"].status()["History"]["Gaps"] == 0
        assert cluster.kept("second") == witness
        assert len(history["LatestGaps"]) == history["Gaps"]
        for _, _, updated, deleted in counted:
            at = updated if deleted is None else deleted
            assert any(gap["Start"] <= at <= gap["End"] for gap in history["LatestGaps"]), (
                "a gap covers what is missing"
            )
