"""The captures of an agent: kept in line with what is wanted and with the nodes, whatever a source does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from skycore.cluster.flow_stats import StatsTeller
from skycore.cluster.messages import CaptureStats, FlowStats, FromAgent
from skycore.errors import CaptureError
from skycore.flow.batch import FlowBatch
from skycore.flow.manager import CaptureManager
from skycore.flow.options import FlowOptions
from skycore.flow.order import CaptureOrder
from skycore.flow.source import Counts, FlowHost, FlowSource
from skycore.flow.spec import CaptureSpec
from skycore.graph.graph import Graph

FRAME = bytes.fromhex("0200000000020200000000010800450000200001000040110000010101010202020230390050000c0000") + b"hello"
NODE = "11111111-1111-5111-8111-111111111111"


class ScriptedSource:
    """Hands on what the test gives it; ends when the test says so."""

    def __init__(self, host: FlowHost) -> None:
        self.host = host
        self.seen = 0
        self.fail = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        if self.host.capture.Name == "unstartable":
            raise OSError(19, "No such device")
        self.host.show(PCAPSocket="127.0.0.1:8100")
        task_status.started()
        try:
            await self.fail.wait()
        finally:
            if self.host.capture.Name == "bad loser":
                raise SystemExit("over my dead body")
        raise RuntimeError("the source broke")

    def counts(self) -> Counts:
        return Counts(received=self.seen)

    async def packets(self, count: int) -> None:
        for _ in range(count):
            await self.host.packets.frames([(1_700_000_000_000_000_000, len(FRAME), FRAME)])
        self.seen += count


class Sources:
    def __init__(self) -> None:
        self.made: list[ScriptedSource] = []

    def make(self, type: str, host: Any) -> FlowSource:
        if type != "afpacket":
            raise CaptureError(f"no source for {type}")
        self.made.append(ScriptedSource(host))
        return self.made[-1]


@attrs.define
class World:
    graph: Graph
    manager: CaptureManager
    sources: Sources
    batches: list[FlowBatch]

    def put(self, **metadata: Any) -> None:
        whole = {"Name": "eth0", "Type": "veth", "IfIndex": 2, "LinkFlags": ["UP"], "State": "UP", "TID": "tid"}
        self.graph.claimant("netlink", plugin="netlink").put(NODE, {**whole, **metadata})

    def want(self, *specs: CaptureSpec, analyzer: str = "a") -> None:
        self.manager.want(analyzer, [CaptureOrder(spec, [NODE]) for spec in specs])

    def entries(self) -> list[dict[str, Any]]:
        node = self.graph.nodes.get(NODE)
        found: list[dict[str, Any]] = [] if node is None else node.metadata().get("Captures", [])
        return found

    async def until(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(5):
            while not condition():  # noqa: ASYNC110
                await trio.sleep(0.005)

    async def states(self, *expected: str) -> None:
        await self.until(lambda: [entry["State"] for entry in self.entries()] == list(expected))

    @property
    def flows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for batch in self.batches for line in batch.flows.splitlines()]


@asynccontextmanager
async def world(exclude: Callable[[], str] = str, **options: Any) -> AsyncIterator[World]:
    graph = Graph(host="h", origin="agent.h", with_tids=False)
    sources, batches = Sources(), list[FlowBatch]()

    async def forward(batch: FlowBatch) -> None:
        batches.append(batch)

    manager = CaptureManager(
        graph,
        sources=sources,
        options=FlowOptions(**{"update": 60.0, "stats_update": 0.02, **options}),
        namespace_of=lambda _id, index: "/proc/self/ns/net" if index == 2 else None,
        inside=lambda _path, call: call(),
        forward=forward,
        exclude=exclude,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(manager.run)
        yield World(graph, manager, sources, batches)
        nursery.cancel_scope.cancel()


async def test_a_capture_is_active_counts_and_sends_its_last_flows_when_it_ends() -> None:
    async with world() as one:
        one.put()
        one.want(CaptureSpec(UUID="c", Name="mine"))
        await one.states("active")
        await one.sources.made[0].packets(3)
        await one.until(lambda: one.entries()[0]["PacketsReceived"] == 3)
        assert one.entries()[0] == {
            "ID": "c",
            "Name": "mine",
            "State": "active",
            "Type": "afpacket",
            "PCAPSocket": "127.0.0.1:8100",
            "PacketsReceived": 3,
            "PacketsDropped": 0,
            "PacketsIfDropped": 0,
        }
        one.want()
        await one.until(lambda: not one.entries())
        (flow,) = one.flows
        assert (flow["NodeTID"], flow["CaptureID"], flow["Metric"]["ABPackets"]) == ("tid", "c", 3)
        counts, table = one.manager.totals()
        assert (counts.received, table.packets, table.flows) == (3, 3, 0)


async def test_ticks_send_what_changed() -> None:
    async with world(update=0.05) as one:
        one.put()
        one.want(CaptureSpec(UUID="c", RawPacketLimit=1))
        await one.states("active")
        for turn in (1, 2):
            await one.sources.made[0].packets(1)
            await one.until(partial(lambda expected: len(one.flows) == expected, turn))
        assert [flow["LastUpdateMetric"]["ABPackets"] for flow in one.flows] == [1, 1]
        assert sum(batch.raw_packets.count(b"\n") for batch in one.batches) == 1
        await trio.sleep(0.2)
        assert len(one.batches) == 2


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"LinkFlags": []}, "the interface is down"),
        ({"IfIndex": 3}, "namespace"),
        ({"TID": None}, "no TID"),
        ({"Type": "netns"}, "cannot be captured"),
    ],
)
async def test_what_cannot_be_captured_is_an_error_until_it_can(metadata: dict[str, Any], reason: str) -> None:
    async with world() as one:
        one.put(**metadata)
        one.want(CaptureSpec(UUID="c"))
        await one.states("error")
        assert reason in one.entries()[0]["Error"]
        one.put()
        await one.states("active")
        one.put(**metadata)
        await one.states("error")


async def test_a_node_may_come_late_go_and_come_back() -> None:
    async with world() as one:
        one.want(CaptureSpec(UUID="c"))
        await trio.sleep(0.05)
        for _ in range(2):
            one.put()
            await one.states("active")
            one.graph.claimant("netlink", plugin="netlink").drop(NODE)
            await one.until(lambda: NODE not in one.graph.nodes)
            await one.until(lambda: all(running.error == "the node is gone" for running in one.manager))


async def test_a_source_that_breaks_is_made_again_and_its_counts_stay() -> None:
    async with world() as one:
        one.put()
        one.want(CaptureSpec(UUID="c"), CaptureSpec(UUID="d", Name="unstartable"), CaptureSpec(UUID="e", Type="sflow"))
        await one.states("active", "error", "error")
        assert [entry.get("Error") for entry in one.entries()] == [None, "No such device", "no source for sflow"]
        first = next(source for source in one.sources.made if source.host.capture.UUID == "c")
        await first.packets(2)
        first.fail.set()
        await one.states("error", "error", "error")
        assert "the source broke" in one.entries()[0]["Error"]
        assert len(one.flows) == 1
        await one.states("active", "error", "error")
        await one.until(lambda: one.entries()[0]["PacketsReceived"] == 2)


async def test_what_several_analyzers_want_is_made_once_and_ends_with_the_last() -> None:
    async with world() as one:
        one.put()
        for analyzer in "ab":
            one.want(CaptureSpec(UUID="c"), analyzer=analyzer)
        await one.states("active")
        one.want(analyzer="a")
        await trio.sleep(0.05)
        assert len(one.sources.made) == 1
        await one.states("active")
        one.want(analyzer="b")
        await one.until(lambda: not one.entries())


async def test_a_source_that_raises_while_it_is_cancelled_harms_nobody() -> None:
    async with world() as one:
        one.put()
        one.want(CaptureSpec(UUID="c", Name="bad loser"), CaptureSpec(UUID="d"))
        await one.states("active", "active")
        one.put(IfIndex=3)
        await one.states("error", "error")
        one.put()
        await one.states("active", "active")
        one.want(CaptureSpec(UUID="d"))
        await one.states("active")


async def test_finished_counters_of_another_become_flows_with_the_same_identity() -> None:
    async with world(update=0.05) as one:
        one.put()
        one.want(CaptureSpec(UUID="c"), CaptureSpec(UUID="d"))
        await one.states("active", "active")
        packets, counters = sorted(one.sources.made, key=lambda source: source.host.capture.UUID)
        await packets.packets(1)
        await one.until(lambda: one.flows)
        (seen,) = one.flows
        said = {key: seen[key] for key in ("Link", "Network", "Transport", "Start", "Last")}
        metric = {"ABPackets": 7, "ABBytes": 700, "BAPackets": 1, "BABytes": 100, "Start": 0, "Last": 0}
        for turn in (1, 2):
            line = json.dumps({**said, "Metric": {**metric, "Start": seen["Start"], "Last": seen["Last"]}}).encode()
            assert await counters.host.packets.record(line + b"\n") == 1
            await one.until(partial(lambda expected: len(one.flows) == 1 + expected, turn))
        last = one.flows[-1]
        assert (last["CaptureID"], last["Metric"]["ABPackets"], last["LastUpdateMetric"]["ABPackets"]) == ("d", 14, 7)
        assert (last["L3TrackingID"], last["TrackingID"]) == (seen["L3TrackingID"], seen["TrackingID"])
        with pytest.raises(CaptureError):
            await counters.host.packets.record(b"{}\n")


async def test_stop_sends_what_is_in_the_tables() -> None:
    async with world() as one:
        one.put()
        one.want(CaptureSpec(UUID="c"))
        await one.states("active")
        await one.sources.made[0].packets(5)
        with trio.fail_after(5):
            await one.manager.stop()
        assert [flow["Metric"]["ABPackets"] for flow in one.flows] == [5]


async def test_captures_begin_anew_when_our_own_traffic_is_another() -> None:
    own = "not host 10.0.0.1"
    async with world(exclude=lambda: own) as one:
        one.put()
        one.want(CaptureSpec(UUID="c", BPFFilter="tcp"))
        await one.states("active")
        assert one.sources.made[0].host.filter == "(tcp) and not host 10.0.0.1"
        one.want(CaptureSpec(UUID="c", BPFFilter="tcp"))
        await trio.sleep(0.1)
        assert len(one.sources.made) == 1
        own = "not host 10.0.0.2"
        one.want(CaptureSpec(UUID="c", BPFFilter="tcp"))
        await one.until(lambda: len(one.sources.made) == 2)
        assert one.sources.made[1].host.filter == "(tcp) and not host 10.0.0.2"
        await one.states("active")


async def test_statistics_tell_what_was_counted_since_the_last_time() -> None:
    told: list[CaptureStats] = []

    async def send(message: FromAgent | bytes) -> None:
        assert isinstance(message, FlowStats)
        told.extend(message.captures)

    async with world() as one, trio.open_nursery() as nursery:
        nursery.start_soon(StatsTeller(lambda: one.manager, 0.02).serve, "a", send)
        one.put()
        one.want(CaptureSpec(UUID="c"))
        await one.states("active")
        for packets in (3, 2):
            before = len(told)
            await one.sources.made[0].packets(packets)
            await one.until(lambda before=before: len(told) > before + 3)  # type: ignore[misc]
        assert sum(stats.received for stats in told) == 5
        assert (told[-1].node, told[-1].capture, told[-1].flows, told[-1].received) == (NODE, "c", 1, 0)
        # What a new source counts from zero is not taken for a step back.
        one.sources.made[0].fail.set()
        await one.until(lambda: len(one.sources.made) == 2)
        await one.sources.made[1].packets(4)
        await one.until(lambda: sum(stats.received for stats in told) == 9)
        nursery.cancel_scope.cancel()
