"""`skycore query`: ask a Gremlin query, print the result, or follow what it is about."""

from __future__ import annotations

from typing import Any

import click

from skycore.cli import options, output
from skycore.cli.harmless import harmless, one_line
from skycore.client import DOT, Client

NODE = {
    "ID": "ID",
    "TYPE": "Metadata.Type",
    "NAME": "Metadata.Name",
    "HOST": "Host",
    "ORIGIN": "Origin",
    "REVISION": "Revision",
}
"""Columns of nodes: header, and path of the value."""
EDGE = {
    "ID": "ID",
    "RELATION": "Metadata.RelationType",
    "PARENT": "Parent",
    "CHILD": "Child",
    "ORIGIN": "Origin",
    "REVISION": "Revision",
}


@click.command("query")
@click.argument("gremlin")
@options.asking
@options.output("json", "table", "dot", "yaml", default="json")
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Print the graph that the query gives, and then each change of it, until Ctrl-C: a line each.",
)
def query(gremlin: str, client: Client, form: str, follow: bool) -> None:
    """Ask an analyzer or agent a Gremlin query, such as "G.V().Has('Type', 'veth')"."""
    if follow:
        if form == "dot":
            raise click.UsageError("--follow prints changes, and a drawing has none: use -o json, yaml or table")
        # Imported here because it brings trio and WebSockets.
        from skycore.cli.follow import follow as follow_it  # noqa: PLC0415

        follow_it(gremlin, client.server, form)
        return
    ask(gremlin, client, form)


def ask(gremlin: str, client: Client, form: str) -> None:
    """Print the result of a query."""
    if form == "dot":
        click.echo(harmless(client.query_text(gremlin, DOT).decode("utf-8", "replace")), nl=False)
        return
    answer = client.query_text(gremlin)
    if not answer:
        return
    if form == "json":
        output.print_json(answer)
    elif form == "yaml":
        output.print_value(output.decoded(answer), form)
    else:
        _print_tables(output.decoded(answer))


def print_elements(elements: list[Any], columns: dict[str, str]) -> None:
    """Print a table with a row for each."""
    rows = ([output.path(element, dotted) for dotted in columns.values()] for element in elements)
    output.print_table(list(columns), rows)


def _print_tables(result: Any) -> None:
    if not isinstance(result, list):
        output.print_table(["VALUE"], [[result]])
    elif result and all(isinstance(item, dict) and item.keys() == {"Nodes", "Edges"} for item in result):
        for graph in result:
            print_elements(graph["Nodes"] or [], NODE)
            click.echo()
            print_elements(graph["Edges"] or [], EDGE)
    elif result and all(isinstance(item, dict) for item in result):
        if all("Metadata" in item and "ID" in item for item in result):
            print_elements(result, EDGE if all("Parent" in item for item in result) else NODE)
        else:
            keys = list(dict.fromkeys(key for item in result for key in item))
            output.print_table([one_line(key) for key in keys], ([item.get(key) for key in keys] for item in result))
    else:
        output.print_table(["VALUE"], ([item] for item in result))
