"""Quotas for Kafka's tools: describe and change (KIP-546, KIP-612)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from logstore.access.administration import check_host
from logstore.access.quotas import (
    CLIENT_ID,
    INT_MAX,
    IP,
    KEYS,
    NAME_MAX,
    USER,
    WITHOUT_EFFECT,
)
from logstore.errors import LogstoreError, Refused
from logstore.kafka.messages import (
    alter_client_quotas as alter_messages,
)
from logstore.kafka.messages import (
    describe_client_quotas as describe_messages,
)
from logstore.kept.users import KeptQuota
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import Later, given
from logstore.protocols.kafka.handler import handler
from logstore.slices import Steps, parts

EXACT, DEFAULT, SPECIFIED = 0, 1, 2  # how a component of a filter matches
NO_EFFECT: Final = "kept and shown, without effect here: "
# A client id is any text, but no real client has a longer one.
QUOTAS_MAX: Final = 10_000
ALTERED_AT_ONCE: Final = 200  # of one change
ALTER_UNITS: Final = 2

Entity = tuple[tuple[str, str | None], ...]


class _Fault(Exception):
    """The reason of a refusal: its code, and Kafka's text."""

    def __init__(self, text: str, code: int = errors.INVALID_REQUEST) -> None:
        super().__init__(text)
        self.code, self.text = code, text


# Describing


class _Filter(NamedTuple):
    """The requested entities."""

    exact: Mapping[str, str | None]  # by their types; None: the default
    any: frozenset[str]  # types that they have
    strict: bool  # and no others

    def takes(self, entity: Mapping[str, str | None]) -> bool:
        """Whether the filter matches the entity."""
        if self.strict and len(entity) != len(self.exact) + len(self.any):
            return False
        return self.any <= entity.keys() and all(
            kind in entity and entity[kind] == name for kind, name in self.exact.items()
        )


def describe(
    client: KafkaClient, version: int, request: describe_messages.Request
) -> describe_messages.Response:
    """Key 48."""
    try:
        wanted = _filter(request)
    except _Fault as fault:
        return describe_messages.Response(
            error_code=fault.code, error_message=fault.text, entries=None
        )
    quotas = client.door.access.quotas
    return describe_messages.Response(
        entries=[_described(quotas[it]) for it in sorted(quotas, key=str) if wanted.takes(dict(it))]
    )


def _described(quota: KeptQuota) -> describe_messages.EntryData:
    return describe_messages.EntryData(
        [describe_messages.EntityData(*it) for it in quota.entity],
        [describe_messages.ValueData(*it) for it in sorted(quota.values.items())],
    )


def _filter(request: describe_messages.Request) -> _Filter:
    """The filter of a request. Raises _Fault."""
    exact: dict[str, str | None] = {}
    every: set[str] = set()
    for it in request.components:
        kind = it.entity_type
        if not kind:
            raise _Fault("Invalid empty entity type.")
        if kind in exact or kind in every:
            raise _Fault(f"Entity type {kind} cannot appear more than once in the filter.")
        if kind not in (USER, CLIENT_ID, IP):
            raise _Fault(f"Unsupported entity type {kind}", errors.UNSUPPORTED_VERSION)
        name = "MATCH_TYPE_DEFAULT" if it.match_type == DEFAULT else "MATCH_TYPE_SPECIFIED"
        if it.match_type not in (EXACT, DEFAULT, SPECIFIED):
            raise _Fault(f"Unknown match type {it.match_type}")
        if it.match_type == EXACT and it.match is None:
            raise _Fault("Request specified MATCH_TYPE_EXACT, but set match string to null.")
        if it.match_type != EXACT and it.match is not None:
            raise _Fault(f"Request specified {name}, but also specified a match string.")
        if it.match_type == SPECIFIED:
            every.add(kind)
        else:
            exact[kind] = it.match
    kinds = exact.keys() | every
    if IP in kinds and len(kinds) > 1:
        raise _Fault(
            "Invalid entity filter component combination, IP filter component should not be used "
            "with User or ClientId filter component."
        )
    return _Filter(exact, frozenset(every), request.strict)


# Altering


def alter(client: KafkaClient, version: int, request: alter_messages.Request) -> Steps:
    """Key 49: changes all or nothing of each entity; a few hundred entities are one change."""
    entries: list[alter_messages.ResponseEntryData] = []
    for some in parts(request.entries, ALTERED_AT_ONCE):
        entries += yield given(_altered(client, some, request.validate_only))
        yield ALTER_UNITS * len(some)
    return alter_messages.Response(entries=entries)


