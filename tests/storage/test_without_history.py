"""An analyzer whose store cannot be used: it says so, and goes on with the live graph."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skycore.errors import RequestRefused, StorageError, StoreInUse
from skycore.graph.graph import Graph
from skycore.role.floor import RevisionFloor
from skycore.role.history import Memory, recall
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore
from tests.storage.analyzers import running, started


def _overwrite(file: Path) -> None:
    with file.open("r+b") as open_file:
        open_file.seek(100)
        open_file.write(b"\x5a" * 20_000)


def _cut(file: Path) -> None:
    with file.open("r+b") as open_file:
        open_file.truncate(file.stat().st_size // 3)


def _make_newer(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version=99")
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


DAMAGE: list[tuple[Callable[[Path], None], str]] = [
    (_overwrite, "the file is damaged; move history.sqlite* in"),
    (_cut, "could not be opened"),
    (_make_newer, "was written by a newer version of Skycore (schema 99"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGE)
def test_a_damaged_or_newer_file_is_left_alone(tmp_path: Path, damage: Callable[[Path], None], reason: str) -> None:
    with running("allinone", tmp_path) as process:
        process.until(lambda: process.ask("G.At('-1ms').V().Count()") == 1)
        assert process.status()["History"]["State"] == "running"
    file = tmp_path / "state" / "analyzer" / "history.sqlite"
    damage(file)
    before = file.read_bytes()

    with running("allinone", tmp_path) as process:
        process.until(lambda: process.ask("G.V().Has('Type', 'host').Count()") == 1)
        history = process.status()["History"]
        assert history["State"] == "unavailable"
        assert reason in history["Store"]["Error"]
        for query in ("G.At('-1s').V()", "G.At(NOW, '1h').V()", "G.Diff('-1h', NOW)", "G.V().Revisions()"):
            with pytest.raises(RequestRefused) as caught:
                process.ask(query)
            assert caught.value.status == 400
            assert "Backend does not support history: this analyzer runs without history: " in str(caught.value)
            assert reason in str(caught.value)
        (line,) = [one for one in process.log() if one["event"].startswith("history cannot be used")]
        assert reason in line["error"]
        # Nothing is acknowledged: what the agent said stays in its spool.
        (agent,) = process.status()["Agents"].values()
        assert agent["Acknowledged"] == 0
    assert file.read_bytes() == before

    file.unlink()
    with running("allinone", tmp_path) as process:
        process.until(lambda: process.status()["History"]["State"] == "running")
        process.until(lambda: process.ask("G.At('-1ms').V().Count()") == 1)


@pytest.mark.parametrize("blocks", [0, 10])
def test_a_disk_that_takes_nothing_or_little(tmp_path: Path, blocks: int) -> None:
    script = """
import sys
from pathlib import Path
from skycore.role.floor import RevisionFloor
from skycore.role.history import recall
from skycore.storage.embedded import EmbeddedStore
folder = Path(sys.argv[1])
memory = recall(EmbeddedStore(EmbeddedStore.Settings(path=str(folder))), RevisionFloor(folder / "revision"))
print(memory.store.status()["Error"])
"""
    command = ["sh", "-c", 'ulimit -f "$0"; exec "$@"', str(blocks), sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "look at the free space and the health of the disk" in done.stdout
    # The few bytes of the floor fit where a block does.
    assert ("revision numbers cannot be reserved" in done.stdout) == (blocks == 0)


def test_two_analyzers_never_share_a_folder(tmp_path: Path) -> None:
    with running("analyzer", tmp_path), started("analyzer", tmp_path) as second:
        assert second.wait() != 0
        assert "is in use by another process" in second.text()


# Revision numbers


def _begin(folder: Path) -> tuple[Memory, Graph, RevisionFloor]:
    floor = RevisionFloor(folder / "revision")
    memory = recall(EmbeddedStore(EmbeddedStore.Settings(path=str(folder))), floor)
    graph = Graph(host="h", origin="analyzer.h", with_tids=False, floor=memory.floor, lost=memory.lost)
    graph.restore(memory.living, lambda revision: graph.claimant(revision.origin, plugin="agent"))
    return memory, graph, floor


def _commit(memory: Memory, graph: Graph) -> None:
    memory.store.commit([RevisionRecord(one) for one in (*graph.nodes.values(), *graph.edges.values())])


def _change(graph: Graph, value: int, name: str = "one") -> int:
    """Change a node; its number."""
    graph.claimant("analyzer.h", plugin="agent").put(name, {"Value": value})
    return graph.nodes[name].revision


def test_numbers_go_on_by_one_after_an_orderly_end(tmp_path: Path) -> None:
    memory, graph, floor = _begin(tmp_path)
    assert [_change(graph, value) for value in range(3)] == [1, 2, 3]
    _commit(memory, graph)
    memory.store.close()
    floor.close(graph)
    memory, graph, floor = _begin(tmp_path)
    assert memory.lost == 0
    assert _change(graph, 3) == 4
    memory.store.close()


def test_numbers_that_only_subscribers_saw_are_not_given_again_after_a_kill(tmp_path: Path) -> None:
    memory, graph, _ = _begin(tmp_path)
    _change(graph, 0)
    _commit(memory, graph)
    seen = max(_change(graph, value) for value in range(1, 50))
    also = _change(graph, 0, "two")
    # Killed: nothing is closed in order.
    memory.store.close()
    memory, graph, _ = _begin(tmp_path)
    assert graph.nodes["one"].revision == 1
    assert _change(graph, 0) == 1, "what has not changed keeps its number"
    assert _change(graph, 1) > seen
    assert _change(graph, 1, "two") > also
    tombstoned = graph.nodes["one"].revision
    memory.store.close()
    memory, graph, _ = _begin(tmp_path)
    graph.claimant("analyzer.h", plugin="agent").drop("one")
    assert _change(graph, 0) > tombstoned
    memory.store.close()


def test_what_cannot_be_reserved_does_not_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "revision").write_text("7")
    (tmp_path / "revision.new").mkdir()
    memory, graph, floor = _begin(tmp_path)
    assert _change(graph, 0) == 8
    with pytest.raises(StorageError, match="cannot be written"):
        floor.close(graph)
    memory.store.close()


def test_a_store_in_use_is_no_store_to_do_without(tmp_path: Path) -> None:
    memory, _, _ = _begin(tmp_path)
    with pytest.raises(StoreInUse):
        recall(EmbeddedStore(EmbeddedStore.Settings(path=str(tmp_path))), RevisionFloor(tmp_path / "revision"))
    memory.store.close()


def test_damage_that_is_met_while_the_graph_is_read(tmp_path: Path) -> None:
    memory, graph, _ = _begin(tmp_path)
    _change(graph, 0)
    _commit(memory, graph)
    memory.store.close()
    connection: Any = sqlite3.connect(tmp_path / "history.sqlite")
    connection.execute("UPDATE revision_log SET json = 'nothing'")
    connection.commit()
    connection.close()
    memory, graph, _ = _begin(tmp_path)
    assert "damaged" in str(memory.store.status()["Error"])
    assert not graph.nodes
    # The numbers of before are not given again, though nobody can read them.
    assert _change(graph, 0) > 1
