"""What iproute2 says of a namespace, in the words of the graph: an independent witness.

Nothing here comes from the probe: the names and numbers are read from the JSON of ``ip`` and ``bridge``.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Json = dict[str, Any]
PROTOCOLS = {"unspec": 0, "kernel": 2, "boot": 3, "static": 4, "ra": 9}
TABLES = {"default": 253, "main": 254, "local": 255}
STATES = {"LOWERLAYERDOWN": "LOWER-LAYER-DOWN", "NOTPRESENT": "NOT-PRESENT"}
FLAGS = {"UP": "UP", "BROADCAST": "BROADCAST", "LOOPBACK": "LOOPBACK"}
FLAGS |= {"POINTOPOINT": "POINTTOPOINT", "MULTICAST": "MULTICAST"}


class Namespace:
    """A named namespace as ``ip -n`` reaches it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ask(self, program: str, *words: str) -> list[Json]:
        command = [program, "-n", self.name, *words]
        done = subprocess.run(command, capture_output=True, timeout=30, check=False)
        if done.returncode and b"not supported" in done.stderr:
            return []
        if done.returncode:
            raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr.decode()}")
        found: list[Json] = json.loads(done.stdout or b"[]")
        return [entry for entry in found if entry]

    def text(self, program: str, *words: str) -> str:
        command = [program, "-n", self.name, *words]
        return subprocess.run(command, capture_output=True, timeout=30, check=True, text=True).stdout

    def nexthops(self) -> list[Json]:
        """Next hop objects in the words of the graph."""
        indexes = {link["ifname"]: link["ifindex"] for link in self.ask("ip", "-j", "link")}
        found = [as_nexthop(entry, indexes) for entry in self.ask("ip", "-j", "-d", "nexthop")]
        return sorted(found, key=lambda entry: int(entry["ID"]))

    def tell(self) -> tuple[dict[int, Json], list[Json]]:
        """(metadata by ifindex, rules); only keys of which the witness knows."""
        links = self.ask("ip", "-j", "-d", "address")
        indexes = {link["ifname"]: link["ifindex"] for link in links}
        told = {link["ifindex"]: link_metadata(link, indexes) for link in links}
        add_routes(told, indexes, self.ask("ip", "-4", "-j", "-d", "route", "show", "table", "all"), 4)
        add_routes(told, indexes, self.ask("ip", "-6", "-j", "-d", "route", "show", "table", "all"), 6)
        for entry in self.ask("ip", "-j", "neigh"):
            flags = [
                flag for word, flag in (("extern_learn", "NTF_EXT_LEARNED"), ("router", "NTF_ROUTER")) if word in entry
            ]
            # Of a device without addresses ip prints a byte that is none of the message's.
            mac = entry.get("lladdr", "") if ":" in entry.get("lladdr", "") else ""
            neighbour(told[indexes[entry["dev"]]], "Neighbors", entry["dst"], mac, entry["state"], flags)
        for entry in self.ask("bridge", "-j", "fdb"):
            add_fdb(told, indexes, entry)
        for entry in self.ask("bridge", "-j", "vlan"):
            vlans = [as_vlan(vlan) for vlan in entry["vlans"]]
            if vlans:
                told[indexes[entry["ifname"]]]["BridgeVlans"] = vlans
        for mdb in self.ask("bridge", "-j", "mdb"):
            for entry in mdb.get("mdb", ()):
                add_group(told, indexes, entry)
        add_traffic(told, indexes, self)
        rules = [as_rule(rule, 4) for rule in self.ask("ip", "-4", "-j", "-d", "rule")]
        rules += [as_rule(rule, 6) for rule in self.ask("ip", "-6", "-j", "-d", "rule")]
        return told, rules


