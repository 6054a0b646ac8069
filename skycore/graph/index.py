"""Indexes over a graph in memory: one column for each key that queries ask for.

Columns of the common keys are there from the start, those of other keys are made when a query has use for them, and the
least recently used go when there are too many.  All of them read the change log lazily: an element that changed fifty
times between two queries is decoded once, for all columns together, and an update that nobody asks about costs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol, final

from skycore.bus import ChangeLog, Cursor
from skycore.filter import MISSING
from skycore.graph.adjacency import Adjacency
from skycore.graph.column import Column
from skycore.graph.element import Kind, Revision
from skycore.graph.pieces import shed
from skycore.graph.projection import UNINDEXED, projection

NODE_KEYS: Final = ("Name", "Type", "TID", "State", "MAC", "Manager")
EDGE_KEYS: Final = ("RelationType",)

_AT_A_TIME: Final = 256
# Some 180 bytes an entry; with a million elements these are eight keys beside the common ones.
_ENTRIES: Final = 8_000_000
_KEYS: Final = 32


class Elements(Protocol):
    """A graph in memory: the live one, or one that never changes.

    ``nodes`` and ``edges`` are ordered by appearance; ``edges_out`` and ``edges_in`` name the edges whose parent or
    child a node is, where there are some; ``log`` tells each change.
    """

    nodes: dict[str, Revision]
    edges: dict[str, Revision]
    edges_out: dict[str, tuple[str, ...]]
    edges_in: dict[str, tuple[str, ...]]
    log: ChangeLog[Revision]
    moves: int

    def in_order(self, kind: Kind, ids: Iterable[str]) -> list[str]:
        """Elements, each given once, in the order of their appearance."""
        ...


@final
class Indexes:
    """All indexes of one graph; with those of the common keys from the start if ``common``.

    A column found here is as fresh as the last ``refresh``.
    """

    def __init__(self, graph: Elements, *, common: bool = True) -> None:
        self._graph = graph
        self._cursor = graph.log.cursor()
        self._kinds: dict[Kind, _Columns] = {
            "node": _Columns("node", NODE_KEYS if common else (), graph.nodes),
            "edge": _Columns("edge", EDGE_KEYS if common else (), graph.edges),
        }
        if common:
            for columns in self._kinds.values():
                columns.update(columns.table.values())
        self._builds: dict[tuple[Kind, str], _Build] = {}
        self.adjacency = Adjacency()

    def column(self, kind: Kind, key: str) -> Column | None:
        """The column of a key (as ``canonical_key`` spells it), None when there is none."""
        return self._kinds[kind].use(key)

    async def behind(self) -> None:
        """Return as soon as there is something to catch up with."""
        await self._cursor.wait()

    def refresh(self) -> None:
        """Catch up with the change log."""
        if self._cursor.pending:
            self._update(self._cursor.read().changes)

    def _update(self, changes: Iterable[Revision]) -> None:
        nodes: list[Revision] = []
        edges: list[Revision] = []
        for change in changes:
            (nodes if change.parent is None else edges).append(change)
            if change.parent is not None or change.deleted_at is not None:
                self.adjacency.forget(change)
        self._kinds["node"].update(nodes)
        self._kinds["edge"].update(edges)

    def worthwhile(self, kind: Kind, key: str, count: int) -> bool:
        """Whether a column should be made, now that ``count`` elements would be decoded for the key without it.

        What queries spend on a key is added up; as soon as it comes to what the column costs, it is worthwhile.
        """
        return key != UNINDEXED and self._kinds[kind].worthwhile(key, count)

    def build(self, kind: Kind, key: str) -> Generator[None, None, None]:
        """Make a column, in slices between which the graph may change; several queries may work on the same one."""
        build = self._builds.get((kind, key))
        if build is None:
            build = self._builds[kind, key] = _Build(self._graph, kind, key)
        build.workers += 1
        try:
            while build.work():
                yield
                # Little at a time: what changes meanwhile is not to be caught up with in one long slice.
                self.refresh()
            if self._builds.get((kind, key)) is build:
                # Without a pause: the column catches up to the moment up to which the others have.
                self.refresh()
                self._kinds[kind].add(key, build.finish())
                del self._builds[kind, key]
        finally:
            build.workers -= 1
            if not build.workers:
                build.close()
                if self._builds.get((kind, key)) is build:
                    del self._builds[kind, key]

    def close(self) -> None:
        self._cursor.close()


@final
class _Columns:
    """The columns of nodes, or of edges."""

    def __init__(self, kind: Kind, common: tuple[str, ...], table: Mapping[str, Revision]) -> None:
        self.table = table
        self._kind: Kind = kind
        self._common = {key: Column() for key in common}
        self._others: OrderedDict[str, Column] = OrderedDict()
        self._spent: dict[str, int] = {}
        self._arrange()

    def _arrange(self) -> None:
        columns = {**self._common, **self._others}
        if columns:
            self._extract: Callable[[Revision], list[Any]] = projection(self._kind, tuple(columns))
        self._columns = tuple(columns.values())

    def use(self, key: str) -> Column | None:
        column = self._common.get(key)
        if column is None and (column := self._others.get(key)) is not None:
            self._others.move_to_end(key)
        return column

    def add(self, key: str, column: Column) -> None:
        self._others[key] = column
        self._spent.pop(key, None)
        room = max(1, _ENTRIES // (len(self.table) + 1))
        while len(self._others) > min(room, _KEYS):
            self._others.popitem(last=False)
        self._arrange()

    def update(self, changes: Iterable[Revision]) -> None:
        columns = self._columns
        if not columns:
            return
        extract = self._extract
        for change in changes:
            id = change.id
            if change.deleted_at is None:
                for column, value in zip(columns, extract(change), strict=True):
                    # Most changes are of other keys; set() looks more closely.
                    old = column.values.get(id, MISSING)
                    if old is not value and (type(value) is not str or old != value):
                        column.set(id, value)
            else:
                for column in columns:
                    if id in column.values:
                        column.set(id, MISSING)

    def worthwhile(self, key: str, count: int) -> bool:
        spent = self._spent.get(key, 0) + count
        if 2 * spent >= len(self.table):
            return True
        self._spent[key] = spent
        if len(self._spent) > 4 * _KEYS:
            del self._spent[next(iter(self._spent))]
        return False


@final
class _Build:
    """A column in the making: first of the elements as they were at its start, then with what changed meanwhile."""

    def __init__(self, graph: Elements, kind: Kind, key: str) -> None:
        self.workers = 0
        self._node = kind == "node"
        self._extract = projection(kind, (key,))
        self._cursor: Cursor[Revision] = graph.log.cursor()
        self._ahead = shed(list((graph.nodes if self._node else graph.edges).values()), _AT_A_TIME)
        self._column = Column()
        self._changed: set[str] = set()
        self._to_enter: Iterator[list[str]] | None = None

    def work(self) -> bool:
        """Do a slice; False when nothing is left."""
        done = self._enter_some() if self._to_enter is not None else self._look_at_some()
        self._catch_up()
        return done

    def _look_at_some(self) -> bool:
        values = self._column.values
        part = next(self._ahead, None)
        if part is None:
            self._to_enter = shed(list(values), _AT_A_TIME)
            return True
        for revision in part:
            if revision.id not in self._changed:
                (value,) = self._extract(revision)
                if value is not MISSING:
                    values[revision.id] = value
        return True

    def _enter_some(self) -> bool:
        assert self._to_enter is not None
        part = next(self._to_enter, None)
        for id in part or ():
            if id in self._column.values:
                self._column.enter(id)
        return part is not None

    def _catch_up(self) -> None:
        for change in self._cursor.read().changes:
            if (change.parent is None) == self._node:
                value = MISSING
                if change.deleted_at is None:
                    (value,) = self._extract(change)
                self._column.set(change.id, value)
                self._changed.add(change.id)

    def finish(self) -> Column:
        self._catch_up()
        return self._column

    def close(self) -> None:
        self._cursor.close()
