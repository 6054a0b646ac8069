"""Cutting a list of JSON that comes in pieces."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.client.split import SplitError, Splitter

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\[]{},:\n ü'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='k"\\,'), inner, max_size=4),
    max_leaves=12,
)


def pieces(text: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[one:other] for one, other in pairwise(places)]


@given(
    st.lists(VALUES, max_size=6),
    st.lists(st.integers(min_value=0), max_size=12),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_the_items_come_out_wherever_the_text_is_cut(
    values: list[Any], cuts: list[int], indent: int | None, ascii: bool
) -> None:
    text = (json.dumps(values, indent=indent, ensure_ascii=ascii) + "\n").encode()
    splitter = Splitter()
    found = [json.loads(item) for piece in pieces(text, cuts) for item in splitter.feed(piece)]
    splitter.close()
    assert found == values


def test_an_item_comes_as_soon_as_it_is_complete() -> None:
    splitter = Splitter()
    assert splitter.feed(b'[{"a":1}') == []
    assert splitter.feed(b",") == [b'{"a":1}']
    assert splitter.feed(b"2]") == [b"2"]


@given(st.binary(max_size=60), st.lists(st.integers(min_value=0), max_size=5))
def test_any_bytes_are_split_or_refused(data: bytes, cuts: list[int]) -> None:
    splitter = Splitter()
    try:
        for piece in pieces(data, cuts):
            splitter.feed(piece)
        splitter.close()
    except SplitError:
        # What it refuses is no list of JSON.
        try:
            assert not isinstance(json.loads(data), list)
        except (ValueError, UnicodeError):
            pass


@pytest.mark.parametrize(
    "text", ["", "5", '"a"', "{}", "nul", "[1", "[1]]", "[1] 2", "[,1]", "[1,]", "[1}", "x[1]", "[1][2]"]
)
def test_what_is_no_list(text: str) -> None:
    def split() -> None:
        splitter = Splitter()
        splitter.feed(text.encode())
        splitter.close()

    with pytest.raises(SplitError):
        split()
