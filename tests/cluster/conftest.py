"""Both ends of the link, joined by real streams through the real acceptor."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio
import trio_websocket

from skycore.bus import ChangeLog
from skycore.cluster import messages
from skycore.cluster.intake import Intake
from skycore.cluster.recorder import Recorder
from skycore.cluster.spool import Spool
from skycore.cluster.uplink import Uplink
from skycore.errors import StorageError
from skycore.graph.element import Revision, canonical_metadata
from skycore.graph.graph import Graph
from skycore.server.acceptor import Acceptor
from skycore.server.websocket import KeepAlive
from skycore.storage.contract import Record
from skycore.storage.embedded import EmbeddedStore
from skycore.storage.keeper import HistoryKeeper

Content = dict[str, tuple[bytes, str | None, str | None]]


def content(graph: Graph) -> Content:
    """What each element says; the order of keys is of no account."""
    return content_of([*graph.nodes.values(), *graph.edges.values()])


def content_of(revisions: Iterable[Revision]) -> Content:
    return {row.id: (canonical_metadata(row.metadata()), row.parent, row.child) for row in revisions}


async def until(holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds; fails when it never does."""
    with trio.move_on_after(seconds):
        while not holds():  # noqa: ASYNC110
            await trio.sleep(0.005)
    assert holds()


