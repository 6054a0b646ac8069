"""`/api/gremlin`: the language as this process speaks it, for whatever completes or explains a query."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from skycore.gremlin import StepDefinition
from skycore.gremlin.syntax import PREDICATES
from skycore.server.api.body import json_answer
from skycore.server.api.schemas import Language, Step
from skycore.server.api.services import Services
from skycore.server.endpoint import JSON, Answer, Endpoint


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """The one endpoint; its answer follows the plugins that bring steps."""

    async def show(_request: Request) -> Response:
        steps = [_described(definition) for definition in services.queries.planner.registry]
        return json_answer(Language(steps, list(PREDICATES)))

    return (
        Endpoint(
            method="GET",
            path="/api/gremlin",
            handler=show,
            summary="The steps and predicates of queries",
            object="topology",
            action="read",
            answers=(Answer(200, "the language", Language, (JSON,)), Answer(405, "no permission")),
        ),
    )


def _described(definition: StepDefinition) -> Step:
    return Step(
        definition.name, list(definition.aliases), definition.parameters, definition.summary, dict(definition.gives)
    )
