"""Segments: the files of the spool, and how what is left of one is found after an accident.

All numbers are little-endian::

    file   = header, record*
    header = magic "SKYSPOOL", version u32, epoch u64, first seq u64, CRC-32 u32 of the header so far
    record = length u32 of the body, CRC-32 u32 of length and body, body
    body   = first seq u64, last seq u64, start i64, end i64 (ms since the epoch), payload

The file's name is ``<epoch>-<first seq>.spool``, both as 20 digits, so that names sort in the order of writing.
Within one file the sequence numbers have no holes.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final, final

import attrs

from skycore.errors import StorageError

MAX_PAYLOAD: Final = 16 << 20
_MAGIC: Final = b"SKYSPOOL"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sIQQ")
_CRC: Final = struct.Struct("<I")
_PREFIX: Final = struct.Struct("<II")
_BODY: Final = struct.Struct("<QQqq")
HEADER_BYTES: Final = _HEADER.size + _CRC.size


@final
@attrs.frozen
class Entry:
    """One batch: ``payload`` holds the revisions ``first`` to ``last`` of ``epoch``, made in [start_ms, end_ms]."""

    epoch: int
    first: int
    last: int
    start_ms: int
    end_ms: int
    payload: bytes


@final
@attrs.frozen
class Lost:
    """The revisions ``first`` to ``last`` of ``epoch`` are gone; they were made within [start_ms, end_ms]."""

    epoch: int
    first: int
    last: int
    start_ms: int
    end_ms: int


@final
@attrs.define(eq=False)
class Segment:
    """What is known of one file: the sequence numbers it holds, and how many of its bytes are good.

    While it holds no record, ``last`` is ``first`` − 1 and the times are 0.
    """

    path: Path
    epoch: int
    first: int
    last: int
    size: int = HEADER_BYTES
    start_ms: int = 0
    end_ms: int = 0

    @classmethod
    def new(cls, folder: Path, epoch: int, first: int) -> Segment:
        return cls(folder / f"{epoch:020d}-{first:020d}.spool", epoch, first, first - 1)

    @property
    def empty(self) -> bool:
        return self.last < self.first

    def add(self, first: int, last: int, start_ms: int, end_ms: int, size: int) -> None:
        """Count in a record that was written (or found) at the end of the good bytes."""
        self.start_ms = start_ms if self.empty else min(self.start_ms, start_ms)
        self.end_ms = end_ms if self.empty else max(self.end_ms, end_ms)
        self.last = last
        self.size += size


def header_of(segment: Segment) -> bytes:
    header = _HEADER.pack(_MAGIC, _VERSION, segment.epoch, segment.first)
    return header + _CRC.pack(zlib.crc32(header))


def encode_record(entry: Entry) -> bytes:
    body = _BODY.pack(entry.first, entry.last, entry.start_ms, entry.end_ms) + entry.payload
    length = len(body).to_bytes(4, "little")
    return length + _CRC.pack(zlib.crc32(body, zlib.crc32(length))) + body


def read_record(file: int, offset: int, end: int, epoch: int) -> tuple[Entry | None, int]:
    """(entry, offset behind it) of the record at ``offset``; (None, the same) when it is damaged.

    The offset behind a damaged record is what its length says, 0 when that cannot be.  Raises OSError.
    """
    prefix = os.pread(file, _PREFIX.size, offset)
    if len(prefix) < _PREFIX.size:
        return None, 0
    length, checksum = _PREFIX.unpack(prefix)
    behind = offset + _PREFIX.size + length
    if not _BODY.size <= length <= _BODY.size + MAX_PAYLOAD or behind > end:
        return None, 0
    body = os.pread(file, length, offset + _PREFIX.size)
    if len(body) < length:
        return None, 0
    if zlib.crc32(body, zlib.crc32(prefix[:4])) != checksum:
        return None, behind
    first, last, start_ms, end_ms = _BODY.unpack_from(body)
    return Entry(epoch, first, last, start_ms, end_ms, body[_BODY.size :]), behind


@final
@attrs.frozen
class Scan:
    """What a file was found to hold: ``segment`` up to the first damage; ``cut`` bytes behind it are of no use.

    ``last_seen`` is the highest sequence number that the file shows to have been written, damage or not.
    """

    segment: Segment
    cut: int
    last_seen: int


def segment_of(path: Path) -> Segment | None:
    """A file's place in the spool by its name, None when the name is not a segment's."""
    epoch, dash, first = path.stem.partition("-")
    digits = epoch + first
    if path.suffix != ".spool" or not dash or len(epoch) != 20 or len(first) != 20:
        return None
    if not (digits.isascii() and digits.isdigit()):
        return None
    return Segment(path, int(epoch), int(first), int(first) - 1)


def scan(segment: Segment) -> Scan:
    """Read a file to its first damage, and look behind that for what else had been written.

    Raises OSError, and StorageError when a newer version wrote the file.
    """
    file = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = os.fstat(file).st_size
        header = os.pread(file, HEADER_BYTES, 0)
        if header != header_of(segment):
            _refuse_newer(segment.path, header)
            last_seen = _last_seen(file, HEADER_BYTES, end, segment) if end > HEADER_BYTES else segment.last
            segment.size = 0
            return Scan(segment, end, last_seen)
        while segment.size < end:
            entry, behind = read_record(file, segment.size, end, segment.epoch)
            if entry is None or entry.first != segment.last + 1 or entry.last < entry.first:
                return Scan(segment, end - segment.size, _last_seen(file, segment.size, end, segment))
            segment.add(entry.first, entry.last, entry.start_ms, entry.end_ms, behind - segment.size)
        return Scan(segment, 0, segment.last)
    finally:
        os.close(file)


def _last_seen(file: int, offset: int, end: int, segment: Segment) -> int:
    """Follow the lengths from a damaged record on; good records behind it tell how far the file went.

    A record of full length with a wrong checksum was written whole, so it is counted as one sequence number
    at least; one that the end of the file cuts off was never whole.
    """
    seen = segment.last
    while offset < end:
        entry, behind = read_record(file, offset, end, segment.epoch)
        if entry is not None:
            seen = max(seen, entry.last)
        elif behind:
            seen += 1
        else:
            break
        offset = behind
    return seen


def _refuse_newer(path: Path, header: bytes) -> None:
    if len(header) < HEADER_BYTES or zlib.crc32(header[: _HEADER.size]) != _CRC.unpack_from(header, _HEADER.size)[0]:
        return
    magic, version, _, _ = _HEADER.unpack_from(header)
    if magic == _MAGIC and version > _VERSION:
        raise StorageError(
            f"{path} was written by a newer version of Skycore (format {version}, this one knows {_VERSION}); "
            f"run that version until its spool is empty, or move the file away"
        )
