"""What `/api/status` shows: the shapes that Skydive's clients read, and what is ours besides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from skycore.cluster.uplink import Uplink
from skycore.graph.graph import Graph
from skycore.gremlin import gap_object
from skycore.plugin.host import PluginHost
from skycore.server.flow_hub import FlowHub
from skycore.server.handshake import Client
from skycore.storage.absent import AbsentStore
from skycore.storage.keeper import HistoryKeeper

if TYPE_CHECKING:
    from skycore.role.agent import Agent
    from skycore.role.analyzer import Analyzer

_SHOWN_CONFLICTS = 100


def of_agent(agent: Agent) -> dict[str, Any]:
    """The agent's status."""
    spool = agent.spool
    recorder = agent.recorder
    return {
        "Clients": _clients(agent.hub.subscribers, agent.hub.publishers),
        "Analyzers": {
            name: {
                **_connection("analyzer", uplink.state.analyzer, uplink.state.connected_at, uplink.state.connected),
                "IsMaster": uplink.state.connected,
                "Sent": uplink.state.sent,
                "Acknowledged": uplink.state.acknowledged,
                "ClockSkew": uplink.state.skew,
                "SameAs": uplink.state.same_as,
                "Error": uplink.state.error,
            }
            for name, uplink in _by_host(agent.uplinks).items()
        },
        "TopologyProbes": _probes(agent.plugins),
        "FlowProbes": [] if agent.flows is None else agent.flows.sources.names,
        "Flows": _agent_flows(agent),
        "Injections": agent.injections.status(),
        "Spool": None
        if spool is None or recorder is None
        else {
            "Epoch": recorder.epoch,
            "Written": recorder.written,
            "Bytes": spool.status.bytes,
            "Segments": spool.status.segments,
            "Dropped": spool.status.dropped + recorder.lost,
            "Error": recorder.error,
        },
        "Graph": _graph(agent.graph),
        "Gremlin": {"Faults": agent.step_faults},
    }


def of_analyzer(analyzer: Analyzer) -> dict[str, Any]:
    """The analyzer's status."""
    keeper = analyzer.keeper
    return {
        "Agents": {
            link.host: {
                **_connection("agent", link.address, link.connected_at, True),
                "Version": link.version,
                "Epoch": link.epoch,
                "Entries": link.entries,
                "Revisions": link.revisions,
                "Acknowledged": link.acknowledged,
                "ClockSkew": link.skew,
            }
            for link in analyzer.intake.links.values()
        },
        "Peers": {"Incomers": {}, "Outgoers": {}},
        "Publishers": _clients(analyzer.hub.publishers, analyzer.hub.both),
        "Subscribers": _clients(analyzer.hub.subscribers),
        "FlowSubscribers": _flow_clients(analyzer.flows.hub),
        "Alerts": {"IsMaster": True},
        "Captures": {"IsMaster": True, **analyzer.flows.engine.status()},
        "Injections": {"IsMaster": True, **analyzer.injections.api.status()},
        "Flows": {
            "Backlog": analyzer.flows.intake.backlog,
            **_fields(analyzer.flows.intake.state),
            "Questions": _fields(analyzer.flows.agents.state),
        },
        "Probes": _probes(analyzer.plugins),
        "History": {
            "State": _history_state(keeper),
            "Error": keeper.error,
            "Revisions": keeper.revisions,
            "Commits": keeper.commits,
            "Backlog": keeper.backlog,
            "Gaps": keeper.gaps,
            "LatestGaps": [gap_object(gap) for gap in keeper.latest_gaps],
            "Store": keeper.store.status(),
        },
        "Rules": analyzer.rules.status(),
        "Graph": _graph(analyzer.graph),
        "Gremlin": {"Faults": analyzer.step_faults},
    }


def _by_host(uplinks: Sequence[Uplink]) -> dict[str, Uplink]:
    """Links by the host at their end, as Skydive shows them; by address where that is not known, or one of several."""
    hosts = Counter(uplink.state.remote_host for uplink in uplinks if uplink.state.same_as is None)
    return {
        uplink.state.remote_host
        if uplink.state.same_as is None and uplink.state.remote_host and hosts[uplink.state.remote_host] == 1
        else uplink.state.analyzer: uplink
        for uplink in uplinks
    }


def _agent_flows(agent: Agent) -> dict[str, Any] | None:
    flows = agent.flows
    if flows is None:
        return None
    spool = flows.spool.status
    return {
        "Captures": flows.manager.status(),
        "Forward": _fields(flows.forwarder.state),
        "Answers": _fields(flows.answerer.state),
        "Spool": {"Bytes": spool.bytes, "Segments": spool.segments, "DroppedBatches": spool.dropped},
    }


def _fields(state: Any) -> dict[str, Any]:
    """A record of counters, its fields named as all of status is: LostFlows."""
    return {"".join(map(str.capitalize, name.split("_"))): value for name, value in attrs.asdict(state).items()}


def _history_state(keeper: HistoryKeeper) -> str:
    if isinstance(keeper.store, AbsentStore):
        return "unavailable"
    return "failing" if keeper.error else "running"


def _connection(service: str, address: str, since: int | None, connected: bool) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {
        "ServiceType": service,
        "ClientProtocol": "json",
        "Addr": host,
        "Port": int(port) if port.isdigit() else 0,
        "IsConnected": connected,
        "ConnectTime": None if since is None else _time(since),
    }


def _clients(*pools: Mapping[str, Client]) -> dict[str, Any]:
    return {
        host: {
            **_connection(client.kind, client.address, client.connected_at, True),
            "ClientProtocol": client.protocol,
            "Sent": client.sent,
            "Coalesced": client.coalesced,
            "Refused": client.refused,
            "GremlinFilter": client.filter,
        }
        for pool in pools
        for host, client in pool.items()
    }


def _flow_clients(hub: FlowHub) -> dict[str, Any]:
    return {
        host: {
            **_connection(one.client.kind, one.client.address, one.client.connected_at, True),
            "ClientProtocol": one.client.protocol,
            "Namespaces": sorted(one.namespaces),
            "Sent": one.client.sent,
            "Waiting": len(one.mailbox),
            "Coalesced": one.mailbox.coalesced,
            "Dropped": one.mailbox.dropped + hub.dropped,
        }
        for host, one in hub.clients.items()
    }


def _probes(plugins: PluginHost) -> dict[str, Any]:
    stale = {claimant: staleness for (_, claimant), staleness in plugins.graph.stale.items()}
    return {
        report.name: {
            **report.fields,
            "Status": report.state,
            "Error": report.error,
            "Restarts": report.restarts,
            "Blocked": report.blocked,
            "BlockedLongest": round(report.blocked_longest, 3),
            "Stale": stale[report.name].reason if report.name in stale else None,
        }
        for report in plugins.reports()
    }


def _graph(graph: Graph) -> dict[str, Any]:
    conflicts = [
        {"ID": id, "Key": conflict.key, "Kept": conflict.kept, "Ignored": conflict.ignored}
        for id, found in list(graph.conflicts.items())[:_SHOWN_CONFLICTS]
        for conflict in found
    ]
    return {
        "Nodes": len(graph.nodes),
        "Edges": len(graph.edges),
        "Changes": graph.log.end,
        "Conflicts": conflicts,
        "Stale": [
            {"Origin": origin, "Claimant": claimant, "Since": staleness.since, "Reason": staleness.reason}
            for (origin, claimant), staleness in sorted(graph.stale.items())
        ],
    }


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
