"""Which flows, and in which order: ``Has`` and its relations, ``Sort``, ``Dedup``, ``Limit`` and ``Range``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from skycore.flow.fields import canonical_filter, canonical_key
from skycore.flow.query import FlowQuery
from skycore.gremlin.flows.taking import RefineFlows
from skycore.gremlin.operation import FLOWS, Kind, Narrow, Operation
from skycore.gremlin.registry import Call, Compile, StepDefinition, step
from skycore.gremlin.steps import filters, order

_SAME: Final = {FLOWS: FLOWS}
_DEFAULT_DEDUP: Final = "TrackingID"
_DEFAULT_SORT: Final = "Last"


def _narrowing(definition: StepDefinition, summary: str) -> StepDefinition:
    """The step as it is for elements, over the fields of flows."""

    def compile(call: Call, kind: Kind) -> Operation:
        narrow = definition.compile(call, FLOWS)
        assert isinstance(narrow, Narrow)
        limit = None if narrow.stop is None else narrow.stop - narrow.start
        return RefineFlows(FlowQuery(canonical_filter(narrow.filter), offset=narrow.start, limit=limit))

    return _more(definition.name, compile, summary)


def _more(name: str, compile: Compile | Callable[[Call, Kind], Operation], summary: str) -> StepDefinition:
    compile.__doc__ = summary
    return step(name, parameters="", gives=_SAME)(compile)


def _sort(call: Call, kind: Kind) -> Operation:
    key, descending = order.sort_arguments(call, _DEFAULT_SORT)
    return RefineFlows(FlowQuery(sort_by=canonical_key(key), descending=descending))


def _dedup(call: Call, kind: Kind) -> Operation:
    message = f"Dedup parameters have to be string keys : {call.shown()}"
    if len(call.arguments) > 1:
        raise call.error(f"Dedup of flows takes one key : {call.shown()}", call.arguments[1])
    key = call.text(call.arguments[0], message) if call.arguments else _DEFAULT_DEDUP
    return RefineFlows(FlowQuery(dedup_by=canonical_key(key)))


MORE_KINDS: tuple[StepDefinition, ...] = (
    _narrowing(filters.has, ""),
    _narrowing(filters.has_key, ""),
    _narrowing(filters.has_not, ""),
    _narrowing(filters.has_either, ""),
    _more("Sort", _sort, "Flows without a key: by `Last`."),
    _more("Dedup", _dedup, "Flows by one key, without one by `TrackingID`."),
    _narrowing(order.limit, ""),
    _narrowing(order.range_, ""),
)
