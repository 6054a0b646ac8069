"""``At``: the graph as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, final

import attrs

from skycore.gremlin.moment import Moment, moment_of, span_of
from skycore.gremlin.operation import GRAPH, Execution, Kind, Operation, Stream, Work
from skycore.gremlin.registry import Call, step
from skycore.gremlin.syntax import Literal, Parameter, Word

T = TypeVar("T")


@final
@attrs.frozen
class InThePast(Operation):
    """Says which graph the plan runs over; the graph is there before the first operation runs."""

    moment: Moment

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        return stream
        yield


@step("At", aliases=("Context",), parameters="(moment[, duration])", gives={GRAPH: GRAPH}, must_be_first=True)
def at(call: Call, kind: Kind) -> Operation:
    """The graph as it was at a moment, or during the time that ended then."""
    arguments = call.arguments
    if not arguments:
        raise call.error("At least one parameter must be provided to 'Context'")
    if len(arguments) > 2:
        raise call.error("At most two parameters must be provided to 'Context'", arguments[2])
    first = arguments[0]
    moment = read_moment(call, first)
    if len(arguments) == 2:
        second = arguments[1]
        duration = None if _is_word(second, "FOREVER") else _read(call, second, span_of)
        moment = attrs.evolve(moment, duration=duration)
    return InThePast(moment)


def read_moment(call: Call, parameter: Parameter) -> Moment:
    """The moment that a parameter names.  Raises GremlinSyntaxError."""
    return Moment(0, relative=True) if _is_word(parameter, "NOW") else _read(call, parameter, moment_of)


def _is_word(parameter: Parameter, name: str) -> bool:
    return isinstance(parameter, Word) and parameter.name == name


def _read(call: Call, parameter: Parameter, reader: Callable[[int | str], T]) -> T:
    value = parameter.value if isinstance(parameter, Literal) else None
    if isinstance(value, bool) or not isinstance(value, int | str):
        name = "Context" if call.name in ("At", "Context") else call.name
        raise call.error(f"Key '{name}' must be either an integer or a string", parameter)
    try:
        return reader(value)
    except ValueError as error:
        raise call.error(str(error), parameter) from error


STEPS = (at,)
