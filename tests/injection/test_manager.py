"""The injections of an agent: real programs, in real namespaces, whatever becomes of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from skycore.errors import InjectionError
from skycore.graph.graph import Graph
from skycore.injection.manager import InjectionManager
from skycore.injection.order import Inject, Injected, Injection, InjectionLimits
from skycore.testing.lab import make_netns

pytestmark = pytest.mark.needs("root", "ip")
NODE = "11111111-1111-5111-8111-111111111111"
ORDER = Injection("u", "icmp4", "10.9.0.1", "02:00:00:00:00:01", DstIP="10.9.0.2", DstMAC="02:00:00:00:00:02")


class Scapy:
    def module(self) -> str:
        return "skydive_inject_scapy.__main__"


class Nothing:
    def module(self) -> str:
        raise InjectionError("no injector is installed")


class Broken:
    """A program that is no injector."""

    def module(self) -> str:
        return "this"


@pytest.fixture
def held() -> Iterator[str]:
    """A namespace with an interface, by the file that holds it open in this process, as agents keep them."""
    with make_netns() as space:
        space.run("ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
        for name in ("d0", "d1"):
            space.run("ip", "link", "set", name, "up")
        descriptor = os.open(space.path, os.O_RDONLY)
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)


def manager(
    namespace: str | None, injector: Any = None, limits: InjectionLimits | None = None, **metadata: Any
) -> tuple[InjectionManager, Graph]:
    graph = Graph(host="h", origin="agent.h", with_tids=True)
    graph.claimant("netlink").put(
        NODE, {"Name": "d0", "Type": "veth", "IfIndex": 2, "EncapType": "ether", "LinkFlags": ["UP"], **metadata}
    )
    made = InjectionManager(
        graph,
        injector=injector or Scapy(),
        limits=limits or InjectionLimits(),
        namespace_of=lambda _id, _index: namespace,
    )
    return made, graph


async def carried_out(made: InjectionManager, order: Injection = ORDER, node: str = NODE) -> list[Injected]:
    told: list[Injected] = []

    async def tell(report: Injected) -> None:
        told.append(report)

    with trio.fail_after(30):
        await made.carry_out(Inject(order, node), tell)
    return told


async def test_what_is_sent_is_told_with_its_flow(held: str) -> None:
    made, graph = manager(held)
    first, *_, last = await carried_out(made)
    assert (first.state, first.count, len(first.tracking), len(first.l3)) == ("active", 1, 1, 1)
    assert (last.state, last.count) == ("done", 1)
    assert made.packets == 1
    assert "PacketInjections" not in graph.nodes[NODE].metadata()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"injector": Nothing()}, "no injector is installed"),
        ({"injector": Broken()}, "the injector"),
        ({"limits": InjectionLimits(enabled=False)}, "agent.injection.enabled"),
        ({"limits": InjectionLimits(max_active=0)}, "agent.injection.max_active"),
        ({"LinkFlags": []}, "the interface is down"),
        ({"IfIndex": None}, "no interface"),
        ({"Name": "d9"}, "No such device"),
    ],
)
async def test_what_goes_wrong_is_told(changes: dict[str, Any], reason: str, held: str) -> None:
    made, graph = manager(held, **changes)
    (last,) = [one for one in await carried_out(made) if one.state != "active"]
    assert last.state == "error"
    assert reason in last.reason
    assert made.status() == []
    assert "PacketInjections" not in graph.nodes[NODE].metadata()


async def test_a_namespace_that_cannot_be_entered_and_a_node_that_is_gone() -> None:
    made, _ = manager(None)
    assert "cannot be entered" in (await carried_out(made))[-1].reason
    assert "the node is gone" in (await carried_out(made, node="elsewhere"))[-1].reason


async def test_it_is_shown_while_it_runs_and_its_process_ends_with_it(held: str) -> None:
    made, graph = manager(held)
    long = Injection(
        **{**{name: getattr(ORDER, name) for name in ORDER.__struct_fields__}, "Count": 100, "Interval": 100}
    )
    begun = trio.Event()

    async def tell(_report: Injected) -> None:
        begun.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.carry_out, Inject(long, NODE), tell)
        with trio.fail_after(30):
            await begun.wait()
        (entry,) = graph.nodes[NODE].metadata()["PacketInjections"]
        assert (entry["ID"], entry["State"], entry["SrcMAC"]) == ("u", "active", "AgAAAAAB")
        (process,) = children()
        nursery.cancel_scope.cancel()
    assert process not in children()
    assert "PacketInjections" not in graph.nodes[NODE].metadata()


def children() -> list[int]:
    """Injectors that this process has started."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            if b"skydive_inject" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found
