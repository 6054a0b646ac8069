import threading
from typing import Any

import pytest
import trio

from skycore.errors import GremlinError, GremlinExecutionError, GremlinSyntaxError, HistoryUnavailable, StorageError
from skycore.graph.element import Revision, build_revision
from skycore.graph.view import Gap
from skycore.gremlin import (
    ElementsResult,
    Limits,
    NumberResult,
    Planner,
    QueryContext,
    StepDefinition,
    StepRegistry,
    core_registry,
    run,
)
from skycore.gremlin.operation import COUNT, NODES, Execution, Kind, Operation, Stream, Work
from skycore.gremlin.plan import Plan
from skycore.gremlin.registry import Call, step
from skycore.gremlin.steps.sources import Source
from skycore.testing.views import ListHistory, ListView

SECOND = 1000


def node(id: str, revision: int = 1, updated_at: int = 0, deleted_at: int | None = None) -> Revision:
    return build_revision(
        id=id, metadata=b'{"Name":"%d"}' % revision, revision=revision, host="h", origin="o", created_at=0,
        updated_at=updated_at, deleted_at=deleted_at,
    )  # fmt: skip


def edge(parent: str, child: str) -> Revision:
    return build_revision(
        id=parent + child, metadata=b"{}", revision=1, host="h", origin="o", created_at=0, updated_at=0,
        parent=parent, child=child,
    )  # fmt: skip


HISTORY = ListHistory(
    [node("a", 1, 1 * SECOND), node("b", 1, 2 * SECOND), node("a", 2, 3 * SECOND), node("b", 2, 4 * SECOND, 4 * SECOND)]
)
PAST = QueryContext(ListView([node("live")]), now=lambda: 10 * SECOND, history=HISTORY)


async def revisions(query: str, context: QueryContext = PAST) -> list[tuple[str, int]]:
    result = await run(query, context)
    assert isinstance(result, ElementsResult)
    return [(one.id, one.revision) for one in result.elements]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("G.V()", [("live", 1)]),
        ("G.At(0).V()", []),
        ("G.At(1).V()", [("a", 1)]),
        ("G.At(2).V()", [("a", 1), ("b", 1)]),
        ("G.Context('-7s').V()", [("a", 2), ("b", 1)]),
        ("G.At(NOW).V()", [("a", 2)]),
        ("G.At(NOW, 5).V()", [("a", 2)]),
        ("G.At(NOW, 6).V()", [("b", 1), ("a", 2), ("b", 2)]),
        ("G.At('-1s', FOREVER).V()", [("a", 1), ("b", 1), ("a", 2), ("b", 2)]),
        ("G.At('-1s', FOREVER).V().Dedup()", [("a", 1), ("b", 1)]),
        ("G.At('-1s', FOREVER).V('a')", [("a", 1), ("a", 2)]),
        ("G.At('-1s', FOREVER).V('a').Has('Name', '2')", [("a", 2)]),
        ("G.At('Thu, 01 Jan 1970 00:00:02 GMT').V().Has('Name', '1')", [("a", 1), ("b", 1)]),
    ],
)
async def test_the_past(query: str, expected: list[tuple[str, int]]) -> None:
    assert await revisions(query) == expected


async def test_the_whole_graph_of_the_past() -> None:
    assert (await run("G.At(1)", PAST)).json() == b'[{"Nodes":[' + node("a", 1, SECOND).json + b'],"Edges":null}]\n'


async def test_a_relative_moment_follows_the_clock_though_the_plan_is_kept() -> None:
    clock = iter([3 * SECOND, 4 * SECOND])
    context = QueryContext(ListView([]), now=lambda: next(clock), history=HISTORY)
    assert await revisions("G.At('-2s').V()", context) == [("a", 1)]
    assert await revisions("G.At('-2s').V()", context) == [("a", 1), ("b", 1)]


class Failing(ListHistory):
    """A store that cannot be asked."""

    def __init__(self, error: StorageError) -> None:
        super().__init__([])
        self._error = error

    def gaps(self, start: int, end: int) -> list[Gap]:
        raise self._error


