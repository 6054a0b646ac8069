"""Revisions for the tests of stores, and what a store has to say of them by the rules of its contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.graph.past import since_of
from skycore.graph.view import Change, Difference, GraphView
from skycore.storage.contract import RevisionRecord, Store


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


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["change", "measure", "measure", "delete"]), st.integers(0, 3)),
    max_size=30,
)
"""Steps for ``make_history``."""


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


def last_at(history: Sequence[Revision], at: int, start: int) -> list[Revision]:
    """Of each element the last revision that is not later than ``at``, without those deleted before ``start``.

    Times may fall: the later revision counts.
    """
    last = {revision.id: revision for revision in history if since_of(revision) <= at}
    return [revision for revision in last.values() if revision.deleted_at is None or revision.deleted_at >= start]


def elements_of_revisions(revisions: Iterable[Revision]) -> dict[str, int]:
    """The number of each revision by its element."""
    return {revision.id: revision.revision for revision in revisions}
