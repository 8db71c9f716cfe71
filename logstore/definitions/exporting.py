"""Exports all objects as definitions in RabbitMQ's own JSON, so that a RabbitMQ can import them.

Objects that RabbitMQ would not know are listed. Done in the sessions' thread, in slices.
"""

from base64 import b64encode
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from logstore.access import rabbit_hashes
from logstore.access.access import Access
from logstore.amqp.fields import text
from logstore.broker.policies import policy_row
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import RESERVED_PREFIX, ExchangeFacts
from logstore.definitions.tables import arguments
from logstore.definitions.wanted import Notes
from logstore.kept.users import KeptPermission, KeptTopicPermission, KeptUser
from logstore.slices import Steps, Wait
from logstore.version import VERSION

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.vhost import Vhost

AT_ONCE: Final = 100  # rows between yields
# Types of exchanges that are no RabbitMQ's, nor of a plugin of one.
OURS: Final = frozenset({"x-topic", "x-channel"})
# What rows are sorted by: bindings of one exchange stay as they were made.
ORDER: Final = {
    "users": ("name",), "vhosts": ("name",), "permissions": ("user", "vhost"),
    "policies": ("vhost",), "topic_permissions": ("user", "vhost", "exchange"),
    "queues": ("vhost", "name"),
    "exchanges": ("vhost", "name"), "bindings": ("vhost", "source"),
}  # fmt: skip
OUR_SETTINGS: Final = frozenset({"retention-ms", "retention-bytes"})

Row = dict[str, Any]


class Exported(NamedTuple):
    """Definitions, and notes about what a RabbitMQ would not know."""

    definitions: Row
    notes: list[str]


def export(queues: "Queues", access: Access, version: str, vhost: "Vhost | None" = None) -> Steps:
    """Returns an Exported, which is to be arranged. ``version``: of RabbitMQ, as clients are told.

    ``vhost``: of one alone, which then is not named.
    """
    notes = Notes()
    found: Row = {"rabbit_version": version}
    if vhost is None:
        found |= {
            "rabbitmq_version": version, "product_name": "logstore", "product_version": VERSION,
        }  # fmt: skip
        found["users"] = yield from _each(_user(it, notes) for it in list(access.users.values()))
        found["vhosts"] = yield from _each({"name": text(it)} for it in list(queues.vhosts))
        found["permissions"] = yield from _each(map(_permission, list(access.permissions.values())))
        found["topic_permissions"] = yield from _each(
            map(_topic_permission, list(access.topic_permissions.values()))
        )
    found["parameters"] = []
    if vhost is None:
        found["global_parameters"] = []
    those = list(queues.vhosts.values()) if vhost is None else [vhost]
    for kind, rows in (("policies", _policies), ("queues", _queues), ("exchanges", _exchanges),
                       ("bindings", _bindings)):  # fmt: skip
        found[kind] = []
        for it in those:
            named = {"vhost": text(it.name)} if vhost is None else {}
            found[kind] += yield from _each(named | row for row in rows(it, notes))
    return Exported(found, list(notes.all()))


def _each(rows: Iterable[Row]) -> Generator[int | Wait, Any, list[Row]]:
    found = []
    for row in rows:
        found.append(row)
        if len(found) % AT_ONCE == 0:
            yield AT_ONCE
    yield len(found) % AT_ONCE
    return found


def told(vhost: str | None) -> str:
    """What the audit log hears of it: users come only with all virtual hosts."""
    return "given, with hashes of passwords" if vhost is None else f"given of virtual host {vhost}"


def arranged(exported: Exported) -> Exported:
    """In the order of names, the same each time. Takes a while where there is much."""
    for kind, rows in exported.definitions.items():
        if kind in ORDER:
            rows.sort(key=lambda row: [row.get(it, "") for it in ORDER[kind]])
    return exported


def _user(user: KeptUser, notes: Notes) -> Row:
    about: Row = {
        "name": user.name, "password_hash": "", "hashing_algorithm": rabbit_hashes.SHA_256,
        "tags": list(user.tags), "limits": {},
    }  # fmt: skip
    if user.rabbit is not None and not user.scram:
        about["password_hash"], about["hashing_algorithm"] = rabbit_hashes.written(user.rabbit)
    elif user.scram:
        notes.add(
            f"user {user.name!r} has a password hash that RabbitMQ can't check: set a password"
            " in RabbitMQ"
        )
        about["scram"] = {
            mechanism: {
                "salt": _base64(it.salt), "iterations": it.iterations,
                "stored_key": _base64(it.stored_key), "server_key": _base64(it.server_key),
            }
            for mechanism, it in user.scram.items()
        }  # fmt: skip
    return about


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _permission(it: KeptPermission) -> Row:
    return {
        "user": it.user, "vhost": it.vhost, "configure": it.configure, "write": it.write,
        "read": it.read,
    }  # fmt: skip


def _topic_permission(it: KeptTopicPermission) -> Row:
    return {
        "user": it.user, "vhost": it.vhost, "exchange": it.exchange, "write": it.write,
        "read": it.read,
    }  # fmt: skip


def _policies(vhost: "Vhost", notes: Notes) -> Iterator[Row]:
    for policy in list(vhost.policies):
        ours = sorted(OUR_SETTINGS & policy.definition.keys())
        if ours:
            where = f"policy {policy.name!r} of virtual host {text(vhost.name)!r}"
            notes.add(f"{where} sets {', '.join(ours)}, which a RabbitMQ refuses")
        yield policy_row(policy)


def _queues(vhost: "Vhost", notes: Notes) -> Iterator[Row]:
    for queue in list(vhost.queues()):
        if not queue.facts.exclusive:
            yield _queue(queue.facts)


def _queue(facts: QueueFacts) -> Row:
    return {
        "name": text(facts.name), "durable": facts.durable, "auto_delete": facts.auto_delete,
        "arguments": arguments(facts.arguments),
    }  # fmt: skip


def _exchanges(vhost: "Vhost", notes: Notes) -> Iterator[Row]:
    for facts in list(vhost.topology.exchanges()):
        if facts.name and not facts.name.startswith(RESERVED_PREFIX):
            if facts.type_name in OURS:
                shown = f"exchange {text(facts.name)!r} of virtual host {text(vhost.name)!r}"
                notes.add(f"{shown} is of type {facts.type_name}, which a RabbitMQ has not")
            yield _exchange(facts)


def _exchange(facts: ExchangeFacts) -> Row:
    return {
        "name": text(facts.name), "type": facts.type_name, "durable": facts.durable,
        "auto_delete": facts.auto_delete, "internal": facts.internal,
        "arguments": arguments(facts.arguments),
    }  # fmt: skip


def _bindings(vhost: "Vhost", notes: Notes) -> Iterator[Row]:
    topology = vhost.topology
    for name in [it.name for it in topology.exchanges()]:
        if not name or not topology.has_exchange(name):
            continue
        for binding in list(topology.bindings_from(name)):
            queue = topology.queue(binding.destination) if binding.kind == "queue" else None
            if queue is None or not queue.facts.exclusive:
                yield _binding(binding)


def _binding(binding: Binding) -> Row:
    return {
        "source": text(binding.source), "destination": text(binding.destination),
        "destination_type": binding.kind, "routing_key": text(binding.key),
        "arguments": arguments(binding.arguments),
    }  # fmt: skip
