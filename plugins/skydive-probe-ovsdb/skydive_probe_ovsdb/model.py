"""What the rows mean: nodes, the edges between them, and which of them a change touches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from skydive_probe_ovsdb import fields
from skydive_probe_ovsdb.rows import Ref, Rows
from skydive_probe_ovsdb.schema import Row

NODE_TABLES: Final = frozenset(reading.table for reading in fields.NODES)
_READINGS: Final = {reading.table: reading for reading in fields.NODES}
TUNNELS: Final = frozenset(
    {"vxlan", "gre", "geneve", "erspan", "ip6gre", "ip6erspan", "gtpu", "lisp", "stt", "bareudp"}
)
WITHOUT_DEVICE: Final = TUNNELS | {"patch", "dpdk", "dpdkvhostuser", "dpdkvhostuserclient", "dpdkr"}
"""Types of which the kernel has no device of the same name."""
_OVS_DRIVEN: Final = WITHOUT_DEVICE | {"internal"}


@attrs.frozen
class Link:
    """An edge between two rows' nodes."""

    parent: Ref
    child: Ref
    relation: str
    type: str = ""


class Model:
    """Reads the rows; keeps only what finds the two ends of a patch by their names."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._named: dict[str, set[str]] = {}
        self._peering: dict[str, set[str]] = {}
        for uuid, row in rows.tables["Interface"].items():
            self._index(uuid, None, row)

    # ------------------------------------------------------------------ what a change touches

    def touched(self, changed: Mapping[Ref, Row | None]) -> set[Ref]:
        """The nodes (existing or not) that may be another's after these changes."""
        found: set[Ref] = set()
        for ref, before in changed.items():
            table, uuid = ref
            after = self.rows.get(table, uuid)
            if table == "Interface":
                found |= self._patches(before) | self._patches(after)
                self._index(uuid, before, after)
                found.add(ref)
            elif table in NODE_TABLES:
                found.add(ref)
            if table == "Port":
                found |= {("Interface", one) for one in _members(before, "interfaces") | _members(after, "interfaces")}
            elif table == "Bridge":
                moved = _members(before, "ports") ^ _members(after, "ports")
                for port in moved:
                    found.add(("Port", port))
                    found |= {("Interface", one) for one in _members(self.rows.get("Port", port), "interfaces")}
                for mirror in _members(before, "mirrors") ^ _members(after, "mirrors"):
                    found |= self._mirroring(self.rows.get("Mirror", mirror))
            elif table == "Mirror":
                found |= self._mirroring(before) | self._mirroring(after)
            if table not in NODE_TABLES:
                found |= self._above(uuid)
        return found

    def _above(self, uuid: str) -> set[Ref]:
        """The nodes whose documents hold this row."""
        found: set[Ref] = set()
        for table, other in self.rows.everyone_referring(uuid):
            found |= {(table, other)} if table in NODE_TABLES else self._above(other)
        return found

    def _mirroring(self, mirror: Row | None) -> set[Ref]:
        output = mirror.get("output_port") if mirror else None
        return {("Port", str(output))} if output else set()

    def _patches(self, row: Row | None) -> set[Ref]:
        """Interfaces that this one may be joined to by name."""
        if row is None or not self._is_patch(row):
            return set()
        near = self._peering.get(str(row.get("name")), set()) | self._named.get(_peer(row), set())
        return {("Interface", uuid) for uuid in near}

    def _index(self, uuid: str, before: Row | None, after: Row | None) -> None:
        for row, add in ((before, False), (after, True)):
            if row is not None and self._is_patch(row):
                for table, name in ((self._named, str(row.get("name"))), (self._peering, _peer(row))):
                    members = table.setdefault(name, set())
                    (members.add if add else members.discard)(uuid)
                    if not members:
                        del table[name]

    @staticmethod
    def _is_patch(row: Row) -> bool:
        return row.get("type") == "patch"

    # ------------------------------------------------------------------ nodes

    def metadata(self, ref: Ref) -> dict[str, Any]:
        """What the database says of a row's node."""
        table, uuid = ref
        row = self.rows.tables[table][uuid]
        found = _READINGS[table].document(row)
        for part in fields.PARTS:
            if part.owner == table:
                documents = list(self._part(part, row))
                if documents:
                    found.setdefault("Ovs", {})[part.key] = documents if part.several else documents[0]
        if table == "Open_vSwitch":
            return found
        found["UUID"] = uuid
        if table == "Bridge":
            found["Type"] = "ovsbridge"
        elif table == "Port":
            found["Type"] = "ovsport"
            vlans = _vlans(row)
            if vlans is not None:
                found["Vlans"] = vlans
        else:
            found.update(_interface(row))
        return found

    def _part(self, part: fields.Part, row: Row) -> Iterator[dict[str, Any]]:
        documents = []
        for uuid in sorted(_members(row, part.column)):
            below = self.rows.get(part.reading.table, uuid)
            if below is None:
                continue
            document = part.reading.document(below)
            if part.reading is fields.QOS:
                queues = list(self._queues(below))
                if queues:
                    document["Queues"] = queues
            elif part.reading is fields.MIRROR:
                for key, column in (
                    ("Output", "output_port"),
                    ("Sources", "select_src_port"),
                    ("Destinations", "select_dst_port"),
                ):
                    names = sorted(self._port_names(below, column))
                    if names:
                        document[key] = names
            documents.append(document)
        yield from sorted(
            documents, key=lambda document: (str(document.get("Name", "")), str(document.get("Target", "")))
        )

    def _queues(self, qos: Row) -> Iterator[dict[str, Any]]:
        queues = qos.get("queues")
        for number in sorted(queues, key=int) if isinstance(queues, dict) else ():
            row = self.rows.get("Queue", str(queues[number])) if isinstance(queues, dict) else None
            yield {"ID": int(number), **(fields.QUEUE.document(row) if row else {})}

    def _port_names(self, row: Row, column: str) -> Iterator[str]:
        for uuid in _members(row, column):
            port = self.rows.get("Port", uuid)
            if port is not None:
                yield str(port.get("name") or "")

    # ------------------------------------------------------------------ edges

    def links(self, ref: Ref) -> Iterator[Link]:
        """The edges that belong to a row's node, without those that depend on where the kernel has it."""
        table, uuid = ref
        if table == "Port":
            for bridge in self.rows.referring(uuid, "Bridge"):
                yield Link(("Bridge", bridge), ref, "ownership")
                yield Link(("Bridge", bridge), ref, "layer2")
            for mirror in self.rows.referring(uuid, "Mirror"):
                yield from self._mirrored(ref, mirror)
        elif table == "Interface":
            for port in self.rows.referring(uuid, "Port"):
                yield Link(("Port", port), ref, "layer2")
            yield from self._patch(ref)

    def bridge_of(self, uuid: str) -> Ref | None:
        """The bridge that has an interface."""
        for port in self.rows.referring(uuid, "Port"):
            for bridge in self.rows.referring(port, "Bridge"):
                return "Bridge", bridge
        return None

    def _mirrored(self, output: Ref, mirror: str) -> Iterator[Link]:
        row = self.rows.tables["Mirror"][mirror]
        if row.get("output_port") != output[1]:
            return
        for bridge in self.rows.referring(mirror, "Bridge"):
            if row.get("select_all"):
                yield Link(output, ("Bridge", bridge), "mirroring")
        for port in _members(row, "select_src_port") | _members(row, "select_dst_port"):
            if port != output[1]:
                yield Link(output, ("Port", port), "mirroring")

    def _patch(self, ref: Ref) -> Iterator[Link]:
        """Both ends must name each other, else no packet passes (ovs-vswitchd.conf.db(5), options:peer)."""
        row = self.rows.tables["Interface"][ref[1]]
        if not self._is_patch(row):
            return
        for other in sorted(self._named.get(_peer(row), ())):
            there = self.rows.tables["Interface"].get(other)
            # Said once, by the end with the lower UUID.
            if there is not None and ref[1] < other and _peer(there) == row.get("name"):
                yield Link(ref, ("Interface", other), "layer2", "patch")


