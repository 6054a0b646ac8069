"""What can be asked over REST: requests, and how their answers are read; `Client` and `TrioClient` carry them."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar, final
from urllib.parse import quote

import attrs
import msgspec

from skycore.client.elements import Graph
from skycore.client.server import Server
from skycore.errors import ClientError, RequestRefused

T = TypeVar("T")
JSON: Final = "application/json"
DOT: Final = "text/vnd.graphviz"
PCAP: Final = "application/vnd.tcpdump.pcap"
LARGEST: Final = 1 << 30
"""Bytes that an answer may have."""
_LONGEST_TEXT: Final = 1 << 16
"""Characters of an error's text that are shown."""


@final
@attrs.frozen
class Call(Generic[T]):
    """One request, and what its answer means.

    ``read`` makes the result of an answer's body; ``unchanged`` is what a 304 means, None where there is none.
    ``attempt`` says what failed, in Skydive's words.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    body: bytes | None = None
    accept: str = JSON
    attempt: str = ""
    unchanged: Callable[[], T] | None = None
    more: tuple[tuple[str, str], ...] = ()

    def headers(self, server: Server) -> dict[str, str]:
        """The request's headers, but Host and Content-Length."""
        headers = {"Accept": self.accept, "Connection": "close", **dict(self.more)}
        if self.body is not None:
            headers["Content-Type"] = JSON
        if server.access.authorization is not None:
            headers["Authorization"] = server.access.authorization
        return headers

    def result(self, server: Server, status: int, body: bytes) -> T:
        """What the answer says.  Raises RequestRefused and ClientError."""
        if status == 304 and self.unchanged is not None:
            return self.unchanged()
        self.check(server, status, body)
        try:
            return self.read(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise _unreadable(server, error) from error

    def check(self, server: Server, status: int, body: bytes) -> None:
        """Raise RequestRefused unless the answer is a good one."""
        if 200 <= status < 300:
            return
        reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
        text = body.decode("utf-8", "replace").rstrip("\n")[:_LONGEST_TEXT]
        if status == 401 and server.access.authorization is None:
            text += "; give a user: SKYDIVE_USERNAME and SKYDIVE_PASSWORD"
        raise RequestRefused(status, text, reason, self.attempt)


def too_large(server: Server) -> ClientError:
    """The answer has more than LARGEST bytes."""
    return ClientError(f"{server.address} answers with more than {LARGEST >> 20} MiB; ask for less")


def item(server: Server, data: bytes, type: type[T]) -> T:
    """One value of an answer that comes bit by bit.  Raises ClientError."""
    try:
        return msgspec.json.decode(data, type=type)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _unreadable(server, error) from error


def _unreadable(server: Server, error: Exception) -> ClientError:
    # A ValidationError is about JSON that says something else.
    what = "something unexpected" if isinstance(error, msgspec.ValidationError) else "something that is no JSON"
    return ClientError(f"{server.address} answered with {what}: {error}; is this an analyzer or agent?")


def _decoder(type: Any) -> Callable[[bytes], Any]:
    return lambda body: msgspec.json.decode(body, type=type)


def query(gremlin: str, type: Any) -> Call[Any]:
    """The result of a query; None for an empty one."""
    decode = _decoder(type)
    return Call("POST", "/api/topology", lambda body: decode(body) if body else None, _query(gremlin))


def text_of(gremlin: str, accept: str = JSON) -> Call[bytes]:
    """The result of a query as the server writes it."""
    return Call("POST", "/api/topology", bytes, _query(gremlin), accept)


def _query(gremlin: str) -> bytes:
    return msgspec.json.encode({"GremlinQuery": gremlin})


@final
class Import(msgspec.Struct, frozen=True):
    """What became of a recording; times are milliseconds since the epoch, ``Warning`` is "" when there is nothing."""

    CaptureID: str
    Bytes: int
    Packets: int
    Unread: int
    Ignored: int
    Flows: int
    Start: int
    End: int
    Warning: str = ""


def import_pcap() -> Call[Import]:
    """Put the flows of a recording into history; its bytes go along."""
    return Call(
        "POST",
        "/api/pcap",
        msgspec.json.Decoder(Import).decode,
        attempt="Failed to import",
        more=(("Content-Type", PCAP),),
    )


def graph() -> Call[Graph]:
    """The live graph."""
    return Call("GET", "/api/topology", _decoder(Graph))


def status() -> Call[dict[str, Any]]:
    """The state of the process that answers."""
    return Call("GET", "/api/status", _decoder(dict[str, Any]))


@final
@attrs.frozen
class Kind(Generic[T]):
    """The calls about API objects of one kind; ``name`` is the word in the path, ``type`` what they are read as."""

    name: str
    type: type[T]

    def list(self) -> Call[dict[str, T]]:
        """All of them, by id."""
        return self._call("GET", "list", _decoder(dict.__class_getitem__((str, self.type))))

    def get(self, id: str) -> Call[T]:
        """One of them."""
        return self._call("GET", "get", _decoder(self.type), id)

    def create(self, value: T, ttl: str | None = None) -> Call[T]:
        """Make one."""
        more = () if ttl is None else (("X-Resource-TTL", ttl),)
        return self._call("POST", "create", _decoder(self.type), body=value, more=more)

    def patch(self, id: str, operations: object) -> Call[T | None]:
        """Change one by operations of RFC 6902."""
        return self._call("PATCH", "update", _decoder(self.type), id, body=operations, unchanged=lambda: None)

    def delete(self, id: str) -> Call[None]:
        """Delete one."""
        return self._call("DELETE", "delete", lambda _body: None, id)

    def _call(
        self, method: str, verb: str, read: Callable[[bytes], Any], id: str | None = None, **parts: Any
    ) -> Call[Any]:
        path = f"/api/{self.name}" if id is None else f"/api/{self.name}/{quote(id, safe='')}"
        if "body" in parts:
            parts["body"] = _encoded(parts["body"])
        return Call(method, path, read, attempt=f"Failed to {verb} {self.name}", **parts)


def _encoded(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ClientError(f"this cannot be sent as JSON: {error}") from error
