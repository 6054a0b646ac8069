"""Asking analyzers and agents from Python, synchronously and in trio; see docs/client.md.

What needs trio is imported when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skycore.client.access import Access
from skycore.client.calls import DOT, PCAP
from skycore.client.elements import AnyElement, Edge, Element, Graph, Node
from skycore.client.http import Client, Collection
from skycore.client.resources import EdgeRule, NodeRule, UserMetadata

if TYPE_CHECKING:
    from skycore.client.mirror import Change
    from skycore.client.publishing import Unpublished
    from skycore.client.subscription import Lost, Subscription, Synced
    from skycore.client.trio_http import TrioClient, TrioCollection

_LATER = {
    "Change": "mirror",
    "Lost": "subscription",
    "Subscription": "subscription",
    "Synced": "subscription",
    "TrioClient": "trio_http",
    "TrioCollection": "trio_http",
    "Unpublished": "publishing",
}

__all__ = [
    "DOT",
    "PCAP",
    "Access",
    "AnyElement",
    "Change",
    "Client",
    "Collection",
    "Edge",
    "EdgeRule",
    "Element",
    "Graph",
    "Lost",
    "Node",
    "NodeRule",
    "Subscription",
    "Synced",
    "TrioClient",
    "TrioCollection",
    "Unpublished",
    "UserMetadata",
]


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
