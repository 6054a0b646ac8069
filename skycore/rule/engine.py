"""Keeps what rules say in line with the rules that there are and with the graph as it changes.

One task does everything: it waits until the graph or the rules change, lets changes gather for a moment, finds out
which selections are others now, and has the rules concerned bring their claims in line.  What rules change may concern
rules again; that is followed at once, up to a depth that only rules reach which chase themselves in a circle (one that
gives a node the key whose absence it asks for, say).  Those are stopped, taken back, and named in status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Final, final

import attrs
import structlog
import trio

from skycore.errors import GremlinError
from skycore.graph.graph import Graph
from skycore.gremlin import QueryContext
from skycore.gremlin.operation import chunks
from skycore.resource.contract import Resource, ResourceStore
from skycore.rule import precedence
from skycore.rule.rules import CreateNode, LinkFirst, Rule, UpdateNodes, UserMetadata, UserMetadataOfNodes
from skycore.rule.selection import Delta, Selection, Selections

log = structlog.get_logger(__name__)

KINDS: Final = ("noderule", "edgerule", "usermetadata")
_GATHER: Final = 0.02
"""Seconds in which changes gather before rules look at them."""
_DEEPEST: Final = 32
_PART: Final = 512
_SHOWN: Final = 100


@final
@attrs.define(eq=False)
class _Active:
    """A rule, and how it is."""

    rule: Rule
    started: bool = False
    error: str | None = None


@final
class RuleEngine:
    """All rules of one analyzer.

    Make it when the graph is restored, call ``settle`` before agents are let in, and start ``run`` then.
    """

    def __init__(self, graph: Graph, store: ResourceStore, queries: QueryContext) -> None:
        self._graph = graph
        self._store = store
        self._selections = Selections(graph, queries)
        self._watch = store.watch(*KINDS)
        self._user_metadata = UserMetadataOfNodes(graph)
        self._active: dict[str, _Active] = {}
        self._broken: dict[str, tuple[Resource, str]] = {}
        self._turn = trio.Lock()
        for kind in KINDS:
            for resource in store.list(kind).values():
                self._begin(resource)

    def due(self) -> float | None:
        """When (trio's clock) a query that has to be asked again may be, None when none has to be."""
        return self._selections.due()

    async def settle(self) -> None:
        """Bring everything in line now, but for queries that may not be asked again yet."""
        async with self._turn:
            self._take_events()
            await self._settle()
        if self._store.fault is not None:
            # What rules said is kept as history has it, until it is known again which rules there are.
            return
        for name in [name for name in self._graph.claimants if name.startswith(precedence.RULE)]:
            if name.removeprefix(precedence.RULE) not in self._active:
                self._graph.claimants.pop(name).withdraw()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow graph and rules until cancelled."""
        task_status.started()
        try:
            while True:
                await self._wait()
                await trio.sleep(_GATHER)
                async with self._turn:
                    self._take_events()
                    await self._settle()
        finally:
            self._watch.close()
            self._selections.close()

    def status(self) -> dict[str, Any]:
        """What status shows: how each rule is, and which user metadata does not count."""
        shown = list(chain(map(_report, self._active.values()), (_broken(*one) for one in self._broken.values())))
        return {
            "Error": self._store.fault,
            "Count": len(shown),
            "Rules": shown[:_SHOWN],
            "Overridden": [
                {"ID": one.node, "Key": f"UserMetadata.{one.key}", "Kept": one.kept, "Ignored": one.ignored}
                for _, one in zip(range(_SHOWN), self._user_metadata.overridden(), strict=False)
            ],
        }

    # ------------------------------------------------------------------ rules that come and go

    def _take_events(self) -> None:
        events = self._watch.read()
        for event in events:
            if event.action in ("deleted", "expired", "updated"):
                self._end(event.resource.id)
            if event.action in ("created", "updated") and event.resource.id not in self._active:
                self._begin(event.resource)
        if events:
            # What was chasing itself may find an end among other rules.
            for active in [active for active in self._active.values() if active.error is not None]:
                self._end(active.rule.resource.id)
                self._begin(active.rule.resource)

    def _begin(self, resource: Resource) -> None:
        try:
            self._active[resource.id] = _Active(self._rule(resource))
        except GremlinError as error:
            # Its query was one when it was made: a plugin with the step may be gone.
            self._broken[resource.id] = (resource, str(error))
            log.error("a rule cannot be carried out", kind=resource.kind, uuid=resource.id, error=str(error))

    def _rule(self, resource: Resource) -> Rule:
        value, graph, hold = resource.value, self._graph, self._selections.hold
        match resource.kind, value.get("Action"):
            case "noderule", "create":
                return CreateNode(graph, resource)
            case "noderule", _:
                return UpdateNodes(graph, resource, hold(value["Query"]))
            case "edgerule", _:
                source = hold(value["Src"])
                try:
                    return LinkFirst(graph, resource, source, hold(value["Dst"]))
                except GremlinError:
                    self._selections.let_go(source)
                    raise
        return UserMetadata(resource, hold(value["GremlinQuery"]), self._user_metadata)

    def _end(self, id: str) -> None:
        self._broken.pop(id, None)
        active = self._active.pop(id, None)
        if active is None:
            return
        with self._graph.transaction():
            active.rule.withdraw()
        for selection in active.rule.selections:
            self._selections.let_go(selection)

    # ------------------------------------------------------------------ keeping in line

    async def _wait(self) -> None:
        """Return when there may be something to do."""
        due = self.due()
        async with trio.open_nursery() as nursery:
            if due is not None:
                nursery.cancel_scope.deadline = due

            async def wait(for_something: Callable[[], Any]) -> None:
                await for_something()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait, self._selections.cursor.wait)
            nursery.start_soon(wait, self._selections.stale_cursor.wait)
            nursery.start_soon(wait, self._watch.wait)

    async def _settle(self) -> None:
        selections = self._selections
        while True:
            await trio.lowlevel.checkpoint()
            selections.refresh(0)
            await selections.ask()
            selections.refresh(0)
            deltas = [(one, delta) for one in selections if (delta := one.take()) is not None]
            fresh = [
                active
                for active in self._active.values()
                if not active.started and all(one.known for one in active.rule.selections)
            ]
            if not deltas and not fresh:
                return
            for active in fresh:
                active.started = True
                everything = active.rule.selections[0].ids if active.rule.selections else ()
                await self._update(active, Delta(frozenset(everything), frozenset(), 0))
            for selection, delta in deltas:
                await self._pass_on(selection, delta, fresh)

    async def _pass_on(self, selection: Selection, delta: Delta, fresh: Iterable[_Active]) -> None:
        """Have the rules that use a selection follow it."""
        concerned = [
            active
            for active in self._active.values()
            if selection in active.rule.selections and active.started and active.error is None and active not in fresh
        ]
        for active in concerned:
            if delta.depth > _DEEPEST + len(self._active):
                self._stop(active)
            else:
                await self._update(active, delta)

    async def _update(self, active: _Active, delta: Delta) -> None:
        rule = active.rule
        if not rule.each:
            self._claim(rule, delta.added, delta.removed, delta.depth)
            return
        for part in chunks(delta.removed, _PART):
            self._claim(rule, (), part, delta.depth)
            await trio.lowlevel.checkpoint()
        for part in chunks(delta.added, _PART):
            self._claim(rule, part, (), delta.depth)
            await trio.lowlevel.checkpoint()

    def _claim(self, rule: Rule, added: Iterable[str], removed: Iterable[str], depth: int) -> None:
        # What others changed until now is no consequence of this rule.
        self._selections.refresh(0)
        with self._graph.transaction():
            rule.update(tuple(added), tuple(removed))
        self._selections.refresh(depth + 1)

    def _stop(self, active: _Active) -> None:
        active.error = "stopped: what this rule changes makes it, alone or with other rules, change it back"
        log.error("a rule was stopped", uuid=active.rule.resource.id, error=active.error)
        self._selections.refresh(0)
        with self._graph.transaction():
            active.rule.withdraw()
        self._selections.refresh(0)


def _report(active: _Active) -> dict[str, Any]:
    rule = active.rule
    error = active.error or next((one.error for one in rule.selections if one.error), None)
    return {
        "UUID": rule.resource.id,
        "Kind": rule.resource.kind,
        "State": "active" if error is None else "stopped" if active.error else "failing",
        "Error": error,
        "Selected": [len(selection.ids) for selection in rule.selections],
        "Asked": [selection.asked for selection in rule.selections],
    }


def _broken(resource: Resource, error: str) -> dict[str, Any]:
    return {
        "UUID": resource.id,
        "Kind": resource.kind,
        "State": "failing",
        "Error": error,
        "Selected": [],
        "Asked": [],
    }
