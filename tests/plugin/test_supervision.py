"""The life of one plugin: what becomes of it, and of what it said, when it crashes, ends or does not end."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio

from skycore.bus import Cursor
from skycore.errors import ClaimError, HandleClosed
from skycore.graph.element import Revision
from skycore.plugin import Equals, Key, ProbeHost
from skycore.plugin.host import wanted
from skycore.plugin.supervision import Report, RestartPolicy, Supervisor
from skycore.testing.probes import run_probes
from tests.plugin.running import probe

Install = Callable[..., None]
QUICK = RestartPolicy(first=0.01, ceiling=0.02, patience=0.2)


def thing(name: str) -> Key:
    return Key("thing", name)


def say(host: ProbeHost, name: str, scope: str = "", **metadata: Any) -> None:
    host.graph.put(thing(name), {"Name": name, "Type": "thing", **metadata}, scope=scope)


def changes(cursor: Cursor[Revision]) -> list[tuple[str, str]]:
    """(what happened, name) of each change since the last call."""
    return [
        ("deleted" if change.deleted_at else "changed", change.metadata()["Name"]) for change in cursor.read().changes
    ]


async def test_after_a_crash_the_next_run_takes_over_what_the_last_one_said(install: Install) -> None:
    crash, snapshot, start = trio.Event(), trio.Event(), trio.Event()
    runs: list[ProbeHost] = []

    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        runs.append(host)
        if len(runs) == 1:
            with host.graph.snapshot("seen"):
                say(host, "kept", "seen")
                say(host, "gone", "seen")
            say(host, "old", "other")
            task_status.started()
            await crash.wait()
            raise OSError("the source broke off")
        await snapshot.wait()
        with host.graph.snapshot("seen"):
            say(host, "kept", "seen")
            say(host, "new", "seen")
        await start.wait()
        task_status.started()
        await trio.sleep_forever()

    install(crashing=probe(run))
    async with run_probes({"crashing": {}}, policy=QUICK) as lab:
        origin = lab.graph.origin
        log = lab.graph.log.cursor(every=True)
        kept = lab.nodes(Name="kept")
        assert lab.report("crashing").state == "running"
        crash.set()
        await lab.until(lambda: len(runs) == 2)
        report = lab.report("crashing")
        assert (report.state, report.restarts, report.error) == ("starting", 1, "OSError: the source broke off")
        assert lab.graph.stale[origin, "crashing"].reason == "OSError: the source broke off"
        assert all(lab.graph.is_stale(node) for node in lab.graph.nodes.values() if "crashing" in node.owners)
        with pytest.raises(HandleClosed, match="'crashing' was stopped"):
            runs[0].graph.put(thing("ghost"), {"Name": "ghost"})
        assert changes(log) == []

        snapshot.set()
        await lab.until(lambda: lab.nodes(Name="new"))
        assert changes(log) == [("deleted", "gone"), ("changed", "new")]
        assert lab.nodes(Name="kept") == kept
        assert lab.nodes(Name="old")
        assert (origin, "crashing") not in lab.graph.stale
        assert report.state == "starting"

        start.set()
        await lab.until(lambda: report.state == "running")
        assert changes(log) == [("deleted", "old")]
        assert lab.nodes(Name="kept") == kept
        assert report.error is None


@pytest.mark.parametrize(
    "error",
    [SystemExit(1), KeyboardInterrupt(), BaseException("bare"), GeneratorExit(), ExceptionGroup("g", [OSError()])],
)
@pytest.mark.parametrize("when", ["constructor", "start", "later"])
async def test_whatever_a_plugin_raises_is_its_own_crash(install: Install, error: BaseException, when: str) -> None:
    count = 0

    def fail() -> None:
        nonlocal count
        count += 1
        if count <= 2:
            raise error

    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        if when == "start":
            fail()
        task_status.started()
        await trio.lowlevel.checkpoint()
        if when == "later":
            fail()
        await trio.sleep_forever()

    class Fragile(probe(run)):  # type: ignore[misc]
        def __init__(self, settings: object, host: ProbeHost) -> None:
            super().__init__(settings, host)
            if when == "constructor":
                fail()

    async def stay(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()

    install(fragile=Fragile, other=probe(stay))
    async with run_probes({"fragile": {}, "other": {}}, policy=QUICK) as lab:
        report = lab.report("fragile")
        await lab.until(lambda: report.restarts == 2 and report.state == "running")
        await lab.until(lambda: count == 3)
        assert lab.report("other").state == "running"
        assert lab.report("other").restarts == 0


async def test_pauses_double_up_to_the_ceiling_and_begin_anew_after_a_calm_run(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began: list[float] = []
    enough = trio.Event()

    async def run(task_status: trio.TaskStatus[None]) -> None:
        began.append(trio.current_time())
        if len(began) == 10:
            enough.set()
        task_status.started()
        await trio.sleep(100 if len(began) == 8 else 0)
        raise RuntimeError

    supervisor = Supervisor(
        Report("x"),
        begin=lambda: run,
        settled=lambda: None,
        ended=lambda _: None,
        policy=RestartPolicy(first=1.0, ceiling=8.0, calm=60.0),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await enough.wait()
        nursery.cancel_scope.cancel()
    pauses = [after - before for before, after in pairwise(began)]
    for pause, wanted_pause in zip(pauses, [1, 2, 4, 8, 8, 8, 8, 101, 2], strict=True):
        jitter = (wanted_pause - 100 if wanted_pause > 100 else wanted_pause) * 0.25
        assert abs(pause - wanted_pause) <= jitter + 1e-6


async def test_a_run_that_ends_without_saying_that_it_started_is_a_crash(install: Install) -> None:
    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()

    install(mute=probe(run))
    async with run_probes({"mute": {}}, policy=QUICK) as lab:
        report = lab.report("mute")
        await lab.until(lambda: report.restarts >= 2)
        assert report.error == "RuntimeError: child exited without calling task_status.started()"


async def test_a_run_that_ends_after_it_started_has_finished_and_its_claims_stay(install: Install) -> None:
    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        say(host, "left")
        host.graph.join((Equals("Type", "host"), ["Type"]), (Equals("Type", "host"), ["Type"]), "same")
        task_status.started()

    install(brief=probe(run))
    async with run_probes({"brief": {}}, policy=QUICK) as lab:
        report = lab.report("brief")
        await lab.until(lambda: report.state == "finished")
        await trio.sleep(0.1)
        assert (report.state, report.restarts, report.error) == ("finished", 0, None)
        assert lab.nodes(Name="left")
        assert not lab.graph.stale
        assert await lab.host.stop() == []
        assert report.state == "finished"


async def test_a_run_that_ends_quietly_when_it_is_cancelled_was_stopped_and_has_not_finished(install: Install) -> None:
    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        with trio.CancelScope(shield=True) as scope:
            scope.cancel()
            await trio.sleep_forever()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return

    install(quiet=probe(run))
    async with run_probes({"quiet": {}}, policy=QUICK) as lab:
        assert await lab.host.stop() == []
        assert lab.report("quiet").state == "stopped"


@asynccontextmanager
async def freeing(event: trio.Event) -> AsyncIterator[None]:
    """Let a stuck plugin go at the end: nothing else can end it, and a test cannot leave by os._exit."""
    try:
        yield
    finally:
        event.set()


@pytest.mark.parametrize("kind", ["shields", "swallows"])
async def test_what_does_not_end_when_it_is_cancelled_is_stuck(install: Install, kind: str) -> None:
    free = trio.Event()
    hosts: list[ProbeHost] = []

    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        hosts.append(host)
        say(host, "said")
        view = host.graph.view()
        views.append(view)
        task_status.started()
        if kind == "shields":
            with trio.CancelScope(shield=True):
                await free.wait()
        while not free.is_set():
            try:
                await trio.sleep(60)
            except BaseException:
                pass

    async def stay(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        say(host, "other")
        task_status.started()
        await trio.sleep_forever()

    views: list[Any] = []
    install(stubborn=probe(run), other=probe(stay))
    async with freeing(free), run_probes({"stubborn": {}, "other": {}}, policy=QUICK) as lab:
        async with freeing(free):
            began = trio.current_time()
            assert await lab.host.stop() == ["stubborn"]
            assert 0.2 <= trio.current_time() - began < 2.0
            report = lab.report("stubborn")
            assert report.state == "stuck"
            assert report.error == "still running 0.2 s after it was asked to stop"
            assert lab.report("other").state == "stopped"
            assert not lab.nodes(Name="said")
            assert lab.nodes(Name="other"), "the process leaves: what the others said stays for the next one"
            (host,) = hosts
            graph, key = host.graph, thing("late")
            calls: list[Callable[[], object]] = [
                lambda: graph.put(key, {}),
                lambda: graph.annotate(key, {}),
                lambda: graph.drop(key),
                lambda: graph.link(host.root, key, "ownership"),
                lambda: graph.unlink(host.root, key, "ownership"),
                lambda: graph.snapshot().__enter__(),
                lambda: graph.transaction().__enter__(),
                graph.view,
                lambda: graph.join((Equals("a", 1), ["a"]), (Equals("a", 1), ["a"]), "x"),
                views[0].all,
                views[0].find,
                lambda: host.children("other", host.namespace),
                lambda: host.status(x=1),
                lambda: host.stale("gone"),
            ]
            for call in calls:
                with pytest.raises(HandleClosed):
                    call()
            with pytest.raises(HandleClosed):
                await views[0].changed()
        await trio.sleep(0.1)
        assert len(hosts) == 1, "never started again"
        assert report.state == "stuck"


async def test_a_crash_while_stopping_is_no_reason_to_start_again(install: Install) -> None:
    runs = 0

    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        nonlocal runs
        runs += 1
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("cannot even end")

    install(clumsy=probe(run))
    async with run_probes({"clumsy": {}}, policy=QUICK) as lab:
        assert await lab.host.stop() == []
        assert (lab.report("clumsy").state, runs) == ("stopped", 1)


async def test_stopped_while_it_waits_to_be_started_again(install: Install) -> None:
    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        raise OSError

    install(broken=probe(run))
    async with run_probes({"broken": {}}, policy=RestartPolicy(first=1000)) as lab:
        assert lab.report("broken").state == "crashed"
        with trio.fail_after(2):
            assert await lab.host.stop() == []
        assert lab.report("broken").state == "stopped"


async def test_a_plugin_that_blocks_the_loop_is_named(install: Install) -> None:
    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        time.sleep(1.3)  # noqa: ASYNC251
        await trio.sleep_forever()

    # The watchdog goes by the module that a plugin's class lies in.
    install(blocking=probe(run, __module__=__name__), other=probe(run_quietly, __module__="elsewhere"))
    async with run_probes({"blocking": {}, "other": {}}, policy=QUICK) as lab:
        report = lab.report("blocking")
        await lab.until(lambda: report.blocked == 1)
        assert 1.0 <= report.blocked_longest < 4.0
        assert report.state == "running"
        assert lab.report("other").blocked == 0


async def run_quietly(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


async def test_status_fields(install: Install) -> None:
    hosts: list[ProbeHost] = []

    async def run(host: ProbeHost, task_status: trio.TaskStatus[None]) -> None:
        hosts.append(host)
        await run_quietly(host, task_status)

    install(telling=probe(run))
    async with run_probes({"telling": {}}) as lab:
        (host,) = hosts
        fields = lab.report("telling").fields
        values = [1]
        host.status(a=values, b="x")
        values.append(2)
        assert fields == {"a": [1], "b": "x"}
        host.status(a=None, c=True, d=None)
        assert fields == {"b": "x", "c": True}
        bad: list[Any] = [object(), math.nan, "\ud800", {1: 2}, "x" * (5 << 20), 1 << 70]
        for value in bad:
            with pytest.raises(ClaimError):
                host.status(fine=1, bad=value)
        assert fields == {"b": "x", "c": True}, "nothing of a refused call is kept"
        host.stale("the source is away")
        assert lab.graph.stale[lab.graph.origin, "telling"].reason == "the source is away"
        host.stale(None)
        assert not lab.graph.stale


def test_which_probes_are_wanted(install: Install) -> None:
    cls = probe(run_quietly)
    install(netlink=cls, netns=cls, alpha=cls)
    assert wanted([], "agent") == ["netlink", "netns"]
    assert wanted([], "analyzer") == []
    assert wanted(["alpha"], "agent") == ["netlink", "netns", "alpha"]
    assert wanted(["alpha"], "analyzer") == ["alpha"]
    assert wanted(["netns", "alpha", "netlink", "alpha"], "agent") == ["netlink", "netns", "alpha"]
    assert wanted(["absent", "alpha"], "analyzer") == ["absent", "alpha"]
    assert wanted(["-netlink", "alpha"], "agent") == ["netns", "alpha"]
    assert wanted(["netlink", "-netlink", "-netns"], "agent") == []
    assert wanted(["-absent"], "agent") == ["netlink", "netns"]
    assert wanted([], "agent", implied=["ghost"]) == [], "what is implied and not installed is not missed"
