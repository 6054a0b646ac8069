"""What each kind of rule claims about the graph, given what its queries select."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, ClassVar, Protocol, final

import attrs

from skycore.graph.claimant import Claimant
from skycore.graph.claims import Claim
from skycore.graph.element import canonical_metadata
from skycore.graph.graph import Graph
from skycore.graph.identity import edge_id, uuid_of
from skycore.resource.contract import Resource
from skycore.resource.value import equal
from skycore.rule import precedence
from skycore.rule.selection import Selection

FABRIC = "fabric"


class Rule(Protocol):
    """A rule at work.

    ``selections`` are what its queries select.  ``each`` says whether it treats each selected node by itself, so that
    many can be done in parts.
    """

    resource: Resource
    selections: tuple[Selection, ...]
    each: ClassVar[bool]

    def update(self, added: Collection[str], removed: Collection[str]) -> None:
        """Bring the claims in line with what came to and went from its selections."""
        ...

    def withdraw(self) -> None:
        """Take everything back."""
        ...


@final
class CreateNode:
    """A node rule of action ``create``: a node that exists while the rule does."""

    each: ClassVar[bool] = False

    def __init__(self, graph: Graph, resource: Resource) -> None:
        self.resource = resource
        self.selections: tuple[Selection, ...] = ()
        self._claimant = precedence.rule(graph, resource)
        metadata = resource.value["Metadata"]
        self._id = created_id(metadata)
        metadata["TID"] = self._id
        if metadata["Type"] == FABRIC:
            metadata["Probe"] = FABRIC
        self._content = canonical_metadata(metadata)

    def update(self, added: Collection[str], removed: Collection[str]) -> None:
        claimant = self._claimant
        claimant.say(Claim(claimant.name, claimant.plugin, self._id, True, self._content, host=""))

    def withdraw(self) -> None:
        _withdraw(self._claimant)


def created_id(metadata: dict[str, Any]) -> str:
    """ID and TID of a node that a rule creates: UUIDv5(OID, "Type/Name")."""
    return uuid_of(f"{metadata['Type']}/{metadata['Name']}")


@final
class UpdateNodes:
    """A node rule of action ``update``: metadata on all nodes that a query selects."""

    each: ClassVar[bool] = True

    def __init__(self, graph: Graph, resource: Resource, selection: Selection) -> None:
        self.resource = resource
        self.selections: tuple[Selection, ...] = (selection,)
        self._claimant = precedence.rule(graph, resource)
        self._metadata = resource.value["Metadata"]

    def update(self, added: Collection[str], removed: Collection[str]) -> None:
        for id in removed:
            self._claimant.drop(id)
        for id in added:
            self._claimant.put(id, self._metadata, owning=False)

    def withdraw(self) -> None:
        _withdraw(self._claimant)


@final
class LinkFirst:
    """An edge rule: an edge from the first node of one query to the first of another, by the order of their IDs."""

    each: ClassVar[bool] = False

    def __init__(self, graph: Graph, resource: Resource, source: Selection, target: Selection) -> None:
        self.resource = resource
        self.selections: tuple[Selection, ...] = (source, target)
        self._claimant = precedence.rule(graph, resource)
        self._metadata = resource.value["Metadata"]

    def update(self, added: Collection[str], removed: Collection[str]) -> None:
        claimant, relation = self._claimant, self._metadata["RelationType"]
        parent, child = (selection.first for selection in self.selections)
        wanted = None if parent is None or child is None else edge_id(parent, child, relation)
        for id in [id for id in claimant.claims if id != wanted]:
            claimant.drop(id)
        if parent is not None and child is not None:
            claimant.link(parent, child, relation, self._metadata)

    def withdraw(self) -> None:
        _withdraw(self._claimant)


def _withdraw(claimant: Claimant) -> None:
    claimant.withdraw()
    claimant.graph.claimants.pop(claimant.name, None)


@final
@attrs.frozen
class Overridden:
    """Two objects of user metadata give one key of one node different values: the newer one counts."""

    node: str
    key: str
    kept: str
    ignored: str


@final
class UserMetadataOfNodes:
    """The key ``UserMetadata`` of all nodes: one object each, of what all user metadata together say."""

    def __init__(self, graph: Graph) -> None:
        self._claimant = precedence.user_metadata(graph)
        self._of_node: dict[str, dict[str, Resource]] = {}

    def say(self, id: str, resource: Resource) -> None:
        self._of_node.setdefault(id, {})[resource.id] = resource
        self._claim(id)

    def unsay(self, id: str, resource: Resource) -> None:
        said = self._of_node.get(id, {})
        said.pop(resource.id, None)
        if not said:
            self._of_node.pop(id, None)
            self._claimant.drop(id)
            return
        self._claim(id)

    def nodes_of(self, resource: Resource) -> list[str]:
        return [id for id, said in self._of_node.items() if resource.id in said]

    def overridden(self) -> Iterator[Overridden]:
        """All values that do not count."""
        for id, said in self._of_node.items():
            if len(said) < 2:
                continue
            kept: dict[str, Resource] = {}
            for resource in _newest_first(said.values()):
                value = resource.value
                holder = kept.setdefault(value["Key"], resource)
                if holder is not resource and not equal(holder.value["Value"], value["Value"]):
                    yield Overridden(id, value["Key"], holder.id, resource.id)

    def _claim(self, id: str) -> None:
        values: dict[str, Any] = {}
        for resource in reversed(_newest_first(self._of_node[id].values())):
            value = resource.value
            values[value["Key"]] = value["Value"]
        self._claimant.put(id, {"UserMetadata": values}, owning=False)


def _newest_first(resources: Collection[Resource]) -> list[Resource]:
    return sorted(resources, key=lambda resource: (-resource.created_at, resource.id))


@final
class UserMetadata:
    """User metadata: a value under ``UserMetadata.Key`` of all nodes that a query selects."""

    each: ClassVar[bool] = True

    def __init__(self, resource: Resource, selection: Selection, nodes: UserMetadataOfNodes) -> None:
        self.resource = resource
        self.selections: tuple[Selection, ...] = (selection,)
        self._nodes = nodes

    def update(self, added: Collection[str], removed: Collection[str]) -> None:
        for id in removed:
            self._nodes.unsay(id, self.resource)
        for id in added:
            self._nodes.say(id, self.resource)

    def withdraw(self) -> None:
        for id in self._nodes.nodes_of(self.resource):
            self._nodes.unsay(id, self.resource)
