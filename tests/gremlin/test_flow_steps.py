"""Steps about flows: what each gives, what is asked of tables and stores instead, the texts of errors."""

from __future__ import annotations

import base64
import json
import re
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore import filter as ast
from skycore.errors import GremlinError, GremlinExecutionError, HistoryUnavailable
from skycore.filter import MISSING
from skycore.flow.evaluation import Record, evaluate
from skycore.flow.fields import FIELDS, canonical_filter, canonical_key, value
from skycore.flow.query import FlowMetric, FlowQuery, FlowSpan, RawPacket, Unanswered
from skycore.graph.element import Revision, build_revision
from skycore.gremlin import FlowsResult, Limits, QueryContext, missing_header, run
from skycore.testing.flows import ListedFlows
from skycore.testing.views import ListHistory, ListView
from tests.flow.drawn_queries import KEYS, flows

EXAMPLES: list[Record] = json.loads((Path(__file__).parents[2] / "docs" / "examples" / "flows.json").read_text())
GRAPH = json.loads((Path(__file__).parents[2] / "docs" / "examples" / "graph.json").read_text())
SOCKET = {
    "Process": "/usr/bin/psql", "Pid": 7, "Name": "psql", "LocalAddress": "::ffff:10.1.0.2", "LocalPort": 41000,
    "RemoteAddress": "::ffff:10.1.0.3", "RemotePort": 5432, "Protocol": "TCP", "State": "ESTABLISHED",
}  # fmt: skip
NOW = 1_700_000_600_000


def revision(one: dict[str, Any], born: int) -> Revision:
    metadata = {**one["Metadata"], **({"Sockets": [SOCKET]} if one["ID"] == "host" else {})}
    if one["ID"] == "db-out":
        metadata |= {"PeerIntfMAC": "02:00:00:00:00:03", "TID": "tid-db-out"}
    return build_revision(
        id=one["ID"], metadata=json.dumps(metadata).encode(), revision=1, host="rack1", origin="agent.rack1",
        created_at=1_700_000_000_000, updated_at=1_700_000_000_000, deleted_at=None,
        parent=one.get("Parent"), child=one.get("Child"), born=born,
    )  # fmt: skip


REVISIONS = [revision(one, born) for born, one in enumerate(GRAPH["Nodes"] + GRAPH["Edges"])]


def context(source: ListedFlows | None, **more: Any) -> QueryContext:
    return QueryContext(ListView(REVISIONS), lambda: NOW, ListHistory(REVISIONS), flows=source, **more)


async def answer(query: str, source: ListedFlows | None = None) -> Any:
    return json.loads((await run(query, context(source or ListedFlows(EXAMPLES, expire_ms=0)))).json())


