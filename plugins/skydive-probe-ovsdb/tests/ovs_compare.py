"""What ovs-vsctl and ovs-ofctl print, and what the graph holds, in one form."""

from __future__ import annotations

import json
import re
from typing import Any

from skycore.testing import ProbeLab
from skycore.testing.openvswitch import OpenVSwitch

Json = dict[str, Any]
Told = tuple[dict[str, Json], set[tuple[str, ...]]]
"""Nodes by name, and edges by the names of their ends."""


def as_switch_tells(ovs: OpenVSwitch) -> Told:
    """What the switch's own programs say.  Blocks."""
    nodes, edges = _switch(ovs)
    for name, uuid in {key: node["UUID"] for key, node in nodes.items() if key.startswith("bridge ")}.items():
        nodes |= _rules(ovs, name.removeprefix("bridge "), uuid)
        nodes |= _groups(ovs, name.removeprefix("bridge "), uuid)
    return nodes, edges


def differences(graphs: Told, switchs: Told) -> list[str]:
    """In words; an empty list when there are none."""
    (graph, linked), (nodes, edges) = graphs, switchs
    found = [f"{name} is only in the graph: {graph[name]}" for name in graph.keys() - nodes.keys()]
    found += [f"{name} is not in the graph: {nodes[name]}" for name in nodes.keys() - graph.keys()]
    for name in graph.keys() & nodes.keys():
        for key in sorted(graph[name].keys() | nodes[name].keys()):
            ours, theirs = graph[name].get(key), nodes[name].get(key)
            if ours != theirs:
                found.append(f"{name} {key}: graph {str(ours)[:300]!r}, switch {str(theirs)[:300]!r}")
    found += [f"edge {edge} is only in the graph" for edge in sorted(linked - edges)]
    found += [f"edge {edge} is not in the graph" for edge in sorted(edges - linked)]
    return found


# ---------------------------------------------------------------------- the switch


def _value(raw: Any) -> Any:
    if isinstance(raw, list) and raw[0] == "map":
        return {str(_value(key)): _value(value) for key, value in raw[1]}
    if isinstance(raw, list) and raw[0] == "set":
        return sorted((_value(one) for one in raw[1]), key=lambda one: (isinstance(one, str), one))
    return raw[1] if isinstance(raw, list) and raw[0] == "uuid" else raw


def _rows(ovs: OpenVSwitch, table: str) -> dict[str, Json]:
    rows = [{key: _value(value) for key, value in row.items()} for row in ovs.table(table)]
    return {row["_uuid"]: row for row in rows}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _flat(nested: Any, prefix: str = "") -> Json:
    """Dotted names of all leaves."""
    found: Json = {}
    for key, value in nested.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _filled(**values: Any) -> Json:
    return {key: value for key, value in values.items() if value not in ([], {}, "", False, None)}


def _switch(ovs: OpenVSwitch) -> Told:
    bridges, ports, interfaces = (_rows(ovs, table) for table in ("Bridge", "Port", "Interface"))
    mirrors, qos, queues, controllers = (_rows(ovs, table) for table in ("Mirror", "QoS", "Queue", "Controller"))
    nodes: dict[str, Json] = {}
    edges: set[tuple[str, ...]] = set()
    for uuid, row in bridges.items():
        named = f"bridge {row['name']}"
        nodes[named] = _filled(
            UUID=uuid,
            external=row["external_ids"],
            other=row["other_config"],
            protocols=_listed(row["protocols"]),
            stp=row["stp_enable"],
            mirrors=sorted(mirrors[one]["name"] for one in _listed(row["mirrors"])),
            controllers=sorted(controllers[one]["target"] for one in _listed(row["controller"])),
        )
        for port in _listed(row["ports"]):
            edges |= {("owns", named, f"port {port}"), ("layer2", named, f"port {port}")}
        for one in _listed(row["mirrors"]):
            mirror = mirrors[one]
            for output in _listed(mirror["output_port"]):
                for source in _listed(mirror["select_src_port"]):
                    if source != output:
                        edges.add(("mirroring", f"port {output}", f"port {source}"))
    for uuid, row in ports.items():
        tags, trunks = _listed(row["tag"]), _listed(row["trunks"])
        if not tags:
            vlans: Any = trunks
        elif trunks and row["vlan_mode"] in ("trunk", "native-tagged", "native-untagged"):
            vlans = sorted({*tags, *trunks})
        else:
            vlans = tags[0]
        shaped = [qos[one] for one in _listed(row["qos"])]
        rates = [queues[one]["other_config"]["max-rate"] for one in (shaped[0]["queues"].values() if shaped else ())]
        nodes[f"port {uuid}"] = _filled(
            Name=row["name"],
            external=row["external_ids"],
            other=row["other_config"],
            bond=row["bond_mode"],
            lacp=row["lacp"],
            mode=row["vlan_mode"],
            vlans=vlans,
            rates=rates,
        )
        for one in _listed(row["interfaces"]):
            edges.add(("layer2", f"port {uuid}", f"interface {one}"))
    for uuid, row in interfaces.items():
        nodes[f"interface {uuid}"] = _filled(
            Name=row["name"],
            type=row["type"],
            external=row["external_ids"],
            other=row["other_config"],
            options=row["options"],
            ofport=row["ofport"] if row["ofport"] != [] else None,
            error=row["error"],
            remote=row["options"].get("remote_ip") if row["type"] in ("vxlan", "gre", "geneve") else None,
        )
        for other, there in interfaces.items():
            both = row["type"] == there["type"] == "patch" and uuid < other
            if both and row["options"].get("peer") == there["name"] and there["options"].get("peer") == row["name"]:
                edges.add(("patch", f"interface {uuid}", f"interface {other}"))
    (root,) = _rows(ovs, "Open_vSwitch").values()
    nodes["switch"] = _filled(external=root["external_ids"], other=root["other_config"])
    return nodes, edges


