"""The contract between Skycore and flow sources: what a plugin author writes, and what the host gives.

A flow source is a class, found by its entry point in the group ``skycore.flow``; the entry point's name is the type of
capture that it makes.  One instance serves one capture on one node::

    class ExampleSource:
        section = "agent.flow.example"          # where its settings stand in the configuration
        capabilities = frozenset({"CAP_NET_RAW"})

        @attrs.frozen
        class Settings:
            block_bytes: int = 1 << 18

        def __init__(self, settings: Settings, host: FlowHost) -> None: ...

        async def run(self, task_status: trio.TaskStatus[None]) -> None: ...

        def counts(self) -> Counts: ...

The source only moves bytes: packets, or counters that somebody else finished, go to ``host.packets``.  The table, its
ticks and its options are the host's.  ``run`` calls ``task_status.started()`` when every packet from now on will be
seen, and goes on until it is cancelled.  When it raises, the reason is shown on the node and it is made anew after a
pause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar, final

import attrs
import structlog
import trio

from skycore.flow.spec import CaptureSpec

Bytes: TypeAlias = bytes | bytearray | memoryview
Frame: TypeAlias = tuple[int, int, bytes]
"""A packet: nanoseconds since the epoch, length on the wire, and what was captured of it."""
T = TypeVar("T")


@final
@attrs.frozen
class Interface:
    """What is captured: a node's interface, as it was when the source was made.

    ``link_type`` is the LINKTYPE_ number of its frames, ``namespace`` a path through which its network namespace can be
    entered, ``addresses`` its IP addresses without prefix.
    """

    id: str
    tid: str
    name: str
    type: str
    index: int
    link_type: int
    namespace: str
    addresses: tuple[str, ...] = ()


@final
@attrs.frozen
class Counts:
    """Packets since the source was started.

    ``received``: what came to us, ``dropped``: of it what we had no room for, ``if_dropped``: what the interface lost.
    """

    received: int = 0
    dropped: int = 0
    if_dropped: int = 0


class Packets(Protocol):
    """Where packets go.  All verbs wait while the table is busy, so that a source need not queue anything.

    What is damaged is counted, never an error.
    """

    async def block(self, block: Bytes) -> None:
        """One block of a TPACKET_V3 ring, read in place: it can be given back to the kernel afterwards."""
        ...

    async def frames(self, frames: Sequence[Frame], *, link_type: int | None = None) -> None:
        """Packets in the order in which they were seen; the more at once the better.

        ``link_type`` (a LINKTYPE_ number) when it is not that of the interface.  Raises CaptureError for one that is
        not understood, also when there are no packets.
        """
        ...

    async def record(self, lines: bytes, *, replace: bool = False) -> int:
        """Finished counters of flows that another counter counted, one a line in the JSON form of flows; how many.

        Needed are Metric, Start, Last and one of Link and Network.  The counters came since the last record of the
        flow, or with ``replace`` are all since Start.  Raises CaptureError when a line is wrong; then none is taken.
        """
        ...


class FlowHost(Protocol):
    """What the host offers one source, and nothing else."""

    @property
    def capture(self) -> CaptureSpec: ...

    @property
    def interface(self) -> Interface: ...

    @property
    def filter(self) -> str:
        """The capture's filter in libpcap's syntax, our own traffic to the analyzers left out; "" for none."""
        ...

    @property
    def packets(self) -> Packets: ...

    def in_netns(self, call: Callable[[], T]) -> T:
        """Run ``call`` with the thread inside the interface's namespace; for opening sockets, never for waiting."""
        ...

    def show(self, **fields: str) -> None:
        """Texts shown on the node beside the capture's state (``PCAPSocket``, ``SFlowSocket``, ``MirrorOf``)."""
        ...

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger: ...


class FlowSource(Protocol):
    """A source, as the host drives it."""

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Move bytes until cancelled."""
        ...

    def counts(self) -> Counts:
        """Cumulative; asked for once a second, and once more at the end."""
        ...
