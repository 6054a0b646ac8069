"""Queries over one small graph: what each step gives, the texts of errors, the shapes of answers."""

import json
from typing import Any

import pytest

from skycore.errors import GremlinError, GremlinExecutionError, GremlinSyntaxError
from skycore.graph.element import Revision
from skycore.gremlin import ElementsResult, GraphResult, QueryContext, run
from skycore.testing.views import ListView
from tests.gremlin.small_graph import ALL_EDGES, ALL_NODES, CONTEXT, GRAPH, answer, node

ANSWERS: list[tuple[str, Any]] = [
    ("G.V()", ALL_NODES),
    ("G.E()", ALL_EDGES),
    ("G.V('lo')", ["lo"]),
    ("G.E('ns-peer')", ["ns-peer"]),
    ("g.v().has('Type', 'veth')", ["peer", "loop"]),
    ("G.V().Has('Name', 'eth0', 'Type', 'veth')", ["peer"]),
    ("G.V().Has('Path')", ["ns"]),
    ("G.V().HasKey('MTU')", ["eth0", "lo", "peer"]),
    ("G.V().HasNot('MTU')", ["host", "ns", "loop"]),
    ("G.V().HasEither('Name', 'lo', 'Type', 'netns')", ["lo", "ns"]),
    ("G.V().HasEither('Up')", ["host"]),
    ("G.V().Has('Metadata.Name', 'lo')", ["lo"]),
    ("G.V().Has('@ID', Within('lo', 'ns'))", ["lo", "ns"]),
    ("G.V().Has('@Stale', true)", ["lo"]),
    ("G.V().HasNot('@DeletedAt').Count()", 6),
    ("G.E().Has('Child', 'peer')", ["ns-peer", "eth0-peer"]),
    ("G.E().Has('Tags', 'y')", ["host-ns"]),
    ("G.V().Has('Captures.ID', 'c2')", ["loop"]),
    ("G.V().Has('Up', true)", ["host"]),
    ("G.V().Has('Up', 1)", ["host"]),
    ("G.V().Has('Up', 'true')", []),
    ("G.V().Has('Speed', 100)", ["lo"]),
    ("G.V().Has('Metric.RxBytes', 12.5)", ["peer"]),
    ("G.V().Has('Metric.RxBytes', 12)", []),
    ("G.V().Has('Name', Ne('eth0'))", ["host", "lo", "ns", "loop"]),
    ("G.V().Has('MTU', Ne(1500))", ["lo"]),
    ("G.V().Has('MTU', Nee(1500))", ["host", "lo", "ns", "loop"]),
    ("G.V().Has('Up', Nee(true))", ["eth0", "lo", "ns", "peer", "loop"]),
    ("G.V().Has('MTU', Within(1500, 'x', 65536.0))", ["eth0", "lo", "peer"]),
    ("G.V().Has('MTU', Within())", []),
    ("G.V().Has('MTU', Without())", ALL_NODES),
    ("G.V().Has('MTU', Without(1500))", ["host", "lo", "ns", "loop"]),
    ("G.V().Has('MTU', Lt('65536'))", ["eth0", "peer"]),
    ("G.V().Has('MTU', Lte(1500))", ["eth0", "peer"]),
    ("G.V().Has('MTU', Gt(1500))", ["lo"]),
    ("G.V().Has('Metric.RxBytes', Gte(12.5))", ["peer"]),
    ("G.V().Has('MTU', Inside(1500, 65536))", []),
    ("G.V().Has('MTU', Between(1500, 65536))", ["eth0", "peer"]),
    ("G.V().Has('MTU', Outside(1500, 65535))", ["lo"]),
    ("G.V().Has('MTU', Outside(-1, 1500))", ["lo"]),
    (r"G.V().Has('Name', Regex('eth\d+|l.'))", ["eth0", "lo", "peer"]),
    (r"G.V().Has('Name', Regex('vm<1>\\$'))", []),
    ("G.V().Has('IPV4', Ipv4Range('10.0.1.0/24'))", ["eth0"]),
    ("G.V('host').Out()", ["eth0", "lo", "ns"]),
    ("G.V('host').Out('Type', 'device')", ["eth0", "lo"]),
    ("G.V('host').Out('Type', 'device', 'Name', 'lo')", ["lo"]),
    ("G.V('host').Out().Has('Type', 'device').Limit(1)", ["eth0"]),
    ("G.V().Has('Name', 'eth0').In()", ["host", "ns", "eth0"]),
    ("G.V('eth0').Both()", ["peer", "host"]),
    ("G.V('loop').Both()", ["loop"]),
    ("G.V('loop').BothE()", ["loop-loop"]),
    ("G.V('host').OutE('RelationType', 'ownership', 'Tags', 'x')", ["host-ns"]),
    ("G.V('peer').InE().Has('RelationType', 'layer2')", ["eth0-peer"]),
    ("G.V('eth0').BothE()", ["eth0-peer", "host-eth0"]),
    ("G.E('eth0-peer').InV()", ["eth0"]),
    ("G.E('eth0-peer').OutV()", ["peer"]),
    ("G.E('eth0-peer').BothV()", ["eth0", "peer"]),
    ("G.E().BothV('Type', 'veth')", ["peer", "peer", "loop", "loop"]),
    (
        "G.V().Has('Name','lo','Type',Ne('ovsport')).InE().Has('RelationType','ownership').InV().Has('Type','host')",
        ["host"],
    ),
    ("G.V('host').Out().Out()", ["peer", "peer"]),
    ("G.V('host').Out().Out().Dedup()", ["peer"]),
    ("G.V('host').Out().Out().Count()", 2),
    ("G.V('host').Out().Out().Limit(1).Count()", 1),
    ("G.E().BothV().Dedup().Limit(3)", ["host", "eth0", "lo"]),
    ("G.E().BothV().Dedup().Range(3, 5)", ["ns", "peer"]),
    ("G.V().Dedup('Type')", ["host", "eth0", "ns", "peer"]),
    ("G.V().Dedup('MTU', 'Driver')", ["host", "eth0", "lo", "ns", "peer", "loop"]),
    ("G.V().Dedup('MTU')", ["host", "eth0", "lo", "ns", "loop"]),
    ("G.V().Limit(2)", ["host", "eth0"]),
    ("G.V().Limit(0)", []),
    ("G.V().Limit(100).Count()", 6),
    ("G.V().Range(1, 3)", ["eth0", "lo"]),
    ("G.V().Range(3, 1)", []),
    ("G.V().Range(1, 5).Limit(2)", ["eth0", "lo"]),
    ("G.V().Limit(3).Range(2, 9)", ["lo"]),
    ("G.V().Range(2, 4).Range(1, 9).Count()", 1),
    ("G.V().Limit(3).Has('Type', 'device')", ["eth0", "lo"]),
    ("G.V().Has('Type', 'device').Limit(3)", ["eth0", "lo"]),
    ("G.V().Dedup().Limit(3).Has('Type', 'device')", ["eth0", "lo"]),
    ("G.V('lo').Limit(0)", []),
    ("G.V().Values('MTU')", [1500, 65536, 1500]),
    ("G.V().Values('MTU').Dedup()", [1500, 65536]),
    ("G.V().Values('IPV4')", [["10.0.0.4/24", "10.0.1.4/24"], ["127.0.0.1/8"]]),
    ("G.V().Values('Speed')", ["100"]),
    ("G.V().Values('Up')", [True]),
    ("G.V().Values('Path')", [None]),
    ("G.V().Values('Captures.ID')", [["c1", "c2"]]),
    ("G.V().Limit(2).Values('@UpdatedAt')", [2, 2]),
    ("G.V().Values('Gone')", None),
    ("G.V().Values('Gone').Dedup()", None),
    ("G.V().Has('Type', 'x')", []),
    ("G.E().Has('RelationType', 'x')", []),
    ("G.V().Count()", 6),
    ("G.E().Has('RelationType', 'layer2').Count()", 2),
    ("G.V().G.E().Count()", 6),
    ("G.G.V().Count()", 6),
]


