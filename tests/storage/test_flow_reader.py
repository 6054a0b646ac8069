"""Questions about stored flows: the store answers what the meaning of a query says over plain records."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.filter import All, Compare, Equals, Filter, InNetwork, Matches, Not, Present
from skycore.filter import Any as AnyOf
from skycore.flow import evaluation
from skycore.flow.evaluation import decode, evaluate
from skycore.flow.query import FlowQuery, FlowSpan
from skycore.storage.flow_filter import pushed
from skycore.storage.flow_reader import StoredFlows
from skycore.storage.flow_rows import BY_KEY, FlowRows
from skycore.storage.flows import FlowStore

NOW = 10_000_000
EXPIRE = 7


@contextmanager
def holding(records: list[dict[str, Any]]) -> Iterator[FlowStore]:
    with tempfile.TemporaryDirectory() as folder:
        store = FlowStore(Path(folder), retention_days=0, max_bytes=0)
        store.open()
        try:
            rows = FlowRows()
            rows.add([json.dumps(record).encode() for record in records], [])
            assert rows.refused == []
            store.commit(rows)
            yield store
        finally:
            store.close()


def enhanced(record: dict[str, Any]) -> dict[str, Any]:
    """What the graph knows by now, and did not when some of the flows were stored."""
    network = record.get("Network", {})
    ends = {
        "At": {"Node": record.get("NodeTID", "")},
        **{
            end: {"Node": "t", "Container": "web"}
            for end, side in (("From", "A"), ("To", "B"))
            if network.get(side) == "10.0.0.1"
        },
    }
    return {**ends, **record}


def reader(store: FlowStore) -> StoredFlows:
    return StoredFlows(
        store,
        expire_ms=EXPIRE,
        enhance=lambda json_: json.dumps(enhanced(decode(json_))).encode(),
        clock=lambda: NOW,
    )


async def ask(store: FlowStore, query: FlowQuery, span: FlowSpan | None = None) -> list[dict[str, Any]]:
    pieces = reader(store).flows(query, span, lambda _: None)
    return [decode(one) async for piece in pieces for one in piece]


texts = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.1.0.1/16", "a", "42", "042", "x%_", "ü", ""])
numbers = st.sampled_from([0, 1, 2, 42, 80, 443, 1 << 40])
times = st.integers(NOW - 30, NOW)
ends = st.fixed_dictionaries(
    {}, optional={"Node": texts, "Container": st.sampled_from(["web", "db"]), "Name": texts, "Process": texts}
)


def layer(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"ID": numbers}, optional={"A": values, "B": values})


@st.composite
def records(draw: st.DrawFn) -> list[dict[str, Any]]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        start = draw(times)
        record: dict[str, Any] = {
            "UUID": f"{number:x}",
            "Start": start,
            "Last": draw(st.integers(start, NOW)),
            "ParentUUID": draw(texts),
        }
        record |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "Application": texts,
                    "NodeTID": texts,
                    "TrackingID": texts,
                    "Link": layer(texts),
                    "Network": layer(texts),
                    "Transport": layer(numbers),
                    "ICMP": st.fixed_dictionaries({"Type": texts}, optional={"Code": numbers}),
                    "Metric": st.fixed_dictionaries(
                        {"ABBytes": numbers, "Start": numbers}, optional={"RTT": numbers, "BABytes": numbers}
                    ),
                    "DNS": st.fixed_dictionaries(
                        {"QR": st.booleans()}, optional={"names": st.lists(texts, max_size=2)}
                    ),
                    "At": ends,
                    "From": ends,
                    "To": ends,
                },
            )
        )
        found.append(record)
    return found


keys = st.sampled_from(
    [
        *BY_KEY,
        "At.Name", "From.Name", "To.Name", "From.Container", "To.Container",
        "Network.ID", "ICMP.Code", "ICMP.Type", "Metric.RTT", "FinishType", "DNS", "DNS.QR", "DNS.names", "Nothing",
    ]
)  # fmt: skip
scalars = st.one_of(
    texts, numbers, st.booleans(), st.sampled_from([-1, 0.5, 42.0, float("inf"), 1 << 63, 1 << 70, "\ud800"])
)
leaves: st.SearchStrategy[Filter] = st.one_of(
    st.builds(Present, keys),
    st.builds(Equals, keys, scalars),
    st.builds(Equals, keys, texts),
    st.builds(
        Compare,
        keys,
        st.sampled_from(["lt", "lte", "gt", "gte"]),
        st.one_of(numbers, times, st.sampled_from([-(1 << 70), 1 << 70, 0.5, float("-inf"), float("nan")])),
    ),
    st.builds(Matches, keys, st.sampled_from(["10\\..*", ".*", "", "[a-z]", "web|db"])),
    st.builds(InNetwork, keys, st.sampled_from(["10.0.0.0/8", "10.0.0.1/32"])),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: All(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        st.builds(Not, inner),
    ),
    max_leaves=6,
)
queries = st.builds(
    FlowQuery,
    filter=filters,
    nodes=st.one_of(st.none(), st.frozensets(texts, max_size=2)),
    sort_by=st.one_of(st.none(), keys),
    descending=st.booleans(),
    dedup_by=st.one_of(st.none(), keys),
    offset=st.integers(0, 3),
    limit=st.one_of(st.none(), st.integers(0, 5)),
)
spans = st.one_of(st.none(), st.builds(FlowSpan, times, times))


@settings(max_examples=400, deadline=None)
@given(records(), queries, spans)
async def test_answers_are_those_of_the_naive_evaluation(
    said: list[dict[str, Any]], query: FlowQuery, span: FlowSpan | None
) -> None:
    with holding(said) as store:
        found = await ask(store, query, span)
    known = [enhanced(record) for record in said]
    expected = evaluate(known, query, span, EXPIRE)
    if query.sort_by is not None:
        assert found == expected
        return
    every = evaluate(known, attrs.evolve(query, dedup_by=None, offset=0, limit=None), span, EXPIRE)
    assert len(found) == len(expected)
    assert all(one in every for one in found)
    if query.dedup_by is not None:
        same = [evaluation.same_as(one, query.dedup_by) for one in found]
        assert len({one for one in same if one is not None}) == len([one for one in same if one is not None])


def many(count: int) -> list[dict[str, Any]]:
    return [
        {
            "UUID": f"{number:x}",
            "Start": 1,
            "Last": number,
            "Network": {"A": f"10.0.{number >> 8 & 255}.{number & 255}"},
        }
        for number in range(1, count + 1)
    ]


async def test_an_answer_comes_in_pieces_and_stops_with_who_asks() -> None:
    with holding(many(5000)) as store:
        pieces = reader(store).flows(FlowQuery(sort_by="Last"), None, lambda _: None)
        first = await anext(pieces)
        assert 0 < len(first) < 5000
        await pieces.aclose()
        # Nothing is left that would keep the file from being closed and opened again.
        store.close()
        store.open()


async def test_a_long_search_ends_when_it_is_cancelled() -> None:
    """Nothing matches, so that all of it is one piece, and each row is asked for in Python."""
    slow = AnyOf(tuple(Matches("Network.A", f"x{number}.*y") for number in range(100)))
    slow = AnyOf(tuple(All((slow,)) for _ in range(30)))
    with holding(many(20_000)) as store:
        with trio.move_on_after(0.05) as scope:
            async for _ in reader(store).flows(FlowQuery(slow), None, lambda _: None):
                pytest.fail("nothing matches")
        assert scope.cancelled_caught
        # The thread that nobody waits for any more still holds its place among the threads; it would take much longer.
        threads = trio.to_thread.current_default_thread_limiter()
        with trio.fail_after(60):
            for _ in range(60_000):
                if not threads.borrowed_tokens:
                    break
                await trio.sleep(0.001)
        assert not threads.borrowed_tokens
        rows = FlowRows()
        rows.add([json.dumps(many(1)[0]).encode()], [])
        store.commit(rows)


async def test_a_long_list_of_values() -> None:
    names = [f"10.0.{number >> 8 & 255}.{number & 255}" for number in range(300)]
    with holding(many(600)) as store:
        for key in ("Network.A", "From.Container"):
            found = await ask(store, FlowQuery(AnyOf(tuple(Equals(key, name) for name in names))))
            assert len(found) == (299 if key == "Network.A" else 0)
        every = All(tuple(Not(Equals("Network.A", name)) for name in names))
        assert len(await ask(store, FlowQuery(every))) == 600 - 299


@pytest.mark.parametrize("key", [column.key for column in BY_KEY.values() if column.index is not None])
async def test_indexes_serve_what_they_are_for(key: str) -> None:
    column = BY_KEY[key]
    value: str | int = 1 if column.type == "INTEGER" else "x"
    with holding([]) as store, store.reading() as connection:
        found = pushed(Equals(key, value), late_since_ms=5, by_time=False)
        plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT json FROM flow WHERE {found.where}", found.values)
        steps = [str(row[3]) for row in plan]
    assert not any(step.startswith("SCAN") for step in steps), steps
