"""`skycore query --follow`: a line for each change, until Ctrl-C."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

import click
import msgspec

from skycore.cli.harmless import harmless, one_line
from skycore.cli.interrupt import until_interrupted
from skycore.cli.output import yaml_text
from skycore.client import Change, Edge, Lost, Node, Synced
from skycore.client.server import Server
from skycore.client.subscription import subscribe
from skycore.errors import ClientError

_SIGNS: Final = {"added": "+", "updated": "~", "deleted": "-"}


def follow(gremlin: str, server: Server, form: str) -> None:
    """Print changes until cancelled.  Raises KeyboardInterrupt at Ctrl-C, ClientError when there is no more to come."""
    until_interrupted(partial(_print_changes, gremlin, server, form))


async def _print_changes(gremlin: str, server: Server, form: str) -> None:
    lost = False
    try:
        async with subscribe(server, gremlin) as subscription:
            async for event in subscription:
                match event:
                    case Change():
                        click.echo(_line(event, form))
                    case Lost():
                        lost = True
                        click.echo(harmless(f"lost: {event.reason}; trying again"), err=True)
                    case Synced() if lost:
                        lost = False
                        click.echo("connected again; what changed meanwhile is told above", err=True)
    except ClientError as error:
        if "did not return a graph" in str(error):
            raise ClientError(f"{error}; end it with SubGraph()") from error
        raise


def _line(change: Change, form: str) -> str:
    element = change.element
    if form == "table":
        at = datetime.now().strftime("%H:%M:%S")
        if isinstance(element, Node):
            words = f"{element.type} {element.name}"
        else:
            words = f"{element.relation} {element.parent} -> {element.child}"
        return one_line(f"{at} {_SIGNS[change.what]} {words}  {element.id}")
    kind = "Edge" if isinstance(element, Edge) else "Node"
    # The names that the WebSocket's messages have.
    told: dict[str, Any] = {"Type": f"{kind}{change.what.capitalize()}", "Obj": msgspec.to_builtins(element)}
    if form == "yaml":
        return f"---\n{yaml_text(told)}".rstrip("\n")
    return harmless(msgspec.json.encode(told).decode())
