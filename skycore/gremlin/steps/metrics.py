"""``Metrics`` and ``Aggregates``: how counters grew, in the whole or slice by slice of time.

A metric is an object of counters and of ``Start`` and ``Last``, the time in milliseconds in which they grew so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeAlias, final

import attrs

from skycore.filter import MISSING, number_of
from skycore.gremlin.operation import (
    COUNT,
    METRICS,
    NODES,
    OBJECT,
    VALUES,
    Execution,
    Kind,
    Operation,
    Stream,
    Work,
    chunks,
)
from skycore.gremlin.registry import Call, step
from skycore.gremlin.span import SpanView, node_values
from skycore.gremlin.syntax import Literal

Metric: TypeAlias = Mapping[str, Any]

_TIMES: Final = ("Start", "Last")
_NO_COUNTERS: Final = frozenset({*_TIMES, "RTT"})
"""What does not add up."""
_MOST_SLICES: Final = 10_000
_FIELDS: Final = {
    "": "LastUpdateMetric",
    "LastUpdateMetric": "LastUpdateMetric",
    "SFlow": "SFlow.LastUpdateMetric",
    "SFlow.LastUpdateMetric": "SFlow.LastUpdateMetric",
    "Ovs": "Ovs.LastUpdateMetric",
    "Ovs.LastUpdateMetric": "Ovs.LastUpdateMetric",
}


@final
@attrs.frozen
class TakeMetrics(Operation):
    """The metric of each node; over a span those of all its revisions in the stream that lie in the span, by time."""

    looks_around: ClassVar[bool] = False

    key: str

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        pairs: list[tuple[str, list[Metric]]] = []
        for part in chunks((yield from node_values(execution, self.key, stream.items))):
            for id, values in part:
                found: list[Metric] = [value for value in values if isinstance(value, dict) and value]
                if isinstance(execution.view, SpanView) and execution.span is not None:
                    found = _of_span(found, execution.span)
                if found:
                    pairs.append((id, found))
            yield
        return Stream(METRICS, pairs)


def _of_span(metrics: list[Metric], span: tuple[int, int]) -> list[Metric]:
    """Those that touch a span, by time; many revisions may show the same update of the counters."""
    different = {_times(metric): metric for metric in metrics}
    return [metric for (start, last), metric in sorted(different.items()) if start <= span[1] and last >= span[0]]


@step("Metrics", parameters="([key])", gives={NODES: METRICS})
def metrics(call: Call, kind: Kind) -> Operation:
    """How the counters of each node grew: by `LastUpdateMetric`, with a key by that of `SFlow` or `Ovs`."""
    if len(call.arguments) > 1:
        raise call.error(f"Metrics accepts one parameter : {call.shown()}", call.arguments[1])
    key = call.text(call.arguments[0], f"Metrics accepts one parameter : {call.shown()}") if call.arguments else ""
    field = _FIELDS.get(key)
    if field is None or (call.arguments and not key):
        names = ", ".join(name for name in _FIELDS if name)
        raise call.error(f"Metric field unknown: {key[:200]}; there are {names}", call.arguments[0])
    return TakeMetrics(field)


@final
@attrs.frozen
class SumMetrics(Operation):
    """All metrics as one, or the sum of one of their counters."""

    looks_around: ClassVar[bool] = False

    key: str | None

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        total: dict[str, Any] | None = None
        for _, found in stream.items:
            for metric in found:
                total = _added(total, metric)
            yield
        if self.key is None:
            return Stream(OBJECT, (total,))
        number = number_of((total or {}).get(self.key, 0))
        return Stream(COUNT, (0 if number is None else number,))


@final
@attrs.frozen
class KeysOfMetrics(Operation):
    """The names that the metrics have, sorted."""

    looks_around: ClassVar[bool] = False

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        found: set[str] = set()
        for part in chunks(stream.items):
            for _, listed in part:
                for metric in listed:
                    found.update(metric)
            yield
        return Stream(VALUES, sorted(found))


@final
@attrs.frozen
class Aggregate(Operation):
    """All metrics together, in slices of ``milliseconds``; one that lies over several is shared out by time."""

    looks_around: ClassVar[bool] = False

    milliseconds: int

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        every: list[Metric] = []
        for _, found in stream.items:
            every += found
            execution.hold(len(every))
            yield
        if not every:
            return Stream(METRICS)
        start, last = execution.span or (0, 0)
        if start >= last:
            start = min(_times(metric)[0] for metric in every)
            last = max(_times(metric)[1] for metric in every)
        width = self.milliseconds
        number = max(1, -(-(last - start) // width))
        if number > _MOST_SLICES:
            raise execution.error(f"Aggregates available slices exceeded: {number}/{_MOST_SLICES}")
        slices: dict[int, dict[str, Any]] = {}
        for metric in every:
            begin, end = _times(metric)
            if end < start or begin > last:
                continue
            first = max(0, (begin - start) // width)
            final = min(number - 1, max(first, (end - 1 - start) // width))
            for index in range(first, final + 1):
                low, high = start + index * width, start + (index + 1) * width
                share = _share(metric, begin, end, low, high)
                slices[index] = {**_added(slices.get(index), share), "Start": low, "Last": min(last, high)}
                if index % 64 == 63:
                    yield
            yield
        return Stream(METRICS, [("Aggregated", [slices[index] for index in sorted(slices)])] if slices else [])


@step("Aggregates", parameters="([seconds])", gives={METRICS: METRICS})
def aggregates(call: Call, kind: Kind) -> Operation:
    """All metrics together, slice by slice of some seconds (30)."""
    if len(call.arguments) > 1:
        raise call.error(f"Aggregates accepts at most one parameter : {call.shown()}", call.arguments[1])
    seconds = 30
    if call.arguments:
        argument = call.arguments[0]
        value = argument.value if isinstance(argument, Literal) else None
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise call.error(f"Aggregates parameter has to be a positive number : {call.shown()}", argument)
        seconds = value
    return Aggregate(seconds * 1000)


def _times(metric: Metric) -> tuple[int, int]:
    start, last = (number_of(metric.get(name, MISSING)) for name in _TIMES)
    start = 0 if start is None else int(start)
    return start, max(start, 0 if last is None else int(last))


def _added(total: dict[str, Any] | None, metric: Metric) -> dict[str, Any]:
    """Both as one: counters added, the times from the first start to the last end."""
    if total is None:
        return {name: value for name, value in metric.items() if name != "RTT"}
    starts, lasts = zip(_times(total), _times(metric), strict=True)
    for name, value in metric.items():
        if name in _NO_COUNTERS:
            continue
        known = total.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            total[name] = known + value if isinstance(known, int | float) else value
        elif known is None:
            total[name] = value
    return {**total, "Start": min(starts), "Last": max(lasts)}


def _share(metric: Metric, begin: int, end: int, low: int, high: int) -> dict[str, Any]:
    """What grew between two moments, if all grew evenly; counters that did not grow are left out.

    Integers are rounded so that the shares of adjoining slices add up to the whole.
    """
    length = end - begin
    start, stop = max(begin, low) - begin, min(end, high) - begin
    share: dict[str, Any] = {}
    for name, value in metric.items():
        if name in _NO_COUNTERS or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if length <= 0:
            part = value
        elif isinstance(value, int):
            part = value * stop // length - value * start // length
        else:
            part = value * (stop - start) / length
        if part:
            share[name] = part
    return share


STEPS = (metrics, aggregates)
