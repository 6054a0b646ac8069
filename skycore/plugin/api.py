"""The contract between Skycore and its probes: what a plugin author writes, and what the host gives.

A probe is a class, found by its entry point in the group ``skycore.probe``::

    class ExampleProbe:
        section = "agent.topology.example"       # where its settings stand in the configuration
        roles = frozenset({"agent"})             # where it may run: agent, analyzer
        capabilities = frozenset({"CAP_NET_ADMIN"})
        precedence = {"Type": frozenset({"netlink"})}   # our Type wins over netlink's
        beside = frozenset({"netlink"})          # also runs in each namespace in which netlink runs

        @attrs.frozen
        class Settings:
            interval: float = 30.0

        def __init__(self, settings: Settings, host: ProbeHost) -> None: ...

        async def run(self, task_status: trio.TaskStatus[None]) -> None: ...

The probe says what is; Skycore works out what changed.  All verbs are synchronous, take effect at once
and may be called from the event loop only.  ``run`` calls ``task_status.started()`` when its first
inventory is in the graph, and goes on until it is cancelled.  When it raises, it is started again after a
pause; what it had claimed stays, marked stale, until the first complete snapshot of the new run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import attrs
import structlog
import trio

from skycore.filter import EVERYTHING, Filter
from skycore.graph.identity import Key

API_VERSION = 1

T = TypeVar("T")


@attrs.frozen
class Namespace:
    """A live network namespace.

    ``key`` names its node; ``cookie`` is the kernel's (SO_NETNS_COOKIE); ``path`` is a file through which
    it could be entered when this value was made; ``inode`` and ``device`` are those of that file.
    """

    key: Key
    cookie: int
    path: str
    inode: int
    device: int


class Claims(Protocol):
    """What a probe says about the graph.

    A claim is *owning* (``put``, ``link``) or *annotating* (``annotate``).  An element exists while an
    owning claim exists; an annotation waits for its element and adds keys to it.  Each top-level metadata key
    comes from one claim: the one whose plugin declares precedence, else the plugin whose name sorts first.

    ``scope`` groups a probe's claims for ``snapshot``.  All verbs raise ClaimError for what cannot be an
    element, and HandleClosed when the probe was stopped; then nothing was changed.
    """

    def put(self, key: Key, metadata: Mapping[str, Any], *, scope: str = "") -> None:
        """This node exists and has this metadata; replaces what this probe said of it before.

        ``metadata`` holds whole values of JSON types (it is encoded at once, so it may be reused after the
        call).  ``Name`` and ``Type`` are expected of one of the owners; ``TID`` is worked out and cannot be said.
        """
        ...

    def annotate(self, key: Key, metadata: Mapping[str, Any], *, scope: str = "") -> None:
        """If the node exists, now or later, it also has this metadata."""
        ...

    def drop(self, key: Key) -> None:
        """Take back what this probe said of the node; no error when it said nothing."""
        ...

    def link(
        self, parent: Key, child: Key, relation_type: str, metadata: Mapping[str, Any] | None = None, *, scope: str = ""
    ) -> None:
        """An edge from parent to child.  It appears when both ends exist, and goes with either.

        ``RelationType`` is added to the metadata.  ``ownership`` and ``layer2`` are the relations that the
        core knows; a node has at most one owner.
        """
        ...

    def unlink(self, parent: Key, child: Key, relation_type: str) -> None:
        """Take back an edge."""
        ...

    def snapshot(self, scope: str = "") -> AbstractContextManager[None]:
        """A complete inventory of a scope: what is not said again inside the ``with`` is taken back at its end.

        All changes inside appear at once at the end.  When the body raises, nothing at all has changed.
        No ``await`` inside.
        """
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """Several changes that appear at once; when the body raises, none of them.  No ``await`` inside."""
        ...

    def view(self, filter: Filter = EVERYTHING, keys: Sequence[str] = ()) -> NodeView:
        """A read-only, indexed view of the nodes (whoever claims them) for which the filter holds."""
        ...

    def join(
        self,
        left: tuple[Filter, Sequence[str]],
        right: tuple[Filter, Sequence[str]],
        relation_type: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep an edge from each left node to each right node whose keys have equal values, for as long as that is so.

        Each side is a filter and a list of keys (as many on both sides).  A list value joins with each of its
        members.  The edges are this probe's and go with it; snapshots leave them alone.  Raises ClaimError inside a
        snapshot or transaction, and ValueError for a filter with a wrong pattern or network.
        """
        ...


class NodeView(Protocol):
    """Nodes that a filter selects, found by the values of the view's keys; always up to date."""

    def find(self, *values: Any) -> list[tuple[str, dict[str, Any]]]:
        """(ID, metadata) of the nodes whose keys have these values, one value for each of the view's keys."""
        ...

    def all(self) -> list[tuple[str, dict[str, Any]]]:
        """(ID, metadata) of every node of the view."""
        ...

    def parents(self, id: str) -> list[str]:
        """IDs of the nodes (of the view or not) from which an edge leads to a node, as the graph is now."""
        ...

    async def changed(self) -> None:
        """Return when the graph has changed since the last call (the first call: since the view was made)."""
        ...

    def close(self) -> None: ...


class Hold(Protocol):
    """Something kept alive on behalf of its holder until ``release`` (idempotent), or until the holder stops."""

    def release(self) -> None: ...


class ProbeHost(Protocol):
    """What the host offers one running probe, and nothing else."""

    @property
    def host_id(self) -> str:
        """This host's name in the graph."""
        ...

    @property
    def root(self) -> Key:
        """The node under which this probe's elements hang: the host, or the namespace it was started in."""
        ...

    @property
    def namespace(self) -> Namespace:
        """The network namespace that this probe is to look at: the agent's own, or the one it was started in."""
        ...

    @property
    def graph(self) -> Claims: ...

    @property
    def log(self) -> structlog.typing.FilteringBoundLogger: ...

    def netns(self, path: str) -> Namespace:
        """Which live namespace a path means (``/run/netns/x``, ``/proc/PID/ns/net``).

        Raises FileNotFoundError when there is none, and OSError (EINVAL) when it is no network namespace (yet).
        """
        ...

    def in_netns(self, path: str, call: Callable[[], T]) -> T:
        """Run ``call`` with the thread inside the namespace, and come back; for opening sockets, never for waiting."""
        ...

    def interface_key(self, namespace: Namespace, ifindex: int) -> Key:
        """The key of an interface, the same for every plugin."""
        ...

    def children(self, name: str, namespace: Namespace) -> Hold:
        """Keep the plugin ``name`` running inside a namespace for as long as someone holds it.

        Idempotent per (plugin, namespace) and counted over its callers: two holders share one sub-probe, which
        ends when both have released it.  A plugin that is not installed or not enabled is no error; the hold is
        then empty.  Raises OSError when ``namespace.path`` cannot be opened, or means another namespace by now.
        """
        ...

    def status(self, **fields: Any) -> None:
        """Fields shown beside the probe's state in ``/api/status``; None removes a field.

        Raises ClaimError for what is no JSON value.
        """
        ...

    def stale(self, reason: str | None) -> None:
        """The source cannot be reached at present: what was said stays, marked stale.  None: it can again.

        A completed snapshot of any scope also ends it.
        """
        ...


class Probe(Protocol):
    """A topology probe, as the host drives it."""

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Fill the graph until cancelled."""
        ...
