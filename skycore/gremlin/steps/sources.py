"""``V`` and ``E``: where a traversal takes its elements from."""

from __future__ import annotations

from collections.abc import Collection
from typing import final

import attrs

from skycore.filter import EVERYTHING
from skycore.gremlin.operation import (
    EDGES,
    ELEMENT_KINDS,
    GRAPH,
    NODES,
    Execution,
    Kind,
    Narrow,
    Operation,
    Stream,
    Work,
    chunks,
)
from skycore.gremlin.registry import Call, step


@final
@attrs.frozen
class Source(Operation):
    """All elements of a kind, or the one with ``id``, narrowed."""

    kind: Kind
    id: str | None
    offset: int
    narrow: Narrow = attrs.field(factory=Narrow)

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        kind, view, narrow = ELEMENT_KINDS[self.kind], execution.view, self.narrow
        ids: Collection[str]
        if self.id is not None:
            if view.get(kind, self.id) is None:
                raise execution.error(f"{kind.capitalize()} '{self.id}' does not exist", self.offset)
            ids = yield from narrow.apply(execution, kind, ([self.id],))
        elif execution.frozen and narrow.filter != EVERYTHING:
            # In slices: a past graph has no indexes that a look-up at one go could use.
            ids = yield from narrow.apply(execution, kind, chunks(view.ids(kind)))
        else:
            ids = view.ids(kind) if narrow.filter == EVERYTHING else view.match(kind, narrow.filter)
            if narrow.start or narrow.stop is not None:
                ids = yield from Narrow(EVERYTHING, narrow.start, narrow.stop).apply(execution, kind, chunks(ids))
        return Stream(self.kind, ids)

    def absorb(self, following: Operation) -> Operation | None:
        narrow = self.narrow.then(following) if isinstance(following, Narrow) else None
        return None if narrow is None else attrs.evolve(self, narrow=narrow)


def _source(call: Call, kind: Kind) -> Operation:
    if len(call.arguments) > 1:
        raise call.error(f"{call.name} accepts at most one parameter", call.arguments[1])
    id = call.text(call.arguments[0], f"{call.name} parameter must be a string") if call.arguments else None
    return Source(kind, id, call.arguments[0].offset if call.arguments else call.step.offset)


@step("V", parameters="([id])", gives={GRAPH: NODES})
def nodes(call: Call, kind: Kind) -> Operation:
    """All nodes, or the node with this ID (an error when there is none)."""
    return _source(call, NODES)


@step("E", parameters="([id])", gives={GRAPH: EDGES})
def edges(call: Call, kind: Kind) -> Operation:
    """All edges, or the edge with this ID (an error when there is none)."""
    return _source(call, EDGES)


STEPS = (nodes, edges)
