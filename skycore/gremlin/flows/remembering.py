"""``As`` and ``Select`` of flows."""

from __future__ import annotations

from typing import final

import attrs

from skycore.gremlin.operation import FLOWS, Execution, Kind, Operation, Stream, Work, chunks
from skycore.gremlin.registry import Call, StepDefinition, step
from skycore.gremlin.steps.subgraph import as_, select_names


@step("As", parameters="(name)", gives={FLOWS: FLOWS})
def as_of_flows(call: Call, kind: Kind) -> Operation:
    return as_.compile(call, kind)


@final
@attrs.frozen
class RecallFlows(Operation):
    """The flows remembered under names, name after name, repetitions kept."""

    names: tuple[str, ...]
    offsets: tuple[int, ...]

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        found: list[bytes] = []
        for name, offset in zip(self.names, self.offsets, strict=True):
            named = execution.named.get(name)
            if named is None:
                raise execution.error(f"Key {name} not registered. Need to be registered using 'As' step", offset)
            if named.kind != FLOWS:
                raise execution.error(f"{name} names nodes, and Select stands after flows: put G before it", offset)
            for part in chunks(named.items, 4096):
                found += part
                execution.hold(len(found))
                yield
        return Stream(FLOWS, found)


@step("Select", parameters="(name, …)", gives={FLOWS: FLOWS})
def select_flows(call: Call, kind: Kind) -> Operation:
    """After flows: those that it remembered."""
    return RecallFlows(*select_names(call))


MORE_KINDS: tuple[StepDefinition, ...] = (as_of_flows, select_flows)
