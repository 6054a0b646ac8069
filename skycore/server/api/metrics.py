"""`/metrics`: figures for Prometheus and whoever reads its format.

prometheus-client writes it, in the text format or as OpenMetrics, whichever the client asks for.  It is imported
when somebody asks first, so that it costs nothing where nobody does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import trio
from starlette.requests import Request
from starlette.responses import Response

from skycore import __version__
from skycore.server.api.services import Services
from skycore.server.endpoint import TEXT, Answer, Endpoint

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_PREFIX = "skycore_"


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """`/metrics`."""
    registry = functools.lru_cache(1)(functools.partial(_registry, services))

    async def show(request: Request) -> Response:
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        await trio.lowlevel.checkpoint()
        return Response(encode(registry()), headers={"Content-Type": media_type})

    return (
        Endpoint(
            method="GET",
            path="/metrics",
            handler=show,
            summary="Figures for Prometheus",
            object="status",
            action="read",
            answers=(
                Answer(200, "the figures at this moment", media_types=(TEXT, "application/openmetrics-text")),
                Answer(405, "no permission"),
            ),
        ),
    )


def _registry(services: Services) -> Any:
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Collector(services))
    return registry


class _Collector:
    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import (  # noqa: PLC0415
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
            InfoMetricFamily,
        )

        services = self._services
        about = {"version": __version__, "role": services.role, "host": services.host}
        yield InfoMetricFamily(_PREFIX + "build", "Which version serves which role.", value=about)
        for figure in services.figures():
            labels = list(figure.values[0][0]) if figure.values else []
            family: Any = (CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily)(
                _PREFIX + figure.name, figure.meaning, labels=labels
            )
            for names, value in figure.values:
                family.add_metric([names[label] for label in labels], value)
            yield family
        times = services.query_times
        histogram = HistogramMetricFamily(_PREFIX + "query_seconds", "How long queries over REST took.")
        histogram.add_metric([], times.cumulative(), times.total)
        yield histogram
        room = services.query_room
        yield GaugeMetricFamily(_PREFIX + "queries_running", "Queries over REST at work.", room.borrowed_tokens)
        yield GaugeMetricFamily(
            _PREFIX + "queries_waiting", "Queries over REST that wait for others.", room.statistics().tasks_waiting
        )
        yield CounterMetricFamily(
            _PREFIX + "queries_failed", "Queries over REST that got no result, or whose client left.", times.failed
        )
