"""What a node or an edge that a user makes must have; the wording is that of Skydive's JSON schemas.

A node has an ID, a Type and a Name; one of Type ``netns`` a Path besides, and one of Type ``ovsport`` a UUID.  An edge
has an ID, a Parent, a Child and a RelationType.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_NODE: Final = ("Name", "Type")
_OF_TYPE: Final[Mapping[str, tuple[str, ...]]] = {"netns": ("Path",), "ovsport": ("UUID",)}
_ALL: Final = "Must validate all the schemas (allOf)"
_ANY: Final = "(root): Must validate at least one schema (anyOf)"


def node_fault(metadata: Mapping[str, Any]) -> str | None:
    """Why this cannot be a node's metadata, None when it can; several lines."""
    type = metadata.get("Type")
    missing = _missing(metadata, (*_NODE, *(_OF_TYPE.get(type, ()) if isinstance(type, str) else ())))
    return "\n".join([f"invalid schema: (root): {_ALL}", f"Metadata: {_ALL}", *missing, _ANY]) if missing else None


def edge_fault(metadata: Mapping[str, Any]) -> str | None:
    """The same of an edge's metadata."""
    missing = _missing(metadata, ("RelationType",))
    return "\n".join([f"invalid schema: {missing[0]}", *missing[1:]]) if missing else None


def _missing(metadata: Mapping[str, Any], keys: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    for key in keys:
        if key not in metadata:
            lines.append(f"Metadata: {key} is required")
        elif not isinstance(metadata[key], str):
            lines.append(f"Metadata.{key}: Invalid type. Expected: string")
        elif not metadata[key]:
            lines.append(f"Metadata.{key}: String length must be greater than or equal to 1")
    return lines
