"""Random queries over random graphs give what a plain evaluator gives."""

import json
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.graph.element import Revision, build_revision, canonical_metadata
from skycore.graph.past import PastView
from skycore.graph.view import GraphView
from skycore.gremlin import QueryContext, run
from skycore.testing.views import ListView
from tests.gremlin.drawn import KEYS, METADATA, PREDICATES, graphs, queries
from tests.gremlin.naive import Element, Pairs, Steps, World, answer_of, evaluate, text_of


def revision(element: Element, born: int) -> Revision:
    return build_revision(
        id=element.id, metadata=canonical_metadata(element.metadata), revision=1, host="h", origin="agent.h",
        created_at=1, updated_at=1, parent=element.parent, child=element.child, born=born,
    )  # fmt: skip


def ask(world: World, query: str) -> Any:
    revisions = [revision(element, born) for born, element in enumerate(world.nodes + world.edges)]
    views: list[GraphView] = [ListView(revisions), ListView(revisions, frozen=False), PastView(revisions)]
    answers = [trio.run(run, query, QueryContext(view, now=lambda: 0)).json() for view in views]
    assert answers == answers[:1] * len(views)
    return answer_of(answers[0])


@settings(max_examples=300, deadline=None)
@given(graphs(), queries())
def test_queries(world: World, steps: Steps) -> None:
    found, expected = ask(world, text_of(steps)), evaluate(world, steps)
    assert json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


@settings(max_examples=250, deadline=None)
@given(st.lists(METADATA, min_size=3, max_size=8), st.sampled_from(KEYS), PREDICATES)
def test_each_predicate_on_each_kind_of_value(
    found: list[dict[str, Any]], key: str, predicate: tuple[Any, ...]
) -> None:
    world = World([Element(str(number), metadata) for number, metadata in enumerate(found)], [])
    steps: Steps = [("V",), ("Has", Pairs([(key, predicate)]))]
    assert ask(world, text_of(steps)) == evaluate(world, steps)
