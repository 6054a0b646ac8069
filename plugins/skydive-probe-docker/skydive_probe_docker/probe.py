"""The probe: keeps the graph equal to what the daemon says of its running containers."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Callable, Iterable
from typing import ClassVar, Final

import attrs
import trio

from skycore.plugin import Key, ProbeHost, containers
from skydive_probe_docker.answer import BadAnswer
from skydive_probe_docker.client import DockerClient, Server, SourceLost, parse_url
from skydive_probe_docker.mapping import Container

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
HEARTBEAT_SECONDS = 10.0
RESTARTING_SECONDS = 2.0
LOG_SECONDS = 60.0
_BATCH: Final = 64
_AT_ONCE: Final = 4
"""So many containers are asked about at a time."""


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
    """Containers, and the network namespaces they are in.

    Events only say which container to ask about again; what counts is the answer of ``inspect``.  ``run`` counts
    as started with the first complete inventory; until then, and whenever the daemon is lost, the status says why.
    """

    section: ClassVar = "agent.topology.docker"
    roles: ClassVar = frozenset({"agent"})
    capabilities: ClassVar = frozenset({"CAP_SYS_ADMIN", "CAP_SYS_PTRACE"})
    # The daemon knows what people call its containers; runc knows the same ones by their state folders.
    precedence: ClassVar = {
        "Name": frozenset({"netns", "runc"}),
        **{key: frozenset({"runc"}) for key in ("Manager", "Container", "Path", "Inode", "Device")},
    }

    @attrs.frozen
    class Settings:
        """``url``: where the daemon listens; ``proc_path``: where this agent sees /proc of the daemon's host.

        ``stopped``: also show containers that do not run.
        """

        url: str = "unix:///var/run/docker.sock"
        proc_path: str = "/proc"
        stopped: bool = False
        netns: NetnsSettings = NetnsSettings()

        def __attrs_post_init__(self) -> None:
            parse_url(self.url)

    def __init__(self, settings: Settings, host: ProbeHost) -> None:
        self._settings = settings
        self._host = host
        self._containers = containers.Containers(host, {"Manager": "docker"})
        self._unseen: dict[str, str] = {}
        self._unread: dict[str, str] = {}
        self._restarting: set[str] = set()
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
                nursery.start_soon(self._watch_restarting, dirty)
                await self._take_inventory(client)
                self._found(server)
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

    async def _watch_restarting(self, dirty: _Dirty) -> None:
        """A restart that is called off (docker kill, docker stop) is told by no event: the container is just exited."""
        while True:
            await trio.sleep(RESTARTING_SECONDS)
            for id in self._restarting:
                dirty.add(id)

    async def _take_inventory(self, client: DockerClient) -> None:
        self._unseen, self._unread, self._restarting = {}, {}, set()
        looked = await self._look_at(client, await client.containers(stopped=self._settings.stopped))
        self._containers.replace(one for one in looked.values() if one is not None)

    async def _refresh(self, client: DockerClient, ids: Iterable[str]) -> None:
        self._containers.update(await self._look_at(client, ids))
        self._show_counts()

    # ------------------------------------------------------------------ one container

    async def _look_at(self, client: DockerClient, ids: Iterable[str]) -> dict[Key, containers.Located | None]:
        """Ask about containers, a few at a time; None for those that are not to be shown."""
        looked: dict[Key, containers.Located | None] = {}
        waiting = iter(list(ids))

        async def ask() -> None:
            for id in waiting:
                looked[containers.container_key(id)] = await self._look(client, id)

        async with trio.open_nursery() as nursery:
            for _ in range(_AT_ONCE):
                nursery.start_soon(ask)
        return looked

    async def _look(self, client: DockerClient, id: str) -> containers.Located | None:
        self._unseen.pop(id, None)
        self._unread.pop(id, None)
        self._restarting.discard(id)
        pid = -1
        while True:
            try:
                container = await client.inspect(id)
            except BadAnswer as error:
                # The daemon may stumble over one container, as over a broken layer; what was known of it stays.
                self._unread[id] = str(error)
                return self._containers.get(containers.container_key(id))
            if container is None or not (container.pid or self._settings.stopped):
                return None
            if container.restarting:
                self._restarting.add(id)
            try:
                return self._locate(container)
            except OSError as error:
                # It may have ended or restarted a moment ago; what does not change cannot be seen from here.
                if container.pid == pid:
                    self._unseen[id] = f"{self._process_path(container)}: {error.strerror or error}"
                    return _located(container)
                pid = container.pid

    def _locate(self, container: Container) -> containers.Located:
        """Raises OSError when its process cannot be seen."""
        if not container.pid:
            return _located(container)
        path = self._process_path(container)
        namespace = self._host.netns(path)
        if namespace.key == self._host.namespace.key:
            return _located(container)
        # Docker's files are seen below run_path; podman names a file of /run/netns.
        name = posixpath.basename(container.sandbox)
        for lasting in (posixpath.join(self._settings.netns.run_path, name), container.sandbox) if name else ():
            try:
                if self._host.netns(lasting).key == namespace.key:
                    path = lasting
                    break
            except (OSError, ValueError):
                continue
        return attrs.evolve(_located(container), namespace=namespace, path=path)

    def _process_path(self, container: Container) -> str:
        return posixpath.join(self._settings.proc_path, str(container.pid), "ns", "net")

    # ------------------------------------------------------------------ what people see

    def _found(self, server: Server) -> None:
        self._complete_at = trio.current_time()
        other = "podman" if server.engine == "docker" else "docker"
        self._host.status(**{server.engine: server.version, other: None}, api=server.api, daemon=None)
        self._show_counts()
        if self._failing:
            self._failing = False
            self._host.log.info("docker answers again", url=self._settings.url, version=server.version)

    def _show_counts(self) -> None:
        unseen = None
        if self._unseen:
            id, reason = next(iter(self._unseen.items()))
            unseen = (
                f"{len(self._unseen)} container(s) shown under the host because their namespace cannot be seen; "
                f"{id[:12]}: {reason} (proc_path must be the /proc of the daemon's host)"
            )
        unread = None
        if self._unread:
            id, reason = next(iter(self._unread.items()))
            unread = f"{len(self._unread)} container(s) of which the daemon cannot tell; {id[:12]}: {reason[:500]}"
        refused = next(iter(self._containers.refused.values()), None)
        self._host.status(containers=len(self._containers), unseen=unseen, unread=unread, refused=refused)

    def _lost(self, reason: str) -> None:
        message = f"{self._settings.url}: {reason}"
        self._host.stale(message)
        self._host.status(daemon=message)
        if trio.current_time() - self._logged_at >= LOG_SECONDS:
            self._logged_at = trio.current_time()
            self._failing = True
            self._host.log.warning("docker is lost; asking again every few seconds", error=message)


def _located(container: Container) -> containers.Located:
    """Of a container without a namespace of its own."""
    return containers.Located(
        container.key, container.name, container.metadata, None, "", container.shares, container.started
    )


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
