"""The table of routes as an OpenAPI document (3.1). Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from logstore.http import asks
from logstore.http.bodies import JSON
from logstore.http.routes import Route

VERSION: Final = "3.1.0"
ABOUT: Final = (
    "Everything that logstore says of itself and does by HTTP. Paths below /api/v1 are its own; "
    "those below /api are RabbitMQ's, for its tools. Where there are users, log in by Basic, a "
    "bearer token or the cookie of POST /api/v1/session. What changes something needs the header "
    "X-Logstore, unless it has an Authorization. A name in a path is one segment, "
    "percent-encoded. Offsets are texts, and so is each integer that may be beyond 2^53 - 1."
)
_ANY: Final = "*"  # of a route that takes any parameters
_SCHEMAS: Final = "#/components/schemas/"
_PARAMETERS: Final[Mapping[str, tuple[dict[str, Any], str]]] = {
    "page": ({"type": "integer", "minimum": 1, "default": 1}, "Which page of the list."),
    "page_size": (
        {"type": "integer", "minimum": 1, "maximum": 500, "default": 100},
        "Rows of a page.",
    ),
    "filter": ({"type": "string"}, "Rows whose name contains this text."),
    "regex": ({"type": "boolean", "default": False}, "Whether filter is an expression of RE2."),
    "sort": ({"type": "string"}, "A column to sort by; with - before it, descending."),
    "vhost": ({"type": "string", "default": "/"}, "The virtual host; of lists without it, all."),
}
_ERROR: Final = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "Why not, in one line."},
        "kind": {"type": "string", "description": "What the library calls this error."},
    },
    "required": ["error"],
}
_RABBIT_ERROR: Final = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "reason": {"type": "string"}},
    "required": ["error", "reason"],
}
_LOGINS: Final[Sequence[dict[str, list[str]]]] = ({"basic": []}, {"bearer": []}, {"cookie": []})
_SECURITY: Final[Mapping[str, Sequence[dict[str, list[str]]]]] = {
    asks.NOBODY: (),
    asks.ANYBODY: ({}, *_LOGINS),
}


def document(routes: Iterable[Route[Any]], version: str) -> dict[str, Any]:
    """The whole of it."""
    rows = list(routes)
    types = [it for row in rows for it in (row.takes, row.gives) if it is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=f"{_SCHEMAS}{{name}}")
    schema_of = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, schema_of)
    return {
        "openapi": VERSION,
        "info": {"title": "logstore", "version": version, "description": ABOUT},
        "servers": [{"url": "./"}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR, "RabbitMQError": _RABBIT_ERROR},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "logstore"},
            },
        },
    }


def _operation(row: Route[Any], schema_of: Mapping[int, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation_id(row),
        "summary": row.summary,
        "description": f"For: {row.asks}.",
        "tags": [_tag(row.path)],
        "security": list(_SECURITY.get(row.asks.level, _LOGINS)),
        "parameters": [*_of_path(row), *_of_query(row)],
        "responses": {
            "2XX": {
                "description": "Done.",
                "content": {row.kind: {"schema": _answer(row, schema_of)}},
            },
            "default": {
                "description": "Why not.",
                "content": {JSON: {"schema": {"$ref": f"{_SCHEMAS}{_error(row.path)}"}}},
            },
        },
    }
    if row.takes is not None:
        body = {"content": {JSON: {"schema": schema_of[id(row.takes)]}}}
        found["requestBody"] = body | {"required": row.method != "DELETE"}
    return found


def _answer(row: Route[Any], schema_of: Mapping[int, Any]) -> dict[str, Any]:
    if row.kind != JSON:
        return {"type": "string"}
    if row.gives is not None:
        return dict(schema_of[id(row.gives)])
    return listed({}) if "page" in row.query else {}


def listed(item: Mapping[str, Any]) -> dict[str, Any]:
    """A page of a list whose rows are such."""
    number = {"type": "integer"}
    properties = {
        "items": {"type": "array", "items": dict(item)},
        "page": number, "page_size": number, "pages": number, "total": number,
    }  # fmt: skip
    return {"type": "object", "properties": properties, "required": list(properties)}


def operation_id(row: Route[Any]) -> str:
    """``get_topics_by_name``; of RabbitMQ's ``rabbit_get_queues_by_vhost``."""
    ours = row.path.removeprefix("/api/v1/")
    rabbit = ours == row.path and row.path.startswith("/api/")
    path = row.path.removeprefix("/api/") if rabbit else ours
    words = [f"by_{it[1:-1]}" if it.startswith("{") else it for it in path.split("/") if it]
    name = "_".join([row.method.lower(), *words])
    return ("rabbit_" if rabbit else "") + re.sub(r"\W", "_", name)


def _tag(path: str) -> str:
    first, _, rest = path.strip("/").partition("/")
    if first != "api":
        return "server"
    version, _, rest = rest.partition("/")
    return rest.partition("/")[0] if version == "v1" else "rabbitmq"


def _error(path: str) -> str:
    return "RabbitMQError" if _tag(path) == "rabbitmq" else "Error"


def _of_path(row: Route[Any]) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", row.path)
    return [
        {"name": it, "in": "path", "required": True, "schema": {"type": "string"}} for it in names
    ]


def _of_query(row: Route[Any]) -> list[dict[str, Any]]:
    found = []
    for name in row.query:
        if name == _ANY:
            continue
        schema, about = _PARAMETERS.get(name, ({"type": "string"}, ""))
        if name in row.lists:
            schema = {"type": "array", "items": schema}
        parameter = {"name": name, "in": "query", "schema": schema}
        found.append(parameter | ({"description": about} if about else {}))
    return found
