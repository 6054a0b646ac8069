"""How often a node is told what its captures have counted.

Every time would be a revision a second of each captured node, for ever, in history, on links and for subscribers.  So
what a capture *is* (its state, its error) is told at once, and its counters with it; while nothing but counters
changes, the time until the next telling doubles, up to a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

import attrs

SLOWEST: Final = 60.0
"""Seconds after which counters that have changed are told in any case."""
COUNTERS: Final = frozenset({"PacketsReceived", "PacketsDropped", "PacketsIfDropped"})


@final
@attrs.frozen
class Shown:
    """What a node tells of its captures; from ``due`` on, other counters are news; ``pause`` led to it."""

    entries: list[dict[str, Any]]
    due: float
    pause: float


def following(before: Shown | None, entries: list[dict[str, Any]], now: float, first: float) -> Shown:
    """What is told after ``before`` (itself when there is nothing to tell yet); ``first`` is the shortest pause."""
    if before is None or _steady(before.entries) != _steady(entries):
        return Shown(entries, now + first, first)
    if entries == before.entries or now < before.due:
        return before
    pause = max(first, min(before.pause * 2, SLOWEST))
    return Shown(entries, now + pause, pause)


def _steady(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key not in COUNTERS} for entry in entries]
