"""`skycore status`: show the state of a running process."""

from __future__ import annotations

import json

import click

from skycore.cli import options
from skycore.client import Client


@click.command("status")
@options.analyzer
@options.timeout
def status(analyzer: str, timeout: float) -> None:
    """Show the state of an analyzer or agent: its peers, its plugins, its store."""
    state = Client(analyzer, timeout).status()
    options.print_json(json.dumps(state, sort_keys=True).encode())
