"""MQTT wills, in LMDB beside the catalogue.

    mqtt_wills   number   CRC-32C of key and table, then a table: client, topic, payload, qos,
                          retain, delay_s, session_s; and of what there is: due_ms, format, type,
                          response, correlation, user (names and values in turn), expiry_s

Numbers are 64 bits, big-endian. LMDB has no checksums, and a will is published in the name of a
client that is gone: a damaged will is named in the log, and not published.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

from logstore.amqp import fields
from logstore.amqp.replies import Refusal
from logstore.errors import CorruptStore
from logstore.kept.wills import KeptWill, KeptWills
from logstore.records.crc import crc32c
from logstore.storage.environment import Environment, Transaction

WILLS: Final = b"mqtt_wills"
TABLES: Final = (WILLS,)
_NUMBER: Final = Struct(">Q")
_CRC: Final = Struct(">I")
_DEEP: Final = 2  # tables and arrays within each other

# Of each field that a will may lack, its name in the row.
_OPTIONAL: Final = {
    "due_ms": "due_ms", "payload_format": "format", "content_type": "type",
    "response_topic": "response", "correlation": "correlation", "expiry_s": "expiry_s",
}  # fmt: skip
_BYTES: Final = frozenset({"topic", "payload", "type", "response", "correlation"})
_NEEDED: Final = ("client", "topic", "payload", "qos", "retain", "delay_s", "session_s")
_MOST: Final = {"qos": 2, "format": 1, "due_ms": 2**63 - 1}  # of numbers; of others 32 bits


def used(environment: Environment) -> bool:
    """Whether any will is stored. Raises Failed."""
    return environment.has(WILLS) and bool(environment.page(WILLS, b"", b"", 1))


def load(environment: Environment) -> KeptWills:
    """All stored wills; damaged rows are named, and stay where they are. Raises Failed."""
    if not environment.has(WILLS):
        return KeptWills()
    wills, damaged = [], []
    for key, value in environment.items(WILLS):
        try:
            wills.append(_will(key, value))
        except (Refusal, ValueError, KeyError, TypeError) as error:
            damaged.append(
                CorruptStore(
                    f"{environment.path}: MQTT will {key.hex()} is damaged: {error}: it is left out"
                )
            )
    return KeptWills(wills, damaged)


def change(transaction: Transaction, keep: Sequence[KeptWill], forget: Sequence[int]) -> None:
    """Make the change within one transaction of ``TABLES``."""
    for number in forget:
        transaction.change(WILLS, _NUMBER.pack(number), None)
    for will in keep:
        key = _NUMBER.pack(will.number)
        table = fields.table(_row(will))
        transaction.change(WILLS, key, _CRC.pack(crc32c(key + table)) + table)


def _row(will: KeptWill) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(will, name) for name in _NEEDED}
    for name, short in _OPTIONAL.items():
        if getattr(will, name) is not None:
            row[short] = getattr(will, name)
    if will.user:
        row["user"] = [text for pair in will.user for text in pair]
    return row


def _will(key: bytes, value: bytes) -> KeptWill:
    """Raises Refusal, ValueError, KeyError, TypeError."""
    table = value[_CRC.size :]
    if len(key) != _NUMBER.size:
        raise ValueError(f"a key of {len(key)} bytes")
    if value[: _CRC.size] != _CRC.pack(crc32c(key + table)):
        raise ValueError("the checksum does not match")
    row, end = fields.read_table(table, 0, fields.NESTED_MAX - _DEEP)
    if end != len(table):
        raise ValueError(f"{len(table) - end} bytes too many")
    user = row.pop("user", [])
    if unknown := row.keys() - {*_NEEDED, *_OPTIONAL.values()}:
        raise ValueError(f"it has the fields {', '.join(sorted(unknown))}")
    needed: Any = {name: row[name] for name in _NEEDED}
    optional: Any = {name: row.get(short) for name, short in _OPTIONAL.items()}
    for name, it in row.items():
        _check(name, it)
    if type(user) is not list or len(user) % 2 or not all(type(it) is bytes for it in user):
        raise ValueError("its user properties are not pairs")
    pairs = tuple(zip(user[::2], user[1::2], strict=True))
    return KeptWill(_NUMBER.unpack(key)[0], **needed, **optional, user=pairs)


def _check(name: str, value: Any) -> None:  # noqa: ANN401  what a row holds
    """Raises TypeError, ValueError."""
    kind: Any = bytes if name in _BYTES else {"client": str, "retain": bool}.get(name, int)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{name} is {value!r}")
    if kind is int and not 0 <= value <= _MOST.get(name, 2**32 - 1):
        raise ValueError(f"{name} is {value}")
