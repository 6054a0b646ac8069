"""Credentials as raw bytes through the whole server: each request is answered, and never by 500."""

from __future__ import annotations

from base64 import b64encode

import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from skycore.config.schema import RBAC
from skycore.errors import Refusal
from skycore.server.acceptor import Acceptor
from skycore.server.auth.endpoints import logout_endpoint
from skycore.server.auth.guard import Guard
from skycore.server.auth.origin import Origins
from skycore.server.auth.policy import Policy
from skycore.server.auth.upgrades import guarded
from skycore.server.endpoint import Endpoint, identity_of, refused, routes
from skycore.server.upgrade import UpgradeRequest
from tests.server.auth.conftest import Directory

POLICY = Policy(RBAC(policy=("g, root, admin",)))
ROOT = b64encode(b"root:root's")


async def who(request: Request) -> Response:
    return PlainTextResponse(identity_of(request).name)


async def refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error)


async def never(request: UpgradeRequest) -> None:
    await request.accept()


def server() -> Acceptor:
    guard = Guard(Directory(), role="guest", policy=POLICY, origins=Origins(), session_time=60)  # type: ignore[arg-type]

    async def log_in(request: Request) -> Response:
        return await guard.login(request)

    table = (
        Endpoint(method="GET", path="/who", handler=who, summary="", answers=(), object="node", action="write"),
        Endpoint(method="POST", path="/login", handler=log_in, summary="", answers=(), public=True),
        logout_endpoint(guard.logout),
    )
    app = Starlette(routes=list(routes(table, guard)), exception_handlers={Refusal: refusal})
    return Acceptor(app, guarded({"/ws/subscriber": never}, guard))


async def ask(request: bytes) -> bytes:
    ours, theirs = trio.testing.memory_stream_pair()
    answer = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server().serve_connection, theirs)
        await ours.send_all(request)
        with trio.fail_after(30):
            while b"\r\n\r\n" not in answer and (part := await ours.receive_some()):
                answer += part
        await ours.aclose()
    return answer


# What may stand in a header (RFC 9110, section 5.5), and what h11 lets pass of it.
value = st.binary(max_size=60).map(lambda raw: raw.translate(None, b"\0\r\n\x0b\x0c").strip())
header = st.tuples(
    st.sampled_from([b"Authorization", b"Cookie", b"X-Auth-Token", b"Origin", b"Sec-Fetch-Site", b"Host"]),
    st.one_of(
        value,
        value.map(lambda each: b"Basic " + each),
        value.map(lambda each: b"Basic " + b64encode(each)),
        value.map(lambda each: b"authtoken=" + each),
        value.map(lambda each: b"sky." + each),
        st.just(b"Basic " + ROOT),
    ),
)
target = st.sampled_from([b"/who", b"/login", b"/logout", b"/ws/subscriber"])
UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


@settings(max_examples=300, deadline=None)
@given(target, st.lists(header, max_size=4), value, st.binary(max_size=200))
@example(b"/who", [(b"Authorization", b"Basic")], b"", b"")
@example(b"/who", [(b"Authorization", b"Basic ")], b"", b"")
@example(b"/ws/subscriber", [(b"Authorization", b"Basic")], b"", b"")
@example(b"/who", [(b"Cookie", b"authtoken=\xff; authtoken=")], b"%00%ff", b"")
def test_every_request_is_answered(path: bytes, headers: list[tuple[bytes, bytes]], token: bytes, body: bytes) -> None:
    posted = path in (b"/login", b"/logout")
    query = b"?x-auth-token=" + b"".join(b"%%%02x" % byte for byte in token) if token else b""
    request = (b"POST " if posted else b"GET ") + path + query + b" HTTP/1.1\r\n"
    request += b"".join(name + b": " + content + b"\r\n" for name, content in headers)
    if not any(name == b"Host" for name, _ in headers):
        request += b"Host: h\r\n"
    if path == b"/ws/subscriber":
        request += UPGRADE
    if posted:
        request += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n" % len(body)
    request += b"\r\n" + (body if posted else b"")
    answer = trio.run(ask, request)
    status = int(answer.split(b" ", 2)[1])
    assert status in (101, 200, 400, 401, 403, 405, 413, 429), answer
    if status in (101, 200) and not posted:
        shown = [content for _, content in headers] + [token]
        assert any(ROOT in content or b"root" in content for content in shown), answer


def test_the_fuzzed_server_lets_the_right_one_in() -> None:
    right = b"GET /who HTTP/1.1\r\nHost: h\r\nAuthorization: Basic " + ROOT + b"\r\n\r\n"
    assert trio.run(ask, right).startswith(b"HTTP/1.1 200")
