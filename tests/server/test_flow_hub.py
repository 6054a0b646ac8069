"""Subscribers of flows: namespaces, both encodings, and clients that do not keep up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio_websocket
from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import WebSocketConnection

from skycore.server.acceptor import Acceptor
from skycore.server.envelope import decode
from skycore.server.flow_hub import FlowHub
from skycore.server.mailbox import Mailbox
from skycore.server.websocket import KeepAlive
from tests.server.conftest import hello
from tests.server.watching import until

STATS = {"CaptureID": "c1", "FlowCount": 3, "PacketsReceived": 7}


def flow(uuid: str, capture: str = "c1", **fields: Any) -> bytes:
    return json.dumps({"UUID": uuid, "CaptureID": capture, **fields}).encode()


class World:
    def __init__(self, **settings: Any) -> None:
        self.hub = FlowHub(host="here", service="analyzer", keep_alive=KeepAlive(0.5, 60), clock=lambda: 1, **settings)
        self.port = 0

    @asynccontextmanager
    async def client(self, *namespaces: str, **headers: str) -> AsyncIterator[WebSocketConnection]:
        sent = {"X-Client-Type": "test", **{name.replace("_", "-"): value for name, value in headers.items()}}
        fields = [(name.encode(), value.encode()) for name, value in sent.items()]
        fields += [(b"X-Websocket-Namespace", namespace.encode()) for namespace in namespaces]
        async with trio_websocket.open_websocket(
            "127.0.0.1", self.port, "/ws/subscriber/flow", use_ssl=False, extra_headers=fields, max_message_size=1 << 30
        ) as socket:
            yield socket


@asynccontextmanager
async def world(**settings: Any) -> AsyncIterator[World]:
    made = World(**settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.hub.run)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(Acceptor(hello, {"/ws/subscriber/flow": made.hub.subscribe}).serve, listeners)
        made.port = listeners[0].socket.getsockname()[1]
        yield made
        nursery.cancel_scope.cancel()


async def receive(socket: WebSocketConnection) -> dict[str, Any]:
    with trio.fail_after(10):
        message: dict[str, Any] = json.loads(await socket.get_message())
    return message


async def test_all_flows_and_statistics_without_a_namespace() -> None:
    async with world() as here, here.client() as socket:
        here.hub.store([flow("1"), flow("2", "c2")])
        message = await receive(socket)
        assert (message["Namespace"], message["Type"], message["Status"]) == ("flow", "store", 200)
        assert [one["UUID"] for one in message["Obj"]] == ["1", "2"]
        here.hub.count(STATS, "n")
        message = await receive(socket)
        assert (message["Namespace"], message["Type"], message["Obj"]) == ("stats", "stats", STATS)
        names = {name.decode().lower(): value.decode() for name, value in socket.handshake_headers}
        assert (names["x-host-id"], names["x-service-type"]) == ("here", "analyzer")


async def test_namespaces_choose_one_capture_or_statistics() -> None:
    async with (
        world() as here,
        here.client("flow/c2") as one,
        here.client("stats") as stats,
        here.client("flow", "flow/c1") as both,
    ):
        here.hub.store([flow("1"), flow("2", "c2"), flow("3", ""), b"no JSON", b'{"CaptureID":"c2"}'])
        here.hub.count(STATS, "n")
        message = await receive(one)
        assert (message["Namespace"], [flow["UUID"] for flow in message["Obj"]]) == ("flow/c2", ["2"])
        assert (await receive(stats))["Type"] == "stats"
        told = [await receive(both), await receive(both)]
        assert {message["Namespace"]: [flow["UUID"] for flow in message["Obj"]] for message in told} == {
            "flow": ["1", "2", "3"],
            "flow/c1": ["1"],
        }


async def test_protobuf_and_compression() -> None:
    async with world() as here, here.client(X_Client_Protocol="protobuf") as socket:
        here.hub.store([flow("1")])
        with trio.fail_after(10):
            message = decode(await socket.get_message(), "protobuf")
        assert (message.namespace, message.type, json.loads(message.obj)[0]["UUID"]) == ("flow", "store", "1")


async def test_a_hundred_flows_a_message_and_each_once() -> None:
    async with world() as here, here.client() as socket:
        here.hub.store([flow(str(number)) for number in range(1234)])
        seen: list[str] = []
        while len(seen) < 1234:
            message = await receive(socket)
            assert len(message["Obj"]) <= 100
            seen += [one["UUID"] for one in message["Obj"]]
        assert seen == [str(number) for number in range(1234)]


async def test_who_cannot_be_served_is_told() -> None:
    async with world() as here:
        async with here.client(X_Client_Type="") as socket:
            with pytest.raises(trio_websocket.ConnectionClosed) as closed, trio.fail_after(10):
                await socket.get_message()
        assert closed.value.reason is not None
        assert "X-Client-Type" in (closed.value.reason.reason or "")
        async with here.client(X_Host_ID="me"):
            with pytest.raises(trio_websocket.ConnectionRejected) as rejected:
                async with here.client(X_Host_ID="me"):
                    pass
            assert rejected.value.status_code == 409
        await until(lambda: not here.hub.clients)


async def test_a_client_that_does_not_read_delays_nobody_and_gets_the_newest_of_each() -> None:
    filling = "x" * 2000
    async with world() as here, here.client(X_Host_ID="slow") as slow, here.client(X_Host_ID="quick") as quick:
        last: dict[str, int] = {}
        got = 0

        async def read() -> None:
            nonlocal got
            while last.get("999", 0) < 39:
                message = await receive(quick)
                last.update({one["UUID"]: one["turn"] for one in message["Obj"]})
                got += len(message["Obj"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            for turn in range(40):
                here.hub.store([flow(str(number), turn=turn, filling=filling) for number in range(1000)])
                goal = turn
                await until(lambda goal=goal: last.get("999", -1) >= goal)  # type: ignore[misc]
        # 80 MB: far beyond what fits into the sockets' buffers.
        mailbox = here.hub.clients["slow"].mailbox
        assert mailbox.coalesced > 10_000
        assert (mailbox.dropped, here.hub.dropped, got) == (0, 0, 40_000)
        seen: dict[str, int] = {}
        while sum(turn == 39 for turn in seen.values()) < 1000:
            for one in (await receive(slow))["Obj"]:
                assert one["turn"] > seen.get(one["UUID"], -1)
                seen[one["UUID"]] = one["turn"]
        assert seen == {str(number): 39 for number in range(1000)}


async def test_what_a_client_will_never_get_it_is_told() -> None:
    async with world(waiting=1000) as here, here.client(X_Host_ID="me") as socket:
        mailbox = here.hub.clients["me"].mailbox
        here.hub.store([flow(str(number)) for number in range(200)])
        messages = [await receive(socket)]
        while messages[-1]["Type"] != "lost":
            messages.append(await receive(socket))
        stored = sum(len(message["Obj"]) for message in messages if message["Type"] == "store")
        assert messages[-1]["Obj"]["Flows"] == mailbox.dropped == 200 - stored > 0


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=30)) | st.none()), st.integers(1, 100))
async def test_a_mailbox_against_a_model(steps: list[tuple[int, bytes] | None], most: int) -> None:
    """None takes two; whatever is put, the newest of each key comes out in the order in which the keys came."""
    mailbox: Mailbox[int] = Mailbox(most)
    model: dict[int, bytes] = {}
    coalesced = dropped = 0
    for step in steps:
        if step is None:
            if model:
                expected = [*model.items()][:2]
                assert await mailbox.take(2) == expected
                for key, _ in expected:
                    del model[key]
            continue
        key, value = step
        mailbox.put(key, value)
        coalesced += key in model
        model[key] = value
        while sum(map(len, model.values())) > most:
            del model[next(iter(model))]
            dropped += 1
    assert (len(mailbox), mailbox.coalesced, mailbox.dropped) == (len(model), coalesced, dropped)
