"""Questions to the embedded store's file, over rows and blocks alike.

Each function reads through one connection, whose snapshot is one moment of the store.  Of each element the rows of the
log are younger than its blocks, and its blocks follow each other.  Damaged rows and blocks are ValueErrors.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from itertools import chain

import msgspec

from skycore.errors import PeriodTooLarge
from skycore.graph.element import Revision, revision_from_json
from skycore.graph.past import between, difference, since_of
from skycore.graph.view import Difference
from skycore.storage.block import changed_within, decode_block, last_of_block, owners_of

FOR_EVER = (1 << 63) - 1

_LAST_ROWS = """
    SELECT log.json, log.owners
    FROM (SELECT seq, deleted, max(revision) FROM life WHERE since <= :at {ids} GROUP BY id) AS last
    JOIN revision_log AS log ON log.seq = last.seq
    WHERE last.deleted IS NULL OR last.deleted >= :start
"""
_LAST_BLOCKS = """
    SELECT span.id, block.runs, series.data
    FROM (SELECT id, number, until, max(first) FROM span WHERE start <= :at {ids} GROUP BY id) AS span
    JOIN block USING (number) LEFT JOIN series USING (number)
    WHERE span.until >= :start AND NOT EXISTS (SELECT 1 FROM life WHERE life.id = span.id AND life.since <= :at)
"""
_ONLY = "AND id IN (SELECT value FROM json_each(:ids))"
_ROWS_OF = """
    SELECT log.json, log.owners FROM life JOIN revision_log AS log USING (seq) WHERE life.id = ? ORDER BY life.revision
"""
_BLOCKS_OF = """
    SELECT block.runs, series.data FROM span JOIN block USING (number) LEFT JOIN series USING (number)
    WHERE span.id = ? ORDER BY span.first
"""
_ROWS_BETWEEN = """
    SELECT log.json, log.owners
    FROM (
        SELECT seq, since, coalesce(deleted, lead(since) OVER (PARTITION BY id ORDER BY revision)) AS archived FROM life
    ) AS period
    JOIN revision_log AS log USING (seq)
    WHERE since <= :end AND (archived IS NULL OR archived >= :start)
"""
_BLOCKS_BETWEEN = """
    SELECT span.until, block.runs, series.data
    FROM span JOIN block USING (number) LEFT JOIN series USING (number)
    WHERE span.start <= :end AND max(span.until, span.finish) >= :start
"""
_CHANGED_ROWS = "SELECT DISTINCT id FROM life WHERE since > :start AND since <= :end"
_CHANGED_BLOCKS = """
    SELECT span.id, block.times FROM span JOIN block USING (number) WHERE start <= :end AND finish > :start
"""


def last_rows(
    reader: sqlite3.Connection, at: int, start: int, ids: Collection[str] | None = None
) -> Iterator[Revision]:
    """The revision of each element at ``at``, without those deleted before ``start``, where it is a row of the log."""
    return _rows(reader, _LAST_ROWS.format(ids=_ids(ids)), _moment(at, start, ids))


def last_revisions(
    reader: sqlite3.Connection, at: int, start: int, ids: Collection[str] | None = None
) -> Iterator[Revision]:
    """The revision of each element (of those named) at ``at``, without those deleted before ``start`` (≤ at + 1)."""
    yield from last_rows(reader, at, start, ids)
    with closing(reader.execute(_LAST_BLOCKS.format(ids=_ids(ids)), _moment(at, start, ids))) as cursor:
        for id, runs, series in cursor:
            revision = last_of_block(runs, series, at)
            if revision is None:
                # Its metric revisions are gone, and only they were as old, because a clock was set back.
                revision = highest(revisions_of(reader, id), at)
            if revision is not None and (revision.deleted_at is None or revision.deleted_at >= start):
                yield revision


def revisions_of(reader: sqlite3.Connection, id: str) -> list[Revision]:
    """All revisions of an element, lowest first."""
    with closing(reader.execute(_BLOCKS_OF, (id,))) as cursor:
        found = list(chain.from_iterable(decode_block(*row) for row in cursor))
    return [*found, *_rows(reader, _ROWS_OF, (id,))]


def revisions_between(reader: sqlite3.Connection, start: int, end: int, limit: int | None) -> list[Revision]:
    """Every revision that was current in the period, as ``sort_period`` orders them."""
    found: list[Revision] = []
    moment = {"start": start, "end": end}
    for revision in _rows(reader, _ROWS_BETWEEN, moment):
        found.append(revision)
        check_count(len(found), limit)
    with closing(reader.execute(_BLOCKS_BETWEEN, moment)) as cursor:
        for until, runs, series in cursor:
            found.extend(between(decode_block(runs, series), start, end, until))
            check_count(len(found), limit)
    return sort_period(found)


def check_count(count: int, limit: int | None) -> None:
    """Raise PeriodTooLarge when a period holds too much."""
    if limit is not None and count > limit:
        raise PeriodTooLarge(f"the period holds more than {limit} revisions; ask for a shorter one")


def sort_period(revisions: list[Revision]) -> list[Revision]:
    """By time, then ID, then number."""

    def key(revision: Revision) -> tuple[int, str, int]:
        at = revision.updated_at if revision.deleted_at is None else revision.deleted_at
        return at, revision.id, revision.revision

    return sorted(revisions, key=key)


def diff(reader: sqlite3.Connection, start: int, end: int) -> Difference:
    """What changed from ``start`` to ``end``; only elements with a revision in between are looked at."""
    moments = {"start": start, "end": end}
    ids = {id for (id,) in reader.execute(_CHANGED_ROWS, moments)}
    with closing(reader.execute(_CHANGED_BLOCKS, moments)) as cursor:
        ids.update(id for id, times in cursor if id not in ids and changed_within(times, start, end))
    # Whoever was deleted up to a moment is not there then: the moments that would show a tombstone begin after it.
    before, after = (
        {revision.id: revision for revision in last_revisions(reader, at, at + 1, ids)} for at in (start, end)
    )
    return difference(before, after)


def _ids(ids: Collection[str] | None) -> str:
    return "" if ids is None else _ONLY


def _moment(at: int, start: int, ids: Collection[str] | None) -> dict[str, int | str]:
    moment: dict[str, int | str] = {"at": at, "start": start}
    if ids is not None:
        moment["ids"] = msgspec.json.encode(list(ids)).decode()
    return moment


def _rows(
    reader: sqlite3.Connection, query: str, parameters: tuple[str, ...] | dict[str, int] | dict[str, int | str]
) -> Iterator[Revision]:
    with closing(reader.execute(query, parameters)) as cursor:
        for json, owners in cursor:
            yield revision_from_json(json, owners=owners_of(owners.encode()))


def highest(life: list[Revision], at: int) -> Revision | None:
    """The last of an element's revisions, given lowest first, that is not later than ``at``."""
    return next((revision for revision in reversed(life) if since_of(revision) <= at), None)
