"""Settings, and questions to the graph, that several tests have."""

from __future__ import annotations

from typing import Any

from skycore.testing import ProbeLab
from skycore.testing.openvswitch import OpenVSwitch


def settings(ovs: OpenVSwitch, **more: Any) -> dict[str, Any]:
    """The probe's settings for this switch."""
    return {"ovsdb": f"unix://{ovs.socket}", **more}


def both(ovs: OpenVSwitch) -> dict[str, dict[str, Any]]:
    """ovsdb, netlink and netns for this switch's host."""
    return {
        "ovsdb": settings(ovs),
        "netlink": {"metrics_update": 0},
        "netns": {"run_path": ovs.host.path("/run/netns")},
    }


async def only(lab: ProbeLab, **metadata: Any) -> dict[str, Any]:
    """The one node with these values, as soon as there is one."""
    await lab.until(lambda: len(lab.nodes(**metadata)) == 1)
    (node,) = lab.nodes(**metadata)
    return node


def linked(lab: ProbeLab, parent: dict[str, Any], child: dict[str, Any], relation: str) -> bool:
    """Whether there is such an edge."""
    return any(
        edge["@Parent"] == parent["@ID"] and edge["@Child"] == child["@ID"] for edge in lab.edges(RelationType=relation)
    )


def owner(lab: ProbeLab, node: dict[str, Any]) -> str:
    """The ID of a node's owner."""
    (edge,) = (edge for edge in lab.edges(RelationType="ownership") if edge["@Child"] == node["@ID"])
    return str(edge["@Parent"])


def elements(lab: ProbeLab) -> dict[str, int]:
    """ID and revision of everything."""
    return {id: revision.revision for table in (lab.graph.nodes, lab.graph.edges) for id, revision in table.items()}


def stale(lab: ProbeLab) -> str | None:
    """Why the probe's elements are stale."""
    mark = lab.graph.stale.get((lab.graph.origin, "ovsdb"))
    return None if mark is None else mark.reason
