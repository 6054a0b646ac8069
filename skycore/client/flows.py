"""Following flows as an analyzer stores them, over lost connections and restarts of the other side."""

from __future__ import annotations

import random
import socket
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, final

import attrs
import msgspec
import trio

from skycore.client.server import Server
from skycore.client.subscription import Lost
from skycore.client.websocket import Disconnected, Message, connected
from skycore.errors import ClientError

PATH: Final = "/ws/subscriber/flow"
_SOONEST: Final = 0.2
_LATEST: Final = 5.0
"""Seconds until the next try to connect; they double from one to the other."""

Flow: TypeAlias = dict[str, Any]
"""A flow as JSON has it (docs/flows.md)."""


@final
@attrs.frozen
class Listening:
    """The connection is made: every flow that is stored from now on will be told."""


@final
@attrs.frozen
class Stored:
    """Flows that the analyzer has stored; each as it is now, and the JSON of all."""

    flows: Sequence[msgspec.Raw]


@final
@attrs.frozen
class Missed:
    """So many flows will never be told: we took what was told too slowly."""

    flows: int


FlowEvent: TypeAlias = Listening | Stored | Missed | Lost


class _Missed(msgspec.Struct):
    Flows: int


async def follow_flows(server: Server, hear: Callable[[FlowEvent], None], capture: str = "") -> None:
    """Call ``hear`` with what happens until cancelled; with ``capture`` of the flows of that one only.

    Raises ClientError when there is nothing more to hope for: we are refused, or nobody answered the first time.
    """
    namespace = f"flow/{capture}" if capture else "flow"
    pause, sessions = _SOONEST, 0
    while True:
        before = sessions

        def listening() -> None:
            nonlocal sessions
            sessions += 1
            hear(Listening())

        try:
            await _session(server, namespace, listening, hear)
        except Disconnected as error:
            if not sessions:
                raise ClientError(str(error)) from error
            if sessions > before:
                # It was connected in the meantime; else the loss is told already.
                hear(Lost(str(error)))
                pause = _SOONEST
        await trio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(_LATEST, pause * 2)


async def _session(
    server: Server, namespace: str, listening: Callable[[], None], hear: Callable[[FlowEvent], None]
) -> None:
    """One connection, to its end: raises Disconnected or ClientError."""
    headers = {
        "X-Client-Type": "skycore",
        # The server knows a client by its name; a new one lets us come back before it has noticed that we left.
        "X-Host-ID": f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
        "X-Client-Protocol": "json",
        "X-Websocket-Namespace": namespace,
    }
    failure: Exception = Disconnected("")
    async with connected(server, PATH, headers) as channel, trio.open_nursery() as nursery:

        async def beat() -> None:
            nonlocal failure
            try:
                await channel.keep_alive()
            except Disconnected as error:
                failure = error
            nursery.cancel_scope.cancel()

        nursery.start_soon(beat)
        try:
            listening()
            while True:
                _read(server, await channel.receive(), hear)
        except (Disconnected, ClientError) as error:
            failure = error
        nursery.cancel_scope.cancel()
    raise failure


def _read(server: Server, message: Message, hear: Callable[[FlowEvent], None]) -> None:
    try:
        if message.type == "store":
            hear(Stored(message.decode(list[msgspec.Raw])))
        elif message.type == "lost":
            hear(Missed(message.decode(_Missed).Flows))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ClientError(f"{server.address} sent flows that cannot be read: {error}") from error
