"""How fast the embedded store takes revisions, compacts them, and gives back the past.

    .venv/bin/python -m benchmarks.history [REVISIONS] [ELEMENTS]

Revisions that change only metrics (what interfaces do), revisions that change another key, and metrics of a twentieth
as many elements, each with twenty times as many revisions, so that blocks are full.  Elements have
about 1 KB of JSON; revisions come in the order of time, in commits of 2,000.  Prints revisions/s; seconds or
milliseconds of each question before compaction (rows), after it (blocks) and within the recent window (memory); bytes
on disk for each revision; how long commits take while compaction runs beside them; and the time of opening again.
All are seconds of CPU of the asking thread, since machines are shared, but for the commits, which are by the clock.
Where DuckDB is installed (it is not a dependency) the same rows are put into it for comparison.
"""

from __future__ import annotations

import importlib
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore

_COMMIT = 2000
_COUNTERS = ["RxBytes", "RxPackets", "TxBytes", "TxPackets", "RxDropped", "TxDropped"]
_START = 1_700_000_000_000


class Elements:
    """Elements that change one after the other in random order; time goes on by a millisecond a revision."""

    def __init__(self, count: int, measured: bool) -> None:
        self._chance = random.Random(42)
        self.ids = [str(UUID(int=self._chance.getrandbits(128))) for _ in range(count)]
        self._measured = measured
        self._states = [(0, 0, [0] * len(_COUNTERS)) for _ in self.ids]
        self._common = {f"Key{number}": "x" * 40 for number in range(12)}

    def revisions(self, count: int) -> Iterator[Revision]:
        for turn in range(count):
            number = turn if turn < len(self.ids) else self._chance.randrange(len(self.ids))
            yield self._next(number, _START + turn)

    def _next(self, number: int, now: int) -> Revision:
        revision, created_at, counters = self._states[number]
        created_at = created_at or now
        added = [self._chance.randrange(1000) if index < 4 else 0 for index in range(len(counters))]
        counters = [old + new for old, new in zip(counters, added, strict=True)]
        self._states[number] = revision + 1, created_at, counters
        metadata = {
            **self._common,
            "Name": f"eth{number}",
            "Type": "veth",
            "MTU": 1500 if self._measured else 1500 + revision,
            "Metric": {**_counted(counters), "Last": now if self._measured else _START},
            "LastUpdateMetric": {**_counted(added), "Start": now - 30_000, "Last": now} if self._measured else {},
        }
        return build_revision(
            id=self.ids[number], metadata=canonical_metadata(metadata), revision=revision + 1, host="host",
            origin="agent.host", created_at=created_at, updated_at=now, owners=("netlink",),
        )  # fmt: skip


def _counted(values: list[int]) -> dict[str, int]:
    return {name: value for name, value in zip(_COUNTERS, values, strict=True) if value}


