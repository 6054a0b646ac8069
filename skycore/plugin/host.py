"""The plugin host: which probes run here, with which settings, and what each of them is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs
import structlog
import trio

from skycore.errors import PluginError
from skycore.graph.claimant import Claimant
from skycore.graph.element import canonical_metadata, decode_metadata
from skycore.graph.graph import Graph
from skycore.graph.identity import Key, host_key, interface_key, node_id
from skycore.plugin import discovery, namespaces
from skycore.plugin.api import Hold, Namespace
from skycore.plugin.handle import GraphHandle
from skycore.plugin.loading import Loaded, MakeSettings, load_probe
from skycore.plugin.supervision import Report, RestartPolicy, Run, Supervisor
from skycore.plugin.views import SharedNodes
from skycore.plugin.watchdog import Watchdog

T = TypeVar("T")
log = structlog.get_logger(__name__)

_REFRESH_EACH = 5.0

IMPLIED = ("netlink", "netns")
"""Agent probes that run when they are installed, unless the configuration says ``-name``."""


@attrs.frozen
class Enabled:
    """What the configuration asks for: the names of probes, and how to make their settings."""

    names: Sequence[str]
    settings: MakeSettings


def wanted(listed: Sequence[str], role: str, implied: Sequence[str] = IMPLIED) -> list[str]:
    """Names of the probes to run: those listed, and on agents the implied ones; ``-name`` takes one out."""
    refused = {name[1:] for name in listed if name.startswith("-")}
    available = discovery.installed(discovery.PROBES)
    names = [name for name in implied if role == "agent" and name in available]
    names += [name for name in listed if not name.startswith("-")]
    return [name for name in dict.fromkeys(names) if name not in refused]


@attrs.define(eq=False)
class _Instance:
    """One running probe: a plugin, in one namespace."""

    loaded: Loaded
    name: str
    root: Key
    namespace: Namespace
    claimant: Claimant
    report: Report
    supervisor: Supervisor | None = None
    handle: GraphHandle | None = None
    holds: list[_Hold] = attrs.field(factory=list)
    holders: int = 0
    ending: bool = False
    beside: list[_Hold] = attrs.field(factory=list)
    descriptor: int = -1


def _close(instance: _Instance) -> None:
    descriptor, instance.descriptor = instance.descriptor, -1
    if descriptor >= 0:
        os.close(descriptor)


class _Hold:
    def __init__(self, host: PluginHost, child: _Instance | None, generation: int) -> None:
        self._host = host
        self._child = child
        self.generation = generation

    def release(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            self._host.let_go(child)


class PluginHost:
    """Runs the enabled probes of one role over one graph.

    ``async with``-less: ``run`` is started in a nursery and goes on until cancelled; ``stop`` stops every
    probe first and says which are stuck.
    """

    def __init__(
        self,
        graph: Graph,
        enabled: Enabled,
        *,
        role: str,
        namespace: Namespace | None = None,
        policy: RestartPolicy | None = None,
    ) -> None:
        self.graph = graph
        self._enabled = enabled
        self._role = role
        self._policy = policy or RestartPolicy()
        self._loaded: dict[str, Loaded] = {}
        self._failed: list[Report] = []
        self._nodes = SharedNodes(graph)
        self._instances: list[_Instance] = []
        self._children: dict[tuple[str, Key], _Instance] = {}
        self._nursery: trio.Nursery | None = None
        self._leaving = False
        self.namespace = namespace or namespaces.resolve(namespaces.OWN)
        self.root = host_key(graph.host)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the probes and keep them running; started when each has been started or has failed to be."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(Watchdog(self._modules, self._blocked).run)
            nursery.start_soon(self._keep_joins)
            nursery.start_soon(self._refresh_views)
            for name in self._enabled.names:
                loaded = self._load(name)
                if loaded is not None:
                    self._loaded[name] = loaded
            for loaded in list(self._loaded.values()):
                self._start(self._instance(loaded, loaded.name, self.root, self.namespace))
            task_status.started()

    async def settled(self) -> None:
        """Return when every probe, and every sub-probe they started, has made its first inventory or has failed to."""
        waiting = True
        while waiting:
            waiting = False
            for instance in list(self._instances):
                if instance.supervisor is not None and not instance.supervisor.tried.is_set():
                    waiting = True
                    await instance.supervisor.tried.wait()

    async def stop(self) -> list[str]:
        """Stop every probe; returns the names of those that are stuck.

        What they claimed stays: the process is leaving, and its successor will say what has changed.
        """
        stuck: list[str] = []
        self._leaving = True

        async def stop_one(instance: _Instance) -> None:
            supervisor = instance.supervisor
            if supervisor is not None:
                supervisor.cancel()
                if not await supervisor.stopped():
                    stuck.append(instance.name)

        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for instance in list(self._instances):
                    nursery.start_soon(stop_one, instance)
        for instance in self._instances:
            if instance.name not in stuck:
                _close(instance)
        return sorted(stuck)

    def reports(self) -> list[Report]:
        """State of every plugin and sub-probe, by name."""
        return sorted([*self._failed, *(instance.report for instance in self._instances)], key=lambda r: r.name)

    # ------------------------------------------------------------------ loading

    def _load(self, name: str) -> Loaded | None:
        try:
            return load_probe(name, self._role, self._enabled.settings)
        except PluginError as error:
            self._failed.append(Report(name, "failed", str(error)))
            log.error("plugin cannot be started", plugin=name, error=str(error))
            return None

    # ------------------------------------------------------------------ instances

    def _instance(self, loaded: Loaded, name: str, root: Key, namespace: Namespace) -> _Instance:
        claimant = self.graph.claimant(name, plugin=loaded.name, precedence=loaded.precedence)
        instance = _Instance(loaded, name, root, namespace, claimant, Report(name))
        self._instances.append(instance)
        return instance

    def _start(self, instance: _Instance) -> None:
        assert self._nursery is not None
        instance.supervisor = Supervisor(
            instance.report,
            begin=partial(self._begin, instance),
            settled=partial(self._settled, instance),
            ended=partial(self._ended, instance),
            policy=self._policy,
        )
        self._nursery.start_soon(instance.supervisor.run, name=f"plugin {instance.name}")

    def _begin(self, instance: _Instance) -> Run:
        instance.claimant.restart()
        instance.handle = GraphHandle(self.graph, instance.claimant, self._nodes)
        host = _ProbeHost(self, instance, instance.handle)
        probe = instance.loaded.plugin(instance.loaded.settings, host)
        run: Run = probe.run
        return run

    def _settled(self, instance: _Instance) -> None:
        instance.report.error = None
        instance.claimant.settled()
        generation = instance.claimant.generation
        for hold in [hold for hold in instance.holds if hold.generation < generation]:
            instance.holds.remove(hold)
            hold.release()
        self.graph.mark_fresh(self.graph.origin, instance.name)

    def _ended(self, instance: _Instance, for_good: bool) -> None:
        if instance.handle is not None:
            instance.handle.close()
        if self._leaving and instance.report.state != "stuck":
            return
        if not for_good:
            self.graph.mark_stale(self.graph.origin, instance.name, instance.report.error or "crashed")
            return
        for hold in instance.holds:
            hold.release()
        instance.holds.clear()
        instance.claimant.withdraw()

    # ------------------------------------------------------------------ sub-probes

    def hold_child(self, holder: _Instance, name: str, namespace: Namespace) -> Hold:
        """Implements ProbeHost.children."""
        loaded = self._loaded.get(name)
        generation = holder.claimant.generation
        if loaded is None or self._leaving or namespace.key == self.namespace.key:
            return _Hold(self, None, generation)
        hold = _Hold(self, self._held(loaded, namespace), generation)
        holder.holds.append(hold)
        return hold

    def _held(self, loaded: Loaded, namespace: Namespace, *, companion: bool = False) -> _Instance:
        """The sub-probe of a namespace, with one holder more; its first holder also brings those that run beside it.

        What runs beside brings no others, so that two that want to run beside each other do not hold each other.
        """
        child = self._children.get((loaded.name, namespace.key))
        if child is None:
            child = self._child(loaded, namespace)
            self._start(child)
        child.holders += 1
        if child.holders == 1 and not companion:
            for other in self._loaded.values():
                if loaded.name in other.beside and other is not loaded:
                    child.beside.append(_Hold(self, self._held(other, child.namespace, companion=True), 0))
        return child

    def _child(self, loaded: Loaded, namespace: Namespace) -> _Instance:
        # The open file keeps the namespace enterable for as long as someone holds the sub-probe.
        descriptor = namespaces.open_same(namespace)
        pinned = attrs.evolve(namespace, path=f"/proc/self/fd/{descriptor}")
        child = self._instance(loaded, f"{loaded.name}@{namespace.cookie}", namespace.key, pinned)
        child.descriptor = descriptor
        self._children[loaded.name, namespace.key] = child
        return child

    def let_go(self, child: _Instance) -> None:
        """One holder less; the last one ends the sub-probe.

        What it said goes at once, so that its interfaces are gone before its holder takes their namespace back.
        """
        child.holders -= 1
        if child.holders == 0:
            for hold in child.beside:
                hold.release()
            child.beside.clear()
        if child.holders == 0 and not child.ending and not self._leaving:
            assert self._nursery is not None
            assert child.supervisor is not None
            child.ending = True
            # Cancelled before its handle is closed: what it raises from here on is no crash.
            child.supervisor.cancel()
            if child.handle is not None:
                child.handle.close()
            child.claimant.withdraw()
            self._nursery.start_soon(self._end_child, child)

    async def _end_child(self, child: _Instance) -> None:
        """Stop a sub-probe that nobody holds; whoever holds it again meanwhile gets a new run, once it has stopped."""
        assert child.supervisor is not None
        if not await child.supervisor.stopped():
            return
        if child.report.state == "finished":
            self._ended(child, True)
        if child.holders == 0 or self._leaving:
            self._forget_child(child)
            return
        child.report.state, child.report.error = "starting", None
        self._start(child)
        child.ending = False

    def _forget_child(self, child: _Instance) -> None:
        del self._children[child.loaded.name, child.namespace.key]
        self._instances.remove(child)
        self.graph.claimants.pop(child.name, None)
        _close(child)

    # ------------------------------------------------------------------ service tasks

    async def _keep_joins(self) -> None:
        cursor = self.graph.log.cursor()
        while True:
            await cursor.wait()
            cursor.read()
            for instance in list(self._instances):
                if instance.handle is not None:
                    try:
                        instance.handle.update_joins()
                    except Exception as error:
                        # Its filter met a value that it cannot stand: the plugin's fault, not everybody's.
                        assert instance.supervisor is not None
                        instance.handle.close()
                        instance.supervisor.fail(error)

    async def _refresh_views(self) -> None:
        while True:
            await trio.sleep(_REFRESH_EACH)
            for instance in list(self._instances):
                if instance.handle is not None:
                    instance.handle.refresh_views()

    def namespace_of_interface(self, id: str, index: int) -> Namespace | None:
        """The namespace, among those that probes look at, in which the interface with this ID and index is."""
        for namespace in {one.namespace.cookie: one.namespace for one in self._instances}.values():
            key = interface_key(namespaces.boot_id(), namespace.cookie, index)
            if node_id(self.graph.host, key) == id:
                return namespace
        return None

    def modules(self) -> dict[str, object]:
        """The modules of the plugins that were imported, by plugin: where their hooks are."""
        return {name: sys.modules[loaded.plugin.__module__] for name, loaded in self._loaded.items()}

    def _modules(self) -> Mapping[str, str]:
        return {loaded.module: name for name, loaded in self._loaded.items()}

    def _blocked(self, name: str, seconds: float) -> None:
        for instance in self._instances:
            if instance.name == name:
                instance.report.blocked += 1
                instance.report.blocked_longest = max(instance.report.blocked_longest, seconds)


class _ProbeHost:
    """Implements skycore.plugin.api.ProbeHost for one run of one probe."""

    def __init__(self, host: PluginHost, instance: _Instance, handle: GraphHandle) -> None:
        self._host = host
        self._instance = instance
        self._graph = handle
        self._log = structlog.get_logger(f"skycore.plugin.{instance.loaded.name}").bind(plugin=instance.name)

    @property
    def host_id(self) -> str:
        return self._host.graph.host

    @property
    def root(self) -> Key:
        return self._instance.root

    @property
    def namespace(self) -> Namespace:
        return self._instance.namespace

    @property
    def graph(self) -> GraphHandle:
        return self._graph

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger:
        logger: structlog.typing.FilteringBoundLogger = self._log
        return logger

    def netns(self, path: str) -> Namespace:
        return namespaces.resolve(path)

    def in_netns(self, path: str, call: Callable[[], T]) -> T:
        return namespaces.inside(path, call)

    def interface_key(self, namespace: Namespace, ifindex: int) -> Key:
        return interface_key(namespaces.boot_id(), namespace.cookie, ifindex)

    def children(self, name: str, namespace: Namespace) -> Hold:
        self._graph.require_open()
        return self._host.hold_child(self._instance, name, namespace)

    def status(self, **fields: Any) -> None:
        self._graph.require_open()
        shown = self._instance.report.fields
        # As JSON: what is shown later must neither change with the plugin's own objects nor be unspeakable.
        shown.update(decode_metadata(canonical_metadata(fields)))
        for field in [field for field, value in fields.items() if value is None]:
            del shown[field]

    def stale(self, reason: str | None) -> None:
        self._graph.require_open()
        graph = self._host.graph
        if reason is None:
            graph.mark_fresh(graph.origin, self._instance.name)
            return
        graph.mark_stale(graph.origin, self._instance.name, reason)
        if self._instance.supervisor is not None:
            # Nobody has to wait for an inventory that cannot be made at present.
            self._instance.supervisor.tried.set()


def host_node_id(graph: Graph) -> str:
    """ID of the host's own node."""
    return node_id(graph.host, host_key(graph.host))
