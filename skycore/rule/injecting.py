"""Injections of one analyzer: resolved when they are made, ordered once from the agents, and followed to their end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, cast, final

import attrs
import msgspec
import structlog
import trio

from skycore.errors import GremlinError, InjectionError, InvalidResource, Refusal
from skycore.graph.element import Revision
from skycore.gremlin import ElementsResult, QueryContext, run
from skycore.injection.order import Inject, Injected, Injection, Withdraw
from skycore.resource.api import ResourceApi
from skycore.resource.contract import ResourceStore
from skycore.resource.kind import Kind, Value
from skycore.rule.injection import KIND, InjectionPolicy
from skycore.rule.resolving import Metadata, resolve

log = structlog.get_logger(__name__)

_ANSWER_TIME: Final = 10.0
"""Seconds that a new injection waits for the first word of its agents."""
_IDS: Final = 256
"""Identifiers of flows that are remembered of one injection."""
_MINUTE: Final = 60.0

NOTIFICATIONS: Final = "OnDemandPacketInjectionNotification"
"""Namespace of the messages that tell subscribers."""
Notify = Callable[[str, str, bytes], None]
"""Told the namespace, ``Added``, ``Deleted`` or ``NodeUpdated``, and the object as the API gives it."""


class Agents(Protocol):
    """The agents that are linked to this analyzer."""

    on_report: Callable[[str, Injected], None]
    on_lost: Callable[[str], None]

    def send(self, origin: str, message: Inject | Withdraw) -> None:
        """Raises InjectionError when the agent is not there."""
        ...


@final
@attrs.define(eq=False)
class _OnNode:
    """An injection on one node, as its agent told last."""

    origin: str
    state: str = "active"
    count: int = 0
    reason: str = ""
    heard: bool = False


@final
@attrs.define(eq=False)
class _Job:
    nodes: dict[str, _OnNode]
    tracking: dict[str, None] = attrs.field(factory=dict)
    l3: dict[str, None] = attrs.field(factory=dict)
    answered: trio.Event = attrs.field(factory=trio.Event)

    @property
    def active(self) -> bool:
        return any(one.state == "active" for one in self.nodes.values())

    def shown(self) -> dict[str, Any]:
        """What the API shows besides the object."""
        return {
            # As Skydive's clients of earlier versions look for it.
            "TrackingID": next(iter(self.tracking), ""),
            "TrackingIDs": list(self.tracking),
            "L3TrackingIDs": list(self.l3),
            "Nodes": [
                {
                    "NodeID": node,
                    "State": one.state,
                    "PacketCount": one.count,
                    **({"Error": one.reason} if one.reason else {}),
                }
                for node, one in self.nodes.items()
            ],
        }


@final
class InjectionApi:
    """Implements skycore.resource.api.ObjectApi: what is created is sent; what is deleted, or expires, ends.

    An injection is carried out once, by the agents that are linked when it is made: one that an analyzer finds in its
    store at its start is shown, and not sent again.
    """

    def __init__(
        self,
        store: ResourceStore,
        kind: Kind,
        queries: QueryContext,
        agents: Agents,
        policy: InjectionPolicy,
    ) -> None:
        self._kind = kind
        self._objects = ResourceApi(store, kind)
        self._queries = queries
        self._agents = agents
        self._policy = policy
        self._watch = store.watch(KIND)
        self._jobs: dict[str, _Job] = {}
        self._made: deque[float] = deque()
        self.notify: Notify = lambda _namespace, _type, _object: None
        self.name = kind.name
        self.title = kind.title
        self.packets = 0
        """Sent by agents, as far as they told."""
        agents.on_report = self._report
        agents.on_lost = self._lost

    # ------------------------------------------------------------------ what users do

    def list(self) -> Mapping[str, Any]:
        return {id: self._shown(id, raw) for id, raw in self._objects.list().items()}

    def get(self, id: str) -> Any:
        return self._shown(id, self._objects.get(id))

    async def create(self, body: object, *, ttl: str | None = None) -> Any:
        """Send packets.  Returns when each agent has sent the first, or said why it cannot; raises when none can."""
        value = self._kind.read(body, "")
        self._admit()
        sources, target = await self._nodes(value)
        found = await self._resolved(value, sources, target)
        # It may have been looked for while others were made.
        self._admit()
        self._made.append(time.monotonic())
        made = await self._objects.create(body, ttl=ttl)
        uuid = str(msgspec.json.decode(made)["UUID"])
        job = self._jobs[uuid] = _Job({source.id: _OnNode(source.origin) for source in sources})
        try:
            await self._begin(uuid, job, found)
        except InvalidResource:
            del self._jobs[uuid]
            await self._objects.delete(uuid)
            raise
        shown = self._shown(uuid, made)
        self._tell("Added", shown)
        return shown

    async def patch(self, id: str, operations: object) -> Any:
        return await self._objects.patch(id, operations)

    async def delete(self, id: str) -> None:
        await self._objects.delete(id)

    def status(self) -> dict[str, Any]:
        """What status shows besides ``IsMaster``."""
        return {"Active": sum(job.active for job in self._jobs.values()), "PacketsSent": self.packets}

    # ------------------------------------------------------------------ running

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """End what is deleted or expires, until cancelled."""
        task_status.started()
        try:
            while True:
                await self._watch.wait()
                for event in self._watch.read():
                    if event.action in ("deleted", "expired"):
                        self._end(event.resource.id, event.resource.json)
        finally:
            self._watch.close()

    def _end(self, uuid: str, json: bytes) -> None:
        job = self._jobs.pop(uuid, None)
        if job is None:
            return
        for origin in {one.origin for one in job.nodes.values() if one.state == "active"}:
            try:
                self._agents.send(origin, Withdraw(uuid))
            except InjectionError as error:
                log.warning("an injection could not be withdrawn", uuid=uuid, origin=origin, error=str(error))
        self._tell("Deleted", {**msgspec.json.decode(json), **job.shown()})

    def _admit(self) -> None:
        policy, now = self._policy, time.monotonic()
        while self._made and self._made[0] < now - _MINUTE:
            self._made.popleft()
        if len(self._made) >= policy.max_per_minute:
            wait = max(1, round(self._made[0] + _MINUTE - now))
            raise Refusal(
                429,
                f"{policy.max_per_minute} injections were made within a minute "
                "(key analyzer.injection.max_per_minute); try again later",
                (("Retry-After", str(wait)),),
            )
        if sum(job.active for job in self._jobs.values()) >= policy.max_active:
            raise Refusal(
                429,
                f"{policy.max_active} injections run already (key analyzer.injection.max_active); "
                "wait until one ends, or delete one",
            )

    async def _nodes(self, value: Value) -> tuple[Sequence[Revision], Metadata | None]:
        sources = {str(one.metadata().get("TID") or one.id): one for one in await self._ask("Src", value["Src"])}
        if not sources:
            raise InvalidResource(f"Not able to find a source node for '{value['Src']}'")
        if len(sources) > self._policy.max_nodes:
            raise InvalidResource(
                f"Src: selects {len(sources)} nodes, packets are sent from {self._policy.max_nodes} at most "
                "(key analyzer.injection.max_nodes)"
            )
        for one in sources.values():
            name = one.metadata().get("Name", one.id)
            if not one.origin.startswith("agent."):
                raise InvalidResource(f"Src: node {name} is no agent's; nobody can send from it")
            if not isinstance(one.metadata().get("IfIndex"), int):
                raise InvalidResource(f"Src: node {name} is no interface: packets cannot be sent from it")
        targets = await self._ask("Dst", value["Dst"]) if value["Dst"] else ()
        return list(sources.values()), targets[0].metadata() if targets else None

    async def _ask(self, field: str, query: str) -> Sequence[Revision]:
        try:
            return cast("ElementsResult", await run(query, self._queries)).elements
        except GremlinError as error:
            raise InvalidResource(f"{field}: {error}") from error

    async def _resolved(
        self, value: Value, sources: Sequence[Revision], target: Metadata | None
    ) -> Sequence[tuple[str, Injection]]:
        """What each node sends.  Looked up among others are only addresses whose MAC the source does not know."""
        known: dict[str, Sequence[Metadata]] = {}
        missing: list[str] = []

        def owners(address: str) -> Sequence[Metadata]:
            if address not in known:
                missing.append(address)
            return known.get(address, ())

        metadata = [source.metadata() for source in sources]
        while True:
            try:
                found = resolve(value, "-", metadata, target, refused=self._policy.refused_networks, owners=owners)
                return [(source.id, one) for source, one in zip(sources, found, strict=True)]
            except InvalidResource:
                if not missing:
                    raise
            for address in missing:
                family = "IPV6" if ":" in address else "IPV4"
                known[address] = [
                    one.metadata() for one in await self._ask("Dst", f"G.V().Has('{family}', '{address}')")
                ]
            missing.clear()

    async def _begin(self, uuid: str, job: _Job, found: Sequence[tuple[str, Injection]]) -> None:
        for node, one in found:
            on_node = job.nodes[node]
            try:
                self._agents.send(on_node.origin, Inject(msgspec.structs.replace(one, UUID=uuid), node))
            except InjectionError as error:
                self._set(uuid, job, node, Injected(uuid, node, "error", reason=str(error)))
        with trio.move_on_after(_ANSWER_TIME):
            await job.answered.wait()
        if all(one.state == "error" and not one.count for one in job.nodes.values()):
            reasons = {one.reason: None for one in job.nodes.values()}
            raise InvalidResource(f"nothing was sent: {'; '.join(reasons)}")

    # ------------------------------------------------------------------ what agents tell

    def _report(self, origin: str, report: Injected) -> None:
        job = self._jobs.get(report.uuid)
        if job is not None and report.node in job.nodes and job.nodes[report.node].origin == origin:
            self._set(report.uuid, job, report.node, report)

    def _set(self, uuid: str, job: _Job, node: str, report: Injected) -> None:
        on_node = job.nodes[node]
        before = on_node.state, on_node.heard
        self.packets += max(0, report.count - on_node.count)
        on_node.count = max(on_node.count, report.count)
        on_node.state, on_node.reason, on_node.heard = report.state, report.reason, True
        for ids, more in ((job.tracking, report.tracking), (job.l3, report.l3)):
            for id in more[: _IDS - len(ids)]:
                ids[id] = None
        if all(one.heard for one in job.nodes.values()):
            job.answered.set()
        if before != (on_node.state, True):
            self._tell_changed(uuid)

    def _lost(self, origin: str) -> None:
        for uuid, job in self._jobs.items():
            for node, one in job.nodes.items():
                if one.origin == origin and one.state == "active":
                    self._set(uuid, job, node, Injected(uuid, node, "error", reason="the link to the agent was lost"))

    def _tell_changed(self, uuid: str) -> None:
        raw = self._objects.list().get(uuid)
        if raw is not None:
            self._tell("NodeUpdated", self._shown(uuid, raw))

    def _tell(self, type: str, shown: Any) -> None:
        self.notify(NOTIFICATIONS, type, msgspec.json.encode(shown))

    def _shown(self, id: str, raw: Any) -> Any:
        job = self._jobs.get(id)
        return raw if job is None else {**msgspec.json.decode(raw), **job.shown()}
