"""Where a daemon listens: ``unix:///path``, ``tcp://host:port``, ``ssl://host:port``, and Open vSwitch's spellings.

Source of the spellings without slashes: ovsdb(7), "Active" connection methods.
"""

from __future__ import annotations

import ssl
from typing import Final

import attrs
import trio

from skydive_probe_ovsdb.errors import SourceLost

CONNECT_SECONDS: Final = 5.0
_FORMS: Final = "unix:///path/of/socket, tcp://host:port, ssl://host:port, or host:port"


@attrs.frozen
class Address:
    """``path`` of a unix socket, or ``host`` and ``port``; ``tls`` asks for TLS."""

    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ssl' if self.tls else 'tcp'}://{host}:{self.port}"


@attrs.frozen
class Certificates:
    """PEM files for TLS: ours with its key, and the authority that signs the daemon's; "" for none."""

    cert: str = ""
    key: str = ""
    ca: str = ""

    def context(self) -> ssl.SSLContext:
        """What TLS uses; raises SourceLost for files that cannot be read.

        As in Open vSwitch a daemon is known by its authority and not by its name, which its certificate seldom has.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            context.check_hostname = False
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except OSError as error:
            raise SourceLost(f"the certificates cannot be used ({self}): {error}") from error
        return context


def parse(text: str) -> Address:
    """Read an address; ValueError says which forms there are."""
    scheme, separator, rest = text.partition(":")
    if separator and scheme == "unix":
        path = rest.removeprefix("//")
        if path.startswith("/"):
            return Address(path=path)
    elif separator and scheme in ("tcp", "ssl"):
        return _host_and_port(rest.removeprefix("//"), text, tls=scheme == "ssl")
    elif separator and "/" not in text:
        return _host_and_port(text, text, tls=False)
    raise ValueError(f"{text!r} is no address; it must be {_FORMS}")


def _host_and_port(rest: str, text: str, *, tls: bool) -> Address:
    host, _, port = rest.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or any(letter in bare for letter in "/[]@ ") or (":" in bare and bare == host):
        raise ValueError(f"{text!r} is no address; it must be {_FORMS}")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} needs a port between 1 and 65535; it must be {_FORMS}")
    return Address(host=bare, port=int(port), tls=tls)


async def connect(address: Address, certificates: Certificates = Certificates()) -> trio.abc.Stream:
    """A connection; raises SourceLost within CONNECT_SECONDS."""
    try:
        with trio.fail_after(CONNECT_SECONDS):
            if address.path:
                return await trio.open_unix_socket(address.path)
            stream: trio.abc.Stream = await trio.open_tcp_stream(address.host, address.port)
            if not address.tls:
                return stream
            secured = trio.SSLStream(stream, certificates.context(), https_compatible=True)
            try:
                await secured.do_handshake()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            return secured
    except trio.TooSlowError as error:
        raise SourceLost(f"no connection within {CONNECT_SECONDS:g} s") from error
    except trio.BrokenResourceError as error:
        raise SourceLost(f"TLS failed: {error.__cause__ or error}") from error
    except OSError as error:
        raise SourceLost(f"cannot connect: {error.strerror or error}") from error
