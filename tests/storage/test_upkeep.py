"""Compaction, retention, shrinking and migration of the embedded store's file."""

from __future__ import annotations

import random
import runpy
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings

from skycore.errors import StorageError
from skycore.graph.element import Revision
from skycore.storage import upkeep
from skycore.storage.contract import Gap, RevisionRecord, StaleInterval
from skycore.storage.embedded import EmbeddedStore
from skycore.storage.upkeep import SteadyClock
from skycore.testing.history import (
    STEPS,
    content_of,
    elements_of,
    elements_of_revisions,
    last_at,
    maintain,
    make_history,
    make_revision,
)

_HERE = Path(__file__).parent
_DAY = 86_400_000


def _open(folder: Path, **settings: float) -> EmbeddedStore:
    given = {"retention_days": 0, "settle_seconds": 0, **settings}
    store = EmbeddedStore(EmbeddedStore.Settings(path=str(folder), **given))  # type: ignore[arg-type]
    store.open()
    return store


def _commit(store: EmbeddedStore, history: list[Revision]) -> None:
    for begin in range(0, len(history), 500):
        store.commit([RevisionRecord(revision) for revision in history[begin : begin + 500]])


def _metrics(id: str, count: int, start: int, step: int, *, deleted: bool = False, counters: int = 1) -> list[Revision]:
    """Revisions of one element; every tenth changes its Text, the others its Metric alone."""
    chance = random.Random(id)
    found: list[Revision] = []
    text = ""
    for number in range(count):
        if number % 10 == 0:
            text = chance.randbytes(200).hex()
        gone = deleted and number == count - 1
        metric = {f"Counter{index}": chance.getrandbits(40) for index in range(counters)}
        at = start + number * step
        record = make_revision(id, number + 1, at, created_at=start, deleted=gone, Text=text, Metric=metric)
        found.append(record.revision)
    return found


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_clocks_that_are_set_back_change_nothing(steps: list[tuple[str, str, int]]) -> None:
    history = make_history([(id, step, 3 * passed - 4) for id, step, passed in steps])
    with tempfile.TemporaryDirectory() as folder:
        with closing(_open(Path(folder), recent_bytes=0)) as store:
            for place in range(0, len(history), 4):
                _commit(store, history[place : place + 4])
                upkeep_pass(store)
        with closing(_open(Path(folder))) as store:
            for at in {one.updated_at + shift for one in history for shift in (-1, 0, 1)}:
                expected = elements_of_revisions(last_at(history, at, at - 2))
                assert elements_of(store.graph_at(at, 2)) == expected
            for id in "abc":
                assert content_of(store.revisions(id)) == content_of([one for one in history if one.id == id])
            assert store.status()["Rows"] + store.status()["CompactedRevisions"] == len(history)


def upkeep_pass(store: EmbeddedStore) -> None:
    """Have the next pass begin now, and carry it through."""
    store._upkeep._next_pass = 0.0
    maintain(store)


