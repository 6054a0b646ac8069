"""The steps of the core, one module per family."""

from skycore.gremlin.flows.every import add_flow_steps
from skycore.gremlin.registry import StepDefinition, StepRegistry
from skycore.gremlin.steps import (
    context,
    difference,
    explain,
    filters,
    metrics,
    moves,
    order,
    paths,
    routes,
    sockets,
    sources,
    subgraph,
    surroundings,
    values,
)

CORE_STEPS: tuple[StepDefinition, ...] = (
    *context.STEPS,
    *sources.STEPS,
    *filters.STEPS,
    *moves.STEPS,
    *surroundings.STEPS,
    *paths.STEPS,
    *subgraph.STEPS,
    *order.STEPS,
    *values.STEPS,
    *metrics.STEPS,
    *sockets.STEPS,
    *routes.STEPS,
    *difference.STEPS,
    *explain.STEPS,
)


def gremlin_steps(registry: StepRegistry) -> None:
    """Register the core's steps, as plugins do theirs."""
    for definition in CORE_STEPS:
        registry.add(definition)
    add_flow_steps(registry)


def core_registry() -> StepRegistry:
    """A new registry with the core's steps."""
    registry = StepRegistry()
    gremlin_steps(registry)
    return registry
