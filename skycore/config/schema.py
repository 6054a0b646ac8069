"""Every configuration key of the core: type, default, meaning, and whether it has an effect in this version.

The keys are those that Skydive's users know; what differs is listed in docs/deviations.md.  The sections that
belong to plugins are in ``skycore.config.sections``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, Literal, TypeAlias

import attrs

from skycore.config.address import Address
from skycore.config.values import (
    Amount,
    Bytes,
    Count,
    HostID,
    Level,
    PacketRate,
    Path,
    Port,
    Positive,
    ProbeName,
    Seconds,
    Word,
    setting,
)

Encoder: TypeAlias = Literal["", "json", "console"]


def host_name() -> str:
    """The name of this machine."""
    return socket.gethostname() or "localhost"


def state_path() -> str:
    """Where state is kept: ``/var/lib/skycore`` for root, else ``skycore`` in the user's state folder (XDG)."""
    if os.geteuid() == 0:
        return "/var/lib/skycore"
    home = os.environ.get("XDG_STATE_HOME") or str(FilePath.home() / ".local" / "state")
    return str(FilePath(home) / "skycore")


@attrs.frozen(kw_only=True)
class TLS:
    client_cert: str = setting("", "PEM file with the X509 certificate shown when connecting out.", effective=True)
    client_key: str = setting("", "PEM file with the key of tls.client_cert.", effective=True, secret=True)
    server_cert: str = setting("", "PEM file with the X509 certificate of the listening side.", effective=True)
    server_key: str = setting("", "PEM file with the key of tls.server_cert.", effective=True, secret=True)
    ca_cert: str = setting(
        "",
        "PEM file with the authorities trusted in both directions.",
        effective=True,
        default_text="those of the system",
    )
    require_client_cert: bool = setting(
        False, "Refuse clients that show no certificate of tls.ca_cert.", effective=True
    )


@attrs.frozen(kw_only=True)
class Rest:
    query_timeout: Seconds = setting(10.0, "How long one query may run.", effective=True)
    query_elements: Positive = setting(1_000_000, "How many elements one query may hold in a step.", effective=True)
    debug: bool = setting(False, "Nothing; accepted because Skydive lists it.")


@attrs.frozen(kw_only=True)
class WebSocket:
    ping_delay: Seconds = setting(2.0, "How often a server pings its WebSocket clients.", effective=True)
    pong_timeout: Seconds = setting(
        5.0, "How long after the next ping is due a silent peer counts as lost.", effective=True
    )
    bulk_maxmsgs: Count = setting(100, "Nothing; accepted because Skydive lists it.")
    bulk_maxdelay: Seconds = setting(2.0, "Nothing; accepted because Skydive lists it.")
    queue_size: Positive = setting(10000, "Messages that may wait for one connection.")
    enable_write_compression: bool = setting(
        True, "Compress WebSocket messages for clients that offer permessage-deflate.", effective=True
    )


@attrs.frozen(kw_only=True)
class HTTP:
    cookie: Mapping[str, str] = setting(dict, "Cookies sent by outgoing connections, for proxies.", secret=True)
    allowed_origins: tuple[str, ...] = setting(
        (), "Origins (https://host:port) whose pages may use cookies, or a port without authentication.", effective=True
    )
    session_time: Seconds = setting(86400.0, "How long a login lasts.", effective=True)
    rest: Rest = Rest()
    ws: WebSocket = WebSocket()


@attrs.frozen(kw_only=True)
class LogStream:
    level: Level | None = setting(None, "Level of this backend.", default_text="logging.level")
    encoder: Encoder = setting("", "Encoder of this backend; empty: logging.encoder.")


@attrs.frozen(kw_only=True)
class LogFile(LogStream):
    path: Path = setting("/var/log/skydive.log", "File that the file backend appends to.")


@attrs.frozen(kw_only=True)
class Syslog(LogStream):
    protocol: str = setting("unixgram", "How the syslog daemon is reached: unixgram, unix, udp or tcp.")
    address: str = setting("/dev/log", "Socket or address of the syslog daemon.")
    tag: str = setting("skydive", "Tag of the messages.")


@attrs.frozen(kw_only=True)
class Logging:
    level: Level = setting("INFO", "Least severity that is logged; NOTICE is INFO.", effective=True)
    backends: tuple[Literal["stderr", "stdout", "file", "syslog"], ...] = setting(("stderr",), "Where the log goes.")
    encoder: Encoder = setting("", "Form of a log line; empty: console.", effective=True)
    color: bool = setting(True, "Colour the levels of console lines.", effective=True)
    id: str = setting("", "Prefix of log lines after the host's name.", default_text="the role")
    stderr: LogStream = LogStream()
    stdout: LogStream = LogStream()
    file: LogFile = LogFile()
    syslog: Syslog = Syslog()


