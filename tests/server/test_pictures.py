"""Pictures of filters: after whatever happens to the graph, what a client drew is what the query answers."""

from __future__ import annotations

import json
from typing import Any

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.bus import Cursor
from skycore.errors import GremlinError
from skycore.graph.element import Revision
from skycore.graph.graph import Graph
from skycore.gremlin import Planner
from skycore.server.fanout import Feed, Frames, Style, event_of
from skycore.server.gremlin_filter import ByElement, ByQuery, Everything, FilterRefused, read_filter
from skycore.server.picture import PartOfGraph, Picture
from tests.server.watching import Watcher, World

NODES = ["a", "b", "c"]
# Few, so that most of them are there most of the time.
EDGES = {
    "ab": ("a", "b", "x"),
    "bc": ("b", "c", "x"),
    "ca": ("c", "a", "y"),
    "ba": ("b", "a", "x"),
    "bb": ("b", "b", "y"),
}
FILTERS = [
    "G.V().SubGraph()",
    "G.V().Has('Type', 'x').SubGraph()",
    "G.V().Has('Type', Ne('x'), 'N', Gt(1)).SubGraph('RelationType', 'x')",
    "G.V().HasNot('N').Has('Name', Regex('[ab]')).SubGraph()",
    "G.E().SubGraph()",
    "G.E().Has('RelationType', 'x').SubGraph()",
    "G.E().Has('N', Gt(0)).SubGraph()",
    "G.V().Has('Type', 'x').Out().SubGraph()",
    "G.V().Has('Name', 'a').Descendants(2).SubGraph()",
    "G.V().Has('Type', 'x').Both('N', 1).Dedup('Type').SubGraph()",
    "G.V().Sort('N').Limit(2).SubGraph()",
    "G.V('a').OutE().SubGraph()",
    "G.V().SubGraph().V().Has('N', 1).SubGraph()",
]
element = st.one_of(
    st.tuples(
        st.just("node"), st.sampled_from(NODES), st.sampled_from(["x", "y"]), st.one_of(st.none(), st.integers(0, 3))
    ),
    st.tuples(st.just("edge"), st.sampled_from(sorted(EDGES)), st.integers(0, 2), st.none()),
    st.tuples(st.just("drop"), st.sampled_from([*NODES, *sorted(EDGES)]), st.none(), st.none()),
)
steps = st.lists(st.one_of(element, st.sampled_from(["look", "read", "wait"])), min_size=12, max_size=40)


def carry_out(world: World, step: tuple[str, str, Any, Any]) -> None:
    verb, id, first, second = step
    if verb == "drop":
        world.probe.drop(id)
    elif verb == "node":
        world.node(id, Type=first, **({} if second is None else {"N": second}))
    else:
        parent, child, type = EDGES[id]
        world.link(id, parent, child, RelationType=type, N=first)


def draw(client: Watcher, picture: Picture, cursor: Cursor[Revision]) -> None:
    """Bring a client up to date: with all changes, or with the newest of each element that changed."""
    if cursor.every:
        batch = cursor.read()
        assert not batch.lost
        for place, revision in enumerate(batch.changes, batch.start):
            client.take({"Type": event_of(revision, place), "Obj": json.loads(revision.json)})
        return
    style = Style()
    feed = Feed(picture, style, Frames(style))
    for frame in feed.missed(cursor)[1]:
        client.take(json.loads(frame[4:] if frame[1] == 126 else frame[2:]))
    feed.close()


@settings(max_examples=200, deadline=None)
@given(filter=st.sampled_from(FILTERS), before=st.lists(element, min_size=6, max_size=16), after=steps)
def test_what_a_client_draws_is_what_the_query_answers(filter: str, before: list[Any], after: list[Any]) -> None:
    async def example() -> None:
        async with trio.open_nursery() as nursery:
            world = World(Graph(host="here", origin="analyzer.here", with_tids=False))
            await nursery.start(world.hub.run)
            for step in before:
                carry_out(world, step)
            sharing = world.hub.sharing
            try:
                picture = await sharing.picture(filter)
            except FilterRefused:
                # V('a') while there is none.
                assert "a" not in world.graph.nodes
                nursery.cancel_scope.cancel()
                return
            assert isinstance(picture, PartOfGraph)
            clients = []
            for every in (True, False):
                client = Watcher(None)  # type: ignore[arg-type]
                state = [*picture.nodes(), *picture.edges()]
                client.elements = {one.id: json.loads(one.json) for one in state}
                clients.append((client, picture.log.cursor(every=every)))
            for step in after:
                if step == "look":
                    await sharing.catch_up(picture)
                elif step == "wait":
                    await trio.testing.wait_all_tasks_blocked()
                elif step == "read":
                    for client, cursor in clients:
                        draw(client, picture, cursor)
                else:
                    carry_out(world, step)
            await sharing.catch_up(picture)
            try:
                expected = await world.answer(filter)
            except GremlinError:
                expected = {}
            for client, cursor in clients:
                draw(client, picture, cursor)
                assert client.elements == expected, cursor.every
            sharing.release(picture)
            nursery.cancel_scope.cancel()

    trio.run(example)


def test_which_filters_are_decided_element_by_element() -> None:
    planner = Planner()
    for text in FILTERS[:7]:
        assert isinstance(read_filter(text, planner), ByElement), text
    for text in FILTERS[7:]:
        assert isinstance(read_filter(text, planner), ByQuery), text
    assert read_filter("G", planner) == read_filter(" ", planner) == Everything()
    assert read_filter("g.v().has('Type', 'x').out().subgraph()", planner) == ByQuery(
        # Words that are no keys do no harm.
        frozenset({"Type", "V", "children"}),
        False,
    )
    stale = read_filter("G.V().Has('@Stale', true).SubGraph()", planner)
    assert isinstance(stale, ByQuery)
    assert stale.stale
    assert read_filter("G.V().Has('@UpdatedAt', Gt(5)).Out().SubGraph()", planner) == ByQuery(None, False)
