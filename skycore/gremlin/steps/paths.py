"""``ShortestPathTo``."""

from __future__ import annotations

from collections.abc import Collection
from typing import final

import attrs

from skycore.errors import GremlinExecutionError
from skycore.filter import EVERYTHING, Filter
from skycore.graph.indexed import IndexedView
from skycore.gremlin.operation import NODES, PATHS, Execution, Kind, Narrow, Operation, Stream, Work, chunks
from skycore.gremlin.paths import PathFinder
from skycore.gremlin.predicates import all_of, pair_filters
from skycore.gremlin.registry import Call, step
from skycore.gremlin.syntax import Parameter, Predicate


@final
@attrs.frozen
class FindPaths(Operation):
    """From each node the shortest path to the nearest target."""

    targets: Filter
    edges: Filter

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        view = execution.view
        targets: Collection[str]
        if isinstance(view, IndexedView):
            targets = frozenset((yield from view.search("node", self.targets, ordered=False)))
        else:
            ids = view.ids("node")
            targets = yield from Narrow(self.targets).apply(execution, "node", chunks(ids))
        finder = PathFinder(execution, targets, self.edges)
        paths: list[tuple[str, ...]] = []
        held = 0
        for source in stream.items if targets else ():
            path = yield from finder.find(source)
            if path is not None:
                paths.append(path)
                held += len(path)
                execution.hold(held)
            yield
        return Stream(PATHS, paths)


@step("ShortestPathTo", parameters="(Metadata(key, value, …)[, Metadata(key, value, …)])", gives={NODES: PATHS})
def shortest_path_to(call: Call, kind: Kind) -> Operation:
    """The shortest path from each node to the nearest node with the first metadata, over edges with the second."""
    arguments = call.arguments
    if len(arguments) not in (1, 2):
        raise call.error(f"ShortestPathTo accepts one or two parameters : {call.shown()}")
    return FindPaths(_metadata(call, arguments[0]), _metadata(call, arguments[1]) if arguments[1:] else EVERYTHING)


def _metadata(call: Call, parameter: Parameter) -> Filter:
    if not isinstance(parameter, Predicate) or parameter.name != "Metadata":
        raise GremlinExecutionError(
            "Error while executing the query: ShortestPathTo takes Metadata(key, value, …)",
            call.query,
            parameter.offset,
        )
    inner = attrs.evolve(call, step=attrs.evolve(call.step, arguments=parameter.arguments))
    return all_of(pair_filters(inner, "slice must be defined by pair k,v")) if parameter.arguments else EVERYTHING


STEPS = (shortest_path_to,)
