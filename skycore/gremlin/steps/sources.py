"""``V`` and ``E``, where a traversal takes its elements from, and ``Count``, which may need only their number."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import final

import attrs

from skycore.filter import EVERYTHING
from skycore.graph.snapshot import Snapshot
from skycore.gremlin.operation import (
    COUNT,
    EDGES,
    ELEMENT_KINDS,
    GRAPH,
    METRICS,
    NODES,
    PATHS,
    SOCKETS,
    VALUES,
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
    """All elements of a kind, or the one with ``id``, narrowed; in order of appearance if ``ordered``."""

    kind: Kind
    id: str | None
    offset: int
    narrow: Narrow = attrs.field(factory=Narrow)
    ordered: bool = True

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        found = yield from self.search(execution)
        # An index's own set may change at the next pause.
        return Stream(self.kind, found if isinstance(found, list) else list(found))

    def search(self, execution: Execution) -> Work[Collection[str]]:
        """The IDs; to be used before the next pause."""
        kind, view, narrow = ELEMENT_KINDS[self.kind], execution.view, self.narrow
        if self.id is not None:
            if view.get(kind, self.id) is None:
                raise execution.error(f"{kind.capitalize()} '{self.id}' does not exist", self.offset)
            return (yield from narrow.apply(execution, kind, ([self.id],)))
        if narrow.filter == EVERYTHING:
            ids: Collection[str] = view.ids(kind)
        elif isinstance(view, Snapshot) and not (narrow.windowed and narrow.stop == narrow.start):
            ids = yield from view.search(kind, narrow.filter, ordered=self.ordered)
        elif execution.frozen:
            return (yield from narrow.apply(execution, kind, chunks(view.ids(kind))))
        else:
            ids = view.match(kind, narrow.filter)
        if narrow.windowed:
            ids = list(islice(ids, narrow.start, narrow.stop))
        execution.hold(len(ids))
        return ids

    def absorb(self, following: Operation) -> Operation | None:
        if isinstance(following, CountItems) and not self.narrow.windowed:
            return CountSource(attrs.evolve(self, ordered=False))
        narrow = self.narrow.then(following) if isinstance(following, Narrow) else None
        return None if narrow is None else attrs.evolve(self, narrow=narrow)

    def without_repetitions(self) -> Operation:
        return self

    def in_any_order(self) -> Operation | None:
        return None if self.narrow.windowed else attrs.evolve(self, ordered=False)


@final
@attrs.frozen
class CountSource(Operation):
    """How many elements there are."""

    source: Source

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        source, view = self.source, execution.view
        if source.id is None and source.narrow.filter == EVERYTHING and isinstance(view, Snapshot):
            return Stream(COUNT, (view.count(ELEMENT_KINDS[source.kind]),))
        found = yield from source.search(execution)
        return Stream(COUNT, (len(found),))


@final
@attrs.frozen
class CountItems(Operation):
    """The number of items of any kind."""

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        return Stream(COUNT, (len(stream.items),))
        yield

    @property
    def ignores_order(self) -> bool:
        return True


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


_COUNTED = (NODES, EDGES, VALUES, PATHS, METRICS, SOCKETS)


@step("Count", parameters="()", gives=dict.fromkeys(_COUNTED, COUNT), named_refusal=True)
def count(call: Call, kind: Kind) -> Operation:
    """The number of elements, values or paths; of metrics and sockets: of the nodes that have some."""
    call.refuse_parameters()
    return CountItems()


STEPS = (nodes, edges, count)
