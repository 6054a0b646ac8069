"""Files of packets, read by tshark."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skycore.flow.pcap import original_length, pcap_chunks
from skycore.flow.query import RawPacket

pytestmark = pytest.mark.needs("tshark")

MAC = bytes(5) + b"\x01" + bytes(5) + b"\x02"
IPV4 = bytes.fromhex("4500012c000100004011000001010101020202020035003501180000")
IPV6 = bytes.fromhex("60000000010011400000") + bytes(30)
TIME = 1_700_000_000_123


def rows(tmp_path: Path, packets: list[RawPacket]) -> list[list[str]]:
    file = tmp_path / "packets"
    file.write_bytes(b"".join(pcap_chunks(packets)))
    fields = ["frame.time_epoch", "frame.cap_len", "frame.len", "frame.encap_type", "ip.dst"]
    words = [word for field in fields for word in ("-e", field)]
    read = subprocess.run(
        ["tshark", "-n", "-r", str(file), "-T", "fields", *words], capture_output=True, text=True, check=True
    )
    return [line.split("\t") for line in read.stdout.splitlines()]


def test_one_link_type_is_a_pcap_in_the_order_of_time(tmp_path: Path) -> None:
    frame = MAC + b"\x08\x00" + IPV4
    packets = [RawPacket(TIME + 5, 2, frame, 1), RawPacket(TIME, 1, frame, 1)]
    assert b"".join(pcap_chunks(packets))[:4] == b"\xd4\xc3\xb2\xa1"
    found = rows(tmp_path, packets)
    assert [(row[1], row[2], row[4]) for row in found] == [("42", "314", "2.2.2.2")] * 2
    assert [float(row[0]) for row in found] == [1700000000.123, 1700000000.128]


def test_several_link_types_are_a_pcapng(tmp_path: Path) -> None:
    packets = [
        RawPacket(TIME, 1, MAC + b"\x08\x00" + IPV4, 1),
        RawPacket(TIME + 1, 1, IPV4, 228),
        RawPacket(TIME + 2, 1, IPV4 + b"\0", 101),
        RawPacket(TIME + 3, 1, IPV6, 229),
    ]
    found = rows(tmp_path, packets)
    assert [(row[1], row[2]) for row in found] == [("42", "314"), ("28", "300"), ("29", "300"), ("40", "296")]
    assert [row[4] for row in found[:3]] == ["2.2.2.2"] * 3
    assert [float(row[0]) for row in found] == [1700000000.123, 1700000000.124, 1700000000.125, 1700000000.126]
    assert len({row[3] for row in found}) >= 3


def test_no_packets_are_an_empty_file(tmp_path: Path) -> None:
    assert rows(tmp_path, []) == []


@pytest.mark.parametrize(
    ("data", "link_type", "length"),
    [
        (MAC + b"\x08\x00" + IPV4, 1, 314),
        (MAC + b"\x81\x00\x00\x07\x08\x00" + IPV4, 1, 318),
        (MAC + b"\x88\xa8\x00\x07\x81\x00\x00\x08\x86\xdd" + IPV6, 1, 22 + 40 + 256),
        (MAC + b"\x08\x06" + bytes(28), 1, 42),
        (IPV4, 228, 300),
        (IPV6, 229, 296),
        (IPV4 + bytes(400), 101, 428),
        (b"", 1, 0),
        (b"", 101, 0),
        (MAC + b"\x08\x00\x45", 1, 15),
        (MAC + b"\x81\x00", 1, 14),
    ],
)
def test_lengths_on_the_wire(data: bytes, link_type: int, length: int) -> None:
    assert original_length(RawPacket(0, 1, data, link_type)) == length


@settings(deadline=None)
@given(st.binary(max_size=80), st.sampled_from([1, 101, 228, 229, 113]))
def test_any_bytes_are_a_packet(data: bytes, link_type: int) -> None:
    assert original_length(RawPacket(0, 1, data, link_type)) >= len(data)
