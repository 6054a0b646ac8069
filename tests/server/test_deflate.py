"""permessage-deflate: what is agreed to, and that wsproto as a client reads and writes the same."""

from __future__ import annotations

import json
import os
import zlib

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate

from skycore.server.deflate import compress, negotiate
from skycore.server.websocket import encode_frame
from tests.server.conftest import Client
from tests.server.test_websocket import masked
from tests.server.watching import World, world

CHROMIUM = "permessage-deflate; client_max_window_bits"


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (CHROMIUM, "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate", "permessage-deflate; server_no_context_takeover"),
        ("x-webkit-deflate-frame, permessage-deflate", "permessage-deflate; server_no_context_takeover"),
        (
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=10",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10",
        ),
        (
            'permessage-deflate; server_max_window_bits="12"; server_no_context_takeover',
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=12",
        ),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            "permessage-deflate; server_no_context_takeover",
        ),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("", None),
    ],
)
def test_what_is_agreed_to(offer: str, answer: str | None) -> None:
    agreed = negotiate([offer])
    assert (agreed.header if agreed else None) == answer


@given(st.binary(max_size=3000), st.integers(1, 20), st.integers(9, 15))
def test_a_compressed_frame_is_what_a_client_reads(piece: bytes, times: int, window_bits: int) -> None:
    payload = piece * times
    extension = PerMessageDeflate(server_no_context_takeover=True, server_max_window_bits=window_bits)
    extension._enabled = True
    client = Connection(ConnectionType.CLIENT, [extension])
    for _ in range(2):
        client.receive_data(encode_frame(payload, False, window_bits))
        (message,) = client.events()
        assert isinstance(message, BytesMessage)
        assert bytes(message.data) == payload


@given(st.binary(max_size=200))
def test_compressed_bytes_never_end_with_the_tail(payload: bytes) -> None:
    compressed = compress(payload, 15)
    assert zlib.decompressobj(-15).decompress(compressed + b"\x00\x00\xff\xff") == payload


class Compressing:
    """A client that compresses as Chromium does: with its context kept from message to message."""

    def __init__(self, client: Client, answer: str) -> None:
        self._client = client
        extension = PerMessageDeflate()
        header = next(line for line in answer.split("\r\n") if line.lower().startswith("sec-websocket-extensions:"))
        extension.finalize(header.split(":", 1)[1].strip())
        self._connection = Connection(ConnectionType.CLIENT, [extension])

    async def send(self, event: Event) -> None:
        await self._client.send(self._connection.send(event))

    async def receive(self) -> str:
        """The next text message; pings are answered."""
        parts: list[str] = []
        with trio.fail_after(20):
            while True:
                for event in self._connection.events():
                    if isinstance(event, Ping):
                        await self.send(event.response())
                    elif isinstance(event, TextMessage):
                        parts.append(event.data)
                        if event.message_finished:
                            return "".join(parts)
                    else:
                        assert isinstance(event, Pong | CloseConnection), event
                self._connection.receive_data(bytes(await self._client.stream.receive_some()))


async def connect(here: World, offer: str = CHROMIUM) -> tuple[Client, str]:
    client = Client(await trio.open_tcp_stream("127.0.0.1", here.port))
    answer = await client.upgrade(
        f"GET /ws/pubsub?x-client-type=web HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Extensions: {offer}\r\n\r\n".encode()
    )
    return client, answer


async def test_a_whole_conversation_compressed() -> None:
    async with world() as here:
        for number in range(300):
            here.node(f"n{number}", Filler="x" * 1000, Random=os.urandom(200).hex())
        client, answer = await connect(here)
        peer = Compressing(client, answer)
        for round in range(3):
            request = {"Namespace": "Graph", "Type": "SyncRequest", "UUID": f"u{round}", "Obj": {}}
            await peer.send(Message(json.dumps(request)))
            reply = json.loads(await peer.receive())
            assert reply["UUID"] == f"u{round}"
            assert len(reply["Obj"]["Nodes"]) == 300
        here.node("small")
        here.node("large", Filler="y" * 5000)
        assert json.loads(await peer.receive())["Obj"]["ID"] == "small"
        assert len(json.loads(await peer.receive())["Obj"]["Metadata"]["Filler"]) == 5000
        await client.stream.aclose()


async def test_who_does_not_offer_it_gets_nothing_compressed() -> None:
    async with world() as here:
        client, answer = await connect(here, "x-other")
        assert "sec-websocket-extensions" not in answer.lower()
        await client.frame()
        await client.send(masked(0xC1, compress(b"{}", 15)))
        assert await client.close_code() == 1002
        await client.stream.aclose()


async def test_a_bomb_does_not_go_off() -> None:
    async with world(message_size=1 << 20) as here:
        client, _ = await connect(here)
        await client.frame()
        await client.send(masked(0xC1, compress(b" " * (64 << 20), 15)))
        assert await client.close_code() == 1009
        await client.stream.aclose()


@pytest.mark.parametrize("payload", [b"\xff" * 20, b"\x07nonsense", b"\x01\x05"])
async def test_what_cannot_be_inflated_closes_the_connection(payload: bytes) -> None:
    async with world() as here:
        client, _ = await connect(here)
        await client.frame()
        await client.send(masked(0xC1, payload))
        assert await client.close_code() == 1007
        await client.stream.aclose()
