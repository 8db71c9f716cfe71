"""Parses definitions in JSON, and checks what can be checked without the store.

Done by a worker, because megabytes of JSON, and passwords, take a while. Parts without a meaning
here are noted.
"""

from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final

from logstore.access import rabbit_hashes
from logstore.access.administration import check_tags, check_user
from logstore.access.scram_keys import HASHES, check_iterations, check_password, keys_of
from logstore.amqp.fields import data
from logstore.broker.policies import WITHOUT_EFFECT, check, policy_given, without_unknown
from logstore.broker.queues.limits import QueueFacts, limits_of
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import RESERVED_PREFIX, ExchangeFacts
from logstore.definitions.refusals import BYTES_MAX, InvalidDefinitions
from logstore.definitions.tables import table_given
from logstore.definitions.wanted import (
    Wanted,
    WantedBinding,
    WantedExchange,
    WantedPolicy,
    WantedQueue,
    WantedUser,
)
from logstore.errors import LogstoreError, Refused
from logstore.http.bodies import decode
from logstore.kept.users import KeptPermission, KeptTopicPermission, ScramKey

NAME_BYTES_MAX: Final = 255
PASSWORDS_MAX: Final = 1000  # that are no hashes: a worker is at these for 15 s
SHOWN: Final = 60  # characters of what is refused
SCRAM_PARTS: Final = ("salt", "stored_key", "server_key")
OPERATOR: Final = "operator_policy"
_FLAGS: Final = {True: True, False: False, "true": True, "false": False, None: False}
# Versions and names, which say nothing of what is to be there.
_SILENT: Final = frozenset({
    "rabbit_version", "rabbitmq_version", "product_name", "product_version",
    "rabbitmq_definition_format", "original_cluster_name", "original_vhost_name", "explanation",
    "metadata",
})  # fmt: skip
_SILENT_GLOBALS: Final = frozenset({
    "cluster_name", "internal_cluster_id", "cluster_tags", "imported_definition_hash_value",
})  # fmt: skip

Row = dict[str, Any]


class Fault(Refused):
    """An invalid row; the caller adds which one it is."""

    def __init__(self, sentence: str, reason: object = None) -> None:
        super().__init__(sentence)
        self.reason = reason


def read(given: bytes, vhost: str | None = None) -> Wanted:
    """``vhost``: all of it is for this one. Raises InvalidDefinitions."""
    if len(given) > BYTES_MAX:
        raise InvalidDefinitions(
            f"{len(given)} bytes are too many: at most {BYTES_MAX} are allowed"
        )
    try:
        found = decode(given) if given.strip() else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidDefinitions("not a JSON object", "failed_to_parse_json")
    return _Reader(vhost).read(found)


