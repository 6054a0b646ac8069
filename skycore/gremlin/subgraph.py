"""A part of a graph, as a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from skycore.graph.element import Revision
from skycore.graph.index import Indexes
from skycore.graph.indexed import Slices
from skycore.graph.past import FixedGraph
from skycore.graph.pin import Pin
from skycore.graph.snapshot import Snapshot


@final
class SubGraphView(Snapshot):
    """An IndexedView of some revisions.

    ``stale`` tells of a revision whether nobody can vouch for it.
    """

    def __init__(self, graph: FixedGraph, stale: Callable[[Revision], bool]) -> None:
        super().__init__(graph, Indexes(graph, common=False), Pin(), stale=())
        self._test_of_stale = stale
        self._fixed = graph

    def let_go(self) -> Slices[None]:
        return self._fixed.let_go()

    def is_stale(self, revision: Revision) -> bool:
        return self._test_of_stale(revision)
