"""Where a request's credentials stand, and how they are written.

Sources: Skydive's order of places (cookie, header, header, query); RFC 7617 (Basic), RFC 6750 (Bearer), RFC 6265
(Cookie).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterable
from typing import Literal, final

import attrs

from skycore.errors import Refusal
from skycore.server.access import Caller

COOKIE = "authtoken"
MISSING = "No credentials provided"
WRONG = "Wrong credentials"
_LONGEST = 16 << 10

Place = Literal["cookie", "authorization", "x-auth-token", "query"]


@final
@attrs.frozen
class Presented:
    """What a client presents: the text in the first place that has any, without the word Basic or Bearer."""

    place: Place
    token: str = attrs.field(repr=False)

    @property
    def ambient(self) -> bool:
        """A browser sends it by itself, whichever page made the request."""
        return self.place == "cookie"


@final
@attrs.frozen
class Password:
    """A user name and a password."""

    name: str
    password: str = attrs.field(repr=False)


def presented(caller: Caller) -> Presented | None:
    """What the request presents; None when it presents nothing.  Raises Refusal (401) for an empty token.

    The first place that is there counts, also when what stands there is wrong.
    """
    headers = caller.headers
    places: Iterable[tuple[Place, str | None]] = (
        ("cookie", _cookie(headers.getlist("cookie"))),
        ("authorization", headers.get("authorization")),
        ("x-auth-token", headers.get("x-auth-token")),
        ("query", caller.query.get("x-auth-token")),
    )
    for place, value in places:
        if value is None:
            continue
        token = _bare(value)
        if not token or len(token) > _LONGEST:
            raise Refusal(401, WRONG)
        return Presented(place, token)
    return None


def password(token: str) -> Password | None:
    """The name and password in a token that is their base64; None when it is something else.

    Text that is no UTF-8 is read as Latin-1, which older clients send (RFC 7617, section 2.1).
    """
    try:
        raw = b64decode(token.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    name, colon, secret = text.partition(":")
    if not colon or not name or "\0" in text:
        return None
    return Password(name, secret)


def _bare(value: str) -> str:
    scheme, space, rest = value.strip().partition(" ")
    if scheme.lower() in ("basic", "bearer"):
        return rest.strip() if space else ""
    return value.strip()


def _cookie(headers: Iterable[str]) -> str | None:
    for header in headers:
        for pair in header.split(";"):
            name, equals, value = pair.strip().partition("=")
            if equals and name == COOKIE:
                value = value.strip()
                if len(value) >= 2 and value[0] == value[-1] == '"':
                    value = value[1:-1]
                # An empty cookie is what is left of a session that was ended.
                if value:
                    return value
    return None
