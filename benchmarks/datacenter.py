"""A made-up data centre, the same at every run: hosts with containers under a fabric of switches.

Each host has 4 devices, and 24 times a network namespace with a container and a pair of veth interfaces; each device is
linked to a top-of-rack switch, those to spines.  About 900 bytes of JSON a node, and 1.5 edges a node.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import attrs

Metadata = dict[str, Any]

_COUNTERS = ("RxBytes", "RxDropped", "RxErrors", "RxPackets", "TxBytes", "TxDropped", "TxErrors", "TxPackets")
_CONTAINERS = 24
_HOST_NODES = 5 + 4 * _CONTAINERS
_HOSTS_A_RACK = 20


@attrs.frozen
class DataCentre:
    """``nodes`` maps IDs to metadata, ``edges`` are (parent, child, relation)."""

    nodes: dict[str, Metadata]
    edges: list[tuple[str, str, str]]
    hosts: int


def data_centre(nodes: int, seed: int = 42) -> DataCentre:
    """About that many nodes."""
    chosen = random.Random(seed)
    hosts = max(1, round(nodes / _HOST_NODES))
    made = DataCentre({}, [], hosts)
    for id, metadata, links in streamed(hosts, chosen):
        made.nodes[id] = metadata
        made.edges.extend(links)
    return made


def streamed(hosts: int, chosen: random.Random) -> Iterator[tuple[str, Metadata, list[tuple[str, str, str]]]]:
    """Each node with its metadata, and the edges that lead to it; parents come before their children."""
    for spine in range(4):
        yield f"spine-{spine}", _interface(chosen, f"spine-{spine}", "switch", 0), []
    for rack in range(-(-hosts // _HOSTS_A_RACK)):
        links = [(f"spine-{spine}", f"tor-{rack}", "layer2") for spine in range(4)]
        yield f"tor-{rack}", _interface(chosen, f"tor-{rack}", "switch", 1), links
    for host in range(hosts):
        yield from _host(chosen, host)


def _host(chosen: random.Random, host: int) -> Iterator[tuple[str, Metadata, list[tuple[str, str, str]]]]:
    name = f"host-{host:05d}"
    yield name, {"Name": name, "Type": "host", "OS": "linux", "CPU": [{"Cores": 8}], "KernelVersion": "6.1.0"}, []
    for port in range(4):
        id = f"{name}-eth{port}"
        links = [(name, id, "ownership")]
        if port < 2:
            links.append((f"tor-{host // _HOSTS_A_RACK}", id, "layer2"))
        yield id, _interface(chosen, f"eth{port}", "device", port), links
    for number in range(_CONTAINERS):
        space, box = f"{name}-ns{number}", f"{name}-c{number}"
        inner, outer = f"{box}-in", f"{box}-out"
        yield space, _namespace(chosen, f"ns{number}", host), [(name, space, "ownership")]
        yield box, _container(chosen, f"app-{host}-{number}"), [(space, box, "ownership")]
        yield (
            outer,
            _interface(chosen, f"veth{host:05d}{number:02d}", "veth", number),
            [
                (name, outer, "ownership"),
                (f"{name}-eth0", outer, "layer2"),
            ],
        )
        yield (
            inner,
            _interface(chosen, f"in{host:05d}{number:02d}", "veth", number),
            [
                (space, inner, "ownership"),
                (outer, inner, "layer2"),
            ],
        )


def _interface(chosen: random.Random, name: str, kind: str, index: int) -> Metadata:
    metric = {counter: chosen.randrange(1 << 40) for counter in _COUNTERS}
    return {
        "Name": name,
        "Type": kind,
        "TID": str(chosen.getrandbits(128)),
        "MAC": ":".join(f"{chosen.randrange(256):02x}" for _ in range(6)),
        "MTU": chosen.choice((1450, 1500, 9000)),
        "State": chosen.choice(("UP", "UP", "UP", "DOWN")),
        "IfIndex": index,
        "Driver": kind,
        "EncapType": "ether",
        "LinkFlags": ["UP", "BROADCAST", "MULTICAST"],
        "IPV4": [f"10.{chosen.randrange(256)}.{chosen.randrange(256)}.{chosen.randrange(256)}/24"],
        "Features": {"highdma": True, "rx-checksum": index % 2 == 0, "tx-checksum-ip-generic": True, "rx-gro": True},
        "Metric": {**metric, "Start": 1_700_000_000_000, "Last": 1_700_000_030_000},
        "LastUpdateMetric": {**metric, "Start": 1_700_000_000_000, "Last": 1_700_000_030_000},
    }


def _namespace(chosen: random.Random, name: str, host: int) -> Metadata:
    return {
        "Name": name,
        "Type": "netns",
        "Path": f"/run/netns/{name}",
        "Inode": chosen.getrandbits(32),
        "HostIndex": host,
    }


def _container(chosen: random.Random, name: str) -> Metadata:
    return {
        "Name": name,
        "Type": "container",
        "Manager": "docker",
        "State": "UP",
        "Container": {
            "ID": f"{chosen.getrandbits(256):064x}",
            "Image": chosen.choice(("nginx", "redis", "postgres")),
            "Labels": {"app": name, "tier": chosen.choice(("web", "db"))},
        },
    }
