"""The table of endpoints as an OpenAPI document (https://spec.openapis.org/oas/v3.1.0)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from skycore import __version__
from skycore.server.api.schemas import NAMED, ref
from skycore.server.endpoint import TEXT, Body, Endpoint, Role, Schema

_ACCESS: Final = {
    401: "no or wrong credentials",
    403: "another site's page asked for it",
    429: "too many wrong credentials",
    503: "credentials cannot be checked at present",
}
_CONVERTER: Final = re.compile(r"\{(\w+):\w+\}")


def document(endpoints: Iterable[Endpoint], role: Role) -> dict[str, Any]:
    """The document of what a role serves."""
    types: dict[str, type] = {}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = _CONVERTER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, path, types)
    _, components = msgspec.json.schema_components(types.values(), ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Skycore {role}",
            "version": __version__,
            "description": "Errors are text. A policy says who may do what, by object and action (x-permission).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**NAMED, **components},
            "securitySchemes": {
                "cookie": {"type": "apiKey", "in": "cookie", "name": "authtoken"},
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
            },
        },
    }


def _operation(endpoint: Endpoint, path: str, types: dict[str, type]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": f"{endpoint.method.lower()}{re.sub(r'[^a-z]+', '_', path.rstrip('}'))}",
        "security": [] if endpoint.public else [{"cookie": []}, {"basic": []}, {"token": []}],
        "responses": {},
    }
    if endpoint.object:
        operation["x-permission"] = {"object": endpoint.object, "action": endpoint.action}
    parameters = [
        {"name": name, "in": "path", "required": True, "description": meaning, "schema": {"type": "string"}}
        for name, meaning in endpoint.parameters.items()
    ]
    parameters += [
        {"name": name, "in": "header", "required": False, "description": meaning, "schema": {"type": "string"}}
        for name, meaning in endpoint.headers.items()
    ]
    parameters += [
        {"name": name, "in": "query", "required": needed, "description": meaning, "schema": {"type": "string"}}
        for needed, explained in ((True, endpoint.query), (False, endpoint.options))
        for name, meaning in explained.items()
    ]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = _body(endpoint.body, types)
        operation["responses"]["413"] = {"description": f"{HTTPStatus(413).phrase}: the body", "content": {TEXT: {}}}
    for answer in endpoint.answers:
        content = {media: _content(answer.schema, media, types) for media in answer.media_types}
        operation["responses"][str(answer.status)] = {
            "description": f"{HTTPStatus(answer.status).phrase}: {answer.meaning}",
            **({"content": content} if content else {}),
        }
    if not endpoint.public:
        for status, meaning in _ACCESS.items():
            described = {"description": f"{HTTPStatus(status).phrase}: {meaning}", "content": {"text/plain": {}}}
            operation["responses"].setdefault(str(status), described)
    return operation


def _body(body: Body, types: dict[str, type]) -> dict[str, Any]:
    return {
        "required": body.required,
        "content": {media: _content(body.schema, "application/json", types) for media in body.media_types},
    }


def _content(schema: Schema, media_type: str, types: dict[str, type]) -> dict[str, Any]:
    if schema is None or not media_type.startswith("application/json"):
        return {}
    if isinstance(schema, Mapping):
        return {"schema": dict(schema)}
    types[schema.__name__] = schema
    return {"schema": ref(schema.__name__)}
