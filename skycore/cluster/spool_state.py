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
    """``readers`` are their acknowledged positions; ``lost`` is in order, without overlaps; ``taken`` is by epoch.

    ``known`` is False when there was no (readable) state file.
    """

    readers: dict[str, Position] = attrs.field(factory=dict)
    lost: list[Lost] = attrs.field(factory=list)
    taken: dict[int, Taken] = attrs.field(factory=dict)
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
        self.lost = [lost for lost in self.lost if slowest is not None and (lost.epoch, lost.last) > slowest]
        self.taken = {
            epoch: taken for epoch, taken in self.taken.items() if slowest is not None and (epoch, taken.last) > slowest
        }

    def count_taken(self, epoch: int, first: int, last: int, end_ms: int) -> None:
        """Remember that these sequence numbers were taken, besides those known before."""
        old = self.taken.get(epoch)
        if old is not None:
            first, last, end_ms = min(first, old.first), max(last, old.last), max(end_ms, old.end_ms)
        self.taken[epoch] = Taken(epoch, first, last, end_ms)

    def add_holes(self, segments: list[Segment]) -> None:
        """Count as lost what was taken, is not acknowledged, and lies in no segment.

        Such are the ends of damaged segments, and files that someone else removed.
        """
        for taken in self.taken.values():
            mine = [segment for segment in segments if segment.epoch == taken.epoch and not segment.empty]
            held = [(segment.first, segment.last) for segment in mine]
            held += [(lost.first, lost.last) for lost in self.lost if lost.epoch == taken.epoch]
            for first, last in _complement(self._needed_from(taken), taken.last, sorted(held)):
                before = [segment.end_ms for segment in mine if segment.last < first]
                behind = [segment.start_ms for segment in mine if segment.first > last]
                end_ms = behind[0] if behind else taken.end_ms
                # An epoch's number is the time of its begin, when clocks were never set back.
                start_ms = before[-1] if before else min(taken.epoch, end_ms)
                self.add_lost(Lost(taken.epoch, first, last, start_ms, max(start_ms, end_ms)))

    def _needed_from(self, taken: Taken) -> int:
        """The first sequence number of an epoch that not all readers have acknowledged."""
        needed = [
            max(taken.first, seq + 1) if epoch == taken.epoch else taken.first
            for epoch, seq in self.readers.values()
            if (epoch, seq) < (taken.epoch, taken.last)
        ]
        return min(needed, default=taken.last + 1)


def _complement(first: int, last: int, covered: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What of first–last lies in none of the ranges, which are sorted."""
    for begin, end in covered:
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
    state = State(document.readers, taken={taken[0]: Taken(*taken) for taken in document.taken})
    for lost in document.lost:
        state.add_lost(Lost(*lost))
    return state


class _Document(msgspec.Struct):
    version: int
    readers: dict[str, Position]
    lost: list[tuple[int, int, int, int, int]]
    taken: list[tuple[int, int, int, int]]


def encode_state(state: State) -> bytes:
    taken = [attrs.astuple(one) for one in state.taken.values()]
    lost = [attrs.astuple(one) for one in state.lost]
    return msgspec.json.encode(_Document(_VERSION, state.readers, lost, taken))


def save_state(folder: Path, content: bytes) -> None:
    """Replace the state file whole.  Raises StorageError; the old one is then still there."""
    replace_file(folder / _FILE, content)


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
