"""Requests nobody should send to the endpoints: each is answered, none makes the application fail."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from skycore.role.analyzer import Analyzer
from skycore.role.setup import read
from skycore.server import rest
from skycore.server.asgi import Message
from skycore.server.target import parse_target

Asked = tuple[str, str, bytes, list[tuple[bytes, bytes]]]
KINDS = ("node", "edge", "noderule", "edgerule", "usermetadata")
IDS = ("a", "b", "c/d", "%00", "")
ANSWERS = {200, 201, 204, 301, 304, 400, 404, 405, 406, 409}

_leaf = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["\ud800", "a.b", "@ID", "Name", "G.V()", "G.V().Has('Name', 'a')", "G.At('-1s').V()", "1h", "layer2"]
    )
)
_key = st.text(max_size=5) | st.sampled_from(["Name", "Type", "TID", "RelationType", "Path", "a.b", ""])
_value = st.recursive(
    _leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_key, inner, max_size=3), max_leaves=8
)
_metadata = st.fixed_dictionaries(
    {},
    optional={
        "Name": _leaf,
        "Type": st.sampled_from(["netns", "ovsport", "fabric"]) | _leaf,
        "RelationType": _leaf,
        "x": _value,
    },
)
_fields = st.fixed_dictionaries(
    {},
    optional={
        "ID": st.sampled_from(["a", "b", "c/d"]) | _leaf,
        "UUID": _leaf,
        "Parent": st.sampled_from(["a", "b"]) | _leaf,
        "Child": st.sampled_from(["a", "b"]) | _leaf,
        "Host": _leaf,
        "Origin": _leaf,
        "CreatedAt": _leaf,
        "UpdatedAt": _leaf,
        "DeletedAt": _leaf,
        "Revision": _leaf,
        "Metadata": _metadata | _value,
        "Action": st.sampled_from(["create", "update"]) | _leaf,
        "Query": _leaf,
        "Src": _leaf,
        "Dst": _leaf,
        "GremlinQuery": _leaf,
        "Key": _leaf,
        "Value": _value,
    },
)
_path = st.sampled_from(
    ["", "/", "/Metadata", "/Metadata/x", "/Metadata/Name", "/Metadata/x/-", "/ID", "/~2", "x"]
) | st.text(max_size=6)
_operations = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]) | _leaf, "path": _path},
        optional={"value": _value, "from": _path},
    ),
    max_size=4,
)


def _as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _as_yaml(value: Any) -> bytes:
    return yaml.safe_dump(value).encode("utf-8", "replace")


@st.composite
def _asked(draw: st.DrawFn) -> Asked:
    kind = draw(st.sampled_from(KINDS))
    method = draw(st.sampled_from(["POST", "POST", "PATCH", "DELETE", "GET"]))
    path = f"/api/{kind}" if method == "POST" else f"/api/{kind}/{draw(st.sampled_from(IDS))}"
    if draw(st.integers(0, 9)) == 0:
        method, path = "POST", "/api/topology"
    value = draw(_operations if method == "PATCH" else _fields) if draw(st.booleans()) else draw(_value)
    headers = []
    body = _as_json(value)
    if draw(st.integers(0, 4)) == 0:
        body = _as_yaml(value)
        headers.append((b"content-type", b"application/yaml"))
    if draw(st.integers(0, 4)) == 0:
        headers.append(
            (b"x-resource-ttl", draw(st.sampled_from([b"1h", b"-1s", b"1", b"\xff", b"9" * 400 + b"h", b"1ns"])))
        )
    if draw(st.integers(0, 4)) == 0:
        cut = draw(st.integers(0, len(body)))
        body = body[:cut] + draw(st.binary(max_size=3)) + body[cut + draw(st.integers(0, 3)) :]
    return method, path, body, headers


async def _answer(app: Any, asked: Asked) -> int:
    method, path, body, headers = asked
    target = parse_target(path.encode())
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target.path,
        "raw_path": target.raw_path,
        "query_string": target.query,
        "root_path": "",
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "extensions": {},
    }
    with trio.fail_after(30):
        await app(scope, receive, send)
    if method == "GET" and sent[0]["status"] == 200:
        json.loads(b"".join(message["body"] for message in sent[1:]))
    return int(sent[0]["status"])


async def _run(conversation: Sequence[Asked], folder: Path) -> None:
    file = folder / "skycore.yml"
    file.write_text(
        f"host_id: here\nstorage: {{embedded: {{driver: embedded, path: {folder / 'state'}}}}}\n"
        "analyzer: {listen: '127.0.0.1:0'}\n"
    )
    setup, _ = read([str(file)], insecure_listen=False)
    role = Analyzer(setup)
    try:
        async with trio.open_nursery() as nursery:
            await role.start(nursery)
            app = rest.application(role.services)
            for asked in conversation:
                status = await _answer(app, asked)
                assert status in ANSWERS, (status, asked)
            # Whatever was taken can be shown, asked for, and is served after it.
            for path in ("/api/topology", *(f"/api/{kind}" for kind in KINDS)):
                assert await _answer(app, ("GET", path, b"", [])) == 200
            await role.stop()
            nursery.cancel_scope.cancel()
    finally:
        role.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(_asked(), min_size=5, max_size=40))
def test_anything_in_bodies(conversation: list[Asked]) -> None:
    with tempfile.TemporaryDirectory() as folder, capture_logs() as logs:
        trio.run(_run, conversation, Path(folder))
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []
