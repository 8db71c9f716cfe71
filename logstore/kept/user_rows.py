"""The layout of rows for users, rules, permissions and quotas, wherever they are stored. Pure.

    user NUL name                 a user
    rule NUL digest               a rule, by all that it says
    permission NUL digest         a user's permission, by user and virtual host
    topic-permission NUL digest   the same, by user, virtual host and exchange
    quota NUL digest              a quota, by its entity

A value is the CRC-32C of key and table, then an AMQP table (``amqp/fields.py``) with all of the
fact's fields. LMDB has no checksums, and here one bit decides who may do what. So a row with a
wrong checksum is damaged, and allows nothing (``Unreadable``).

Digests are 16-byte BLAKE2b of the table that identifies the fact, because names may be longer than
a key.
"""

from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

import msgspec

from logstore.amqp import fields
from logstore.amqp.replies import Refusal
from logstore.errors import InvalidName
from logstore.kept.users import (
    Kept,
    KeptAccess,
    KeptPermission,
    KeptQuota,
    KeptRule,
    KeptTopicPermission,
    KeptUser,
    PasswordHash,
    ScramKey,
    Unreadable,
)
from logstore.names import check_user
from logstore.records.crc import crc32c

DIGEST_BYTES: Final = 16
_CRC: Final = Struct(">I")
# What ``parse`` raises of a row that is none.
DAMAGE: Final = (
    Refusal, msgspec.ValidationError, ValueError, KeyError, TypeError, AttributeError,
)  # fmt: skip

USER: Final = b"user"
_RULE, _PERMISSION = b"rule", b"permission"
_TOPIC_PERMISSION, _QUOTA = b"topic-permission", b"quota"
# What may have forbidden something: a rule, and a topic permission, without which all keys are
# allowed. The other rows grant, and without them less is allowed.
_FORBIDDING: Final = {_RULE, _TOPIC_PERMISSION}

Row = dict[str, Any]


def encode(fact: Kept) -> tuple[bytes, bytes]:
    """The key and value of a row. Raises InvalidName."""
    key = key_of(fact)
    try:
        return key, sealed(key, fields.table(_row(fact)))
    except UnicodeEncodeError as error:
        raise _no_text(error) from None


def key_of(fact: Kept) -> bytes:
    """The key of a fact's row. Raises InvalidName."""
    try:
        return _key(fact)
    except UnicodeEncodeError as error:
        raise _no_text(error) from None


def _no_text(error: UnicodeEncodeError) -> InvalidName:
    return InvalidName(f"{error.object!r} is not allowed: it is not text")


def access_of(path: str, rows: Iterable[tuple[bytes, bytes]]) -> KeptAccess:
    """The facts in these rows; damaged rows are named. ``path``: where the rows are stored."""
    found: dict[type[Any], list[Any]] = {}
    damaged = []
    for key, value in rows:
        try:
            fact = parse(key, value)
        except DAMAGE as error:
            damaged.append(_unreadable(path, key, value, error))
        else:
            found.setdefault(type(fact), []).append(fact)
    return KeptAccess(
        users=found.get(KeptUser, ()),
        rules=found.get(KeptRule, ()),
        permissions=found.get(KeptPermission, ()),
        topic_permissions=found.get(KeptTopicPermission, ()),
        quotas=found.get(KeptQuota, ()),
        damaged=damaged,
    )


def is_bad(key: bytes, value: bytes) -> bool:
    """Whether such a row is damaged."""
    try:
        parse(key, value)
    except DAMAGE:
        return True
    return False


# Keys


def _key(fact: Kept) -> bytes:
    """Raises InvalidName, UnicodeEncodeError."""
    match fact:
        case KeptUser():
            return USER + b"\0" + check_user(fact.name).encode()
        case KeptRule():
            return _by_digest(_RULE, _row(fact))
        case KeptPermission():
            return _by_digest(_PERMISSION, {"user": fact.user, "vhost": fact.vhost})
        case KeptTopicPermission():
            return _by_digest(
                _TOPIC_PERMISSION,
                {"user": fact.user, "vhost": fact.vhost, "exchange": fact.exchange},
            )
        case KeptQuota():
            return _by_digest(_QUOTA, dict(fact.entity))


def _by_digest(kind: bytes, identity: Row) -> bytes:
    return kind + b"\0" + blake2b(fields.table(identity), digest_size=DIGEST_BYTES).digest()


# Rows


def sealed(key: bytes, table: bytes) -> bytes:
    """The value of a row with this table."""
    return _CRC.pack(crc32c(key + table)) + table


