"""What the ovsdb probe costs: first graph, one change, idling; the switch's own programs beside it.

A real Open vSwitch (userspace datapath) runs in a fake host, so root is needed.  It has 1,000 ports (patches: a
thousand devices would measure the kernel) and 20,000 OpenFlow rules on one bridge.

- first graph: from the probe's start to 1,000 interfaces and 20,000 rules in the graph, with the CPU time of it
- one change: from the return of the program that made it to the node in the graph, median and worst of CHANGES; each
  is a new revision of one node, and the others must have none
- idle: CPU of the probe with all rules followed, counters asked every 10 s

Beside: ``ovs-vsctl list`` of the same tables and ``ovs-ofctl dump-flows`` to /dev/null; and the probe with
``ovs.oflow.native: false``.

Run: .venv/bin/python -m benchmarks.ovs
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import FakeHost
from skycore.testing.openvswitch import OpenVSwitch

PORTS = 1_000
RULES = 20_000
CHANGES = 20
WINDOW = 30.0


def report(name: str, text: str) -> None:
    print(f"{name:<30} {text}", flush=True)


def fill(ovs: OpenVSwitch) -> None:
    for bridge in ("br0", "br1"):
        ovs.bridge(bridge)
        # So many patches between two bridges are so many loops; nothing is to be sent over them.
        ovs.ofctl("del-flows", bridge)
    for start in range(0, PORTS, 100):
        words: list[str] = []
        for number in range(start, start + 100):
            words += [
                "--",
                "add-port",
                f"br{number % 2}",
                f"p{number}",
                "--",
                "set",
                "interface",
                f"p{number}",
                "type=patch",
            ]
            words += [f"options:peer=p{number ^ 1}", f"external_ids:iface-id=id{number}"]
        ovs.vsctl(*words[1:], timeout=120)
    lines = [f"table={n % 10},priority={n % 3},tcp,nw_dst=10.{n >> 8}.{n & 255}.1,tp_dst={n % 7},actions=output:{n % 9}"
             for n in range(RULES)]  # fmt: skip
    ovs.ofctl(
        "-O", "OpenFlow14", "add-flows", "br0", "-", data="".join(f"{line}\n" for line in lines).encode(), timeout=120
    )


def settings(ovs: OpenVSwitch, *, native: bool) -> dict[str, dict[str, Any]]:
    return {"ovsdb": {"ovsdb": f"unix://{ovs.socket}", "oflow": {"enable": True, "native": native}}}


def of_type(lab: ProbeLab, type: str) -> int:
    needle = f'"Type":"{type}"'.encode()
    return sum(needle in revision.metadata_json for revision in lab.graph.nodes.values())


async def arrived(lab: ProbeLab, condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return when the condition holds; looked at after each change of the graph."""
    cursor = lab.graph.log.cursor()
    try:
        with trio.fail_after(seconds):
            while not condition():
                await cursor.wait()
                cursor.read()
    finally:
        cursor.close()


async def first_graph(ovs: OpenVSwitch, *, native: bool) -> None:
    seconds = cpu = 0.0
    for _ in range(2):
        # The second of two runs, as the first imports the plugin.
        began, used = time.perf_counter(), time.process_time()
        async with run_probes(settings(ovs, native=native), namespace=ovs.host.netns_path, started=60) as lab:
            await arrived(lab, lambda: len(lab.graph.nodes) >= RULES + 2 * PORTS)
            seconds, cpu = time.perf_counter() - began, time.process_time() - used
            report_ = lab.report("ovsdb")
            assert report_.restarts == 0
    report(
        f"first graph, {_way(native)}",
        f"{seconds:.2f} s, {cpu:.2f} CPU-s; longest hold of the loop {report_.blocked_longest:.2f} s",
    )


def _way(native: bool) -> str:
    return "native" if native else "ovs-ofctl"


