"""How fast the embedded store takes revisions, and gives back the graph of the past.

    python benchmarks/store.py [ROWS] [ELEMENTS]

Prints rows/s (revisions of about 900 bytes in commits of 2,000) and the seconds of ``graph_at`` at several moments.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from uuid import UUID

from skycore.graph.element import build_revision
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore

_COMMIT = 2000
_METADATA = b'{"Name":"eth0","Text":"' + b"x" * 720 + b'"}'


def main(rows: int = 1_000_000, elements: int = 100_000) -> None:
    chance = random.Random(42)
    ids = [str(UUID(int=chance.getrandbits(128))) for _ in range(elements)]
    revisions: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddedStore(EmbeddedStore.Settings(path=folder))
        store.open()
        spent = 0.0
        for begin in range(0, rows, _COMMIT):
            batch: list[RevisionRecord] = []
            for number in range(begin, min(begin + _COMMIT, rows)):
                id = ids[number] if number < elements else chance.choice(ids)
                revisions[id] += 1
                revision = build_revision(
                    id=id, metadata=_METADATA, revision=revisions[id], host="host", origin="agent.host",
                    created_at=1, updated_at=1000 + number, owners=("netlink",),
                )  # fmt: skip
                batch.append(RevisionRecord(revision))
            start = time.perf_counter()
            store.commit(batch)
            spent += time.perf_counter() - start
        _say(f"{rows} rows of {len(batch[0].revision.json)} bytes: {rows / spent:,.0f} rows/s")
        for share in (0.1, 0.5, 1.0):
            start = time.perf_counter()
            count = len(store.graph_at(1000 + int(rows * share)).ids("node"))
            _say(f"graph_at {share:.0%}: {count} elements in {time.perf_counter() - start:.2f} s")
        start = time.perf_counter()
        count = sum(1 for _ in store.current())
        _say(f"current: {count} elements in {time.perf_counter() - start:.2f} s")
        store.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
