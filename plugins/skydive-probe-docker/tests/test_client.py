"""The API client, against a real daemon and against servers that misbehave."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from skydive_probe_docker import client as client_module
from skydive_probe_docker.answer import BadAnswer
from skydive_probe_docker.client import DockerClient, SourceLost, parse_url

from skycore.testing.dockerd import Dockerd

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def _server(folder: Path, serve: Serve) -> AsyncIterator[DockerClient]:
    """A server on a unix socket that treats each connection with ``serve``, and a client of it."""
    path = str(folder / "s")
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(path)
        listener.listen()

        async def accept() -> None:
            while True:
                connection, _ = await listener.accept()
                nursery.start_soon(talk, trio.SocketStream(connection))

        async def talk(stream: trio.SocketStream) -> None:
            async with stream:
                await stream.receive_some()
                try:
                    await serve(stream)
                except trio.BrokenResourceError:
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            async with DockerClient(f"unix://{path}") as client:
                yield client
            nursery.cancel_scope.cancel()


def _says(raw: bytes) -> Serve:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.send_all(raw)

    return serve


def _answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///var/run/docker.sock", ("http://docker", "/var/run/docker.sock")),
        ("tcp://127.0.0.1:2375", ("http://127.0.0.1:2375", None)),
        ("http://[::1]:2375/", ("http://[::1]:2375", None)),
    ],
)
def test_urls(url: str, expected: tuple[str, str | None]) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize("url", ["", "docker.sock", "unix://docker.sock", "ftp://x", "tcp://", "tcp://x:1/path"])
def test_wrong_urls_say_what_is_allowed(url: str) -> None:
    with pytest.raises(ValueError, match="it must be unix:///path"):
        parse_url(url)


async def test_a_real_daemon_answers(dockerd: Dockerd) -> None:
    id = await dockerd.acontainer("web", "--label", 'x.y=a "b"\n\x01')
    async with DockerClient(f"unix://{dockerd.socket}") as client:
        server = await client.negotiate()
        assert server.api == "1.41"
        assert server.version.startswith("20.10")
        assert server.now is not None
        assert await client.containers() == [id]
        container = await client.inspect(id)
        assert container is not None
        assert container.metadata["Container"]["Labels"] == {"x": {"y": 'a "b"\n\x01'}}
        assert await client.inspect("nobody") is None
        await dockerd.adocker("kill", "web")
        ended = await client.inspect(id)
        assert ended is not None
        assert ended.pid == 0
        assert await client.containers() == []
        assert await client.containers(stopped=True) == [id]


async def test_a_real_daemon_sends_events_also_of_a_moment_ago(dockerd: Dockerd) -> None:
    async with DockerClient(f"unix://{dockerd.socket}") as client:
        server = await client.negotiate()
        id = await dockerd.acontainer("web")
        assert server.now is not None
        with trio.fail_after(5):
            async with client.events(server.now - 1) as events:
                async for seen in events:
                    if seen == id:
                        break
            async with client.events(None) as events:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(dockerd.adocker, "pause", "web")
                    assert await anext(events) == id
                await dockerd.adocker("unpause", "web")
                assert await anext(events) == id


async def test_the_end_of_the_daemon_ends_its_stream(dockerd: Dockerd) -> None:
    async with DockerClient(f"unix://{dockerd.socket}") as client:
        await client.negotiate()
        with trio.fail_after(5):
            async with client.events(None) as events:
                await trio.to_thread.run_sync(dockerd.kill9)
                try:
                    assert [id async for id in events] == []
                except SourceLost as error:
                    assert "/events: " in str(error)  # noqa: PT017 - a clean end of the stream is as good
            with pytest.raises(SourceLost):
                await client.ping()


async def test_no_daemon_is_a_lost_source(tmp_path: Path) -> None:
    async with DockerClient(f"unix://{tmp_path}/none") as client:
        with pytest.raises(SourceLost, match="/version: "):
            await client.negotiate()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\xff garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000,
        _answer(b"{"),
        _answer(b"[]"),
        _answer(b"null"),
        _answer(b'{"ApiVersion": "1.5"}'),
        _answer(b'{"ApiVersion": "one.two"}'),
        _answer(b'{"ApiVersion": 1.41}'),
        _answer(b'{"ApiVersion": "1.41", "Version": 7}'),
        _answer(b"oops", "500 Internal Server Error"),
        _answer(b"", "302 Found"),
    ],
)
async def test_garbage_is_an_error_that_the_probe_knows(tmp_path: Path, raw: bytes) -> None:
    async with _server(tmp_path, _says(raw)) as client:
        with trio.fail_after(5), pytest.raises((SourceLost, BadAnswer)):
            await client.negotiate()


async def test_a_newer_daemon_is_asked_in_our_version(tmp_path: Path) -> None:
    async with _server(tmp_path, _says(_answer(b'{"ApiVersion": "1.60", "Version": "40"}'))) as client:
        assert (await client.negotiate()).api == "1.47"


@pytest.mark.parametrize("body", [b"{}", b"[1]", b'[{"Id": 5}]', b"[{}]", b'[{"Id": "../../info"}]'])
async def test_a_wrong_list_is_a_bad_answer(tmp_path: Path, body: bytes) -> None:
    async with _server(tmp_path, _says(_answer(body))) as client:
        with pytest.raises(BadAnswer):
            await client.containers()


async def test_a_daemon_that_hangs_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_SECONDS", 0.1)

    async def hang(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await trio.sleep_forever()

    async with _server(tmp_path, hang) as client:
        with trio.fail_after(5), pytest.raises(SourceLost, match="no answer within"):
            await client.negotiate()


async def test_an_endless_answer_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_ANSWER_BYTES", 1 << 16)
    monkeypatch.setattr(client_module, "_EVENT_BYTES", 1 << 16)

    async def pour(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"x" * 4096)

    async with _server(tmp_path, pour) as client:
        with trio.fail_after(5):
            with pytest.raises(BadAnswer, match="more than 65536 bytes"):
                await client.negotiate()
            async with client.events(None) as events:
                with pytest.raises(BadAnswer, match="more than 65536 bytes"):
                    await anext(events)


async def test_events_may_come_in_any_pieces(tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"Actor": {"ID": id}}).encode() + b"\r\n\n" for id in ("a", "b", "c"))

    async def drip(stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        for index in range(len(lines)):
            await stream.send_all(lines[index : index + 1])

    async with _server(tmp_path, drip) as client, client.events(None) as events:
        assert [id async for id in events] == ["a", "b", "c"]


@pytest.mark.parametrize("line", [b"{}\n", b"nonsense\n", b'{"Actor": {"ID": 5}}\n', b'{"Actor": []}\n'])
async def test_a_wrong_event_is_a_bad_answer(tmp_path: Path, line: bytes) -> None:
    async with _server(tmp_path, _says(b"HTTP/1.1 200 OK\r\n\r\n" + line)) as client, client.events(None) as events:
        with pytest.raises(BadAnswer):
            await anext(events)


async def test_events_refused(tmp_path: Path) -> None:
    async with _server(tmp_path, _says(_answer(b"", "403 Forbidden"))) as client:
        with pytest.raises(BadAnswer, match="403"):
            async with client.events(None):
                pass
