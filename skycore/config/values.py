"""The types that configuration keys can have, and how one key is declared.

A settings class, of the core or of a plugin, is a frozen attrs class.  Each attribute is a key; its name is
written in lower case.  Its type is one of this module's, ``str``, ``int``, ``float``, ``bool``, ``Address``,
a ``Literal`` of words, or a ``tuple[X, ...]``, ``Mapping[str, X]`` or settings class made of them.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, final

import attrs

from skycore.config.address import Address

_CREDENTIALS = re.compile(r"(?<=://)[^\s/'\"]+(?=@)")
_SECRET_NAME = re.compile(r"passw|secret|token|credential|private_?key|api_?key", re.IGNORECASE)
HIDDEN = "********"


# What storage, JSON and databases hold in 64 bits; a limit nobody needs to read about.
_MOST = 2**63 - 1


@final
@attrs.frozen
class Limits:
    """The range of a number: from ``minimum`` or more than ``above``, up to ``maximum``, counted in ``unit``."""

    minimum: int | None = None
    above: int | None = None
    maximum: int | None = None
    unit: str = ""

    def hold(self, number: int | float) -> bool:
        return (
            (self.minimum is None or number >= self.minimum)
            and (self.above is None or number > self.above)
            and (self.maximum is None or number <= self.maximum)
        )

    def __str__(self) -> str:
        parts = [f"of {self.unit}"] if self.unit else []
        if self.minimum is not None:
            parts.append(f"from {self.minimum}")
        if self.above is not None:
            parts.append(f"above {self.above}")
        if self.maximum is not None and self.maximum < _MOST:
            parts.append(f"to {self.maximum}" if self.minimum is not None else f"and up to {self.maximum}")
        return " ".join(parts)


@final
@attrs.frozen
class Text:
    """What a string must be: ``pattern`` matches the whole of it after ``fold`` was applied."""

    expected: str
    pattern: re.Pattern[str]
    fold: Callable[[str], str] = str


Seconds: TypeAlias = Annotated[float, Limits(above=0, maximum=10**9, unit="seconds")]
Count: TypeAlias = Annotated[int, Limits(minimum=0, maximum=_MOST)]
Positive: TypeAlias = Annotated[int, Limits(minimum=1, maximum=_MOST)]
Bytes: TypeAlias = Annotated[int, Limits(minimum=1, maximum=_MOST, unit="bytes")]
Minutes: TypeAlias = Annotated[int, Limits(minimum=0, maximum=10**9, unit="minutes")]
Port: TypeAlias = Annotated[int, Limits(minimum=0, maximum=65535)]
PacketRate: TypeAlias = Annotated[float, Limits(above=0, maximum=10**6, unit="packets a second")]
Amount: TypeAlias = Annotated[float, Limits(minimum=0, maximum=10**18)]
Word: TypeAlias = Annotated[
    str, Text("a name of letters, digits, '.', '_' and '-'", re.compile(r"[\w.-]{1,128}"), str.lower)
]
ProbeName: TypeAlias = Annotated[
    str, Text("the name of a plugin, with '-' before it to leave it out", re.compile(r"-?\w[\w.-]{0,127}"), str.lower)
]
HostID: TypeAlias = Annotated[
    str,
    Text(
        "a name of 1 to 255 visible characters without white space and '/'",
        re.compile(r"[^\s/\x00-\x20\x7f-\x9f]{1,255}"),
    ),
]
Path: TypeAlias = Annotated[str, Text("the path of a file or folder", re.compile(r"[^\x00]+"))]
LEVELS = ("CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
Level: TypeAlias = Annotated[str, Text(f"one of {', '.join(LEVELS)}", re.compile("|".join(LEVELS)), str.upper)]


def setting(
    default: Any,
    doc: str,
    *,
    effective: bool = False,
    secret: bool = False,
    default_text: str | None = None,
    converter: Callable[[Any], Any] | None = None,
) -> Any:
    """Declare one key: its default (a function is called each time), its one-line description,
    whether it has an effect in this version, and whether its value must never be shown."""
    return attrs.field(
        default=attrs.Factory(default) if callable(default) else default,
        converter=converter,
        repr=False if secret else _repr,
        metadata={"doc": doc, "effective": effective, "secret": secret, "default_text": default_text},
    )


def _repr(value: Any) -> str:
    return hide_credentials(repr(value))


def hide_credentials(text: str) -> str:
    """The text with the user and password of every URL in it replaced by asterisks."""
    return _CREDENTIALS.sub(HIDDEN, text)


def is_secret_name(name: str) -> bool:
    """Whether a key with this name holds a secret although nobody declared so."""
    return _SECRET_NAME.search(name) is not None


def base(type_: Any) -> tuple[Any, Limits | Text | None]:
    """The plain type behind an annotated one (and behind ``X | None``), and the limits of its values."""
    if typing.get_origin(type_) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(type_) if member is not type(None)]
        if len(members) == 1:
            return base(members[0])
    if typing.get_origin(type_) is Annotated:
        plain, *marks = typing.get_args(type_)
        return plain, next((mark for mark in marks if isinstance(mark, Limits | Text)), None)
    return type_, None


def element(type_: Any) -> Any | None:
    """The type of the members of a list type; None when it is no list."""
    origin = typing.get_origin(type_) or type_
    if isinstance(origin, type) and issubclass(origin, Sequence) and not issubclass(origin, str | bytes):
        arguments = typing.get_args(type_)
        return arguments[0] if arguments else Any
    return None


def members(type_: Any) -> tuple[Any, Any] | None:
    """The types of the keys and values of a map type; None when it is no map."""
    origin = typing.get_origin(type_) or type_
    if isinstance(origin, type) and issubclass(origin, Mapping):
        arguments = typing.get_args(type_)
        return (arguments[0], arguments[1]) if arguments else (str, Any)
    return None


_NAMES: dict[Any, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false (or yes, no, on, off)",
}


def name(type_: Any) -> str:
    """What a value of this type is, in words, for error messages and the reference."""
    plain, limits = base(type_)
    if isinstance(limits, Text):
        return limits.expected
    if limits is not None:
        return f"{_NAMES[plain]} {limits}"
    if plain is Address:
        return "an address: host:port, [IPv6]:port, :port or only a port (on localhost), port 0 to 65535"
    if typing.get_origin(plain) is Literal:
        return "one of " + ", ".join(repr(word) if not word else str(word) for word in typing.get_args(plain))
    inner = element(plain)
    if inner is not None:
        return "a list" if inner is Any else f"a list, each {name(inner)}"
    pair = members(plain)
    if pair is not None:
        what = "a map of names to" if base(pair[0])[0] is str else f"a map of {name(pair[0])} to"
        return f"{what} anything" if pair[1] is Any else f"{what} {name(pair[1])}"
    if attrs.has(plain):
        return "a map with the keys " + ", ".join(field.name for field in attrs.fields(plain))
    return _NAMES.get(plain, "any value")
