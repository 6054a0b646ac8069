"""kill −9 at random moments: what an analyzer has acknowledged is in its history, once, whoever dies.

The processes are real, the changes are the kernel's, and what was sent and acknowledged is written down by a tap on
the link, outside of both processes.  ``SKYCORE_KILL_SEED`` repeats a run's choices.
"""

from __future__ import annotations

import itertools
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from skycore.graph.element import Revision, canonical_metadata
from skycore.plugin.namespaces import inside
from skycore.storage.embedded import EmbeddedStore
from skycore.testing.lab import FakeHost, environment_here
from tests.system.processes import Process, content
from tests.system.tap import Entry, Ledger, Position, Said, Tap

pytestmark = pytest.mark.needs("root", "ip", "nsenter")

KILLS: Final = 50
ACKS: Final = 100
"""At least so many acknowledgements between two kills."""
CHANGES: Final = 500
"""At least so many changes a second, all pauses of the killed included."""
RATE: Final = 800
PAIRS: Final = 24
_FAR: Final = 1 << 50
HOST, AGENT_PORT, ANALYZER_PORT, TAP_PORT = "127.0.0.1", 8081, 8082, 8090


class World:
    """Changes in a host's kernel, ``rate`` a second: addresses of many interfaces, and now and then an interface."""

    def __init__(self, host: FakeHost, rate: int) -> None:
        command = ["nsenter", f"--net={host.netns_path}", "--", "ip", "-force", "-batch", "-"]
        # Deleting a veth waits for the kernel; the addresses do not wait with it.
        self._addresses, self._links = (
            subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment_here())
            for _ in range(2)
        )
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        lines = [f"link add v{number} type veth peer name w{number}" for number in range(PAIRS)]
        assert self._links.stdin is not None
        self._links.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self._links.stdin.flush()
        names = {f"{side}{number}" for number in range(PAIRS) for side in "vw"}
        while not names <= set(host.run("ip", "-br", "link").replace("@", " ").split()):
            time.sleep(0.02)
        self._thread.start()

    def _run(self) -> None:
        devices = [f"{side}{number}" for number in range(PAIRS) for side in "vw"]
        held: dict[str, deque[str]] = {device: deque() for device in devices}
        steps = self._step(devices, held)
        assert self._addresses.stdin is not None
        assert self._links.stdin is not None
        begin, done = time.monotonic(), 0
        for turn in itertools.count():
            if self._stop.wait(0.01):
                return
            due = int((time.monotonic() - begin) * self._rate) - done
            done += due
            self._addresses.stdin.write("".join(itertools.islice(steps, due)).encode())
            self._addresses.stdin.flush()
            if turn % 20 == 0:
                line = f"link add t{turn} type veth peer name u{turn}\n"
                if turn >= 60:
                    line += f"link del t{turn - 60}\n"
                self._links.stdin.write(line.encode())
                self._links.stdin.flush()

    def _step(self, devices: list[str], held: dict[str, deque[str]]) -> Iterator[str]:
        """No address comes twice, so no two revisions of an interface say the same."""
        number = 0
        for device in itertools.cycle(devices):
            mine = held[device]
            if len(mine) == 3:
                yield f"address del {mine.popleft()} dev {device}\n"
            else:
                number += 1
                mine.append(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32")
                yield f"address add {mine[-1]} dev {device}\n"

    def stop(self) -> None:
        """No more changes, and those that were asked for are made.  Idempotent."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        for process in (self._addresses, self._links):
            _, complaints = process.communicate(timeout=20)
            assert not complaints, complaints.decode()[:500]


class History:
    """The analyzer's store, read in a copy of the files that the dead process left."""

    def __init__(self, state: Path, scratch: Path) -> None:
        self._state = state
        self._scratch = scratch
        self._last: dict[str, Revision] = {}
        self.kept: Counter[Said] = Counter()
        self.alive: set[tuple[str, bytes]] = set()
        self.gaps = 0

    def copy(self) -> None:
        """To be called while no process has the store open."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        for file in self._state.glob("history.sqlite*"):
            shutil.copy(file, self._scratch)

    @contextmanager
    def _store(self) -> Iterator[EmbeddedStore]:
        store = EmbeddedStore(EmbeddedStore.Settings(str(self._scratch)))
        store.open()
        try:
            yield store
        finally:
            store.close()

    def read(self, since: int) -> None:
        """Take in what the copy has that no copy before had; ``since`` is a time before which nothing new can be."""
        with self._store() as store:
            for row in sorted(store.revisions_between(since, _FAR), key=lambda row: (row.id, row.revision)):
                last = self._last.get(row.id)
                if last is not None and row.revision <= last.revision:
                    continue
                assert last is None or row.updated_at >= last.updated_at, f"{row.json!r} after {last.json!r}"
                self._last[row.id] = row
                said = _said(row)
                self.kept[said] += 1
                self.alive.add(said[:2])
            self.gaps = len(store.gaps(0, _FAR))

    def check_whole(self) -> None:
        """All that was ever there is still there, in ascending order."""
        kept: Counter[Said] = Counter()
        with self._store() as store:
            for id in self._last:
                rows = store.revisions(id)
                kept.update(map(_said, rows))
                assert all(one.revision < other.revision for one, other in itertools.pairwise(rows)), id
        assert kept == self.kept


def _said(row: Revision) -> Said:
    return row.id, canonical_metadata(row.metadata()), row.updated_at, row.deleted_at


class Judge:
    """Compares what was acknowledged with what is kept.

    Each change is there once.  A state is compared by content, so of its elements only the content must be there.
    """

    def __init__(self, ledger: Ledger, history: History) -> None:
        self._ledger = ledger
        self._history = history
        self._judged: Position = (0, 0)
        self.changes = 0
        self.lost: list[Said] = []

    def earliest(self, entries: Mapping[Position, Entry]) -> int:
        """The time of the first change that is still to be judged."""
        times = (said[2] for position, entry in entries.items() if position > self._judged for said in entry.said)
        return min(times, default=0)

    def judge(self, acknowledged: Position, entries: Mapping[Position, Entry]) -> None:
        """Judge what was acknowledged since the last time; history must have been read up to now."""
        kept, alive = self._history.kept, self._history.alive
        for position, entry in entries.items():
            if not self._judged < position <= acknowledged:
                continue
            if entry.whole:
                self.lost += [said for said in entry.said if said[:2] not in alive]
            else:
                self.changes += len(entry.said)
                self.lost += [said for said, count in Counter(entry.said).items() if kept[said] < count]
        self._judged = max(self._judged, acknowledged)

    def twice(self) -> list[Said]:
        """Changes that are in history more often than they were sent."""
        sent: Counter[Said] = Counter()
        for entry in self._ledger.entries.values():
            sent.update(entry.said)
        return [said for said, count in self._history.kept.items() if count > max(1, sent[said])]


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
        listener = inside(host.netns_path, _listening)
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, tap.serve, [trio.SocketListener(listener)])
            for process in (analyzer, agent):
                stack.callback(process.close)
                await trio.to_thread.run_sync(process.start)
            yield Scene(agent, analyzer, ledger, tap, world, history, Judge(ledger, history))
            nursery.cancel_scope.cancel()


def _listening() -> trio.socket.SocketType:
    listener = socket.create_server((HOST, TAP_PORT))
    listener.setblocking(False)
    return trio.socket.from_stdlib_socket(listener)


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
                with trio.move_on_after(20):
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
