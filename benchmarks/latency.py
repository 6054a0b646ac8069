"""From a kernel's netlink message to the frame that an analyzer's subscriber reads: how long it takes.

Agent and analyzer are two real processes inside a fake host, linked over TCP.  A watcher in the same namespace
hears the same multicast message as the agent, which is taken as the time of its receipt; a WebSocket subscriber
of the analyzer, also over TCP, takes the time when the frame with that address has been read.  Once on an idle
host, and once while other interfaces change 1,000 times a second.

Run: .venv/bin/python -m benchmarks.latency  (as root)
"""

from __future__ import annotations

import base64
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from skycore.plugin import namespaces
from skycore.testing.lab import FakeHost, Inside

PROBES = 500
PAUSE = 0.01
CHURN = 1_000
_RTMGRP_IPV4_IFADDR = 0x10
_RTM_NEWADDR = 20


def address(number: int) -> str:
    return f"10.99.{number >> 8 & 255}.{number & 255}"


class Watcher(threading.Thread):
    """Hears the kernel say that an address was added; remembers when."""

    def __init__(self, host: FakeHost) -> None:
        super().__init__(daemon=True)
        self.heard: dict[str, float] = {}
        self._socket = namespaces.inside(
            host.netns_path, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        )
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self._socket.bind((0, _RTMGRP_IPV4_IFADDR))

    def run(self) -> None:
        while True:
            data = self._socket.recv(65536)
            now = time.perf_counter()
            if struct.unpack_from("=H", data, 4)[0] == _RTM_NEWADDR:
                at = data.find(b"\x0a\x63")  # 10.99.
                if at >= 0:
                    self.heard.setdefault(socket.inet_ntoa(data[at : at + 4]), now)


class SubscriberThread(threading.Thread):
    """Reads the analyzer's events; remembers when each address was first seen."""

    def __init__(self, host: FakeHost, port: int) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, float] = {}
        self.frames = 0
        self._socket = namespaces.inside(host.netns_path, lambda: socket.create_connection(("127.0.0.1", port)))
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /ws/subscriber?x-client-type=bench HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def run(self) -> None:
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            buffer += self._socket.recv(4096)
        buffer = buffer.partition(b"\r\n\r\n")[2]
        newest = -1
        while data := self._socket.recv(1 << 20):
            now = time.perf_counter()
            buffer += data
            while (frame := _frame(buffer)) is not None:
                payload, buffer = frame
                self.frames += 1
                if b"10.99." in payload:
                    # The interface's list holds the addresses in the order in which they were added.
                    while b'"' + address(newest + 1).encode() + b"/32" in payload:
                        newest += 1
                        self.seen[address(newest)] = now


def _frame(data: bytes) -> tuple[bytes, bytes] | None:
    """The first whole frame of a server (RFC 6455, section 5.2) and what follows it."""
    if len(data) < 2:
        return None
    size, start = data[1], 2
    if size == 126:
        start = 4
    elif size == 127:
        start = 10
    if len(data) < start:
        return None
    size = size if start == 2 else int.from_bytes(data[2:start], "big")
    return (data[start : start + size], data[start + size :]) if len(data) >= start + size else None


class Churn(threading.Thread):
    """Changes the MTU of interfaces at a steady rate, by `ip -batch`."""

    def __init__(self, host: FakeHost, rate: int) -> None:
        super().__init__(daemon=True)
        self._rate = rate
        self._ended = threading.Event()
        self._ip = subprocess.Popen(
            ["nsenter", f"--net={host.netns_path}", "ip", "-batch", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.changes = 0

    def run(self) -> None:
        assert self._ip.stdin is not None
        began = time.perf_counter()
        while not self._ended.wait(0.01):
            due = int((time.perf_counter() - began) * self._rate)
            lines = [f"link set c{n % 20} mtu {1400 + n // 20 % 100}\n" for n in range(self.changes, due)]
            self._ip.stdin.write("".join(lines))
            self._ip.stdin.flush()
            self.changes = due

    def end(self) -> None:
        self._ended.set()
        self.join()
        assert self._ip.stdin is not None
        self._ip.stdin.close()
        self._ip.wait()


def start(host: FakeHost, folder: Path) -> list[Inside]:
    """An analyzer and an agent inside the host."""
    skycore = str(Path(sys.executable).parent / "skycore")
    configuration = folder / "skycore.yml"
    configuration.write_text(
        f"host_id: bench\nanalyzers: ['127.0.0.1:8082']\nstorage: {{embedded: {{path: {folder}/state}}}}\n"
        "agent: {topology: {netlink: {metrics_update: 0}}}\n"
    )
    return [host.popen(skycore, "run", "--role", role, "-c", str(configuration)) for role in ("analyzer", "agent")]


def wait_for(host: FakeHost, port: int, text: bytes) -> None:
    """Until the graph there holds a text."""
    deadline = time.perf_counter() + 20
    while time.perf_counter() < deadline:
        try:
            with namespaces.inside(host.netns_path, lambda: socket.create_connection(("127.0.0.1", port))) as asking:
                asking.sendall(b"GET /api/topology HTTP/1.0\r\nHost: a\r\n\r\n")
                answer = b""
                while data := asking.recv(1 << 20):
                    answer += data
                if text in answer:
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{text!r} does not appear on port {port}")


def measure(host: FakeHost, title: str, churn: Churn | None) -> None:
    watcher, subscriber = Watcher(host), SubscriberThread(host, 8082)
    watcher.start()
    subscriber.start()
    time.sleep(0.3)
    if churn is not None:
        churn.start()
        time.sleep(1.0)
    setter = subprocess.Popen(
        ["nsenter", f"--net={host.netns_path}", "ip", "-batch", "-"], stdin=subprocess.PIPE, text=True
    )
    assert setter.stdin is not None
    wanted = [address(number) for number in range(PROBES)]
    before = None
    for text in wanted:
        setter.stdin.write(f"address add {text}/32 dev probe\n")
        # An interface with few addresses, as they are: a list of 500, with their routes, is another measurement.
        setter.stdin.write(f"address del {before}/32 dev probe\n" if before else "")
        setter.stdin.flush()
        before = text
        time.sleep(PAUSE)
    setter.stdin.close()
    setter.wait()
    deadline = time.perf_counter() + 10
    while wanted[-1] not in subscriber.seen and time.perf_counter() < deadline:
        time.sleep(0.01)
    if churn is not None:
        churn.end()
    took = sorted((subscriber.seen[text] - watcher.heard[text]) * 1e3 for text in wanted)
    print(
        f"{title}: median {statistics.median(took):.2f} ms, p90 {took[int(0.9 * len(took))]:.2f}, "
        f"p99 {took[int(0.99 * len(took))]:.2f}, max {took[-1]:.2f} ms ({len(took)} changes"
        + (f", {churn.changes} others made, {subscriber.frames} frames read)" if churn else ")"),
        flush=True,
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="skycore-bench-") as name, FakeHost("bench") as host:
        for number in range(20):
            host.run("ip", "link", "add", f"c{number}", "type", "veth", "peer", "name", f"d{number}")
        host.run("ip", "link", "add", "probe", "type", "veth", "peer", "name", "peer")
        processes = start(host, Path(name))
        try:
            wait_for(host, 8081, b'"peer"')
            wait_for(host, 8082, b'"peer"')
            measure(host, "idle", None)
            host.run("ip", "address", "flush", "dev", "probe")
            time.sleep(0.5)
            measure(host, f"at {CHURN:,} changes a second", Churn(host, CHURN))
        finally:
            for process in processes:
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
