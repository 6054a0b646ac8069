"""A probe whose steps cannot be added."""

from __future__ import annotations

import attrs
import trio

from skycore.plugin import ProbeHost, gremlin, hookimpl


class Stumbling:
    """It adds a step, then fails."""

    roles = frozenset({"agent", "analyzer"})

    @attrs.frozen
    class Settings:
        pass

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self.host = host

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()


@gremlin.step("Half", parameters="()", gives={gremlin.NODES: gremlin.NODES})
def half(call: gremlin.Call, kind: gremlin.Kind) -> gremlin.Operation:
    """Half of the nodes."""
    raise NotImplementedError


@hookimpl
def gremlin_steps(registry: gremlin.StepRegistry) -> None:
    registry.add(half)
    raise RuntimeError("stumbled")
