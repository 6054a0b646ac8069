"""One capture on one node: made, kept running, made again after a failure, and ended in order."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar, final

import attrs
import structlog
import trio

from skycore.errors import CaptureError
from skycore.flow.batch import FlowBatch
from skycore.flow.export.target import exporting, look_up, spec_of_table
from skycore.flow.options import FlowOptions
from skycore.flow.source import Counts, FlowSource, Interface, Packets
from skycore.flow.spec import CaptureSpec
from skycore.flow.table import FlowTable, TableCounts

log = structlog.get_logger(__name__)

_FIRST_PAUSE: Final = 1.0
_LAST_PAUSE: Final = 30.0
_FLUSH_TIME: Final = 5.0
_ERROR: Final = 500

T = TypeVar("T")
C = TypeVar("C", Counts, TableCounts)


class Sources(Protocol):
    """Which flow sources there are."""

    def make(self, type: str, host: Any) -> FlowSource:
        """A source for one capture.  Raises CaptureError when there is none, or it cannot be made."""
        ...


@final
@attrs.frozen
class Place:
    """Where a capture is to be made: the interface, or why there is none, and the type that the capture has there.

    ``exclude`` is a filter for what is to be left out: our own traffic.
    """

    interface: Interface | None
    type: str = ""
    error: str = ""
    mpls_ports: tuple[int, ...] = ()
    exclude: str = ""


@final
class Running:
    """One capture on one node.  ``run`` goes on until ``stop``; ``moved`` is told that its place may be another."""

    def __init__(
        self,
        node: str,
        capture: CaptureSpec,
        *,
        place: Callable[[], Place],
        sources: Sources,
        options: FlowOptions,
        inside: Callable[[str, Callable[[], Any]], Any],
        forward: Callable[[FlowBatch], Awaitable[None]],
        news: Callable[[], None],
    ) -> None:
        self.node = node
        self.capture = capture
        self.type = capture.Type
        self.error: str | None = None
        self.started = False
        self.shown: dict[str, str] = {}
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self._place = place
        self._at: Place | None = None
        self._sources = sources
        self._options = options
        self._inside = inside
        self._forward = forward
        self._put = forward
        self._news = news
        self._attempt: trio.CancelScope | None = None
        self._changed = trio.Event()
        self._source: FlowSource | None = None
        self._table: FlowTable | None = None
        self._before = Counts()
        self._table_before = TableCounts()

    # ------------------------------------------------------------------ what others see

    def counts(self) -> Counts:
        """Packets since this capture began, over all its sources."""
        if self._source is None:
            return self._before
        try:
            now = self._source.counts()
        except Exception as error:  # a plugin's code
            log.warning("a flow source cannot count", capture=self.capture.UUID, error=str(error))
            return self._before
        return add(self._before, now)

    @property
    def table(self) -> FlowTable | None:
        """The table of what is being captured, None while nothing is."""
        return self._table

    def table_counts(self) -> TableCounts:
        now = TableCounts() if self._table is None else self._table.counts()
        return add(self._table_before, now)

    def entry(self) -> dict[str, Any]:
        """What stands in the node's metadata ``Captures``."""
        capture, counts = self.capture, self.counts()
        texts = {
            "ID": capture.UUID,
            "State": "error" if self.error is not None else "active",
            "Name": capture.Name,
            "Description": capture.Description,
            "BPFFilter": capture.BPFFilter,
            "Type": self.type,
            "Error": self.error or "",
            **self.shown,
        }
        return {
            "PacketsReceived": counts.received,
            "PacketsDropped": counts.dropped,
            "PacketsIfDropped": counts.if_dropped,
            **{key: text for key, text in texts.items() if text},
        }

    # ------------------------------------------------------------------ life

    def stop(self) -> None:
        self.scope.cancel()

    def moved(self) -> None:
        """The node has changed: when it is captured elsewhere or otherwise now, the source is made anew."""
        if self._place() != self._at:
            self._changed.set()
            if self._attempt is not None:
                self._attempt.cancel()

    async def run(self) -> None:
        """Keep the capture until ``stop``."""
        pause = _FIRST_PAUSE
        try:
            with self.scope:
                while True:
                    self._changed = trio.Event()
                    began = time.monotonic()
                    with trio.CancelScope() as self._attempt:
                        await self._try()
                    self._attempt = None
                    if time.monotonic() - began > _LAST_PAUSE:
                        pause = _FIRST_PAUSE
                    with trio.move_on_after(pause) as waited:
                        await self._changed.wait()
                    pause = min(2 * pause, _LAST_PAUSE) if waited.cancelled_caught else _FIRST_PAUSE
        finally:
            self.ended.set()

    async def _try(self) -> None:
        self._at = place = self._place()
        self.type = place.type or self.capture.Type
        if place.interface is None:
            self._fail(place.error)
            # Nothing to try until the node changes.
            await self._changed.wait()
            return
        try:
            await self._capture(place, place.interface)
        except BaseException as error:
            # A plugin may raise anything, SystemExit too, and may do so at the moment at which it is cancelled.
            cancelled, failure = _apart(error)
            if failure is not None:
                self._explain(failure)
            if cancelled is not None:
                raise cancelled from None

    def _explain(self, failure: BaseException) -> None:
        leaf = _leaf(failure)
        reason = str(leaf) if isinstance(leaf, CaptureError) else _words(leaf)
        log.warning("a capture failed", node=self.node, capture=self.capture.UUID, error=reason)
        self._fail(reason)

    async def _capture(self, place: Place, interface: Interface) -> None:
        address = await look_up(self.capture, self.type)
        if address is None:
            table = FlowTable(self.capture, interface, self._options, place.mpls_ports)
            await self._count(table, _Host(self, interface, table, place.exclude, self._inside), self._forward)
            return
        table = FlowTable(spec_of_table(self.capture), interface, self._options, place.mpls_ports)
        exclude = _joined(place.exclude, address.exclude(self.capture.TargetType))
        async with exporting(self.capture, interface, address, self._tell_target) as exporter:
            host = _Host(self, interface, exporter.packets or table, exclude, self._inside)
            await self._count(table, host, exporter.put)

    async def _count(self, table: FlowTable, host: _Host, put: Callable[[FlowBatch], Awaitable[None]]) -> None:
        source = self._sources.make(self.type, host)
        self._table, self._source, self._put = table, source, put
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._drive, source)
                self.error, self.started = None, True
                self._news()
                nursery.start_soon(self._update, table)
                nursery.start_soon(self._expire, table)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _FLUSH_TIME):
                await self._send(await table.flush())
            self._before, self._table_before = self.counts(), _ended(self.table_counts())
            self._source = self._table = None
            self.shown = {}

    async def _drive(self, source: FlowSource, task_status: trio.TaskStatus[None]) -> None:
        await source.run(task_status)
        raise CaptureError("the source of packets has ended")

    async def _update(self, table: FlowTable) -> None:
        while True:
            await trio.sleep(self._options.update)
            async for batch in table.update():
                await self._send(batch)

    async def _expire(self, table: FlowTable) -> None:
        while True:
            await trio.sleep(self._options.expire)
            await self._send(await table.expire())

    async def _send(self, batch: FlowBatch) -> None:
        if batch.flows or batch.raw_packets:
            await self._put(batch)

    def _tell_target(self, fault: str) -> None:
        """A target that cannot be reached ends no capture: it may be back at any moment."""
        self.shown = {**self.shown, "Error": fault}
        self._news()

    def _fail(self, reason: str) -> None:
        self.error = reason[:_ERROR]
        self._news()


