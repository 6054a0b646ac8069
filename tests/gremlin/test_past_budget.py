"""Long queries over the past: others run meanwhile, and they end when they are told to or have had their time."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from skycore.errors import GremlinExecutionError
from skycore.graph.element import build_revision, canonical_metadata
from skycore.gremlin import Limits, QueryContext, run
from skycore.role import memory
from skycore.storage.contract import RevisionRecord
from skycore.storage.embedded import EmbeddedStore
from skycore.testing.views import ListView

NODES = 4000
BEGIN = 1_700_000_000_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedStore:
    """Nodes in a ring, each with three revisions; read from the file, not from memory."""
    folder: Path = tmp_path_factory.mktemp("history")
    made = EmbeddedStore(EmbeddedStore.Settings(path=str(folder), retention_days=0, recent_bytes=0))
    made.open()
    for number in range(3):
        made.commit([node(one, number) for one in range(NODES)])
    made.commit([edge(one, (one + 1) % NODES) for one in range(NODES)])
    return made


def node(one: int, number: int) -> RevisionRecord:
    metadata = {"Name": f"n{one}", "Value": one * number, "Features": {f"f{key}": key == number for key in range(10)}}
    return RevisionRecord(
        build_revision(
            id=f"n{one}", metadata=canonical_metadata(metadata), revision=number + 1, host="h", origin="agent.h",
            created_at=BEGIN, updated_at=BEGIN + number * 1000,
        )
    )  # fmt: skip


def edge(parent: int, child: int) -> RevisionRecord:
    return RevisionRecord(
        build_revision(
            id=f"e{parent}", metadata=b'{"RelationType":"layer2"}', revision=1, host="h", origin="agent.h",
            created_at=BEGIN, updated_at=BEGIN, parent=f"n{parent}", child=f"n{child}",
        )
    )  # fmt: skip


def context(store: EmbeddedStore, limits: Limits | None = None) -> QueryContext:
    return QueryContext(ListView([]), now=lambda: BEGIN + 5000, history=store, limits=limits or Limits(seconds=120))


QUERIES = [
    "G.At(NOW).V().Has('Value', Gt(100)).Both().Sort(DESC, 'Value').Values('Name').Count()",
    "G.At(NOW).V('n0').Descendants('RelationType', 'layer2', 0).SubGraph().E().Count()",
    "G.At(NOW, '1h').V().Has('Value', Gt(100)).Both().Both().Dedup('Value').Count()",
    "G.At(NOW, '1h').V().Out().SubGraph().V().Count()",
    "G.At(NOW, '1h').V('n0').ShortestPathTo(Metadata('Name', 'n700')).Count()",
    "G.At(NOW, '1h').V().Sort(DESC, 'Value').ValueMap('Name', 'Features.f3').Count()",
    "G.At(NOW, '1h').V().Keys()",
    "G.Diff('-5s', NOW)",
    "G.At(NOW, '1h').V().Limit(2000).Revisions('Features.f1')",
    "G.At(NOW, '1h').V().Metrics().Count()",
]
# Processor time of the event loop's thread between two turns of others: a slice, and what a worker thread costs it.
SLICE = 0.05


@pytest.fixture
def own_schedule() -> Iterator[None]:
    """As in every process of ours, no full collection of garbage comes while a query runs."""
    thresholds = gc.get_threshold()
    memory.take_over()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.mark.usefixtures("own_schedule")
@pytest.mark.parametrize("query", QUERIES)
async def test_others_run_while_a_query_over_the_past_does(store: EmbeddedStore, query: str) -> None:
    turns: list[float] = []

    async def take_turns() -> None:
        while True:
            turns.append(time.thread_time())
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        await trio.lowlevel.checkpoint()
        await run(query, context(store))
        turns.append(time.thread_time())
        nursery.cancel_scope.cancel()
    longest = max(after - before for before, after in pairwise(turns))
    assert len(turns) > 3
    assert longest < SLICE, f"{1000 * longest:.1f} ms without a turn for others"


@pytest.mark.parametrize("query", [QUERIES[2], QUERIES[7], QUERIES[8]])
async def test_a_query_over_the_past_can_be_cancelled_at_any_moment(store: EmbeddedStore, query: str) -> None:
    whole = time.monotonic()
    await run(query, context(store))
    whole = time.monotonic() - whole
    for part in (0.0, 0.1, 0.5, 0.9):
        began = time.monotonic()
        with trio.move_on_after(part * whole) as scope:
            await run(query, context(store))
        assert scope.cancelled_caught or part > 0
        assert time.monotonic() - began < whole + 5
    # What the threads of cancelled queries held is free again, and the store answers.
    with trio.fail_after(60):
        assert (await run("G.At(NOW).V().Count()", context(store))).json() == b"%d\n" % NODES


@pytest.mark.parametrize("query", QUERIES)
async def test_a_query_over_the_past_has_its_time_and_no_more(store: EmbeddedStore, query: str) -> None:
    began = time.monotonic()
    with pytest.raises(GremlinExecutionError, match=r"longer than 0\.001 seconds") as caught:
        await run(query, context(store, Limits(seconds=0.001)))
    assert caught.value.offset is not None
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "query", ["G.At(NOW, '1h').V().Count()", "G.At(NOW, '1h')", "G.Diff('-6s', NOW)", "G.At(NOW).V().Revisions()"]
)
async def test_a_query_over_the_past_holds_no_more_than_it_may(store: EmbeddedStore, query: str) -> None:
    with pytest.raises(GremlinExecutionError, match="more than 2500 ") as caught:
        await run(query, context(store, Limits(elements=2500)))
    assert caught.value.offset is not None


async def test_the_answer_comes_in_pieces(store: EmbeddedStore) -> None:
    for query in ("G.At(NOW, '1h').V()", "G.Diff('-6s', NOW)", "G.At(NOW).V().Revisions()"):
        result = await run(query, context(store))
        pieces = [len(piece) for piece in result.json_chunks()]
        assert sum(pieces) == len(result.json())
        assert max(pieces) < sum(pieces) / 3


async def test_no_more_than_a_few_threads_read_the_past(store: EmbeddedStore) -> None:
    before = threading.active_count()
    shared = context(store)
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(run, "G.At(NOW, '1h').V().Count()", shared)
        await trio.sleep(0.05)
        assert shared.readers.borrowed_tokens <= 4
        assert threading.active_count() <= before + 8