ANSWERS: list[tuple[str, Any]] = [
    ("G.Flows().Values('UUID')", ["f1", "f2", "f3", "f4", "f5"]),
    ("G.Flows('Application', 'TCP', 'NodeTID', 'tid-web').Values('UUID')", ["f2"]),
    ("G.Flows().Has('FinishType').Count()", 5),
    ("G.Flows().HasKey('ICMP').Values('UUID')", ["f5"]),
    ("G.Flows().HasNot('Transport').Values('UUID')", ["f5"]),
    ("G.Flows().Has('RawPacketsCaptured', 0).Count()", 5),
    ("G.Flows().Has('FinishType', Gt(0)).Count()", 0),
    ("G.Flows().Has('TCP.B', Within(5432, 443)).Values('UUID')", ["f2", "f3", "f4"]),
    ("G.Flows().Has('Network', Ipv4Range('198.51.100.0/24')).Values('UUID')", ["f4"]),
    ("G.Flows().Has('Link', Without('02:00:00:00:00:02')).Values('UUID')", ["f4"]),
    ("G.Flows().Has('LayersPath', Regex('Ethernet/IPv4/.*P')).Values('UUID')", ["f2", "f3", "f4"]),
    ("G.Flows().HasEither('DNS.ID', 7, 'ICMP.ID', 9).Values('UUID')", ["f1", "f5"]),
    ("G.Flows().Sort().Values('UUID')", ["f1", "f2", "f3", "f4", "f5"]),
    ("G.Flows().Sort(DESC, 'Last').Values('UUID')", ["f5", "f4", "f2", "f3", "f1"]),
    ("G.Flows().Sort('DNS.ID').Limit(1).Values('UUID')", ["f1"]),
    ("G.Flows().Dedup('Application').Count()", 3),
    ("G.Flows().Dedup().Range(1, 3).Count()", 2),
    ("G.Flows().Limit(2).Has('Application', 'TCP').Values('UUID')", ["f2"]),
    ("G.Flows().Dedup().Has('NodeTID', 'tid-db').Count()", 0),
    ("G.Flows().Sort('Start').Sort('Application').Values('UUID')", ["f1", "f5", "f2", "f3", "f4"]),
    ("G.Flows().Count()", 5),
    ("G.Flows().Sum('Metric.ABBytes')", 7467),
    ("G.Flows().Sum('TCPMetric.ABPackets')", 0),
    ("G.Flows().Keys()", list(FIELDS)),
    ("G.Flows().Limit(1).Values('Network')", [EXAMPLES[0]["Network"]]),
    ("G.Flows().Has('Application', 'QUIC')", []),
    ("G.Flows().Has('Application', 'QUIC').Values('UUID')", None),
    ("G.Flows().Has('Application', 'QUIC').Metrics()", []),
    ("G.Flows().Has('Application', 'QUIC').Metrics().Sum()", None),
    ("G.Flows().Has('Application', 'QUIC').Group()", []),
    ("G.Flows().Group().MoreThan(1)", [{"a2": EXAMPLES[1:3]}]),
    ("G.Flows().Group('Application').MoreThan(2).Count()", 1),
    ("G.Flows().Group('Transport.B').Count()", 3),
    ("G.V().Flows().Count()", 5),
    ("G.V('db-in').Flows()", [EXAMPLES[2]]),
    ("G.V().Has('Type', 'netns').Flows()", []),
    ("G.V('db-in').SubGraph().Flows().Count()", 1),
    ("G.Flows().Has('UUID', Within('f2', 'f3')).Hops().Values('@ID')", ["web-in", "db-in"]),
    ("G.Flows().Has('UUID', 'f2').CaptureNode('Type', 'bridge').Count()", 0),
    ("G.Flows().Has('UUID', 'f2').Node().Values('@ID')", ["web-in"]),
    ("G.Flows().Has('UUID', 'f2').Nodes().Values('@ID')", ["web-in", "web-in", "db-in"]),
    ("G.Flows().Has('UUID', 'f2').Out().Values('@ID')", ["db-in", "db-out"]),
    ("G.Flows().Has('UUID', 'f2').Out('MTU', 1400).Values('@ID')", ["db-in"]),
    ("G.Flows().Has('UUID', 'f2').In().Values('@ID')", ["web-in"]),
    ("G.Flows().Has('UUID', 'f2').Both().Has('Name', 'eth0').Values('@ID')", ["web-in", "db-in"]),
    ("G.Flows().Sockets()", [{"f2": [SOCKET], "f3": [SOCKET]}]),
    ("G.Flows().Sockets().Has('Name', 'psql').Count()", 2),
    ("G.Flows().As('x').G.Flows().Has('UUID', 'f1').As('y').Select('y', 'x').Count()", 6),
    ("G.Flows().Has('UUID', 'f4').Metrics()", [{"f4": [EXAMPLES[3]["Metric"]]}]),
    ("G.Flows().Metrics().Count()", 5),
    ("G.Flows().Metrics().Sum('BABytes')", 68512),
    (
        "G.Flows().Has('Application', 'TCP').Metrics().Keys()",
        ["ABBytes", "ABPackets", "BABytes", "BAPackets", "Last", "RTT", "Start"],
    ),
    ("G.At(NOW, '3s').Flows().Values('UUID')", ["f2", "f3", "f4", "f5"]),
    ("G.At(NOW).Flows()", []),
    ("G.At('-1s').Flows().Values('UUID')", ["f4", "f5"]),
    ("G.At('-1s').V('eth0').Flows().Values('UUID')", ["f4"]),
]


@pytest.mark.parametrize(("query", "expected"), ANSWERS)
async def test_answers(query: str, expected: Any) -> None:
    assert await answer(query) == expected


ERRORS = [
    ("G.Flows('x')", "At least two parameters must be provided"),
    ("G.Flows('a', 1, 'b')", "params should be a list of key,value"),
    ("G.Flows().Values('ICMP.ID')", "Field not found"),
    ("G.Flows().Sum('Start')", "Start cannot be summed over flows"),
    ("G.Flows().Dedup('a', 'b')", "Dedup of flows takes one key"),
    ("G.Flows().Group('a', 'b')", "Group accepts one key"),
    ("G.Flows().Group().MoreThan('x')", "MoreThan parameter has to be a number"),
    ("G.Flows().Metrics('x')", "Metrics accepts no parameter"),
    ("G.Flows().RawPackets().BPF('no such thing')", "the BPF expression is wrong"),
    ("G.Flows().RawPackets().BPF()", "BPF requires 1 parameter"),
    ("G.Flows().OutE()", "Error while executing the query: OutE works on nodes"),
    ("G.V().Hops()", "Hops works on flows, but stands after nodes"),
    ("G.Flows().As('x').G.Select('x')", "x names flows"),
    ("G.V().As('x').G.Flows().Select('x')", "x names nodes"),
    ("G.Flows().Aggregates()", "Aggregates works on metrics"),
    ("G.Flows().Has('Application', Regex('('))", "error parsing regexp"),
]