def link_metadata(link: Json, indexes: Mapping[str, int]) -> Json:
    info = link.get("linkinfo", {})
    kind = info.get("info_kind")
    lower = link.get("link_index") or indexes.get(link.get("link") or "")
    mac = link.get("address", "")
    group = link["group"]
    metadata = {
        "Name": link["ifname"],
        "Type": {None: "device", "tun": "tuntap"}.get(kind, kind),
        "EncapType": link["link_type"],
        "IfIndex": link["ifindex"],
        "MTU": link["mtu"],
        "MAC": mac if mac.strip("0:") and mac.count(":") == 5 and "." not in mac and "::" not in mac else None,
        "State": STATES.get(link["operstate"], link["operstate"]),
        "LinkFlags": sorted(FLAGS[flag] for flag in link["flags"] if flag in FLAGS),
        "MasterIndex": indexes.get(link.get("master", "")),
        "ParentIndex": lower,
        "PeerIfIndex": lower if kind == "veth" else None,
        "LinkNetNsID": link.get("link_netnsid"),
        "Alias": link.get("ifalias"),
        "AltNames": link.get("altnames"),
        "Group": int(group) if group.isdigit() else None,
        "Qdisc": link.get("qdisc"),
        "TxQLen": link.get("txqlen"),
        "Promiscuity": link["promiscuity"] or None,
        "AllMulti": link["allmulti"] or None,
        "NumTxQueues": link["num_tx_queues"],
        "NumRxQueues": link["num_rx_queues"],
        "GSOMaxSize": link["gso_max_size"],
        "GSOMaxSegs": link["gso_max_segs"],
        "MinMTU": link.get("min_mtu") or None,
        "MaxMTU": link.get("max_mtu") or None,
        "IPV4": addresses(link, "inet"),
        "IPV6": addresses(link, "inet6"),
    }
    if kind in KINDS:
        metadata |= KINDS[kind](info.get("info_data", {}), indexes)
    if info.get("info_slave_kind") in PORTS:
        metadata |= PORTS[info["info_slave_kind"]](info.get("info_slave_data", {}), indexes)
    return {key: value for key, value in metadata.items() if value not in (None, {}, [])}


