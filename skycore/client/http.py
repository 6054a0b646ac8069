"""Requests to the REST API of an analyzer or agent, over the HTTP client of Python's library."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, final

from skycore.config.address import Address
from skycore.errors import ClientError, RequestRefused


@final
class Client:
    """Asks one analyzer or agent; each request has a connection of its own.

    ``address`` is what `Address.parse` reads, ``http://`` before it allowed.
    ``timeout`` is the longest that one request may last, in seconds, from connecting to the last byte.

    All methods raise ClientError when no complete answer came, and RequestRefused when the answer is an error.
    """

    def __init__(self, address: str | Address, timeout: float = 60.0) -> None:
        self.address = address if isinstance(address, Address) else _parsed(address)
        self.timeout = timeout

    def query(self, gremlin: str) -> Any:
        """The result of a Gremlin query, decoded from JSON; None for an empty query."""
        body = self.query_json(gremlin)
        return self._decoded(body) if body else None

    def query_json(self, gremlin: str) -> bytes:
        """The result of a Gremlin query as the server's JSON; empty for an empty query."""
        request = json.dumps({"GremlinQuery": gremlin}).encode()
        return self._request("POST", "/api/topology", request)

    def status(self) -> dict[str, Any]:
        """The state of the process that answers."""
        status = self._decoded(self._request("GET", "/api/status"))
        if not isinstance(status, dict):
            raise ClientError(f"{self.address} answered a status that is no JSON object; is this a Skycore process?")
        return status

    def _decoded(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ClientError(f"{self.address} answered with something that is no JSON: {error}") from error

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Accept": "application/json", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(self.address.host, self.address.port, timeout=self.timeout)
        end = _Deadline(self.timeout)
        try:
            connection.connect()
            with end.watch(connection.sock):
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                answer = response.read()
            if end.passed:
                raise TimeoutError
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise ClientError(self._explain(error, end)) from error
        finally:
            connection.close()
        if response.status >= 300:
            text = answer.decode("utf-8", "replace").rstrip("\n") or response.reason
            raise RequestRefused(response.status, text)
        return answer

    def _explain(self, error: Exception, end: _Deadline) -> str:
        if end.passed or isinstance(error, TimeoutError):
            return f"{self.address} gave no complete answer within {self.timeout:g} s"
        if isinstance(error, http.client.HTTPException):
            return f"{self.address} gave no complete HTTP answer: {type(error).__name__} {error}".rstrip()
        reason = getattr(error, "strerror", None) or str(error)
        return f"cannot reach {self.address}: {reason}; is an analyzer or agent listening there?"


def _parsed(text: str) -> Address:
    try:
        return Address.parse(text.removeprefix("http://").removesuffix("/"))
    except ValueError as error:
        raise ClientError(f"cannot ask there: {error}") from None


class _Deadline:
    """Shuts a socket down when the time is over.

    The socket's own timeout starts anew with every byte, so a server that trickles could hold us for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._end = time.monotonic() + seconds

    @contextlib.contextmanager
    def watch(self, sock: socket.socket) -> Iterator[None]:
        timer = threading.Timer(max(0.0, self._end - time.monotonic()), self._expire, (sock,))
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _expire(self, sock: socket.socket) -> None:
        self.passed = True
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
