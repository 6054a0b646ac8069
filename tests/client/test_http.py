"""The client against servers that answer well, badly, slowly and not at all, over real sockets."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from skycore.client import Client
from skycore.errors import ClientError, RequestRefused

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextlib.contextmanager
def serving(answer: Callable[[socket.socket, bytes], None]) -> Iterator[tuple[str, list[bytes]]]:
    """A server on loopback that reads one request, records it, and lets ``answer`` speak."""
    requests: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                request = _read_request(connection)
                requests.append(request)
                with contextlib.suppress(OSError):
                    answer(connection, request)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", requests
        finally:
            thread.join(15)
            assert not thread.is_alive()


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def saying(answer: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda connection, request: connection.sendall(answer)


def test_query_posts_the_text_and_decodes_the_answer() -> None:
    body = b'[{"ID":"a","Metadata":{"Name":"eth0\\u003c"}}]\n'
    with serving(saying(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body)) as (address, requests):
        assert Client(address).query("G.V().Has('Name', 'ü\"')") == [{"ID": "a", "Metadata": {"Name": "eth0<"}}]
    head, _, sent = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/topology HTTP/1.1\r\n")
    assert json.loads(sent) == {"GremlinQuery": "G.V().Has('Name', 'ü\"')"}
    assert b"Content-Type: application/json" in head


def test_chunked_answer() -> None:
    with serving(saying(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n")) as (address, _):
        assert Client(address).query("G.V().Count()") == [1, 2]


def test_empty_query_has_no_result() -> None:
    with serving(saying(b"HTTP/1.1 204 No Content\r\n\r\n")) as (address, _):
        assert Client(address).query("") is None


def test_status() -> None:
    with serving(saying(OK + b'Content-Length: 13\r\n\r\n{"Agents":{}}')) as (address, requests):
        assert Client(f"http://{address}/").status() == {"Agents": {}}
    assert requests[0].startswith(b"GET /api/status HTTP/1.1\r\n")


def test_the_servers_text_is_the_error() -> None:
    text = b"Expected left parenthesis, got: x\nline 1, column 12\nG.V().Has x\n          ^\n"
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text) + text
    with serving(saying(answer)) as (address, _), pytest.raises(RequestRefused) as caught:
        Client(address).query("G.V().Has x")
    assert caught.value.status == 400
    assert caught.value.text == text.decode().rstrip("\n")
    assert str(caught.value) == f"400 Bad Request: {caught.value.text}"


def test_an_error_without_text_is_named_by_its_reason() -> None:
    answer = saying(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    with serving(answer) as (address, _), pytest.raises(RequestRefused, match="Service Unavailable"):
        Client(address).status()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "no complete HTTP answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no complete HTTP answer"),
        (OK + b"Content-Length: 100\r\n\r\n[", "no complete HTTP answer"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "no complete HTTP answer"),
        (OK + b"Content-Length: 1\r\n\r\n[", "no JSON"),
        (OK + b"Content-Length: 200000\r\n\r\n" + b"[" * 200000, "no JSON"),
        (OK + b"Content-Length: 2\r\n\r\n\xff\xfe", "no JSON"),
    ],
)
def test_a_bad_answer_is_a_client_error(answer: bytes, message: str) -> None:
    with serving(saying(answer)) as (address, _), pytest.raises(ClientError, match=message):
        Client(address, timeout=10).query("G")


def test_status_that_is_no_object() -> None:
    answer = saying(OK + b"Content-Length: 2\r\n\r\n[]")
    with serving(answer) as (address, _), pytest.raises(ClientError, match="is this an analyzer or agent"):
        Client(address).status()


def test_a_server_that_says_nothing_is_given_up() -> None:
    def hang(connection: socket.socket, request: bytes) -> None:
        connection.recv(1)

    with serving(hang) as (address, _), pytest.raises(ClientError, match=r"no complete answer within 0\.2 s"):
        Client(address, timeout=0.2).status()


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", OK + b"\r\n[", OK + b"Content-Length: 9999\r\n\r\n["])
def test_a_server_that_trickles_is_given_up(start: bytes) -> None:
    def trickle(connection: socket.socket, request: bytes) -> None:
        connection.sendall(start)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            connection.sendall(b" ")
            time.sleep(0.02)

    with serving(trickle) as (address, _), pytest.raises(ClientError, match=r"no complete answer within 0\.3 s"):
        Client(address, timeout=0.3).query("G")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ClientError, match=f"cannot reach {address}: Connection refused"):
        Client(address).status()


@pytest.mark.parametrize("address", ["", "localhost", "::1:8082", "a b:1", "x:99999", "ftp://h:1", "h:1/path"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ClientError, match="cannot ask there"):
        Client(address)


def test_a_host_name_that_cannot_exist() -> None:
    with pytest.raises(ClientError, match="cannot reach"):
        Client("a..b:1", timeout=5).status()
