"""Running a query: over the live graph at one go, over a past graph in slices."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar, final

import attrs
import trio

from skycore.errors import GremlinExecutionError, HistoryUnavailable
from skycore.graph import element
from skycore.graph.element import Revision
from skycore.graph.view import GraphView, HistoryReader
from skycore.gremlin.moment import Moment
from skycore.gremlin.operation import COUNT, ELEMENT_KINDS, GRAPH, Execution, Limits, Stream, Work, chunks
from skycore.gremlin.plan import Planner
from skycore.gremlin.result import ElementsResult, GraphResult, NumberResult, Result, ValuesResult

T = TypeVar("T")

_SLICE: Final = 0.005
_NO_HISTORY: Final = "Backend does not support history"


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
    The live graph does not change while a query reads it, because the event loop does not run meanwhile; a graph of the
    past stays as it is (its view has ``frozen = True``), and the loop runs every few milliseconds.
    """
    await trio.lowlevel.checkpoint()
    deadline = time.monotonic() + context.limits.seconds
    plan = context.planner.plan(query)
    view = context.live
    if plan.moment is not None:
        view = await _past(plan.moment, context, query)
    execution = Execution(view, context.limits, deadline, query)
    stream = Stream(GRAPH)
    for operation in plan.operations:
        stream = await _drive(operation.run(execution, stream), execution)
    return await _drive(_pin(execution, stream), execution)


async def _past(moment: Moment, context: QueryContext, query: str) -> GraphView:
    if context.history is None:
        raise GremlinExecutionError(_NO_HISTORY, query)
    at, duration = moment.resolve(context.now())
    with trio.move_on_after(context.limits.seconds):
        try:
            return await trio.to_thread.run_sync(
                context.history.graph_at, at, duration, abandon_on_cancel=True, limiter=context.readers
            )
        except HistoryUnavailable as error:
            raise GremlinExecutionError(_NO_HISTORY, query) from error
    raise GremlinExecutionError(
        f"the query took longer than {context.limits.seconds:g} seconds to read the past", query
    )


async def _drive(work: Work[T], execution: Execution) -> T:
    """Do the work to its end; between its slices, check the time and let others run where the view allows it."""
    slice_end = time.monotonic() + _SLICE
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        execution.check_time()
        if execution.frozen and time.monotonic() > slice_end:
            await trio.lowlevel.checkpoint()
            slice_end = time.monotonic() + _SLICE


def _pin(execution: Execution, stream: Stream) -> Work[Result]:
    """Take hold of the revisions that the answer names, before the graph moves on."""
    if stream.kind == COUNT:
        (number,) = stream.items
        return NumberResult(number)
    if stream.kind == GRAPH:
        view = execution.view
        nodes = yield from _revisions(execution, "node", Stream(GRAPH, view.ids("node")))
        edges = yield from _revisions(execution, "edge", Stream(GRAPH, view.ids("edge")), len(nodes))
        return GraphResult(nodes, edges)
    kind = ELEMENT_KINDS.get(stream.kind)
    if kind is None:
        return ValuesResult(list(stream.items), stream.kind)
    return ElementsResult(stream.kind, (yield from _revisions(execution, kind, stream)))


def _revisions(execution: Execution, kind: element.Kind, stream: Stream, held: int = 0) -> Work[list[Revision]]:
    revisions: list[Revision] = []
    for part in chunks(stream.items):
        revisions += [one for id in part if (one := execution.view.get(kind, id)) is not None]
        execution.hold(held + len(revisions))
        yield
    return revisions
