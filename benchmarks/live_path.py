"""Whether history slows what is live: 100,000 revisions a minute, compaction and a subscriber included.

    .venv/bin/python -m benchmarks.live_path [SECONDS]

An analyzer's graph of 10,000 interfaces of 1.1 KB changes metrics 1,667 times a second, in entries of ten as a link
brings them.  A reader of the change log, as the subscribers' hub is one, notes for each change the time from the moment
at which it was due to the moment at which it has read it: what a client would wait besides its connection.  Short turns
without and with the store (keeper, commits, compaction of what earlier turns wrote, sync) follow each other, so that
whoever else uses the machine disturbs both alike.  Of each turn median and 99th percentile are taken; printed are their
medians over all turns, which a few disturbed turns do not move, and the median of the ratios of each two turns that
follow each other.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time

import trio

from benchmarks.updates import interface
from skycore.graph.claimant import Claimant
from skycore.graph.graph import Graph
from skycore.graph.live import LiveView
from skycore.role import memory
from skycore.role.process import SWITCH_SECONDS
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore
from skycore.storage.keeper import HistoryKeeper

ELEMENTS = 10_000
A_MINUTE = 100_000
ENTRY = 10
TURNS = 20
_AIM = 1.10


async def turn(graph: Graph, claimant: Claimant, seconds: float, step: int) -> list[float]:
    """Milliseconds from each change to its reader."""
    due: dict[str, float] = {}
    waits: list[float] = []
    chosen = random.Random(step)
    cursor = graph.log.cursor()

    async def subscribe() -> None:
        while True:
            await cursor.wait()
            changes = cursor.read().changes
            frames = [change.json for change in changes]
            assert frames
            now = time.perf_counter()
            waits.extend((now - due[change.id]) * 1000 for change in changes)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscribe)
        begin = time.perf_counter()
        entries = int(A_MINUTE / 60 * seconds / ENTRY)
        for number in range(entries):
            moment = begin + number * seconds / entries
            await trio.sleep(max(0.0, moment - time.perf_counter()))
            with graph.transaction():
                for index in chosen.sample(range(ELEMENTS), ENTRY):
                    due[f"i{index}"] = moment
                    claimant.put(f"i{index}", interface(index, step * 1_000_000 + number))
        await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    cursor.close()
    return waits


async def main(seconds: float = 3.0) -> None:
    graph = Graph(host="bench", origin="analyzer.bench", with_tids=False)
    claimant = graph.claimant("bench")
    for index in range(ELEMENTS):
        claimant.put(f"i{index}", interface(index, 0))
    view = LiveView(graph)
    memory.take_over()
    sys.setswitchinterval(SWITCH_SECONDS)
    waits: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory(prefix="skycore-bench-") as folder:
        store = EmbeddedStore(EmbeddedStore.Settings(path=folder, settle_seconds=seconds / 2))
        store.open()
        store.commit([RevisionRecord(revision) for revision in graph.nodes.values()])
        for number in range(2 * TURNS):
            kept = bool(number % 2)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(view.run)
                if kept:
                    # Another keeper than before: what a turn without one has changed is not stored.
                    await nursery.start(HistoryKeeper(graph, store).run)
                waits[kept].append(_figures(await turn(graph, claimant, seconds, number + 1)))
                nursery.cancel_scope.cancel()
        status = store.status()
        store.close()
    print(f"{A_MINUTE:,} revisions a minute, {ELEMENTS:,} elements, {TURNS} turns of {seconds:g} s each way")
    print(f"compacted meanwhile: {status['CompactedRevisions']:,} revisions; rows left: {status['Rows']:,}")
    for kept, found in waits.items():
        median, late = (statistics.median(one) for one in zip(*found, strict=True))
        print(f"  {'with history' if kept else 'without':>13}: median {median:.2f} ms, p99 {late:.2f} ms")
    pairs = list(zip(waits[True], waits[False], strict=True))
    ratios = [statistics.median(there[at] / without[at] for there, without in pairs) for at in (0, 1)]
    print(f"ratio: median {ratios[0]:.2f}, p99 {ratios[1]:.2f}; aim: less than {_AIM:g}")
    sys.exit(0 if max(ratios) < _AIM else 1)


def _figures(waits: list[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    waits.sort()
    return statistics.median(waits), waits[len(waits) * 99 // 100]


if __name__ == "__main__":
    trio.run(main, float(sys.argv[1]) if sys.argv[1:] else 3.0)
