"""The WebSocket side: handshake, frames, closing, keep-alive, slow peers."""

from __future__ import annotations

import base64
import contextlib
import struct
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing
import trio_websocket
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, Message, TextMessage

from skycore.errors import Refusal, WebSocketClosed
from skycore.server.upgrade import UpgradeRequest
from skycore.server.websocket import KeepAlive, WebSocket, encode_frame

if TYPE_CHECKING:
    from tests.server.conftest import Serve

Log = list[dict[str, Any]]
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
FIN_TEXT, FIN_BINARY, TEXT, MORE, LAST, CLOSE, PING, PONG = 0x81, 0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8A


def masked(first: int, payload: bytes = b"", mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A frame as a client sends it."""
    size = len(payload)
    head = bytes((first, 0x80 | size)) if size < 126 else struct.pack("!BBQ", first, 0x80 | 127, size)
    if 126 <= size < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    repeated = mask * (size // 4 + 1)
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[:size], "big")
    return head + mask + mixed.to_bytes(size, "big")


async def echo(request: UpgradeRequest) -> None:
    socket = await request.accept([("X-Host-ID", "analyzer-1"), ("X-Service-Type", "analyzer")])
    while True:
        await socket.send(await socket.receive())


class Recorder:
    """A handler that notes what it receives and how it ended."""

    def __init__(self, keep_alive: KeepAlive | None = None) -> None:
        self.keep_alive = keep_alive
        self.messages: list[str | bytes] = []
        self.accepted = trio.Event()
        self.ended = trio.Event()
        self.error: WebSocketClosed | None = None
        self.socket: WebSocket | None = None

    async def __call__(self, request: UpgradeRequest) -> None:
        self.socket = await request.accept(keep_alive=self.keep_alive)
        self.accepted.set()
        try:
            while True:
                self.messages.append(await self.socket.receive())
        except WebSocketClosed as error:
            self.error = error
            raise
        finally:
            self.ended.set()


async def test_an_independent_client_talks_over_tcp(serve: Serve, logged: Log) -> None:
    server = serve(upgrades={"/ws": echo})
    await server.connect()
    url = f"ws://127.0.0.1:{server.port}/ws?x=1"
    async with trio_websocket.open_websocket_url(url, max_message_size=4 << 20) as client:
        headers = {name.lower(): value for name, value in client.handshake_headers}
        assert headers[b"x-host-id"] == b"analyzer-1"
        assert headers[b"x-service-type"] == b"analyzer"
        for message in ("text é", b"\x00\xff", "", b"", "x" * 200, b"y" * 70000, "z" * 3_000_000):
            await client.send_message(message)
            assert await client.get_message() == message
        await client.ping(b"mine")
    assert client.closed is not None
    assert client.closed.code == 1000
    assert logged == []


async def test_an_independent_client_talks_over_a_stream_pair(serve: Serve, nursery: trio.Nursery) -> None:
    far, near = trio.testing.memory_stream_pair()
    nursery.start_soon(serve(upgrades={"/ws": echo}).acceptor.serve_connection, near)
    client = await trio_websocket.wrap_client_stream(nursery, cast(Any, far), "agent", "/ws")
    await client.send_message("hello")
    assert await client.get_message() == "hello"
    await client.aclose()


async def test_the_handshake_answers_as_rfc_6455_shows(serve: Serve) -> None:
    client = await serve(upgrades={"/ws": echo}).connect()
    head = await client.upgrade(HANDSHAKE)
    assert head.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert "Upgrade: websocket\r\n" in head
    assert "Connection: Upgrade\r\n" in head


async def test_compression_and_subprotocols_are_declined(serve: Serve) -> None:
    client = await serve(upgrades={"/ws": echo}).connect()
    offer = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: chat\r\n"
    await client.send(HANDSHAKE[:-2] + offer + b"\r\n")
    head = (await client.read_until(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 101")
    assert b"sec-websocket-extensions" not in head
    assert b"sec-websocket-protocol" not in head
    await client.send(masked(FIN_TEXT | 0x40, b"compressed"))
    assert await client.close_code() == 1002


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Upgrade: websocket\r\n", b"", 426),
        (b"Upgrade: websocket", b"Upgrade: h2c", 426),
        (b"keep-alive, Upgrade", b"keep-alive", 426),
        (b"HTTP/1.1", b"HTTP/1.0", 426),
        (b"Version: 13", b"Version: 8", 426),
        (b"Sec-WebSocket-Version: 13\r\n", b"", 400),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", 400),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZQ==", 400),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"no base64 at all", 400),
        (b"GET", b"POST", 405),
        (b"Host: x\r\n", b"Host: x\r\nContent-Length: 1\r\n", 400),
        (b"Host: x\r\n", b"", 400),
    ],
)
async def test_a_wrong_handshake_is_refused(serve: Serve, logged: Log, old: bytes, new: bytes, status: int) -> None:
    recorder = Recorder()
    client = await serve(upgrades={"/ws": recorder}).connect()
    assert old in HANDSHAKE
    await client.send(HANDSHAKE.replace(old, new, 1))
    answered, headers, body = await client.response()
    assert answered == status
    assert body
    assert await client.read_all() == b""
    if status == 426:
        assert headers["sec-websocket-version"] == "13"
        assert headers["upgrade"] == "websocket"
    assert not recorder.accepted.is_set()
    assert logged == []


async def test_other_paths_go_to_the_application(serve: Serve) -> None:
    client = await serve(upgrades={"/ws": echo}).connect()
    await client.send(HANDSHAKE.replace(b"/ws", b"/other"))
    assert (await client.response())[2] == b"/other"
    assert (await client.get("/ws/"))[2] == b"/ws/"


@pytest.mark.parametrize("status", [401, 403, 404, 409])
async def test_a_handler_refuses_before_the_upgrade(serve: Serve, logged: Log, status: int) -> None:
    seen: list[UpgradeRequest] = []

    async def handler(request: UpgradeRequest) -> None:
        seen.append(request)
        raise Refusal(status, "not you", [("WWW-Authenticate", "Basic"), ("X-Echo", "a\r\nX-Injected: b")])

    client = await serve(upgrades={"/ws": handler}).connect()
    await client.send(
        HANDSHAKE.replace(b"/ws", b"/ws?x-host-id=h%201&n=a&n=b").replace(b"Host: x", b"Host: x\r\nX-A: b")
    )
    answered, headers, body = await client.response()
    assert (answered, headers["www-authenticate"], body) == (status, "Basic", b"not you\n")
    assert await client.read_all() == b""
    assert headers["x-echo"] == "a  X-Injected: b"
    (request,) = seen
    assert request.path == "/ws"
    assert request.query["x-host-id"] == "h 1"
    assert request.query.getlist("n") == ["a", "b"]
    assert request.headers["x-a"] == "b"
    assert request.client is not None
    assert request.client[0] == "127.0.0.1"
    assert logged == []


async def test_a_handler_that_fails_before_the_upgrade_is_500(serve: Serve, logged: Log) -> None:
    async def raises(request: UpgradeRequest) -> None:
        raise ValueError("mine")

    async def forgets(request: UpgradeRequest) -> None:
        pass

    async def bad_header(request: UpgradeRequest) -> None:
        await request.accept([("X-A", "b\r\nc")])

    server = serve(upgrades={"/raises": raises, "/forgets": forgets, "/header": bad_header})
    for count, path in enumerate((b"/raises", b"/forgets", b"/header"), 1):
        client = await server.connect()
        await client.send(HANDSHAKE.replace(b"/ws", path))
        assert (await client.response())[0] == 500
        assert len(logged) == count


async def test_a_handler_that_fails_later_closes_with_1011(serve: Serve, logged: Log) -> None:
    async def handler(request: UpgradeRequest) -> None:
        socket = await request.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise ValueError(await socket.receive())

    client = await serve(upgrades={"/ws": handler}).connect()
    await client.upgrade(HANDSHAKE)
    await client.send(masked(FIN_TEXT, b"go"))
    assert await client.close_code() == 1011
    assert len(logged) == 1
    assert logged[0]["path"] == "/ws"


async def test_a_handler_that_returns_closes_with_1000(serve: Serve) -> None:
    async def handler(request: UpgradeRequest) -> None:
        await request.accept()

    client = await serve(upgrades={"/ws": handler}).connect()
    await client.upgrade(HANDSHAKE)
    assert await client.close_code() == 1000
    await client.send(masked(FIN_TEXT, b"late") + masked(CLOSE, b"\x03\xe8"))
    assert await client.read_all() == b""


async def test_a_handler_is_cancelled_when_the_peer_leaves_before_the_upgrade(serve: Serve, logged: Log) -> None:
    called, cancelled = trio.Event(), trio.Event()

    async def handler(request: UpgradeRequest) -> None:
        called.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    client = await serve(upgrades={"/ws": handler}).connect()
    await client.send(HANDSHAKE)
    with trio.fail_after(5):
        await called.wait()
        await client.stream.aclose()
        await cancelled.wait()
    assert logged == []


async def test_frames_right_behind_the_handshake_are_not_lost(serve: Serve) -> None:
    client = await serve(upgrades={"/ws": echo}).connect()
    await client.send(HANDSHAKE + masked(FIN_TEXT, b"early") + masked(FIN_TEXT, b"bird"))
    await client.read_until(b"\r\n\r\n")
    assert [await client.frame(), await client.frame()] == [(FIN_TEXT, b"early"), (FIN_TEXT, b"bird")]


async def test_fragments_are_joined_and_pings_between_them_answered(serve: Serve) -> None:
    client = await serve(upgrades={"/ws": echo}).connect()
    await client.upgrade(HANDSHAKE)
    word = "añb".encode()
    frames = masked(TEXT, word[:2]) + masked(PING, b"are you there") + masked(MORE) + masked(LAST, word[2:])
    for byte in frames:
        await client.send(bytes((byte,)))
    assert await client.frame() == (PONG, b"are you there")
    assert await client.frame() == (FIN_TEXT, word)
    await client.send(masked(0x02, b"\xff") + masked(MORE, b"\xfe") * 1000 + masked(LAST, b""))
    assert await client.frame() == (FIN_BINARY, b"\xff" + b"\xfe" * 1000)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (masked(FIN_TEXT, b"\xff"), 1007),
        (masked(TEXT, b"\xc3") + masked(LAST, b"\x28"), 1007),
        (masked(FIN_TEXT, b"\xed\xa0\x80"), 1007),
        (encode_frame(b"unmasked", text=True), 1002),
        (masked(0x83, b"reserved opcode"), 1002),
        (masked(0x8B), 1002),
        (masked(FIN_TEXT | 0x20, b"reserved bit"), 1002),
        (masked(LAST, b"continues nothing"), 1002),
        (masked(TEXT, b"a") + masked(FIN_TEXT, b"b"), 1002),
        (masked(PING, bytes(126)), 1002),
        (masked(0x09, b"fragmented ping"), 1002),
        (masked(CLOSE, b"\x03"), 1002),
        (masked(CLOSE, b"\x03\xed"), 1002),
        (masked(CLOSE, b"\x03\xe8\xff"), 1007),
        (b"\x82\xff" + b"\xff" * 8 + bytes(4), 1002),
        (masked(FIN_BINARY, bytes(1001)), 1009),
        (masked(FIN_TEXT, "é".encode() * 501), 1009),
        (masked(0x02, bytes(600)) + masked(LAST, bytes(600)), 1009),
        (b"\x82\xff\x00\x00\x00\x10" + bytes(4) + bytes(4) + bytes(2000), 1009),
    ],
)
async def test_what_rfc_6455_forbids_closes_with_its_code(serve: Serve, logged: Log, frames: bytes, code: int) -> None:
    recorder = Recorder()
    server = serve(upgrades={"/ws": recorder, "/echo": echo}, message_size=1000, close_timeout=0.05)
    neighbour, client = await server.connect(), await server.connect()
    await neighbour.upgrade(HANDSHAKE.replace(b"/ws", b"/echo"))
    await client.upgrade(HANDSHAKE)
    await client.send(masked(FIN_TEXT, b"before") + frames)
    assert await client.close_code() == code
    assert await client.read_all() == b""
    with trio.fail_after(5):
        await recorder.ended.wait()
    assert recorder.messages == ["before"]
    assert recorder.error is not None
    assert recorder.error.code == code
    assert recorder.error.reason
    await neighbour.send(masked(FIN_TEXT, b"well"))
    assert await neighbour.frame() == (FIN_TEXT, b"well")
    assert logged == []


@pytest.mark.parametrize(
    ("payload", "code", "reason"), [(b"\x03\xe8bye", 1000, "bye"), (b"", 1005, ""), (b"\x0f\xa0mine", 4000, "mine")]
)
async def test_the_peer_closes(serve: Serve, logged: Log, payload: bytes, code: int, reason: str) -> None:
    recorder = Recorder()
    client = await serve(upgrades={"/ws": recorder}).connect()
    await client.upgrade(HANDSHAKE)
    await client.send(masked(FIN_TEXT, b"a") + masked(FIN_TEXT, b"b") + masked(CLOSE, payload))
    assert await client.frame() == (CLOSE, payload[:2])
    assert await client.read_all() == b""
    with trio.fail_after(5):
        await recorder.ended.wait()
    assert recorder.messages == ["a", "b"]
    assert recorder.error is not None
    assert (recorder.error.code, recorder.error.reason) == (code, reason)
    assert recorder.socket is not None
    with pytest.raises(WebSocketClosed):
        await recorder.socket.send("too late")
    assert logged == []


async def test_the_peer_leaves_without_closing(serve: Serve, logged: Log) -> None:
    recorder = Recorder()
    client = await serve(upgrades={"/ws": recorder}).connect()
    await client.upgrade(HANDSHAKE)
    await client.stream.aclose()
    with trio.fail_after(5):
        await recorder.ended.wait()
    assert recorder.error is not None
    assert recorder.error.code == 1006
    assert logged == []


async def test_we_close_and_wait_for_the_answer(serve: Serve, autojump_clock: trio.testing.MockClock) -> None:
    took: list[float] = []

    async def handler(request: UpgradeRequest) -> None:
        socket = await request.accept()
        start = trio.current_time()
        await socket.close(4001, "é" * 100)
        took.append(trio.current_time() - start)
        await socket.close()
        with pytest.raises(WebSocketClosed) as caught:
            await socket.receive()
        assert caught.value.code == 4001
        with pytest.raises(WebSocketClosed):
            await socket.send(b"x")

    server = serve(upgrades={"/ws": handler}, close_timeout=5)
    polite, silent = server.memory(), server.memory()
    await polite.upgrade(HANDSHAKE)
    assert await polite.frame() == (CLOSE, b"\x0f\xa1" + "é".encode() * 61)
    await polite.send(masked(CLOSE, b"\x0f\xa1"))
    assert await polite.read_all() == b""
    await silent.upgrade(HANDSHAKE)
    assert await silent.close_code() == 4001
    assert await silent.read_all() == b""
    await trio.testing.wait_all_tasks_blocked()
    assert took == [pytest.approx(0), pytest.approx(5)]


async def test_what_comes_while_we_close_does_not_hold_it_up(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    took: list[float] = []

    async def handler(request: UpgradeRequest) -> None:
        socket = await request.accept()
        await trio.sleep(1)
        start = trio.current_time()
        await socket.close()
        took.append(trio.current_time() - start)

    client = serve(upgrades={"/ws": handler}).memory()
    await client.upgrade(HANDSHAKE)
    await client.send(masked(FIN_TEXT, b"x") * 10 + masked(CLOSE, b"\x03\xe8"))
    assert await client.close_code() == 1000
    assert await client.read_all() == b""
    await trio.testing.wait_all_tasks_blocked()
    assert took == [pytest.approx(0)]


async def test_the_reason_can_be_read_while_the_peer_still_sends(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    client = serve(upgrades={"/ws": echo}, close_timeout=5).memory()
    await client.upgrade(HANDSHAKE)
    await client.send(b"\x00\x00")
    await trio.sleep(4.9)
    await client.send(b"more")
    assert await client.close_code() == 1002
    await trio.sleep(0.2)
    with pytest.raises(trio.BrokenResourceError):
        await client.send(b"more")


async def test_codes_that_may_not_be_sent_are_refused(serve: Serve) -> None:
    async def handler(request: UpgradeRequest) -> None:
        socket = await request.accept()
        for code in (999, 1004, 1005, 1006, 1015, 2000, 5000):
            with pytest.raises(ValueError, match=str(code)):
                await socket.close(code)
        with pytest.raises(ValueError, match="125"):
            await socket.ping(bytes(126))
        await socket.close(1012)

    client = await serve(upgrades={"/ws": handler}).connect()
    await client.upgrade(HANDSHAKE)
    assert await client.close_code() == 1012


async def test_stopping_the_server_says_going_away(serve: Serve, logged: Log) -> None:
    recorder = Recorder()
    async with trio.open_nursery() as nursery:
        server = serve(upgrades={"/ws": recorder})
        server.nursery = nursery
        client = await server.connect()
        await client.upgrade(HANDSHAKE)
        await recorder.accepted.wait()
        nursery.cancel_scope.cancel()
    assert await client.close_code() == 1001
    assert await client.read_all() == b""
    assert logged == []


async def test_frames_of_many_senders_do_not_interleave(serve: Serve) -> None:
    async def handler(request: UpgradeRequest) -> None:
        socket = await request.accept()

        async def send(number: int) -> None:
            for _ in range(5):
                await socket.send(bytes((number,)) * 100_000)
                await socket.send_frames(encode_frame(b"t", text=True) * 3)
                await socket.ping()

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(send, number)

    client = await serve(upgrades={"/ws": handler}).connect()
    await client.upgrade(HANDSHAKE)
    counts = {FIN_BINARY: 0, FIN_TEXT: 0, PING: 0}
    while True:
        first, payload = await client.frame()
        if first == CLOSE:
            break
        counts[first] += 1
        if first == FIN_BINARY:
            assert payload == payload[:1] * 100_000
    assert counts == {FIN_BINARY: 50, FIN_TEXT: 150, PING: 50}


async def test_a_slow_peer_is_cut_off_and_holds_up_nobody_else(
    serve: Serve, logged: Log, autojump_clock: trio.testing.MockClock
) -> None:
    errors: list[WebSocketClosed] = []

    async def flood(request: UpgradeRequest) -> None:
        socket = await request.accept()
        try:
            while True:
                await socket.send(bytes(1 << 20))
        except WebSocketClosed as error:
            errors.append(error)
            raise

    server = serve(upgrades={"/flood": flood, "/echo": echo}, send_timeout=4)
    slow, quick = await server.connect(), await server.connect()
    await slow.send(HANDSHAKE.replace(b"/ws", b"/flood"))
    await quick.upgrade(HANDSHAKE.replace(b"/ws", b"/echo"))
    for number in range(8):
        await quick.send(masked(FIN_TEXT, b"%d" % number))
        assert await quick.frame() == (FIN_TEXT, b"%d" % number)
        await trio.sleep(1)
    assert errors[0].code == 1006
    assert "did not take 64 KiB within 4 s" in errors[0].reason
    assert logged == []


async def test_a_cancelled_send_closes_rather_than_sending_half_a_frame(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    done = trio.Event()

    async def handler(request: UpgradeRequest) -> None:
        socket = await request.accept()
        with trio.move_on_after(1) as scope:
            await socket.send(bytes(64 << 20))
        assert scope.cancelled_caught
        with pytest.raises(WebSocketClosed, match="cut short"):
            await socket.send("more")
        done.set()

    client = await serve(upgrades={"/ws": handler}).connect()
    await client.upgrade(HANDSHAKE)
    await done.wait()
    first, size = struct.unpack("!BxQ", await client.read_exactly(10))
    assert (first, size) == (FIN_BINARY, 64 << 20)
    assert len(await client.read_all()) < size


async def test_keep_alive_pings_at_once_and_gives_up_a_silent_peer(
    serve: Serve, autojump_clock: trio.testing.MockClock
) -> None:
    recorder = Recorder(KeepAlive(ping_delay=2, pong_timeout=5))
    client = serve(upgrades={"/ws": recorder}).memory()
    start = trio.current_time()
    await client.upgrade(HANDSHAKE)
    assert await client.frame() == (PING, b"")
    assert trio.current_time() == start
    times = []
    with contextlib.suppress(AssertionError):
        for _ in range(10):
            assert await client.frame() == (PING, b"")
            times.append(trio.current_time() - start)
    assert times == [pytest.approx(2), pytest.approx(4), pytest.approx(6)]
    assert trio.current_time() - start == pytest.approx(7)
    await recorder.ended.wait()
    assert recorder.error is not None
    assert (recorder.error.code, recorder.error.reason) == (1006, "nothing came from the peer for 7 s")


@pytest.mark.parametrize("alive", [masked(PONG), masked(FIN_TEXT, b"x"), masked(PING)])
async def test_pongs_and_data_keep_a_connection_alive(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, alive: bytes
) -> None:
    recorder = Recorder(KeepAlive(ping_delay=2, pong_timeout=5))
    client = serve(upgrades={"/ws": recorder}).memory()
    await client.upgrade(HANDSHAKE)
    for _ in range(10):
        await trio.sleep(6)
        await client.send(alive)
    assert not recorder.ended.is_set()
    await trio.sleep(7.5)
    assert recorder.ended.is_set()


async def test_a_slow_handler_holds_back_its_peer_and_is_not_taken_for_a_silent_one(
    serve: Serve, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    proceed = trio.Event()
    received: list[str | bytes] = []

    async def handler(request: UpgradeRequest) -> None:
        socket = await request.accept(keep_alive=KeepAlive(ping_delay=2, pong_timeout=5))
        await proceed.wait()
        while True:
            received.append(await socket.receive())

    client = await serve(upgrades={"/ws": handler}, send_timeout=1000).connect()
    await client.upgrade(HANDSHAKE)
    sent = 0

    async def send() -> None:
        nonlocal sent
        while sent < 400:
            await client.send(masked(FIN_BINARY, bytes(100_000)))
            sent += 1

    nursery.start_soon(send)
    await trio.sleep(60)
    assert sent < 400
    proceed.set()
    with trio.move_on_after(60):
        while len(received) < 400:
            assert await client.stream.receive_some(), "the server closed"
    assert len(received) == 400


@given(payload=st.binary(max_size=300) | st.integers(60000, 70000).map(bytes), text=st.booleans())
def test_an_encoded_frame_is_what_a_client_reads(payload: bytes, text: bool) -> None:
    if text:
        payload = base64.b64encode(payload)
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(encode_frame(payload, text))
    events = list(client.events())
    assert all(isinstance(event, TextMessage if text else BytesMessage) for event in events)
    parts = [event.data for event in events if isinstance(event, Message)]
    assert b"".join(part.encode() if isinstance(part, str) else bytes(part) for part in parts) == payload
