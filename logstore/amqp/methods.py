"""The methods of AMQP 0-9-1 (1.x to 90.x, with RabbitMQ's extensions), each described once.

A method is a named tuple; the annotation of each field gives its wire type. Consecutive bits share
an octet. ``encode`` and ``decode`` use these annotations; the methods of every message (Publish,
Deliver, Ack) have faster code of their own in ``content.py``.
"""

from typing import Annotated, Any, Final, NamedTuple, cast, get_type_hints

from logstore.amqp import fields
from logstore.amqp.fields import Table
from logstore.amqp.replies import COMMAND_INVALID, NOT_IMPLEMENTED, Refusal
from logstore.amqp.wires import (
    BIT,
    LONG,
    LONGLONG,
    LONGSTR,
    OCTET,
    SHORT,
    SHORTSTR,
    TABLE,
    Wire,
)

Octet = Annotated[int, OCTET]
Short = Annotated[int, SHORT]
Long = Annotated[int, LONG]
LongLong = Annotated[int, LONGLONG]
ShortStr = Annotated[str, SHORTSTR]
LongStr = Annotated[bytes, LONGSTR]
Arguments = Annotated[Table, TABLE]
Bit = Annotated[bool, BIT]


class ConnectionStart(NamedTuple):
    version_major: Octet
    version_minor: Octet
    server_properties: Arguments
    mechanisms: LongStr
    locales: LongStr


class ConnectionStartOk(NamedTuple):
    client_properties: Arguments
    mechanism: ShortStr
    response: LongStr
    locale: ShortStr


class ConnectionSecure(NamedTuple):
    challenge: LongStr


class ConnectionSecureOk(NamedTuple):
    response: LongStr


class ConnectionTune(NamedTuple):
    channel_max: Short
    frame_max: Long
    heartbeat: Short


class ConnectionTuneOk(NamedTuple):
    channel_max: Short
    frame_max: Long
    heartbeat: Short


class ConnectionOpen(NamedTuple):
    virtual_host: ShortStr
    reserved_1: ShortStr = ""
    reserved_2: Bit = False


class ConnectionOpenOk(NamedTuple):
    reserved_1: ShortStr = ""


class ConnectionClose(NamedTuple):
    reply_code: Short
    reply_text: ShortStr
    class_id: Short = 0
    method_id: Short = 0


class ConnectionCloseOk(NamedTuple):
    pass


class ConnectionBlocked(NamedTuple):
    reason: ShortStr


class ConnectionUnblocked(NamedTuple):
    pass


class ConnectionUpdateSecret(NamedTuple):
    new_secret: LongStr
    reason: ShortStr


class ConnectionUpdateSecretOk(NamedTuple):
    pass


class ChannelOpen(NamedTuple):
    reserved_1: ShortStr = ""


class ChannelOpenOk(NamedTuple):
    reserved_1: LongStr = b""


class ChannelFlow(NamedTuple):
    active: Bit


class ChannelFlowOk(NamedTuple):
    active: Bit


class ChannelClose(NamedTuple):
    reply_code: Short
    reply_text: ShortStr
    class_id: Short = 0
    method_id: Short = 0


class ChannelCloseOk(NamedTuple):
    pass


class AccessRequest(NamedTuple):
    realm: ShortStr = ""
    exclusive: Bit = False
    passive: Bit = False
    active: Bit = False
    write: Bit = False
    read: Bit = False


class AccessRequestOk(NamedTuple):
    ticket: Short = 1


class ExchangeDeclare(NamedTuple):
    ticket: Short
    exchange: ShortStr
    type: ShortStr
    passive: Bit
    durable: Bit
    auto_delete: Bit
    internal: Bit
    nowait: Bit
    arguments: Arguments


class ExchangeDeclareOk(NamedTuple):
    pass


class ExchangeDelete(NamedTuple):
    ticket: Short
    exchange: ShortStr
    if_unused: Bit
    nowait: Bit


class ExchangeDeleteOk(NamedTuple):
    pass


class ExchangeBind(NamedTuple):
    ticket: Short
    destination: ShortStr
    source: ShortStr
    routing_key: ShortStr
    nowait: Bit
    arguments: Arguments


class ExchangeBindOk(NamedTuple):
    pass


class ExchangeUnbind(NamedTuple):
    ticket: Short
    destination: ShortStr
    source: ShortStr
    routing_key: ShortStr
    nowait: Bit
    arguments: Arguments


class ExchangeUnbindOk(NamedTuple):
    pass


