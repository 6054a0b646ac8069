"""Nodes and edges that users make, and keys that they give to those of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skycore.errors import InvalidResource, NotModified, Refusal, ResourceNotFound
from skycore.graph.graph import Graph
from tests.rule.ruled import Ruled, plain, ruled

_NAME_MISSING = (
    "validating patched resource: invalid schema: (root): Must validate all the schemas (allOf)\n"
    "Metadata: Must validate all the schemas (allOf)\n"
    "Metadata: Name is required\n"
    "(root): Must validate at least one schema (anyOf)"
)


def _node(id: str, **more: Any) -> dict[str, Any]:
    return {"ID": id, "Metadata": {"Name": id, "Type": "device", **more}}


def _edge(id: str, parent: str, child: str) -> dict[str, Any]:
    return {"ID": id, "Parent": parent, "Child": child, "Metadata": {"RelationType": "layer2"}}


def _add(key: str, value: Any) -> list[dict[str, Any]]:
    return [{"op": "add", "path": f"/Metadata/{key}", "value": value}]


async def test_a_node_is_kept_as_it_is_given(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        made = plain(
            await world.elements.nodes.create(
                {**_node("n", MTU=1500.0), "Host": "h", "Origin": "cli.x", "CreatedAt": 1000, "UpdatedAt": 2000}
            )
        )
        assert made == {
            "ID": "n",
            "Host": "h",
            "Origin": "cli.x",
            "CreatedAt": 1000,
            "UpdatedAt": 2000,
            "DeletedAt": None,
            "Revision": 1,
            "Metadata": {"Name": "n", "Type": "device", "MTU": 1500},
        }
        assert plain(world.elements.nodes.get("n")) == made
        assert plain(world.elements.nodes.list()) == {"n": made}
        other = plain(await world.elements.nodes.create({**_node("m"), "CreatedAt": None, "UpdatedAt": 0}))
        assert other["Origin"] == "api.a"
        assert 0 < world.graph.clock() - other["CreatedAt"] + 1 < 60_000
        assert other["CreatedAt"] == other["UpdatedAt"]


async def test_edges_of_users_go_with_the_nodes_of_users(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        nodes, edges = world.elements.nodes, world.elements.edges
        world.agent().put("theirs", {"Name": "x", "Type": "device"})
        await nodes.create(_node("n"))
        made = plain(await edges.create(_edge("e", "n", "theirs")))
        assert (made["ID"], made["Parent"], made["Child"]) == ("e", "n", "theirs")
        await nodes.delete("n")
        assert not world.graph.edges
        assert list(world.graph.nodes) == ["theirs"]
        await nodes.create(_node("n"))
        assert not world.graph.edges
        await edges.create(_edge("e", "n", "theirs"))
        await edges.delete("e")
        assert not world.graph.edges
        assert not world.store.list("edge")


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("node", [], "a node is a JSON object"),
        ("node", {"Metadata": {"Name": "n", "Type": "x"}}, "No ID found for graph element"),
        ("node", {"ID": "n"}, "invalid schema: (root): Metadata is required"),
        ("node", {"ID": "n", "Metadata": {"Type": "x"}}, "invalid schema: (root): Must validate all"),
        ("node", {**_node("n"), "CreatedAt": "now"}, "CreatedAt: must be milliseconds since the epoch, or null"),
        ("node", {**_node("n"), "Host": 1}, "Host: must be a string"),
        ("node", _node("there"), "Node ID conflict"),
        ("node", _node("n", X=1 << 80), "Metadata: "),
        ("edge", {"ID": "e", "Child": "there", "Metadata": {"RelationType": "x"}}, "parent ID wrong format"),
        ("edge", {"ID": "e", "Parent": "there", "Metadata": {"RelationType": "x"}}, "child ID wrong format"),
        (
            "edge",
            {"ID": "e", "Parent": "there", "Child": "there", "Metadata": {}},
            "invalid schema: Metadata: RelationType",
        ),
        ("edge", _edge("e", "away", "there"), "Parent node not found"),
        ("edge", _edge("e", "there", "away"), "Child node not found"),
        ("edge", _edge("there", "there", "there"), "Edge ID conflict"),
    ],
)
async def test_what_cannot_be(tmp_path: Path, kind: str, body: Any, text: str) -> None:
    async with ruled(tmp_path) as world:
        world.agent().put("there", {"Name": "x", "Type": "device"})
        api = world.elements.nodes if kind == "node" else world.elements.edges
        with pytest.raises(InvalidResource) as refused:
            await api.create(body)
        assert refused.value.text.startswith(text)
        assert list(world.graph.nodes) == ["there"]
        assert not world.store.list(kind)


async def test_patching_ones_own_node(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        api = world.elements.nodes
        await api.create(_node("n", A=1))
        patched = plain(await api.patch("n", [*_add("B", {"C": 1}), {"op": "remove", "path": "/Metadata/A"}]))
        assert patched["Metadata"] == {"Name": "n", "Type": "device", "B": {"C": 1}}
        assert patched["Revision"] == 2
        assert world.graph.nodes["n"].revision == 2
        for operations in (
            [{"op": "replace", "path": "/Metadata/Name", "value": "m"}],
            [{"op": "replace", "path": "/Metadata/Type", "value": "host"}],
            _add("TID", "x"),
            _add("B", {"C": 1}),
            [{"op": "replace", "path": "/Host", "value": "other"}],
            [],
        ):
            with pytest.raises(NotModified):
                await api.patch("n", operations)
        with pytest.raises(InvalidResource) as refused:
            await api.patch("n", [{"op": "remove", "path": "/Metadata/Name"}])
        assert refused.value.text == _NAME_MISSING
        with pytest.raises(InvalidResource, match="applying patch: operation 1"):
            await api.patch("n", [{"op": "remove", "path": "/Metadata/Z"}])
        assert world.graph.nodes["n"].revision == 2


async def test_patching_what_is_not_there(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        for api in (world.elements.nodes, world.elements.edges):
            with pytest.raises(ResourceNotFound) as absent:
                await api.patch("n", _add("A", 1))
            assert (absent.value.status, absent.value.text) == (404, "")
            for call in (api.get, api.delete):
                with pytest.raises(ResourceNotFound) as unknown:
                    await call("n")
                assert unknown.value.text == f"{api.title} 'n' not found"


async def test_keys_given_to_an_agents_node_outlive_its_updates(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        api, agent = world.elements.nodes, world.agent()
        agent.put("n", {"Name": "x", "Type": "device", "State": "UP"})
        patched = plain(await api.patch("n", [*_add("Rack", "r1"), *_add("State", "MAINTENANCE")]))
        assert patched["Metadata"] == {"Name": "x", "Type": "device", "State": "MAINTENANCE", "Rack": "r1"}
        agent.put("n", {"Name": "y", "Type": "device", "State": "DOWN"})
        assert world.metadata("n") == {"Name": "y", "Type": "device", "State": "MAINTENANCE", "Rack": "r1"}
        assert [(one.key, one.kept, one.ignored) for one in world.graph.conflicts["n"]] == [
            ("State", "user", "agent.h")
        ]
        # A key that the user gave can be taken back; then the agent's counts again.
        patched = plain(await api.patch("n", [{"op": "remove", "path": "/Metadata/State"}]))
        assert patched["Metadata"]["State"] == "DOWN"
        with pytest.raises(InvalidResource, match=r"is not the user's to remove: analyzer\.a \(agent\.h\)"):
            await api.patch("n", [{"op": "remove", "path": "/Metadata/State"}])
        with pytest.raises(InvalidResource, match=r"was found by analyzer\.a \(agent\.h\)"):
            await api.delete("n")
        agent.drop("n")
        assert "n" not in world.graph.nodes
        agent.put("n", {"Name": "z", "Type": "device"})
        assert world.metadata("n") == {"Name": "z", "Type": "device", "Rack": "r1"}
        agent.drop("n")
        await api.delete("n")
        agent.put("n", {"Name": "z", "Type": "device"})
        assert "Rack" not in world.metadata("n")


async def test_keys_given_to_an_agents_edge_wait_for_it(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        agent = world.agent()
        for id in ("a", "b"):
            agent.put(id, {"Name": id, "Type": "device"})
        agent.link("a", "b", "layer2")
        (id,) = world.graph.edges
        await world.elements.edges.patch(id, _add("Cable", 7))
    async with ruled(tmp_path) as world:
        agent = world.agent()
        agent.link("a", "b", "layer2")
        for node in ("a", "b"):
            agent.put(node, {"Name": node, "Type": "device"})
        assert world.graph.edges[id].metadata() == {"RelationType": "layer2", "Cable": 7}


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        await _say(world)
        before = _shown(world)
    graph = Graph(host="a", origin="analyzer.a", with_tids=False)
    graph.claimant("agent.h", plugin="agent").put("theirs", {"Name": "x", "Type": "device"})
    async with ruled(tmp_path, graph) as world:
        assert _shown(world) == before


async def _say(world: Ruled) -> None:
    world.agent().put("theirs", {"Name": "x", "Type": "device"})
    await world.elements.nodes.create({**_node("n"), "CreatedAt": 5})
    await world.elements.edges.create({**_edge("e", "n", "theirs"), "CreatedAt": 5})
    await world.elements.nodes.patch("n", _add("A", 1))
    await world.elements.nodes.patch("theirs", _add("B", 1))


def _shown(world: Ruled) -> dict[str, tuple[dict[str, Any], str, str]]:
    elements = {**world.graph.nodes, **world.graph.edges}
    return {id: (one.metadata(), one.host, one.origin) for id, one in elements.items() if id != "theirs"} | {
        "theirs": (world.metadata("theirs"), "", "")
    }


async def test_a_node_with_a_time_to_live(tmp_path: Path) -> None:
    async with ruled(tmp_path) as world:
        await world.elements.nodes.create(_node("n"), ttl="1m")
        kept = world.store.get("node", "n")
        assert kept is not None
        assert kept.expires_at == kept.created_at + 60_000
        with pytest.raises(Refusal, match="invalid ttl"):
            await world.elements.nodes.create(_node("m"), ttl="x")
