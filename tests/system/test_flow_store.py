"""Flows at an analyzer, end to end: what the graph knows of them is kept with them, and who sent most is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from skycore.client.calls import Call
from skycore.testing.lab import FakeHost
from tests.system.processes import Process, until
from tests.system.test_captures import agent, analyzer, create, flows, host, run_in, send, states

__all__ = ["agent", "analyzer", "host"]

pytestmark = pytest.mark.needs("root", "ip", "nsenter")


def top(process: Process, by: str) -> list[dict[str, Any]]:
    call = Call("GET", f"/api/flows/top?by={by}", msgspec.json.decode)
    found: list[dict[str, Any]] = run_in(process, lambda client: client.run(call))["Talkers"]
    return found


def test_flows_know_their_ends_and_talkers_are_told(host: FakeHost, analyzer: Process, agent: Process) -> None:
    create(analyzer, "G.V().Has('Name', 'vb')", BPFFilter="udp port 7777")
    until(lambda: states(analyzer, "vb") == ["active"])
    send(host, 7777, 5)
    until(lambda: [flow["Metric"]["ABPackets"] for flow in flows(analyzer)] == [5])
    (flow,) = flows(analyzer)
    assert (flow["At"]["Name"], flow["At"]["Node"]) == ("vb", flow["NodeTID"])
    assert (flow["From"]["Name"], flow["From"]["Type"]) == ("va", "veth")
    assert "To" not in flow
    until(lambda: [one["A"] for one in top(analyzer, "address")] == ["10.9.0.1", "10.9.0.2"])
    (pair,) = top(analyzer, "pair")
    assert (pair["ABPackets"], pair["BAPackets"], pair["Node"]) == (5, 0, flow["NodeTID"])

    def past(query: str) -> Any:
        return run_in(analyzer, lambda client: client.query(f"G.At('-1ms', '10m').{query}"))

    assert [one["UUID"] for one in past("Flows().Has('From.Name', 'va')")] == [flow["UUID"]]
    assert past("Flows().Has('From.Container', 'va')") in (None, [])
    # What is at the other end comes to be known only now: the stored flow has it when it is asked for.
    host.run("ip", "link", "add", "late", "type", "bridge")
    host.run("ip", "address", "add", "10.9.0.2/32", "dev", "late")
    until(lambda: [one["To"]["Name"] for one in past("Flows().Has('To.Name', 'late')") or []] == ["late"])
