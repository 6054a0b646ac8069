"""The query language: text → syntax tree → traversal → plan → execution → result.

``run`` answers a query text over what a ``QueryContext`` offers; see docs/gremlin.md for the language.
"""

from skycore.gremlin.execution import QueryContext, run
from skycore.gremlin.operation import (
    COUNT,
    EDGES,
    GRAPH,
    METRICS,
    NODES,
    OBJECT,
    PATHS,
    SOCKETS,
    VALUES,
    Execution,
    Kind,
    Limits,
    Operation,
    Stream,
    Work,
)
from skycore.gremlin.plan import Planner
from skycore.gremlin.registry import Call, StepDefinition, StepRegistry, step
from skycore.gremlin.result import (
    DifferenceResult,
    ElementsResult,
    GraphResult,
    KeyedResult,
    NumberResult,
    ObjectResult,
    PathsResult,
    Result,
    RevisionsResult,
    ValuesResult,
    gap_object,
    gaps_header,
)
from skycore.gremlin.steps import core_registry

__all__ = [
    "COUNT",
    "EDGES",
    "GRAPH",
    "METRICS",
    "NODES",
    "OBJECT",
    "PATHS",
    "SOCKETS",
    "VALUES",
    "Call",
    "DifferenceResult",
    "ElementsResult",
    "Execution",
    "GraphResult",
    "KeyedResult",
    "Kind",
    "Limits",
    "NumberResult",
    "ObjectResult",
    "Operation",
    "PathsResult",
    "Planner",
    "QueryContext",
    "Result",
    "RevisionsResult",
    "StepDefinition",
    "StepRegistry",
    "Stream",
    "ValuesResult",
    "Work",
    "core_registry",
    "gap_object",
    "gaps_header",
    "run",
    "step",
]
