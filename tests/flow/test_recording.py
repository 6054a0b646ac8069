"""Recordings: whatever the pieces, all packets before a fault count once, at the times of the file."""

from __future__ import annotations

import json
import random
import struct
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.errors import RecordingError
from skycore.flow.options import FlowOptions
from skycore.flow.recording import Imported, Recording

DATA = Path(__file__).parents[1] / "data" / "flows"
FILES = {file.name: file.read_bytes() for file in sorted(DATA.glob("*.pcap"))}
OPTIONS = FlowOptions(update=60.0, expire=600.0)


class Kept:
    """A store that remembers."""

    def __init__(self) -> None:
        self.flows: list[dict[str, Any]] = []

    async def put(self, flows: Sequence[bytes], raw_packets: Sequence[bytes]) -> None:
        self.flows += map(json.loads, flows)
        assert not raw_packets

    def last(self) -> dict[str, dict[str, Any]]:
        """Each flow as it was kept last."""
        return {flow["UUID"]: flow for flow in self.flows}

    def packets(self) -> int:
        """Of outermost flows, each counted once."""
        outer = [flow["Metric"] for flow in self.last().values() if not flow.get("ParentUUID")]
        return sum(metric["ABPackets"] + metric["BAPackets"] for metric in outer)


async def run(pieces: Sequence[bytes], options: FlowOptions = OPTIONS) -> tuple[Kept, Imported]:
    kept = Kept()
    recording = Recording(options, kept.put)
    for piece in pieces:
        await recording.feed(piece)
    return kept, await recording.finish()


def cut(data: bytes, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    places = sorted({0, len(data), *(chance.randrange(len(data)) for _ in range(20))})
    return [data[one:other] for one, other in pairwise(places)]


def plain(kept: Kept) -> list[str]:
    """The flows without what is another in each import."""
    names = ("CaptureID", "UUID", "ParentUUID")
    return sorted(
        json.dumps({key: value for key, value in flow.items() if key not in names}) for flow in kept.last().values()
    )


def packet(number: int, time_ms: int, port: int = 53) -> bytes:
    udp = struct.pack(">HHHH", 1000 + number, port, 8, 0)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
    frame = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0" + ip + udp
    return struct.pack("<IIII", time_ms // 1000, time_ms % 1000 * 1000, len(frame), len(frame)) + frame


HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


@pytest.mark.parametrize("name", FILES)
async def test_pieces_do_not_matter(name: str) -> None:
    data = FILES[name]
    whole, found = await run([data])
    assert whole.flows
    pieces, again = await run(cut(data, 1))
    assert plain(whole) == plain(pieces)
    assert found.packets == again.packets
    assert found.flows == len(whole.last())
    assert {flow["CaptureID"] for flow in whole.flows} == {found.capture_id}
    assert not any("NodeTID" in flow for flow in whole.flows)
    assert found.start_ms == min(flow["Start"] for flow in whole.flows)
    assert found.end_ms == max(flow["Last"] for flow in whole.flows)


@pytest.fixture(params=FILES)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[bytes, bytes]:
    """A recording as pcap, and as editcap writes it as pcapng."""
    file = tmp_path / "x.pcapng"
    subprocess.run(["editcap", "-F", "pcapng", str(DATA / request.param), str(file)], check=True, timeout=60)
    return FILES[request.param], file.read_bytes()


@pytest.mark.needs("editcap")
async def test_pcapng_says_the_same(both: tuple[bytes, bytes]) -> None:
    classic, modern = [(await run([data]))[1] for data in both]
    assert (classic.packets, classic.flows, classic.start_ms, classic.end_ms) == (
        modern.packets,
        modern.flows,
        modern.start_ms,
        modern.end_ms,
    )


async def test_history_is_that_of_the_file() -> None:
    """One flow over an hour, a packet a second; another one with the same ends, an hour after that."""
    start = 1_500_000_000_000
    times = [start + second * 1000 for second in range(3600)]
    later = [start + 7_200_000 + second * 1000 for second in range(3)]
    data = HEADER + b"".join(packet(0, time, 7000) for time in (*times, *later))
    kept, found = await run(cut(data, 3))
    first, second = sorted(kept.last().values(), key=lambda flow: flow["Start"])
    assert (first["Start"], first["Last"]) == (times[0], times[-1])
    assert (second["Start"], second["Last"]) == (later[0], later[-1])
    assert first["Metric"]["ABPackets"] + first["Metric"]["BAPackets"] == 3600
    assert (found.start_ms, found.end_ms, found.packets) == (times[0], later[-1], 3603)
    # Told about once a minute, and the parts add up to the whole.
    parts = [flow["LastUpdateMetric"] for flow in kept.flows if flow["UUID"] == first["UUID"]]
    assert 50 <= len(parts) <= 70
    assert sum(part.get("ABPackets", 0) + part.get("BAPackets", 0) for part in parts) == 3600
    for one, other in pairwise(parts):
        assert one["Last"] <= other["Start"] + 1000 * OPTIONS.update


async def test_no_flow_is_lost_when_the_table_is_small() -> None:
    data = HEADER + b"".join(packet(number, 1_500_000_000_000 + number) for number in range(20_000))
    kept, found = await run([data], FlowOptions(max_entries=2048))
    assert kept.packets() == found.packets == 20_000
    assert len(kept.last()) == 20_000


@settings(max_examples=60, deadline=None)
@given(st.data())
async def test_half_a_file_keeps_what_was_good(data: st.DataObject) -> None:
    file = FILES["dns.pcap"]
    end = data.draw(st.integers(0, len(file) - 1))
    kept = Kept()
    recording = Recording(OPTIONS, kept.put)
    await recording.feed(file[:end])
    whole = end == 24 or _ends_a_packet(file, end)
    if whole:
        found = await recording.finish()
    else:
        with pytest.raises(RecordingError, match="unexpected EOF"):
            await recording.finish()
        found = recording.result()
    assert kept.packets() == found.packets == _packets_before(file, end)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(FILES)), st.integers(0, 1 << 20), st.binary(min_size=1, max_size=8))
async def test_damage_is_told_and_what_was_before_it_is_kept(name: str, place: int, damage: bytes) -> None:
    data = bytearray(FILES[name])
    place %= len(data)
    data[place : place + len(damage)] = damage
    kept = Kept()
    recording = Recording(OPTIONS, kept.put)
    fault = ""
    try:
        await recording.feed(bytes(data))
        await recording.finish()
    except RecordingError as error:
        fault = str(error)
        await recording.keep()
    assert not fault or "the capture" in fault
    found = recording.result()
    assert kept.packets() == found.packets
    assert found.packets + found.ignored + found.unread >= _packets_before(FILES[name], place)


def _starts(file: bytes) -> list[int]:
    places, at = [], 24
    while at < len(file):
        places.append(at)
        at += 16 + int.from_bytes(file[at + 8 : at + 12], "little")
    return [*places, at]


def _ends_a_packet(file: bytes, end: int) -> bool:
    return end in _starts(file)


def _packets_before(file: bytes, end: int) -> int:
    return sum(place <= end for place in _starts(file)[1:])


async def test_what_is_no_recording_is_refused() -> None:
    for data in (b"GET / HTTP/1.1\r\n\r\n" * 9, b"\0" * 100, b"", b"\xd4\xc3"):
        with pytest.raises(RecordingError):
            await run([data])
