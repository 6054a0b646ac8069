"""The query language: text → syntax tree → traversal → plan → execution → result.

``run`` answers a query text over what a ``QueryContext`` offers; see docs/gremlin.md for the language.
"""

from skycore.gremlin.execution import QueryContext, run
from skycore.gremlin.operation import Limits
from skycore.gremlin.plan import Planner
from skycore.gremlin.registry import StepDefinition, StepRegistry, step
from skycore.gremlin.result import (
    ElementsResult,
    GraphResult,
    KeyedResult,
    NumberResult,
    ObjectResult,
    PathsResult,
    Result,
    ValuesResult,
)
from skycore.gremlin.steps import core_registry

__all__ = [
    "ElementsResult",
    "GraphResult",
    "KeyedResult",
    "Limits",
    "NumberResult",
    "ObjectResult",
    "PathsResult",
    "Planner",
    "QueryContext",
    "Result",
    "StepDefinition",
    "StepRegistry",
    "ValuesResult",
    "core_registry",
    "run",
    "step",
]
