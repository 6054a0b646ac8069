"""``SubGraph``, and ``As`` and ``Select``, which bring together what several traversals found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from functools import partial
from itertools import chain
from typing import Final, final

import attrs

from skycore.filter import EVERYTHING, Filter
from skycore.graph import element
from skycore.graph.element import Revision
from skycore.graph.indexed import IndexedView
from skycore.graph.past import FixedGraph
from skycore.graph.pieces import shed
from skycore.graph.view import GraphView
from skycore.gremlin import reach
from skycore.gremlin.operation import (
    CHUNK,
    EDGES,
    GRAPH,
    NODES,
    PATHS,
    Execution,
    Kind,
    Operation,
    Stream,
    Work,
    chunks,
    fetch,
    select,
)
from skycore.gremlin.predicates import all_of, pair_filters
from skycore.gremlin.registry import Call, step
from skycore.gremlin.span import SpanView
from skycore.gremlin.subgraph import SubGraphView

# So few that not more than one short collection of garbage comes while they are added.
_EDGES: Final = 128


@final
@attrs.frozen
class CutOut(Operation):
    """Make a graph of nodes and the edges between them, or of edges and their ends."""

    filter: Filter

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        view = execution.view
        if stream.kind == EDGES:
            edges = list((yield from _each_once(stream.items)))
            nodes: dict[str, None] = {}
            for part in chunks(edges):
                nodes.update(dict.fromkeys(reach.both_ends(view, part)))
                execution.hold(len(edges) + len(nodes))
                yield
        else:
            ids = stream.items if stream.kind == NODES else (id for path in stream.items for id in path)
            nodes = yield from _each_once(ids)
            edges = []
            for part in chunks(nodes):
                leaving = reach.leaving(view, part)
                yield
                kept = yield from select(view, "edge", self.filter, leaving)
                if isinstance(view, SpanView):
                    edges += kept
                    execution.hold(len(nodes) + len(edges))
                    continue
                for some in chunks(kept, 1024):
                    ends = reach.child_ends(view, some)
                    edges += [id for id, child in zip(some, ends, strict=True) if child in nodes]
                    execution.hold(len(nodes) + len(edges))
                    yield
        if isinstance(view, SpanView):
            # A view of a span never changes: any thread may read it.
            make = partial(view.part, nodes.keys(), (yield from _each_once(edges)).keys())
            execution.view = yield from execution.ask(lambda _history: make())
            return Stream(GRAPH)
        graph = FixedGraph()
        # As few large lists as can be are there: a short collection of garbage looks at all members of a new one.
        for part in shed((yield from _ordered(view, "node", nodes.keys())), CHUNK):
            graph.extend((yield from fetch(view, "node", part)), ())
            yield
        distinct = yield from _each_once(chain.from_iterable(shed(edges, CHUNK)))
        for part in shed((yield from _ordered(view, "edge", distinct.keys())), _EDGES):
            found = yield from fetch(view, "edge", part)
            graph.extend((), [one for one in found if one.parent in graph.nodes and one.child in graph.nodes])
            yield
        before, execution.view = view, SubGraphView(graph, _stale_test(execution))
        if isinstance(before, SubGraphView):
            yield from before.let_go()
        return Stream(GRAPH)

    @property
    def ignores_repetitions(self) -> bool:
        return True


def _each_once(ids: Iterable[str]) -> Work[dict[str, None]]:
    found: dict[str, None] = {}
    for part in chunks(ids, 2048):
        found.update(dict.fromkeys(part))
        yield
    return found


def _ordered(view: GraphView, kind: element.Kind, ids: Set[str]) -> Work[list[str]]:
    """The elements in the order in which they appeared."""
    if isinstance(view, IndexedView):
        return (yield from view.in_order(kind, ids))
    born = {id: one.born for id in ids if (one := view.get(kind, id)) is not None}
    return sorted(born, key=born.__getitem__)


def _stale_test(execution: Execution) -> Callable[[Revision], bool]:
    test = getattr(execution.root, "is_stale", None)
    return test if callable(test) else lambda revision: False


@step("SubGraph", parameters="([key, value, …])", gives=dict.fromkeys((NODES, EDGES, PATHS), GRAPH))
def sub_graph(call: Call, kind: Kind) -> Operation:
    """The nodes (or those on paths) and the edges among them for which the pairs hold; or the edges and their ends."""
    if call.arguments and kind != NODES:
        raise call.error(f"SubGraph accepts no parameter here : {call.shown()}", call.arguments[0])
    if len(call.arguments) == 1:
        raise call.error(f"slice must be defined by pair k,v: {call.shown()}")
    filter = all_of(pair_filters(call, "slice must be defined by pair k,v")) if call.arguments else EVERYTHING
    return CutOut(filter)


@final
@attrs.frozen
class Keep(Operation):
    """Remember the nodes under a name."""

    name: str

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        execution.named[self.name] = stream
        execution.hold(sum(len(one.items) for one in execution.named.values()))
        return stream
        yield


@step("As", parameters="(name)", gives={NODES: NODES}, named_refusal=True)
def as_(call: Call, kind: Kind) -> Operation:
    """Remembers the nodes for `Select`."""
    return Keep(call.one_text(f"As accepts only one parameter of type string : {call.shown()}"))


@final
@attrs.frozen
class Recall(Operation):
    """The nodes remembered under names, name after name, repetitions kept."""

    names: tuple[str, ...]
    offsets: tuple[int, ...]

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        found: list[str] = []
        for name, offset in zip(self.names, self.offsets, strict=True):
            named = execution.named.get(name)
            if named is None:
                raise execution.error(f"Key {name} not registered. Need to be registered using 'As' step", offset)
            if named.kind != NODES:
                raise execution.error(f"{name} names flows: put Select after flows to get them", offset)
            for part in chunks(named.items):
                # Inside a subgraph only what belongs to it is there.
                whole = execution.view is execution.root
                found += part if whole else [id for id in part if execution.view.get("node", id) is not None]
                execution.hold(len(found))
                yield
        return Stream(NODES, found)


@step("Select", parameters="(name, …)", gives={NODES: NODES, GRAPH: NODES}, named_refusal=True)
def select_(call: Call, kind: Kind) -> Operation:
    """The nodes that `As` remembered under the names, one after the other."""
    return Recall(*select_names(call))


def select_names(call: Call) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The names that the parameters of a ``Select`` are, and where in the query each stands."""
    message = f"Select parameters have to be string keys : {call.shown()}"
    if not call.arguments:
        raise call.error(message)
    names = tuple(call.text(argument, message) for argument in call.arguments)
    return names, tuple(argument.offset for argument in call.arguments)


STEPS = (sub_graph, as_, select_)
