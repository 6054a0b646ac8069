"""Metadata as they are written on the command line."""

from __future__ import annotations

import json
from typing import Any

import click


def parse(text: str) -> dict[str, Any]:
    """``k=v, k2.inner=v2`` as metadata: values are text, a dotted key makes nested objects.  Raises BadParameter."""
    metadata: dict[str, Any] = {}
    for pair in text.split(","):
        if pair.strip():
            key, value = _pair(pair, "--metadata")
            _put(metadata, key, value)
    return metadata


def additions(pairs: tuple[str, ...]) -> list[tuple[list[str], Any]]:
    """Each ``k=v`` as path and value; what is JSON is that value, anything else is text.  Raises BadParameter.

    A dot or a slash in the key leads into a nested object.
    """
    return [(removal(key), _json_or_text(value)) for key, value in (_pair(pair, "--add") for pair in pairs)]


def removal(key: str) -> list[str]:
    """The path of a key.  Raises BadParameter."""
    parts = key.replace("/", ".").split(".")
    if not all(parts):
        raise click.BadParameter(f"{key!r} is no key; nested keys are written a.b")
    return parts


def operations(
    metadata: dict[str, Any], added: list[tuple[list[str], Any]], removed: list[list[str]]
) -> list[dict[str, Any]]:
    """What brings metadata there, as operations of RFC 6902; objects on the way that are missing are made."""
    patch: list[dict[str, Any]] = []
    made: set[tuple[str, ...]] = set()
    for path, value in added:
        for depth in range(1, len(path)):
            above = tuple(path[:depth])
            if above not in made and not isinstance(_at(metadata, above), dict):
                patch.append({"op": "add", "path": _pointer(above), "value": {}})
                made.add(above)
        patch.append({"op": "add", "path": _pointer(path), "value": value})
    return patch + [{"op": "remove", "path": _pointer(path)} for path in removed]


def _pointer(path: tuple[str, ...] | list[str]) -> str:
    return "/Metadata" + "".join("/" + part.replace("~", "~0") for part in path)


def _at(metadata: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(metadata, dict):
            return None
        metadata = metadata.get(part)
    return metadata


def _pair(pair: str, option: str) -> tuple[str, str]:
    key, separator, value = pair.partition("=")
    if not separator or not key.strip():
        raise click.BadParameter(f"{pair.strip()!r} is not key=value", param_hint=option)
    return key.strip(), value.strip()


def _put(metadata: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    at = metadata
    for part in above:
        inner = at.setdefault(part, {})
        if not isinstance(inner, dict):
            raise click.BadParameter(f"{key!r}: {part!r} has a value already", param_hint="--metadata")
        at = inner
    at[last] = value


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