_NAMES = {
    "in_port": "in_port", "dl_src": "eth_src", "dl_dst": "eth_dst", "dl_vlan": "vlan_vid", "arp_tpa": "arp_tpa",
    "nw_src": "ipv4_src", "nw_dst": "ipv4_dst", "ipv6_src": "ipv6_src", "reg0": "reg0", "reg1": "reg1",
    "metadata": "metadata",
    "tun_id": "tunnel_id",
}  # fmt: skip
_WORDS: dict[str, list[tuple[str, str]]] = {
    "tcp": [("eth_type", "2048"), ("ip_proto", "6")], "udp": [("eth_type", "2048"), ("ip_proto", "17")],
    "icmp": [("eth_type", "2048"), ("ip_proto", "1")], "arp": [("eth_type", "2054")], "ipv6": [("eth_type", "34525")],
}  # fmt: skip


def _plain(text: str) -> str:
    return str(int(text, 16)) if re.fullmatch(r"0x[0-9a-f]+", text) else text


def _mask(name: str, mask: str) -> str:
    if mask.isdigit() and name == "ipv4_src":
        bits = (0xFFFFFFFF << (32 - int(mask))) & 0xFFFFFFFF
        return ".".join(str(bits >> shift & 255) for shift in (24, 16, 8, 0))
    return {"10": "ffc0::"}.get(mask, _plain(mask)) if name == "ipv6_src" else _plain(mask)


def _match(items: list[str]) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    protocol = next((item for item in items if item in ("tcp", "udp")), "")
    for item in items:
        key, _, value = item.partition("=")
        if key in _WORDS:
            found |= set(_WORDS[key])
        elif key in ("tp_src", "tp_dst"):
            found.add((f"{protocol}_{key[3:]}", value))
        elif key == "dl_vlan":
            found.add(("vlan_vid", str(0x1000 | int(value))))
        else:
            value, _, mask = value.partition("/")
            name = _NAMES[key]
            found.add((f"{name}_masked", _plain(value), _mask(name, mask)) if mask else (name, _plain(value)))
    return found


