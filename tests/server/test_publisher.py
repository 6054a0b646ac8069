"""Publishers: what they say becomes claims of their own, and what is wrong is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio_websocket

from skycore.graph.graph import Graph
from skycore.server.publisher import publisher_of
from tests.server.test_subscriber import refused
from tests.server.watching import until, watch, world

NODE: dict[str, Any] = {"ID": "n", "Metadata": {"Name": "n", "Type": "device", "Deep": {"a": 1, "b": 2}}}
OTHER: dict[str, Any] = {"ID": "m", "Metadata": {"Name": "m", "Type": "device"}}
EDGE: dict[str, Any] = {"ID": "e", "Parent": "n", "Child": "m", "Metadata": {"RelationType": "layer2"}}
ME = {"X-Client-Type": "cli", "X-Host-ID": "laptop"}


async def test_elements_are_added_updated_and_deleted_with_the_origin_imposed() -> None:
    async with world() as here, watch(here, "/ws/publisher", ME, sync=False) as client:
        await client.send("EdgeAdded", EDGE)
        await client.send(
            "NodeAdded", {**NODE, "Origin": "agent.other", "Host": "h", "CreatedAt": 5000, "UpdatedAt": 6000}
        )
        await client.send("NodeAdded", OTHER)
        await client.sync()
        assert client.elements.keys() == {"n", "m", "e"}
        node = client.elements["n"]
        assert (node["Origin"], node["Host"], node["CreatedAt"], node["UpdatedAt"]) == ("cli.laptop", "h", 5000, 6000)
        assert client.elements["m"]["Host"] == "laptop"
        await client.send("NodeUpdated", {**OTHER, "Metadata": {**OTHER["Metadata"], "MTU": 9000}, "Revision": 1})
        await client.send(
            "NodePartiallyUpdated",
            {
                "ID": "n",
                "Revision": 9,
                "Ops": [{"Type": 1, "Key": "New.x", "Value": [1]}, {"Type": 2, "Key": "Deep.a"}],
            },
        )
        await client.send("EdgeUpdated", {**EDGE, "Metadata": {"RelationType": "layer2", "Weight": 1}})
        await client.sync()
        assert client.elements["m"]["Metadata"]["MTU"] == 9000
        assert client.elements["n"]["Metadata"]["Deep"] == {"b": 2}
        assert client.elements["n"]["Metadata"]["New"] == {"x": [1]}
        assert client.elements["e"]["Metadata"]["Weight"] == 1
        await client.send("NodeDeleted", {"ID": "n"})
        await client.sync()
        assert client.elements.keys() == {"m"}
        assert client.messages == 3


BAD: list[tuple[str, Any, str]] = [
    ("NodeAdded", None, "Obj is an object"),
    ("NodeAdded", {}, "ID is required"),
    ("NodeAdded", {"ID": ""}, "ID is required"),
    ("NodeAdded", {"ID": 3}, "ID is required"),
    ("NodeAdded", {"ID": "x" * 2000}, "ID is longer than"),
    ("NodeAdded", {"ID": "x"}, "node 'x': Metadata is required"),
    ("NodeAdded", {"ID": "x", "Metadata": {"Type": "device"}}, "Metadata.Name of a node of type device is required"),
    ("NodeAdded", {"ID": "x", "Metadata": {"Name": "x"}}, "Metadata.Type is required"),
    ("NodeAdded", {"ID": "x", "Metadata": {"Name": "x", "Type": "netns"}}, "Metadata.Path of a node"),
    ("NodeAdded", {"ID": "x", "Metadata": {"Name": "x", "Type": "ovsport"}}, "Metadata.UUID of a node"),
    ("NodeAdded", {**OTHER, "Host": 3}, "node 'm': Host must be a string"),
    ("NodeAdded", {**OTHER, "CreatedAt": "now"}, "CreatedAt must be null or milliseconds"),
    ("NodeAdded", {**OTHER, "CreatedAt": 1.5}, "CreatedAt must be null or milliseconds"),
    ("EdgeAdded", {"ID": "x", "Parent": "n", "Child": "m", "Metadata": {}}, "Metadata.RelationType is required"),
    ("EdgeAdded", {"ID": "x", "Child": "m", "Metadata": {"RelationType": "a"}}, "Parent is required"),
    ("EdgeAdded", {**EDGE, "ID": "n"}, "'n' is known as a node"),
    ("NodeUpdated", {**NODE, "ID": "nobody"}, "node 'nobody' is not known"),
    ("NodePartiallyUpdated", {"ID": "nobody", "Ops": []}, "node 'nobody' is not known"),
    ("NodePartiallyUpdated", {"ID": "n", "Ops": [{"Type": 3, "Key": "a"}]}, "an operation is"),
    ("NodePartiallyUpdated", {"ID": "n", "Ops": [{"Type": 2, "Key": "Name"}]}, "Metadata.Name of a node"),
    ("EdgePartiallyUpdated", {"ID": "n", "Ops": []}, "'n' is no edge"),
    ("NodeDeleted", {"ID": "probed"}, "node 'probed' was not published by cli.laptop"),
    ("Sync", {"Nodes": [NODE, {}]}, "ID is required"),
    ("Sync", [], "Obj of a Sync is a graph"),
    ("SubGraph", {}, "unknown type of message 'SubGraph'"),
]


@pytest.mark.parametrize(("type", "obj", "reason"), BAD)
async def test_bad_messages_are_answered_with_their_uuid_and_change_nothing(type: str, obj: Any, reason: str) -> None:
    async with world() as here, watch(here, "/ws/publisher", ME, sync=False) as client:
        here.node("probed")
        await client.send("NodeAdded", NODE)
        await client.sync()
        before = here.graph.log.end
        await client.send(type, obj, uuid="bad-1")
        reply = await client.receive()
        assert (reply["Type"], reply["UUID"], reply["Status"]) == (f"{type}Reply", "bad-1", 400)
        assert reply["Obj"].startswith(reason)
        assert here.graph.log.end == before


async def test_what_goes_with_the_connection_and_what_stays() -> None:
    async with world() as here:
        async with watch(here, "/ws/publisher", {**ME, "X-Persistence-Policy": "DeleteOnDisconnect"}) as client:
            await client.send("NodeAdded", NODE)
            await client.sync()
        await until(lambda: not here.graph.nodes)
        await until(lambda: not here.hub.publishers)
        assert list(here.graph.claimants) == ["probe"]
        async with watch(here, "/ws/publisher", {**ME, "X-Persistence-Policy": "Persistent"}) as client:
            await client.send("NodeAdded", NODE)
            await client.sync()
        await until(lambda: not here.hub.publishers)
        assert here.graph.nodes.keys() == {"n"}
        async with watch(here, "/ws/publisher", ME) as client:
            await client.send("NodeDeleted", NODE)
            await client.sync()
            assert client.elements == {}


async def test_others_elements_are_annotated_and_never_kept_alive() -> None:
    async with world() as here, watch(here, "/ws/publisher", ME) as client:
        here.node("n", MTU=1)
        await client.send("NodeAdded", NODE)
        await client.sync()
        assert "Deep" not in client.elements["n"]["Metadata"]
        await client.send("NodePartiallyUpdated", {"ID": "n", "Ops": [{"Type": 1, "Key": "Room", "Value": "r1"}]})
        await client.sync()
        assert client.elements["n"]["Metadata"] == {"Name": "n", "Type": "device", "MTU": 1, "Room": "r1"}
        assert client.elements["n"]["Origin"] == "analyzer.here"
        here.node("n", MTU=2)
        assert here.graph.nodes["n"].metadata()["Room"] == "r1"
        here.probe.drop("n")
        assert here.graph.nodes == {}


async def test_sync_replaces_what_the_publisher_said() -> None:
    async with world() as here, watch(here, "/ws/publisher", ME, sync=False) as client:
        await client.send("Sync", {"Nodes": [NODE, OTHER], "Edges": [EDGE]})
        await client.sync()
        revision = client.elements["n"]["Revision"]
        await client.send("Sync", {"Nodes": [NODE], "Edges": None})
        await client.sync()
        assert client.elements.keys() == {"n"}
        assert client.elements["n"]["Revision"] == revision


async def test_go_clients_send_json_in_binary_frames() -> None:
    """As `skydive client topology import` does."""
    async with world() as here, watch(here, "/ws/publisher", {"X-Client-Type": "CLI", "X-Host-ID": "h"}) as client:
        for type, obj in (("NodeAdded", NODE), ("NodeAdded", OTHER), ("EdgeAdded", EDGE)):
            message = {"Namespace": "Graph", "Type": type, "UUID": "u", "Status": 200, "Obj": obj}
            await client.socket.send_message(json.dumps(message).encode())
        await client.sync()
        assert client.elements.keys() == {"n", "m", "e"}


async def test_pubsub_hears_what_it_says() -> None:
    headers = {**ME, "X-Gremlin-Filter": "G.V().Has('Name', 'n').SubGraph()"}
    async with world() as here, watch(here, "/ws/pubsub", headers) as client:
        await client.send("NodeAdded", OTHER)
        await client.send("NodeAdded", NODE)
        await client.until(lambda: client.events == [("NodeAdded", "n")])
        await client.send("NodeAdded", {}, uuid="wrong")
        assert (await client.receive())["UUID"] == "wrong"


async def test_nobody_publishes_as_an_agent() -> None:
    async with world() as here:
        for kind in ("agent", "analyzer"):
            code, reason = await refused(here.port, "/ws/publisher", {"X-Client-Type": kind})
            assert code == 1000
            assert reason.startswith(f"X-Client-Type {kind} is that of our own processes")


async def test_a_restarted_analyzer_knows_its_publishers_again() -> None:
    async with world() as here, watch(here, "/ws/publisher", ME) as client:
        await client.send("NodeAdded", NODE)
        await client.sync()
        kept = list(here.graph.nodes.values())
        graph = Graph(host="here", origin="analyzer.here", with_tids=False)
        graph.restore(kept, lambda revision: publisher_of(graph, revision) or graph.claimant("wrong"))
    async with world(graph=graph) as again, watch(again, "/ws/publisher", ME) as client:
        assert client.elements.keys() == {"n"}
        await client.send("NodeDeleted", NODE)
        await client.sync()
        assert client.elements == {}


async def test_a_visitor_of_before_a_restart_is_withdrawn() -> None:
    visitor = {**ME, "X-Persistence-Policy": "DeleteOnDisconnect"}
    async with world() as here, watch(here, "/ws/publisher", visitor) as client:
        await client.send("NodeAdded", NODE)
        await client.sync()
        kept = list(here.graph.nodes.values())
    graph = Graph(host="here", origin="analyzer.here", with_tids=False)
    graph.restore(kept, lambda revision: publisher_of(graph, revision) or graph.claimant("wrong"))
    assert graph.nodes.keys() == {"n"}
    async with world(graph=graph):
        assert graph.nodes == {}


async def test_upgrade_refusals() -> None:
    async with world() as here:
        with pytest.raises(trio_websocket.ConnectionRejected) as rejected:
            async with watch(here, "/ws/publisher", ME), watch(here, "/ws/publisher", ME):
                pass
        assert rejected.value.status_code == 409
        await trio.lowlevel.checkpoint()
