"""Kinds of API objects: which fields they have, what may stand in them, and whether they can be changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, final

import attrs

from skycore.errors import InvalidResource

FieldType: TypeAlias = Literal["string", "integer", "boolean", "object", "list", "any"]
Value: TypeAlias = dict[str, Any]
"""An API object: its fields in the order of its kind, ``UUID`` first."""

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "object": (dict,),
    "list": (list,),
    "any": (object,),
}
_EMPTY: Final[Mapping[str, Callable[[], Any]]] = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "object": dict,
    "list": list,
    "any": lambda: None,
}


@final
@attrs.frozen
class Field:
    """One field of a kind.

    A field that a request leaves out, or gives as null, has ``default`` (None: the empty value of its type).
    """

    name: str
    type: FieldType = "string"
    default: Any = None
    description: str = ""

    def empty(self) -> Any:
        return _EMPTY[self.type]() if self.default is None else self.default


def _accept(value: Value) -> None:
    pass


def _different(value: Value, others: Iterable[Value]) -> None:
    pass


@final
@attrs.frozen
class Kind:
    """A kind of API objects.

    ``name`` is the word in paths and permissions (``noderule``), ``title`` that in messages (``NodeRule``).  ``check``
    raises InvalidResource for a value that cannot be; ``compare`` raises DuplicatedResource or InvalidResource when
    it cannot stand beside the others of its kind.  What is not ``updatable`` refuses to be patched.
    """

    name: str
    title: str
    fields: tuple[Field, ...]
    check: Callable[[Value], None] = _accept
    compare: Callable[[Value, Iterable[Value]], None] = _different
    updatable: bool = False
    description: str = ""

    def read(self, body: object, uuid: str) -> Value:
        """A new value from decoded JSON.  Raises InvalidResource.

        Names of fields count in any case, as Go reads them; what the kind does not know is ignored, so is ``UUID``.
        """
        if not isinstance(body, dict):
            raise InvalidResource(f"a {self.title} is a JSON object, not {_json_name(body)}")
        given = fold(body, [field.name for field in self.fields])
        value: Value = {"UUID": uuid}
        for field in self.fields:
            found = given.get(field.name)
            value[field.name] = field.empty() if found is None else _typed(field, found)
        self.check(value)
        return value


def fold(body: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """What an object says of these names in any case; the exact spelling counts before others."""
    found: dict[str, Any] = {}
    exact = list(names)
    by_folded = {name.lower(): name for name in exact}
    for key, value in body.items():
        name = by_folded.get(key.lower()) if isinstance(key, str) else None
        if name is not None and (key == name or name not in body):
            found[name] = value
    return found


def _typed(field: Field, value: Any) -> Any:
    if field.type == "any":
        return value
    if isinstance(value, bool) != (field.type == "boolean") or not isinstance(value, _TYPES[field.type]):
        article = "an" if field.type in ("integer", "object") else "a"
        raise InvalidResource(f"{field.name}: must be {article} {field.type}, not {_json_name(value)}")
    return value


def _json_name(value: object) -> str:
    for name, types in (
        ("a boolean", bool),
        ("a number", int | float),
        ("a string", str),
        ("a list", list),
        ("an object", dict),
    ):
        if isinstance(value, types):
            return name
    return "null"
