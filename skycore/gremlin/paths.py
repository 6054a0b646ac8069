"""Shortest paths over edges in either direction, from one node to the nearest of several.

The search goes from both sides at once, level by level, and on the side where fewer nodes lie ahead.  The levels around
the targets are kept for the next source.  Of several shortest paths the answer is the one whose IDs come first in
alphabetical order, compared node by node from the source; so it is the same at every run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import final

from skycore.filter import Filter
from skycore.gremlin.operation import Execution, Work, chunks
from skycore.gremlin.reach import Over


@final
class PathFinder:
    """Finds paths to one set of targets, over the edges for which a filter holds."""

    def __init__(self, execution: Execution, targets: Iterable[str], edges: Filter) -> None:
        self._execution = execution
        self._over = Over("ends", edges)
        self._backward = _Levels(set(targets))

    def find(self, source: str) -> Work[tuple[str, ...] | None]:
        """The IDs of the nodes on the path, both ends included; None when there is no path."""
        backward = self._backward
        forward = _Levels({source})
        # How many levels of the way back are part of this search; more may be known from an earlier one.
        depth = 0
        while forward.last.isdisjoint(backward.levels[depth]):
            if depth + 1 == len(backward.levels):
                if not backward.last:
                    return None
                if len(forward.last) < len(backward.last):
                    yield from self._grow(forward)
                    if not forward.last:
                        return None
                    continue
                yield from self._grow(backward)
            depth += 1
        return (yield from self._walk(forward, backward, depth))

    def _walk(self, forward: _Levels, backward: _Levels, depth: int) -> Work[tuple[str, ...]]:
        """The alphabetically first path through the levels."""
        stages = [forward.last & backward.levels[depth]]
        for level in reversed(forward.levels[:-1]):
            stages.append(level & (yield from self._neighbours(stages[-1])))
        stages.reverse()
        path = [min(stages[0])]
        for stage in [*stages[1:], *reversed(backward.levels[:depth])]:
            path.append(min(stage & (yield from self._neighbours(path[-1:]))))
        return tuple(path)

    def _grow(self, levels: _Levels) -> Work[None]:
        found = yield from self._neighbours(levels.last)
        levels.add(found)
        self._execution.hold(len(levels.seen))

    def _neighbours(self, nodes: Collection[str]) -> Work[set[str]]:
        """All ends of the edges at some nodes."""
        view = self._execution.view
        found: set[str] = set()
        for part in chunks(nodes, 64):
            found.update((yield from self._over.walk(view, part)))
            yield
        return found


@final
class _Levels:
    """What lies 0, 1, 2 … edges away from where a search starts."""

    def __init__(self, start: set[str]) -> None:
        self.levels = [start]
        self.seen = set(start)

    @property
    def last(self) -> set[str]:
        return self.levels[-1]

    def add(self, found: set[str]) -> None:
        found -= self.seen
        self.seen |= found
        self.levels.append(found)
