"""Request bodies: JSON or YAML in, plain values out, with errors that say where."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response

from skycore.config import document
from skycore.errors import Refusal
from skycore.graph.element import MAX_METADATA

JSON_ANSWER: Final = "application/json; charset=UTF-8"
YAML: Final = "application/yaml"
LARGEST: Final = MAX_METADATA + (1 << 20)
"""Bytes of a body that says one thing: an element with all that it may have, or a query."""
# A body of this size is decoded in some 5 ms; a larger one in a thread, so that others are served meanwhile.
_AT_ONCE: Final = 1 << 20


async def read_body(request: Request) -> bytes:
    """The whole body.  Raises Refusal (413) beyond LARGEST."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise Refusal(413, f"the request's body is larger than {LARGEST} bytes")
    return bytes(body)


async def decode(request: Request, body: bytes) -> Any:
    """The value in a body: YAML when its type is exactly ``application/yaml``, else JSON.  Raises Refusal (400)."""
    is_yaml = request.headers.get("content-type") == YAML
    if is_yaml or len(body) > _AT_ONCE:
        work = partial(_from_yaml if is_yaml else _from_json, body)
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
    return _from_json(body)


def kind_of(value: Any) -> str:
    """What JSON calls a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def json_answer(value: Any, status: int = 200, *, newline: bool = True) -> Response:
    """An answer of JSON."""
    return Response(msgspec.json.encode(value) + (b"\n" if newline else b""), status, media_type=JSON_ANSWER)


def _from_json(body: bytes) -> Any:
    if not body.strip():
        raise Refusal(400, "the body is empty; a JSON value is expected")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise Refusal(400, "the body is not JSON that can be read: it is nested too deeply") from error


def _from_yaml(body: bytes) -> Any:
    node, problems = document.read(body, "the body")
    if problems or node is None:
        raise Refusal(400, "\n".join(map(str, problems)) or "the body is not YAML")
    return document.plain(node)
