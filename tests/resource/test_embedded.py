"""The embedded store of API objects: the contract, and what its file may suffer."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from skycore.errors import StorageError
from skycore.resource.contract import ResourceStore
from skycore.resource.embedded import EmbeddedResources
from skycore.testing.resources import Clock, ResourceConformance, resource

_CREATING = Path(__file__).with_name("creating_child.py")


class TestEmbeddedResources(ResourceConformance):
    def make(self, folder: Path, clock: Clock) -> ResourceStore:
        return EmbeddedResources(folder, clock)


@pytest.mark.parametrize("answers", [1, 20, 100])
def test_a_killed_process_loses_nothing_that_was_answered(tmp_path: Path, answers: int) -> None:
    child = subprocess.Popen([sys.executable, str(_CREATING), str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    answered = {child.stdout.readline().strip() for _ in range(answers)}
    os.kill(child.pid, signal.SIGKILL)
    answered |= {line.strip() for line in child.stdout if line.endswith("\n")}
    child.wait()
    store = EmbeddedResources(tmp_path)
    store.open()
    kept = set(store.list("noderule"))
    store.close()
    assert len(answered) >= answers
    assert answered <= kept
    # One may have been written whose answer was not.
    assert len(kept - answered) <= 1


def test_a_file_of_a_newer_layout_is_left_alone(tmp_path: Path) -> None:
    file = sqlite3.connect(tmp_path / "resources.sqlite")
    file.execute("PRAGMA user_version=7")
    file.close()
    with pytest.raises(StorageError, match="layout 7"):
        EmbeddedResources(tmp_path).open()


def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "resources.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match=r"move resources\.sqlite"):
        EmbeddedResources(tmp_path).open()


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    store = EmbeddedResources(tmp_path / "state")
    store.open()
    assert (tmp_path / "state" / "resources.sqlite").stat().st_mode & 0o077 == 0
    store.close()


async def test_a_refused_write_changes_nothing(tmp_path: Path) -> None:
    store = EmbeddedResources(tmp_path)
    store.open()
    await store.create(resource("a"))
    watch = store.watch("noderule")
    other = sqlite3.connect(tmp_path / "resources.sqlite", isolation_level=None)
    other.execute("CREATE TRIGGER full BEFORE INSERT ON resource BEGIN SELECT RAISE(ABORT, 'no space'); END")
    other.execute("CREATE TRIGGER kept BEFORE DELETE ON resource BEGIN SELECT RAISE(ABORT, 'no space'); END")
    with pytest.raises(StorageError, match="no space"):
        await store.create(resource("b"))
    with pytest.raises(StorageError, match="nothing was changed"):
        await store.delete("noderule", "a")
    assert list(store.list("noderule")) == ["a"]
    assert watch.read() == []
    other.execute("DROP TRIGGER full")
    other.close()
    await store.create(resource("b"))
    assert list(store.list("noderule")) == ["a", "b"]
    store.close()


async def test_a_cancelled_create_is_known_when_it_was_written(tmp_path: Path) -> None:
    store = EmbeddedResources(tmp_path)
    store.open()
    for number in range(20):
        with trio.move_on_after(0.0002 * number):
            await store.create(resource(str(number)))
    known = set(store.list("noderule"))
    store.close()
    store.open()
    assert set(store.list("noderule")) == known
    store.close()
