"""The OVSDB client against a real server and against servers that misbehave; addresses."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from skydive_probe_ovsdb import client as client_module
from skydive_probe_ovsdb.address import Address, connect, parse
from skydive_probe_ovsdb.client import OvsdbClient, Update, connected
from skydive_probe_ovsdb.errors import BadAnswer, SourceLost
from skydive_probe_ovsdb.rows import Rows

from skycore.testing.openvswitch import OpenVSwitch

Serve = Callable[[trio.SocketStream], Awaitable[None]]
COLUMNS = {"Bridge": ["name", "external_ids", "ports"]}


@asynccontextmanager
async def _server(folder: Path, serve: Serve) -> AsyncIterator[Address]:
    """A server on a unix socket that treats each connection with ``serve``."""
    path = folder / "s"
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen()

        async def accept() -> None:
            while True:
                connection, _ = await listener.accept()
                nursery.start_soon(talk, trio.SocketStream(connection))

        async def talk(stream: trio.SocketStream) -> None:
            async with stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await serve(stream)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            yield Address(path=str(path))
            nursery.cancel_scope.cancel()


def _says(*pieces: bytes) -> Serve:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        for piece in pieces:
            await stream.send_all(piece)

    return serve


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:///var/run/openvswitch/db.sock", Address(path="/var/run/openvswitch/db.sock")),
        ("unix:/run/db.sock", Address(path="/run/db.sock")),
        ("tcp://127.0.0.1:6640", Address(host="127.0.0.1", port=6640)),
        ("tcp:127.0.0.1:6640", Address(host="127.0.0.1", port=6640)),
        ("127.0.0.1:6640", Address(host="127.0.0.1", port=6640)),
        ("tcp:[::1]:6640", Address(host="::1", port=6640)),
        ("ssl:switch:6653", Address(host="switch", port=6653, tls=True)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "db.sock", "unix://db.sock", "tcp://x", "tcp://x:0", "x:99999", "tcp://a:b:1", "http://x:1"]
)
def test_wrong_addresses_say_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="it must be unix:///path"):
        parse(text)


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(SourceLost, match="cannot connect: No such file"):
        await connect(Address(path=str(tmp_path / "none")))


async def _first(updates: AsyncIterator[Update]) -> Update:
    return await anext(updates)


async def test_a_real_server_tells_all_and_each_change(ovs: OpenVSwitch) -> None:
    ovs.bridge("br0", "external_ids:a=1")
    async with connected(parse(f"unix://{ovs.socket}")) as client:
        schema = await client.schema()
        columns = {"Bridge": {name: schema["Bridge"][name] for name in COLUMNS["Bridge"]}}
        rows = Rows(columns)
        updates = client.monitor(COLUMNS)
        first = await _first(updates)
        assert first.complete
        rows.apply(first)
        ((uuid, row),) = rows.tables["Bridge"].items()
        assert (row["name"], row["external_ids"]) == ("br0", {"a": "1"})
        await ovs.avsctl("set", "bridge", "br0", 'external_ids:b="x y"')
        while rows.tables["Bridge"][uuid]["external_ids"] != {"a": "1", "b": "x y"}:
            rows.apply(await _first(updates))
        await ovs.avsctl("del-br", "br0")
        while rows.tables["Bridge"]:
            rows.apply(await _first(updates))


async def test_an_unknown_column_is_refused_by_its_name(ovs: OpenVSwitch) -> None:
    async with connected(parse(f"unix://{ovs.socket}")) as client:
        with pytest.raises(SourceLost, match=r"refused.*no_such_column"):
            await _first(client.monitor({"Bridge": ["no_such_column"]}))


@pytest.mark.parametrize("oldest", ["monitor_cond_since", "monitor_cond", "monitor"])
async def test_servers_of_every_age(tmp_path: Path, oldest: str) -> None:
    """A server that knows the methods up to ``oldest`` only, asks for echoes, and speaks before it answers."""
    order = ["monitor", "monitor_cond", "monitor_cond_since"]
    known = order[: order.index(oldest) + 1]
    row = {"initial": {"name": "br0"}} if oldest != "monitor" else {"new": {"name": "br0"}}
    result: Any = {"Bridge": {"u": row}}
    answer = [False, "t1", result] if oldest == "monitor_cond_since" else result
    change = {"Bridge": {"u": {"delete": None} if oldest != "monitor" else {"old": {"name": "br0"}}}}
    echoed = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        decoder, buffer = json.JSONDecoder(), ""
        while data := await stream.receive_some():
            buffer += data.decode()
            while buffer:
                message, end = decoder.raw_decode(buffer)
                buffer = buffer[end:]
                if message["method"] is None or "result" in message:
                    continue
                if message["method"] not in known:
                    reply = {"id": message["id"], "result": None, "error": {"error": "unknown method"}}
                    await stream.send_all(json.dumps(reply).encode())
                    continue
                await stream.send_all(json.dumps({"id": "echo", "method": "echo", "params": [7]}).encode())
                await stream.send_all(json.dumps({"id": message["id"], "result": answer, "error": None}).encode())
                method = {"monitor": "update", "monitor_cond": "update2", "monitor_cond_since": "update3"}[oldest]
                params = ["skycore", "t2", change] if method == "update3" else ["skycore", change]
                await stream.send_all(json.dumps({"id": None, "method": method, "params": params}).encode())
                while "echo" not in buffer:
                    buffer += (await stream.receive_some()).decode()
                message, end = decoder.raw_decode(buffer)
                assert message == {"id": "echo", "result": [7], "error": None}
                buffer = buffer[end:]
                echoed.set()

    async with _server(tmp_path, serve) as address, connected(address) as client:
        updates = client.monitor(COLUMNS)
        first, second = await _first(updates), await _first(updates)
        assert first.complete
        assert dict(first.rows) == result
        assert dict(second.rows) == change
        assert first.method == second.method == ("update" if oldest == "monitor" else "update2")
        assert second.last == ("t2" if oldest == "monitor_cond_since" else "")
        await echoed.wait()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a JSON object was expected"),
        (b'{"id": 1, "result": {"tables": ', "closed the connection"),
        (b"", "closed the connection"),
        (b'{"id": 1, "result": [1, 2, }', "cannot be read"),
        (b'{"id": 1, "result": "\xff"}', "cannot be read"),
        (b'{"id": 1, "result": {"tables": 7}, "error": null}', "schema"),
        (b'{"id": 1, "result": null, "error": "no"}', "get_schema was refused: no"),
        (b'{"id": 1, "result": ' + b"[" * 100_000 + b"}", "cannot be read"),
    ],
)
async def test_nonsense_is_named(tmp_path: Path, said: bytes, reason: str) -> None:
    async with _server(tmp_path, _says(said)) as address, connected(address) as client:
        with pytest.raises(SourceLost, match=reason):
            await client.schema()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.binary(min_size=1) | st.sampled_from([b"{", b"}", b'{"method":"update2","params":', b'[1,{"Bridge":3}]'])
    )
)
async def test_garbage_ends_in_a_lost_source(pieces: list[bytes]) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def serve() -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for piece in pieces:
                await theirs.send_all(piece)
            await theirs.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        client = OvsdbClient(ours)
        with pytest.raises(SourceLost):
            await _first(client.monitor(COLUMNS))
        await ours.aclose()
        await theirs.aclose()


async def test_a_server_that_hangs_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.05)

    async def hang(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with _server(tmp_path, hang) as address, connected(address) as client:
        with pytest.raises(SourceLost, match="no answer to get_schema within"):
            await client.schema()


async def test_a_frozen_server_is_asked_and_lost(ovs: OpenVSwitch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(client_module, "IDLE_SECONDS", 0.1)
    async with connected(parse(f"unix://{ovs.socket}")) as client:
        updates = client.monitor(COLUMNS)
        await _first(updates)
        with trio.move_on_after(0.5):
            # Echoes keep a silent server alive.
            await _first(updates)
            raise AssertionError("nothing has changed")
        updates = client.monitor(COLUMNS)
        ovs.freeze()
        try:
            with pytest.raises(SourceLost, match=r"no answer to .* within 0.2 s"):
                await _first(updates)
        finally:
            ovs.thaw()


async def test_the_wrong_database_is_refused(tmp_path: Path) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b'{"id": 1, "error": null, "result": ["a list"]}')

    async with _server(tmp_path, serve) as address, connected(address) as client:
        with pytest.raises(BadAnswer):
            await client.schema()