class QueueDeclare(NamedTuple):
    ticket: Short
    queue: ShortStr
    passive: Bit
    durable: Bit
    exclusive: Bit
    auto_delete: Bit
    nowait: Bit
    arguments: Arguments


class QueueDeclareOk(NamedTuple):
    queue: ShortStr
    message_count: Long
    consumer_count: Long


class QueueBind(NamedTuple):
    ticket: Short
    queue: ShortStr
    exchange: ShortStr
    routing_key: ShortStr
    nowait: Bit
    arguments: Arguments


class QueueBindOk(NamedTuple):
    pass


class QueuePurge(NamedTuple):
    ticket: Short
    queue: ShortStr
    nowait: Bit


class QueuePurgeOk(NamedTuple):
    message_count: Long


class QueueDelete(NamedTuple):
    ticket: Short
    queue: ShortStr
    if_unused: Bit
    if_empty: Bit
    nowait: Bit


class QueueDeleteOk(NamedTuple):
    message_count: Long


class QueueUnbind(NamedTuple):
    ticket: Short
    queue: ShortStr
    exchange: ShortStr
    routing_key: ShortStr
    arguments: Arguments


class QueueUnbindOk(NamedTuple):
    pass


class BasicQos(NamedTuple):
    prefetch_size: Long
    prefetch_count: Short
    global_: Bit


class BasicQosOk(NamedTuple):
    pass


class BasicConsume(NamedTuple):
    ticket: Short
    queue: ShortStr
    consumer_tag: ShortStr
    no_local: Bit
    no_ack: Bit
    exclusive: Bit
    nowait: Bit
    arguments: Arguments


class BasicConsumeOk(NamedTuple):
    consumer_tag: ShortStr


class BasicCancel(NamedTuple):
    consumer_tag: ShortStr
    nowait: Bit


class BasicCancelOk(NamedTuple):
    consumer_tag: ShortStr


class BasicPublish(NamedTuple):
    ticket: Short
    exchange: ShortStr
    routing_key: ShortStr
    mandatory: Bit
    immediate: Bit


class BasicReturn(NamedTuple):
    reply_code: Short
    reply_text: ShortStr
    exchange: ShortStr
    routing_key: ShortStr


class BasicDeliver(NamedTuple):
    consumer_tag: ShortStr
    delivery_tag: LongLong
    redelivered: Bit
    exchange: ShortStr
    routing_key: ShortStr


class BasicGet(NamedTuple):
    ticket: Short
    queue: ShortStr
    no_ack: Bit


class BasicGetOk(NamedTuple):
    delivery_tag: LongLong
    redelivered: Bit
    exchange: ShortStr
    routing_key: ShortStr
    message_count: Long


class BasicGetEmpty(NamedTuple):
    reserved_1: ShortStr = ""


class BasicAck(NamedTuple):
    delivery_tag: LongLong
    multiple: Bit


class BasicReject(NamedTuple):
    delivery_tag: LongLong
    requeue: Bit


class BasicRecoverAsync(NamedTuple):
    requeue: Bit


class BasicRecover(NamedTuple):
    requeue: Bit


class BasicRecoverOk(NamedTuple):
    pass


class BasicNack(NamedTuple):
    delivery_tag: LongLong
    multiple: Bit
    requeue: Bit


class ConfirmSelect(NamedTuple):
    nowait: Bit


class ConfirmSelectOk(NamedTuple):
    pass


class TxSelect(NamedTuple):
    pass


class TxSelectOk(NamedTuple):
    pass


class TxCommit(NamedTuple):
    pass


class TxCommitOk(NamedTuple):
    pass


class TxRollback(NamedTuple):
    pass


class TxRollbackOk(NamedTuple):
    pass


