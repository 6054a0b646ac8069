"""One process with one or both roles: from its start to the end of its last task."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Literal

import structlog
import trio

from skycore.config import Address
from skycore.errors import SkycoreError
from skycore.role import memory
from skycore.role.agent import Agent, LocalAnalyzer
from skycore.role.analyzer import Analyzer
from skycore.role.notify import ServiceManager
from skycore.role.setup import Setup

log = structlog.get_logger(__name__)

_DESCRIPTORS = 65536
SWITCH_SECONDS = 0.0005
"""For how long a worker thread may keep the event loop from the interpreter's lock; Python's own 5 ms are felt."""

Role = Literal["agent", "analyzer", "allinone"]


async def serve(role: Role, setup: Setup) -> None:
    """Run the role until SIGINT or SIGTERM, then end in order.

    An agent in the same process as its analyzer reaches it by the same link, over a socket pair.  Raises
    SkycoreError when something cannot be started.  When a probe is stuck, the process leaves by ``os._exit``
    after everything else was saved: nothing can end such a task.
    """
    if role != "analyzer":
        setup.check_listen("agent")
    if role != "agent":
        setup.check_listen("analyzer")
    analyzer = Analyzer(setup) if role != "agent" else None
    agent: Agent | None = None
    stuck: list[str] = []
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch_signals, stop := trio.Event())
            nursery.start_soon(_watch_hangup, lambda: [part for part in (analyzer, agent) if part is not None])
            if analyzer is not None:
                await analyzer.start(nursery)
            if role != "analyzer":
                agent = Agent(setup, _local(analyzer, nursery) if analyzer is not None else None)
                await agent.start(nursery)
            nursery.start_soon(memory.care)
            manager = ServiceManager(os.environ)
            manager.tell("READY=1", f"STATUS=Running as {role}")
            nursery.start_soon(manager.watched)
            await stop.wait()
            log.info("stopping")
            manager.tell("STOPPING=1", "STATUS=Saving what is known")
            # First the agent, so that what its probes said last still reaches the analyzer.
            stuck += await agent.stop() if agent is not None else []
            stuck += await analyzer.stop() if analyzer is not None else []
            if stuck:
                _close(agent, analyzer)
                log.error("left without waiting for stuck probes", probes=stuck)
                sys.stderr.flush()
                os._exit(0)
            nursery.cancel_scope.cancel()
    finally:
        _close(agent, analyzer)


def _local(analyzer: Analyzer, nursery: trio.Nursery) -> LocalAnalyzer:
    return LocalAnalyzer(lambda: analyzer.port.connect(nursery), [Address.parse(text) for text in analyzer.port.bound])


def _close(agent: Agent | None, analyzer: Analyzer | None) -> None:
    if agent is not None:
        agent.close()
    if analyzer is not None:
        analyzer.close()


async def _watch_signals(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if stop.is_set():
                log.warning("asked to stop a second time: leaving at once")
                os._exit(1)
            stop.set()


async def _watch_hangup(parts: Callable[[], Sequence[Agent | Analyzer]]) -> None:
    """SIGHUP: read the certificates again, as the files may have changed within the resolution of their times."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            for part in parts():
                part.certificates.reload()


def run(role: Role, setup: Setup) -> None:
    """The same, from outside of trio; SkycoreError comes out as itself."""
    _allow_descriptors()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        trio.run(serve, role, setup)
    except BaseExceptionGroup as group:
        errors = _leaves(group)
        for error in errors:
            if isinstance(error, SkycoreError):
                raise error from None
        raise


def _allow_descriptors() -> None:
    """Every namespace costs some open files; the usual soft limit of 1,024 is meant for select(2), not for us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
