"""What is different between two revisions of an element, key by key."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

from skycore.filter import MISSING
from skycore.graph.element import Revision
from skycore.graph.fields import freeze

Changes: TypeAlias = dict[str, dict[str, Any]]
"""Dotted key → ``{"Old": …, "New": …}``; what was not there before, or is not there any more, is left out."""


def changes_between(before: Revision, after: Revision, keys: Collection[str] = ()) -> Changes:
    """The metadata keys whose values differ, sorted; with ``keys``: those that are, hold, or lie in one of them.

    Objects are compared key by key as far as their keys can be asked for; a list is one value.
    """
    if before.metadata_json == after.metadata_json:
        return {}
    old, new = before.metadata(), after.metadata()
    found = [
        difference
        for key in sorted(old.keys() | new.keys())
        for difference in _differences(key, old.get(key, MISSING), new.get(key, MISSING))
    ]
    return {
        key: {name: value for name, value in (("Old", old), ("New", new)) if value is not MISSING}
        for key, old, new in found
        if not keys or any(f"{key}.".startswith(f"{one}.") or f"{one}.".startswith(f"{key}.") for one in keys)
    }


def _differences(before: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict) and _addressable(old) and _addressable(new):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(f"{before}.{key}", old.get(key, MISSING), new.get(key, MISSING))
    elif old is MISSING or new is MISSING or freeze(old) != freeze(new):
        yield before, old, new


def _addressable(value: Mapping[str, Any]) -> bool:
    """What has a dot or nothing in its name cannot be asked for; then the object around it is named."""
    return all(key and "." not in key for key in value)
