"""Who watches captures is told when one is made or ends, and when its state on a node becomes another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, final

import msgspec
import trio

from skycore.errors import ResourceNotFound
from skycore.graph.element import Revision
from skycore.graph.graph import Graph
from skycore.resource.contract import ResourceStore
from skycore.rule.capture import KIND
from skycore.rule.capturing import CaptureApi

NAMESPACE: Final = "OnDemandCaptureNotification"
_GATHER: Final = 0.05
"""Seconds in which changes gather."""

_encode = msgspec.json.Encoder().encode


@final
class CaptureNotices:
    """Calls ``notify`` with namespace, type (Added, Deleted, NodeUpdated) and the capture as JSON."""

    def __init__(
        self, graph: Graph, store: ResourceStore, captures: CaptureApi, notify: Callable[[str, str, bytes], None]
    ) -> None:
        self._graph = graph
        self._store = store
        self._captures = captures
        self._notify = notify
        self._watch = store.watch(KIND)
        self._cursor = graph.log.cursor()
        self._states: dict[str, Mapping[str, str]] = {}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow captures and graph until cancelled."""
        try:
            self._states = {id: states for id, node in self._graph.nodes.items() if (states := _states(node))}
            self._cursor.read()
            task_status.started()
            while True:
                self._tell_events()
                self._tell_nodes()
                await self._wait()
                await trio.sleep(_GATHER)
        finally:
            self._watch.close()
            self._cursor.close()

    async def _wait(self) -> None:
        async with trio.open_nursery() as nursery:

            async def wait(for_something: Callable[[], Any]) -> None:
                await for_something()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait, self._watch.wait)
            if self._states or self._store.list(KIND):
                nursery.start_soon(wait, self._cursor.wait)

    def _tell_events(self) -> None:
        for event in self._watch.read():
            if event.action == "created":
                self._notify(NAMESPACE, "Added", self._object(event.resource.id) or event.resource.json)
            elif event.action in ("deleted", "expired"):
                self._notify(NAMESPACE, "Deleted", event.resource.json)

    def _tell_nodes(self) -> None:
        others: dict[str, None] = {}
        for revision in self._cursor.read().changes:
            if revision.parent is not None:
                continue
            before = self._states.get(revision.id, {})
            now = _states(revision)
            if now != before:
                others.update(dict.fromkeys(id for id in {**before, **now} if before.get(id) != now.get(id)))
            if now:
                self._states[revision.id] = now
            else:
                self._states.pop(revision.id, None)
        for id in others:
            # One that was deleted has been told of already.
            if (obj := self._object(id)) is not None:
                self._notify(NAMESPACE, "NodeUpdated", obj)

    def _object(self, id: str) -> bytes | None:
        try:
            return _encode(self._captures.get(id))
        except ResourceNotFound:
            return None


def _states(revision: Revision) -> Mapping[str, str]:
    """State by capture, on a node as it is now."""
    if revision.deleted_at is not None or b'"Captures"' not in revision.metadata_json:
        return {}
    entries = revision.metadata().get("Captures")
    found = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return {str(entry.get("ID")): str(entry.get("State")) for entry in found}
