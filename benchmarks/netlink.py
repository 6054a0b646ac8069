"""What the netlink probe costs: inventory, a burst of changes, idling, memory; pyroute2 and ``ip`` beside.

Everything happens in a named namespace made for it, so root is needed.  The probe runs in this process with a real
graph; ``ip`` makes the changes in processes of its own, whose time is not counted as the probe's.

- inventory: 1,000 links with their addresses, routes and tables, from nothing to nodes and edges in the graph
- burst: 10,000 changes of links and addresses of 500 interfaces as fast as ``ip -batch`` makes them; the CPU time is
  compared with the time the changes took, and at the end the graph must show every interface as ``ip`` does
- idle: 500 interfaces, counters every 30 s; the window holds one sample
- memory: what 1,000 links add to the resident memory

pyroute2 decodes the same messages, read beforehand as its own socket loses some, into nothing; ``ip monitor`` prints
them to /dev/null.

Run: .venv/bin/python -m benchmarks.netlink
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import trio
from pyroute2 import NetNS
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from skycore.plugin import namespaces
from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import NamedNetns, make_netns

LINKS = 1_000
BUSY = 500
EVENTS = 10_000
WINDOW = 33.0
EVERY = 30.0

SO_RCVBUFFORCE = 33  # asm-generic/socket.h
RTMGRP = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # linux/rtnetlink.h: links, addresses and routes


def batch(netns: NamedNetns, lines: Sequence[str]) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()
    subprocess.run(["ip", "-n", netns.name, "-batch", "-"], input=text, check=True, timeout=300)


def fill(netns: NamedNetns, count: int) -> None:
    """Pairs of veths, ``count`` interfaces in all; every tenth pair is up with an address."""
    lines = [f"link add v{number} type veth peer name w{number}" for number in range(count // 2)]
    for number in range(0, count // 2, 10):
        lines += [f"link set v{number} up", f"link set w{number} up"]
        lines.append(f"address add 10.{number // 250}.{number % 250}.1/24 dev v{number}")
    batch(netns, lines)


@contextmanager
def filled(count: int) -> Iterator[NamedNetns]:
    with make_netns() as netns:
        fill(netns, count)
        # What comes up late (addresses of IPv6, carriers) is no part of what is measured.
        time.sleep(2.5)
        yield netns


def resident() -> int:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def report(name: str, text: str) -> None:
    print(f"{name:<28} {text}", flush=True)


async def inventory(netns: NamedNetns) -> float:
    """Seconds until the graph holds everything; the second of two runs, as the first imports the plugin."""
    seconds = 0.0
    for _ in range(2):
        before, began = resident(), time.perf_counter()
        async with run_probes({"netlink": {"metrics_update": EVERY}}, namespace=netns.path, started=60) as lab:
            seconds = time.perf_counter() - began
            assert len(lab.nodes(Type="veth")) == LINKS
            added = resident() - before
    report(f"{LINKS} links, probe", f"{seconds:.3f} s into the graph; memory {added / LINKS / 1024:.1f} KiB a link")
    return seconds


def inventory_beside(netns: NamedNetns, ours: float) -> None:
    with NetNS(netns.name, flags=0) as reader:
        began = time.perf_counter()
        links = list(reader.get_links())
        _addresses, _routes = list(reader.get_addr()), list(reader.get_routes())
        seconds = time.perf_counter() - began
    assert len(links) == LINKS + 1
    report(
        f"{LINKS} links, pyroute2", f"{seconds:.3f} s for links, addresses, routes: {seconds / ours:.1f} x the probe"
    )
    began = time.perf_counter()
    for words in (["-d", "-s", "address"], ["route", "show", "table", "all"], ["neigh"]):
        command = ["ip", "-n", netns.name, "-j", *words]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=60)
    seconds = time.perf_counter() - began
    report(f"{LINKS} links, ip -j", f"{seconds:.3f} s for links, addresses, routes, neighbours: {seconds / ours:.1f} x")


def changes() -> list[str]:
    """EVENTS lines; each changes a link, or adds or removes an address."""
    lines = []
    for number in range(EVENTS):
        name = f"v{number % (BUSY // 2)}"
        turn = number // (BUSY // 2)
        if turn % 2:
            lines.append(f"link set {name} mtu {1300 + turn}")
        elif turn % 4 == 0:
            lines.append(f"address add 10.77.{number % 250}.{1 + turn}/32 dev {name}")
        else:
            lines.append(f"link set {name} alias turn{turn}")
    return lines


def as_ip_shows(netns: NamedNetns) -> dict[str, tuple[int, str | None, int]]:
    command = ["ip", "-n", netns.name, "-j", "-d", "address"]
    shown = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout)
    return {
        link["ifname"]: (link["mtu"], link.get("ifalias"), sum(a["family"] == "inet" for a in link["addr_info"]))
        for link in shown
    }


def as_graph_shows(lab: ProbeLab) -> dict[str, tuple[int, str | None, int]]:
    nodes = [node for node in lab.nodes() if "IfIndex" in node]
    return {node["Name"]: (node["MTU"], node.get("Alias"), len(node.get("IPV4", ()))) for node in nodes}


async def burst(netns: NamedNetns) -> float:
    """CPU seconds for the changes."""
    async with run_probes({"netlink": {"metrics_update": EVERY}}, namespace=netns.path, started=60) as lab:
        lines = changes()
        began, cpu = time.perf_counter(), time.process_time()
        await trio.to_thread.run_sync(batch, netns, lines)
        wall = time.perf_counter() - began
        expected = await trio.to_thread.run_sync(as_ip_shows, netns)
        used = time.process_time() - cpu
        deadline = trio.current_time() + 60
        while as_graph_shows(lab) != expected:
            if trio.current_time() > deadline:
                sys.exit("the graph does not show what ip shows: changes were lost")
            # The comparison itself is not the probe's work.
            cpu = time.process_time()
            await trio.sleep(0.05)
            used += time.process_time() - cpu
        whole = time.perf_counter() - began
        overruns = lab.report("netlink").fields["overruns"]
    share = f"{100 * used / whole:.0f} % of a core until all was shown ({whole:.2f} s)"
    report(f"{EVENTS} changes, probe", f"{used:.2f} CPU-s; made in {wall:.2f} s; {share}; overruns {overruns}")
    return used


def heard(netns: NamedNetns, lines: Sequence[str]) -> list[bytes]:
    """The messages of the changes as the kernel sends them to a socket with room enough for all."""

    def opened() -> socket.socket:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    with namespaces.inside(netns.path, opened) as listener:
        listener.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 512 << 20)
        listener.bind((0, RTMGRP))
        batch(netns, lines)
        buffers = []
        with contextlib.suppress(BlockingIOError):
            while True:
                buffers.append(listener.recv(1 << 16, socket.MSG_DONTWAIT))
    return buffers


def burst_beside(netns: NamedNetns, ours: float) -> None:
    lines = changes()
    buffers, marshal = heard(netns, lines), MarshalRtnl()
    cpu = time.process_time()
    count = sum(1 for buffer in buffers for _message in marshal.parse(buffer))
    used = time.process_time() - cpu
    report(f"{EVENTS} changes, pyroute2", f"{used:.2f} CPU-s to decode {count} messages: {used / ours:.1f} x the probe")


def making(netns: NamedNetns) -> float:
    """CPU seconds of ``ip -batch`` itself."""
    before = cpu_of_children()
    batch(netns, changes())
    return cpu_of_children() - before


def monitored(netns: NamedNetns, made: float, ours: float) -> None:
    command = ["ip", "-n", netns.name, "monitor", "link", "address", "route"]
    before = cpu_of_children()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as monitor:
        time.sleep(0.3)
        batch(netns, changes())
        time.sleep(1.0)
        monitor.terminate()
    used = max(0.0, cpu_of_children() - before - made)
    report(f"{EVENTS} changes, ip monitor", f"about {used:.2f} CPU-s to print them: {used / ours:.2f} x the probe")


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def idle(netns: NamedNetns) -> None:
    async with run_probes({"netlink": {"metrics_update": EVERY}}, namespace=netns.path, started=60):
        await trio.sleep(1)
        began, cpu = time.perf_counter(), time.process_time()
        await trio.sleep(WINDOW - 1)
        share = (time.process_time() - cpu) / (time.perf_counter() - began)
    report(f"idle, {BUSY} interfaces", f"{100 * share:.2f} % of a core, counters every {EVERY:g} s")


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("benchmarks.netlink needs root: it makes a network namespace")
    report("machine", f"Linux {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    with filled(LINKS) as netns:
        ours = trio.run(inventory, netns)
        inventory_beside(netns, ours)
    with filled(BUSY) as netns:
        used = trio.run(burst, netns)
    with filled(BUSY) as netns:
        burst_beside(netns, used)
    with filled(BUSY) as netns:
        made = making(netns)
    with filled(BUSY) as netns:
        monitored(netns, made, used)
    with filled(BUSY) as netns:
        trio.run(idle, netns)


if __name__ == "__main__":
    main()
