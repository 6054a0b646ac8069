"""Messages of the Container Runtime Interface; pods of a real daemon are the runc probe's tests."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skycore.testing.cri import encoded

_fields = st.integers(1, 2**29 - 1)
_flat = st.dictionaries(_fields, st.integers(0, 2**64 - 1) | st.text(max_size=200), max_size=4)
_messages = st.recursive(
    _flat,
    lambda inner: st.dictionaries(_fields, inner | st.lists(inner, min_size=1, max_size=3), max_size=3),
    max_leaves=6,
)


def _number(data: bytes) -> tuple[int, bytes]:
    size = next(place for place, byte in enumerate(data, 1) if byte < 0x80)
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data[:size])), data[size:]


def _read(data: bytes, like: Any) -> dict[int, list[Any]]:
    """The fields of a message, which are of the kinds that ``like`` has, as protobuf.dev tells to read them."""
    found: dict[int, list[Any]] = {}
    while data:
        key, data = _number(data)
        value, data = _number(data)
        number, model = key >> 3, like[key >> 3]
        model = model[0] if isinstance(model, list) else model
        if key & 7 == 2:
            content, data = data[:value], data[value:]
            models = like[number] if isinstance(like[number], list) else [model]
            model = models[len(found.get(number, ()))]
            found.setdefault(number, []).append(_read(content, model) if isinstance(model, dict) else content.decode())
        else:
            found.setdefault(number, []).append(value)
    return found


def _listed(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    return {
        number: [_listed(one) for one in (value if isinstance(value, list) else [value])]
        for number, value in message.items()
    }


@given(_messages)
def test_what_is_written_is_read(message: dict[int, Any]) -> None:
    assert _read(encoded(message), message) == _listed(message)


def test_a_message_of_the_documentation() -> None:
    """Examples of protobuf.dev, "Encoding"."""
    assert encoded({1: 150}) == bytes.fromhex("089601")
    assert encoded({2: "testing"}) == bytes.fromhex("120774657374696e67")
    assert encoded({3: {1: 150}}) == bytes.fromhex("1a03089601")