@attrs.frozen(kw_only=True)
class Cache:
    expire: Count = setting(300, "Nothing; accepted because Skydive lists it.")
    cleanup: Count = setting(30, "Nothing; accepted because Skydive lists it.")


@attrs.frozen(kw_only=True)
class GoPluginTopology:
    probes: tuple[str, ...] = setting((), "Nothing; Go plugins cannot be loaded.")


@attrs.frozen(kw_only=True)
class GoPlugin:
    plugins_dir: str = setting("", "Nothing; Go plugins cannot be loaded.")
    topology: GoPluginTopology = GoPluginTopology()


@attrs.frozen(kw_only=True)
class Cluster:
    token_file: str = setting(
        "", "File that holds the token which agents and analyzers share.", effective=True, secret=True
    )


@attrs.frozen(kw_only=True)
class APIAuth:
    backend: Word = setting("noauth", "Name of the auth section that checks users of the API.", effective=True)


@attrs.frozen(kw_only=True)
class Credentials:
    username: str = setting("", "User name sent to analyzers when there is no cluster.token_file.", effective=True)
    password: str = setting("", "Password sent to analyzers.", effective=True, secret=True)


@attrs.frozen(kw_only=True)
class ClusterAuth:
    username: str = setting("", "User name sent to other analyzers.")
    password: str = setting("", "Password sent to other analyzers.", secret=True)
    backend: Word = setting(
        "noauth", "Name of the auth section that checks agents which do not show the cluster token.", effective=True
    )


@attrs.frozen(kw_only=True)
class AgentAuth:
    api: APIAuth = APIAuth()
    cluster: Credentials = Credentials()


@attrs.frozen(kw_only=True)
class AgentTopology:
    probes: tuple[ProbeName, ...] = setting(
        (), "Topology probes to run besides netlink and netns; -name leaves one of those out.", effective=True
    )


@attrs.frozen(kw_only=True)
class AgentFlow:
    probes: tuple[ProbeName, ...] = setting(
        ("gopacket", "pcapsocket"),
        "Flow sources that captures may use; what is installed needs no mention, -name takes one out.",
        effective=True,
    )


@attrs.frozen(kw_only=True)
class Capture:
    stats_update: Seconds = setting(
        1.0, "How soon the counters of a new capture are published; later each minute.", effective=True
    )


@attrs.frozen(kw_only=True)
class MetadataFile:
    path: Path
    type: Literal["json", "toml", "ini", "yaml", "yml", "properties", "props", "prop"]
    name: str
    selector: str


@attrs.frozen(kw_only=True)
class MetadataConfig:
    files: tuple[MetadataFile, ...] = setting(
        (), "Files whose value at selector becomes Config.<name> of the host node, followed live.", effective=True
    )


@attrs.frozen(kw_only=True)
class AgentInjection:
    enabled: bool = setting(True, "Send packets that users of an analyzer ask for.", effective=True)
    injector: Word = setting("scapy", "Which injector makes them (skydive-inject-NAME).", effective=True)
    max_rate: PacketRate = setting(1000.0, "Most packets a second of one injection on one node.", effective=True)
    max_active: Positive = setting(16, "Most injections that run at once.", effective=True)


@attrs.frozen(kw_only=True)
class AnalyzerInjection:
    max_count: Positive = setting(100000, "Most packets that one injection sends from each node.", effective=True)
    max_nodes: Positive = setting(100, "Most nodes that one injection sends from.", effective=True)
    max_active: Positive = setting(100, "Most injections that run at once.", effective=True)
    max_per_minute: Positive = setting(120, "Most injections that are made within a minute.", effective=True)
    refused_networks: tuple[str, ...] = setting(
        (), "Networks (10.0.0.0/8) to which nothing is sent; recordings are not sent at all then.", effective=True
    )


@attrs.frozen(kw_only=True)
class Spool:
    max_bytes: Bytes = setting(
        256 << 20, "Most bytes kept on disk for analyzers that cannot be reached.", effective=True
    )


@attrs.frozen(kw_only=True)
class Agent:
    listen: Address = setting(Address("127.0.0.1", 8081), "Address of the agent's API.", effective=True)
    auth: AgentAuth = AgentAuth()
    topology: AgentTopology = AgentTopology()
    flow: AgentFlow = AgentFlow()
    capture: Capture = Capture()
    injection: AgentInjection = AgentInjection()
    metadata: Mapping[str, Any] = setting(dict, "Metadata added to the host node.", effective=True)
    metadata_config: MetadataConfig = MetadataConfig()
    spool: Spool = Spool()


