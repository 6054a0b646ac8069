"""A picture of a graph that is heard of from afar, and the changes that lead from one state of it to the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias, final

import attrs

from skycore.client.elements import AnyElement, Edge, Graph, Node

What: TypeAlias = Literal["added", "updated", "deleted"]


@final
@attrs.frozen
class Change:
    """An element that came, changed, or went.

    ``element`` is what it is now; of one that went, what was heard last.  With a filter, *deleted* may mean that it
    no longer fulfils the filter: it lives on when ``element.deleted_at`` is None.
    """

    what: What
    element: AnyElement


@final
class Mirror:
    """What was heard, and what of it was taken.

    ``take`` gives the changes between the last taking and now: of an element that changed often only the newest
    state, of one that came and went nothing.  So the memory needed is bounded by the graph, however slow the taker
    is.  They come in an order in which the ends of an edge are always there: deleted edges, deleted nodes, nodes,
    edges.
    """

    def __init__(self) -> None:
        self._now: dict[str, AnyElement] = {}
        self._taken: dict[str, AnyElement] = {}
        self._gone: dict[str, AnyElement] = {}
        self._touched: dict[str, None] = {}

    @property
    def elements(self) -> dict[str, AnyElement]:
        """Nodes and edges as they were taken, by ID.  Not to be changed."""
        return self._taken

    @property
    def pending(self) -> bool:
        """Whether there is something to take; it may come to nothing."""
        return bool(self._touched)

    def hear(self, element: AnyElement) -> None:
        """It is so now."""
        self._now[element.id] = element
        self._touched[element.id] = None

    def forget(self, element: AnyElement) -> None:
        """It is gone, or no longer told."""
        if self._now.pop(element.id, None) is not None:
            self._gone[element.id] = element
            self._touched[element.id] = None

    def reset(self, graph: Graph) -> None:
        """This is all there is now."""
        there: dict[str, AnyElement] = {node.id: node for node in graph.nodes}
        there |= {edge.id: edge for edge in graph.edges}
        for id, element in list(self._now.items()):
            if id not in there:
                self.forget(element)
        for id, element in there.items():
            if self._now.get(id) != element:
                self.hear(element)

    def take(self) -> list[Change]:
        """All changes since the last taking."""
        touched, self._touched = self._touched, {}
        gone, self._gone = self._gone, {}
        deleted: list[Change] = []
        changed: list[Change] = []
        for id in touched:
            before, now = self._taken.get(id), self._now.get(id)
            if now is None:
                if before is not None:
                    del self._taken[id]
                    deleted.append(Change("deleted", gone.get(id, before)))
            elif before != now:
                self._taken[id] = now
                changed.append(Change("added" if before is None else "updated", now))
        return [*_of(deleted, Edge), *_of(deleted, Node), *_of(changed, Node), *_of(changed, Edge)]


def _of(changes: Iterable[Change], kind: type[AnyElement]) -> list[Change]:
    return [change for change in changes if isinstance(change.element, kind)]
