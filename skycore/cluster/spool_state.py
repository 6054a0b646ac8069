"""What the spool remembers beside its segments: how far each reader is, what was lost, how far writing was."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs
import msgspec

from skycore.cluster.segment import Lost, Segment
from skycore.errors import StorageError

_FILE: Final = "state.json"
_EPOCH_FILE: Final = "epoch"
_VERSION: Final = 1

Position = tuple[int, int]
"""(epoch, seq): all up to and including seq."""


@attrs.define
class Taken:
    """The sequence numbers ``first`` to ``last`` of ``epoch`` were taken; the last of them at ``end_ms``."""

    epoch: int
    first: int
    last: int
    end_ms: int


@attrs.define
class State:
    """``lost`` is in order, without overlaps.  ``known`` is False when there was no (readable) state file."""

    readers: dict[str, Position] = attrs.field(factory=dict)
    lost: list[Lost] = attrs.field(factory=list)
    taken: Taken | None = None
    known: bool = True

    def add_lost(self, new: Lost) -> None:
        """Put in a range; those that touch it become one with it."""
        apart: list[Lost] = []
        for old in self.lost:
            if old.epoch != new.epoch or old.last + 1 < new.first or new.last + 1 < old.first:
                apart.append(old)
            else:
                new = Lost(
                    new.epoch,
                    min(new.first, old.first),
                    max(new.last, old.last),
                    min(new.start_ms, old.start_ms),
                    max(new.end_ms, old.end_ms),
                )
        apart.append(new)
        self.lost = sorted(apart, key=lambda lost: (lost.epoch, lost.first))

    def next_lost(self, after: Position) -> Lost | None:
        """The first range that is not wholly at or before a position, without what is."""
        index = bisect_left(self.lost, (after[0], after[1] + 1), key=lambda lost: (lost.epoch, lost.last))
        if index == len(self.lost):
            return None
        lost = self.lost[index]
        return attrs.evolve(lost, first=max(lost.first, after[1] + 1)) if lost.epoch == after[0] else lost

    @property
    def slowest(self) -> Position | None:
        """What every reader has acknowledged; None when there are no readers."""
        return min(self.readers.values(), default=None)

    def forget_acknowledged(self) -> None:
        slowest = self.slowest
        self.lost = [] if slowest is None else [lost for lost in self.lost if (lost.epoch, lost.last) > slowest]

    def add_holes(self, segments: list[Segment]) -> None:
        """Count as lost what was taken, is not acknowledged, and lies in no segment (a file removed or cut by others)."""
        if not self.readers:
            return
        epochs = {segment.epoch for segment in segments}
        if self.taken is not None:
            epochs.add(self.taken.epoch)
        for epoch in sorted(epochs):
            mine = [segment for segment in segments if segment.epoch == epoch]
            first, last = self._extent(epoch, mine)
            covered = sorted(
                [(segment.first, segment.last, segment) for segment in mine]
                + [(lost.first, lost.last, None) for lost in self.lost if lost.epoch == epoch],
                key=lambda range: range[:2],
            )
            for hole_first, hole_last in _complement(first, last, covered):
                before = [segment.end_ms for segment in mine if segment.last < hole_first and not segment.empty]
                behind = [segment.start_ms for segment in mine if segment.first > hole_last and not segment.empty]
                end = self.taken.end_ms if self.taken is not None and self.taken.epoch == epoch else 0
                start_ms = before[-1] if before else (behind[0] if behind else min(epoch, end or epoch))
                end_ms = max(start_ms, behind[0] if behind else end)
                self.add_lost(Lost(epoch, hole_first, hole_last, start_ms, end_ms))

    def _extent(self, epoch: int, segments: list[Segment]) -> tuple[int, int]:
        """The sequence numbers of an epoch that ought to be there."""
        first, last = [segment.first for segment in segments], [segment.last for segment in segments]
        if self.taken is not None and self.taken.epoch == epoch:
            first.append(self.taken.first)
            last.append(self.taken.last)
        begin = min(first)
        positions = list(self.readers.values())
        if all(position >= (epoch, 1) for position in positions):
            begin = min((seq + 1 for at, seq in positions if at == epoch), default=max(last) + 1)
        return begin, max(last)


def _complement(first: int, last: int, covered: Iterable[tuple[int, int, object]]) -> Iterator[tuple[int, int]]:
    for begin, end, _ in covered:
        if begin > first:
            yield first, min(begin - 1, last)
        first = max(first, end + 1)
        if first > last:
            return
    if first <= last:
        yield first, last


def load_state(folder: Path) -> State:
    """Read the state; one that is absent or cannot be read is unknown, and costs only that batches are sent again."""
    try:
        document = msgspec.json.decode((folder / _FILE).read_bytes(), type=_Document)
    except (OSError, msgspec.DecodeError):
        return State(known=False)
    if document.version != _VERSION:
        return State(known=False)
    state = State(dict(document.readers), taken=Taken(*document.taken) if document.taken is not None else None)
    for lost in document.lost:
        state.add_lost(Lost(*lost))
    return state


class _Document(msgspec.Struct):
    version: int
    readers: dict[str, Position]
    lost: list[tuple[int, int, int, int, int]]
    taken: tuple[int, int, int, int] | None


def save_state(folder: Path, state: State) -> None:
    """Replace the state file whole.  Raises StorageError; the old one is then still there."""
    taken = attrs.astuple(state.taken) if state.taken is not None else None
    lost = [attrs.astuple(one) for one in state.lost]
    replace_file(folder / _FILE, msgspec.json.encode(_Document(_VERSION, state.readers, lost, taken)))


def next_epoch(folder: Path, now_ms: int) -> int:
    """A number for this run of the agent, higher than those of all runs before: max(now_ms, last + 1).

    Call it once, before Spool.  Raises StorageError when it cannot be written down in ``folder``, which is made
    when absent.
    """
    last = 0
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        last = int((folder / _EPOCH_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        pass
    except OSError as error:
        raise StorageError(f"{folder} cannot be used for the spool: {error.strerror}") from error
    names = (path.name[:20] for path in folder.glob("*.spool"))
    last = max([last, *(int(name) for name in names if name.isascii() and name.isdigit())])
    epoch = max(now_ms, last + 1)
    replace_file(folder / _EPOCH_FILE, b"%d\n" % epoch)
    return epoch


def replace_file(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error.strerror}; look at the disk's free space") from error
