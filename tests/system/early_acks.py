"""`skycore`, with an analyzer that acknowledges before it commits: the kill test has to find that out."""

from __future__ import annotations

import time
from collections.abc import Sequence

from skycore.cli.main import skycore
from skycore.storage.contract import Mark, Record
from skycore.storage.embedded import EmbeddedStore
from skycore.storage.keeper import HistoryKeeper

_DELAY = 0.2

_gather = HistoryKeeper._gather
_commit = EmbeddedStore.commit


def gather_and_announce(keeper: HistoryKeeper) -> list[Record]:
    records = _gather(keeper)
    keeper._announce(record for record in records if isinstance(record, Mark))
    return records


def commit_late(store: EmbeddedStore, records: Sequence[Record]) -> None:
    time.sleep(_DELAY)
    _commit(store, records)


if __name__ == "__main__":
    setattr(HistoryKeeper, "_gather", gather_and_announce)  # noqa: B010
    setattr(EmbeddedStore, "commit", commit_late)  # noqa: B010
    skycore()
