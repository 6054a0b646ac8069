"""The probe: keeps the graph equal to what the daemon says of its running containers."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

import attrs
import trio

from skycore.plugin import Hold, Key, ProbeHost
from skydive_probe_docker.client import DockerClient, SourceLost, parse_url
from skydive_probe_docker.mapping import BadAnswer, Container, Inventory, Located, inventory

SCOPE: Final = "containers"
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
HEARTBEAT_SECONDS = 10.0
LOG_SECONDS = 60.0
_BATCH: Final = 64


@attrs.frozen
class NetnsSettings:
    """``run_path``: the folder where this agent sees the daemon's files of network namespaces."""

    run_path: str = "/var/run/docker/netns"


class _Dirty:
    """IDs of containers to ask about; bounded by the number of containers."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}
        self._any = trio.Event()

    def add(self, id: str) -> None:
        self._ids[id] = None
        self._any.set()

    async def take(self, most: int) -> list[str]:
        """Wait until there are some, and take the oldest."""
        await self._any.wait()
        taken = list(self._ids)[:most]
        for id in taken:
            del self._ids[id]
        if not self._ids:
            self._any = trio.Event()
        return taken


class DockerProbe:
    """Containers that run, and the network namespaces they are in.

    Events only say which container to ask about again; what counts is the answer of ``inspect``.  ``run`` counts
    as started with the first complete inventory; until then, and whenever the daemon is lost, the status says why.
    """

    section: ClassVar = "agent.topology.docker"
    roles: ClassVar = frozenset({"agent"})
    capabilities: ClassVar = frozenset({"CAP_SYS_ADMIN", "CAP_SYS_PTRACE"})
    precedence: ClassVar = {"Name": frozenset({"netns"})}

    @attrs.frozen
    class Settings:
        """``url``: where the daemon listens; ``proc_path``: where this agent sees /proc of the daemon's host."""

        url: str = "unix:///var/run/docker.sock"
        proc_path: str = "/proc"
        netns: NetnsSettings = NetnsSettings()

        def __attrs_post_init__(self) -> None:
            parse_url(self.url)

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._settings = settings
        self._host = host
        self._known: dict[str, Located] = {}
        self._said = Inventory({}, {}, {})
        self._unseen: dict[str, str] = {}
        self._holds: dict[Key, Hold] = {}
        self._complete_at: float | None = None
        self._logged_at = float("-inf")
        self._failing = False

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Follow the daemon, and come back to it when it is lost, until cancelled."""
        pause = FIRST_PAUSE
        started = False

        def complete() -> None:
            nonlocal started
            if not started:
                started = True
                task_status.started()

        while True:
            self._complete_at = None
            reason = "the connection ended"
            try:
                await self._follow(complete)
            except* (SourceLost, BadAnswer) as group:
                reason = _first(group)
            self._lost(reason)
            # A daemon that answers only to break off at once is not to be asked in a tight loop.
            if self._complete_at is not None and trio.current_time() - self._complete_at > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    # ------------------------------------------------------------------ the source

    async def _follow(self, complete: Callable[[], None]) -> None:
        """One connection, from the subscription to its loss."""
        async with DockerClient(self._settings.url) as client:
            server = await client.negotiate()
            # Begins a second earlier than now: the header it comes from has whole seconds.
            since = None if server.now is None else server.now - 1
            async with client.events(since) as events, trio.open_nursery() as nursery:
                dirty = _Dirty()
                nursery.start_soon(self._collect, events, dirty)
                nursery.start_soon(self._heartbeat, client)
                await self._take_inventory(client)
                self._found(server.version, server.api)
                complete()
                while True:
                    await self._refresh(client, await dirty.take(_BATCH))

    async def _collect(self, events: AsyncIterator[str], dirty: _Dirty) -> None:
        """Note whom events are about, as fast as the daemon sends them: it drops what a slow reader leaves."""
        async for id in events:
            dirty.add(id)
        raise SourceLost("the daemon closed the stream of events")

    async def _heartbeat(self, client: DockerClient) -> None:
        """A silent stream may be that of a daemon that hangs."""
        while True:
            await trio.sleep(HEARTBEAT_SECONDS)
            await client.ping()

    async def _take_inventory(self, client: DockerClient) -> None:
        self._known, self._unseen = {}, {}
        for id in await client.running():
            await self._look(client, id)
        self._said = inventory(self._known.values(), self._host.root)
        self._let_go()
        with self._host.graph.snapshot(SCOPE):
            self._say(self._said.nodes, self._said.owners)
        self._hold()

    async def _refresh(self, client: DockerClient, ids: Iterable[str]) -> None:
        for id in ids:
            await self._look(client, id)
        before, now = self._said, inventory(self._known.values(), self._host.root)
        self._said = now
        self._let_go()
        graph = self._host.graph
        with graph.transaction():
            for child, owner in before.owners.items():
                if now.owners.get(child) != owner:
                    graph.unlink(owner, child, "ownership")
            for key in before.nodes.keys() - now.nodes.keys():
                graph.drop(key)
            self._say(
                {key: node for key, node in now.nodes.items() if before.nodes.get(key) != node},
                {child: owner for child, owner in now.owners.items() if before.owners.get(child) != owner},
            )
        self._hold()
        self._show_counts()

    # ------------------------------------------------------------------ one container

    async def _look(self, client: DockerClient, id: str) -> None:
        """Ask about one container, and note what it is now."""
        self._known.pop(id, None)
        self._unseen.pop(id, None)
        pid = -1
        for last in (False, False, True):
            container = await client.inspect(id)
            if container is None:
                return
            try:
                self._known[id] = self._locate(container)
                return
            except OSError as error:
                # It may have ended or restarted a moment ago; what does not change cannot be seen from here.
                if last or container.pid == pid:
                    self._known[id] = Located(container, None, "")
                    self._unseen[id] = f"{self._process_path(container)}: {error.strerror or error}"
                    return
                pid = container.pid

    def _locate(self, container: Container) -> Located:
        path = self._process_path(container)
        namespace = self._host.netns(path)
        if namespace.key == self._host.namespace.key:
            return Located(container, None, "")
        lasting = posixpath.join(self._settings.netns.run_path, posixpath.basename(container.sandbox))
        if container.sandbox:
            try:
                if self._host.netns(lasting).key == namespace.key:
                    path = lasting
            except OSError:
                pass
        return Located(container, namespace, path)

    def _process_path(self, container: Container) -> str:
        return posixpath.join(self._settings.proc_path, str(container.pid), "ns", "net")

    # ------------------------------------------------------------------ the graph

    def _say(self, nodes: Mapping[Key, Mapping[str, Any]], owners: Mapping[Key, Key]) -> None:
        graph = self._host.graph
        for key, metadata in nodes.items():
            graph.put(key, metadata, scope=SCOPE)
        for child, owner in owners.items():
            graph.link(owner, child, "ownership", scope=SCOPE)

    def _let_go(self) -> None:
        """End netlink in the namespaces that no container is in any more: interfaces go before their namespace."""
        for key in self._holds.keys() - self._said.namespaces.keys():
            self._holds.pop(key).release()

    def _hold(self) -> None:
        """Keep netlink running in the namespaces that containers are in."""
        for key, namespace in self._said.namespaces.items():
            if key not in self._holds:
                try:
                    self._holds[key] = self._host.children("netlink", namespace)
                except OSError as error:
                    # Its last process is gone; the event that says so is on its way.
                    self._host.log.debug("namespace vanished", path=namespace.path, error=str(error))

    # ------------------------------------------------------------------ what people see

    def _found(self, version: str, api: str) -> None:
        self._complete_at = trio.current_time()
        self._host.status(docker=version, api=api, daemon=None)
        self._show_counts()
        if self._failing:
            self._failing = False
            self._host.log.info("docker answers again", url=self._settings.url, version=version)

    def _show_counts(self) -> None:
        unseen = None
        if self._unseen:
            id, reason = next(iter(self._unseen.items()))
            unseen = (
                f"{len(self._unseen)} container(s) shown under the host because their namespace cannot be seen; "
                f"{id[:12]}: {reason} (proc_path must be the /proc of the daemon's host)"
            )
        self._host.status(containers=len(self._known), unseen=unseen)

    def _lost(self, reason: str) -> None:
        message = f"{self._settings.url}: {reason}"
        self._host.stale(message)
        self._host.status(daemon=message)
        if trio.current_time() - self._logged_at >= LOG_SECONDS:
            self._logged_at = trio.current_time()
            self._failing = True
            self._host.log.warning("docker is lost; asking again every few seconds", error=message)


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
