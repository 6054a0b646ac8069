"""Surroundings, paths, subgraphs, order, metrics, sockets, routes: what each step gives, and the texts of errors."""

import json
from typing import Any

import pytest

from skycore.errors import GremlinError, GremlinExecutionError
from skycore.gremlin import QueryContext, run
from skycore.testing.views import ListView
from tests.gremlin.small_graph import ALL_NODES, CONTEXT, answer, node

TABLES = [
    {"ID": 254, "Src": "10.0.0.4", "Routes": [
        {"Protocol": 2, "Prefix": "10.0.0.0/24", "NextHops": [{"Priority": 0, "IfIndex": 2}]},
        {"Protocol": 3, "Prefix": "0.0.0.0/0", "NextHops": [
            {"Priority": 200, "IP": "10.0.0.9", "IfIndex": 2}, {"Priority": 100, "IP": "10.0.0.1", "IfIndex": 2}]},
        {"Protocol": 3, "Prefix": "192.168.0.0/16", "NextHops": [{"Priority": 0, "IP": "10.0.0.2", "IfIndex": 2}]},
        {"Protocol": 3, "Prefix": "192.168.7.0/24", "NextHops": [{"Priority": 0, "IP": "10.0.0.3", "IfIndex": 2}]},
        {"Protocol": 3, "Prefix": "::/0", "NextHops": [{"Priority": 5, "IP": "fe80::1", "IfIndex": 2}]},
    ]},
    {"ID": 255, "Src": "", "Routes": [{"Prefix": "10.0.0.4/32", "NextHops": [{"Priority": 0, "IfIndex": 1}]}]},
    {"ID": 10, "Routes": [{"Prefix": "8.8.8.8/32", "NextHops": [{"Priority": 0, "IP": "10.0.0.99", "IfIndex": 2}]}]},
    {"ID": "x", "Routes": [{"Prefix": "no prefix", "NextHops": [{"Priority": None}]}, 3]},
]  # fmt: skip
NEIGHBORS = [
    {"IP": "10.0.0.1", "MAC": "02:00:00:00:00:09", "State": ["NUD_FAILED"], "IfIndex": 2},
    {"IP": "10.0.0.1", "MAC": "02:00:00:00:00:01", "State": ["NUD_STALE"], "IfIndex": 2},
    {"IP": "10.0.0.77", "MAC": "02:00:00:00:00:77", "IfIndex": 2},
    {"IP": "FE80:0::1", "MAC": "02:00:00:00:00:06", "IfIndex": 2},
]
UPDATES = [
    {"RxBytes": 100, "TxBytes": 7, "Start": 0, "Last": 20_000},
    {"RxBytes": 10, "Start": 40_000, "Last": 100_000},
]
SOCKETS = [
    {"Process": "/sbin/a", "Pid": 7, "LocalPort": 22, "State": "LISTEN"},
    {"Process": "/sbin/b", "Pid": 8, "LocalPort": 80, "State": "ESTABLISHED"},
]
EQUIPPED = QueryContext(
    ListView(
        [
            node("r", Name="r", RoutingTables=TABLES, Neighbors=NEIGHBORS, LastUpdateMetric=UPDATES[0]),
            node("s", Name="s", Sockets=SOCKETS, LastUpdateMetric=UPDATES[1]),
            node(
                "t", Name="t", Sockets=[], RoutingTables=[], SFlow={"LastUpdateMetric": {"IfInOctets": 5, "Start": 0}}
            ),
        ]
    ),
    now=lambda: 0,
)


