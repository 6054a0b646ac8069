"""What a plan is made of: operations that turn one stream into the next, and what they run in."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar, final

import attrs

from skycore.errors import GremlinExecutionError
from skycore.filter import EVERYTHING, All, Filter
from skycore.graph import element
from skycore.graph.view import GraphView

Kind: TypeAlias = str
"""What stands in a stream; plugins may add kinds."""

GRAPH: Final = "graph"
NODES: Final = "V"
EDGES: Final = "E"
VALUES: Final = "values"
COUNT: Final = "count"

ELEMENT_KINDS: Final[dict[Kind, element.Kind]] = {NODES: "node", EDGES: "edge"}
CHUNK: Final = 256
"""How many elements are worked on between two slices: some 3 ms when the metadata of each must be decoded."""

T = TypeVar("T")


@final
@attrs.frozen
class Stream:
    """What flows between two operations.

    ``items`` are the IDs of nodes or edges, values of JSON types, the one number of a count; a graph has none.
    """

    kind: Kind
    items: Collection[Any] = ()


Work: TypeAlias = Generator[None, None, T]
"""A computation cut into slices: it yields after each, and its end returns the result."""


@final
@attrs.frozen
class Limits:
    """What one query may use: ``elements`` that it holds at a time, and ``seconds``."""

    elements: int = 1_000_000
    seconds: float = 10.0


@final
class Execution:
    """One run of a plan: its graph, and what the run may still use."""

    def __init__(self, view: GraphView, limits: Limits, deadline: float, query: str = "") -> None:
        self.view = view
        # A view that says so never changes, so that others may run between slices.
        self.frozen = bool(getattr(view, "frozen", False))
        self._limits = limits
        self._deadline = deadline
        self._query = query

    def hold(self, count: int) -> None:
        """Say how many elements are being held; raises GremlinExecutionError when these are too many."""
        if count > self._limits.elements:
            raise GremlinExecutionError(
                f"the query is too large: more than {self._limits.elements} elements in one step; "
                "narrow it with Has, Dedup or Limit"
            )

    def check_time(self) -> None:
        """Raise GremlinExecutionError when the time is over."""
        if time.monotonic() > self._deadline:
            raise self.too_slow()

    def too_slow(self) -> GremlinExecutionError:
        return GremlinExecutionError(
            f"the query took longer than {self._limits.seconds:g} seconds; narrow it with Has, Dedup or Limit"
        )

    def error(self, message: str, offset: int) -> GremlinExecutionError:
        return GremlinExecutionError(message, self._query, offset)


class Operation(ABC):
    """One step of a plan; immutable, shared by all runs of the plan."""

    @abstractmethod
    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        """Turn the stream into the next one; yield after each CHUNK elements."""

    def absorb(self, following: Operation) -> Operation | None:
        """One operation that does the work of this one and the following, None when there is none."""
        return None


@final
@attrs.frozen
class Narrow(Operation):
    """Keep the elements for which a filter holds, and of these the ones from ``start`` up to ``stop``."""

    filter: Filter = EVERYTHING
    start: int = 0
    stop: int | None = None

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        items = yield from self.apply(execution, ELEMENT_KINDS[stream.kind], chunks(stream.items))
        return Stream(stream.kind, items)

    def absorb(self, following: Operation) -> Operation | None:
        return self.then(following) if isinstance(following, Narrow) else None

    def then(self, following: Narrow) -> Narrow | None:
        """Both as one, None when the following one filters after this one has counted."""
        if self.start == 0 and self.stop is None:
            return Narrow(_both(self.filter, following.filter), following.start, following.stop)
        if following.filter != EVERYTHING:
            return None
        stops = [self.stop] if self.stop is not None else []
        if following.stop is not None:
            stops.append(self.start + following.stop)
        return Narrow(self.filter, self.start + following.start, min(stops, default=None))

    def apply(self, execution: Execution, kind: element.Kind, parts: Iterable[list[str]]) -> Work[list[str]]:
        """Narrow IDs that come in parts; no more parts are asked for than are needed."""
        kept: list[str] = []
        if self.stop is not None and self.start >= self.stop:
            return kept
        for part in parts:
            kept += part if self.filter == EVERYTHING else execution.view.select(kind, self.filter, part)
            if self.stop is not None and len(kept) >= self.stop:
                break
            execution.hold(len(kept))
            yield
        return kept[self.start : self.stop] if self.start or self.stop is not None else kept


def _both(first: Filter, second: Filter) -> Filter:
    # Flat, because a long chain of Has would else become a tree too deep to walk.
    parts = [part for filter in (first, second) for part in (filter.filters if isinstance(filter, All) else (filter,))]
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The items in lists of at most ``size``."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part
