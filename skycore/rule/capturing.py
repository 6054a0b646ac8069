"""Which captures are wanted on which nodes of which agent, followed as captures and graph change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

import attrs
import msgspec
import structlog
import trio

from skycore.errors import DuplicatedResource, GremlinError, InvalidResource, StorageError
from skycore.flow.order import CaptureOrder
from skycore.flow.spec import NODES, CaptureSpec
from skycore.graph.graph import Graph
from skycore.gremlin import QueryContext
from skycore.resource.api import ResourceApi
from skycore.resource.contract import Resource, ResourceStore
from skycore.rule.capture import KIND
from skycore.rule.selection import Selection, Selections

log = structlog.get_logger(__name__)

_GATHER: Final = 0.05
"""Seconds in which changes gather before agents are told."""

_spec = msgspec.json.Decoder(CaptureSpec).decode


@final
@attrs.define(eq=False)
class _Active:
    spec: CaptureSpec
    selection: Selection
    nodes: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    """IDs of the nodes to capture, by the origin of the agent that has them."""


@final
class CaptureEngine:
    """All captures of one analyzer.  ``changed`` is set, and another put in its place, when orders are others."""

    def __init__(self, graph: Graph, store: ResourceStore, queries: QueryContext) -> None:
        self._graph = graph
        self._store = store
        self._selections = Selections(graph, queries)
        self._watch = store.watch(KIND)
        self._active: dict[str, _Active] = {}
        self._broken: dict[str, str] = {}
        self.changed = trio.Event()
        for resource in store.list(KIND).values():
            self._begin(resource)

    def of(self, origin: str) -> Sequence[CaptureOrder]:
        """What an agent is to capture."""
        return [
            CaptureOrder(active.spec, list(active.nodes[origin]))
            for active in self._active.values()
            if origin in active.nodes
        ]

    def count(self, uuid: str) -> int:
        """Captures, of whatever kind, that are active on the nodes of this one."""
        active = self._active.get(uuid)
        if active is None:
            return 0
        found = 0
        for id in active.selection.ids:
            revision = self._graph.nodes.get(id)
            if revision is not None and b'"Captures"' in revision.metadata_json:
                entries = revision.metadata().get("Captures")
                found += sum(_is_active(entry) for entry in entries) if isinstance(entries, list) else 0
        return found

    def status(self) -> dict[str, Any]:
        """What status shows besides ``IsMaster``."""
        return {
            "Count": len(self._active) + len(self._broken),
            "Nodes": sum(len(nodes) for active in self._active.values() for nodes in active.nodes.values()),
            "Failing": {
                **self._broken,
                **{uuid: one.selection.error for uuid, one in self._active.items() if one.selection.error},
            },
        }

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow captures and graph until cancelled; started when it is known what is wanted."""
        try:
            await self._settle()
            task_status.started()
            while True:
                await self._wait()
                await trio.sleep(_GATHER)
                await self._settle()
        finally:
            self._watch.close()
            self._selections.close()

    async def _wait(self) -> None:
        due = self._selections.due()
        async with trio.open_nursery() as nursery:
            if due is not None:
                nursery.cancel_scope.deadline = due

            async def wait(for_something: Callable[[], Any]) -> None:
                await for_something()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait, self._watch.wait)
            nursery.start_soon(wait, self._selections.cursor.wait)
            nursery.start_soon(wait, self._selections.stale_cursor.wait)

    async def _settle(self) -> None:
        others = self._take_events()
        self._selections.refresh(0)
        await self._selections.ask()
        self._selections.refresh(0)
        touched = {selection for selection in self._selections if selection.take() is not None}
        for active in self._active.values():
            if active.selection in touched or (others and active.selection.known):
                nodes = self._by_agent(active.selection)
                others |= nodes != active.nodes
                active.nodes = nodes
        if others:
            self.changed.set()
            self.changed = trio.Event()

    def _by_agent(self, selection: Selection) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for id in sorted(selection.ids):
            revision = self._graph.nodes.get(id)
            if revision is None or not revision.origin.startswith("agent."):
                continue
            if revision.metadata().get("Type") in NODES:
                found.setdefault(revision.origin, []).append(id)
        return {origin: tuple(ids) for origin, ids in found.items()}

    def _take_events(self) -> bool:
        events = self._watch.read()
        for event in events:
            if event.action in ("deleted", "expired", "updated"):
                self._end(event.resource.id)
            if event.action in ("created", "updated"):
                self._begin(event.resource)
        return bool(events)

    def _begin(self, resource: Resource) -> None:
        if resource.id in self._active:
            return
        try:
            spec = _spec(resource.json)
            self._active[resource.id] = _Active(spec, self._selections.hold(spec.GremlinQuery))
        except (GremlinError, msgspec.DecodeError) as error:
            # It was right when it was made: a plugin with a step of its query may be gone.
            self._broken[resource.id] = str(error)
            log.error("a capture cannot be carried out", uuid=resource.id, error=str(error))

    def _end(self, id: str) -> None:
        self._broken.pop(id, None)
        active = self._active.pop(id, None)
        if active is not None:
            self._selections.let_go(active.selection)


@final
class CaptureApi:
    """Implements skycore.resource.api.ObjectApi: captures, with how many are active."""

    def __init__(self, objects: ResourceApi, engine: CaptureEngine) -> None:
        self._objects = objects
        self._engine = engine
        self.name = objects.name
        self.title = objects.title

    def list(self) -> Mapping[str, Any]:
        return {id: self._counted(id, raw) for id, raw in self._objects.list().items()}

    def get(self, id: str) -> Any:
        return self._counted(id, self._objects.get(id))

    async def create(self, body: object, *, ttl: str | None = None) -> Any:
        return await self._objects.create(body, ttl=ttl)

    async def patch(self, id: str, operations: object) -> Any:
        return await self._objects.patch(id, operations)

    async def delete(self, id: str) -> None:
        await self._objects.delete(id)

    def _counted(self, id: str, raw: Any) -> Any:
        count = self._engine.count(id)
        return raw if not count else {**msgspec.json.decode(raw), "Count": count}


async def capture_at_start(api: ResourceApi, query: str, bpf: str, type: str) -> None:
    """Make the capture of ``analyzer.startup``, unless there is one like it; what is wrong with it is logged."""
    if not query:
        return
    try:
        await api.create({"GremlinQuery": query, "BPFFilter": bpf, "Type": type, "Name": "startup"})
    except DuplicatedResource:
        return
    except (InvalidResource, StorageError) as error:
        log.error("the capture of analyzer.startup cannot be made", error=str(error))


def _is_active(entry: object) -> bool:
    return isinstance(entry, dict) and entry.get("State") == "active"
