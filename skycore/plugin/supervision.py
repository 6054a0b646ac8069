"""The life of one plugin: started, watched, started again after a crash, stopped, or found stuck.

A plugin may raise anything at any time, SystemExit and KeyboardInterrupt included: that is a crash of the
plugin and of nothing else.  (The process itself takes its signals from a signal receiver, so a real Ctrl-C
never surfaces inside a plugin.)
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

import attrs
import structlog
import trio

State: TypeAlias = Literal["starting", "running", "crashed", "failed", "finished", "stopping", "stopped", "stuck"]

log = structlog.get_logger(__name__)


@attrs.frozen
class RestartPolicy:
    """Pauses between restarts, in seconds: doubled from ``first`` to ``ceiling``, back to ``first`` after a calm run.

    ``patience`` is how long a plugin may take to end after it was cancelled, before it counts as stuck.
    """

    first: float = 0.2
    ceiling: float = 30.0
    calm: float = 60.0
    patience: float = 5.0


@attrs.define
class Report:
    """What status shows of one plugin."""

    name: str
    state: State = "starting"
    error: str | None = None
    restarts: int = 0
    blocked: int = 0
    blocked_longest: float = 0.0
    fields: dict[str, Any] = attrs.field(factory=dict)


Run: TypeAlias = Callable[[trio.TaskStatus[None]], Awaitable[None]]


class Supervisor:
    """Runs one plugin until it is stopped.

    ``begin`` makes a new run (it may raise, like the plugin's constructor): an async callable that takes a
    ``task_status``.  ``settled`` is called when a run has started, ``ended`` with True when the plugin is
    gone for good and False when it crashed and will come back.  ``tried`` is set when the first run has made its
    first inventory, or has failed to, or cannot make it at present.
    """

    def __init__(
        self,
        report: Report,
        *,
        begin: Callable[[], Run],
        settled: Callable[[], None],
        ended: Callable[[bool], None],
        policy: RestartPolicy,
    ) -> None:
        self.report = report
        self._begin = begin
        self._settled = settled
        self._ended = ended
        self._policy = policy
        self._scope = trio.CancelScope()
        self._done = trio.Event()
        self._stopping = False
        self._nursery: trio.Nursery | None = None
        self.tried = trio.Event()

    async def run(self) -> None:
        """Drive the plugin; never raises but for the cancellation of the caller's own scope."""
        pause = self._policy.first
        try:
            with self._scope:
                while True:
                    began = trio.current_time()
                    if await self._run_once():
                        return
                    if trio.current_time() - began >= self._policy.calm:
                        pause = self._policy.first
                    await trio.sleep(pause * random.uniform(0.75, 1.25))
                    pause = min(pause * 2, self._policy.ceiling)
                    self.report.restarts += 1
                    self.report.state = "starting"
        finally:
            self.tried.set()
            self._done.set()
            if self.report.state not in ("stuck", "finished"):
                self.report.state = "stopped"
                self._ended(True)

    async def _run_once(self) -> bool:
        """One run; True when it came to its own end."""
        try:
            run = self._begin()
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await nursery.start(run)
                self._settled()
                if not self._stopping:
                    self.report.state = "running"
                self.tried.set()
        except BaseException as error:
            self._nursery = None
            cancelled, crash = _split(error)
            if self._stopping or crash is None:
                if crash is not None:
                    log.warning(
                        "a plugin raised while it was being stopped", plugin=self.report.name, error=_brief(crash)
                    )
                if cancelled is not None:
                    raise cancelled from None
                return True
            if cancelled is not None:
                # The process is being stopped, and the plugin crashed at that moment.
                raise cancelled from None
            self._crashed(crash)
            return False
        self._nursery = None
        if not self._stopping:
            self.report.state = "finished"
        return True

    def fail(self, error: Exception) -> None:
        """Crash the plugin from outside, as if it had raised this."""

        async def crash() -> None:
            raise error

        if self._nursery is None:
            self.report.error = _brief(error)
        else:
            self._nursery.start_soon(crash)

    def _crashed(self, crash: BaseException) -> None:
        self.report.state = "crashed"
        self.report.error = _brief(crash)
        log.warning(
            "plugin crashed; it will be started again",
            plugin=self.report.name,
            error=self.report.error,
            trace="".join(traceback.format_exception(crash)),
        )
        self._ended(False)
        self.tried.set()

    def cancel(self) -> None:
        """Ask the plugin to stop; ``stopped`` waits for it."""
        self._stopping = True
        if self.report.state not in ("stopped", "finished", "stuck"):
            self.report.state = "stopping"
        self._scope.cancel()

    async def stopped(self) -> bool:
        """Wait until the plugin has ended after ``cancel``; False when it has not within the policy's patience.

        It is then *stuck*: its handle is closed and its claims are withdrawn, and it is never started again.
        """
        with trio.move_on_after(self._policy.patience, shield=True):
            await self._done.wait()
            return True
        self.report.state = "stuck"
        self.report.error = f"still running {self._policy.patience:g} s after it was asked to stop"
        log.error("plugin is stuck", plugin=self.report.name, error=self.report.error)
        self._ended(True)
        return False


def _split(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The cancellation and the rest of what came out of a nursery."""
    if isinstance(error, trio.Cancelled):
        return error, None
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return None, error


def _brief(error: BaseException) -> str:
    """One line for people: the innermost single exception of a group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    text = str(error).strip() or "(no message)"
    return f"{type(error).__name__}: {text}"[:2000]
