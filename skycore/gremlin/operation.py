"""What a plan is made of: operations that turn one stream into the next, and what they run in."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar, final

import attrs

from skycore.errors import GremlinExecutionError
from skycore.filter import EVERYTHING, All, Filter
from skycore.flow.query import FlowReader, Unanswered
from skycore.graph import element
from skycore.graph.element import Revision
from skycore.graph.indexed import IndexedView, Slices
from skycore.graph.live import LiveView
from skycore.graph.view import Gap, GraphView, History

Kind: TypeAlias = str
"""What stands in a stream; plugins may add kinds."""

GRAPH: Final = "graph"
NODES: Final = "V"
EDGES: Final = "E"
VALUES: Final = "values"
COUNT: Final = "count"
PATHS: Final = "P"
METRICS: Final = "M"
SOCKETS: Final = "S"
NEXT_HOPS: Final = "next hops"
OBJECT: Final = "object"
DIFFERENCE: Final = "difference"
REVISIONS: Final = "revisions"
EXPLANATION: Final = "explanation"
FLOWS: Final = "Fl"
GROUPS: Final = "Gr"
RAW_PACKETS: Final = "R"

ELEMENT_KINDS: Final[dict[Kind, element.Kind]] = {NODES: "node", EDGES: "edge"}
CHUNK: Final = 256
"""How many elements are worked on between two slices: some 3 ms when the metadata of each must be decoded."""

T = TypeVar("T")


@final
@attrs.frozen
class Stream:
    """What flows between two operations.

    ``items`` are, by ``kind``: the IDs of nodes (``V``) or edges (``E``); values of JSON types (``values``); one number
    (``count``) or other JSON value (``object``); paths as tuples of the IDs of their nodes (``P``); pairs of an ID and
    a list of metrics or sockets (``M``, ``S``), or of an ID and an object (``next hops``); one result (``difference``,
    ``revisions``); records of flows as JSON (``Fl``); pairs of a value and the flows that have it (``Gr``), or of a
    flow's UUID and its packets, None for none that was wanted (``R``).  A graph has none: it is the execution's view.

    Over a span an element stands in the view once for each of its revisions, and what takes the place of its ID names
    one of these (see skycore.gremlin.span); ``element_ids`` gives the IDs.
    """

    kind: Kind
    items: Collection[Any] = ()


@final
@attrs.define(eq=False)
class Question(Generic[T]):
    """What a computation asks the store; ``answers`` has one member when it is answered."""

    ask: Callable[[History], T]
    answers: list[T] = attrs.field(factory=list)


@final
@attrs.define(eq=False)
class Wait(Generic[T]):
    """What a computation waits for on the event loop; ``answers`` has one member when it is there."""

    call: Callable[[], Awaitable[T]]
    answers: list[T] = attrs.field(factory=list)


Work: TypeAlias = Slices[T]
"""A computation cut into slices: it yields after each, and its end returns the result."""


@final
@attrs.frozen
class Limits:
    """What one query may use: ``elements`` that it holds at a time, ``bytes`` of flow records, and ``seconds``."""

    elements: int = 1_000_000
    seconds: float = 10.0
    bytes: int = 64 << 20


@final
class Execution:
    """One run of a plan: its graph, and what the run may still use.

    ``view`` is the graph that steps read: ``root``, or the last subgraph made.  ``named`` holds what ``As`` has kept.
    ``span`` is the time that the query is about (start and end in milliseconds), None when it is the present, which is
    ``now``.  ``offset`` is the place in the query of the step that runs.  ``gaps`` are those of the history that was
    read, ``unanswered`` the agents whose flows are missing.  ``question``, when set, is to be answered before the work
    goes on.  ``flows`` answers questions about flows; None where nobody can.
    """

    def __init__(
        self,
        view: GraphView,
        limits: Limits,
        deadline: float,
        query: str = "",
        span: tuple[int, int] | None = None,
        now: int = 0,
        flows: FlowReader | None = None,
    ) -> None:
        self.root = self.view = view
        # A view that says so never changes, so that others may run between slices.
        self.frozen = bool(getattr(view, "frozen", False))
        self.named: dict[str, Stream] = {}
        self.span = span
        self.now = now
        self.offset = 0
        self.gaps: tuple[Gap, ...] = ()
        self.flows = flows
        self.unanswered: dict[str, Unanswered] = {}
        self.question: Question[Any] | Wait[Any] | None = None
        self._limits = limits
        self._deadline = deadline
        self._query = query

    def hold(self, count: int) -> None:
        """Say how many elements are being held; raises GremlinExecutionError when these are too many."""
        if count > self._limits.elements:
            raise self.error(
                f"the query is too large: more than {self._limits.elements} elements in one step; "
                "narrow it with Has, Dedup or Limit"
            )

    def ask(self, question: Callable[[History], T]) -> Work[T]:
        """Ask the store, in a worker thread, while others run; raises what the store raises."""
        self.question = asked = Question(question)
        yield
        return asked.answers[0]

    def wait_for(self, call: Callable[[], Awaitable[T]]) -> Work[T]:
        """Wait for what is awaited on the event loop, while others run."""
        self.question = waiting = Wait(call)
        yield
        return waiting.answers[0]

    def hold_bytes(self, count: int) -> None:
        """Say how many bytes of flow records are being held; raises GremlinExecutionError when these are too many."""
        if count > self._limits.bytes:
            raise self.error(
                f"the query is too large: more than {self._limits.bytes >> 20} MiB of flows in one step; "
                "narrow it with Has or Limit"
            )

    def tell(self, unanswered: Unanswered) -> None:
        """An agent's flows are missing in the answer."""
        self.unanswered.setdefault(unanswered.host, unanswered)

    def check_time(self) -> None:
        """Raise GremlinExecutionError when the time is over."""
        if time.monotonic() > self._deadline:
            raise self.error(
                f"the query took longer than {self._limits.seconds:g} seconds; narrow it with Has, Dedup or Limit"
            )

    def error(self, message: str, offset: int | None = None) -> GremlinExecutionError:
        """The error to raise when the query cannot go on; it points at the step that runs, or at ``offset``."""
        return GremlinExecutionError(message, self._query, self.offset if offset is None else offset)


