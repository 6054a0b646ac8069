"""What was acknowledged, beside what an analyzer's history has: each change is there, once, in ascending order."""

from __future__ import annotations

import itertools
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from skycore.graph.element import Revision, canonical_metadata
from skycore.storage.embedded import EmbeddedStore
from tests.system.tap import Entry, Ledger, Position, Said

_FAR: Final = 1 << 50


class History:
    """The analyzer's store, read in a copy of the files that the dead process left."""

    def __init__(self, state: Path, scratch: Path) -> None:
        self._state = state
        self._scratch = scratch
        self._last: dict[str, Revision] = {}
        self.kept: Counter[Said] = Counter()
        self.alive: set[tuple[str, bytes]] = set()
        self.gaps = 0

    def copy(self) -> None:
        """To be called while no process has the store open."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        for file in self._state.glob("history.sqlite*"):
            shutil.copy(file, self._scratch)

    @contextmanager
    def _store(self) -> Iterator[EmbeddedStore]:
        store = EmbeddedStore(EmbeddedStore.Settings(str(self._scratch)))
        store.open()
        try:
            yield store
        finally:
            store.close()

    def read(self, since: int) -> None:
        """Take in what the copy has that no copy before had; ``since`` is a time before which nothing new can be."""
        with self._store() as store:
            for row in sorted(store.revisions_between(since, _FAR), key=lambda row: (row.id, row.revision)):
                last = self._last.get(row.id)
                if last is not None and row.revision <= last.revision:
                    continue
                assert last is None or row.updated_at >= last.updated_at, f"{row.json!r} after {last.json!r}"
                self._last[row.id] = row
                said = _said(row)
                self.kept[said] += 1
                self.alive.add(said[:2])
            self.gaps = len(store.gaps(0, _FAR))

    def check_whole(self) -> None:
        """All that was ever there is still there, in ascending order."""
        kept: Counter[Said] = Counter()
        with self._store() as store:
            for id in self._last:
                rows = store.revisions(id)
                kept.update(map(_said, rows))
                assert all(one.revision < other.revision for one, other in itertools.pairwise(rows)), id
        assert kept == self.kept


def _said(row: Revision) -> Said:
    return row.id, canonical_metadata(row.metadata()), row.updated_at, row.deleted_at


class Judge:
    """Compares what was acknowledged with what is kept.

    Each change is there once.  A state is compared by content, so of its elements only the content must be there.
    """

    def __init__(self, ledger: Ledger, history: History) -> None:
        self._ledger = ledger
        self._history = history
        self._judged: Position = (0, 0)
        self.changes = 0
        self.lost: list[Said] = []

    def earliest(self, entries: Mapping[Position, Entry]) -> int:
        """The time of the first change that is still to be judged."""
        times = (said[2] for position, entry in entries.items() if position > self._judged for said in entry.said)
        return min(times, default=0)

    def judge(self, acknowledged: Position, entries: Mapping[Position, Entry]) -> None:
        """Judge what was acknowledged since the last time; history must have been read up to now."""
        kept, alive = self._history.kept, self._history.alive
        for position, entry in entries.items():
            if not self._judged < position <= acknowledged:
                continue
            if entry.whole:
                self.lost += [said for said in entry.said if said[:2] not in alive]
            else:
                self.changes += len(entry.said)
                self.lost += [said for said, count in Counter(entry.said).items() if kept[said] < count]
        self._judged = max(self._judged, acknowledged)

    def twice(self) -> list[Said]:
        """Changes that are in history more often than they were sent."""
        sent: Counter[Said] = Counter()
        for entry in self._ledger.entries.values():
            sent.update(entry.said)
        return [said for said, count in self._history.kept.items() if count > max(1, sent[said])]