class _Reader:
    def __init__(self, vhost: str | None) -> None:
        self._vhost = vhost
        self._wanted = Wanted()
        self._note = self._wanted.notes.add
        self._passwords = 0

    def read(self, found: Mapping[str, Any]) -> Wanted:
        readers: dict[str, Callable[[Row], None]] = {
            "users": self._user, "vhosts": self._host, "permissions": self._permission,
            "topic_permissions": self._topic_permission, "policies": self._policy,
            "exchanges": self._exchange, "queues": self._queue, "bindings": self._binding,
            "parameters": self._parameter, "global_parameters": self._global,
        }  # fmt: skip
        of_all = ("users", "vhosts", "permissions", "topic_permissions", "global_parameters")
        for kind, rows in found.items():
            if kind in readers and not (self._vhost is not None and kind in of_all):
                self._each(kind, rows, readers[kind])
            elif kind in readers:
                self._note(f"{kind} are left out: these definitions are for one virtual host")
            elif kind not in _SILENT:
                self._note(f"{kind[:SHOWN]!r} means nothing here, and is left out")
        return self._wanted

    def _each(self, kind: str, rows: Any, reader: Callable[[Row], None]) -> None:  # noqa: ANN401
        if rows is None:
            return
        if not isinstance(rows, list):
            raise InvalidDefinitions(f"{kind} is not a list")
        for number, row in enumerate(rows):
            try:
                if not isinstance(row, dict):
                    raise Fault("it is not an object")
                reader(row)
            except LogstoreError as error:
                named = _named(row)
                reason = getattr(error, "reason", None)
                said = f"{kind}[{number}]{named}: {error}"
                raise InvalidDefinitions(said, reason) from None

    # Users

    def _user(self, row: Row) -> None:
        name = check_user(_text(row, "name"))
        if row.get("tags") is None and "administrator" not in row:
            raise Fault("it has no tags", "tags_not_present")
        tags = check_tags(_tags(row))
        if row.get("limits"):
            self._note(f"limits of user {name!r} are left out: quotas are Kafka's here")
        self._wanted.users.append(self._with_password(row, WantedUser(name, tags)))

    def _with_password(self, row: Row, user: WantedUser) -> WantedUser:
        if "password" in row and row.get("password_hash"):
            reason = "both_password_and_password_hash_are_provided"
            raise Fault("it has a password and a hash of one; give one of them", reason)
        if (scram := row.get("scram")) is not None:  # of an export of ours
            return user._replace(scram=_scram(scram))
        if row.get("password"):
            self._passwords += 1
            if self._passwords > PASSWORDS_MAX:
                raise Fault(f"more than {PASSWORDS_MAX} passwords: hashing each takes 15 ms")
            return user._replace(scram=keys_of(check_password(_text(row, "password"))))
        text = row.get("password_hash")
        if not text:
            self._note(f"user {user.name!r} comes without a password: an existing password is kept")
            return user
        try:
            algorithm = row.get("hashing_algorithm") or rabbit_hashes.SHA_256
            return user._replace(rabbit=rabbit_hashes.parse(str(text), str(algorithm)))
        except ValueError as error:
            self._note(f"the password of user {user.name!r} is left out: {error}")
            return user

    def _host(self, row: Row) -> None:
        name = _text(row, "name")
        if not 0 < len(data(name)) <= NAME_BYTES_MAX:
            raise Fault(f"names of virtual hosts have 1 to {NAME_BYTES_MAX} bytes")
        self._wanted.vhosts.append(name)
        metadata = row.get("metadata")
        inner = metadata if isinstance(metadata, dict) else {}
        about = {**inner, **row}
        for member in ("limits", "tags", "default_queue_type"):
            if about.get(member) not in (None, [], {}, "", "undefined", "classic"):
                self._note(f"{member} of virtual host {name!r} means nothing here")

    def _permission(self, row: Row) -> None:
        user, vhost = _text(row, "user"), self._vhost_of(row)
        patterns = (_text(row, it) for it in ("configure", "write", "read"))
        self._wanted.permissions.append(KeptPermission(user, vhost, *patterns))

    def _topic_permission(self, row: Row) -> None:
        user, vhost = _text(row, "user"), self._vhost_of(row)
        rest = (_text(row, it) for it in ("exchange", "write", "read"))
        self._wanted.topic_permissions.append(KeptTopicPermission(user, vhost, *rest))

    # What is in virtual hosts

    def _policy(self, row: Row) -> None:
        name, vhost = _text(row, "name"), self._vhost_of(row)
        pattern, definition = row.get("pattern"), row.get("definition")
        if not isinstance(pattern, str) or not isinstance(definition, dict):
            raise Fault("it has no pattern, or no definition")
        policy, unknown = without_unknown(policy_given(name, row))
        where = f"policy {name!r} of virtual host {vhost!r}"
        for key in unknown:
            self._note(f"{key[:SHOWN]!r} of {where} means nothing here, and is left out")
        if unknown and not policy.definition:
            self._note(f"{where} is left out: nothing of it means anything here")
            return
        for key in policy.definition:
            if key in WITHOUT_EFFECT:
                self._note(f"{key} of {where} has no effect: {WITHOUT_EFFECT[key]}")
        self._wanted.policies.append(WantedPolicy(vhost, check(policy)))

    def _exchange(self, row: Row) -> None:
        name, vhost = _name(row, "name"), self._vhost_of(row)
        if not name or name.startswith(RESERVED_PREFIX):
            return  # each virtual host has them, and no other of such a name can be
        facts = ExchangeFacts(
            name, _text(row, "type"), _flag(row, "durable", default=True),
            _flag(row, "auto_delete"), _flag(row, "internal"), _arguments(row),
        )  # fmt: skip
        self._wanted.exchanges.append(WantedExchange(vhost, facts))

    def _queue(self, row: Row) -> None:
        name, vhost = _name(row, "name"), self._vhost_of(row)
        if not name:
            raise Fault("it has no name")
        if name.startswith(RESERVED_PREFIX):
            self._note(f"queue {_shown(name)} is left out: its name is the server's to give")
            return
        arguments = _arguments(row)
        kind = row.get("type")
        if kind in ("quorum", "stream") and arguments.get(b"x-queue-type") is None:
            arguments = arguments_of({**_table(row), "x-queue-type": kind})
        facts = QueueFacts(
            name, _flag(row, "durable", default=True), False, _flag(row, "auto_delete"), arguments
        )
        limits_of(facts)
        self._wanted.queues.append(WantedQueue(vhost, facts))

    def _binding(self, row: Row) -> None:
        source, vhost = _name(row, "source"), self._vhost_of(row)
        destination, kind = _name(row, "destination"), _text(row, "destination_type")
        if kind not in ("queue", "exchange"):
            raise Fault(f"destination_type {kind[:SHOWN]!r} is neither queue nor exchange")
        if not source:
            return  # each queue is bound to the default exchange by its name
        key = _name(row, "routing_key")
        binding = Binding(
            source, destination, key, _arguments(row), "queue" if kind == "queue" else "exchange"
        )
        self._wanted.bindings.append(WantedBinding(vhost, binding))

    # What there is not

    def _parameter(self, row: Row) -> None:
        component, name = str(row.get("component"))[:SHOWN], str(row.get("name"))[:SHOWN]
        what = f"operator policy {name!r}" if component == OPERATOR else f"{component} {name!r}"
        where = str(row.get("vhost", self._vhost))[:SHOWN]
        self._note(f"{what} of virtual host {where!r} is left out: it is not supported")

    def _global(self, row: Row) -> None:
        name = str(row.get("name"))[:SHOWN]
        if name not in _SILENT_GLOBALS:
            self._note(f"global parameter {name!r} is left out: it is not supported")

    def _vhost_of(self, row: Row) -> str:
        return _text(row, "vhost") if self._vhost is None else self._vhost


