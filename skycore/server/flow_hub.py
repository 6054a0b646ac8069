"""The WebSocket endpoint of flows: `/ws/subscriber/flow`; see docs/websocket.md.

Each client has a mailbox of its own: one that does not keep up gets the newest record of each flow that it missed, and
is told how many it will never get.  Nobody waits for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, final
from uuid import uuid4

import attrs
import msgspec
import structlog
import trio

from skycore.errors import Refusal, WebSocketClosed
from skycore.server.envelope import Message, encode
from skycore.server.handshake import Client, identify
from skycore.server.mailbox import Mailbox
from skycore.server.pace import Pace
from skycore.server.upgrade import UpgradeRequest
from skycore.server.websocket import KeepAlive, WebSocket, encode_frame

_log = structlog.get_logger(__name__)

FLOW: Final = "flow"
STATS: Final = "stats"
_OF_ONE: Final = "flow/"
"""The namespace of one capture's flows begins so, and ends with its UUID."""
_AT_ONCE: Final = 100
"""Flows of one message, as Skydive's."""
_SLICE: Final = 500
"""Records that are handed out without letting others run, a millisecond or less."""
_WAITING: Final = 32 << 20
"""Bytes that wait for one client."""
_INCOMING: Final = 64 << 20
"""Bytes that were stored and not handed out yet."""
_MESSAGES_A_SECOND: Final = 100
_encode = msgspec.json.Encoder().encode

Key = tuple[str, str]
"""Namespace, and what it is about: the UUID of a flow, or capture and node of statistics."""


class _Named(msgspec.Struct, gc=False):
    UUID: str
    CaptureID: str = ""


_named = msgspec.json.Decoder(_Named).decode


@final
@attrs.define(eq=False)
class FlowClient:
    """One subscriber: who it is, and what waits for it."""

    client: Client
    mailbox: Mailbox[Key]

    @property
    def namespaces(self) -> frozenset[str]:
        """Without any it gets all flows and statistics, as Skydive's clients expect."""
        return self.client.namespaces or frozenset((FLOW, STATS))


@final
class FlowHub:
    """All subscribers of flows of one analyzer.

    ``store`` is told what was committed, ``count`` what captures count; ``subscribe`` handles one client; ``run`` is
    started in a nursery before them.
    """

    def __init__(
        self,
        *,
        host: str,
        service: str,
        keep_alive: KeepAlive,
        clock: Callable[[], int],
        compression: bool = True,
        waiting: int = _WAITING,
    ) -> None:
        self.clients: dict[str, FlowClient] = {}
        self.dropped = 0
        self._host = host
        self._service = service
        self._keep_alive = keep_alive
        self._clock = clock
        self._compression = compression
        self._waiting = waiting
        self._incoming: deque[Sequence[bytes]] = deque()
        self._size = 0
        self._news = trio.Event()

    # ------------------------------------------------------------------ what happens

    def store(self, records: Sequence[bytes]) -> None:
        """Flows that were committed, as JSON; for free while nobody listens."""
        if not self.clients or not records:
            return
        self._incoming.append(records)
        self._size += sum(map(len, records))
        while self._size > _INCOMING and len(self._incoming) > 1:
            lost = self._incoming.popleft()
            self._size -= sum(map(len, lost))
            self.dropped += len(lost)
        self._news.set()

    def count(self, stats: Mapping[str, Any], node: str) -> None:
        """What one capture has counted on one node since the last time."""
        for client in self.clients.values():
            if STATS in client.namespaces:
                client.mailbox.put((STATS, f"{stats.get('CaptureID', '')}/{node}"), _encode(stats))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand out what comes, until cancelled."""
        task_status.started()
        while True:
            while self._incoming:
                records = self._incoming.popleft()
                self._size -= sum(map(len, records))
                for start in range(0, len(records), _SLICE):
                    self._hand_out(records[start : start + _SLICE])
                    await trio.lowlevel.checkpoint()
            self._news = trio.Event()
            await self._news.wait()

    def _hand_out(self, records: Sequence[bytes]) -> None:
        known: list[tuple[_Named, bytes]] = []
        for record in records:
            try:
                known.append((_named(record), record))
            except msgspec.DecodeError as error:
                _log.error("a stored flow has no UUID", error=str(error))
        for client in self.clients.values():
            for namespace in client.namespaces:
                capture = namespace.removeprefix(_OF_ONE)
                for named, record in known:
                    if namespace == FLOW or (capture != namespace and capture == named.CaptureID):
                        client.mailbox.put((namespace, named.UUID), record)

    # ------------------------------------------------------------------ clients

    async def subscribe(self, request: UpgradeRequest) -> None:
        """One client of `/ws/subscriber/flow` (an UpgradeHandler)."""
        client = identify(request, self._clock())
        if client.host in self.clients:
            raise Refusal(409, f"host id {client.host!r} is connected already")
        served = self.clients[client.host] = FlowClient(client, Mailbox(self._waiting))
        try:
            socket = await request.accept(
                [("X-Host-ID", self._host), ("X-Service-Type", self._service)], compression=self._compression
            )
            if client.fault:
                # Skydive, too, upgrades first and closes then.
                await socket.close(1000, client.fault)
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(socket.keep_alive, self._keep_alive)
                nursery.start_soon(_send, socket, served)
                await _ignore(socket)
        except* WebSocketClosed:
            pass
        finally:
            del self.clients[client.host]


async def _ignore(socket: WebSocket) -> None:
    """Take what a client says, which is nothing that we would have to do."""
    pace = Pace(_MESSAGES_A_SECOND, _MESSAGES_A_SECOND)
    while True:
        await socket.receive()
        await pace.wait()


async def _send(socket: WebSocket, served: FlowClient) -> None:
    """Send what waits.  Raises WebSocketClosed."""
    client, mailbox, told = served.client, served.mailbox, 0
    while True:
        taken = await mailbox.take(_AT_ONCE)
        messages = [*_messages(taken)]
        if mailbox.dropped > told:
            obj = _encode({"Flows": mailbox.dropped - told, "Time": time.time_ns() // 1_000_000})
            messages.append(Message(FLOW, "lost", str(uuid4()), 200, obj))
            told = mailbox.dropped
        for message in messages:
            frame = encode_frame(encode(message, client.protocol), client.protocol == "json", socket.window_bits)
            client.sent += 1
            await socket.send_frames(frame)
        client.coalesced = mailbox.coalesced


def _messages(taken: Sequence[tuple[Key, bytes]]) -> Iterator[Message]:
    for namespace, group in groupby(taken, lambda one: one[0][0]):
        objs = [obj for _, obj in group]
        if namespace == STATS:
            yield from (Message(STATS, "stats", str(uuid4()), 200, obj) for obj in objs)
        else:
            yield Message(namespace, "store", str(uuid4()), 200, b"[" + b",".join(objs) + b"]")
