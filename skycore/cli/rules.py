"""`skycore node-rule`, `edge-rule` and `user-metadata`: what shall hold in the graph, see docs/rules.md."""

from __future__ import annotations

from typing import Any

import click

from skycore.cli import metadata, objects, options, output
from skycore.client import Client

node_rule = objects.group(
    "node-rule",
    "noderule",
    "node rules",
    {"UUID": "UUID", "NAME": "Name", "ACTION": "Action", "QUERY": "Query", "METADATA": "Metadata"},
)
edge_rule = objects.group(
    "edge-rule",
    "edgerule",
    "edge rules",
    {"UUID": "UUID", "NAME": "Name", "SRC": "Src", "DST": "Dst", "METADATA": "Metadata"},
)
user_metadata = objects.group(
    "user-metadata",
    "usermetadata",
    "user metadata",
    {"UUID": "UUID", "QUERY": "GremlinQuery", "KEY": "Key", "VALUE": "Value"},
)
objects.delete_command(node_rule, "noderule", "node rules")
objects.delete_command(edge_rule, "edgerule", "edge rules")
objects.delete_command(user_metadata, "usermetadata", "user metadata")

_NAME = click.option("--name", default="", help="A name for the rule.")
_DESCRIPTION = click.option("--description", default="", help="What it is for.")
_METADATA = click.option("--metadata", "given", default="", metavar="'K=V, K2=V2'", help="Metadata; a.b=v nests.")
_TTL = click.option("--ttl", metavar="DURATION", help="How long it lives, such as 1h30m; left out: for ever.")


@node_rule.command("create")
@options.asking
@options.output("json", "yaml", default="json")
@_NAME
@_DESCRIPTION
@click.option("--action", type=click.Choice(["create", "update"]), required=True, help="Make a node, or change some.")
@click.option("--node-name", default="", help="Name of the node to make.")
@click.option("--node-type", default="", help="Type of the node to make.")
@click.option("--query", default="", metavar="GREMLIN", help="The nodes to update.")
@_METADATA
@_TTL
def _create_node_rule(
    client: Client,
    form: str,
    name: str,
    description: str,
    action: str,
    node_name: str,
    node_type: str,
    query: str,
    given: str,
    ttl: str | None,
) -> None:
    """Create a rule that makes a node, or gives metadata to nodes."""
    names = {"Name": node_name, "Type": node_type}
    value = {
        "Name": name,
        "Description": description,
        "Action": action,
        "Query": query,
        "Metadata": metadata.parse(given) | {key: word for key, word in names.items() if word},
    }
    _create(client, "noderule", value, ttl, form)


@edge_rule.command("create")
@options.asking
@options.output("json", "yaml", default="json")
@_NAME
@_DESCRIPTION
@click.option("--src", required=True, metavar="GREMLIN", help="The node that the edge leads from.")
@click.option("--dst", required=True, metavar="GREMLIN", help="The node that the edge leads to.")
@click.option("--relationtype", required=True, help="Its RelationType, such as layer2.")
@_METADATA
@_TTL
def _create_edge_rule(
    client: Client,
    form: str,
    name: str,
    description: str,
    src: str,
    dst: str,
    relationtype: str,
    given: str,
    ttl: str | None,
) -> None:
    """Create a rule that keeps an edge between two nodes."""
    value = {
        "Name": name,
        "Description": description,
        "Src": src,
        "Dst": dst,
        "Metadata": metadata.parse(given) | {"RelationType": relationtype},
    }
    _create(client, "edgerule", value, ttl, form)


@click.command("create")
@options.asking
@options.output("json", "yaml", default="json")
@click.option("--gremlin", required=True, metavar="GREMLIN", help="The nodes that get it.")
@click.option("--key", "field", required=True, metavar="KEY", help="It stands under UserMetadata.KEY.")
@click.option("--value", required=True, help="Text.")
@_TTL
def _create_user_metadata(client: Client, form: str, gremlin: str, field: str, value: str, ttl: str | None) -> None:
    """Give a value to all nodes of a query."""
    _create(client, "usermetadata", {"GremlinQuery": gremlin, "Key": field, "Value": value}, ttl, form)


for _parameter in _create_user_metadata.params:
    if _parameter.name == "key":
        # Skydive has --key for both; the file for TLS may also stand before the command's name.
        _parameter.opts = ["--tls-key"]
user_metadata.add_command(_create_user_metadata)
# The word that Skydive had for it.
user_metadata.add_command(_create_user_metadata, "add")


def _create(client: Client, kind: str, value: dict[str, Any], ttl: str | None, form: str) -> None:
    output.print_value(objects.collection(client, kind).create(value, ttl=ttl), form)
