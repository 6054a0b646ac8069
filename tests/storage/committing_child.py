"""Commits for ever to the store in a folder, ten revisions and a mark at a time; prints each mark once it is in.

Run by test_embedded.py, which kills it: ``python committing_child.py FOLDER LAST_MARK``.
"""

from __future__ import annotations

import os
import sys

from skycore.graph.element import build_revision
from skycore.storage.contract import Mark, Record, RevisionRecord
from skycore.storage.embedded import EmbeddedStore


def main(folder: str, number: int) -> None:
    store = EmbeddedStore(EmbeddedStore.Settings(path=folder))
    store.open()
    while True:
        batch: list[Record] = []
        for index in range(10):
            revision = number * 10 + index + 1
            batch.append(
                RevisionRecord(
                    build_revision(
                        id="n", metadata=b'{"Text":"%s"}' % (b"x" * 500), revision=revision, host="one",
                        origin="agent.one", created_at=1, updated_at=revision,
                    )
                )
            )  # fmt: skip
        number += 1
        store.commit([*batch, Mark("agent.one", 1, number)])
        os.write(1, b"%d\n" % number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
