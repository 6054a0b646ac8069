"""Updates a second that the graph takes: claims, merging, change log and indexes, without and with history.

10,000 interface elements of about 1 KB whose Metric changes, said through the handle that a probe has; a tenth
of them is annotated by a second claimant.  Every 1,000 updates a query makes the indexes (Name, Type, TID,
State, MAC, Manager) catch up.  Everything runs on one core, the store's thread included.

Run: .venv/bin/python -m benchmarks.updates
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator

import trio

from skycore.filter import Equals
from skycore.graph.graph import Graph
from skycore.graph.identity import Key
from skycore.graph.live import LiveView
from skycore.plugin.handle import GraphHandle
from skycore.storage.embedded import EmbeddedStore
from skycore.storage.keeper import HistoryKeeper

ELEMENTS = 10_000
UPDATES = 200_000
QUERY_EACH = 1_000
SLICE = 250
_COUNTERS = ("Collisions", "Multicast", "RxBytes", "RxDropped", "RxPackets", "TxBytes", "TxDropped", "TxPackets")


def interface(index: int, step: int) -> dict[str, object]:
    """Metadata of one interface, about 1 KB as JSON; ``step`` changes only its metrics."""
    metric = {counter: index * 1_000_003 + step * number for number, counter in enumerate(_COUNTERS, 1)}
    return {
        "Name": f"veth{index:06d}",
        "Type": "veth",
        "EncapType": "ether",
        "IfIndex": index,
        "Driver": "veth",
        "MTU": 1500,
        "MAC": f"02:00:00:{index >> 16 & 255:02x}:{index >> 8 & 255:02x}:{index & 255:02x}",
        "State": "UP" if index % 7 else "DOWN",
        "LinkFlags": ["UP", "BROADCAST", "MULTICAST"],
        "MasterIndex": 3,
        "ParentIndex": index ^ 1,
        "PeerIfIndex": index ^ 1,
        "Speed": 10000,
        "IPV4": [f"10.{index >> 8 & 255}.{index & 255}.1/24"],
        "IPV6": [f"fe80::{index:x}/64"],
        "Metric": {**metric, "Last": 1_700_000_000_000 + step},
        "LastUpdateMetric": {**metric, "Start": 1_700_000_000_000, "Last": 1_700_000_000_000 + step},
        "Features": dict.fromkeys(("highdma", "rx-checksum", "tx-checksum-ip-generic", "rx-gro", "tx-lockless"), True),
    }


def prepared() -> list[tuple[Key, dict[str, object]]]:
    """Updates made beforehand, so that making them is not measured."""
    chosen = random.Random(42)
    return [
        (Key("interface", f"boot/1/{index}"), interface(index, step))
        for step in range(1, 1 + UPDATES // ELEMENTS)
        for index in chosen.sample(range(ELEMENTS), ELEMENTS)
    ]


def populated() -> tuple[Graph, GraphHandle, LiveView]:
    graph = Graph(host="bench", origin="agent.bench", with_tids=True)
    netlink = GraphHandle(graph, graph.claimant("netlink"))
    docker = GraphHandle(graph, graph.claimant("docker", precedence={"Manager": frozenset({"netlink"})}))
    host = Key("host", "bench")
    with netlink.transaction():
        netlink.put(host, {"Name": "bench", "Type": "host"})
        for index in range(ELEMENTS):
            key = Key("interface", f"boot/1/{index}")
            netlink.put(key, interface(index, 0))
            netlink.link(host, key, "ownership")
            if index % 10 == 0:
                docker.annotate(key, {"Manager": "docker", "Container": {"ID": f"{index:064x}"}})
    view = LiveView(graph)
    view.match("node", Equals("Name", "veth000001"))
    return graph, netlink, view


def updates(handle: GraphHandle, view: LiveView, work: list[tuple[Key, dict[str, object]]]) -> Iterator[int]:
    """Carry out the updates; gives control every SLICE."""
    for number, (key, metadata) in enumerate(work):
        handle.put(key, metadata)
        if number % QUERY_EACH == 0:
            assert len(view.match("node", Equals("Name", "veth000007"))) == 1
        if number % SLICE == 0:
            yield number


def without_history(work: list[tuple[Key, dict[str, object]]]) -> None:
    graph, handle, view = populated()
    size = sum(len(revision.json) for revision in graph.nodes.values()) / len(graph.nodes)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in updates(handle, view, work):
        pass
    report("without history", graph, wall, cpu, f"{size:.0f} bytes an element")


async def with_history(work: list[tuple[Key, dict[str, object]]]) -> None:
    with tempfile.TemporaryDirectory(prefix="skycore-bench-") as folder:
        store = EmbeddedStore(EmbeddedStore.Settings(path=folder))
        store.open()
        graph, handle, view = populated()
        keeper = HistoryKeeper(graph, store)
        async with trio.open_nursery() as nursery:
            await nursery.start(keeper.run)
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in updates(handle, view, work):
                await keeper.room()
                await trio.lowlevel.checkpoint()
            await keeper.caught_up()
            report("with history", graph, wall, cpu, f"{keeper.commits} commits, gaps {keeper.gaps}")
            nursery.cancel_scope.cancel()
        store.close()


def report(name: str, graph: Graph, wall: float, cpu: float, more: str) -> None:
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{name:>16}: {UPDATES / wall:9,.0f} updates/s wall, {UPDATES / cpu:9,.0f} per CPU second, "
        f"{cpu / UPDATES * 1e6:5.1f} us each ({graph.log.end:,} revisions, {more})"
    )


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    work = prepared()
    print(f"Python {sys.version.split()[0]}, one core, {ELEMENTS:,} elements, {UPDATES:,} updates", flush=True)
    without_history(work)
    trio.run(with_history, work)


if __name__ == "__main__":
    main()
