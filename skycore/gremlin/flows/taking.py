"""``Flows``: where flows come from, and what is asked of their tables and stores instead of being done here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, final

import attrs

from skycore.filter import EVERYTHING
from skycore.flow.evaluation import decode, order_of, same_as, test_of
from skycore.flow.fields import canonical_filter
from skycore.flow.query import FlowQuery, FlowReader, FlowSpan
from skycore.flow.spec import NODES as CAPTURED
from skycore.gremlin.operation import (
    FLOWS,
    GRAPH,
    NODES,
    PATHS,
    Execution,
    Kind,
    Narrow,
    Operation,
    Stream,
    Work,
    chunks,
    column,
    every,
)
from skycore.gremlin.predicates import all_of, pair_filters
from skycore.gremlin.registry import Call, StepDefinition, step
from skycore.gremlin.steps.order import window_after

_AT_A_TIME = 256


class PerFlow(Operation):
    """What is done with flows one by one, so that it can be done while they come: they are never held all.

    ``only_now``: over the past it is done otherwise, by ``run``.
    """

    looks_around: ClassVar[bool] = False
    only_now: ClassVar[bool] = False

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        items: list[Any] = []
        for part in chunks(stream.items, _AT_A_TIME):
            items += self.piece(execution, part)
            execution.hold(len(items))
            yield
        return self.whole(items)

    @abstractmethod
    def piece(self, execution: Execution, records: Sequence[bytes]) -> list[Any]:
        """What some flows give."""

    @abstractmethod
    def whole(self, items: list[Any]) -> Stream:
        """The stream of all that was given."""


@final
@attrs.frozen
class RefineFlows(Operation):
    """Keep the flows that a query wants, in its order."""

    looks_around: ClassVar[bool] = False

    query: FlowQuery

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        query, ordered = self.query, list(stream.items)
        if query.filter != EVERYTHING:
            holds = test_of(query.filter)
            kept: list[bytes] = []
            for part in chunks(ordered, _AT_A_TIME):
                kept += [json for json in part if holds(decode(json))]
                yield
            ordered = kept
        if query.sort_by is not None:
            order = order_of(query)
            places: list[tuple[Any, bytes]] = []
            for part in chunks(ordered, _AT_A_TIME):
                places += [(order(decode(json)), json) for json in part]
                yield
            places.sort(key=lambda place: place[0])
            ordered = [json for _, json in places]
            yield
        if query.dedup_by is not None:
            seen: set[Any] = set()
            first: list[bytes] = []
            for part in chunks(ordered, _AT_A_TIME):
                for json in part:
                    identity = same_as(decode(json), query.dedup_by)
                    if identity is None or identity not in seen:
                        seen.add(identity)
                        first.append(json)
                yield
            ordered = first
        return Stream(FLOWS, ordered[query.offset : None if query.limit is None else query.offset + query.limit])

    def absorb(self, following: Operation) -> Operation | None:
        if not isinstance(following, RefineFlows):
            return None
        query = then(self.query, following.query)
        return None if query is None else RefineFlows(query)


def then(first: FlowQuery, second: FlowQuery) -> FlowQuery | None:
    """One query that gives what the second gives of the first's answer, None when there is none.

    What stands after a window counts only what is in it, and a filter after ``Dedup`` may drop what was kept.
    """
    windowed = first.offset > 0 or first.limit is not None
    query = first
    if second.filter != EVERYTHING:
        if windowed or first.dedup_by is not None:
            return None
        both = Narrow(first.filter).then(Narrow(second.filter))
        assert both is not None
        query = attrs.evolve(query, filter=both.filter)
    if second.sort_by is not None:
        # A later order replaces an earlier one, but for what that one has made ``Dedup`` keep.
        same = (first.sort_by, first.descending) == (second.sort_by, second.descending)
        if windowed or not (first.dedup_by is None or first.sort_by is None or same):
            return None
        query = attrs.evolve(query, sort_by=second.sort_by, descending=second.descending)
    if second.dedup_by is not None:
        if windowed or first.dedup_by not in (None, second.dedup_by):
            return None
        query = attrs.evolve(query, dedup_by=second.dedup_by)
    stop = None if first.limit is None else first.offset + first.limit
    window = window_after(first.offset, stop, Narrow(start=second.offset, stop=_stop(second)))
    assert window is not None
    return attrs.evolve(query, offset=window[0], limit=None if window[1] is None else max(0, window[1] - window[0]))


def _stop(query: FlowQuery) -> int | None:
    return None if query.limit is None else query.offset + query.limit


@final
@attrs.frozen
class TakeFlows(Operation):
    """Ask for flows, those seen at the nodes of the stream; ``each`` is done with them as they come."""

    query: FlowQuery = attrs.field(factory=FlowQuery)
    each: PerFlow | None = None

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        nodes: frozenset[str] | None = None
        if stream.kind != GRAPH or execution.view is not execution.root:
            nodes = yield from _captured(execution, stream)
        each = None if execution.span is not None and self.each is not None and self.each.only_now else self.each
        items: list[Any] = []
        if nodes is None or nodes:
            reader = flow_reader(execution)
            query = attrs.evolve(self.query, nodes=nodes)
            items = yield from execution.wait_for(lambda: self._take(execution, reader, query, each))
        if each is not None:
            return each.whole(items)
        taken = Stream(FLOWS, items)
        return taken if self.each is None else (yield from self.each.run(execution, taken))

    async def _take(
        self, execution: Execution, reader: FlowReader, query: FlowQuery, each: PerFlow | None
    ) -> list[Any]:
        items: list[Any] = []
        size = 0
        # Closed when the query ends, however it does: then nobody works on the rest any more.
        async with aclosing(reader.flows(query, span_of(execution), execution.tell)) as pieces:
            async for piece in pieces:
                if each is None:
                    items += piece
                    size += sum(map(len, piece))
                    execution.hold_bytes(size)
                else:
                    items += each.piece(execution, piece)
                execution.hold(len(items))
        return items

    def absorb(self, following: Operation) -> Operation | None:
        if self.each is not None:
            return None
        if isinstance(following, RefineFlows):
            query = then(self.query, following.query)
            return None if query is None else attrs.evolve(self, query=query)
        return attrs.evolve(self, each=following) if isinstance(following, PerFlow) else None


def flow_reader(execution: Execution) -> FlowReader:
    """Who is asked about flows; raises GremlinExecutionError where nobody can be."""
    if execution.flows is None:
        raise execution.error("flows cannot be asked for here")
    return execution.flows


def span_of(execution: Execution) -> FlowSpan | None:
    """The time that a query is about, None for the present."""
    return None if execution.span is None else FlowSpan(*execution.span)


def _captured(execution: Execution, stream: Stream) -> Work[frozenset[str]]:
    """The TIDs of those nodes, also of those on paths, that can have captures."""
    ids: Collection[str]
    match stream.kind:
        case "graph":
            ids = yield from every(execution.view, "node")
        case "P":
            ids = list(dict.fromkeys(node for path in stream.items for node in path))
        case _:
            ids = list(dict.fromkeys(stream.items))
    types = yield from column(execution, "node", "Type", ids)
    tids = yield from column(execution, "node", "TID", ids)
    return frozenset(
        tid for type, tid in zip(types, tids, strict=True) if isinstance(tid, str) and type in CAPTURED and tid
    )


@step("Flows", parameters="([key, value, …])", gives=dict.fromkeys((GRAPH, NODES, PATHS), FLOWS))
def flows(call: Call, kind: Kind) -> Operation:
    """The flows seen at the nodes (or on paths, or anywhere), with pairs those for which they hold."""
    if not call.arguments:
        return TakeFlows()
    if len(call.arguments) == 1:
        raise call.error("At least two parameters must be provided", call.arguments[0])
    filter = all_of(pair_filters(call, "params should be a list of key,value"))
    return TakeFlows(FlowQuery(canonical_filter(filter)))


STEPS: tuple[StepDefinition, ...] = (flows,)
