"""What a subscription's Gremlin filter asks for, and the cheapest way to keep its answer up to date."""

from __future__ import annotations

import inspect
from typing import Any, Final, TypeAlias, final

import attrs

from skycore.errors import GremlinError
from skycore.filter import All as AllOf
from skycore.filter import Any as AnyOf
from skycore.filter import Compare, Equals, Filter, InNetwork, Matches, Not, Present, metadata_path
from skycore.gremlin import GRAPH, NODES, Planner
from skycore.gremlin.plan import Plan, plan
from skycore.gremlin.steps.sources import Source
from skycore.gremlin.steps.subgraph import CutOut
from skycore.gremlin.syntax import parse
from skycore.gremlin.traversal import BackToGraph, check

_LONGEST: Final = 8192
_FIXED_FIELDS: Final = frozenset({"@ID", "@Host", "@Origin", "@CreatedAt"})
STALE: Final = "@Stale"


class FilterRefused(Exception):
    """A text that cannot filter a subscription; its message is for the client."""


@final
@attrs.frozen
class Everything:
    """The whole graph."""


@final
@attrs.frozen
class ByElement:
    """Each element can be decided by itself.

    ``nodes``: those for which ``filter`` holds and the edges among them for which ``edge_filter`` holds; else: the
    edges for which ``filter`` holds, and their ends.
    """

    nodes: bool
    filter: Filter
    edge_filter: Filter


@final
@attrs.frozen
class ByQuery:
    """The query has to be run again when something changed that it reads.

    ``keys`` are the top-level metadata keys that its answer depends on, besides which nodes and edges there are; None:
    any.  ``stale``: it depends on what is stale, too.
    """

    keys: frozenset[str] | None
    stale: bool


Selection: TypeAlias = Everything | ByElement | ByQuery


def read_filter(text: str, planner: Planner) -> Selection:
    """What a filter asks for.  Raises FilterRefused."""
    if not text.strip():
        return Everything()
    if len(text) > _LONGEST:
        raise FilterRefused(f"the Gremlin filter is longer than {_LONGEST} characters")
    try:
        traversal = check(parse(text, planner.registry.names), text, planner.registry)
    except GremlinError as error:
        raise FilterRefused(str(error)) from None
    if traversal.kind != GRAPH:
        raise FilterRefused(f"Gremlin query '{text}' did not return a graph")
    made = plan(traversal)
    if made.moment is not None:
        raise FilterRefused("a subscription is about the present: leave At and Context out, and ask with Time instead")
    return _selection(made)


def _selection(made: Plan) -> Selection:
    operations = [one for one in made.operations if not isinstance(one, BackToGraph)]
    if not operations:
        return Everything()
    if len(operations) == 2 and len(made.operations) == 2:
        source, cut = operations
        if isinstance(source, Source) and isinstance(cut, CutOut) and source.id is None and not source.narrow.windowed:
            selection = ByElement(source.kind == NODES, source.narrow.filter, cut.filter)
            if STALE not in _keys(selection):
                return selection
    keys: set[str] = set()
    for operation in operations:
        if not type(operation).__module__.startswith("skycore.gremlin.") or not _collect(operation, keys):
            return ByQuery(None, True)
    beyond = {key for key in keys if key.startswith("@")} - _FIXED_FIELDS - {STALE}
    # Other fields beside the metadata (@UpdatedAt, @Revision) change with every revision.
    tops = None if beyond else frozenset(metadata_path(key)[0] for key in keys if key != STALE)
    return ByQuery(tops, STALE in keys)


def _keys(selection: ByElement) -> set[str]:
    keys: set[str] = set()
    _collect(selection.filter, keys)
    _collect(selection.edge_filter, keys)
    return keys


_LEAVES: Final = (Present, Equals, Compare, Matches, InNetwork)


def _collect(value: Any, keys: set[str]) -> bool:
    """Collect the keys that a part of a plan reads; false when it holds something that we cannot look into.

    Texts that are no filters may be keys to sort or to deduplicate by, so they count as such.
    """
    if isinstance(value, _LEAVES):
        keys.add(value.key)
        return True
    if isinstance(value, AllOf | AnyOf):
        return all(_collect(one, keys) for one in value.filters)
    if isinstance(value, Not):
        return _collect(value.filter, keys)
    if isinstance(value, str):
        keys.add(value)
        return True
    if value is None or isinstance(value, int | float) or inspect.isfunction(value):
        # Functions lead from elements to their neighbours.
        return True
    if isinstance(value, tuple):
        return all(_collect(one, keys) for one in value)
    if attrs.has(type(value)):
        return all(_collect(getattr(value, one.name), keys) for one in attrs.fields(type(value)))
    return False
