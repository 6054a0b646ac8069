"""One agent, its link and its analyzer against a model: whatever breaks, live graph and history end up right.

Everything here is the real thing but the wire and the disk of the agent: graphs, messages, Origin, HistoryKeeper,
EmbeddedStore.  The spool is a list, the link is a function call, and the clock stands still unless it is told.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import attrs
import structlog
import trio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from skycore.bus import Cursor
from skycore.cluster import messages
from skycore.cluster.messages import Changes, Gap, Sync
from skycore.cluster.origin import Origin
from skycore.cluster.recorder import _changes, _sync
from skycore.graph.element import Kind, Revision
from skycore.graph.graph import Graph
from skycore.graph.identity import edge_id
from skycore.storage import keeper as keeper_module
from skycore.storage.contract import Mark, Record, RevisionRecord
from skycore.storage.embedded import EmbeddedStore
from skycore.storage.keeper import HistoryKeeper

AGENT = "agent.h"
NODES = ["a", "b", "c", "d"]
PAIRS = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d")]
Position = tuple[int, int]
Content = dict[str, tuple[bytes, str | None, str | None]]

structlog.configure(
    processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
)


def content(graph: Graph) -> Content:
    return {
        revision.id: (revision.metadata_json, revision.parent, revision.child)
        for revision in [*graph.nodes.values(), *graph.edges.values()]
    }


class Clock:
    """Moves by one at each look, so that every revision has a time of its own."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        self.now += 1
        return self.now


@attrs.define
class Spooled:
    """What stands in the spool: an entry, or what was dropped (a Gap to be made of it)."""

    epoch: int
    last: int
    message: bytes
    gap: bool = False


