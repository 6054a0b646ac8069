"""Opening a spool: its lock, and what an earlier process, however it ended, has left in the folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

import attrs

from skycore.cluster.segment import Segment, scan, segment_of
from skycore.cluster.spool_state import State, encode_state, load_state, save_state
from skycore.errors import StorageError

_LOCK_FILE: Final = "lock"
EVERYONE: Final = ""
"""Stands in ``State.readers`` for whoever registers, when the file with their positions is lost."""


@attrs.frozen
class Recovered:
    """What is left to be read: ``segments`` in their order; ``cut_bytes`` of them were torn or damaged."""

    state: State
    segments: list[Segment]
    cut_bytes: int


def lock_folder(folder: Path) -> int:
    """Make the folder and lock it; returns the open file that holds the lock.

    Raises StorageError, also when another process holds it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{folder} cannot be used for the spool: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise StorageError(
            f"the spool in {folder} is in use by another process; stop it, or give this one another folder"
        ) from error
    return lock


def recover(folder: Path, epoch: int) -> Recovered:
    """Read all that is in a locked folder, before ``epoch`` begins; cuts off what is damaged, removes what is done.

    Raises StorageError when it cannot be read, ValueError when the epoch is not a new one.
    """
    try:
        return _recover(folder, epoch)
    except OSError as error:
        raise StorageError(f"the spool in {folder} cannot be read: {error.strerror}; check the disk") from error


def _recover(folder: Path, epoch: int) -> Recovered:
    state = load_state(folder)
    found = sorted(
        (segment for path in folder.iterdir() if (segment := segment_of(path)) is not None),
        key=lambda segment: (segment.epoch, segment.first),
    )
    if found and found[-1].epoch >= epoch:
        raise ValueError(f"epoch {epoch} is not newer than {found[-1].epoch} in {folder}: use next_epoch")
    cut_bytes = 0
    cut: list[Segment] = []
    for segment in found:
        result = scan(segment)
        if result.cut:
            cut_bytes += result.cut
            cut.append(segment)
        beyond = result.last_seen > segment.last
        end_ms = int(segment.path.stat().st_mtime * 1000) if beyond else segment.end_ms
        state.count_taken(segment.epoch, segment.first, result.last_seen, end_ms)
    for lost in state.lost:
        state.count_taken(lost.epoch, lost.first, lost.last, lost.end_ms)
    if not state.known and found:
        # The positions are gone: whoever registers before the first append reads from the start.
        state.readers[EVERYONE] = (found[0].epoch, found[0].first - 1)
    state.add_holes(found)
    state.forget_acknowledged()
    slowest = state.slowest
    # What is lost is written down before it is removed.
    save_state(folder, encode_state(state))
    kept: list[Segment] = []
    for segment in found:
        if segment.empty or slowest is None or (segment.epoch, segment.last) <= slowest:
            segment.path.unlink()
            continue
        if segment in cut:
            os.truncate(segment.path, segment.size)
        kept.append(segment)
    return Recovered(state, kept, cut_bytes)
