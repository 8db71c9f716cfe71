"""Basic.Publish: takes messages from a channel to the queues.

The messages of one read are gathered in the channel's run and given to the queues together. A
message that arrives whole is parsed in one step; if its frames equal those of the previous message
except for the body, as is usual, they are not parsed at all: 0.3 us instead of 1.
"""

from collections.abc import Callable, Sequence
from functools import partial
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final

from logstore.access.resources import WRITE
from logstore.amqp import methods, properties
from logstore.amqp.fields import text
from logstore.amqp.frames import BODY, HEAD, HEAD_BYTES, HEADER, METHOD, OVERHEAD
from logstore.amqp.methods import IDS as METHOD_IDS
from logstore.amqp.replies import (
    NO_ROUTE,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    Refusal,
)
from logstore.broker.queues.looking import Looking
from logstore.broker.queues.message import Message
from logstore.broker.queues.settling import BODIES_BYTES_MAX, Outgoing, bytes_of
from logstore.broker.queues.station import Route
from logstore.errors import LogstoreError
from logstore.protocols.amqp.carrier import NO_LAST, Last, Publishing
from logstore.protocols.amqp.channel import AmqpChannel
from logstore.protocols.amqp.door import REPLY_TO, reply_address
from logstore.protocols.amqp.lacking import has_to_look, is_for_replies, lacks_route, routing
from logstore.protocols.amqp.subscription import returned_frames
from logstore.protocols.rabbit_permits import AskKey, is_topic
from logstore.records.encode import Pieces

IDS: Final = Struct(">HH").pack(*METHOD_IDS[methods.BasicPublish])  # how its frames begin

_CONTENT: Final = Struct(">BHIHHQH")  # head of a header frame, class, weight, body size, flags
_END: Final = 0xCE
# Limit on a channel's memory of its last message, since there may be many channels.
LAST_BYTES_MAX: Final = 1024
# Messages that are taken at once, each as often as it has queues: to park one takes 2 us.
COPIES_MAX: Final = 10_000
# Properties that are checked: the user id and the address for replies.
_LOOKED_AT: Final = 1 << 4 | 1 << 9


def take_many(channel: AmqpChannel, raw: bytes, at: int) -> int:
    """Publish this channel's consecutive whole messages; returns where they end.

    Only messages that need no further steps are taken; the rest is for ``AmqpChannel.take``.
    """
    run, last, end = channel.run, channel.last, len(raw)
    route, known, new = routing(channel), channel.of.vhost.topology.known_route, tuple.__new__
    begun, late, copies = len(run), channel.of.late, 0
    check_publish, checked = channel.of.permits.check_publish, None  # the exchange, as it was last
    keyed = False  # there are rules about its keys
    prefix, size, (exchange, key, mandatory, _), props = last if last is not None else NO_LAST
    length = len(prefix)
    queues: Route | None = None  # of all messages that begin so
    try:
        while True:
            if last is None or not raw.startswith(prefix, at):
                last = _look(channel, raw, at)
                if last is None:
                    break
                channel.last = last if len(last.prefix) <= LAST_BYTES_MAX else None
                prefix, size, (exchange, key, mandatory, _), props = last
                length, queues = len(prefix), None
            upto = at + length + size
            if upto >= end or raw[upto] != _END:
                break
            message = new(Message, (exchange, key, props, raw[at + length : upto]))
            at = upto + 1
            if queues is None:
                if exchange != checked:
                    keyed, checked = check_publish(exchange), exchange
                if keyed:
                    _check_keys(channel, message)
                to = route(message)
                queues = to if _is_known(known, message, to) else None
                if late():
                    end = 0
            else:
                to = queues
            if mandatory:
                channel.mandatory.append(len(run))
            run.append((to, message))
            copies += len(to)
            if copies > COPIES_MAX:
                end = 0
    except LogstoreError as error:
        channel.current = METHOD_IDS[methods.BasicPublish]
        refused(channel, error)
    else:
        if len(run) > begun:
            channel.of.published[channel] = None
    return at


def _is_known(known: Callable[[bytes, bytes], Route], message: Message, to: Route) -> bool:
    """Whether the cached route applies to all messages with these properties and this key."""
    try:
        return known(message.exchange, message.key) is to
    except KeyError:
        return False


