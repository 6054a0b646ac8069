"""Blocks: whatever revisions go in come out, at any moment, and damaged bytes are a ValueError."""

from __future__ import annotations

import zlib
from contextlib import suppress

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.graph.past import since_of
from skycore.storage.block import changed_within, decode_block, encode_block, last_of_block

_names = st.sampled_from(["RxBytes", "TxBytes", "RxErrors", "Last", 'q"', "é"])
_counters = st.dictionaries(_names, st.integers(0, 5) | st.integers(-(1 << 63), (1 << 64) - 1), max_size=4)
_odd = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.lists(_counters, max_size=2) | st.booleans()
_measured = _counters | _counters | _odd | st.dictionaries(_names, _odd, max_size=2)
_metadata = st.fixed_dictionaries(
    {"Name": st.sampled_from(["a", '"Metric":{}', "\\"])},
    optional={
        "Metric": _measured,
        "LastUpdateMetric": _measured,
        "Nested": st.fixed_dictionaries({"Metric": _counters}),
        "A": st.just({"LastUpdateMetric": 1}),
        "Z": st.integers(0, 1),
    },
)


@st.composite
def _lives(draw: st.DrawFn) -> list[Revision]:
    """Revisions of one element with numbers that grow, times of any order, and now and then a tombstone."""
    found: list[Revision] = []
    number = draw(st.integers(0, 1 << 40))
    metadata = draw(_metadata)
    ends = draw(st.sampled_from([(None, None), ("p", 'c"é')]))
    created = at = draw(st.integers(0, 1 << 41))
    owners: tuple[str, ...] = ("netlink",)
    for _ in range(draw(st.integers(1, 12))):
        number += draw(st.integers(1, 3))
        at += draw(st.integers(-5, 60_000))
        if draw(st.integers(0, 4)) == 0:
            metadata = draw(_metadata)
        else:
            metadata = {**metadata, **draw(st.fixed_dictionaries({}, optional={"Metric": _measured}))}
        if draw(st.integers(0, 9)) == 0:
            created, owners = at, draw(st.sampled_from([(), ("docker",), ("docker", "netlink")]))
        deleted = at if draw(st.integers(0, 9)) == 0 else None
        found.append(
            build_revision(
                id='n"\n', metadata=canonical_metadata(metadata), revision=number, host="h", origin='o"Revision":1',
                created_at=created, updated_at=at, deleted_at=deleted, parent=ends[0], child=ends[1], owners=owners,
            )
        )  # fmt: skip
    return found


@given(_lives())
@settings(max_examples=300, deadline=None)
def test_what_goes_in_comes_out(life: list[Revision]) -> None:
    block = encode_block(life)
    assert decode_block(block.runs, block.series) == life
    assert (block.first, block.last, block.revisions) == (life[0].revision, life[-1].revision, len(life))
    assert (block.start, block.finish) == (min(map(since_of, life)), max(map(since_of, life)))
    for at in {since_of(one) + shift for one in life for shift in (-1, 0)}:
        current = [one for one in life if since_of(one) <= at]
        assert last_of_block(block.runs, block.series, at) == (current[-1] if current else None)
        assert changed_within(block.times, at - 3, at) == any(at - 3 < since_of(one) <= at for one in life)
    without = decode_block(block.runs, None)
    assert len(without) == block.revisions - block.measured
    assert [one for one in life if one in without] == without


@given(st.lists(st.integers(0, 1_000_000), min_size=40, max_size=64))
def test_metrics_alone_cost_little(packets: list[int]) -> None:
    life: list[Revision] = []
    total = 0
    for number, count in enumerate(packets):
        total += count
        now = 1_700_000_000_000 + number * 30_000
        metadata = {
            "Name": "eth0",
            "Text": "x" * 600,
            "Metric": {"RxPackets": total, "RxBytes": total * 700, "Last": now},
            "LastUpdateMetric": {"RxPackets": count, "RxBytes": count * 700, "Start": now - 30_000, "Last": now},
        }
        life.append(
            build_revision(
                id="n", metadata=canonical_metadata(metadata), revision=number + 1, host="h", origin="agent.h",
                created_at=1_700_000_000_000, updated_at=now,
            )
        )  # fmt: skip
    block = encode_block(life)
    assert block.measured == len(life) - 1
    assert block.series is not None
    assert len(block.runs) + len(block.series) < 30 * len(life)


_GOOD = encode_block(
    [
        build_revision(
            id="n", metadata=canonical_metadata({"Metric": {"RxBytes": number}}), revision=number, host="h",
            origin="o", created_at=1, updated_at=number,
        )
        for number in range(1, 9)
    ]
)  # fmt: skip


@given(st.binary(max_size=40), st.integers(0, 120), st.booleans())
def test_damage_is_a_value_error_at_most(noise: bytes, place: int, inside: bool) -> None:
    assert _GOOD.series is not None
    for part in (0, 1):
        parts = [_GOOD.runs, _GOOD.series]
        raw = zlib.decompress(parts[part]) if inside else parts[part]
        raw = raw[:place] + noise + raw[place + len(noise) :]
        parts[part] = zlib.compress(raw) if inside else raw
        with suppress(ValueError):
            decode_block(parts[0], parts[1])
        with suppress(ValueError):
            last_of_block(parts[0], parts[1], 5)


def test_a_damaged_column_is_a_value_error() -> None:
    columns = msgspec.msgpack.encode([[0, [1], [1], [[["A"], [[1, 2]], [], True, False], [[], [], [], True, False]]]])
    with suppress(ValueError):
        decode_block(_GOOD.runs, zlib.compress(columns))