@pytest.mark.parametrize(("query", "expected"), ANSWERS)
async def test_answers(query: str, expected: Any) -> None:
    # Compared as JSON, which tells true from 1.
    assert json.dumps(await answer(query)) == json.dumps(expected)


WRONG: list[tuple[str, int, str]] = [
    ("G.V('x')", 4, "Node 'x' does not exist"),
    ("G.E('x')", 4, "Edge 'x' does not exist"),
    ("G.V('x').Has('a', 1)", 4, "Node 'x' does not exist"),
    ("G.V(1)", 4, "V parameter must be a string"),
    ("G.E(Ne('a'))", 4, "E parameter must be a string"),
    ("G.V('a', 'b')", 9, "V accepts at most one parameter"),
    ("G.V().Has()", 6, "At least one parameter must be provided"),
    ("G.V().HasEither()", 6, "At least one parameter must be provided"),
    ("G.V().Has('a', 1, 'b')", 6, "params should be a list of key,value: [a 1 b]"),
    ("G.V().Out('a', 1, 'b')", 6, "slice must be defined by pair k,v: [a 1 b]"),
    ("G.V().Has(1)", 10, "keys should be of string type"),
    ("G.V().Has('a', 1, 2, 3)", 18, "keys should be of string type"),
    ("G.V().Has('a', NOW)", 15, "NOW is no value to compare with"),
    ("G.V().Has('a', Metadata('b', 1))", 15, "unable to cast graph.Metadata"),
    ("G.V().Has('a', Ne(Within(1)))", 18, "NE values should be strings, numbers or bools, got: Within(1)"),
    ("G.V().Has('a', Within(1, NOW))", 25, "WITHIN values should be strings, numbers or bools, got: NOW"),
    ("G.V().Has('a', Lt('x'))", 18, "LT values should be of int64 type"),
    ("G.V().Has('a', GTE(true))", 19, "GTE values should be of int64 type"),
    ("G.V().Has('a', Inside(1, 'x'))", 25, "INSIDE values should be of int64 type"),
    ("G.V().Has('a', Regex(1))", 21, "REGEX values should be of string type"),
    ("G.V().Has('a', Regex('^a'))", 21, "Regex are anchored by default, ^ and $ don't have to be provided"),
    ("G.V().Has('a', Regex('a$'))", 21, "Regex are anchored by default, ^ and $ don't have to be provided"),
    (r"G.V().Has('a', Regex('a\\\\$'))", 21, "Regex are anchored by default"),
    ("G.V().Has('a', Regex('(a'))", 21, "error parsing regexp: missing ): (a"),
    ("G.V().Has('a', Ipv4Range('10.0.0.0/99'))", 25, "invalid CIDR address: 10.0.0.0/99"),
    ("G.V().Has('a', Ipv4Range(1))", 25, "IPV4RANGE values should be of string type"),
    ("G.V().HasKey()", 6, "HasKey accepts only one parameter of type string : []"),
    ("G.V().HasKey(1)", 13, "HasKey accepts only one parameter of type string : [1]"),
    ("G.V().HasNot('a', 'b')", 6, "HasNot accepts only one parameter of type string : [a b]"),
    ("G.V().Count(1)", 12, "Count accepts no parameter : [1]"),
    ("G.V().Values()", 6, "Values requires 1 parameter : []"),
    ("G.V().Values(1)", 13, "Values requires 1 parameter : [1]"),
    ("G.V().Dedup('a', 1)", 17, "Dedup parameters have to be string keys : [a 1]"),
    ("G.V().Values('a').Dedup('a')", 24, "Dedup after Values takes no keys"),
    ("G.V().Limit()", 6, "Limit requires 1 parameter : []"),
    ("G.V().Limit(1.5)", 12, "%!s(float64=1.5) is not an integer"),
    ("G.V().Limit('x')", 12, "x is not an integer"),
    ("G.V().Limit(true)", 12, "%!s(bool=true) is not an integer"),
    ("G.V().Limit(NOW)", 12, "NOW is not an integer"),
    ("G.V().Limit(-1)", 12, "-1 is negative"),
    ("G.V().Range(1)", 6, "Range requires 2 parameters : [1]"),
    ("G.V().Range(0, 2.0)", 15, "%!s(float64=2) is not an integer"),
    ("G.At()", 2, "At least one parameter must be provided to 'Context'"),
    ("G.Context(1, 2, 3)", 16, "At most two parameters must be provided to 'Context'"),
    ("G.At(1.5)", 5, "Key 'Context' must be either an integer or a string"),
    ("G.At(FOREVER)", 5, "Key 'Context' must be either an integer or a string"),
    ("G.At(NOW, NOW)", 10, "Key 'Context' must be either an integer or a string"),
    ("G.At('yesterday')", 5, "Time must be in RFC1123 or in Go Duration format"),
    ("G.At(-60)", 5, "-60 is before 1970"),
    ("G.At(NOW, -1)", 10, "the duration must not be negative"),
    ("G.V().At(NOW)", 6, "Error while executing the query"),
    ("G.At(NOW).At(NOW)", 10, "Error while executing the query: At must directly follow the first G"),
    ("G.V().V()", 6, "Error while executing the query"),
    ("G.Has('a')", 2, "Invalid step 'Has' on '*traversal.GraphTraversal'"),
    ("G.E().Out()", 6, "Invalid step 'Out' on '*traversal.GraphTraversalE'"),
    ("G.V().InV()", 6, "Error while executing the query: InV works on edges, but stands after nodes"),
    ("G.V().Count().Limit(1)", 14, "Invalid step 'Limit' on '*traversal.GraphTraversalValue'"),
    ("G.V().Values('a').Out()", 18, "Invalid step 'Out' on '*traversal.GraphTraversalValue'"),
]


