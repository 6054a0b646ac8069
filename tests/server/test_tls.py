"""The port over TLS: real handshakes over real sockets, good, bad, half-made and renewed."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
import trio_websocket
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from skycore.cluster.dial import tls as tls_dial
from skycore.config import Address
from skycore.config.schema import TLS
from skycore.errors import ConfigurationError, LinkError
from skycore.server.acceptor import Acceptor
from skycore.server.certificates import Certificates, client_context, server_context
from skycore.server.limits import Limits
from skycore.server.upgrade import UpgradeRequest
from tests.server.conftest import hello

GET = b"GET /hi HTTP/1.1\r\nHost: h\r\n\r\n"
Stream = trio.SSLStream[trio.SocketStream]


@attrs.define
class Files:
    """Certificates in files, as an operator has them."""

    folder: Path
    authority: trustme.CA = attrs.field(factory=trustme.CA)

    def __attrs_post_init__(self) -> None:
        self.authority.cert_pem.write_to_path(self.path("ca.pem"))
        self.issue("server", "localhost", "127.0.0.1")
        self.issue("client", "agent.example")

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def issue(self, name: str, *identities: str) -> None:
        made = self.authority.issue_cert(*identities)
        for end, blobs in (("key", [made.private_key_pem]), ("pem", made.cert_chain_pems)):
            new = self.folder / "new"
            new.write_bytes(b"".join(blob.bytes() for blob in blobs))
            os.replace(new, self.path(f"{name}.{end}"))

    def tls(self, **others: Any) -> TLS:
        return TLS(
            server_cert=self.path("server.pem"),
            server_key=self.path("server.key"),
            ca_cert=self.path("ca.pem"),
            **others,
        )

    def spoil(self, name: str) -> None:
        Path(self.path(name)).write_text("half a file")

    @property
    def as_client(self) -> dict[str, Any]:
        return {"client_cert": self.path("client.pem"), "client_key": self.path("client.key")}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


async def serving(
    nursery: trio.Nursery, context: Callable[[], ssl.SSLContext | None], upgrades: Any = None, **limits: Any
) -> tuple[Acceptor, int]:
    acceptor = Acceptor(hello, upgrades or {}, Limits(**limits), tls=context)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(acceptor.serve, listeners)
    return acceptor, listeners[0].socket.getsockname()[1]


async def connect(port: int, context: ssl.SSLContext) -> Stream:
    with trio.fail_after(30):
        return await tls_dial(Address("127.0.0.1", port), lambda: context)()


async def ask(stream: trio.abc.Stream, request: bytes = GET) -> bytes:
    """The whole answer to a request of which the answer has the path as its body."""
    await stream.send_all(request)
    answer = b""
    with trio.fail_after(30):
        while not answer.endswith(b"/hi"):
            part = await stream.receive_some()
            assert part, f"closed after {answer!r}"
            answer += part
    return answer


async def read_all(stream: trio.abc.Stream) -> bytes:
    answer = b""
    with trio.fail_after(30):
        while part := await stream.receive_some():
            answer += part
    return answer


async def test_requests_and_an_orderly_end(files: Files, nursery: trio.Nursery) -> None:
    context = server_context(files.tls())
    _, port = await serving(nursery, lambda: context)
    stream = await connect(port, client_context(files.tls()))
    for _ in range(3):
        assert (await ask(stream)).startswith(b"HTTP/1.1 200")
    # The farewell of TLS is there even when we have sent more than was read: the answer was not cut.
    await stream.send_all(b"GET /hi HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    await stream.send_all(b"x" * 100_000)
    assert (await read_all(stream)).endswith(b"/hi")


async def test_the_end_is_told_by_tls_itself(files: Files, nursery: trio.Nursery) -> None:
    context = server_context(files.tls())
    _, port = await serving(nursery, lambda: context)
    transport = await trio.open_tcp_stream("127.0.0.1", port)
    # Not https_compatible: an end without close_notify would raise.
    stream = trio.SSLStream(transport, client_context(files.tls()), server_hostname="localhost")
    await stream.send_all(b"GET /hi HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert (await read_all(stream)).endswith(b"/hi")


async def test_the_application_knows_that_it_is_https(files: Files, nursery: trio.Nursery) -> None:
    schemes: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        schemes.append(scope["scheme"])
        await hello(scope, receive, send)

    context = server_context(files.tls())
    acceptor = Acceptor(app, {}, tls=lambda: context)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(acceptor.serve, listeners)
    port = listeners[0].socket.getsockname()[1]
    await ask(await connect(port, client_context(files.tls())))
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(acceptor.serve_connection, theirs)
    await ask(ours)
    assert schemes == ["https", "http"], "a connection from inside this process is plain"


async def test_a_websocket_over_tls(files: Files, nursery: trio.Nursery) -> None:
    async def echo(request: UpgradeRequest) -> None:
        assert request.secure
        socket = await request.accept()
        for _ in range(3):
            await socket.send(await socket.receive())

    context = server_context(files.tls())
    _, port = await serving(nursery, lambda: context, {"/ws": echo})
    stream = await connect(port, client_context(files.tls()))
    socket = await trio_websocket.wrap_client_stream(nursery, stream, "h", "/ws")
    with trio.fail_after(30):
        for message in ("a", "b" * 300_000, "c"):
            await socket.send_message(message)
            assert await socket.get_message() == message
        with pytest.raises(trio_websocket.ConnectionClosed) as closed:
            await socket.get_message()
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1000


async def test_names_and_authorities_are_checked(files: Files, tmp_path: Path, nursery: trio.Nursery) -> None:
    current = server_context(files.tls())
    _, port = await serving(nursery, lambda: current)
    (tmp_path / "other").mkdir()
    stranger = Files(tmp_path / "other")
    with pytest.raises(LinkError, match=r"certificate verify failed.*tls\.ca_cert"):
        await connect(port, client_context(stranger.tls()))
    files.issue("server", "elsewhere.example")
    current = server_context(files.tls())
    with pytest.raises(LinkError, match="IP address mismatch"):
        await connect(port, client_context(files.tls()))


async def test_old_versions_are_refused(files: Files, nursery: trio.Nursery) -> None:
    context = server_context(files.tls())
    _, port = await serving(nursery, lambda: context)
    old = client_context(files.tls())
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSVersion"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(LinkError):
        await connect(port, old)


async def test_client_certificates_when_required(files: Files, tmp_path: Path, nursery: trio.Nursery) -> None:
    context = server_context(files.tls(require_client_cert=True))
    _, port = await serving(nursery, lambda: context)
    assert await ask(await connect(port, client_context(files.tls(**files.as_client))))
    (tmp_path / "other").mkdir()
    stranger = Files(tmp_path / "other")
    foreign = attrs.evolve(TLS(ca_cert=files.path("ca.pem")), **stranger.as_client)
    for tls in (files.tls(), foreign):
        # With TLS 1.3 the client learns of it at its first read.
        with pytest.raises((LinkError, trio.BrokenResourceError, AssertionError)):
            await ask(await connect(port, client_context(tls)))


async def test_plain_http_gets_a_hint(files: Files, nursery: trio.Nursery) -> None:
    context = server_context(files.tls())
    _, port = await serving(nursery, lambda: context)
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(GET)
    answer = await read_all(stream)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"this port speaks TLS: use https:// or wss://\n")


@pytest.mark.parametrize("data", [b"", b"\x16", b"\x16\x03\x01\x00\x05hello", os.urandom(500), b"\0" * 100_000])
async def test_half_a_handshake_ends_in_time_and_disturbs_nobody(
    files: Files, nursery: trio.Nursery, data: bytes
) -> None:
    context = server_context(files.tls())
    acceptor, port = await serving(nursery, lambda: context, header_time=0.5, connections=20)
    good = await connect(port, client_context(files.tls()))
    strangers = []
    for _ in range(10):
        stranger = await trio.open_tcp_stream("127.0.0.1", port)
        strangers.append(stranger)
        try:
            await stranger.send_all(data)
        except trio.BrokenResourceError:
            pass
        assert await ask(good)
    with trio.fail_after(30):
        for stranger in strangers:
            try:
                while await stranger.receive_some():
                    pass
            except trio.BrokenResourceError:
                pass
    assert await ask(good)
    assert acceptor.connections == 1


async def test_too_many_connections_are_closed_without_a_word(files: Files, nursery: trio.Nursery) -> None:
    context = server_context(files.tls())
    _, port = await serving(nursery, lambda: context, connections=1)
    good = await connect(port, client_context(files.tls()))
    assert await read_all(await trio.open_tcp_stream("127.0.0.1", port)) == b""
    assert await ask(good)


def serial(stream: Stream) -> Any:
    return stream.getpeercert()["serialNumber"]


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - what a task of the code under test does is no event here
            await trio.sleep(0.01)


async def test_certificates_are_renewed_under_open_connections(
    files: Files, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr("skycore.server.certificates._LOOK_EVERY", 0.02)
    certificates = Certificates(files.tls())
    nursery.start_soon(certificates.follow)
    _, port = await serving(nursery, lambda: certificates.server)
    old = await connect(port, client_context(files.tls()))
    assert await ask(old)
    before, made = serial(old), certificates.server

    files.spoil("server.pem")
    await until(lambda: logged)
    assert certificates.server is made
    assert serial(await connect(port, client_context(files.tls()))) == before

    files.issue("server", "127.0.0.1")
    await until(lambda: certificates.server is not made)
    assert serial(await connect(port, client_context(files.tls()))) != before
    assert await ask(old), "what was open goes on"
    renewed, certificates_client = certificates.server, certificates.client
    certificates.reload()
    await until(lambda: certificates.server is not renewed)
    assert certificates.client is not certificates_client
    assert len(logged) == 1
    logged.clear()


def problems(tls: TLS) -> list[tuple[str, str]]:
    with pytest.raises(ConfigurationError) as wrong:
        Certificates(tls)
    return [(problem.key, problem.message) for problem in wrong.value.problems]


def test_files_that_cannot_be_used_are_named(files: Files, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_text("no certificate")
    server, key, ca = files.path("server.pem"), files.path("server.key"), files.path("ca.pem")
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(_encrypted_key())
    for tls, where, words in (
        (TLS(server_cert=server), "tls.server_key", "belong together"),
        (TLS(server_key=key), "tls.server_cert", "belong together"),
        (TLS(client_cert=server), "tls.client_key", "belong together"),
        (TLS(server_cert="/nowhere", server_key=key), "tls.server_cert", "cannot be read: No such file"),
        (TLS(server_cert=server, server_key=str(junk)), "tls.server_cert", "are no certificate and its key"),
        (TLS(server_cert=server, server_key=files.path("client.key")), "tls.server_cert", "KEY_VALUES_MISMATCH"),
        (TLS(server_cert=server, server_key=str(encrypted)), "tls.server_cert", "encrypted"),
        (TLS(ca_cert=str(junk)), "tls.ca_cert", "holds no certificates"),
        (TLS(require_client_cert=True), "tls.require_client_cert", "needs tls.server_cert"),
        (TLS(server_cert=server, server_key=key, require_client_cert=True), "tls.require_client_cert", "tls.ca_cert"),
    ):
        ((found, message),) = problems(tls)
        assert (found, words in message) == (where, True), message
    assert Certificates(TLS()).server is None
    assert Certificates(TLS()).client is None
    assert Certificates(TLS(ca_cert=ca)).server is None
    assert Certificates(TLS(ca_cert=ca)).client is not None


def _encrypted_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
