"""All steps about flows, and what steps about the graph do when they stand after flows."""

from skycore.gremlin.flows import counters, groups, narrowing, packets, places, remembering, sockets, taking, values
from skycore.gremlin.registry import StepDefinition, StepRegistry

FLOW_STEPS: tuple[StepDefinition, ...] = (
    *taking.STEPS,
    *places.STEPS,
    *groups.STEPS,
    *packets.STEPS,
)
MORE_KINDS: tuple[StepDefinition, ...] = (
    *narrowing.MORE_KINDS,
    *places.MORE_KINDS,
    *values.MORE_KINDS,
    *counters.MORE_KINDS,
    *sockets.MORE_KINDS,
    *remembering.MORE_KINDS,
)


def add_flow_steps(registry: StepRegistry) -> None:
    """Add the steps about flows to a registry that has those about the graph."""
    for definition in FLOW_STEPS:
        registry.add(definition)
    for definition in MORE_KINDS:
        registry.extend(definition)
