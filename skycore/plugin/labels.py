"""Labels of containers and the like as nested maps, so that ``Labels.com.example.role`` finds one.

Imported only by plugins that ask for it: ``from skycore.plugin import labels``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

DEPTH: Final = 24
"""A label is cut at so many of its first dots at most; what follows stays one key."""

BUDGET: Final = 2 << 20
"""Bytes of JSON that the labels of one thing may have together; a node's metadata may have twice as many."""

_VALUE_DEPTH: Final = 16
_INTEGERS: Final = range(-(1 << 63), 1 << 63)


def nest(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Nest labels by the dots of their names; every label is kept.

    Where one label is the beginning of another (Docker Compose sets ``com.docker.compose.project`` and
    ``com.docker.compose.project.working_dir``) the shorter one keeps its place, and the longer one stands
    beside it with the rest of its name undivided: ``{"project": "shop", "project.working_dir": "/srv"}``.
    The result does not depend on the order of the labels.
    """
    nested: dict[str, Any] = {}
    # What nesting made, as opposed to a label whose value is a map.
    levels = {id(nested)}
    for name in sorted(labels):
        # A name sorts before those that it begins, so whatever is a value by now has the right to its place.
        *path, last = name.split(".", DEPTH)
        level = nested
        for index, part in enumerate(path):
            if part not in level:
                level[part] = {}
                levels.add(id(level[part]))
            if id(level[part]) not in levels:
                last = ".".join([*path[index:], last])
                break
            level = level[part]
        level[last] = labels[name]
    return nested


def within_budget(labels: Mapping[str, Any], budget: int = BUDGET) -> tuple[dict[str, Any], int]:
    """The labels that fit, the small ones first, and the number of those left out."""
    if sum(len(name) for name in labels) * 12 < budget and all(
        isinstance(value, str) and len(value) * 12 * len(labels) < budget for value in labels.values()
    ):
        return dict(labels), 0
    sizes = {name: len(json.dumps(name)) + len(json.dumps(value)) for name, value in labels.items()}
    kept: dict[str, Any] = {}
    for name in sorted(sizes, key=lambda name: (sizes[name], name)):
        budget -= sizes[name]
        if budget < 0:
            break
        kept[name] = labels[name]
    return kept, len(labels) - len(kept)


def value(text: str) -> Any:
    """A label's text as the JSON value that it is, else as it stands.

    Text stays what the graph could not hold: NaN, integers of more than 64 bits, lone surrogates, deep nesting.
    """
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return found if _sayable(found, _VALUE_DEPTH) else text


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _sayable(found: Any, depth: int) -> bool:
    match found:
        case dict():
            return depth > 0 and all(
                _sayable(key, depth) and _sayable(below, depth - 1) for key, below in found.items()
            )
        case list():
            return depth > 0 and all(_sayable(below, depth - 1) for below in found)
        case str():
            return not any("\ud800" <= character <= "\udfff" for character in found)
        case bool():
            return True
        case int():
            return found in _INTEGERS
        case float():
            return found - found == 0.0
        case _:
            return True
