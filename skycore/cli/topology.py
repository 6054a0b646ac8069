"""`skycore topology`: the whole graph, out and in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from skycore.cli import options, query
from skycore.cli.harmless import harmless
from skycore.cli.skydive import PersistentGroup
from skycore.client import AnyElement, Client, Graph
from skycore.errors import ClientError


@click.group("topology", cls=PersistentGroup)
@options.handed_on
def topology(**_handed_on: Any) -> None:
    """Export, import and query the graph."""


@topology.command("export")
@options.asking
@options.output("json", "yaml", "dot", "table", default="json")
def _export(client: Client, form: str) -> None:
    """Print the whole graph, a list with one graph, as `import` reads it."""
    query.ask("G", client, form)


@topology.command("query")
@options.asking
@click.option("--gremlin", default="G", show_default=True, help="The query.")
@options.output("json", "yaml", "dot", "table", default="json")
def _query(client: Client, gremlin: str, form: str) -> None:
    """Ask a query: the older spelling of `query`."""
    query.ask(gremlin, client, form)


@topology.command("import")
@options.asking
@click.option(
    "--file", "file", default="graph.json", show_default=True, metavar="FILE", help="What `export` wrote; '-' is stdin."
)
@click.option("--endpoint", default="/ws/publisher", show_default=True, help="The path of the WebSocket.")
def _import(client: Client, file: str, endpoint: str) -> None:
    """Add the nodes and edges of a file to the graph, as a publisher of the type CLI."""
    graph = _read(file)
    # Imported here because they take a third of a second.
    import trio  # noqa: PLC0415

    from skycore.client.publishing import publish  # noqa: PLC0415

    async def tell() -> list[Any]:
        elements: list[AnyElement] = [*graph.nodes, *graph.edges]
        return await publish(client.server, elements, path=endpoint, client_type="CLI", host="", persistent=True)

    unpublished = trio.run(tell)
    for one in unpublished:
        click.echo(harmless(f"{one.element.id}: {one.reason}"), err=True)
    if unpublished:
        raise ClientError(f"{len(unpublished)} of {len(graph.nodes) + len(graph.edges)} elements were not taken")


def _read(file: str) -> Graph:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ClientError(f"{file}: cannot be read: {error.strerror or error}") from error
    try:
        graphs = msgspec.json.decode(data, type=list[Graph])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ClientError(f"{file}: is no graph as `topology export` writes it: {error}") from error
    if len(graphs) != 1:
        raise ClientError(f"{file}: has {len(graphs)} graphs; expected is a list with one")
    return graphs[0]
