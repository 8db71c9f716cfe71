"""The layout of rows for vhosts, exchanges, queues and bindings, wherever they are stored. Pure.

    vhosts      id                    a table: name
    exchanges   id                    a table: vhost, name, type, auto_delete, internal, arguments
    queues      id                    a table: vhost, name, auto_delete, arguments; perhaps ttls
    bindings    id of source, id      a table: destination, key, arguments
    policies    id                    a table: vhost, name, pattern, apply_to, priority, definition
    routes      id                    a table: vhost, topic, exchange, key, arguments

Ids are 64 bits, big-endian. Tables are AMQP's (``amqp/fields.py``), so that arguments keep their
types.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

from logstore.amqp import fields
from logstore.amqp.replies import Refusal
from logstore.kept.queues import (
    Kept,
    KeptBinding,
    KeptExchange,
    KeptPolicy,
    KeptQueue,
    KeptTopicRoute,
    KeptVhost,
)

VHOSTS, EXCHANGES, QUEUES, BINDINGS = b"vhosts", b"exchanges", b"queues", b"bindings"
POLICIES, ROUTES = b"policies", b"routes"
ROW_DEEP: Final = -1  # arguments may be nested as deep in a row as they come from a client
# What ``parse`` raises of a row that is none.
DAMAGE: Final = (Refusal, ValueError, KeyError, TypeError, IndexError)

ID: Final = Struct(">Q")
_PAIR = Struct(">QQ")


def encode(fact: Kept) -> bytes:
    """The row of a fact."""
    return fields.table(_row(fact))


def parse(kind: bytes, key: bytes, value: bytes) -> Kept:
    """The inverse of ``place`` and ``encode``. Raises the errors in ``DAMAGE``."""
    row, end = fields.read_table(value, 0, ROW_DEEP)
    if end != len(value):
        raise ValueError(f"{len(value) - end} bytes too many")
    return _PARSE[kind](key, row)


def place(fact: Kept) -> tuple[bytes, bytes]:
    """The kind of a fact, and the key of its row."""
    match fact:
        case KeptVhost():
            return VHOSTS, ID.pack(fact.id)
        case KeptExchange():
            return EXCHANGES, ID.pack(fact.id)
        case KeptQueue():
            return QUEUES, ID.pack(fact.id)
        case KeptBinding():
            return BINDINGS, _PAIR.pack(fact.source, fact.id)
        case KeptPolicy():
            return POLICIES, ID.pack(fact.id)
        case KeptTopicRoute():
            return ROUTES, ID.pack(fact.id)


def _row(fact: Kept) -> dict[str, Any]:
    match fact:
        case KeptVhost():
            return {"name": fact.name}
        case KeptExchange():
            return {
                "vhost": fact.vhost, "name": fact.name, "type": fact.type,
                "auto_delete": fact.auto_delete, "internal": fact.internal,
                "arguments": dict(fact.arguments),
            }  # fmt: skip
        case KeptQueue():
            return {
                "vhost": fact.vhost, "name": fact.name, "auto_delete": fact.auto_delete,
                "arguments": dict(fact.arguments),
                **({"ttls": list(fact.ttls)} if fact.ttls else {}),
            }  # fmt: skip
        case KeptBinding():
            return {
                "destination": fact.destination, "key": fact.key,
                "arguments": dict(fact.arguments),
            }  # fmt: skip
        case KeptPolicy():
            return {
                "vhost": fact.vhost, "name": fact.name, "pattern": fact.pattern,
                "apply_to": fact.apply_to, "priority": fact.priority,
                "definition": dict(fact.definition),
            }  # fmt: skip
        case KeptTopicRoute():
            return {
                "vhost": fact.vhost, "topic": fact.topic, "exchange": fact.exchange,
                "key": fact.key, "arguments": dict(fact.arguments),
            }  # fmt: skip


def _id(key: bytes) -> int:
    if len(key) != ID.size:
        raise ValueError(f"a key of {len(key)} bytes")
    found: int = ID.unpack(key)[0]
    return found


def _of(kind: type[Any], value: Any) -> Any:  # noqa: ANN401  what a row holds
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value


def _number(value: Any) -> int:  # noqa: ANN401
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number")
    return int(value)


def _text(value: Any) -> str:  # noqa: ANN401
    found: str = _of(str, value)
    return found


def _vhost(key: bytes, row: dict[str, Any]) -> KeptVhost:
    return KeptVhost(_id(key), _text(row["name"]))


def _exchange(key: bytes, row: dict[str, Any]) -> KeptExchange:
    return KeptExchange(
        _id(key), _number(row["vhost"]), _text(row["name"]), _text(row["type"]),
        _of(bool, row["auto_delete"]), _of(bool, row["internal"]), _of(dict, row["arguments"]),
    )  # fmt: skip


def _queue(key: bytes, row: dict[str, Any]) -> KeptQueue:
    return KeptQueue(
        _id(key), _number(row["vhost"]), _text(row["name"]), _of(bool, row["auto_delete"]),
        _of(dict, row["arguments"]), _ttls(row.get("ttls", [])),
    )  # fmt: skip


def _ttls(value: Any) -> Sequence[int]:  # noqa: ANN401
    found = tuple(map(_number, _of(list, value)))
    if found and len(found) % 2 != 1:
        raise ValueError(f"{len(found)} numbers of times to live")
    return found


def _binding(key: bytes, row: dict[str, Any]) -> KeptBinding:
    if len(key) != _PAIR.size:
        raise ValueError(f"a key of {len(key)} bytes")
    source, number = _PAIR.unpack(key)
    return KeptBinding(
        number, source, _number(row["destination"]), _text(row["key"]), _of(dict, row["arguments"])
    )


def _priority(value: Any) -> int | float:  # noqa: ANN401
    return float(value) if isinstance(value, float) else _number(value)


def _policy(key: bytes, row: dict[str, Any]) -> KeptPolicy:
    return KeptPolicy(
        _id(key), _number(row["vhost"]), _text(row["name"]), _text(row["pattern"]),
        _text(row["apply_to"]), _priority(row["priority"]), _of(dict, row["definition"]),
    )  # fmt: skip


def _route(key: bytes, row: dict[str, Any]) -> KeptTopicRoute:
    return KeptTopicRoute(
        _id(key), _number(row["vhost"]), _text(row["topic"]), _text(row["exchange"]),
        _text(row["key"]), _of(dict, row["arguments"]),
    )  # fmt: skip


_PARSE: Final[Mapping[bytes, Callable[[bytes, dict[str, Any]], Kept]]] = {
    VHOSTS: _vhost,
    EXCHANGES: _exchange,
    QUEUES: _queue,
    BINDINGS: _binding,
    POLICIES: _policy,
    ROUTES: _route,
}
