"""One small graph for queries, and their answers in a short form."""

import json
from collections.abc import Mapping
from typing import Any

from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.gremlin import QueryContext, run
from skycore.testing.views import ListView


def node(id: str, **metadata: Any) -> Revision:
    return _revision(id, metadata, None, None)


def edge(parent: str, child: str, **metadata: Any) -> Revision:
    return _revision(f"{parent}-{child}", metadata, parent, child)


def _revision(id: str, metadata: Mapping[str, Any], parent: str | None, child: str | None) -> Revision:
    return build_revision(
        id=id, metadata=canonical_metadata(dict(metadata)), revision=1, host="h", origin="agent.h",
        created_at=1, updated_at=2, parent=parent, child=child,
    )  # fmt: skip


#   host ─┬─ eth0 ── peer     loop ⟲     (ownership from host, layer2 between eth0 and peer)
#         ├─ lo
#         └─ ns ──── peer
GRAPH = [
    node("host", Name="host", Type="host", Up=True),
    node("eth0", Name="eth0", Type="device", MTU=1500, IPV4=["10.0.0.4/24", "10.0.1.4/24"], Driver="e1000"),
    node("lo", Name="lo", Type="device", MTU=65536, IPV4=["127.0.0.1/8"], Speed="100"),
    node("ns", Name="vm<1>", Type="netns", Path=None),
    node("peer", Name="eth0", Type="veth", MTU=1500, IPV4=[], Metric={"RxBytes": 12.5}),
    node("loop", Name="loop", Type="veth", Flags=["a", "b"], Captures=[{"ID": "c1"}, {"ID": "c2"}]),
    edge("host", "eth0", RelationType="ownership"),
    edge("host", "lo", RelationType="ownership"),
    edge("host", "ns", RelationType="ownership", Tags=["x", "y"]),
    edge("ns", "peer", RelationType="ownership"),
    edge("eth0", "peer", RelationType="layer2"),
    edge("loop", "loop", RelationType="layer2"),
]
CONTEXT = QueryContext(ListView(GRAPH, stale=lambda revision: revision.id == "lo"), now=lambda: 0)


async def answer(query: str, context: QueryContext = CONTEXT) -> Any:
    text = (await run(query, context)).json()
    assert text.endswith(b"\n")
    found = json.loads(text)
    if isinstance(found, list):
        return [one["ID"] if isinstance(one, dict) and "ID" in one else one for one in found]
    return found


ALL_NODES = ["host", "eth0", "lo", "ns", "peer", "loop"]
ALL_EDGES = ["host-eth0", "host-lo", "host-ns", "ns-peer", "eth0-peer", "loop-loop"]
