"""Questions about live flows to many agents: how long they take, and what they cost.

``python -m benchmarks.flow_query [agents] [flows of each]``

Each agent has a native table with that many flows, of which every hundredth goes to port 443.  Questions and answers
are the link's messages, encoded and decoded as on it; what the sockets between cost is not in it.  All agents and the
analyzer share one processor here, so what they do side by side elsewhere stands in a row.
"""

from __future__ import annotations

import struct
import sys
import time
from statistics import median
from typing import Final

import trio

from skycore.cluster import messages
from skycore.cluster.flow_answer import FlowAnswerer
from skycore.cluster.flow_ask import AgentsFlows
from skycore.cluster.intake import AgentLink
from skycore.flow.live import LiveFlows
from skycore.flow.options import FlowOptions
from skycore.flow.present_and_past import PresentAndPast
from skycore.flow.source import Interface
from skycore.flow.spec import CaptureSpec
from skycore.flow.table import FlowTable
from skycore.gremlin import Limits, QueryContext, run
from skycore.testing.views import ListView

AGENTS: Final = 50
FLOWS: Final = 10_000
TURNS: Final = 9
QUERIES: Final = (
    "G.Flows().Has('Network.A', '10.0.7.7').Count()",
    "G.Flows().Has('Transport.B', 443).Count()",
    "G.Flows().Sort(DESC, 'Metric.ABBytes').Limit(10)",
    "G.Flows().Has('Transport.B', 443).Sort('Last').Limit(1000)",
    "G.Flows().Has('Transport.B', 443)",
    "G.Flows().Count()",
)


def frame(number: int, agent: int) -> bytes:
    """A UDP packet of a conversation of its own."""
    address = struct.pack("!BBH", 10, agent, number % 65536)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + 20, 0, 0, 64, 17, 0, address, b"\x0a\xff\x00\x01")
    port = 443 if number % 100 == 0 else 1024 + number // 65536
    return (
        b"\x02" * 5
        + b"\x01"
        + b"\x02" * 5
        + b"\x02\x08\x00"
        + ip
        + struct.pack("!HHHH", 40000, port, 28, 0)
        + bytes(20)
    )


async def table_of(agent: int, flows: int) -> FlowTable:
    made = FlowTable(CaptureSpec(UUID="c"), Interface(f"n{agent}", f"n{agent}", "x", "veth", 1, 1, ""), FlowOptions())
    now = time.time_ns()
    for start in range(0, flows, 1000):
        frames = [frame(number, agent) for number in range(start, min(flows, start + 1000))]
        await made.frames([(now, len(one), one) for one in frames])
    return made


class Sent:
    """What agents have sent."""

    def __init__(self) -> None:
        self.bytes = 0
        self.messages = 0


async def link(nursery: trio.Nursery, asked: AgentsFlows, number: int, table: FlowTable, sent: Sent) -> None:
    answerer = FlowAnswerer(LiveFlows(lambda: [table], 600_000))
    known = AgentLink(f"h{number}", "a", f"agent.h{number}", 1, "", 0, 0, "")

    async def to_agent(message: messages.FromAnalyzer) -> None:
        await answerer.take("a", messages.from_analyzer(messages.encode(message)))  # type: ignore[arg-type]

    async def to_analyzer(message: messages.FromAgent) -> None:
        data = messages.encode(message)
        sent.bytes += len(data)
        sent.messages += 1
        await trio.lowlevel.checkpoint()
        await asked.take(known, messages.from_agent(data))  # type: ignore[arg-type]

    nursery.start_soon(answerer.serve, "a", to_analyzer)
    nursery.start_soon(asked.serve, known, to_agent)
    while known.origin not in asked.agents:
        await trio.lowlevel.checkpoint()


async def main(agents: int, flows: int) -> None:
    asked = AgentsFlows(agents_of=lambda _: None, patience=60, expire_ms=600_000)
    reader = PresentAndPast(asked, None, now=lambda: 0, update_ms=60_000, expire_ms=600_000)
    context = QueryContext(ListView([]), lambda: 0, limits=Limits(seconds=120, bytes=1 << 30), flows=reader)
    sent = Sent()
    async with trio.open_nursery() as nursery:
        for number in range(agents):
            await link(nursery, asked, number, await table_of(number, flows), sent)
        print(f"{agents} agents, {flows} flows each")
        print(f"{'ms (median)':>12} {'ms (worst)':>12} {'CPU ms':>9} {'messages':>9} {'KiB':>9}  query")
        for query in QUERIES:
            took: list[float] = []
            sent.bytes = sent.messages = 0
            cpu = time.process_time()
            for _ in range(TURNS):
                began = time.perf_counter()
                await run(query, context)
                took.append(1000 * (time.perf_counter() - began))
            cpu = 1000 * (time.process_time() - cpu) / TURNS
            print(
                f"{median(took):12.1f} {max(took):12.1f} {cpu:9.1f} {sent.messages // TURNS:9} "
                f"{sent.bytes / TURNS / 1024:9.1f}  {query}"
            )
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    count, each = numbers + [AGENTS, FLOWS][len(numbers) :]
    trio.run(main, count, each)
