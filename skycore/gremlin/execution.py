"""Running a query: in slices of a few milliseconds, over one state of the graph."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Final, TypeVar, final

import attrs
import trio

from skycore.errors import CaptureError, GremlinExecutionError, HistoryUnavailable, PeriodTooLarge
from skycore.flow.query import FlowReader
from skycore.graph import element
from skycore.graph.element import Revision
from skycore.graph.indexed import IndexedView
from skycore.graph.live import LiveView
from skycore.graph.past import between
from skycore.graph.view import Gap, GraphView, History
from skycore.gremlin.operation import (
    COUNT,
    DIFFERENCE,
    ELEMENT_KINDS,
    EXPLANATION,
    FLOWS,
    GRAPH,
    GROUPS,
    METRICS,
    NEXT_HOPS,
    OBJECT,
    PATHS,
    RAW_PACKETS,
    REVISIONS,
    SOCKETS,
    Execution,
    Kind,
    Limits,
    Question,
    Stream,
    Wait,
    Work,
    chunks,
    every,
    fetch,
)
from skycore.gremlin.plan import Plan, Planner
from skycore.gremlin.result import (
    ElementsResult,
    FlowsResult,
    GraphResult,
    KeyedResult,
    NumberResult,
    ObjectResult,
    PathsResult,
    Result,
    ValuesResult,
    gap_object,
    missing_object,
)
from skycore.gremlin.span import SpanView

T = TypeVar("T")

_SLICE: Final = 0.001
_BETWEEN: Final = 0.001
_NO_HISTORY: Final = "Backend does not support history"
_KEYED: Final[frozenset[Kind]] = frozenset({METRICS, SOCKETS, NEXT_HOPS, GROUPS, RAW_PACKETS})
_FINISHED: Final[frozenset[Kind]] = frozenset({DIFFERENCE, REVISIONS})


@final
class Turns:
    """Lets others run between queries that take microseconds: not before each of them, but each millisecond."""

    def __init__(self) -> None:
        self._next = 0.0

    async def take(self) -> None:
        """Raises Cancelled as every checkpoint does."""
        if time.monotonic() < self._next:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
            self._next = time.monotonic() + _BETWEEN


@final
@attrs.frozen
class QueryContext:
    """What queries are answered from; made once, used by all queries.

    ``now`` gives milliseconds since the epoch.  ``readers`` bounds how many worker threads read history at a time;
    a cancelled query leaves its thread to end by itself.  ``flows`` answers about flows, present and past.
    """

    live: GraphView
    now: Callable[[], int]
    history: History | None = None
    flows: FlowReader | None = attrs.field(default=None, kw_only=True)
    limits: Limits = attrs.field(factory=Limits)
    planner: Planner = attrs.field(factory=Planner)
    readers: trio.CapacityLimiter = attrs.field(factory=partial(trio.CapacityLimiter, 4))
    turns: Turns = attrs.field(factory=Turns)


async def run(query: str, context: QueryContext) -> Result:
    """Answer a query.

    Raises GremlinSyntaxError or GremlinExecutionError, and StorageError when the store cannot be read.
    The query sees one state of the graph, that of its start, while the event loop runs every few milliseconds and
    the graph moves on.  (A view that is neither frozen nor can be pinned is read at one go instead.)
    """
    await context.turns.take()
    began, live = time.monotonic(), context.live
    plan = context.planner.plan(query)
    if time.monotonic() - began > _SLICE:
        # A plan takes microseconds, but a long query more, and the first pattern loads RE2.
        await trio.lowlevel.checkpoint()
    if isinstance(live, LiveView) and plan.single is not None:
        found = plan.single.at_once(live, context.limits)
        if found is not None:
            return _at_once(live, found)
    store = _Store(context, time.monotonic() + context.limits.seconds, query)
    now = context.now()
    if plan.moment is not None:
        at, duration = plan.moment.resolve(now)
        question = partial(_past, at, duration, plan.only_node, context.limits.elements)
        past, gaps = await store.ask(question, plan.moment_offset)
        execution = Execution(past, context.limits, store.deadline, query, (at - duration, at), now, context.flows)
        execution.gaps = gaps
        return await _carry_out(plan, execution, store)
    with live.pinned() if isinstance(live, LiveView) else nullcontext(live) as view:
        execution = Execution(view, context.limits, store.deadline, query, None, now, context.flows)
        return await _carry_out(plan, execution, store)


def _at_once(live: LiveView, stream: Stream) -> Result:
    kind = ELEMENT_KINDS.get(stream.kind)
    if kind is None:
        (number,) = stream.items
        return NumberResult(number)
    return ElementsResult(stream.kind, [one for id in stream.items if (one := live.get(kind, id)) is not None])


def _past(at: int, duration: int, only: str | None, limit: int, history: History) -> tuple[GraphView, tuple[Gap, ...]]:
    """The graph at a moment, or over a span that ends then (of one node only); runs in a worker thread."""
    start = at - duration
    gaps = tuple(history.gaps(start, at))
    if not duration:
        return history.graph_at(at), gaps
    if only is None:
        found = history.revisions_between(start, at, limit)
    else:
        life = history.revisions(only)
        found = list(between(life, start, at)) if life else []
        found.sort(key=lambda one: (one.deleted_at or one.updated_at, one.revision))
        if len(found) > limit:
            raise PeriodTooLarge(f"the period holds more than {limit} revisions of {only}; ask for a shorter one")
    return SpanView.of(found, history.stale_at(at)), gaps


@final
@attrs.frozen
class _Store:
    """The store as one query asks it: in worker threads, and not for longer than the query may take."""

    context: QueryContext
    deadline: float
    query: str

    async def ask(self, question: Callable[[History], T], offset: int) -> T:
        """The answer; raises GremlinExecutionError, pointing at ``offset``, when there is none."""
        context = self.context
        if context.history is None:
            raise GremlinExecutionError(_NO_HISTORY, self.query, offset)
        with trio.move_on_after(max(0.0, self.deadline - time.monotonic())):
            try:
                return await trio.to_thread.run_sync(
                    question, context.history, abandon_on_cancel=True, limiter=context.readers
                )
            except HistoryUnavailable as error:
                raise GremlinExecutionError(f"{_NO_HISTORY}: {error}", self.query, offset) from error
            except PeriodTooLarge as error:
                raise GremlinExecutionError(str(error), self.query, offset) from error
        raise GremlinExecutionError(
            f"the query took longer than {context.limits.seconds:g} seconds to read the past; ask for a shorter time",
            self.query,
            offset,
        )

    async def wait(self, call: Callable[[], Awaitable[T]], offset: int) -> T:
        """What is awaited; raises GremlinExecutionError, pointing at ``offset``, when it does not come in time."""
        with trio.move_on_after(max(0.0, self.deadline - time.monotonic())):
            try:
                return await call()
            except (HistoryUnavailable, PeriodTooLarge, CaptureError) as error:
                raise GremlinExecutionError(str(error), self.query, offset) from error
        raise GremlinExecutionError(
            f"the query took longer than {self.context.limits.seconds:g} seconds to read flows; "
            "narrow it with Has or Limit, or ask for a shorter time",
            self.query,
            offset,
        )


async def _carry_out(plan: Plan, execution: Execution, store: _Store) -> Result:
    drive = _Drive(execution, store)
    stream = Stream(GRAPH)
    if plan.explain:
        return await _explain(plan, execution, drive)
    for one in plan.planned:
        execution.offset = one.offset
        stream = await drive.finish(one.operation.run(execution, stream))
    result = await drive.finish(_pin(execution, stream))
    await drive.finish(_let_go(execution))
    if execution.gaps or execution.unanswered:
        return attrs.evolve(result, gaps=execution.gaps, unanswered=tuple(execution.unanswered.values()))
    return result


async def _explain(plan: Plan, execution: Execution, drive: _Drive) -> Result:
    stream = Stream(GRAPH)
    steps: list[dict[str, Any]] = []
    view = execution.root
    for one in plan.planned:
        execution.offset = one.offset
        notes: dict[str, int] = {}
        if isinstance(view, IndexedView):
            view.notes = notes
        before = drive.busy
        stream = await drive.finish(one.operation.run(execution, stream))
        steps.append(
            {
                "Steps": one.text,
                "Operation": type(one.operation).__name__,
                "Plan": str(one.operation),
                "Indexes": notes,
                "Gives": stream.kind,
                "Rows": _rows(execution, stream),
                "Milliseconds": round(1000 * (drive.busy - before), 4),
            }
        )
    return ObjectResult(
        {
            "Query": plan.text,
            "Graph": "live" if execution.span is None else "past",
            "Gaps": [gap_object(gap) for gap in execution.gaps],
            "Missing": [missing_object(one) for one in execution.unanswered.values()],
            "Steps": steps,
            "Milliseconds": round(1000 * drive.busy, 4),
            "Slices": drive.slices,
            "StoreMilliseconds": round(1000 * drive.asked, 4),
        },
        EXPLANATION,
        gaps=execution.gaps,
        unanswered=tuple(execution.unanswered.values()),
    )


def _rows(execution: Execution, stream: Stream) -> int:
    if stream.kind == GRAPH:
        return len(execution.view.ids("node")) + len(execution.view.ids("edge"))
    if stream.kind in _FINISHED:
        (result,) = stream.items
        return int(result.rows)
    return len(stream.items)


@final
class _Drive:
    """Does work to its end; between its slices it checks the time and lets others run where the view allows it.

    ``busy`` is how long it has worked and ``asked`` how long it has waited for the store, in seconds, and ``slices``
    how often it has let others run.
    """

    def __init__(self, execution: Execution, store: _Store) -> None:
        self.busy = self.asked = 0.0
        self._store = store
        self.slices = 0
        self._execution = execution
        self._slice_end = time.monotonic() + _SLICE

    async def finish(self, work: Work[T]) -> T:
        execution = self._execution
        start = time.monotonic()
        while True:
            try:
                blocking = next(work)
            except StopIteration as end:
                self.busy += time.monotonic() - start
                result: T = end.value
                return result
            execution.check_time()
            now = time.monotonic()
            question, execution.question = execution.question, None
            if question is not None or blocking is not None:
                self.busy += now - start
                if blocking is not None:
                    await self._store.ask(lambda _, wait=blocking: wait(), execution.offset)  # type: ignore[misc]
                if isinstance(question, Wait):
                    question.answers.append(await self._store.wait(question.call, execution.offset))
                elif isinstance(question, Question):
                    question.answers.append(await self._store.ask(question.ask, execution.offset))
                start = time.monotonic()
                self.asked += start - now
                self._slice_end = start + _SLICE
                continue
            if execution.frozen and now > self._slice_end:
                self.busy += now - start
                self.slices += 1
                await trio.lowlevel.checkpoint()
                start = time.monotonic()
                self._slice_end = start + _SLICE


def _pin(execution: Execution, stream: Stream) -> Work[Result]:
    """Take hold of the revisions that the answer names, before the graph moves on."""
    if stream.kind == COUNT:
        (number,) = stream.items
        return NumberResult(number)
    if stream.kind == OBJECT:
        (value,) = stream.items
        return ObjectResult(value)
    if stream.kind in _FINISHED:
        (result,) = stream.items
        return result  # type: ignore[no-any-return]
    if stream.kind == FLOWS:
        return FlowsResult(list(stream.items))
    if stream.kind in _KEYED:
        return KeyedResult(dict(stream.items), stream.kind)
    if stream.kind == GRAPH:
        view = execution.view
        nodes = yield from _revisions(execution, "node", (yield from every(view, "node")))
        edges = yield from _revisions(execution, "edge", (yield from every(view, "edge")), len(nodes))
        return GraphResult(nodes, edges)
    if stream.kind == PATHS:
        paths: list[list[Revision]] = []
        held = 0
        for path in stream.items:
            paths.append((yield from _revisions(execution, "node", path, held)))
            held += len(path)
        return PathsResult(paths)
    kind = ELEMENT_KINDS.get(stream.kind)
    if kind is None:
        return ValuesResult(list(stream.items), stream.kind)
    return ElementsResult(stream.kind, (yield from _revisions(execution, kind, stream.items)))


def _let_go(execution: Execution) -> Work[None]:
    """Give back the graphs that were made for this query alone; the result holds what it names by itself."""
    own = (execution.view, execution.root) if execution.span is not None else (execution.view,)
    for view in own:
        if isinstance(view, IndexedView):
            yield from view.let_go()


def _revisions(execution: Execution, kind: element.Kind, ids: Any, held: int = 0) -> Work[list[Revision]]:
    revisions: list[Revision] = []
    view = execution.view
    for part in chunks(ids, 1024):
        revisions += yield from fetch(view, kind, part)
        execution.hold(held + len(revisions))
        yield
    return revisions
