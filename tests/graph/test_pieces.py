"""Large lists in pieces: the same as at one go, and never much at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.graph import past, pieces
from skycore.graph.element import Revision, build_revision
from skycore.graph.indexed import finish
from skycore.graph.past import FixedGraph
from skycore.graph.pieces import shed, sort_in_pieces


@pytest.fixture(scope="module", autouse=True)
def _small_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_BUCKET", 3), ("_SAMPLES", 2), ("_SPREAD_AT_A_TIME", 2)):
            patch.setattr(pieces, name, value)
        patch.setattr(past, "_LET_GO_AT_A_TIME", 2)
        yield


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers())), st.booleans())
def test_what_is_sorted_in_pieces_is_what_sorted_gives(items: list[tuple[int, int]], descending: bool) -> None:
    found = finish(sort_in_pieces(items, lambda item: item[0], descending=descending))
    assert found == sorted(items, key=lambda item: item[0], reverse=descending)


@given(st.lists(st.integers()), st.integers(1, 5))
def test_a_list_is_shed_in_order_and_lets_go_of_what_it_gave(items: list[int], size: int) -> None:
    before, seen = list(items), 0
    for part in shed(items, size):
        assert part == before[seen : seen + size]
        seen += len(part)
        assert len(items) == len(before) - seen
    assert not items
    assert seen == len(before)


def test_a_graph_lets_go_a_few_elements_at_a_time() -> None:
    nodes = [build(f"n{number}") for number in range(7)]
    edges = [build(f"e{number}", f"n{number}", f"n{number + 1}") for number in range(5)]
    graph = FixedGraph(nodes, edges)
    assert graph.in_order("node", {"n3", "n1"}) == ["n1", "n3"]
    tables: tuple[Mapping[str, object], ...] = (graph.nodes, graph.edges, graph.edges_out, graph.edges_in)
    left = sum(map(len, tables))
    for _ in graph.let_go():
        assert left - sum(map(len, tables)) <= 2
        left = sum(map(len, tables))
    assert left == 0


def build(id: str, parent: str | None = None, child: str | None = None) -> Revision:
    return build_revision(
        id=id, metadata=b"{}", revision=1, host="h", origin="agent.h", created_at=0, updated_at=0, parent=parent,
        child=child,
    )  # fmt: skip
