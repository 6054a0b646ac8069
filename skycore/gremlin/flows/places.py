"""From flows to nodes: where each was captured, and what has the addresses of its ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import attrs

from skycore.filter import EVERYTHING, Filter
from skycore.flow.evaluation import Record, decode
from skycore.gremlin.operation import (
    FLOWS,
    NODES,
    Execution,
    Kind,
    Narrow,
    Operation,
    Stream,
    Work,
    chunks,
    column,
    every,
    select,
)
from skycore.gremlin.predicates import all_of, pair_filters
from skycore.gremlin.registry import Call, StepDefinition, step

_AT_A_TIME: Final = 256

Keys = tuple[str, ...]
"""Keys of nodes one of which has the value that is looked for."""


@final
@attrs.frozen
class NodesOfFlows(Operation):
    """The nodes of each flow, flow after flow, repetitions kept, narrowed.

    ``captured``: the node with its ``NodeTID``; then for each of ``ends`` (``A``, ``B``) the nodes that have the MAC
    address of that end under one of ``keys``.
    """

    captured: bool
    ends: str
    keys: Keys
    narrow: Narrow = attrs.field(factory=Narrow)

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        tids = (yield from _nodes_by(execution, ("TID",))) if self.captured else {}
        macs = (yield from _nodes_by(execution, self.keys)) if self.ends else {}
        found: list[str] = []
        for part in chunks(stream.items, _AT_A_TIME):
            for json in part:
                flow = decode(json)
                found += tids.get(flow.get("NodeTID", ""), ())
                for end in self.ends:
                    found += macs.get(_address(flow, end), ())
            execution.hold(len(found))
            yield
        narrow = self.narrow
        kept = yield from select(execution.view, "node", narrow.filter, found)
        return Stream(NODES, kept[narrow.start : narrow.stop] if narrow.windowed else kept)

    def absorb(self, following: Operation) -> Operation | None:
        narrow = self.narrow.then(following) if isinstance(following, Narrow) else None
        return None if narrow is None else attrs.evolve(self, narrow=narrow)


def _address(flow: Record, end: str) -> str:
    link = flow.get("Link")
    address = link.get(end, "") if isinstance(link, dict) else ""
    return address.lower() if isinstance(address, str) else ""


def _nodes_by(execution: Execution, keys: Keys) -> Work[Mapping[str, Sequence[str]]]:
    """The nodes by the values that they have under any of the keys, each node once for each value."""
    ids = list((yield from every(execution.view, "node")))
    found: dict[str, dict[str, None]] = {}
    for key in keys:
        values = yield from column(execution, "node", key, ids)
        for part in chunks(zip(ids, values, strict=True), 4096):
            for id, value in part:
                for one in value if isinstance(value, list) else (value,):
                    if isinstance(one, str) and one:
                        found.setdefault(one if key == "TID" else one.lower(), {})[id] = None
            yield
    return {value: list(nodes) for value, nodes in found.items()}


def _filter(call: Call) -> Filter:
    return all_of(pair_filters(call, "slice must be defined by pair k,v")) if call.arguments else EVERYTHING


def _define(name: str, operation: NodesOfFlows, summary: str, **more: Any) -> StepDefinition:
    def compile(call: Call, kind: Kind) -> Operation:
        return attrs.evolve(operation, narrow=Narrow(_filter(call)))

    compile.__doc__ = summary
    return step(name, parameters="([key, value, …])", gives={FLOWS: NODES}, **more)(compile)


_EITHER_SIDE: Final = ("MAC", "PeerIntfMAC")
_CAPTURED: Final = NodesOfFlows(captured=True, ends="", keys=())

STEPS: tuple[StepDefinition, ...] = (
    _define("Hops", _CAPTURED, "The node at which each flow was captured; with pairs, those for which they hold."),
    _define(
        "CaptureNode",
        _CAPTURED,
        "The node at which each flow was captured; with pairs, those for which they hold.",
        aliases=("Node",),
    ),
    _define(
        "Nodes",
        NodesOfFlows(captured=True, ends="AB", keys=("MAC",)),
        "Of each flow the node at which it was captured, then those with the MAC addresses of A and B.",
    ),
)
MORE_KINDS: tuple[StepDefinition, ...] = (
    _define("Out", NodesOfFlows(False, "B", _EITHER_SIDE), "Of flows: the nodes with `Link.B` as MAC or PeerIntfMAC."),
    _define("In", NodesOfFlows(False, "A", _EITHER_SIDE), "Of flows: those with `Link.A`."),
    _define("Both", NodesOfFlows(False, "AB", _EITHER_SIDE), "Of flows: the nodes of both ends, A first."),
)
