"""A file read up to a time: nothing is counted early, and in the end everything once."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from skycore_native import Table

HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
FRAME = bytes(12) + b"\x08\0" + bytes([0x45, 0, 0, 28, *bytes(5), 17, *bytes(10), 0, 1, 0, 2, 0, 8, 0, 0])


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60),
    st.lists(st.integers(1, 60), max_size=12).map(sorted),
    st.integers(1, 200),
)
def test_packets_wait_for_their_time(times: list[int], stops: list[int], size: int) -> None:
    data = HEADER + b"".join(struct.pack("<IIII", 0, time, len(FRAME), len(FRAME)) + FRAME for time in times)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    table, limits, counted = Table(), [*stops, 1 << 62], 0
    until = limits.pop(0)
    for piece in pieces:
        reached = table.pcap(piece, until_ns=until)
        while reached >= until:
            counted = table.stats()["packets"]
            # All before the first that is late, and that one's time is what was said.
            assert times[counted] == reached >= until
            assert max(times[:counted], default=0) < until
            until = limits.pop(0)
            reached = table.pcap(b"", until_ns=until)
    table.pcap_end()
    assert table.stats()["packets"] == len(times)