@pytest.mark.parametrize(
    ("history", "reason"),
    [(None, ""), (Failing(HistoryUnavailable("no store is configured")), ": no store is configured")],
)
@pytest.mark.parametrize(
    "query", ["G.At('-1s').V()", "G.At('-1s', '1h').V()", "G.Diff('-1h', NOW)", "G.V().Revisions()"]
)
async def test_without_history(history: ListHistory | None, reason: str, query: str) -> None:
    with pytest.raises(GremlinExecutionError) as caught:
        await run(query, QueryContext(ListView([node("a")]), now=lambda: 5_000_000, history=history))
    assert caught.value.message == f"Backend does not support history{reason}"
    assert caught.value.offset == (query.find(".R") + 1 if "Rev" in query else 2)


async def test_a_broken_store_is_no_fault_of_the_query() -> None:
    history = Failing(StorageError("the disk is gone"))
    with pytest.raises(StorageError, match="the disk is gone"):
        await run("G.At('-1s').V()", QueryContext(ListView([]), now=lambda: 0, history=history))


class Slow(ListHistory):
    """A store that answers when it is told to."""

    def __init__(self) -> None:
        super().__init__([])
        self.asked = trio.Event()
        self.answer = threading.Event()
        self.thread: int | None = None
        self._token = trio.lowlevel.current_trio_token()

    def gaps(self, start: int, end: int) -> list[Gap]:
        self.thread = threading.get_ident()
        self._token.run_sync_soon(self.asked.set)
        assert self.answer.wait(30)
        return []


async def test_the_store_is_asked_in_a_worker_thread_and_the_query_can_be_cancelled() -> None:
    store = Slow()
    context = QueryContext(ListView([]), now=lambda: 0, history=store)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, "G.At('-1s').V()", context)
            with trio.fail_after(10):
                await store.asked.wait()
            assert store.thread not in (None, threading.get_ident())
            nursery.cancel_scope.cancel()
    finally:
        store.answer.set()


async def test_a_store_that_takes_too_long() -> None:
    store = Slow()
    context = QueryContext(ListView([]), now=lambda: 0, history=store, limits=Limits(seconds=0.02))
    try:
        with trio.fail_after(10), pytest.raises(GremlinExecutionError, match=r"longer than 0\.02 seconds"):
            await run("G.At('-1s').V()", context)
    finally:
        store.answer.set()


HUB = [*(node(str(number)) for number in range(30)), *(edge("0", str(number)) for number in range(30))]


@pytest.mark.parametrize(
    "query", ["G", "G.V().Both()", "G.V().Both().Both().Count()", "G.V().BothE()", "G.E().BothV().Values('Name')"]
)
async def test_a_query_that_holds_too_many_elements(query: str) -> None:
    context = QueryContext(ListView(HUB), now=lambda: 0, limits=Limits(elements=50))
    with pytest.raises(GremlinExecutionError, match="more than 50 elements"):
        await run(query, context)


async def test_what_stays_within_the_limits_is_answered() -> None:
    context = QueryContext(ListView(HUB), now=lambda: 0, limits=Limits(elements=50))
    assert len(await revisions("G.V('0').Out()", context)) == 30
    # The limit stops the moves before they hold too much.
    assert len(await revisions("G.V().Both().Limit(20)", context)) == 20


async def test_a_query_that_takes_too_long() -> None:
    context = QueryContext(ListView(HUB), now=lambda: 0, limits=Limits(seconds=0))
    with pytest.raises(GremlinExecutionError, match="longer than 0 seconds"):
        await run("G.V().Both()", context)


@pytest.mark.parametrize(
    "query", ["G.V().Has('Name', '1').Dedup('Name').Count()", "G.V().Has('Name', '1').Limit(1).Count()"]
)
@pytest.mark.parametrize("frozen", [True, False])
async def test_others_run_between_slices_only_when_the_graph_stands_still(frozen: bool, query: str) -> None:
    # One element passes the filter, the last.
    view = ListView([*(node(str(number), 2) for number in range(30_000)), node("last")], frozen=frozen)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        result = await run(query, QueryContext(view, now=lambda: 0))
        counted = turns
        nursery.cancel_scope.cancel()
    assert isinstance(result, NumberResult)
    assert result.value == 1
    # One turn belongs to the checkpoint at the query's start (trio may schedule the counter before or after it).
    assert counted > 2 if frozen else counted <= 2


