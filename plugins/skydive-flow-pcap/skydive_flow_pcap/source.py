"""The source: one libpcap handle for one capture on one interface."""

from __future__ import annotations

from typing import Any, Final

import attrs
import pcapy
import trio

from skycore.plugin import CaptureError, Counts, FlowHost, Frame

_AT_ONCE: Final = 512
"""Packets that are taken without letting others run: half a millisecond."""
_SHORTEST_BUFFER: Final = 1 << 16
_WHY: Final = {
    -5: "no such interface",
    -8: "not permitted; the agent needs CAP_NET_RAW",
    -9: "the interface is down",
    -11: "not permitted to see packets for others; the agent needs CAP_NET_ADMIN",
}
"""What pcap_activate returns (pcap/pcap.h), which pcapy puts into no words."""


@attrs.frozen(kw_only=True)
class PcapSettings:
    """The section ``agent.flow.pcap``.

    ``buffer_bytes``: memory between the kernel and us; a capture that falls behind by more loses packets.
    ``wait_ms``: packets are handed over after so many milliseconds although their part of it is not full.
    ``promiscuous``: see packets for other addresses, too.
    """

    buffer_bytes: int = 16 << 20
    wait_ms: int = 50
    promiscuous: bool = True


class PcapSource:
    """Reads one interface by libpcap (pcap(3PCAP)), whatever its link type."""

    section = "agent.flow.pcap"
    capabilities = frozenset({"CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"})
    Settings = PcapSettings

    def __init__(self, settings: PcapSettings, host: FlowHost) -> None:
        if settings.buffer_bytes < _SHORTEST_BUFFER:
            raise CaptureError(f"agent.flow.pcap.buffer_bytes is less than {_SHORTEST_BUFFER}: {settings.buffer_bytes}")
        if settings.wait_ms < 1:
            raise CaptureError(f"agent.flow.pcap.wait_ms is less than 1: {settings.wait_ms}")
        self._settings = settings
        self._host = host
        self._handle: Any = None
        self._counts = Counts()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Read the interface until cancelled."""
        handle = self._host.in_netns(self._open)
        try:
            link_type = handle.datalink()
            # Nothing to count yet, but a link type that is not understood is told at once.
            await self._host.packets.frames([], link_type=link_type)
            self._handle = handle
            task_status.started()
            await self._read(handle, link_type)
        finally:
            self.counts()
            self._handle = None
            handle.close()

    def _open(self) -> Any:
        """An active handle with its filter; inside the interface's namespace."""
        host, settings = self._host, self._settings
        name = host.interface.name
        try:
            handle = pcapy.create(name)
            handle.set_snaplen(host.capture.header_size)
            handle.set_promisc(int(settings.promiscuous))
            handle.set_timeout(settings.wait_ms)
            handle.set_buffer_size(settings.buffer_bytes)
            status = handle.activate()
            if status < 0:
                raise CaptureError(f"libpcap cannot capture on {name}: {_WHY.get(status, f'error {status}')}")
            handle.setnonblock(1)
        except pcapy.PcapError as error:
            raise CaptureError(f"libpcap cannot capture on {name}: {error}") from error
        if host.filter.strip():
            try:
                handle.setfilter(host.filter)
            except pcapy.PcapError as error:
                handle.close()
                raise CaptureError(f"the filter {host.filter!r} is wrong: {error}") from error
        return handle

    async def _read(self, handle: Any, link_type: int) -> None:
        packets, descriptor = self._host.packets, handle.getfd()
        taken: list[Frame] = []

        def take(header: Any, frame: bytes) -> None:
            seconds, microseconds = header.getts()
            taken.append(((seconds * 1_000_000 + microseconds) * 1000, header.getlen(), frame))

        while True:
            await trio.lowlevel.wait_readable(descriptor)
            while True:
                try:
                    # Does not wait: the handle is in non-blocking mode.
                    handle.dispatch(_AT_ONCE, take)
                except pcapy.PcapError as error:
                    raise CaptureError(f"libpcap: {error}") from error
                if not taken:
                    break
                await packets.frames(taken, link_type=link_type)
                taken.clear()

    def counts(self) -> Counts:
        """What libpcap counts."""
        if self._handle is not None:
            # Its third number is of the interface with this name in the agent's own namespace, so of another one.
            received, dropped, _ = self._handle.stats()
            self._counts = Counts(received=received, dropped=dropped)
        return self._counts
