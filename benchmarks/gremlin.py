"""Gremlin queries beside TinkerGraph, networkx and SQLite, over the same made-up data centre, in one run.

For each size: the first use of each query (nothing built yet), then the median of its repetitions, in milliseconds of
CPU time of the measuring thread, for each engine warm and with what it has of indexes built: ours those that it makes
by itself; TinkerGraph on Name, Type, TID, State, MTU and Container.Labels.app; networkx, which has none for attributes,
a graph of the layer2 edges; "nx+dicts" is networkx with dictionaries by Name and Type written beside it by hand; SQLite
(in memory) columns with indexes on name, type, MTU and both ends of edges, JSON1 for other keys.  Answers are compared
by their number.  Ours goes the whole way that a request goes: text, plan (kept), slices on the event loop, result; the
answer's JSON only for the dump.  A ratio is the other's time by ours.  Ends with 1 when TinkerGraph or networkx is
ahead of ours in a warm query, or a budget at 10,000 nodes is missed.  Above 200,000 nodes networkx alone is beside.

Run: uv run --group bench python -m benchmarks.gremlin [nodes …]
"""

from __future__ import annotations

import gc
import heapq
import json
import re
import sqlite3
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import networkx
import trio

from benchmarks import tinkerpop
from benchmarks.datacenter import DataCentre, data_centre
from skycore.graph.graph import Graph
from skycore.graph.live import LiveView
from skycore.gremlin import QueryContext, run
from skycore.gremlin.operation import Limits
from skycore.gremlin.result import ElementsResult, GraphResult, NumberResult, PathsResult, Result, ValuesResult

_REPEAT_FOR = 0.4
_MOST = 200
_SMALL = 200_000
_BUDGETS = {"Has(Name)": 0.05, "host.Out.Out.Dedup.Count": 5.0, "ShortestPath layer2": 1.0, "dump to JSON": 15.0}
"""Milliseconds at 10,000 nodes."""


@attrs.frozen
class Case:
    name: str
    query: str
    networkx: Callable[[Networkx], int] | None
    sqlite: tuple[str, tuple[Any, ...]] | None


class Networkx:
    """The peer's own graph; ``indexed``: with dictionaries by Name and Type beside it."""

    def __init__(self, made: DataCentre, *, indexed: bool) -> None:
        self.graph: Any = networkx.MultiDiGraph()
        self.graph.add_nodes_from(made.nodes.items())
        self.graph.add_edges_from((parent, child, {"RelationType": kind}) for parent, child, kind in made.edges)
        self.by: dict[str, dict[Any, list[str]]] = {}
        if indexed:
            self.by = {"Name": defaultdict(list), "Type": defaultdict(list)}
            for id, metadata in made.nodes.items():
                for key, found in self.by.items():
                    found[metadata[key]].append(id)
        self.layer2: Any = networkx.Graph()
        self.layer2.add_edges_from((parent, child) for parent, child, kind in made.edges if kind == "layer2")

    def having(self, key: str, value: str) -> list[str]:
        if self.by:
            return self.by[key][value]
        return [id for id, found in self.graph.nodes(data=key) if found == value]

    def scan(self, test: Callable[[dict[str, Any]], bool]) -> int:
        return len([id for id, metadata in self.graph.nodes(data=True) if test(metadata)])


def _two_hops(peer: Networkx) -> int:
    graph = peer.graph
    found: set[str] = set()
    for host in peer.having("Type", "host"):
        for child in graph.successors(host):
            found.update(graph.successors(child))
    return len(found)


def _both_ends(peer: Networkx) -> int:
    graph = peer.graph
    found: set[str] = set()
    for veth in peer.having("Type", "veth"):
        for edges in (graph.out_edges(veth, data="RelationType"), graph.in_edges(veth, data="RelationType")):
            for parent, child, kind in edges:
                if kind == "layer2":
                    found.add(parent)
                    found.add(child)
    return len(found)


def _largest(peer: Networkx) -> int:
    nodes = peer.graph.nodes
    return len(heapq.nlargest(10, peer.having("Type", "veth"), key=lambda id: nodes[id]["Metric"]["RxBytes"]))


