"""The live graph against a naive model: whatever is claimed in whatever order, it is what the claims add up to."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.bus import Cursor
from skycore.errors import ClaimError
from skycore.graph.claims import Claim
from skycore.graph.element import Revision, canonical_metadata
from skycore.graph.graph import Graph
from skycore.graph.identity import Key, edge_id, node_id, uuid_of

HOST = "h1"
PRECEDENCE = {"b": {"Name": frozenset({"a"})}, "c": {"Type": frozenset({"a", "b"})}}
NODES = [node_id(HOST, Key("n", str(number))) for number in range(6)]

names = st.sampled_from(["x", "y", "z"])
types = st.sampled_from(["host", "netns", "device", "ovsport"])
metadata = st.fixed_dictionaries(
    {},
    optional={"Name": names, "Type": types, "Path": names, "UUID": names, "MTU": st.sampled_from([1, 1.0, True, "1"])},
)
claimants = st.sampled_from(["a", "b", "c"])
node = st.sampled_from(NODES)
relations = st.sampled_from(["ownership", "layer2"])

operation = st.one_of(
    st.tuples(st.just("put"), claimants, node, metadata, st.booleans(), st.sampled_from(["", "s"])),
    st.tuples(st.just("drop"), claimants, node),
    st.tuples(st.just("link"), claimants, node, node, relations, st.sampled_from(["", "s"])),
    st.tuples(st.just("unlink"), claimants, node, node, relations),
    st.tuples(st.just("withdraw"), claimants),
    st.tuples(st.just("restart"), claimants),
    st.tuples(st.just("settled"), claimants),
)
program = st.lists(
    st.one_of(
        operation,
        st.tuples(st.just("together"), st.lists(operation, max_size=5), st.booleans()),
        st.tuples(
            st.just("snapshot"), claimants, st.sampled_from(["", "s"]), st.lists(operation, max_size=4), st.booleans()
        ),
    ),
    max_size=25,
)


@attrs.define
class Said:
    owning: bool
    metadata: dict[str, Any]
    scope: str
    generation: int
    parent: str | None = None
    child: str | None = None


class Model:
    """What the claims are, and from them, anew each time, what the graph must be."""

    def __init__(self) -> None:
        self.claims: dict[str, dict[str, Said]] = {"a": {}, "b": {}, "c": {}}
        self.generation = {"a": 0, "b": 0, "c": 0}

    def run(self, step: Any, said: set[tuple[str, str]] | None = None) -> None:
        kind, who = step[0], step[1]
        mine = self.claims[who]
        if kind == "put":
            _, _, id, data, owning, scope = step
            mine[id] = Said(owning, data, scope, self.generation[who])
            if said is not None:
                said.add((who, id))
        elif kind == "drop":
            mine.pop(step[2], None)
            if said is not None:
                said.discard((who, step[2]))
        elif kind == "link":
            _, _, parent, child, relation, scope = step
            id = edge_id(parent, child, relation)
            mine[id] = Said(True, {"RelationType": relation}, scope, self.generation[who], parent, child)
            if said is not None:
                said.add((who, id))
        elif kind == "unlink":
            id = edge_id(*step[2:5])
            mine.pop(id, None)
            if said is not None:
                said.discard((who, id))
        elif kind == "withdraw":
            mine.clear()
        elif kind == "restart":
            self.generation[who] += 1
        elif kind == "settled":
            self.claims[who] = {i: s for i, s in mine.items() if s.generation >= self.generation[who]}

    def nodes(self) -> dict[str, dict[str, Any]]:
        alive = {id for who in self.claims.values() for id, said in who.items() if said.owning and said.parent is None}
        return {id: self._merged(id) for id in alive}

    def edges(self) -> dict[str, tuple[str, str, dict[str, Any]]]:
        alive = self.nodes()
        found: dict[str, tuple[str, str, dict[str, Any]]] = {}
        for who in self.claims.values():
            for id, said in who.items():
                if said.parent in alive and said.child in alive and said.parent and said.child:
                    found[id] = (said.parent, said.child, said.metadata)
        return found

    def _merged(self, id: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        holder: dict[str, str] = {}
        for who in sorted(self.claims):
            if id in self.claims[who]:
                for key, value in self.claims[who][id].metadata.items():
                    if key not in holder or holder[key] in PRECEDENCE.get(who, {}).get(key, ()):
                        merged[key], holder[key] = value, who
        return merged


class Mirror:
    """A reader that believes the log: every change must make sense to it at the moment it comes."""

    def __init__(self, cursor: Cursor[Revision]) -> None:
        self.cursor = cursor
        self.nodes: dict[str, Revision] = {}
        self.edges: dict[str, Revision] = {}
        self.last: dict[str, int] = {}

    def read(self) -> None:
        batch = self.cursor.read()
        assert batch.lost == 0
        for change in batch.changes:
            assert change.revision > self.last.get(change.id, 0), "revisions of an element grow for ever"
            self.last[change.id] = change.revision
            table = self.nodes if change.parent is None else self.edges
            if change.deleted_at is not None:
                assert change.id in table
                if change.parent is None:
                    touching = [e for e in self.edges.values() if change.id in (e.parent, e.child)]
                    assert touching == [], "a node goes after its edges"
                del table[change.id]
                continue
            if change.parent is not None:
                assert {change.parent, change.child} <= self.nodes.keys(), "an edge comes after its nodes"
            known = table.get(change.id)
            assert known is None or known.metadata_json != change.metadata_json or known.owners != change.owners, (
                "a revision says something new"
            )
            assert known is None or known.born == change.born
            table[change.id] = change


def perform(graph: Graph, step: Any) -> None:
    kind, claimant = step[0], graph.claimant(step[1])
    if kind == "put":
        claimant.put(step[2], step[3], owning=step[4], scope=step[5])
    elif kind == "drop":
        claimant.drop(step[2])
    elif kind == "link":
        claimant.link(*step[2:5], scope=step[5])
    elif kind == "unlink":
        claimant.drop(edge_id(*step[2:5]))
    else:
        {"withdraw": claimant.withdraw, "restart": claimant.restart, "settled": claimant.settled}[kind]()


def ring_free(graph: Graph) -> bool:
    """Whether following owners always comes to an end (with a ring of owners there is no right TID)."""
    for id in graph.nodes:
        seen = set()
        current: str | None = id
        while current is not None:
            if current in seen:
                return False
            seen.add(current)
            current = graph.owner_of(current)
    return True


def check(graph: Graph, model: Model, mirror: Mirror) -> None:
    mirror.read()
    assert mirror.nodes.keys() == graph.nodes.keys() == model.nodes().keys()
    assert mirror.edges.keys() == graph.edges.keys() == model.edges().keys()
    for id, wanted in model.nodes().items():
        found = graph.nodes[id].metadata()
        tid = found.pop("TID", None)
        assert [(key, type(value), value) for key, value in sorted(found.items())] == [
            (key, type(value), value) for key, value in sorted(wanted.items())
        ]
        assert mirror.nodes[id].json == graph.nodes[id].json
        assert sorted(graph.edges_out.get(id, ())) == sorted(e for e, (p, _, _) in model.edges().items() if p == id)
        assert sorted(graph.edges_in.get(id, ())) == sorted(e for e, (_, c, _) in model.edges().items() if c == id)
        if not graph.with_tids:
            assert tid is None
        elif ring_free(graph):
            assert tid == expected_tid(graph, model, id)
    for id, (parent, child, wanted) in model.edges().items():
        edge = graph.edges[id]
        assert (edge.parent, edge.child, edge.metadata()) == (parent, child, wanted)
    for who, claims in model.claims.items():
        found_claims = graph.claimant(who).claims
        assert len(found_claims) == len(claims)
        assert found_claims.keys() == claims.keys()
        for id, said in claims.items():
            claim = found_claims[id]
            assert (claim.claimant, claim.id, claim.owning, claim.scope) == (who, id, said.owning, said.scope)
            assert (claim.parent, claim.child) == (said.parent, said.child)
            assert claim.content == canonical_metadata(said.metadata)


def expected_tid(graph: Graph, model: Model, id: str) -> str | None:
    data = model.nodes()[id]
    name, kind = data.get("Name"), data.get("Type")
    host = uuid_of(HOST)
    if kind == "host":
        return uuid_of(name) if name else None
    if kind == "netns":
        return uuid_of(host + data["Path"] + "netns") if "Path" in data else None
    if kind == "ovsport":
        return uuid_of(host + data["UUID"] + kind) if "UUID" in data else None
    owner = graph.owner_of(id)
    owners = [p for p, c, m in model.edges().values() if c == id and m["RelationType"] == "ownership"]
    assert (owner in owners) if owners else owner is None
    above = expected_tid(graph, model, owner) if owner is not None else None
    return uuid_of(above + name + kind) if above and name and kind else None


def new_graph(*, with_tids: bool = True) -> tuple[Graph, Mirror]:
    graph = Graph(host=HOST, origin="agent.h1", with_tids=with_tids)
    for plugin in ("a", "b", "c"):
        graph.claimant(plugin, precedence=PRECEDENCE.get(plugin, {}))
    return graph, Mirror(graph.log.cursor(every=True))


@given(program, st.booleans())
@settings(max_examples=400, deadline=None)
def test_graph_is_what_the_claims_add_up_to(steps: list[Any], with_tids: bool) -> None:
    graph, mirror = new_graph(with_tids=with_tids)
    model = Model()
    for step in steps:
        if step[0] == "together":
            _, inner, fails = step
            with suppress(ZeroDivisionError), graph.transaction():
                for one in inner:
                    if one[0] not in ("restart",):
                        perform(graph, one)
                if fails:
                    raise ZeroDivisionError
            if not fails:
                for one in inner:
                    if one[0] not in ("restart",):
                        model.run(one)
        elif step[0] == "snapshot":
            _, who, scope, inner, fails = step
            own = [one for one in inner if one[0] in ("put", "drop", "link", "unlink")]
            with suppress(ZeroDivisionError), graph.claimant(who).snapshot(scope):
                for one in own:
                    perform(graph, one)
                if fails:
                    raise ZeroDivisionError
            if not fails:
                said: set[tuple[str, str]] = set()
                for one in own:
                    model.run(one, said)
                for id, claim in list(model.claims[who].items()):
                    if claim.scope == scope and (who, id) not in said:
                        del model.claims[who][id]
        else:
            perform(graph, step)
            model.run(step)
        check(graph, model, mirror)


@given(st.permutations([("a", {"Name": "n", "Type": "t", "X": 1}), ("b", {"Name": "m"}), ("c", {"X": 2, "Y": [1]})]))
def test_result_does_not_depend_on_the_order_of_claims(order: list[tuple[str, dict[str, Any]]]) -> None:
    graph, _ = new_graph()
    for who, data in order:
        graph.claimant(who).put(NODES[0], data)
    assert graph.nodes[NODES[0]].metadata_json == b'{"Name":"m","Type":"t","X":1,"Y":[1]}'
    (conflict,) = graph.conflicts[NODES[0]]
    assert (conflict.key, conflict.kept, conflict.ignored) == ("X", "a", "c")
    graph.claimant("c").drop(NODES[0])
    assert graph.conflicts == {}


def test_true_is_not_one() -> None:
    graph, mirror = new_graph()
    one = graph.claimant("a")
    one.put(NODES[0], {"V": 1})
    one.put(NODES[0], {"V": True})
    one.put(NODES[0], {"V": True})
    one.put(NODES[0], {"V": 1.0})
    mirror.read()
    assert mirror.last[NODES[0]] == 3


def test_revisions_go_on_after_a_deletion_and_after_tombstones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skycore.graph.settling._TOMBSTONES", 2)
    graph, mirror = new_graph()
    one = graph.claimant("a")
    for round in range(3):
        for id in NODES:
            one.put(id, {"Round": round})
        for id in NODES:
            one.drop(id)
    mirror.read()
    assert min(mirror.last.values()) >= 6
    assert graph.highest == max(mirror.last.values())


@pytest.mark.parametrize(
    "bad",
    [{"x": object()}, {"x": "\ud800"}, {1.5: {"a": object()}}, {"x": {"y": {3: {object()}}}}],
)
def test_what_is_no_json_is_refused_and_changes_nothing(bad: dict[Any, Any]) -> None:
    graph, mirror = new_graph()
    one = graph.claimant("a")
    one.put(NODES[0], {"Name": "x"})
    with pytest.raises(ClaimError, match="metadata"):
        one.put(NODES[0], bad)
    assert graph.nodes[NODES[0]].metadata() == {"Name": "x"}
    mirror.read()
    assert mirror.last == {NODES[0]: 1}


def test_metadata_is_copied_when_it_is_claimed() -> None:
    graph, _ = new_graph()
    data = {"Name": "x", "List": [1]}
    graph.claimant("a").put(NODES[0], data)
    data["List"].append(2)  # type: ignore[attr-defined]
    assert graph.nodes[NODES[0]].metadata() == {"Name": "x", "List": [1]}


def test_restored_graph_goes_on_where_the_store_left_it() -> None:
    first, mirror = new_graph()
    one = first.claimant("a")
    for id in NODES[:3]:
        one.put(id, {"Name": id})
    one.link(NODES[0], NODES[1], "layer2")
    mirror.read()
    second = Graph(host="analyzer", origin="analyzer.x", with_tids=False, floor=50)
    reader = second.log.cursor(every=True)
    second.restore([*mirror.nodes.values(), *mirror.edges.values()], lambda _: second.claimant("a"))
    assert second.nodes.keys() == first.nodes.keys()
    assert second.edges_out[NODES[0]] == first.edges_out[NODES[0]]
    assert reader.pending == 0
    again = second.claimant("a")
    again.put(NODES[0], {"Name": NODES[0]})
    assert reader.pending == 0, "the same content is no revision"
    again.put(NODES[0], {"Name": "other"})
    again.put(NODES[4], {"Name": "new"})
    again.drop(NODES[2])
    assert [(c.id, c.revision, c.deleted_at is None) for c in reader.read().changes] == [
        (NODES[0], 2, True),
        (NODES[4], 51, True),
        (NODES[2], 2, False),
    ]


def test_history_that_ran_ahead_is_overtaken() -> None:
    graph, mirror = new_graph()
    one = graph.claimant("a")
    one.put(NODES[0], {"Name": "x"})
    one.put(NODES[1], {"Name": "y"})
    graph.overtake(NODES[0], 7)
    graph.overtake(NODES[2], 9)
    assert [graph.last_revision(id) for id in NODES[:3]] == [7, 1, 9]
    one.put(NODES[0], {"Name": "x", "MTU": 1})
    one.put(NODES[2], {"Name": "z"})
    assert [graph.nodes[id].revision for id in NODES[:3]] == [8, 1, 10]
    assert [change.revision for change in mirror.cursor.read().changes] == [1, 1, 8, 10]


def test_a_snapshot_in_a_snapshot_is_refused() -> None:
    graph, _ = new_graph()
    one = graph.claimant("a")

    def nested() -> None:
        with one.snapshot(), one.snapshot("other"):
            one.put(NODES[0], {})

    with pytest.raises(ClaimError, match="snapshot"):
        nested()
    assert not graph.nodes
    with one.snapshot():
        one.put(NODES[0], {})
    assert NODES[0] in graph.nodes


def test_ring_of_owners_ends() -> None:
    graph, _ = new_graph()
    one = graph.claimant("a")
    with graph.transaction():
        for id in NODES[:3]:
            one.put(id, {"Name": "x", "Type": "device"})
        for parent, child in ((0, 1), (1, 2), (2, 0)):
            one.link(NODES[parent], NODES[child], "ownership")
    one.put(NODES[3], {"Name": "h", "Type": "host"})
    one.link(NODES[3], NODES[0], "ownership")
    one.drop(edge_id(NODES[2], NODES[0], "ownership"))
    assert all("TID" in graph.nodes[id].metadata() for id in NODES[:4])


def test_staleness_is_of_the_claimant_and_no_revision() -> None:
    now = [1000]
    graph = Graph(host=HOST, origin="agent.h1", with_tids=True, clock=lambda: now[0])
    log = graph.stale_log.cursor(every=True)
    one, two = graph.claimant("one"), graph.claimant("two")
    one.put(NODES[0], {"Name": "x"})
    one.put(NODES[1], {"Name": "y"})
    two.put(NODES[1], {"Other": 1})
    position = graph.log.end

    def stale() -> list[bool]:
        return [graph.is_stale(graph.nodes[id]) for id in NODES[:2]]

    assert stale() == [False, False]
    graph.mark_stale("agent.h1", "one", "gone")
    graph.mark_stale("agent.h1", "one", "gone again")
    assert stale() == [True, False]
    graph.mark_stale("agent.h1", "two", "gone")
    assert stale() == [True, True]
    now[0] = 2000
    with one.snapshot():
        one.put(NODES[0], {"Name": "x"})
        one.put(NODES[1], {"Name": "y"})
    assert stale() == [False, False]
    graph.mark_stale("agent.h1", "", "link lost")
    assert stale() == [True, True]
    assert graph.log.end == position
    assert [(s.claimant, s.since, s.until) for s in log.read().changes] == [
        ("one", 1000, None),
        ("two", 1000, None),
        ("one", 1000, 2000),
        ("", 2000, None),
    ]


afar = st.builds(
    lambda id, data, host, created, later, owners: ("say", id, data, host, created, created + later, owners),
    node,
    metadata,
    st.sampled_from(["h1", "h2"]),
    st.sampled_from([5, 7, 1 << 50]),
    st.integers(0, 3),
    st.sampled_from([("netlink",), ("docker", "netlink"), ()]),
)


@given(st.lists(st.one_of(afar, operation), max_size=25))
@settings(max_examples=300, deadline=None)
def test_what_came_over_a_link_is_told_as_it_came(steps: list[Any]) -> None:
    """Near and far claims on the same elements: each claim can be asked for as it was said."""
    graph, mirror = new_graph(with_tids=False)
    model, link = Model(), graph.claimant("link")
    said: dict[str, Claim] = {}
    for step in steps:
        if step[0] == "say":
            _, id, data, host, created, updated, owners = step
            claim = Claim(
                "link", "link", id, True, canonical_metadata(data), host=host, origin="agent.h2", created_at=created,
                updated_at=updated, owners=owners,
            )  # fmt: skip
            link.say(claim)
            said[id] = claim
        else:
            perform(graph, step)
            model.run(step)
        mirror.read()
        assert link.claims.keys() == said.keys()
        for id, claim in said.items():
            found, revision = link.claims[id], graph.nodes[id]
            assert (found.content, found.owning, found.scope) == (claim.content, True, "")
            assert set(claim.owners or ("link",)) <= set(revision.owners)
            alone = all(id not in claims for claims in model.claims.values())
            if alone:
                assert revision.metadata_json == claim.content
                assert revision.owners == (claim.owners or ("link",))
        for who, claims in model.claims.items():
            assert {id: one.content for id, one in graph.claimant(who).claims.items()} == {
                id: canonical_metadata(one.metadata) for id, one in claims.items()
            }
    link.withdraw()
    check(graph, model, mirror)
