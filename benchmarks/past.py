"""Gremlin at moments of the past, over 1,000,000 revisions in the embedded store.

    .venv/bin/python -m benchmarks.past [REVISIONS] [NODES]

The made-up data centre of benchmarks.datacenter, whose nodes change one after the other: nineteen times of twenty their
metrics, else their state, and now and then one is deleted or comes again.  Each query goes the whole way that a
request goes.  Printed are milliseconds by the clock: the first use (nothing is in memory, the file answers), then, when
the store has made its timeline, the median and the longest over moments that nobody has asked for before, and the
longest time in which the query did not let others run.  Then bytes a revision, on disk and in memory, what making the
timeline costs, and how long it takes to open the store again.  First over rows, as they are written, then over blocks.
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import trio

from benchmarks.datacenter import data_centre
from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.graph.graph import Graph
from skycore.graph.identity import edge_id
from skycore.graph.live import LiveView
from skycore.gremlin import Limits, QueryContext, run
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore

_START = 1_700_000_000_000
_COMMIT = 2000
_MOMENTS = 12
_AIM = 50.0


class Life:
    """The revisions of the data centre's elements; time goes on by a millisecond each."""

    def __init__(self, nodes: int) -> None:
        self.made = data_centre(nodes)
        self._chance = random.Random(42)
        self._numbers: dict[str, int] = {}
        self._created: dict[str, int] = {}

    def revisions(self, count: int) -> Iterator[Revision]:
        now = _START
        for id, metadata in self.made.nodes.items():
            now += 1
            yield self._next(id, metadata, now)
        for parent, child, relation in self.made.edges:
            now += 1
            yield self._next(edge_id(parent, child, relation), {"RelationType": relation}, now, (parent, child))
        ids = list(self.made.nodes)
        leaves = [id for id in ids if id.endswith("-in")]
        while now < _START + count:
            now += 1
            if self._chance.random() < 0.001:
                id = self._chance.choice(leaves)
                gone = self._created.get(id) is None
                yield self._next(id, self.made.nodes[id], now, deleted=not gone)
                continue
            id = self._chance.choice(ids)
            metadata = self.made.nodes[id]
            if "Metric" in metadata and self._chance.random() < 0.95:
                for counters in (metadata["Metric"], metadata["LastUpdateMetric"]):
                    counters["RxBytes"] += self._chance.randrange(1000)
                    counters["Last"] = now
            else:
                metadata["State"] = self._chance.choice(("UP", "DOWN"))
            yield self._next(id, metadata, now)

    def _next(
        self,
        id: str,
        metadata: dict[str, Any],
        now: int,
        ends: tuple[str, str] | None = None,
        *,
        deleted: bool = False,
    ) -> Revision:
        number = self._numbers[id] = self._numbers.get(id, 0) + 1
        created = self._created.setdefault(id, now)
        if deleted:
            del self._created[id]
        return build_revision(
            id=id, metadata=canonical_metadata(metadata), revision=number, host="bench", origin="agent.bench",
            created_at=created, updated_at=now, deleted_at=now if deleted else None,
            parent=ends[0] if ends else None, child=ends[1] if ends else None, owners=("netlink",),
        )  # fmt: skip


def queries(hosts: int) -> dict[str, str]:
    host, app = f"host-{hosts // 2:05d}", f"app-{hosts - 1}-7"
    return {
        "Has(Name)": f"V().Has('Name', 'veth{hosts // 2:05d}07')",
        "Has(Type).Count": "V().Has('Type', 'veth').Count()",
        "2 x Has .Count": "V().Has('Type', 'veth').Has('State', 'UP').Count()",
        "Regex on Name .Count": f"V().Has('Name', Regex('veth{hosts // 2:05d}.*')).Count()",
        "Values(MAC), 100": "V().Has('Type', 'veth').Limit(100).Values('MAC')",
        "host.Out": f"V().Has('Name', '{host}').Out().Count()",
        "Descendants(0)": f"V().Has('Name', '{host}').Descendants(0).Count()",
        "ShortestPath layer2": f"V().Has('Name', 'in0000000')"
        f".ShortestPathTo(Metadata('Name', 'in{hosts - 1:05d}23'), Metadata('RelationType', 'layer2')).Count()",
        "dotted key =": f"V().Has('Type', 'container').Has('Container.Labels.app', '{app}')",
        "Gt on MTU .Count": "V().Has('MTU', Gt(1500)).Count()",
        "10 largest RxBytes of host": f"V().Has('Name', '{host}').Out().Sort(DESC, 'Metric.RxBytes').Limit(10)",
    }


