"""What a reader of the graph sees: the graph now, or as it was at a moment.

Gremlin, rules and captures read through GraphView alone, so the same steps run over the live graph and
over the past.  Elements are named by their IDs; a view answers for one consistent state as long as its
reader does not give up control to the event loop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol, final

import attrs

from skycore.filter import MISSING, Filter
from skycore.graph.element import Kind, Revision

__all__ = ["MISSING", "Change", "Difference", "Gap", "GraphView", "History", "HistoryReader"]


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


@final
@attrs.frozen
class Change:
    """An element that lived at both of two moments; ``keys`` are its top-level metadata keys that differ, sorted."""

    before: Revision
    after: Revision
    keys: tuple[str, ...]


@final
@attrs.frozen
class Difference:
    """What is different between two moments; each list in the order of CreatedAt, then ID.

    ``vanished`` holds the revisions at the first moment, ``appeared`` those at the second.
    """

    appeared: tuple[Revision, ...]
    vanished: tuple[Revision, ...]
    changed: tuple[Change, ...]


@final
@attrs.frozen
class Gap:
    """``lost`` revisions of ``origin``, made in [start_ms, end_ms], never reached the store (0: unknown how many)."""

    origin: str
    start_ms: int
    end_ms: int
    lost: int


class HistoryReader(Protocol):
    """A store that can tell the graph's past; asked in a worker thread, never on the event loop.

    Times are milliseconds since the epoch.
    """

    def graph_at(self, at: int, duration: int = 0) -> GraphView:
        """The graph as it was at ``at``: of each element the revision that was current then.

        An element deleted before ``at − duration`` is left out; one deleted in [at − duration, at] is there as
        its tombstone.  For all revisions of a period ask ``History.revisions_between``.  The view is the caller's own:
        a query that is done empties it (``IndexedView.let_go``).
        """
        ...


class History(HistoryReader, Protocol):
    """All that a store can tell about the past; what every store offers."""

    def revisions_between(self, start: int, end: int, limit: int | None = None) -> list[Revision]:
        """Every revision, of all elements, that was current at some moment of [start, end].

        That is each that began (UpdatedAt, DeletedAt of a tombstone) at ``end`` or before, and was superseded or
        deleted at ``start`` or after, or never.  Sorted by UpdatedAt, then ID, then number, tombstones by DeletedAt;
        edges are there whether or not their ends are.  Raises StorageError when there are more than ``limit``.
        """
        ...

    def diff(self, start: int, end: int) -> Difference:
        """What appeared, vanished and changed from ``start`` to ``end`` (start ≤ end).

        An element that was deleted and made again in between lives at both moments, so it has at most changed.
        Elements whose metadata are the same at both moments are not named, nor is what came and went in between;
        edges are named whether or not their ends are there.
        """
        ...

    def revisions(self, id: str) -> list[Revision]:
        """All revisions of one element, tombstones among them, lowest first; empty when it is not known."""
        ...

    def density(self, start: int, end: int, parts: int) -> list[int]:
        """How many changes began in each of ``parts`` equal parts of [start, end] (start < end), for drawing.

        A revision that brings only new counters (``Metric``, ``LastUpdateMetric``) does not count.
        A store may estimate.
        """
        ...

    def gaps(self, start: int, end: int) -> list[Gap]:
        """The gaps that overlap [start, end], earliest first."""
        ...

    def stale_at(self, at: int) -> frozenset[tuple[str, str]]:
        """(origin, claimant) of those who could not vouch for their elements at ``at``; "" as claimant: all of them."""
        ...
