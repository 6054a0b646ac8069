"""A probe that also adds to the query language, as an installed package would."""

from __future__ import annotations

import attrs
import trio

from skycore.plugin import ProbeHost, gremlin, hookimpl


class Stepping:
    """It adds the step `Backwards`."""

    roles = frozenset({"agent", "analyzer"})

    @attrs.frozen
    class Settings:
        pass

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self.host = host

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()


class Backwards(gremlin.Operation):
    def run(self, execution: gremlin.Execution, stream: gremlin.Stream) -> gremlin.Work[gremlin.Stream]:
        yield
        return gremlin.Stream(stream.kind, list(stream.items)[::-1])


@gremlin.step("Backwards", parameters="()", gives={gremlin.NODES: gremlin.NODES, gremlin.VALUES: gremlin.VALUES})
def backwards(call: gremlin.Call, kind: gremlin.Kind) -> gremlin.Operation:
    """The nodes or values in reverse order."""
    call.refuse_parameters()
    return Backwards()


@hookimpl
def gremlin_steps(registry: gremlin.StepRegistry) -> None:
    registry.add(backwards)
