"""`/api/topology`: the live graph, and answers to queries."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import chain
from typing import Any, Final, final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from skycore import gremlin
from skycore.errors import GremlinError, Refusal, StorageError
from skycore.flow.pcap import pcap_chunks
from skycore.flow.query import RawPacket
from skycore.resource.kind import fold
from skycore.server.api.body import JSON_ANSWER, decode, kind_of, read_body
from skycore.server.api.dot import dot_chunks
from skycore.server.api.schemas import GRAPH, Query
from skycore.server.api.services import Services
from skycore.server.endpoint import JSON, TEXT, Answer, Body, Endpoint

_DOT: Final = "text/vnd.graphviz"
_GAPS: Final = "X-Skycore-Gaps"
"""Times of which history is incomplete, as JSON; not there when it is complete."""
_MISSING: Final = "X-Skycore-Missing"
"""Agents whose flows are missing in the answer, as JSON; not there when none is."""
_PCAP: Final = "application/vnd.tcpdump.pcap"
# Skydive gives any Accept back; this leaves out what a browser would run or lay out.
_GIVEN_BACK: Final = re.compile(r"application/(?!.*(?:xml|html|script))[\w.+-]{1,100}", re.ASCII | re.IGNORECASE)

_ERRORS = (
    Answer(400, "the query, or the body, is wrong; the text says where", media_types=(TEXT,)),
    Answer(405, "no permission"),
    Answer(406, "the result cannot be written in the type that Accept names", media_types=(TEXT,)),
    Answer(500, "history cannot be read", media_types=(TEXT,)),
)


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Both ways of asking."""
    topology = _Topology(services)
    return (
        Endpoint(
            method="GET",
            path="/api/topology",
            handler=topology.whole,
            summary="The live graph",
            object="topology",
            action="read",
            answers=(Answer(200, "all nodes and edges", GRAPH, (JSON, _DOT)), *_ERRORS[1:]),
        ),
        Endpoint(
            method="POST",
            path="/api/topology",
            handler=topology.ask,
            summary="Answer a Gremlin query",
            object="topology",
            action="read",
            body=Body(Query, required=False),
            answers=(
                Answer(200, "the result; its shape depends on the query's last step", {}, (JSON, _DOT, _PCAP)),
                Answer(204, "the query, or the whole body, was empty"),
                *_ERRORS,
            ),
        ),
    )


@final
class _Topology:
    def __init__(self, services: Services) -> None:
        self._queries = services.queries
        self._times = services.query_times
        self._room = services.query_room

    async def whole(self, request: Request) -> Response:
        result = await self._run("G")
        assert isinstance(result, gremlin.GraphResult)
        accept = request.headers.get("accept", "")
        if accept in (_DOT, _PCAP):
            return _answer(result, accept)
        return _streamed(result, _line(result), JSON_ANSWER)

    async def ask(self, request: Request) -> Response:
        body = await read_body(request)
        text = _query_text(await decode(request, body)) if body.strip() else ""
        if not text:
            return Response(status_code=204)
        return _answer(await self._run(text), request.headers.get("accept", ""))

    async def _run(self, query: str) -> gremlin.Result:
        try:
            async with self._room:
                with self._times.measured():
                    return await gremlin.run(query, self._queries)
        except GremlinError as error:
            raise Refusal(400, str(error)) from error
        except StorageError as error:
            raise Refusal(500, f"history cannot be read: {error}") from error


def _query_text(message: Any) -> str:
    if not isinstance(message, dict):
        raise Refusal(400, f'the body must be {{"GremlinQuery": "…"}}, not {kind_of(message)}')
    # Skydive's decoder takes field names in any case.
    text = fold(message, ["GremlinQuery"]).get("GremlinQuery", "")
    if not isinstance(text, str):
        raise Refusal(400, "GremlinQuery must be a string")
    return text


def _answer(result: gremlin.Result, accept: str) -> Response:
    if accept == _DOT:
        if not isinstance(result, gremlin.GraphResult):
            raise Refusal(406, f"{_DOT} shows a graph, and the query does not give one; end it with SubGraph()")
        return _streamed(result, dot_chunks(result.nodes, result.edges), f"{_DOT}; charset=UTF-8")
    if accept == _PCAP:
        if not isinstance(result, gremlin.KeyedResult) or result.kind != gremlin.RAW_PACKETS:
            raise Refusal(406, f"{_PCAP} holds packets, and the query does not give any; end it with RawPackets()")
        return _streamed(result, pcap_chunks(chain.from_iterable(map(_or_none, result.values.values()))), _PCAP)
    media_type = f"{accept}; charset=UTF-8" if _GIVEN_BACK.fullmatch(accept) else JSON_ANSWER
    return _streamed(result, result.json_chunks(), media_type)


def _streamed(result: gremlin.Result, chunks: Iterator[bytes], media_type: str) -> Response:
    """Chunk by chunk: the next one is made when the client has taken the last."""

    async def pieces() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    headers = {"Content-Type": media_type}
    if result.gaps:
        headers[_GAPS] = gremlin.gaps_header(result.gaps)
    if result.unanswered:
        headers[_MISSING] = gremlin.missing_header(result.unanswered)
    return StreamingResponse(pieces(), headers=headers)


def _or_none(packets: Sequence[RawPacket] | None) -> Sequence[RawPacket]:
    return packets or ()


def _line(result: gremlin.GraphResult) -> Iterator[bytes]:
    yield from result.object_chunks()
    yield b"\n"