async def nothing_served(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Disk:
    """What a store's commits meet: a full disk while ``full``, a slow one while ``held``."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.full = False
        self.waiting = threading.Event()
        self._go = threading.Event()
        self._go.set()
        self._commit = store.commit
        setattr(store, "commit", self.commit)  # noqa: B010

    def commit(self, records: Sequence[Record]) -> None:
        self.waiting.set()
        assert self._go.wait(20)
        if self.full:
            raise StorageError("the disk is full")
        self._commit(records)

    @contextmanager
    def held(self) -> Iterator[None]:
        self.waiting.clear()
        self._go.clear()
        try:
            yield
        finally:
            self._go.set()


class AnalyzerEnd:
    """Graph, history and intake as the analyzer's role wires them, with the acceptor before them."""

    def __init__(
        self, folder: Path, *, token: str | None = None, patience: float = 30.0, bound: int = 64 << 20
    ) -> None:
        self.store = EmbeddedStore(EmbeddedStore.Settings(str(folder)))
        self.disk = Disk(self.store)
        self.store.open()
        floor = self.store.highest_revision()
        self.graph = Graph(host="z", origin="analyzer.z", with_tids=False, floor=floor)
        self.graph.log = ChangeLog(
            key=lambda revision: revision.id,
            size=lambda revision: len(revision.json),
            bound=bound,
        )
        self.graph.restore(self.store.current(), lambda revision: self.graph.claimant(revision.origin, plugin="agent"))
        self.keeper = HistoryKeeper(self.graph, self.store)
        self.intake = Intake(
            self.graph, self.keeper, token=token, patience=patience, keep_alive=KeepAlive(ping_delay=1, pong_timeout=2)
        )
        for interval in self.store.open_stale_intervals():
            self.graph.continue_stale(interval.origin, interval.claimant, interval.start_ms)
        self.acceptor = Acceptor(nothing_served, {messages.PATH: self.intake.serve})
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[AnalyzerEnd] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until ``die``."""
        try:
            async with trio.open_nursery() as self._nursery:
                self.intake.restore(sorted(self.graph.claimants), self.store.marks())
                await self._nursery.start(self.keeper.run)
                await self._nursery.start(self.intake.run)
                task_status.started(self)
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self.store.close()

    def die(self) -> None:
        """End at once, without a last commit."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    async def connect(self) -> trio.SocketStream:
        """A stream to the acceptor."""
        if self._nursery is None:
            raise OSError("connection refused")
        ours, theirs = trio.socket.socketpair()
        self._nursery.start_soon(self.acceptor.serve_connection, trio.SocketStream(theirs))
        return trio.SocketStream(ours)

    @property
    def link(self) -> Any:
        (link,) = self.intake.links.values()
        return link


class AgentEnd:
    """Graph, spool, recorder and uplink of one agent; ``dial`` reaches its analyzer."""

    epochs = itertools.count(1)
    silence = 5.0

    def __init__(
        self,
        folder: Path,
        dial: Callable[[], Any],
        *,
        host: str = "h",
        token: str | None = None,
        epoch: int | None = None,
        spool_bytes: int = 16 << 20,
    ) -> None:
        self.graph = Graph(host=host, origin=f"agent.{host}", with_tids=True)
        self.spool = Spool(folder, epoch if epoch is not None else next(self.epochs), spool_bytes)
        self.recorder = Recorder(self.graph, self.spool)
        self.ready = trio.Event()
        self._dial = dial
        self.streams: list[trio.SocketStream] = []
        shown = None if token is None else f"Bearer {token}"
        self.links: dict[str, Uplink] = {}
        self.shown = shown
        self.uplink = self.add_link("analyzer", self._connect)
        self.probe = self.graph.claimant("probe")
        self.probe.put(f"{host}:host", {"Type": "host", "Name": host})
        self._scope = trio.CancelScope()

    def add_link(self, name: str, dial: Callable[[], Any]) -> Uplink:
        """One more link; to be run by the caller."""
        return Uplink(
            name,
            dial,
            self.recorder,
            ready=self.ready,
            authorization=self.shown,
            silence=self.silence,
            links=self.links,
        )

    async def _connect(self) -> trio.SocketStream:
        stream: trio.SocketStream = await self._dial()
        self.streams.append(stream)
        return stream

    async def run(self, task_status: trio.TaskStatus[AgentEnd] = trio.TASK_STATUS_IGNORED) -> None:
        """Record and send until ``die``."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.uplink.run)
                    self.ready.set()
                    nursery.start_soon(self.recorder.run)
                    task_status.started(self)
                    await trio.sleep_forever()
        finally:
            self.spool.close()

    def die(self) -> None:
        """End at once."""
        self._scope.cancel()

    def cut(self) -> None:
        """The wire breaks; the uplink will dial again."""
        self.streams[-1].socket.close()

    async def reconnected(self) -> None:
        """Cut the wire, and wait until the uplink has noticed, dialled, and is linked again."""
        dialled = len(self.streams)
        self.cut()
        await until(lambda: len(self.streams) > dialled and self.uplink.state.connected)

    async def acknowledged(self) -> None:
        """Wait until the analyzer has all that was said so far."""
        await until(lambda: self.recorder.written)
        await self.recorder.caught_up()
        written = self.recorder.written
        await until(lambda: self.spool.reader("analyzer").acknowledged >= (self.recorder.epoch, written))
        await until(lambda: self.uplink.state.acknowledged >= written)


class Hand:
    """An agent made by hand: a WebSocket on which anything can be said."""

    def __init__(self, socket: trio_websocket.WebSocketConnection) -> None:
        self.socket = socket

    async def say(self, message: messages.FromAgent | bytes | str) -> None:
        data = message if isinstance(message, bytes | str) else messages.encode(message)
        await self.socket.send_message(data)

    async def hear(self) -> messages.FromAnalyzer:
        with trio.fail_after(10):
            return messages.from_analyzer(await self.socket.get_message())

    async def hears_nothing(self, seconds: float = 0.1) -> None:
        with trio.move_on_after(seconds):
            raise AssertionError(f"heard {await self.socket.get_message()!r}")


@attrs.define
class Ends:
    """Makes both ends in the test's nursery, each with a folder of its own name."""

    nursery: trio.Nursery
    folder: Path
    analyzer: AnalyzerEnd | None = None

    async def start_analyzer(self, **options: Any) -> AnalyzerEnd:
        end = AnalyzerEnd(self.folder / "analyzer", **options)
        self.analyzer = end
        await self.nursery.start(end.run)
        return end

    async def dial(self) -> trio.SocketStream:
        assert self.analyzer is not None
        return await self.analyzer.connect()

    async def start_agent(self, host: str = "h", **options: Any) -> AgentEnd:
        end = AgentEnd(self.folder / host, self.dial, host=host, **options)
        await self.nursery.start(end.run)
        return end

    async def hand(self, nursery: trio.Nursery, headers: list[tuple[bytes, bytes]] | None = None) -> Hand:
        stream = await self.dial()
        socket = await trio_websocket.wrap_client_stream(
            nursery, stream, "analyzer", messages.PATH, extra_headers=headers or []
        )
        return Hand(socket)


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    old = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[])
    yield
    structlog.configure(**old)


@pytest.fixture
def ends(nursery: trio.Nursery, tmp_path: Path) -> Ends:
    return Ends(nursery, tmp_path)


def living(store: EmbeddedStore) -> dict[str, Revision]:
    """The last revisions of what lives."""
    return {revision.id: revision for revision in store.current()}
