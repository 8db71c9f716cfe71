"""One AMQP channel: a conversation within a connection, in strict order.

While a reply waits for something to become durable, later methods on the channel wait, too; other
channels continue. A failed channel ignores everything except the reply to its Close.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from struct import Struct
from typing import Final

from logstore.amqp import methods
from logstore.amqp.fields import data, text
from logstore.amqp.frames import BODY, HEADER, METHOD, method_frame
from logstore.amqp.methods import IDS, Method
from logstore.amqp.properties import read_header
from logstore.amqp.replies import (
    FRAME_ERROR,
    PRECONDITION_FAILED,
    UNEXPECTED_FRAME,
    Refusal,
)
from logstore.broker.queues.message import Message, without_blind_copies
from logstore.broker.queues.named import Named
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.settling import Outgoing
from logstore.broker.queues.subscription import Whose
from logstore.broker.queues.unacked import Delivered, Unacked
from logstore.errors import LogstoreError
from logstore.protocols.amqp.carrier import Carrier, Last, Publishing
from logstore.protocols.amqp.confirm import Confirms
from logstore.protocols.amqp.subscription import AmqpSubscription, content_frames
from logstore.protocols.amqp.transaction import Transaction
from logstore.protocols.rabbit_parting import part
from logstore.protocols.rabbit_refusals import refusal_of
from logstore.records.encode import Pieces

CHANNEL_BYTES: Final = 768  # cost of an open channel: a client may have 2,047
FRAME_BYTES: Final = 128  # overhead of a waiting frame
ROOM: Final = 1 << 30  # without a limit
PIECES_BYTES: Final = 1 << 20  # a longer message is not joined before it is written: 10 ms
PUBLISHINGS_MAX: Final = 1024  # remembered; clients say the same again and again
# Work of one connection in a turn, without publishes and acknowledgements: some 10 ms.
WORK_AT_ONCE: Final = 128
_IDS: Final = Struct(">HH")  # a method's class and its own

_PUBLISH: Final = IDS[methods.BasicPublish]
_CLOSE: Final = IDS[methods.ChannelClose]
_CLOSE_OK: Final = IDS[methods.ChannelCloseOk]
# Methods that do not affect the order of publishes and other methods.
_SETTLING: Final = (methods.BasicAck, methods.BasicNack, methods.BasicReject)


class _Content:
    """A message that is being received."""

    __slots__ = ("held_bytes", "left", "parts", "properties", "publishing")

    def __init__(self, publishing: Publishing) -> None:
        self.publishing = publishing
        self.properties: bytes | None = None  # None: its header is due
        self.left = 0  # of the body
        self.parts: list[bytes] = []
        self.held_bytes = 0


class AmqpChannel:
    """One channel of a connection. To the queues, it is a ``Channel``."""

    __slots__ = (
        "_cancels", "_content", "_first_queue", "_held_by", "_kept_back", "_parked", "_taking",
        "_unacked",
        "closing", "confirms", "current", "gone", "last", "last_queue", "limit", "mandatory",
        "number", "of", "prefetch", "publishes", "quick", "reply_tag", "reply_token", "run",
        "subscriptions", "transaction",
    )  # fmt: skip

    def __init__(self, of: Carrier, number: int) -> None:
        self.of = of
        self.number = number
        self.quick = True  # the next frame can be taken at once: nothing waits or has begun
        self.closing = False  # CloseOk is due
        self.gone = False
        self.publishes = False  # it has published
        self.current = (0, 0)  # class and method being carried out
        self.last: Last | None = None  # message that was published
        self.last_queue = b""  # declared last
        self.prefetch = 0  # of consumers that begin later
        self.limit = 0  # of the whole channel
        self._first_queue = 0  # the queue that is woken first, in rotation
        self.run: list[Outgoing] = []  # published, and not given to the queues yet
        self.mandatory: list[int] = []  # numbers within the run
        self.confirms: Confirms | None = None
        self.transaction: Transaction | None = None
        self.subscriptions: dict[bytes, AmqpSubscription] = {}
        self.reply_token = b""  # its address for replies, if it has one
        self.reply_tag = b""  # the consumer that they go to
        self._unacked: Unacked[Named, AmqpSubscription | None] | None = None
        self._content: _Content | None = None
        self._held_by: object = None  # identifies the present hold
        self._taking = False  # a frame, now
        self._cancels: list[bytes] | None = None  # of which the client is told later
        self._parked: deque[tuple[int, bytes]] | None = None  # made when there is something
        self._kept_back: list[tuple[Callable[[], None], int]] = []  # until it may publish

    # As the queues see it

    @property
    def name(self) -> str:
        """As queues.Channel.name: RabbitMQ's way to say it."""
        return f"{self.of.name} ({self.number})"

    @property
    def whose(self) -> Whose:
        """As queues.Channel.whose."""
        host, port = self.of.link.peer_address
        return Whose(self.of.name, self.number, host, port, self.of.permits.user)

    @property
    def unacked(self) -> Unacked[Named, AmqpSubscription | None]:
        if self._unacked is None:  # few of 2,047 consume
            self._unacked = Unacked()
        return self._unacked

    @property
    def owes(self) -> bool:
        """Whether any delivered message is not settled."""
        return bool(self._unacked)

    def room(self) -> int:
        """As queues.Channel.room. Messages fetched by Get do not count, as no consumer has them."""
        if self.gone or self.closing:  # its consumers have not all ended yet
            return 0
        if not self.limit:
            return ROOM
        return max(0, self.limit - len(self.unacked) + self.unacked.of(None))

    def wake_queues(self) -> None:
        """Let the channel's consumers continue, starting with another one each time."""
        queues = list({it.queue: None for it in self.subscriptions.values()})
        if self.limit and queues:
            self._first_queue = (self._first_queue + 1) % len(queues)
            queues = queues[self._first_queue :] + queues[: self._first_queue]
        for queue in queues:
            queue.wake()

    def settles(self) -> None:
        """Unacknowledged messages are about to be settled, which may make room for more."""
        if self.limit and self not in self.of.roomier:
            self.of.roomier[self] = None
            self.wake_queues()  # before the one does it that is settled for

    # Taking frames

    def take(self, kind: int, payload: bytes) -> None:
        """Process the next frame, whose type is valid."""
        if self.closing:
            self._take_while_closing(kind, payload)
        elif self._held_by is not None or self._parked:
            if self._parked is None:
                self._parked = deque()
            self._parked.append((kind, payload))
            self.of.park(len(payload) + FRAME_BYTES)
        else:
            self._take_now(kind, payload)

    def _take_now(self, kind: int, payload: bytes) -> None:
        self._taking = True
        try:
            self._take(kind, payload)
        except LogstoreError as error:
            self.fail(error)
        finally:
            self._taking = False
        self._judge()

    def _take(self, kind: int, payload: bytes) -> None:
        if self._content is not None:
            self._take_content(self._content, kind, payload)
        elif kind != METHOD:
            raise Refusal(UNEXPECTED_FRAME, "expected method frame, got non method frame instead")
        else:
            self.current = ids_of(payload)
            if self.current == _PUBLISH:
                self._content = _Content(self.publishing(payload))
                return
            method = methods.decode(payload)
            if not isinstance(method, _SETTLING):
                self.of.send_all_published()
            if not self.closing:  # publishing may have closed it
                self.of.carry_out(self, method)

    def publishing(self, payload: bytes) -> Publishing:
        """The decoded Publish, cached since most are equal to an earlier one. Raises Refusal."""
        known = self.of.publishings.get(payload)
        if known is None:
            method = methods.decode(payload)
            assert isinstance(method, methods.BasicPublish)
            known = Publishing(
                data(method.exchange), data(method.routing_key), method.mandatory, method.immediate
            )
            if len(self.of.publishings) >= PUBLISHINGS_MAX:
                self.of.publishings.clear()
            self.of.publishings[payload] = known
        return known

    def _take_content(self, content: _Content, kind: int, payload: bytes) -> None:
        if content.properties is None:
            if kind != HEADER:
                raise Refusal(
                    UNEXPECTED_FRAME,
                    "expected content header for class 60, got non content header frame instead",
                )
            content.left, content.properties = read_header(payload)
            self._hold(content, len(payload))
            most = self.of.door.message_bytes_max
            if content.left > most:
                raise Refusal(
                    PRECONDITION_FAILED,
                    f"message size {content.left} is larger than configured max size {most}",
                )
        else:
            if kind != BODY:
                raise Refusal(
                    UNEXPECTED_FRAME, "expected content body, got non content body frame instead"
                )
            if len(payload) > content.left:
                longer = len(payload) - content.left
                raise Refusal(FRAME_ERROR, f"a body {longer} bytes longer than its header says")
            if payload:  # otherwise empty frames could be unlimited in number
                content.left -= len(payload)
                content.parts.append(payload)
                self._hold(content, len(payload))
        if not content.left:
            self.forget_content()
            parts = content.parts
            long = content.held_bytes > PIECES_BYTES
            body = Pieces(parts) if long else b"".join(parts)
            self.of.publish(self, content.publishing, content.properties, body)

    def _hold(self, content: "_Content", size: int) -> None:
        """Count a frame of an incomplete message."""
        content.held_bytes += size + FRAME_BYTES
        self.of.content_bytes += size + FRAME_BYTES

    def forget_content(self) -> None:
        """Drop the partial message: it is complete or no longer needed."""
        if self._content is not None:
            self.of.content_bytes -= self._content.held_bytes
            self._content = None

    def _take_while_closing(self, kind: int, payload: bytes) -> None:
        if kind != METHOD:
            return
        ids = ids_of(payload)
        if ids == _CLOSE:  # both have sent one
            self.answer(methods.ChannelCloseOk())
        elif ids == _CLOSE_OK:
            self.of.forget_channel(self)

    def _judge(self) -> None:
        waits = self._held_by is not None or self._parked
        self.quick = self._content is None and not waits and not self.closing and not self.gone

    # Replies that come past all queues

    def take_replies(self, token: str, tag: bytes) -> None:
        """Give the channel an address to which replies can be sent."""
        self.reply_token, self.reply_tag = token.encode(), tag
        self.of.door.reply_channels[self.reply_token] = self

    def take_no_replies(self) -> None:
        """Remove the channel's address for replies."""
        if self.reply_token:
            del self.of.door.reply_channels[self.reply_token]
            self.reply_token = self.reply_tag = b""

    def take_reply(self, message: Message) -> bool:
        """As door.Replied.take_reply. A client that does not read gets none."""
        if not self.of.room_bytes():
            return False
        tag = self.unacked.pass_over(1)
        method = methods.BasicDeliver(
            text(self.reply_tag), tag, False, text(message.exchange), text(message.key)
        )
        shown, body = without_blind_copies(message.properties), bytes(message.body)
        self.of.put(content_frames(self.number, method, shown, body, self.of.payload_max))
        self.of.link.wake()
        return True

    # Publishing

    def keep_back(self, call: Callable[[], None], size: int) -> None:
        """Delay ``call`` until the channel may publish again. ``size``: the waiting bytes."""
        self._kept_back.append((call, size))
        self.of.park(size)

    @property
    def keeps_back(self) -> bool:
        """Whether published messages wait until they may go to the queues."""
        return bool(self._kept_back)

    def unblock(self) -> None:
        """Run delayed calls if the channel may publish again."""
        if self.of.told_blocked:
            return
        kept_back, self._kept_back = self._kept_back, []
        for call, size in kept_back:
            self.of.park(-size)
            call()

    def unblock_soon(self) -> None:
        """Call ``unblock`` at the end of the turn."""
        self.of.later(self.unblock)

    def look(self) -> None:
        """Confirm messages that have become safe."""
        if self.confirms is not None and (frames := self.confirms.take()):
            self.of.put(frames)
        if not self.confirms:
            self.of.confirming.pop(self, None)

    # Its consumers

    def cancelled(self, tag: bytes) -> None:
        """Tell the client that this consumer is cancelled, because its queue is gone, for
        instance.
        """
        if self._cancels is not None:
            self._cancels.append(tag)
        else:
            self.answer(methods.BasicCancel(text(tag), True))

    @contextmanager
    def cancels_kept_back(self) -> Iterator[list[bytes]]:
        """Collect the tags of cancelled consumers instead of telling the client at once."""
        cancels: list[bytes] = []
        self._cancels = cancels
        try:
            yield cancels
        finally:
            self._cancels = None

    # Answers

    def answers(self, method: Method, nowait: bool = False) -> Callable[[], None]:
        """A function that sends this method, or nothing if the client wants no answer."""
        return _nothing if nowait else lambda: self.answer(method)

    def answer(self, method: Method) -> None:
        """Append a method to the output."""
        self.of.put(method_frame(self.number, method))

    def until(self, pending: Pending | None, answer: Callable[[], None]) -> None:
        """Answer when ``pending`` is durable, or at once if it is None. Later frames wait."""
        if pending is None:
            answer()
            return
        held_by = self.hold()
        pending.then(lambda it: self.go_on(held_by, answer, it.error))

    def hold(self) -> object:
        """Make later frames wait until ``go_on`` is called with the returned object."""
        assert self._held_by is None
        self._held_by = object()
        self.quick = False
        return self._held_by

    def go_on(
        self, held_by: object, answer: Callable[[], None], error: LogstoreError | None = None
    ) -> None:
        """End the hold. Has no effect if the hold has ended meanwhile."""
        if self._held_by is not held_by:
            return
        self._held_by = None
        try:
            if error is not None:
                raise error
            answer()
        except LogstoreError as failed:
            self.fail(failed)
        self._judge()
        if self._parked and not self._taking:  # otherwise the present caller continues
            self._take_parked()
        self.of.went_on()

    def _take_parked(self) -> None:
        """Process some waiting frames; the rest waits for a later turn."""
        left = WORK_AT_ONCE
        while self._parked and self._held_by is None and not self.gone and left > 0:
            kind, payload = self._parked.popleft()
            self.of.park(-len(payload) - FRAME_BYTES)
            before = self.of.out_bytes
            self._take_now(kind, payload)
            left -= work(len(payload) + self.of.out_bytes - before)
        if self._parked and self._held_by is None:
            self.of.later(self._take_parked)
        self._judge()

    # The end

    def fail(self, error: LogstoreError) -> None:
        """End the channel, or for a hard error the connection; the client is told."""
        refusal = refusal_of(error, self.of.vhost_name)
        if refusal.hard:
            self.of.fail(refusal, self.current)
            return
        self.let_go()
        self.gone = False
        self.closing = True
        self.quick = False
        self.answer(methods.ChannelClose(refusal.code, refusal.text, *self.current))

    def end_by_itself(self, refusal: Refusal) -> None:
        """End the channel of a client that cannot be told otherwise that it lost a consumer."""
        if not self.gone and not self.closing:
            self.current = (0, 0)
            self.fail(refusal)

    def let_go(self, then: Callable[[], object] = lambda: None) -> None:
        """End the channel as ``end`` does; ``then`` is called when its consumers have ended."""
        part(self.end(), self.of.door.slices, then)

    def end(self) -> list[AmqpSubscription]:
        """End the channel: its messages return to their queues in order.

        Returns the consumers that must end.
        """
        self.gone = True
        self.quick = False
        self._held_by = None
        self.forget_content()
        if self._parked:
            self.of.park(-sum(len(payload) + FRAME_BYTES for _, payload in self._parked))
        self._parked = None
        self.run, self.mandatory, self.last = [], [], None
        self.of.published.pop(self, None)
        self.of.confirming.pop(self, None)
        self.of.roomier.pop(self, None)
        if self.confirms is not None:
            self.confirms.close()
        if self.transaction is not None:
            self.of.content_bytes -= self.transaction.held_bytes
            self.transaction = None
        self.unblock()  # its earlier messages are still published
        if self._kept_back:
            self.of.park(-sum(size for _, size in self._kept_back))
            self._kept_back.clear()
        self.take_no_replies()
        subscriptions, self.subscriptions = self.subscriptions, {}
        # First: a queue's next consumer begins with what goes back.
        if self._unacked is not None:
            release(self._unacked.drain())
        return list(subscriptions.values())


def _nothing() -> None:
    pass


def work(size: int) -> int:
    """The cost of a frame, in methods without a table (70 us each). ``size``: includes the
    answer.
    """
    return 1 + (size >> 11)


def release(delivered: Iterable[Delivered[Named, AmqpSubscription | None]]) -> None:
    """Return delivered messages to their places."""
    for it in delivered:
        it.queue.release(it)


def ids_of(payload: bytes) -> tuple[int, int]:
    """Class and method of a method frame; zeros if the frame is too short."""
    if len(payload) < _IDS.size:
        return 0, 0
    class_id, method_id = _IDS.unpack_from(payload)
    return class_id, method_id
