"""Both clients against real processes: typed results, streams, objects, subscriptions over restarts."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from skycore.client import (
    DOT,
    Access,
    Change,
    Client,
    Edge,
    EdgeRule,
    Graph,
    Node,
    NodeRule,
    Subscription,
    TrioClient,
    UserMetadata,
)
from skycore.errors import ClientError, RequestRefused
from tests.storage.analyzers import Running, running, started


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("analyzer", tmp_path_factory.mktemp("analyzer")) as made:
        yield made


@pytest.fixture
def client(process: Running) -> Client:
    return process.client


@pytest.fixture
def asynchronous(process: Running) -> TrioClient:
    return TrioClient(process.client.server.address, timeout=20)


def fabric(id: str, name: str = "tor") -> Node:
    return Node(id=id, metadata={"Name": name, "Type": "fabric"})


@contextlib.contextmanager
def nodes(client: Client, *ids: str) -> Iterator[None]:
    for id in ids:
        client.nodes.create(fabric(id))
    try:
        yield
    finally:
        for id in ids:
            client.nodes.delete(id)


def test_typed_results(client: Client) -> None:
    with nodes(client, "one", "two"):
        edge = client.edges.create(Edge(id="e", parent="one", child="two", metadata={"RelationType": "layer2"}))
        assert (edge.parent, edge.child, edge.relation, edge.revision) == ("one", "two", "layer2", 1)
        found = client.query("G.V().Has('Type', 'fabric').Sort('@ID')", list[Node])
        assert [(node.id, node.name, node.type, node.deleted_at) for node in found] == [
            ("one", "tor", "fabric", None),
            ("two", "tor", "fabric", None),
        ]
        (whole,) = client.query("G", list[Graph])
        assert {node.id for node in whole.nodes} == {node.id for node in client.graph().nodes}
        assert [one.id for one in client.graph().edges] == ["e"]
        assert client.query("G.V().Has('Name', 'nobody')", list[Node]) == []
        assert client.query("G.V().Count()", int) == len(whole.nodes)
        assert client.query("") is None
        assert b"digraph" in client.query_text("G", DOT)
        assert list(client.stream("G.V().Values('@ID')")) == [node.id for node in whole.nodes]
        assert list(client.stream("G.V()", Node)) == list(whole.nodes)
        with pytest.raises(ClientError, match="something unexpected"):
            client.query("G.V().Count()", list[Node])
        with pytest.raises(ClientError, match="no JSON list"):
            list(client.stream("G.V().Count()"))
        with pytest.raises(RequestRefused, match=r"^400 Bad Request: Expected step function"):
            list(client.stream("G.nothing()"))
    assert client.graph().edges == ()


@pytest.mark.parametrize("id", ["plain", "a/b c", "ü?#%2F", "..%2f", "é日"])
def test_objects_from_create_to_delete(client: Client, id: str) -> None:
    made = client.nodes.create(fabric(id))
    assert (made.id, made.origin, made.revision) == (id, "api.box", 1)
    assert client.nodes.get(id) == made
    assert client.nodes.list()[id] == made
    patch = [{"op": "add", "path": "/Metadata/Rack", "value": {"Row": 7}}]
    changed = client.nodes.patch(id, patch)
    assert changed is not None
    assert changed.metadata["Rack"] == {"Row": 7}
    assert client.nodes.patch(id, patch) is None
    client.nodes.delete(id)
    for attempt, verb in ((client.nodes.get, "get"), (client.nodes.delete, "delete")):
        with pytest.raises(RequestRefused) as refused:
            attempt(id)
        assert str(refused.value) == f"Failed to {verb} node, 404 Not Found: Node '{id}' not found"
        assert (refused.value.status, refused.value.text) == (404, f"Node '{id}' not found")
    with pytest.raises(RequestRefused, match=r"^Failed to update node, 404 Not Found: $"):
        client.nodes.patch(id, patch)


def test_rules_and_user_metadata(process: Running, client: Client) -> None:
    rule = client.node_rules.create(NodeRule(action="create", name="r", metadata={"Name": "tor9", "Type": "fabric"}))
    assert client.node_rules.get(rule.uuid) == rule
    process.until(lambda: client.query("G.V().Has('Name', 'tor9').Count()", int) == 1)
    with nodes(client, "end"):
        link = client.edge_rules.create(
            EdgeRule(src="G.V('end')", dst="G.V().Has('Name','tor9')", metadata={"RelationType": "layer2"})
        )
        data = client.user_metadata.create(UserMetadata(gremlin="G.V('end')", key="Owner", value=["me", 1]))
        assert client.edge_rules.list() == {link.uuid: link}
        assert client.user_metadata.list() == {data.uuid: data}
        process.until(lambda: client.nodes.get("end").metadata.get("UserMetadata") == {"Owner": ["me", 1]})
        with pytest.raises(RequestRefused, match=r"^Failed to create usermetadata, 409 Conflict: Duplicate"):
            client.user_metadata.create(UserMetadata(gremlin="G.V('end')", key="Owner", value=["me", 1]))
        client.edge_rules.delete(link.uuid)
        client.user_metadata.delete(data.uuid)
    client.node_rules.delete(rule.uuid)
    short = client.node_rules.create(NodeRule(action="create", metadata={"Name": "n", "Type": "t"}), ttl="1h")
    client.node_rules.delete(short.uuid)
    with pytest.raises(RequestRefused, match="invalid ttl"):
        client.node_rules.create(NodeRule(action="create", metadata={"Name": "n", "Type": "t"}), ttl="soon")


async def test_the_same_in_trio(client: Client, asynchronous: TrioClient) -> None:
    with nodes(client, "one", "two"):
        assert await asynchronous.graph() == client.graph()
        query = "G.V().Has('Type', 'fabric')"
        assert await asynchronous.query(query, list[Node]) == client.query(query, list[Node])
        assert await asynchronous.query("") is None
        assert (await asynchronous.status()).keys() == client.status().keys()
        assert await asynchronous.query_text(query) == client.query_text(query)
        async with contextlib.aclosing(asynchronous.stream("G.V()", Node)) as stream:  # type: ignore[type-var]
            assert [node async for node in stream] == list(client.graph().nodes)
        made = await asynchronous.node_rules.create(NodeRule(action="create", metadata={"Name": "x", "Type": "y"}))
        assert await asynchronous.node_rules.get(made.uuid) == made
        assert made.uuid in await asynchronous.node_rules.list()
        await asynchronous.node_rules.delete(made.uuid)
        with pytest.raises(RequestRefused, match=r"^Failed to get noderule, 404 Not Found: NodeRule"):
            await asynchronous.node_rules.get(made.uuid)
        assert await asynchronous.nodes.patch("one", []) is None
        with pytest.raises(RequestRefused, match="Expected step function"):
            await asynchronous.query("G.nothing()")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "no complete HTTP answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no complete HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", "no complete HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{", "no JSON"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "something unexpected"),
        (b"HTTP/1.1 599 \x1b[31m\r\nContent-Length: 1\r\n\r\nx", "^599: x$"),
        (None, "no complete answer within"),
    ],
)
async def test_a_bad_answer_in_trio(answer: bytes | None, words: str, nursery: trio.Nursery) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            if answer is None:
                await trio.sleep_forever()
            else:
                await stream.send_all(answer)

    listeners: list[trio.SocketListener] = await nursery.start(_serve_tcp, serve)
    address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    with pytest.raises(ClientError, match=words):
        await TrioClient(address, timeout=1 if answer is None else 20).status()
    with pytest.raises(ClientError):
        await first_event(TrioClient(address, timeout=1))
    nursery.cancel_scope.cancel()


async def _serve_tcp(handler: Any, task_status: trio.TaskStatus[Any]) -> None:
    await trio.serve_tcp(handler, 0, host="127.0.0.1", task_status=task_status)


async def test_nobody_listens_in_trio() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ClientError, match=f"cannot reach {address}: Connection refused"):
        await TrioClient(address).status()
    with pytest.raises(ClientError, match=f"cannot reach {address}: Connection refused"):
        await first_event(TrioClient(address))
    with pytest.raises(ClientError, match="Connection refused"):
        await TrioClient(address).publish([])


async def first_event(client: TrioClient, gremlin: str = "") -> object:
    async with client.subscribe(gremlin) as subscription:
        return await subscription.__anext__()


async def take(subscription: Subscription, until: str) -> list[str]:
    """What was told until there was something of this kind, in short."""
    told = []
    with trio.fail_after(30):
        async for event in subscription:
            if isinstance(event, Change):
                told.append(f"{event.what} {event.element.id}")
            else:
                told.append(type(event).__name__)
            if told[-1] == until:
                return told
    raise AssertionError(told)


async def test_following_a_filter(client: Client, asynchronous: TrioClient) -> None:
    with nodes(client, "one"):
        async with asynchronous.subscribe("G.V().Has('Type', 'fabric').SubGraph()") as subscription:
            assert await take(subscription, "Synced") == ["added one", "Synced"]
            assert list(subscription.elements) == ["one"]
            await asynchronous.nodes.create(fabric("two"))
            assert await take(subscription, "added two") == ["added two"]
            await asynchronous.nodes.patch("two", [{"op": "add", "path": "/Metadata/Rack", "value": 1}])
            assert await take(subscription, "updated two") == ["updated two"]
            edge = Edge(id="e", parent="one", child="two", metadata={"RelationType": "layer2"})
            await asynchronous.edges.create(edge)
            assert await take(subscription, "added e") == ["added e"]
            await asynchronous.nodes.delete("two")
            assert await take(subscription, "deleted two") == ["deleted e", "deleted two"]


@pytest.mark.parametrize(("filter", "words"), [("G.V()", "did not return a graph"), ("G.x", "Expected step function")])
async def test_a_filter_that_is_refused(asynchronous: TrioClient, filter: str, words: str) -> None:
    with pytest.raises(ClientError, match=words):
        await first_event(asynchronous, filter)


async def test_leaving_by_an_error_of_ones_own(asynchronous: TrioClient) -> None:
    async def leave() -> None:
        async with asynchronous.subscribe():
            raise KeyError

    with pytest.raises(KeyError):
        await leave()


async def test_publishing(client: Client, asynchronous: TrioClient) -> None:
    bad = Node(id="bad", metadata={"Name": "bad"})
    edge = Edge(id="e", parent="p1", child="p2", metadata={"RelationType": "layer2"})
    refused = await asynchronous.publish([edge, fabric("p1"), bad, fabric("p2")], host="here")
    assert [(one.element.id, one.reason) for one in refused] == [
        ("bad", "Metadata.Type is required: a string that is not empty")
    ]
    assert client.nodes.get("p1").origin == "skycore.here"
    assert client.edges.get("e").origin == "skycore.here"
    with pytest.raises(RequestRefused, match=r"404"):
        await asynchronous.publish([], path="/ws/nothing")


async def test_a_restart_is_made_up_for(tmp_path: Path) -> None:
    """What happened while the connection was lost is told as changes from what was known."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    settings: dict[str, Any] = {"analyzer": {"listen": address}}
    client = TrioClient(address, timeout=20)

    async def ready(process: Running) -> None:
        def answers() -> bool:
            try:
                return bool(process.client.status())
            except ClientError:
                return False

        await trio.to_thread.run_sync(process.until, answers)

    with started("analyzer", tmp_path, **settings) as process:
        await ready(process)
        for id in ("stays", "changes", "goes"):
            await client.nodes.create(fabric(id))
        async with client.subscribe() as subscription:
            assert sorted((await take(subscription, "Synced"))[:-1]) == ["added changes", "added goes", "added stays"]
            await trio.to_thread.run_sync(process.end)
            assert await take(subscription, "Lost") == ["Lost"]
            with started("analyzer", tmp_path, **settings) as again:
                await ready(again)
                told = await take(subscription, "Synced")
                await client.nodes.delete("goes")
                await client.nodes.create(fabric("comes"))
                told += await take(subscription, "added comes")
                again.popen.kill()
                assert await take(subscription, "Lost") == ["Lost"]
            assert "added stays" not in told
            assert told[-2:] == ["deleted goes", "added comes"]


