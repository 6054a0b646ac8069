"""Which columns become which metadata keys: the tables that the probe asks for, reads with, and documents.

Source of columns and their meaning: ovs-vswitchd.conf.db(5), schema 8.3 (Open vSwitch 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from skydive_probe_ovsdb.schema import Row, Value

NESTING: Final = 24
"""A key of ``external_ids`` is divided at so many of its first dots at most; what follows stays one key."""


def plain(value: Value) -> Any:
    """A value as JSON: sets as sorted lists, maps with text keys."""
    if isinstance(value, frozenset):
        return sorted(value, key=lambda one: (isinstance(one, str), one))
    if isinstance(value, dict):
        return {str(key): value[key] for key in sorted(value, key=str)}
    return value


def nested(value: Value) -> Any:
    """A map nested by the dots of its keys, so that ``ExtID.a.b`` finds the key ``a.b``; no key is lost.

    Where one key begins another, the shorter keeps its place and the longer stands beside it, its rest undivided.
    """
    if not isinstance(value, dict):
        return {}
    found: dict[str, Any] = {}
    for name in sorted(map(str, value)):
        *path, last = name.split(".", NESTING)
        level = found
        for index, part in enumerate(path):
            below = level.setdefault(part, {})
            if not isinstance(below, dict):
                last = ".".join([*path[index:], last])
                break
            level = below
        level[last] = value[name]
    return found


def without_clocks(value: Value) -> Any:
    """A map without what counts the seconds of a state, which would change the node every few seconds."""
    shown = plain(value)
    return {key: text for key, text in shown.items() if "sec_" not in key} if isinstance(shown, dict) else {}


def known(*words: str) -> Callable[[Value], Any]:
    """Of a map only these keys."""

    def read(value: Value) -> Any:
        return {key: value[key] for key in words if key in value} if isinstance(value, dict) else {}

    return read


@attrs.frozen
class Field:
    """A metadata key (dotted: inside a document), the column it comes from, how it is read, its unit.

    Empty values (None, "", 0, false, empty sets and maps) are left out.
    """

    key: str
    column: str
    unit: str = ""
    read: Callable[[Value], Any] = plain


@attrs.frozen
class Reading:
    """The fields of one table of the database."""

    table: str
    fields: tuple[Field, ...]

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(field.column for field in self.fields)

    def document(self, row: Row) -> dict[str, Any]:
        """Metadata of a row; dotted keys become documents."""
        found: dict[str, Any] = {}
        for field in self.fields:
            value = row.get(field.column)
            if value is None:
                continue
            shown = field.read(value)
            if shown or shown is True:
                document, _, inner = field.key.rpartition(".")
                level = found.setdefault(document, {}) if document else found
                level[inner] = shown
        return found


_NAME: Final = Field("Name", "name")
_EXT_ID: Final = Field("ExtID", "external_ids", read=nested)
_OTHER: Final = Field("Ovs.OtherConfig", "other_config")

BRIDGE: Final = Reading(
    "Bridge",
    (
        _NAME,
        _EXT_ID,
        _OTHER,
        Field("Ovs.Protocols", "protocols"),
        Field("Ovs.DatapathType", "datapath_type"),
        Field("Ovs.DatapathID", "datapath_id"),
        Field("Ovs.DatapathVersion", "datapath_version"),
        Field("Ovs.FailMode", "fail_mode"),
        Field("Ovs.FloodVLANs", "flood_vlans"),
        Field("Ovs.MulticastSnooping", "mcast_snooping_enable"),
        Field("Ovs.STP", "stp_enable"),
        Field("Ovs.RSTP", "rstp_enable"),
        Field("Ovs.Status", "status", read=without_clocks),
        Field("Ovs.RSTPStatus", "rstp_status", read=without_clocks),
    ),
)
PORT: Final = Reading(
    "Port",
    (
        _NAME,
        _EXT_ID,
        _OTHER,
        Field("BondMode", "bond_mode"),
        Field("LACP", "lacp"),
        Field("Ovs.VLANMode", "vlan_mode"),
        Field("Ovs.Tag", "tag"),
        Field("Ovs.Trunks", "trunks"),
        Field("Ovs.CVLANs", "cvlans"),
        Field("Ovs.BondActiveMember", "bond_active_slave"),
        Field("Ovs.BondUpDelay", "bond_updelay", "ms"),
        Field("Ovs.BondDownDelay", "bond_downdelay", "ms"),
        Field("Ovs.BondFakeInterface", "bond_fake_iface"),
        Field("Ovs.FakeBridge", "fake_bridge"),
        Field("Ovs.Protected", "protected"),
        Field("Ovs.MAC", "mac"),
        Field("Ovs.Status", "status", read=without_clocks),
        Field("Ovs.RSTPStatus", "rstp_status", read=without_clocks),
    ),
)
INTERFACE: Final = Reading(
    "Interface",
    (
        _NAME,
        _EXT_ID,
        _OTHER,
        Field("OfPort", "ofport"),
        Field("Ovs.Options", "options"),
        Field("Ovs.Error", "error"),
        Field("Ovs.AdminState", "admin_state"),
        Field("Ovs.LinkState", "link_state"),
        Field("Ovs.LinkResets", "link_resets", "count"),
        Field("Ovs.LinkSpeed", "link_speed", "bit/s"),
        Field("Ovs.Duplex", "duplex"),
        Field("Ovs.MTU", "mtu", "bytes"),
        Field("Ovs.MTURequest", "mtu_request", "bytes"),
        Field("Ovs.OfPortRequest", "ofport_request"),
        Field("Ovs.MACRequest", "mac"),
        Field("Ovs.LACPCurrent", "lacp_current"),
        Field("Ovs.IngressRate", "ingress_policing_rate", "kbit/s"),
        Field("Ovs.IngressBurst", "ingress_policing_burst", "kbit"),
        Field("Ovs.IngressPacketRate", "ingress_policing_kpkts_rate", "1000 packets/s"),
        Field("Ovs.IngressPacketBurst", "ingress_policing_kpkts_burst", "1000 packets"),
        Field("Ovs.BFD", "bfd"),
        Field("Ovs.BFDStatus", "bfd_status", read=without_clocks),
        Field("Ovs.CFMRemoteMPIDs", "cfm_remote_mpids"),
        Field("Ovs.CFMFault", "cfm_fault"),
        Field("Ovs.CFMFaultStatus", "cfm_fault_status"),
        Field("Ovs.LLDP", "lldp"),
        Field("Ovs.Status", "status"),
    ),
)
ROOT: Final = Reading(
    "Open_vSwitch",
    (
        _EXT_ID,
        _OTHER,
        Field("Ovs.Version", "ovs_version"),
        Field("Ovs.DBVersion", "db_version"),
        Field("Ovs.SystemType", "system_type"),
        Field("Ovs.SystemVersion", "system_version"),
        Field("Ovs.DatapathTypes", "datapath_types"),
        Field("Ovs.InterfaceTypes", "iface_types"),
        Field("Ovs.DPDK", "dpdk_initialized"),
        Field("Ovs.DPDKVersion", "dpdk_version"),
    ),
)
NODES: Final = (BRIDGE, PORT, INTERFACE, ROOT)

MIRROR: Final = Reading(
    "Mirror",
    (
        Field("Name", "name"),
        Field("SelectAll", "select_all"),
        Field("SelectVLANs", "select_vlan"),
        Field("OutputVLAN", "output_vlan"),
        Field("SnapLength", "snaplen", "bytes"),
    ),
)
CONTROLLER: Final = Reading(
    "Controller",
    (
        Field("Target", "target"),
        Field("Connected", "is_connected"),
        Field("Role", "role"),
        Field("Mode", "connection_mode"),
        Field("Status", "status", read=known("state", "last_error")),
    ),
)
MANAGER: Final = Reading(
    "Manager",
    (
        Field("Target", "target"),
        Field("Connected", "is_connected"),
        Field("Mode", "connection_mode"),
        Field("Status", "status", read=known("state", "last_error")),
    ),
)
QOS: Final = Reading("QoS", (Field("Type", "type"), Field("OtherConfig", "other_config")))
QUEUE: Final = Reading("Queue", (Field("DSCP", "dscp"), Field("OtherConfig", "other_config")))
NETFLOW: Final = Reading("NetFlow", (Field("Targets", "targets"), Field("ActiveTimeout", "active_timeout", "s")))
SFLOW: Final = Reading(
    "sFlow",
    (
        Field("Targets", "targets"),
        Field("Agent", "agent"),
        Field("Sampling", "sampling"),
        Field("Polling", "polling", "s"),
        Field("Header", "header", "bytes"),
    ),
)
IPFIX: Final = Reading(
    "IPFIX",
    (
        Field("Targets", "targets"),
        Field("Sampling", "sampling"),
        Field("Domain", "obs_domain_id"),
        Field("Point", "obs_point_id"),
    ),
)


@attrs.frozen
class Part:
    """A document (or a list of them) made of the rows that a column refers to."""

    owner: str
    column: str
    key: str
    reading: Reading
    several: bool


PARTS: Final = (
    Part("Bridge", "controller", "Controllers", CONTROLLER, several=True),
    Part("Bridge", "mirrors", "Mirrors", MIRROR, several=True),
    Part("Bridge", "netflow", "NetFlow", NETFLOW, several=False),
    Part("Bridge", "sflow", "SFlow", SFLOW, several=False),
    Part("Bridge", "ipfix", "IPFIX", IPFIX, several=False),
    Part("Port", "qos", "QoS", QOS, several=False),
    Part("Open_vSwitch", "manager_options", "Managers", MANAGER, several=True),
)
"""Each stands inside ``Ovs``.  The queues of a QoS are its ``Queues``, with their number as ``ID``."""

_FURTHER: Final[Mapping[str, tuple[str, ...]]] = {
    "Open_vSwitch": ("bridges", "manager_options"),
    "Bridge": ("ports", "controller", "mirrors", "netflow", "sflow", "ipfix"),
    "Port": ("interfaces", "qos"),
    "Interface": ("type", "ifindex", "mac_in_use"),
    "Mirror": ("output_port", "select_src_port", "select_dst_port"),
    "QoS": ("queues",),
}


def columns_to_watch(statistics: bool) -> dict[str, frozenset[str]]:
    """table → columns.  Statistics change every few seconds and are asked for only when they are wanted."""
    readings: Iterable[Reading] = (*NODES, QUEUE, *(part.reading for part in PARTS))
    found: dict[str, frozenset[str]] = {}
    for reading in readings:
        found[reading.table] = reading.columns | frozenset(_FURTHER.get(reading.table, ()))
    if statistics:
        found["Interface"] |= {"statistics"}
    return found
