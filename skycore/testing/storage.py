"""What every store must do, as tests: a plugin's test module inherits StorageConformance and gives it a store.

    class TestExampleStore(StorageConformance):
        def make(self, folder: Path) -> Store:
            return ExampleStore(ExampleStore.Settings(...))

``make`` is called again with the same folder to open again what was stored in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.errors import StorageError
from skycore.filter import Equals
from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.graph.past import since_of
from skycore.graph.view import Change, Difference, GraphView
from skycore.storage.contract import Gap, Mark, Record, RevisionRecord, StaleInterval, Store


def make_revision(
    id: str,
    revision: int,
    at: int,
    *,
    created_at: int = 0,
    deleted: bool = False,
    ends: tuple[str, str] | None = None,
    owners: tuple[str, ...] = ("netlink",),
    origin: str = "agent.one",
    **metadata: object,
) -> RevisionRecord:
    """The record of one revision at ``at`` (ms); a tombstone when ``deleted``, an edge when it has ``ends``."""
    parent, child = ends or (None, None)
    return RevisionRecord(
        build_revision(
            id=id,
            metadata=canonical_metadata({"Name": id, **metadata}),
            revision=revision,
            host="one",
            origin=origin,
            created_at=created_at or at,
            updated_at=at,
            deleted_at=at if deleted else None,
            parent=parent,
            child=child,
            owners=owners,
        )
    )


def elements_of(view: GraphView) -> dict[str, int]:
    """The revision number of every element of a view."""
    found: dict[str, int] = {}
    for id in (*view.ids("node"), *view.ids("edge")):
        revision = view.get("node", id) or view.get("edge", id)
        assert revision is not None
        found[id] = revision.revision
    return found


def expected_at(history: Sequence[Revision], at: int, duration: int = 0) -> dict[str, int]:
    """Skydive's rule for documents that know when they were superseded (archived), word for word.

    ``history`` holds each element's revisions in ascending order, with times that do not fall.
    """
    found: dict[str, int] = {}
    start = at - duration
    for index, revision in enumerate(history):
        later = (other for other in history[index + 1 :] if other.id == revision.id)
        successor = next(later, None)
        archived = revision.deleted_at if revision.deleted_at is not None else None
        if successor is not None and archived is None:
            archived = successor.updated_at
        if (
            revision.created_at <= at
            and revision.updated_at <= at
            and (revision.deleted_at is None or revision.deleted_at >= start)
            and (archived is None or archived >= start)
        ):
            found[revision.id] = max(found.get(revision.id, 0), revision.revision)
    return found


def expected_between(history: Sequence[Revision], start: int, end: int) -> list[tuple[str, int]]:
    """(id, number) of the revisions that were current in the period, by the rule of ``Store.revisions_between``."""
    found: list[tuple[int, str, int]] = []
    for index, revision in enumerate(history):
        successor = next((other for other in history[index + 1 :] if other.id == revision.id), None)
        archived = revision.deleted_at
        if archived is None and successor is not None:
            archived = since_of(successor)
        if since_of(revision) <= end and (archived is None or archived >= start):
            at = revision.deleted_at if revision.deleted_at is not None else revision.updated_at
            found.append((at, revision.id, revision.revision))
    return [(id, number) for _, id, number in sorted(found)]


def expected_diff(history: Sequence[Revision], start: int, end: int) -> Difference:
    """What ``Store.diff`` says, from the graphs at both moments."""
    sides = []
    for at in (start, end):
        side: dict[str, Revision] = {}
        for revision in history:
            if since_of(revision) <= at:
                side[revision.id] = revision
        sides.append({id: revision for id, revision in side.items() if revision.deleted_at is None})
    before, after = sides
    changed = []
    for new in after.values():
        old = before.get(new.id)
        if old is not None and old.metadata() != new.metadata():
            keys = {*old.metadata(), *new.metadata()}
            differing = tuple(sorted(key for key in keys if old.metadata().get(key) != new.metadata().get(key)))
            changed.append(Change(old, new, differing))

    def order(revision: Revision) -> tuple[int, str]:
        return revision.created_at, revision.id

    return Difference(
        tuple(sorted((new for new in after.values() if new.id not in before), key=order)),
        tuple(sorted((old for old in before.values() if old.id not in after), key=order)),
        tuple(sorted(changed, key=lambda change: order(change.after))),
    )


def maintain(store: Store) -> None:
    """Have the store do all that there is to do."""
    for _ in range(10_000):
        if not store.maintain():
            return
    raise AssertionError("the store never says that there is nothing left to do")


_steps = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["change", "measure", "measure", "delete"]), st.integers(0, 3)),
    max_size=30,
)


def make_history(steps: list[tuple[str, str, int]]) -> list[Revision]:
    """Lives of a few elements; time goes on by the third number of each step (ms).

    A step changes a metadata key, measures (only ``Metric`` and ``LastUpdateMetric`` change), or deletes.
    """
    history: list[Revision] = []
    last: dict[str, Revision] = {}
    values: dict[str, int] = {}
    now = 1000
    for id, step, passed in steps:
        now += passed
        before = last.get(id)
        alive = before is not None and before.deleted_at is None
        if step == "delete" and not alive:
            continue
        number = before.revision + 1 if before is not None else 1
        created = before.created_at if before is not None and alive else now
        if step == "change" or not alive:
            values[id] = number
        record = make_revision(
            id,
            number,
            now,
            created_at=created,
            deleted=step == "delete",
            Value=values[id],
            Metric={"RxBytes": number * 1000, "RxPackets": number // 3, "Last": now},
            LastUpdateMetric={name: passed for name in ("RxBytes", "TxBytes") if passed % 2},
        )
        last[id] = record.revision
        history.append(record.revision)
    return history


def content_of(revisions: Iterable[Revision]) -> list[tuple[bytes, tuple[str, ...]]]:
    """What a store has to give back of revisions: their bytes and owners."""
    return [(revision.json, revision.owners) for revision in revisions]


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

    @given(_steps, st.lists(st.integers(1, 6), min_size=1, max_size=8), st.integers(0, 12), st.integers(1, 4))
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
