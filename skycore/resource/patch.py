"""JSON Patch (RFC 6902), with JSON Pointer (RFC 6901).

Written here and not taken from a library because what is patched and by whom is untrusted: the size of the result is
bounded, every fault is one error with its place, ``1`` and ``true`` are different values, and the document given is
never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from skycore.errors import SkycoreError
from skycore.resource.value import equal, size_of

MAX_OPERATIONS: Final = 10_000
"""Operations that one patch may have."""
MAX_VALUES: Final = 1_000_000
"""Values that a patch may add or copy; else copying in a circle doubles a document with each operation."""

_MEMBERS: Final = {
    "add": ("value",),
    "replace": ("value",),
    "test": ("value",),
    "remove": (),
    "move": ("from",),
    "copy": ("from",),
}


class PatchError(SkycoreError):
    """The patch is no JSON Patch, or cannot be applied to this document; nothing was changed."""


def apply_patch(document: Any, operations: object) -> Any:
    """The document after the operations; the one given stays as it is.

    ``document`` and ``operations`` are decoded JSON.  Raises PatchError with the number of the operation (from 1).
    """
    if not isinstance(operations, list):
        raise PatchError('a JSON Patch is a list of operations: [{"op": "add", "path": "/Metadata/Key", "value": 1}]')
    if len(operations) > MAX_OPERATIONS:
        raise PatchError(f"a patch has at most {MAX_OPERATIONS} operations, not {len(operations)}")
    budget = MAX_VALUES
    for number, operation in enumerate(operations, 1):
        try:
            document, used = _apply(document, operation)
        except PatchError as error:
            raise PatchError(f"operation {number}: {error}") from None
        budget -= used
        if budget < 0:
            raise PatchError(f"operation {number}: the patch adds more than {MAX_VALUES} values")
    return document


def _apply(document: Any, operation: object) -> tuple[Any, int]:
    """The document after one operation, and how many values were added."""
    if not isinstance(operation, dict):
        raise PatchError("is no JSON object")
    name = operation.get("op")
    if not isinstance(name, str) or name not in _MEMBERS:
        raise PatchError(f"op is one of {', '.join(sorted(_MEMBERS))}, not {name!r}")
    for member in _MEMBERS[name]:
        if member not in operation:
            raise PatchError(f"{name} needs the member {member!r}")
    path = _pointer(operation, "path")
    match name:
        case "add":
            return _add(document, path, operation["value"]), size_of(operation["value"])
        case "replace":
            _get(document, path)
            return _replace(document, path, operation["value"]), size_of(operation["value"])
        case "remove":
            return _remove(document, path), 0
        case "test":
            if not equal(_get(document, path), operation["value"]):
                raise PatchError(f"test failed: the value at {_text(path)!r} is another one")
            return document, 0
    source = _pointer(operation, "from")
    value = _get(document, source)
    if name == "copy":
        return _add(document, path, value), size_of(value)
    if path[: len(source)] == source and path != source:
        raise PatchError(f"{_text(source)!r} cannot be moved into itself")
    return (_add(_remove(document, source), path, value) if path != source else document), 0


def _pointer(operation: dict[str, Any], member: str) -> tuple[str, ...]:
    text = operation.get(member)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchError(f"{member} is a JSON Pointer like /Metadata/Key, not {text!r}")
    parts = text.split("/")[1:]
    for part in parts:
        if "~" in part.replace("~0", "").replace("~1", ""):
            raise PatchError(f"{member}: in {text!r} a ~ is written ~0, and a / inside a key ~1")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def _text(path: Sequence[str]) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def _index(part: str, length: int) -> int:
    """A place in a list; ``length`` is the highest allowed."""
    if not part.isascii() or not part.isdigit() or (len(part) > 1 and part[0] == "0") or len(part) > 9:
        raise PatchError(f"{part!r} is no place in a list")
    place = int(part)
    if place > length:
        raise PatchError(f"the list has no place {place}")
    return place


def _get(document: Any, path: Sequence[str]) -> Any:
    value = document
    for depth, part in enumerate(path):
        value = _member(value, part, path[:depth])
    return value


def _member(value: Any, part: str, at: Sequence[str]) -> Any:
    if isinstance(value, dict):
        if part not in value:
            raise PatchError(f"there is no {_text((*at, part))!r}")
        return value[part]
    if isinstance(value, list):
        return value[_index(part, len(value) - 1)]
    raise PatchError(f"{_text(at)!r} holds neither an object nor a list")


def _change(document: Any, path: Sequence[str], change: Any) -> Any:
    """The document with a changed copy of the object or list that holds the last part of the path."""
    parents = [document]
    for depth, part in enumerate(path[:-1]):
        parents.append(_member(parents[-1], part, path[:depth]))
    holder = parents.pop()
    if not isinstance(holder, dict | list):
        raise PatchError(f"{_text(path[:-1])!r} holds neither an object nor a list")
    new = holder.copy()
    change(new, path[-1])
    for parent, part in zip(reversed(parents), reversed(path[:-1]), strict=True):
        copy = parent.copy()
        copy[part if isinstance(copy, dict) else int(part)] = new
        new = copy
    return new


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    def change(holder: Any, part: str) -> None:
        if isinstance(holder, dict):
            holder[part] = value
        else:
            holder.insert(len(holder) if part == "-" else _index(part, len(holder)), value)

    return _change(document, path, change) if path else value


def _replace(document: Any, path: Sequence[str], value: Any) -> Any:
    def change(holder: Any, part: str) -> None:
        holder[part if isinstance(holder, dict) else int(part)] = value

    return _change(document, path, change) if path else value


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        raise PatchError("the whole document cannot be removed")
    _get(document, path)

    def change(holder: Any, part: str) -> None:
        del holder[part if isinstance(holder, dict) else int(part)]

    return _change(document, path, change)
