"""Flows between agent and analyzers: one at a time, all that was taken, again until acknowledged, never too much."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from skycore.cluster import messages
from skycore.cluster.flow_forward import READER, FlowForwarder
from skycore.cluster.flow_intake import FlowIntake, OrderTeller
from skycore.cluster.intake import AgentLink
from skycore.cluster.messages import Captures, FlowAck, FlowGap, Flows, FromAgent, FromAnalyzer
from skycore.cluster.spool import Spool, next_epoch
from skycore.errors import StorageError
from skycore.flow.batch import FlowBatch
from skycore.flow.enhance import Enhancer
from skycore.flow.order import CaptureOrder
from skycore.flow.spec import CaptureSpec
from skycore.graph.graph import Graph
from skycore.storage.flow_rows import FlowRows
from skycore.storage.flows import FlowStore


def batch(number: int, size: int = 0) -> FlowBatch:
    last = {"ABPackets": 1, "ABBytes": 0, "BAPackets": 0, "BABytes": 0, "Start": 0, "Last": number}
    flow = {"UUID": f"f{number}", "Start": 1, "Last": number, "LastUpdateMetric": last, "Filler": "x" * size}
    return FlowBatch(json.dumps(flow).encode() + b"\n", b"", 1)


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.005)


class Link:
    """One analyzer's end, in memory: what it was sent, decoded as it would be."""

    def __init__(self, forwarder: FlowForwarder, name: str) -> None:
        self.forwarder = forwarder
        self.name = name
        self.got: list[Flows | FlowGap] = []
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            await self.forwarder.serve(self.name, self._send)

    async def _send(self, message: FromAgent | bytes) -> None:
        await trio.lowlevel.checkpoint()
        decoded = messages.from_agent(message if isinstance(message, bytes) else messages.encode(message))
        assert isinstance(decoded, Flows | FlowGap)
        self.got.append(decoded)

    async def until(self, count: int) -> None:
        await until(lambda: len(self.got) >= count)

    async def acknowledge(self, seq: int) -> None:
        await self.forwarder.take(self.name, FlowAck(self.got[-1].epoch, seq))

    @property
    def numbers(self) -> list[int]:
        return [message.seq for message in self.got]


@asynccontextmanager
async def forwarding(folder: Path, max_bytes: int = 64 << 20) -> AsyncIterator[tuple[FlowForwarder, trio.Nursery]]:
    spool = Spool(folder, next_epoch(folder, 1), max_bytes)
    wanted: dict[str, Sequence[CaptureOrder]] = {}
    forwarder = FlowForwarder(spool, wanted.__setitem__)
    spool.retain([READER])
    try:
        async with trio.open_nursery() as nursery:
            yield forwarder, nursery
            nursery.cancel_scope.cancel()
    finally:
        spool.close()


async def test_one_analyzer_has_the_turn_and_the_next_gets_what_was_not_acknowledged(tmp_path: Path) -> None:
    async with forwarding(tmp_path) as (forwarder, nursery):
        one, two = Link(forwarder, "one"), Link(forwarder, "two")
        nursery.start_soon(one.run)
        await until(lambda: forwarder.state.analyzer == "one")
        nursery.start_soon(two.run)
        for number in range(1, 6):
            await forwarder.put(batch(number))
        await one.until(5)
        await one.acknowledge(3)
        # Whoever has not the turn cannot acknowledge.
        await forwarder.take("two", FlowAck(one.got[0].epoch, 5))
        assert two.got == []
        one.scope.cancel()
        await two.until(2)
        assert two.numbers == [4, 5]
        await two.acknowledge(5)
        with trio.fail_after(5):
            await forwarder.drained()


async def test_what_was_taken_survives_the_process(tmp_path: Path) -> None:
    async with forwarding(tmp_path) as (forwarder, _):
        for number in (1, 2):
            await forwarder.put(batch(number))
    async with forwarding(tmp_path) as (forwarder, nursery):
        link = Link(forwarder, "one")
        nursery.start_soon(link.run)
        await forwarder.put(batch(3))
        await link.until(3)
        flows = [msgspec.json.decode(flow)["UUID"] for one in link.got if isinstance(one, Flows) for flow in one.flows]
        assert flows == ["f1", "f2", "f3"]
        assert [one.epoch for one in link.got] == sorted(one.epoch for one in link.got)


async def test_no_more_than_a_window_is_on_its_way(tmp_path: Path) -> None:
    async with forwarding(tmp_path) as (forwarder, nursery):
        link = Link(forwarder, "one")
        nursery.start_soon(link.run)
        for number in range(1, 31):
            await forwarder.put(batch(number, 200_000))
        await link.until(10)
        await trio.sleep(0.1)
        sent = len(link.got)
        assert sent < 15
        await link.acknowledge(link.got[-1].seq)
        await link.until(sent + 5)


