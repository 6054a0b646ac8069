"""From a key and a parameter of ``Has`` to the filter that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from typing import Literal as OneOf

from skycore.filter import (
    All,
    Any,
    Compare,
    Equals,
    Filter,
    InNetwork,
    Leaf,
    Matches,
    Not,
    Present,
    number_of,
    value_test,
)
from skycore.gremlin.registry import Call
from skycore.gremlin.syntax import Literal, Parameter, Predicate, write_parameter

_SIGNS: Final[dict[str, OneOf["lt", "lte", "gt", "gte"]]] = {"Lt": "lt", "Lte": "lte", "Gt": "gt", "Gte": "gte"}


def pair_filters(call: Call, odd: str) -> list[Filter]:
    """The filters of parameters ``key, value, key, value, …``; one single key means that it is present.

    ``odd`` begins the message for an odd number of parameters.
    """
    arguments = call.arguments
    if len(arguments) == 1:
        return [Present(_key(call, arguments[0]))]
    if len(arguments) % 2:
        raise call.error(f"{odd}: {call.shown()}")
    return [_filter(call, _key(call, key), value) for key, value in zip(arguments[::2], arguments[1::2], strict=True)]


def _key(call: Call, parameter: Parameter) -> str:
    return call.text(parameter, "keys should be of string type")


def _filter(call: Call, key: str, parameter: Parameter) -> Filter:
    if isinstance(parameter, Literal):
        return Equals(key, parameter.value)
    if isinstance(parameter, Predicate):
        return _predicate(call, key, parameter)
    raise call.error(f"{parameter.name} is no value to compare with", parameter)


def _predicate(call: Call, key: str, predicate: Predicate) -> Filter:
    name, arguments = predicate.name, predicate.arguments
    match name:
        case "Within":
            return _one_of(call, key, predicate)
        case "Without":
            return Not(_one_of(call, key, predicate))
        case "Ne":
            return All((Present(key), Not(_equals(call, key, predicate, arguments[0]))))
        case "Nee":
            return Not(_equals(call, key, predicate, arguments[0]))
        case "Regex":
            return _regex(call, key, arguments[0])
        case "Ipv4Range":
            network = call.text(arguments[0], "IPV4RANGE values should be of string type")
            return _checked(call, InNetwork(key, network), arguments[0])
        case "Metadata":
            raise call.error("unable to cast graph.Metadata: Metadata(…) is no value to compare with", predicate)
    numbers = [_number(call, name, argument) for argument in arguments]
    if name in _SIGNS:
        return Compare(key, _SIGNS[name], numbers[0])
    low, high = numbers
    match name:
        case "Inside":
            return All((Compare(key, "gt", low), Compare(key, "lt", high)))
        case "Between":
            return All((Compare(key, "gte", low), Compare(key, "lt", high)))
        case _:
            return Any((Compare(key, "lt", low), Compare(key, "gt", high)))


def _one_of(call: Call, key: str, predicate: Predicate) -> Filter:
    equals = tuple(_equals(call, key, predicate, argument) for argument in predicate.arguments)
    return equals[0] if len(equals) == 1 else Any(equals)


def _equals(call: Call, key: str, predicate: Predicate, argument: Parameter) -> Equals:
    if isinstance(argument, Literal):
        return Equals(key, argument.value)
    raise call.error(
        f"{predicate.name.upper()} values should be strings, numbers or bools, got: {write_parameter(argument)[:200]}",
        argument,
    )


def _number(call: Call, name: str, argument: Parameter) -> int | float:
    value = argument.value if isinstance(argument, Literal) else None
    number = None if isinstance(value, bool) else number_of(value)
    if number is None:
        raise call.error(
            f"{name.upper()} values should be of int64 type (or another number, or a string with one)", argument
        )
    return number


def _regex(call: Call, key: str, argument: Parameter) -> Filter:
    pattern = call.text(argument, "REGEX values should be of string type")
    if pattern.startswith("^") or _ends_with_anchor(pattern):
        raise call.error("Regex are anchored by default, ^ and $ don't have to be provided", argument)
    return _checked(call, Matches(key, pattern), argument)


def _ends_with_anchor(pattern: str) -> bool:
    r"""Whether the last character is ``$``, and not the literal ``\$``."""
    body = pattern.removesuffix("$")
    return body != pattern and (len(body) - len(body.rstrip("\\"))) % 2 == 0


def _checked(call: Call, leaf: Leaf, argument: Parameter) -> Leaf:
    try:
        value_test(leaf)
    except ValueError as error:
        raise call.error(str(error), argument) from error
    return leaf


def all_of(filters: Sequence[Filter]) -> Filter:
    return filters[0] if len(filters) == 1 else All(tuple(filters))


def any_of(filters: Sequence[Filter]) -> Filter:
    return filters[0] if len(filters) == 1 else Any(tuple(filters))
