"""Answers that the server gives by itself: short, text/plain, the last of their connection."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

import h11
import trio

from skycore.errors import Refusal

_TEXT_BOUND = 300
# A value may echo what a client sent; it must not end its own line.
_NO_CONTROLS = dict.fromkeys([*range(32), 127], " ")
INTERNAL_ERROR = Refusal(500, "internal server error; its cause is in the server's log")


def refusal_bytes(refusal: Refusal, method: bytes = b"GET") -> bytes:
    """The whole answer as it goes over the wire; without its body for HEAD."""
    body = refusal.text.encode("utf-8", "replace") + b"\n"
    headers = [
        ("Date", http_date()),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),
        *refusal.headers,
    ]
    if not any(name.lower() == "connection" for name, _ in refusal.headers):
        headers.append(("Connection", "close"))
    head = f"HTTP/1.1 {refusal.status} {reason_phrase(refusal.status)}\r\n"
    head += "".join(f"{name}: {value.translate(_NO_CONTROLS)}\r\n" for name, value in headers)
    return head.encode("latin-1", "replace") + b"\r\n" + (b"" if method == b"HEAD" else body)


def malformed(error: h11.RemoteProtocolError) -> Refusal:
    """What to tell a peer whose bytes are not HTTP/1.1."""
    return Refusal(error.error_status_hint, f"malformed HTTP request: {error}"[:_TEXT_BOUND])


def reason_phrase(status: int) -> str:
    """The usual words for a status (RFC 9110, section 15); empty when it has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def http_date() -> str:
    """The time now as RFC 9110, section 5.6.7 writes it."""
    return formatdate(usegmt=True)


def separate(error: BaseException) -> tuple[BaseException | None, list[BaseException]]:
    """(what must go on: cancellation and Ctrl-C, the rest as single exceptions)."""
    if isinstance(error, BaseExceptionGroup):
        onward, rest = error.split((trio.Cancelled, KeyboardInterrupt))
        return onward, _leaves(rest)
    if isinstance(error, trio.Cancelled | KeyboardInterrupt):
        return error, []
    return None, [error]


def _leaves(error: BaseException | None) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [] if error is None else [error]
