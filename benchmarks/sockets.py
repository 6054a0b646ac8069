"""What looking at sockets and their processes costs, beside iproute2's ``ss -tunape``.

5,000 connected TCP sockets and 300 listening ones, held by 300 processes in a namespace.  A *look* lists all
sockets and finds their processes: the first one everything, the next ones what is new.  ``ss`` finds everything
each time.
Ratios are to ``ss``; less is cheaper.  Then the whole probe, with its default settings and nothing happening, and
with 50 connections a second that open, stay for a while and close.

Run: .venv/bin/python -m benchmarks.sockets  (as root)
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio
from skydive_probe_socketinfo.codec import PROTOCOLS
from skydive_probe_socketinfo.diag import ListSocket
from skydive_probe_socketinfo.processes import ProcessTable

from skycore.plugin import namespaces
from skycore.testing import run_probes
from skycore.testing.lab import NamedNetns, make_netns

SOCKETS = 5_000
PROCESSES = 300
ROUNDS = 7
IDLE_SECONDS = 20.0
NEW = 100

# Each process holds connections to itself; all end when the standard input of the first does.
_HOLDERS = """
import os, socket, sys
total, processes = map(int, sys.argv[1:])
ready, done = os.pipe()
for number in range(processes):
    if os.fork() == 0:
        server = socket.create_server(('127.0.0.1', 0), backlog=64)
        pairs = total * (number + 1) // processes // 2 - total * number // processes // 2
        held = [(socket.create_connection(server.getsockname()), server.accept()[0]) for _ in range(pairs)]
        os.write(done, b'.')
        sys.stdin.read()
        os._exit(0)
for _ in range(processes):
    os.read(ready, 1)
print('ready', flush=True)
sys.stdin.read()
"""

# Opens some connections, and a second later closes them; so on.
_CHURN = """
import collections, socket, sys, time
rate, held = int(sys.argv[1]), collections.deque()
server = socket.create_server(('127.0.0.1', 0), backlog=64)
print('ready', flush=True)
while True:
    held.append((socket.create_connection(server.getsockname()), server.accept()[0]))
    if len(held) > rate * 5:
        for one in held.popleft():
            one.close()
    time.sleep(1 / rate)
"""

_MORE = """
import socket, sys
server = socket.create_server(('127.0.0.1', 0), backlog=64)
held = [(socket.create_connection(server.getsockname()), server.accept()[0]) for _ in range(int(sys.argv[1]) // 2)]
print('ready', flush=True)
sys.stdin.read()
"""


@contextmanager
def running(netns: NamedNetns, program: str, *arguments: object) -> Iterator[None]:
    """A Python program inside the namespace, from when it is ready until the block ends."""
    command = ["nsenter", f"--net={netns.path}", "--", sys.executable, "-S", "-E", "-c", program, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.stdin.close()
            process.kill()


def ss(netns: NamedNetns) -> tuple[float, float]:
    """Wall and CPU seconds of one ``ss``."""
    command = ["nsenter", f"--net={netns.path}", "--", "ss", "-tunapHe"]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(call: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def middle(results: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(wall for wall, _ in results), statistics.median(cpu for _, cpu in results)


def look(lists: ListSocket, table: ProcessTable) -> None:
    found = [lists.dump(number) for number in PROTOCOLS.values()]
    table.update({sighting[3] for dump in found for sighting in dump.values()} - {0})


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def report(name: str, result: tuple[float, float], base: tuple[float, float]) -> None:
    (wall, cpu), (base_wall, base_cpu) = result, base
    ratios = f"{wall / base_wall:5.2f} × wall, {cpu / base_cpu:5.2f} × CPU"
    say(f"{name:>34}: {wall * 1e3:7.1f} ms wall, {cpu * 1e3:7.1f} ms CPU   {ratios}")


async def probe(netns: NamedNetns, name: str, **settings: object) -> None:
    """The CPU share of a running probe."""
    async with run_probes({"socketinfo": settings}, namespace=netns.path) as lab:
        revisions = lab.graph.log.end
        await trio.sleep(1)
        cpu, begin = time.process_time(), time.perf_counter()
        await trio.sleep(IDLE_SECONDS)
        share = (time.process_time() - cpu) / (time.perf_counter() - begin)
        fields = lab.report("socketinfo").fields
        size = len(next(iter(lab.graph.nodes.values())).json)
        say(
            f"{name:>34}: {share:6.2%} of a core, {lab.graph.log.end - revisions} revisions in {IDLE_SECONDS:g} s "
            f"of {size / 1e3:.0f} kB, a look each {fields['poll']} s, {fields['sockets']} sockets"
        )


def main() -> None:
    with make_netns() as netns:
        netns.run("ip", "link", "set", "lo", "up")
        with running(netns, _HOLDERS, SOCKETS, PROCESSES):
            count = len(netns.run("ss", "-tunaH").splitlines())
            everybody = len([name for name in os.listdir("/proc") if name.isdigit()])
            say(f"Python {sys.version.split()[0]}, {count:,} sockets, {PROCESSES} processes of {everybody}")
            base = middle([ss(netns) for _ in range(ROUNDS)])
            report("ss -tunape", base, base)
            lists = ListSocket(lambda call: namespaces.inside(netns.path, call))
            report(
                "the first look",
                middle([measured(lambda: look(lists, ProcessTable("/proc"))) for _ in range(ROUNDS)]),
                base,
            )
            table = ProcessTable("/proc")
            look(lists, table)
            report("a look, nothing new", middle([measured(lambda: look(lists, table)) for _ in range(ROUNDS)]), base)
            more = []
            for _ in range(ROUNDS):
                with running(netns, _MORE, NEW):
                    more.append(measured(lambda: look(lists, table)))
                look(lists, table)
            report(f"a look, {NEW} new of a new process", middle(more), base)
            lists.close()
            trio.run(lambda: probe(netns, "the probe, idle"))
            trio.run(lambda: probe(netns, "with process nodes, idle", processes=True))
            with running(netns, _CHURN, 50):
                trio.run(lambda: probe(netns, "50 connections/s"))


if __name__ == "__main__":
    main()
