"""The middleware for compression under any pieces and any Accept-Encoding."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import trio
from hypothesis import given
from hypothesis import strategies as st

from skycore.server.asgi import ASGIApp, Message, Receive, Scope, Send
from skycore.server.compression import Compression, chosen_encoding

UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress, "": bytes}


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=6), st.sampled_from(["gzip", "deflate", ""]))
def test_what_was_sent_comes_out(pieces: list[bytes], encoding: str) -> None:
    pieces = [piece * 40 if number == 2 else piece for number, piece in enumerate(pieces)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        size = str(sum(map(len, pieces))).encode()
        headers = [(b"content-type", b"text/plain"), (b"Content-Length", size), (b"Vary", b"Origin")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

    head, body = _answer(app, encoding.encode())
    headers = dict(head["headers"])
    used = headers.get(b"content-encoding", b"").decode()
    assert UNPACK[used](body) == b"".join(pieces)
    assert used in ("", encoding)
    assert headers[b"Vary"] == b"Origin, Accept-Encoding"
    length = headers.get(b"content-length", headers.get(b"Content-Length"))
    assert length in (None, str(len(body)).encode())


@given(st.lists(st.text(max_size=30) | st.sampled_from(["gzip", "deflate;q=0", "*;q=1e400", "gzip;q=nan", ",;="])))
def test_any_header_is_read(values: list[str]) -> None:
    assert chosen_encoding(values) in ("gzip", "deflate", "")


def test_what_is_no_text_or_is_packed_already_goes_as_it_is() -> None:
    for kind, coding in ((b"image/png", b""), (b"text/plain", b"br")):

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            headers = [(b"content-type", kind), *([(b"content-encoding", coding)] if coding else [])]  # noqa: B023
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"x" * 5000})

        head, body = _answer(app, b"gzip")
        assert body == b"x" * 5000
        assert dict(head["headers"]).get(b"content-encoding", b"") == coding


def _answer(app: ASGIApp, accepted: bytes) -> tuple[Message, bytes]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nobody reads the request")

    scope = {"type": "http", "headers": [(b"accept-encoding", accepted)]}
    trio.run(Compression(app), scope, receive, send)
    return sent[0], b"".join(message["body"] for message in sent[1:])
