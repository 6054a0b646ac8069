"""What questions about flows mean."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore import filter as ast
from skycore.filter import MISSING, compile_filter
from skycore.flow import evaluation
from skycore.flow.evaluation import Record, evaluate, weaker
from skycore.flow.fields import FIELDS, canonical_filter, canonical_key, value
from skycore.flow.query import FlowQuery
from tests.flow.drawn_queries import KEYS, filters, flows, queries

GOLDEN = Path(__file__).resolve().parent.parent / "data" / "flows" / "golden.json"


def keys_of(value: Any, before: str = "") -> set[str]:
    if isinstance(value, dict):
        return {key for name, inner in value.items() for key in keys_of(inner, f"{before}{name}.")}
    if isinstance(value, list):
        return {key for inner in value for key in keys_of(inner, before)}
    return {before[:-1]}


def test_every_field_of_recorded_flows_is_known() -> None:
    recorded = [one["Flow"] for entry in json.loads(GOLDEN.read_text()) for one in entry["Flows"]]
    assert {key for flow in recorded for key in keys_of(flow)} - set(FIELDS) == set()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("IPV4.A", "Network.A"), ("IPV6.Protocol", "Network.Protocol"), ("ETHERNET.B", "Link.B"),
        ("TCP.A", "Transport.A"), ("UDP.Protocol", "Transport.Protocol"), ("SCTP.ID", "Transport.ID"),
        ("VRRP.Priority", "VRRPv2.priority"), ("DNS.ResponseCode", "DNS.response_code"),
        ("DNS.Answers.SOA.MName", "DNS.answers.SOA.m_name"), ("DHCPv4.ServerName", "DHCPv4.server_name"),
        ("Metric.ABBytes", "Metric.ABBytes"), ("At.Node", "At.Node"), ("Nothing.At.All", "Nothing.At.All"),
        ("DNS", "DNS"), ("TCPMetric.ABSynStart", "TCPMetric.ABSynStart"),
    ],
)  # fmt: skip
def test_other_names(written: str, meant: str) -> None:
    assert canonical_key(written) == meant
    assert canonical_key(meant) == meant


def holds(filter: ast.Filter, record: Record) -> bool:
    return evaluation.test_of(canonical_filter(filter))(record)


FLOW: Record = {
    "Network": {"A": "10.0.0.1", "B": "10.0.0.2"},
    "Transport": {"A": 1, "B": 2},
    "ICMP": {"Type": "ECHO"},
    "Metric": {},
}


@pytest.mark.parametrize(
    ("filter", "answer"),
    [
        (ast.Equals("Network", "10.0.0.2"), True),
        (ast.Equals("Network", "10.0.0.3"), False),
        (ast.Not(ast.Equals("Network", "10.0.0.2")), False),
        (ast.Present("Link"), False),
        (ast.Present("Transport"), True),
        (ast.Equals("Transport", 2), True),
        (ast.All((ast.Present("Network"), ast.Not(ast.Equals("Network", "10.0.0.3")))), True),
        (ast.Equals("ICMP.Code", 0), True),
        (ast.Equals("FinishType", 0), True),
        (ast.Equals("Metric.RTT", 0), True),
        (ast.Present("LastUpdateMetric.RTT"), False),
        (ast.Equals("Metric.ABBytes", 0), False),
    ],
)
def test_layers_alone_and_zeros(filter: ast.Filter, answer: bool) -> None:
    assert holds(filter, FLOW) is answer


@settings(deadline=None)
@given(flows(), filters(), st.frozensets(st.sampled_from(KEYS)))
def test_a_weaker_filter_holds_wherever_the_filter_does(
    records: list[Record], filter: ast.Filter, known: frozenset[str]
) -> None:
    part = weaker(filter, known.__contains__)
    strict, wide = evaluation.test_of(filter), evaluation.test_of(part)
    assert [record for record in records if strict(record) and not wide(record)] == []
    looked_at: set[str] = set()

    def get(key: str) -> Any:
        looked_at.add(key)
        return MISSING

    compile_filter(part)(get)
    assert looked_at <= known


@settings(deadline=None)
@given(flows(), queries(ordered=True))
def test_the_order_is_the_one_that_the_documentation_says(records: list[Record], query: FlowQuery) -> None:
    assert query.sort_by is not None
    found = evaluate(records, FlowQuery(sort_by=query.sort_by, descending=query.descending))
    assert {record["UUID"] for record in found} == {record["UUID"] for record in records}
    for one, other in pairwise(found):
        values = value(one, query.sort_by), value(other, query.sort_by)
        if MISSING in values:
            assert values[1] is MISSING
        elif values[0] == values[1] and type(values[0]) is type(values[1]):
            assert one["UUID"] < other["UUID"]
        elif type(values[0]) is type(values[1]) and isinstance(values[0], int | str):
            assert (values[0] > values[1]) is query.descending
