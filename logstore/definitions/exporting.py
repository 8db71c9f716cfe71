"""What there is, as definitions: in RabbitMQ's own JSON, so that a RabbitMQ takes it.

What it would not know is named. Done in the sessions' thread, in slices.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from logstore.access import rabbit_hashes
from logstore.access.access import Access
from logstore.amqp.fields import text
from logstore.broker.policies import Policy
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import RESERVED_PREFIX, ExchangeFacts
from logstore.definitions.tables import arguments
from logstore.definitions.wanted import Notes
from logstore.kept_users import KeptPermission, KeptTopicPermission, KeptUser
from logstore.slices import Steps
from logstore.version import VERSION

if TYPE_CHECKING:
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.vhost import Vhost

AT_ONCE: Final = 100  # rows between yields
SHA_256: Final = "rabbit_password_hashing_sha256"
# Types of exchanges that are no RabbitMQ's, nor of a plugin of one.
OURS: Final = frozenset({"x-topic", "x-channel"})
OUR_SETTINGS: Final = frozenset({"retention-ms", "retention-bytes"})

Row = dict[str, Any]


class Exported(NamedTuple):
    """Definitions, and what of them a RabbitMQ would not know."""

    definitions: Row
    notes: list[str]


def export(queues: "Queues", access: Access, version: str, vhost: "Vhost | None" = None) -> Steps:
    """Returns an Exported. ``version``: of RabbitMQ, as clients are told. ``vhost``: of one alone,
    which then is not named.
    """
    notes = Notes()
    found: Row = {"rabbit_version": version}
    if vhost is None:
        found |= {
            "rabbitmq_version": version, "product_name": "logstore", "product_version": VERSION,
            "users": [_user(it, notes) for _, it in sorted(access.users.items())],
            "vhosts": [{"name": text(it)} for it in sorted(queues.vhosts)],
            "permissions": [_permission(it) for _, it in sorted(access.permissions.items())],
            "topic_permissions": [
                _topic_permission(it) for _, it in sorted(access.topic_permissions.items())
            ],
            "parameters": [], "global_parameters": [],
        }  # fmt: skip
        yield len(access.users)
    else:
        found["parameters"] = []
    those = [vhost] if vhost is not None else sorted(queues.vhosts.values(), key=lambda it: it.name)
    named = vhost is None
    for kind, rows in (("policies", _policies), ("queues", _queues), ("exchanges", _exchanges),
                       ("bindings", _bindings)):  # fmt: skip
        made: list[Row] = []
        for it in those:
            for number, row in enumerate(rows(it, notes), 1):
                made.append(({"vhost": text(it.name)} if named else {}) | row)
                if number % AT_ONCE == 0:
                    yield AT_ONCE
        found[kind] = made
    return Exported(found, list(notes.all()))


_Rows = Callable[["Vhost", Notes], Iterator[Row]]


def _user(user: KeptUser, notes: Notes) -> Row:
    about: Row = {
        "name": user.name, "password_hash": "", "hashing_algorithm": SHA_256,
        "tags": list(user.tags), "limits": {},
    }  # fmt: skip
    if user.rabbit is not None and not user.scram:
        about["password_hash"], about["hashing_algorithm"] = rabbit_hashes.written(user.rabbit)
    elif user.scram:
        notes.add(f"user {user.name!r} has a password that a RabbitMQ can't check: set one there")
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
        yield _policy(policy)


def _policy(policy: Policy) -> Row:
    return {
        "name": policy.name, "pattern": policy.pattern, "apply-to": policy.apply_to,
        "definition": dict(policy.definition), "priority": policy.priority,
    }  # fmt: skip


def _queues(vhost: "Vhost", notes: Notes) -> Iterator[Row]:
    for queue in sorted(vhost.queues(), key=lambda it: it.facts.name):
        if not queue.facts.exclusive:
            yield _queue(queue.facts)


def _queue(facts: QueueFacts) -> Row:
    return {
        "name": text(facts.name), "durable": facts.durable, "auto_delete": facts.auto_delete,
        "arguments": arguments(facts.arguments),
    }  # fmt: skip


def _exchanges(vhost: "Vhost", notes: Notes) -> Iterator[Row]:
    for facts in sorted(vhost.topology.exchanges(), key=lambda it: it.name):
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
    for name in sorted(it.name for it in topology.exchanges()):
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
