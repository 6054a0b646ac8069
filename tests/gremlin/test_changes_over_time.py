"""``Diff`` and ``Revisions``, and the gaps that answers about the past come with."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.errors import GremlinError, GremlinExecutionError
from skycore.filter import MISSING, lookup
from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.graph.view import Gap
from skycore.gremlin import Limits, QueryContext, gaps_header, run
from skycore.gremlin.changes import changes_between
from skycore.testing.views import ListHistory, ListView
from tests.gremlin.drawn import METADATA

NOW = 100_000


def revision(
    id: str,
    number: int,
    at: int,
    metadata: Mapping[str, Any],
    *,
    created: int = 1000,
    deleted: bool = False,
    ends: Any = (None, None),
) -> Revision:
    return build_revision(
        id=id, metadata=canonical_metadata(metadata), revision=number, host="h", origin="agent.h", created_at=created,
        updated_at=at, deleted_at=at if deleted else None, parent=ends[0], child=ends[1],
    )  # fmt: skip


NIC = {"Name": "eth0", "MTU": 1500, "Features": {"gro": True, "tso": True}, "IPV4": ["10.0.0.1/8"]}
LIFE = [
    revision("eth0", 1, 1000, NIC),
    revision("eth0", 2, 2000, {**NIC, "MTU": 9000}),
    revision("eth0", 3, 3000, {**NIC, "MTU": 9000, "Features": {"gro": False, "tso": True, "lro": True}}),
    revision("eth0", 4, 4000, {"Name": "eth0", "MTU": 9000, "IPV4": ["10.0.0.1/8", "10.0.0.2/8"]}),
    revision("eth0", 5, 5000, {"Name": "eth0", "MTU": 9000, "IPV4": ["10.0.0.1/8", "10.0.0.2/8"]}, deleted=True),
    revision("eth0", 6, 6000, {"Name": "eth0", "MTU": 1500}, created=6000),
]
BRIDGE = revision("br0", 1, 1000, {"Name": "br0"})
LINK = revision("link", 1, 2500, {"RelationType": "layer2"}, created=2500, ends=("br0", "eth0"))
UNLINK = revision("link", 2, 5000, {"RelationType": "layer2"}, created=2500, deleted=True, ends=("br0", "eth0"))
GAPS = [Gap("agent.h", 2500, 2600, 7), Gap("agent.i", 50_000, 60_000, 0)]
CONTEXT = QueryContext(
    ListView([BRIDGE, LIFE[-1]]), now=lambda: NOW, history=ListHistory([BRIDGE, *LIFE, LINK, UNLINK], GAPS)
)


async def ask(query: str, context: QueryContext = CONTEXT) -> Any:
    return json.loads((await run(query, context)).json())


def json_of(revision: Revision) -> Any:
    return json.loads(revision.json)


EMPTY: dict[str, Any] = {"Nodes": [], "Edges": []}


@pytest.mark.parametrize(
    "query",
    ["G.Diff(1, 3)", "G.Diff('-99s', '-97s')", "G.Diff('Thu, 01 Jan 1970 00:00:01 GMT', 3)", "g.diff('-99s', 3)"],
)
async def test_what_is_different_between_two_moments(query: str) -> None:
    assert await ask(query) == {
        "Start": 1000,
        "End": 3000,
        "Appeared": {"Nodes": [], "Edges": [json_of(LINK)]},
        "Vanished": EMPTY,
        "Changed": {
            "Nodes": [
                {
                    "Element": json_of(LIFE[2]),
                    "Changes": {
                        "Features.gro": {"Old": True, "New": False},
                        "Features.lro": {"New": True},
                        "MTU": {"Old": 1500, "New": 9000},
                    },
                }
            ],
            "Edges": [],
        },
    }


async def test_what_appeared_and_vanished() -> None:
    found = await ask("G.Diff(0, 1)")
    assert found["Appeared"] == {"Nodes": [json_of(BRIDGE), json_of(LIFE[0])], "Edges": []}
    found = await ask("G.Diff(4, 5)")
    assert found["Vanished"] == {"Nodes": [json_of(LIFE[3])], "Edges": [json_of(LINK)]}
    # It was deleted and came back: it is there at both moments.
    found = await ask("G.Diff(4, NOW)")
    (change,) = found["Changed"]["Nodes"]
    assert change["Changes"] == {"IPV4": {"Old": ["10.0.0.1/8", "10.0.0.2/8"]}, "MTU": {"Old": 9000, "New": 1500}}
    assert await ask("G.Diff(7, NOW)") == {
        "Start": 7000, "End": NOW, "Appeared": EMPTY, "Vanished": EMPTY, "Changed": EMPTY,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "expected"),
    [("'MTU'", 1), ("'Features'", 1), ("'Features.gro'", 1), ("'Features.tso'", 0), ("'Name', 'MTU'", 1), ("'F'", 0)],
)
async def test_only_what_changed_in_some_keys(keys: str, expected: int) -> None:
    found = await ask(f"G.Diff(1, 3, {keys})")
    assert len(found["Changed"]["Nodes"]) == expected
    named = {changed.split(".")[0] for one in found["Changed"]["Nodes"] for changed in one["Changes"]}
    assert all(f"'{key}" in keys for key in named)
    assert len(found["Appeared"]["Edges"]) == 1


async def test_explain_tells_of_a_difference() -> None:
    found = await ask("G.Diff(1, 3).Explain()")
    (step,) = found["Steps"]
    assert (step["Steps"], step["Gives"], step["Rows"]) == ("Diff(1, 3)", "difference", 2)
    assert found["Gaps"] == [{"Origin": "agent.h", "Start": 2500, "End": 2600, "Lost": 7}]
    assert found["StoreMilliseconds"] > 0


@pytest.mark.parametrize(
    ("query", "offset", "message"),
    [
        ("G.Diff()", 2, "Diff requires two moments : []"),
        ("G.Diff(1)", 2, "Diff requires two moments : [1]"),
        ("G.Diff(1, 'soon')", 10, "Time must be in RFC1123"),
        ("G.Diff(true, 1)", 7, "Key 'Diff' must be either an integer or a string"),
        ("G.Diff(1, 2, 3)", 13, "keys should be of string type : [1 2 3]"),
        ("G.Diff(2, 1)", 10, "the second moment of Diff is before the first one"),
        ("G.Diff(NOW, '-1s')", 12, "the second moment of Diff is before the first one"),
        ("G.V().Diff(1, 2)", 6, "Error while executing the query: Diff works on the graph"),
        ("G.At(1).Diff(1, 2)", 8, "Error while executing the query: Diff must directly follow the first G"),
        (
            "G.Diff(1, 2).V()",
            13,
            "Error while executing the query: V works on the graph, but stands",
        ),
        ("G.V().Revisions(1)", 16, "keys should be of string type : [1]"),
        ("G.V().Revisions().Count()", 18, "Invalid step 'Count'"),
        ("G.Revisions()", 2, "Error while executing the query: Revisions works on nodes or edges"),
    ],
)
async def test_wrong_questions(query: str, offset: int, message: str) -> None:
    with pytest.raises(GremlinError) as caught:
        await run(query, CONTEXT)
    assert caught.value.message.startswith(message)
    assert (caught.value.offset, caught.value.query) == (offset, query)


def entry(number: int, changes: Any, until: int | None) -> dict[str, Any]:
    one = LIFE[number - 1]
    return {"At": one.updated_at, "Until": until, "Element": json_of(one), "Changes": changes}


ENTRIES = [
    entry(1, None, 2000),
    entry(2, {"MTU": {"Old": 1500, "New": 9000}}, 3000),
    entry(3, {"Features.gro": {"Old": True, "New": False}, "Features.lro": {"New": True}}, 4000),
    entry(
        4,
        {"Features": {"Old": {"gro": False, "tso": True, "lro": True}},
         "IPV4": {"Old": ["10.0.0.1/8"], "New": ["10.0.0.1/8", "10.0.0.2/8"]}},
        5000,
    ),
    entry(5, {}, 6000),
    entry(6, None, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("G.V('eth0').Revisions()", [1, 2, 3, 4, 5, 6]),
        ("G.At(3).V('eth0').Revisions()", [1, 2, 3]),
        ("G.At(4, 1).V('eth0').Revisions()", [2, 3, 4]),
        ("G.At(4, 1).V('eth0').Has('MTU', 9000).Limit(1).Revisions()", [2, 3, 4]),
        ("G.At(NOW, FOREVER).V('eth0').Dedup().Revisions()", [1, 2, 3, 4, 5, 6]),
        ("G.V('eth0').Revisions('MTU')", [1, 2, 5, 6]),
        ("G.V('eth0').Revisions('Features', 'IPV4')", [1, 3, 4, 5, 6]),
        ("G.V('eth0').Revisions('Name')", [1, 5, 6]),
        ("G.V('br0').In().Revisions()", None),
    ],
)
async def test_the_revisions_of_an_element(query: str, expected: list[int] | None) -> None:
    found = await ask(query)
    assert found == ([] if expected is None else [{"eth0": [ENTRIES[number - 1] for number in expected]}])


async def test_revisions_of_several_elements_and_of_edges() -> None:
    (found,) = await ask("G.V().Revisions()")
    assert {id: len(one) for id, one in found.items()} == {"br0": 1, "eth0": 6}
    (found,) = await ask("G.At(NOW, FOREVER).E().Revisions()")
    assert [one["Element"]["Revision"] for one in found["link"]] == [1, 2]
    assert (await ask("G.V().Revisions().Explain()"))["Steps"][-1]["Rows"] == 7


async def test_a_revision_that_the_store_does_not_have_yet() -> None:
    newest = revision("eth0", 7, 7000, {"Name": "eth0", "MTU": 1400}, created=6000)
    context = QueryContext(ListView([newest]), now=lambda: NOW, history=CONTEXT.history)
    (found,) = await ask("G.V().Revisions()", context)
    assert found["eth0"][-1] == {
        "At": 7000, "Until": None, "Element": json_of(newest), "Changes": {"MTU": {"Old": 1500, "New": 1400}},
    }  # fmt: skip
    assert found["eth0"][-2]["Until"] == 7000


@pytest.mark.parametrize(
    ("query", "gaps"),
    [
        ("G.V()", []),
        ("G.At(2).V()", []),
        ("G.At(3, 1).V().Count()", GAPS[:1]),
        ("G.At(55)", GAPS[1:]),
        ("G.Diff(1, 99)", GAPS),
        ("G.Diff(1, 2)", []),
        ("G.V('eth0').Revisions()", GAPS),
        ("G.At(3, 1).V('eth0').Revisions()", GAPS[:1]),
        ("G.At(NOW, FOREVER).V().Values('Name')", GAPS),
        ("G.At(NOW, FOREVER).V().Explain()", GAPS),
    ],
)
async def test_answers_say_what_is_missing_in_the_history(query: str, gaps: list[Gap]) -> None:
    assert list((await run(query, CONTEXT)).gaps) == gaps


@pytest.mark.parametrize("query", ["G.Diff(0, 3)", "G.V().Revisions()", "G.At(9, FOREVER).V().Count()"])
async def test_too_much_at_once(query: str) -> None:
    context = QueryContext(CONTEXT.live, now=lambda: NOW, history=CONTEXT.history, limits=Limits(elements=2))
    with pytest.raises(GremlinExecutionError, match=r"more than 2 (elements|revisions)") as caught:
        await run(query, context)
    assert caught.value.offset is not None


@given(METADATA, METADATA)
def test_changes_name_exactly_what_differs(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = revision("n", 1, 1, old), revision("n", 2, 2, new)
    changes = changes_between(before, after)
    again = json.loads(json.dumps(old))
    for key, change in changes.items():
        path = key.split(".")
        assert lookup(old, tuple(path)) == change.get("Old", MISSING)
        assert lookup(new, tuple(path)) == change.get("New", MISSING)
        inner = again
        for part in path[:-1]:
            inner = inner[part]
        if "New" in change:
            inner[path[-1]] = change["New"]
        else:
            del inner[path[-1]]
    assert again == new
    assert (changes == {}) == (before.metadata_json == after.metadata_json) or old == new


def test_keys_that_cannot_be_asked_for_are_named_by_what_holds_them() -> None:
    before, after = revision("n", 1, 1, {"A": {"b.c": 1, "d": 2}}), revision("n", 2, 2, {"A": {"b.c": 1, "d": 3}})
    assert changes_between(before, after) == {
        "A": {"Old": {"b.c": 1, "d": 2}, "New": {"b.c": 1, "d": 3}},
    }


GAP = st.builds(Gap, st.text(max_size=8), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))


@given(st.lists(GAP, max_size=50))
def test_gaps_as_a_header(gaps: list[Gap]) -> None:
    text = gaps_header(gaps)
    assert text.isascii()
    assert text.isprintable()
    shown = [{"Origin": one.origin, "Start": one.start_ms, "End": one.end_ms, "Lost": one.lost} for one in gaps[-32:]]
    assert json.loads(text) == shown