def _owned(peer: Networkx, host: str) -> set[str]:
    found, level = {host}, [host]
    while level:
        level = [
            child
            for node in level
            for _, child, kind in peer.graph.out_edges(node, data="RelationType")
            if kind == "ownership" and child not in found
        ]
        found.update(level)
    return found


def _dump(peer: Networkx) -> int:
    graph = peer.graph
    text = json.dumps({"Nodes": list(graph.nodes(data=True)), "Edges": list(graph.edges(data=True))})
    return int(len(graph) + graph.number_of_edges()) if text else 0


def literals(made: DataCentre) -> dict[str, Any]:
    last = made.hosts - 1
    return {
        "veth": "in0000000",
        "other": f"in{last:05d}23",
        "host": f"host-{last // 2:05d}",
        "app": f"app-{last}-7",
        "pattern": f"veth{last // 2:05d}.*",
        "bytes": 1 << 39,
    }


def cases(made: DataCentre) -> list[Case]:
    veth, other = literals(made)["veth"], literals(made)["other"]
    host, app, pattern = (literals(made)[name] for name in ("host", "app", "pattern"))
    compiled = re.compile(pattern)
    label = "$.Container.Labels.app"
    return [
        Case("Has(Name)", f"G.V().Has('Name', '{veth}')", lambda peer: len(peer.having("Name", veth)),
             ("SELECT id FROM node WHERE name = ?", (veth,))),
        Case("Has(Type).Count", "G.V().Has('Type', 'veth').Count()", lambda peer: len(peer.having("Type", "veth")),
             ("SELECT count(*) FROM node WHERE type = 'veth'", ())),
        Case("host.Out.Out.Dedup.Count", "G.V().Has('Type', 'host').Out().Out().Dedup().Count()", _two_hops,
             ("SELECT count(DISTINCT b.child) FROM node JOIN edge a ON a.parent = node.id JOIN edge b "
              "ON b.parent = a.child WHERE node.type = 'host'", ())),
        Case("veth layer2 both ends", "G.V().Has('Type', 'veth').BothE('RelationType', 'layer2').BothV().Dedup()",
             _both_ends,
             ("SELECT parent FROM edge JOIN node ON node.id = parent OR node.id = child WHERE node.type = 'veth' AND "
              "relation = 'layer2' UNION SELECT child FROM edge JOIN node ON node.id = parent OR node.id = child "
              "WHERE node.type = 'veth' AND relation = 'layer2'", ())),
        Case("Regex on Name", f"G.V().Has('Name', Regex('{pattern}')).Count()",
             lambda peer: peer.scan(lambda one: compiled.fullmatch(one["Name"]) is not None),
             ("SELECT count(*) FROM node WHERE name REGEXP ?", (pattern,))),
        Case("Gt on MTU", "G.V().Has('MTU', Gt(1500)).Count()",
             lambda peer: peer.scan(lambda one: one.get("MTU", 0) > 1500),
             ("SELECT count(*) FROM node WHERE mtu > 1500", ())),
        Case("Gt on Metric.RxBytes", f"G.V().Has('Metric.RxBytes', Gt({1 << 39})).Count()",
             lambda peer: peer.scan(lambda one: one.get("Metric", {}).get("RxBytes", 0) > 1 << 39),
             ("SELECT count(*) FROM node WHERE data ->> '$.Metric.RxBytes' > ?", (1 << 39,))),
        Case("dotted key =", f"G.V().Has('Container.Labels.app', '{app}')",
             lambda peer: peer.scan(lambda one: one.get("Container", {}).get("Labels", {}).get("app") == app),
             (f"SELECT id FROM node WHERE data ->> '{label}' = ?", (app,))),
        Case("3 x Has", "G.V().Has('Type', 'veth').Has('State', 'UP').Has('MTU', 9000).Count()",
             lambda peer: len([id for id in peer.having("Type", "veth")
                               if peer.graph.nodes[id]["State"] == "UP" and peer.graph.nodes[id]["MTU"] == 9000]),
             ("SELECT count(*) FROM node WHERE type = 'veth' AND data ->> '$.State' = 'UP' AND mtu = 9000", ())),
        Case("Values(MAC)", "G.V().Has('Type', 'veth').Values('MAC')",
             lambda peer: len([peer.graph.nodes[id]["MAC"] for id in peer.having("Type", "veth")]),
             ("SELECT data ->> '$.MAC' FROM node WHERE type = 'veth'", ())),
        Case("Sort.Limit(10)", "G.V().Has('Type', 'veth').Sort(DESC, 'Metric.RxBytes').Limit(10)", _largest,
             ("SELECT id FROM node WHERE type = 'veth' ORDER BY data ->> '$.Metric.RxBytes' DESC LIMIT 10", ())),
        Case("ShortestPath layer2",
             f"G.V().Has('Name', '{veth}')"
             f".ShortestPathTo(Metadata('Name', '{other}'), Metadata('RelationType', 'layer2'))",
             lambda peer: len(networkx.bidirectional_shortest_path(
                 peer.layer2, *peer.having("Name", veth), *peer.having("Name", other))), None),
        Case("Descendants(0)", f"G.V().Has('Name', '{host}').Descendants(0)", lambda peer: len(_owned(peer, host)),
             ("WITH RECURSIVE owned(id) AS (VALUES (?) UNION SELECT child FROM edge JOIN owned ON parent = owned.id "
              "WHERE relation = 'ownership') SELECT id FROM owned", (host,))),
        Case("SubGraph of that", f"G.V().Has('Name', '{host}').Descendants(0).SubGraph()",
             lambda peer: sum(map(len, _copied(peer, host))), None),
        Case("dump to JSON", "G", _dump, None),
    ]  # fmt: skip


