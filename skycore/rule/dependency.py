"""What the answer to a query depends on, so that it is asked again only when that has changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, final

import attrs

from skycore.filter import All, Compare, Equals, Filter, InNetwork, Matches, Not, Present
from skycore.filter import Any as AnyOf
from skycore.graph.projection import UNINDEXED, canonical_key
from skycore.gremlin import syntax
from skycore.gremlin.operation import NODES, Kind, Narrow, Operation
from skycore.gremlin.registry import StepRegistry
from skycore.gremlin.steps.context import InThePast
from skycore.gremlin.steps.moves import Move
from skycore.gremlin.steps.order import KeepFirst, NodesOfPaths, SortBy
from skycore.gremlin.steps.paths import FindPaths
from skycore.gremlin.steps.sources import Source
from skycore.gremlin.steps.subgraph import CutOut, Keep, Recall
from skycore.gremlin.steps.surroundings import Surround
from skycore.gremlin.traversal import BackToGraph, check

# Operations whose answer depends on which elements there are, and on the keys that stand in their filters.
_KNOWN: Final = (
    Source, Narrow, Move, KeepFirst, SortBy, NodesOfPaths, FindPaths, Surround, CutOut, Keep, Recall, BackToGraph,
)  # fmt: skip
_LEAVES: Final = (Present, Equals, Compare, Matches, InNetwork)


@final
@attrs.frozen
class Reads:
    """What a query reads.

    ``gives`` is the kind of its answer.  ``keys`` are the keys of nodes and edges that it looks at.  ``element`` is set
    when the answer is all nodes for which this filter holds, each by itself.  ``unknown`` is set when it may depend on
    anything.  ``ids`` are nodes that it names by their ID, whose absence is an error.  ``past``: it is about the past.
    """

    gives: Kind
    keys: frozenset[str]
    element: Filter | None
    unknown: bool
    ids: tuple[str, ...]
    past: bool


def reads(query: str, registry: StepRegistry) -> Reads:
    """Find out what a query reads.  Raises GremlinError when it is none."""
    traversal = check(syntax.parse(query, registry.names), query, registry)
    operations = [step.operation for step in traversal.steps]
    keys: set[str] = set()
    unknown = False
    for operation in operations:
        if not isinstance(operation, _KNOWN):
            unknown = True
        keys.update(canonical_key("node", key) for key in _keys(operation))
        if isinstance(operation, KeepFirst):
            keys.update(operation.keys)
        elif isinstance(operation, SortBy):
            keys.add(operation.key)
    if UNINDEXED in keys:
        unknown = True
        keys.discard(UNINDEXED)
    named = tuple(one.id for one in operations if isinstance(one, Source) and one.kind == NODES and one.id is not None)
    element = None if unknown else _element(operations)
    past = any(isinstance(one, InThePast) for one in operations)
    return Reads(traversal.kind, frozenset(keys | ({"@ID"} if named else set())), element, unknown, named, past)


def _element(operations: list[Operation]) -> Filter | None:
    """The one filter of ``V(…).Has(…).Has(…)``, None for another query."""
    if not operations or not isinstance(operations[0], Source) or operations[0].kind != NODES:
        return None
    source = operations[0]
    filters: list[Filter] = [source.narrow.filter]
    if source.id is not None:
        filters.append(Equals("@ID", source.id))
    if source.narrow.windowed:
        return None
    for operation in operations[1:]:
        if not isinstance(operation, Narrow) or operation.windowed:
            return None
        filters.append(operation.filter)
    return All(tuple(filters))


def _keys(value: Any) -> Iterator[str]:
    """The keys of all filters inside an operation."""
    ahead = [value]
    while ahead:
        value = ahead.pop()
        if isinstance(value, _LEAVES):
            yield value.key
        elif isinstance(value, All | AnyOf):
            ahead += value.filters
        elif isinstance(value, Not):
            ahead.append(value.filter)
        elif attrs.has(type(value)):
            ahead += [getattr(value, field.name) for field in attrs.fields(type(value))]
