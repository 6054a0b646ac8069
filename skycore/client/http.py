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

from skycore.client.access import Access
from skycore.config.address import Address
from skycore.errors import ClientError, RequestRefused


@final
class Client:
    """Asks one analyzer or agent; each request has a connection of its own.

    ``address`` is what `Address.parse` reads, ``http://`` or ``https://`` before it allowed; ``access`` says who asks
    and whom to trust, left out: the user of the environment.
    ``timeout`` is the longest that one request may last, in seconds, from connecting to the last byte.

    All methods raise ClientError when no complete answer came, and RequestRefused when the answer is an error.
    """

    def __init__(self, address: str | Address, timeout: float = 60.0, access: Access | None = None) -> None:
        self.address = address if isinstance(address, Address) else _parsed(address)
        self.timeout = timeout
        self.access = Access.from_environment() if access is None else access
        self.secure = self.access.secure or (isinstance(address, str) and address.lower().startswith("https://"))

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
        if self.access.authorization is not None:
            headers["Authorization"] = self.access.authorization
        connection = self._connection()
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
            if response.status == 401 and self.access.authorization is None:
                text += "; give a user: SKYDIVE_USERNAME and SKYDIVE_PASSWORD"
            raise RequestRefused(response.status, text)
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.address.host, self.address.port
        if self.secure:
            return http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self.access.context())
        return http.client.HTTPConnection(host, port, timeout=self.timeout)

    def _explain(self, error: Exception, end: _Deadline) -> str:
        if end.passed or isinstance(error, TimeoutError):
            return f"{self.address} gave no complete answer within {self.timeout:g} s"
        if isinstance(error, http.client.HTTPException):
            return f"{self.address} gave no complete HTTP answer: {type(error).__name__} {error}".rstrip()
        if self.secure and type(error).__name__ == "SSLCertVerificationError":
            return f"{self.address} shows a certificate that is not trusted: {error}; see --cacert"
        reason = getattr(error, "strerror", None) or str(error)
        return f"cannot reach {self.address}: {reason}; is an analyzer or agent listening there?"


def _parsed(text: str) -> Address:
    try:
        scheme, separator, rest = text.partition("://")
        bare = rest if separator and scheme.lower() in ("http", "https") else text
        return Address.parse(bare.removesuffix("/"))
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
