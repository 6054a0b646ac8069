"""Running a query: in slices of a few milliseconds, over one state of the graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final, Protocol, TypeVar, final, runtime_checkable

import attrs
import trio

from skycore.errors import GremlinExecutionError, HistoryUnavailable
from skycore.graph import element
from skycore.graph.element import Revision
from skycore.graph.snapshot import Snapshot
from skycore.graph.view import GraphView, HistoryReader
from skycore.gremlin.operation import (
    COUNT,
    ELEMENT_KINDS,
    EXPLANATION,
    GRAPH,
    METRICS,
    NEXT_HOPS,
    OBJECT,
    PATHS,
    SOCKETS,
    Execution,
    Kind,
    Limits,
    Stream,
    Work,
    chunks,
)
from skycore.gremlin.plan import Plan, Planner
from skycore.gremlin.result import (
    ElementsResult,
    GraphResult,
    KeyedResult,
    NumberResult,
    ObjectResult,
    PathsResult,
    Result,
    ValuesResult,
)

T = TypeVar("T")

_SLICE: Final = 0.002
_NO_HISTORY: Final = "Backend does not support history"
_KEYED: Final[frozenset[Kind]] = frozenset({METRICS, SOCKETS, NEXT_HOPS})


@runtime_checkable
class Pinnable(Protocol):
    """A live graph that can give a view of the present state which stays as it is."""

    def pinned(self) -> AbstractContextManager[GraphView]: ...


@final
@attrs.frozen
class QueryContext:
    """What queries are answered from; made once, used by all queries.

    ``now`` gives milliseconds since the epoch.  ``readers`` bounds how many worker threads read history at a time;
    a cancelled query leaves its thread to end by itself.
    """

    live: GraphView
    now: Callable[[], int]
    history: HistoryReader | None = None
    limits: Limits = attrs.field(factory=Limits)
    planner: Planner = attrs.field(factory=Planner)
    readers: trio.CapacityLimiter = attrs.field(factory=partial(trio.CapacityLimiter, 4))


async def run(query: str, context: QueryContext) -> Result:
    """Answer a query.

    Raises GremlinSyntaxError or GremlinExecutionError, and StorageError when the store cannot be read.
    The query sees one state of the graph, that of its start, while the event loop runs every few milliseconds and
    the graph moves on.  (A view that is neither frozen nor can be pinned is read at one go instead.)
    """
    await trio.lowlevel.checkpoint()
    deadline = time.monotonic() + context.limits.seconds
    plan = context.planner.plan(query)
    if plan.moment is not None:
        at, duration = plan.moment.resolve(context.now())
        past = await _past(at, duration, context, query)
        return await _carry_out(plan, Execution(past, context.limits, deadline, query, (at - duration, at)))
    live = context.live
    with live.pinned() if isinstance(live, Pinnable) else nullcontext(live) as view:
        return await _carry_out(plan, Execution(view, context.limits, deadline, query))


async def _past(at: int, duration: int, context: QueryContext, query: str) -> GraphView:
    if context.history is None:
        raise GremlinExecutionError(_NO_HISTORY, query)
    with trio.move_on_after(context.limits.seconds):
        try:
            return await trio.to_thread.run_sync(
                context.history.graph_at, at, duration, abandon_on_cancel=True, limiter=context.readers
            )
        except HistoryUnavailable as error:
            raise GremlinExecutionError(_NO_HISTORY, query) from error
    raise GremlinExecutionError(
        f"the query took longer than {context.limits.seconds:g} seconds to read the past", query, 0
    )


async def _carry_out(plan: Plan, execution: Execution) -> Result:
    drive = _Drive(execution)
    stream = Stream(GRAPH)
    if plan.explain:
        return await _explain(plan, execution, drive)
    for one in plan.planned:
        execution.offset = one.offset
        stream = await drive.finish(one.operation.run(execution, stream))
    return await drive.finish(_pin(execution, stream))


async def _explain(plan: Plan, execution: Execution, drive: _Drive) -> Result:
    stream = Stream(GRAPH)
    steps: list[dict[str, Any]] = []
    view = execution.root
    for one in plan.planned:
        execution.offset = one.offset
        notes: dict[str, int] = {}
        if isinstance(view, Snapshot):
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
            "Steps": steps,
            "Milliseconds": round(1000 * drive.busy, 4),
            "Slices": drive.slices,
        },
        EXPLANATION,
    )


def _rows(execution: Execution, stream: Stream) -> int:
    if stream.kind == GRAPH:
        return len(execution.view.ids("node")) + len(execution.view.ids("edge"))
    return len(stream.items)


@final
class _Drive:
    """Does work to its end; between its slices it checks the time and lets others run where the view allows it.

    ``busy`` is how long it has worked, in seconds, and ``slices`` how often it has let others run.
    """

    def __init__(self, execution: Execution) -> None:
        self.busy = 0.0
        self.slices = 0
        self._execution = execution
        self._slice_end = time.monotonic() + _SLICE

    async def finish(self, work: Work[T]) -> T:
        execution = self._execution
        start = time.monotonic()
        while True:
            try:
                next(work)
            except StopIteration as end:
                self.busy += time.monotonic() - start
                result: T = end.value
                return result
            execution.check_time()
            now = time.monotonic()
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
    if stream.kind in _KEYED:
        return KeyedResult(dict(stream.items), stream.kind)
    if stream.kind == GRAPH:
        view = execution.view
        nodes = yield from _revisions(execution, "node", view.ids("node"))
        edges = yield from _revisions(execution, "edge", view.ids("edge"), len(nodes))
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


def _revisions(execution: Execution, kind: element.Kind, ids: Any, held: int = 0) -> Work[list[Revision]]:
    revisions: list[Revision] = []
    view = execution.view
    for part in chunks(ids, 1024):
        if isinstance(view, Snapshot):
            revisions += view.revisions(kind, part)
        else:
            revisions += [one for id in part if (one := view.get(kind, id)) is not None]
        execution.hold(held + len(revisions))
        yield
    return revisions
