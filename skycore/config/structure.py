"""From plain values to instances of the settings classes, strictly: nothing is converted that was not meant."""

from __future__ import annotations

import functools
import math
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import attrs
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from skycore.config import values
from skycore.config.address import Address
from skycore.config.document import PathStep
from skycore.config.names import kind

_BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}
_ATTRIBUTE = re.compile(r"'(\w+)' ")


class _Mismatch(ValueError):
    """A value that does not fit its type."""

    def __init__(self, expected: str, value: object, hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.value = value
        self.hint = hint


@attrs.frozen
class Fault:
    """What is wrong at a path; ``hidden`` says it without showing the value."""

    path: tuple[PathStep, ...]
    message: str
    hidden: str


@functools.cache
def converter() -> Converter:
    """A converter that knows every type of ``skycore.config.values``."""
    made = Converter(forbid_extra_keys=True, detailed_validation=True)
    made.register_structure_hook_factory(attrs.has, lambda cls: _settings(made, cls))
    made.register_structure_hook_factory(_is_list, lambda type_: _list(made, type_))
    made.register_structure_hook_factory(_is_map, lambda type_: _map(made, type_))
    made.register_structure_hook_factory(_is_literal, _literal)
    made.register_structure_hook_factory(_is_annotated, _scalar)
    for type_ in _SCALARS:
        # Registered one by one: cattrs' own lenient hooks for these types come before any factory.
        made.register_structure_hook(type_, _scalar(type_))
    return made


def structure(made: Converter, value: object, cls: type) -> tuple[Any, list[Fault]]:
    """The instance, or None and everything that is wrong."""
    try:
        return made.structure(value, cls), []
    except Exception as error:
        return None, list(_faults(error, (), cls))


def _is_list(type_: Any) -> bool:
    return values.element(type_) is not None


def _is_literal(type_: Any) -> bool:
    origin: object = typing.get_origin(type_)
    return origin is Literal


def _is_annotated(type_: Any) -> bool:
    origin: object = typing.get_origin(type_)
    return origin is Annotated


def _is_map(type_: Any) -> bool:
    return values.members(type_) is not None


def _settings(made: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    generated = make_dict_structure_fn(cls, made, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True)
    expected = values.name(cls)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise _Mismatch(expected, value)
        return generated({name.lower(): item for name, item in value.items()}, cls)

    return hook


def _list(made: Converter, type_: Any) -> Callable[[Any, Any], Any]:
    member = values.element(type_)
    inner = made.get_structure_hook(member)
    expected = values.name(type_)
    plain = typing.get_origin(type_) or type_
    make = plain if plain in (list, tuple, set, frozenset) else tuple

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _Mismatch(expected, value, "; write [a, b], or a line with '- a' for each")
        return make(_each(enumerate(value), lambda item: inner(item, member), type_))

    return hook


def _map(made: Converter, type_: Any) -> Callable[[Any, Any], Any]:
    key_type, value_type = values.members(type_) or (str, Any)
    key_hook = made.get_structure_hook(key_type)
    value_hook = _anything if value_type is Any else made.get_structure_hook(value_type)
    expected = values.name(type_)
    numbered = values.base(key_type)[0] is int

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise _Mismatch(expected, value)

        def one(pair: tuple[str, Any]) -> tuple[Any, Any]:
            name, item = pair
            key = int(name) if numbered and re.fullmatch("[0-9]{1,18}", name) else name
            return key_hook(key, key_type), value_hook(item, value_type)

        return dict(_each(((str(name), (str(name), item)) for name, item in value.items()), one, type_))

    return hook


def _each(items: Iterable[tuple[PathStep, Any]], convert: Callable[[Any], Any], type_: Any) -> list[Any]:
    """Convert every item; the errors of all are raised together, each with a note of its place as cattrs writes it."""
    made: list[Any] = []
    errors: list[Exception] = []
    for step, item in items:
        try:
            made.append(convert(item))
        except Exception as error:
            # What cattrs and our hooks raise, and whatever a validator of a plugin's class does.
            error.__notes__ = [*getattr(error, "__notes__", ()), IterableValidationNote(f"at {step!r}", step, type_)]
            errors.append(error)
    if errors:
        raise IterableValidationError("wrong members", errors, type_)
    return made


def _literal(type_: Any) -> Callable[[Any, Any], Any]:
    words = typing.get_args(type_)

    def hook(value: Any, _: Any) -> Any:
        for word in words:
            if value == word and type(value) is type(word):
                return word
        raise _Mismatch(values.name(type_), value)

    return hook


def _scalar(type_: Any) -> Callable[[Any, Any], Any]:
    plain, limits = values.base(type_)
    expected = values.name(type_)
    convert = _SCALARS.get(plain)
    if convert is None:
        raise TypeError(f"a settings class cannot hold {plain}")

    def hook(value: Any, _: Any) -> Any:
        try:
            result = convert(value)
        except ValueError:
            hint = "; put it in quotes" if plain is str and isinstance(value, int | float) else ""
            raise _Mismatch(expected, value, hint) from None
        if isinstance(limits, values.Limits) and not limits.hold(result):
            raise _Mismatch(expected, value)
        if isinstance(limits, values.Text):
            result = limits.fold(result)
            if not limits.pattern.fullmatch(result):
                raise _Mismatch(expected, value)
        return result

    return hook


def _anything(value: Any, _: Any) -> Any:
    """Any JSON value; YAML's infinities and not-a-number are none."""
    if isinstance(value, float) and not math.isfinite(value):
        raise _Mismatch("a value that JSON has", value)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _anything(inner, _)
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    if not isinstance(value, bool):
        raise ValueError
    return value


def _address(value: Any) -> Address:
    """Also a bare port that YAML read as a number."""
    return Address.parse(value if isinstance(value, str) else str(_integer(value)))


_SCALARS: Mapping[Any, Callable[[Any], Any]] = {
    str: _string,
    int: _integer,
    float: _number,
    bool: _boolean,
    Address: _address,
}


def _faults(error: BaseException, path: tuple[PathStep, ...], cls: Any) -> Iterator[Fault]:
    """Take cattrs' tree of errors apart; the notes on each error tell the step that leads to it."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _faults(inner, (*path, *_steps(inner)), getattr(error, "cl", cls))
    elif isinstance(error, ForbiddenExtraKeysError):
        allowed = ", ".join(field.name for field in attrs.fields(error.cl)) or "none"
        for name in sorted(error.extra_fields):
            message = f"unknown key (allowed here: {allowed})"
            yield Fault((*path, str(name)), message, message)
    elif isinstance(error, _Mismatch):
        shown, hidden = kind(error.value, show=True), kind(error.value)
        expected, hint = error.expected, error.hint
        yield Fault(path, f"expects {expected}, not {shown}{hint}", f"expects {expected}, not {hidden}{hint}")
    elif isinstance(error, KeyError) and path and error.args == (path[-1],):
        yield Fault(path, "must be written", "must be written")
    else:
        # A validator of a plugin's class: attrs names the attribute in quotes at the beginning.
        named = _ATTRIBUTE.match(str(error))
        known = attrs.has(cls) and named is not None and named[1] in attrs.fields_dict(cls)
        where = (*path, named[1]) if named is not None and known else path
        yield Fault(where, str(error) or type(error).__name__, "has a wrong value")


def _steps(error: BaseException) -> Iterator[PathStep]:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            yield note.name
        elif isinstance(note, IterableValidationNote):
            yield note.index
