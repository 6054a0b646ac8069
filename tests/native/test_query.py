"""Queries of live flows: the table's filters give the same answers as skycore.filter over the records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skycore_native import Table

from skycore import filter as ast

DATA = Path(__file__).resolve().parent.parent / "data" / "flows"


def filled() -> Table:
    table = Table(extra_layers=255, tcp_times=True, reassemble_tcp=True, node_tid="node", capture_id="capture")
    # One stream: a file each would need a table each.
    header = (DATA / "dns.pcap").read_bytes()[:24]
    bodies = [(DATA / name).read_bytes()[24:] for name in ("dns.pcap", "simple-tcpv4.pcap", "simple-tcpv6.pcap")]
    table.pcap(header + b"".join(bodies))
    table.pcap_end()
    table.update(1_700_000_000_000)
    return table


TABLE = filled()
RECORDS: list[dict[str, Any]] = [json.loads(line) for line in TABLE.flows().flows.splitlines()]


def form(tree: ast.Filter) -> Any:
    """The JSON form of a filter."""
    match tree:
        case ast.All(filters):
            return {"all": [form(one) for one in filters]}
        case ast.Any(filters):
            return {"any": [form(one) for one in filters]}
        case ast.Not(inner):
            return {"not": form(inner)}
        case ast.Present(key):
            return {"present": key}
        case ast.Equals(key, value):
            return {"equals": {"key": key, "value": value}}
        case ast.Compare(key, operator, value):
            return {"compare": {"key": key, "operator": operator, "value": value}}
        case ast.Matches(key, pattern):
            return {"matches": {"key": key, "pattern": pattern}}
        case ast.InNetwork(key, network):
            return {"in_network": {"key": key, "network": network}}


KEYS = (
    "UUID", "TrackingID", "L3TrackingID", "ParentUUID", "LayersPath", "Application", "NodeTID", "CaptureID",
    "Link.A", "Link.B", "Link.Protocol", "Link.ID", "Network.A", "Network.B", "Network.Protocol", "Network.ID",
    "Transport.A", "Transport.B", "Transport.Protocol", "Transport.ID", "Metric.ABBytes", "Metric.BAPackets",
    "Metric.Start", "LastUpdateMetric.ABBytes", "LastUpdateMetric.Last", "Start", "Last", "RawPacketsCaptured",
    "DNS.response_code", "DNS.ID", "DNS.QR", "DNS.questions.name", "DNS.answers.TTL", "TCPMetric.ABSynStart",
    "TCPMetric.BAPackets", "CommunityID", "Nothing", "Network.Nothing",
)  # fmt: skip


def values_of(key: str) -> list[Any]:
    found = []
    for record in RECORDS:
        value = ast.lookup(record, tuple(key.split(".")))
        found += value if isinstance(value, list) else [value] if value is not ast.MISSING else []
    return found


@st.composite
def leaves(draw: st.DrawFn) -> ast.Filter:
    key = draw(st.sampled_from(KEYS))
    known = [value for value in values_of(key) if isinstance(value, str | int)] or [0]
    value: Any = draw(
        st.sampled_from(known) | st.sampled_from([0, 1, -1, 53, 53.0, 52.5, "53", "TCP", True, False, ""])
    )
    match draw(st.integers(0, 4)):
        case 0:
            return ast.Present(key)
        case 1:
            return ast.Equals(key, value)
        case 2:
            bound = ast.number_of(value)
            operator: Any = draw(st.sampled_from(["lt", "lte", "gt", "gte"]))
            return ast.Compare(key, operator, 7 if bound is None else bound + 0)  # a bound is no bool
        case 3:
            return ast.Matches(key, draw(st.sampled_from([".*", "Ethernet/IPv4/.*", "1[0-9.]+", "TCP|UDP", "", "a"])))
        case _:
            return ast.InNetwork(key, draw(st.sampled_from(["10.0.0.0/8", "192.168.0.2", "0.0.0.0/0", "8.8.8.8/31"])))


trees = st.recursive(
    leaves(),
    lambda inner: (
        st.builds(lambda some: ast.All(tuple(some)), st.lists(inner, max_size=3))
        | st.builds(lambda some: ast.Any(tuple(some)), st.lists(inner, max_size=3))
        | st.builds(ast.Not, inner)
    ),
    max_leaves=6,
)


@given(trees)
def test_the_table_filters_as_the_filter_language_says(tree: ast.Filter) -> None:
    holds = ast.compile_filter(tree)
    expected = {record["UUID"] for record in RECORDS if holds(lambda key: ast.lookup(record, tuple(key.split("."))))}  # noqa: B023 -- called at once
    found = TABLE.flows(filter=json.dumps(form(tree)).encode()).flows.splitlines()
    assert {json.loads(line)["UUID"] for line in found} == expected


@pytest.mark.parametrize(
    ("key", "same"),
    [
        ("TCP.A", "Transport.A"),
        ("IPV4.B", "Network.B"),
        ("ETHERNET.A", "Link.A"),
        ("DNS.ResponseCode", "DNS.response_code"),
    ],
)
def test_other_names_of_keys(key: str, same: str) -> None:
    one, other = (
        TABLE.flows(sort_by="UUID", filter=json.dumps({"present": each}).encode()).flows for each in (key, same)
    )
    assert one == other != b""


def test_a_layer_alone_means_either_end() -> None:
    query = json.dumps({"equals": {"key": "Transport", "value": 3333}}).encode()
    assert len(TABLE.flows(filter=query)) == 2


def test_order_and_range() -> None:
    def sizes(**arguments: Any) -> list[int]:
        lines = TABLE.flows(sort_by="Metric.ABBytes", **arguments).flows.splitlines()
        return [json.loads(line)["Metric"]["ABBytes"] for line in lines]

    every = sorted(record["Metric"]["ABBytes"] for record in RECORDS)
    assert sizes() == every
    assert sizes(descending=True, limit=3) == every[::-1][:3]
    assert sizes(offset=2, limit=2) == every[2:4]
    assert sizes(offset=1000) == []


@pytest.mark.parametrize(
    "wrong",
    [
        b"", b"{}", b"[]", b'{"equals": {"key": "A"}}', b'{"equals": {"key": "A", "value": []}}', b'{"maybe": []}',
        b'{"matches": {"key": "A", "pattern": "("}}', b'{"in_network": {"key": "A", "network": "10.0.0.0/33"}}',
        b'{"not": ' * 200 + b"{}" + b"}" * 200, b'{"matches": {"key": "A", "pattern": "(a{1000}){1000}"}}',
    ],
)  # fmt: skip
def test_wrong_filters_are_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="wrong filter"):
        TABLE.flows(filter=wrong)