@final
class _Host:
    """Implements skycore.flow.source.FlowHost."""

    def __init__(
        self,
        running: Running,
        interface: Interface,
        packets: Packets,
        exclude: str,
        inside: Callable[[str, Callable[[], Any]], Any],
    ) -> None:
        self.capture = running.capture
        self.interface = interface
        self.packets = packets
        self.filter = _joined(running.capture.BPFFilter, exclude)
        self.log = structlog.get_logger(f"skycore.flow.{running.type}").bind(
            interface=interface.name, capture=running.capture.UUID
        )
        self._running = running
        self._inside = inside

    def in_netns(self, call: Callable[[], T]) -> T:
        found: T = self._inside(self.interface.namespace, call)
        return found

    def show(self, **fields: str) -> None:
        self._running.shown.update(fields)
        self._running._news()


def _joined(wanted: str, exclude: str) -> str:
    if not exclude:
        return wanted
    return f"({wanted}) and {exclude}" if wanted.strip() else exclude


def add(one: C, other: C) -> C:
    """Sum of two records of counters, field by field."""
    names = [field.name for field in attrs.fields(type(one))]
    return attrs.evolve(one, **{name: getattr(one, name) + getattr(other, name) for name in names})


def _ended(counts: TableCounts) -> TableCounts:
    """A table that is gone holds no flows."""
    return attrs.evolve(counts, flows=0)


def _apart(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of an error is cancellation, and what is not."""
    if isinstance(error, trio.Cancelled):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return None, error


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"