@attrs.frozen(kw_only=True)
class AnalyzerAuth:
    api: APIAuth = APIAuth()
    cluster: ClusterAuth = ClusterAuth()


@attrs.frozen(kw_only=True)
class Startup:
    capture_gremlin: str = setting(
        "", "Gremlin expression of the interfaces on which a capture is made at start.", effective=True
    )
    capture_bpf: str = setting("", "BPF filter of that capture.", effective=True)
    capture_type: str = setting("", "Type of that capture.", effective=True)


@attrs.frozen(kw_only=True)
class AnalyzerFlow:
    backend: Word = setting(
        "embedded", "Name of the storage section that keeps flows; memory keeps none.", effective=True
    )
    max_buffer_size: Positive = setting(100000, "Flows that may wait in the analyzer.")


@attrs.frozen(kw_only=True)
class AnalyzerTopology:
    backend: Word = setting("embedded", "Name of the storage section that keeps the graph's history.", effective=True)
    probes: tuple[ProbeName, ...] = setting((), "Topology probes of the analyzer.", effective=True)
    fabric: tuple[str, ...] = setting(
        (), "Static nodes and links between them and the hosts (skydive-probe-fabric).", effective=True
    )


@attrs.frozen(kw_only=True)
class Peer:
    endpoints: tuple[Address, ...] = setting((), "Analyzers of the other cluster.")
    publish_filter: str = setting("", "What is sent to the other cluster: k=v,k=v over metadata, or * for all.")
    subscribe_filter: str = setting("", "What is asked from the other cluster: a Gremlin expression, or * for all.")
    username: str = setting("", "User name sent to the other cluster.")
    password: str = setting("", "Password sent to the other cluster.", secret=True)


@attrs.frozen(kw_only=True)
class Replication:
    debug: bool = setting(False, "Nothing; accepted because Skydive lists it.")


@attrs.frozen(kw_only=True)
class Analyzer:
    listen: Address = setting(Address("127.0.0.1", 8082), "Address of the analyzer's API.", effective=True)
    auth: AnalyzerAuth = AnalyzerAuth()
    startup: Startup = Startup()
    flow: AnalyzerFlow = AnalyzerFlow()
    injection: AnalyzerInjection = AnalyzerInjection()
    topology: AnalyzerTopology = AnalyzerTopology()
    agent_timeout: Seconds = setting(35.0, "How long the elements of a lost agent stay, stale.", effective=True)
    cluster: str = setting("", "Name of this cluster; needed when there are peers.")
    peers: Mapping[str, Peer] = attrs.Factory(dict)
    replication: Replication = Replication()
    ssh_enabled: bool = setting(False, "Nothing; Skydive's web terminal has no authentication.")


_TIMEOUTS = {"arp": 10.0, "dns": 10.0}


def _with_timeouts(written: Mapping[str, float]) -> Mapping[str, float]:
    return {**_TIMEOUTS, **written}


@attrs.frozen(kw_only=True)
class ApplicationPorts:
    tcp: Mapping[Port, str] = setting(dict, "Names of applications by TCP port.", effective=True)
    udp: Mapping[Port, str] = setting(dict, "Names of applications by UDP port.", effective=True)


@attrs.frozen(kw_only=True)
class Flow:
    expire: Seconds = setting(600.0, "Idle time after which a flow ends.", effective=True)
    update: Seconds = setting(60.0, "How often a running flow is reported.", effective=True)
    protocol: Literal["udp", "websocket"] = setting("udp", "How flows reach the analyzer.")
    max_entries: Positive = setting(500000, "Flows that one flow table may hold.", effective=True)
    default_layer_key_mode: Literal["L2", "L3"] = setting("L2", "Lowest layer of a flow's key.", effective=True)
    application_ports: ApplicationPorts = ApplicationPorts()
    application_timeout: Mapping[Word, Seconds] = setting(
        lambda: dict(_TIMEOUTS), "Shorter idle times by application.", converter=_with_timeouts, effective=True
    )


@attrs.frozen(kw_only=True)
class Etcd:
    embedded: bool = setting(True, "Start an etcd inside the analyzer.")
    listen: Address = setting(Address("127.0.0.1", 12379), "Client address of that etcd; its peers use the next port.")
    data_dir: Path = setting("/var/lib/skydive/etcd", "Folder of that etcd.")
    name: str = setting(host_name, "Name of that etcd's member.", default_text="the host's name")
    peers: Mapping[str, str] = setting(dict, "URLs of all members by name.")
    servers: tuple[str, ...] = setting((), "URLs of the etcd to use.")
    max_wal_files: Count = setting(5, "Write-ahead logs that are kept.")
    max_snap_files: Count = setting(5, "Snapshots that are kept.")
    client_timeout: Seconds = setting(5.0, "How long an answer of etcd may take.")
    debug: bool = setting(False, "Nothing; accepted because Skydive lists it.")


