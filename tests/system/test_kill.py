"""kill −9 at random moments: what an analyzer has acknowledged is in its history, once, whoever dies.

The processes are real, the changes are the kernel's, and what was sent and acknowledged is written down by a tap on
the link, outside of both processes.  ``SKYCORE_KILL_SEED`` repeats a run's choices.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from skycore.plugin.namespaces import inside
from skycore.testing.lab import FakeHost
from tests.system.judge import History, Judge
from tests.system.processes import Process, content
from tests.system.tap import Entry, Ledger, Position, Tap, listening
from tests.system.world import World

pytestmark = pytest.mark.needs("root", "ip", "nsenter")

KILLS: Final = 50
ACKS: Final = 100
"""At least so many acknowledgements between two kills."""
CHANGES: Final = 500
"""At least so many changes a second, all pauses of the killed included."""
RATE: Final = 800
HOST, AGENT_PORT, ANALYZER_PORT, TAP_PORT = "127.0.0.1", 8081, 8082, 8090


class EarlyAcks(Process):
    """An analyzer that acknowledges before it commits."""

    program = (sys.executable, str(Path(__file__).with_name("early_acks.py")))


@attrs.define
class Scene:
    """One host with agent, tap and analyzer, in a steady stream of changes."""

    agent: Process
    analyzer: Process
    ledger: Ledger
    tap: Tap
    world: World
    history: History
    judge: Judge
    copied: Position = (0, 0)
    copied_entries: Mapping[Position, Entry] = attrs.field(factory=dict)

    async def kill(self, process: Process) -> None:
        """Kill it and start it again; of an analyzer's history a copy is made between, for ``inspect``."""
        await trio.to_thread.run_sync(process.kill9)
        if process is self.analyzer:
            with trio.fail_after(10):
                while self.tap.open:  # noqa: ASYNC110
                    await trio.sleep(0.002)
            self.copied = self.ledger.acknowledged
            await trio.to_thread.run_sync(self.history.copy)
            self.copied_entries = dict(self.ledger.entries)
        await trio.to_thread.run_sync(process.spawn)

    async def inspect(self) -> None:
        """Judge the last copy, in a thread: the tap goes on."""
        acknowledged, entries = self.copied, self.copied_entries
        self.copied_entries = {}
        await trio.to_thread.run_sync(self.history.read, self.judge.earliest(entries))
        await trio.to_thread.run_sync(self.judge.judge, acknowledged, entries)


@asynccontextmanager
async def scene(folder: Path, analyzer_class: type[Process]) -> AsyncIterator[Scene]:
    with ExitStack() as stack:
        host = stack.enter_context(FakeHost())
        world = World(host, RATE)
        stack.callback(world.stop)
        ledger = Ledger()
        topology = {"probes": ["-netns"], "netlink": {"metrics_update": 0}}
        agent = Process(
            host,
            "agent",
            folder / "agent",
            {
                "host_id": "box",
                "analyzers": [f"{HOST}:{TAP_PORT}"],
                "agent": {"listen": f"{HOST}:{AGENT_PORT}", "topology": topology},
            },
            address=f"{HOST}:{AGENT_PORT}",
        )
        analyzer = analyzer_class(
            host,
            "analyzer",
            folder / "analyzer",
            {"host_id": "centre", "analyzer": {"listen": f"{HOST}:{ANALYZER_PORT}"}},
            address=f"{HOST}:{ANALYZER_PORT}",
        )
        history = History(analyzer.state, folder / "copy")
        tap = Tap(ledger, lambda: inside(host.netns_path, _connection))
        listener = inside(host.netns_path, lambda: listening((HOST, TAP_PORT)))
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, tap.serve, [listener])
            for process in (analyzer, agent):
                stack.callback(process.close)
                await trio.to_thread.run_sync(process.start)
            yield Scene(agent, analyzer, ledger, tap, world, history, Judge(ledger, history))
            nursery.cancel_scope.cancel()


def _connection() -> socket.socket:
    return socket.create_connection((HOST, ANALYZER_PORT), timeout=5)


async def test_no_acknowledged_revision_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("SKYCORE_KILL_SEED") or secrets.randbelow(1 << 32))
    with capsys.disabled():
        print(f"\nSKYCORE_KILL_SEED={seed}", flush=True)  # noqa: T201
    dice = random.Random(seed)
    async with scene(tmp_path, Process) as stage:
        ledger = stage.ledger
        victims = [stage.agent, stage.analyzer] * (KILLS // 2)
        dice.shuffle(victims)
        fewest, began = 1 << 30, time.monotonic()
        for number, victim in enumerate(victims):
            before = ledger.acks
            async with trio.open_nursery() as nursery:
                if stage.copied_entries:
                    nursery.start_soon(stage.inspect)
                with trio.move_on_after(60):
                    await ledger.acks_reach(before + ACKS)
                    await trio.sleep(dice.uniform(0, 0.3))
            assert not stage.judge.lost, f"lost before kill {number + 1}: {stage.judge.lost[:3]}"
            fewest = min(fewest, ledger.acks - before)
            assert fewest >= ACKS, f"{fewest} acknowledgements before kill {number + 1}; {victim.log()[-3000:]}"
            await stage.kill(victim)
        await stage.inspect()
        await ledger.acks_reach(ledger.acks + ACKS)
        seconds = time.monotonic() - began
        rate = ledger.changes / seconds
        await trio.to_thread.run_sync(stage.world.stop)
        await trio.to_thread.run_sync(_await_rest, stage)
        shown = [content(process.elements()) for process in (stage.agent, stage.analyzer)]
        assert shown[0] == shown[1]
        assert await trio.to_thread.run_sync(stage.analyzer.stop) == 0
        stage.history.copy()
        stage.copied, stage.copied_entries = ledger.acknowledged, ledger.entries
        await stage.inspect()
        await trio.to_thread.run_sync(stage.history.check_whole)
        with capsys.disabled():
            print(  # noqa: T201
                f"{KILLS} kills in {seconds:.0f} s, {rate:.0f} changes/s,"
                f" {ledger.acks} acknowledgements (at least {fewest} between two kills),"
                f" {ledger.resent} entries sent again, {stage.judge.changes} acknowledged changes,"
                f" {len(stage.judge.lost)} lost, {len(stage.judge.twice())} twice"
            )
        assert ledger.acknowledged >= max(ledger.entries)
        assert stage.judge.changes == ledger.changes
        assert not stage.judge.lost
        assert not stage.judge.twice()
        assert (ledger.gaps, stage.history.gaps) == (0, 0)
        assert rate >= CHANGES


def _await_rest(stage: Scene) -> None:
    """Wait until the agent has said, and the analyzer has acknowledged, all there is to say."""

    def said() -> bool:
        status = stage.agent.status()
        links = status["Analyzers"].values()
        written = status["Spool"]["Written"]
        return [link["Acknowledged"] for link in links] == [written] and written == status["Spool"]["Written"]

    stage.agent.until(said, 20)
    stage.agent.until(lambda: content(stage.agent.elements()) == content(stage.analyzer.elements()), 20)


async def test_an_analyzer_that_acknowledges_too_early_is_found_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scene(tmp_path, EarlyAcks) as stage:
        kills = 0
        while not stage.judge.lost and kills < 5:
            with trio.fail_after(20):
                await stage.ledger.acks_reach(stage.ledger.acks + 5)
            await stage.kill(stage.analyzer)
            await stage.inspect()
            kills += 1
        with capsys.disabled():
            print(f"\nacknowledged before COMMIT: {len(stage.judge.lost)} lost after {kills} kills")  # noqa: T201
        assert stage.judge.lost
