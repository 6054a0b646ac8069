"""Streams over TCP: played with their gaps, filtered and cut, several at once, and damaged ones."""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import structlog
import trio
from skydive_flow_pcapsocket import PcapSocketSource
from skydive_flow_pcapsocket.source import PcapSocketSettings

from skycore.plugin import CaptureError, CaptureSpec, Counts, Frame, Interface

ETHERNET, RAW = 1, 101
RECORDED: Final = 1_500_000_000


def pcap(*packets: tuple[float, bytes], link_type: int = ETHERNET) -> bytes:
    """A file in the form of pcap-savefile(5), of packets at seconds since an earlier day."""
    file = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, link_type)
    for at, frame in packets:
        seconds, rest = divmod(int(at * 1e9), 10**9)
        file += struct.pack("<4I", RECORDED + seconds, rest, len(frame), len(frame) + 100) + frame
    return file


def frame(number: int, ethertype: int = 0x88B5) -> bytes:
    return bytes(6) + b"\x02" + bytes(5) + ethertype.to_bytes(2, "big") + number.to_bytes(4, "big") + bytes(42)


class Frames:
    """Takes packets as the table does."""

    def __init__(self) -> None:
        self.seen: list[tuple[Frame, int | None, int]] = []
        self.news = trio.Event()

    async def frames(self, frames: Sequence[Frame], *, link_type: int | None = None) -> None:
        await trio.lowlevel.checkpoint()
        self.seen += [(one, link_type, time.time_ns()) for one in frames]
        self.news.set()
        self.news = trio.Event()

    async def until(self, count: int) -> None:
        with trio.fail_after(10):
            while len(self.seen) < count:
                await self.news.wait()


class Host:
    """What a source is given; ``interface`` is of no use to this one."""

    def __init__(self, **capture: Any) -> None:
        self.capture = CaptureSpec(UUID="c", **capture)
        self.filter = self.capture.BPFFilter
        self.interface = Interface("n", "t", "eth0", "device", 1, ETHERNET, "/proc/self/ns/net")
        self.packets = Frames()
        self.shown: dict[str, str] = {}
        self.log = structlog.get_logger()

    def in_netns(self, call: Any) -> Any:
        return call()

    def show(self, **fields: str) -> None:
        self.shown.update(fields)

    @property
    def port(self) -> int:
        return int(self.shown["PCAPSocket"].rpartition(":")[2])

    async def stream(self, data: bytes, cut: int = 1 << 20) -> None:
        """Send a file, and wait until the other side has closed."""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            for start in range(0, len(data), cut):
                await stream.send_all(data[start : start + cut])
            await stream.send_eof()
            with trio.fail_after(10):
                assert await stream.receive_some() == b""


@asynccontextmanager
async def running(host: Host) -> AsyncIterator[PcapSocketSource]:
    # Not those of Skydive, which something else on this machine may use.
    source = PcapSocketSource(PcapSocketSettings(min_port=18100, max_port=18132), host)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        yield source
        nursery.cancel_scope.cancel()


async def test_packets_are_played_now_with_the_gaps_that_they_were_recorded_with() -> None:
    host = Host(HeaderSize=20)
    async with running(host) as source:
        before = time.time_ns()
        await host.stream(pcap((0, frame(0)), (0.0001, frame(1)), (0.2, frame(2)), (0.3, frame(3))), cut=7)
        assert source.counts() == Counts(received=4)
    frames = [one for one, _, _ in host.packets.seen]
    assert [one[2] for one in frames] == [frame(number)[:20] for number in range(4)]
    assert [one[1] for one in frames] == [len(frame(0)) + 100] * 4
    assert before <= frames[0][0] <= time.time_ns()
    assert [one[0] - frames[0][0] for one in frames] == [0, 100_000, 200_000_000, 300_000_000]
    assert all(played >= one[0] for one, _, played in host.packets.seen)


async def test_what_is_due_together_is_handed_over_together_and_gaps_of_more_than_a_minute_are_left_out() -> None:
    host = Host()
    calls: list[int] = []
    take = host.packets.frames

    async def frames(frames: Sequence[Frame], *, link_type: int | None = None) -> None:
        calls.append(len(frames))
        await take(frames, link_type=link_type)

    host.packets.frames = frames  # type: ignore[method-assign]
    async with running(host):
        with trio.fail_after(10):
            await host.stream(pcap(*((0, frame(number)) for number in range(300)), (3600, frame(300)), (0, frame(301))))
    assert len(host.packets.seen) == 302
    assert max(calls) > 50


async def test_the_filter_holds_for_each_link_type() -> None:
    host = Host(BPFFilter="udp port 7")
    ip = struct.pack(">BBHHHBBH4s4sHHHH", 0x45, 0, 28, 0, 0, 64, 17, 0, bytes(4), bytes(4), 9, 7, 8, 0)
    async with running(host):
        await host.stream(pcap((0, ip), (0, ip.replace(b"\0\x07", b"\0\x08")), link_type=RAW))
        await host.stream(pcap((0, bytes(12) + b"\x08\0" + ip), (0, frame(1))))
    assert [(one[2], type) for one, type, _ in host.packets.seen] == [(ip, RAW), (bytes(12) + b"\x08\0" + ip, ETHERNET)]


async def test_several_streams_at_once() -> None:
    host = Host()
    async with running(host), trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(host.stream, pcap(*((one / 100, frame(number)) for one in range(20))), 100)
    assert sorted(one[2] for one, _, _ in host.packets.seen) == sorted(
        frame(number) for number in range(4) for _ in range(20)
    )


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", b"", pcap((0, frame(0)))[:-1], pcap((0, frame(0))) + b"\xff" * 40],
    ids=["garbage", "nothing", "half", "damaged"],
)
async def test_a_damaged_stream_ends_its_connection_only(data: bytes) -> None:
    host = Host()
    async with running(host):
        await host.stream(data)
        before = len(host.packets.seen)
        await host.stream(pcap((0, frame(5))))
        assert len(host.packets.seen) == before + 1


async def test_each_source_has_a_port_of_its_own_until_there_are_no_more() -> None:
    first, second = Host(), Host()
    async with running(first), running(second):
        assert first.port != second.port
        alone = PcapSocketSource(PcapSocketSettings(min_port=first.port, max_port=first.port), Host())  # type: ignore[arg-type]
        with pytest.RaisesGroup(pytest.RaisesExc(CaptureError, match="is free"), flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                await nursery.start(alone.run)
