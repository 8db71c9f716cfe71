"""Users, rules, permissions and quotas, in LMDB beside the catalogue: the table ``access``.

    user NUL name                 a user
    rule NUL digest               a rule, by all that it says
    permission NUL digest         a user's permission, by user and virtual host
    topic-permission NUL digest   the same, by user, virtual host and exchange
    quota NUL digest              a quota, by its entity

A value is the CRC-32C of key and table, then a table of AMQP (``amqp/fields.py``) with the fact's
fields, all of them. LMDB has no checksums, and here a bit decides who may do what: a row that was
changed by anyone else is damaged, and what is damaged allows nothing (``Unreadable``).

Digests are BLAKE2b of 16 bytes of the table that identifies the fact, since names are longer than
a key may be.
"""

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

import msgspec

from logstore.amqp import fields
from logstore.amqp.replies import Refusal
from logstore.errors import InvalidName, LogstoreError
from logstore.kept import Keeping
from logstore.kept_users import (
    Forgotten,
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
from logstore.storage.environment import Environment, Transaction

ACCESS: Final = b"access"
TABLES: Final = (ACCESS,)
DIGEST_BYTES: Final = 16
_CRC: Final = Struct(">I")
# What reading a row of any bytes raises.
_DAMAGE: Final = (
    Refusal, msgspec.ValidationError, ValueError, KeyError, TypeError, AttributeError,
)  # fmt: skip

_USER, _RULE, _PERMISSION = b"user", b"rule", b"permission"
_TOPIC_PERMISSION, _QUOTA = b"topic-permission", b"quota"
# What may have forbidden something: a rule, and a topic permission, without which all keys are
# allowed. The other rows grant, and without them less is allowed.
_FORBIDDING: Final = {_RULE, _TOPIC_PERMISSION}

Row = dict[str, Any]


def load(environment: Environment) -> KeptAccess:
    """Everything; rows that can't be read are named, and left where they are."""
    if not environment.has(ACCESS):
        return KeptAccess()
    found: dict[type[Any], list[Any]] = {}
    damaged = []
    for key, value in environment.items(ACCESS):
        try:
            fact = _fact(key, value)
        except _DAMAGE as error:
            damaged.append(_unreadable(environment.path, key, value, error))
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


def any_users(environment: Environment) -> bool:
    """Whether there are users; looks at no row."""
    return _USER in environment.heads(ACCESS)


def change(
    transaction: Transaction, keep: Sequence[Kept] = (), forget: Sequence[Forgotten] = ()
) -> None:
    """Within one transaction of ``TABLES``. Raises InvalidName, before anything is changed."""
    try:
        gone = [_key(it) for it in forget if not isinstance(it, Unreadable)]
        gone += [it.key for it in forget if isinstance(it, Unreadable) and _is_bad(transaction, it)]
        rows = [(_key(fact), fields.table(_row(fact))) for fact in keep]
    except UnicodeEncodeError as error:
        raise InvalidName(f"{error.object!r} is not allowed: it is no text") from None
    for key in gone:
        transaction.change(ACCESS, key, None)
    for key, table in rows:
        transaction.change(ACCESS, key, _sealed(key, table))


def _is_bad(transaction: Transaction, row: Unreadable) -> bool:
    """Whether it is still as it was found: it may have been set anew since."""
    value = transaction.get(ACCESS, row.key)
    if value is None:
        return False
    try:
        _fact(row.key, value)
    except _DAMAGE:
        return True
    return False


class DirectKeeper:
    """``UserKeeper`` of a process that serves nobody."""

    def __init__(self, environment: Environment, refuse: Callable[[], None]) -> None:
        """``refuse``: called before each change; raises where this process may make none."""
        self._environment = environment
        self._refuse = refuse

    def load(self) -> KeptAccess:
        return load(self._environment)

    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Forgotten] = ()) -> Keeping:
        """Durable on return, or refused."""
        keeping = Keeping()
        try:
            self._refuse()
            if keep:  # what only forgets is what makes room on a full disk
                self._environment.check_room()
            self._environment.transact(TABLES, lambda it: change(it, keep, forget))
        except LogstoreError as error:
            keeping.finish(error)
        else:
            keeping.finish(None)
        return keeping


# Keys


def _key(fact: Kept) -> bytes:
    """Raises InvalidName."""
    match fact:
        case KeptUser():
            return _USER + b"\0" + check_user(fact.name).encode()
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


def _sealed(key: bytes, table: bytes) -> bytes:
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


def _fact(key: bytes, value: bytes) -> Kept:
    """Raises what ``_DAMAGE`` has."""
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
    """The fact with exactly these fields: with one left out it would say something else."""
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
    _USER: _user,
    _RULE: partial(_plain, KeptRule),
    _PERMISSION: partial(_plain, KeptPermission),
    _TOPIC_PERMISSION: partial(_plain, KeptTopicPermission),
    _QUOTA: _quota,
}


# Damage


def _unreadable(path: str, key: bytes, value: bytes, error: Exception) -> Unreadable:
    kind, _, name = key.partition(b"\0")
    if kind == _USER:
        what = f"user {name.decode(errors='backslashreplace')!r}"
        remedy = (
            "he can't log in: add him anew with `logstore user add`, or remove the row with "
            "`logstore acl repair`"
        )
    else:
        what = f"{kind.decode(errors='backslashreplace')} {name.hex()}{_about(value)}"
        remedy = "remove it with `logstore acl repair`, and set it anew"
    forbids = kind in _FORBIDDING or kind not in _PARSE
    if forbids:
        remedy = f"it may forbid something, so only administrators may do anything: {remedy}"
    return Unreadable(key, f"{path}: {what} is damaged: {error}: {remedy}", forbids)


def _about(value: bytes) -> str:
    """Whose row it seems to be, if that can still be read."""
    try:
        row, _ = fields.read_table(value[_CRC.size :], 0)
    except _DAMAGE:
        return ""
    told = [f"{name} {row[name]!r}" for name in ("user", "name", "vhost", "exchange", "entity")
            if name in row]  # fmt: skip
    return f" ({', '.join(told)})" if told else ""
