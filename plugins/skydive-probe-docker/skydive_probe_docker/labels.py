"""A container's labels as nested maps, so that ``Container.Labels.com.example.role`` finds one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DEPTH: Final = 24
"""A label is cut at so many of its first dots at most; what follows stays one key."""


def nest(labels: Mapping[str, str]) -> dict[str, Any]:
    """Nest labels by the dots of their names; every label is kept.

    Where one label is the beginning of another (Docker Compose sets ``com.docker.compose.project`` and
    ``com.docker.compose.project.working_dir``) the shorter one keeps its place, and the longer one stands
    beside it with the rest of its name undivided: ``{"project": "shop", "project.working_dir": "/srv"}``.
    The result does not depend on the order of the labels.
    """
    nested: dict[str, Any] = {}
    for name in sorted(labels):
        # A name sorts before those that it begins, so whatever is a value by now has the right to its place.
        *path, last = name.split(".", DEPTH)
        level = nested
        for index, part in enumerate(path):
            below = level.setdefault(part, {})
            if not isinstance(below, dict):
                last = ".".join([*path[index:], last])
                break
            level = below
        level[last] = labels[name]
    return nested
