"""``Descendants``, ``Ascendants``, ``Neighbors``: what lies around nodes, up to a number of edges away."""

from __future__ import annotations

from typing import Final, final

import attrs

from skycore.filter import Equals
from skycore.graph.adjacency import Direction
from skycore.gremlin.operation import NODES, Execution, Kind, Operation, Stream, Work, chunks
from skycore.gremlin.predicates import any_of, pair_filters
from skycore.gremlin.reach import Over
from skycore.gremlin.registry import Call, StepDefinition, step
from skycore.gremlin.syntax import Literal

_OWNERSHIP: Final = Equals("RelationType", "ownership")


@final
@attrs.frozen
class Surround(Operation):
    """The nodes, then those one edge away, then those two edges away …, each once; ``depth`` None: without end."""

    over: Over
    depth: int | None

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        view = execution.view
        found = dict.fromkeys(stream.items)
        level = list(found)
        depth = 0
        while level and depth != self.depth:
            depth += 1
            reached: dict[str, None] = {}
            for part in chunks(level, 64):
                ends = yield from self.over.walk(view, part)
                reached.update((id, None) for id in ends if id not in found)
                yield
                execution.hold(len(found) + len(reached))
            found.update(reached)
            level = list(reached)
        return Stream(NODES, list(found))

    @property
    def ignores_repetitions(self) -> bool:
        return True

    def without_repetitions(self) -> Operation:
        return self


def _define(name: str, direction: Direction, endless: int | None, summary: str) -> StepDefinition:
    def compile(call: Call, kind: Kind) -> Operation:
        arguments, depth = call.arguments, 1
        if len(arguments) % 2:
            last = arguments[-1]
            value = last.value if isinstance(last, Literal) else None
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise call.error(f"{name} last argument must be the maximum depth specified as integer", last)
            arguments, depth = arguments[:-1], value
        pairs = attrs.evolve(call, step=attrs.evolve(call.step, arguments=arguments))
        filter = any_of(pair_filters(pairs, "slice must be defined by pair k,v")) if arguments else _OWNERSHIP
        return Surround(Over(direction, filter), depth or endless)

    compile.__doc__ = summary
    return step(name, parameters="([key, value, …][, depth])", gives={NODES: NODES})(compile)


STEPS = (
    _define(
        "Descendants",
        "children",
        None,
        "The nodes and what they own, down to a depth (1; 0: all); with pairs, over edges for which one of them holds.",
    ),
    _define(
        "Ascendants",
        "parents",
        None,
        "The nodes and their owners, up to a depth (1; 0: all); with pairs, over edges for which one of them holds.",
    ),
    _define(
        "Neighbors",
        "ends",
        0,
        "The nodes and what is owned by or owns them, up to a depth (1; 0: only the nodes); pairs as with Descendants.",
    ),
)
