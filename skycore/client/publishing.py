"""Telling an analyzer or agent of nodes and edges, as a publisher (docs/websocket.md)."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, Final, final

import attrs
import msgspec
import trio

from skycore.client.elements import AnyElement, Node
from skycore.client.server import Server
from skycore.client.websocket import Disconnected, Socket, connected
from skycore.errors import ClientError

_END: Final = "end"


@final
@attrs.frozen
class Unpublished:
    """An element that the server did not take, and why."""

    element: AnyElement
    reason: str


async def publish(
    server: Server, elements: Iterable[AnyElement], *, path: str, client_type: str, host: str, persistent: bool
) -> list[Unpublished]:
    """Add nodes and edges; see `skycore.client.TrioClient.publish`."""
    told = list(elements)
    told.sort(key=lambda element: not isinstance(element, Node))
    headers = {
        "X-Client-Type": client_type,
        "X-Host-ID": host or socket.gethostname(),
        "X-Client-Protocol": "json",
        "X-Persistence-Policy": "Persistent" if persistent else "DeleteOnDisconnect",
    }
    unpublished: list[Unpublished] = []
    failure: Exception | None = None
    try:
        async with connected(server, path, headers) as channel, trio.open_nursery() as nursery:

            async def tell() -> None:
                nonlocal failure
                try:
                    await _tell(channel, told)
                except Disconnected as error:
                    failure = error
                    nursery.cancel_scope.cancel()

            nursery.start_soon(tell)
            try:
                await _listen(channel, told, unpublished)
            except (Disconnected, ClientError) as error:
                failure = error
            nursery.cancel_scope.cancel()
    except Disconnected as error:
        failure = error
    if failure is not None:
        raise failure if isinstance(failure, ClientError) else ClientError(str(failure)) from failure
    return unpublished


async def _tell(channel: Socket, elements: list[AnyElement]) -> None:
    for number, element in enumerate(elements):
        await channel.send("NodeAdded" if isinstance(element, Node) else "EdgeAdded", str(number), element)
    # What is taken is not answered, but messages are worked through in turn: the answer to this says that all are.
    # The state of long ago is asked for because it is small.
    await channel.send("SyncRequest", _END, {"Time": 1})


async def _listen(channel: Socket, elements: list[AnyElement], unpublished: list[Unpublished]) -> None:
    while (message := await channel.receive()).uuid != _END:
        if message.status != 200 and message.uuid.isdecimal() and int(message.uuid) < len(elements):
            unpublished.append(Unpublished(elements[int(message.uuid)], _reason(message.decode)))


def _reason(decode: Any) -> str:
    try:
        return str(decode(str))
    except (msgspec.MsgspecError, UnicodeError):
        return "no reason is given"
