"""The sections that belong to plugins and that Skydive's users know.

They are accepted, and their known keys checked, whether or not a plugin that reads them is installed.  A
plugin's own ``Settings`` takes the place of the class here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from skycore.config.schema import state_path
from skycore.config.values import Amount, Count, Minutes, Path, Port, Positive, Seconds, setting

_KUBECONFIG = "/etc/skydive/kubeconfig"


@attrs.frozen(kw_only=True)
class Blockdev:
    lsblk_path: Path = setting("/usr/bin/lsblk", "The lsblk program.")
    iostat_path: str = setting("", "The iostat program.", default_text="/usr/bin/iostat")
    iostat_update: Count = setting(0, "Period of iostat in seconds; 0 never runs it.")


@attrs.frozen(kw_only=True)
class DockerNetns:
    run_path: Path = setting("/var/run/docker/netns", "Folder in which docker binds network namespaces.")


@attrs.frozen(kw_only=True)
class Docker:
    url: str = setting("unix:///var/run/docker.sock", "Address of the docker daemon, or of podman's service.")
    proc_path: Path = setting("/proc", "Where the processes of the daemon's host are found.")
    stopped: bool = setting(False, "Also show containers that do not run.")
    netns: DockerNetns = DockerNetns()


@attrs.frozen(kw_only=True)
class Netlink:
    metrics_update: Seconds = setting(30.0, "How often the counters of interfaces are read.")


@attrs.frozen(kw_only=True)
class Netns:
    run_path: Path = setting("/var/run/netns", "Folder in which named network namespaces are bound.")
    scan: Amount = setting(0.0, "Seconds between two looks for namespaces without a name there; 0 does not look.")


@attrs.frozen(kw_only=True)
class Neutron:
    auth_url: str = setting("", "URL of Keystone.")
    username: str = setting("neutron", "User name.")
    password: str = setting("", "Password.", secret=True)
    tenant_name: str = setting("service", "Project.")
    region_name: str = setting("RegionOne", "Region.")
    domain_name: str = setting("Default", "Domain.")
    endpoint_type: Literal["public", "internal", "admin"] = setting("public", "Which endpoint of Neutron is used.")
    ssl_insecure: bool = setting(False, "Do not verify certificates.")


@attrs.frozen(kw_only=True)
class LLDP:
    interfaces: tuple[str, ...] = setting((), "Interfaces to listen on; none named: all.")


@attrs.frozen(kw_only=True)
class Libvirt:
    url: str = setting("", "URL of libvirt.", default_text="qemu:///system")


@attrs.frozen(kw_only=True)
class Runc:
    run_path: tuple[Path, ...] = setting(
        ("/run/containerd/runc", "/run/runc", "/run/runc-ctrs", "/run/crun"),
        "Folders in which runc and crun keep their state.",
    )
    proc_path: Path = setting("/proc", "Where the processes of the host are found.")
    root_path: Path = setting("/", "Where the file system of the host is found.")
    check: Seconds = setting(2.0, "Seconds between two looks at which containers are paused or have ended.")


@attrs.frozen(kw_only=True)
class SocketInfo:
    host_update: Seconds = setting(10.0, "How often the list of sockets is published on the host node.")
    poll: Seconds = setting(2.0, "Seconds between two looks at the sockets.")
    max_sockets: Positive = setting(2000, "How many sockets one list may hold.")
    proc_path: Path = setting("/proc", "Where the processes of the host are found.")
    processes: bool = setting(False, "Also make a node for each process that has sockets.")


@attrs.frozen(kw_only=True)
class VPP:
    connect: str = setting("", "Prefix of the VPP API segment.")


@attrs.frozen(kw_only=True)
class BESS:
    host: str = setting("127.0.0.1", "Host of the BESS daemon.")
    port: Port = setting(10514, "Port of the BESS daemon.")


@attrs.frozen(kw_only=True)
class PcapSocket:
    bind_address: str = setting("127.0.0.1", "Address on which pcap streams are received.", effective=True)
    min_port: Port = setting(8100, "First TCP port given to captures.", effective=True)
    max_port: Port = setting(8132, "Last TCP port given to captures.", effective=True)


@attrs.frozen(kw_only=True)
class SFlow:
    bind_address: str = setting("127.0.0.1", "Address on which sFlow is received.")
    port_min: Port = setting(6345, "First UDP port given to captures.")
    port_max: Port = setting(6355, "Last UDP port given to captures.")


@attrs.frozen(kw_only=True)
class NetFlow:
    bind_address: str = setting("127.0.0.1", "Address on which NetFlow is received.")
    port_min: Port = setting(6365, "First UDP port given to captures.")
    port_max: Port = setting(6375, "Last UDP port given to captures.")


@attrs.frozen(kw_only=True)
class EBPF:
    polling_rate: Positive = setting(16000, "Flows read from the kernel a second.")


@attrs.frozen(kw_only=True)
class K8s:
    config_file: str = setting(_KUBECONFIG, "Kubernetes configuration; empty: the cluster this runs in comes first.")
    probes: tuple[str, ...] = setting((), "Kinds of objects to show; none named: all.")
    cluster_name: str = setting("", "Name of the cluster's node.")


@attrs.frozen(kw_only=True)
class Istio:
    config_file: str = setting(_KUBECONFIG, "Kubernetes configuration.")
    probes: tuple[str, ...] = setting((), "Kinds of objects to show; none named: all.")


@attrs.frozen(kw_only=True)
class OVN:
    address: str = setting("unix:///var/run/ovn/ovnnb_db.sock", "Northbound database: unix://, tcp: or ssl: address.")
    cert: str = setting("", "PEM file with the certificate shown to the database.")
    key: str = setting("", "PEM file with the key of that certificate.", secret=True)
    cacert: str = setting("", "PEM file with the authority of the database.")


@attrs.frozen(kw_only=True)
class OpenFlow:
    enable: bool = setting(False, "Show OpenFlow rules.")
    native: bool = setting(False, "Speak OpenFlow instead of running ovs-ofctl.")
    openflow_versions: tuple[str, ...] = setting(
        ("OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14"), "Versions that are offered."
    )
    cert: str = setting("", "PEM file with the certificate shown to remote bridges.")
    key: str = setting("", "PEM file with the key of that certificate.", secret=True)
    ca: str = setting("", "PEM file with the authority of remote bridges.")
    address: Mapping[str, str] = setting(dict, "Addresses (ssl:host:port) of remote bridges by name.")


@attrs.frozen(kw_only=True)
class OVS:
    ovsdb: str = setting("unix:///var/run/openvswitch/db.sock", "Address of the OVS database.")
    enable_stats: bool = setting(False, "Read the statistics of OVS interfaces.")


@attrs.frozen(kw_only=True)
class DPDK:
    ports: tuple[str, ...] = setting((), "Ports to capture on.")
    workers: Count = setting(0, "Workers; 0 leaves DPDK out.")
    debug: Count = setting(0, "Period of debugging output in seconds; 0: none.")


@attrs.frozen(kw_only=True)
class OpenContrail:
    host: str = setting("localhost", "Host of the vrouter agent.")
    port: Port = setting(8085, "Port of the vrouter agent.")
    mpls_udp_port: Port = setting(51234, "UDP port of MPLS over UDP.")


@attrs.frozen(kw_only=True)
class EmbeddedStorage:
    path: Path = setting(
        state_path,
        "Folder of all state: store, spool, plugin cache.",
        effective=True,
        default_text="/var/lib/skycore as root, else $XDG_STATE_HOME/skycore",
    )
    retention_days: Amount = setting(30.0, "Days of history that are kept; 0: all.", effective=True)
    max_bytes: Count = setting(
        16 << 30, "Size of the history's file above which old history goes; 0: any.", effective=True
    )
    recent_seconds: Amount = setting(300.0, "How long the past is answered from memory.", effective=True)
    recent_bytes: Count = setting(64 << 20, "Most bytes of the past kept in memory; 0: none.", effective=True)


@attrs.frozen(kw_only=True)
class MemoryStorage:
    """No keys: nothing is kept."""


@attrs.frozen(kw_only=True)
class ElasticsearchAuth:
    username: str = setting("", "User name of HTTP basic authentication.")
    password: str = setting("", "Password of HTTP basic authentication.", secret=True)


_EXCLUDED = (
    "Metadata.*.Extra",
    "Metadata.Container.Labels",
    "Metadata.Container.Hosts.ByIP",
    "Metadata.K8s.Labels",
    "Metadata.Actions",
    "Metadata.Filters",
    "Metadata.LXD.Config",
    "Metadata.LXD.Devices",
    "Metadata.OVN.ExtID",
    "Metadata.OVN.Options",
    "Metadata.OVN.IPv6RAConfigs",
)


@attrs.frozen(kw_only=True)
class Elasticsearch:
    hosts: tuple[str, ...] = setting(("http://127.0.0.1:9200",), "URLs of the cluster.")
    host: str = setting("", "One ip:port of the cluster; used instead of hosts when set.")
    ssl_insecure: bool = setting(False, "Do not verify certificates.")
    auth: ElasticsearchAuth = ElasticsearchAuth()
    bulk_maxdelay: Seconds = setting(5.0, "How long documents may wait for a bulk request.")
    index_entries_limit: Count = setting(0, "Documents after which an index is rolled; 0: never.")
    index_age_limit: Minutes = setting(0, "Age after which an index is rolled; 0: never.")
    indices_to_keep: Count = setting(0, "Rolled indices that are kept; 0: all.")
    index_prefix: str = setting("skydive_", "Prefix of the names of indices.")
    total_fields_limit: Positive = setting(1000, "index.mapping.total_fields.limit of the indices.")
    exclude_from_mapping: tuple[str, ...] = setting(_EXCLUDED, "Fields that are not indexed one by one.")
    use_flattened: bool = setting(True, "Give those fields the type flattened.")
    flattened_ignore_above: Positive = setting(32768, "Longest value of a flattened field that is indexed.")
    disable_sniffing: bool = setting(False, "Do not ask the cluster for its nodes.")
    disable_healthcheck: bool = setting(False, "Do not check the health of nodes.")
    debug: bool = setting(False, "Log requests.")


@attrs.frozen(kw_only=True)
class OrientDB:
    addr: str = setting("http://localhost:2480", "URL of the server.")
    database: str = setting("Skydive", "Name of the database.")
    username: str = setting("root", "User name.")
    password: str = setting("root", "Password.", secret=True)


@attrs.frozen(kw_only=True)
class BasicAuth:
    file: str = setting("", "htpasswd file; read again when it changes.", effective=True)
    users: Mapping[str, str] = setting(
        dict,
        "Passwords, or their hashes as in an htpasswd file, by user; used without file.",
        effective=True,
        secret=True,
    )


@attrs.frozen(kw_only=True)
class Keystone:
    auth_url: str = setting("", "URL of Keystone.")
    tenant_name: str = setting("admin", "Project that users must belong to.")
    domain_name: str = setting("Default", "Domain of the project.")


@attrs.frozen(kw_only=True)
class NoAuth:
    """No keys: everybody is admitted."""


SECTIONS: Mapping[str, type] = {
    "agent.topology.blockdev": Blockdev,
    "agent.topology.docker": Docker,
    "agent.topology.netlink": Netlink,
    "agent.topology.netns": Netns,
    "agent.topology.neutron": Neutron,
    "agent.topology.lldp": LLDP,
    "agent.topology.libvirt": Libvirt,
    "agent.topology.runc": Runc,
    "agent.topology.socketinfo": SocketInfo,
    "agent.topology.vpp": VPP,
    "agent.topology.bess": BESS,
    "agent.flow.pcapsocket": PcapSocket,
    "agent.flow.sflow": SFlow,
    "agent.flow.netflow": NetFlow,
    "agent.flow.ebpf": EBPF,
    "analyzer.topology.k8s": K8s,
    "analyzer.topology.istio": Istio,
    "analyzer.topology.ovn": OVN,
    "ovs": OVS,
    "ovs.oflow": OpenFlow,
    "dpdk": DPDK,
    "opencontrail": OpenContrail,
}
"""Sections at a fixed place, by dotted path."""

STORAGE: Mapping[str, type] = {
    "embedded": EmbeddedStorage,
    "memory": MemoryStorage,
    "elasticsearch": Elasticsearch,
    "orientdb": OrientDB,
}
"""Sections of storage drivers, by driver; a storage section with the same name exists without being written."""

AUTH: Mapping[str, type] = {"basic": BasicAuth, "keystone": Keystone, "noauth": NoAuth}
"""Sections of authentication types, by type; an auth section with the same name exists without being written."""
