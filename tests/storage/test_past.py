"""The store's timeline: what it answers is what the file answers, whatever happens while it is made and afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.filter import Equals
from skycore.graph.element import Revision
from skycore.graph.past import PastView, since_of
from skycore.graph.timeview import TimelineView
from skycore.storage import past
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore
from skycore.testing.history import STEPS, elements_of, expected_at, last_at, maintain, make_history, make_revision


def _open(folder: str, **settings: float) -> EmbeddedStore:
    store = EmbeddedStore(EmbeddedStore.Settings(path=folder, retention_days=0, settle_seconds=0, **settings))  # type: ignore[arg-type]
    store.open()
    return store


def _commit(store: EmbeddedStore, history: list[Revision]) -> None:
    store.commit([RevisionRecord(revision) for revision in history])


@settings(max_examples=120, deadline=None)
@given(STEPS, st.integers(0, 30), st.integers(0, 30), st.booleans(), st.integers(0, 6))
def test_it_answers_as_the_file_does(
    steps: list[tuple[str, str, int]], before: int, meanwhile: int, compacted: bool, duration: int
) -> None:
    history = make_history([(id, step, passed - 1) for id, step, passed in steps])  # times that go back as well
    with TemporaryDirectory() as folder:
        store = _open(folder, recent_bytes=0)
        _commit(store, history[:before])
        if compacted:
            maintain(store)
        assert isinstance(store.graph_at(1000), PastView)
        assert store.maintain()
        _commit(store, history[before : before + meanwhile])
        maintain(store)
        _commit(store, history[before + meanwhile :])
        for at in {since_of(one) + shift for one in history for shift in (-1, 0, 1)}:
            view = store.graph_at(at, duration)
            assert isinstance(view, TimelineView)
            expected = {one.id: one for one in last_at(history, at, at - duration)}
            found = {id: view.get("node", id) for id in view.ids("node")}
            assert {id: one.json for id, one in found.items() if one} == {id: one.json for id, one in expected.items()}
            assert view.count("node") == len(expected)
            for id, one in expected.items():
                assert view.match("node", Equals("Name", id)) == [id]
                assert view.values("node", "Metric.RxBytes", [id]) == [one.metadata()["Metric"]["RxBytes"]]
                assert view.values("node", "Value", [id]) == [one.metadata()["Value"]]
        store.close()


def test_it_covers_the_later_part_of_a_large_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "STATES", 60)
    history = [
        make_revision(id, number, 1000 * number, created_at=1000, Value=number).revision
        for number in range(1, 200)
        for id in "abc"
    ]
    store = _open(str(tmp_path), recent_bytes=0)
    _commit(store, history)
    maintain(store)
    store.graph_at(1)
    maintain(store)
    assert 0 < store.status()["PastStates"] < len(history)
    kinds = []
    for number in range(1, 200):
        view = store.graph_at(1000 * number)
        kinds.append(type(view))
        assert elements_of(view) == expected_at(history, 1000 * number) == dict.fromkeys("abc", number)
    assert kinds[0] is PastView
    assert kinds[-1] is TimelineView
    assert kinds == sorted(kinds, key=lambda kind: kind is TimelineView)
    store.close()


def test_it_goes_when_nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _open(str(tmp_path))
    _commit(store, [make_revision("a", 1, 1000).revision])
    maintain(store)
    assert store.status()["PastStates"] == 0
    store.graph_at(1000)
    maintain(store)
    assert store.status()["PastStates"] == 1
    monkeypatch.setattr(past, "_IDLE_SECONDS", -1.0)
    maintain(store)
    assert store.status()["PastStates"] == 0
    assert elements_of(store.graph_at(1000)) == {"a": 1}
    store.close()


def test_without_numpy_the_file_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    store = _open(str(tmp_path))
    _commit(store, [make_revision("a", 1, 1000).revision])
    for _ in range(2):
        assert isinstance(store.graph_at(1000), PastView)
        maintain(store)
    assert store.status()["PastStates"] == 0
    store.close()


def test_numpy_is_not_imported_before_somebody_asks_for_the_past() -> None:
    code = "import sys, skycore.role.process, skycore.storage.embedded; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