@pytest.mark.parametrize(("query", "message"), ERRORS)
async def test_errors(query: str, message: str) -> None:
    with pytest.raises(GremlinError, match=re.escape(message)):
        await answer(query)


async def test_where_nobody_can_be_asked() -> None:
    with pytest.raises(GremlinExecutionError, match="flows cannot be asked for here"):
        await run("G.Flows()", context(None))


async def test_a_store_that_is_not_there() -> None:
    class Absent:
        async def flows(self, *_: Any) -> Any:
            raise HistoryUnavailable("No storage backend has been configured: …")
            yield []

    with pytest.raises(GremlinExecutionError, match="No storage backend has been configured"):
        await run("G.At(NOW, 5).Flows()", QueryContext(ListView([]), lambda: NOW, ListHistory([]), flows=Absent()))  # type: ignore[arg-type]


async def test_who_is_missing_is_in_the_answer() -> None:
    gone = [Unanswered("rack2", "the agent is not connected"), Unanswered("rack\n3", "…"), Unanswered("rack2", "again")]
    source = ListedFlows(EXAMPLES, unanswered=gone)
    for query in ("G.Flows()", "G.Flows().Count()", "G.Flows().Metrics().Sum()", "G.Flows().Explain()"):
        assert (await run(query, context(source))).unanswered == tuple(gone[:2])
    header = missing_header((await run("G.Flows()", context(source))).unanswered)
    assert header.isascii()
    assert header.isprintable()
    assert json.loads(header)[1] == {"Host": "rack\n3", "Reason": "…"}
    assert (await answer("G.Flows().Explain()", source))["Missing"][0]["Host"] == "rack2"


async def test_one_question_for_what_stands_together() -> None:
    source = ListedFlows(EXAMPLES)
    await answer(
        "G.Flows('Application', 'TCP').Has('Network', 'a').Sort(DESC, 'Last').Dedup().Limit(9).Range(2, 4)", source
    )
    both = ast.Any((ast.Equals("Network.A", "a"), ast.Equals("Network.B", "a")))
    filter = ast.All((ast.Equals("Application", "TCP"), both))
    assert source.asked == [(FlowQuery(filter, None, "Last", True, "TrackingID", 2, 2), None)]
    explained = await answer("G.Flows().Has('UUID', 'f2').Sort('Start').Limit(1).Count().Explain()", source)
    assert [(one["Operation"], one["Rows"]) for one in explained["Steps"]] == [("TakeFlows", 1)]
    await answer("G.At(1700000590, 10).V('web-in').Dedup().Flows()", source)
    assert source.asked[-1] == (FlowQuery(nodes=frozenset({"tid-web"})), FlowSpan(1_700_000_580_000, 1_700_000_590_000))


async def test_metrics_of_a_time() -> None:
    kept = [FlowMetric(1, 100, 1, 50, 1_700_000_570_000, 1_700_000_580_000, 5), FlowMetric(Start=0, Last=1)]
    source = ListedFlows(EXAMPLES, metrics={"f2": kept})
    metrics = await answer("G.At(NOW, 40).Flows('UUID', Within('f2', 'f5')).Metrics()", source)
    known = {"ABPackets": 1, "ABBytes": 100, "BAPackets": 1, "BABytes": 50}
    # Of a flow that was not kept yet what its table says.
    assert metrics == [
        {"f2": [{**known, "Start": kept[0].Start, "Last": kept[0].Last, "RTT": 5}], "f5": [EXAMPLES[4]["Metric"]]}
    ]
    (slices,) = await answer("G.At(NOW, 40).Flows('UUID', 'f2').Metrics().Aggregates(5)", source)
    assert [(one["Start"], one["ABBytes"]) for one in slices["Aggregated"]] == [
        (1_700_000_570_000, 50),
        (1_700_000_575_000, 50),
    ]


