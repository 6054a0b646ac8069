"""The picture that a subscriber keeps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skycore.client import AnyElement, Change, Edge, Graph, Node
from skycore.client.mirror import Mirror

IDS = ("a", "b", "c")


def node(id: str, revision: int) -> Node:
    return Node(id=id, metadata={"Name": id}, revision=revision)


def edge(parent: str, child: str, revision: int) -> Edge:
    return Edge(id=f"{parent}{child}", parent=parent, child=child, revision=revision)


ENDS = st.sampled_from([(one, other) for one in IDS for other in IDS if one < other])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["node", "gone"]), st.sampled_from(IDS)),
        st.tuples(st.sampled_from(["edge", "unlink"]), ENDS),
        st.tuples(st.just("take"), st.none()),
        st.tuples(st.just("reset"), st.sets(st.sampled_from(IDS))),
    ),
    max_size=40,
)


@given(STEPS)
def test_changes_lead_from_what_was_taken_to_what_is(steps: list[tuple[str, object]]) -> None:
    mirror = Mirror()
    now: dict[str, AnyElement] = {}
    told: dict[str, AnyElement] = {}

    def take() -> None:
        for change in mirror.take():
            element = change.element
            assert (element.id in told) == (change.what != "added")
            if change.what == "deleted":
                del told[element.id]
            else:
                told[element.id] = element
            for other in told.values():
                assert not isinstance(other, Edge) or {other.parent, other.child} <= told.keys()
        assert told == now == mirror.elements
        assert not mirror.pending

    for revision, (step, what) in enumerate(steps, 1):
        element: AnyElement
        match step, what:
            case "node", str(id):
                now[id] = element = node(id, revision)
                mirror.hear(element)
            case "gone", str(id):
                for other in [one for one in now.values() if isinstance(one, Edge) and id in (one.parent, one.child)]:
                    del now[other.id]
                    mirror.forget(other)
                now.pop(id, None)
                mirror.forget(node(id, revision))
            case "edge", (str(parent), str(child)) if {parent, child} <= now.keys():
                element = edge(parent, child, revision)
                now[element.id] = element
                mirror.hear(element)
            case "unlink", (str(parent), str(child)):
                element = edge(parent, child, revision)
                now.pop(element.id, None)
                mirror.forget(element)
            case "reset", set() as ids:
                now = {str(id): node(str(id), revision) for id in ids}
                mirror.reset(Graph(tuple(one for one in now.values() if isinstance(one, Node)), None))
            case "take", _:
                take()
    take()


def test_a_slow_reader_gets_the_newest_only() -> None:
    mirror = Mirror()
    for revision in range(1, 1000):
        mirror.hear(node("a", revision))
        mirror.hear(node("b", revision))
        mirror.forget(node("b", revision))
    assert mirror.take() == [Change("added", node("a", 999))]
