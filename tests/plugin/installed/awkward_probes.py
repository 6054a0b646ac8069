"""Plugins that break the contract, each in one way; and two that keep it."""

from __future__ import annotations

import time
from typing import ClassVar

import attrs
import trio

from skycore.plugin import Key, ProbeHost


class Fine:
    """Keeps the contract; when it is stopped it says one thing more."""

    roles: ClassVar = frozenset({"agent"})
    section: ClassVar = ""

    @attrs.frozen
    class Settings:
        pass

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self.host = host

    def say(self, kind: str, text: str) -> None:
        self.host.graph.put(Key(kind, "1"), {"Name": kind, "Type": "thing", "Said": text})

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        self.say("fine", "first")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.say("fine", "last words")


class WrongSettings(Fine):
    """Its settings in the configuration are wrong; it is all right itself."""

    section: ClassVar = "agent.topology.wrong"

    @attrs.frozen
    class Settings:
        interval: float = 1.0


class NoRun:
    """Is no probe at all."""

    roles: ClassVar = frozenset({"agent"})

    @attrs.frozen
    class Settings:
        pass


class BadRoles(Fine):
    roles: ClassVar = None  # type: ignore[assignment]


class BadPrecedence(Fine):
    precedence: ClassVar = {"Name": 5}


class BadSection(Fine):
    """Its section is where no section can be."""

    section: ClassVar = "agent.listen.bad"


class ElsewhereSection(Fine):
    """Its section has another name than the plugin, and there is something wrong in it."""

    section: ClassVar = "agent.topology.somewhere"

    @attrs.frozen
    class Settings:
        depth: int = 1


class OddSettings(Fine):
    section: ClassVar = "agent.topology.odd"

    class Settings:
        """No attrs class."""


class CrashAtStart(Fine):
    def __init__(self, settings: Fine.Settings, host: ProbeHost) -> None:
        raise OSError("the device is not there")


class CrashBeforeStarted(Fine):
    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        raise LookupError("no inventory to be had")


class CrashLater(Fine):
    error: ClassVar[BaseException] = RuntimeError("lost the thread")

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        self.say("later", "still here")
        task_status.started()
        await trio.sleep(0.05)
        raise type(self.error)(*self.error.args)


class Exits(CrashLater):
    error: ClassVar[BaseException] = SystemExit(3)


class Interrupts(CrashLater):
    error: ClassVar[BaseException] = KeyboardInterrupt("not from the keyboard")


class RaisesBare(CrashLater):
    error: ClassVar[BaseException] = BaseException("as bare as can be")


class NeverReports(Fine):
    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()


class Finishes(Fine):
    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        self.say("finished", "all there was")
        task_status.started()


class Blocks(Fine):
    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        time.sleep(1.5)  # noqa: ASYNC251 that is what it is for
        await trio.sleep_forever()


class Shields(Fine):
    """Does not end when it is cancelled: waits where no cancellation reaches it."""

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        self.say("shielding", "here")
        task_status.started()
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


class Swallows(Fine):
    """Does not end when it is cancelled: takes every cancellation for a passing error."""

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        self.say("swallowing", "here")
        task_status.started()
        while True:
            try:
                await trio.sleep(60)
            except BaseException:
                pass
