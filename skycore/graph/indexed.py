"""Views that answer about many elements at a time: of the live graph, of the past, of a part of a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias, TypeVar

from skycore.filter import Filter
from skycore.graph.adjacency import Direction
from skycore.graph.element import Kind, Revision

T = TypeVar("T")

Blocking: TypeAlias = Callable[[], object]
"""Something that waits for a disk: to be called in a worker thread."""

# What is yielded is Blocking | None; said so, mypy would want every plain ``yield`` to be ``yield None``.
Slices: TypeAlias = Generator[Any, None, T]
"""Work cut into slices of a few milliseconds: it yields after each, and its end returns the result.

When it yields a Blocking, that must have been called, in a worker thread, before the work goes on.
"""


class IndexedView(ABC):
    """A GraphView (see there) that stays as it is, and asks little of its reader.

    IDs that are given to it are of elements in the view.  Every edge's ends are in the view.  With ``notes`` set, it
    counts the indexes and scans that answers came from, by their description.
    """

    frozen: Final = True
    notes: dict[str, int] | None = None

    @abstractmethod
    def ids(self, kind: Kind) -> Collection[str]: ...

    @abstractmethod
    def get(self, kind: Kind, id: str) -> Revision | None: ...

    @abstractmethod
    def edges_out(self, node_id: str) -> Sequence[str]: ...

    @abstractmethod
    def edges_in(self, node_id: str) -> Sequence[str]: ...

    @abstractmethod
    def match(self, kind: Kind, filter: Filter) -> list[str]: ...

    @abstractmethod
    def select(self, kind: Kind, filter: Filter, ids: Iterable[str]) -> list[str]: ...

    @abstractmethod
    def values(self, kind: Kind, key: str, ids: Iterable[str]) -> list[Any]: ...

    @abstractmethod
    def is_stale(self, revision: Revision) -> bool:
        """Whether nobody could vouch for the element at the view's moment."""

    @abstractmethod
    def count(self, kind: Kind) -> int:
        """How many elements there are."""

    @abstractmethod
    def fetch(self, kind: Kind, ids: Sequence[str]) -> Slices[list[Revision]]:
        """The revisions of elements, in the order of the IDs."""

    @abstractmethod
    def every(self, kind: Kind) -> Slices[list[str]]:
        """What ``ids`` gives, in slices."""

    @abstractmethod
    def in_order(self, kind: Kind, ids: AbstractSet[str]) -> Slices[list[str]]:
        """Elements in the order of their appearance."""

    @abstractmethod
    def leaving(self, nodes: Iterable[str]) -> list[str]:
        """The edges to the children of all the nodes, in the nodes' order."""

    @abstractmethod
    def arriving(self, nodes: Iterable[str]) -> list[str]:
        """The edges from the parents of all the nodes, in the nodes' order."""

    @abstractmethod
    def ends(self, edges: Sequence[str]) -> tuple[list[str], list[str]]:
        """The parents and the children of edges."""

    @abstractmethod
    def around(
        self, direction: Direction, filter: Filter, nodes: Sequence[str]
    ) -> Slices[Sequence[Sequence[str]] | None]:
        """For each of the nodes its neighbours over the edges for which the filter holds; None: ask edge by edge."""

    @abstractmethod
    def search(self, kind: Kind, filter: Filter, *, ordered: bool = True) -> Slices[Collection[str]]:
        """The elements for which a filter holds, in order of appearance if ``ordered``; makes indexes where of use.

        Unordered, the answer may be an index's own set: use it before the next pause.
        """

    @abstractmethod
    def prepare(self, kind: Kind, filter: Filter, ids: Collection[str]) -> Slices[None]:
        """Make what ``select`` needs to test these elements well, if that is worth its cost."""

    @abstractmethod
    def prepare_key(self, kind: Kind, key: str, ids: Collection[str]) -> Slices[None]:
        """The same for ``values``."""

    def let_go(self) -> Slices[None]:
        """Give back in slices what this view alone holds; nobody reads it any more."""
        return
        yield


def finish(work: Slices[T]) -> T:
    """Do the work without pauses, what blocks as well."""
    while True:
        try:
            blocking = next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        if blocking is not None:
            blocking()
