"""libpcap on real interfaces: what passes the filter, several link types, statistics, nothing to do when idle."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any, Final

import pytest
import trio
from skycore_native import Table
from skydive_flow_pcap import PcapSource
from skydive_flow_pcap.source import PcapSettings

from skycore.plugin import CaptureError, CaptureSpec, Counts, Frame, Interface
from skycore.testing.lab import NamedNetns, make_netns

pytestmark = pytest.mark.needs("root", "ip", "nsenter")

ETHERNET, DLT_RAW = 1, 12
# linux/if_tun.h
TUNSETIFF: Final = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000


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
        except (OSError, CaptureError) as error:
            result.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError | CaptureError):
        raise result[0]
    return result[0]


class Frames:
    """Takes packets as the table does, in a real table too."""

    def __init__(self) -> None:
        self.seen: list[tuple[Frame, int | None]] = []
        self.calls = 0
        self.hold = trio.Event()
        self.hold.set()
        self.table = Table()

    async def frames(self, frames: Sequence[Frame], *, link_type: int | None = None) -> None:
        await self.hold.wait()
        try:
            self.table.packets(frames, link_type=link_type or ETHERNET)
        except ValueError as error:
            raise CaptureError(str(error)) from error
        self.calls += bool(frames)
        self.seen += [(one, link_type) for one in frames]

    async def until(self, count: int) -> None:
        with trio.fail_after(10):
            while len(self.seen) < count:  # noqa: ASYNC110
                await trio.sleep(0.01)


class Host:
    """What a source is given, on one interface of a namespace."""

    def __init__(self, netns: NamedNetns, name: str, **capture: Any) -> None:
        self._netns = netns
        self.capture = CaptureSpec(UUID="c", **capture)
        self.filter = self.capture.BPFFilter
        self.interface = Interface("n", "t", name, "veth", 1, ETHERNET, f"/run/netns/{netns.name}")
        self.packets = Frames()
        self.log: Any = None

    def in_netns(self, call: Any) -> Any:
        return inside(self._netns, call)

    def show(self, **_fields: str) -> None: ...


@asynccontextmanager
async def running(host: Host, **settings: Any) -> AsyncIterator[PcapSource]:
    source = PcapSource(PcapSettings(**settings), host)  # type: ignore[arg-type]
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


async def test_packets_that_the_filter_lets_pass_are_read_cut_to_the_header_size(netns: NamedNetns) -> None:
    host = Host(netns, "v1", BPFFilter="ether proto 0x88b5", HeaderSize=20)
    before = time.time_ns()
    with sender(netns) as out:
        async with running(host) as source:
            for number in range(500):
                out.send(frame(number, 0x88B6))
                out.send(frame(number, size=200))
            await host.packets.until(500)
            assert [one[2] for one, _ in host.packets.seen] == [frame(number)[:20] for number in range(500)]
            assert {one[1] for one, _ in host.packets.seen} == {200}
            times = [one[0] for one, _ in host.packets.seen]
            assert times == sorted(times)
            assert before - 1000 <= times[0] <= times[-1] <= time.time_ns()
            assert source.counts() == Counts(received=500)
        assert source.counts() == Counts(received=500)


def ip_packet(port: int) -> bytes:
    return struct.pack(
        ">BBHHHBBH4s4sHHHH", 0x45, 0, 28, 0, 0, 64, 17, 0, bytes([10, 9, 1, 2]), bytes([10, 9, 1, 1]), 9, port, 8, 0
    )


async def test_a_tun_interface_gives_bare_ip_and_its_filter_fits(netns: NamedNetns) -> None:
    # It belongs to the namespace in which it is opened.
    tun = inside(netns, lambda: open("/dev/net/tun", "r+b", buffering=0))  # noqa: SIM115
    with tun:
        inside(netns, lambda: fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI)))
        netns.run("ip", "address", "add", "10.9.1.1/24", "dev", "tun0")
        netns.run("ip", "link", "set", "tun0", "up")
        host = Host(netns, "tun0", BPFFilter="udp port 7")
        async with running(host):
            for port in (7, 8, 7):
                tun.write(ip_packet(port))
            await host.packets.until(2)
        assert [(one[2], link) for one, link in host.packets.seen] == [(ip_packet(7), DLT_RAW)] * 2
        assert b'"LayersPath":"IPv4/UDP"' in host.packets.table.flush(0).flows


async def test_packets_without_room_are_counted_and_others_run_meanwhile(netns: NamedNetns) -> None:
    host = Host(netns, "v1", BPFFilter="ether proto 0x88b5")
    with sender(netns) as out:
        async with running(host, buffer_bytes=1 << 16) as source:
            host.packets.hold = trio.Event()
            for number in range(20_000):
                out.send(frame(number))
                if number % 1000 == 0:
                    await trio.lowlevel.checkpoint()
            host.packets.hold.set()
            await trio.to_thread.run_sync(partial(out.send, frame(20_000)))
            with trio.fail_after(10):
                while (counts := source.counts()).received < 20_001 or len(host.packets.seen) < 20_001 - counts.dropped:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            assert 0 < counts.dropped < counts.received == 20_001
            assert len(host.packets.seen) == counts.received - counts.dropped


async def test_a_capture_without_traffic_takes_no_time(netns: NamedNetns) -> None:
    host = Host(netns, "v1")
    async with running(host):
        await trio.sleep(0.2)
        before = resource.getrusage(resource.RUSAGE_SELF)
        await trio.sleep(3)
        after = resource.getrusage(resource.RUSAGE_SELF)
    assert host.packets.calls == 0
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.01


async def test_an_interface_that_goes_down_or_away_is_an_error(netns: NamedNetns) -> None:
    for command in (["set", "v1", "down"], ["delete", "v0"]):
        netns.run("ip", "link", "set", "v1", "up")
        with pytest.RaisesGroup(pytest.RaisesExc(CaptureError, match="down|disappeared"), flatten_subgroups=True):
            async with running(Host(netns, "v1")):
                await trio.to_thread.run_sync(partial(netns.run, "ip", "link", *command))
                await trio.sleep(10)
    with pytest.RaisesGroup(
        pytest.RaisesExc(CaptureError, match="cannot capture on gone: no such interface"), flatten_subgroups=True
    ):
        async with running(Host(netns, "gone")):
            pass


async def test_promiscuous_mode_as_it_is_set_and_no_longer_than_the_capture(netns: NamedNetns) -> None:
    def promiscuity() -> str:
        return netns.run("ip", "-d", "link", "show", "v1").split("promiscuity ")[1].split()[0]

    for wanted in (True, False):
        async with running(Host(netns, "v1"), promiscuous=wanted):
            assert promiscuity() == str(int(wanted))
        assert promiscuity() == "0"


async def test_wrong_filters_and_settings_are_refused_and_leave_nothing_open(netns: NamedNetns) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.RaisesGroup(pytest.RaisesExc(CaptureError, match="is wrong"), flatten_subgroups=True):
        async with running(Host(netns, "v1", BPFFilter="tcp prot 80")):
            pass
    assert len(os.listdir("/proc/self/fd")) == before
    host: Any = None
    for settings in (PcapSettings(buffer_bytes=5000), PcapSettings(wait_ms=0)):
        with pytest.raises(CaptureError):
            PcapSource(settings, host)


async def test_two_captures_share_an_interface(netns: NamedNetns) -> None:
    hosts = [Host(netns, "v1", BPFFilter=f"ether proto {type}") for type in ("0x88b5", "0x88b6")]
    with closing(sender(netns)) as out:
        async with running(hosts[0]), running(hosts[1]):
            for number in range(10):
                out.send(frame(number, 0x88B5 + number % 2))
            for host in hosts:
                await host.packets.until(5)
