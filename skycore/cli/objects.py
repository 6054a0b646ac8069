"""What the groups of commands about API objects have in common: list, get, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from skycore.cli import options, output
from skycore.cli.harmless import harmless
from skycore.cli.skydive import PersistentGroup
from skycore.client import Client, Collection
from skycore.client.calls import Kind
from skycore.errors import RequestRefused


def collection(client: Client, kind: str) -> Collection[dict[str, Any]]:
    """The objects of a kind as plain values, so that they are shown as the server says them."""
    return Collection(client, Kind(kind, dict))


def group(name: str, kind: str, plural: str, columns: Mapping[str, str]) -> click.Group:
    """A group with ``list``, ``get`` and ``delete``; ``columns`` are those of the table, header and path."""

    @click.group(name, cls=PersistentGroup, help=f"Manage {plural}.")
    @options.handed_on
    def made(**_handed_on: Any) -> None:
        pass

    @made.command("list", help=f"List the {plural}.")
    @options.asking
    @options.output("table", "json", "yaml")
    def list_them(client: Client, form: str) -> None:
        found = collection(client, kind).list()
        if form != "table":
            return output.print_value(found, form)
        rows = ([output.path(value, dotted) for dotted in columns.values()] for value in found.values())
        return output.print_table(list(columns), rows)

    @made.command("get", help=f"Show one of the {plural}.")
    @click.argument("id")
    @options.asking
    @options.output("json", "yaml", default="json")
    def get(id: str, client: Client, form: str) -> None:
        output.print_value(collection(client, kind).get(id), form)

    assert isinstance(made, click.Group)
    return made


def delete_command(group: click.Group, kind: str, plural: str) -> None:
    """Give a group its ``delete``."""

    @group.command("delete", help=f"Delete {plural} by their ids.")
    @click.argument("ids", nargs=-1, required=True, metavar="ID...")
    @options.asking
    def delete(ids: tuple[str, ...], client: Client) -> None:
        delete_all(client, kind, ids)


def delete_all(client: Client, kind: str, ids: Iterable[str]) -> None:
    """Delete them; each that is refused is named on stderr, and the exit code is then 1."""
    refused = False
    for id in ids:
        try:
            collection(client, kind).delete(id)
        except RequestRefused as error:
            refused = True
            click.echo(harmless(str(error)), err=True)
    if refused:
        click.get_current_context().exit(1)
