"""Figures about the process, as monitoring systems read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, final

import attrs

Labels: TypeAlias = Mapping[str, str]


@final
@attrs.frozen
class Figure:
    """One metric with all its values.

    ``name`` has its unit at its end (``_bytes``, ``_seconds``); that of a ``counter``, which grows until the process
    ends, is without ``_total``.  A ``gauge`` may fall.
    """

    name: str
    kind: Literal["counter", "gauge"]
    meaning: str
    values: Sequence[tuple[Labels, float]]


def gauge(name: str, meaning: str, value: float) -> Figure:
    """A gauge with one value."""
    return Figure(name, "gauge", meaning, [({}, value)])


def counter(name: str, meaning: str, value: float) -> Figure:
    """A counter with one value."""
    return Figure(name, "counter", meaning, [({}, value)])
