"""Batches: cut into pieces without losing or breaking a record."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from skycore.flow.batch import FlowBatch, array

RECORDS = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), max_size=30)


def lines(records: list[dict[str, str]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@given(RECORDS, RECORDS, st.integers(1, 200))
def test_pieces_hold_every_record_once_and_whole(
    flows: list[dict[str, str]], raw: list[dict[str, str]], enough: int
) -> None:
    batch = FlowBatch(lines(flows), lines(raw), len(flows))
    pieces = list(batch.pieces(enough))
    assert [record for piece in pieces for record in json.loads(array(piece.flows))] == flows
    assert [record for piece in pieces for record in json.loads(array(piece.raw_packets))] == raw
    assert sum(piece.count for piece in pieces) == len(flows)
    assert all(piece.flows or piece.raw_packets for piece in pieces)
    longest = max((len(line) for line in (batch.flows + batch.raw_packets).splitlines(keepends=True)), default=0)
    assert all(len(piece.flows + piece.raw_packets) <= enough + longest for piece in pieces)
