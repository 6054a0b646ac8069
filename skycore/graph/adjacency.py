"""Which nodes lie at the other end of a node's edges: remembered as far as queries have asked."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Literal, TypeAlias, final

from skycore.filter import Filter
from skycore.graph.element import Revision

Direction: TypeAlias = Literal["children", "parents", "sides", "ends"]
"""``sides``: children, then parents, over a loop once; ``ends``: of each edge at the node its parent and its child."""

Table: TypeAlias = dict[str, tuple[str, ...]]

_TABLES: Final = 16


@final
class Adjacency:
    """For a direction and a filter of edges: node → nodes, for the nodes that were asked about.

    A change of an edge makes its two nodes unknown again; whoever asks fills in what is missing.
    """

    def __init__(self) -> None:
        self._tables: OrderedDict[tuple[Direction, Filter], Table] = OrderedDict()

    def table(self, direction: Direction, filter: Filter) -> Table:
        """The table, possibly with gaps; to be used before the next change."""
        table = self._tables.get((direction, filter))
        if table is None:
            table = self._tables[direction, filter] = {}
            if len(self._tables) > _TABLES:
                self._tables.popitem(last=False)
        else:
            self._tables.move_to_end((direction, filter))
        return table

    def known(self, direction: Direction, filter: Filter) -> Table | None:
        """The table, if there is one."""
        return self._tables.get((direction, filter))

    def forget(self, change: Revision) -> None:
        """An element has changed."""
        if change.parent is None:
            if change.deleted_at is not None:
                for table in self._tables.values():
                    table.pop(change.id, None)
            return
        for table in self._tables.values():
            table.pop(change.parent, None)
            if change.child is not None:
                table.pop(change.child, None)