def hop(
    ip: str, mac: str | None = None, priority: int = 0, index: int = 2, *, prefix: str, table: int = 254
) -> list[Any]:
    found = {"Priority": priority, "IP": ip, **({"MAC": mac} if mac else {}), "IfIndex": index}
    return [{"r": {**found, "Table": table, "Prefix": prefix}}]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("G.V().NextHop('8.8.8.8')", hop("10.0.0.1", "02:00:00:00:00:01", 100, prefix="0.0.0.0/0")),
        ("G.V().NextHop('192.168.1.1')", hop("10.0.0.2", prefix="192.168.0.0/16")),
        ("G.V().NextHop('192.168.7.1')", hop("10.0.0.3", prefix="192.168.7.0/24")),
        ("G.V().NextHop('10.0.0.77')", hop("10.0.0.77", "02:00:00:00:00:77", prefix="10.0.0.0/24")),
        ("G.V().NextHop('10.0.0.4')", hop("10.0.0.4", index=1, prefix="10.0.0.4/32", table=255)),
        ("G.V().NextHop('2001:db8::1')", hop("fe80::1", "02:00:00:00:00:06", 5, prefix="::/0")),
        ("G.V('t').NextHop('8.8.8.8')", []),
        ("G.V().Sockets()", [{"s": SOCKETS}]),
        ("G.V().Sockets().Has('State', 'LISTEN')", [{"s": SOCKETS[:1]}]),
        ("G.V().Sockets().HasEither('Pid', 7, 'Pid', 8).Count()", 1),
        ("G.V().Sockets().Has('Pid', 9)", []),
        ("G.V().Sockets().Values('LocalPort')", [22, 80]),
        ("G.V().Metrics()", [{"r": UPDATES[:1], "s": UPDATES[1:]}]),
        ("G.V().Metrics('SFlow')", [{"t": [{"IfInOctets": 5, "Start": 0}]}]),
        ("G.V().Metrics('Ovs.LastUpdateMetric')", []),
        ("G.V().Metrics().Count()", 2),
        ("G.V().Metrics().Keys()", ["Last", "RxBytes", "Start", "TxBytes"]),
        ("G.V().Metrics().Sum()", {"RxBytes": 110, "TxBytes": 7, "Start": 0, "Last": 100_000}),
        ("G.V().Metrics().Sum('RxBytes')", 110),
        ("G.V('t').Metrics().Sum()", None),
        ("G.V().Metrics().Aggregates()", [{"Aggregated": [
            {"RxBytes": 100, "TxBytes": 7, "Start": 0, "Last": 30_000},
            {"RxBytes": 3, "Start": 30_000, "Last": 60_000},
            {"RxBytes": 5, "Start": 60_000, "Last": 90_000},
            {"RxBytes": 2, "Start": 90_000, "Last": 100_000}]}]),
        ("G.V('r').Metrics().Aggregates(10).Sum('RxBytes')", 100),
        ("G.V('r').Metrics().Aggregates(10)", [{"Aggregated": [
            {"RxBytes": 50, "TxBytes": 3, "Start": 0, "Last": 10_000},
            {"RxBytes": 50, "TxBytes": 4, "Start": 10_000, "Last": 20_000}]}]),
        ("G.V('t').Metrics().Aggregates()", []),
        ("G.V().ValueMap('Name', 'Gone')", [{"Name": "r"}, {"Name": "s"}, {"Name": "t"}]),
        ("G.V().ValueMap('Name', 'SFlow.LastUpdateMetric.Start').Has('SFlow.LastUpdateMetric.Start', 0)",
         [{"Name": "t", "SFlow.LastUpdateMetric.Start": 0}]),
        ("G.V().Sum('LastUpdateMetric.RxBytes')", 110),
        ("G.V('t').Keys()", ["@ID", "@Host", "@Origin", "@CreatedAt", "@UpdatedAt", "@Revision", "@Stale", "Name",
                             "RoutingTables", "SFlow", "SFlow.LastUpdateMetric", "SFlow.LastUpdateMetric.IfInOctets",
                             "SFlow.LastUpdateMetric.Start", "Sockets"]),
    ],
)  # fmt: skip
async def test_what_interfaces_and_hosts_carry(query: str, expected: Any) -> None:
    assert json.dumps(await answer(query, EQUIPPED), sort_keys=True) == json.dumps(expected, sort_keys=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("G.V('host').Descendants()", ["host", "eth0", "lo", "ns"]),
        ("G.V('host').Descendants(0)", ["host", "eth0", "lo", "ns", "peer"]),
        ("G.V('host').Descendants('RelationType', 'layer2', 'RelationType', 'ownership', 2)",
         ["host", "eth0", "lo", "ns", "peer"]),
        ("G.V('peer').Ascendants(0)", ["peer", "ns", "host"]),
        ("G.V('peer').Neighbors(0)", ["peer"]),
        ("G.V('ns').Neighbors()", ["ns", "peer", "host"]),
        ("G.V('peer').Neighbors('RelationType', 'layer2')", ["peer", "eth0"]),
        ("G.V('lo').ShortestPathTo(Metadata('Name', 'eth0'))", [["lo", "host", "eth0"]]),
        ("G.V('peer').ShortestPathTo(Metadata('Type', 'host'))", [["peer", "eth0", "host"]]),
        ("G.V('peer').ShortestPathTo(Metadata('Type', 'host'), Metadata('RelationType', Ne('layer2')))",
         [["peer", "ns", "host"]]),
        ("G.V().ShortestPathTo(Metadata('Type', 'netns'), Metadata('RelationType', 'ownership')).Count()", 5),
        ("G.V('loop').ShortestPathTo(Metadata('Type', 'host'))", []),
        ("G.V('lo').ShortestPathTo(Metadata('Type', 'veth')).Dedup().Values('Name')", ["lo", "host", "eth0", "eth0"]),
        ("G.E('eth0-peer').SubGraph().V()", ["eth0", "peer"]),
        ("G.V().Has('Type', Within('host', 'device')).SubGraph().E()", ["host-eth0", "host-lo"]),
        ("G.V().Has('Type', Within('host', 'device')).SubGraph('Tags', 'x').E()", []),
        ("G.V().Dedup().SubGraph().E().Count()", 6),
        ("G.V('host').Out().Out().SubGraph().V().Count()", 1),
        ("G.V('lo').SubGraph().G.V().Count()", 6),
        ("G.V('lo').As('x').G.V('ns').As('y').Select('x','y')", ["lo", "ns"]),
        ("G.V('lo').As('x').G.V('ns').As('y').G.Select('y','x','y')", ["ns", "lo", "ns"]),
        ("G.V('lo').As('x').G.V('ns').SubGraph().Select('x')", []),
        ("G.V().Sort('MTU')", ["eth0", "peer", "lo", "host", "ns", "loop"]),
        ("G.V().Sort(DESC, 'MTU')", ["lo", "eth0", "peer", "host", "ns", "loop"]),
        ("G.V().Sort(DESC, 'MTU').Limit(2)", ["lo", "eth0"]),
        ("G.V().Sort(ASC, 'Name').Values('Name')", ["eth0", "eth0", "host", "lo", "loop", "vm<1>"]),
        ("G.E().Sort(DESC, 'Child').Limit(2)", ["ns-peer", "eth0-peer"]),
        ("G.V().Sort()", ALL_NODES),
        ("G.E().Values('RelationType').Dedup()", ["ownership", "layer2"]),
        ("G.V().Values('Name').Count()", 6),
        ("G.V().Values('Name').Range(1, 3)", ["eth0", "lo"]),
    ],
)  # fmt: skip
async def test_surroundings_paths_and_order(query: str, expected: Any) -> None:
    found = await answer(query)
    if isinstance(found, list) and found and isinstance(found[0], list):
        found = [[one["ID"] for one in path] for path in found]
    assert json.dumps(found) == json.dumps(expected)


