"""Steps of the query language come from plugins as they come from the core."""

from __future__ import annotations

import types

import msgspec
import pytest

from skycore.errors import GremlinSyntaxError
from skycore.flow.enhance import Enhancer
from skycore.graph.graph import Graph
from skycore.graph.live import LiveView
from skycore.gremlin import Planner, QueryContext, core_registry, run
from skycore.plugin import EndSeen, FlowEnhancer, gremlin, hookimpl
from skycore.plugin.hooks import Hooks, flow_enhancers, gremlin_registry


class TakeLast(gremlin.Operation):
    def run(self, execution: gremlin.Execution, stream: gremlin.Stream) -> gremlin.Work[gremlin.Stream]:
        yield
        return gremlin.Stream(stream.kind, list(stream.items)[-1:])


@gremlin.step("Last", parameters="()", gives={gremlin.NODES: gremlin.NODES})
def last(call: gremlin.Call, kind: gremlin.Kind) -> gremlin.Operation:
    """The last node."""
    call.refuse_parameters()
    return TakeLast()


@gremlin.step("Last", parameters="()", gives={gremlin.VALUES: gremlin.VALUES})
def last_value(call: gremlin.Call, kind: gremlin.Kind) -> gremlin.Operation:
    """The last value."""
    return TakeLast()


class Adds:
    @hookimpl
    def gremlin_steps(self, registry: gremlin.StepRegistry) -> None:
        registry.add(last)


class Extends:
    @hookimpl
    def gremlin_steps(self, registry: gremlin.StepRegistry) -> None:
        registry.extend(last_value)


class Breaks:
    @hookimpl
    def gremlin_steps(self, registry: gremlin.StepRegistry) -> None:
        registry.add(
            gremlin.step("Half", parameters="()", gives={gremlin.NODES: gremlin.NODES})(lambda call, kind: TakeLast())
        )
        raise RuntimeError("no more")


class Misfits:
    @hookimpl
    def gremlin_steps(self, registry: gremlin.StepRegistry, other: int) -> None: ...


async def test_steps_of_plugins() -> None:
    registry, faults = gremlin_registry({"adds": Adds(), "extends": Extends(), "silent": types.ModuleType("silent")})
    assert faults == {}
    graph = Graph(host="h", origin="agent.h", with_tids=False)
    for name in "abc":
        graph.claimant("p").put(name, {"Name": name})
    context = QueryContext(LiveView(graph), now=lambda: 0, planner=Planner(registry))
    assert (await run("G.V().Last().Values('Name')", context)).json() == b'["c"]\n'
    assert (await run("G.V().Values('Name').Last()", context)).json() == b'["c"]\n'


def test_a_plugin_that_fails_takes_nothing_with_it() -> None:
    registry, faults = gremlin_registry({"breaks": Breaks(), "misfits": Misfits(), "twice": Extends(), "adds": Adds()})
    assert faults["breaks"] == "RuntimeError: no more"
    assert "misfits" in faults
    assert faults["twice"] == "ValueError: there is no step Last to extend"
    assert [one.name for one in registry] == [*(one.name for one in core_registry()), "Last"]
    with pytest.raises(GremlinSyntaxError, match="Expected step function, got: Half"):
        Planner(registry).plan("G.V().Half()")
    registry.extend(last_value)
    with pytest.raises(ValueError, match="works on values already"):
        registry.extend(last_value)


def test_every_hook_says_what_it_is_for() -> None:
    assert [name for name, hook in vars(Hooks).items() if not name.startswith("_") and not hook.__doc__] == []


class Tenants:
    """An enhancer as a driver of an SDN has it."""

    def describe(self, end: EndSeen) -> dict[str, str]:
        return {"Tenant": "blue"} if end.address.startswith("10.") else {}


class Driver:
    @hookimpl
    def flow_enhancers(self) -> list[FlowEnhancer]:
        return [Tenants()]


class BreaksAtFlows:
    @hookimpl
    def flow_enhancers(self) -> list[FlowEnhancer]:
        raise RuntimeError("no flows")


class MisfitsAtFlows:
    @hookimpl
    def flow_enhancers(self, graph: object) -> list[FlowEnhancer]:
        return []


async def test_plugins_say_what_they_know_of_flows() -> None:
    plugins = {"sdn": Driver(), "bad": BreaksAtFlows(), "odd": MisfitsAtFlows(), "silent": types.ModuleType("silent")}
    found, faults = flow_enhancers(plugins)
    assert [name for name, _ in found] == ["sdn"]
    assert faults["bad"] == "RuntimeError: no flows"
    assert "odd" in faults
    assert gremlin_registry({"sdn": Driver()})[1] == {}

    enhancer = Enhancer(Graph(host="h", origin="analyzer.h", with_tids=False))
    enhancer.use(found)
    flow = msgspec.json.encode({"UUID": "1", "Network": {"A": "10.0.0.1", "B": "8.8.8.8"}})
    assert msgspec.json.decode(enhancer.enhance(flow))["From"] == {"Tenant": "blue"}
    assert b'"To"' not in enhancer.enhance(flow)
