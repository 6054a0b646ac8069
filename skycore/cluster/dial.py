"""How an agent reaches an analyzer: over TCP, over TLS, or within one process; and whether it is still heard."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, final

import trio

from skycore.config.address import Address
from skycore.errors import LinkError

Dial = Callable[[], Awaitable[trio.SocketStream | trio.SSLStream[trio.SocketStream]]]
"""Opens a stream to the analyzer: over TCP or TLS, or in memory when it lives in the same process."""

_LOOPBACK: Final = ("127.0.0.1", "::1")
# What came while this process was stopped, or too busy, is read within this time.
_GRACE: Final = 0.5


def tcp(address: Address) -> Dial:
    """A dial over TCP."""

    async def dial() -> trio.SocketStream:
        return await trio.open_tcp_stream(address.host, address.port)

    return dial


def tls(
    address: Address, context: Callable[[], ssl.SSLContext]
) -> Callable[[], Awaitable[trio.SSLStream[trio.SocketStream]]]:
    """A dial over TLS, with the context of that moment; the analyzer's certificate must be for the address's host."""

    async def dial() -> trio.SSLStream[trio.SocketStream]:
        transport = await trio.open_tcp_stream(address.host, address.port)
        stream = trio.SSLStream(transport, context(), server_hostname=address.host, https_compatible=True)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            cause = error.__cause__ or "the analyzer closed the connection"
            raise LinkError(f"no TLS with {address}: {cause}; see tls.ca_cert, and tls.server_cert there") from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    return dial


def peer_of(stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> Address | None:
    """Where the other end is, as a number; None within one process."""
    plain = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if plain.socket.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port = plain.socket.getpeername()[:2]
    return Address(host, port)


def leads_to(address: Address, listeners: Iterable[Address]) -> bool:
    """Whether an address, without asking a name server, is one at which these listeners of this machine are reached.

    A name other than localhost may be one all the same.
    """
    hosts = _LOOPBACK if address.host == "localhost" else (address.host,)
    return any(_is_at(host, listener.host) for listener in listeners if listener.port == address.port for host in hosts)


def _is_at(host: str, listening: str) -> bool:
    try:
        wanted, bound = ipaddress.ip_address(host), ipaddress.ip_address(listening)
    except ValueError:
        return host == listening
    if wanted == bound:
        return True
    # The listener of [::] takes what comes by IPv4 only if the system lets it; trio's does not.
    return bound.is_unspecified and wanted.version == bound.version and _is_ours(wanted)


def _is_ours(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an interface of this machine has the address: only then can a socket be bound to it."""
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


@final
class HeardStream(trio.abc.Stream):
    """A stream that knows when it brought something for the last time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._heard = trio.current_time()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        self._heard = trio.current_time()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def silent_for(self, seconds: float) -> None:
        """Return when nothing has come for so long."""
        while True:
            heard = self._heard
            await trio.sleep_until(heard + seconds)
            if heard == self._heard:
                await trio.sleep(_GRACE)
                if heard == self._heard:
                    return
