"""The steps of the language: how one is defined, and which there are.

A step is a function that checks the step's parameters and returns its operation; core and plugins define theirs alike::

    @step("Count", parameters="()", gives={NODES: COUNT, EDGES: COUNT})
    def count(call: Call, kind: Kind) -> Operation:
        \"""The number of elements.\"""
        call.refuse_parameters()
        return CountElements()

The first line of the docstring is the step's documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, final

import attrs

from skycore.errors import GremlinExecutionError, GremlinSyntaxError
from skycore.gremlin import syntax
from skycore.gremlin.operation import Kind, Operation
from skycore.gremlin.syntax import Literal, Parameter


@final
@attrs.frozen
class Call:
    """One use of a step in a query."""

    step: syntax.Step
    query: str

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def arguments(self) -> tuple[Parameter, ...]:
        return self.step.arguments

    def error(self, message: str, at: Parameter | None = None) -> GremlinSyntaxError:
        """The error to raise for wrong parameters; it points at one of them, or at the step."""
        return GremlinSyntaxError(message, self.query, (at or self.step).offset)

    def shown(self) -> str:
        """The parameters as messages show them."""
        return syntax.show(self.arguments)

    def text(self, parameter: Parameter, message: str) -> str:
        """The string that the parameter is; the error says ``message`` when it is none."""
        if isinstance(parameter, Literal) and isinstance(parameter.value, str):
            return parameter.value
        raise self.error(message, parameter)

    def one_text(self, message: str) -> str:
        """The string that is the only parameter."""
        if len(self.arguments) != 1:
            raise self.error(message)
        return self.text(self.arguments[0], message)

    def refuse_parameters(self) -> None:
        if self.arguments:
            raise self.error(f"{self.name} accepts no parameter : {self.shown()}", self.arguments[0])


Compile: TypeAlias = Callable[[Call, Kind], Operation]


@final
@attrs.frozen
class StepDefinition:
    """One step of the language.

    ``gives`` maps each kind that the step takes to the kind that it gives then.  ``parameters`` and ``summary`` are
    for the documentation.  ``must_be_first``: the step directly follows the first ``G``.  ``named_refusal``: whether
    Skydive names the step when it stands after a wrong kind (else: ``Error while executing the query``).
    """

    name: str
    gives: Mapping[Kind, Kind]
    compile: Compile
    parameters: str
    summary: str
    aliases: tuple[str, ...] = ()
    must_be_first: bool = False
    named_refusal: bool = False

    def refusal(self, call: Call, kind: Kind) -> GremlinExecutionError:
        """The error of a query that has the step after a kind that it does not take."""
        start = f"Invalid step '{call.name}' on '*{_type_name(kind)}'"
        if not self.named_refusal:
            start = "Error while executing the query"
        wanted = " or ".join(map(_describe, self.gives))
        return GremlinExecutionError(
            f"{start}: {call.name} works on {wanted}, but stands after {_describe(kind)}", call.query, call.step.offset
        )


def step(
    name: str,
    *,
    parameters: str,
    gives: Mapping[Kind, Kind],
    aliases: tuple[str, ...] = (),
    must_be_first: bool = False,
    named_refusal: bool = False,
) -> Callable[[Compile], StepDefinition]:
    """Make the decorated function a step's definition."""

    def define(compile: Compile) -> StepDefinition:
        summary = (compile.__doc__ or "").strip().partition("\n")[0]
        return StepDefinition(name, gives, compile, parameters, summary, aliases, must_be_first, named_refusal)

    return define


@final
class StepRegistry:
    """All steps that queries may use."""

    def __init__(self, definitions: Iterable[StepDefinition] = ()) -> None:
        self._definitions: list[StepDefinition] = []
        self._by_name: dict[str, StepDefinition] = {}
        self.names: dict[str, str] = {}
        """Each name in upper case, and its usual spelling."""
        for definition in definitions:
            self.add(definition)

    def add(self, definition: StepDefinition) -> None:
        """Add a step.  Raises ValueError when one of its names is taken."""
        names = (definition.name, *definition.aliases)
        for name in names:
            if name.upper() == "G" or name.upper() in self.names:
                raise ValueError(f"the step name {name} is taken")
        self._definitions.append(definition)
        for name in names:
            self.names[name.upper()] = name
            self._by_name[name] = definition

    def extend(self, definition: StepDefinition) -> None:
        """Let a step that is there take more kinds, as another definition of the same name says.

        What that one's documentation says is added to what is known.

        Raises ValueError when there is no such step, or when it takes one of the kinds already.
        """
        known = self._by_name.get(definition.name)
        if known is None:
            raise ValueError(f"there is no step {definition.name} to extend")
        taken = [kind for kind in definition.gives if kind in known.gives]
        if taken:
            raise ValueError(f"the step {definition.name} works on {', '.join(map(_describe, taken))} already")
        extended = attrs.evolve(
            known,
            gives={**known.gives, **definition.gives},
            summary=f"{known.summary} {definition.summary}".rstrip(),
            compile=lambda call, kind: (definition if kind in definition.gives else known).compile(call, kind),
        )
        self._definitions[self._definitions.index(known)] = extended
        for name in (known.name, *known.aliases):
            self._by_name[name] = extended

    def __getitem__(self, name: str) -> StepDefinition:
        """The step with this name or alias, spelt as in ``names``."""
        return self._by_name[name]

    def __iter__(self) -> Iterator[StepDefinition]:
        return iter(self._definitions)


# The names that Skydive's messages have for what stands in a stream.
_TYPE_NAMES = {
    "graph": "",
    "V": "V",
    "E": "E",
    "P": "ShortestPath",
    "Fl": "Flow",
    "Gr": "FlowGroups",
    "R": "RawPackets",
    "M": "Metrics",
    "S": "Sockets",
    "next hops": "NextHops",
    "values": "Value",
    "count": "Value",
    "object": "Value",
    "difference": "Difference",
    "revisions": "Revisions",
}
_DESCRIPTIONS = {
    "graph": "the graph",
    "V": "nodes",
    "E": "edges",
    "P": "paths",
    "Fl": "flows",
    "Gr": "groups of flows",
    "R": "packets",
    "M": "metrics",
    "S": "sockets",
    "values": "values",
    "count": "a number",
    "object": "an object",
    "difference": "a difference",
    "revisions": "revisions",
}


def _type_name(kind: Kind) -> str:
    return f"traversal.GraphTraversal{_TYPE_NAMES.get(kind, kind.capitalize())}"


def _describe(kind: Any) -> str:
    return _DESCRIPTIONS.get(kind, str(kind))
