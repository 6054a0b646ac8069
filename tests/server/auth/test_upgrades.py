"""WebSockets behind the gate: refused before the upgrade, and closed with their session."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio_websocket

from skycore.errors import WebSocketClosed
from skycore.server.auth.guard import Guard
from skycore.server.auth.upgrades import cluster_guarded, guarded
from skycore.server.upgrade import UpgradeRequest
from tests.server.auth.conftest import Directory, basic, post
from tests.server.conftest import Serve, Server

TOKEN = "a token that agents and analyzers share"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def echo(request: UpgradeRequest) -> None:
    socket = await request.accept()
    try:
        while True:
            await socket.send(await socket.receive())
    except WebSocketClosed:
        pass


@pytest.fixture
def server(serve: Serve, guard: Guard) -> Server:
    upgrades = guarded({"/ws/subscriber": echo, "/ws/publisher": echo, "/ws/odd": echo}, guard)
    links = cluster_guarded(echo, guard, token=TOKEN)
    return serve(upgrades={**upgrades, "/ws/cluster": links})


async def answer(server: Server, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """The status of a handshake, and the text of a refusal; one that succeeds is tried with a message."""
    client = await server.connect()
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    refused: list[trio_websocket.ConnectionRejected] = []
    try:
        async with trio.open_nursery() as nursery:
            socket = await trio_websocket.wrap_client_stream(nursery, client.stream, "h", path, extra_headers=sent)  # type: ignore[arg-type]
            await socket.send_message("hello")
            assert await socket.get_message() == "hello"
            nursery.cancel_scope.cancel()
    except* trio_websocket.ConnectionRejected as group:
        refused += [each for each in group.exceptions if isinstance(each, trio_websocket.ConnectionRejected)]
    if refused:
        return refused[0].status_code, (refused[0].body or b"").decode().strip()
    return 101, ""


ROOT, BOB = {"Authorization": basic("root", "root's")}, {"Authorization": basic("bob", "bob's")}


@pytest.mark.parametrize(
    ("path", "headers", "status", "text"),
    [
        ("/ws/subscriber", {}, 401, "No credentials provided"),
        ("/ws/subscriber", {"Authorization": "Basic"}, 401, "Wrong credentials"),
        ("/ws/subscriber", {"Authorization": basic("bob", "x")}, 401, "Wrong credentials"),
        ("/ws/subscriber", BOB, 101, ""),
        ("/ws/subscriber?x-auth-token=nonsense", {}, 401, "Wrong credentials"),
        ("/ws/publisher", BOB, 403, "'bob' has no permission on websocket '/ws/publisher'"),
        ("/ws/publisher", ROOT, 101, ""),
        ("/ws/odd", ROOT, 403, "'root' has no permission on websocket '/ws/odd'"),
        ("/ws/cluster", {}, 401, "No credentials provided"),
        ("/ws/cluster", {"Authorization": f"Bearer {TOKEN}x"}, 401, "Wrong credentials"),
        ("/ws/cluster", {"Authorization": f"Bearer {TOKEN}"}, 101, ""),
        ("/ws/cluster", BOB, 101, ""),
    ],
)
async def test_who_is_let_in(
    server: Server, noted: list[dict[str, Any]], path: str, headers: dict[str, str], status: int, text: str
) -> None:
    assert await answer(server, path, headers) == (status, text)
    lines = [line for line in noted if line["event"] == "access"]
    told = [(line["object"], line["action"], line["status"]) for line in lines]
    # Links of agents have a line of their own.
    links = status == 101 and path == "/ws/cluster"
    assert told == ([] if links else [("websocket", path.partition("?")[0], status)])
    assert TOKEN not in str(noted)


async def test_the_agent_of_this_process_needs_no_credentials(server: Server) -> None:
    ours, theirs = trio.socket.socketpair()
    client = server.join((trio.SocketStream(ours), trio.SocketStream(theirs)))
    async with trio.open_nursery() as nursery:
        socket = await trio_websocket.wrap_client_stream(nursery, client.stream, "h", "/ws/cluster")  # type: ignore[arg-type]
        await socket.send_message("hello")
        assert await socket.get_message() == "hello"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("end", ["logout", "time"])
async def test_a_websocket_ends_with_its_session(
    serve: Serve, directory: Directory, guard: Guard, end: str, autojump_clock: trio.testing.MockClock
) -> None:
    logged_in = await guard.login(post("/login", b"username=bob&password=bob%27s", FORM))
    token = logged_in.headers["set-cookie"].partition(";")[0]
    server = serve(upgrades=guarded({"/ws/subscriber": echo}, guard))
    client = server.memory()
    async with trio.open_nursery() as nursery:
        socket = await trio_websocket.wrap_client_stream(
            nursery,
            client.stream,  # type: ignore[arg-type]
            "h",
            "/ws/subscriber",
            extra_headers=[(b"Cookie", token.encode())],
        )
        await socket.send_message("hello")
        assert await socket.get_message() == "hello"
        if end == "logout":
            await guard.logout(post("/logout", b"", {"Cookie": token}))
        with pytest.raises(trio_websocket.ConnectionClosed) as closed:
            await socket.get_message()
        assert closed.value.reason is not None
        assert (closed.value.reason.code, closed.value.reason.reason) == (1008, "the session has ended; log in again")
        nursery.cancel_scope.cancel()
