"""Streams of pcap: whatever the pieces, the same packets; whatever the bytes, no other error than ours."""

from __future__ import annotations

import contextlib
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from skydive_flow_pcapsocket.pcap import Packet, PcapStream

from skycore.plugin import CaptureError

PACKETS = st.lists(
    st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 999_999), st.binary(max_size=80)), max_size=10
)


def pcap(packets: list[tuple[int, int, bytes]], order: str = "<", magic: int = 0xA1B2C3D4) -> bytes:
    """A file in the form of pcap-savefile(5)."""
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    records = (struct.pack(f"{order}4I", at, part, len(data), len(data) + 4) + data for at, part, data in packets)
    return head + b"".join(records)


def read(stream: PcapStream, data: bytes, cuts: list[int]) -> list[Packet]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(places)]
    return [packet for piece in pieces for packet in stream.feed(piece)]


@given(PACKETS, st.sampled_from("<>"), st.sampled_from([0xA1B2C3D4, 0xA1B23C4D]), st.lists(st.integers(0), max_size=9))
def test_any_pieces_give_the_packets(
    packets: list[tuple[int, int, bytes]], order: str, magic: int, cuts: list[int]
) -> None:
    stream = PcapStream()
    unit = 1000 if magic == 0xA1B2C3D4 else 1
    expected = [Packet(at * 10**9 + part * unit, len(data) + 4, data) for at, part, data in packets]
    assert read(stream, pcap(packets, order, magic), cuts) == expected
    assert stream.link_type == 1
    stream.end()


@given(PACKETS, st.integers(0), st.binary(max_size=60), st.lists(st.integers(0), max_size=9))
def test_damaged_streams_are_refused_and_nothing_else(
    packets: list[tuple[int, int, bytes]], place: int, garbage: bytes, cuts: list[int]
) -> None:
    whole = pcap(packets)
    at = place % (len(whole) + 1)
    stream = PcapStream()
    with contextlib.suppress(CaptureError):
        read(stream, whole[:at] + garbage + whole[at + len(garbage) :], cuts)
        stream.end()


@pytest.mark.parametrize("data", [b"", pcap([])[:-1], pcap([(1, 2, b"frame")])[:-1]])
def test_a_stream_that_ends_too_early_is_told(data: bytes) -> None:
    stream = PcapStream()
    list(stream.feed(data))
    with pytest.raises(CaptureError, match="ended within"):
        stream.end()


def test_what_is_no_pcap_is_told() -> None:
    with pytest.raises(CaptureError, match="no pcap stream"):
        list(PcapStream().feed(b"\x0a\x0d\x0d\x0a" + bytes(40)))
