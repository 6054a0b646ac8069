"""Recordings (pcap, pcapng) that become flows of history: read as a stream, with the times of the file.

The table's ticks are made by the file's clock, so the flows of a recording are updated, end and are counted over time
as if they had been captured then.  What is held is one table and one piece, however large the file.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, final
from uuid import uuid4

import attrs
import msgspec
import trio

from skycore.errors import RecordingError
from skycore.flow.options import FlowOptions

if TYPE_CHECKING:
    from skycore_native import Batch, Table

_AT_ONCE: Final = 5000
"""Flows of one commit."""
_PART: Final = 1 << 15
"""Bytes that the table takes at one go."""
_SPARE: Final = 1 << 4
"""Updates come early when a table of so many parts had to let go as many flows as fit in one of them."""
_MILLION: Final = 1_000_000

Put = Callable[[Sequence[bytes], Sequence[bytes]], Awaitable[object]]
"""Keeps records of flows, and of packets, as JSON."""


class _Times(msgspec.Struct, gc=False):
    Start: int
    Last: int


_times = msgspec.json.Decoder(_Times).decode


@final
@attrs.frozen
class Imported:
    """What came out of a recording.

    ``capture_id`` is the CaptureID of its flows.  ``unread`` packets had a link type that is not understood or no time,
    ``ignored`` ones no layer that we know; times are milliseconds since the epoch, 0 without flows.
    """

    capture_id: str
    bytes: int
    packets: int
    unread: int
    ignored: int
    flows: int
    start_ms: int
    end_ms: int


@final
class Recording:
    """One recording that comes in pieces: ``feed`` them all, then ``finish``.  What was read is kept as it goes on."""

    def __init__(self, options: FlowOptions, put: Put) -> None:
        self.capture_id = str(uuid4())
        self._table = _table(options, self.capture_id)
        self._options = options
        self._put = put
        self._newest = 0
        # Before the first packet: its time sets them.
        self._update_due = self._expire_due = 0
        self._evicted = 0
        self._start, self._end = 0, 0
        self._bytes = 0

    async def feed(self, piece: bytes) -> None:
        """The next bytes.  Raises RecordingError where the file is damaged; packets before that place count."""
        view = memoryview(piece)
        for at in range(0, len(view), _PART):
            await self._feed(view[at : at + _PART])

    async def _feed(self, part: memoryview) -> None:
        self._bytes += len(part)
        left: memoryview | bytes = part
        while True:
            # Stops before the packet with which a tick is due, so that no flow goes on over a pause that ends it.
            due = min(self._update_due, self._expire_due)
            try:
                reached = self._table.pcap(left, until_ns=max(1, due * _MILLION)) // _MILLION
            except ValueError as error:
                raise RecordingError(str(error)) from error
            self._newest = max(self._newest, reached)
            if not reached:
                return
            evicted = self._table.stats()["evicted"] - self._evicted
            if evicted > self._options.max_entries // _SPARE:
                self._evicted += evicted
                await self._in_parts(partial(self._table.update, self._newest))
            if reached < due:
                return
            left = b""
            await self._tick(reached)

    async def finish(self) -> Imported:
        """No more bytes come: all flows end.  Raises RecordingError when the file ended within a packet; kept is all
        before that."""
        await self.keep()
        try:
            self._table.pcap_end()
        except ValueError as error:
            raise RecordingError(f"unexpected EOF: {error}") from error
        return self.result()

    async def keep(self) -> None:
        """Keep the flows of what was read.  They end in parts, for all at once may be more than memory should hold."""
        for now in (self._newest + 1, self._newest + 2):
            await self._in_parts(partial(self._table.expire, now))
        await self._send(await trio.to_thread.run_sync(self._table.flush, self._newest))

    def result(self) -> Imported:
        """What was kept so far."""
        stats = self._table.stats()
        return Imported(
            capture_id=self.capture_id,
            bytes=self._bytes,
            packets=stats["packets"],
            unread=stats["unread"],
            ignored=stats["ignored"],
            flows=stats["created"],
            start_ms=self._start,
            end_ms=self._end,
        )

    async def _tick(self, now: int) -> None:
        """The file's clock comes to a packet at ``now``: do what is due until then, at the time at which it was due."""
        while (due := min(self._update_due, self._expire_due)) <= now:
            if self._update_due <= self._expire_due:
                await self._in_parts(partial(self._table.update, due))
                self._update_due += round(self._options.update * 1000)
            else:
                await self._in_parts(partial(self._table.expire, due))
                self._expire_due += round(self._options.expire * 1000)
            if not len(self._table):
                # Nothing happens in a long pause.
                self._newest = now
                self._next_ticks()

    def _next_ticks(self) -> None:
        self._update_due = self._newest + round(self._options.update * 1000)
        self._expire_due = self._newest + round(self._options.expire * 1000)

    async def _in_parts(self, tick: Callable[..., Batch]) -> None:
        more = True
        while more:
            batch = await trio.to_thread.run_sync(partial(tick, most=_AT_ONCE))
            more = batch.more
            await self._send(batch)

    async def _send(self, batch: Batch) -> None:
        flows, packets = batch.flows.splitlines(), batch.raw_packets.splitlines()
        for begin in range(0, len(flows), _AT_ONCE):
            part = flows[begin : begin + _AT_ONCE]
            for line in part:
                times = _times(line)
                self._start = min(self._start or times.Start, times.Start)
                self._end = max(self._end, times.Last)
            await self._put(part, ())
        for begin in range(0, len(packets), _AT_ONCE):
            await self._put((), packets[begin : begin + _AT_ONCE])


def _table(options: FlowOptions, capture_id: str) -> Table:
    try:
        from skycore_native import Table  # noqa: PLC0415
    except ImportError as error:
        raise RecordingError(f"recordings need the package skycore-native: {error}") from error
    return Table(
        capture_id=capture_id,
        layer_key_mode=options.layer_key_mode,
        max_flows=options.max_entries,
        tcp_names=list(options.tcp_names.items()),
        udp_names=list(options.udp_names.items()),
        timeouts=[(name, math.ceil(seconds)) for name, seconds in options.timeouts.items()],
    )