def test_kill_9_while_compacting_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    child_path = _HERE / "maintaining_child.py"
    child_names = runpy.run_path(str(child_path))
    chance = random.Random(7)
    reported = blocks = 0
    for _ in range(6):
        command = [sys.executable, str(child_path), str(tmp_path), str(reported)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            wanted = reported + chance.randint(1, 150)
            try:
                for line in child.stdout:
                    reported = int(line)
                    if reported >= wanted:
                        break
            finally:
                child.kill()
            for line in child.stdout:
                reported = int(line)
        with closing(_open(tmp_path)) as store:
            count = len(store.revisions("n0"))
            assert count >= reported
            for element in range(child_names["ELEMENTS"]):
                expected = [child_names["revision_of"](element, number) for number in range(1, count + 1)]
                assert store.revisions(f"n{element}") == expected
            status = store.status()
            assert status["Rows"] + status["CompactedRevisions"] == count * child_names["ELEMENTS"]
            blocks = status["Blocks"]
        _integral(tmp_path)
        reported = count
    assert reported > 100
    assert blocks > 5


def test_kill_9_at_each_statement_of_compaction(tmp_path: Path) -> None:
    """Child after child begins the same compaction; the n-th is killed before the n-th statement that writes."""
    script = """
import os, pathlib, runpy, signal, sys
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore
folder = sys.argv[1]
revision_of = runpy.run_path(sys.argv[2])["revision_of"]
def opened():
    store = EmbeddedStore(EmbeddedStore.Settings(path=folder, retention_days=0, settle_seconds=0))
    store.open()
    return store
def commit(first, last):
    store = opened()
    numbers = range(first, last + 1)
    store.commit([RevisionRecord(revision_of(element, number)) for number in numbers for element in range(2)])
    return store
# Half of what there is stands in blocks, which will go up in larger ones.
store = commit(1, 6)
while store.maintain():
    pass
assert store.status()["Blocks"] == 2
store.close()
commit(7, 12).close()
begin = pathlib.Path(folder, "history.sqlite").read_bytes()
killed = 0
while True:
    for path in pathlib.Path(folder).iterdir():
        path.unlink()
    pathlib.Path(folder, "history.sqlite").write_bytes(begin)
    child = os.fork()
    if child == 0:
        store = opened()
        left = killed + 1
        def trace(statement):
            global left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        store._file._writer.set_trace_callback(trace)
        while store.maintain():
            pass
        os._exit(0)
    _, status = os.waitpid(child, 0)
    store = opened()
    for element in range(2):
        assert store.revisions(f"n{element}") == [revision_of(element, number) for number in range(1, 13)], killed
    counts = store.status()
    assert counts["Rows"] + counts["CompactedRevisions"] == 24, killed
    store.close()
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        assert counts["Rows"] == 2
        break
    killed += 1
print(killed)
"""
    command = [sys.executable, "-c", script, str(tmp_path), str(_HERE / "maintaining_child.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15
    _integral(tmp_path)


def _integral(folder: Path) -> None:
    """No row without its other half, and no damage."""
    with closing(sqlite3.connect(folder / "history.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for one, other in (("life", "revision_log"), ("revision_log", "life")):
            query = f"SELECT count(*) FROM {one} WHERE seq NOT IN (SELECT seq FROM {other})"
            assert connection.execute(query).fetchone() == (0,)
        query = "SELECT count(*) FROM block WHERE number NOT IN (SELECT number FROM span)"
        assert connection.execute(query).fetchone() == (0,)
        query = "SELECT count(*) FROM series WHERE number NOT IN (SELECT number FROM span WHERE measured > 0)"
        assert connection.execute(query).fetchone() == (0,)


def test_metric_changes_cost_a_twentieth_of_their_json(tmp_path: Path) -> None:
    history = [one for element in range(20) for one in _metrics(f"n{element}", 200, 1000, 30)]
    with closing(_open(tmp_path)) as store:
        _commit(store, history)
        maintain(store)
        status = store.status()
        assert status["Rows"] == 20
        assert status["CompactedRevisions"] == len(history) - 20
        assert status["MetricRevisions"] > 0.85 * len(history)
    raw = sum(len(one.json) for one in history if one.revision % 10 != 1)
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as connection:
        (series,) = connection.execute("SELECT sum(length(data)) FROM series").fetchone()
    assert series < raw / 20


def test_commits_are_not_held_up_by_compaction(tmp_path: Path) -> None:
    """No transaction of upkeep touches more rows than one slice and one element's worth."""
    history = [one for element in range(300) for one in _metrics(f"n{element}", 5, 1000, 30)]
    with closing(_open(tmp_path)) as store:
        _commit(store, history)
        rows = store.status()["Rows"]
        while store.maintain():
            now = store.status()["Rows"]
            assert rows - now <= upkeep._SLICE_ROWS + 5
            rows = now


def test_what_is_too_old_is_removed_and_the_living_stay(tmp_path: Path) -> None:
    now = int(time.time() * 1000)
    history = [
        *_metrics("quiet", 3, now - 9 * _DAY, 1000),
        *_metrics("busy", 400, now - 4 * _DAY, _DAY // 100),
        *_metrics("gone", 30, now - 3 * _DAY, 1000, deleted=True),
        *_metrics("gone-late", 30, now - 3 * _DAY, _DAY // 10, deleted=True),
    ]
    history.sort(key=lambda one: one.updated_at)
    with closing(_open(tmp_path)) as store:
        _commit(store, history)
        store.commit([Gap("o", 1, 2, 3), Gap("o", 1, now, 4), StaleInterval("o", "x", 1, 5)])
        maintain(store)
        moments = [now - _DAY + hour * 3_600_000 for hour in range(25)]
        before = [elements_of(store.graph_at(at)) for at in moments]
        total = len(history)
    with closing(_open(tmp_path, retention_days=1)) as store:
        upkeep_pass(store)
        assert [elements_of(store.graph_at(at)) for at in moments] == before
        assert elements_of(store.graph_at(now)) == before[-1]
        assert {"quiet", "busy"} <= before[-1].keys()
        assert store.revisions("gone") == []
        assert [one.revision for one in store.revisions("quiet")] == [3]
        status = store.status()
        assert status["RemovedRevisions"] > 200
        assert status["RemovedRevisions"] + status["Rows"] + status["CompactedRevisions"] == total
        assert now - 4 * _DAY < status["Oldest"] <= now - _DAY
        assert store.gaps(0, now) == [Gap("o", 1, now, 4)]
        removed = status["RemovedRevisions"]
    with closing(_open(tmp_path)) as store:
        assert store.status()["RemovedRevisions"] == removed
        assert store.status()["Oldest"] == status["Oldest"]
    _integral(tmp_path)


def test_a_file_that_is_too_large_loses_metrics_first_then_what_is_oldest(tmp_path: Path) -> None:
    now = int(time.time() * 1000)
    history = [one for element in range(12) for one in _metrics(f"n{element}", 640, now - 640_000, 1000, counters=8)]
    history.sort(key=lambda one: one.updated_at)
    with closing(_open(tmp_path)) as store:
        _commit(store, history)
        maintain(store)
        living = elements_of(store.graph_at(now))
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    bound = (pages - free) * 8192 * 93 // 100
    with closing(_open(tmp_path, max_bytes=bound)) as store:
        upkeep_pass(store)
        thinned = store.status()
        assert thinned["RemovedMetricRevisions"] > 1000
        assert thinned["RemovedRevisions"] == 0
        # What is left of the older half are the revisions that changed more than metrics, and the last of all.
        kept = [one.revision for one in store.revisions("n3")]
        assert {1, 11, 21, 31, 640} <= set(kept)
        assert len(kept) < 640
    with closing(_open(tmp_path, max_bytes=bound // 3)) as store:
        upkeep_pass(store)
        assert store.status()["RemovedRevisions"] > 100
        assert elements_of(store.graph_at(now)) == living
    _integral(tmp_path)


def test_the_file_shrinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_SPARE_PAGES", 8)
    history = [one for element in range(12) for one in _metrics(f"n{element}", 600, 1000, 30)]
    with closing(_open(tmp_path)) as store:
        _commit(store, history)
    large = (tmp_path / "history.sqlite").stat().st_size
    with closing(_open(tmp_path)) as store:
        maintain(store)
        assert content_of(store.revisions("n7")) == content_of([one for one in history if one.id == "n7"])
    assert (tmp_path / "history.sqlite").stat().st_size < large * 0.7


def test_a_clock_set_far_ahead_removes_nothing() -> None:
    wall, monotonic = 1_000_000.0, 50.0
    clock = SteadyClock(lambda: wall, lambda: monotonic)
    assert clock.now() == 1_000_000_000
    wall, monotonic = wall + 10, monotonic + 10
    assert (clock.now(), clock.jump()) == (1_000_010_000, 0)
    wall += 10 * 365 * 86400
    assert clock.jump() == 10 * 365 * _DAY
    assert clock.now() == 1_000_010_000 + 3_600_000
    wall = 999_000.0
    assert clock.now() == 999_000_000
    assert clock.jump() < 0


def test_revisions_ahead_of_the_clock_are_counted(tmp_path: Path) -> None:
    now = int(time.time() * 1000)
    with closing(_open(tmp_path)) as store:
        store.commit([make_revision("n", 1, now), make_revision("n", 2, now + _DAY, created_at=now)])
        status = store.status()
        assert status["AheadOfClock"] == 1
        assert status["Newest"] == now + _DAY
        assert elements_of(store.graph_at(now + 1)) == {"n": 1}


def test_a_damaged_block_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    with closing(_open(tmp_path)) as store:
        _commit(store, [*_metrics("a", 100, 1000, 10), *_metrics("b", 100, 1000, 10)])
        maintain(store)
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as connection:
        (number,) = connection.execute("SELECT max(number) FROM span WHERE id = 'a'").fetchone()
        connection.execute("UPDATE block SET runs = x'00' WHERE number = ?", (number,))
        connection.commit()
    with closing(_open(tmp_path)) as store:
        with pytest.raises(StorageError, match="damaged row"):
            store.revisions("a")
        assert "damaged row" in store.status()["Error"]
        assert len(store.revisions("b")) == 100
        store.commit([RevisionRecord(one) for one in _metrics("b", 200, 1000, 10)[100:]])
        upkeep_pass(store)
        assert len(store.revisions("b")) == 200
        assert len(list(store.current())) == 2


def test_a_file_of_version_1_is_taken_over(tmp_path: Path) -> None:
    recorded = runpy.run_path(str(_HERE / "data" / "record_version_1.py"))
    shutil.copy(_HERE / "data" / "history-1.sqlite", tmp_path / "history.sqlite")
    history: list[Revision] = recorded["expected"]()
    start, step = recorded["START"], recorded["STEP"]
    for turn in range(3):
        with closing(_open(tmp_path)) as store:
            for id in {one.id for one in history}:
                assert content_of(store.revisions(id)) == content_of([one for one in history if one.id == id])
            for at in range(start, start + 9 * step, step // 2):
                assert elements_of(store.graph_at(at)) == elements_of_revisions(last_at(history, at, at))
            assert store.marks() == {("agent.one", 7): 99}
            assert store.highest_revision() == 8
            assert store.gaps(start, start) == [Gap("agent.one", start, start + 5, 3)]
            assert store.stale_at(start + step) == {("agent.one", "lldp")}
            if turn:
                maintain(store)
                assert store.status()["Blocks"] > 0
    with closing(sqlite3.connect(tmp_path / "history.sqlite")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
