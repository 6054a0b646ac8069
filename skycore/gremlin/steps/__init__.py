"""The steps of the core, one module per family."""

from skycore.gremlin.registry import StepDefinition, StepRegistry
from skycore.gremlin.steps import context, filters, moves, results, sources

CORE_STEPS: tuple[StepDefinition, ...] = (
    *context.STEPS,
    *sources.STEPS,
    *filters.STEPS,
    *moves.STEPS,
    *results.STEPS,
)


def core_registry() -> StepRegistry:
    """A new registry with the core's steps."""
    return StepRegistry(CORE_STEPS)
