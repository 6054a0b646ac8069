"""What a commit is in the embedded store's tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain, islice
from typing import Final

import attrs
import msgspec

from skycore.graph.past import since_of
from skycore.storage.contract import Gap, Mark, Record, RevisionRecord, StaleInterval

_encode = msgspec.json.Encoder().encode
_ROWS_A_STATEMENT: Final = 64
_INSERT_MARK = """
    INSERT INTO mark VALUES (?, ?, ?) ON CONFLICT (origin, epoch) DO UPDATE SET seq = max(seq, excluded.seq)
"""
_INSERT_GAP = """
    INSERT INTO gap VALUES (?, ?, ?, ?)
    ON CONFLICT (origin, start, "end") DO UPDATE SET lost = max(lost, excluded.lost)
"""
_INSERT_STALE = """
    INSERT INTO stale VALUES (?, ?, ?, ?)
    ON CONFLICT (origin, claimant, start) DO UPDATE SET "end" = coalesce(excluded."end", "end")
"""
_COMPACTED = "SELECT id, max(last) FROM span WHERE id IN (SELECT value FROM json_each(?)) GROUP BY id"


@attrs.frozen
class Rows:
    """The records of one commit as rows, by table."""

    log: list[tuple[int, str, bytes]] = attrs.field(factory=list)
    life: list[tuple[str, int, int, int | None, int]] = attrs.field(factory=list)
    marks: list[tuple[str, int, int]] = attrs.field(factory=list)
    gaps: list[tuple[str, int, int, int]] = attrs.field(factory=list)
    stale: list[tuple[str, str, int, int | None]] = attrs.field(factory=list)

    @classmethod
    def of(cls, records: Sequence[Record], seq: int) -> Rows:
        """Rows numbered from ``seq`` + 1."""
        rows = cls()
        for record in records:
            match record:
                case RevisionRecord(revision):
                    seq += 1
                    owners = _encode(revision.owners).decode()
                    rows.log.append((seq, owners, revision.json))
                    rows.life.append((revision.id, revision.revision, since_of(revision), revision.deleted_at, seq))
                case Mark(origin, epoch, number):
                    rows.marks.append((origin, epoch, number))
                case Gap(origin, start, end, lost):
                    rows.gaps.append((origin, start, end, lost))
                case StaleInterval(origin, claimant, start, until):
                    rows.stale.append((origin, claimant, start, until))
        return rows

    def insert(self, writer: sqlite3.Connection) -> set[int] | None:
        """Insert them, but for revisions that are there; the numbers of those that are new, None when all are."""
        taken: set[int] | None = None
        if self.life:
            taken = self._insert_revisions(writer)
        writer.executemany(_INSERT_MARK, self.marks)
        writer.executemany(_INSERT_GAP, self.gaps)
        writer.executemany(_INSERT_STALE, self.stale)
        return taken

    def _insert_revisions(self, writer: sqlite3.Connection) -> set[int] | None:
        life, log, taken = self.life, self.log, None
        ids = _encode(list({row[0] for row in life})).decode()
        if compacted := dict(writer.execute(_COMPACTED, (ids,)).fetchall()):
            life = [row for row in life if row[1] > compacted.get(row[0], -1)]
        before = writer.total_changes
        _insert_rows(writer, "INSERT OR IGNORE INTO life VALUES", life)
        if writer.total_changes - before < len(log):
            taken = {row[4] for row in life if _is_new(writer, row)}
            log = [row for row in log if row[0] in taken]
        _insert_rows(writer, "INSERT INTO revision_log VALUES", log)
        highest = max(row[1] for row in self.life)
        writer.execute("UPDATE highest SET revision = max(revision, ?)", (highest,))
        return taken


def _is_new(writer: sqlite3.Connection, row: tuple[str, int, int, int | None, int]) -> bool:
    """Whether this row, and not an earlier one, holds its revision."""
    query = "SELECT 1 FROM life WHERE id = ? AND revision = ? AND seq = ?"
    return writer.execute(query, (row[0], row[1], row[4])).fetchone() is not None


def _insert_rows(writer: sqlite3.Connection, insert: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, many with one statement: each statement lets go of the GIL, and has to win it back."""
    whole = len(rows) - len(rows) % _ROWS_A_STATEMENT
    if whole:
        places = "(" + ",".join("?" * len(rows[0])) + ")"
        values = chain.from_iterable(rows[:whole])
        size = _ROWS_A_STATEMENT * len(rows[0])
        statement = insert + ",".join([places] * _ROWS_A_STATEMENT)
        writer.executemany(statement, iter(lambda: tuple(islice(values, size)), ()))
    if whole < len(rows):
        writer.executemany(f"{insert} ({','.join('?' * len(rows[0]))})", rows[whole:])