def _members(row: Row | None, column: str) -> frozenset[str]:
    value = row.get(column) if row else None
    if isinstance(value, frozenset):
        return value
    return frozenset({str(value)}) if isinstance(value, str) and value else frozenset()


def _peer(row: Row) -> str:
    options = row.get("options")
    return str(options.get("peer", "")) if isinstance(options, dict) else ""


def _vlans(row: Row) -> int | list[int] | None:
    """The VLANs that a port carries: one as a number, several as a list; None for all.

    Source: ovs-vswitchd.conf.db(5), Port, "VLAN Configuration".
    """
    tag, trunks = row.get("tag"), row.get("trunks")
    numbers = {number for number in trunks if isinstance(number, int)} if isinstance(trunks, frozenset) else set()
    if not isinstance(tag, int):
        return sorted(numbers) or None
    if row.get("vlan_mode") in (None, "access", "dot1q-tunnel") or not numbers:
        return tag
    return sorted(numbers | {tag})


def _interface(row: Row) -> dict[str, Any]:
    """What is worked out of an Interface row."""
    type, status, options = str(row.get("type") or ""), row.get("status"), row.get("options")
    status = status if isinstance(status, dict) else {}
    options = options if isinstance(options, dict) else {}
    found: dict[str, Any] = {}
    if type and type != "system":
        found["Type"] = type
    if type in _OVS_DRIVEN:
        found["Driver"] = "openvswitch"
    elif status.get("driver_name"):
        found["Driver"] = status["driver_name"]
    if row.get("mac_in_use") and type != "internal":
        found["MAC"] = row["mac_in_use"]
    ifindex = row.get("ifindex")
    if isinstance(ifindex, int) and ifindex > 0:
        found["IfIndex"] = ifindex
    if type in TUNNELS:
        for key, where, name in (
            ("LocalIP", options, "local_ip"),
            ("RemoteIP", options, "remote_ip"),
            ("TunEgressIface", status, "tunnel_egress_iface"),
            ("TunEgressIfaceCarrier", status, "tunnel_egress_iface_carrier"),
        ):
            if where.get(name):
                found[key] = where[name]
    return found


def names_of(rows: Iterable[Row]) -> list[str]:
    """The names of rows, sorted."""
    return sorted(str(row.get("name") or "") for row in rows)