@attrs.define(eq=False)
class Pauses(trio.abc.Instrument):
    """The longest time in which a task did not give up control."""

    longest: float = 0.0
    since: float = attrs.field(factory=time.perf_counter)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.since = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.longest = max(self.longest, time.perf_counter() - self.since)


async def ask(context: QueryContext, at: int, query: str) -> tuple[float, float, bytes]:
    """(milliseconds, milliseconds of its longest slice, answer)."""
    pauses = Pauses()
    trio.lowlevel.add_instrument(pauses)
    start = time.perf_counter()
    try:
        result = await run(f"G.At({at}).{query}", context)
        spent = time.perf_counter() - start
    finally:
        trio.lowlevel.remove_instrument(pauses)
    return spent * 1000, pauses.longest * 1000, result.json()


async def questions(store: EmbeddedStore, where: str, count: int, hosts: int) -> bool:
    live = LiveView(Graph(host="bench", origin="bench", with_tids=False))
    context = QueryContext(live, lambda: _START + count, store, Limits(seconds=120))
    chance = random.Random(1)
    asked = queries(hosts)
    early = _START + count // 2
    print(f"\n{where}: milliseconds{'':14} first      warm   longest  slice of warm")
    firsts: dict[str, tuple[float, bytes]] = {}
    for name, query in asked.items():
        first, _, answer = await ask(context, early, query)
        firsts[name] = first, answer
    memory, cpu, wall = _resident(), time.process_time(), time.perf_counter()
    while store.maintain():
        pass
    states = store.status()["PastStates"]
    making = time.process_time() - cpu, time.perf_counter() - wall
    held = True
    for name, query in asked.items():
        assert (await ask(context, early, query))[2] == firsts[name][1], name
    cpu = time.process_time()
    while store.maintain():
        pass
    learning = time.process_time() - cpu
    for name, query in asked.items():
        times, slices = [], []
        for _ in range(_MOMENTS):
            spent, pause, _ = await ask(context, _START + chance.randrange(count // 4, count), query)
            times.append(spent)
            slices.append(pause)
        middle = statistics.median(times)
        held = held and middle < _AIM
        print(f"  {name:26} {firsts[name][0]:12.1f} {middle:9.1f} {max(times):9.1f} {max(slices):9.1f}")
    print(
        f"  the timeline: {states:,} states, made in {making[0]:.1f} s of CPU ({making[1]:.1f} s by the clock), "
        f"further keys learned in {learning:.1f} s of CPU, "
        f"{(_resident() - memory) / max(states, 1):.0f} bytes of memory a state, "
        f"{(_resident() - memory) / count:.0f} a revision (columns of asked keys and names included)"
    )
    return held


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _bytes(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).iterdir())


def _open(folder: str, settle: float) -> EmbeddedStore:
    settings = EmbeddedStore.Settings(path=folder, retention_days=0, max_bytes=0, settle_seconds=settle, recent_bytes=0)
    store = EmbeddedStore(settings)
    store.open()
    return store


def main(count: int = 1_000_000, nodes: int = 40_000) -> None:
    life = Life(nodes)
    print(f"{count:,} revisions of {len(life.made.nodes):,} nodes and {len(life.made.edges):,} edges", flush=True)
    held = True
    with tempfile.TemporaryDirectory(prefix="skycore-bench-") as folder:
        store = _open(folder, 1e9)
        batch: list[RevisionRecord] = []
        for revision in life.revisions(count):
            batch.append(RevisionRecord(revision))
            if len(batch) == _COMMIT:
                store.commit(batch)
                batch = []
        store.commit(batch)
        store.close()
        for where, settle in (("rows", 1e9), ("blocks", 0.0)):
            store = _open(folder, settle)
            start = time.process_time()
            while store.maintain():
                pass
            if not settle:
                print(f"\ncompaction: {time.process_time() - start:.0f} s of CPU")
            held = trio.run(questions, store, where, count, life.made.hosts) and held
            store.close()
            start = time.perf_counter()
            _open(folder, settle).close()
            opened = time.perf_counter() - start
            print(f"  on disk {_bytes(folder) / count:.0f} bytes a revision; opened again in {opened * 1000:.0f} ms")
    print(f"\nwarm, median < {_AIM:g} ms: {'held' if held else 'missed'}")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
