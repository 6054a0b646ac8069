"""The agent's end of one link: sends the spool's entries in order, and lets go of what is acknowledged."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import structlog
import trio
import trio_websocket

from skycore import __version__
from skycore.cluster import messages
from skycore.cluster.messages import Ack, Gap, Hello, Refused, Stale, Welcome
from skycore.cluster.recorder import Recorder
from skycore.cluster.spool import Entry, Lost, Reader
from skycore.config.address import Address
from skycore.errors import LinkError, StorageError
from skycore.graph.graph import Staleness

log = structlog.get_logger(__name__)

_CONNECT_TIME = 10.0
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 5.0
_AT_ONCE = 1 << 20
_REASON = 500

Dial = Callable[[], Awaitable[trio.SocketStream | trio.SSLStream[trio.SocketStream]]]
"""Opens a stream to the analyzer: over TCP or TLS, or in memory when it lives in the same process."""


@attrs.define
class LinkState:
    """What status shows of one link."""

    analyzer: str
    connected: bool = False
    connected_at: int | None = None
    remote_host: str = ""
    skew: int = 0
    sent: int = 0
    acknowledged: int = 0
    error: str | None = None


class Uplink:
    """One analyzer, for as long as the agent runs: connects, sends, and connects again.

    ``name`` is the analyzer's address as configured; it names the reader in the spool.  ``ready`` is set when
    the agent's first inventory is complete, and so its first state may be told.  ``authorization`` is the header
    of that name that the analyzer is shown.
    """

    def __init__(
        self, name: str, dial: Dial, recorder: Recorder, *, ready: trio.Event, authorization: str | None
    ) -> None:
        self.state = LinkState(name)
        self._dial = dial
        self._recorder = recorder
        self._reader = recorder.spool.reader(name)
        self._ready = ready
        self._authorization = authorization
        self._moved = trio.Event()

    async def moved(self) -> None:
        """Return at the next acknowledgement, or when the link is lost."""
        await self._moved.wait()

    def _tell_moved(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def run(self) -> None:
        """Keep the link until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            reason = "the analyzer closed the link"
            try:
                await self._link()
            except* (OSError, trio.BrokenResourceError, trio_websocket.HandshakeError) as group:
                reason = _reason(group)
            except* trio_websocket.ConnectionClosed as group:
                reason = _reason(group)
            except* (LinkError, StorageError) as group:
                reason = _reason(group)
            if self.state.connected:
                pause = _FIRST_PAUSE
            if self.state.connected:
                log.warning("link to the analyzer lost; connecting again", analyzer=self.state.analyzer, error=reason)
            elif self.state.error != reason:
                log.warning("no link to the analyzer; trying again", analyzer=self.state.analyzer, error=reason)
            self.state.connected = False
            self.state.connected_at = None
            self.state.error = reason
            self._tell_moved()
            await trio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, _LAST_PAUSE)

    async def _link(self) -> None:
        async with self._websocket() as socket:
            welcome = await self._greet(socket)
            self.state.connected = True
            self.state.connected_at = self._recorder.graph.clock()
            self.state.remote_host = welcome.host
            self.state.skew = welcome.clock - self._recorder.graph.clock()
            self.state.error = None
            log.info("link to the analyzer is up", analyzer=self.state.analyzer, resume=welcome.resume)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, socket, welcome.resume)
                nursery.start_soon(self._tell_stale, socket)
                await self._receive(socket)
                nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def _websocket(self) -> AsyncIterator[trio_websocket.WebSocketConnection]:
        headers = [
            (b"X-Host-ID", self._recorder.graph.host.encode()),
            (b"X-Client-Type", b"agent"),
        ]
        if self._authorization is not None:
            headers.append((b"Authorization", self._authorization.encode()))
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(_CONNECT_TIME) as scope:
                stream = await self._dial()
                socket = await trio_websocket.wrap_client_stream(
                    nursery, stream, "analyzer", messages.PATH, extra_headers=headers, max_message_size=1 << 20
                )
            if scope.cancelled_caught:
                raise LinkError(f"no connection within {_CONNECT_TIME:g} s")
            try:
                yield socket
            finally:
                # No closing handshake: the analyzer has all it acknowledged, and gets the rest again.
                # First this, as waiting in a cancelled scope would put Cancelled in the place of the reason.
                await trio.aclose_forcefully(stream)
                nursery.cancel_scope.cancel()

    async def _greet(self, socket: trio_websocket.WebSocketConnection) -> Welcome:
        graph = self._recorder.graph
        stale = [_stale(staleness) for staleness in graph.stale.values()]
        hello = Hello(
            messages.SCHEMA, graph.host, graph.origin, self._recorder.epoch, graph.clock(), __version__, stale
        )
        await socket.send_message(messages.encode(hello))
        answer = None
        with trio.move_on_after(_CONNECT_TIME):
            answer = messages.from_analyzer(await socket.get_message())
        if isinstance(answer, Refused):
            raise LinkError(f"the analyzer refused the link: {answer.reason}")
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
                case Refused():
                    raise LinkError(f"the analyzer ended the link: {message.reason}")
                case Welcome():
                    raise LinkError("welcome a second time")

    async def _tell_stale(self, socket: trio_websocket.WebSocketConnection) -> None:
        cursor = self._recorder.graph.stale_log.cursor()
        try:
            while True:
                await cursor.wait()
                for staleness in cursor.read().changes:
                    await socket.send_message(messages.encode(_stale(staleness)))
        finally:
            cursor.close()


def _read(reader: Reader, enough: int) -> list[Entry | Lost]:
    """Some entries, about ``enough`` bytes of them; empty when all was read."""
    entries: list[Entry | Lost] = []
    size = 0
    while size < enough and (entry := reader.next()) is not None:
        entries.append(entry)
        size += len(entry.payload) if isinstance(entry, Entry) else 0
    return entries


def tcp(address: Address) -> Dial:
    """A dial over TCP."""

    async def dial() -> trio.SocketStream:
        return await trio.open_tcp_stream(address.host, address.port)

    return dial


def tls(
    address: Address, context: Callable[[], ssl.SSLContext]
) -> Callable[[], Awaitable[trio.SSLStream[trio.SocketStream]]]:
    """A dial over TLS, with the context of that moment; the analyzer's certificate must be for the address's host."""

    async def dial() -> trio.SSLStream[trio.SocketStream]:
        transport = await trio.open_tcp_stream(address.host, address.port)
        stream = trio.SSLStream(transport, context(), server_hostname=address.host, https_compatible=True)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            cause = error.__cause__ or "the analyzer closed the connection"
            raise LinkError(f"no TLS with {address}: {cause}; see tls.ca_cert, and tls.server_cert there") from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    return dial


def _stale(staleness: Staleness) -> Stale:
    return Stale(staleness.claimant, staleness.since, staleness.until, staleness.reason[:_REASON])


def _reason(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, trio_websocket.ConnectionRejected):
        return f"the analyzer answered {error.status_code}: {(error.body or b'').decode(errors='replace').strip()}"
    if isinstance(error, trio_websocket.ConnectionClosed):
        return f"the link was closed: {error.reason}"
    return str(error) if isinstance(error, LinkError | StorageError) else f"{type(error).__name__}: {error}"
