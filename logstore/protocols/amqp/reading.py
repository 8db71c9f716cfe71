"""Reads an AMQP connection: the protocol's header, then frames, and dispatches each frame.

Consecutive frames that publish or settle are handled together. The connection's own methods, and
its end, are handled in ``session.py``.
"""

from struct import Struct
from typing import Final, Protocol

from logstore.amqp import methods
from logstore.amqp.frames import (
    HEAD,
    HEAD_BYTES,
    HEARTBEAT,
    METHOD,
    OVERHEAD,
    PROTOCOL,
    method_frame,
)
from logstore.amqp.methods import Method
from logstore.amqp.replies import (
    CHANNEL_ERROR,
    FRAME_ERROR,
    NOT_ALLOWED,
    UNEXPECTED_FRAME,
    Refusal,
)
from logstore.foreign import HEAD_BYTES as FOREIGN_BYTES
from logstore.foreign import (
    not_http,
    not_kafka,
    speaks_http,
    speaks_kafka,
    speaks_tls,
    without_tls,
)
from logstore.protocols.amqp import publish, settle
from logstore.protocols.amqp.carrier import Carrier
from logstore.protocols.amqp.channel import WORK_AT_ONCE, AmqpChannel, ids_of, work
from logstore.protocols.amqp.handshake import Handshake
from logstore.protocols.amqp.phase import Phase

BACK_BYTES: Final = 256  # of frames that give back a message each, and cost as much as a method
READ_S: Final = 0.01  # for processing frames; a route through many bindings takes ms
COMPARING_S: Final = 0.003  # as READ_S where ids may be compared: publishing takes twice as long
PROTOCOL_NAME: Final = "AMQP 0-9-1"
_FRAME_END: Final = 0xCE
_ALSO_TAKEN: Final = b"AMQP\1\1\0\x09"  # how 0-9-1 was announced at first
_IDS: Final = Struct(">HH")  # a method's class and its own
_CLOSE: Final = _IDS.pack(*methods.IDS[methods.ConnectionClose])
_CLOSE_OK: Final = _IDS.pack(*methods.IDS[methods.ConnectionCloseOk])
_CLOSED: Final = method_frame(0, methods.ConnectionCloseOk())  # mostly in a read of its own


class Framed(Carrier, Protocol):
    """The connection that is read."""

    wants: int  # bytes, before there is any use in reading
    phase: Phase
    handshake: Handshake
    channels: dict[int, AmqpChannel]
    full: bool  # takes nothing now
    until: float  # this read may take, by the door's stopwatch

    def to(self, phase: Phase) -> None: ...
    def send(self, method: Method) -> None: ...
    def take_method(self, method: Method) -> None: ...
    def end(self, reason: str) -> None: ...
    def closed_by_peer(self) -> None: ...


def take(of: Framed, raw: bytes) -> int:
    """Process input of a connection; returns how many bytes were processed."""
    at = 0
    if of.phase is Phase.DISCARDING:
        if raw.endswith(_CLOSED):
            of.closed_by_peer()
        return len(raw)
    if of.phase is Phase.HEADER:
        at = _take_header(of, raw)
        if at != len(PROTOCOL):
            return at
    try:
        return _take_frames(of, raw, at)
    except Refusal as refusal:  # a frame error, not a method's
        of.fail(refusal, (0, 0))
        if of.phase is Phase.CLOSING:
            of.phase = Phase.DISCARDING
        return len(raw)


def _take_frames(of: Framed, raw: bytes, at: int) -> int:
    """Process whole frames from ``at`` on; returns where they end."""
    end, left = len(raw), WORK_AT_ONCE
    channels, unpack, late = of.channels, HEAD.unpack_from, of.late
    compares = of.phase is Phase.RUNNING and of.vhost.deduplication.used is not None
    of.until = of.door.stopwatch() + (COMPARING_S if compares else READ_S)
    while end - at >= HEAD_BYTES and not of.full and left > 0 and not late():
        kind, number, size = unpack(raw, at)
        upto = at + HEAD_BYTES + size
        if size > of.payload_max:
            raise bad_frame(kind, f"{{frame_too_large,{size},{of.payload_max}}}")
        if upto >= end:
            of.wants = size + OVERHEAD
            break
        if raw[upto] != _FRAME_END:
            raise bad_frame(kind, f"{{invalid_frame_end_marker,{raw[upto]}}}")
        begin = at + HEAD_BYTES
        if kind == METHOD and of.phase is Phase.RUNNING:
            channel = channels.get(number)
            if channel is not None and channel.quick:
                if raw.startswith(publish.IDS, begin):
                    past = publish.take_many(channel, raw, at)
                    if past != at:
                        at = past
                        continue
                elif size == settle.SIZE and raw.startswith(settle.IDS, begin):
                    at = settle.take_many(channel, raw, at)
                    continue
                elif size == settle.SIZE and raw[begin : begin + 4] in settle.BACK:
                    begin, at = at, settle.take_back(channel, raw, at)
                    left -= 1 + (at - begin) // BACK_BYTES
                    continue
        at = upto + 1
        before = of.out_bytes
        _frame(of, kind, number, raw[begin:upto])
        left -= work(size + of.out_bytes - before)
        if of.phase in (Phase.DISCARDING, Phase.OVER):
            return end
    return at


