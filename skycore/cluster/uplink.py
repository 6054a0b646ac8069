"""The agent's end of one link: sends the spool's entries in order, and lets go of what is acknowledged."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import attrs
import structlog
import trio
import trio_websocket

from skycore import __version__
from skycore.cluster import messages
from skycore.cluster.dial import Dial, HeardStream, peer_of
from skycore.cluster.messages import Ack, Clock, FromAgent, Gap, Hello, Refused, Stale, ToParts, Welcome
from skycore.cluster.recorder import Recorder
from skycore.cluster.spool import Entry, Lost, Reader
from skycore.config.address import Address
from skycore.errors import LinkError, StorageError
from skycore.graph.graph import Staleness

log = structlog.get_logger(__name__)

_CONNECT_TIME = 10.0
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 2.0
_AT_ONCE = 1 << 20
_REASON = 500
_CLOCK_EACH = 5.0
_SLOW_ANSWER = 1.0


class _SameAnalyzer(LinkError):
    """Another of this agent's links leads to the same analyzer."""

    def __init__(self, reason: str, name: str) -> None:
        super().__init__(reason)
        self.name = name


@attrs.define
class LinkState:
    """What status shows of one link.

    ``skew`` is the analyzer's clock minus ours, in milliseconds; ``same_as`` names the link of ours that leads to the
    same analyzer, while this one stands by for it; ``peer`` is where it was reached last, as a number.
    """

    analyzer: str
    peer: Address | None = None
    connected: bool = False
    connected_at: int | None = None
    remote_host: str = ""
    skew: int = 0
    sent: int = 0
    acknowledged: int = 0
    same_as: str | None = None
    error: str | None = None


class LinkPart(Protocol):
    """What else goes over the links of an agent."""

    async def serve(self, analyzer: str, send: Callable[[FromAgent | bytes], Awaitable[None]]) -> None:
        """Work for as long as the link to an analyzer is up; then it is cancelled."""
        ...

    async def take(self, analyzer: str, message: ToParts) -> None:
        """A message of this analyzer that the link itself has no use for; maybe meant for another part."""
        ...


