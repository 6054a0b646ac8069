"""The graph in the form of the witness: what of each node the witness can know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netlink_witness import Namespace, near

from skycore.testing import ProbeLab

Json = dict[str, Any]
_UNKNOWN_TO_IP = frozenset(
    {
        "@ID",
        "@Revision",
        "TID",
        "Driver",
        "Metric",
        "LastUpdateMetric",
        "CarrierChanges",
        "ParentDevName",
        "ParentDevBus",
    }
    | {
        "GROMaxSize",
        "TSOMaxSize",
        "TSOMaxSegs",
        "ProtoDown",
        "PermMAC",
        "LinkNetNsName",
        "Filters",
        "Programs",
    }
)
_QDISC_OPTIONS = {
    "bfifo": {"Limit"},
    "pfifo": {"Limit"},
    "htb": {"RateToQuantum", "Default"},
    "tbf": {"Rate", "PeakRate"},
    "fq_codel": {"Limit", "Flows", "Quantum", "Target", "Interval", "MemoryLimit", "DropBatch", "ECN"},
    "netem": {"Limit", "Delay", "Jitter", "Loss", "Rate"},
    "prio": {"Bands", "PriorityMap"},
    "sfq": {"Quantum", "Perturb"},
}
_ABOUT = {"Target", "Interval"}
_NEXTHOP_KEYS = frozenset({"ID", "IfIndex", "IP", "Group", "Blackhole"})
_RULE_KEYS = frozenset({"Family", "Priority", "From", "To", "Table", "Not", "Goto", "FwMark", "IIf", "OIf", "Action"})


def as_graph_tells(lab: ProbeLab) -> dict[str, dict[int, Json]]:
    """By namespace's name and ifindex; "" is the namespace of the agent."""
    nodes = {node["@ID"]: node for node in lab.nodes()}
    told: dict[str, dict[int, Json]] = {}
    for edge in lab.edges(RelationType="ownership"):
        parent, child = nodes[edge["@Parent"]], nodes[edge["@Child"]]
        if "IfIndex" in child:
            owner = "" if parent["Type"] == "host" else parent["Name"]
            told.setdefault(owner, {})[child["IfIndex"]] = comparable(child)
    return told


def rules_in_graph(lab: ProbeLab) -> dict[str, list[Json]]:
    found = {}
    for node in lab.nodes():
        if "Rules" in node:
            rules = [{key: value for key, value in rule.items() if key in _RULE_KEYS} for rule in node["Rules"]]
            found["" if node["Type"] == "host" else node["Name"]] = rules
    return found


def nexthops_in_graph(lab: ProbeLab) -> dict[str, list[Json]]:
    return {
        "" if node["Type"] == "host" else node["Name"]: [
            {key: value for key, value in entry.items() if key in _NEXTHOP_KEYS} for entry in node["Nexthops"]
        ]
        for node in lab.nodes()
        if "Nexthops" in node
    }


def as_qdisc(entry: Json) -> tuple[Any, ...]:
    known = _QDISC_OPTIONS.get(entry["Kind"], set())
    found = {key: value for key, value in entry.get("Options", {}).items() if key in known}
    options = {key: near(value) if key in _ABOUT else value for key, value in found.items()}
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    if "Loss" in options:
        options["Loss"] = round(options["Loss"], 4)
    return (entry["Kind"], entry["Handle"], entry["Parent"], tuple(sorted(options.items())))


def as_class(entry: Json) -> tuple[Any, ...]:
    options = entry["Options"]
    # What has children has none that tc shows.
    priority = options.get("Priority") if not options.get("Level") else None
    return (entry["Handle"], entry["Parent"], entry.get("Leaf"), options["Rate"], options["Ceil"], priority)


