"""The flow table of one capture on one node, over the native one: options, turns and ticks."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, final

import attrs
import trio

from skycore.errors import CaptureError
from skycore.flow.batch import FlowBatch
from skycore.flow.options import FlowOptions
from skycore.flow.source import Bytes, Frame, Interface
from skycore.flow.spec import CaptureSpec

if TYPE_CHECKING:
    from skycore_native import Batch, Chosen, Table

_MPLS_PORTS: Final = (6635,)
"""RFC 7510."""
_FRAGMENT_BYTES: Final = 4 << 20
_AT_ONCE: Final = 20_000
"""Flows that one step of an update looks at; packets wait for that long only."""
_SMALL: Final = 2000
"""A tick over so many flows takes a millisecond or two; above, it is made in a worker thread."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@final
@attrs.frozen
class TableCounts:
    """Since the table was made: ``evicted`` flows left early because it was full, ``ignored`` packets had no layer
    that we know, ``damaged`` blocks or streams could not be read to their end."""

    flows: int = 0
    packets: int = 0
    bytes: int = 0
    ignored: int = 0
    created: int = 0
    evicted: int = 0
    damaged: int = 0


@final
class FlowTable:
    """Takes packets (implements skycore.flow.source.Packets), and gives batches at each tick.

    Packets and ticks take turns: a source waits while a tick is made.  Raises CaptureError without skycore-native.
    """

    def __init__(
        self, capture: CaptureSpec, interface: Interface, options: FlowOptions, mpls_ports: tuple[int, ...] = ()
    ) -> None:
        self._table = _native(capture, interface, options, mpls_ports)
        self.node_tid = interface.tid
        self._link_type = interface.link_type
        self._turn = trio.Lock()
        self._damaged = 0

    async def block(self, block: Bytes) -> None:
        async with self._turn:
            try:
                self._table.block(block, link_type=self._link_type)
            except ValueError:
                self._damaged += 1

    async def frames(self, frames: Sequence[Frame], *, link_type: int | None = None) -> None:
        number = self._link_type if link_type is None else link_type
        async with self._turn:
            try:
                self._table.packets(frames, link_type=number)
            except ValueError as error:
                raise CaptureError(str(error)) from error

    async def record(self, lines: bytes, *, replace: bool = False) -> int:
        async with self._turn:
            try:
                return self._table.record(lines, operation="replace" if replace else "update")
            except ValueError as error:
                self._damaged += 1
                raise CaptureError(str(error)) from error

    async def update(self) -> AsyncIterator[FlowBatch]:
        """The update tick: what changed since the last one, in parts between which packets are counted."""
        at, more = now_ms(), True
        step = partial(self._table.update, most=_AT_ONCE)
        while more:
            batch, more = await self._step(step, at)
            yield batch

    async def expire(self) -> FlowBatch:
        """The expire tick: flows that were quiet since the one before it end."""
        return await self._tick(self._table.expire, now_ms())

    async def flush(self) -> FlowBatch:
        """End all flows."""
        return await self._tick(self._table.flush, now_ms())

    async def choose(
        self, filter: bytes, *, sort_by: str | None, descending: bool, dedup_by: str | None, limit: int | None
    ) -> Chosen:
        """The flows that a query wants (a filter in JSON), in its order; packets wait while it is made.

        Raises CaptureError for a filter that the table does not take.
        """
        choose = partial(
            self._table.choose,
            filter=filter,
            sort_by=sort_by,
            descending=descending,
            dedup_by=dedup_by,
            limit=limit,
        )
        async with self._turn:
            try:
                if len(self._table) <= _SMALL:
                    return choose()
                return await trio.to_thread.run_sync(choose)
            except ValueError as error:
                raise CaptureError(str(error)) from error

    async def chosen(self, chosen: Chosen, begin: int, end: int) -> FlowBatch:
        """Some of the chosen flows, by place, as they stand now, and what is kept of them and not yet sent."""
        async with self._turn:
            batch = self._table.chosen(chosen, begin, end)
        return FlowBatch(batch.flows, batch.raw_packets, len(batch))

    def counts(self) -> TableCounts:
        stats = self._table.stats()
        return TableCounts(
            len(self._table),
            stats["packets"],
            stats["bytes"],
            stats["ignored"],
            stats["created"],
            stats["evicted"],
            self._damaged,
        )

    async def _tick(self, tick: Callable[[int], Batch], time_ms: int) -> FlowBatch:
        return (await self._step(tick, time_ms))[0]

    async def _step(self, tick: Callable[[int], Batch], time_ms: int) -> tuple[FlowBatch, bool]:
        async with self._turn:
            if len(self._table) <= _SMALL:
                batch = tick(time_ms)
            else:
                batch = await trio.to_thread.run_sync(tick, time_ms)
        return FlowBatch(batch.flows, batch.raw_packets, len(batch)), batch.more


def _native(capture: CaptureSpec, interface: Interface, options: FlowOptions, mpls_ports: tuple[int, ...]) -> Table:
    # Imported here: an agent without flow sources needs no native code.
    try:
        from skycore_native import Table  # noqa: PLC0415
    except ImportError as error:
        raise CaptureError(f"flows need the package skycore-native: {error}") from error
    return Table(
        node_tid=interface.tid,
        capture_id=capture.UUID,
        layer_key_mode=capture.LayerKeyMode or options.layer_key_mode,
        max_flows=options.max_entries,
        raw_packet_limit=capture.RawPacketLimit,
        tcp_times=capture.ExtraTCPMetric,
        tcp_names=list(options.tcp_names.items()),
        udp_names=list(options.udp_names.items()),
        timeouts=[(name, math.ceil(seconds)) for name, seconds in options.timeouts.items()],
        header_size=capture.header_size,
        reassemble_tcp=capture.ReassembleTCP,
        defragment_bytes=_FRAGMENT_BYTES if capture.IPDefrag else 0,
        extra_layers=capture.ExtraLayers,
        mpls_ports=mpls_ports or _MPLS_PORTS,
    )
