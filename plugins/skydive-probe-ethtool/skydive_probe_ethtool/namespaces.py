"""Starts a sub-probe in each namespace that is in the graph, whoever put it there."""

from __future__ import annotations

from typing import Any, Final

import trio

from skycore.plugin import Equals, Hold, Namespace, ProbeHost

_PAUSE: Final = 0.25
"""Least seconds between two looks at the namespaces of the graph, as each reads every netns node."""
_RETRY: Final = 1.0
"""Seconds after which a namespace that could not be entered is tried again."""


async def follow_namespaces(host: ProbeHost, plugin: str) -> None:
    """Keep ``plugin`` running in every namespace of the graph, until cancelled."""
    view = host.graph.view(Equals("Type", "netns"), ("Path",))
    holds: dict[str, Hold] = {}
    try:
        while True:
            nodes = dict(view.all())
            for id in holds.keys() - nodes.keys():
                holds.pop(id).release()
            for id in nodes.keys() - holds.keys():
                namespace = _resolve(host, nodes[id])
                if namespace is not None:
                    holds[id] = host.children(plugin, namespace)
            host.status(namespaces=len(holds))
            missing = nodes.keys() - holds.keys()
            await trio.sleep(_PAUSE)
            with trio.move_on_after(_RETRY if missing else float("inf")):
                await view.changed()
    finally:
        view.close()


def _resolve(host: ProbeHost, node: dict[str, Any]) -> Namespace | None:
    """The namespace that a node stands for; None when its path means none, or another one by now."""
    path, inode = node.get("Path"), node.get("Inode")
    if not isinstance(path, str):
        return None
    try:
        namespace = host.netns(path)
    except (OSError, ValueError):
        return None
    return namespace if inode in (None, namespace.inode) else None
