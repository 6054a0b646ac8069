"""The envelope in both encodings, against protobuf's own rules and hostile bytes."""

from __future__ import annotations

import contextlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skycore.server.envelope import EnvelopeError, Message, decode, encode

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
objs = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())
messages = st.builds(Message, texts, texts, texts, st.integers(-(1 << 63), (1 << 63) - 1), objs)


@given(messages)
def test_protobuf_there_and_back(message: Message) -> None:
    assert decode(encode(message, "protobuf"), "protobuf") == message


@given(messages)
def test_json_there_and_back_from_either_kind_of_frame(message: Message) -> None:
    encoded = encode(message, "json")
    assert decode(encoded, "json") == message
    assert decode(encoded.decode(), "json") == message
    assert json.loads(encoded)["Obj"] == json.loads(message.obj)


def test_the_bytes_of_a_struct_message() -> None:
    """Encoded by hand after https://protobuf.dev/programming-guides/encoding/."""
    data = b"\x0a\x05Graph\x12\x0bSyncRequest\x1a\x02u1\x20\xc8\x01\x32\x02{}"
    message = Message("Graph", "SyncRequest", "u1", 200, b"{}")
    assert encode(message, "protobuf") == data
    assert decode(data, "protobuf") == message
    assert decode(data + b"\x28\x00", "protobuf") == message


def test_fields_that_we_do_not_know_are_passed_over_and_the_last_of_a_field_counts() -> None:
    unknown = b"\x38\x05" + b"\x41" + struct.pack("<d", 1.0) + b"\x4d" + struct.pack("<f", 1.0) + b"\x52\x03abc"
    data = b"\x0a\x01A" + unknown + b"\x0a\x01B"
    assert decode(data, "protobuf") == Message("B", status=0)


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a", b"\x0a\x05Gra", b"\x20", b"\x20" + b"\x80" * 11, b"\x0b", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x28\x01", b"\x0a\x01\xff", b"\x32\x01\xff", b"\x41\x00",
    ],
)  # fmt: skip
def test_what_is_no_struct_message_is_refused(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode(data, "protobuf")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for protocol in ("json", "protobuf"):
        with contextlib.suppress(EnvelopeError):
            assert isinstance(decode(data, protocol).obj.decode(), str)


@pytest.mark.parametrize("data", ["[]", "3", '{"Type":1}', '{"Obj":}', "{", b'{"Obj":"\xff"}', "[" * 100_000])
def test_what_is_no_json_message_is_refused(data: str | bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode(data, "json")
