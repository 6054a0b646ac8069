"""`skycore query`: ask a Gremlin query, print the result."""

from __future__ import annotations

import click

from skycore.cli import options
from skycore.cli.access import access_options
from skycore.client import Access, Client


@click.command("query")
@click.argument("gremlin")
@options.analyzer
@access_options
@options.timeout
@click.option(
    "-o",
    "--output",
    "--format",
    type=click.Choice(["json"]),
    default="json",
    show_default=True,
    expose_value=False,
    help="How to print the result.",
)
def query(gremlin: str, analyzer: str, timeout: float, access: Access) -> None:
    """Ask an analyzer or agent a Gremlin query, such as "G.V().Has('Type', 'veth')"."""
    if answer := Client(analyzer, timeout, access).query_json(gremlin):
        options.print_json(answer)
