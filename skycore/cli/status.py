"""`skycore status`: show the state of a running process."""

from __future__ import annotations

import json

import click

from skycore.cli import options, output
from skycore.client import Client


@click.command("status")
@options.asking
@options.output("json", "yaml", default="json")
def status(client: Client, form: str) -> None:
    """Show the state of an analyzer or agent: its peers, its plugins, its store."""
    output.print_value(json.loads(json.dumps(client.status(), sort_keys=True)), form)