def _copied(peer: Networkx, host: str) -> tuple[Any, Any]:
    part = peer.graph.subgraph(_owned(peer, host)).copy()
    return part.nodes, part.edges


def ours(made: DataCentre) -> QueryContext:
    graph = Graph(host="bench", origin="analyzer.bench", with_tids=False)
    claimant = graph.claimant("bench")
    with graph.transaction():
        for id, metadata in made.nodes.items():
            claimant.put(id, metadata)
        for parent, child, kind in made.edges:
            claimant.link(parent, child, kind)
    # What is measured is the time, on however busy a machine: no query is to end early.
    return QueryContext(LiveView(graph), now=lambda: 0, limits=Limits(elements=10_000_000, seconds=600))


def database(made: DataCentre | None) -> sqlite3.Connection:
    base = sqlite3.connect(":memory:")
    if made is None:
        return base
    base.create_function("regexp", 2, lambda pattern, text: re.fullmatch(pattern, text) is not None, deterministic=True)
    base.execute("CREATE TABLE node (id TEXT PRIMARY KEY, name TEXT, type TEXT, mtu INTEGER, data TEXT) WITHOUT ROWID")
    base.execute("CREATE TABLE edge (parent TEXT, child TEXT, relation TEXT)")
    base.executemany(
        "INSERT INTO node VALUES (?, ?, ?, ?, ?)",
        ((id, one["Name"], one["Type"], one.get("MTU"), json.dumps(one)) for id, one in made.nodes.items()),
    )
    base.executemany("INSERT INTO edge VALUES (?, ?, ?)", made.edges)
    for column in ("node (name)", "node (type)", "node (mtu)", "edge (parent, relation)", "edge (child, relation)"):
        base.execute(f"CREATE INDEX {re.sub('[^a-z]', '_', column)} ON {column}")
    base.execute("ANALYZE")
    return base


def size_of(result: Result) -> int:
    match result:
        case ElementsResult():
            return len(result.elements)
        case ValuesResult():
            return len(result.values)
        case NumberResult():
            return int(result.value)
        case PathsResult():
            return sum(len(path) for path in result.paths)
        case GraphResult():
            return len(result.nodes) + len(result.edges)
    raise TypeError(result)


