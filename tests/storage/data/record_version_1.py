"""How ``history-1.sqlite`` came to be: run with a Skycore whose embedded store writes schema version 1.

    python tests/storage/data/record_version_1.py FOLDER

Twelve nodes with Metric and LastUpdateMetric live through eight rounds each, two are deleted, one comes back; edges,
marks, a gap, and a closed and an open stale interval are beside them.  ``expected`` makes the same revisions again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.storage.contract import Gap, Mark, RevisionRecord, StaleInterval
from skycore.storage.embedded import EmbeddedStore

NODES, ROUNDS = 12, 8
START, STEP = 1_700_000_000_000, 30_000


def expected() -> list[Revision]:
    """All revisions in the file, in the order of their commit."""
    made: list[Revision] = []
    for turn in range(ROUNDS):
        now = START + turn * STEP
        for node in range(NODES):
            if node < 2 and turn > 5 and not (node == 1 and turn == 7):
                continue
            gone = node < 2 and turn == 5
            again = node == 1 and turn == 7
            packets = 1000 + node + turn * (node + 1)
            metadata = {
                "Name": f"eth{node}",
                "Type": "veth",
                "State": "UP" if turn != 3 else "DOWN",
                "Metric": {"RxBytes": packets * 700, "RxPackets": packets, "Last": now},
                "LastUpdateMetric": {"RxPackets": node + 1, "Start": now - STEP, "Last": now},
            }
            made.append(
                build_revision(
                    id=f"node-{node}", metadata=canonical_metadata(metadata), revision=turn + 1, host="one",
                    origin="agent.one", created_at=now if again else START, updated_at=now,
                    deleted_at=now if gone else None, owners=("netlink",),
                )
            )  # fmt: skip
    for edge in range(3):
        made.append(
            build_revision(
                id=f"edge-{edge}", metadata=b'{"RelationType":"layer2"}', revision=1, host="one", origin="agent.one",
                created_at=START, updated_at=START, parent="node-2", child=f"node-{edge + 3}", owners=("netlink",),
            )
        )  # fmt: skip
    return made


def main(folder: str) -> None:
    """Write ``history.sqlite`` and give it its name."""
    store = EmbeddedStore(EmbeddedStore.Settings(path=folder))
    store.open()
    store.commit([*map(RevisionRecord, expected()), Mark("agent.one", 7, 99)])
    store.commit(
        [
            Gap("agent.one", START, START + 5, 3),
            StaleInterval("agent.one", "docker", START, START + STEP),
            StaleInterval("agent.one", "lldp", START + STEP, None),
        ]
    )
    store.close()
    Path(folder, "history.sqlite").rename(Path(folder, "history-1.sqlite"))


if __name__ == "__main__":
    main(sys.argv[1])
