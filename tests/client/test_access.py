"""Who asks and whom to trust: the client against real servers with and without TLS."""

from __future__ import annotations

import base64
import contextlib
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner

from skycore.cli.main import skycore, skydive
from skycore.client import Access, Client
from skycore.errors import ClientError, RequestRefused

BOB = "Basic " + base64.b64encode(b"bob:s:\xc3\xbc").decode()


@contextlib.contextmanager
def answering(context: ssl.SSLContext | None = None, status: int = 200) -> Iterator[tuple[str, list[str | None]]]:
    """A server on loopback; gives its address and the Authorization of each request."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            seen.append(self.headers["Authorization"])
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b"{}" if status == 200 else b"No credentials provided\n"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Quiet(HTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join(10)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def encrypted(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


def test_each_request_shows_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYDIVE_USERNAME", raising=False)
    with answering() as (address, seen):
        Client(address, access=Access(username="bob", password="s:ü")).status()
        Client(address, access=Access()).status()
        Client(address).status()
        monkeypatch.setenv("SKYDIVE_USERNAME", "bob")
        monkeypatch.setenv("SKYDIVE_PASSWORD", "s:ü")
        Client(address).status()
    assert seen == [BOB, None, None, BOB]
    assert "s:ü" not in repr(Access(username="bob", password="s:ü"))


def test_a_refusal_says_how_to_give_a_user() -> None:
    with answering(status=401) as (address, _):
        with pytest.raises(
            RequestRefused, match=r"^401 Unauthorized: No credentials provided; give a user: SKYDIVE_USERNAME"
        ):
            Client(address, access=Access()).status()
        with pytest.raises(RequestRefused, match=r"^401 Unauthorized: No credentials provided$"):
            Client(address, access=Access(username="bob")).status()


def test_tls_checks_who_answers(encrypted: ssl.SSLContext, ca: str) -> None:
    with answering(encrypted) as (address, seen):
        assert Client(address, access=Access(cacert=ca)).status() == {}
        assert Client(f"https://{address}/", access=Access(cacert=ca)).status() == {}
        assert Client(address, access=Access(insecure=True)).status() == {}
        with pytest.raises(ClientError, match=r"not trusted.*--cacert"):
            Client(f"https://{address}", access=Access(username="bob", password="x")).status()
        with pytest.raises(ClientError, match=r"not trusted.*doesn't match|not trusted.*match"):
            Client(f"localhost:{address.rpartition(':')[2]}", access=Access(cacert=ca)).status()
    assert seen == [None] * 3, "nobody learns a password before it is known who asks for it"


def test_a_certificate_of_our_own(encrypted: ssl.SSLContext, authority: trustme.CA, ca: str, tmp_path: Path) -> None:
    authority.configure_trust(encrypted)
    encrypted.verify_mode = ssl.CERT_REQUIRED
    mine = authority.issue_cert("me.example")
    cert, key = str(tmp_path / "me.pem"), str(tmp_path / "me.key")
    mine.cert_chain_pems[0].write_to_path(cert)
    mine.private_key_pem.write_to_path(key)
    with answering(encrypted) as (address, _):
        assert Client(address, access=Access(cacert=ca, cert=cert, key=key)).status() == {}
        with pytest.raises(ClientError):
            Client(address, access=Access(cacert=ca)).status()


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (Access(cert="/x"), "--cert and --key belong together"),
        (Access(cacert="/nowhere.pem"), "/nowhere.pem cannot be used: No such file"),
        (Access(cacert=__file__), "cannot be used"),
    ],
)
def test_files_that_cannot_be_used(access: Access, words: str) -> None:
    with pytest.raises(ClientError, match=words):
        Client("127.0.0.1:1", access=access).status()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (skycore, ["status", "--username", "bob", "--password", "s:ü"]),
        (skydive, ["client", "status", "--username", "bob", "--password", "s:ü"]),
        (skydive, ["client", "--username", "bob", "--password", "s:ü", "status"]),
        (skydive, ["client", "--cacert", "CA", "--username", "bob", "--password", "s:ü", "status"]),
    ],
)
def test_on_the_command_line(program: object, words: list[str], encrypted: ssl.SSLContext, ca: str) -> None:
    words = [ca if word == "CA" else word for word in words]
    with answering(encrypted if ca in words else None) as (address, seen):
        result = CliRunner().invoke(program, [*words, "--analyzer", address])  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    assert seen == [BOB]


def test_the_variables_are_read_by_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"SKYDIVE_USERNAME": "bob", "SKYDIVE_PASSWORD": "s:ü"}
    with answering() as (address, seen):
        result = CliRunner().invoke(skycore, ["query", "G.V()", "--analyzer", address], env=environment)
    assert result.exit_code == 0, result.output
    assert seen == [BOB]
    assert "s:ü" not in CliRunner().invoke(skycore, ["query", "--help"], env=environment).output