def _row(fact: Kept) -> Row:
    match fact:
        case KeptUser():
            return {
                "name": fact.name,
                "scram": {name: _scram_row(it) for name, it in fact.scram.items()},
                "tags": list(fact.tags),
                "redis": fact.redis,
                "weak_sha256": list(fact.weak_sha256),
                **({} if fact.rabbit is None else {"rabbit": _hash_row(fact.rabbit)}),
            }
        case KeptRule():
            return {
                "user": fact.user, "operation": fact.operation, "kind": fact.kind,
                "name": fact.name, "pattern": fact.pattern, "allow": fact.allow, "host": fact.host,
            }  # fmt: skip
        case KeptPermission():
            return {
                "user": fact.user, "vhost": fact.vhost,
                "configure": fact.configure, "write": fact.write, "read": fact.read,
            }  # fmt: skip
        case KeptTopicPermission():
            return {
                "user": fact.user, "vhost": fact.vhost, "exchange": fact.exchange,
                "write": fact.write, "read": fact.read,
            }  # fmt: skip
        case KeptQuota():
            return {"entity": dict(fact.entity), "values": dict(fact.values)}


def _scram_row(key: ScramKey) -> Row:
    return {
        "salt": key.salt, "iterations": key.iterations,
        "stored_key": key.stored_key, "server_key": key.server_key,
    }  # fmt: skip


def _hash_row(hash_: PasswordHash) -> Row:
    return {"algorithm": hash_.algorithm, "salt": hash_.salt, "digest": hash_.digest}


def parse(key: bytes, value: bytes) -> Kept:
    """The inverse of ``encode``. Raises the errors in ``DAMAGE``."""
    kind, _, _ = key.partition(b"\0")
    table = value[_CRC.size :]
    if value[: _CRC.size] != _CRC.pack(crc32c(key + table)):
        raise ValueError("the checksum does not match")
    row, end = fields.read_table(table, 0)
    if end != len(table):
        raise ValueError(f"{len(table) - end} bytes too many")
    fact = _PARSE[kind](row)
    if _key(fact) != key:
        raise ValueError("it stands at another one's place")
    return fact


def _plain(kind: type[Any], row: Row) -> Any:  # noqa: ANN401  one of ``kind``
    """The fact with exactly these fields, because a fact without one would mean something else."""
    if row.keys() != set(kind.__struct_fields__):
        raise ValueError(f"it has the fields {', '.join(sorted(row))}")
    return msgspec.convert(row, kind)


def _user(row: Row) -> KeptUser:
    for key in row["scram"].values():
        _plain(ScramKey, key)
    if "rabbit" in row:
        _plain(PasswordHash, row["rabbit"])
    found: KeptUser = _plain(KeptUser, {"rabbit": None, **row})
    return found


def _quota(row: Row) -> KeptQuota:
    if row.keys() != {"entity", "values"}:
        raise ValueError(f"it has the fields {', '.join(sorted(row))}")
    entity = msgspec.convert(row["entity"], dict[str, str | None])
    return KeptQuota(
        tuple(sorted(entity.items())), msgspec.convert(row["values"], dict[str, float])
    )


_PARSE: Final[dict[bytes, Callable[[Row], Kept]]] = {
    USER: _user,
    _RULE: partial(_plain, KeptRule),
    _PERMISSION: partial(_plain, KeptPermission),
    _TOPIC_PERMISSION: partial(_plain, KeptTopicPermission),
    _QUOTA: _quota,
}


# Damage


def _unreadable(path: str, key: bytes, value: bytes, error: Exception) -> Unreadable:
    kind, _, name = key.partition(b"\0")
    if kind == USER:
        what = f"user {name.decode(errors='backslashreplace')!r}"
        remedy = (
            "the user can't log in: add the user again with `logstore user add`, or remove the"
            " row with `logstore acl repair`"
        )
    else:
        what = f"{kind.decode(errors='backslashreplace')} {name.hex()}{_about(value)}"
        remedy = "remove it with `logstore acl repair`, then set it again"
    forbids = kind in _FORBIDDING or kind not in _PARSE
    if forbids:
        remedy = f"it may forbid something, so only administrators may do anything: {remedy}"
    return Unreadable(key, f"{path}: {what} is damaged: {error}: {remedy}", forbids)


def _about(value: bytes) -> str:
    """Whose row it seems to be, if that is still readable."""
    try:
        row, _ = fields.read_table(value[_CRC.size :], 0)
    except DAMAGE:
        return ""
    told = [f"{name} {row[name]!r}" for name in ("user", "name", "vhost", "exchange", "entity")
            if name in row]  # fmt: skip
    return f" ({', '.join(told)})" if told else ""