def _altered(
    client: KafkaClient, entries: Sequence[alter_messages.EntryData], validate_only: bool
) -> Later:
    """The results for these entities, with the valid changes applied."""
    access = client.door.access
    changed: dict[Entity, KeptQuota] = {}
    told: list[tuple[alter_messages.EntryData, int, str | None]] = []
    for entry in entries:
        try:
            entity = _entity(entry)
            before = changed.get(entity) or access.quota_to_be(entity) or KeptQuota(entity)
            changed[entity] = KeptQuota(entity, _values(entry, before))
        except _Fault as fault:
            told.append((entry, fault.code, fault.text))
        else:
            idle = sorted({it.key for it in entry.ops if not it.remove} & WITHOUT_EFFECT)
            told.append((entry, errors.NONE, NO_EFFECT + ", ".join(idle) if idle else None))
    if validate_only:
        changed = {}
    return _kept(client, changed, told)


def _entity(entry: alter_messages.EntryData) -> Entity:
    """The entity that an entry names. Raises _Fault."""
    found: dict[str, str | None] = {}
    for it in entry.entity:
        kind, name = it.entity_type, it.entity_name
        if kind in found:
            raise _Fault(f"Invalid client quota entity, duplicate entity entry {kind}")
        if kind not in (USER, CLIENT_ID, IP):
            raise _Fault(f"Unhandled client quota entity type: {kind}")
        if name == "":
            raise _Fault(f"Empty {kind} not supported")
        if name is not None and len(name) > NAME_MAX:
            raise _Fault(f"{kind} of more than {NAME_MAX} characters")
        found[kind] = name
    if not found:
        raise _Fault("Invalid empty client quota entity")
    if IP in found:
        if len(found) > 1:
            raise _Fault(
                "Invalid quota entity combination, IP entity should not be combined with User or "
                "ClientId"
            )
        found[IP] = _address(found[IP])
    return tuple(sorted(found.items()))


def _address(text: str | None) -> str | None:
    """The IP address as connections have it; names are not resolved, because they may change."""
    if text is None:
        return None
    try:
        return check_host(text)
    except Refused:
        raise _Fault(f"{text} is not a valid IP or resolvable host.") from None


def _values(entry: alter_messages.EntryData, before: KeptQuota) -> Mapping[str, float]:
    """The entity's quotas after the change. Raises _Fault."""
    keys = KEYS[frozenset(kind for kind, _ in before.entity)]
    values = dict(before.values)
    for it in entry.ops:
        if it.key not in keys:
            raise _Fault(f"Invalid configuration key {it.key}")
        if it.remove:
            values.pop(it.key, None)
        else:
            _check_value(it.key, it.value, keys[it.key])
            values[it.key] = it.value
    return values


def _check_value(key: str, value: float, most: int | None) -> None:
    """Check a quota's value. Raises _Fault."""
    if not value > 0:
        raise _Fault(f"Quota {key} must be greater than 0")
    if not math.isfinite(value):
        raise _Fault(f"Quota {key} must be a number")
    if most is None:
        return
    if value > most:
        kind = "an INT" if most == INT_MAX else "a LONG"
        raise _Fault(f"Proposed value for {key} is too large for {kind}.")
    if value % 1.0 > 1e-6:
        raise _Fault(f"{key} cannot be a fractional value.")


def _kept(
    client: KafkaClient,
    changed: Mapping[Entity, KeptQuota],
    told: Sequence[tuple[alter_messages.EntryData, int, str | None]],
) -> Later:
    """Store the changed quotas; the answer is given when they are durable."""
    access, later = client.door.access, Later()

    def answer(failed: LogstoreError | None) -> None:
        later.give(list(_entries(told, failed)))

    keep = [it for it in changed.values() if it.values]
    if len({*access.quotas, *(it.entity for it in keep)}) > QUOTAS_MAX:
        answer(
            Refused(f"there are {len(access.quotas)} quotas, which is the maximum of {QUOTAS_MAX}")
        )
    elif not changed:
        answer(None)
    else:
        forget = [it for it in changed.values() if not it.values]
        access.change(keep, forget, client.rights.who).then(lambda keeping: answer(keeping.error))
    return later


def _entries(
    told: Sequence[tuple[alter_messages.EntryData, int, str | None]], failed: LogstoreError | None
) -> Iterator[alter_messages.ResponseEntryData]:
    for entry, code, text in told:
        if failed is not None and code == errors.NONE:
            refused = isinstance(failed, Refused)
            code = errors.POLICY_VIOLATION if refused else errors.KAFKA_STORAGE_ERROR
            text = str(failed)
        named = [
            alter_messages.ResponseEntityData(it.entity_type, it.entity_name) for it in entry.entity
        ]
        yield alter_messages.ResponseEntryData(code, text, named)


HANDLERS: Final = {
    48: handler(describe_messages.Request, describe_messages.Response, describe),
    49: handler(alter_messages.Request, alter_messages.Response, alter),
}