def addresses(link: Json, family: str) -> list[str]:
    return [f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"] if entry.get("family") == family]


def only(**values: Any) -> Json:
    return {key: value for key, value in values.items() if (value is not None and value != 0) or value is False}


def key_number(text: str | None) -> int | None:
    """A GRE key, which ip writes as an IPv4 address."""
    if text is None:
        return None
    first, second, third, fourth = map(int, text.split("."))
    return first << 24 | second << 16 | third << 8 | fourth


def end(data: Json, word: str) -> str | None:
    value: str | None = data.get(word) or data.get(f"{word}6")
    return None if value == "any" else value


def bridge(data: Json, _indexes: Mapping[str, int]) -> Json:
    seconds = {
        "ForwardDelay": "forward_delay",
        "HelloTime": "hello_time",
        "MaxAge": "max_age",
        "AgeingTime": "ageing_time",
    }
    return {
        "Bridge": only(
            **{ours: data[theirs] / 100 for ours, theirs in seconds.items()},
            STP="kernel" if data["stp_state"] else "off",
            Priority=data["priority"],
            VlanFiltering=bool(data["vlan_filtering"]),
            VlanDefaultPVID=data.get("vlan_default_pvid"),
            MulticastSnooping=bool(data["mcast_snooping"]),
            MulticastQuerier=bool(data["mcast_querier"]),
        )
    }


def bridge_port(data: Json, _indexes: Mapping[str, int]) -> Json:
    return {
        "BridgePort": {
            "State": data["state"],
            "Priority": data["priority"],
            "Cost": data["cost"],
            "Hairpin": data["hairpin"],
            "Guard": data["guard"],
            "RootBlock": data["root_block"],
            "FastLeave": data["fastleave"],
            "Learning": data["learning"],
            "Flood": data["flood"],
            "Isolated": data["isolated"],
            "ID": int(data["id"], 16),
        }
    }


def vxlan(data: Json, indexes: Mapping[str, int]) -> Json:
    return {
        "Tunnel": only(
            Remote=end(data, "remote") or end(data, "group"),
            Local=end(data, "local"),
            Link=indexes.get(data.get("link", "")),
            TTL=data.get("ttl") or None,
            Port=data["port"],
            Learning=data["learning"],
            Ageing=data["ageing"],
        )
        | {"ID": data["id"]}
    }


def geneve(data: Json, _indexes: Mapping[str, int]) -> Json:
    return {"Tunnel": only(Remote=end(data, "remote"), TTL=data.get("ttl"), Port=data["port"]) | {"ID": data["id"]}}


def gre(data: Json, indexes: Mapping[str, int]) -> Json:
    return {
        "Tunnel": only(
            Local=end(data, "local"),
            Remote=end(data, "remote"),
            Link=indexes.get(data.get("link", "")),
            TTL=data.get("ttl"),
            InKey=key_number(data.get("ikey")),
            OutKey=key_number(data.get("okey")),
        )
    }


def macvlan(data: Json, _indexes: Mapping[str, int]) -> Json:
    return {"Macvlan": {"Mode": data["mode"]}}


def ipvlan(data: Json, _indexes: Mapping[str, int]) -> Json:
    flag = next(word for word in ("bridge", "private", "vepa") if data.get(word))
    return {"Ipvlan": {"Mode": data["mode"], "Flags": flag}}


def vlan(data: Json, _indexes: Mapping[str, int]) -> Json:
    flags = [flag.lower().replace("_", "-") for flag in data["flags"]]
    return {"Vlan": data["id"], "VlanProtocol": data["protocol"], "VlanFlags": flags}


def vrf(data: Json, _indexes: Mapping[str, int]) -> Json:
    return {"Vrf": {"Table": data["table"]}}


def vrf_port(data: Json, _indexes: Mapping[str, int]) -> Json:
    return {"VrfPort": {"Table": data["table"]}}


def tun(data: Json, _indexes: Mapping[str, int]) -> Json:
    return {"Tun": {"Mode": data["type"], "Persist": data["persist"], "MultiQueue": data["multi_queue"]}}


def xfrm(data: Json, _indexes: Mapping[str, int]) -> Json:
    return {"Xfrm": {"InterfaceID": int(data["if_id"], 16)}}


def bond(data: Json, indexes: Mapping[str, int]) -> Json:
    return {
        "BondMode": data["mode"],
        "Bond": only(
            ActiveSlave=indexes.get(data.get("active_slave", "")),
            Primary=indexes.get(data.get("primary", "")),
            MiiMon=data["miimon"],
            UpDelay=data["updelay"],
            DownDelay=data["downdelay"],
            XmitHashPolicy=data["xmit_hash_policy"],
            FailOverMAC=data["fail_over_mac"],
            PrimaryReselect=data["primary_reselect"],
            MinLinks=data["min_links"],
            LacpRate=data.get("ad_lacp_rate"),
            ArpTargets=data.get("arp_ip_target"),
        ),
    }


def bond_slave(data: Json, _indexes: Mapping[str, int]) -> Json:
    return {
        "BondSlave": {
            "Type": "bond",
            "State": data["state"],
            "MiiStatus": data["mii_status"],
            "LinkFailureCount": data["link_failure_count"],
            "PermMAC": data["perm_hwaddr"],
            "QueueId": data["queue_id"],
        }
    }


Mapper = Callable[[Json, Mapping[str, int]], Json]
KINDS: dict[str, Mapper] = {
    "bond": bond,
    "bridge": bridge,
    "geneve": geneve,
    **dict.fromkeys(("gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ipip", "sit", "ip6tnl", "vti", "vti6"), gre),
    "ipvlan": ipvlan,
    "macvlan": macvlan,
    "macvtap": macvlan,
    "tun": tun,
    "vlan": vlan,
    "vrf": vrf,
    "vxlan": vxlan,
    "xfrm": xfrm,
}
PORTS: dict[str, Mapper] = {"bond": bond_slave, "bridge": bridge_port, "vrf": vrf_port}


def as_nexthop(entry: Json, indexes: Mapping[str, int]) -> Json:
    found = {"ID": entry["id"], "IfIndex": indexes.get(entry.get("dev", "")), "IP": entry.get("gateway")}
    found["Group"] = [{"ID": member["id"], "Weight": member.get("weight", 1)} for member in entry.get("group", ())]
    found["Blackhole"] = "blackhole" in entry
    return {key: value for key, value in found.items() if value}


def add_traffic(told: dict[int, Json], indexes: Mapping[str, int], namespace: Namespace) -> None:
    for entry in namespace.ask("tc", "-j", "qdisc", "show"):
        # Those of handle 0 are the kernel's own.
        if entry["handle"] not in {"0:", "0"}:
            told[indexes[entry["dev"]]].setdefault("Qdiscs", []).append(as_qdisc(entry))
    # tc of these years prints JSON of few kinds of classes.
    for name in [name for name, index in indexes.items() if has_classes(told[index])]:
        found = [as_class(line) for line in namespace.text("tc", "class", "show", "dev", name).splitlines()]
        if any(found):
            told[indexes[name]]["Classes"] = sorted(filter(None, found))


def has_classes(link: Json) -> bool:
    return any(entry[0] == "htb" for entry in link.get("Qdiscs", ()))


def as_qdisc(entry: Json) -> tuple[Any, ...]:
    kind, options = entry["kind"], entry.get("options", {})
    parent = "root" if entry.get("root") else entry.get("parent", "").replace("ffff:fff1", "ingress")
    found: Json = {}
    if kind in {"pfifo", "bfifo"}:
        found = {"Limit": amount(options["limit"])}
    elif kind == "htb":
        default = options["default"]
        found = {"RateToQuantum": options["r2q"], "Default": default if default not in {"0", "0x0", 0} else None}
    elif kind == "tbf":
        # Bursts are asserted elsewhere: tc shows them cut off to what passes in whole microseconds.
        found = {"Rate": options["rate"], "PeakRate": options.get("peakrate")}
    elif kind == "fq_codel":
        found = {"Limit": options["limit"], "Flows": options["flows"], "Quantum": options["quantum"]}
        found |= {"Target": near(options["target"]), "Interval": near(options["interval"])}
        found |= {"MemoryLimit": options["memory_limit"], "DropBatch": options["drop_batch"]}
        found |= {"ECN": options.get("ecn", False)}
    elif kind == "netem":
        delay, loss = options.get("delay", {}), options.get("loss-random", {})
        found = {"Limit": options["limit"], "Delay": micro(delay.get("delay")), "Jitter": micro(delay.get("jitter"))}
        found |= {"Loss": round(loss.get("loss", 0), 4) or None, "Rate": options.get("rate", {}).get("rate")}
    elif kind == "prio":
        found = {"Bands": options["bands"], "PriorityMap": tuple(options["priomap"])}
    elif kind == "sfq":
        found = {"Quantum": options["quantum"], "Perturb": options.get("perturb")}
    return (kind, entry["handle"], parent, tuple(sorted((k, v) for k, v in found.items() if v is not None)))


def micro(seconds: float | None) -> int | None:
    return round(seconds * 1e6) or None if seconds is not None else None


def near(microseconds: int) -> int:
    """tc takes one off when it converts the kernel's units twice."""
    return round((microseconds + 1) / 10) * 10


def amount(value: int | str) -> int:
    """A number, or one in tc's units: ``15Kb``, ``10Mbit``."""
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"([\d.]+)([KMG]?)(bit|b|p)?", value)
    assert found, value
    scale: int = {"": 0, "K": 1, "M": 2, "G": 3}[found[2]]
    if found[3] == "bit":
        return round(float(found[1]) * float(1000**scale) / 8)
    return round(float(found[1]) * float(1024**scale))