class Uplink:
    """One analyzer, for as long as the agent runs: connects, sends, and connects again.

    ``name`` is the analyzer's address as configured; it names the reader in the spool.  ``ready`` is set when
    the agent's first inventory is complete, and so its first state may be told.  ``authorization`` is the header
    of that name that the analyzer is shown.  ``silence``: without a word, so many seconds after the analyzer's ping
    was due, it is given up.  ``parts`` are what else goes over the link.

    ``links`` are all links of this agent, by name; this one is added.  Two names may mean one analyzer.  It keeps the
    link that was first; the other stands by, takes over what is acknowledged there, and tries again when it is lost.
    """

    def __init__(
        self,
        name: str,
        dial: Dial,
        recorder: Recorder,
        *,
        ready: trio.Event,
        authorization: str | None,
        silence: float,
        links: dict[str, Uplink],
        parts: Sequence[LinkPart] = (),
    ) -> None:
        self.state = LinkState(name)
        self._parts = parts
        self._dial = dial
        self._recorder = recorder
        self._reader = recorder.spool.reader(name)
        self._ready = ready
        self._asked = 0.0
        self._authorization = authorization
        self._silence = silence
        self._links = links
        links[name] = self
        self.moved = trio.Event()
        """Set, and another put in its place, at the next acknowledgement, or when the link is lost."""

    def _tell_moved(self) -> None:
        self.moved.set()
        self.moved = trio.Event()

    async def run(self) -> None:
        """Keep the link until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            failure: BaseException | None = None
            try:
                await self._link()
            except* (
                OSError,
                trio.BrokenResourceError,
                trio_websocket.HandshakeError,
                trio_websocket.ConnectionClosed,
                LinkError,
                StorageError,
            ) as group:
                failure = _first(group)
            if self.state.connected:
                pause = _FIRST_PAUSE
            self._lost(_reason(failure))
            if isinstance(failure, _SameAnalyzer) and (twin := self._links.get(failure.name)) not in (None, self):
                pause = _FIRST_PAUSE
                await self._stand_by(twin)
            await trio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, _LAST_PAUSE)

    def _lost(self, reason: str) -> None:
        state = self.state
        if state.connected:
            log.warning("link to the analyzer lost; connecting again", analyzer=state.analyzer, error=reason)
        elif state.error != reason:
            log.warning("no link to the analyzer; trying again", analyzer=state.analyzer, error=reason)
        state.connected = False
        state.connected_at = None
        state.error = reason
        self._tell_moved()

    async def _stand_by(self, twin: Uplink) -> None:
        """While the analyzer is linked as ``twin``, what it acknowledges there is acknowledged here."""
        self.state.same_as, self.state.error = twin.state.analyzer, None
        moved = twin.moved
        while twin.state.connected:
            position = twin._reader.acknowledged
            await trio.to_thread.run_sync(self._reader.acknowledge, *position)
            self.state.acknowledged = twin.state.acknowledged
            await moved.wait()
            moved = twin.moved
        self.state.same_as = None

    async def _link(self) -> None:
        async with self._websocket() as (socket, stream):
            welcome = await self._greet(socket)
            self.state.connected = True
            self.state.connected_at = self._recorder.graph.clock()
            self.state.remote_host = welcome.host
            self.state.skew = welcome.clock - self._recorder.graph.clock()
            self.state.same_as = self.state.error = None
            log.info("link to the analyzer is up", analyzer=self.state.analyzer, resume=welcome.resume)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, socket, welcome.resume)
                nursery.start_soon(self._tell_stale, socket)
                for part in self._parts:
                    nursery.start_soon(part.serve, self.state.analyzer, partial(_send, socket))
                nursery.start_soon(self._tell_clock, socket)
                nursery.start_soon(_mind_silence, stream, self._silence + welcome.ping_delay / 1000)
                await self._receive(socket)
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def _websocket(self) -> AsyncIterator[tuple[trio_websocket.WebSocketConnection, HeardStream]]:
        headers = [
            (b"X-Host-ID", self._recorder.graph.host.encode()),
            (b"X-Client-Type", b"agent"),
        ]
        if self._authorization is not None:
            headers.append((b"Authorization", self._authorization.encode()))
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(_CONNECT_TIME) as scope:
                dialled = await self._dial()
                self.state.peer = peer_of(dialled) or self.state.peer
                stream = HeardStream(dialled)
                socket = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,  # type: ignore[arg-type]  # it asks for no more than any Stream gives
                    "analyzer",
                    messages.PATH,
                    extra_headers=headers,
                    max_message_size=messages.MAX_ORDER,
                )
            if scope.cancelled_caught:
                raise LinkError(f"no connection within {_CONNECT_TIME:g} s")
            try:
                yield socket, stream
            finally:
                # No closing handshake: the analyzer has all it acknowledged, and gets the rest again.
                # First this, as waiting in a cancelled scope would put Cancelled in the place of the reason.
                await trio.aclose_forcefully(stream)
                nursery.cancel_scope.cancel()

    async def _greet(self, socket: trio_websocket.WebSocketConnection) -> Welcome:
        graph = self._recorder.graph
        stale = [_stale(staleness) for staleness in graph.stale.values()]
        link, epoch = self.state.analyzer, self._recorder.epoch
        hello = Hello(messages.SCHEMA, graph.host, graph.origin, epoch, graph.clock(), __version__, link, stale)
        await socket.send_message(messages.encode(hello))
        answer = None
        with trio.move_on_after(_CONNECT_TIME):
            answer = messages.from_analyzer(await socket.get_message())
        if isinstance(answer, Refused):
            reason = f"the analyzer refused the link: {answer.reason}"
            raise LinkError(reason) if answer.twin is None else _SameAnalyzer(reason, answer.twin)
        if not isinstance(answer, Welcome) or answer.schema != messages.SCHEMA:
            raise LinkError("the analyzer did not answer hello with a welcome of our schema")
        return answer

    async def _send(self, socket: trio_websocket.WebSocketConnection, resume: bool) -> None:
        recorder, reader = self._recorder, self._reader
        await trio.to_thread.run_sync(reader.rewind)
        synced = wanted = resume
        # A sync that began before this makes no whole state: parts of it are lost, or the analyzer had it in a
        # state that it has given up since.
        missing = (recorder.epoch, recorder.written)
        pause = 0.0
        while True:
            written = recorder.written
            entries = await trio.to_thread.run_sync(partial(_read, reader, _AT_ONCE))
            for entry in entries:
                if isinstance(entry, Lost):
                    lost = entry.last - entry.first + 1
                    gap = Gap(entry.epoch, entry.last, entry.start_ms, entry.end_ms, lost)
                    await socket.send_message(messages.encode(gap))
                    missing = max(missing, (entry.epoch, entry.last))
                    synced = wanted = False
                else:
                    await socket.send_message(entry.payload)
                    if (entry.epoch, entry.last) == (recorder.epoch, recorder.last_sync):
                        synced = synced or missing < (recorder.epoch, recorder.first_of_sync)
                self.state.sent = entry.last
            if synced:
                pause = 0.0
            if not entries:
                if not synced and not wanted and self._ready.is_set():
                    # A spool that cannot hold a whole state would have it written again and again.
                    await trio.sleep(pause)
                    pause = min(2 * pause + _FIRST_PAUSE, _LAST_PAUSE)
                    recorder.want_sync()
                    wanted = True
                await recorder.grown(written)

    async def _receive(self, socket: trio_websocket.WebSocketConnection) -> None:
        while True:
            message = messages.from_analyzer(await socket.get_message())
            match message:
                case Ack():
                    await trio.to_thread.run_sync(self._reader.acknowledge, message.epoch, message.seq)
                    self.state.acknowledged = message.seq
                    self._tell_moved()
                case Clock():
                    self._compare(message.clock)
                case Refused():
                    raise LinkError(f"the analyzer ended the link: {message.reason}")
                case Welcome():
                    raise LinkError("welcome a second time")
                case _:
                    for part in self._parts:
                        await part.take(self.state.analyzer, message)

    async def _tell_stale(self, socket: trio_websocket.WebSocketConnection) -> None:
        cursor = self._recorder.graph.stale_log.cursor()
        try:
            while True:
                await cursor.wait()
                for staleness in cursor.read().changes:
                    await socket.send_message(messages.encode(_stale(staleness)))
        finally:
            cursor.close()

    async def _tell_clock(self, socket: trio_websocket.WebSocketConnection) -> None:
        skew = None
        while True:
            self._asked = trio.current_time()
            await socket.send_message(messages.encode(Clock(self._recorder.graph.clock(), skew)))
            await trio.sleep(_CLOCK_EACH)
            skew = self.state.skew

    def _compare(self, theirs: int) -> None:
        """The answer was made about halfway between question and answer (as NTP has it, RFC 5905, section 8)."""
        took = trio.current_time() - self._asked
        if took < _SLOW_ANSWER:
            self.state.skew = theirs - self._recorder.graph.clock() + round(took * 500)


async def _mind_silence(stream: HeardStream, seconds: float) -> None:
    await stream.silent_for(seconds)
    raise LinkError(f"nothing came from the analyzer for {seconds:g} s")


async def _send(socket: trio_websocket.WebSocketConnection, message: FromAgent | bytes) -> None:
    await socket.send_message(message if isinstance(message, bytes) else messages.encode(message))


def _read(reader: Reader, enough: int) -> list[Entry | Lost]:
    """Some entries, about ``enough`` bytes of them; empty when all was read."""
    entries: list[Entry | Lost] = []
    size = 0
    while size < enough and (entry := reader.next()) is not None:
        entries.append(entry)
        size += len(entry.payload) if isinstance(entry, Entry) else 0
    return entries


def _stale(staleness: Staleness) -> Stale:
    return Stale(staleness.claimant, staleness.since, staleness.until, staleness.reason[:_REASON])


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _reason(error: BaseException | None) -> str:
    if error is None:
        return "the analyzer closed the link"
    if isinstance(error, trio_websocket.ConnectionRejected):
        return f"the analyzer answered {error.status_code}: {(error.body or b'').decode(errors='replace').strip()}"
    if isinstance(error, trio_websocket.ConnectionClosed):
        return f"the link was closed: {error.reason}"
    return str(error) if isinstance(error, LinkError | StorageError) else f"{type(error).__name__}: {error}"
