"""`POST /api/pcap`: a recording of any size, read as it comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

import msgspec
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from skycore.errors import RecordingError, Refusal
from skycore.flow.recording import Imported
from skycore.server.api.body import json_answer
from skycore.server.api.services import Services
from skycore.server.endpoint import ANALYZER, JSON, TEXT, Answer, Body, Endpoint

PATH: Final = "/api/pcap"
_MEDIA: Final = ("application/octet-stream", "application/vnd.tcpdump.pcap")
_KEEP_TIME: Final = 10.0
"""Seconds in which what was read is kept when whoever sent it has gone."""


@final
class ImportAnswer(msgspec.Struct):
    """What came out of a recording; Start and End are milliseconds since the epoch, 0 without flows."""

    CaptureID: str
    Bytes: int
    Packets: int
    Unread: int
    Ignored: int
    Flows: int
    Start: int
    End: int
    Warning: str = ""


def endpoints(services: Services) -> Iterator[Endpoint]:
    """The one endpoint of recordings."""

    async def take(request: Request) -> Response:
        imports = services.imports
        if imports is None:
            raise Refusal(400, "flows are not kept here (key analyzer.flow.backend), so a recording cannot be")
        async with imports.room:
            recording = imports.begin()
            try:
                async for piece in request.stream():
                    await recording.feed(piece)
                found = await recording.finish()
            except RecordingError as error:
                await recording.keep()
                raise Refusal(400, f"{error}; {_kept(recording.result())}") from error
            except (trio.Cancelled, ClientDisconnect):
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _KEEP_TIME):
                    await recording.keep()
                raise
        return json_answer(_answer(found, imports.warning(found)), 202)

    yield Endpoint(
        method="POST",
        path=PATH,
        handler=take,
        summary="Put the flows of a recording (pcap, pcapng) into history",
        roles=ANALYZER,
        object="pcap",
        action="write",
        body=Body(None, _MEDIA),
        answers=(
            Answer(202, "its flows are kept", ImportAnswer, (JSON,)),
            Answer(
                400,
                "it is damaged, or ends within a packet; the text says where and what was kept",
                media_types=(TEXT,),
            ),
            Answer(405, "no permission"),
            Answer(500, "the store cannot be written", media_types=(TEXT,)),
        ),
    )


def _kept(found: Imported) -> str:
    if not found.flows:
        return "nothing was kept"
    return f"kept are {found.packets} packets before that, {found.flows} flows with the CaptureID {found.capture_id}"


def _answer(found: Imported, warning: str) -> ImportAnswer:
    return ImportAnswer(
        found.capture_id,
        found.bytes,
        found.packets,
        found.unread,
        found.ignored,
        found.flows,
        found.start_ms,
        found.end_ms,
        warning,
    )
