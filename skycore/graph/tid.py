"""TIDs: identifiers of nodes that stay the same over restarts and reboots, and to which flows refer.

The rules are Skydive's, so that TIDs are the same for the same names:

=====================  ==========================================
Type                   TID = UUIDv5(OID, …)
=====================  ==========================================
host                   Name
netns                  TID of the host + Path + "netns"
ovsbridge, ovsport     TID of the host + UUID + Type
any other              TID of the owner + Name + Type
=====================  ==========================================

A node without these has none; a node whose owner goes loses it.
"""

from __future__ import annotations

from skycore.graph.claims import Naming
from skycore.graph.identity import uuid_of


def tid_of(naming: Naming, host_tid: str, owner_tid: str | None) -> str | None:
    """The TID of a node, None while it cannot have one."""
    name, type, path, uuid = naming
    if not isinstance(type, str):
        return None
    if type == "host":
        return uuid_of(name) if isinstance(name, str) else None
    if type == "netns":
        return uuid_of(host_tid + path + type) if isinstance(path, str) else None
    if type in ("ovsbridge", "ovsport"):
        return uuid_of(host_tid + uuid + type) if isinstance(uuid, str) else None
    if owner_tid is None or not isinstance(name, str):
        return None
    return uuid_of(owner_tid + name + type)


def with_tid(metadata: bytes, tid: str | None) -> bytes:
    """Canonical metadata with the TID as its last key."""
    if tid is None:
        return metadata
    separator = b"" if metadata == b"{}" else b","
    return metadata[:-1] + separator + b'"TID":"' + tid.encode() + b'"}'
