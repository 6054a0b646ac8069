"""Packets to flows beside softflowd, nfpcapd, argus, tshark and nfstream: the same capture file, one after the other.

Two files of made-up traffic (TCP and UDP, mean 180 bytes on the wire, both directions, endpoints at random): 10,000 and
500,000 flows.  For each: packets for each CPU second (user and system, of the process and its children), the largest
resident memory, and for ours the bytes that a flow takes.  Ours reads the file in pieces of 1 MiB and ends with the
flows in the table; the others run as their manuals say, and write to /dev/null or a temporary folder where
they must write.
tshark and nfstream take a tenth of the packets, because they take minutes; a peer that is not installed is left out and
named.  Ends with 1 when one of them is ahead of ours, or an aim is missed: 5 M packets for 10,000 flows, 1.5 M for
500,000, and then 400 bytes a flow.

Run: uv run --group bench python -m benchmarks.flows [packets]
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs

_FLOWS = {10_000: 5.0, 500_000: 1.5}
"""Flows, and the aim in millions of packets for each CPU second."""
_BYTES_A_FLOW = 400

_OURS = """
import json, resource, sys
from skycore_native import Table
from pathlib import Path
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
table = Table(max_flows=2_000_000)
before = pages()
used = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
begin = used()
with open(sys.argv[1], "rb") as trace:
    while piece := trace.read(1 << 20):
        table.pcap(piece)
table.pcap_end()
seconds = used() - begin
print(json.dumps([seconds, len(table), (pages() - before - (1 << 20)) / len(table)]))
"""

_NFSTREAM = """
import sys
from nfstream import NFStreamer
if __name__ == "__main__":
    streamer = NFStreamer(source=sys.argv[1], n_dissections=0, statistical_analysis=False, n_meters=1)
    print(sum(1 for _ in streamer))
"""


@attrs.frozen
class Peer:
    name: str
    program: str
    command: Callable[[Path, Path], list[str]]
    """From the trace and a folder for what it must write."""
    share: int = 1
    """It takes one packet in so many."""


PEERS = (
    Peer("softflowd", "softflowd", lambda trace, _: ["softflowd", "-r", str(trace), "-D", "-m", "1000000"]),
    Peer("nfpcapd", "nfpcapd", lambda trace, folder: ["nfpcapd", "-r", str(trace), "-w", str(folder)]),
    Peer("argus", "argus", lambda trace, _: ["argus", "-F", "/dev/null", "-r", str(trace), "-w", "/dev/null"]),
    Peer("tshark", "tshark", lambda trace, _: ["tshark", "-n", "-q", "-r", str(trace), "-z", "conv,tcp"], 10),
    Peer("nfstream", "", lambda trace, folder: [sys.executable, str(folder / "nfstream_run.py"), str(trace)], 10),
)


def write_trace(path: Path, packets: int, flows: int) -> None:
    """A pcap file of packets of random flows, the same each time."""
    chance = random.Random(1)
    macs = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number in range(packets):
            flow = chance.randrange(flows)
            ends = [struct.pack(">I", 0x0A000000 + (flow >> 8)), struct.pack(">I", 0x0A800000 + (flow & 255))]
            udp = flow % 3 == 0
            ports = [1024 + flow % 60000, 53001 if udp else 443]
            turned = chance.random() < 0.5
            first, second = (1, 0) if turned else (0, 1)
            if udp:
                body = struct.pack(">HHHH", ports[first], ports[second], 40, 0) + bytes(32)
            else:
                body = struct.pack(">HHIIBBHHH", ports[first], ports[second], 1, 1, 0x50, 0x10, 100, 0, 0) + bytes(20)
            header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, 17 if udp else 6, 0)
            frame = macs[second] + macs[first] + b"\x08\0" + header + ends[first] + ends[second] + body
            out.write(
                struct.pack("<IIII", 1_700_000_000 + number // 1_000_000, number % 1_000_000, len(frame), 180) + frame
            )


def run(command: list[str]) -> tuple[float, int, str]:
    """(CPU seconds, largest resident bytes, output); raises RuntimeError when the command fails."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}: {errors.read()[-300:]!r}")
        return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, output.read(10_000).decode(errors="replace")


def measure(packets: int, flows: int, aim: float, folder: Path) -> bool:
    trace, short = folder / "trace.pcap", folder / "short.pcap"
    write_trace(trace, packets, flows)
    write_trace(short, packets // 10, flows)
    print(f"{packets} packets of {flows} flows: packets for each CPU second, resident memory")
    _, resident, output = run([sys.executable, "-c", _OURS, str(trace)])
    seconds, found, size = json.loads(output)
    ours = packets / seconds
    print(f"  skycore-native {ours / 1e6:8.2f} M {resident / 1e6:8.0f} MB   {found} flows, {size:.0f} bytes each")
    # With few flows the table's own memory counts for more than they.
    good = ours >= aim * 1e6 and (size <= _BYTES_A_FLOW or flows < 100_000)
    for peer in PEERS:
        if peer.program and not shutil.which(peer.program):
            print(f"  {peer.name:14} not installed")
            continue
        taken = packets // peer.share
        try:
            seconds, resident, _ = run(peer.command(trace if peer.share == 1 else short, folder))
        except RuntimeError as error:
            print(f"  {peer.name:14} failed: {error}")
            continue
        theirs = taken / seconds
        good &= theirs < ours
        print(f"  {peer.name:14} {theirs / 1e6:8.3f} M {resident / 1e6:8.0f} MB   ours: {ours / theirs:.1f} ×")
    return good


def main() -> int:
    packets = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "nfstream_run.py").write_text(_NFSTREAM)
        for flows, aim in _FLOWS.items():
            good &= measure(packets, flows, aim, folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
