"""Vhosts, exchanges, queues, bindings, policies and routes, in LMDB beside the catalogue.

    vhosts      id                    a table: name
    exchanges   id                    a table: vhost, name, type, auto_delete, internal, arguments
    queues      id                    a table: vhost, name, auto_delete, arguments; perhaps ttls
    bindings    id of source, id      a table: destination, key, arguments
    policies    id                    a table: vhost, name, pattern, apply_to, priority, definition
    routes      id                    a table: vhost, topic, exchange, key, arguments

Ids are 64 bits, big-endian, all of one count: ``routing_ids`` in ``meta`` is above all that there
ever were. Tables are AMQP's (``amqp/fields.py``), so that arguments keep their types.
"""

from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any, Final, TypeVar

from logstore.amqp import fields
from logstore.amqp.replies import Refusal
from logstore.errors import CorruptStore
from logstore.kept_queues import (
    Kept,
    KeptBinding,
    KeptExchange,
    KeptPolicy,
    KeptQueue,
    KeptRouting,
    KeptTopicRoute,
    KeptVhost,
    stream_topic,
)
from logstore.storage.environment import Environment, Transaction

_META: Final = b"meta"
_VHOSTS, _EXCHANGES, _QUEUES, _BINDINGS = b"vhosts", b"exchanges", b"queues", b"bindings"
_POLICIES, _ROUTES = b"policies", b"routes"
TABLES: Final = (_VHOSTS, _EXCHANGES, _QUEUES, _BINDINGS, _POLICIES, _ROUTES, _META)
_NEXT: Final = b"routing_ids"
ROW_DEEP: Final = -1  # arguments may be nested as deep in a row as they come from a client

_ID = Struct(">Q")
_PAIR = Struct(">QQ")
_Fact = TypeVar(
    "_Fact", KeptVhost, KeptExchange, KeptQueue, KeptBinding, KeptPolicy, KeptTopicRoute
)

_NAMES: Final = {
    _VHOSTS: "vhost", _EXCHANGES: "exchange", _QUEUES: "queue", _BINDINGS: "binding",
    _POLICIES: "policy", _ROUTES: "route",
}  # fmt: skip


def load(environment: Environment) -> KeptRouting:
    """Everything; a row that can't be read is named, and left where it is."""
    damaged: list[CorruptStore] = []

    def rows(table: bytes, parse: Callable[[bytes, dict[str, Any]], _Fact]) -> list[_Fact]:
        found = []
        for key, value in environment.items(table):
            try:
                row, end = fields.read_table(value, 0, ROW_DEEP)
                if end != len(value):
                    raise ValueError(f"{len(value) - end} bytes too many")
                found.append(parse(key, row))
            except (Refusal, ValueError, KeyError, TypeError, IndexError) as error:
                damaged.append(
                    CorruptStore(
                        f"{environment.path}: {_NAMES[table]} {key.hex()} is damaged: {error!r}: "
                        f"it is left out"
                    )
                )
        return found

    given = environment.get(_META, _NEXT)
    return KeptRouting(
        rows(_VHOSTS, lambda key, it: KeptVhost(_id(key), _text(it["name"]))),
        rows(_EXCHANGES, _exchange),
        rows(_QUEUES, _queue),
        rows(_BINDINGS, _binding),
        1 if given is None else _ID.unpack(given)[0],
        damaged,
        rows(_POLICIES, _policy),
        rows(_ROUTES, _route),
    )


def used(environment: Environment) -> bool:
    """Whether anything was ever kept."""
    return environment.get(_META, _NEXT) is not None


def streams(environment: Environment) -> set[str]:
    """The topics that are streams."""
    kept = load(environment)
    hosts = {it.id: it.name for it in kept.vhosts}
    return {
        stream_topic(hosts[it.vhost], it.name)
        for it in kept.queues
        if it.arguments.get("x-queue-type") == "stream" and it.vhost in hosts
    }


def change(transaction: Transaction, keep: Sequence[Kept], forget: Sequence[Kept]) -> None:
    """Within one transaction of ``TABLES``."""
    for fact in forget:
        table, key = _place(fact)
        transaction.change(table, key, None)
    for fact in keep:
        table, key = _place(fact)
        transaction.change(table, key, fields.table(_row(fact)))
    raise_ids(transaction, (fact.id for fact in keep))


def raise_ids(transaction: Transaction, given: Iterable[int]) -> None:
    """These numbers are taken. Within one transaction of tables of which ``meta`` is one."""
    known = transaction.get(_META, _NEXT)
    most = max(given, default=-1) + 1
    if most > (1 if known is None else _ID.unpack(known)[0]):
        transaction.change(_META, _NEXT, _ID.pack(most))


def _place(fact: Kept) -> tuple[bytes, bytes]:
    match fact:
        case KeptVhost():
            return _VHOSTS, _ID.pack(fact.id)
        case KeptExchange():
            return _EXCHANGES, _ID.pack(fact.id)
        case KeptQueue():
            return _QUEUES, _ID.pack(fact.id)
        case KeptBinding():
            return _BINDINGS, _PAIR.pack(fact.source, fact.id)
        case KeptPolicy():
            return _POLICIES, _ID.pack(fact.id)
        case KeptTopicRoute():
            return _ROUTES, _ID.pack(fact.id)


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
    if len(key) != _ID.size:
        raise ValueError(f"a key of {len(key)} bytes")
    found: int = _ID.unpack(key)[0]
    return found


def _of(kind: type[Any], value: Any) -> Any:  # noqa: ANN401  what a row holds
    if type(value) is not kind:
        raise TypeError(f"{value!r} is not of type {kind.__name__}")
    return value


def _number(value: Any) -> int:  # noqa: ANN401
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no number")
    return int(value)


def _text(value: Any) -> str:  # noqa: ANN401
    found: str = _of(str, value)
    return found


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
