"""Questions of an agent's own tables: the native table answers as the plain meaning over its records does."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore import filter as ast
from skycore.errors import CaptureError
from skycore.flow.evaluation import Record, decode, evaluate
from skycore.flow.fields import value
from skycore.flow.live import LiveFlows
from skycore.flow.options import FlowOptions
from skycore.flow.query import FlowQuery, FlowSpan, Unanswered
from skycore.flow.source import Interface
from skycore.flow.spec import CaptureSpec
from skycore.flow.table import FlowTable
from tests.flow.drawn_queries import check

DATA = Path(__file__).resolve().parent.parent / "data" / "flows"
FILES = {"n1": "dns.pcap", "n2": "simple-tcpv4.pcap", "n3": "simple-tcpv6.pcap"}
EXPIRE_MS = 5000


def table_of(tid: str) -> FlowTable:
    capture = CaptureSpec(UUID="c", ExtraLayers=255, ExtraTCPMetric=True, RawPacketLimit=2)
    made = FlowTable(capture, Interface(tid, tid, tid, "veth", 1, 1, ""), FlowOptions())
    made._table.pcap((DATA / FILES[tid]).read_bytes())
    return made


TABLES = [table_of(tid) for tid in FILES]
LIVE = LiveFlows(lambda: TABLES, EXPIRE_MS)
RECORDS: list[Record] = [json.loads(line) for table in TABLES for line in table._table.flows().flows.splitlines()]
KEYS = (
    "UUID", "TrackingID", "LayersPath", "Application", "NodeTID", "Start", "Last", "Link.A", "Network.A", "Network.B",
    "Network.ID", "Transport.A", "Transport.B", "Transport.Protocol", "ICMP.Type", "ICMP.ID", "Metric.ABBytes",
    "Metric.RTT", "LastUpdateMetric.RTT", "FinishType", "RawPacketsCaptured", "DNS.ID", "DNS.QR", "DNS.response_code",
    "DNS.questions.name", "DNS.answers.TTL", "TCPMetric.ABSynStart", "CommunityID", "Nothing",
)  # fmt: skip


def members(key: str) -> list[Any]:
    found: list[Any] = []
    for record in RECORDS:
        one = value(record, key)
        found += one if isinstance(one, list) else [one] if isinstance(one, str | int) else []
    return found or [0]


@st.composite
def queries(draw: st.DrawFn) -> FlowQuery:
    leaves: list[ast.Filter] = []
    for key in draw(st.lists(st.sampled_from(KEYS), max_size=3)):
        known = draw(st.lists(st.sampled_from(members(key)), min_size=1, max_size=3))
        number = ast.number_of(known[0])
        choices: list[ast.Filter] = [
            ast.Equals(key, known[0]),
            ast.Any(tuple(ast.Equals(key, one) for one in known)),
            ast.Not(ast.Equals(key, known[0])),
            ast.Present(key),
            ast.Not(ast.Present(key)),
            ast.Compare(key, "gte", 0 if number is None else number + 0),
            ast.Compare(key, "lt", 1 << 70),
        ]
        leaves.append(draw(st.sampled_from(choices)))
    both = ast.All(tuple(leaves)) if not leaves or draw(st.booleans()) else ast.Any(tuple(leaves))
    keyed = st.none() | st.sampled_from(KEYS)
    return FlowQuery(
        both,
        draw(st.none() | st.frozensets(st.sampled_from([*FILES, "n4"]))),
        draw(keyed),
        draw(st.booleans()),
        draw(keyed),
        draw(st.integers(0, 3)),
        draw(st.none() | st.integers(0, 6)),
    )


async def ask(query: FlowQuery, span: FlowSpan | None = None) -> list[Record]:
    told: list[Unanswered] = []
    answer = [decode(one) async for piece in LIVE.flows(query, span, told.append) for one in piece]
    assert told == []
    return answer


@settings(deadline=None)
@given(queries())
async def test_tables_answer_as_plain_records_do(query: FlowQuery) -> None:
    check(query, RECORDS, await ask(query))


async def test_a_span() -> None:
    times = sorted({record["Start"] for record in RECORDS})
    for since, until in ((times[0], times[0]), (times[0] - 9000, times[0] - 1), (times[1], times[-1])):
        span = FlowSpan(since, until)
        query = FlowQuery(sort_by="Last")
        assert await ask(query, span) == evaluate(RECORDS, query, span, EXPIRE_MS)


async def test_packets() -> None:
    wanted = [record["UUID"] for record in RECORDS if record["NodeTID"] == "n2"]
    found = await LIVE.raw_packets([*wanted, "0"], frozenset({"n2"}), None, lambda _: None)
    assert set(found) == set(wanted)
    assert {packet.Index for packets in found.values() for packet in packets} == {1, 2}
    assert await LIVE.raw_packets(wanted, frozenset({"n1"}), None, lambda _: None) == {}
    assert await LIVE.raw_packets(wanted, frozenset({"n2"}), FlowSpan(0, 1), lambda _: None) == {}


async def test_a_filter_that_tables_do_not_take() -> None:
    with pytest.raises(CaptureError, match="wrong filter"):
        await ask(FlowQuery(ast.Matches("Application", "(")))


async def test_flows_that_leave_between_two_pieces_are_left_out() -> None:
    table = table_of("n1")
    live = LiveFlows(lambda: [table], EXPIRE_MS)
    chosen = await table.choose(b'{"all": []}', sort_by=None, descending=False, dedup_by=None, limit=None)
    assert len(chosen) > 2
    await table.flush()
    assert (await table.chosen(chosen, 0, 100)).flows == b""
    answer: AsyncGenerator[Sequence[bytes]] = live.flows(FlowQuery(), None, lambda _: None)
    assert [piece async for piece in answer] == []
