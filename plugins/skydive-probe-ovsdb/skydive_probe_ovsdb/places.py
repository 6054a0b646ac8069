"""Where the kernel has the device of an Interface row: the node that netlink made of it, if there is one.

A row is the same thing as a device when both have the same name and index in the namespace of the switch.  A
device of type ``internal`` may have been moved into another namespace; then the row has lost its index, and name and
MAC address tell.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, Final
from uuid import NAMESPACE_OID, uuid5

from skycore.plugin import Equals, Key, Namespace, Present, ProbeHost
from skydive_probe_ovsdb.model import TUNNELS, WITHOUT_DEVICE
from skydive_probe_ovsdb.schema import Row

_INTERNAL: Final = frozenset({"internal", "tuntap", "openvswitch"})
"""What the nodes of internal devices have as Type: ours, netlink's of a userspace and of the kernel's datapath."""
_DATAPATHS: Final = ("ovs-system", "ovs-netdev")


class Places:
    """Finds the nodes of devices, over views of what other probes say."""

    def __init__(self, host: ProbeHost) -> None:
        self._host = host
        # Only netlink says flags; our own nodes are none to be found.
        self._devices = host.graph.view(Present("LinkFlags"), ("Name",))
        self._namespaces = host.graph.view(Equals("Type", "netns"))
        self._macs: dict[str, str] = {}
        self._found: dict[str, Key] = {}

    async def changed(self) -> None:
        """Return when the graph is another one."""
        await self._devices.changed()

    def find(self, uuid: str, row: Row) -> Key | None:
        """The key of the device's node; None when there is none (yet)."""
        type, name, ifindex = row.get("type"), row.get("name"), row.get("ifindex")
        mac = row.get("mac_in_use")
        if isinstance(mac, str) and mac:
            self._macs[uuid] = mac
        if type in WITHOUT_DEVICE:
            return None
        nodes = self._devices.find(name)
        for id, node in nodes:
            key = self._here(id, node) if node.get("IfIndex") == ifindex else None
            # A switch elsewhere may have a device of this name and index.  Of what was found before, the address may
            # have changed a moment ago.
            if key and (self._found.get(uuid) == key or not mac or node.get("MAC", mac) == mac):
                self._found[uuid] = key
                return key
        return self._moved(uuid, row, nodes) if type == "internal" and nodes else None

    def forget(self, uuid: str) -> None:
        """The row is gone."""
        self._macs.pop(uuid, None)
        self._found.pop(uuid, None)

    def datapath(self) -> Key:
        """The node that stands for the switch as a whole: its datapath's device, else the host."""
        for name in _DATAPATHS:
            for id, node in self._devices.find(name):
                if key := self._here(id, node):
                    return key
        return self._host.root

    def way(self, row: Row) -> tuple[Key | None, dict[str, Any]]:
        """The interface through which a tunnel's packets leave, and the document ``Tunnel``.

        ``LowEnds`` and ``HighEnds`` are written as the netlink probe writes them, so that the ends find each other.
        """
        options, status, type = row.get("options"), row.get("status"), str(row.get("type"))
        if type not in TUNNELS or not isinstance(options, dict):
            return None, {}
        name = status.get("tunnel_egress_iface") if isinstance(status, dict) else None
        egress: tuple[Key, dict[str, Any]] | None = None
        for id, node in self._devices.find(name) if name else ():
            if key := self._here(id, node):
                egress = key, node
        document: dict[str, Any] = {}
        if egress:
            document["Egress"] = egress[1]["IfIndex"]
        remote, local = str(options.get("remote_ip", "")), str(options.get("local_ip", ""))
        source = local or (_source(egress[1], remote) if egress else "")
        if source:
            document["Source"] = source
        document.update(_ends(type, options, source, remote))
        return egress[0] if egress else None, document

    def _here(self, id: str, node: dict[str, Any]) -> Key | None:
        return self._in(self._host.namespace, id, node)

    def _in(self, namespace: Namespace, id: str, node: dict[str, Any]) -> Key | None:
        key = self._host.interface_key(namespace, node.get("IfIndex", 0))
        # How a key becomes an ID is part of the contract: docs/claims.md, Identity.
        return key if str(uuid5(NAMESPACE_OID, f"{self._host.host_id}/{key.kind}/{key.value}")) == id else None

    def _moved(self, uuid: str, row: Row, nodes: list[tuple[str, dict[str, Any]]]) -> Key | None:
        external = row.get("external_ids")
        macs = {self._macs.get(uuid), external.get("attached-mac") if isinstance(external, dict) else None} - {None}
        fitting = [
            (id, node)
            for id, node in nodes
            if node.get("Type") in _INTERNAL and (not macs or node.get("MAC") in macs) and not self._here(id, node)
        ]
        if len(fitting) != 1:
            return None
        return next((key for namespace in self._others() if (key := self._in(namespace, *fitting[0]))), None)

    def _others(self) -> Iterator[Namespace]:
        for _, node in self._namespaces.all():
            path = node.get("Path")
            if isinstance(path, str):
                try:
                    yield self._host.netns(path)
                except OSError:
                    continue


def _source(egress: dict[str, Any], remote: str) -> str:
    """The address from which a remote end is reached: that of its network, else the first of its family."""
    try:
        there = ipaddress.ip_address(remote)
    except ValueError:
        return ""
    known = egress.get("IPV4" if there.version == 4 else "IPV6", ())
    addresses = [ipaddress.ip_interface(text) for text in known]
    near = [one for one in addresses if there in one.network]
    return str((near or addresses)[0].ip) if addresses else ""


def _ends(type: str, options: dict[Any, Any], source: str, remote: str) -> dict[str, list[str]]:
    try:
        here, there = ipaddress.ip_address(source), ipaddress.ip_address(remote)
    except ValueError:
        return {}
    if here.version != there.version or here == there or there.is_multicast:
        return {}
    common = str(options.get("key", ""))
    coming, going = str(options.get("in_key", common)), str(options.get("out_key", common))
    first = here.packed < there.packed
    if type in ("gre", "ip6gre"):
        # Open vSwitch's carry Ethernet frames, as the kernel's gretap does.
        words = ["gretap" if type == "gre" else "ip6gretap", "", *((going, coming) if first else (coming, going))]
    else:
        words = [type, going if going == coming else "", "", ""]
    addresses = (here, there) if first else (there, here)
    return {"LowEnds" if first else "HighEnds": ["/".join([*words, *map(str, addresses)])]}