# By class and method.
METHODS: Final[dict[tuple[int, int], type[Any]]] = {
    (10, 10): ConnectionStart,
    (10, 11): ConnectionStartOk,
    (10, 20): ConnectionSecure,
    (10, 21): ConnectionSecureOk,
    (10, 30): ConnectionTune,
    (10, 31): ConnectionTuneOk,
    (10, 40): ConnectionOpen,
    (10, 41): ConnectionOpenOk,
    (10, 50): ConnectionClose,
    (10, 51): ConnectionCloseOk,
    (10, 60): ConnectionBlocked,
    (10, 61): ConnectionUnblocked,
    (10, 70): ConnectionUpdateSecret,
    (10, 71): ConnectionUpdateSecretOk,
    (20, 10): ChannelOpen,
    (20, 11): ChannelOpenOk,
    (20, 20): ChannelFlow,
    (20, 21): ChannelFlowOk,
    (20, 40): ChannelClose,
    (20, 41): ChannelCloseOk,
    (30, 10): AccessRequest,
    (30, 11): AccessRequestOk,
    (40, 10): ExchangeDeclare,
    (40, 11): ExchangeDeclareOk,
    (40, 20): ExchangeDelete,
    (40, 21): ExchangeDeleteOk,
    (40, 30): ExchangeBind,
    (40, 31): ExchangeBindOk,
    (40, 40): ExchangeUnbind,
    (40, 51): ExchangeUnbindOk,
    (50, 10): QueueDeclare,
    (50, 11): QueueDeclareOk,
    (50, 20): QueueBind,
    (50, 21): QueueBindOk,
    (50, 30): QueuePurge,
    (50, 31): QueuePurgeOk,
    (50, 40): QueueDelete,
    (50, 41): QueueDeleteOk,
    (50, 50): QueueUnbind,
    (50, 51): QueueUnbindOk,
    (60, 10): BasicQos,
    (60, 11): BasicQosOk,
    (60, 20): BasicConsume,
    (60, 21): BasicConsumeOk,
    (60, 30): BasicCancel,
    (60, 31): BasicCancelOk,
    (60, 40): BasicPublish,
    (60, 50): BasicReturn,
    (60, 60): BasicDeliver,
    (60, 70): BasicGet,
    (60, 71): BasicGetOk,
    (60, 72): BasicGetEmpty,
    (60, 80): BasicAck,
    (60, 90): BasicReject,
    (60, 100): BasicRecoverAsync,
    (60, 110): BasicRecover,
    (60, 111): BasicRecoverOk,
    (60, 120): BasicNack,
    (85, 10): ConfirmSelect,
    (85, 11): ConfirmSelectOk,
    (90, 10): TxSelect,
    (90, 11): TxSelectOk,
    (90, 20): TxCommit,
    (90, 21): TxCommitOk,
    (90, 30): TxRollback,
    (90, 31): TxRollbackOk,
}

IDS: Final = {method: ids for ids, method in METHODS.items()}
Method = tuple[Any, ...]  # an instance of one of them

_layouts: dict[type[Any], tuple[Wire | None, ...]] = {}


def _layout(method: type[Any]) -> tuple[Wire | None, ...]:
    layout = _layouts.get(method)
    if layout is None:
        hints = get_type_hints(method, include_extras=True)
        layout = tuple(hint.__metadata__[0] for hint in hints.values())
        _layouts[method] = layout
    return layout


def decode(payload: bytes) -> Method:
    """What a method frame holds. What stands behind its last field is left alone, as by RabbitMQ.

    Raises Refusal.
    """
    class_id, at = fields.read_short(payload, 0)
    method_id, at = fields.read_short(payload, at)
    method = METHODS.get((class_id, method_id))
    if method is None:
        raise Refusal(
            COMMAND_INVALID if class_id not in CLASSES else NOT_IMPLEMENTED,
            f"unknown method {class_id}.{method_id}",
        )
    values: list[Any] = []
    bits, bit = 0, 0  # of the octet that is read from; how many were
    for wire in _layout(method):
        if wire is not None:
            value, at = wire.read(payload, at)
            values.append(value)
            bit = 0
            continue
        if bit == 0:
            bits, at = fields.read_octet(payload, at)
        values.append(bool(bits >> bit & 1))
        bit = (bit + 1) % 8
    return cast("Method", method._make(values))


def encode(method: Method) -> bytes:
    """What the frame of a method holds. Raises ValueError, TypeError for values of no wire type."""
    kind = type(method)
    parts = [_HEADS[kind]]
    bits, bit = 0, 0
    for wire, value in zip(_layout(kind), method, strict=True):
        if wire is None:
            bits |= bool(value) << bit
            bit += 1
            if bit == 8:
                parts.append(fields.octet(bits))
                bits = bit = 0
            continue
        if bit:
            parts.append(fields.octet(bits))
            bits = bit = 0
        parts.append(wire.write(value))
    if bit:
        parts.append(fields.octet(bits))
    return b"".join(parts)


CLASSES: Final = frozenset(class_id for class_id, _ in METHODS)
_HEADS: Final = {method: fields.short(ids[0]) + fields.short(ids[1]) for method, ids in IDS.items()}
