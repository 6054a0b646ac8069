"""What a reader of the graph sees: the graph now, or as it was at a moment.

Gremlin, rules and captures read through GraphView alone, so the same steps run over the live graph and
over the past.  Elements are named by their IDs; a view answers for one consistent state as long as its
reader does not give up control to the event loop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol

from skycore.filter import MISSING, Filter
from skycore.graph.element import Kind, Revision

__all__ = ["MISSING", "GraphView", "HistoryReader"]


class GraphView(Protocol):
    """A consistent, read-only graph."""

    def ids(self, kind: Kind) -> Collection[str]:
        """All elements of a kind, in a stable order (that of their appearance)."""
        ...

    def get(self, kind: Kind, id: str) -> Revision | None:
        """The element's revision in this view, None when it is not there."""
        ...

    def edges_out(self, node_id: str) -> Sequence[str]:
        """IDs of the edges whose parent is the node."""
        ...

    def edges_in(self, node_id: str) -> Sequence[str]:
        """IDs of the edges whose child is the node."""
        ...

    def match(self, kind: Kind, filter: Filter) -> Collection[str]:
        """IDs of all elements of a kind for which the filter holds, in stable order; uses indexes where there are."""
        ...

    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]:
        """Those of ``ids`` for which the filter holds, order and repetitions kept."""
        ...

    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]:
        """The value of a key (see skycore.filter) for each of ``ids``, MISSING where there is none."""
        ...


class HistoryReader(Protocol):
    """A store that can tell the graph's past; asked in a worker thread, never on the event loop."""

    def graph_at(self, at: int, duration: int = 0) -> GraphView:
        """The graph as it was at ``at`` (milliseconds since the epoch).

        With ``duration`` (milliseconds) every revision that was current at some moment of
        [at − duration, at] belongs to the view's ``get``-able elements; the newest one is what ``get`` returns.
        """
        ...
