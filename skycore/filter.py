"""The one filter language.

Gremlin predicates, subscription filters, storage queries, capture selectors and flow-table queries all
compile to the small tree of this module, which each backend translates.  ``compile_filter`` and ``value_test``
say what the tree means; every backend gives the same answers.

A *key* is a dotted path into the metadata (``Metric.RxBytes``, ``Captures.ID``; a leading ``Metadata.`` is
stripped), or one of the pseudo fields ``@ID @Host @Origin @CreatedAt @UpdatedAt @DeletedAt @Revision @Stale``;
edges have ``Parent`` and ``Child`` besides.  A path through a list of objects collects the values of all of them.

Where a number is asked for, a numeric string counts as its number, and a bool as 0 or 1.
"""

from __future__ import annotations

import operator
import re
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any as AnyValue
from typing import Final, Literal, TypeAlias, final

import attrs

Scalar: TypeAlias = str | int | float | bool


@final
class _Missing:
    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()
"""Stands for the value of a key that an element does not have."""


def _type_and_value(value: Scalar) -> tuple[bool, Scalar]:
    """Tell True from 1, which Python holds to be equal; 1 and 1.0 mean the same filter."""
    return isinstance(value, bool), value


@final
@attrs.frozen
class Present:
    """The key exists (a JSON null counts as existing)."""

    key: str


@final
@attrs.frozen
class Equals:
    """The value, or any member of a list value, equals ``value``.

    A string equals only strings and a bool only bools; a number equals numbers, numeric strings, and bools as 0 or 1.
    """

    key: str
    value: Scalar = attrs.field(eq=_type_and_value)


@final
@attrs.frozen
class Compare:
    """The value, or any member of a list value, stands so to ``value``: numbers, numeric strings, bools as 0 or 1."""

    key: str
    operator: Literal["lt", "lte", "gt", "gte"]
    value: int | float


@final
@attrs.frozen
class Matches:
    """The value, or any member of a list value, is a string that RE2 matches from its start to its end."""

    key: str
    pattern: str


@final
@attrs.frozen
class InNetwork:
    """The value, or any member of a list value, is an IPv4 address (with or without ``/length``) inside ``network``."""

    key: str
    network: str


@final
@attrs.frozen
class All:
    """Every one of ``filters`` holds; no filters: true."""

    filters: tuple[Filter, ...] = ()


@final
@attrs.frozen
class Any:
    """At least one of ``filters`` holds; no filters: false (Skydive: true; see docs/deviations.md)."""

    filters: tuple[Filter, ...] = ()


@final
@attrs.frozen
class Not:
    """``filter`` does not hold."""

    filter: Filter


Leaf: TypeAlias = Present | Equals | Compare | Matches | InNetwork
Filter: TypeAlias = Leaf | All | Any | Not
EVERYTHING: Final = All()

FieldGetter: TypeAlias = Callable[[str], AnyValue]
"""Gives the value of a key of one element, MISSING where there is none."""


def compile_filter(filter: Filter) -> Callable[[FieldGetter], bool]:
    """Turn a filter into a function that tells, given an element's field getter, whether the filter holds.

    Raises ValueError for a pattern that RE2 does not take and for a network that is none.
    """
    match filter:
        case All(filters):
            every = tuple(compile_filter(one) for one in filters)
            return lambda get: all(test(get) for test in every)
        case Any(filters):
            some = tuple(compile_filter(one) for one in filters)
            return lambda get: any(test(get) for test in some)
        case Not(inner):
            test = compile_filter(inner)
            return lambda get: not test(get)
        case leaf:
            key, holds = leaf.key, value_test(leaf)
            return lambda get: holds(get(key))


def value_test(leaf: Leaf) -> Callable[[AnyValue], bool]:
    """Turn a leaf into a function that tells whether a key's value (or MISSING) passes; the key is not looked at.

    Raises ValueError as compile_filter does.
    """
    match leaf:
        case Present():
            return lambda value: value is not MISSING
        case Equals(_, value):
            return _any_member(_equality(value))
        case Compare(_, sign, bound):
            return _any_member(_comparison(sign, bound))
        case Matches(_, pattern):
            return _any_member(_match(pattern))
        case InNetwork(_, network):
            return _any_member(_inside(network))


def metadata_path(key: str) -> tuple[str, ...]:
    """The parts of a metadata key: split at its dots, a leading ``Metadata.`` stripped."""
    return tuple(key.removeprefix("Metadata.").split("."))


