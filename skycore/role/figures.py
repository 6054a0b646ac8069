"""What `/metrics` shows of a role: graph, log, clients, spool, store, plugins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from skycore.graph.graph import Graph
from skycore.plugin.host import PluginHost
from skycore.role.port import Port
from skycore.server.figures import Figure, counter, gauge
from skycore.server.hub import Hub

if TYPE_CHECKING:
    from skycore.role.agent import Agent
    from skycore.role.analyzer import Analyzer
    from skycore.role.flows import AgentFlows, AnalyzerFlows

_STATES = ("starting", "running", "crashed", "failed", "finished", "stopping", "stopped", "stuck")


def of_agent(agent: Agent) -> Iterator[Figure]:
    """The agent's figures."""
    yield from _common(agent.graph, agent.plugins, agent.port)
    yield from _clients(agent.hub)
    links = [(uplink.state.analyzer, uplink.state) for uplink in agent.uplinks]
    yield Figure(
        "link_connected",
        "gauge",
        "Whether an analyzer is connected.",
        [({"analyzer": name}, float(state.connected)) for name, state in links],
    )
    yield Figure(
        "link_sent_entries",
        "counter",
        "Entries of the spool sent to an analyzer.",
        [({"analyzer": name}, state.sent) for name, state in links],
    )
    if agent.flows is not None:
        yield from _agent_flows(agent.flows)
    spool, recorder = agent.spool, agent.recorder
    if spool is not None and recorder is not None:
        yield gauge("spool_bytes", "Size of what waits to be acknowledged.", spool.status.bytes)
        yield gauge("spool_segments", "Files of the spool.", spool.status.segments)
        yield counter("spool_written_entries", "Entries written to the spool in this epoch.", recorder.written)
        yield counter(
            "spool_dropped_revisions",
            "Revisions lost because the spool was full.",
            spool.status.dropped + recorder.lost,
        )


def _agent_flows(flows: AgentFlows) -> Iterator[Figure]:
    counts, table = flows.manager.totals()
    yield gauge("captures", "Captures on nodes of this agent.", sum(1 for _ in flows.manager))
    yield gauge("captures_failing", "Those of them that fail.", sum(one.error is not None for one in flows.manager))
    yield counter("capture_packets", "Packets that came to captures, with those that were dropped.", counts.received)
    yield counter("capture_dropped_packets", "Packets for which a ring had no room.", counts.dropped)
    yield gauge("flow_table_flows", "Flows in the tables.", table.flows)
    yield counter("flow_table_packets", "Packets counted by the tables.", table.packets)
    yield counter("flow_table_created_flows", "Flows that began.", table.created)
    yield counter("flow_table_evicted_flows", "Flows that left a table early because it was full.", table.evicted)
    yield counter("flow_table_ignored_packets", "Packets without a layer that we know.", table.ignored)
    yield counter("flow_table_damaged", "Blocks and streams that could not be read to their end.", table.damaged)
    state, spool = flows.forwarder.state, flows.spool.status
    yield counter("flow_spool_batches", "Batches of flows taken.", state.batches)
    yield counter("flow_spool_flows", "Records of flows taken.", state.flows)
    yield counter("flow_spool_lost_flows", "Records of flows that the disk refused.", state.lost_flows)
    yield counter("flow_spool_dropped_batches", "Batches lost because the spool was full.", spool.dropped)
    yield counter("flow_spool_acknowledged_batches", "Batches that an analyzer has safe.", state.acknowledged)
    yield gauge("flow_spool_bytes", "Size of the spool of flows.", spool.bytes)


def _analyzer_flows(flows: AnalyzerFlows) -> Iterator[Figure]:
    state = flows.intake.state
    yield counter("flow_batches", "Batches of flows committed.", state.batches)
    yield counter("flow_records", "Records of flows committed.", state.flows)
    yield counter("flow_raw_packets", "Packets of flows committed.", state.raw_packets)
    yield counter("flow_refused_records", "Records that could not be understood.", state.refused)
    yield counter("flow_lost_batches", "Batches that never came out of an agent's spool.", state.lost_batches)
    yield gauge("flow_backlog", "Batches that wait for a commit.", flows.intake.backlog)
    yield gauge("flow_failing", "Whether the store of flows refuses what it is given.", float(bool(state.error)))