async def test_packets_and_their_filter() -> None:
    icmp = (
        bytes.fromhex("020000000003020000000002080045000054000040004001269e0a0100020a010003") + b"\x08\x00" + bytes(60)
    )
    reply = icmp[:34] + b"\x00" + icmp[35:]
    packets = {
        "f5": [RawPacket(5, 1, icmp, 1), RawPacket(6, 2, reply, 1)],
        "f2": [RawPacket(7, 1, b"\x45" + bytes(19), 228)],
    }
    source = ListedFlows([{**one, "RawPacketsCaptured": 2} for one in EXAMPLES], packets=packets)
    shown = [
        {"Timestamp": time, "Index": index, "Data": base64.b64encode(data).decode(), "LinkType": 1}
        for index, time, data in ((1, 5, icmp), (2, 6, reply))
    ]
    query = "G.V('web-in').Flows('Application', 'ICMPv4').RawPackets()"
    assert await answer(query, source) == [{"f5": shown}]
    assert await answer(query + ".BPF('icmp[0] == 0')", source) == [{"f5": shown[1:]}]
    assert await answer(query + ".BPF('tcp')", source) == [{"f5": None}]
    assert (await answer("G.Flows().RawPackets().BPF('ip')", source))[0].keys() == {"f2", "f5"}
    # Flows of which nothing was kept are not asked about.
    assert await answer(query, ListedFlows(EXAMPLES, packets=packets)) == []


async def test_too_many_bytes_are_refused_and_counting_holds_none() -> None:
    source = ListedFlows([{**EXAMPLES[0], "UUID": str(number)} for number in range(500)])
    small = context(source, limits=Limits(bytes=100_000))
    with pytest.raises(GremlinExecutionError, match="the query is too large: more than 0 MiB of flows"):
        await run("G.Flows()", small)
    for query, number in (("G.Flows().Count()", b"500\n"), ("G.Flows().Sum('Metric.ABBytes')", b"37500\n")):
        assert (await run(query, small)).json() == number


WRITTEN = {
    "Start": 1,
    "Metric.ABBytes": 100,
    "Application": "'TCP'",
    "Transport.A": 2,
    "NodeTID": "'n1'",
    "Network": "'10.0.0.1'",
}
KEYED = st.sampled_from(["IPV4.A", "TrackingID", "Last", "FinishType", *KEYS])
STEPS = st.one_of(
    st.sampled_from(sorted(WRITTEN)).map(lambda key: f"Has('{key}', {WRITTEN[key]})"),
    st.sampled_from(sorted(WRITTEN)).map(lambda key: f"HasEither('{key}', {WRITTEN[key]}, 'ICMP.ID', 1)"),
    KEYED.map(lambda key: f"HasNot('{key}')"),
    st.tuples(st.sampled_from(["ASC", "DESC"]), KEYED).map(lambda one: f"Sort({one[0]}, '{one[1]}')"),
    KEYED.map(lambda key: f"Dedup('{key}')"),
    st.integers(0, 6).map(lambda number: f"Limit({number})"),
    st.integers(0, 3).map(lambda number: f"Range({number}, {number + 3})"),
)


def step_by_step(records: list[Record], step: str) -> list[Record]:
    """One step over records, by the text of it alone."""
    name, _, rest = step.removesuffix(")").partition("(")
    words = [word.strip() for word in rest.split(",")]
    texts = [word.strip("'") for word in words]

    def equal(record: Record, key: str, text: str) -> bool:
        wanted: Any = text.strip("'") if text.startswith("'") else int(text)
        leaf = canonical_filter(ast.Equals(key, wanted))
        return bool(evaluate([record], FlowQuery(leaf)))

    match name:
        case "Has":
            return [one for one in records if equal(one, texts[0], words[1])]
        case "HasEither":
            return [one for one in records if equal(one, texts[0], words[1]) or equal(one, texts[2], words[3])]
        case "HasNot":
            return [one for one in records if value(one, canonical_key(texts[0])) is MISSING]
        case "Sort":
            return evaluate(records, FlowQuery(sort_by=canonical_key(texts[1]), descending=texts[0] == "DESC"))
        case "Dedup":
            return evaluate(records, FlowQuery(dedup_by=canonical_key(texts[0])))
        case "Limit":
            return records[: int(texts[0])]
        case _:
            return records[int(texts[0]) : int(texts[1])]


@settings(deadline=None)
@given(flows(), KEYED, st.lists(STEPS, max_size=6))
async def test_steps_in_one_question_give_what_they_give_one_by_one(
    records: list[Record], key: str, steps: list[str]
) -> None:
    # With an order from the start there is one right answer.
    steps = [f"Sort(ASC, '{key}')", *steps]
    result = await run(".".join(["G.Flows()", *steps]), context(ListedFlows(records)))
    assert isinstance(result, FlowsResult)
    expected = reduce(step_by_step, steps, records)
    assert [json.loads(one) for one in result.flows] == expected
