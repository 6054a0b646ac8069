"""An analyzer whose store of API objects cannot be used: the graph lives on, and nothing of it is taken back."""

from __future__ import annotations

import pytest

from skycore.errors import StorageError
from skycore.graph.graph import Graph
from skycore.graph.live import LiveView
from skycore.gremlin import QueryContext
from skycore.resource.absent import AbsentResources
from skycore.resource.api import ResourceApi
from skycore.rule.elements import UserElements
from skycore.rule.engine import RuleEngine
from skycore.rule.kinds import kinds


async def test_what_users_said_before_stays_and_new_things_are_refused() -> None:
    graph = Graph(host="a", origin="analyzer.a", with_tids=False)
    for claimant in ("user", "rule/x"):
        graph.claimant(claimant).put(claimant, {"Name": claimant, "Type": "device"})
    queries = QueryContext(LiveView(graph), graph.clock)
    store = AbsentResources("the disk is full")
    elements = UserElements(graph, store)
    elements.restore()
    engine = RuleEngine(graph, store, queries)
    await engine.settle()
    assert sorted(graph.nodes) == ["rule/x", "user"]
    assert engine.status()["Error"] == "the disk is full"
    with pytest.raises(StorageError, match="the disk is full"):
        await ResourceApi(store, kinds(queries.planner)[0]).create(
            {"Action": "create", "Metadata": {"Name": "x", "Type": "x"}}
        )
    with pytest.raises(StorageError, match="the disk is full"):
        await elements.nodes.create({"ID": "n", "Metadata": {"Name": "n", "Type": "x"}})
    assert len(graph.nodes) == 2