def as_class(line: str) -> tuple[Any, ...] | None:
    words = line.split()
    if words[1] != "htb":
        return None
    values = dict(itertools.pairwise(words[2:]))
    parent = "root" if "root" in words else values["parent"]
    # Classes with children have no priority of their own.
    priority = int(values.get("prio", 0)) or None
    return (words[2], parent, values.get("leaf"), amount(values["rate"]), amount(values["ceil"]), priority)


def add_routes(told: dict[int, Json], indexes: Mapping[str, int], routes: Iterable[Json], version: int) -> None:
    """``RoutingTables`` as a sorted list of (table, protocol, prefix, priority, gateway) for each interface."""
    for route in routes:
        prefix: str = route["dst"]
        if prefix == "default":
            prefix = "0.0.0.0/0" if version == 4 else "::/0"
        prefix = prefix if "/" in prefix else f"{prefix}/{32 if version == 4 else 128}"
        table, protocol = (number(route[key], names) for key, names in (("table", TABLES), ("protocol", PROTOCOLS)))
        for leg in route.get("nexthops") or [route]:
            if "dev" in leg:
                gateway = leg.get("gateway") or leg.get("via", {}).get("host", "")
                entry = (table, protocol, prefix, route.get("metric", 0), gateway, route.get("nhid", 0))
                told[indexes[leg["dev"]]].setdefault("RoutingTables", []).append(entry)


