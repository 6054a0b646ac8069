"""Node rules, edge rules and user metadata over a moving graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from skycore.errors import DuplicatedResource, InvalidResource
from skycore.graph.claimant import Claimant
from skycore.graph.identity import edge_id, uuid_of
from skycore.resource.api import ResourceApi
from skycore.rule.kinds import kinds
from tests.rule.ruled import Ruled, ruled


async def test_a_rule_makes_a_node(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        uuid = await world.node_rule("create", {"Name": "tor", "Type": "fabric", "Ports": 48})
        await world.settle()
        id = uuid_of("fabric/tor")
        node = world.graph.nodes[id]
        assert node.metadata() == {"Name": "tor", "Type": "fabric", "Ports": 48, "TID": id, "Probe": "fabric"}
        assert (node.host, node.origin) == ("", "analyzer.a")
        await world.delete(uuid)
        await world.settle()
        assert id not in world.graph.nodes
        assert not [name for name in world.graph.claimants if name.startswith("rule/")]


async def test_two_rules_make_the_same_node(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        first = await world.node_rule("create", {"Name": "x", "Type": "device", "Color": "red"})
        await world.node_rule("create", {"Name": "x", "Type": "device", "Color": "blue"})
        await world.settle()
        id = uuid_of("device/x")
        assert world.metadata(id)["Color"] == "blue"
        assert [conflict.key for conflict in world.graph.conflicts[id]] == ["Color"]
        await world.delete(first)
        await world.settle()
        assert world.metadata(id)["Color"] == "blue"


async def test_metadata_follow_the_nodes_that_a_query_selects(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        agent = world.agent()
        agent.put("n", {"Name": "eth0", "Type": "device", "State": "UP"})
        uuid = await world.node_rule("update", {"Color": "red"}, "G.V().Has('State', 'UP')")
        await world.settle()
        assert world.metadata("n")["Color"] == "red"
        # An update of the agent keeps what the rule said.
        agent.put("n", {"Name": "eth1", "Type": "device", "State": "UP"})
        assert world.metadata("n") == {"Name": "eth1", "Type": "device", "State": "UP", "Color": "red"}
        agent.put("n", {"Name": "eth1", "Type": "device", "State": "DOWN"})
        await world.settle()
        assert "Color" not in world.metadata("n")
        agent.put("n", {"Name": "eth1", "Type": "device", "State": "UP"})
        agent.put("m", {"Name": "eth2", "Type": "device", "State": "UP"})
        await world.settle()
        assert [world.metadata(id).get("Color") for id in ("n", "m")] == ["red", "red"]
        await world.delete(uuid)
        await world.settle()
        assert ["Color" in world.metadata(id) for id in ("n", "m")] == [False, False]


async def test_a_rule_wins_over_agents_and_the_conflict_is_visible(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        world.agent().put("n", {"Name": "eth0", "Type": "device", "Color": "grey"})
        uuid = await world.node_rule("update", {"Color": "red"}, "G.V().Has('Name', 'eth0')")
        await world.settle()
        assert world.metadata("n")["Color"] == "red"
        (conflict,) = world.graph.conflicts["n"]
        assert (conflict.key, conflict.kept, conflict.ignored) == ("Color", f"rule/{uuid}", "agent.h")


async def test_what_a_query_does_not_read_costs_nothing(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        agent = world.agent()
        agent.put("host", {"Name": "h", "Type": "host"})
        agent.put("n", {"Name": "eth0", "Type": "device"})
        agent.link("host", "n", "ownership")
        await world.node_rule("update", {"Color": "red"}, "G.V().Has('Type', 'host').Out().Has('Name', 'eth0')")
        await world.node_rule("update", {"Shape": "round"}, "G.V().Has('Type', 'device')")
        await world.settle()
        await _mention(world, agent)
        before = [rule["Asked"] for rule in world.engine.status()["Rules"]]
        for number in range(50):
            agent.put("n", {"Name": "eth0", "Type": "device", "Metric": {"RxBytes": number}})
            await world.settle()
        assert [rule["Asked"] for rule in world.engine.status()["Rules"]] == before
        agent.put("n", {"Name": "eth1", "Type": "device"})
        await world.settle()
        assert world.metadata("n") == {"Name": "eth1", "Type": "device", "Shape": "round"}
        after = [rule["Asked"] for rule in world.engine.status()["Rules"]]
        assert after[0][0] > before[0][0]
        assert after[1] == before[1] == [1]


async def _mention(world: Ruled, agent: Claimant) -> None:
    """Let the engine see each element once: what it has not seen counts as changed."""
    agent.put("host", {"Name": "h", "Type": "host", "Seen": 1})
    agent.put("n", {"Name": "eth0", "Type": "device", "Seen": 1})
    await world.settle()


async def test_an_edge_between_the_first_nodes(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        agent = world.agent()
        for id in ("b", "a", "c"):
            agent.put(id, {"Name": id, "Type": "left" if id != "c" else "right"})
        uuid = await world.edge_rule("G.V().Has('Type', 'left')", "G.V().Has('Type', 'right')", RelationType="x", Y=1)
        await world.settle()
        (edge,) = world.graph.edges.values()
        assert (edge.id, edge.parent, edge.child) == (edge_id("a", "c", "x"), "a", "c")
        assert edge.metadata() == {"RelationType": "x", "Y": 1}
        agent.drop("a")
        await world.settle()
        assert list(world.graph.edges) == [edge_id("b", "c", "x")]
        agent.drop("c")
        await world.settle()
        assert not world.graph.edges
        agent.put("c", {"Name": "c", "Type": "right"})
        agent.put("a", {"Name": "a", "Type": "left"})
        await world.settle()
        assert list(world.graph.edges) == [edge_id("a", "c", "x")]
        agent.put("a", {"Name": "a", "Type": "other"})
        await world.settle()
        assert list(world.graph.edges) == [edge_id("b", "c", "x")]
        await world.delete(uuid)
        await world.settle()
        assert not world.graph.edges


async def test_rules_see_what_rules_say(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        world.agent().put("n", {"Name": "db1", "Type": "device"})
        await world.edge_rule("G.V().Has('Name', 'lb')", "G.V().Has('Role', 'db').Limit(1)", RelationType="x")
        await world.node_rule("update", {"Critical": True}, "G.V().Has('Role', 'db')")
        await world.node_rule("create", {"Name": "lb", "Type": "device"})
        uuid = await world.node_rule("update", {"Role": "db"}, "G.V().Has('Name', Regex('db.*'))")
        await world.settle()
        assert world.metadata("n") == {"Name": "db1", "Type": "device", "Role": "db", "Critical": True}
        assert list(world.graph.edges) == [edge_id(uuid_of("device/lb"), "n", "x")]
        await world.delete(uuid)
        await world.settle()
        assert world.metadata("n") == {"Name": "db1", "Type": "device"}
        assert not world.graph.edges


async def test_a_rule_that_undoes_itself_is_stopped_and_named(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        agent = world.agent()
        agent.put("n", {"Name": "x", "Type": "device"})
        wrong = await world.node_rule("update", {"Color": "red"}, "G.V().HasNot('Color')")
        good = await world.node_rule("update", {"Shape": "round"}, "G.V().Has('Name', 'x')")
        with trio.fail_after(60):
            await world.settle()
        states = {rule["UUID"]: (rule["State"], rule["Error"]) for rule in world.engine.status()["Rules"]}
        assert states[good] == ("active", None)
        assert states[wrong][0] == "stopped"
        assert "change it back" in states[wrong][1]
        assert world.metadata("n") == {"Name": "x", "Type": "device", "Shape": "round"}
        revision = world.graph.nodes["n"].revision
        agent.put("m", {"Name": "y", "Type": "device"})
        await world.settle()
        assert "Color" not in world.metadata("m")
        assert world.graph.nodes["n"].revision == revision


async def test_user_metadata_of_one_node_stand_together(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        world.agent().put("n", {"Name": "x", "Type": "device"})
        rack = await world.user_metadata("G.V()", "Rack", "r1")
        await world.user_metadata("G.V().Has('Name', 'x')", "Owner", {"Team": ["net"]})
        newer = await world.user_metadata("G.V().Has('Type', 'device')", "Rack", "r2")
        await world.settle()
        assert world.metadata("n")["UserMetadata"] == {"Rack": "r2", "Owner": {"Team": ["net"]}}
        assert world.engine.status()["Overridden"] == [
            {"ID": "n", "Key": "UserMetadata.Rack", "Kept": newer, "Ignored": rack}
        ]
        await world.delete(newer)
        await world.settle()
        assert world.metadata("n")["UserMetadata"] == {"Rack": "r1", "Owner": {"Team": ["net"]}}
        with pytest.raises(DuplicatedResource, match=f"uuid={rack}"):
            await world.user_metadata("G.V()", "Rack", "r1")


async def test_a_node_named_by_its_id_may_be_absent(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        await world.edge_rule("G.V('a')", "G.V('a').Out('Type', 'x')", RelationType="x")
        await world.node_rule("update", {"Color": "red"}, "G.V('a')")
        await world.settle()
        assert [rule["State"] for rule in world.engine.status()["Rules"]] == ["active", "active"]
        agent = world.agent()
        agent.put("a", {"Name": "a", "Type": "device"})
        agent.put("b", {"Name": "b", "Type": "x"})
        agent.link("a", "b", "ownership")
        await world.settle()
        assert world.metadata("a")["Color"] == "red"
        assert edge_id("a", "b", "x") in world.graph.edges


async def test_rules_expire(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world, trio.open_nursery() as nursery:
        await nursery.start(world.store.run)
        await nursery.start(world.engine.run)
        cursor = world.graph.log.cursor()
        api = ResourceApi(world.store, kinds(world.queries.planner)[0])
        await api.create({"Action": "create", "Metadata": {"Name": "x", "Type": "device"}}, ttl="300ms")
        id = uuid_of("device/x")
        with trio.fail_after(30):
            while id not in world.graph.nodes:
                await cursor.wait()
                cursor.read()
            while id in world.graph.nodes:
                await cursor.wait()
                cursor.read()
        nursery.cancel_scope.cancel()


async def test_many_nodes_do_not_hold_up_the_event_loop(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world, trio.open_nursery() as nursery:
        agent = world.agent()
        with world.graph.transaction():
            for number in range(5000):
                agent.put(str(number), {"Name": f"n{number}", "Type": "device"})
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        nursery.start_soon(count)
        await world.node_rule("update", {"Color": "red"}, "G.V()")
        turns = 0
        await world.settle()
        assert turns >= 10
        assert all(node.metadata()["Color"] == "red" for node in world.graph.nodes.values())
        nursery.cancel_scope.cancel()


_NODE = {"Name": "x", "Type": "device"}


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("noderule", {"Action": "remove", "Metadata": _NODE}, "Action: regular expression mismatch"),
        (
            "noderule",
            {"Action": "update", "Metadata": {"Name": "x"}, "Query": "G.V()"},
            "Name and Type fields can not be",
        ),
        ("noderule", {"Action": "update", "Metadata": {"TID": "x"}, "Query": "G.V()"}, "TID can not be changed"),
        ("noderule", {"Action": "update", "Metadata": {"X": 1}}, "Query: an update needs the query"),
        (
            "noderule",
            {"Action": "update", "Metadata": {"X": 1}, "Query": "V()"},
            "Query: Not a valid Gremlin expression: ",
        ),
        ("noderule", {"Action": "update", "Metadata": {"X": 1}, "Query": "G.E()"}, "Query: the query must give nodes"),
        (
            "noderule",
            {"Action": "update", "Metadata": {"X": 1}, "Query": "G.V().Count()"},
            "Query: the query must give",
        ),
        ("noderule", {"Action": "update", "Metadata": {"X": 1}, "Query": "G.At(0).V()"}, "Query: a rule is about the"),
        (
            "noderule",
            {"Action": "create", "Metadata": {"Type": "device"}},
            "invalid schema: (root): Must validate all the schemas (allOf)\n"
            "Metadata: Must validate all the schemas (allOf)\n"
            "Metadata: Name is required\n"
            "(root): Must validate at least one schema (anyOf)",
        ),
        ("noderule", {"Action": "create", "Metadata": {"Type": "netns", "Name": "x"}}, "invalid schema: (root)"),
        ("edgerule", {"Src": "G.V()", "Dst": "G.V()"}, "invalid schema: Metadata: RelationType is required"),
        ("edgerule", {"Src": "", "Dst": "G.V()", "Metadata": {"RelationType": "x"}}, "Src: Not a valid Gremlin"),
        ("edgerule", {"Src": "G.V()", "Dst": "G", "Metadata": {"RelationType": "x"}}, "Dst: the query must give nodes"),
        ("usermetadata", {"GremlinQuery": "G.V(", "Key": "x"}, "GremlinQuery: Not a valid Gremlin expression: "),
        ("usermetadata", {"GremlinQuery": "G.V()", "Value": "x"}, "Key: zero value"),
    ],
)
async def test_what_is_no_rule(tmp_path: Path, kind: str, body: dict[str, Any], text: str) -> None:
    async with ruled(tmp_path) as world:
        with pytest.raises(InvalidResource) as refused:
            await world.apis[kind].create(body)
        assert refused.value.text.startswith(text)
        assert not world.store.list(kind)
