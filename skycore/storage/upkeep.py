"""What the embedded store does besides: rows become blocks, old history is removed, the file gives space back.

Each piece of work is one short transaction, so a death between any two instructions leaves what was before it or what
is after it.  Only this code removes rows or touches blocks, and rows never change; so it reads and compresses beside
the writer, and takes the writer's turn only to put the result in.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Final, NamedTuple, Protocol, final

import attrs

from skycore.graph.element import Revision, revision_from_json
from skycore.graph.past import since_of
from skycore.storage.block import Block, decode_block, encode_block, owners_of

BLOCK: Final = 64
"""Revisions in a full block."""
_BLOCK_BYTES: Final = 1 << 20
_SLICE_ROWS: Final = 256
_SLICE_BYTES: Final = 4 << 20
_CANDIDATES: Final = 256
_SPANS_A_SLICE: Final = 256
_PAGES_A_SLICE: Final = 128
# Free pages that stay for what is written next.
_SPARE_PAGES: Final = 512
# A pass reads all of `life`; it is due when this many rows have come, or this much time has passed.
_PASS_ROWS: Final = 16_384
_PASS_SECONDS: Final = 60.0
# A clock that runs ahead of this one's steady course by more is not believed when history is to be removed.
_BELIEVED_MS: Final = 3_600_000

_CANDIDATE = f"""
    SELECT id FROM life WHERE id > ? GROUP BY id
    HAVING count(*) > {BLOCK} OR (min(since) < ? AND (count(*) > 1 OR max(deleted) IS NOT NULL))
    LIMIT {_CANDIDATES}
"""
_ROWS = """
    SELECT seq, owners, json
    FROM life JOIN revision_log USING (seq) WHERE life.id = ? ORDER BY life.revision
"""
_INSERT_BLOCK = "INSERT INTO block (times, runs) VALUES (?, ?)"
_YOUNGEST_BLOCK = """
    SELECT span.number, span.first, span.revisions, span.measured, block.runs, series.data
    FROM span JOIN block USING (number) LEFT JOIN series USING (number)
    WHERE span.id = ? ORDER BY span.first DESC LIMIT 1
"""


@attrs.frozen
class Retention:
    """``days`` of history are kept (0: all), in a file of at most ``bytes`` (0: any size)."""

    days: float
    bytes: int


class File(Protocol):
    """The store's file, as upkeep needs it."""

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A snapshot."""
        ...

    def writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """The writer's turn, with a transaction that is committed at the end."""
        ...

    def vacuum(self, pages: int, *, last: bool) -> None:
        """Give free pages back to the file system; ``last`` when no more will be given for now."""
        ...


@attrs.define
class Counts:
    """What is in the file, and what was removed from it for ever."""

    rows_in: int = 0
    rows_out: int = 0
    blocks: int = 0
    compacted: int = 0
    measured: int = 0
    removed: int = 0
    removed_measured: int = 0
    horizon: int | None = None

    @property
    def rows(self) -> int:
        """Rows in the log.  Two threads count, so each has a number of its own."""
        return self.rows_in - self.rows_out


class _Merged(NamedTuple):
    """A block that goes up in a larger one."""

    number: int
    first: int
    revisions: int
    measured: int


@attrs.frozen
class _Piece:
    """Rows of one element that become blocks; with each block the moment when its last revision was superseded."""

    id: str
    blocks: list[tuple[Block, int]]
    seqs: list[int]
    through: int
    merged: _Merged | None


@final
class SteadyClock:
    """Milliseconds since the epoch by the clock of this machine, as long as that goes on as time does."""

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def jump(self) -> int:
        """By how many milliseconds the clock has been set ahead (negative: back) since the start."""
        return int((self._wall() - self._monotonic() - self._offset) * 1000)

    def now(self) -> int:
        """The time, or when the clock was set far ahead, the time that has really passed."""
        return int(self._wall() * 1000) - max(0, self.jump() - _BELIEVED_MS)


