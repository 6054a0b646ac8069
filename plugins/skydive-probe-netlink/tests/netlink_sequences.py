"""One random sequence over several namespaces, and what must be true after it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import netlink_commands as commands
import trio
from netlink_compare import all_differences

from skycore.testing import ProbeLab, run_probes
from skycore.testing.lab import NamedNetns, make_netns

ROUND = 12
"""Steps between two comparisons."""

SAMPLE = 0.3
"""Seconds after which the probe looks at what the kernel does not announce."""


class Mismatch(AssertionError):
    """The graph and ip did not come to say the same."""


@contextmanager
def places(count: int = commands.NAMESPACES) -> Iterator[tuple[list[NamedNetns], Path]]:
    """Namespaces, and a folder with the names of all but the first, which is to be the agent's own."""
    with ExitStack() as stack:
        made = [stack.enter_context(make_netns()) for _ in range(count)]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skt-")))
        for netns in made[1:]:
            (folder / netns.name).symlink_to(netns.path)
        yield made, folder


async def check(seeds: Sequence[int], kinds: Sequence[str], *, patience: float = 8.0, count: int = 3) -> None:
    """Carry out the steps and compare after each ROUND; raises Mismatch."""
    with places(count) as (made, folder):
        names = [netns.name for netns in made]
        steps = commands.prelude(sum(seeds), names, kinds)
        first = len(steps)
        steps += [commands.step(seed, names, kinds) for seed in seeds]
        settings: dict[str, dict[str, Any]] = {"netlink": {"metrics_update": SAMPLE}}
        settings["netns"] = {"run_path": str(folder)}
        async with run_probes(settings, namespace=made[0].path, started=60) as lab:
            start = 0
            for stop in (first, *range(first + ROUND, len(steps), ROUND), len(steps)):
                await trio.to_thread.run_sync(commands.run, steps[start:stop], names)
                await _settle(lab, names, steps[:stop], patience)
                start = stop


async def _settle(lab: ProbeLab, names: list[str], steps: Sequence[commands.Step], patience: float) -> None:
    deadline = trio.current_time() + patience
    while True:
        # The graph is read on the loop, ip asked in a thread; both again until they agree.
        found = await _differences(lab, names)
        if not found:
            break
        if trio.current_time() > deadline:
            done = "\n".join(f"  {program} -n {place} {line}" for place, program, line in steps)
            raise Mismatch("\n".join(found) + f"\nafter\n{done}")
        await trio.sleep(0.1)
    for report in lab.host.reports():
        if report.error is not None or report.restarts:
            raise Mismatch(f"a probe failed: {report}")


async def _differences(lab: ProbeLab, names: list[str]) -> list[str]:
    return await trio.to_thread.run_sync(all_differences, lab, names, names[0])