def _look(channel: AmqpChannel, raw: bytes, at: int) -> Last | None:
    """The message at this position, if it is plain and its frames before the body are complete."""
    try:
        kind, number, size = HEAD.unpack_from(raw, at)
        header_at = at + size + OVERHEAD
        kind_2, number_2, size_2, class_id, _, body_size, flags = _CONTENT.unpack_from(
            raw, header_at
        )
        body_at = header_at + size_2 + OVERHEAD
        if body_size:
            kind_3, number_3, size_3 = HEAD.unpack_from(raw, body_at)
        else:  # of an empty body there is no frame: its header frame ends it
            kind_3, number_3, size_3 = BODY, number, 0
        ends = raw[header_at - 1] == raw[body_at - 1] == _END
    except (StructError, IndexError):
        return None
    if (
        (kind, kind_2, kind_3) != (METHOD, HEADER, BODY)
        or not number == number_2 == number_3 == channel.number
        or not ends
        or class_id != properties.BASIC
        or size_2 < properties.HEAD.size + 2
        or size_3 != body_size
        or max(size, size_2, size_3) > channel.of.payload_max
        or body_size > channel.of.door.message_bytes_max
        or flags & _LOOKED_AT
        or not raw.startswith(IDS, at + HEAD_BYTES)
    ):
        return None
    try:
        publishing = channel.publishing(raw[at + HEAD_BYTES : header_at - 1])
    except Refusal:
        return None  # reported in its turn
    if publishing.immediate:
        return None
    body_from = body_at + HEAD_BYTES if body_size else body_at - 1
    return Last(
        raw[at:body_from],
        body_size,
        publishing,
        raw[header_at + HEAD_BYTES + properties.HEAD.size : body_at - 1],
    )


def take_one(
    channel: AmqpChannel, publishing: Publishing, props: bytes, body: bytes | Pieces
) -> None:
    """Publish a message in any form. Raises Refusal and the errors of queues."""
    if publishing.immediate:
        raise Refusal(NOT_IMPLEMENTED, "immediate=true")
    try:
        keyed = channel.of.permits.check_publish(publishing.exchange)
        message = Message(publishing.exchange, publishing.key, props, body)
        if not has_to_look(channel, message):
            channel.of.vhost.topology.check_publish(publishing.exchange)
        if keyed:
            _check_keys(channel, message)
        message = message._replace(properties=_checked(channel, props))
        queues = routing(channel)(message)
    except LogstoreError:
        channel.of.send_all_published()
        raise
    if publishing.mandatory:
        channel.mandatory.append(len(channel.run))
    channel.run.append((queues, message))
    channel.of.published[channel] = None


def _check_keys(channel: AmqpChannel, message: Message) -> None:
    """Check that the client may publish with these routing keys. Raises Refusal."""
    vhost, exchange = channel.of.vhost, message.exchange
    if is_topic(vhost.topology, exchange):
        vhost.topology.check_publish(exchange)
        for key in (message.key, *vhost.copies(message)):
            channel.of.permits.require(AskKey(WRITE, exchange, key))


def check_again(channel: AmqpChannel, run: Sequence[Outgoing]) -> None:
    """Check that delayed messages may still be published. Raises Refusal."""
    for exchange in {message.exchange for _, message in run}:
        if channel.of.permits.check_publish(exchange):
            for _, message in run:
                if message.exchange == exchange:
                    _check_keys(channel, message)


def refused(channel: AmqpChannel, error: LogstoreError) -> None:
    """Refuse the next message, after publishing those before it."""
    if channel.run:
        channel.of.published[channel] = None
    channel.of.send_all_published()
    if not channel.closing:
        channel.fail(error)


def _checked(channel: AmqpChannel, props: bytes) -> bytes:
    """The checked properties, with an address for replies if one is requested."""
    if not int.from_bytes(props[:2]) & _LOOKED_AT:
        return props
    found, _, _ = properties.read_around(props)
    to_me = found.reply_to == text(REPLY_TO)
    if to_me and not channel.reply_token:
        raise Refusal(PRECONDITION_FAILED, "fast reply consumer does not exist")
    permits = channel.of.permits
    if found.user_id is not None and not permits.may_claim(found.user_id):
        raise Refusal(
            PRECONDITION_FAILED,
            f"user_id property set to '{found.user_id}' but authenticated user was "
            f"'{permits.user}'",
        )
    if not to_me:
        return props
    found = properties.read(props)
    return properties.write(found._replace(reply_to=text(reply_address(channel.reply_token))))


