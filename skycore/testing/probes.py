"""Run real probes over a real graph inside a test.

::

    async with run_probes({"netlink": {}}, namespace="/run/netns/x") as lab:
        await lab.until(lambda: lab.nodes(Name="eth0"))
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import cattrs
import trio

from skycore.filter import lookup, metadata_path
from skycore.graph.element import Revision
from skycore.graph.graph import Graph
from skycore.graph.live import LiveView
from skycore.plugin import namespaces
from skycore.plugin.host import Enabled, PluginHost, host_node_id
from skycore.plugin.supervision import Report, RestartPolicy

T = TypeVar("T")


class ProbeLab:
    """A graph with the probes that fill it."""

    def __init__(self, graph: Graph, host: PluginHost) -> None:
        self.graph = graph
        self.host = host
        self.view = LiveView(graph)

    def nodes(self, **metadata: Any) -> list[dict[str, Any]]:
        """Metadata, with ``@ID``, of the nodes that have these values.

        ``Container__ID=…`` means the key ``Container.ID``.
        """
        return _select(self.graph.nodes, metadata)

    def edges(self, **metadata: Any) -> list[dict[str, Any]]:
        """The same for edges, with ``@ID``, ``@Parent`` and ``@Child`` (node IDs)."""
        return _select(self.graph.edges, metadata)

    def report(self, name: str) -> Report:
        """The state of one plugin."""
        return next(report for report in self.host.reports() if report.name == name)

    async def until(self, condition: Callable[[], T], seconds: float = 5.0) -> T:
        """Wait until the condition is true (asked again at each change of the graph or its staleness, and each 50 ms).

        Returns what it returned; raises TimeoutError with the state of the graph after ``seconds``.
        """
        cursor = self.graph.log.cursor()
        try:
            with trio.move_on_after(seconds):
                while True:
                    result = condition()
                    if result:
                        return result
                    with trio.move_on_after(0.05):
                        await cursor.wait()
                    cursor.read()
        finally:
            cursor.close()
        nodes = "\n".join(f"  {revision.metadata()}" for revision in self.graph.nodes.values())
        raise TimeoutError(
            f"not true within {seconds} s; reports: {self.host.reports()}; the graph's nodes are:\n{nodes}"
        )


@asynccontextmanager
async def run_probes(
    probes: Mapping[str, Mapping[str, Any]],
    *,
    namespace: str | None = None,
    host_id: str = "host1",
    policy: RestartPolicy | None = None,
    role: str = "agent",
    started: float = 10.0,
) -> AsyncIterator[ProbeLab]:
    """Start probes by name with their settings, until the block ends.

    ``namespace`` is the path of the network namespace to look at, by default the process's own.
    The host's node is there; the block begins when every probe is running or has failed to start.
    """
    graph = Graph(host=host_id, origin=f"{role}.{host_id}", with_tids=True)
    graph.claimant("skycore").put(host_node_id(graph), {"Name": host_id, "Type": "host", "Hostname": host_id})

    def settings(name: str, _section: str, cls: type) -> Any:
        return cattrs.Converter(forbid_extra_keys=True).structure(dict(probes[name]), cls)

    host = PluginHost(
        graph,
        Enabled(list(probes), settings),
        role=role,
        namespace=namespaces.resolve(namespace) if namespace else None,
        policy=policy or RestartPolicy(first=0.02, ceiling=0.2),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        lab = ProbeLab(graph, host)
        try:
            with trio.move_on_after(started):
                await host.settled()
            yield lab
        finally:
            await host.stop()
            nursery.cancel_scope.cancel()


def _select(table: Mapping[str, Revision], wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for revision in table.values():
        metadata = revision.metadata()
        if all(lookup(metadata, metadata_path(key.replace("__", "."))) == value for key, value in wanted.items()):
            ends = {} if revision.parent is None else {"@Parent": revision.parent, "@Child": revision.child}
            found.append({**metadata, "@ID": revision.id, "@Revision": revision.revision, **ends})
    return found
