"""An agent that has more to say than any analyzer takes: `python flood.py ADDRESS FOLDER`, until it is killed."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

from skycore.cluster.dial import tcp
from skycore.cluster.recorder import Recorder
from skycore.cluster.spool import Spool, next_epoch
from skycore.cluster.uplink import Uplink
from skycore.config import Address
from skycore.graph.graph import Graph, now_ms

_AHEAD = 20_000


async def main(address: str, folder: Path) -> None:
    graph = Graph(host="flood", origin="agent.flood", with_tids=True)
    recorder = Recorder(graph, Spool(folder, next_epoch(folder, now_ms()), 256 << 20))
    ready = trio.Event()
    ready.set()
    dial = tcp(Address.parse(address))
    uplink = Uplink(address, dial, recorder, ready=ready, authorization=None, silence=5.0, links={})
    probe = graph.claimant("flood")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(uplink.run)
        nursery.start_soon(recorder.run)
        number = 0
        while True:
            while recorder.written - uplink.state.acknowledged > _AHEAD:
                await uplink.moved.wait()
            for _ in range(100):
                number += 1
                probe.put(f"n{number % 500}", {"Name": f"n{number % 500}", "Number": number, "Text": "x" * 500})
            await trio.lowlevel.checkpoint()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]))