async def test_a_spool_that_is_full_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    async with forwarding(tmp_path, max_bytes=200_000) as (forwarder, nursery):
        for number in range(1, 31):
            await forwarder.put(batch(number, 20_000))
        assert forwarder.spool.status.dropped > 0
        link = Link(forwarder, "one")
        nursery.start_soon(link.run)
        await until(lambda: link.got and link.got[-1].seq == 30)
        gaps = [one for one in link.got if isinstance(one, FlowGap)]
        lost = {number for gap in gaps for number in range(gap.first, gap.seq + 1)}
        came = {one.seq for one in link.got if isinstance(one, Flows)}
        assert lost | came == set(range(1, 31))
        assert not lost & came
        assert len(lost) == forwarder.spool.status.dropped


def knows_nothing() -> Enhancer:
    return Enhancer(Graph(host="h", origin="analyzer.h", with_tids=False))


def agent_link(origin: str = "agent.h") -> AgentLink:
    made: Any = AgentLink.__new__(AgentLink)
    made.origin = origin
    return made  # type: ignore[no-any-return]


async def test_a_batch_is_acknowledged_after_its_commit_and_what_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FlowStore(tmp_path, retention_days=0, max_bytes=0)
    store.open()
    intake, acknowledged = FlowIntake(store, knows_nothing()), list[FromAnalyzer]()
    failing = True
    commit = store.commit

    def refuse(rows: FlowRows) -> None:
        if failing:
            raise StorageError("the disk is full")
        commit(rows)

    monkeypatch.setattr(store, "commit", refuse)

    async def send(message: FromAnalyzer) -> None:
        acknowledged.append(message)

    async with trio.open_nursery() as nursery:
        await nursery.start(intake.run)
        # Before the task that tells is there: nothing may be forgotten.
        for number in (1, 2):
            flows = [msgspec.Raw(line) for line in batch(number).flows.splitlines()]
            await intake.take(agent_link(), Flows(7, number, flows, []))
        await until(lambda: intake.state.error)
        assert (intake.state.error, intake.backlog, acknowledged) == ("the disk is full", 2, [])
        failing = False
        await until(lambda: not intake.backlog)
        nursery.start_soon(intake.serve, agent_link(), send)
        await until(lambda: acknowledged == [FlowAck(7, 2)])
        await intake.take(agent_link(), FlowGap(7, 3, 5))
        await until(lambda: acknowledged[-1] == FlowAck(7, 5))
        assert (intake.state.error, intake.backlog, intake.state.lost_batches) == (None, 0, 3)
        assert store.counts()["flow"] == 2
        nursery.cancel_scope.cancel()
    store.close()


async def test_a_store_that_cannot_be_opened_acknowledges_nothing_until_it_can(tmp_path: Path) -> None:
    store = FlowStore(tmp_path, retention_days=0, max_bytes=0)
    store.path.write_bytes(b"damaged " * 1000)
    intake = FlowIntake(store, knows_nothing())
    acknowledged: list[FromAnalyzer] = []

    async def send(message: FromAnalyzer) -> None:
        acknowledged.append(message)

    async with trio.open_nursery() as nursery:
        await nursery.start(intake.run)
        nursery.start_soon(intake.serve, agent_link(), send)
        await intake.take(agent_link(), Flows(7, 1, [msgspec.Raw(batch(1).flows.strip())], []))
        await until(lambda: intake.state.error)
        assert "could not be opened" in str(intake.state.error)
        assert (intake.backlog, acknowledged) == (1, [])
        store.path.rename(tmp_path / "damaged")
        await until(lambda: acknowledged)
        assert (acknowledged, intake.state.error) == ([FlowAck(7, 1)], None)
        assert store.counts()["flow"] == 1
        nursery.cancel_scope.cancel()
    store.close()


async def test_agents_are_told_what_is_wanted_at_once_and_when_it_changes() -> None:
    class Wanted:
        def __init__(self) -> None:
            self.changed = trio.Event()
            self.orders: list[CaptureOrder] = []

        def of(self, origin: str) -> list[CaptureOrder]:
            return self.orders if origin == "agent.h" else []

    wanted, told = Wanted(), list[FromAnalyzer]()

    async def send(message: FromAnalyzer) -> None:
        told.append(messages.from_analyzer(messages.encode(message)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(OrderTeller(wanted).serve, agent_link(), send)
        await trio.testing.wait_all_tasks_blocked()
        assert told == [Captures([])]
        order = CaptureOrder(CaptureSpec(UUID="u", BPFFilter="tcp"), ["n"])
        for orders in ([order], [order], []):
            wanted.orders = orders
            wanted.changed, changed = trio.Event(), wanted.changed
            changed.set()
            await trio.testing.wait_all_tasks_blocked()
        assert told == [Captures([]), Captures([order]), Captures([])]
        nursery.cancel_scope.cancel()
