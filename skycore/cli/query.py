"""`skycore query`: ask a Gremlin query, print the result, or follow what it is about."""

from __future__ import annotations

import sys
from typing import Any

import click

from skycore.cli import drawing, options, output
from skycore.cli.harmless import harmless, one_line
from skycore.client import DOT, PCAP, Client
from skycore.errors import ClientError

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
FLOW = {
    "APPLICATION": "Application",
    "A": "Network.A|Link.A",
    "A PORT": "Transport.A",
    "B": "Network.B|Link.B",
    "B PORT": "Transport.B",
    "AB BYTES": "Metric.ABBytes",
    "BA BYTES": "Metric.BABytes",
    "SEEN AT": "At.Name|NodeTID",
    "HOST": "At.Host",
}
"""Of several paths the first one with a value."""
FORMS = ("json", "table", "tree", "graph", "dot", "yaml", "pcap")
"""How a result may be printed; `graph` and `dot` need a graph, `pcap` packets."""


@click.command("query")
@click.argument("gremlin")
@options.asking
@options.output(*FORMS, default="json")
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Print the graph that the query gives, and then each change of it, until Ctrl-C: a line each.",
)
def query(gremlin: str, client: Client, form: str, follow: bool) -> None:
    """Ask an analyzer or agent a Gremlin query, such as "G.V().Has('Type', 'veth')"."""
    if follow:
        if form not in ("json", "yaml", "table"):
            raise click.UsageError("--follow prints changes, and a drawing has none: use -o json, yaml or table")
        # Imported here because it brings trio and WebSockets.
        from skycore.cli.follow import follow as follow_it  # noqa: PLC0415

        follow_it(gremlin, client.server, form)
        return
    ask(gremlin, client, form)


def ask(gremlin: str, client: Client, form: str) -> None:
    """Print the result of a query."""
    if form == "pcap":
        sys.stdout.buffer.write(client.query_text(gremlin, PCAP))
        return
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
    elif form in ("tree", "graph"):
        _draw(output.decoded(answer), form)
    else:
        _print_tables(output.decoded(answer))


def print_elements(elements: list[Any], columns: dict[str, str]) -> None:
    """Print a table with a row for each."""
    rows = ([_first(element, paths.split("|")) for paths in columns.values()] for element in elements)
    output.print_table(list(columns), rows)


def _first(element: Any, paths: list[str]) -> Any:
    return next((value for dotted in paths if (value := output.path(element, dotted)) is not None), None)


def _draw(result: Any, form: str) -> None:
    if form == "tree":
        lines = drawing.tree(result)
    elif _is_graph(result):
        lines = (line for one in result for line in drawing.graph(one["Nodes"] or [], one["Edges"] or []))
    else:
        raise ClientError("only a graph can be drawn, and the query does not give one; end it with SubGraph()")
    for line in lines:
        click.echo(line)


def _is_graph(result: Any) -> bool:
    return (
        isinstance(result, list)
        and bool(result)
        and all(isinstance(item, dict) and item.keys() == {"Nodes", "Edges"} for item in result)
    )


def _print_tables(result: Any) -> None:
    if not isinstance(result, list):
        output.print_table(["VALUE"], [[result]])
    elif _is_graph(result):
        for graph in result:
            print_elements(graph["Nodes"] or [], NODE)
            click.echo()
            print_elements(graph["Edges"] or [], EDGE)
    elif result and all(isinstance(item, dict) for item in result):
        if all("Metadata" in item and "ID" in item for item in result):
            print_elements(result, EDGE if all("Parent" in item for item in result) else NODE)
        elif all("LayersPath" in item and "UUID" in item for item in result):
            print_elements(result, FLOW)
        else:
            keys = list(dict.fromkeys(key for item in result for key in item))
            output.print_table([one_line(key) for key in keys], ([item.get(key) for key in keys] for item in result))
    else:
        output.print_table(["VALUE"], ([item] for item in result))
