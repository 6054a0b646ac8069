"""Flows and questions about them, drawn at random: few values, so that many are equal."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from skycore import filter as ast
from skycore.flow.evaluation import Record, evaluate
from skycore.flow.query import FlowQuery

KEYS = (
    "UUID", "TrackingID", "Application", "NodeTID", "Start", "Last", "Network.A", "Network.B", "Transport.A",
    "Transport.Protocol", "Metric.ABBytes", "Metric.RTT", "ICMP.Type", "ICMP.ID", "FinishType", "DNS.QR",
    "DNS.answers.IP", "Nothing",
)  # fmt: skip
ADDRESSES = ["10.0.0.1", "10.0.0.2", "192.168.0.1"]
NODES = ["n1", "n2", "n3"]
TIMES = st.integers(0, 40).map(lambda number: number * 1000)


def _maybe(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | value


@st.composite
def records(draw: st.DrawFn, uuid: str) -> Record:
    """A flow with this UUID."""
    start = draw(TIMES)
    made: dict[str, Any] = {
        "UUID": uuid,
        "Application": draw(st.sampled_from(["TCP", "DNS", "42"])),
        "Network": draw(
            _maybe(
                st.fixed_dictionaries(
                    {"A": st.sampled_from(ADDRESSES), "B": st.sampled_from(ADDRESSES), "ID": st.just(0)}
                )
            )
        ),
        "Transport": draw(
            _maybe(st.fixed_dictionaries({"Protocol": st.sampled_from(["TCP", "UDP"]), "A": st.integers(1, 4)}))
        ),
        "ICMP": draw(_maybe(st.fixed_dictionaries({"Type": st.just("ECHO")}, optional={"ID": st.integers(1, 2)}))),
        "DNS": draw(
            _maybe(
                st.fixed_dictionaries(
                    {"answers": st.lists(st.fixed_dictionaries({"IP": st.sampled_from(ADDRESSES)}), max_size=2)},
                    optional={"QR": st.just(True)},
                )
            )
        ),
        "Metric": {
            "ABPackets": draw(st.integers(0, 3)),
            "ABBytes": draw(st.integers(0, 3)) * 100,
            "Start": start,
            "Last": start,
        },
        "Start": start,
        "Last": start + draw(st.integers(0, 20)) * 1000,
        "TrackingID": draw(st.sampled_from(["a", "b", "c"])),
        "NodeTID": draw(_maybe(st.sampled_from(NODES))),
        "FinishType": draw(_maybe(st.integers(1, 3))),
    }
    return {key: value for key, value in made.items() if value is not None}


@st.composite
def flows(draw: st.DrawFn, most: int = 12) -> list[Record]:
    """Different flows."""
    uuids = draw(st.lists(st.integers(1, 200).map(lambda number: f"{number:x}"), max_size=most, unique=True))
    return [draw(records(uuid)) for uuid in uuids]


@st.composite
def leaves(draw: st.DrawFn, keys: tuple[str, ...] = KEYS) -> ast.Filter:
    key = draw(st.sampled_from(keys))
    value: Any = draw(st.sampled_from([0, 1, 2, 100, 200.0, 1000, "TCP", "42", "n1", "a", "10.0.0.1", True, False]))
    match draw(st.integers(0, 4)):
        case 0:
            return ast.Present(key)
        case 1:
            return ast.Equals(key, value)
        case 2:
            bound = draw(st.sampled_from([0, 1, 100, 1000.5, 20000]))
            operator: Any = draw(st.sampled_from(["lt", "lte", "gt", "gte"]))
            return ast.Compare(key, operator, bound)
        case 3:
            return ast.Matches(key, draw(st.sampled_from([".*", "T.*", "10[.]0[.]0[.][12]", "a|b"])))
        case _:
            return ast.InNetwork(key, draw(st.sampled_from(["10.0.0.0/8", "192.168.0.1", "0.0.0.0/0"])))


def filters(keys: tuple[str, ...] = KEYS) -> st.SearchStrategy[ast.Filter]:
    """Filters over canonical keys."""
    return st.recursive(
        leaves(keys),
        lambda inner: (
            st.builds(lambda some: ast.All(tuple(some)), st.lists(inner, max_size=3))
            | st.builds(lambda some: ast.Any(tuple(some)), st.lists(inner, max_size=3))
            | st.builds(ast.Not, inner)
        ),
        max_leaves=4,
    )


def queries(keys: tuple[str, ...] = KEYS, *, ordered: bool = False) -> st.SearchStrategy[FlowQuery]:
    """Questions; ``ordered``: with an order, so that there is one right answer."""
    keyed = st.sampled_from(keys)
    return st.builds(
        FlowQuery,
        filter=filters(keys),
        nodes=st.none() | st.frozensets(st.sampled_from(NODES)),
        sort_by=keyed if ordered else st.none() | keyed,
        descending=st.booleans(),
        dedup_by=st.none() | keyed,
        offset=st.integers(0, 3),
        limit=st.none() | st.integers(0, 5),
    )


def check(query: FlowQuery, records: list[Record], answer: list[Record]) -> None:
    """The answer is right: the one that the order gives, or, without one, one of those that are right."""
    expected = evaluate(records, query)
    if query.sort_by is not None:
        assert answer == expected
        return
    assert len(answer) == len(expected)
    every = {record["UUID"]: record for record in evaluate(records, FlowQuery(query.filter, query.nodes))}
    assert all(every.pop(record["UUID"]) == record for record in answer)
    if query.dedup_by is not None:
        assert len(evaluate(answer, FlowQuery(dedup_by=query.dedup_by))) == len(answer)
