"""What a probe says through its handle: claims, snapshots and transactions, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import trio

from skycore.errors import ClaimError
from skycore.graph.element import MAX_DEPTH, MAX_METADATA, canonical_metadata
from skycore.graph.graph import Graph
from skycore.graph.identity import node_id
from skycore.plugin import Equals, Key, ProbeHost
from skycore.plugin.handle import GraphHandle
from skycore.testing.probes import run_probes
from tests.plugin.running import probe

A, B, C = (Key("thing", name) for name in "abc")


@pytest.fixture
def graph() -> Graph:
    return Graph(host="h", origin="agent.h", with_tids=True)


def handle(graph: Graph, name: str, **precedence: set[str]) -> GraphHandle:
    overridden = {key: frozenset(others) for key, others in precedence.items()}
    return GraphHandle(graph, graph.claimant(name, precedence=overridden))


def shown(graph: Graph) -> dict[str, dict[str, Any]]:
    """Metadata of the nodes by the name of their key, without TID."""
    names = {node_id("h", key): key.value for key in (A, B, C)}
    return {
        names[id]: {key: value for key, value in node.metadata().items() if key != "TID"}
        for id, node in graph.nodes.items()
    }


def edges(graph: Graph) -> set[tuple[str, str, str]]:
    names = {node_id("h", key): key.value for key in (A, B, C)}
    return {
        (names[str(edge.parent)], names[str(edge.child)], edge.metadata()["RelationType"])
        for edge in graph.edges.values()
    }


def test_put_annotate_drop(graph: Graph) -> None:
    one, other = handle(graph, "one"), handle(graph, "other")
    other.annotate(A, {"Note": 1})
    assert shown(graph) == {}
    one.put(A, {"Name": "a"})
    assert shown(graph) == {"a": {"Name": "a", "Note": 1}}
    one.put(A, {"State": "UP"})
    assert shown(graph) == {"a": {"State": "UP", "Note": 1}}, "put replaces what was said, as a whole"
    one.drop(A)
    one.drop(A)
    assert shown(graph) == {}
    one.put(A, {})
    assert shown(graph) == {"a": {"Note": 1}}
    other.drop(A)
    assert shown(graph) == {"a": {}}


def test_a_link_waits_for_both_ends_and_goes_with_either(graph: Graph) -> None:
    one, other = handle(graph, "one"), handle(graph, "other")
    one.link(A, B, "layer2", {"Speed": 10})
    one.put(A, {})
    assert edges(graph) == set()
    other.put(B, {})
    assert edges(graph) == {("a", "b", "layer2")}
    (edge,) = graph.edges.values()
    assert edge.metadata() == {"RelationType": "layer2", "Speed": 10}
    other.drop(B)
    assert edges(graph) == set()
    other.put(B, {})
    assert edges(graph) == {("a", "b", "layer2")}
    one.unlink(A, B, "layer2")
    one.unlink(A, B, "never said")
    assert edges(graph) == set()


def test_a_snapshot_takes_back_what_it_does_not_say_in_its_scope_only(graph: Graph) -> None:
    one = handle(graph, "one")
    handle(graph, "other").put(C, {"Name": "c"})
    one.put(A, {"Name": "a"}, scope="s")
    one.put(B, {"Name": "b"}, scope="t")
    one.link(A, B, "layer2", scope="s")
    one.annotate(C, {"Note": 1}, scope="s")
    log = graph.log.cursor(every=True)
    with one.snapshot("s"):
        one.put(A, {"Name": "a"}, scope="s")
        assert len(graph.edges) == 1
    assert shown(graph) == {"a": {"Name": "a"}, "b": {"Name": "b"}, "c": {"Name": "c"}}
    assert edges(graph) == set()
    assert len(log.read().changes) == 2, "an edge that ended and a note; what stayed the same is not touched"
    with one.snapshot("s"):
        one.put(B, {"Name": "b2"}, scope="s")
        one.put(A, {"Name": "a"}, scope="s")
        one.drop(A)
    assert shown(graph) == {"b": {"Name": "b2"}, "c": {"Name": "c"}}


def test_when_the_body_raises_nothing_has_changed(graph: Graph) -> None:
    one = handle(graph, "one")
    one.put(A, {"Name": "a"})
    log = graph.log.cursor(every=True)

    def fail(body: AbstractContextManager[None]) -> None:
        with body:
            one.put(B, {"Name": "b"})
            one.put(A, {"Name": "changed"})
            one.link(A, B, "layer2")
            one.drop(A)
            raise LookupError

    for body in (one.snapshot, one.transaction):
        with pytest.raises(LookupError):
            fail(body())
    assert log.read().changes == []
    assert shown(graph) == {"a": {"Name": "a"}}
    with one.snapshot():
        pass
    assert shown(graph) == {}, "the next snapshot works as if nothing had been"


def test_transactions_inside_each_other(graph: Graph) -> None:
    one = handle(graph, "one")
    log = graph.log.cursor(every=True)

    def fail() -> None:
        with one.transaction():
            one.put(B, {"Name": "b"})
            with one.snapshot("s"):
                pass
            raise LookupError

    with one.transaction():
        one.put(A, {"Name": "a"})
        with pytest.raises(LookupError):
            fail()
        with one.snapshot("s"):
            one.put(C, {"Name": "c"}, scope="s")
        assert log.read().changes == [], "all at the end"
    assert shown(graph).keys() == {"a", "c"}
    with pytest.raises(LookupError):
        fail()
    assert shown(graph).keys() == {"a", "c"}


def test_a_snapshot_inside_a_snapshot_is_refused(graph: Graph) -> None:
    one, other = handle(graph, "one"), handle(graph, "other")

    def nest() -> None:
        with one.snapshot("s"):
            one.put(A, {}, scope="s")
            with one.snapshot("t"):
                raise AssertionError("not reached")

    with pytest.raises(ClaimError, match="a snapshot inside a snapshot"):
        nest()
    assert shown(graph) == {}
    with one.snapshot("s"), other.transaction():
        one.put(A, {}, scope="s")
    assert shown(graph) == {"a": {}}


def _nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


_ROUND: list[Any] = []
_ROUND.append(_ROUND)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"Load": math.nan}, "the value of 'Load' is nan, which JSON cannot say"),
        ({"Load": {"One": [1, -math.inf]}}, "the value of 'One' is -inf"),
        ({"Count": 1 << 64}, "the value of 'Count' is an integer outside"),
        ({"Count": [-(1 << 63) - 1]}, "the value of 'Count' is an integer outside"),
        ({"Count": 10**40}, "the value of 'Count' is an integer outside"),
        ({"Name": "a\ud800"}, "surrogates not allowed"),
        ({"\udfff": 1}, "surrogates not allowed"),
        ({1: "x"}, "str keys"),
        ({"Labels": {None: 1}}, "str keys"),
        ({"Labels": {("a", 1): 1}}, "str keys"),
        ({"Thing": object()}, "type object is unsupported"),
        ({"Round": _ROUND}, "recursion"),
        ({"Deep": _nested(MAX_DEPTH)}, "nested deeper than 64 levels"),
        ({"Deep": _nested(800)}, "nested deeper than 64 levels"),
        ({"Small": 1, "Large": "x" * 10_000_000}, "the largest key is 'Large'"),
        ({"TID": "mine"}, "TID is worked out by Skycore"),
        (["Name"], "a dict with text keys, not list"),
        (None, "a dict with text keys, not NoneType"),
        ("Name", "a dict with text keys, not str"),
    ],
)
def test_metadata_that_cannot_be_said(graph: Graph, metadata: Any, message: str) -> None:
    one = handle(graph, "one")
    one.put(A, {"Name": "a"})
    log = graph.log.cursor(every=True)
    for say in (one.put, one.annotate):
        with pytest.raises(ClaimError, match=message):
            say(A, metadata)
    with pytest.raises(ClaimError, match=message), one.snapshot():
        one.put(A, metadata)
    if metadata is not None and "TID" not in metadata:
        with pytest.raises(ClaimError, match=message):
            one.link(A, B, "layer2", metadata)
        with pytest.raises(ClaimError, match=message):
            one.join((Equals("Name", "none"), ["x"]), (Equals("Name", "none"), ["x"]), "layer2", metadata)
    assert log.read().changes == []
    assert shown(graph) == {"a": {"Name": "a"}}


def test_the_bounds_themselves_can_be_said() -> None:
    room = MAX_METADATA - len('{"Large":""}')
    assert len(canonical_metadata({"Large": "x" * room})) == MAX_METADATA
    with pytest.raises(ClaimError, match=f"takes {MAX_METADATA + 1} bytes"):
        canonical_metadata({"Large": "x" * (room + 1)})
    numbers: dict[str, Any] = {
        "Most": (1 << 64) - 1,
        "Least": -(1 << 63),
        "None": None,
        "Wide": [{}] * 200,
        "Text": "null" + "9" * 30,
    }
    assert canonical_metadata({"Deep": _nested(MAX_DEPTH - 1), **numbers})


@pytest.mark.parametrize(
    "key",
    [("thing", "a"), "a", None, Key("", "a"), Key("thing", ""), Key("a/b", "c"), Key("thing", "\udcff"), Key(1, 2)],  # type: ignore[arg-type]
)
def test_what_is_no_key(graph: Graph, key: Any) -> None:
    one = handle(graph, "one")
    calls: list[Callable[[], None]] = [
        lambda: one.put(key, {}),
        lambda: one.annotate(key, {}),
        lambda: one.drop(key),
        lambda: one.link(A, key, "layer2"),
        lambda: one.link(key, A, "layer2"),
        lambda: one.unlink(key, A, "layer2"),
    ]
    for call in calls:
        with pytest.raises(ClaimError):
            call()


def test_other_wrong_arguments(graph: Graph) -> None:
    one = handle(graph, "one")
    side = (Equals("Type", "x"), ["Name"])
    wrong: list[Any] = ["", None, 5, "\ud800"]
    for relation in wrong:
        with pytest.raises(ClaimError, match="RelationType"):
            one.link(A, B, relation)
        with pytest.raises(ClaimError, match="RelationType"):
            one.unlink(A, B, relation)
        with pytest.raises(ClaimError, match="RelationType"):
            one.join(side, side, relation)
    with pytest.raises(ClaimError, match="cannot be linked to itself"):
        one.link(A, A, "layer2")
    lists: list[tuple[Any, Any]] = [([], []), (["a"], ["a", "b"]), ("a", "b"), ([1], [1])]
    for left, right in lists:
        with pytest.raises(ClaimError, match="keys"):
            one.join((side[0], left), (side[0], right), "layer2")
    with pytest.raises(ClaimError, match="keys"):
        one.view(side[0], "Name")
    with pytest.raises(ClaimError, match="scope"):
        one.put(A, {}, scope=5)  # type: ignore[arg-type]
    for body in (one.transaction, one.snapshot):
        with pytest.raises(ClaimError, match="cannot be made inside one"), body():
            one.join(side, side, "layer2")


def test_precedence_and_conflicts(graph: Graph) -> None:
    """Name is declared, State falls to the plugin that sorts first and is a conflict, equal values are none."""
    later, sooner = handle(graph, "zebra", Name={"ant"}), handle(graph, "ant")
    sooner.put(A, {"Name": "of ant", "State": "UP", "Type": "thing", "Only": 1})
    later.annotate(A, {"Name": "of zebra", "State": "DOWN", "Type": "thing"})
    assert shown(graph)["a"] == {"Name": "of zebra", "State": "UP", "Type": "thing", "Only": 1}
    (conflicts,) = graph.conflicts.values()
    assert [(conflict.key, conflict.kept, conflict.ignored) for conflict in conflicts] == [("State", "ant", "zebra")]
    later.annotate(A, {"Name": "of zebra"})
    assert graph.conflicts == {}


async def test_precedence_that_plugin_classes_declare(install: Callable[..., None]) -> None:
    def saying(name: str, **attributes: object) -> type:
        async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
            host.graph.put(A, {"Name": name, "Type": "thing", "State": name})
            task_status.started()
            await trio.sleep_forever()

        return probe(run, **attributes)

    install(alpha=saying("alpha"), omega=saying("omega", precedence={"Name": {"alpha"}}))
    async with run_probes({"omega": {}, "alpha": {}}) as lab:
        (node,) = lab.nodes(Type="thing")
        assert (node["Name"], node["State"]) == ("omega", "alpha")
        ((conflict,),) = lab.graph.conflicts.values()
        assert (conflict.key, conflict.kept, conflict.ignored) == ("State", "alpha", "omega")
