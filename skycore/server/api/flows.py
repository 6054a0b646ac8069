"""`/api/flows/top`: who sent most in a time."""

from __future__ import annotations

import time
from typing import Final, cast, get_args

from starlette.requests import Request
from starlette.responses import Response

from skycore.errors import Refusal, StorageError
from skycore.flow.query import FlowSpan
from skycore.server.api.body import json_answer
from skycore.server.api.services import Services
from skycore.server.endpoint import ANALYZER, JSON, TEXT, Answer, Endpoint
from skycore.storage.talkers import By, Measure, Talkers

MOST: Final = 1000
_LAST_TIME: Final = 253402300799999
_DEFAULT: Final = "10"
_HOUR_MS: Final = 3_600_000


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """The one endpoint."""

    async def show(request: Request) -> Response:
        asked = request.query_params.get
        now = time.time_ns() // 1_000_000
        end = _number("end", asked("end", str(now)))
        span = FlowSpan(_number("start", asked("start", str(max(0, end - _HOUR_MS)))), end)
        if not span.since_ms < span.until_ms <= _LAST_TIME:
            raise Refusal(400, "start must be before end, and both milliseconds since 1970")
        by = _one_of("by", asked("by", "address"), get_args(By))
        measure = _one_of("measure", asked("measure", "bytes"), get_args(Measure))
        limit = _number("limit", asked("limit", _DEFAULT))
        if not 1 <= limit <= MOST:
            raise Refusal(400, f"limit must be from 1 to {MOST}")
        if services.talkers is None:
            raise Refusal(400, "flows are not kept here")
        try:
            found = await services.talkers.top(
                span, cast(By, by), limit, measure=cast(Measure, measure), node=asked("node") or None
            )
        except StorageError as error:
            raise Refusal(500, f"flows cannot be read: {error}") from error
        return json_answer(found)

    return (
        Endpoint(
            method="GET",
            path="/api/flows/top",
            handler=show,
            summary="The top talkers of a time",
            roles=ANALYZER,
            object="topology",
            action="read",
            options={
                "start": "milliseconds since the epoch; left out, an hour before the end",
                "end": "the same, and later; left out, now",
                "by": f"`{'`, `'.join(get_args(By))}`; left out, `address`",
                "measure": f"`{'` or `'.join(get_args(Measure))}`; left out, `bytes`",
                "limit": f"how many, at most {MOST}; left out, {_DEFAULT}",
                "node": "the TID of a node: only what was seen there",
            },
            answers=(
                Answer(200, "the largest talkers, in whole minutes", Talkers, (JSON,)),
                Answer(400, "a parameter is wrong, or flows are not kept", media_types=(TEXT,)),
                Answer(405, "no permission"),
                Answer(500, "flows cannot be read", media_types=(TEXT,)),
            ),
        ),
    )


def _number(name: str, text: str) -> int:
    """Raises Refusal (400)."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise Refusal(400, f"{name} must be a number, not {text[:30]!r}")
    return int(text)


def _one_of(name: str, text: str, words: tuple[str, ...]) -> str:
    if text not in words:
        raise Refusal(400, f"{name} must be one of {', '.join(words)}, not {text[:30]!r}")
    return text