@final
class Upkeep:
    """Compaction, retention and vacuum of one file; ``step`` has one caller at a time."""

    def __init__(self, file: File, retention: Retention, settle_ms: int, clock: SteadyClock) -> None:
        self.counts = Counts()
        self.compacting = False
        self._file = file
        self._retention = retention
        self._settle_ms = settle_ms
        self._clock = clock
        self._after = ""
        self._next_pass = 0.0
        self._rows_at_pass = -_PASS_ROWS

    def step(self) -> bool:
        """Do one piece of work; whether there was one."""
        return self._compact() or self._expire() or self._shrink() or self._give_back()

    # Rows become blocks

    def _compact(self) -> bool:
        if not self.compacting:
            due = self.counts.rows - self._rows_at_pass >= _PASS_ROWS or time.monotonic() >= self._next_pass
            if not due:
                return False
            self.compacting = True
        settled = self._clock.now() - self._settle_ms
        pieces: list[_Piece] = []
        rows = size = 0
        with self._file.reading() as reader:
            candidates = [id for (id,) in reader.execute(_CANDIDATE, (self._after, settled))]
            for id in candidates:
                before, self._after = self._after, id
                piece, read, cut = _piece(reader, id, settled)
                if piece is not None:
                    pieces.append(piece)
                    rows += len(piece.seqs)
                size += read
                if cut:
                    # The rest of the element comes with the next slice.
                    self._after = before
                if cut or rows >= _SLICE_ROWS or size >= _SLICE_BYTES:
                    break
            else:
                if len(candidates) < _CANDIDATES:
                    self._after = ""
                    self.compacting = False
        if pieces:
            with self._file.writing() as writer:
                done = [piece for piece in pieces if self._put(writer, piece)]
            for piece in done:
                self._count(piece)
        if not self.compacting:
            self._rows_at_pass = self.counts.rows
            self._next_pass = time.monotonic() + _PASS_SECONDS
        return bool(pieces) or self.compacting

    def _put(self, writer: sqlite3.Connection, piece: _Piece) -> bool:
        """Put blocks in the place of rows, unless there are other rows than were read."""
        rows = "FROM life WHERE id = ? AND revision <= ?"
        (count,) = writer.execute(f"SELECT count(*) {rows}", (piece.id, piece.through)).fetchone()
        if count != len(piece.seqs):
            return False
        if piece.merged is not None:
            writer.execute("DELETE FROM span WHERE id = ? AND first = ?", (piece.id, piece.merged.first))
            writer.execute("DELETE FROM block WHERE number = ?", (piece.merged.number,))
            writer.execute("DELETE FROM series WHERE number = ?", (piece.merged.number,))
        for block, until in piece.blocks:
            number = writer.execute(_INSERT_BLOCK, (block.times, block.runs)).lastrowid
            if block.series is not None:
                writer.execute("INSERT INTO series VALUES (?, ?)", (number, block.series))
            writer.execute(
                "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    piece.id, block.first, block.last, block.start, block.finish, until,
                    block.revisions, block.measured, number,
                ),
            )  # fmt: skip
        writer.execute(f"DELETE {rows}", (piece.id, piece.through))
        writer.executemany("DELETE FROM revision_log WHERE seq = ?", [(seq,) for seq in piece.seqs])
        return True

    def _count(self, piece: _Piece) -> None:
        counts = self.counts
        counts.rows_out += len(piece.seqs)
        counts.blocks += len(piece.blocks)
        counts.compacted += sum(block.revisions for block, _ in piece.blocks)
        counts.measured += sum(block.measured for block, _ in piece.blocks)
        if piece.merged is not None:
            counts.blocks -= 1
            counts.compacted -= piece.merged.revisions
            counts.measured -= piece.merged.measured

    # What is too old, or too much, is removed

    def _expire(self) -> bool:
        days = self._retention.days
        if not days:
            return False
        return self._remove(self._clock.now() - int(days * 86_400_000))

    def _remove(self, cutoff: int) -> bool:
        query = "SELECT id, first, number, revisions, measured, until FROM span WHERE until <= ? ORDER BY until LIMIT ?"
        with self._file.reading() as reader:
            spans = reader.execute(query, (cutoff, _SPANS_A_SLICE)).fetchall()
        if not spans:
            return False
        revisions = sum(span[3] for span in spans)
        measured = sum(span[4] for span in spans)
        horizon = max(span[5] for span in spans)
        with self._file.writing() as writer:
            writer.executemany("DELETE FROM span WHERE id = ? AND first = ?", [span[:2] for span in spans])
            for table in ("block", "series"):
                writer.executemany(f"DELETE FROM {table} WHERE number = ?", [(span[2],) for span in spans])
            writer.execute(
                "UPDATE removed SET revisions = revisions + ?, horizon = max(coalesce(horizon, ?), ?)",
                (revisions, horizon, horizon),
            )
            writer.execute('DELETE FROM gap WHERE "end" <= ?', (horizon,))
            writer.execute('DELETE FROM stale WHERE "end" <= ?', (horizon,))
        counts = self.counts
        counts.blocks -= len(spans)
        counts.compacted -= revisions
        counts.measured -= measured
        counts.removed += revisions
        counts.horizon = horizon if counts.horizon is None else max(counts.horizon, horizon)
        return True

    def _shrink(self) -> bool:
        """Bring the file below its bound: first metric series of the older half of the time, then what is oldest."""
        if not self._retention.bytes:
            return False
        with self._file.reading() as reader:
            pages, free, page = (_pragma(reader, name) for name in ("page_count", "freelist_count", "page_size"))
            if (pages - free) * page <= self._retention.bytes:
                return False
            (oldest,) = reader.execute("SELECT min(until) FROM span").fetchone()
        if oldest is None:
            return False
        return self._thin((oldest + self._clock.now()) // 2) or self._remove_oldest()

    def _thin(self, before: int) -> bool:
        query = """
            SELECT number, measured, id, first FROM span
            WHERE until <= ? AND measured > 0 ORDER BY until LIMIT ?
        """
        with self._file.reading() as reader:
            spans = reader.execute(query, (before, _SPANS_A_SLICE)).fetchall()
        if not spans:
            return False
        measured = sum(span[1] for span in spans)
        with self._file.writing() as writer:
            writer.executemany("DELETE FROM series WHERE number = ?", [(span[0],) for span in spans])
            writer.executemany(
                "UPDATE span SET revisions = revisions - measured, measured = 0 WHERE id = ? AND first = ?",
                [span[2:] for span in spans],
            )
            writer.execute("UPDATE removed SET measured = measured + ?", (measured,))
        self.counts.compacted -= measured
        self.counts.measured -= measured
        self.counts.removed_measured += measured
        return True

    def _remove_oldest(self) -> bool:
        query = "SELECT max(until) FROM (SELECT until FROM span ORDER BY until LIMIT ?)"
        with self._file.reading() as reader:
            (cutoff,) = reader.execute(query, (_SPANS_A_SLICE,)).fetchone()
        return cutoff is not None and self._remove(cutoff)

    # Free pages go back to the file system

    def _give_back(self) -> bool:
        with self._file.reading() as reader:
            pages, free, mode = (_pragma(reader, name) for name in ("page_count", "freelist_count", "auto_vacuum"))
        spare = max(_SPARE_PAGES, pages // 10)
        if mode != 2 or free <= spare:
            return False
        self._file.vacuum(min(_PAGES_A_SLICE, free - spare), last=free - spare <= _PAGES_A_SLICE)
        return True


def _pragma(reader: sqlite3.Connection, name: str) -> int:
    (value,) = reader.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _piece(reader: sqlite3.Connection, id: str, settled: int) -> tuple[_Piece | None, int, bool]:
    """The next rows of an element that can become blocks, the bytes read for that, and whether there are more rows.

    The last row stays, for it is what a start and a repetition ask for; a tombstone goes when it has settled.
    """
    taken: list[tuple[int, Revision]] = []
    size = 0
    cut = False
    with closing(reader.execute(_ROWS, (id,))) as cursor:
        for seq, owners, json in cursor:
            taken.append((seq, revision_from_json(json, owners=owners_of(owners.encode()))))
            size += len(json)
            if len(taken) > _SLICE_ROWS or size > _SLICE_BYTES:
                cut = len(taken) > 1
                break
    revisions = [revision for _, revision in taken]
    if not revisions:
        return None, size, False
    until = since_of(revisions[-1])
    keep = len(revisions) - 1
    if revisions[-1].deleted_at is not None and until < settled:
        keep += 1
    elif keep > BLOCK and since_of(revisions[keep - 1]) >= settled:
        # The rest will be a full block one day.
        keep = keep // BLOCK * BLOCK
        until = since_of(revisions[keep])
    del revisions[keep:]
    if not revisions:
        return None, size, False
    seqs = [seq for seq, _ in taken[:keep]]
    through = revisions[-1].revision
    merged: _Merged | None = None
    old = reader.execute(_YOUNGEST_BLOCK, (id,)).fetchone()
    if old is not None and old[2] + len(revisions) <= BLOCK and size + len(old[4]) < _BLOCK_BYTES:
        merged = _Merged(*old[:4])
        revisions = [*decode_block(old[4], old[5]), *revisions]
    parts = list(_parts(revisions))
    untils = [*(since_of(part[0]) for part in parts[1:]), until]
    blocks = [(encode_block(part), end) for part, end in zip(parts, untils, strict=True)]
    return _Piece(id, blocks, seqs, through, merged), size, cut


def _parts(revisions: list[Revision]) -> Iterator[list[Revision]]:
    """Cut into blocks of a bounded number of revisions and bytes."""
    part: list[Revision] = []
    size = 0
    for revision in revisions:
        if part and (len(part) == BLOCK or size + len(revision.json) > _BLOCK_BYTES):
            yield part
            part, size = [], 0
        part.append(revision)
        size += len(revision.json)
    if part:
        yield part
