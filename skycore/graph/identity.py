"""Identifiers: which text names an element, and the IDs and TIDs derived from it.

The same UUIDv5 derivation as Skydive's (RFC 4122, namespace OID), so that IDs are the same on every run
while the thing is the same.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha1
from typing import Final
from uuid import NAMESPACE_OID

import attrs

KNOWN: Final = "@id"
"""The kind of a Key whose value is the ID itself, as a view gave it or as others have long known it."""


_OID: Final = NAMESPACE_OID.bytes
_VARIANTS: Final = "89ab"


@attrs.frozen
class Key:
    """The name of one node on one host: what kind of thing, and which one.

    ``kind`` is a word of the probe's choice (``interface``, ``netns``, ``container`` …); ``value`` is unique
    within (host, kind) for as long as the thing exists, and never reused for another thing.  With the kind ``@id`` the
    value is the node's ID, whichever host it is on; such a node's TID is said by its probe, too.
    """

    kind: str
    value: str


@lru_cache(maxsize=16384)
def uuid_of(text: str) -> str:
    """UUIDv5 of a text in the namespace OID (RFC 4122, section 4.3)."""
    # What uuid.uuid5 gives, at a third of its cost: an analyzer that takes over a graph asks once for each edge.
    digest = sha1(_OID + text.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANTS[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def node_id(host_id: str, key: Key) -> str:
    """ID of a node: UUIDv5(OID, host_id/kind/value)."""
    return uuid_of(f"{host_id}/{key.kind}/{key.value}")


def edge_id(parent_id: str, child_id: str, relation_type: str) -> str:
    """ID of an edge: UUIDv5(OID, parent ID + child ID + RelationType), no separator."""
    return uuid_of(parent_id + child_id + relation_type)


def host_key(host_id: str) -> Key:
    """The host's own node."""
    return Key("host", host_id)


def netns_key(boot_id: str, cookie: int) -> Key:
    """A network namespace, by the kernel's cookie, which is never reused within one boot."""
    return Key("netns", f"{boot_id}/{cookie}")


def interface_key(boot_id: str, cookie: int, ifindex: int) -> Key:
    """An interface: a rename keeps it, a move to another namespace makes a new one."""
    return Key("interface", f"{boot_id}/{cookie}/{ifindex}")
