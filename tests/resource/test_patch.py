"""JSON Patch: the examples of RFC 6902, and properties."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.resource.patch import PatchError, apply_patch
from skycore.resource.value import equal

# RFC 6902, appendix A: document, patch, result (None: an error).
_EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    (
        {"baz": "qux", "foo": "bar"},
        [{"op": "replace", "path": "/baz", "value": "boo"}],
        {"baz": "boo", "foo": "bar"},
    ),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], None),
    (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": "qux"}], None),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], None),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
    # Beyond the appendix.
    ({"a": 1}, [{"op": "replace", "path": "", "value": [1]}], [1]),
    ({"": 1}, [{"op": "remove", "path": "/"}], {}),
    ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
    ({"a": True}, [{"op": "test", "path": "/a", "value": 1}], None),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a", "path": "/a/b"}], None),
    ({"a": 1}, [{"op": "replace", "path": "/b", "value": 1}], None),
    ({"a": [1]}, [{"op": "add", "path": "/a/01", "value": 1}], None),
    ({"a": [1]}, [{"op": "add", "path": "/a/2", "value": 1}], None),
    ({"a": [1]}, [{"op": "replace", "path": "/a/-", "value": 1}], None),
    ({"a": 1}, [{"op": "add", "path": "a", "value": 1}], None),
    ({"a": 1}, [{"op": "add", "path": "/~2", "value": 1}], None),
    ({"a": 1}, [{"op": "add", "path": "/b"}], None),
    ({"a": 1}, [{"op": "remove", "path": ""}], None),
    ({"a": 1}, [{"op": "swap", "path": "/a"}], None),
    ({"a": 1}, {"op": "remove", "path": "/a"}, None),
    ({"a": 1}, ["remove"], None),
    ({"a": 1}, [], {"a": 1}),
]


@pytest.mark.parametrize(("document", "patch", "result"), _EXAMPLES)
def test_examples(document: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(document)
    if result is None:
        with pytest.raises(PatchError):
            apply_patch(document, patch)
    else:
        assert equal(apply_patch(document, patch), result)
    assert equal(document, before)


def test_the_error_names_the_operation() -> None:
    with pytest.raises(PatchError, match="operation 2: there is no '/b'"):
        apply_patch({"a": 1}, [{"op": "remove", "path": "/a"}, {"op": "remove", "path": "/b"}])


def test_doubling_is_bounded() -> None:
    patch = [{"op": "copy", "from": "/a", "path": "/a/-"} for _ in range(64)]
    with pytest.raises(PatchError, match="more than"):
        apply_patch({"a": [[] for _ in range(100)]}, patch)


_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "~/", ""]), inner, max_size=3)
    ),
    max_leaves=8,
)
_PARTS = st.lists(st.sampled_from(["a", "b", "~0~1", "", "0", "1", "-", "~", "01", "9999999999"]), max_size=4)
_PATHS = _PARTS.map(lambda parts: "".join("/" + part for part in parts))
_OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]), "path": _PATHS},
    optional={"value": _VALUES, "from": _PATHS},
)


@given(_VALUES, st.lists(_OPERATIONS, max_size=6) | _VALUES)
def test_any_patch_gives_a_result_or_an_error_and_changes_nothing_given(document: Any, patch: Any) -> None:
    before, said = copy.deepcopy(document), copy.deepcopy(patch)
    try:
        apply_patch(document, patch)
    except PatchError:
        pass
    assert equal(document, before)
    assert equal(patch, said)


def _difference(one: Any, other: Any, path: str) -> list[dict[str, Any]]:
    """A patch from one document to another, made the simple way."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = {key: path + "/" + key.replace("~", "~0").replace("/", "~1") for key in one.keys() | other.keys()}
        found = [{"op": "remove", "path": names[key]} for key in one if key not in other]
        found += [{"op": "add", "path": names[key], "value": other[key]} for key in other if key not in one]
        for key in one.keys() & other.keys():
            found += _difference(one[key], other[key], names[key])
        return found
    return [] if equal(one, other) else [{"op": "replace", "path": path, "value": other}]


@given(_VALUES, _VALUES)
def test_the_difference_of_two_documents_leads_from_one_to_the_other(one: Any, other: Any) -> None:
    assert equal(apply_patch(one, _difference(one, other, "")), other)