def flush(channel: AmqpChannel) -> None:
    """Give a channel's published messages to the queues, or delay them."""
    run, channel.run = channel.run, []
    mandatory, channel.mandatory = channel.mandatory, []
    if channel.transaction is not None:
        before = channel.transaction.held_bytes
        channel.transaction.publish(run, mandatory)
        channel.of.content_bytes += channel.transaction.held_bytes - before
        if channel.transaction.too_large and not channel.closing:
            channel.fail(
                Refusal(
                    PRECONDITION_FAILED,
                    f"a transaction holds at most {BODIES_BYTES_MAX} bytes of messages, or one "
                    f"message: commit more often",
                )
            )
    else:
        _offer(channel, run, mandatory)


def _offer(
    channel: AmqpChannel,
    run: Sequence[Outgoing],
    mandatory: Sequence[int],
    *,
    looked: bool = False,
) -> None:
    """Give a run to the queues, after delayed ones. A channel that has ended gets no confirms.

    ``looked``: this node has read what other nodes have declared and bound.
    """
    queue = channel.of.vhost.to_be_counted(run)
    if channel.gone:
        channel.of.vhost.publish(run)
    elif queue is not None or channel.of.told_blocked or channel.keeps_back:
        later = partial(_offer_later, channel, run, mandatory, looked=looked)
        channel.keep_back(later, bytes_of(run))
        if queue is not None:
            queue.when_open(channel.unblock_soon)
    elif not looked and (read_on := channel.of.vhost.read_on) and lacks_route(run):
        then = partial(_looked, channel, mandatory)
        Looking(channel, run, channel.of.vhost.route, then).begin(read_on)
    else:
        hand_over(channel, run, mandatory)


def _offer_later(
    channel: AmqpChannel, run: Sequence[Outgoing], mandatory: Sequence[int], *, looked: bool
) -> None:
    """As ``_offer``, for delayed messages, whose rights are checked again."""
    if channel.closing:
        return  # an earlier delayed message has closed it
    try:
        check_again(channel, run)
    except LogstoreError as error:  # its exchange may be another one now
        _fail(channel, error)
        return
    _offer(channel, run, mandatory, looked=looked)


def _looked(
    channel: AmqpChannel,
    mandatory: Sequence[int],
    run: Sequence[Outgoing],
    error: LogstoreError | None,
) -> None:
    """As Looking.then: this node has read what other nodes have made."""
    if run:
        _offer_later(channel, run, mandatory, looked=True)
    if error is not None and not channel.closing:
        _fail(channel, error)


def _fail(channel: AmqpChannel, error: LogstoreError) -> None:
    if not channel.gone:
        channel.current = METHOD_IDS[methods.BasicPublish]
        channel.fail(error)


def hand_over(channel: AmqpChannel, run: Sequence[Outgoing], mandatory: Sequence[int]) -> None:
    """Publish a run, return unrouted mandatory messages, and have the others confirmed."""
    published = channel.of.vhost.publish(run)
    counted(channel, run, published.unrouted)
    send_back(channel, run, published.unrouted, mandatory)
    if channel.confirms is not None:
        wake = channel.of.link.wake
        channel.confirms.add(len(run), published.rejected, published.waiting, wake)
        channel.of.confirming[channel] = None


def counted(channel: AmqpChannel, run: Sequence[Outgoing], unrouted: Sequence[int]) -> None:
    """Count published messages."""
    counts = channel.of.door.counts
    if not channel.publishes:
        channel.publishes = True
        counts.publishers += 1
    counts.received += len(run)
    counts.routed += len(run) - len(unrouted)
    if channel.confirms is not None:
        counts.received_confirm += len(run)


def send_back(
    channel: AmqpChannel,
    run: Sequence[Outgoing],
    unrouted: Sequence[int],
    mandatory: Sequence[int],
) -> None:
    """Return unrouted mandatory messages; deliver replies to their clients."""
    if not unrouted:
        return
    asked, counts = frozenset(mandatory), channel.of.door.counts
    for number in unrouted:
        message = run[number][1]
        if _is_reply(channel, message):
            counts.replied += 1
        elif number in asked and not channel.gone:
            counts.returned += 1
            channel.of.put(
                returned_frames(channel.number, NO_ROUTE, message, channel.of.payload_max)
            )
        else:
            counts.dropped += 1


def _is_reply(channel: AmqpChannel, message: Message) -> bool:
    """Whether the message is a reply, which was sent to its client without a queue."""
    if not is_for_replies(message):
        return False
    receiver = channel.of.door.reply_channel(message.key)
    return receiver is not None and receiver.take_reply(message)