@attrs.frozen(kw_only=True)
class RBACModel:
    request_definition: tuple[str, ...] = setting(("sub, obj, act",), "Casbin's request definition.", effective=True)
    policy_definition: tuple[str, ...] = setting(("sub, obj, act, eft",), "Casbin's policy definition.", effective=True)
    role_definition: tuple[str, ...] = setting(("_, _",), "Casbin's role definition.", effective=True)
    policy_effect: tuple[str, ...] = setting(
        ("some(where (p_eft == allow)) && !some(where (p_eft == deny))",), "Casbin's policy effect.", effective=True
    )
    matchers: tuple[str, ...] = setting(
        ("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act",), "Casbin's matchers.", effective=True
    )


@attrs.frozen(kw_only=True)
class RBAC:
    model: RBACModel = RBACModel()
    policy: tuple[str, ...] = setting(
        (), "Lines of policy (p, …) and of roles (g, …) besides the built-in ones.", effective=True
    )


@attrs.frozen(kw_only=True)
class UITopology:
    favorites: Mapping[str, str] = setting(dict, "Gremlin expressions by name, offered as filter and highlight.")
    default_filter: str = setting("", "Favourite that filters at start.")
    default_highlight: str = setting("", "Favourite that highlights at start.")


@attrs.frozen(kw_only=True)
class UIBPF:
    favorites: Mapping[str, str] = setting(dict, "BPF filters by name, offered when a capture is made.")


@attrs.frozen(kw_only=True)
class UI:
    extra_assets: str = setting("", "Folder with style sheets and scripts that the page includes.")
    theme: Literal["dark", "light"] = setting("dark", "Theme of the page.")
    topology: UITopology = UITopology()
    bpf: UIBPF = UIBPF()
    bandwidth_update_rate: Seconds = setting(5.0, "How often bandwidths are read.")
    bandwidth_threshold: Literal["relative", "absolute"] = setting(
        "relative", "Compare bandwidths with the link's speed (relative) or with kbit/s (absolute)."
    )
    bandwidth_absolute_active: Amount = setting(1.0, "Bandwidth above which a link counts as active, kbit/s.")
    bandwidth_absolute_warning: Amount = setting(100.0, "Bandwidth above which a link is shown as a warning, kbit/s.")
    bandwidth_absolute_alert: Amount = setting(1000.0, "Bandwidth above which a link is shown as an alert, kbit/s.")
    bandwidth_relative_active: Amount = setting(0.1, "Part of the speed above which a link counts as active.")
    bandwidth_relative_warning: Amount = setting(0.5, "Part of the speed above which a link is shown as a warning.")
    bandwidth_relative_alert: Amount = setting(0.8, "Part of the speed above which a link is shown as an alert.")
    ssh_enabled: bool = setting(False, "Nothing; Skydive's web terminal has no authentication.")
    k8s_enabled: bool = setting(False, "Show Kubernetes.")
    istio_enabled: bool = setting(False, "Show Istio.")


@attrs.frozen
class Storage:
    """A ``storage.<name>`` section; ``settings`` is an instance of the ``Settings`` of its driver."""

    driver: str
    settings: Any = attrs.field(repr=False)


@attrs.frozen
class Auth:
    """An ``auth.<name>`` section; ``settings`` is an instance of the ``Settings`` of its type."""

    type: str
    settings: Any = attrs.field(repr=False)
    role: str = "admin"


@attrs.frozen(kw_only=True)
class Config:
    """The whole configuration.

    ``plugins`` holds the settings of every section that belongs to a plugin, by its dotted path
    (``agent.topology.docker``): an instance of the plugin's ``Settings`` when one was given to ``load``.
    """

    host_id: HostID = setting(
        host_name, "Name of this host, unique in the cluster.", effective=True, default_text="the host's name"
    )
    analyzers: tuple[Address, ...] = setting(
        (), "Analyzers that agents report to, and that analyzers replicate with.", effective=True
    )
    tls: TLS = TLS()
    http: HTTP = HTTP()
    logging: Logging = Logging()
    cache: Cache = Cache()
    plugin: GoPlugin = GoPlugin()
    cluster: Cluster = Cluster()
    agent: Agent = Agent()
    analyzer: Analyzer = Analyzer()
    flow: Flow = Flow()
    storage: Mapping[str, Storage] = attrs.Factory(dict)
    auth: Mapping[str, Auth] = attrs.Factory(dict)
    etcd: Etcd = Etcd()
    rbac: RBAC = RBAC()
    ui: UI = UI()
    plugins: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
