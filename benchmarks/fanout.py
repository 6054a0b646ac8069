"""Changes to WebSocket subscribers: how many a second reach each of 100, over TCP, from one core.

The server (graph, hub, acceptor) is pinned to one core; a small C program, built here, drains 100 connections on
another and counts messages.  A writer changes 1,000 nodes of 1 KB in turn, at a given rate.  *Reached* is the number of
messages that the slowest subscriber got a second; *CPU* is that of the server's process, the making of the changes
included.  Once without filters, once with 10 distinct Gremlin filters that all 1,000 nodes match.

Run: .venv/bin/python -m benchmarks.fanout [rate …]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import trio

from skycore.graph.graph import Graph, now_ms
from skycore.graph.live import LiveView
from skycore.gremlin import QueryContext
from skycore.server.acceptor import Acceptor
from skycore.server.hub import Hub
from skycore.server.websocket import KeepAlive

SUBSCRIBERS = 100
NODES = 1_000
SECONDS = 5.0
RATES = (5_000, 7_500, 10_000, 15_000)
FILTERS = [f"G.V().Has('Type', 'device', 'MTU', Gt({number})).SubGraph()" for number in range(10)]


def build(folder: Path) -> Path:
    """Compile the drainer."""
    program = folder / "drain"
    source = Path(__file__).parent / "drainer" / "drain.c"
    subprocess.run(["cc", "-O2", "-Wall", "-o", program, source], check=True)
    return program


def metadata(number: int, change: int) -> dict[str, object]:
    """About 1 KB as the JSON of the whole element."""
    return {
        "Name": f"eth{number}",
        "Type": "device",
        "MTU": 1500,
        "MAC": f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}",
        "Counter": change,
        "Features": {f"tx-checksum-{feature}": feature % 2 == 0 for feature in range(30)},
    }


async def measure(program: Path, title: str, paths: list[str], rate: int) -> float:
    """Print one line; returns the share of changes that reached the slowest subscriber."""
    graph = Graph(host="bench", origin="analyzer.bench", with_tids=False)
    probe = graph.claimant("bench")
    ids = [f"node-{number:04}" for number in range(NODES)]
    for number, id in enumerate(ids):
        probe.put(id, metadata(number, -1))
    queries = QueryContext(LiveView(graph), now_ms)
    hub = Hub(graph, queries, service="analyzer", keep_alive=KeepAlive())
    acceptor = Acceptor(lambda *_: None, {"/ws/subscriber": hub.subscribe})  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        scope = await nursery.start(_serve, acceptor, listener)
        port = listener.socket.getsockname()[1]
        arguments = [str(program), str(port), str(SUBSCRIBERS), *paths]
        if len(os.sched_getaffinity(os.getppid())) > 1:
            arguments = ["taskset", "-c", "1", *arguments]
        drain = await trio.lowlevel.open_process(arguments, stdout=subprocess.PIPE)
        assert drain.stdout is not None
        text = b""
        while b"ready" not in text:
            text += await drain.stdout.receive_some()
        cpu, began, made = time.process_time(), time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < SECONDS:
            for change in range(made, min(int(passed * rate), made + 500)):
                probe.put(ids[change % NODES], metadata(change % NODES, change))
                made = change + 1
            await trio.sleep(0.002)
        cpu, took = time.process_time() - cpu, time.perf_counter() - began
        await trio.sleep(0.5)
        coalesced = max(client.coalesced for client in hub.subscribers.values())
        scope.cancel()
        text = b""
        while data := await drain.stdout.receive_some():
            text += data
        await drain.wait()
        nursery.cancel_scope.cancel()
    counts = [int(line.split()[0]) for line in text.splitlines()]
    size = sum(int(line.split()[1]) for line in text.splitlines())
    reached = min(counts) / took
    print(
        f"{title}, {rate:,} asked: {made / took:,.0f} changes/s made, {reached:,.0f} reached each of {len(counts)}, "
        f"{size / took / 1e6:,.0f} MB/s, {size / sum(counts):,.0f} B a message, CPU {100 * cpu / took:.0f} %, "
        f"{1e6 * cpu / sum(counts):.2f} µs a delivery, most left out {coalesced}",
        flush=True,
    )
    return min(counts) / made


async def _serve(
    acceptor: Acceptor, listener: trio.SocketListener, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await acceptor.serve([listener])


def main() -> None:
    rates = [int(text) for text in sys.argv[1:]] or RATES
    os.sched_setaffinity(0, {0})
    filtered = [f"/ws/subscriber?x-gremlin-filter={quote(text)}" for text in FILTERS]
    with tempfile.TemporaryDirectory(prefix="skycore-bench-") as name:
        program = build(Path(name))
        for title, paths in (("unfiltered", ["/ws/subscriber"]), ("10 filters", filtered)):
            for rate in rates:
                trio.run(measure, program, title, paths, rate)


if __name__ == "__main__":
    main()
