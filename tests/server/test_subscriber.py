"""Subscribers of the hub: handshake, state, changes, filters, update policies, over real sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
import trio_websocket

from skycore.graph.graph import Graph, now_ms
from skycore.storage.embedded import EmbeddedStore
from skycore.storage.keeper import HistoryKeeper
from tests.server.watching import Watcher, until, watch, world


async def refused(port: int, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """Code and reason of the Close that a client gets at once."""
    async with trio_websocket.open_websocket(
        "127.0.0.1", port, path, use_ssl=False, extra_headers=[(k.encode(), v.encode()) for k, v in headers.items()]
    ) as socket:
        with trio.fail_after(10):
            with pytest.raises(trio_websocket.ConnectionClosed) as closed:
                await socket.get_message()
        assert closed.value.reason is not None
        return closed.value.reason.code, closed.value.reason.reason or ""


async def test_the_state_then_each_change() -> None:
    async with world() as here:
        here.node("a")
        async with watch(here) as client:
            assert client.elements.keys() == {"a"}
            here.node("b", MTU=1500)
            here.link("e", "a", "b")
            here.node("b", MTU=9000)
            here.probe.drop("a")
            await client.until(lambda: ("NodeDeleted", "a") in client.events)
            assert client.events == [
                ("NodeAdded", "b"), ("EdgeAdded", "e"), ("NodeUpdated", "b"),
                ("EdgeDeleted", "e"), ("NodeDeleted", "a"),
            ]  # fmt: skip
            assert client.elements["b"]["Metadata"]["MTU"] == 9000


async def test_the_answer_to_the_upgrade_names_us_and_pings_at_once() -> None:
    async with world() as here, watch(here, sync=False) as client:
        names = {name.decode().lower(): value.decode() for name, value in client.socket.handshake_headers}
        assert (names["x-host-id"], names["x-service-type"]) == ("here", "analyzer")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "X-Client-Type is missing"),
        ({"X-Client-Type": "t", "X-Client-Protocol": "xml"}, "X-Client-Protocol 'xml'"),
        ({"X-Client-Type": "t", "X-Update-Policy": "Partial"}, "X-Update-Policy 'Partial'"),
        ({"X-Client-Type": "t", "X-Gremlin-Filter": "G.V().Hass()"}, "Expected step function, got: Hass"),
        ({"X-Client-Type": "t", "X-Gremlin-Filter": "G.V()"}, "Gremlin query 'G.V()' did not return a graph"),
        ({"X-Client-Type": "t", "X-Gremlin-Filter": "G.At('-1s').V().SubGraph()"}, "a subscription is about"),
    ],
)
async def test_who_asks_for_what_cannot_be_is_closed(headers: dict[str, str], reason: str) -> None:
    async with world() as here:
        code, said = await refused(here.port, "/ws/subscriber", headers)
        assert code == 1000
        assert said.startswith(reason)
        await until(lambda: not here.hub.subscribers)


async def test_a_host_id_connects_once_per_endpoint() -> None:
    async with world() as here:
        name = {"X-Host-ID": "me"}
        async with watch(here, headers=name):
            with pytest.raises(trio_websocket.ConnectionRejected) as rejected:
                async with watch(here, headers=name):
                    pass
            assert rejected.value.status_code == 409
            async with watch(here, "/ws/publisher", headers=name):
                pass
        await until(lambda: not here.hub.subscribers)
        async with watch(here, headers=name):
            pass


async def test_query_parameters_stand_for_headers() -> None:
    async with world() as here:
        path = (
            f"ws://127.0.0.1:{here.port}/ws/subscriber?x-client-type=web&x-host-id=q&x-gremlin-filter=G.V().SubGraph()"
        )
        async with trio_websocket.open_websocket_url(path) as socket:
            client = Watcher(socket)
            await client.sync()
            (known,) = here.hub.subscribers.values()
            assert (known.host, known.kind, known.filter) == ("q", "web", "G.V().SubGraph()")


@pytest.mark.parametrize(
    "filter",
    [
        "G.V().Has('Type', 'veth').SubGraph()",
        "G.E().Has('RelationType', 'layer2').SubGraph()",
        "G.V().Has('Name', 'a').Out().SubGraph()",
        "G.V().Has('Type', 'veth').Dedup('Name').SubGraph()",
    ],
)
async def test_a_filter_lets_elements_enter_change_and_leave(filter: str) -> None:
    async with world() as here:
        here.node("a", Type="veth")
        async with watch(here, headers={"X-Gremlin-Filter": filter}) as client:
            assert client.elements == await here.answer(filter)
            here.node("b", Type="veth")
            here.link("e", "a", "b")
            here.node("c", Type="device")
            expected = await here.answer(filter)
            await client.until(lambda: client.elements == expected)
            here.node("b", Type="veth", MTU=9000)
            expected = await here.answer(filter)
            await client.until(lambda: client.elements == expected)
            here.node("b", Type="gone")
            here.probe.drop("e")
            expected = await here.answer(filter)
            await client.until(lambda: client.elements == expected)
            assert all(id != "c" for _, id in client.events)


async def test_a_filter_is_set_kept_and_reset_by_sync_requests() -> None:
    async with world() as here:
        here.node("a", Type="veth")
        here.node("b")
        async with watch(here) as client:
            assert client.elements.keys() == {"a", "b"}
            await client.sync({"GremlinFilter": "G.V().Has('Type', 'veth').SubGraph()"})
            assert client.elements.keys() == {"a"}
            await client.sync({})
            await client.sync({"GremlinFilter": None})
            assert client.elements.keys() == {"a"}
            wrong = await client.sync({"GremlinFilter": "G.V("})
            assert wrong["Status"] == 400
            assert wrong["UUID"] == "u"
            assert "line 1" in wrong["Obj"]
            here.node("b", MTU=1)
            here.node("c", Type="veth")
            await client.until(lambda: "c" in client.elements)
            assert client.events == [("NodeAdded", "c")]
            await client.sync({"GremlinFilter": ""})
            assert client.elements.keys() == {"a", "b", "c"}
            await client.sync()
            assert client.elements.keys() == {"a", "b", "c"}
        await until(lambda: not here.hub.subscribers)
        assert list(here.hub.sharing.filters()) == []


async def test_one_picture_for_all_with_the_same_filter() -> None:
    async with world() as here:
        headers = {"X-Gremlin-Filter": "G.V().Has('Type', 'host').Out().SubGraph()"}
        async with watch(here, headers=headers) as one, watch(here, headers=headers) as other:
            assert list(here.hub.sharing.filters()) == [headers["X-Gremlin-Filter"]]
            here.node("h", Type="host")
            here.node("x")
            here.link("e", "h", "x")
            await one.until(lambda: "x" in one.elements)
            await other.until(lambda: "x" in other.elements)


async def test_a_query_runs_again_only_when_something_that_it_reads_changed() -> None:
    async with world() as here:
        here.node("h", Type="host")
        here.node("x", Counter=0)
        here.link("e", "h", "x")
        filter = "G.V().Has('Type', 'host').Out('MTU', 1500).SubGraph()"
        async with watch(here, headers={"X-Gremlin-Filter": filter}) as client:
            picture: Any = await here.hub.sharing.picture(filter)
            for number in range(20):
                here.node("x", Counter=number)
                await trio.sleep(0.01)
            await here.hub.sharing.catch_up(picture)
            assert picture.runs == 0
            here.node("x", MTU=1500)
            await client.until(lambda: "x" in client.elements)
            assert picture.runs == 1
            here.hub.sharing.release(picture)


async def test_partial_updates_carry_their_data_for_edges_too() -> None:
    async with world() as here:
        here.node("a", Deep={"x": 1, "y": [1, 2]}, Old=1)
        here.node("b")
        here.link("e", "a", "b")
        async with watch(here, headers={"X-Update-Policy": "partial"}) as client:
            for step in range(3):
                here.node("a", Deep={"x": step, "z": {"q": True}}, New=step)
                here.link("e", "a", "b", Weight=step)
                here.node("a.b", **{"dotted.key": step})
            expected = await here.answer("G")
            await client.until(lambda: client.elements == expected)
            kinds = {type for type, _ in client.events}
            assert {"NodePartiallyUpdated", "EdgePartiallyUpdated"} <= kinds


async def test_sync_with_time_gives_the_past_or_says_why_not() -> None:
    async with world() as here, watch(here) as client:
        reply = await client.sync({"Time": 1_700_000_000_000})
        assert reply["Status"] == 400
        assert reply["Obj"].startswith("Backend does not support history")
        for wrong in ({"Time": "x"}, {"Time": -1}, {"GremlinFilter": 3}, [1], "text"):
            reply = await client.sync(wrong)
            assert reply["Status"] == 400, wrong


async def test_sync_with_time_gives_the_graph_as_it_was(tmp_path: Path) -> None:
    store = EmbeddedStore(EmbeddedStore.Settings(path=str(tmp_path)))
    store.open()
    try:
        async with world(history=store) as here, trio.open_nursery() as nursery:
            keeper = HistoryKeeper(here.graph, store)
            await nursery.start(keeper.run)
            here.node("a", MTU=1)
            here.node("b")
            await trio.sleep(0.005)
            then = now_ms()
            await trio.sleep(0.005)
            here.node("a", MTU=2)
            here.probe.drop("b")
            await keeper.flush()
            async with watch(here, headers={"X-Gremlin-Filter": "G.V().Has('Name', 'a').SubGraph()"}) as client:
                await client.sync({"Time": then})
                assert {id: one["Metadata"].get("MTU") for id, one in client.elements.items()} == {"a": 1}
                await client.sync({"Time": then, "GremlinFilter": ""})
                assert client.elements.keys() == {"a", "b"}
                # The subscription itself stays what it was: of the present, with its filter.
                here.node("c")
                here.node("a", MTU=3)
                await client.until(lambda: client.events == [("NodeUpdated", "a")])
            nursery.cancel_scope.cancel()
    finally:
        store.close()


async def test_namespaces_bound_what_the_server_may_send() -> None:
    async with world() as here, watch(here, headers={"X-Websocket-Namespace": "Alert"}) as client:
        here.node("a")
        await trio.sleep(0.05)
        await client.sync()
        assert client.events == []
        assert client.elements.keys() == {"a"}


async def test_bad_messages_are_answered_and_others_passed_over() -> None:
    async with world() as here, watch(here) as client:
        await client.socket.send_message("{")
        assert (await client.receive())["Status"] == 400
        await client.socket.send_message(b"\xff\xfe")
        assert (await client.receive())["Status"] == 400
        await client.send("NodeAdded", {"ID": "x", "Metadata": {"Name": "x", "Type": "device"}})
        await client.send("Whatever", namespace="Flow")
        await client.socket.send_message(json.dumps({"Namespace": "Graph", "Type": "SyncRequest"}).encode())
        assert (await client.receive())["Type"] == "SyncReply"
        assert here.graph.nodes == {}


async def test_a_client_that_falls_behind_gets_the_newest_of_each() -> None:
    graph = Graph(host="here", origin="analyzer.here", with_tids=False)
    async with world(graph=graph) as here, watch(here) as slow, watch(here) as quick:
        filler = "x" * 4096
        for number in range(4000):
            here.node(f"n{number % 40}", Counter=number, Filler=filler)
            if number % 40 == 39:
                gone = f"n{number // 40 % 20}"
                here.probe.drop(gone)
                while (await quick.receive())["Type"] != "NodeDeleted":
                    pass
        expected = await here.answer("G")
        await slow.until(lambda: slow.elements == expected)
        assert slow.messages < 3500
        assert max(one.coalesced for one in here.hub.subscribers.values()) > 0
