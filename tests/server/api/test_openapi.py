"""The document at `/api/openapi.json` is OpenAPI 3.1, and tells of exactly what is served."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from skycore.server import rest

if TYPE_CHECKING:
    from tests.server.api.conftest import Asked


async def test_it_is_valid_and_complete(analyzer: Asked, agent: Asked) -> None:
    for role in (analyzer, agent):
        _, _, body = await role.ask("GET", "/api/openapi.json")
        document = json.loads(body)
        OpenAPIV31SpecValidator(document).validate()
        described = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
        served = {
            (method, route.path.replace(":path", ""))
            for route in rest.application(role.services).routes
            if isinstance(route, Route)
            for method in set(route.methods or ()) - {"HEAD"}
        }
        assert described == served
        ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
        assert len(ids) == len(set(ids))


async def test_it_says_who_may_do_what(analyzer: Asked) -> None:
    document = json.loads((await analyzer.ask("GET", "/api/openapi.json"))[2])
    topology = document["paths"]["/api/topology"]["post"]
    assert topology["x-permission"] == {"object": "topology", "action": "read"}
    assert {"200", "204", "400", "401", "405", "406"} <= set(topology["responses"])
    assert document["paths"]["/healthz"]["get"]["security"] == []
