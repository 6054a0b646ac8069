"""WebSockets of an analyzer or agent: the connection, its errors, and the envelope of messages (docs/websocket.md)."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, final

import msgspec
import trio
import trio_websocket
from trio_websocket import WebSocketConnection

from skycore.client.server import Server
from skycore.errors import ClientError, RequestRefused

_LARGEST: Final = 1 << 30
"""Bytes of one message: a whole graph is one."""
_PIECE: Final = 1 << 16
_PING_EVERY: Final = 5.0
"""Seconds; a connection on which no pong comes in that time is given up."""
_CLOSING: Final = 1.0
"""Seconds that saying goodbye may take."""
_LONGEST_REASON: Final = 2000
_LATER: Final = (408, 409, 429)
"""Refusals that another try may not meet."""


@final
class Message(msgspec.Struct, frozen=True):
    """One message in its envelope; ``obj`` is JSON."""

    namespace: str = msgspec.field(name="Namespace", default="Graph")
    type: str = msgspec.field(name="Type", default="")
    uuid: str = msgspec.field(name="UUID", default="")
    status: int = msgspec.field(name="Status", default=200)
    obj: msgspec.Raw = msgspec.field(name="Obj", default=msgspec.Raw(b"null"))

    def decode(self, type: Any) -> Any:
        """What ``obj`` says.  Raises msgspec.MsgspecError and UnicodeError."""
        return msgspec.json.decode(bytes(self.obj), type=type)


class Disconnected(Exception):
    """The connection broke, or could not be made; another one may do."""


@final
class Socket:
    """A connection on which both sides say messages; calls raise Disconnected, and ClientError for other speech."""

    def __init__(self, connection: WebSocketConnection, server: Server) -> None:
        self._connection = connection
        self._server = server

    async def send(self, type: str, uuid: str, obj: object) -> None:
        """Say something in the namespace ``Graph``."""
        text = msgspec.json.encode({"Namespace": "Graph", "Type": type, "UUID": uuid, "Status": 200, "Obj": obj})
        try:
            with trio.fail_after(self._server.timeout):
                await self._connection.send_message(text.decode())
        except trio.TooSlowError:
            raise Disconnected(f"{self._server.address} takes nothing any more") from None
        except trio_websocket.ConnectionClosed as error:
            raise self._closed(error) from error

    async def receive(self) -> Message:
        """The next message."""
        try:
            text = await self._connection.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise self._closed(error) from error
        try:
            return msgspec.json.decode(text, type=Message)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ClientError(f"{self._server.address} said something that is no message: {error}") from error

    async def keep_alive(self) -> None:
        """Notice a peer that is gone without a word; raises Disconnected then."""
        while True:
            await trio.sleep(_PING_EVERY)
            try:
                with trio.fail_after(max(_PING_EVERY, min(self._server.timeout, 30.0))):
                    await self._connection.ping()
            except trio.TooSlowError:
                raise Disconnected(f"{self._server.address} is silent") from None
            except trio_websocket.ConnectionClosed as error:
                raise self._closed(error) from error

    def _closed(self, error: trio_websocket.ConnectionClosed) -> Exception:
        reason = error.reason
        if reason is not None and reason.code == 1000 and reason.reason:
            # So the server says that it will never serve this: a wrong filter, for example.
            return ClientError(f"{self._server.address} refuses: {reason.reason[:_LONGEST_REASON]}")
        words = "" if reason is None else f": {reason.code} {reason.reason or ''}".rstrip()
        return Disconnected(f"{self._server.address} closed the connection{words}")


@asynccontextmanager
async def connected(server: Server, path: str, headers: Mapping[str, str]) -> AsyncIterator[Socket]:
    """Connect.  Raises ClientError where another try is of no use, and Disconnected where it may be."""
    body: BaseException | None = None
    within = False
    # The library's own time limit leaves its reader running, and with it the block, when the other side says nothing.
    with trio.move_on_after(server.timeout) as connecting:
        try:
            async with trio_websocket.open_websocket(
                server.address.host,
                server.address.port,
                path,
                use_ssl=server.access.context() if server.secure else False,
                extra_headers=_sent(server, headers),
                max_message_size=_LARGEST,
                receive_buffer_size=_PIECE,
                connect_timeout=math.inf,
                disconnect_timeout=_CLOSING,
            ) as connection:
                within, connecting.deadline = True, math.inf
                try:
                    yield Socket(connection, server)
                except BaseException as error:
                    body = error
                    raise
        except (trio_websocket.HandshakeError, OSError) as error:
            if body is not None:
                # The connection could not be closed properly, which is no news beside this.
                raise body from None
            if not within:
                raise _not_connected(server, error) from error
    if connecting.cancelled_caught:
        raise Disconnected(str(server.too_slow()))


def _sent(server: Server, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    if server.access.authorization is not None:
        sent.append((b"Authorization", server.access.authorization.encode()))
    return sent


def _not_connected(server: Server, error: Exception) -> Exception:
    if isinstance(error, trio_websocket.ConnectionRejected):
        status = error.status_code
        text = bytes(error.body or b"").decode("utf-8", "replace").strip()[:_LONGEST_REASON]
        reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
        refused = RequestRefused(status, text, reason, "Failed to connect")
        return Disconnected(str(refused)) if status in _LATER or status >= 500 else refused
    cause: BaseException = error
    while isinstance(cause, trio_websocket.HandshakeError | trio.BrokenResourceError) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, OSError):
        failure = server.failure(cause)
        return failure if "not trusted" in str(failure) else Disconnected(str(failure))
    return Disconnected(f"{server.address} gave no complete answer to the WebSocket handshake")
