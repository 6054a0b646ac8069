"""Capture files taken apart: whatever the pieces, the same packets; whatever the bytes, no other error than ours."""

from __future__ import annotations

import contextlib
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skycore_native import CaptureFile, Table

DATA = Path(__file__).resolve().parent.parent / "data" / "flows"
Recorded = list[tuple[int, int, bytes]]
PACKETS = st.lists(
    st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 999_999), st.binary(max_size=80)), max_size=10
)


def pcap(packets: Recorded, order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    """A file in the form of pcap-savefile(5)."""
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    records = (struct.pack(f"{order}4I", at, part, len(data), len(data) + 4) + data for at, part, data in packets)
    return head + b"".join(records)


def pcapng(packets: Recorded, order: str = "<", link_type: int = 101) -> bytes:
    """The same as draft-ietf-opsawg-pcapng has it: a section, an interface with nanoseconds, enhanced packets."""

    def block(type: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(f"{order}I", 12 + len(body))
        return struct.pack(f"{order}I", type) + size + body + size

    options = struct.pack(f"{order}HHB3xHH", 9, 1, 9, 0, 0)
    head = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1))
    head += block(1, struct.pack(f"{order}HHI", link_type, 0, 0) + options)
    for at, part, data in packets:
        time = at * 10**9 + part
        head += block(6, struct.pack(f"{order}5I", 0, time >> 32, time & 0xFFFFFFFF, len(data), len(data) + 4) + data)
    return head


def read(file: CaptureFile, data: bytes, cuts: list[int]) -> list[tuple[int, int, int, bytes]]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [packet for start, end in pairwise(places) for packet in file.feed(data[start:end])]


@given(PACKETS, st.sampled_from("<>"), st.sampled_from([0xA1B2C3D4, 0xA1B23C4D]), st.lists(st.integers(0), max_size=9))
def test_any_pieces_of_pcap_give_the_packets(packets: Recorded, order: str, magic: int, cuts: list[int]) -> None:
    file = CaptureFile()
    unit = 1000 if magic == 0xA1B2C3D4 else 1
    expected = [(at * 10**9 + part * unit, len(data) + 4, 1, data) for at, part, data in packets]
    assert read(file, pcap(packets, order, magic), cuts) == expected
    file.end()


@given(PACKETS, st.sampled_from("<>"), st.lists(st.integers(0), max_size=9))
def test_any_pieces_of_pcapng_give_the_packets(packets: Recorded, order: str, cuts: list[int]) -> None:
    file = CaptureFile()
    expected = [(at * 10**9 + part, len(data) + 4, 101, data) for at, part, data in packets]
    assert read(file, pcapng(packets, order), cuts) == expected
    file.end()


@given(
    PACKETS,
    st.sampled_from([pcap, pcapng]),
    st.integers(0),
    st.binary(max_size=60),
    st.lists(st.integers(0), max_size=9),
)
def test_damaged_files_are_refused_and_nothing_else(
    packets: Recorded, form: object, place: int, garbage: bytes, cuts: list[int]
) -> None:
    whole: bytes = form(packets)  # type: ignore[operator]
    at = place % (len(whole) + 1)
    file = CaptureFile()
    with contextlib.suppress(ValueError):
        read(file, whole[:at] + garbage + whole[at + len(garbage) :], cuts)
        file.end()


def test_packets_before_a_fault_come_first_and_the_fault_is_told_ever_after() -> None:
    file = CaptureFile()
    damaged = pcap([(1, 2, b"good")]) + struct.pack("<4I", 0, 0, 1 << 30, 1 << 30)
    assert [frame for *_, frame in file.feed(damaged)] == [b"good"]
    for again in (lambda: file.feed(b"more"), file.end, lambda: file.feed(b"")):
        with pytest.raises(ValueError, match=r"more than any network carries \(at byte 44\)"):
            again()


@pytest.mark.parametrize("data", [b"", pcap([])[:-1], pcap([(1, 2, b"frame")])[:-1], pcapng([(1, 2, b"frame")])[:-1]])
def test_a_file_that_ends_too_early_is_told(data: bytes) -> None:
    file = CaptureFile()
    file.feed(data)
    with pytest.raises(ValueError, match="ends within"):
        file.end()


def test_what_is_no_capture_file_is_told() -> None:
    with pytest.raises(ValueError, match="no pcap or pcapng file"):
        CaptureFile().feed(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("path", sorted(DATA.glob("*.pcap")), ids=lambda path: path.stem)
def test_a_table_counts_packets_taken_apart_as_it_counts_the_file(path: Path) -> None:
    whole, apart, file = Table(), Table(), CaptureFile()
    whole.pcap(path.read_bytes())
    for time_ns, wire_length, link_type, frame in file.feed(path.read_bytes()):
        apart.packets([(time_ns, wire_length, frame)], link_type=link_type)
    assert apart.flush(0).flows == whole.flush(0).flows