class Operation(ABC):
    """One step of a plan; immutable, shared by all runs of the plan.

    ``looks_around``: it may read other elements than those in the stream, so that all must be there.
    """

    looks_around: ClassVar[bool] = True

    @abstractmethod
    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        """Turn the stream into the next one; yield after each CHUNK elements."""

    def absorb(self, following: Operation) -> Operation | None:
        """One operation that does the work of this one and the following, None when there is none."""
        return None

    def absorb_in_span(self, following: Operation) -> Operation | None:
        """The same for queries over a span, where several revisions of one element stand in a stream."""
        return self.absorb(following)

    def at_once(self, live: LiveView, limits: Limits) -> Stream | None:
        """What it gives of the live graph, if an index knows that already and it is little; None: ``run``."""
        return None

    @property
    def ignores_repetitions(self) -> bool:
        """Whether it gives the same when later repetitions are left out of what it gets."""
        return False

    def without_repetitions(self) -> Operation | None:
        """Called when what follows ignores repetitions: an operation that does, too, None when there is none.

        It may give each element once, where the element first stood, instead of several times.
        """
        return None

    @property
    def ignores_order(self) -> bool:
        """Whether it gives the same for what it gets in another order."""
        return False

    def in_any_order(self) -> Operation | None:
        """Called when what follows ignores order: an operation that does, too, None when there is none."""
        return None


@final
@attrs.frozen
class Narrow(Operation):
    """Keep the elements for which a filter holds, and of these the ones from ``start`` up to ``stop``."""

    looks_around: ClassVar[bool] = False

    filter: Filter = EVERYTHING
    start: int = 0
    stop: int | None = None

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        kind = ELEMENT_KINDS.get(stream.kind)
        if kind is None:
            # Only windows stand after other kinds.
            return Stream(stream.kind, list(stream.items)[self.start : self.stop])
        items = yield from self.apply(execution, kind, chunks(stream.items))
        return Stream(stream.kind, items)

    @property
    def windowed(self) -> bool:
        """Whether it counts, so that what it gives depends on order and repetitions."""
        return self.start > 0 or self.stop is not None

    def without_repetitions(self) -> Operation | None:
        return None if self.windowed else self

    def in_any_order(self) -> Operation | None:
        return None if self.windowed else self

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
            kept += yield from select(execution.view, kind, self.filter, part)
            if self.stop is not None and len(kept) >= self.stop:
                break
            execution.hold(len(kept))
            yield
        return kept[self.start : self.stop] if self.start or self.stop is not None else kept


def _both(first: Filter, second: Filter) -> Filter:
    # Flat, because a long chain of Has would else become a tree too deep to walk.
    parts = [part for filter in (first, second) for part in (filter.filters if isinstance(filter, All) else (filter,))]
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def select(view: GraphView, kind: element.Kind, filter: Filter, ids: list[str]) -> Work[list[str]]:
    """Those of the elements for which the filter holds, order and repetitions kept; makes indexes where of use."""
    if filter == EVERYTHING:
        return ids
    if isinstance(view, IndexedView):
        yield from view.prepare(kind, filter, ids)
    if len(ids) <= 4 * CHUNK:
        return view.select(kind, filter, ids)
    kept: list[str] = []
    for part in chunks(ids):
        kept += view.select(kind, filter, part)
        yield
    return kept


def prepare_key(view: GraphView, kind: element.Kind, key: str, ids: Collection[str]) -> Work[None]:
    """The same before the values of a key are asked for."""
    if isinstance(view, IndexedView):
        yield from view.prepare_key(kind, key, ids)


def every(view: GraphView, kind: element.Kind) -> Work[Collection[str]]:
    """The IDs of all elements, in order of appearance."""
    if isinstance(view, IndexedView):
        return (yield from view.every(kind))
    return view.ids(kind)


def fetch(view: GraphView, kind: element.Kind, ids: Sequence[str]) -> Work[list[Revision]]:
    """The revisions of those of the elements that are there."""
    if isinstance(view, IndexedView):
        return (yield from view.fetch(kind, ids))
    return [one for id in ids if (one := view.get(kind, id)) is not None]


def column(execution: Execution, kind: element.Kind, key: str, ids: Collection[str]) -> Work[list[Any]]:
    """The value of a key for each of the elements, MISSING where there is none."""
    view = execution.view
    yield from prepare_key(view, kind, key, ids)
    found: list[Any] = []
    for part in chunks(ids, 2 * CHUNK):
        found += view.values(kind, key, part)
        yield
    return found


def chunks(items: Iterable[T], size: int = 0) -> Iterator[list[T]]:
    """The items in lists of at most ``size`` (0: CHUNK)."""
    iterator = iter(items)
    while part := list(islice(iterator, size or CHUNK)):
        yield part
