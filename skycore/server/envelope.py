"""The messages of Skydive's WebSockets: one envelope, as JSON or as protobuf.

JSON: ``{"Namespace":…,"Type":…,"UUID":…,"Status":200,"Obj":…}``.  Protobuf (wire format:
https://protobuf.dev/programming-guides/encoding/): the message ``StructMessage`` with the fields Namespace 1, Type 2,
UUID 3 (strings), Status 4 (int64), Format 5 (enum: 0 JSON, 1 protobuf) and Obj 6 (bytes; JSON text in Format 0).
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, final

import attrs
import msgspec

Protocol: TypeAlias = Literal["json", "protobuf"]

_quote = msgspec.json.Encoder().encode
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STATUS_FIELD, _FORMAT_FIELD = 4, 5
_TEXTS: Final = {1: "namespace", 2: "type", 3: "uuid", 6: "obj"}


class EnvelopeError(ValueError):
    """Bytes that are no message; says what is wrong with them."""


@final
@attrs.frozen
class Message:
    """One message; ``obj`` is JSON text, empty when there is none."""

    namespace: str = ""
    type: str = ""
    uuid: str = ""
    status: int = 200
    obj: bytes = b""


class _Json(msgspec.Struct):
    Namespace: str = ""
    Type: str = ""
    UUID: str = ""
    Status: int = 200
    Obj: msgspec.Raw = msgspec.Raw()


_decode_json = msgspec.json.Decoder(_Json).decode


def decode(data: str | bytes, protocol: Protocol) -> Message:
    """Read what a client sent, whichever kind of frame it came in.  Raises EnvelopeError."""
    if protocol == "protobuf":
        return _decode_protobuf(data.encode() if isinstance(data, str) else data)
    try:
        if isinstance(data, bytes) and not data.isascii():
            # msgspec does not look inside what it leaves raw.
            data.decode()
        found = _decode_json(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeError(f"not a message in JSON: {error}") from None
    return Message(found.Namespace, found.Type, found.UUID, found.Status, bytes(found.Obj))


def head_and_tail(message: Message, size: int, protocol: Protocol) -> tuple[bytes, bytes]:
    """What stands before and after an Obj of ``size`` bytes of JSON text in the encoded message."""
    if protocol == "json":
        return (
            f'{{"Namespace":{_quote(message.namespace).decode()},"Type":{_quote(message.type).decode()},'
            f'"UUID":{_quote(message.uuid).decode()},"Status":{message.status},"Obj":'
        ).encode(), b"}"
    parts = bytearray()
    for number, text in ((1, message.namespace), (2, message.type), (3, message.uuid)):
        if text:
            encoded = text.encode()
            parts += bytes((number << 3 | _BYTES,)) + _varint(len(encoded)) + encoded
    if message.status:
        parts += bytes((_STATUS_FIELD << 3 | _VARINT,)) + _varint(message.status & (1 << 64) - 1)
    if size:
        parts += bytes((6 << 3 | _BYTES,)) + _varint(size)
    return bytes(parts), b""


def encode(message: Message, protocol: Protocol) -> bytes:
    """The message as it goes into one frame: text for JSON, binary for protobuf."""
    obj = message.obj or (b"null" if protocol == "json" else b"")
    head, tail = head_and_tail(message, len(obj), protocol)
    return head + obj + tail


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(data):
            raise EnvelopeError(f"not a StructMessage: it ends inside a number, at byte {place}")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, place
        shift += 7
        if shift > 63:
            raise EnvelopeError(f"not a StructMessage: a number is longer than ten bytes, at byte {place}")


def _decode_protobuf(data: bytes) -> Message:
    texts: dict[str, bytes] = {}
    numbers = {_STATUS_FIELD: 0, _FORMAT_FIELD: 0}
    place = 0
    while place < len(data):
        key, start = _read_varint(data, place)
        field, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _read_varint(data, start)
            if field in numbers:
                numbers[field] = value
            continue
        if wire == _BYTES:
            size, start = _read_varint(data, start)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise EnvelopeError(f"not a StructMessage: unknown kind of field {wire}, at byte {place}")
        place = start + size
        if place > len(data):
            raise EnvelopeError(f"not a StructMessage: field {field} ends {place - len(data)} bytes after the message")
        if wire == _BYTES and field in _TEXTS:
            texts[_TEXTS[field]] = data[start:place]
    if numbers[_FORMAT_FIELD]:
        raise EnvelopeError("Obj must be JSON text (Format 0) here")
    status = numbers[_STATUS_FIELD]
    try:
        obj = texts.pop("obj", b"")
        obj.decode()
        strings = {name: text.decode() for name, text in texts.items()}
    except UnicodeDecodeError as error:
        raise EnvelopeError(f"not a StructMessage: {error}") from None
    return Message(**strings, status=status - (1 << 64) if status >> 63 else status, obj=obj)
