"""OpenFlow's bytes, and ovs-ofctl's lines: cut, changed and made up."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import example, given, settings
from hypothesis import strategies as st
from skydive_probe_ovsdb.errors import BadAnswer, SourceLost
from skydive_probe_ovsdb.openflow import actions, match, messages, text
from skydive_probe_ovsdb.openflow.wire import Connection

versions = st.integers(1, 6)
kinds = st.sampled_from([1, 7, 16, 0xFFFF])
_VENDORS = [
    struct.pack("!II", 0x2320, 0) + b"\0" * 4,
    struct.pack("!II", 0x2320, 2) + b"\0" * 4,
    struct.pack("!II", 0x4F4E4600, 1870),
]


@st.composite
def entries(draw: st.DrawFn) -> bytes:
    """Entries with right lengths around bytes that may be anything."""
    found = b""
    for inside in draw(st.lists(st.binary(max_size=120), max_size=3)):
        found += struct.pack("!H", len(inside) + 2) + inside
    return draw(st.sampled_from([b"", *_VENDORS])) + found


@st.composite
def action_lists(draw: st.DrawFn) -> bytes:
    found = b""
    for _ in range(draw(st.integers(0, 3))):
        payload = draw(st.binary(max_size=48))
        if draw(st.booleans()):
            payload = struct.pack("!IH", 0x2320, draw(st.integers(0, 50))) + payload
            type = 0xFFFF
        else:
            type = draw(st.integers(0, 30))
        payload += b"\0" * (-(len(payload) + 4) % 8)
        found += struct.pack("!HH", type, len(payload) + 4) + payload
    return found


@settings(max_examples=400)
@given(versions, kinds, entries() | st.binary(max_size=300))
def test_answers_are_read_or_refused(version: int, kind: int, body: bytes) -> None:
    with contextlib.suppress(BadAnswer):
        for change in messages.changes_of(version, kind, body) or ():
            messages.filters(version, change.rule)
            messages.doing(version, change.rule)
    with contextlib.suppress(BadAnswer):
        for rule in messages.rules_of(version, kind, body) or ():
            messages.filters(version, rule)
            messages.doing(version, rule)
    with contextlib.suppress(BadAnswer):
        messages.groups_of(version, kind, body)


@settings(max_examples=400)
@given(action_lists() | st.binary(max_size=100), versions)
def test_actions_are_read_or_refused(raw: bytes, version: int) -> None:
    with contextlib.suppress(BadAnswer):
        actions.read(raw, version)
    with contextlib.suppress(BadAnswer):
        actions.instructions(raw, version)
    with contextlib.suppress(BadAnswer):
        match.fields(raw, 0, len(raw))


def test_actions_inside_of_actions_have_an_end() -> None:
    raw = b""
    while len(raw) < 60_000:
        raw = struct.pack("!HHIH6x", 0xFFFF, len(raw) + 16, 0x2320, 42) + raw
    with contextlib.suppress(BadAnswer):
        actions.read(raw, 5)


@given(st.text(max_size=200))
@example("x(" * 5000)
@example(" cookie=0x, table=")
def test_lines_are_read_or_refused(line: str) -> None:
    with contextlib.suppress(BadAnswer):
        text.rule(line)
    with contextlib.suppress(BadAnswer):
        text.rule(f"priority=1 actions={line}")
    with contextlib.suppress(BadAnswer):
        text.group(f"group_id=1,{line}")


class _Stream:
    """Gives what it was made with, then ends."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    async def receive_some(self, most: int | None = None) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    async def send_all(self, data: bytes) -> None:
        """Into nowhere."""


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.booleans())
async def test_a_connection_that_talks_nonsense_is_lost(pieces: list[bytes], hello: bool) -> None:
    greeting = [struct.pack("!BBHI", 5, 0, 8, 0)] if hello else []
    connection = Connection(_Stream(greeting + pieces))  # type: ignore[arg-type]
    with contextlib.suppress(SourceLost):
        await connection.agree(["OpenFlow14"])
        while True:
            message = await connection.next()
            connection.part(message)
