"""`skycore status`: show the state of a running process."""

from __future__ import annotations

import json

import click

from skycore.cli import options
from skycore.cli.access import access_options
from skycore.client import Access, Client


@click.command("status")
@options.analyzer
@access_options
@options.timeout
def status(analyzer: str, timeout: float, access: Access) -> None:
    """Show the state of an analyzer or agent: its peers, its plugins, its store."""
    state = Client(analyzer, timeout, access).status()
    options.print_json(json.dumps(state, sort_keys=True).encode())