@pytest.mark.parametrize(("query", "offset", "message"), WRONG)
async def test_wrong_queries(query: str, offset: int, message: str) -> None:
    for _ in range(2):
        with pytest.raises(GremlinError) as caught:
            await run(query, CONTEXT)
        assert caught.value.message.startswith(message)
        assert (caught.value.offset, caught.value.query) == (offset, query)


async def test_errors_of_text_and_of_execution_differ() -> None:
    with pytest.raises(GremlinSyntaxError):
        await run("G.V().Has()", CONTEXT)
    with pytest.raises(GremlinExecutionError):
        await run("G.V('x')", CONTEXT)


async def test_elements_are_written_from_their_own_bytes() -> None:
    result = await run("G.V().Limit(2)", CONTEXT)
    assert isinstance(result, ElementsResult)
    assert result.json() == b"[" + GRAPH[0].json + b"," + GRAPH[1].json + b"]\n"
    assert (await run("G.V().Values('Name').Dedup()", CONTEXT)).json() == b'["host","eth0","lo","vm<1>","loop"]\n'


@pytest.mark.parametrize(
    ("revisions", "query", "expected"),
    [
        ([], "G", b'[{"Nodes":null,"Edges":null}]\n'),
        (GRAPH[:2], "G", b'[{"Nodes":[' + GRAPH[0].json + b"," + GRAPH[1].json + b'],"Edges":null}]\n'),
        (GRAPH[5:6] + GRAPH[-1:], "G.V().G",
         b'[{"Nodes":[' + GRAPH[5].json + b'],"Edges":[' + GRAPH[-1].json + b"]}]\n"),
        ([], "G.V()", b"[]\n"),
        ([], "G.E()", b"[]\n"),
        ([], "G.V().Count()", b"0\n"),
        ([], "G.V().Values('a')", b"null\n"),
    ],
)  # fmt: skip
async def test_shapes_of_answers(revisions: list[Revision], query: str, expected: bytes) -> None:
    assert (await run(query, QueryContext(ListView(revisions), now=lambda: 0))).json() == expected


