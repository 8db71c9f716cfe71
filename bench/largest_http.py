"""The largest legal requests of the HTTP door: what ``bench.turns`` and the tests send.

They come from the table of routes. A body with several lists is there once for each of them, as
full as a body may be; a route without a body is there with the largest page, and the longest filter
that matches everything. Objects to be large by are made first: ``prepare``.
"""

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import msgspec

from logstore.http.routes import Route
from logstore.http.server_end import HEAD_BYTES_MAX
from logstore.protocols.http.routes import ROUTES

DEADLINE_S: Final = 120
FEW: Final = 1000

# Placeholders for the names of existing objects in a path.
NAMES: Final = {
    "topics": "large", "groups": "large", "partitions": "0", "records": "0", "vhosts": "/",
    "exchanges": "large", "queues": "large", "messages": "0", "history": "0", "channels": "large",
    "permissions": "/", "topic-permissions": "/",
}  # fmt: skip
# Values of fields that a body needs to get as far as a list.
FACTS: Final[dict[str, Any]] = {
    "dry_run": True, "to": "earliest", "kind": "queue", "source": "large", "destination": "large",
    "exchange": "large", "name": "large", "count": 1, "limit": 500, "iterations": 4096,
    "type": "topic", "operations": ["read"], "partitions": 1, "encoding": "text",
    "to_exchange": "large", "into": "queue:large", "pattern": "literal", "host": "*",
    "ackmode": "ack_requeue_true",
}  # fmt: skip
# Rows of definitions: many equal ones are no contradiction.
DEFINED: Final[dict[str, Any]] = {
    "queues": {
        "vhost": "/", "name": "many", "durable": True, "auto_delete": False, "arguments": {},
    },
    "bindings": {
        "vhost": "/", "source": "amq.fanout", "destination": "large", "destination_type": "queue",
        "routing_key": "k", "arguments": {},
    },
}  # fmt: skip
NEVER: Final = frozenset({
    "/api/v1/jobs", "/api/v1/session", "/api/v1/events", "/api/v1/channels/tail",
    "/api/v1/topics/{name}/tail", "/{path}",
})  # fmt: skip  # what lasts, or ends a login


@dataclass(frozen=True, slots=True)
class Large:
    """One request, as it is sent."""

    name: str
    data: bytes


def requests(host: str = "localhost") -> Iterator[Large]:
    """Requests of every route that ends, and of unknown routes."""
    for route in ROUTES:
        makes_users = route.method != "GET" and "users" in route.path  # after which all log in
        if route.path in NEVER or route.method == "DELETE" or makes_users:
            continue
        for name, body in bodies(route):
            yield Large(f"{route.method} {route.path}{name}", sent(route, body, host))
    yield from heads(host)


def bodies(route: Route[Any]) -> Iterator[tuple[str, bytes]]:
    """Bodies, each with the name of its large part."""
    if route.takes is None:
        yield "", b"{}" if route.method in ("POST", "PUT") else b""
        return
    kind = msgspec.inspect.type_info(route.takes)
    if isinstance(kind, msgspec.inspect.DictType):  # RabbitMQ's definitions, which may say anything
        for name, row in DEFINED.items():
            yield f" {name}", _filled({}, name, lambda count, row=row: [row] * count, route)
        return
    fields = kind.fields  # type: ignore[attr-defined]
    plain = {it.encode_name: FACTS.get(it.encode_name, _small(it.type)) for it in fields}
    plain = {name: it for name, it in plain.items() if it is not None}
    found = False
    for field in fields:
        many = _many(field.type)
        if many is not None:
            found = True
            yield f" {field.encode_name}", _filled(plain, field.encode_name, many, route)
    if not found:
        yield "", msgspec.json.encode(plain)


def _filled(plain: dict[str, Any], name: str, many: Any, route: Route[Any]) -> bytes:
    """A body with as many elements as the maximum size permits."""
    few = msgspec.json.encode(plain | {name: many(FEW)})
    count = FEW * route.body_bytes_max // len(few)
    while True:
        body = msgspec.json.encode(plain | {name: many(count)})
        if len(body) <= route.body_bytes_max:
            return body
        count = int(count * route.body_bytes_max / len(body)) - 1


