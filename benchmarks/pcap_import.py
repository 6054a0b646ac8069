"""A recording imported into history, beside nfpcapd reading the same file into its own.

Made-up traffic of 300,000 flows, three packets each, within seconds.  Ours: the file is given to an analyzer that
runs by itself, as `skycore pcap` does it; it ends when all flows stand in its store.  Measured are flows stored a
minute and packets a second by the wall clock, CPU seconds and the largest resident memory of the analyzer.  nfpcapd
reads the file and writes its own form, with the same wall clock.  A file of twice the size shows how memory grows.
Ends with 1 when fewer than 100,000 flows a minute are stored.

Run: uv run python -m benchmarks.pcap_import [flows]
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.flows import write_trace
from skycore.client import Client
from skycore.client.calls import Import
from skycore.errors import ClientError

_AIM = 100_000
_PACKETS_A_FLOW = 3


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Analyzer:
    """An analyzer of its own process, whose store keeps everything."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        configuration = folder / "skycore.yml"
        storage = f"{{driver: embedded, path: {folder / 'state'}, retention_days: 0, max_bytes: 0}}"
        configuration.write_text(f"storage: {{embedded: {storage}}}\nanalyzer: {{listen: '{self.address}'}}\n")
        program = str(Path(sys.executable).with_name("skycore"))
        command = [program, "run", "--role", "analyzer", "-c", str(configuration)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = Client(self.address, timeout=120)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client.status()
                return
            except ClientError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.1)

    def measures(self) -> tuple[float, float]:
        """(CPU seconds, largest resident MB) up to now; proc(5)."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return (int(words[11]) + int(words[12])) / 100, peak / 1024

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def imported(trace: Path) -> tuple[float, float, float, Import]:
    """(seconds, CPU seconds, largest resident MB, what the analyzer said)."""
    folder = Path(tempfile.mkdtemp())
    analyzer = Analyzer(folder)
    try:
        before = analyzer.measures()[0]
        begin = time.monotonic()
        with trace.open("rb") as file:
            found = analyzer.client.import_pcap(iter(lambda: file.read(1 << 17), b""))
        seconds = time.monotonic() - begin
        used, peak = analyzer.measures()
        return seconds, used - before, peak, found
    finally:
        analyzer.close()
        shutil.rmtree(folder)


def by_nfpcapd(trace: Path) -> float | None:
    """Seconds, None when it is not installed."""
    program = shutil.which("nfpcapd")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        subprocess.run([program, "-r", str(trace), "-w", folder], check=True, capture_output=True, timeout=600)
        return time.monotonic() - begin


def main() -> int:
    flows = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    slowest = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        for size in (flows, 2 * flows):
            trace = Path(folder) / f"{size}.pcap"
            packets = size * _PACKETS_A_FLOW
            write_trace(trace, packets, size)
            seconds, used, peak, found = imported(trace)
            rate = found.Flows / seconds * 60
            slowest = min(slowest, rate)
            print(
                f"{trace.stat().st_size / 1e6:.0f} MB, {found.Packets:,} packets, {found.Flows:,} flows:"
                f" {seconds:.1f} s,"
                f" {rate:,.0f} flows stored a minute, {found.Packets / seconds:,.0f} packets/s;"
                f" analyzer {used:.1f} CPU s, at most {peak:.0f} MB"
            )
            theirs = by_nfpcapd(trace)
            if theirs is None:
                print("  nfpcapd is not installed (Debian: nfdump)")
            else:
                rate_of_theirs = packets / theirs
                print(f"  nfpcapd: {theirs:.1f} s, {rate_of_theirs:,.0f} packets/s; ours takes {seconds / theirs:.1f}x")
            trace.unlink()
    return int(slowest < _AIM)


if __name__ == "__main__":
    sys.exit(main())