async def test_the_graph_as_an_object_alone() -> None:
    result = await run("G", QueryContext(ListView([]), now=lambda: 0))
    assert isinstance(result, GraphResult)
    assert b"".join(result.object_chunks()) == b'{"Nodes":null,"Edges":null}'


async def test_large_answers_come_in_chunks() -> None:
    view = ListView([node(str(number), Name=number) for number in range(3000)])
    result = await run("G.V()", QueryContext(view, now=lambda: 0))
    pieces = list(result.json_chunks())
    assert len(pieces) == 5
    assert max(map(len, pieces)) < 1024 * 200
    assert [one["ID"] for one in json.loads(b"".join(pieces))] == [str(number) for number in range(3000)]
    values = await answer("G.V().Values('Name')", QueryContext(view, now=lambda: 0))
    assert values == list(range(3000))


async def test_an_edge_whose_end_is_forgotten_leads_nowhere() -> None:
    context = QueryContext(ListView([GRAPH[0], GRAPH[1], *GRAPH[6:8]]), now=lambda: 0)
    assert await answer("G.V('host').Out()", context) == ["eth0"]
    assert await answer("G.V('host').OutE()", context) == ["host-eth0", "host-lo"]
    assert await answer("G.E().BothV()", context) == ["host", "eth0", "host"]