def _take_header(of: Framed, raw: bytes) -> int:
    """Process the protocol header; returns its size."""
    if raw[:8] in (PROTOCOL, _ALSO_TAKEN):
        of.to(Phase.HANDSHAKE)
        of.send(of.handshake.begin())
        return 8
    head = raw[:FOREIGN_BYTES]
    if len(raw) < 8 and (PROTOCOL.startswith(raw) or _ALSO_TAKEN.startswith(raw)):
        of.wants = 8
        return 0
    if speaks_tls(head):
        of.end(without_tls(PROTOCOL_NAME, "amqp.tls.port"))
    elif speaks_http(head):
        of.end(not_http(PROTOCOL_NAME))
    else:
        of.put(PROTOCOL)  # 4.2.2: tells the client which version is supported
        of.end(
            not_kafka(PROTOCOL_NAME)
            if speaks_kafka(raw)
            else f"the peer speaks another protocol: {PROTOCOL_NAME} is served here"
        )
    return len(raw)


def _frame(of: Framed, kind: int, number: int, payload: bytes) -> None:
    if of.phase is Phase.CLOSING:
        _frame_while_closing(of, kind, number, payload)
    elif not METHOD <= kind <= 3 and kind != HEARTBEAT:
        raise bad_frame(kind, "unknown_frame")
    elif number == 0:
        _frame_of_connection(of, kind, payload)
    elif kind == HEARTBEAT:
        raise Refusal(UNEXPECTED_FRAME, "a heartbeat belongs to channel 0")
    elif of.phase is Phase.HANDSHAKE:
        raise Refusal(CHANNEL_ERROR, f"a frame of channel {number} before connection.open")
    else:
        channel = of.channels.get(number)
        if channel is None:
            _open_channel(of, kind, number, payload)
        else:
            channel.take(kind, payload)


def _frame_while_closing(of: Framed, kind: int, number: int, payload: bytes) -> None:
    """Ignore the frame, unless it ends the connection."""
    if kind != METHOD or number != 0:
        return
    ids = payload[: _IDS.size]
    if ids == _CLOSE:
        of.send(methods.ConnectionCloseOk())
    elif ids == _CLOSE_OK:
        of.closed_by_peer()


def _frame_of_connection(of: Framed, kind: int, payload: bytes) -> None:
    if kind == HEARTBEAT:
        return
    if kind != METHOD:
        raise Refusal(UNEXPECTED_FRAME, "expected method frame, got non method frame instead")
    try:
        of.take_method(methods.decode(payload))
    except Refusal as refusal:
        of.fail(refusal, ids_of(payload))


def _open_channel(of: Framed, kind: int, number: int, payload: bytes) -> None:
    ids = ids_of(payload) if kind == METHOD else (0, 0)
    if ids != methods.IDS[methods.ChannelOpen]:
        of.fail(Refusal(CHANNEL_ERROR, "expected 'channel.open'"), ids)
        return
    most = of.handshake.channel_max
    if number > most:
        beyond = f"channel {number} is above the negotiated channel_max ({most})"
        of.fail(Refusal(CHANNEL_ERROR, beyond), ids)
    elif len(of.channels) >= most:
        many = (
            f"number of channels opened ({len(of.channels)}) has reached the negotiated "
            f"channel_max ({most})"
        )
        of.fail(Refusal(NOT_ALLOWED, many), ids)
    else:
        of.channels[number] = AmqpChannel(of, number)
        of.door.counts.channels_opened += 1
        of.put(method_frame(number, methods.ChannelOpenOk()))


def bad_frame(kind: int, fault: str) -> Refusal:
    """A frame error in RabbitMQ's words."""
    return Refusal(FRAME_ERROR, f"type {kind}, all octets = <<>>: {fault}")
