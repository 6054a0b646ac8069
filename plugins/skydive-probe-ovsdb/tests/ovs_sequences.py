"""One random sequence of changes, and what must be true during and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ovs_commands as commands
import trio
from ovs_compare import as_graph_tells, as_switch_tells, differences, printed

from skycore.testing import ProbeLab, run_probes
from skycore.testing.openvswitch import OpenVSwitch

ROUND = 12
"""Steps between two comparisons."""


class Mismatch(AssertionError):
    """The graph and the switch did not come to say the same."""


async def check(ovs: OpenVSwitch, seeds: Sequence[int], *, patience: float = 30.0) -> None:
    """Carry out the steps on an empty switch and compare after each ROUND; raises Mismatch."""
    await trio.to_thread.run_sync(commands.prepare, ovs)
    try:
        settings: dict[str, dict[str, Any]] = {
            "ovsdb": {"ovsdb": f"unix://{ovs.socket}", "oflow": {"enable": True, "native": True}},
            "netlink": {"metrics_update": 0},
        }
        async with run_probes(settings, namespace=ovs.host.netns_path, started=60) as lab:
            done: list[commands.Step] = []
            for start in range(0, len(seeds), ROUND):
                steps = [commands.step(seed) for seed in seeds[start : start + ROUND]]
                done += await trio.to_thread.run_sync(commands.run, ovs, steps)
                await _settle(lab, ovs, done, patience)
    finally:
        await trio.to_thread.run_sync(commands.clean, ovs)


async def _settle(lab: ProbeLab, ovs: OpenVSwitch, done: list[commands.Step], patience: float) -> None:
    deadline = trio.current_time() + patience
    # The switch is asked in a thread, the graph read on the loop; both again until they agree.
    while found := differences(as_graph_tells(lab), await trio.to_thread.run_sync(as_switch_tells, ovs)):
        if trio.current_time() > deadline:
            raise Mismatch("\n".join(found) + f"\nafter\n{printed(done)}\n{lab.host.reports()}")
        await trio.sleep(0.1)
    for report in lab.host.reports():
        if report.error is not None or report.restarts:
            raise Mismatch(f"a probe failed: {report}\nafter\n{printed(done)}")