async def timed(
    lab: ProbeLab, make: Callable[[int], None], there: Callable[[int], Callable[[], bool]]
) -> tuple[list[float], int]:
    """Milliseconds of each change, and how many revisions the graph has had."""
    took = []
    revisions = 0
    for number in range(CHANGES):
        end = lab.graph.log.end
        done = 0.0

        async def work(number: int = number) -> None:
            nonlocal done
            await trio.to_thread.run_sync(make, number)
            done = time.perf_counter()

        condition = there(number)
        seen = 0.0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await arrived(lab, condition)
            seen = time.perf_counter()
        took.append(max(0.0, seen - done) * 1000)
        await trio.sleep(0.05)
        revisions += lab.graph.log.end - end
    return took, revisions


async def changes(ovs: OpenVSwitch, *, native: bool) -> None:
    async with run_probes(settings(ovs, native=native), namespace=ovs.host.netns_path, started=60) as lab:
        await arrived(lab, lambda: len(lab.graph.nodes) >= RULES + 2 * PORTS)
        await trio.sleep(3)

        def rule_added(number: int) -> None:
            ovs.ofctl("-O", "OpenFlow14", "add-flow", "br0", f"table=20,priority={100 + number},udp,actions=drop")

        def rule_there(number: int) -> Callable[[], bool]:
            count = len(lab.graph.nodes)
            return lambda: len(lab.graph.nodes) > count

        took, revisions = await timed(lab, rule_added, rule_there)
        show(f"a rule, {_way(native)}", took, revisions)
        ovs.ofctl("-O", "OpenFlow14", "del-flows", "br0", "table=20")
        if not native:
            return

        def port_changed(number: int) -> None:
            ovs.vsctl("set", "interface", f"p{number}", f"external_ids:changed={number}")

        def port_there(number: int) -> Callable[[], bool]:
            end = lab.graph.log.end
            return lambda: lab.graph.log.end > end

        show("an interface", *await timed(lab, port_changed, port_there))


def show(name: str, took: Sequence[float], revisions: int) -> None:
    text = f"median {statistics.median(took):.1f} ms, worst {max(took):.1f} ms after the program that made it ended"
    report(name, f"{text}; {revisions / CHANGES:.1f} revisions a change")


async def idle(ovs: OpenVSwitch) -> None:
    async with run_probes(settings(ovs, native=True), namespace=ovs.host.netns_path, started=60) as lab:
        await arrived(lab, lambda: len(lab.graph.nodes) >= RULES + 2 * PORTS)
        await trio.sleep(12)
        began, cpu = time.perf_counter(), time.process_time()
        await trio.sleep(WINDOW)
        share = (time.process_time() - cpu) / (time.perf_counter() - began)
        assert of_type(lab, "ofrule") >= RULES
    report("idle, native", f"{100 * share:.2f} % of a core")


def beside(ovs: OpenVSwitch) -> None:
    began = time.perf_counter()
    for table in ("Bridge", "Port", "Interface"):
        ovs.table(table)
    report("ovs-vsctl list", f"{time.perf_counter() - began:.2f} s for the three tables as JSON")
    began = time.perf_counter()
    ovs.ofctl("-O", "OpenFlow14", "dump-flows", "br0")
    report("ovs-ofctl dump-flows", f"{time.perf_counter() - began:.2f} s for all rules as text")


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("benchmarks.ovs needs root: it makes a fake host")
    report("machine", f"Linux {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="skt-") as folder, OpenVSwitch(FakeHost(), Path(folder) / "log") as ovs:
        report("switch", f"Open vSwitch {ovs.vsctl('--version').split()[3]}, {PORTS} ports, {RULES} rules")
        fill(ovs)
        beside(ovs)
        for native in (True, False):
            trio.run(lambda native=native: first_graph(ovs, native=native))  # type: ignore[misc]
        for native in (True, False):
            trio.run(lambda native=native: changes(ovs, native=native))  # type: ignore[misc]
        trio.run(idle, ovs)


if __name__ == "__main__":
    main()
