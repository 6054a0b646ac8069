"""Commits for ever while another thread compacts; prints the number of each commit once it is in.

Run by test_upkeep.py, which kills it: ``python maintaining_child.py FOLDER LAST_NUMBER``.
"""

from __future__ import annotations

import os
import sys
import threading

from skycore.graph.element import Revision, build_revision
from skycore.storage import upkeep
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore

ELEMENTS = 5


def revision_of(element: int, number: int) -> Revision:
    """A revision of which most change only ``Metric``; every 23rd is a tombstone."""
    metadata = b'{"Metric":{"Last":%d,"RxBytes":%d},"Text":"%s"}' % (number, number * 700, b"%d" % (number // 7) * 60)
    return build_revision(
        id=f"n{element}", metadata=metadata, revision=number, host="one", origin="agent.one", created_at=1,
        updated_at=number, deleted_at=number if number % 23 == 0 else None,
    )  # fmt: skip


def main(folder: str, number: int) -> None:
    upkeep._PASS_SECONDS = 0.0  # type: ignore[misc]
    store = EmbeddedStore(EmbeddedStore.Settings(path=folder, retention_days=0, settle_seconds=0))
    store.open()

    def maintain() -> None:
        while True:
            store.maintain()

    threading.Thread(target=maintain, daemon=True).start()
    while True:
        number += 1
        store.commit([RevisionRecord(revision_of(element, number)) for element in range(ELEMENTS)])
        os.write(1, b"%d\n" % number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