async def test_a_user_who_may_not(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "auth": {"people": {"type": "basic", "users": {"admin": "right", "bob": "word"}}},
        "rbac": {"policy": ["g, bob, guest"]},
        "analyzer": {"listen": "127.0.0.1:0", "auth": {"api": {"backend": "people"}}},
    }
    with started("analyzer", tmp_path, **settings) as process:

        def address() -> str:
            return next((line["listen"][0] for line in process.log() if line["event"] == "analyzer is running"), "")

        where = await trio.to_thread.run_sync(process.until, address)
        admin = TrioClient(where, access=Access(username="admin", password="right"))
        bob = TrioClient(where, access=Access(username="bob", password="word"))
        nobody = TrioClient(where, access=Access())
        await admin.nodes.create(fabric("one"))
        async with bob.subscribe() as subscription:
            assert await take(subscription, "Synced") == ["added one", "Synced"]
        with pytest.raises(RequestRefused, match=r"^Failed to connect, 403 Forbidden"):
            await bob.publish([fabric("x")])
        assert await admin.publish([fabric("x")]) == []
        with pytest.raises(RequestRefused, match=r"405 Method Not Allowed: 'bob' has no 'write' permission on 'node'"):
            await bob.nodes.delete("one")
        with pytest.raises(RequestRefused, match=r"^401 Unauthorized: No credentials provided; give a user"):
            await nobody.graph()
        with pytest.raises(RequestRefused, match=r"^Failed to connect, 401 Unauthorized"):
            await first_event(nobody)
