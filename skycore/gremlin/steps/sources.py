"""``V`` and ``E``, where a traversal takes its elements from, and ``Count``, which may need only their number."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import ClassVar, Final, final

import attrs

from skycore.filter import EVERYTHING, All, Not
from skycore.filter import Any as AnyOf
from skycore.graph.indexed import IndexedView
from skycore.graph.live import LiveView
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
    Limits,
    Narrow,
    Operation,
    Stream,
    Work,
    chunks,
    every,
)
from skycore.gremlin.registry import Call, step
from skycore.gremlin.span import SpanView

_FEW: Final = 64


@final
@attrs.frozen
class Source(Operation):
    """All elements of a kind, or the one with ``id``, narrowed; in order of appearance if ``ordered``."""

    looks_around: ClassVar[bool] = False

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
            if isinstance(view, SpanView):
                named = list(view.named(kind, self.id))
            else:
                named = [self.id] if view.get(kind, self.id) is not None else []
            if not named:
                raise execution.error(f"{kind.capitalize()} '{self.id}' does not exist", self.offset)
            return (yield from narrow.apply(execution, kind, (named,)))
        if narrow.filter == EVERYTHING:
            ids: Collection[str] = yield from every(view, kind)
        elif isinstance(view, IndexedView) and not (narrow.windowed and narrow.stop == narrow.start):
            ids = yield from view.search(kind, narrow.filter, ordered=self.ordered)
        elif execution.frozen:
            return (yield from narrow.apply(execution, kind, chunks(view.ids(kind))))
        else:
            ids = view.match(kind, narrow.filter)
        if narrow.windowed:
            ids = list(islice(ids, narrow.start, narrow.stop))
        execution.hold(len(ids))
        return ids

    def at_once(self, live: LiveView, limits: Limits) -> Stream | None:
        found = self.glance(live)
        if found is None or len(found) > min(_FEW, limits.elements):
            return None
        kind = ELEMENT_KINDS[self.kind]
        return Stream(self.kind, list(found) if len(found) < 2 else live.in_order(kind, found))

    def glance(self, live: LiveView) -> Collection[str] | None:
        """What an index knows already."""
        leaf, narrow = self.narrow.filter, self.narrow
        if self.id is not None or narrow.windowed or isinstance(leaf, All | AnyOf | Not):
            return None
        return live.glance(ELEMENT_KINDS[self.kind], leaf)

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

    looks_around: ClassVar[bool] = False

    source: Source

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        source, view = self.source, execution.view
        if source.id is None and source.narrow.filter == EVERYTHING and isinstance(view, IndexedView):
            return Stream(COUNT, (view.count(ELEMENT_KINDS[source.kind]),))
        found = yield from source.search(execution)
        return Stream(COUNT, (len(found),))

    def at_once(self, live: LiveView, limits: Limits) -> Stream | None:
        found = self.source.glance(live)
        return None if found is None or len(found) > limits.elements else Stream(COUNT, (len(found),))


@final
@attrs.frozen
class CountItems(Operation):
    """The number of items of any kind."""

    looks_around: ClassVar[bool] = False

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
