"""How much changed when: revisions counted over equal parts of a period, without those that bring new counters only.

Counters change twice a minute on each interface, so with them every time would look alike.  Rows are compared with
the row before of the same element; when a period has more than ``MOST_ROWS`` of them, only every n-th element's are,
and the counts are multiplied.  What is compacted is spread evenly over the time of its block.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any, Final

import msgspec

from skycore.storage.block import SERIES_KEYS

MOST_ROWS: Final = 40_000
_COUNT: Final = "SELECT count(*) FROM life WHERE since BETWEEN :start AND :end"
# A UUID's last digits are as good as random; other IDs are as they are.
_ROWS: Final = """
    SELECT life.id, life.since, life.deleted, log.json, EXISTS (SELECT 1 FROM span WHERE span.id = life.id)
    FROM life JOIN revision_log AS log USING (seq)
    WHERE since BETWEEN :before AND :end AND (:share = 1 OR unicode(substr(life.id, -1)) % :share = 0)
    ORDER BY life.id, life.revision
"""
_BLOCKS: Final = """
    SELECT start, finish, revisions - measured FROM span
    WHERE until >= :start AND start <= :end AND finish >= :start AND revisions > measured
"""
_MOST_SHARE: Final = 16


class _Steady(msgspec.Struct, gc=False):
    Metadata: dict[str, msgspec.Raw]


_decode: Final = msgspec.json.Decoder(_Steady).decode


def density(reader: sqlite3.Connection, start: int, end: int, parts: int) -> list[int]:
    """Changes in each of ``parts`` equal parts of [start, end] (milliseconds since the epoch, start < end)."""
    counts = [0.0] * parts
    scale = parts / (end - start)
    (rows,) = reader.execute(_COUNT, {"start": start, "end": end}).fetchone()
    share = min(_MOST_SHARE, -(-rows // MOST_ROWS) or 1)
    for since in _changes(reader, start, end, share):
        counts[min(parts - 1, int((since - start) * scale))] += share
    with closing(reader.execute(_BLOCKS, {"start": start, "end": end})) as cursor:
        for first, last, changes in cursor:
            _spread(counts, (first - start) * scale, (last - start) * scale, changes)
    return [round(count) for count in counts]


def _changes(reader: sqlite3.Connection, start: int, end: int, share: int) -> Any:
    """The times of rows that say something new."""
    before: tuple[str, bytes] = ("", b"")
    # Far enough back to find what most rows are compared with.
    moment = {"before": start - (end - start), "end": end, "share": share}
    with closing(reader.execute(_ROWS, moment)) as cursor:
        for id, since, deleted, text, older in cursor:
            steady = _steady(text)
            known = before[0] == id
            news = deleted is not None or (steady != before[1] if known else not older)
            before = (id, steady)
            if news and since >= start:
                yield since


def _steady(text: bytes) -> bytes:
    metadata = _decode(text).Metadata
    for key in SERIES_KEYS:
        metadata.pop(key, None)
    return b"\0".join(key.encode() + b"=" + bytes(metadata[key]) for key in sorted(metadata))


def _spread(counts: list[float], first: float, last: float, changes: int) -> None:
    """Add changes to the parts from ``first`` to ``last``, which may lie partly outside."""
    width = max(last - first, 1e-9)
    for part in range(max(0, int(first)), min(len(counts), int(last) + 1)):
        overlap = min(last, part + 1) - max(first, part)
        counts[part] += changes * (min(1.0, max(overlap, 0.0) / width) if last > first else 1.0)
