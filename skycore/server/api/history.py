"""`/api/history/density`: when much changed, and when history is incomplete; for drawing a time line."""

from __future__ import annotations

from functools import partial
from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from skycore.errors import Refusal, StorageError
from skycore.gremlin import gap_object
from skycore.server.api.body import json_answer
from skycore.server.api.schemas import Density
from skycore.server.api.services import Services
from skycore.server.endpoint import ANALYZER, JSON, TEXT, Answer, Endpoint

MOST_PARTS: Final = 1000
_LAST_TIME: Final = 253402300799999


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """The one endpoint."""
    queries = services.queries

    async def show(request: Request) -> Response:
        start, end, parts = _asked(request)
        history = queries.history
        if history is None:
            raise Refusal(400, "there is no history here")
        run = partial(trio.to_thread.run_sync, abandon_on_cancel=True, limiter=queries.readers)
        try:
            counts = await run(history.density, start, end, parts)
            gaps = await run(history.gaps, start, end)
        except StorageError as error:
            raise Refusal(500, f"history cannot be read: {error}") from error
        return json_answer(Density(start, end, counts, [gap_object(gap) for gap in gaps]))

    return (
        Endpoint(
            method="GET",
            path="/api/history/density",
            handler=show,
            summary="How much changed when",
            roles=ANALYZER,
            object="topology",
            action="read",
            query={
                "start": "milliseconds since the epoch",
                "end": "the same, and later",
                "parts": f"how many equal parts, at most {MOST_PARTS}",
            },
            answers=(
                Answer(200, "the changes of each part, without those of counters, and the gaps", Density, (JSON,)),
                Answer(400, "a parameter is missing or wrong", media_types=(TEXT,)),
                Answer(405, "no permission"),
                Answer(500, "history cannot be read", media_types=(TEXT,)),
            ),
        ),
    )


def _asked(request: Request) -> tuple[int, int, int]:
    """Start, end and number of parts.  Raises Refusal (400)."""
    found = []
    for name in ("start", "end", "parts"):
        text = request.query_params.get(name, "")
        if not (text.isascii() and text.isdecimal() and len(text) <= 15):
            raise Refusal(400, f"{name} must be a number, not {text[:30]!r}")
        found.append(int(text))
    start, end, parts = found
    if not start < end <= _LAST_TIME:
        raise Refusal(400, "start must be before end, and both milliseconds since 1970")
    if not 1 <= parts <= MOST_PARTS:
        raise Refusal(400, f"parts must be from 1 to {MOST_PARTS}")
    return start, end, parts
