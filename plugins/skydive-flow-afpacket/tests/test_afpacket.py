"""The ring on real interfaces: what passes the filter and nothing else, counted with what was lost, idle when idle."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from skydive_flow_afpacket import AfPacketSource
from skydive_flow_afpacket.ring import Ring, RingSize, attach, keep_all
from skydive_flow_afpacket.source import AfPacketSettings, compile_filter

from skycore.plugin import CaptureError, CaptureSpec, Counts, Interface
from skycore.testing.lab import NamedNetns, make_netns

pytestmark = pytest.mark.needs("root", "ip", "nsenter")

SIZE = RingSize(1 << 16, 4, 20)


@pytest.fixture
def netns() -> Iterator[NamedNetns]:
    with make_netns() as made:
        # Without IPv6 the kernel says nothing by itself.
        made.run("bash", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        made.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        for name in ("v0", "v1"):
            made.run("ip", "link", "set", name, "up")
        yield made


def inside(netns: NamedNetns, call: Any) -> Any:
    """Run in a thread of its own, which enters the namespace and never comes back."""
    result: list[Any] = []

    def enter() -> None:
        descriptor = os.open(f"/run/netns/{netns.name}", os.O_RDONLY)
        assert ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) == 0
        os.close(descriptor)
        try:
            result.append(call())
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


class Blocks:
    """Takes blocks as the table does, and reads their packets by linux/if_packet.h."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.calls = 0
        self.hold = trio.Event()
        self.hold.set()

    async def block(self, block: memoryview) -> None:
        self.calls += 1
        await self.hold.wait()
        count, at = struct.unpack_from("@II", block, 12)
        for _ in range(count):
            following, captured, mac = (
                *struct.unpack_from("@I8xI", block, at),
                *struct.unpack_from("@H", block, at + 24),
            )
            self.frames.append(bytes(block[at + mac : at + mac + captured]))
            at += following


class Host:
    """What a source is given, on one end of a veth pair."""

    def __init__(self, netns: NamedNetns, name: str, **capture: Any) -> None:
        self._netns = netns
        self.capture = CaptureSpec(UUID="c", **capture)
        self.filter = self.capture.BPFFilter
        self.interface = Interface("n", "t", name, "veth", 1, 1, f"/run/netns/{netns.name}")
        self.packets = Blocks()
        self.log: Any = None

    def in_netns(self, call: Any) -> Any:
        return inside(self._netns, call)

    def show(self, **_fields: str) -> None: ...


@asynccontextmanager
async def running(host: Host, **settings: Any) -> AsyncIterator[AfPacketSource]:
    source = AfPacketSource(AfPacketSettings(**settings), host)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        yield source
        nursery.cancel_scope.cancel()


def frame(number: int, ethertype: int = 0x88B5, size: int = 60) -> bytes:
    """An Ethernet frame with a type for experiments (IEEE 802)."""
    return (bytes(6) + b"\x02" + bytes(5) + ethertype.to_bytes(2, "big") + number.to_bytes(4, "big")).ljust(size, b"\0")


def sender(netns: NamedNetns) -> socket.socket:
    made: socket.socket = inside(netns, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    inside(netns, lambda: made.bind(("v0", 0)))
    return made


async def seen(host: Host, count: int) -> None:
    with trio.fail_after(10):
        while len(host.packets.frames) < count:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_packets_that_the_filter_lets_pass_are_read_cut_to_the_header_size(netns: NamedNetns) -> None:
    host = Host(netns, "v1", BPFFilter="ether proto 0x88b5", HeaderSize=20)
    with sender(netns) as out:
        async with running(host) as source:
            for number in range(500):
                out.send(frame(number, 0x88B6))
                out.send(frame(number))
            await seen(host, 500)
            assert host.packets.frames == [frame(number)[:20] for number in range(500)]
            assert source.counts() == Counts(received=500)
        assert source.counts() == Counts(received=500)


def test_no_packet_comes_before_the_filter(netns: NamedNetns) -> None:
    ring: Ring = inside(netns, lambda: Ring("v1", SIZE, promiscuous=True))
    with sender(netns) as out:
        out.send(frame(1))
        ring.begin(compile_filter("ether proto 0x88b6", 1, 100))
        out.send(frame(2))
    assert ring.counts() == (0, 0)
    ring.close()


@pytest.mark.parametrize("rings", [1, 3])
async def test_what_a_full_ring_drops_is_counted(netns: NamedNetns, rings: int) -> None:
    host = Host(netns, "v1")
    host.packets.hold = trio.Event()
    with sender(netns) as out:
        async with running(host, ring_bytes=1 << 16, block_bytes=1 << 15, rings=rings) as source:
            for number in range(4000):
                out.send(frame(number, size=200))
            with trio.fail_after(10):
                while source.counts().received < 4000:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            counts = source.counts()
            assert counts.received == 4000
            assert 0 < counts.dropped < 4000
            host.packets.hold.set()
            await seen(host, 4000 - counts.dropped)
            # The ring goes on where it was.
            out.send(frame(4000))
            await seen(host, 4001 - counts.dropped)
            assert frame(4000) in host.packets.frames


async def test_an_idle_capture_does_nothing(netns: NamedNetns) -> None:
    host = Host(netns, "v1")
    async with running(host):
        before = resource.getrusage(resource.RUSAGE_THREAD)
        await trio.sleep(2)
        after = resource.getrusage(resource.RUSAGE_THREAD)
        assert host.packets.calls == 0
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.01


async def test_an_interface_that_goes_down_or_away_is_an_error(netns: NamedNetns) -> None:
    for command in (["set", "v1", "down"], ["delete", "v0"]):
        netns.run("ip", "link", "set", "v1", "up")
        with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="down"), flatten_subgroups=True):
            async with running(Host(netns, "v1")):
                await trio.to_thread.run_sync(partial(netns.run, "ip", "link", *command))
                await trio.sleep(10)
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="No such device|no interface"), flatten_subgroups=True):
        async with running(Host(netns, "gone")):
            pass


def test_promiscuous_mode_ends_with_the_ring(netns: NamedNetns) -> None:
    def promiscuity() -> str:
        return netns.run("ip", "-d", "link", "show", "v1").split("promiscuity ")[1].split()[0]

    ring: Ring = inside(netns, lambda: Ring("v1", SIZE, promiscuous=True))
    assert promiscuity() == "1"
    ring.close()
    ring.close()
    assert promiscuity() == "0"


def test_wrong_filters_and_settings_are_refused() -> None:
    with pytest.raises(CaptureError, match="is wrong"):
        compile_filter("tcp prot 80", 1, 100)
    assert compile_filter(" ", 1, 77) == keep_all(77)
    host: Any = None
    for settings in (AfPacketSettings(block_bytes=5000), AfPacketSettings(rings=0)):
        with pytest.raises(CaptureError):
            AfPacketSource(settings, host)


def test_an_ended_descriptor_is_no_leak() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError):  # noqa: PT011
        Ring("no-such-interface", SIZE, promiscuous=False)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        attach(one, keep_all(10))
