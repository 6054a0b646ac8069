"""Labels: nothing is lost, whatever their names are, and nothing is said that the graph could not hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.plugin.labels import DEPTH, nest, within_budget
from skycore.plugin.labels import value as decoded


def _flat(nested: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            found |= {f"{key}.{rest}": inner for rest, inner in _flat(value).items()}
        else:
            found[key] = value
    return found


def _depth(nested: object) -> int:
    return 1 + max(map(_depth, nested.values()), default=0) if isinstance(nested, dict) else 0


@pytest.mark.parametrize(
    ("labels", "nested"),
    [
        ({}, {}),
        ({"role": "db"}, {"role": "db"}),
        ({"a.b": "1", "a.c": "2"}, {"a": {"b": "1", "c": "2"}}),
        ({"app.kubernetes.io/name": "web"}, {"app": {"kubernetes": {"io/name": "web"}}}),
        ({"a": "1", "a.b": "2", "a.b.c": "3"}, {"a": "1", "a.b": "2", "a.b.c": "3"}),
        ({"x.a": "1", "x.a.b": "2", "x.c": "3"}, {"x": {"a": "1", "a.b": "2", "c": "3"}}),
        ({"": "1", ".": "2", "..": "3"}, {"": "1", ".": "2", "..": "3"}),
        ({"a.": "1"}, {"a": {"": "1"}}),
        ({"a-b": "1", "a.b": "2", "a": "3"}, {"a-b": "1", "a": "3", "a.b": "2"}),
    ],
)
def test_labels_are_nested_by_their_dots(labels: dict[str, str], nested: dict[str, Any]) -> None:
    assert nest(labels) == nested


@given(st.dictionaries(st.text(alphabet="ab.-", max_size=8), st.text(max_size=3)), st.randoms())
def test_no_label_is_lost_and_their_order_does_not_matter(labels: dict[str, str], random: Any) -> None:
    nested = nest(labels)
    assert _flat(nested) == labels
    shuffled = list(labels.items())
    random.shuffle(shuffled)
    assert nest(dict(shuffled)) == nested


def test_a_name_of_very_many_dots_is_kept_and_stays_shallow() -> None:
    labels = {"a." * 500_000: "deep", "a." * 100 + "b": "other"}
    nested = nest(labels)
    assert _depth(nested) == DEPTH + 1
    assert _flat(nested) == labels


def test_a_label_whose_value_is_a_map_is_no_level() -> None:
    assert nest({"a": {"b": 1}, "a.c": "2"}) == {"a": {"b": 1}, "a.c": "2"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1", 1),
        ("true", True),
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("front", "front"),
        ("", ""),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        (str(2**70), str(2**70)),
        ('"\\ud800"', '"\\ud800"'),
        ('{"\\ud800": 1}', '{"\\ud800": 1}'),
        ("[" * 40 + "]" * 40, "[" * 40 + "]" * 40),
        ("[" * 1_000_000, "[" * 1_000_000),
        ("1" * 10_000, "1" * 10_000),
    ],
)
def test_a_value_is_decoded_when_the_graph_can_hold_it(text: str, found: Any) -> None:
    assert decoded(text) == found
    assert type(decoded(text)) is type(found)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=30), max_size=20), st.integers(0, 400))
def test_what_fits_is_kept_and_the_rest_is_counted(labels: dict[str, str], budget: int) -> None:
    kept, left_out = within_budget(labels, budget)
    assert kept.items() <= labels.items()
    assert len(kept) + left_out == len(labels)
    size = sum(len(json.dumps(name)) + len(json.dumps(text)) for name, text in kept.items())
    assert size <= budget
    if left_out:
        smallest = min(len(json.dumps(name)) + len(json.dumps(labels[name])) for name in labels.keys() - kept.keys())
        assert size + smallest > budget
