"""Filters as JSON, the form in which native tables take them (docs/native.md#filters)."""

from __future__ import annotations

from typing import Any

import msgspec

from skycore.filter import All, Compare, Equals, Filter, InNetwork, Matches, Not, Present, Scalar
from skycore.filter import Any as AnyOf

_encode = msgspec.json.Encoder().encode


def filter_json(filter: Filter) -> bytes:
    """The JSON of a filter."""
    return _encode(_form(filter))


def _form(filter: Filter) -> Any:
    match filter:
        case All(filters):
            return {"all": [_form(one) for one in filters]}
        case AnyOf(filters):
            return {"any": [_form(one) for one in filters]}
        case Not(inner):
            return {"not": _form(inner)}
        case Present(key):
            return {"present": key}
        case Equals(key, value):
            return {"equals": {"key": key, "value": _within_64_bits(value)}}
        case Compare(key, operator, value):
            return {"compare": {"key": key, "operator": operator, "value": _within_64_bits(value)}}
        case Matches(key, pattern):
            return {"matches": {"key": key, "pattern": pattern}}
        case InNetwork(key, network):
            return {"in_network": {"key": key, "network": network}}


def _within_64_bits(value: Scalar) -> Scalar:
    # No field is larger, so only on which side of all of them the number lies counts.
    return float(value) if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64 else value