def of_analyzer(analyzer: Analyzer) -> Iterator[Figure]:
    """The analyzer's figures."""
    yield from _common(analyzer.graph, analyzer.plugins, analyzer.port)
    yield from _clients(analyzer.hub)
    links = list(analyzer.intake.links.values())
    yield gauge("agents", "Agents that are connected.", len(links))
    yield Figure(
        "agent_revisions",
        "counter",
        "Revisions taken from an agent over its present link.",
        [({"agent": link.host}, link.revisions) for link in links],
    )
    yield Figure(
        "agent_clock_skew_seconds",
        "gauge",
        "An agent's clock minus this one.",
        [({"agent": link.host}, link.skew / 1000) for link in links if link.skew is not None],
    )
    yield from _analyzer_flows(analyzer.flows)
    keeper = analyzer.keeper
    yield counter("history_revisions", "Revisions committed to the store.", keeper.revisions)
    yield counter("history_commits", "Commits of the store.", keeper.commits)
    yield gauge("history_backlog", "Records that wait for a commit.", keeper.backlog)
    yield counter("history_gaps", "Intervals in which history misses revisions.", keeper.gaps)
    yield gauge("history_failing", "Whether the store refuses what it is given.", float(bool(keeper.error)))
    sizes = {
        name: float(value)
        for name, value in keeper.store.status().items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    yield Figure(
        "store", "gauge", "What the store says of itself.", [({"field": name}, value) for name, value in sizes.items()]
    )


def _common(graph: Graph, plugins: PluginHost, port: Port) -> Iterator[Figure]:
    yield Figure(
        "graph_elements",
        "gauge",
        "Elements of the live graph.",
        [({"kind": "node"}, len(graph.nodes)), ({"kind": "edge"}, len(graph.edges))],
    )
    yield counter(
        "graph_revisions", "Revisions made since the start: elements that began, changed, ended.", graph.log.end
    )
    yield gauge("graph_log_behind", "Changes that the slowest reader of the log has not read yet.", graph.log.behind)
    yield gauge("graph_stale_claimants", "Claimants that cannot be vouched for at present.", len(graph.stale))
    yield gauge("graph_conflicts", "Elements for which plugins give a key different values.", len(graph.conflicts))
    yield gauge("connections", "Connections to the port.", port.acceptor.connections)
    reports = list(plugins.reports())
    yield Figure(
        "plugin_state",
        "gauge",
        "1 for the state that a plugin is in.",
        [
            ({"plugin": report.name, "state": state}, float(report.state == state))
            for report in reports
            for state in _STATES
        ],
    )
    yield Figure(
        "plugin_restarts",
        "counter",
        "How often a plugin was started again.",
        [({"plugin": report.name}, report.restarts) for report in reports],
    )
    yield Figure(
        "plugin_blocked",
        "counter",
        "How often a plugin held up the event loop for a second or more.",
        [({"plugin": report.name}, report.blocked) for report in reports],
    )


def _clients(hub: Hub) -> Iterator[Figure]:
    pools = {"subscriber": hub.subscribers, "publisher": hub.publishers, "pubsub": hub.both}
    yield Figure(
        "websocket_clients",
        "gauge",
        "WebSocket clients that are connected.",
        [({"endpoint": endpoint}, len(clients)) for endpoint, clients in pools.items()],
    )
    connected = [client for clients in pools.values() for client in clients.values()]
    yield gauge("websocket_sent_messages", "Messages sent to those clients.", sum(client.sent for client in connected))
    yield gauge(
        "websocket_coalesced_changes",
        "Changes that they were not sent, because a later one replaced them.",
        sum(client.coalesced for client in connected),
    )
    yield gauge(
        "websocket_refused_messages",
        "Messages of theirs that were refused.",
        sum(client.refused for client in connected),
    )