def _rules(ovs: OpenVSwitch, bridge: str, uuid: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for line in ovs.ofctl("-O", "OpenFlow14", "dump-flows", bridge).splitlines():
        if not line.startswith(" "):
            continue
        head, _, actions = line.strip().partition(" actions=")
        items = [item for word in head.split() for item in word.split(",") if item]
        values = dict(item.split("=", 1) for item in items if "=" in item)
        meta = (
            "cookie",
            "table",
            "priority",
            "duration",
            "n_",
            "idle_",
            "hard_",
            "importance",
            "send_",
            "reset_counts",
        )
        match = _match([item for item in items if not item.startswith(meta) or item.startswith("metadata")])
        rule = {
            "cookie": values["cookie"],
            "actions": actions,
            "idle": values.get("idle_timeout"),
            "importance": values.get("importance"),
            "removed": "send_flow_rem" in items,
        }
        found[f"rule {uuid} {values['table']} {values.get('priority', '32768')} {sorted(match)}"] = rule
    return found


def _groups(ovs: OpenVSwitch, bridge: str, uuid: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for line in ovs.ofctl("-O", "OpenFlow14", "dump-groups", bridge).splitlines():
        if line.startswith(" "):
            id, type = re.findall(r"group_id=(\d+),type=(\w+)", line)[0]
            found[f"group {uuid} {id}"] = {"type": type, "buckets": line.count("bucket=")}
    return found


# ---------------------------------------------------------------------- the graph


def as_graph_tells(lab: ProbeLab) -> Told:
    """What the graph says; to be asked on the event loop."""
    nodes: dict[str, Json] = {}
    ids: dict[str, str] = {}
    bridges = {node["@ID"]: node["UUID"] for node in lab.nodes(Type="ovsbridge")}
    owners = {edge["@Child"]: edge["@Parent"] for edge in lab.edges(RelationType="ownership")}
    for node in lab.nodes():
        ovs, external = node.get("Ovs", {}), _flat(node.get("ExtID", {}))
        common = {"external": external, "other": ovs.get("OtherConfig", {})}
        if node["Type"] == "ovsbridge":
            name = f"bridge {node['Name']}"
            targets = sorted(one["Target"] for one in ovs.get("Controllers", ()))
            mirrors = sorted(one["Name"] for one in ovs.get("Mirrors", ()))
            rest = {
                "protocols": ovs.get("Protocols"),
                "stp": ovs.get("STP"),
                "mirrors": mirrors,
                "controllers": targets,
            }
            nodes[name] = _filled(UUID=node["UUID"], **common, **rest)
        elif node["Type"] == "ovsport":
            name = f"port {node['UUID']}"
            rates = [queue["OtherConfig"]["max-rate"] for queue in ovs.get("QoS", {}).get("Queues", ())]
            words = {"bond": node.get("BondMode"), "lacp": node.get("LACP"), "mode": ovs.get("VLANMode")}
            nodes[name] = _filled(Name=node["Name"], **common, **words, vlans=node.get("Vlans"), rates=rates)
        elif node["Type"] == "ofrule":
            name = _rule_name(node, bridges.get(owners.get(node["@ID"], ""), ""))
            nodes[name] = _rule(node)
        elif node["Type"] == "ofgroup":
            name = f"group {bridges.get(owners.get(node['@ID'], ''), '')} {node['GroupId']}"
            nodes[name] = {"type": node["GroupType"], "buckets": len(node["Buckets"])}
        elif "UUID" in node:
            name = f"interface {node['UUID']}"
            type = node["Type"] if node.get("Driver") == "openvswitch" else ""
            nodes[name] = _filled(
                Name=node["Name"],
                type=type,
                **common,
                options=ovs.get("Options"),
                ofport=node.get("OfPort"),
                error=ovs.get("Error"),
                remote=node.get("RemoteIP"),
            )
        elif "InterfaceTypes" in ovs:
            name = "switch"
            nodes[name] = _filled(**common)
        else:
            continue
        ids[node["@ID"]] = name
    edges: set[tuple[str, ...]] = set()
    for edge in lab.edges():
        parent, child = ids.get(edge["@Parent"]), ids.get(edge["@Child"])
        if parent is None or child is None or child.startswith(("rule", "group", "switch")) or parent == "switch":
            continue
        relation = "patch" if edge.get("Type") == "patch" else edge["RelationType"]
        if relation == "ownership" and child.startswith("port"):
            edges.add(("owns", parent, child))
        elif relation in ("layer2", "mirroring", "patch"):
            edges.add((relation, parent, child))
    return nodes, edges


def _rule_name(node: Json, bridge: str) -> str:
    match = {
        (item["Type"], str(item["Value"]), *((str(item["Mask"]),) if "Mask" in item else ()))
        for item in node["Filters"]
    }
    return f"rule {bridge} {node['Table']} {node['Priority']} {sorted(match)}"


_PORTS = {0xFFFFFFFA: "NORMAL"}


def _action(action: Json) -> str:
    arguments = action.get("Arguments", {})
    type = action["Type"]
    if type == "output":
        return _PORTS.get(arguments["Port"], f"output:{arguments['Port']}")
    if type == "nx_resubmit_table":
        return f"resubmit(,{arguments['Table']})"
    if type == "set_field":
        return f"set_field:{arguments['Field']['Value']}->{ {'ipv4_src': 'ip_src'}[arguments['Field']['Type']] }"
    if type == "group":
        return f"group:{arguments['GroupId']}"
    if type == "nx_reg_load":
        last = arguments["Offset"] + arguments["NBits"] - 1
        return f"load:{arguments['Value']:#x}->NXM_NX_{arguments['DstField'].upper()}[{arguments['Offset']}..{last}]"
    return str(type)


def _rule(node: Json) -> Json:
    actions = [_action(action) for action in node.get("Actions", ())]
    if "GotoTable" in node:
        actions.append(f"goto_table:{node['GotoTable']}")
    return {
        "cookie": node["Cookie"],
        "actions": ",".join(actions),
        "idle": str(node["IdleTimeout"]) if "IdleTimeout" in node else None,
        "importance": str(node["Importance"]) if "Importance" in node else None,
        "removed": node.get("Flags", {}).get("SendFlowRem", False),
    }


def printed(steps: list[tuple[str, list[str]]]) -> str:
    """Steps as one could type them."""
    return "\n".join(f"  {program} {json.dumps(arguments)}" for program, arguments in steps)
