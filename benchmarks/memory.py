"""What a graph takes in memory, and how long the garbage collector stops the process with it.

    .venv/bin/python -m benchmarks.memory [NODES …]

The made-up data centre of benchmarks.datacenter, some 670 bytes of JSON a node and 1.5 edges a node of 260 bytes each;
each size in a process of its own.  "A node" is the growth of the resident set, divided by the number of nodes: edges,
claims, change log and adjacency included, first without indexes, then with those that are there from the start.  Pauses
are the longest that gc.callbacks tell, by generation: a full collection as Python would do it, then those while 20,000
nodes change and queries run, with full collections when skycore.role.memory does them.
"""

from __future__ import annotations

import gc
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.datacenter import streamed
from skycore.filter import Compare, Equals
from skycore.graph.graph import Graph
from skycore.graph.live import LiveView
from skycore.role import memory

_AIM_BYTES = 2500
_AIM_PAUSE = 20.0
_UPDATES = 20_000
_Heard = tuple[str, list[tuple[str, str, str]]]


class Pauses:
    """The longest pause of each generation, in milliseconds."""

    def __init__(self) -> None:
        self.longest = [0.0, 0.0, 0.0]
        self._since = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._since = time.perf_counter()
        else:
            spent = (time.perf_counter() - self._since) * 1000
            self.longest[info["generation"]] = max(self.longest[info["generation"]], spent)


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def one(nodes: int) -> bool:
    hosts, chosen = max(1, round(nodes / 101)), random.Random(42)
    graph = Graph(host="bench", origin="analyzer.bench", with_tids=False)
    claimant = graph.claimant("bench")
    for _ in streamed(1, random.Random(1)):
        pass
    empty = resident()
    for said, metadata, leading in streamed(hosts, chosen):
        # As a link's entry gives them: what belongs together is one transaction, each mention of an ID its own text.
        id, links = msgspec.json.decode(msgspec.json.encode((said, leading)), type=_Heard)
        with graph.transaction():
            claimant.put(id, metadata)
            for parent, child, relation in links:
                claimant.link(parent, child, relation)
    count = len(graph.nodes)
    plain = (resident() - empty) / count
    json = sum(len(revision.json) for table in (graph.nodes, graph.edges) for revision in table.values()) / count
    view = LiveView(graph)
    indexed = (resident() - empty) / count
    print(
        f"{count} nodes, {len(graph.edges)} edges: {plain:.0f} bytes a node with its edges ({json:.0f} of them JSON), "
        f"{indexed:.0f} with seven indexes"
    )
    pauses = Pauses()
    gc.callbacks.append(pauses)
    gc.collect()
    print(f"  a full collection: {pauses.longest[2]:.1f} ms")
    memory.take_over()
    pauses.longest = [0.0, 0.0, 0.0]
    ids = [id for id in graph.nodes if id.endswith("-in")]
    for number in range(_UPDATES):
        id = chosen.choice(ids)
        claimant.put(id, {**graph.nodes[id].metadata(), "Changed": number})
        if number % 100 == 0:
            assert view.match("node", Equals("Name", "eth0"))
            view.match("node", Compare("Changed", "gt", number // 2))
        if number % 2000 == 0:
            memory.collect()
    shown = ", ".join(f"{longest:.2f}" for longest in pauses.longest)
    print(f"  longest pauses while the graph changes, by generation: {shown} ms")
    return plain < _AIM_BYTES and max(pauses.longest) < _AIM_PAUSE


def main(sizes: list[str]) -> None:
    if len(sizes) == 1:
        sys.exit(0 if one(int(sizes[0])) else 1)
    codes = [
        subprocess.run([sys.executable, "-m", "benchmarks.memory", size], check=False).returncode for size in sizes
    ]
    aims = f"{_AIM_BYTES} bytes a node before indexes, pauses of {_AIM_PAUSE:g} ms"
    print(f"{aims}: {'missed' if any(codes) else 'held'}")
    sys.exit(max(codes))


if __name__ == "__main__":
    main(sys.argv[1:] or ["10000", "100000"])
