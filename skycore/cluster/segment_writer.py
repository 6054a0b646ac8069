"""The segment that is being written, and the files that a power cut could still take."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, final

from skycore.cluster.segment import Segment, header_of

# Whoever does not sync must not run out of descriptors; the kernel writes out a closed file within a minute.
_MOST_UNSYNCED: Final = 16


@final
class SegmentWriter:
    """Writes one segment after the other into ``folder``; the caller serialises the calls.

    All methods may raise OSError.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        self._folder = folder
        self._epoch = epoch
        self._file = -1
        self._unsynced: list[int] = []
        self._dirty = False
        self.segment: Segment | None = None

    def begin(self, first: int) -> Segment:
        """Start a new segment with a record that is to hold ``first``."""
        segment = Segment.new(self._folder, self._epoch, first)
        # A file of this name is what an earlier failure here has left.
        file = os.open(segment.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_at(file, header_of(segment), 0)
        except OSError:
            os.close(file)
            with suppress(OSError):
                segment.path.unlink()
            raise
        self._file, self.segment = file, segment
        return segment

    def write(self, record: bytes) -> None:
        """Put a record behind the good bytes of the segment; when it raises, these are as before."""
        assert self.segment is not None
        self._dirty = True
        try:
            _write_at(self._file, record, self.segment.size)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self.segment.size)
            raise

    def retire(self) -> Segment | None:
        """Write no more to the segment that is being written; returns it."""
        segment = self.segment
        if segment is not None:
            self._unsynced.append(self._file)
            self._file, self.segment = -1, None
            if len(self._unsynced) > _MOST_UNSYNCED:
                os.close(self._unsynced.pop(0))
        return segment

    def take_unsynced(self) -> list[int]:
        """Files with bytes that may not have reached the disk; the caller owns these descriptors."""
        active = [os.dup(self._file)] if self.segment is not None and self._dirty else []
        files = self._unsynced + active
        self._unsynced, self._dirty = [], False
        return files

    def close(self) -> None:
        self.retire()
        for file in self._unsynced:
            os.close(file)
        self._unsynced = []


def sync_files(folder: Path, files: list[int]) -> None:
    """Make the files and their names in ``folder`` survive a power cut, and close the files in any case."""
    try:
        for file in files:
            os.fdatasync(file)
        if files:
            directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
    finally:
        for file in files:
            os.close(file)


def _write_at(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view = view[written:]
        offset += written