async def measure(call: Callable[[], Awaitable[int]]) -> tuple[float, float, int]:
    """(first, median of the repetitions, answer), in milliseconds of CPU time."""
    start = time.thread_time()
    answer = await call()
    first = time.thread_time() - start
    times: list[float] = []
    end = time.monotonic() + _REPEAT_FOR
    while len(times) < 3 or (len(times) < _MOST and time.monotonic() < end):
        start = time.thread_time()
        assert await call() == answer
        times.append(time.thread_time() - start)
    return first * 1000, statistics.median(times) * 1000, answer


async def compare(nodes: int, behind: list[str]) -> list[str]:
    made = data_centre(nodes)
    start = time.thread_time()
    context = ours(made)
    load = time.thread_time() - start
    small = nodes <= _SMALL
    timings: dict[str, tinkerpop.Timing] = {}
    if small and tinkerpop.available():
        timings, peer_load, heap = tinkerpop.measure(made, literals(made))
    plain, indexed, base = (
        Networkx(made, indexed=False),
        Networkx(made, indexed=True),
        database(made if small else None),
    )
    gc.collect()
    gc.freeze()
    print(f"\n{len(made.nodes)} nodes, {len(made.edges)} edges; ours loaded in {load:.2f} s CPU")
    if timings:
        print(f"TinkerGraph loaded in {peer_load:.2f} s CPU, {heap / len(made.nodes):.0f} bytes of heap a node")
    names = "".join(
        f"{name:>9} " for name in ("first", "ours", "TP first", "TinkerG.", "networkx", "nx+dicts", "SQLite")
    )
    print(f"{'query':24} {'answer':>8} {names}  ratios: TinkerG., networkx, nx+dicts, SQLite")
    missed: list[str] = []
    for case in cases(made):

        async def ask(case: Case = case) -> int:
            result = await run(case.query, context)
            if case.query == "G":
                for _ in result.json_chunks():
                    pass
            return size_of(result)

        async def ask_plain(case: Case = case) -> int:
            assert case.networkx is not None
            return case.networkx(plain)

        async def ask_indexed(case: Case = case) -> int:
            assert case.networkx is not None
            return case.networkx(indexed)

        async def ask_sqlite(case: Case = case) -> int:
            assert case.sqlite is not None
            rows = base.execute(*case.sqlite).fetchall()
            return int(rows[0][0]) if "count(" in case.sqlite[0] else len(rows)

        first, mine, answer = await measure(ask)
        others = [
            await measure(one) if there else None
            for one, there in (
                (ask_plain, case.networkx),
                (ask_indexed, case.networkx),
                (ask_sqlite, case.sqlite if small else None),
            )
        ]
        timing = timings.get(case.name)
        others.insert(0, (timing.first, timing.warm, timing.answer) if timing else None)
        for other in others:
            assert other is None or other[2] == answer, (case.name, answer, other)
        shown = " ".join(f"{other[1]:9.3f}" if other else f"{'-':>9}" for other in others)
        ratios = " ".join(f"{other[1] / mine:7.1f}" if other else f"{'-':>7}" for other in others)
        peer_first = f"{timing.first:9.3f}" if timing else f"{'-':>9}"
        print(f"{case.name:24} {answer:8} {first:9.3f} {mine:9.3f} {peer_first} {shown}  {ratios}", flush=True)
        for name, other in zip(("TinkerGraph", "networkx", None, None), others, strict=True):
            if name is not None and other is not None and other[1] < mine:
                behind.append(f"{nodes}: {case.name} behind {name} ({mine:.3f} ms against {other[1]:.3f})")
        if nodes == 10_000 and mine > _BUDGETS.get(case.name, mine):
            missed.append(f"{case.name}: {mine:.3f} ms, budget {_BUDGETS[case.name]} ms")
    gc.unfreeze()
    return missed


async def main(sizes: list[int]) -> None:
    missed: list[str] = []
    behind: list[str] = []
    for nodes in sizes:
        missed += await compare(nodes, behind)
    print("\nwarm queries in which ours is behind:", "; ".join(behind) if behind else "none")
    if 10_000 in sizes:
        print("\nbudgets at 10,000 nodes:", "; ".join(missed) if missed else "all held")
    if missed or behind:
        sys.exit(1)


if __name__ == "__main__":
    trio.run(main, [int(size) for size in sys.argv[1:]] or [1_000, 10_000, 100_000])
