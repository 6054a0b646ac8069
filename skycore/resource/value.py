"""JSON values as Python has them: equality, size, and the form in which Skydive keeps numbers."""

from __future__ import annotations

from typing import Any


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: 1 and 1.0 are, 1 and true are not."""
    ahead = [(one, other)]
    while ahead:
        one, other = ahead.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            ahead += [(value, other[key]) for key, value in one.items()]
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            ahead += zip(one, other, strict=True)
        elif isinstance(one, bool) != isinstance(other, bool) or one != other:
            return False
    return True


def size_of(value: Any) -> int:
    """How many values a JSON value consists of, itself included."""
    count, ahead = 0, [value]
    while ahead:
        value = ahead.pop()
        count += 1
        if isinstance(value, dict):
            ahead += value.values()
        elif isinstance(value, list):
            ahead += value
    return count


def normalise(value: Any) -> Any:
    """The value with each float that is a whole number as an integer, as Skydive reads metadata."""
    if isinstance(value, dict):
        return {key: normalise(member) for key, member in value.items()}
    if isinstance(value, list):
        return [normalise(member) for member in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 63:
        return int(value)
    return value
