"""`skycore query --follow`: a line for each change, until Ctrl-C."""

from __future__ import annotations

import errno
import os
import select
import signal
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
    trio.run(_follow, gremlin, server, form)


async def _follow(gremlin: str, server: Server, form: str) -> None:
    raised: Exception | None = None
    interrupted = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_interrupt, nursery.cancel_scope, interrupted)
        nursery.start_soon(_watch_reader, nursery.cancel_scope)
        try:
            await _print_changes(gremlin, server, form)
        except (SkycoreError, OSError) as error:
            raised = error
        nursery.cancel_scope.cancel()
    if interrupted.is_set():
        raise KeyboardInterrupt
    if raised is not None:
        raise raised
    # What writing would have said.
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


async def _watch_interrupt(
    scope: trio.CancelScope, interrupted: trio.Event, task_status: trio.TaskStatus[None]
) -> None:
    """End at Ctrl-C, in order: as an exception it could arise anywhere, also where a library keeps it for itself."""
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            interrupted.set()
            scope.cancel()


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