def number(text: str | int, names: Mapping[str, int]) -> int:
    return names[text] if text in names else int(text)  # type: ignore[index]


def neighbour(
    node: Json, key: str, ip: str | None, mac: str | None, states: Iterable[str], flags: Iterable[str]
) -> None:
    entry = (mac or "", ip or "", tuple(sorted(f"NUD_{state}" for state in states)), tuple(sorted(flags)))
    node.setdefault(key, []).append(entry)


def add_fdb(told: dict[int, Json], indexes: Mapping[str, int], entry: Json) -> None:
    """``bridge`` shows several states at once by the first that it tests, so only the permanent are told apart."""
    words = {"self": "NTF_SELF", "master": "NTF_MASTER", "extern_learn": "NTF_EXT_LEARNED", "sticky": "NTF_STICKY"}
    flags = [words[flag] for flag in entry["flags"] if flag in words]
    state = ["PERMANENT"] if entry.get("state") == "permanent" else []
    neighbour(told[indexes[entry["ifname"]]], "FDB", entry.get("dst"), entry["mac"], state, flags)


def as_vlan(entry: Json) -> Json:
    vlan: Json = {"ID": entry["vlan"]}
    if "PVID" in entry.get("flags", ()):
        vlan["PVID"] = True
    if "Egress Untagged" in entry.get("flags", ()):
        vlan["Untagged"] = True
    return vlan


def add_group(told: dict[int, Json], indexes: Mapping[str, int], entry: Json) -> None:
    found = (entry["grp"], indexes[entry["port"]], "permanent" if entry["state"] == "permanent" else "temporary")
    told[indexes[entry["dev"]]].setdefault("MDB", []).append((*found, entry.get("vid", 0)))


def as_rule(rule: Json, version: int) -> Json:
    whole = 32 if version == 4 else 128
    found: Json = {"Family": "inet" if version == 4 else "inet6", "Priority": rule["priority"]}
    if rule["src"] != "all":
        found["From"] = f"{rule['src']}/{rule.get('srclen', whole)}"
    if "dst" in rule:
        found["To"] = f"{rule['dst']}/{rule.get('dstlen', whole)}"
    if "table" in rule:
        found["Table"] = number(rule["table"], TABLES)
    if "not" in rule:
        found["Not"] = True
    if "goto" in rule:
        found["Goto"] = rule["goto"]
    if "fwmark" in rule:
        found["FwMark"] = int(rule["fwmark"], 16)
    if "iif" in rule:
        found["IIf"] = rule["iif"]
    if "oif" in rule:
        found["OIf"] = rule["oif"]
    found["Action"] = rule.get("action", "goto" if "goto" in rule else "table")
    return found