def comparable(node: Json) -> Json:
    found = {key: value for key, value in node.items() if key not in _UNKNOWN_TO_IP}
    found["LinkFlags"] = sorted(found["LinkFlags"])
    if "RoutingTables" in found:
        found["RoutingTables"] = [
            (
                table["ID"],
                route["Protocol"],
                route["Prefix"],
                hop["Priority"],
                hop.get("IP", ""),
                hop.get("NexthopID", 0),
            )
            for table in found["RoutingTables"]
            for route in table["Routes"]
            for hop in route["NextHops"]
        ]
    if "Neighbors" in found:
        # ip shows no entries for multicast addresses, which are mapped and not resolved.
        shown = [entry for entry in found["Neighbors"] if entry.get("State") not in (["NUD_NOARP"], None)]
        found["Neighbors"] = [as_tuple(entry, entry["State"]) for entry in shown]
    if "FDB" in found:
        found["FDB"] = [
            as_tuple(entry, [state for state in entry.get("State", ()) if state == "NUD_PERMANENT"])
            for entry in found["FDB"]
        ]
    if "BridgeVlans" in found:
        # bridge shows each of a range.
        found["BridgeVlans"] = [
            {**{key: value for key, value in vlan.items() if key != "End"}, "ID": number}
            for vlan in found["BridgeVlans"]
            for number in range(vlan["ID"], vlan.get("End", vlan["ID"]) + 1)
        ]
    if "Qdiscs" in found:
        found["Qdiscs"] = [as_qdisc(entry) for entry in found["Qdiscs"]]
    if "Classes" in found:
        found["Classes"] = sorted(as_class(entry) for entry in found["Classes"])
    if "MDB" in found:
        found["MDB"] = [(e["Group"], e["Port"], e["State"], e.get("Vlan", 0)) for e in found["MDB"]]
    return {key: value for key, value in found.items() if value != []}


def as_tuple(entry: Json, states: list[str]) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    return (entry.get("MAC", ""), entry.get("IP", ""), tuple(sorted(states)), tuple(sorted(entry.get("Flags", ()))))


def differences(graph: Mapping[int, Json], witness: Mapping[int, Json]) -> list[str]:
    """What differs between the interfaces of one namespace, in words; an empty list when nothing does.

    Of a document (``Bridge``, ``Tunnel`` …) those of its keys count that the witness knows.
    """
    found = [f"ifindex {index} is only in the graph: {graph[index]}" for index in graph.keys() - witness.keys()]
    found += [f"ifindex {index} is not in the graph: {witness[index]}" for index in witness.keys() - graph.keys()]
    for index in graph.keys() & witness.keys():
        for key in sorted(graph[index].keys() | witness[index].keys()):
            ours, theirs = graph[index].get(key), witness[index].get(key)
            if isinstance(ours, dict) and key not in {"Wireguard", "Hsr", "Macsec"}:
                theirs = theirs or {}
                ours = {name: value for name, value in ours.items() if name in _known(key, theirs)}
                if "LinkNetNsID" in graph[index]:
                    # ip names the device of a tunnel only when it is in the same namespace.
                    ours.pop("Link", None)
                    theirs = {name: value for name, value in theirs.items() if name != "Link"}
            elif key in {"RoutingTables", "Neighbors", "FDB", "MDB", "Qdiscs"}:
                ours, theirs = sorted(set(ours or [])), sorted(set(theirs or []))
            elif isinstance(ours, dict):
                continue
            if ours != theirs:
                found.append(f"ifindex {index} ({graph[index].get('Name')}) {key}: graph {ours!r}, ip {theirs!r}")
    return found


_ALWAYS = {
    "Tunnel": {"Local", "Remote", "Link", "TTL", "InKey", "OutKey"},
    "Bond": {"ActiveSlave", "Primary", "MiiMon"},
}


def _known(key: str, theirs: Json) -> set[str]:
    return theirs.keys() | _ALWAYS.get(key, set())


def all_differences(lab: ProbeLab, names: list[str], here: str) -> list[str]:
    """Between the graph and what ip says of the namespaces ``names``; ``here`` is the agent's among them."""
    told = [(name, *Namespace(name).tell(), Namespace(name).nexthops()) for name in names]
    graph, rules, hops = as_graph_tells(lab), rules_in_graph(lab), nexthops_in_graph(lab)
    found = []
    for name, links, expected, objects in told:
        key = "" if name == here else name
        found += [f"{name}: {text}" for text in differences(graph.get(key, {}), links)]
        if rules.get(key, []) != expected:
            found.append(f"{name}: rules: graph {rules.get(key)}, ip {expected}")
        if hops.get(key, []) != objects:
            found.append(f"{name}: next hops: graph {hops.get(key)}, ip {objects}")
    return found
