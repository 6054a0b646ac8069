"""The source: a ring (or several) for one capture on one interface."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

import attrs
import pcapy
import trio

from skycore.plugin import CaptureError, Counts, FlowHost
from skydive_flow_afpacket.ring import Program, Ring, RingSize, keep_all

_MOST_RINGS: Final = 16
_RAW_IP: Final = 101
_DLT_RAW: Final = 12
"""What libpcap calls LINKTYPE_RAW (101) inside of programs (pcap/dlt.h)."""


@attrs.frozen(kw_only=True)
class AfPacketSettings:
    """The section ``agent.flow.afpacket``.

    ``ring_bytes``: memory of one ring; a capture that falls behind by more loses packets.  ``block_bytes``: size of the
    parts in which a ring is read, a power of two from 4096 on.  ``retire_ms``: after so many milliseconds a part is
    read although it is not full.  ``rings`` of one capture share its packets by flow (PACKET_FANOUT).
    ``promiscuous``: see packets for other addresses, too.
    """

    ring_bytes: int = 16 << 20
    block_bytes: int = 256 << 10
    retire_ms: int = 50
    rings: int = 1
    promiscuous: bool = True


class AfPacketSource:
    """Reads one interface."""

    section = "agent.flow.afpacket"
    capabilities = frozenset({"CAP_NET_RAW", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"})
    Settings = AfPacketSettings

    def __init__(self, settings: AfPacketSettings, host: FlowHost) -> None:
        if settings.block_bytes < 4096 or settings.block_bytes & (settings.block_bytes - 1):
            raise CaptureError(
                f"agent.flow.afpacket.block_bytes is no power of two from 4096 on: {settings.block_bytes}"
            )
        if not 1 <= settings.rings <= _MOST_RINGS:
            raise CaptureError(f"agent.flow.afpacket.rings is not from 1 to {_MOST_RINGS}: {settings.rings}")
        self._settings = settings
        self._host = host
        self._rings: list[Ring] = []

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Read the interface until cancelled."""
        host = self._host
        program = compile_filter(host.filter, host.interface.link_type, host.capture.header_size)
        with ExitStack() as open_rings:
            host.in_netns(lambda: self._open(open_rings))
            for ring in self._rings:
                ring.begin(program)
            async with trio.open_nursery() as nursery:
                for ring in self._rings:
                    nursery.start_soon(self._read, ring)
                task_status.started()

    def _open(self, open_rings: ExitStack) -> None:
        settings, group = self._settings, None
        size = RingSize(settings.block_bytes, max(2, settings.ring_bytes // settings.block_bytes), settings.retire_ms)
        for _ in range(settings.rings):
            ring = Ring(self._host.interface.name, size, promiscuous=settings.promiscuous)
            open_rings.callback(ring.close)
            self._rings.append(ring)
            if settings.rings > 1:
                group = ring.join(group)

    async def _read(self, ring: Ring) -> None:
        packets = self._host.packets
        while True:
            await trio.lowlevel.wait_readable(ring.socket)
            ring.check()
            while (block := ring.ready()) is not None:
                await packets.block(block)
                ring.give_back()

    def counts(self) -> Counts:
        """Of all rings."""
        each = [ring.counts() for ring in self._rings]
        return Counts(received=sum(one for one, _ in each), dropped=sum(one for _, one in each))


def compile_filter(text: str, link_type: int, length: int) -> Program:
    """A filter in libpcap's syntax as a program that keeps ``length`` bytes.  Raises CaptureError."""
    if not text.strip():
        return keep_all(length)
    try:
        inside = _DLT_RAW if link_type == _RAW_IP else link_type
        program: Program = pcapy.compile(inside, length, text, 1, 0).get_bpf()
    except (pcapy.PcapError, pcapy.BPFError) as error:
        raise CaptureError(f"the filter {text!r} is wrong: {error}") from error
    return program