def _small(kind: Any) -> Any:
    """A small value of a type, for a required field."""
    inspect = msgspec.inspect
    if isinstance(kind, inspect.StrType):
        return "x"
    if isinstance(kind, inspect.IntType):
        return 0
    if isinstance(kind, inspect.BoolType):
        return False
    return None


def _many(kind: Any) -> Any:
    """A function that makes many elements of a type or a long text; None for a single value."""
    inspect = msgspec.inspect
    if isinstance(kind, inspect.UnionType):
        return next((it for it in map(_many, kind.types) if it is not None), None)
    if isinstance(kind, inspect.ListType):
        item = _small(kind.item_type)
        text = isinstance(item, str)
        return lambda count: [f"{it:x}" if text else it for it in range(count)]
    if isinstance(kind, inspect.DictType):
        return lambda count: {f"{it:x}": "x" for it in range(count)}
    if isinstance(kind, inspect.StrType):
        return lambda count: "x" * count
    return None


def sent(route: Route[Any], body: bytes, host: str) -> bytes:
    """The request of a route, for existing objects."""
    words, place = [], ""
    for segment in route.path.split("/"):
        if segment.startswith("{"):
            named = {"{offset}": "0", "{user}": "root"}.get(segment, NAMES.get(place, "large"))
            segment = quote(named, safe="")
        words.append(segment)
        place = segment
    query = {"page_size": "500"} if "page_size" in route.query else {}
    if "regex" in route.query:
        query |= {"filter": "(.*" + ".?" * 200 + ")", "regex": "true"}
    target = "/".join(words) + "?" * bool(query)
    target += "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return _request(route.method, target, host, body)


def _request(method: str, target: str, host: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", "x-logstore: 1", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


def heads(host: str) -> Iterator[Large]:
    """Large heads, before the route is known."""
    room = HEAD_BYTES_MAX - 200
    yield Large("segments", _request("GET", "/" * room, host))
    query = "&".join(f"{it:x}" for it in range(room // 5))
    yield Large("parameters", _request("GET", f"/api/v1/topics?{query}", host))
    cookies = "cookie: " + "; ".join(["logstore=x"] * (room // 12))
    yield Large("cookies", _request("GET", "/api/v1/whoami", host, b"", cookies))
    yield Large("headers", _request("GET", "/api/v1/whoami", host, b"", *["a: b"] * (room // 6)))
    chunks = b"1\r\nx\r\n" * (1 << 17)
    head = _request("POST", "/api/v1/topics", host, b"", "transfer-encoding: chunked")
    yield Large("chunks", head.replace(b"content-length: 0\r\n", b"") + chunks + b"0\r\n\r\n")


def prepared(port: int, count: int) -> list[Large]:
    """All requests, for a server that has ``count`` objects of each kind."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as sock:
        for method, path, value in objects(count):
            sock.sendall(
                _request(method, f"/api/v1/{path}", "localhost", json.dumps(value).encode())
            )
            read(sock)
    return list(requests())


def objects(count: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The requests that create the objects."""
    yield "POST", "topics", {"name": "large", "partitions": 10}
    yield "PUT", "exchanges/large", {"type": "topic"}
    yield "PUT", "queues/large", {}
    for at in range(count):
        yield "POST", "topics", {"name": f"topic-{at}", "partitions": 1}
        yield "PUT", f"queues/queue-{at}", {}
        yield (
            "POST",
            "bindings",
            {"source": "large", "destination": f"queue-{at}", "key": f"a.{at}"},
        )
        yield "POST", "topics/large/records", {"value": "x" * 1000, "partition": 0}
        yield "POST", "exchanges/large/publish", {"key": "a.0", "body": "x" * 1000}


def read(sock: socket.socket) -> bytes:
    """One complete answer."""
    data = b""
    while True:
        head, ended, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"\ncontent-length: (\d+)", head, re.IGNORECASE)
        if ended and (head[9:12] in (b"204", b"304") or (length and len(body) >= int(length[1]))):
            return data
        if ended and not length and body.endswith(b"0\r\n\r\n"):
            return data
        try:
            piece = sock.recv(1 << 20)
        except ConnectionResetError:  # refused before all of it was read
            return data
        if not piece:
            return data
        data += piece