class Agent:
    """The agent's end, as Recorder and Uplink do it, without waiting."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.spool: list[Spooled] = []
        self.acknowledged: Position = (0, 0)
        self.epoch = 0
        self.start()

    def start(self) -> None:
        self.epoch = self.clock()
        self.graph = Graph(host="h", origin=AGENT, with_tids=True, clock=self.clock)
        self.cursor: Cursor[Revision] = self.graph.log.cursor(every=True)
        self.probe = self.graph.claimant("probe")
        self.seq = 0
        self.last_sync: tuple[Position, Position] | None = None
        self.recorded_until = self.clock.now
        self.graph.claimant("skycore").put("host", {"Type": "host"})

    def record(self, size: int) -> None:
        """Write what changed to the spool, in entries of about ``size`` bytes; an epoch begins with its state."""
        if self.seq == 0:
            self.sync(size)
            return
        for elements, owners in messages.parts(self.cursor.read().changes, size):
            if elements:
                self._append(len(elements), partial(_changes, self.epoch, elements, owners))
        self.recorded_until = self.clock.now

    def sync(self, size: int) -> None:
        """Write the whole state after what changed."""
        if self.seq:
            self.record(size)
        else:
            self.cursor.read()
        cut = list(messages.parts([*self.graph.nodes.values(), *self.graph.edges.values()], size))
        at, first = self.clock(), self.seq + 1
        for part, (elements, owners) in enumerate(cut):
            self._append(
                1, partial(_sync, self.epoch, part, part == len(cut) - 1, at, elements, owners)
            )  # fmt: skip
        self.last_sync = ((self.epoch, first), (self.epoch, self.seq))
        self.recorded_until = self.clock.now

    def _append(self, numbers: int, make: Callable[[int], messages.Entry]) -> None:
        self.seq += numbers
        self.spool.append(Spooled(self.epoch, self.seq, messages.encode(make(self.seq))))

    def acknowledge(self, position: Position) -> None:
        self.acknowledged = max(self.acknowledged, position)
        self.spool = [item for item in self.spool if (item.epoch, item.last) > self.acknowledged]

    def drop_oldest(self, count: int) -> bool:
        """The spool is full; false when nothing was there to drop."""
        dropped = self.spool[:count]
        for index, item in enumerate(dropped):
            if not item.gap:
                entry = messages.from_agent(item.message)
                assert isinstance(entry, Changes | Sync)
                lost = Gap(item.epoch, item.last, 1, self.clock(), item.last - entry.first + 1)
                self.spool[index] = Spooled(item.epoch, item.last, messages.encode(lost), gap=True)
        return bool(dropped)


class LinkMachine(RuleBasedStateMachine):
    """``exact`` is false once a gap or a withdrawal has made times of history approximate."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.agent = Agent(self.clock)
        self.nodes: dict[str, int] = {}
        self.links: dict[tuple[str, str], int] = {}
        self.marks: list[Mark] = []
        self.connected = False
        self.sent: Position = (0, 0)
        self.synced = self.wanted = False
        self.missing: Position = (0, 0)
        self.exact = True
        self.withdrawn = False
        self.told: dict[Position, Changes] = {}
        self.states: dict[int, Content] = {}
        self.commit_limit = 3
        self.committed: dict[str, int] = {}
        self._open()

    @initialize(limit=st.integers(1, 6))
    def begin(self, limit: int) -> None:
        self.commit_limit = limit

    def teardown(self) -> None:
        try:
            self.check_at_the_end()
        finally:
            self.store.close()
            shutil.rmtree(self.folder)

    # ------------------------------------------------------------------ the analyzer, as its role wires it

    def _open(self) -> None:
        self.store = EmbeddedStore(EmbeddedStore.Settings(str(self.folder)))
        self.store.open()
        self._watch(self.store)
        self.graph = Graph(
            host="z", origin="analyzer.z", with_tids=False, floor=self.store.highest_revision(), clock=self.clock
        )
        self.graph.restore(self.store.current(), lambda revision: self.graph.claimant(revision.origin, plugin="agent"))
        self.keeper = HistoryKeeper(self.graph, self.store)
        self.keeper.on_commit(self.marks.append)
        applied = {epoch: seq for (_, epoch), seq in self.store.marks().items()}
        self.origin = Origin(self.graph, AGENT, applied)
        self.origin.lost("start")

    def _watch(self, store: EmbeddedStore) -> None:
        """A store is owed the revisions of an element in ascending order."""
        commit = store.commit

        def watched(records: Sequence[Record]) -> None:
            for record in records:
                if isinstance(record, RevisionRecord):
                    revision = record.revision
                    assert revision.revision >= self.committed.get(revision.id, 0)
                    self.committed[revision.id] = revision.revision
            commit(records)

        setattr(store, "commit", watched)  # noqa: B010

    @contextmanager
    def _limited(self) -> Iterator[None]:
        with patch.object(keeper_module, "MAX_BATCH", self.commit_limit):
            yield

    # ------------------------------------------------------------------ the agent's world moves

    @rule(name=st.sampled_from(NODES), value=st.integers(0, 3))
    def put(self, name: str, value: int) -> None:
        self.nodes[name] = value
        self.agent.probe.put(name, {"Name": name, "Value": value})

    @rule(pair=st.sampled_from(PAIRS), value=st.integers(0, 1))
    def link(self, pair: tuple[str, str], value: int) -> None:
        if pair[0] in self.nodes and pair[1] in self.nodes:
            self.links[pair] = value
            self.agent.probe.link(*pair, "layer2", {"Value": value})

    @rule(name=st.sampled_from(NODES))
    def drop(self, name: str) -> None:
        if self.nodes.pop(name, None) is not None:
            with self.agent.graph.transaction():
                for pair in [pair for pair in self.links if name in pair]:
                    self._unlink(pair)
                self.agent.probe.drop(name)

    @rule(pair=st.sampled_from(PAIRS))
    def unlink(self, pair: tuple[str, str]) -> None:
        if pair in self.links:
            self._unlink(pair)

    def _unlink(self, pair: tuple[str, str]) -> None:
        del self.links[pair]
        self.agent.probe.drop(edge_id(*pair, "layer2"))

    @rule(size=st.sampled_from([1, 600, 5000]))
    def record(self, size: int) -> None:
        self.agent.record(size)
        self.states[self.agent.recorded_until] = content(self.agent.graph)

    @rule(recorded=st.booleans(), gone=st.sets(st.sampled_from(NODES)), changed=st.sets(st.sampled_from(NODES)))
    def restart_agent(self, recorded: bool, gone: set[str], changed: set[str]) -> None:
        """kill −9, with or without the last changes in the spool; some of the world moves while it is away."""
        if recorded:
            self.agent.record(5000)
        self.cut()
        self.agent.start()
        for name in gone & self.nodes.keys():
            del self.nodes[name]
        self.links = {pair: value for pair, value in self.links.items() if not gone & set(pair)}
        for name in changed & self.nodes.keys():
            self.nodes[name] += 1
        for name, value in self.nodes.items():
            self.agent.probe.put(name, {"Name": name, "Value": value})
        for pair, value in self.links.items():
            self.agent.probe.link(*pair, "layer2", {"Value": value})

    @precondition(lambda self: self.agent.spool)
    @rule(count=st.integers(1, 3))
    def overflow(self, count: int) -> None:
        if self.agent.drop_oldest(count):
            self.exact = False
            self.sent = min(self.sent, self.agent.acknowledged)
            self.cut()

    # ------------------------------------------------------------------ the link

    @precondition(lambda self: not self.connected)
    @rule()
    def connect(self) -> None:
        self.connected = True
        self.synced = self.wanted = self.origin.connected(self.agent.epoch, [])
        assert self.synced is False or content(self.graph), "a link that goes on goes on from something"
        self.sent = self.agent.acknowledged
        self.missing = (self.agent.epoch, self.agent.seq)

    @rule()
    def cut(self) -> None:
        if self.connected:
            self.connected = False
            self.origin.lost("cut")

    @precondition(lambda self: self.connected)
    @rule(count=st.integers(1, 6), size=st.sampled_from([1, 600, 5000]))
    def send(self, count: int, size: int) -> None:
        for _ in range(count):
            item = next((item for item in self.agent.spool if (item.epoch, item.last) > self.sent), None)
            if item is None:
                if not self.synced and not self.wanted:
                    self.agent.sync(size)
                    self.wanted = True
                continue
            self.sent = (item.epoch, item.last)
            entry = messages.from_agent(item.message)
            assert isinstance(entry, Changes | Sync | Gap)
            if isinstance(entry, Gap):
                self.missing, self.synced, self.wanted = max(self.missing, self.sent), False, False
            elif self.agent.last_sync is not None and self.sent == self.agent.last_sync[1]:
                self.synced = self.synced or self.missing < self.agent.last_sync[0]
            if isinstance(entry, Changes):
                self.told[self.sent] = entry
            applied = self.origin.apply(entry)
            records = [Mark(AGENT, entry.epoch, entry.seq)] if applied is None else applied.records
            self.keeper.put(*records)

    @rule(heard=st.booleans(), batches=st.integers(1, 3))
    def commit(self, heard: bool, batches: int) -> None:
        """Some commits; the acknowledgements reach the agent or are lost with the link."""

        async def commit() -> None:
            for _ in range(batches):
                await self.keeper._commit_batch()

        with self._limited():
            trio.run(commit)
        if self.connected and heard:
            for mark in self.marks:
                self.agent.acknowledge((mark.epoch, mark.seq))
        else:
            self.cut()
        self.marks.clear()

    @rule()
    def restart_analyzer(self) -> None:
        """kill −9: what was not committed is gone."""
        self.connected = False
        self.marks.clear()
        self.store.close()
        self._open()

    @precondition(lambda self: not self.connected)
    @rule()
    def lose_patience(self) -> None:
        self.exact, self.withdrawn = False, True
        self.keeper.put(*self.origin.withdraw().records)
        assert not self.graph.nodes
        assert not self.graph.edges

    # ------------------------------------------------------------------ what must hold

    def settle(self) -> None:
        if not self.connected:
            self.connect()
        self.agent.record(5000)
        self.states[self.agent.recorded_until] = content(self.agent.graph)
        for _ in range(100):
            self.send(50, 600)
            if self.synced and not any((item.epoch, item.last) > self.sent for item in self.agent.spool):
                break
        with self._limited():
            trio.run(self.keeper.flush)
        for mark in self.marks:
            self.agent.acknowledge((mark.epoch, mark.seq))
        self.marks.clear()

    def rows(self) -> dict[str, list[Revision]]:
        ids = {*NODES, "host", *(edge_id(*pair, "layer2") for pair in PAIRS)}
        return {id: self.store.revisions(id) for id in ids}

    def check_at_the_end(self) -> None:
        self.settle()
        rows = self.rows()
        assert not self.agent.spool, "everything was acknowledged"
        assert content(self.graph) == content(self.agent.graph)
        assert not self.graph.is_stale(self.graph.nodes["host"])
        current = {row.id: (row.metadata_json, row.parent, row.child) for row in self.store.current()}
        assert current == content(self.agent.graph)
        heads = {row.id: row.revision for row in [*self.graph.nodes.values(), *self.graph.edges.values()]}
        for id, history in rows.items():
            numbers = [row.revision for row in history]
            assert numbers == sorted(set(numbers))
            if id in heads:
                assert heads[id] == numbers[-1], "live graph and history count alike"
        self.check_what_was_told(rows)
        self.check_the_past()
        self.check_that_a_sync_changes_nothing(rows)

    def check_what_was_told(self, rows: dict[str, list[Revision]]) -> None:
        """Each revision that reached the analyzer in an entry is in history once; all of them were acknowledged."""
        kept = Counter(
            (row.id, row.metadata_json, row.updated_at, row.deleted_at) for many in rows.values() for row in many
        )
        seen: Counter[tuple[str, bytes, int, int | None]] = Counter()
        for entry in self.told.values():
            for raw in entry.elements:
                element = messages.element(raw)
                seen[element.ID, bytes(element.Metadata), element.UpdatedAt, element.DeletedAt] += 1
        assert set(seen.values()) <= {1}, "the clock gives each revision its own time"
        for revision in seen:
            assert kept[revision] <= 1 or self.withdrawn, "twice in history"
            assert kept[revision] == 1 or not self.exact, "lost"
        alike: dict[str, list[tuple[bytes, int | None]]] = defaultdict(list)
        for id, history in rows.items():
            for row in history:
                alike[id].append((row.metadata_json, row.deleted_at))
        if self.exact:
            for states in alike.values():
                assert all(one != other for one, other in pairwise(states)), "a revision of nothing"

    def check_the_past(self) -> None:
        if not self.exact:
            return
        for at, expected in self.states.items():
            view = self.store.graph_at(at)
            kinds: tuple[Kind, ...] = ("node", "edge")
            rows = [row for kind in kinds for id in view.ids(kind) if (row := view.get(kind, id)) is not None]
            living = [row for row in rows if row.deleted_at is None]
            assert {row.id: (row.metadata_json, row.parent, row.child) for row in living} == expected, at

    def check_that_a_sync_changes_nothing(self, rows: dict[str, list[Revision]]) -> None:
        end = self.graph.log.end
        self.synced = self.wanted = False
        self.settle()
        self.cut()
        self.settle()
        assert self.graph.log.end == end
        self.restart_analyzer()
        self.settle()
        assert self.rows() == rows


TestLink = LinkMachine.TestCase
TestLink.settings = settings(
    max_examples=250,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
