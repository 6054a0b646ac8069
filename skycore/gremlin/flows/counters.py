"""``Metrics`` of flows: what each one counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, final

import attrs
import msgspec

from skycore.flow.evaluation import Record, decode
from skycore.flow.query import FlowMetric, FlowSpan
from skycore.gremlin.flows.taking import PerFlow, flow_reader, span_of
from skycore.gremlin.operation import FLOWS, METRICS, Execution, Kind, Operation, Stream, Work, chunks
from skycore.gremlin.registry import Call, StepDefinition, step

_AT_A_TIME: Final = 1024


@final
@attrs.frozen
class MetricsOfFlows(PerFlow):
    """Of each flow its last update, or all it counted when there was none yet; over a span all updates in it."""

    only_now: ClassVar[bool] = True

    def piece(self, execution: Execution, records: Sequence[bytes]) -> list[Any]:
        flows = map(decode, records)
        return [(flow["UUID"], [metric]) for flow in flows if (metric := latest(flow)) is not None]

    def whole(self, items: list[Any]) -> Stream:
        return Stream(METRICS, items)

    def run(self, execution: Execution, stream: Stream) -> Work[Stream]:
        span = span_of(execution)
        if span is None:
            return (yield from super().run(execution, stream))
        reader = flow_reader(execution)
        items: list[Any] = []
        held = 0
        for part in chunks(stream.items, _AT_A_TIME):
            flows = [decode(json) for json in part]
            uuids = [flow["UUID"] for flow in flows]
            kept = yield from execution.wait_for(partial(reader.metrics, uuids, span))
            for flow in flows:
                found = _of_span(flow, kept, span)
                held += len(found)
                if found:
                    items.append((flow["UUID"], found))
            execution.hold(held)
        return Stream(METRICS, items)


def latest(flow: Record) -> Record | None:
    """What a flow counted last, None when it counted nothing."""
    return flow.get("LastUpdateMetric") or flow.get("Metric")


def _of_span(flow: Record, kept: Mapping[str, Sequence[FlowMetric]], span: FlowSpan) -> list[Record]:
    known = kept.get(flow["UUID"])
    if known:
        return [_shown(metric) for metric in known]
    # Not kept yet: what the table says.
    metric = latest(flow)
    inside = metric is not None and metric["Start"] <= span.until_ms and metric["Last"] >= span.since_ms
    return [metric] if inside and metric is not None else []


def _shown(metric: FlowMetric) -> Record:
    shown = msgspec.structs.asdict(metric)
    if not metric.RTT:
        del shown["RTT"]
    return shown


@step("Metrics", parameters="()", gives={FLOWS: METRICS})
def metrics(call: Call, kind: Kind) -> Operation:
    """Of flows: the last update of each, over a span all of them."""
    call.refuse_parameters()
    return MetricsOfFlows()


MORE_KINDS: tuple[StepDefinition, ...] = (metrics,)
