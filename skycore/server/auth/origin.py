"""Which page of a browser may use what the browser sends by itself: cookies, and being on this machine.

A page of another site can make a browser send requests here (RFC 6454; the attack is called cross-site request
forgery), and where names resolve to any address, a page can make itself look like ours (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from typing import final
from urllib.parse import urlsplit

from skycore.errors import Refusal
from skycore.server.access import Caller

_SAFE = ("GET", "HEAD", "OPTIONS")


@final
class Origins:
    """Refuses what other pages ask for; ``allowed`` are origins (``https://ui.example:8443``) that may.

    ``names``: hosts by which this port is called, None when that is not checked.  It is where nothing but reaching
    the port admits a client, and only this machine can reach it.
    """

    def __init__(self, allowed: Collection[str] = (), *, names: Collection[str] | None = None) -> None:
        self._allowed = {origin.rstrip("/").lower() for origin in allowed}
        self._names = None if names is None else {name.lower() for name in names}

    def check(self, caller: Caller, *, handshake: bool = False) -> None:
        """Refuse (403) a request that another site's page made, unless it only reads; see ``same_site``."""
        if self._names is not None:
            self._check_name(caller.headers.get("host", ""), self._names)
        if (handshake or caller.method not in _SAFE) and not self._same_origin(caller):
            raise Refusal(
                403,
                f"a page of {caller.headers.get('origin', 'another site')!r} may not do this with a cookie, or without "
                "credentials; send X-Auth-Token, or add its origin to http.allowed_origins",
            )

    def _same_origin(self, caller: Caller) -> bool:
        """Only browsers send these headers, and no page can change them (https://www.w3.org/TR/fetch-metadata/)."""
        origin = caller.headers.get("origin")
        if origin is not None and origin.lower() in self._allowed:
            return True
        site = caller.headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        if origin is None:
            return True
        try:
            return urlsplit(origin).netloc.lower() == caller.headers.get("host", "").lower() != ""
        except ValueError:
            return False

    def _check_name(self, host: str, names: Collection[str]) -> None:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            name = host
        if not name or name == "localhost" or name.endswith(".localhost") or name in names:
            return
        try:
            ipaddress.ip_address(name)
        except ValueError:
            raise Refusal(
                403,
                f"this port is not known as {name[:100]!r}; call it by an address, or configure authentication, or "
                "add an origin with that name to http.allowed_origins",
            ) from None


def hosts_of(origins: Collection[str]) -> set[str]:
    """The names of hosts in a list of origins."""
    found: set[str] = set()
    for origin in origins:
        try:
            found.add(urlsplit(origin).hostname or "")
        except ValueError:
            continue
    return found - {""}
