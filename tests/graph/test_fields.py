from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skycore.filter import MISSING
from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.graph.fields import field, fields, freeze

METADATA = {"Name": "eth0", "Parent": "meta", "@Odd": 1, "@ID": "meta", "Metric": {"RxBytes": 3}}


def make(deleted_at: int | None = None, parent: str | None = None, child: str | None = None) -> Revision:
    return build_revision(
        id="i", metadata=canonical_metadata(METADATA), revision=4, host="h", origin="agent.h",
        created_at=10, updated_at=20, deleted_at=deleted_at, parent=parent, child=child,
    )  # fmt: skip


NODE, EDGE = make(), make(parent="p", child="c")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("@ID", "i"),
        ("@Host", "h"),
        ("@Origin", "agent.h"),
        ("@CreatedAt", 10),
        ("@UpdatedAt", 20),
        ("@DeletedAt", MISSING),
        ("@Revision", 4),
        ("@Stale", False),
        ("@Odd", 1),
        ("@Gone", MISSING),
        ("Metadata.@ID", "meta"),
        ("Name", "eth0"),
        ("Metadata.Metric.RxBytes", 3),
        ("Parent", "meta"),
        ("Child", MISSING),
    ],
)
def test_field_of_a_node(key: str, expected: Any) -> None:
    assert field(NODE, key) == expected


def test_fields_of_an_edge_and_of_a_tombstone() -> None:
    assert [field(EDGE, key) for key in ("Parent", "Child", "Metadata.Parent")] == ["p", "c", "meta"]
    assert field(make(deleted_at=30), "@DeletedAt") == 30


def test_stale_is_asked_of_the_view() -> None:
    asked: list[Revision] = []

    def stale(revision: Revision) -> bool:
        asked.append(revision)
        return True

    get = fields(NODE, stale)
    assert get("Name") == "eth0"
    assert asked == []
    assert get("@Stale") is True
    assert asked == [NODE]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, 1.0, 1.5])
    | st.sampled_from(["", "1", "bool"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


@example(True, 1)
@example([False], [0])
@example({"a": True}, {"a": 1.0})
@example(1, 1.0)
@example([], {})
@example(None, "null")
@given(JSON, JSON)
def test_frozen_values_are_equal_exactly_when_the_values_are(left: Any, right: Any) -> None:
    assert (freeze(left) == freeze(right)) == same(left, right)
    assert freeze(left) != freeze(right) or hash(freeze(left)) == hash(freeze(right))
