"""From syntax tree to traversal: every step checked, with its operation and the kinds it takes and gives."""

from __future__ import annotations

from typing import final

import attrs

from skycore.errors import GremlinExecutionError, GremlinSyntaxError
from skycore.gremlin.operation import EXPLANATION, GRAPH, Execution, Kind, Operation, Stream, Work
from skycore.gremlin.registry import Call, StepRegistry
from skycore.gremlin.syntax import Query


@final
@attrs.frozen
class TypedStep:
    call: Call
    operation: Operation
    takes: Kind
    gives: Kind


@final
@attrs.frozen
class Traversal:
    """The checked steps of a query; ``kind`` is what the last one gives."""

    text: str
    steps: tuple[TypedStep, ...]

    @property
    def kind(self) -> Kind:
        return self.steps[-1].gives if self.steps else GRAPH


@final
@attrs.frozen
class BackToGraph(Operation):
    """The step ``G`` inside a query."""

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        execution.view = execution.root
        return Stream(GRAPH)
        yield


def check(query: Query, text: str, registry: StepRegistry) -> Traversal:
    """Check the steps of a query in their order.

    Raises GremlinSyntaxError for parameters that a step does not take, and GremlinExecutionError for a step
    that stands where it cannot.
    """
    steps: list[TypedStep] = []
    kind: Kind = GRAPH
    for number, step in enumerate(query.steps):
        call = Call(step, text)
        if kind == EXPLANATION:
            raise GremlinSyntaxError("Explain must be the last step", text, query.steps[number - 1].offset)
        if step.name == "G":
            steps.append(TypedStep(call, BackToGraph(), kind, GRAPH))
            kind = GRAPH
            continue
        definition = registry[step.name]
        gives = definition.gives.get(kind)
        if gives is None:
            raise definition.refusal(call, kind)
        if definition.must_be_first and number > 0:
            raise GremlinExecutionError(
                f"Error while executing the query: {step.name} must directly follow the first G", text, step.offset
            )
        steps.append(TypedStep(call, definition.compile(call, kind), kind, gives))
        kind = gives
    return Traversal(text, tuple(steps))
