"""How much one connection may ask of the server."""

from __future__ import annotations

from math import inf
from typing import final

import attrs


@final
@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of the one port; sizes in bytes, times in seconds.

    What each bound does when it is passed:

    * ``connections``: at once in the whole acceptor; one more is answered 503 and closed.
    * ``header_size``: request line and headers; 431.  Also how much is read ahead of a request being served.
    * ``header_time``: from the first byte of a request (of a new connection: from its start) to the end of
      its headers; 408, or closed silently when nothing was sent.
    * ``body_size``: of a request; 413.  Paths of ``any_size`` are left out: what serves them takes a body as it comes.
    * ``body_rate`` (bytes a second) and ``body_grace``: waiting for a body may take ``body_grace`` plus the
      time that the bytes received so far need at ``body_rate``; 408.
    * ``idle_time``: a kept-alive connection between two requests; closed.
    * ``send_timeout``: for the peer to take each 64 KiB; the connection is aborted.
    * ``linger_time``: how long the last answer may take to be read before the socket is closed for good.
    * ``message_size``: of a WebSocket message, text counted in UTF-8; closed with 1009.
    * ``close_timeout``: for the peer to answer our WebSocket Close.
    """

    connections: int = 4096
    header_size: int = 32 << 10
    header_time: float = 10.0
    body_size: int = 16 << 20
    any_size: frozenset[str] = frozenset()
    body_rate: float = 1024.0
    body_grace: float = 10.0
    idle_time: float = 75.0
    send_timeout: float = 10.0
    linger_time: float = 2.0
    message_size: int = 32 << 20
    close_timeout: float = 5.0

    def largest_body(self, path: bytes) -> float:
        """Bytes that a request to this path (as it came, maybe with a query) may carry."""
        return inf if path.partition(b"?")[0].decode("latin-1") in self.any_size else self.body_size