def _text(row: Row, member: str) -> str:
    found = row.get(member)
    if not isinstance(found, str):
        raise Fault(f"{member} is {'missing' if found is None else 'no text'}")
    return found


def _name(row: Row, member: str) -> bytes:
    """Of something that AMQP names; line ends in it do not count."""
    found = data(_text(row, member)).translate(None, b"\r\n")
    if len(found) > NAME_BYTES_MAX:
        raise Fault(f"{member} has {len(found)} bytes: at most {NAME_BYTES_MAX} are allowed")
    return found


def _flag(row: Row, member: str, *, default: bool = False) -> bool:
    found = row.get(member, default)
    if isinstance(found, bool | str | None) and found in _FLAGS:
        return _FLAGS[found]
    raise Fault(f"{member} is neither true nor false")


def _table(row: Row) -> dict[str, Any]:
    return table_given(row.get("arguments"))


def _arguments(row: Row) -> Arguments:
    found = _table(row)
    return arguments_of(found) if found else NO_ARGUMENTS


def _tags(row: Row) -> list[str]:
    given = row.get("tags")
    if given is None:
        return ["administrator"] if _flag(row, "administrator") else []
    if isinstance(given, str):
        return [it.strip() for it in given.split(",") if it.strip()]
    if isinstance(given, list) and all(isinstance(it, str) for it in given):
        return given
    raise Fault("tags are neither a text nor a list of texts", ["not_tags", str(given)[:SHOWN]])


def _scram(given: Any) -> dict[str, ScramKey]:  # noqa: ANN401  what JSON holds
    """Keys, as an export has them."""
    found = {}
    try:
        for mechanism, it in given.items():
            if mechanism not in HASHES:
                raise Fault(f"scram has no mechanism {mechanism[:SHOWN]!r}")
            parts = (b64decode(it[name], validate=True) for name in SCRAM_PARTS)
            salt, stored_key, server_key = parts
            found[mechanism] = ScramKey(
                salt, check_iterations(it["iterations"]), stored_key, server_key
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Fault(f"scram is none: {str(error)[:SHOWN]}") from None
    return found


def _named(row: Any) -> str:  # noqa: ANN401
    if not isinstance(row, dict):
        return ""
    found = next((row[it] for it in ("name", "user", "source") if it in row), None)
    return f" {found[:SHOWN]!r}" if isinstance(found, str) else ""


def _shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "backslashreplace"))
