"""Live packets to flows beside softflowd and argus: one end of a veth pair, 64-byte UDP frames of 4,096 flows.

`benchmarks.xdp_sender` offers packets at several rates.  For each rate and program: packets offered, received by the
program, dropped (arrived at the interface and not received) and microseconds of CPU (user and system, of the program)
for each packet received.  Ours is the afpacket source over the flow table with the agent's settings, and an update of
all flows each five seconds; beside it the source of skydive-flow-pcap (libpcap).  What the kernel does in interrupts to
bring packets along is counted for none of them.
Then ours armed without traffic.  The aim: nothing dropped at 450,000 packets a second with 0.3 µs a packet, and no
measurable CPU when idle; ends with 1 when one is missed.  Needs root; argus and softflowd come from Debian.

Run: uv run python -m benchmarks.live_capture [seconds] [packets a second]...
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio
from skydive_flow_afpacket import AfPacketSource
from skydive_flow_afpacket.source import AfPacketSettings
from skydive_flow_pcap import PcapSource
from skydive_flow_pcap.source import PcapSettings

from skycore.flow.options import FlowOptions
from skycore.flow.source import FlowHost, FlowSource, Interface
from skycore.flow.spec import CaptureSpec
from skycore.flow.table import FlowTable
from skycore.testing.lab import NamedNetns, make_netns

_RATES = (100_000, 450_000, 1_000_000)
_AIM_RATE, _AIM_CPU, _AIM_IDLE = 450_000, 0.3, 0.001
_UPDATE = 5.0
_PACKAGES = {"argus": "argus-server", "racount": "argus-client", "softflowd": "softflowd", "ethtool": "ethtool"}


@attrs.frozen
class Result:
    offered: int
    seconds: float
    arrived: int
    received: int
    cpu: float

    @property
    def dropped(self) -> int:
        return max(0, self.arrived - self.received)

    @property
    def each(self) -> float:
        """Microseconds of CPU for each packet."""
        return self.cpu / max(1, self.received) * 1e6


# ---------------------------------------------------------------------- ours, in a process of its own


class _Host:
    """What the source is given; the process is inside the namespace already."""

    def __init__(self, name: str) -> None:
        self.capture = CaptureSpec(UUID="benchmark")
        self.interface = Interface("n", "t", name, "veth", 1, 1, "/proc/self/ns/net")
        self.filter = ""
        self.packets = FlowTable(self.capture, self.interface, FlowOptions())
        self.log = structlog.get_logger()

    def in_netns(self, call: Callable[[], Any]) -> Any:
        return call()

    def show(self, **_fields: str) -> None: ...


async def receive(name: str, type: str) -> None:
    """Capture until SIGTERM; says "ready", and at the end what was counted."""
    host = _Host(name)
    made: FlowHost = host
    source: FlowSource = (
        AfPacketSource(AfPacketSettings(), made) if type == "afpacket" else PcapSource(PcapSettings(), made)
    )

    async def update() -> None:
        while True:
            await trio.sleep(_UPDATE)
            async for _batch in host.packets.update():
                pass

    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run)
            nursery.start_soon(update)
            print("ready", flush=True)
            begin = time.process_time()
            async for _ in signals:
                break
            cpu = time.process_time() - begin
            nursery.cancel_scope.cancel()
    counts, table = source.counts(), host.packets.counts()
    print(json.dumps({"received": counts.received - counts.dropped, "flows": table.flows, "cpu": cpu}), flush=True)


# ---------------------------------------------------------------------- the programs


def _start(netns: NamedNetns, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["nsenter", f"--net={netns.path}", "--", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> float:
    """End it in order; CPU seconds that it used in its life."""
    process.send_signal(signal.SIGTERM)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


def ours(netns: NamedNetns, _folder: Path, traffic: Callable[[], None], type: str = "afpacket") -> tuple[int, float]:
    process = _start(netns, sys.executable, "-m", "benchmarks.live_capture", "--receive", "v1", type)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    traffic()
    process.send_signal(signal.SIGTERM)
    counted = json.loads(process.stdout.readline())
    process.wait()
    return counted["received"], counted["cpu"]


def softflowd(netns: NamedNetns, folder: Path, traffic: Callable[[], None]) -> tuple[int, float]:
    control = str(folder / "ctl")
    options = ["-c", control, "-p", str(folder / "pid"), "-m", "1000000", "-n", "127.0.0.1:9"]
    process = _start(netns, "softflowd", "-i", "v1", "-d", *options)
    while not Path(control).exists():
        time.sleep(0.05)
    traffic()
    told = subprocess.run(["softflowctl", "-c", control, "statistics"], capture_output=True, text=True, check=True)
    found = re.search(r"Packets processed: (\d+)", told.stdout)
    return int(found[1]) if found else 0, _end(process)


def argus(netns: NamedNetns, folder: Path, traffic: Callable[[], None]) -> tuple[int, float]:
    records = folder / "argus.out"
    process = _start(netns, "argus", "-F", "/dev/null", "-i", "v1", "-w", str(records))
    while not records.exists():
        time.sleep(0.05)
    time.sleep(1)
    traffic()
    cpu = _end(process)
    told = subprocess.run(["racount", "-r", str(records)], capture_output=True, text=True, check=True).stdout
    # racount   records   total_pkts …
    found = re.search(r"sum\s+\d+\s+(\d+)", told)
    return int(found[1]) if found else 0, cpu


PROGRAMS: dict[str, Callable[[NamedNetns, Path, Callable[[], None]], tuple[int, float]]] = {
    "skycore": ours,
    "libpcap": partial(ours, type="pcap"),
    "softflowd": softflowd,
    "argus": argus,
}
"""``libpcap`` is ours, too: the source of skydive-flow-pcap."""


# ---------------------------------------------------------------------- measuring


def _arrived(netns: NamedNetns) -> int:
    (link,) = json.loads(netns.run("ip", "-j", "-s", "link", "show", "v1"))
    found: int = link["stats64"]["rx"]["packets"]
    return found


def measure(program: str, rate: int, seconds: float) -> Result:
    with make_netns() as netns, tempfile.TemporaryDirectory() as folder:
        # softflowd gives up its rights and must still write there.
        Path(folder).chmod(0o777)
        netns.run("bash", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        netns.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        for name in ("lo", "v0", "v1"):
            netns.run("ip", "link", "set", name, "up")
        netns.run("ethtool", "-K", "v1", "gro", "on")
        sent: dict[str, Any] = {}

        def traffic() -> None:
            sender = [sys.executable, "-m", "benchmarks.xdp_sender", "v0", str(rate), str(seconds)]
            sent.update(json.loads(netns.run(*sender, timeout=seconds + 60)))
            # What is in rings and buffers is read within this time.
            time.sleep(1)

        received, cpu = PROGRAMS[program](netns, Path(folder), traffic)
        return Result(sent["sent"], sent["seconds"], _arrived(netns), received, cpu)


def idle(seconds: float) -> float:
    """CPU, as a share of one core, of ours without traffic."""
    with make_netns() as netns, tempfile.TemporaryDirectory() as folder:
        netns.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        netns.run("ip", "link", "set", "v1", "up")
        _, cpu = ours(netns, Path(folder), lambda: time.sleep(seconds))
    return cpu / seconds


def install() -> None:
    """Bring Debian's packages; what cannot be brought is left out, and named."""
    missing = sorted({package for program, package in _PACKAGES.items() if not shutil.which(program)})
    if missing and shutil.which("apt-get"):
        subprocess.run(["apt-get", "-qq", "-y", "--no-install-recommends", "install", *missing], check=False)


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    rates = [int(word) for word in sys.argv[2:]] or list(_RATES)
    install()
    good = True
    for rate in rates:
        print(f"{rate} packets a second for {seconds:g} s")
        for program in PROGRAMS:
            if program in _PACKAGES and not shutil.which(program):
                print(f"  {program:10} not installed")
                continue
            one = measure(program, rate, seconds)
            print(
                f"  {program:10} offered {one.offered / one.seconds / 1e3:6.0f} k/s, received {one.received},"
                f" dropped {one.dropped} ({one.dropped / max(1, one.arrived):.1%}), {one.each:.3f} µs a packet"
            )
            if one.offered < 0.95 * rate * one.seconds:
                print(f"  {'':10} the sender could not offer more: this machine is busy")
            if program == "skycore" and rate == _AIM_RATE:
                good &= one.dropped == 0 and one.each <= _AIM_CPU
    share = idle(seconds)
    print(f"armed without traffic: {share:.4%} of a core")
    return 0 if good and share < _AIM_IDLE else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--receive"]:
        trio.run(receive, sys.argv[2], sys.argv[3])
        sys.exit(0)
    sys.exit(main())
