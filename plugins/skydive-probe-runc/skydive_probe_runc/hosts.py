"""A container's /etc/hosts (hosts(5))."""

from __future__ import annotations

import ipaddress
from typing import Any


def read_hosts(text: str) -> dict[str, Any]:
    """``IP`` and ``Hostname`` of the last entry, and ``ByIP``: address → names; without loopback and multicast.

    Names are in lower case.  Empty when nothing is left.
    """
    hosts: dict[str, Any] = {}
    by_ip: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        try:
            address = ipaddress.ip_address(words[0])
        except ValueError:
            continue
        if address.is_loopback or address.is_multicast or address.is_unspecified or words[0].startswith("fe00::"):
            continue
        names = [word.lower() for word in words[1:]]
        known = by_ip.setdefault(str(address), [])
        known += [name for name in names if name not in known]
        hosts = {"IP": str(address), "Hostname": names[-1]}
    return {**hosts, "ByIP": by_ip} if hosts else {}
