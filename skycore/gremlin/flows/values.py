"""What is in flows: ``Count``, ``Values``, ``Keys`` and ``Sum``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import attrs

from skycore.filter import MISSING, number_of
from skycore.flow.evaluation import decode
from skycore.flow.fields import FIELDS, NUMBERS, canonical_key, value
from skycore.gremlin.flows.taking import PerFlow
from skycore.gremlin.operation import (
    COUNT,
    FLOWS,
    GROUPS,
    RAW_PACKETS,
    VALUES,
    Execution,
    Kind,
    Operation,
    Stream,
    Work,
)
from skycore.gremlin.registry import Call, StepDefinition, step
from skycore.gremlin.steps.sources import CountItems


@final
@attrs.frozen
class CountFlows(PerFlow):
    """The number of flows."""

    def piece(self, execution: Execution, records: Sequence[bytes]) -> list[int]:
        return [len(records)]

    def whole(self, items: list[Any]) -> Stream:
        return Stream(COUNT, (sum(items),))


@step("Count", parameters="()", gives=dict.fromkeys((FLOWS, GROUPS, RAW_PACKETS), COUNT))
def count(call: Call, kind: Kind) -> Operation:
    """Of groups: how many there are, of packets: of how many flows."""
    call.refuse_parameters()
    return CountFlows() if kind == FLOWS else CountItems()


@final
@attrs.frozen
class TakeFieldOfFlows(PerFlow):
    """The value of a field of each flow; all of them must have it."""

    key: str

    def piece(self, execution: Execution, records: Sequence[bytes]) -> list[Any]:
        found = [value(decode(json), self.key) for json in records]
        if MISSING in found:
            raise execution.error(f"Field not found: not every flow has {self.key}; keep those that do with HasKey")
        return found

    def whole(self, items: list[Any]) -> Stream:
        return Stream(VALUES, items)


@step("Values", parameters="(key)", gives={FLOWS: VALUES})
def values(call: Call, kind: Kind) -> Operation:
    """Every flow must have it."""
    return TakeFieldOfFlows(canonical_key(call.one_text(f"Values requires 1 parameter : {call.shown()}")))


@final
@attrs.frozen
class FieldsOfFlows(Operation):
    """The names of all fields."""

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        return Stream(VALUES, FIELDS)
        yield


@step("Keys", parameters="()", gives={FLOWS: VALUES})
def keys(call: Call, kind: Kind) -> Operation:
    """Of flows: all fields that flows may have."""
    call.refuse_parameters()
    return FieldsOfFlows()


@final
@attrs.frozen
class SumFlows(PerFlow):
    """The sum of a counter; flows without it add nothing."""

    key: str

    def piece(self, execution: Execution, records: Sequence[bytes]) -> list[int | float]:
        numbers = (number_of(value(decode(json), self.key)) for json in records)
        return [sum(number for number in numbers if number is not None)]

    def whole(self, items: list[Any]) -> Stream:
        return Stream(COUNT, (sum(items),))


@step("Sum", parameters="([key])", gives={FLOWS: COUNT})
def sum_(call: Call, kind: Kind) -> Operation:
    """Of flows: a counter such as `Metric.ABBytes`."""
    key = canonical_key(call.one_text(f"Sum requires 1 parameter : {call.shown()}"))
    if key not in NUMBERS:
        raise call.error(
            f"{key[:200]} cannot be summed over flows; the counters are those of Metric, LastUpdateMetric, TCPMetric "
            "and IPMetric, such as Metric.ABBytes",
            call.arguments[0],
        )
    return SumFlows(key)


MORE_KINDS: tuple[StepDefinition, ...] = (count, values, keys, sum_)
