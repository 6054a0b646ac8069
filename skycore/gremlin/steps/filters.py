"""``Has`` and its relations: steps that keep some of the elements."""

from __future__ import annotations

from skycore.filter import Filter, Not, Present
from skycore.gremlin.operation import EDGES, NODES, SOCKETS, VALUES, Kind, Narrow, Operation
from skycore.gremlin.predicates import all_of, any_of, pair_filters
from skycore.gremlin.registry import Call, step
from skycore.gremlin.steps.sockets import NarrowSockets
from skycore.gremlin.steps.values import NarrowValues

_ELEMENTS = {NODES: NODES, EDGES: EDGES}
_ANY = {**_ELEMENTS, VALUES: VALUES, SOCKETS: SOCKETS}
_ODD = "params should be a list of key,value"


def _need_parameters(call: Call) -> None:
    if not call.arguments:
        raise call.error("At least one parameter must be provided")


def _narrow(filter: Filter, kind: Kind) -> Operation:
    if kind == VALUES:
        return NarrowValues(filter)
    return NarrowSockets(filter) if kind == SOCKETS else Narrow(filter)


@step("Has", parameters="(key[, value, …])", gives=_ANY, named_refusal=True)
def has(call: Call, kind: Kind) -> Operation:
    """Keeps those that have the key, or for which every pair of key and value (or predicate) holds."""
    _need_parameters(call)
    return _narrow(all_of(pair_filters(call, _ODD)), kind)


@step("HasKey", parameters="(key)", gives=_ELEMENTS, named_refusal=True)
def has_key(call: Call, kind: Kind) -> Operation:
    """Keeps the elements that have the key."""
    return Narrow(Present(call.one_text(f"HasKey accepts only one parameter of type string : {call.shown()}")))


@step("HasNot", parameters="(key)", gives=_ELEMENTS)
def has_not(call: Call, kind: Kind) -> Operation:
    """Keeps the elements that do not have the key."""
    return Narrow(Not(Present(call.one_text(f"HasNot accepts only one parameter of type string : {call.shown()}"))))


@step("HasEither", parameters="(key[, value, …])", gives=_ANY)
def has_either(call: Call, kind: Kind) -> Operation:
    """Keeps those that have the key, or for which at least one pair of key and value (or predicate) holds."""
    _need_parameters(call)
    return _narrow(any_of(pair_filters(call, _ODD)), kind)


STEPS = (has, has_key, has_not, has_either)
