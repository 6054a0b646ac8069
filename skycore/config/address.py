"""Network addresses as they are written in the configuration and on the command line."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import final

import attrs

_WRITTEN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[\w.-]*)):(?P<port>[0-9]{1,5})")


@final
@attrs.frozen
class Address:
    """A host (a name, an IPv4 or an IPv6 address without brackets) and a TCP or UDP port.

    Port 0 means any free port when listening.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``host:port``, ``[v6]:port``, ``:port`` or ``port``.

        As in Skydive the last two mean localhost, not every interface.  Raises ValueError.
        """
        found = _WRITTEN.fullmatch(f":{text}" if text.isascii() and text.isdigit() else text)
        if found is None or int(found["port"]) > 65535 or not _is_ipv6(found["v6"]):
            raise ValueError(
                f"{text[:80]!r} is not host:port, [IPv6]:port, :port or only a port (on localhost), port 0 to 65535"
            )
        return cls(found["v6"] or found["name"] or "localhost", int(found["port"]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_ipv6(text: str | None) -> bool:
    try:
        return text is None or bool(IPv6Address(text).compressed)
    except AddressValueError:
        return False