async def test_a_cancelled_query_ends_at_its_next_checkpoint() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await run("G.V()", PAST)
    assert scope.cancelled_caught


def test_plans_are_kept_by_text_errors_are_not() -> None:
    planner = Planner(size=2)
    first = planner.plan("G.V()")
    assert planner.plan("G.V()") is first
    planner.plan("G.E()")
    assert planner.plan("G.V()") is first
    planner.plan("G")
    assert planner.plan("G.V()") is first
    long = f"G.V('{'x' * 5000}')"
    assert planner.plan(long) is not planner.plan(long)
    assert planner.plan("G.V()") is first
    errors = []
    for _ in range(2):
        with pytest.raises(GremlinError) as caught:
            planner.plan("G.Size()")
        errors.append(caught.value)
    assert errors[0] is not errors[1]

    @step("Size", parameters="()", gives={NODES: COUNT})
    def size(call: Call, kind: Kind) -> Operation:
        """How many."""
        raise AssertionError

    planner.registry.add(size)
    with pytest.raises(GremlinExecutionError, match="Size works on nodes, but stands after the graph"):
        planner.plan("G.Size()")


def operations(query: str) -> tuple[Operation, ...]:
    plan: Plan = Planner().plan(query)
    return plan.operations


def test_operations_are_fused() -> None:
    (lookup,) = operations("G.V().Has('a', 1).HasNot('b').Limit(5).Range(1, 3)")
    assert isinstance(lookup, Source)
    assert (lookup.narrow.start, lookup.narrow.stop) == (1, 3)
    assert len(operations("G.V().Limit(5).Has('a', 1)")) == 2
    assert len(operations("G.V().Out().Has('a').Limit(1)")) == 2
    assert len(operations("G.V().Dedup().Limit(1)")) == 2
    assert len(operations("G.V().Dedup('a').Has('a')")) == 3
    assert len(operations("G.V().Has('a').Count()")) == 1
    assert len(operations("G.V().Limit(1).Count()")) == 2
    assert len(operations("G.V().Sort('a').Limit(9).Range(1, 2)")) == 2
    assert operations("G.At(1)") == ()


def test_order_is_given_up_only_where_nothing_depends_on_it() -> None:
    def ordered(query: str) -> bool:
        source = operations(query)[0]
        return not isinstance(source, Source) or source.ordered

    assert not ordered("G.V().Has('a', 1).Out().Count()")
    assert not ordered("G.V().Has('a', 1).Out().Dedup().Has('b').Count()")
    # Which one of those with the same value is kept depends on it.
    assert ordered("G.V().Has('a', 1).Dedup('b').Has('c').Count()")
    assert ordered("G.V().Has('a', 1).Limit(2).Count()")
    # And over a span, which one of an element's revisions is.
    assert ordered("G.At(1, 1).V().Has('a', 1).Out().Dedup().Has('c').Count()")


async def test_a_step_of_a_plugin() -> None:
    class TakeLast(Operation):
        def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
            yield
            return Stream(stream.kind, list(stream.items)[-1:])

    @step("Last", aliases=("Tail",), parameters="()", gives={NODES: NODES})
    def last(call: Call, kind: Kind) -> Operation:
        """The last node.

        More is said here.
        """
        call.refuse_parameters()
        return TakeLast()

    assert last.summary == "The last node."
    registry = core_registry()
    registry.add(last)
    context = QueryContext(ListView(HUB), now=lambda: 0, planner=Planner(registry))
    assert await revisions("G.V().tail()", context) == [("29", 1)]
    with pytest.raises(GremlinSyntaxError, match="Tail accepts no parameter"):
        await run("G.V().Tail(1)", context)


@pytest.mark.parametrize("name", ["has", "CONTEXT", "g"])
def test_a_step_name_can_be_taken_once(name: str) -> None:
    def compile(call: Call, kind: Kind) -> Any:
        """Nothing."""

    registry: StepRegistry = core_registry()
    definition: StepDefinition = step(name, parameters="()", gives={NODES: NODES})(compile)
    with pytest.raises(ValueError, match="is taken"):
        registry.add(definition)
