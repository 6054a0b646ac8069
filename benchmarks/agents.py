"""Many agents' ends of links in one process, for measuring what is at their other end.

    .venv/bin/python -m benchmarks.agents ADDRESS FOLDER FIRST COUNT INTERFACES CHANGES

Each of the COUNT agents is the client code as it runs in an agent (graph, recorder, spool, uplink) with INTERFACES
interfaces of 1.1 KB; their hosts are numbered from FIRST on.  A line ``linked`` is printed when the analyzer has
acknowledged all of it.  After a line of input each makes CHANGES changes a second, spread evenly; 0: as many as the
analyzer takes, with at most ``AHEAD`` of them under way.  After a second line they stop, and a line of JSON tells how
many were made, in which time until all were acknowledged, with how much CPU, and how many were lost.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path

import structlog
import trio

from benchmarks.updates import interface
from skycore.cluster.dial import tcp
from skycore.cluster.recorder import Recorder
from skycore.cluster.spool import Spool, next_epoch
from skycore.cluster.uplink import Uplink
from skycore.config import Address
from skycore.graph.graph import Graph, now_ms

AHEAD = 4096
BURST = 64
SILENCE = 5.0
SPOOL = 64 << 20


class Agent:
    """One agent: a host, its interfaces, and the link."""

    def __init__(self, address: str, folder: Path, number: int, interfaces: int) -> None:
        name = f"host{number:04}"
        self.graph = Graph(host=name, origin=f"agent.{name}", with_tids=True)
        self.probe = self.graph.claimant("netlink")
        self.ids = [f"{name}-{index:05}" for index in range(interfaces)]
        with self.graph.transaction():
            self.probe.put(name, {"Name": name, "Type": "host"})
            for index, id in enumerate(self.ids):
                self.probe.put(id, interface(index, 0))
                self.probe.link(name, id, "ownership")
        self.spool = Spool(folder / name, next_epoch(folder / name, now_ms()), SPOOL)
        self.recorder = Recorder(self.graph, self.spool)
        ready = trio.Event()
        ready.set()
        dial = tcp(Address.parse(address))
        self.uplink = Uplink(address, dial, self.recorder, ready=ready, authorization=None, silence=SILENCE, links={})
        self.made = 0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.uplink.run)
            nursery.start_soon(self.recorder.run)

    @property
    def behind(self) -> int:
        """What was said and is not acknowledged."""
        recorder = self.recorder
        return self.graph.log.end - recorder.revisions + recorder.written - self.uplink.state.acknowledged

    async def linked(self) -> None:
        while not self.uplink.state.acknowledged or self.uplink.state.acknowledged < self.recorder.written:
            await self.uplink.moved.wait()

    def change(self) -> None:
        index = self.made % len(self.ids)
        self.made += 1
        self.probe.put(self.ids[index], interface(index, self.made))

    async def change_on(self, rate: float) -> None:
        """Make changes until cancelled."""
        begin = trio.current_time()
        while True:
            if rate:
                await trio.sleep_until(begin + self.made / rate)
                self.change()
                continue
            while self.behind > AHEAD:
                await self.uplink.moved.wait()
            for _ in range(BURST):
                self.change()
            await trio.lowlevel.checkpoint()


async def main(address: str, folder: str, first: int, count: int, interfaces: int, rate: float) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    agents = [Agent(address, Path(folder), number, interfaces) for number in range(first, first + count)]
    async with trio.open_nursery() as nursery:
        for agent in agents:
            nursery.start_soon(agent.run)
        for agent in agents:
            await agent.linked()
        print("linked", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        cpu, begin = time.process_time(), time.perf_counter()
        with trio.CancelScope() as changing:
            async with trio.open_nursery() as changers:
                for agent in agents:
                    changers.start_soon(agent.change_on, rate)
                await trio.to_thread.run_sync(sys.stdin.readline)
                changing.cancel()
        made = sum(agent.made for agent in agents)
        for agent in agents:
            await agent.recorder.caught_up()
            await agent.linked()
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
        lost = sum(agent.spool.status.dropped + agent.recorder.lost for agent in agents)
        print(json.dumps({"made": made, "seconds": took, "cpu": cpu, "lost": lost}), flush=True)
        nursery.cancel_scope.cancel()
    for agent in agents:
        agent.spool.close()


if __name__ == "__main__":
    first, count, interfaces, rate = map(int, sys.argv[3:])
    trio.run(main, sys.argv[1], sys.argv[2], first, count, interfaces, rate)
