"""`skycore node` and `skycore edge`: elements of users, and what users say of others."""

from __future__ import annotations

import socket
import uuid
from typing import Any

import click

from skycore.cli import metadata, objects, options, output
from skycore.cli.query import EDGE, NODE
from skycore.client import Client
from skycore.errors import ClientError, RequestRefused

node = objects.group("node", "node", "nodes", NODE)
edge = objects.group("edge", "edge", "edges", EDGE)

_METADATA = click.option("--metadata", "given", default="", metavar="'K=V, K2=V2'", help="Metadata; a.b=v nests.")
_HOST = click.option("--host", default="", help="The host that it belongs to.")
_TTL = click.option("--ttl", metavar="DURATION", help="How long it lives, such as 1h30m; left out: for ever.")


@node.command("create")
@options.asking
@options.output("json", "yaml", default="json")
@click.option("--node-name", default="", help="Its Name.")
@click.option("--node-type", default="", help="Its Type, such as fabric.")
@_METADATA
@_HOST
@_TTL
def _create_node(
    client: Client, form: str, node_name: str, node_type: str, given: str, host: str, ttl: str | None
) -> None:
    """Create a node."""
    names = {"Name": node_name, "Type": node_type}
    value = _element(host, metadata.parse(given) | {key: name for key, name in names.items() if name})
    output.print_value(objects.collection(client, "node").create(value, ttl=ttl), form)


@edge.command("create")
@options.asking
@options.output("json", "yaml", default="json")
@click.option("--edge-type", default="", help="Its RelationType, such as layer2.")
@click.option("--parent", required=True, metavar="ID", help="The node that it leads from.")
@click.option("--child", required=True, metavar="ID", help="The node that it leads to.")
@_METADATA
@_HOST
@_TTL
def _create_edge(
    client: Client, form: str, edge_type: str, parent: str, child: str, given: str, host: str, ttl: str | None
) -> None:
    """Create an edge between two nodes."""
    nodes = objects.collection(client, "node")
    for end, id in (("parent", parent), ("child", child)):
        try:
            nodes.get(id)
        except RequestRefused as error:
            raise ClientError(f"Could not find {end} node: {error}") from error
    relation = {"RelationType": edge_type} if edge_type else {}
    value = _element(host, metadata.parse(given) | relation) | {"Parent": parent, "Child": child}
    output.print_value(objects.collection(client, "edge").create(value, ttl=ttl), form)


def _element(host: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"ID": str(uuid.uuid4()), "Host": host, "Origin": f"cli.{socket.gethostname()}", "Metadata": given}


def _changing(group: click.Group, kind: str, plural: str) -> None:
    @group.command("update", help=f"Change the metadata of {plural}.")
    @click.argument("ids", nargs=-1, required=True, metavar="ID...")
    @options.asking
    @options.output("json", "yaml", default="json")
    @click.option("-a", "--add", multiple=True, metavar="K=V", help="Give a key a value: JSON, else text; a.b nests.")
    @click.option("-r", "--remove", multiple=True, metavar="K", help="Remove a key.")
    def update(ids: tuple[str, ...], client: Client, form: str, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
        added = metadata.additions(add)
        removed = [metadata.removal(key) for key in remove]
        if not added and not removed:
            raise click.UsageError("give --add or --remove")
        elements = objects.collection(client, kind)
        for id in ids:
            nested = any(len(path) > 1 for path, _ in added)
            current = elements.get(id)["Metadata"] if nested else {}
            changed = elements.patch(id, metadata.operations(current, added, removed))
            if changed is None:
                click.echo("Not modified")
            else:
                output.print_value(changed, form)

    @group.command("delete", help=f"Delete {plural} that users made, by their ids.")
    @click.argument("ids", nargs=-1, required=True, metavar="ID...")
    @options.asking
    @click.option("--gremlin", is_flag=True, help=f"The arguments are queries; delete the {plural} that they give.")
    def delete(ids: tuple[str, ...], client: Client, gremlin: bool) -> None:
        if gremlin:
            found = [element for query in ids for element in client.query(query, list[dict[str, Any]])]
            if not all(isinstance(element.get("ID"), str) for element in found):
                raise ClientError(f"the query does not give {plural}")
            ids = tuple(dict.fromkeys(element["ID"] for element in found))
        objects.delete_all(client, kind, ids)


_changing(node, "node", "nodes")
_changing(edge, "edge", "edges")
