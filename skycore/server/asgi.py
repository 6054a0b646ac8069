"""One HTTP request and its response, as an ASGI application sees them.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html (HTTP, version 2.4: ``send`` raises OSError when
the peer has left).  The lifespan protocol is not spoken; what the application needs is made by its role.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias, final

import h11
import structlog
import trio
from starlette.requests import ClientDisconnect

from skycore.errors import Refusal
from skycore.server.answer import INTERNAL_ERROR, http_date, malformed, reason_phrase, refusal_bytes, separate
from skycore.server.limits import Limits
from skycore.server.target import Target
from skycore.server.wire import PeerGone, Wire

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = structlog.get_logger(__name__)
# One message joins what has arrived: many tiny chunks must cost neither one object each nor a long hold of the loop.
_EVENTS_A_MESSAGE = 256
_BYTES_A_MESSAGE = 64 << 10


def asgi_scope(request: h11.Request, target: Target, wire: Wire) -> Scope:
    """The request's connection scope."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": request.http_version.decode("ascii"),
        "method": request.method.decode("ascii"),
        "scheme": "https" if wire.secure else "http",
        "path": target.path,
        "raw_path": target.raw_path,
        "query_string": target.query,
        "root_path": "",
        "headers": list(request.headers),
        "client": wire.peer_address(),
        "server": wire.own_address(),
        "extensions": {},
    }


@final
class Exchange:
    """One request and its response.

    ``run`` drives the application; ``complete`` tells afterwards whether the response went out whole, so that
    the connection may serve another request.
    """

    def __init__(self, wire: Wire, http: h11.Connection, request: h11.Request) -> None:
        self._wire = wire
        self._http = http
        self._method = request.method
        self._largest = wire.limits.largest_body(request.target)
        self._limits = wire.limits
        self._scope = trio.CancelScope()
        self._head: h11.Response | None = None
        self._started = False
        self._over = trio.Event()
        self._refusal: Refusal | None = None
        self._body_done = False
        self._body_bytes = 0
        self._body_waited = 0.0
        self.complete = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Call the application; its errors end here (logged, and answered 500 when nothing was sent yet).

        It is cancelled when the peer leaves before the response is complete.
        """
        which = {"method": scope["method"], "path": scope["path"]}
        failed = False
        with self._scope:
            self._wire.cancel_at_end(self._scope)
            try:
                await app(scope, self.receive, self.send)
            except BaseException as error:
                onward, failures = separate(error)
                for failure in failures:
                    if not (self._gone and isinstance(failure, OSError | ClientDisconnect)):
                        failed = True
                        _log.error("the application failed", exc_info=failure, **which)
                if onward is not None:
                    raise onward from None
            finally:
                self._wire.cancel_at_end(None)
                self._over.set()
        if self.complete:
            return
        if self._refusal is not None:
            _log.debug("request refused", status=self._refusal.status, reason=self._refusal.text, **which)
        elif self._gone:
            return
        elif not failed:
            _log.error("the application returned without a whole response", **which)
        if not self._started:
            try:
                await self._wire.write(refusal_bytes(self._refusal or INTERNAL_ERROR, self._method))
            except PeerGone:
                pass

    @property
    def _gone(self) -> bool:
        return bool(self._wire.broken) or self._wire.ended

    async def receive(self) -> Message:
        """The next part of the body; after the last one waits for the response's end or the peer's leaving."""
        await trio.lowlevel.checkpoint()
        if self._body_done:
            await self._over.wait()
        if self._over.is_set():
            return {"type": "http.disconnect"}
        try:
            if self._http.they_are_waiting_for_100_continue:
                proceed = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                await self._wire.write(self._http.send(proceed))
            body = await self._read_body()
        except h11.RemoteProtocolError as error:
            return self._refuse(malformed(error))
        except Refusal as refusal:
            return self._refuse(refusal)
        except PeerGone:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": not self._body_done}

    def _refuse(self, refusal: Refusal) -> Message:
        """Give up the request: whatever the application makes of it, the peer gets our answer."""
        if not self.complete:
            self._refusal = refusal
            self._scope.cancel()
        self._over.set()
        return {"type": "http.disconnect"}

    async def _read_body(self) -> bytes:
        body = bytearray()
        for _ in range(_EVENTS_A_MESSAGE):
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                body += event.data
                self._body_bytes += len(event.data)
                if self._body_bytes > self._largest:
                    raise body_too_large(self._limits)
                if len(body) >= _BYTES_A_MESSAGE:
                    break
            elif event is h11.NEED_DATA:
                if body:
                    break
                self._http.receive_data(await self._wait_for_body())
            else:
                self._body_done = True
                break
        return bytes(body)

    async def _wait_for_body(self) -> bytes:
        limits = self._limits
        allowed = limits.body_grace + self._body_bytes / limits.body_rate - self._body_waited
        start = trio.current_time()
        with trio.move_on_after(max(allowed, 0)):
            data = await self._wire.read()
            self._body_waited += trio.current_time() - start
            if not data:
                raise PeerGone("the peer left within its request's body")
            return data
        raise Refusal(408, f"the body came too slowly: less than {limits.body_rate:g} bytes a second")

    async def send(self, message: Message) -> None:
        """Send the head or a part of the body; returns when the peer's side has taken it.

        Raises PeerGone (an OSError) when the peer has left, RuntimeError for messages out of order, and
        h11.LocalProtocolError for headers or lengths that are not HTTP.
        """
        kind = message["type"]
        if kind == "http.response.start":
            if self._head is not None:
                raise RuntimeError("http.response.start was sent twice; send it once, before the body")
            self._head = self._response(message)
            await trio.lowlevel.checkpoint()
        elif kind == "http.response.body":
            await self._send_body(message)
        else:
            raise RuntimeError(f"{kind} is not a message of an HTTP response; send http.response.start or .body")

    def _response(self, message: Message) -> h11.Response:
        headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
        names = {name.lower() for name, _ in headers}
        if b"date" not in names:
            headers.append((b"date", http_date().encode("ascii")))
        if self._http.they_are_waiting_for_100_continue and b"connection" not in names:
            # Refused without the body: whether the peer still sends it cannot be told from its next request.
            headers.append((b"connection", b"close"))
        status = message["status"]
        return h11.Response(status_code=status, headers=headers, reason=reason_phrase(status).encode("ascii"))

    async def _send_body(self, message: Message) -> None:
        if self._head is None:
            raise RuntimeError("http.response.body was sent before http.response.start")
        if self.complete:
            raise RuntimeError("http.response.body was sent after the last one (more_body was false)")
        if self._refusal is not None:
            raise PeerGone(f"cannot send: the request was refused: {self._refusal.text}")
        if self._wire.broken:
            raise PeerGone(f"cannot send: {self._wire.broken}")
        last = not message.get("more_body", False)
        body = message.get("body", b"")
        parts: list[bytes] = []
        if not self._started:
            parts += self._http.send_with_data_passthrough(self._head) or ()
        if body and self._method != b"HEAD" and self._head.status_code not in (204, 304):
            parts += self._http.send_with_data_passthrough(h11.Data(data=body)) or ()
        if last:
            parts += self._http.send_with_data_passthrough(h11.EndOfMessage()) or ()
        self._started = True
        await self._wire.write(b"".join(parts))
        if last:
            self.complete = True
            # From here on the peer may leave without taking the application's work after the response along.
            self._wire.cancel_at_end(None)
            self._over.set()


def body_too_large(limits: Limits) -> Refusal:
    """The answer to a body beyond ``body_size``."""
    return Refusal(413, f"the request's body is larger than {limits.body_size} bytes")