async def test_explain() -> None:
    found = await answer("G.V().Has('Type', 'veth').Out().Dedup().Limit(3).Explain()")
    assert [(one["Steps"], one["Gives"], one["Rows"]) for one in found["Steps"]] == [
        ('V().Has("Type", "veth")', "V", 2),
        ("Out().Dedup().Limit(3)", "V", 1),
    ]
    assert found["Graph"] == "live"
    assert all(one["Milliseconds"] >= 0 for one in found["Steps"])


MORE_WRONG: list[tuple[str, int, str]] = [
    ("G.V().Sort(1)", 11, "Sort parameter has to be a string key : 1"),
    ("G.V().Sort(DESC)", 11, "Sort parameter has to be a string key : DESC"),
    ("G.V().Sort('x', 'y')", 11, "Use ASC or DESC predicate : "),
    ("G.V().ValueMap()", 6, "ValueMap requires at least one key parameter"),
    ("G.V().Keys('x')", 11, "Keys accepts no parameter : [x]"),
    ("G.V().Sum()", 6, "Sum requires 1 parameter : []"),
    ("G.V().Metrics('x')", 14, "Metric field unknown"),
    ("G.V().Metrics('a', 'b')", 19, "Metrics accepts one parameter : [a b]"),
    ("G.V().Metrics().Aggregates(0)", 27, "Aggregates parameter has to be a positive number"),
    ("G.V().NextHop()", 6, "NextHop accepts one parameter : []"),
    ("G.V().NextHop('nobody')", 14, "NextHop needs an IP address, not nobody"),
    ("G.V().ShortestPathTo()", 6, "ShortestPathTo accepts one or two parameters : []"),
    ("G.V().ShortestPathTo('x')", 21, "Error while executing the query"),
    ("G.V().As()", 6, "As accepts only one parameter of type string : []"),
    ("G.V().Select('x')", 13, "Key x not registered. Need to be registered using 'As' step"),
    ("G.V().Select()", 6, "Select parameters have to be string keys : []"),
    ("G.V().Descendants('x')", 18, "Descendants last argument must be the maximum depth specified as integer"),
    ("G.V().Descendants(-1)", 18, "Descendants last argument must be"),
    ("G.V().SubGraph('x')", 6, "slice must be defined by pair k,v: [x]"),
    ("G.E().SubGraph('x', 1)", 15, "SubGraph accepts no parameter here"),
    ("G.V().Count().Sum('x')", 14, "Invalid step 'Sum' on '*traversal.GraphTraversalValue'"),
    ("G.V().Explain().Count()", 6, "Explain must be the last step"),
    ("G.V().Explain().G", 6, "Explain must be the last step"),
    ("G.V().Explain(1)", 14, "Explain accepts no parameter : [1]"),
]


@pytest.mark.parametrize(("query", "offset", "message"), MORE_WRONG)
async def test_more_wrong_queries(query: str, offset: int, message: str) -> None:
    with pytest.raises(GremlinError) as caught:
        await run(query, CONTEXT)
    assert caught.value.message.startswith(message)
    assert (caught.value.offset, caught.value.query) == (offset, query)


async def test_what_goes_wrong_on_the_way() -> None:
    with pytest.raises(GremlinExecutionError, match="Field not found"):
        await run("G.V().Sockets().Values('Gone')", EQUIPPED)
    long = QueryContext(
        ListView([node("n", LastUpdateMetric={"Start": 0, "Last": 10**9, "RxBytes": 1})]), now=lambda: 0
    )
    with pytest.raises(GremlinExecutionError, match="Aggregates available slices exceeded: 1000000/10000") as caught:
        await run("G.V().Metrics().Aggregates(1)", long)
    assert caught.value.offset == 16
