"""Offers packets to an interface at a rate: frames that the kernel makes and redirects by itself, for little CPU.

`BPF_PROG_TEST_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES` (Documentation/bpf/bpf_prog_run.rst) runs an XDP program over a
frame again and again, and carries out what it says: here, a redirect to one end of a veth pair, after a random source
port was written into the frame.  The other end must take redirected frames: `ethtool -K END gro on`.

Run inside the namespace, as root: python -m benchmarks.xdp_sender INTERFACE PACKETS_A_SECOND SECONDS [FLOWS]
Prints {"sent", "seconds", "cpu"} as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import socket
import struct
import sys
import time
from typing import Final

_BPF: Final = {"x86_64": 321, "aarch64": 280}[platform.machine()]
_PROG_LOAD, _PROG_TEST_RUN, _TYPE_XDP = 5, 10, 6
_LIVE_FRAMES: Final = 2
_TICK: Final = 0.002
"""Seconds between two portions."""
_FRAME: Final = 64
_SOURCE_PORT: Final = 34
"""Offset in the frame: Ethernet, IPv4."""
_GET_PRANDOM, _REDIRECT = 7, 23
_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result: int = _libc.syscall(_BPF, command, buffer, len(attributes))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf({command}): {os.strerror(number)}")
    return result


def _step(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """One instruction (struct bpf_insn, linux/bpf.h)."""
    return struct.pack("<BBhi", code, source << 4 | target, offset, value)


def program(index: int, flows: int) -> int:
    """Load the program: the frame gets one of ``flows`` (a power of two) source ports, and goes to the interface."""
    load, end = _SOURCE_PORT, _SOURCE_PORT + 2
    steps = b"".join(
        (
            _step(0xBF, 6, 1),  # r6 = context
            _step(0x85, value=_GET_PRANDOM),
            _step(0x57, 0, value=flows - 1),
            _step(0x61, 2, 6, 0),  # r2 = data
            _step(0x61, 3, 6, 4),  # r3 = end of data
            _step(0xBF, 4, 2),
            _step(0x07, 4, value=end),
            _step(0x2D, 4, 3, 1),  # a frame that is too short stays as it is
            _step(0x6B, 2, 0, load),
            _step(0xB7, 1, value=index),
            _step(0xB7, 2),
            _step(0x85, value=_REDIRECT),
            _step(0x95),
        )
    )
    code, licence = ctypes.create_string_buffer(steps, len(steps)), ctypes.create_string_buffer(b"Apache-2.0")
    count = len(steps) // 8
    return _bpf(
        _PROG_LOAD, struct.pack("<IIQQIIQII", _TYPE_XDP, count, _address(code), _address(licence), 0, 0, 0, 0, 0)
    )


def frame() -> bytes:
    """UDP from 10.9.9.1 to 10.8.0.1, port 9."""
    size = _FRAME - 14
    network = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, 17, 0, bytes((10, 9, 9, 1)), bytes((10, 8, 0, 1)))
    whole = b"\x02\x11\x11\x11\x11\x11" + b"\x02\0\0\0\0\1" + b"\x08\0" + network
    return (whole + struct.pack(">HHHH", 1024, 9, size - 20, 0)).ljust(_FRAME, b"x")


def offer(name: str, rate: int, seconds: float, flows: int = 4096) -> tuple[int, float]:
    """Offer ``rate`` packets a second; (packets, seconds that it took).  Raises OSError."""
    running = program(socket.if_nametoindex(name), flows)
    data = ctypes.create_string_buffer(frame(), _FRAME)
    # struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    context = ctypes.create_string_buffer(struct.pack("<6I", 0, _FRAME, 0, 0, 0, 0), 24)
    begin, sent = time.monotonic(), 0
    while (passed := time.monotonic() - begin) < seconds:
        due = int(rate * passed) - sent
        if due > 0:
            # prog_fd, retval, data sizes in and out, data in and out, repeat, duration, context sizes, contexts,
            # flags, cpu, batch_size (union bpf_attr.test).
            _bpf(
                _PROG_TEST_RUN,
                struct.pack(
                    "<IIIIQQIIIIQQIII4x",
                    running, 0, _FRAME, 0, _address(data), 0, due, 0, 24, 0, _address(context), 0, _LIVE_FRAMES, 0, 64,
                ),
            )  # fmt: skip
            sent += due
        time.sleep(_TICK)
    os.close(running)
    return sent, time.monotonic() - begin


def _address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def main() -> None:
    name, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    sent, took = offer(name, rate, seconds, int(sys.argv[4]) if len(sys.argv) > 4 else 4096)
    print(json.dumps({"sent": sent, "seconds": took, "cpu": time.process_time()}))


if __name__ == "__main__":
    main()
