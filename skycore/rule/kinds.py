"""The API objects that say something of the graph: node rules, edge rules, and user metadata.

Fields and messages are those of Skydive; user metadata is the spelling of its versions up to 0.20, which later ones
replaced by node rules of action ``update``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from skycore.errors import ClaimError, DuplicatedResource, GremlinError, InvalidResource
from skycore.graph.element import canonical_metadata
from skycore.gremlin import NODES, Planner
from skycore.resource.kind import Field, Kind, Value
from skycore.resource.value import normalise
from skycore.rule.dependency import reads
from skycore.rule.schema import edge_fault, node_fault

_FORBIDDEN: Final = ("Name", "Type", "TID")


def kinds(planner: Planner) -> tuple[Kind, Kind, Kind]:
    """Node rules, edge rules and user metadata; ``planner`` checks their queries."""

    def check_node_rule(value: Value) -> None:
        if value["Action"] not in ("create", "update"):
            raise InvalidResource("Action: regular expression mismatch")
        if value["Query"]:
            _check_query(planner, "Query", value["Query"])
        value["Metadata"] = metadata = _metadata(value["Metadata"])
        if value["Action"] == "create":
            fault = node_fault(metadata)
            if fault is not None:
                raise InvalidResource(fault)
            return
        if "Name" in metadata or "Type" in metadata:
            raise InvalidResource("Name and Type fields can not be changed")
        if "TID" in metadata:
            raise InvalidResource("TID can not be changed: flows refer to it")
        if not value["Query"]:
            raise InvalidResource("Query: an update needs the query of the nodes to update, for example G.V()")

    def check_edge_rule(value: Value) -> None:
        for field in ("Src", "Dst"):
            _check_query(planner, field, value[field])
        value["Metadata"] = metadata = _metadata(value["Metadata"])
        fault = edge_fault(metadata)
        if fault is not None:
            raise InvalidResource(fault)

    def check_user_metadata(value: Value) -> None:
        _check_query(planner, "GremlinQuery", value["GremlinQuery"])
        if not value["Key"]:
            raise InvalidResource("Key: zero value")
        _metadata({"UserMetadata": {value["Key"]: value["Value"]}})

    return (
        Kind(
            "noderule",
            "NodeRule",
            (
                Field("Name"),
                Field("Description"),
                Field("Metadata", "object", description="what the nodes get; for create with Name and Type"),
                Field("Action", description="create or update"),
                Field("Query", description="Gremlin: the nodes to update"),
            ),
            check_node_rule,
            description="Makes a node, or gives metadata to all nodes that a query selects.",
        ),
        Kind(
            "edgerule",
            "EdgeRule",
            (
                Field("Name"),
                Field("Description"),
                Field("Src", description="Gremlin: of its nodes the one with the lowest ID is the parent"),
                Field("Dst", description="Gremlin: of its nodes the one with the lowest ID is the child"),
                Field("Metadata", "object", description="of the edge, with RelationType"),
            ),
            check_edge_rule,
            description="Keeps an edge between two nodes that queries select.",
        ),
        Kind(
            "usermetadata",
            "UserMetadata",
            (
                Field("GremlinQuery", description="Gremlin: the nodes that get it"),
                Field("Key"),
                Field("Value", "any", description="stands under UserMetadata.Key"),
            ),
            check_user_metadata,
            _compare_user_metadata,
            description="Gives a value under UserMetadata to all nodes that a query selects.",
        ),
    )


def _compare_user_metadata(value: Value, others: Iterable[Value]) -> None:
    for other in others:
        if all(other[field] == value[field] for field in ("GremlinQuery", "Key", "Value")):
            raise DuplicatedResource(f"Duplicate user metadata, uuid={other['UUID']}")


def _check_query(planner: Planner, field: str, query: str) -> None:
    try:
        read = reads(query, planner.registry)
    except GremlinError as error:
        raise InvalidResource(f"{field}: Not a valid Gremlin expression: {error}") from error
    if read.past:
        raise InvalidResource(f"{field}: a rule is about the present; leave At and Context out")
    if read.gives != NODES:
        raise InvalidResource(f"{field}: the query must give nodes, and its last step does not")


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as the graph keeps it."""
    normal: dict[str, Any] = normalise(dict(metadata))
    try:
        canonical_metadata(normal)
    except ClaimError as error:
        raise InvalidResource(f"Metadata: {error}") from error
    return normal
