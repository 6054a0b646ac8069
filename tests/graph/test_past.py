"""The view of the past: order, edges, filters, staleness."""

from __future__ import annotations

from skycore.filter import EVERYTHING, MISSING, All, Compare, Equals, Not, Present
from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.graph.past import PastView, between, difference
from skycore.graph.view import Change


def _element(
    id: str,
    created_at: int = 0,
    *,
    ends: tuple[str, str] | None = None,
    owners: tuple[str, ...] = (),
    **metadata: object,
) -> Revision:
    parent, child = ends or (None, None)
    return build_revision(
        id=id, metadata=canonical_metadata(metadata), revision=1, host="one", origin="agent.one",
        created_at=created_at, updated_at=created_at, parent=parent, child=child, owners=owners,
    )  # fmt: skip


_VIEW = PastView(
    [
        _element("ab2", 9, ends=("a", "b"), RelationType="layer2"),
        _element("ab1", 9, ends=("a", "b"), RelationType="ownership"),
        _element("c", 3, Name="c", owners=("docker", "netns")),
        _element("b", 2, Name="b", MTU=1500, owners=("docker",)),
        _element("a", 2, Name="a", MTU=9000),
        _element("ax", 9, ends=("a", "x")),
        _element("xa", 9, ends=("x", "a")),
    ],
    stale={("agent.one", "docker")},
)


def test_elements_are_in_order_of_creation_then_id() -> None:
    assert list(_VIEW.ids("node")) == ["a", "b", "c"]
    assert list(_VIEW.ids("edge")) == ["ab1", "ab2"]


def test_edges_need_both_ends() -> None:
    assert _VIEW.get("edge", "ax") is None
    assert _VIEW.get("edge", "xa") is None
    assert list(_VIEW.edges_out("a")) == ["ab1", "ab2"]
    assert list(_VIEW.edges_in("b")) == ["ab1", "ab2"]
    assert list(_VIEW.edges_in("a")) == list(_VIEW.edges_out("x")) == []


def test_get_tells_kinds_apart() -> None:
    found = _VIEW.get("node", "a")
    assert found is not None
    assert found.metadata() == {"MTU": 9000, "Name": "a"}
    assert _VIEW.get("edge", "a") is None


def test_match_and_select() -> None:
    assert list(_VIEW.match("node", Present("MTU"))) == ["a", "b"]
    assert list(_VIEW.match("node", All((Compare("MTU", "gt", 1), Not(Equals("Name", "a")))))) == ["b"]
    assert list(_VIEW.match("edge", Equals("Child", "b"))) == ["ab1", "ab2"]
    assert _VIEW.select("node", Present("MTU"), ["c", "b", "a", "b"]) == ["b", "a", "b"]
    assert _VIEW.select("node", EVERYTHING, ["c", "b", "b"]) == ["c", "b", "b"]


def test_values() -> None:
    assert _VIEW.values("node", "MTU", ["c", "a", "a"]) == [MISSING, 9000, 9000]
    assert _VIEW.values("edge", "Parent", ["ab1"]) == ["a"]


def test_an_element_is_stale_when_all_its_owners_were() -> None:
    assert list(_VIEW.match("node", Equals("@Stale", True))) == ["b"]
    assert _VIEW.values("node", "@Stale", ["a", "b", "c"]) == [False, True, False]
    assert list(PastView([_element("a")], stale={("agent.one", "")}).match("node", Equals("@Stale", True))) == ["a"]


def _revision(
    id: str, revision: int, at: int, *, deleted: bool = False, created_at: int = 1, **metadata: object
) -> Revision:
    return build_revision(
        id=id, metadata=canonical_metadata(metadata), revision=revision, host="one", origin="agent.one",
        created_at=created_at, updated_at=at, deleted_at=at if deleted else None,
    )  # fmt: skip


def test_the_difference_of_two_graphs() -> None:
    old, new = _revision("n", 1, 10, A=1, B=[1], C={"x": 1}), _revision("n", 9, 20, A=1, B=[2], D=None)
    gone, tombstone = _revision("gone", 1, 10), _revision("gone", 2, 20, deleted=True)
    born, earlier = _revision("z", 1, 20, created_at=20), _revision("a", 1, 20, created_at=19)
    found = difference(
        {"n": old, "gone": gone, "same": _revision("same", 1, 10, A=1), "dead": _revision("dead", 1, 9, deleted=True)},
        {"n": new, "gone": tombstone, "same": _revision("same", 2, 20, A=1), "z": born, "a": earlier},
    )
    assert found.appeared == (earlier, born)
    assert found.vanished == (gone,)
    assert found.changed == (Change(old, new, ("B", "C", "D")),)


def test_what_was_current_in_a_period() -> None:
    life = [_revision("n", 1, 10), _revision("n", 2, 20), _revision("n", 3, 30, deleted=True), _revision("n", 4, 40)]

    def numbers(start: int, end: int, until: int | None = None) -> list[int]:
        return [one.revision for one in between(life, start, end, until)]

    assert numbers(0, 9) == []
    assert numbers(10, 19) == [1]
    assert numbers(20, 20) == [1, 2]
    assert numbers(21, 29) == [2]
    assert numbers(30, 30) == [2, 3]
    assert numbers(31, 39) == []
    assert numbers(50, 60) == [4]
    assert numbers(50, 60, until=49) == []
    assert numbers(49, 60, until=49) == [4]
