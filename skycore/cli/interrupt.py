"""Commands that go on until Ctrl-C."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from skycore.errors import SkycoreError

_LOOK_EVERY: Final = 0.5
"""Seconds."""


def until_interrupted(work: Callable[[], Awaitable[None]]) -> None:
    """Run until the work ends, Ctrl-C (KeyboardInterrupt), or nobody reads our output any more (BrokenPipeError).

    What the work raises of SkycoreError and OSError is raised.
    """
    trio.run(_run, work)


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    raised: Exception | None = None
    interrupted, ended = trio.Event(), False
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_interrupt, nursery.cancel_scope, interrupted)
        nursery.start_soon(_watch_reader, nursery.cancel_scope)
        try:
            await work()
            ended = True
        except (SkycoreError, OSError) as error:
            raised = error
        nursery.cancel_scope.cancel()
    if interrupted.is_set():
        raise KeyboardInterrupt
    if raised is not None:
        raise raised
    if not ended:
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
