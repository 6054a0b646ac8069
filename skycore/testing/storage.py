"""What every store must do, as tests: a plugin's test module inherits StorageConformance and gives it a store.

    class TestExampleStore(StorageConformance):
        def make(self, folder: Path) -> Store:
            return ExampleStore(ExampleStore.Settings(...))

``make`` is called again with the same folder to open again what was stored in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.errors import StorageError
from skycore.filter import Equals
from skycore.graph.element import Revision
from skycore.graph.view import Change, Difference
from skycore.storage.contract import Gap, Mark, Record, RevisionRecord, StaleInterval, Store
from skycore.testing.history import (
    STEPS,
    content_of,
    elements_of,
    expected_at,
    expected_between,
    expected_diff,
    maintain,
    make_history,
    make_revision,
)

__all__ = ["StorageConformance", "elements_of", "expected_at", "make_history", "make_revision"]


class StorageConformance:
    """The contract of ``skycore.storage.contract.Store``, as tests."""

    def make(self, folder: Path) -> Store:
        """A store, not yet open, that keeps (or finds) what belongs to ``folder``."""
        raise NotImplementedError

    @contextmanager
    def opened(self, folder: Path) -> Iterator[Store]:
        store = self.make(folder)
        store.open()
        try:
            yield store
        finally:
            store.close()

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with self.opened(tmp_path) as store:
            yield store

    def test_an_empty_store_knows_nothing(self, store: Store) -> None:
        assert list(store.current()) == []
        assert store.marks() == {}
        assert store.highest_revision() == 0
        assert elements_of(store.graph_at(10**15)) == {}
        assert store.revisions("x") == []
        assert store.gaps(0, 10**15) == []
        assert store.stale_at(10**15) == frozenset()
        assert store.open_stale_intervals() == []

    def test_a_revision_comes_back_as_it_was(self, store: Store) -> None:
        node = make_revision("n\"\\é'\n", 7, 1000, Text='"Metadata":{}', owners=("docker", "netns"), Nested={"a": [1]})
        other = make_revision("m", 1, 1000)
        edge = make_revision("e", 1, 1000, ends=(node.revision.id, "m"), owners=(), RelationType="layer2")
        store.commit([node, other, edge])
        view = store.graph_at(1000)
        assert view.get("node", node.revision.id) == node.revision
        assert view.get("edge", "e") == edge.revision
        assert store.revisions("e") == [edge.revision]
        found = view.get("node", node.revision.id)
        assert found is not None
        assert found.metadata() == {"Name": node.revision.id, "Text": '"Metadata":{}', "Nested": {"a": [1]}}

    def test_the_view_of_the_past_is_a_graph(self, store: Store) -> None:
        store.commit(
            [
                make_revision("b", 1, 1000),
                make_revision("a", 1, 1000),
                make_revision("first", 1, 900),
                make_revision("ab", 1, 1000, ends=("a", "b"), RelationType="layer2"),
                make_revision("dangling", 1, 1000, ends=("a", "nowhere")),
            ]
        )
        view = store.graph_at(1000)
        assert list(view.ids("node")) == ["first", "a", "b"]
        assert list(view.ids("edge")) == ["ab"]
        assert list(view.edges_out("a")) == ["ab"]
        assert list(view.edges_in("b")) == ["ab"]
        assert list(view.edges_in("a")) == []
        assert list(view.match("node", Equals("Name", "b"))) == ["b"]
        assert list(view.match("edge", Equals("RelationType", "layer2"))) == ["ab"]

    def test_a_life_from_birth_to_second_life(self, store: Store) -> None:
        store.commit(
            [
                make_revision("n", 1, 1000),
                make_revision("n", 2, 1010, created_at=1000),
                make_revision("n", 3, 1020, created_at=1000, deleted=True),
                make_revision("n", 4, 1030),
            ]
        )
        assert elements_of(store.graph_at(999)) == {}
        assert elements_of(store.graph_at(1009)) == {"n": 1}
        assert elements_of(store.graph_at(1010)) == {"n": 2}
        assert elements_of(store.graph_at(1019)) == {"n": 2}
        assert elements_of(store.graph_at(1020)) == {"n": 3}
        assert elements_of(store.graph_at(1021)) == {}
        assert elements_of(store.graph_at(1029, duration=9)) == {"n": 3}
        assert elements_of(store.graph_at(1029, duration=8)) == {}
        assert elements_of(store.graph_at(2000)) == {"n": 4}
        assert [revision.revision for revision in store.revisions("n")] == [1, 2, 3, 4]

    def test_a_clock_set_back_keeps_the_newest_revision(self, store: Store) -> None:
        store.commit([make_revision("n", 1, 1000), make_revision("n", 2, 990, created_at=980)])
        assert elements_of(store.graph_at(1005)) == {"n": 2}
        assert [revision.revision for revision in store.current()] == [2]

    def test_current_leaves_out_what_was_deleted(self, store: Store) -> None:
        store.commit([make_revision("n", 1, 1000), make_revision("gone", 5, 1000)])
        store.commit([make_revision("n", 2, 1001), make_revision("gone", 6, 1001, deleted=True)])
        assert [(revision.id, revision.revision) for revision in store.current()] == [("n", 2)]
        assert store.highest_revision() == 6

    def test_repetitions_change_nothing(self, store: Store) -> None:
        first = make_revision("n", 1, 1000, Value="first")
        batch: list[Record] = [first, Mark("agent.one", 1, 5), Gap("agent.one", 1, 2, 3)]
        store.commit(batch)
        store.commit(batch)
        again = make_revision("n", 1, 1000, Value="again")
        store.commit([again, make_revision("n", 2, 1001), again, Mark("agent.one", 1, 4)])
        assert [revision.revision for revision in store.revisions("n")] == [1, 2]
        assert store.revisions("n")[0] == first.revision
        assert store.marks() == {("agent.one", 1): 5}
        assert store.gaps(0, 10) == [Gap("agent.one", 1, 2, 3)]

    def test_marks_are_kept_by_origin_and_epoch(self, store: Store) -> None:
        store.commit([Mark("agent.one", 1, 5), Mark("agent.one", 2, 1), Mark("agent.two", 1, 9)])
        store.commit([Mark("agent.one", 2, 8)])
        assert store.marks() == {("agent.one", 1): 5, ("agent.one", 2): 8, ("agent.two", 1): 9}

    def test_gaps_that_overlap_are_found(self, store: Store) -> None:
        one, two = Gap("agent.one", 100, 200, 7), Gap("agent.two", 150, 300, 0)
        store.commit([two, one])
        assert store.gaps(0, 1000) == [one, two]
        assert store.gaps(200, 200) == [one, two]
        assert store.gaps(201, 1000) == [two]
        assert store.gaps(0, 99) == []

    def test_density_counts_what_is_new_and_not_counters(self, store: Store) -> None:
        store.commit(
            [
                make_revision("a", 1, 100, State="UP", Metric={"RxBytes": 1}),
                make_revision("a", 2, 200, State="UP", Metric={"RxBytes": 2}),
                make_revision("a", 3, 300, State="DOWN", Metric={"RxBytes": 2}),
                make_revision("b", 1, 310),
                make_revision("a", 4, 400, State="DOWN", LastUpdateMetric={"RxBytes": 2}),
                make_revision("a", 5, 450, deleted=True, State="DOWN"),
            ]
        )
        assert store.density(0, 500, 5) == [0, 1, 0, 2, 1]
        assert store.density(0, 1000, 1) == [4]
        assert sum(store.density(350, 1000, 7)) == 1
        assert store.density(5000, 6000, 3) == [0, 0, 0]

    def test_stale_intervals_open_and_close(self, store: Store) -> None:
        store.commit([StaleInterval("agent.one", "docker", 100, None), StaleInterval("agent.two", "", 50, 60)])
        assert store.stale_at(1000) == {("agent.one", "docker")}
        assert store.open_stale_intervals() == [StaleInterval("agent.one", "docker", 100, None)]
        store.commit([StaleInterval("agent.one", "docker", 100, 200), StaleInterval("agent.one", "docker", 300, None)])
        store.commit([StaleInterval("agent.one", "docker", 100, None)])
        assert store.stale_at(99) == frozenset()
        assert store.stale_at(100) == {("agent.one", "docker")}
        assert store.stale_at(199) == {("agent.one", "docker")}
        assert store.stale_at(200) == frozenset()
        assert store.stale_at(300) == {("agent.one", "docker")}
        assert store.stale_at(55) == {("agent.two", "")}

    def test_stale_elements_answer_for_it(self, store: Store) -> None:
        store.commit(
            [
                make_revision("container", 1, 10, owners=("docker",)),
                make_revision("netns", 1, 10, owners=("docker", "netns")),
                make_revision("host", 1, 10, origin="agent.two"),
                StaleInterval("agent.one", "docker", 20, 30),
                StaleInterval("agent.two", "", 20, 30),
            ]
        )
        assert list(store.graph_at(25).match("node", Equals("@Stale", True))) == ["container", "host"]
        assert list(store.graph_at(35).match("node", Equals("@Stale", True))) == []

    def test_everything_is_there_after_opening_again(self, tmp_path: Path) -> None:
        node, edge = make_revision("n", 1, 1000), make_revision("e", 2, 1000, ends=("n", "n"))
        with self.opened(tmp_path) as store:
            store.commit([node, edge, Mark("agent.one", 3, 4), Gap("agent.one", 5, 6, 7)])
            store.commit([StaleInterval("agent.one", "docker", 8, None)])
            store.sync()
        with self.opened(tmp_path) as store:
            assert {revision.id: revision for revision in store.current()} == {"n": node.revision, "e": edge.revision}
            assert store.marks() == {("agent.one", 3): 4}
            assert store.highest_revision() == 2
            assert store.gaps(0, 10) == [Gap("agent.one", 5, 6, 7)]
            assert store.stale_at(9) == {("agent.one", "docker")}

    def test_a_closed_store_says_so(self, tmp_path: Path) -> None:
        store = self.make(tmp_path)
        store.open()
        store.close()
        store.close()
        with pytest.raises(StorageError):
            store.commit([make_revision("n", 1, 1)])
        with pytest.raises(StorageError):
            store.graph_at(1)

    def test_readers_in_other_threads_see_whole_commits(self, store: Store) -> None:
        ids = [f"n{number}" for number in range(20)]
        failures: list[BaseException] = []
        stop = Event()

        def read() -> None:
            try:
                while not stop.is_set():
                    assert len(set(elements_of(store.graph_at(10**9)).values())) <= 1
            except BaseException as error:
                failures.append(error)

        readers = [Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(1, 60):
            store.commit([make_revision(id, number, number) for id in ids])
        stop.set()
        for reader in readers:
            reader.join(10)
        assert not failures
        assert elements_of(store.graph_at(10**9)) == dict.fromkeys(ids, 59)

    def test_all_revisions_of_a_period(self, store: Store) -> None:
        store.commit(
            [
                make_revision("old", 1, 900),
                make_revision("n", 1, 1000),
                make_revision("n", 2, 1010, created_at=1000),
                make_revision("n", 3, 1020, created_at=1000, deleted=True),
                make_revision("e", 1, 1005, ends=("n", "nowhere")),
            ]
        )

        def period(start: int, end: int) -> list[tuple[str, int]]:
            return [(revision.id, revision.revision) for revision in store.revisions_between(start, end)]

        assert period(1000, 1005) == [("old", 1), ("n", 1), ("e", 1)]
        assert period(1011, 1030) == [("old", 1), ("e", 1), ("n", 2), ("n", 3)]
        assert period(1010, 1010) == [("old", 1), ("n", 1), ("e", 1), ("n", 2)]
        assert period(1021, 1030) == [("old", 1), ("e", 1)]
        assert period(0, 899) == []
        assert len(store.revisions_between(1000, 1005, limit=3)) == 3
        with pytest.raises(StorageError, match="more than 2 revisions"):
            store.revisions_between(1000, 1005, limit=2)

    def test_the_difference_of_two_moments(self, store: Store) -> None:
        before = make_revision("n", 1, 1000, MTU=1500, State="UP", Text="x")
        after = make_revision("n", 3, 1020, created_at=1000, MTU=9000, Text="x", New=True)
        same = make_revision("same", 1, 1000)
        same_again = make_revision("same", 2, 1015, created_at=1000, owners=("docker",))
        gone, new = make_revision("gone", 1, 1000), make_revision("new", 1, 1015)
        store.commit([before, same, gone, make_revision("n", 2, 1010, created_at=1000), same_again, new])
        store.commit([make_revision("gone", 2, 1011, created_at=1000, deleted=True), make_revision("brief", 1, 1012)])
        store.commit([make_revision("brief", 2, 1014, created_at=1012, deleted=True), after])
        found = store.diff(1005, 1020)
        assert found.appeared == (new.revision,)
        assert found.vanished == (gone.revision,)
        assert found.changed == (Change(before.revision, after.revision, ("MTU", "New", "State")),)
        assert store.diff(1015, 1015) == Difference((), (), ())
        assert [revision.id for revision in store.diff(0, 1000).appeared] == ["gone", "n", "same"]

    def test_it_says_how_it_is(self, store: Store) -> None:
        store.commit([make_revision("n", 1, 1000)])
        status = store.status()
        assert status["Error"] is None
        assert status["Bytes"] > 0
        store.close()
        assert store.status()["Error"]

    def test_maintenance_changes_no_answer(self, store: Store) -> None:
        history = make_history([("a", "measure" if step % 9 else "change", 1) for step in range(300)])
        for begin in range(0, len(history), 50):
            batch = [RevisionRecord(revision) for revision in history[begin : begin + 50]]
            store.commit(batch)
            maintain(store)
            store.commit(batch)
        assert content_of(store.revisions("a")) == content_of(history)
        for revision in history[::7]:
            (found,) = store.graph_at(revision.updated_at).ids("node")
            assert found == "a"
            assert store.graph_at(revision.updated_at).get("node", "a") == revision

    @given(STEPS, st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(0, 12), st.integers(1, 4))
    @settings(max_examples=60, deadline=None)
    def test_the_past_is_what_the_rule_says(
        self, steps: list[tuple[str, str, int]], sizes: list[int], duration: int, maintain_each: int
    ) -> None:
        history = make_history(steps)
        with tempfile.TemporaryDirectory() as folder:
            position = turn = 0
            with self.opened(Path(folder)) as store:
                while position < len(history):
                    size = sizes[turn % len(sizes)]
                    batch = history[max(0, position - turn % 2) : position + size]
                    store.commit([RevisionRecord(revision) for revision in batch])
                    position += size
                    turn += 1
                    if turn % maintain_each == 0:
                        store.maintain()
                self._check(store, history, duration)
            with self.opened(Path(folder)) as store:
                self._check(store, history, duration)
                maintain(store)
                self._check(store, history, duration)

    def _check(self, store: Store, history: list[Revision], duration: int) -> None:
        moments = sorted({moment + shift for moment in (r.updated_at for r in history) for shift in (-1, 0, 1)})
        for at in moments:
            assert elements_of(store.graph_at(at)) == expected_at(history, at)
            assert elements_of(store.graph_at(at, duration)) == expected_at(history, at, duration)
            period = store.revisions_between(at - duration, at)
            assert [(one.id, one.revision) for one in period] == expected_between(history, at - duration, at)
            assert store.diff(at - duration, at) == expected_diff(history, at - duration, at)
        for id in "abc":
            assert store.revisions(id) == [revision for revision in history if revision.id == id]
        assert {revision.id for revision in store.current()} == {
            id for id in "abc" if (lives := [r for r in history if r.id == id]) and lives[-1].deleted_at is None
        }
