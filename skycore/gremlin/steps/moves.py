"""``Out``, ``InE``, ``BothV`` and the like: steps from elements to their neighbours.

An edge leads from its parent to its child.  ``InV`` gives parents and ``OutV`` children: as in Skydive, and the reverse
of TinkerPop.
"""

from __future__ import annotations

from typing import Final, final

import attrs

from skycore.filter import EVERYTHING, Filter
from skycore.gremlin import reach
from skycore.gremlin.operation import (
    CHUNK,
    EDGES,
    ELEMENT_KINDS,
    NODES,
    Execution,
    Kind,
    Narrow,
    Operation,
    Stream,
    Work,
    select,
)
from skycore.gremlin.predicates import all_of, pair_filters
from skycore.gremlin.reach import Neighbours, Over
from skycore.gremlin.registry import Call, StepDefinition, step
from skycore.gremlin.steps.order import KeepFirst

_FIRST: Final = 32


@final
@attrs.frozen
class Move(Operation):
    """What each element of the stream leads to, in the stream's order, narrowed.

    Repetitions are kept unless ``distinct``; then each element comes where it is first reached (anywhere, if not
    ``ordered``).
    """

    gives: Kind
    neighbours: Neighbours | Over = attrs.field(repr=lambda one: getattr(one, "__name__", str(one)))
    narrow: Narrow
    distinct: bool = False
    ordered: bool = True

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        kind, view, narrow = ELEMENT_KINDS[self.gives], execution.view, self.narrow
        if narrow.stop is not None and narrow.start >= narrow.stop:
            return Stream(self.gives)
        items = stream.items if isinstance(stream.items, list) else list(stream.items)
        unordered = self.distinct and not self.ordered
        kept: list[str] = []
        seen: set[str] = set()
        place, size = 0, _FIRST
        while place < len(items) and (narrow.stop is None or len(kept) < narrow.stop):
            part = items[place : place + size]
            place += size
            if isinstance(self.neighbours, Over):
                found = yield from self.neighbours.walk(view, part)
            else:
                found = self.neighbours(view, part)
            # Few at a time where each leads to many.
            size = min(2 * size, 2 * CHUNK) if len(found) < 4 * CHUNK else max(1, size // 4)
            if unordered:
                seen.update(found)
            else:
                if self.distinct:
                    found = [id for id in dict.fromkeys(found) if id not in seen]
                    seen.update(found)
                kept += yield from select(view, kind, narrow.filter, found)
            execution.hold(len(seen) if unordered else min(len(kept), narrow.stop or len(kept)))
            yield
        if unordered and narrow.filter == EVERYTHING and not narrow.windowed:
            return Stream(self.gives, seen)
        if unordered:
            kept = yield from select(view, kind, narrow.filter, list(seen))
        return Stream(self.gives, kept[narrow.start : narrow.stop] if narrow.windowed else kept)

    def absorb_in_span(self, following: Operation) -> Operation | None:
        # Two moves over an edge are less strict about time than one, and Dedup is about elements, not revisions.
        if not isinstance(following, Narrow):
            return None
        narrow = self.narrow.then(following)
        return None if narrow is None else attrs.evolve(self, narrow=narrow)

    def absorb(self, following: Operation) -> Operation | None:
        if isinstance(following, Narrow):
            return self.absorb_in_span(following)
        if isinstance(following, KeepFirst) and not following.keys and not self.narrow.windowed:
            return attrs.evolve(self, distinct=True, narrow=Narrow(self.narrow.filter, following.start, following.stop))
        if isinstance(following, Move) and not self.narrow.windowed and not self.distinct:
            both = reach.over(self.neighbours, self.narrow.filter, following.neighbours)
            return None if both is None else attrs.evolve(following, neighbours=both)
        return None

    @property
    def ignores_repetitions(self) -> bool:
        return self.distinct

    def without_repetitions(self) -> Operation | None:
        return None if self.narrow.windowed else attrs.evolve(self, distinct=True)

    def in_any_order(self) -> Operation | None:
        return None if self.narrow.windowed else attrs.evolve(self, ordered=False)


def _define(name: str, takes: Kind, gives: Kind, neighbours: Neighbours | Over, summary: str) -> StepDefinition:
    def compile(call: Call, kind: Kind) -> Operation:
        filter: Filter = EVERYTHING
        if call.arguments:
            filter = all_of(pair_filters(call, "slice must be defined by pair k,v"))
        return Move(gives, neighbours, Narrow(filter))

    compile.__doc__ = summary
    return step(name, parameters="([key, value, …])", gives={takes: gives}, named_refusal=name in _NAMED)(compile)


_NAMED: Final = frozenset({"Out", "In", "Both"})

STEPS = (
    _define("Out", NODES, NODES, Over("children"), "The children of each node; with pairs, those for which they hold."),
    _define("In", NODES, NODES, Over("parents"), "The parents of each node; with pairs, those for which they hold."),
    _define("Both", NODES, NODES, Over("sides"), "The children, then the parents of each node."),
    _define("OutE", NODES, EDGES, reach.leaving, "The edges to the children; pairs are about the edges."),
    _define("InE", NODES, EDGES, reach.arriving, "The edges from the parents; pairs are about the edges."),
    _define("BothE", NODES, EDGES, reach.touching, "The edges to the children, then those from the parents."),
    _define("OutV", EDGES, NODES, reach.child_ends, "The **child** of each edge (TinkerPop: `inV`)."),
    _define("InV", EDGES, NODES, reach.parent_ends, "The **parent** of each edge (TinkerPop: `outV`)."),
    _define("BothV", EDGES, NODES, reach.both_ends, "The parent, then the child of each edge."),
)
