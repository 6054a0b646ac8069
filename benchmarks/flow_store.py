"""The store of flows, end to end: bytes of the link become records, get what the graph knows, and are committed.

One process on one processor, a graph of 50 hosts with 1,000 containers, batches of 300 records of about 800 bytes.
Figures are for each second of CPU of this process, all threads:

- new flows into a store that holds a million, and updates of flows that are there;
- the same for new flows with fewer indexes: what an index costs;
- ``Flows().Has(…)`` on the million by index, and the top talkers of an hour of it: CPU of one question, the median.

Ends with 1 when an aim is missed: 10,000 new flows and 25,000 updates a second, 50 ms, 300 ms.

Run: uv run --group bench python -m benchmarks.flow_store [flows] [folder]
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import trio

from skycore.cluster import messages
from skycore.cluster.flow_intake import FlowIntake
from skycore.cluster.intake import AgentLink
from skycore.filter import All, Equals, Filter
from skycore.filter import Any as AnyOf
from skycore.flow.enhance import Enhancer
from skycore.flow.query import FlowQuery, FlowSpan
from skycore.graph.graph import Graph
from skycore.storage.flow_reader import StoredFlows
from skycore.storage.flow_rows import COLUMNS
from skycore.storage.flows import FlowStore

_BATCH = 300
_MEASURED = 60_000
_HOSTS, _CONTAINERS = 50, 20
_BEGIN = 1_700_000_000_000
_HOUR = 3_600_000
_ASKED = 15


def graph() -> Graph:
    """Hosts with containers, each with an address of its own."""
    made = Graph(host="h0", origin="analyzer.h0", with_tids=False)
    said = made.claimant("bench")
    with made.transaction():
        for host in range(_HOSTS):
            said.put(f"h{host}", {"Type": "host", "Name": f"h{host}", "TID": f"tid-h{host}"})
            for number in range(_CONTAINERS):
                name = f"h{host}c{number}"
                said.put(f"{name}-ns", {"Type": "netns", "Name": name, "TID": f"tid-{name}-ns"})
                said.put(f"{name}", {"Type": "container", "Name": name, "TID": f"tid-{name}"})
                said.put(
                    f"{name}-eth0",
                    {
                        "Type": "veth",
                        "Name": "eth0",
                        "TID": f"tid-{name}-eth0",
                        "MAC": f"02:42:0a:00:{host:02x}:{number:02x}",
                        "IPV4": [f"10.0.{host}.{number}/16"],
                    },
                )
                said.link(f"h{host}", f"{name}-ns", "ownership")
                said.link(f"{name}-ns", name, "ownership")
                said.link(f"{name}-ns", f"{name}-eth0", "ownership")
    return made


def record(number: int, chance: random.Random, last: int, update: int) -> bytes:
    """A flow from a container to another one, or to one of 50,000 addresses outside."""
    host, container = number % _HOSTS, number // _HOSTS % _CONTAINERS
    inside = number % 3 == 0
    drawn = _mixed(number + 1)
    there = f"10.0.{drawn % _HOSTS}.{drawn // 64 % _CONTAINERS}" if inside else (
        f"93.{drawn % 4}.{drawn // 4 % 50}.{drawn // 256 % 250}")  # fmt: skip
    port = (53, 80, 443, 443, 443, 5432, 8080)[drawn // 65536 % 7]
    size = int(chance.paretovariate(1.1) * 200) % (1 << 30)
    return (
        b'{"UUID":"%x","LayersPath":"Ethernet/IPv4/TCP","Application":"%b",'
        b'"Link":{"Protocol":"ETHERNET","A":"02:42:0a:00:%02x:%02x","B":"02:00:00:00:00:01","ID":0},'
        b'"Network":{"Protocol":"IPV4","A":"10.0.%d.%d","B":"%b","ID":0},'
        b'"Transport":{"Protocol":"TCP","A":%d,"B":%d,"ID":0},'
        b'"LastUpdateMetric":{"ABPackets":%d,"ABBytes":%d,"BAPackets":%d,"BABytes":%d,"Start":%d,"Last":%d},'
        b'"Metric":{"ABPackets":%d,"ABBytes":%d,"BAPackets":%d,"BABytes":%d,"Start":%d,"Last":%d,"RTT":33000},'
        b'"Start":%d,"Last":%d,"TrackingID":"%x","L3TrackingID":"%x","CommunityID":"1:%027x=","ParentUUID":"",'
        b'"NodeTID":"tid-h%dc%d-eth0","CaptureID":"4577b42c-e66f-4d91-8d0d-c6c78cbe669a","RawPacketsCaptured":0}'
    ) % (
        _mixed(number), b"https" if port == 443 else b"TCP", host, container, host, container, there.encode(),
        1024 + number % 60000, port, size // 1000 + 1, size, size // 1400 + 1, size // 2, last - 30_000, last,
        size // 1000 + 1 + update, size + update, size // 1400 + 1, size // 2, last - 30_000, last,
        last - 30_000 - update, last, _mixed(number ^ 0x5555), _mixed(number ^ 0xAAAA), number, host, container,
    )  # fmt: skip


def _mixed(number: int) -> int:
    """64 bits that look random: the finalizer of MurmurHash3."""
    number = (number ^ number >> 33) * 0xFF51AFD7ED558CCD & (1 << 64) - 1
    number = (number ^ number >> 33) * 0xC4CEB9FE1A85EC53 & (1 << 64) - 1
    return number ^ number >> 33


def messages_of(records: list[bytes], first: int) -> Iterator[bytes]:
    for place in range(0, len(records), _BATCH):
        flows = [msgspec.Raw(one) for one in records[place : place + _BATCH]]
        yield messages.encode(messages.Flows(1, first + place // _BATCH, flows, []))


class Bench:
    def __init__(self, folder: Path, enhancer: Enhancer) -> None:
        self.store = FlowStore(folder, retention_days=0, max_bytes=0)
        self.store.open()
        self.intake = FlowIntake(self.store, enhancer)
        self._link: Any = AgentLink.__new__(AgentLink)
        self._link.origin = "agent.h0"
        self._seq = 1

    async def take(self, records: list[bytes]) -> float:
        """Records for each second of CPU."""
        said = list(messages_of(records, self._seq))
        self._seq += len(said)
        begin = time.process_time()
        # As many as a commit takes when much has come.
        for place in range(0, len(said), 64):
            for message in said[place : place + 64]:
                decoded = messages.from_agent(message)
                assert isinstance(decoded, messages.Flows)
                await self.intake.take(self._link, decoded)
            while self.intake.backlog:
                assert await self.intake.flush()
        return len(records) / (time.process_time() - begin)


async def cost(ask: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    """(median CPU seconds, the answer)."""
    taken = []
    for _ in range(_ASKED):
        begin = time.process_time()
        found = await ask()
        taken.append(time.process_time() - begin)
    return statistics.median(taken), found


async def questions(bench: Bench, enhancer: Enhancer, flows: int) -> bool:
    past = StoredFlows(bench.store, expire_ms=0, enhance=enhancer.enhance)
    hour = FlowSpan(_BEGIN, _BEGIN + _HOUR)
    asked: list[tuple[str, Filter, FlowSpan | None, int | None]] = [
        ("Has('UUID', …)", Equals("UUID", f"{_mixed(7):x}"), None, None),
        ("Has('TrackingID', …)", Equals("TrackingID", f"{_mixed(7 ^ 0x5555):x}"), None, None),
        ("Has('Network', …)", AnyOf((Equals("Network.A", "93.1.7.9"), Equals("Network.B", "93.1.7.9"))), None, None),
        ("Has('Network.A', …).Limit(100)", Equals("Network.A", "10.0.7.3"), None, 100),
        ("Has('Transport.B', 53).Limit(100)", Equals("Transport.B", 53), hour, 100),
        (
            "Has('From.Container', …, 'Transport.B', 53)",
            All((Equals("From.Container", "h7c3"), Equals("Transport.B", 53))),
            None,
            None,
        ),
    ]
    good = True
    for name, filter, span, limit in asked:
        query = FlowQuery(filter, sort_by="Last", descending=True, limit=limit)

        async def ask(query: FlowQuery = query, span: FlowSpan | None = span) -> int:
            return sum([len(piece) async for piece in past.flows(query, span, lambda _: None)])

        seconds, found = await cost(ask)
        good &= seconds < 0.05
        print(f"  {name:45} {seconds * 1000:7.1f} ms   {found} flows", flush=True)
    for state in ("as committed", "added up"):
        for by in ("address", "pair"):
            seconds, top = await cost(lambda by=by: past.top(hour, by, 10))  # type: ignore[misc]
            good &= seconds < 0.3 or state == "as committed"
            print(f"  top talkers of an hour by {by}, {state:12} {seconds * 1000:8.1f} ms", flush=True)
            assert len(top.Talkers) == 10
        if state == "as committed":
            begin = time.process_time()
            while bench.store.maintain(_BEGIN + 10 * _HOUR):
                pass
            print(f"  adding up 60 minutes of {flows} flows: {time.process_time() - begin:.1f} s", flush=True)
    return good


async def curve(folder: Path, enhancer: Enhancer) -> None:
    names = [column.name for column in COLUMNS if column.index is not None]
    print("new flows a second by number of indexes, beside those of UUID and Last, in a store of 60,000:")
    for kept in (0, 4, 8, 11, len(names)):
        chance = random.Random(2)
        bench = Bench(folder / str(kept), enhancer)
        with bench.store.reading() as reader:
            reader.execute("PRAGMA query_only = 0")
            for name in names[kept:]:
                reader.execute(f"DROP INDEX flow_{name}")
        rate = await bench.take([record(number, chance, _BEGIN + number, 0) for number in range(_MEASURED)])
        print(f"  {kept:2} {rate:8.0f}", flush=True)
        bench.store.close()


async def main(flows: int, folder: Path) -> int:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    enhancer = Enhancer(graph())
    await curve(folder, enhancer)
    bench = Bench(folder / "large", enhancer)
    chance = random.Random(1)
    step = _HOUR / flows
    rate, number = 0.0, 0
    while number < flows:
        part = range(number, min(flows, number + _MEASURED))
        rate = await bench.take([record(one, chance, int(_BEGIN + one * step), 0) for one in part])
        number = part.stop
    size = sum(path.stat().st_size for path in (folder / "large").iterdir()) / flows
    print(f"{flows} flows, {size:.0f} bytes each; the last {_MEASURED}: {rate:.0f} new flows a second")
    good = rate >= 10_000
    for spread, many in (("that came together", range(max(0, flows - _MEASURED), flows)), ("of all times", None)):
        chosen = random.Random(3).sample(range(flows), min(flows, _MEASURED)) if many is None else list(many)
        rate = await bench.take([record(one, chance, _BEGIN + _HOUR + place, 1) for place, one in enumerate(chosen)])
        good &= rate >= 25_000 or many is None
        print(f"updates a second, of flows {spread}: {rate:.0f}", flush=True)
    print("CPU of one question:")
    good &= await questions(bench, enhancer, flows)
    bench.store.close()
    return 0 if good else 1


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    place = Path(tempfile.mkdtemp(dir=sys.argv[2] if len(sys.argv) > 2 else None))
    try:
        sys.exit(trio.run(main, count, place))
    finally:
        shutil.rmtree(place)
