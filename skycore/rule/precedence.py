"""Whose word counts: users before rules, rules before what agents and probes found; of two rules the newer one.

A graph takes each top-level key from the claimant whose plugin name sorts first and reports the difference as a
conflict (docs/claims.md), so the names here sort before those of all plugins.
"""

from __future__ import annotations

from typing import Final

from skycore.graph.claimant import Claimant
from skycore.graph.element import Revision
from skycore.graph.graph import Graph
from skycore.resource.contract import Resource, ResourceStore

USER: Final = "user"
"""The claimant of nodes and edges that users made, and of keys that they patched."""
USER_METADATA: Final = "usermetadata"
"""The claimant of the key ``UserMetadata``."""
RULE: Final = "rule/"
"""How the names of the claimants of rules begin; the UUID follows."""

_USERS: Final = "0 user"
_RULES: Final = "1 rule"
_LAST: Final = 10**15


def user(graph: Graph) -> Claimant:
    return graph.claimant(USER, plugin=_USERS)


def user_metadata(graph: Graph) -> Claimant:
    return graph.claimant(USER_METADATA, plugin=_RULES)


def rule(graph: Graph, resource: Resource) -> Claimant:
    """The claimant of one rule, known by its UUID over restarts."""
    age = _LAST - min(resource.created_at, _LAST)
    return graph.claimant(RULE + resource.id, plugin=f"{_RULES} {age:016d}")


def is_ours(claimant: str) -> bool:
    """Whether the claimant is a user or a rule."""
    return claimant in (USER, USER_METADATA) or claimant.startswith(RULE)


def claimant_of(graph: Graph, store: ResourceStore, revision: Revision) -> Claimant | None:
    """The user or rule that owned an element which history kept; None when it was neither.

    A rule that is no longer in the store of API objects gets a claimant all the same; its claims are to be withdrawn.
    """
    for owner in revision.owners:
        if owner == USER:
            return user(graph)
        if owner.startswith(RULE):
            id = owner.removeprefix(RULE)
            resource = store.get("noderule", id) or store.get("edgerule", id)
            return graph.claimant(owner, plugin=_RULES) if resource is None else rule(graph, resource)
    return None
