"""`skycore query --follow`: a line for each change, until Ctrl-C."""

from __future__ import annotations

import errno
import os
import select
import sys
from datetime import datetime
from typing import Any, Final

import click
import msgspec
import trio

from skycore.cli.harmless import harmless, one_line
from skycore.cli.output import yaml_text
from skycore.client import Change, Edge, Lost, Node, Synced
from skycore.client.server import Server
from skycore.client.subscription import subscribe
from skycore.errors import ClientError, SkycoreError

_LOOK_EVERY: Final = 0.5
"""Seconds."""
_SIGNS: Final = {"added": "+", "updated": "~", "deleted": "-"}


def follow(gremlin: str, server: Server, form: str) -> None:
    """Print changes until cancelled.  Raises KeyboardInterrupt at Ctrl-C, ClientError when there is no more to come."""
    try:
        trio.run(_follow, gremlin, server, form)
    except BaseExceptionGroup as errors:
        # What is raised between two tasks of trio comes in a group.
        if errors.subgroup(KeyboardInterrupt) is not None:
            raise KeyboardInterrupt from None
        raise


async def _follow(gremlin: str, server: Server, form: str) -> None:
    raised: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_reader, nursery.cancel_scope)
        try:
            await _print_changes(gremlin, server, form)
        except (SkycoreError, OSError) as error:
            raised = error
        nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
    # What writing would have said.
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


async def _watch_reader(scope: trio.CancelScope) -> None:
    """End when nobody reads our output any more, which writing would notice at the next change only."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    watched = select.poll()
    watched.register(descriptor, 0)
    while not any(event & select.POLLERR for _, event in watched.poll(0)):  # noqa: ASYNC110 - no event tells of it
        await trio.sleep(_LOOK_EVERY)
    scope.cancel()


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
