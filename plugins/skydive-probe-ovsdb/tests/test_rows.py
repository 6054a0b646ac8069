"""Framing, values and updates: whatever comes in pieces, as differences or as nonsense."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skydive_probe_ovsdb.client import Update
from skydive_probe_ovsdb.errors import BadAnswer
from skydive_probe_ovsdb.framing import Splitter
from skydive_probe_ovsdb.rows import Rows
from skydive_probe_ovsdb.schema import Column, Shape, read_schema

texts = st.text(st.characters(codec="utf-8"), max_size=8)
leaves = texts | st.integers() | st.booleans()
documents = st.dictionaries(
    texts, leaves | st.lists(leaves, max_size=3) | st.dictionaries(texts, leaves, max_size=3), max_size=4
)


@given(st.lists(documents, max_size=5), st.integers(1, 40), st.sampled_from(["", " ", "\n"]), st.booleans())
def test_objects_are_found_however_they_are_cut(found: list[Any], size: int, between: str, escaped: bool) -> None:
    raw = between.join(json.dumps(one, ensure_ascii=escaped) for one in found).encode()
    splitter = Splitter(1 << 20)
    seen = [one for start in range(0, len(raw), size) for one in splitter.feed(raw[start : start + size])]
    assert [json.loads(one) for one in seen] == found


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_bytes_that_are_no_objects_are_refused_or_waited_for(pieces: list[bytes]) -> None:
    splitter = Splitter(64)
    with contextlib.suppress(BadAnswer):
        for piece in pieces:
            for found in splitter.feed(piece):
                assert found[:1] == b"{"
                assert found[-1:] == b"}"


def test_a_message_is_bounded() -> None:
    splitter = Splitter(1000)
    assert splitter.feed(b'{"a": "' + b"x" * 900) == []
    with pytest.raises(BadAnswer, match="more than 1000 bytes"):
        splitter.feed(b"x" * 100)


def test_a_long_text_in_many_pieces_takes_linear_time() -> None:
    splitter = Splitter(1 << 30)
    splitter.feed(b'{"a": "')
    for _ in range(1000):
        assert splitter.feed(b'\\"' * 8000) == []
    (found,) = splitter.feed(b'"}')
    assert len(found) == 16_000_009


COLUMNS = {
    "T": {
        "one": Column(Shape.ONE),
        "set": Column(Shape.SET),
        "map": Column(Shape.MAP),
        "ref": Column(Shape.SET, refers=True),
    }
}
uuids = st.sampled_from([f"00000000-0000-0000-0000-00000000000{index}" for index in range(4)])
rows = st.fixed_dictionaries(
    {
        "one": st.none() | st.integers(),
        "set": st.frozensets(st.integers(0, 5)),
        "map": st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)),
        "ref": st.frozensets(uuids),
    }
)


def _raw(name: str, value: Any) -> Any:
    if isinstance(value, frozenset):
        members = [["uuid", one] if name == "ref" else one for one in sorted(value)]
        # A set of one may be written as its member (RFC 7047, 5.1).
        return members[0] if len(members) == 1 else ["set", members]
    if isinstance(value, dict):
        return ["map", [[key, one] for key, one in value.items()]]
    return ["set", []] if value is None else value


def _difference(name: str, before: Any, after: Any) -> Any:
    if isinstance(after, frozenset):
        return _raw(name, before ^ after)
    if isinstance(after, dict):
        changed = {key: one for key, one in after.items() if before.get(key) != one}
        return _raw(name, {**changed, **{key: before[key] for key in before.keys() - after.keys()}})
    return _raw(name, after)


@given(st.lists(st.dictionaries(uuids, rows), max_size=6), st.booleans())
def test_differences_lead_to_the_same_rows(states: list[dict[str, Any]], old_form: bool) -> None:
    known = Rows(COLUMNS)
    before: dict[str, Any] = {}
    for state in states:
        changes: dict[str, Any] = {}
        for uuid in before.keys() | state.keys():
            old, new = before.get(uuid), state.get(uuid)
            if old == new:
                continue
            if old_form:
                changes[uuid] = {"new": {key: _raw(key, value) for key, value in new.items()}} if new else {"old": {}}
            elif new is None:
                changes[uuid] = {"delete": None}
            elif old is None:
                changes[uuid] = {"insert": {key: _raw(key, value) for key, value in new.items() if value}}
                if new["one"] == 0:
                    changes[uuid]["insert"]["one"] = 0
            else:
                parts = {key: _difference(key, old[key], new[key]) for key in new if old[key] != new[key]}
                changes[uuid] = {"modify": parts}
        changed = known.apply(Update("update" if old_form else "update2", {"T": changes}, complete=False))
        assert changed == {("T", uuid): before.get(uuid) for uuid in changes}
        assert known.tables["T"] == state
        for uuid in {one for row in state.values() for one in row["ref"]}:
            assert known.referring(uuid, "T") == sorted(one for one, row in state.items() if uuid in row["ref"])
        before = state


nonsense = st.recursive(
    st.none()
    | st.integers()
    | texts
    | st.sampled_from(["set", "map", "uuid", "initial", "modify", "delete", "one", "ref"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["T", "modify", "insert", "new", "one", "set", "map", "ref", "columns"]), inner
        )
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.just("T"),
        st.dictionaries(uuids, st.dictionaries(texts | st.just("modify"), nonsense, max_size=3), max_size=3),
    ),
    st.booleans(),
)
def test_nonsense_updates_are_refused_with_a_reason(update: Any, old_form: bool) -> None:
    known = Rows(COLUMNS)
    known.apply(Update("update2", {"T": {"00000000-0000-0000-0000-000000000000": {"insert": {}}}}, complete=True))
    with contextlib.suppress(BadAnswer):
        known.apply(Update("update" if old_form else "update2", update, complete=False))


@given(nonsense)
def test_a_schema_that_is_none_is_refused(answer: Any) -> None:
    with contextlib.suppress(BadAnswer):
        assert read_schema(answer) == {}


def test_an_unhashable_value_in_a_set_is_refused() -> None:
    with pytest.raises(BadAnswer):
        Column(Shape.SET).read(msgspec.json.decode(b'["set", [["set", [1]]]]'))
