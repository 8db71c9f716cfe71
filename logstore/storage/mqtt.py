"""MQTT sessions, in LMDB beside the catalogue.

    mqtt_sessions        id            CRC-32C of key and table, then a table: client, user, queue,
                                       version, expiry_s, left_ms, perhaps strict
    mqtt_subscriptions   session, id   the same CRC; a table: filter, qos, options, number

LMDB has no checksums, and a damaged session could receive another's messages. Ids are 64 bits,
big-endian; session ids are from the same counter as queue ids (``queues.py``). ``mqtt_alive`` in
``meta`` is the time (ms) at which a process with sessions was last known to be alive.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final, TypeVar

from logstore.amqp import fields
from logstore.amqp.replies import Refusal
from logstore.errors import CorruptStore
from logstore.kept.mqtt import Kept, KeptMqtt, KeptSession, KeptSubscription
from logstore.kept.queue_rows import ROW_DEEP
from logstore.records.crc import crc32c
from logstore.storage import queues
from logstore.storage.environment import Environment, Transaction

_META: Final = b"meta"
SESSIONS: Final = b"mqtt_sessions"
SUBSCRIPTIONS: Final = b"mqtt_subscriptions"
TABLES: Final = (SESSIONS, SUBSCRIPTIONS, _META)
_ALIVE: Final = b"mqtt_alive"
FORGOTTEN_AT_ONCE: Final = 4096  # subscriptions that are looked for in one step

_CRC: Final = Struct(">I")
_ID: Final = Struct(">Q")
_PAIR: Final = Struct(">QQ")
_NO_LOCAL, _RETAIN_AS_PUBLISHED = 1, 2

_NAMES: Final = {SESSIONS: "session", SUBSCRIPTIONS: "subscription"}
_Fact = TypeVar("_Fact", KeptSession, KeptSubscription)


def used(environment: Environment) -> bool:
    """Whether anything is stored. Raises Failed."""
    return environment.has(SESSIONS) and bool(environment.page(SESSIONS, b"", b"", 1))


def load(environment: Environment) -> KeptMqtt:
    """All stored facts; damaged rows are named, and stay where they are. Raises Failed."""
    if not environment.has(SESSIONS):
        return KeptMqtt()
    damaged: list[CorruptStore] = []

    def rows(table: bytes, parse: Callable[[bytes, dict[str, Any]], _Fact]) -> list[_Fact]:
        found = []
        for key, value in environment.items(table):
            try:
                found.append(parse(key, _table(key, value)))
            except (Refusal, ValueError, KeyError, TypeError, IndexError) as error:
                damaged.append(
                    CorruptStore(
                        f"{environment.path}: MQTT {_NAMES[table]} {key.hex()} is damaged: "
                        f"{error}: it is left out"
                    )
                )
        return found

    alive = environment.get(_META, _ALIVE)
    return KeptMqtt(
        rows(SESSIONS, _session),
        rows(SUBSCRIPTIONS, _subscription),
        0 if alive is None or len(alive) != _ID.size else _ID.unpack(alive)[0],
        damaged,
    )


def change(
    transaction: Transaction, keep: Sequence[Kept], forget: Sequence[Kept], alive_ms: int = 0
) -> None:
    """Make the change within one transaction of ``TABLES``."""
    for fact in forget:
        table, key = _place(fact)
        transaction.change(table, key, None)
        if isinstance(fact, KeptSession):
            _forget_subscriptions(transaction, key)
    for fact in keep:
        table, key = _place(fact)
        row = fields.table(_row(fact))
        transaction.change(table, key, _CRC.pack(crc32c(key + row)) + row)
    queues.raise_ids(transaction, (it.id for it in keep if isinstance(it, KeptSession)))
    if alive_ms:
        transaction.change(_META, _ALIVE, _ID.pack(alive_ms))


def _forget_subscriptions(transaction: Transaction, session: bytes) -> None:
    while True:
        keys = transaction.keys(SUBSCRIPTIONS, session, session, FORGOTTEN_AT_ONCE)
        for key in keys:
            transaction.change(SUBSCRIPTIONS, key, None)
        if len(keys) < FORGOTTEN_AT_ONCE:
            return


def _place(fact: Kept) -> tuple[bytes, bytes]:
    if isinstance(fact, KeptSession):
        return SESSIONS, _ID.pack(fact.id)
    return SUBSCRIPTIONS, _PAIR.pack(fact.session, fact.id)


def _row(fact: Kept) -> dict[str, Any]:
    if isinstance(fact, KeptSession):
        return {
            "client": fact.client, "user": fact.user, "queue": fact.queue,
            "version": fact.version, "expiry_s": fact.expiry_s, "left_ms": fact.left_ms,
            **({"strict": True} if fact.strict else {}),
        }  # fmt: skip
    options = _NO_LOCAL * fact.no_local | _RETAIN_AS_PUBLISHED * fact.retain_as_published
    return {
        "filter": fields.text(fact.filter), "qos": fact.qos, "options": options,
        "number": fact.number,
    }  # fmt: skip


def _table(key: bytes, value: bytes) -> dict[str, Any]:
    """Raises Refusal, ValueError."""
    table = value[_CRC.size :]
    if value[: _CRC.size] != _CRC.pack(crc32c(key + table)):
        raise ValueError("the checksum does not match")
    row, end = fields.read_table(table, 0, ROW_DEEP)
    if end != len(table):
        raise ValueError(f"{len(table) - end} bytes too many")
    return row


def _number(value: Any, most: int = 2**63 - 1) -> int:  # noqa: ANN401  what a row holds
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number")
    if not -1 <= value <= most:
        raise ValueError(f"{value} is out of range")
    return int(value)


def _text(value: Any) -> str:  # noqa: ANN401
    if type(value) is not str:
        raise TypeError(f"{value!r} is not text")
    return value


def _session(key: bytes, row: dict[str, Any]) -> KeptSession:
    if len(key) != _ID.size:
        raise ValueError(f"a key of {len(key)} bytes")
    return KeptSession(
        _ID.unpack(key)[0], _text(row["client"]), _text(row["user"]), _number(row["queue"]),
        _number(row["version"]), _number(row["expiry_s"]), _number(row["left_ms"]),
        bool(row.get("strict", False)),
    )  # fmt: skip


def _subscription(key: bytes, row: dict[str, Any]) -> KeptSubscription:
    if len(key) != _PAIR.size:
        raise ValueError(f"a key of {len(key)} bytes")
    session, number = _PAIR.unpack(key)
    options = _number(row["options"])
    return KeptSubscription(
        session, number, fields.data(_text(row["filter"])), _number(row["qos"], 2),
        bool(options & _NO_LOCAL), bool(options & _RETAIN_AS_PUBLISHED), _number(row["number"]),
    )  # fmt: skip
