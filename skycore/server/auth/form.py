"""The form of a login: a user name and a password in the body of a request."""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qs

from starlette.requests import Request

from skycore.errors import Refusal

_LARGEST = 16 << 10
_FIELDS = ("username", "password")


async def read(request: Request) -> tuple[str, str]:
    """``(username, password)``; what is missing is empty.

    Taken as application/x-www-form-urlencoded or multipart/form-data.  Raises Refusal (400, 413).
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise Refusal(413, f"a login is smaller than {_LARGEST} bytes")
    kind = request.headers.get("content-type", "")
    media = kind.partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        fields = _parts(kind, bytes(body))
    elif media in ("application/x-www-form-urlencoded", "") or not body:
        try:
            parsed = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=16)
        except ValueError as error:
            raise Refusal(400, f"the form cannot be read: {error}") from error
        fields = {name: values[0] for name, values in parsed.items()}
    else:
        raise Refusal(400, "a login is a form: application/x-www-form-urlencoded with username and password")
    name, password = (fields.get(field, "") for field in _FIELDS)
    return name, password


def _parts(kind: str, body: bytes) -> dict[str, str]:
    head = b"Content-Type: " + kind.encode("latin-1", "replace").replace(b"\r", b"").replace(b"\n", b"") + b"\r\n\r\n"
    fields: dict[str, str] = {}
    try:
        message = BytesParser(policy=HTTP).parsebytes(head + body)
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if isinstance(name, str) and isinstance(content, bytes):
                fields.setdefault(name, content.decode("utf-8"))
    # The standard library's parser of mail raises whatever its parts run into.
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise Refusal(400, f"the form cannot be read: {error}"[:200]) from error
    return fields
