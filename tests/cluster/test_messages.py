"""The link's messages: what was encoded comes back, and whatever else arrives is a LinkError."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from skycore.cluster import messages
from skycore.cluster.messages import (
    Ack,
    CaptureStats,
    Changes,
    Clock,
    FlowStats,
    Gap,
    Hello,
    Refused,
    Stale,
    Sync,
    Welcome,
)
from skycore.errors import LinkError
from skycore.graph.element import Revision, build_revision, canonical_metadata

counts = st.integers(0, 1 << 53)
texts = st.text(max_size=20)
names = st.text(min_size=1, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, width=64) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
).filter(lambda value: not isinstance(value, float) or abs(value) != float("inf"))


def finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(finite, value))
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    return not isinstance(value, float) or abs(value) != float("inf")


metadata = st.dictionaries(texts, values, max_size=4).filter(finite).map(canonical_metadata)


@st.composite
def revisions(draw: st.DrawFn) -> Revision:
    created = draw(counts)
    deleted = draw(st.none() | counts)
    ends = draw(st.none() | st.tuples(names, names))
    return build_revision(
        id=draw(names),
        metadata=draw(metadata),
        revision=draw(counts),
        host=draw(names),
        origin=draw(names),
        created_at=created,
        updated_at=draw(counts),
        deleted_at=deleted,
        parent=ends[0] if ends else None,
        child=ends[1] if ends else None,
        owners=tuple(draw(st.lists(st.text("abc@0", min_size=1, max_size=5), max_size=3))),
    )


stales = st.builds(Stale, texts, counts, st.none() | counts, texts)
raw = revisions().map(lambda revision: msgspec.Raw(revision.json))
from_agent = st.one_of(
    st.builds(Hello, counts, names, names, counts, counts, texts, names, st.lists(stales, max_size=2)),
    st.builds(Changes, counts, counts, st.lists(raw, max_size=3), st.lists(texts, max_size=3)),
    st.builds(Sync, counts, counts, counts, st.booleans(), counts, st.lists(raw, max_size=3), st.lists(texts)),
    st.builds(Gap, counts, counts, counts, counts, counts),
    st.builds(Clock, counts, st.none() | st.integers(-(1 << 53), 1 << 53)),
    st.builds(FlowStats, st.lists(st.builds(CaptureStats, names, names, counts, counts, counts, counts), max_size=3)),
    stales,
)
from_analyzer = st.one_of(
    st.builds(Welcome, counts, names, counts, counts, st.booleans()),
    st.builds(Ack, counts, counts),
    st.builds(Clock, counts),
    st.builds(Refused, texts, st.none() | texts),
)


@given(from_agent)
def test_what_an_agent_says_comes_back(message: messages.FromAgent) -> None:
    data = messages.encode(message)
    assert messages.encode(messages.from_agent(data)) == data
    assert messages.encode(messages.from_agent(data.decode())) == data


@given(from_analyzer)
def test_what_an_analyzer_says_comes_back(message: messages.FromAnalyzer) -> None:
    assert messages.from_analyzer(messages.encode(message)) == message


@given(revisions())
def test_an_element_comes_back(revision: Revision) -> None:
    found = messages.element(msgspec.Raw(revision.json))
    assert bytes(found.Metadata) == revision.metadata_json
    assert (found.ID, found.Host, found.Origin) == (revision.id, revision.host, revision.origin)
    assert (found.CreatedAt, found.UpdatedAt, found.DeletedAt) == (
        revision.created_at,
        revision.updated_at,
        revision.deleted_at,
    )
    assert (found.Parent, found.Child) == (revision.parent, revision.child)
    assert messages.owner_names(",".join(revision.owners)) == revision.owners


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(messages.encode(draw(from_agent | from_analyzer)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1)) if data else 0
        piece = draw(st.binary(max_size=4) | st.sampled_from([b"[", b"{", b'"', b"\\ud800", b"1e999", b"null", b"-1"]))
        data[at : at + draw(st.integers(0, 4))] = piece
    return bytes(data)


@settings(max_examples=500)
@given(st.binary() | damaged() | st.text())
@example(b'{"type":"changes","epoch":1,"seq":1,"owners":[],"elements":[' + b"[" * 200_000)
@example(b'{"type":"gap","epoch":1,"seq":%d,"start":1,"end":1,"lost":1}' % (1 << 70))
@example(b'{"type":"gap","epoch":1,"seq":-1,"start":1,"end":1,"lost":1}')
@example(b'{"type":"stale","claimant":"\\ud800","since":1,"until":null,"reason":""}')
@example(b'{"type":"changes","epoch":1,"seq":1,"elements":["\xff"],"owners":[""]}')
@example("\ud800")
def test_hostile_bytes_are_a_link_error_and_nothing_else(data: bytes | str) -> None:
    with contextlib.suppress(LinkError):
        messages.from_analyzer(data)
    with contextlib.suppress(LinkError):
        message = messages.from_agent(data)
        for item in getattr(message, "elements", []):
            messages.element(item)


GOOD = '{"ID":"a","Host":"h","Origin":"o","CreatedAt":1,"UpdatedAt":1,"Metadata":{"b":1}}'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"b":1}', "[]"),
        ('{"b":1}', "null"),
        ('{"b":1}', '{"b":1e999}'),
        ('{"b":1}', f'{{"b":{1 << 64}}}'),
        ('{"b":1}', '{"b":' * 5000 + "1" + "}" * 5000),
        ('{"b":1}', '{"b":' + "[" * 65 + "]" * 65 + "}"),
        ('"CreatedAt":1', '"CreatedAt":-1'),
        ('"UpdatedAt":1', '"UpdatedAt":9007199254740993'),
        ('"ID":"a"', '"ID":""'),
        ('"ID":"a"', '"ID":7'),
        ('"ID":"a"', '"ID":"' + "a" * 2000 + '"'),
        ('"Host":"h"', '"Host":"h","Parent":"p"'),
        ('"Host":"h"', '"Host":"h","Child":"c"'),
    ],
)
def test_an_element_that_a_store_or_reader_could_not_take_is_refused(old: str, new: str) -> None:
    messages.element(msgspec.Raw(GOOD.encode()))
    assert GOOD.count(old) == 1
    with pytest.raises(LinkError):
        messages.element(msgspec.Raw(GOOD.replace(old, new).encode()))


def test_metadata_comes_out_canonical() -> None:
    loose = GOOD.replace('{"b":1}', '{ "b" : 1.0, "a":"\\u00e9" , "b": 2 }')
    assert bytes(messages.element(msgspec.Raw(loose.encode())).Metadata) == '{"a":"é","b":2}'.encode()


@given(st.lists(revisions(), max_size=8), st.integers(10, 800))
def test_parts_keep_order_and_limit(given_revisions: list[Revision], limit: int) -> None:
    cut = list(messages.parts(given_revisions, limit))
    assert cut, "a state without elements has a part, too"
    assert [bytes(item) for part, _ in cut for item in part] == [revision.json for revision in given_revisions]
    assert [names for _, part in cut for names in part] == [",".join(revision.owners) for revision in given_revisions]
    for elements, owners in cut:
        assert len(elements) == len(owners)
        size = sum(map(len, elements)) + sum(len(names) + 4 for names in owners)
        assert size <= limit or len(elements) == 1


@pytest.mark.parametrize("size", [1, 700, 200_000, 3_000_000])
def test_messages_stay_below_their_limit_unless_one_element_is_larger(size: int) -> None:
    content = canonical_metadata({"a": "x" * size})
    made = [
        build_revision(
            id=f"n{number}", metadata=content, revision=1, host="h", origin="o", created_at=1, updated_at=1,
            owners=("netlink", "netns"),
        )
        for number in range(min(5000, 4_000_000 // size + 2))
    ]  # fmt: skip
    largest = 1 << 53
    for elements, owners in messages.parts(made):
        sizes = [
            len(messages.encode(Changes(largest, largest, elements, owners))),
            len(messages.encode(Sync(largest, largest, largest, False, largest, elements, owners))),
        ]
        assert max(sizes) <= messages.MAX_MESSAGE or len(elements) == 1
