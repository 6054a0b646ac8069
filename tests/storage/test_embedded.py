"""The embedded store: the contract of all stores, and what only a file can suffer."""

from __future__ import annotations

import random
import resource
import sqlite3
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from skycore import sqlitefile
from skycore.errors import StorageError
from skycore.graph.element import Revision
from skycore.storage import reading
from skycore.storage.contract import Mark
from skycore.storage.embedded import EmbeddedStore
from skycore.testing.history import maintain
from skycore.testing.storage import StorageConformance, elements_of, make_revision

_WRITER = Path(__file__).with_name("committing_child.py")


def _store(folder: Path) -> EmbeddedStore:
    # The times of test data are just after 1970; by age they would all be removed.
    return EmbeddedStore(EmbeddedStore.Settings(path=str(folder), retention_days=0))


class TestEmbeddedStore(StorageConformance):
    def make(self, folder: Path) -> EmbeddedStore:
        return _store(folder)


def test_kill_9_loses_no_commit_that_returned(tmp_path: Path) -> None:
    """Twenty processes, one after the other, are killed while they commit; each says what was committed."""
    chance = random.Random(20)
    reported = 0
    for _ in range(20):
        command = [sys.executable, str(_WRITER), str(tmp_path), str(reported)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            wanted = reported + chance.randint(1, 60)
            try:
                for line in child.stdout:
                    reported = int(line)
                    if reported >= wanted:
                        break
            finally:
                child.kill()
            # What it had said before the kill reached it counts as well.
            for line in child.stdout:
                reported = int(line)
        store = _store(tmp_path)
        store.open()
        marked = store.marks()["agent.one", 1]
        assert marked >= reported
        revisions = store.revisions("n")
        # A commit is there as a whole or not at all: each holds a mark and ten revisions.
        assert [revision.revision for revision in revisions] == list(range(1, marked * 10 + 1))
        store.close()
        reported = marked
    assert reported >= 200


def test_a_full_disk_is_reported_and_the_commit_can_be_repeated(tmp_path: Path) -> None:
    """The process may write files of 400 KB only, then is given more."""
    script = """
import resource, sys
from skycore.errors import StorageError
from skycore.storage.contract import Mark
from skycore.storage.embedded import EmbeddedStore
from skycore.testing.storage import make_revision
store = EmbeddedStore(EmbeddedStore.Settings(path=sys.argv[1]))
store.open()
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, most))
number = 0
while True:
    number += 1
    batch = [make_revision(f"n{number}.{index}", 1, number, Text="x" * 900) for index in range(20)]
    batch.append(Mark("agent.one", 1, number))
    try:
        store.commit(batch)
    except StorageError as caught:
        error = caught
        break
assert str(error).endswith("look at the free space and the health of the disk that holds " + sys.argv[1]), error
assert store.status()["Error"] == str(error)
assert store.marks() == {("agent.one", 1): number - 1}
assert len(list(store.current())) == 20 * (number - 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
store.commit(batch)
assert store.status()["Error"] is None
assert store.marks() == {("agent.one", 1): number}
assert len(list(store.current())) == 20 * number
assert all(len(store.revisions(f"n{number}.{index}")) == 1 for index in range(20))
store.close()
print(number)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 3
    store = _store(tmp_path)
    store.open()
    assert len(list(store.current())) == 20 * int(done.stdout)
    store.close()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] in (resource.RLIM_INFINITY, -1)


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "history.sqlite")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = (tmp_path / "history.sqlite").read_bytes()
    with pytest.raises(StorageError, match="another program"):
        _store(tmp_path).open()
    assert (tmp_path / "history.sqlite").read_bytes() == before


@pytest.mark.parametrize(("version", "words"), [(999, "a newer version"), (0, "an unknown version")])
def test_another_version_is_left_alone(tmp_path: Path, version: int, words: str) -> None:
    store = _store(tmp_path)
    store.open()
    store.commit([make_revision("n", 1, 1)])
    store.close()
    connection = sqlite3.connect(tmp_path / "history.sqlite")
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    with pytest.raises(StorageError, match=words):
        store.open()
    connection = sqlite3.connect(tmp_path / "history.sqlite")
    assert connection.execute("SELECT count(*) FROM revision_log").fetchone() == (1,)
    connection.close()


def _filled(folder: Path) -> bytes:
    store = _store(folder)
    store.open()
    store.commit([make_revision(f"n{number}", 1, number, Text="x" * 500) for number in range(200)])
    store.close()
    return (folder / "history.sqlite").read_bytes()


def test_what_is_no_database_is_said_to_be_damaged(tmp_path: Path) -> None:
    content = _filled(tmp_path)
    (tmp_path / "history.sqlite").write_bytes(b"\0" * 100 + content[100:])
    with pytest.raises(StorageError, match=r"damaged; move history\.sqlite\* in"):
        _store(tmp_path).open()


def test_a_file_cut_short_is_said_to_be_damaged(tmp_path: Path) -> None:
    content = _filled(tmp_path)
    (tmp_path / "history.sqlite").write_bytes(content[: len(content) // 2])
    with pytest.raises(StorageError, match="damaged"):
        _store(tmp_path).open()
    assert (tmp_path / "history.sqlite").stat().st_size == len(content) // 2


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_damage_inside_is_a_storage_error_or_harmless(tmp_path: Path, seed: int, compacted: bool) -> None:
    _filled(tmp_path)
    if compacted:
        store = _store(tmp_path)
        store.open()
        store.commit([make_revision(f"n{number}", 2, 200 + number, Text="x" * 500) for number in range(200)])
        maintain(store)
        assert store.status()["Blocks"] == 200
        store.close()
    content = bytearray((tmp_path / "history.sqlite").read_bytes())
    chance = random.Random(seed)
    for _ in range(40):
        content[chance.randrange(100, len(content))] ^= 1 << chance.randrange(8)
    (tmp_path / "history.sqlite").write_bytes(content)
    store = _store(tmp_path)
    with suppress(StorageError):
        store.open()
        list(store.current())
        store.graph_at(100)
        store.commit([make_revision("n3", 3, 1000)])
        store.revisions("n3")
        store.diff(0, 500)
        store.revisions_between(0, 500)
        maintain(store)
    store.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = _store(tmp_path)
    first.open()
    with pytest.raises(StorageError, match="in use by another process"):
        _store(tmp_path).open()
    first.commit([make_revision("n", 1, 1)])
    first.close()
    second = _store(tmp_path)
    second.open()
    assert second.highest_revision() == 1
    second.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/folder cannot be used for history"):
        _store(tmp_path / "file" / "folder").open()


def test_a_value_that_sqlite_cannot_hold_stops_nothing_else(tmp_path: Path) -> None:
    store = _store(tmp_path)
    store.open()
    with pytest.raises(StorageError, match="cannot hold a value"):
        store.commit([make_revision("good", 1, 1), make_revision("n", 1, 1 << 70)])
    assert store.revisions("good") == []
    store.commit([make_revision("n", 1, 1)])
    assert elements_of(store.graph_at(1)) == {"n": 1}
    assert elements_of(store.graph_at(1 << 80)) == {"n": 1}
    store.close()


def test_the_log_beside_the_file_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even while a reader never lets go of its snapshot for long."""
    monkeypatch.setattr(sqlitefile, "CHECKPOINT_BYTES", 1 << 20)
    monkeypatch.setattr(sqlitefile, "WAL_BYTES", 4 << 20)
    store = _store(tmp_path)
    store.open()
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            for _ in store.current():
                pass

    reader = threading.Thread(target=read)
    reader.start()
    largest = 0
    try:
        for number in range(1, 60):
            store.commit([make_revision(f"n{index}", number, number, Text="x" * 900) for index in range(300)])
            largest = max(largest, (tmp_path / "history.sqlite-wal").stat().st_size)
    finally:
        stop.set()
        reader.join(10)
    written = (tmp_path / "history.sqlite").stat().st_size
    store.commit([Mark("agent.one", 1, 1)])
    store.close()
    assert written > 12 << 20
    assert largest < 8 << 20


def test_a_moment_ago_does_not_touch_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(tmp_path)
    store.open()
    store.commit(
        [make_revision("n", 1, 1000), make_revision("gone", 1, 1000), make_revision("gone", 2, 1010, deleted=True)]
    )
    store.close()
    store.open()
    assert [one.id for one in store.current()] == ["n"]
    store.commit([make_revision("n", 2, 2000, created_at=1000), make_revision("m", 1, 2010)])

    def from_disk(*_: object) -> list[Revision]:
        raise AssertionError("the disk was asked")

    with monkeypatch.context() as patch:
        for name in ("last_revisions", "revisions_between", "diff"):
            patch.setattr(reading, name, from_disk)
        assert elements_of(store.graph_at(1999)) == {"n": 1}
        assert elements_of(store.graph_at(2010)) == {"n": 2, "m": 1}
        assert [one.revision for one in store.revisions_between(1999, 2000)] == [1, 2]
        assert [one.id for one in store.diff(1999, 2010).appeared] == ["m"]
        with pytest.raises(AssertionError):
            store.graph_at(1000)
    assert elements_of(store.graph_at(1009)) == {"n": 1, "gone": 1}
    store.close()
    with pytest.raises(StorageError):
        store.graph_at(2010)
