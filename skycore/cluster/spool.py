"""The spool: what an agent has to tell its analyzers, kept on disk until each of them has it safe.

Batches are appended to segment files; a batch is *taken* when ``append`` returns: it then survives the death of
this process, and a power cut after the next ``sync``.  Each analyzer reads through a reader of its own, at its
own pace.  A segment is removed when every reader has acknowledged all of it, or when the spool would grow beyond
its bound; readers then find a Lost in place of what they had not read.

Every method may be called from any thread; all are quick, but touch the disk, so they belong in worker threads.
See docs/spool.md.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import final

import attrs

from skycore.cluster.segment import (
    HEADER_BYTES,
    MAX_PAYLOAD,
    Entry,
    Lost,
    Segment,
    encode_record,
    read_record,
)
from skycore.cluster.segment_writer import SegmentWriter, sync_files
from skycore.cluster.spool_recovery import EVERYONE, lock_folder, recover
from skycore.cluster.spool_state import Position, Taken, encode_state, next_epoch, save_state
from skycore.errors import LinkError, StorageError

__all__ = ["Entry", "Lost", "Reader", "Spool", "SpoolStatus", "next_epoch"]


@attrs.frozen
class SpoolStatus:
    """``bytes`` on disk in ``segments`` files.

    Since the start of this process: ``dropped`` sequence numbers gave way to newer ones or could not be written;
    ``cut_bytes`` were found to be torn or damaged.
    """

    bytes: int
    segments: int
    dropped: int
    cut_bytes: int


@final
class Spool:
    """The spool in ``folder``, written by one process in one ``epoch`` (see next_epoch).

    At most ``max_bytes`` are kept, in files of about ``segment_bytes`` (an eighth of the bound, at most 8 MiB,
    unless given).  Opening it reads all that is there; torn and damaged ends are cut off and counted, never an error.

    Raises StorageError when another process uses the folder, when it cannot be read or written, or when a newer
    version wrote to it.
    """

    def __init__(self, folder: Path, epoch: int, max_bytes: int, segment_bytes: int | None = None) -> None:
        self.folder = folder
        self.epoch = epoch
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes or min(8 << 20, max(max_bytes // 8, 1))
        self._lock = threading.Lock()
        self._writer = SegmentWriter(folder, epoch)
        self._synced_to: Taken | None = None
        self._readers: dict[str, Reader] = {}
        self._taken: Taken | None = None
        self._dropped = 0
        self._closed = False
        self._saved = b""
        self._lock_fd = lock_folder(folder)
        try:
            found = recover(folder, epoch)
        except BaseException:
            os.close(self._lock_fd)
            raise
        self._state, self._segments, self._cut = found.state, found.segments, found.cut_bytes
        self._bytes = sum(segment.size for segment in self._segments)

    # Writing

    def append(
        self, first: int, last: int, payload: bytes, *, start_ms: int | None = None, end_ms: int | None = None
    ) -> None:
        """Take a batch: ``first`` to ``last`` of this epoch, made within [start_ms, end_ms] (both now when not given).

        Sequence numbers begin at 1 or later and continue without holes: ``first`` is one more than the ``last``
        before.  Raises StorageError when it cannot be written; nothing was taken then, and the call may be repeated,
        or the batch be given up with ``lose``.
        """
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a batch of {len(payload)} bytes is above the limit of {MAX_PAYLOAD}")
        end_ms = time.time_ns() // 1_000_000 if end_ms is None else end_ms
        start_ms = end_ms if start_ms is None else start_ms
        record = encode_record(Entry(self.epoch, first, last, start_ms, end_ms, payload))
        if HEADER_BYTES + len(record) > self._max_bytes:
            raise StorageError(
                f"a batch of {len(payload)} bytes does not fit into a spool of {self._max_bytes} bytes; raise its bound"
            )
        with self._lock:
            self._check_next(first, last)
            self._state.readers.pop(EVERYONE, None)
            active = self._writer.segment
            if active is not None and active.size + len(record) > self._segment_bytes:
                self._retire()
            self._make_room(len(record))
            try:
                active = self._writer.segment
                if active is None:
                    active = self._writer.begin(first)
                    self._segments.append(active)
                    self._bytes += active.size
                self._writer.write(record)
            except OSError as error:
                if active is not None and active.empty:
                    self._retire()
                raise StorageError(
                    f"the spool in {self.folder} cannot be written: {error.strerror}; look at the disk's free space"
                ) from error
            active.add(first, last, start_ms, end_ms, len(record))
            self._bytes += len(record)
            self._count_taken(first, last, end_ms)

    def lose(self, first: int, last: int, *, start_ms: int, end_ms: int) -> None:
        """Give up a batch that ``append`` could not take: readers find a Lost in its place."""
        with self._lock:
            self._check_next(first, last)
            self._retire()
            self._count_taken(first, last, end_ms)
            self._dropped += last - first + 1
            if self._state.readers:
                self._state.add_lost(Lost(self.epoch, first, last, start_ms, end_ms))
                # On a full disk this may fail as well; the next sync tries again.
                with suppress(StorageError):
                    self._save()

    def _check_next(self, first: int, last: int) -> None:
        if self._closed:
            raise StorageError(f"the spool in {self.folder} is closed")
        if first < 1 or last < first or (self._taken is not None and first != self._taken.last + 1):
            after = "1 or more" if self._taken is None else str(self._taken.last + 1)
            raise ValueError(f"sequence numbers {first}–{last} do not continue: {after} is next")

    def _count_taken(self, first: int, last: int, end_ms: int) -> None:
        if self._taken is None:
            self._taken = Taken(self.epoch, first, last, end_ms)
        else:
            self._taken = Taken(self.epoch, self._taken.first, last, max(self._taken.end_ms, end_ms))

    def _retire(self) -> None:
        """Write no more to the active segment."""
        segment = self._writer.retire()
        if segment is not None and segment.empty:
            self._remove(segment)

    def _make_room(self, size: int) -> None:
        """Drop the oldest segments until ``size`` more bytes fit."""
        while self._segments and self._bytes + size + (0 if self._writer.segment else HEADER_BYTES) > self._max_bytes:
            oldest = self._segments[0]
            if oldest is self._writer.segment:
                self._retire()
            if oldest not in self._segments:
                continue
            slowest = self._state.slowest
            if slowest is not None and slowest < (oldest.epoch, oldest.last):
                first = max(oldest.first, slowest[1] + 1) if slowest[0] == oldest.epoch else oldest.first
                self._dropped += oldest.last - first + 1
                self._state.add_lost(Lost(oldest.epoch, oldest.first, oldest.last, oldest.start_ms, oldest.end_ms))
                # Without it the loss is found again as a hole, though with wider times.
                with suppress(StorageError):
                    self._save()
            self._remove(oldest)

    def _remove(self, segment: Segment) -> None:
        self._segments.remove(segment)
        self._bytes -= segment.size
        with suppress(OSError):
            segment.path.unlink()

    # Safety

    def sync(self) -> None:
        """Make what was taken survive a power cut, and write down how far the readers are; call it each second.

        Appending goes on meanwhile.  Raises StorageError.
        """
        try:
            with self._lock:
                if self._closed:
                    return
                taken = self._taken
                files = self._writer.take_unsynced()
            sync_files(self.folder, files)
        except OSError as error:
            raise StorageError(f"the spool in {self.folder} cannot be synced: {error.strerror}") from error
        with self._lock:
            if not self._closed:
                self._synced_to = taken
                self._save()

    def _save(self) -> None:
        # Only what is certain to be there may be missed at the next start.
        if self._synced_to is not None:
            self._state.taken[self.epoch] = self._synced_to
        content = encode_state(self._state)
        if content != self._saved:
            save_state(self.folder, content)
            self._saved = content

    def close(self) -> None:
        """Sync and let go of the folder.  Idempotent; reading and appending raise StorageError afterwards."""
        try:
            self.sync()
        finally:
            with self._lock:
                if not self._closed:
                    self._closed = True
                    for reader in self._readers.values():
                        reader._let_go()
                    self._writer.close()
                    os.close(self._lock_fd)

    @property
    def status(self) -> SpoolStatus:
        with self._lock:
            return SpoolStatus(self._bytes, len(self._segments), self._dropped, self._cut)

    # Readers

    def reader(self, name: str) -> Reader:
        """The reader of this name; it goes on from what it had acknowledged, also in an earlier process.

        One that is new starts at the end: what was taken before is not for it.  Register readers before the first
        append: should the file with their positions be lost, they start at the oldest entry.  Raises StorageError.
        """
        if not name:
            raise ValueError("a reader needs a name")
        with self._lock:
            if self._closed:
                raise StorageError(f"the spool in {self.folder} is closed")
            reader = self._readers.get(name)
            if reader is None:
                positions = self._state.readers
                if name not in positions:
                    positions[name] = positions.get(EVERYONE, self._end)
                    self._save()
                reader = self._readers[name] = Reader(self, name)
            return reader

    def retain(self, names: Collection[str]) -> None:
        """Forget all readers but these: what only the others had not acknowledged is kept no longer."""
        with self._lock:
            for name in set(self._state.readers) - set(names):
                del self._state.readers[name]
                reader = self._readers.pop(name, None)
                if reader is not None:
                    reader._let_go()
            self._save()
            self._remove_acknowledged()

    @property
    def _end(self) -> Position:
        return (self.epoch, self._taken.last) if self._taken is not None else (self.epoch, 0)

    def _remove_acknowledged(self) -> None:
        slowest = self._state.slowest
        self._state.forget_acknowledged()
        done = [
            segment
            for segment in self._segments
            if segment is not self._writer.segment and (slowest is None or (segment.epoch, segment.last) <= slowest)
        ]
        if done:
            # First written down, else the next start takes what was removed for lost.
            try:
                self._save()
            except StorageError:
                return
            for segment in done:
                self._remove(segment)

    def _damaged(self, segment: Segment, offset: int, last_good: int) -> None:
        """A record that was good when it was written or scanned no longer is: the rest of its segment is lost."""
        if segment is self._writer.segment:
            self._retire()
        self._cut += segment.size - offset
        self._bytes -= segment.size - offset
        self._state.add_lost(Lost(segment.epoch, last_good + 1, segment.last, segment.start_ms, segment.end_ms))
        segment.last, segment.size = last_good, offset
        if segment.empty:
            self._remove(segment)


@final
class Reader:
    """One analyzer's place in the spool; made by Spool.reader."""

    def __init__(self, spool: Spool, name: str) -> None:
        self.name = name
        self._spool = spool
        self._cursor = spool._state.readers[name]
        self._segment: Segment | None = None
        self._file = -1
        self._offset = 0
        self._before = 0

    @property
    def acknowledged(self) -> Position:
        """(epoch, seq) up to which all is acknowledged."""
        return self._spool._state.readers.get(self.name, self._cursor)

    def next(self) -> Entry | Lost | None:
        """What comes next in order of epoch and sequence number; None when all was read.

        Raises StorageError when the disk cannot be read, or the spool is closed.
        """
        spool = self._spool
        with spool._lock:
            if spool._closed:
                raise StorageError(f"the spool in {spool.folder} is closed")
            try:
                while True:
                    segment = self._next_segment()
                    lost = spool._state.next_lost(self._cursor)
                    if lost is not None and (segment is None or (lost.epoch, lost.first) < self._next_in(segment)):
                        self._cursor = (lost.epoch, lost.last)
                        return lost
                    if segment is None:
                        return None
                    entry = self._read(segment)
                    if entry is not None:
                        return entry
            except OSError as error:
                raise StorageError(f"the spool in {spool.folder} cannot be read: {error.strerror}") from error

    def acknowledge(self, epoch: int, seq: int) -> None:
        """All up to and including ``seq`` of ``epoch`` (and all of earlier epochs) is safe where it was to go.

        Going back is no error and changes nothing.  Raises LinkError for what was never taken.
        """
        spool = self._spool
        with spool._lock:
            position = (epoch, seq)
            if position > spool._end:
                raise LinkError(f"{self.name} acknowledged {seq} of epoch {epoch}, which it was never sent")
            if self.name in spool._state.readers and position > spool._state.readers[self.name]:
                spool._state.readers[self.name] = position
                if position > self._cursor:
                    self._cursor = position
                    self._let_go()
                spool._remove_acknowledged()

    def rewind(self) -> None:
        """Read again from what was acknowledged, as after the link broke."""
        with self._spool._lock:
            self._cursor = self.acknowledged
            self._let_go()

    def _next_segment(self) -> Segment | None:
        return next(
            (segment for segment in self._spool._segments if (segment.epoch, segment.last) > self._cursor), None
        )

    def _next_in(self, segment: Segment) -> Position:
        epoch, seq = self._cursor
        return (segment.epoch, max(segment.first, seq + 1) if epoch == segment.epoch else segment.first)

    def _read(self, segment: Segment) -> Entry | None:
        """The next entry in a segment that holds one; None when it turned out to be damaged."""
        if segment is not self._segment:
            self._let_go()
            self._file = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
            self._segment, self._offset, self._before = segment, HEADER_BYTES, segment.first - 1
        epoch, seq = self._cursor
        while True:
            entry, behind = read_record(self._file, self._offset, segment.size, segment.epoch)
            if entry is None or entry.first != self._before + 1:
                self._spool._damaged(segment, self._offset, self._before)
                return None
            self._offset, self._before = behind, entry.last
            if epoch < segment.epoch or entry.last > seq:
                self._cursor = (segment.epoch, entry.last)
                return entry

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        self._segment = None