def main(count: int = 1_000_000, elements: int = 100_000) -> None:
    for number, measured in ((elements, True), (elements, False), (elements // 20, True)):
        _say(f"{count:,} revisions of {number:,} elements that change {'metrics' if measured else 'another key'}")
        with tempfile.TemporaryDirectory() as folder:
            _run(Path(folder), count, number, measured)


def _open(folder: Path, **settings: Any) -> EmbeddedStore:
    given = {"retention_days": 0, "settle_seconds": 0, "max_bytes": 0, **settings}
    store = EmbeddedStore(EmbeddedStore.Settings(path=str(folder), **given))
    store.open()
    return store


def _run(folder: Path, count: int, elements: int, measured: bool) -> None:
    source = Elements(elements, measured)
    store = _open(folder)
    spent = size = 0.0
    batch: list[RevisionRecord] = []
    for revision in source.revisions(count):
        batch.append(RevisionRecord(revision))
        size += len(revision.json)
        if len(batch) == _COMMIT:
            spent += _timed(lambda batch=batch: store.commit(batch))  # type: ignore[misc]
            batch = []
    _say(f"  insert: {count / spent:,.0f} revisions/s of {size / count:.0f} bytes")
    held, _ = store._recent.held
    end = _START + count
    _report("memory", "graph_at", _timed(lambda: store.graph_at(end - held // 2)))
    _report("memory", "diff of 2,000 revisions", _timed(lambda: store.diff(end - held // 2 - 2000, end - held // 2)))
    store.close()

    store = _open(folder)
    _questions(store, "rows", source.ids, count)
    store.close()
    before = _bytes(folder)

    store = _open(folder)
    spent = _timed(lambda: _compact(store))
    status = store.status()
    _say(f"  compaction: {status['CompactedRevisions'] / spent:,.0f} revisions/s into {status['Blocks']:,} blocks")
    _questions(store, "blocks", source.ids, count)
    store.close()
    after = _bytes(folder)
    _say(f"  bytes a revision: {before / count:.0f} as rows, {after / count:.0f} after compaction")
    compacted = count - elements
    _say(f"  bytes a compacted revision: {(after - before * elements / count) / compacted:.0f}")
    _report("", "opening again", _timed(lambda: _open(folder).close()))
    _beside(folder, source, elements)
    _compare_with_duckdb(source, count, elements, measured)


def _questions(store: EmbeddedStore, where: str, ids: list[str], count: int) -> None:
    for share in (0.25, 0.75, 1.0):
        at = _START + int(count * share)
        _report(where, f"graph_at {share:.0%}", _timed(lambda at=at: store.graph_at(at)))  # type: ignore[misc]
    middle = _START + count // 2
    _report(where, "diff of 2,000 revisions", _timed(lambda: store.diff(middle, middle + 2000)))
    times = [_timed(lambda id=id: store.revisions(id)) for id in ids[:200]]  # type: ignore[misc]
    _report(where, "one element's revisions", statistics.median(times))


def _compact(store: EmbeddedStore) -> None:
    while store.maintain():
        pass


def _beside(folder: Path, source: Elements, elements: int) -> None:
    """Commits of 100 revisions at 100,000 a minute, without and with compaction in another thread."""
    store = _open(folder)
    for label, maintained in (("idle", False), ("compacting", True)):
        stop = threading.Event()

        def upkeep(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                start = time.perf_counter()
                store._upkeep._next_pass = 0.0
                store.maintain()
                time.sleep(max(0.02, 4 * (time.perf_counter() - start)))

        thread = threading.Thread(target=upkeep)
        if maintained:
            thread.start()
        times = []
        for _ in range(150):
            batch = [RevisionRecord(source._next(source._chance.randrange(elements), _now())) for _ in range(100)]
            begun = time.perf_counter()
            store.commit(batch)
            times.append(time.perf_counter() - begun)
            time.sleep(max(0.0, 0.06 - times[-1]))
        stop.set()
        if maintained:
            thread.join()
        times.sort()
        _say(f"  commit of 100, {label}: median {times[75] * 1000:.1f} ms, p99 {times[148] * 1000:.1f} ms")
    store.close()


def _now() -> int:
    return int(time.time() * 1000)


def _compare_with_duckdb(source: Elements, count: int, elements: int, measured: bool) -> None:
    try:
        duckdb = importlib.import_module("duckdb")
    except ModuleNotFoundError:
        _say("  DuckDB is not installed: no comparison")
        return
    again = Elements(elements, measured)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.duckdb"
        lines = Path(folder) / "history.csv"
        with lines.open("w") as file:
            for revision in again.revisions(count):
                text = revision.json.decode().replace('"', '""')
                file.write(f'{revision.id},{revision.revision},{revision.updated_at},"{text}"\n')
        connection = duckdb.connect(str(path))
        connection.execute("SET threads = 1")
        columns = "{'id': 'VARCHAR', 'revision': 'BIGINT', 'since': 'BIGINT', 'json': 'VARCHAR'}"
        load = f"CREATE TABLE life AS SELECT * FROM read_csv('{lines}', header=false, columns={columns})"
        _say(f"  DuckDB, bulk load: {count / _timed(lambda: connection.execute(load)):,.0f} revisions/s")
        connection.execute("CHECKPOINT")
        last = "SELECT id, max(revision), arg_max(json, revision) FROM life WHERE since <= ? GROUP BY id"
        for share in (0.25, 0.75, 1.0):
            at = _START + int(count * share)
            spent = _timed(lambda at=at: connection.execute(last, [at]).fetchall())  # type: ignore[misc]
            _report("DuckDB", f"graph_at {share:.0%}", spent)
        one = "SELECT json FROM life WHERE id = ? ORDER BY revision"
        times = [_timed(lambda id=id: connection.execute(one, [id]).fetchall()) for id in source.ids[:20]]  # type: ignore[misc]
        _report("DuckDB", "one element's revisions", statistics.median(times))
        connection.close()
        _say(f"  DuckDB: {path.stat().st_size / count:.0f} bytes a revision")


def _timed(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _report(where: str, what: str, seconds: float) -> None:
    value = f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
    _say(f"  {where + ': ' if where else ''}{what}: {value}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
