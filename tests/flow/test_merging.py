"""Several answers made one."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.flow.evaluation import Record, decode, evaluate
from skycore.flow.merging import Merger, merge, part_of
from skycore.flow.query import FlowQuery
from tests.flow.drawn_queries import check, flows, queries


def written(records: list[Record]) -> list[bytes]:
    return [json.dumps(record).encode() for record in records]


async def pieces(records: list[Record], size: int) -> AsyncGenerator[Sequence[bytes]]:
    for start in range(0, len(records), size):
        yield written(records[start : start + size])


@settings(deadline=None)
@given(flows(20), queries(), st.integers(1, 4), st.integers(1, 3), st.randoms(use_true_random=False))
async def test_parts_of_the_flows_give_together_what_all_give(
    records: list[Record], query: FlowQuery, sources: int, size: int, choice: object
) -> None:
    parts = [evaluate(records[number::sources], part_of(query)) for number in range(sources)]
    answer = [decode(one) async for piece in merge(query, [pieces(part, size) for part in parts]) for one in piece]
    check(query, records, answer)


@settings(deadline=None)
@given(flows(20), queries(), st.integers(1, 4), st.data())
def test_in_whatever_turn_they_come(records: list[Record], query: FlowQuery, sources: int, data: st.DataObject) -> None:
    merger = Merger(query, range(sources))
    left = {number: written(evaluate(records[number::sources], part_of(query))) for number in range(sources)}
    answer: list[bytes] = []
    while not merger.done:
        number = data.draw(st.sampled_from(sorted(left)))
        if left[number]:
            merger.put(number, [left[number].pop(0)])
        else:
            merger.end(number)
            del left[number]
        answer += merger.take()
    check(query, records, [decode(one) for one in answer])


async def test_no_more_is_read_than_is_wanted() -> None:
    read: list[int] = []
    closed = False

    async def endless() -> AsyncGenerator[Sequence[bytes]]:
        nonlocal closed
        try:
            for number in range(1_000_000):
                read.append(number)
                yield written([{"UUID": f"{number:08x}", "Start": number}])
        finally:
            closed = True

    query = FlowQuery(sort_by="Start", limit=3)
    answer = [decode(one)["Start"] async for piece in merge(query, [endless(), endless()]) for one in piece]
    assert answer == [0, 0, 1]
    assert len(read) < 8
    assert closed
