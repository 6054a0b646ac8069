"""The source: a TCP port for each capture, and a stream at a time on each connection to it."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import pcapy
import trio
from skycore_native import CaptureFile

from skycore.plugin import CaptureError, Counts, FlowHost, Frame

_RAW_IP: Final = 101
_DLT_RAW: Final = 12
"""What libpcap calls LINKTYPE_RAW (101) inside of programs (pcap/dlt.h)."""
_LONGEST_GAP: Final = 60 * 10**9
_BEHIND: Final = 10**9
"""Nanoseconds: a gap that is longer is left out; who plays later than this goes on from now."""


@attrs.frozen(kw_only=True)
class PcapSocketSettings:
    """The section ``agent.flow.pcapsocket``: where streams are received, and on which ports."""

    bind_address: str = "127.0.0.1"
    min_port: int = 8100
    max_port: int = 8132


class PcapSocketSource:
    """Plays what is streamed to its port, with the gaps that it was recorded with, as if it happened now."""

    section = "agent.flow.pcapsocket"
    capabilities: frozenset[str] = frozenset()
    Settings = PcapSocketSettings

    def __init__(self, settings: PcapSocketSettings, host: FlowHost) -> None:
        self._settings = settings
        self._host = host
        self._received = self._damaged = 0

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Take connections until cancelled."""
        listener = await self._listen()
        host, port = listener.socket.getsockname()[:2]
        self._host.show(PCAPSocket=f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        async with listener:
            task_status.started()
            await trio.serve_listeners(self._serve, [listener])

    async def _listen(self) -> trio.SocketListener:
        settings = self._settings
        for port in range(settings.min_port, settings.max_port + 1):
            try:
                return (await trio.open_tcp_listeners(port, host=settings.bind_address))[0]
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise CaptureError(f"{settings.bind_address}:{port} cannot be listened on: {error}") from error
        raise CaptureError(f"no port from {settings.min_port} to {settings.max_port} is free")

    async def _serve(self, stream: trio.SocketStream) -> None:
        player = _Player(self._host)
        file = CaptureFile()
        try:
            async for piece in stream:
                packets = file.feed(bytes(piece))
                self._received += len(packets)
                await player.play(packets)
            file.end()
        except (ValueError, CaptureError, trio.BrokenResourceError) as error:
            self._damaged += 1
            self._host.log.warning("a stream of packets is damaged", error=str(error), streams=self._damaged)

    def counts(self) -> Counts:
        """Packets of all streams."""
        return Counts(received=self._received)


class _Player:
    """Plays one stream: its first packet now, each other one as long after it as it was recorded."""

    def __init__(self, host: FlowHost) -> None:
        self._host = host
        self._passes: dict[int, Callable[[bytes], bool]] = {}
        self._shift: int | None = None

    async def play(self, packets: Sequence[tuple[int, int, int, bytes]]) -> None:
        """Play (recorded time in ns, length on the wire, link type, frame), those that are due together at one go."""
        length = self._host.capture.header_size
        due: list[Frame] = []
        due_type = 0
        for recorded, wire_length, link_type, frame in packets:
            at = self._moment(recorded)
            wait = (at - time.time_ns()) / 1e9
            if due and (wait > 0 or link_type != due_type):
                await self._host.packets.frames(due, link_type=due_type)
                due = []
            if wait > 0:
                await trio.sleep(wait)
            if self._filter(link_type)(frame):
                due_type = link_type
                due.append((at, wire_length, frame[:length]))
        if due:
            await self._host.packets.frames(due, link_type=due_type)

    def _moment(self, recorded: int) -> int:
        """When a packet that was recorded then is played."""
        now = time.time_ns()
        # A clock that went back, or a long pause, begins anew.
        if self._shift is None or not -_BEHIND <= recorded + self._shift - now <= _LONGEST_GAP:
            self._shift = now - recorded
        return recorded + self._shift

    def _filter(self, link_type: int) -> Callable[[bytes], bool]:
        if link_type not in self._passes:
            self._passes[link_type] = _filter(self._host.capture.BPFFilter, link_type)
        return self._passes[link_type]


def _filter(text: str, link_type: int) -> Callable[[bytes], bool]:
    if not text.strip():
        return lambda _frame: True
    try:
        program = pcapy.compile(_DLT_RAW if link_type == _RAW_IP else link_type, 1 << 16, text, 1, 0)
    except (pcapy.PcapError, pcapy.BPFError) as error:
        raise CaptureError(f"the filter {text!r} does not fit the stream: {error}") from error
    return lambda frame: bool(program.filter(frame))