def lookup(metadata: dict[str, AnyValue], path: tuple[str, ...]) -> AnyValue:
    """The value at a path inside metadata, or MISSING.

    Through a list of objects the path fans out: the result is one flat list of what its objects have there, and
    MISSING when none of them has anything.
    """
    value: AnyValue = metadata
    for depth, part in enumerate(path):
        if isinstance(value, dict):
            value = value.get(part, MISSING)
            if value is MISSING:
                return MISSING
        elif isinstance(value, list):
            return _fan_out(value, path[depth:])
        else:
            return MISSING
    return value


def _fan_out(members: list[AnyValue], path: tuple[str, ...]) -> AnyValue:
    found: list[AnyValue] = []
    present = False
    for member in members:
        value = lookup(member, path) if isinstance(member, dict) else MISSING
        if value is MISSING:
            continue
        present = True
        if isinstance(value, list):
            found.extend(value)
        else:
            found.append(value)
    return found if present else MISSING


# Bounded, so that a string of many digits costs nothing; 20 digits hold every 64-bit integer.
_NUMERIC = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)


def number_of(value: AnyValue) -> int | float | None:
    """The number that a value counts as where a number is asked for, None when it counts as none.

    Numbers as they are, bools as 0 or 1, strings of decimal digits with sign and fraction (no exponent, no spaces).
    """
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        found = _NUMERIC.fullmatch(value)
        if found:
            return float(value) if found[1] else int(value)
    return None


def _any_member(test: Callable[[AnyValue], bool]) -> Callable[[AnyValue], bool]:
    def holds(value: AnyValue) -> bool:
        if isinstance(value, list):
            return any(map(test, value))
        return test(value)

    return holds


def _equality(wanted: Scalar) -> Callable[[AnyValue], bool]:
    if isinstance(wanted, str):
        return lambda value: isinstance(value, str) and value == wanted
    if isinstance(wanted, bool):
        return lambda value: value is wanted

    def equals(value: AnyValue) -> bool:
        if isinstance(value, str):
            return number_of(value) == wanted
        return isinstance(value, int | float) and value == wanted

    return equals


_SIGNS: Final[dict[str, Callable[[AnyValue, AnyValue], bool]]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def _comparison(sign: str, bound: int | float) -> Callable[[AnyValue], bool]:
    compare = _SIGNS[sign]

    def stands(value: AnyValue) -> bool:
        number = number_of(value)
        return number is not None and compare(number, bound)

    return stands


def _match(pattern: str) -> Callable[[AnyValue], bool]:
    fullmatch = _compile_pattern(pattern)

    def matches(value: AnyValue) -> bool:
        if not isinstance(value, str):
            return False
        try:
            return fullmatch(value) is not None
        except UnicodeEncodeError:  # RE2 reads UTF-8, which has no lone surrogates
            return False

    return matches


@lru_cache(maxsize=128)
def _compile_pattern(pattern: str) -> Callable[[str], object]:
    # Imported only where a pattern is used: the library costs memory that an agent without patterns need not pay.
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    # The memory that one cached pattern may take at most, automata included.
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options).fullmatch  # type: ignore[no-any-return]
    except UnicodeEncodeError as error:
        raise ValueError("error parsing regexp: it holds a lone surrogate, which is no character") from error
    except re2.error as error:
        reason = error.args[0]
        raise ValueError(
            f"error parsing regexp: {reason.decode(errors='replace') if isinstance(reason, bytes) else reason}"
        ) from error


def _inside(network: str) -> Callable[[AnyValue], bool]:
    wanted, mask = _parse_network(network)

    def inside(value: AnyValue) -> bool:
        if not isinstance(value, str):
            return False
        try:
            address, _ = _parse_network(value)
        except ValueError:
            return False
        return address & mask == wanted & mask

    return inside


def _parse_network(text: str) -> tuple[int, int]:
    """(address, mask) of ``a.b.c.d`` or ``a.b.c.d/length``."""
    address, slash, length = text.partition("/")
    bits = 32
    if slash:
        bits = int(length) if length.isascii() and length.isdigit() and len(length) <= 2 else 33
    try:
        packed = socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError) as error:
        raise ValueError(f"invalid CIDR address: {text}") from error
    if bits > 32:
        raise ValueError(f"invalid CIDR address: {text}")
    return int.from_bytes(packed, "big"), (0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF
