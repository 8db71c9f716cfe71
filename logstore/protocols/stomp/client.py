"""The state of a STOMP connection, as the handlers of its frames see it.

To the queues, it is one ``Channel``, as in RabbitMQ, and the owner of its exclusive queues.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from logstore.access.resources import WRITE
from logstore.amqp.fields import text
from logstore.broker.queues.message import Message
from logstore.broker.queues.named import Named
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.settling import Outgoing
from logstore.broker.queues.subscription import Whose
from logstore.broker.queues.unacked import Unacked
from logstore.broker.queues.vhost import Vhost
from logstore.errors import LogstoreError
from logstore.protocols.rabbit_asks import to_consume
from logstore.protocols.rabbit_login import Admitted
from logstore.protocols.rabbit_parting import part
from logstore.protocols.rabbit_permits import Ask, AskKey, Permits, Unless, is_topic
from logstore.protocols.rabbit_refusals import refusal_of
from logstore.protocols.session import Link
from logstore.protocols.stomp.door import StompDoor
from logstore.protocols.stomp.outbox import Outbox
from logstore.protocols.stomp.phase import ENDING, OPEN, Phase
from logstore.protocols.stomp.prepared import Known
from logstore.protocols.stomp.receipts import Receipts, Slot, Unsent
from logstore.protocols.stomp.subscription import StompSubscription
from logstore.protocols.stomp.transaction import Transaction
from logstore.stomp.faults import StompFault
from logstore.stomp.frames import Headers, written
from logstore.stomp.versions import FIRST, VERSIONS, Rules

OUT_BYTES_MAX: Final = 1 << 20  # unsent; then queues give it no more
ROOM: Final = 1 << 30  # without a limit
CLIENT_BYTES: Final = 1024  # cost of a client, without its data
SUBSCRIPTION_BYTES: Final = 1024
KNOWN_BYTES: Final = 1024  # of headers that are remembered


class StompClient:
    """The state of one connection."""

    __slots__ = (
        "_holds", "_later", "_rules_seen", "_starved", "door", "end", "entry", "heads", "id",
        "is_out", "known", "link", "out", "out_bytes", "outbox", "permits", "phase", "reason",
        "receipts", "reply_queues", "rules", "subscriptions", "transactions", "unacked", "until",
        "version", "vhost", "vhost_name",
    )  # fmt: skip

    def __init__(self, door: StompDoor, link: Link) -> None:
        self.door = door
        self.link = link
        self.phase = Phase.FIRST
        self.reason = ""  # why it has ended
        self.id = ""  # of its session
        self.version = ""  # of STOMP
        self.rules: Rules = FIRST
        self.end = b"\0" + door.line_end  # of a frame
        self.vhost: Vhost  # once it is open; so are the next two
        self.vhost_name = ""
        self.permits: Permits
        self.entry: Admitted | None = None
        self.is_out = False  # its user was deleted
        self.unacked: Unacked[Named, StompSubscription | None] = Unacked()
        self.subscriptions: dict[str, StompSubscription] = {}
        self.transactions: dict[str, Transaction] = {}
        self.reply_queues: dict[bytes, bytes] = {}  # by the names of their temporary queues
        self.receipts = Receipts(link.wake, door.counts)
        self.outbox = Outbox(
            door.counts, door.traffic, self.receipts, self.check_again, self.fail, self.later
        )
        self.known = Known()  # of its last SENDs
        self.heads: dict[tuple[bytes, bytes, bytes], bytes] = {}  # of messages that it got
        self.out: list[bytes] = []
        self.out_bytes = 0
        self.until = 0.0  # by the door's stopwatch: that this read may take
        self._holds = 0  # pending answers for which later frames wait
        self._rules_seen = door.access.version  # rules of the last check of subscriptions
        self._starved = False  # a queue had more for it than it could take
        self._later: list[Callable[[], None]] = []

    # As the queues see it

    @property
    def connection(self) -> str:
        """The connection's name in RabbitMQ's form: both ends."""
        host, port = self.link.address
        return f"{self.link.peer} -> {host}:{port}"

    @property
    def name(self) -> str:
        """As queues.Channel.name."""
        return f"{self.connection} (1)"

    @property
    def whose(self) -> Whose:
        """As queues.Channel.whose."""
        host, port = self.link.peer_address
        return Whose(self.connection, 1, host, port, self.permits.user)

    def room(self) -> int:
        """As queues.Channel.room: only subscriptions have a prefetch count."""
        return ROOM

    def vhost_gone(self) -> None:
        """As queues' Guest.vhost_gone."""
        self.fail(StompFault("connection_forced", f"vhost '{self.vhost_name}' is deleted"))

    # As its subscriptions see it

    def delivered(self, frames: bytes, count: int) -> None:
        """Send ``count`` messages."""
        self.door.traffic.messages_out += count
        self.put(frames)

    def put(self, frames: bytes) -> None:
        """Append frames to the output."""
        self.out.append(frames)
        self.out_bytes += len(frames)
        self.link.wake()

    def room_bytes(self) -> int:
        """How many more bytes queues may deliver; 0 if the client does not read."""
        if self.phase is not Phase.RUNNING:
            return 0
        room = OUT_BYTES_MAX - self.out_bytes - self.link.unsent
        if room <= 0:
            self._starved = True
            return 0
        return room

    def must_look(self) -> bool:
        """Whether the subscriptions have yet to be checked against changed rules."""
        if self._rules_seen == self.door.access.version:
            return False
        self._starved = True
        return True

    def feed(self) -> None:
        """Let queues that found no room continue: everything is sent."""
        if self._starved:
            self._starved = False
            for queue in {it.queue: None for it in self.subscriptions.values()}:
                queue.wake()

    def cancelled(self, subscription: StompSubscription) -> None:
        """End a subscription, whose queue is gone or whose client was too slow."""
        found = [tag for tag, it in self.subscriptions.items() if it is subscription]
        if not found:
            return
        del self.subscriptions[found[0]]
        if not subscription.queue.gone:
            why = f"its messages were not acknowledged for {self._patience_ms(subscription)} ms"
        else:
            why = f"queue '{text(subscription.queue.facts.name)}' is deleted"
        fault = StompFault(
            "Server cancelled subscription",
            f"The server has canceled a subscription: {why}.\nNo more messages will be delivered "
            f"for {_described(subscription)}.\n",
        )
        self.later(lambda: self.fail(fault, subscription=subscription.shown))

    @staticmethod
    def _patience_ms(subscription: StompSubscription) -> int:
        return subscription.queue.limits.consumer_timeout_ms or 0

    # Rights

    def require(self, asks: Iterable[Ask | AskKey | Unless]) -> None:
        """Check the client's rights. Raises Refusal."""
        for ask in asks:
            self.permits.require(ask)

    def look_again(self) -> None:
        """Apply changed users or rules: end what the client may no longer do."""
        self._rules_seen = self.door.access.version
        if self.entry is None or self.phase in ENDING:
            return
        if self.is_out:
            self.fail(StompFault("connection_forced", _gone(self.entry)))
            if self.link.unsent:  # which the client may no longer receive
                self.link.cut(self.reason)
            return
        if self.phase is not Phase.RUNNING:
            return
        for it in list(self.subscriptions.values()):
            try:
                self.require(to_consume(self.vhost, it.queue.facts.name))
            except LogstoreError as error:
                self.fail(error, subscription=it.shown)
                return
        self.link.wake()

    # What comes later

    def later(self, call: Callable[[], None]) -> None:
        """Call this in the next turn."""
        self._later.append(call)
        self.link.wake()

    def call_later(self) -> None:
        """Run the calls that were left for this turn."""
        later, self._later = self._later, []
        for call in later:
            call()

    @property
    def full(self) -> bool:
        """Whether no input is processed now."""
        return self._holds > 0 or self.outbox.full

    @property
    def late(self) -> bool:
        """Whether this read has used up its time, so that other sessions have their turn."""
        return self.door.stopwatch() > self.until

    def hold(self) -> None:
        """Make later frames wait until ``go_on``."""
        self._holds += 1

    def go_on(self) -> None:
        """End the hold."""
        if self._holds:
            self._holds -= 1
        self.link.wake()

    # Publishing

    def check_again(self, run: Sequence[Outgoing]) -> None:
        """Check that delayed messages may still be published. Raises Refusal."""
        for exchange in {message.exchange for _, message in run}:
            if self.permits.check_publish(exchange):
                for _, message in run:
                    if message.exchange == exchange:
                        self.check_keys(message)

    def check_keys(self, message: Message) -> None:
        """Check that the client may publish with these routing keys. Raises Refusal."""
        vhost, exchange = self.vhost, message.exchange
        if is_topic(vhost.topology, exchange):
            for key in (message.key, *vhost.copies(message)):
                self.permits.require(AskKey(WRITE, exchange, key))

    def tell_blocked(self) -> None:
        """Delay or resume publishing; STOMP has no frame that tells the client."""
        reason = self.door.alarm.reason
        if reason != self.outbox.blocked and self.phase in OPEN:
            self.outbox.blocked = reason
            self.outbox.unblock()
            self.link.wake()

    @property
    def held_bytes(self) -> int:
        held = CLIENT_BYTES + self.out_bytes + self.outbox.kept_back_bytes
        held += self.receipts.held_bytes + KNOWN_BYTES * (len(self.heads) + len(self.known))
        held += SUBSCRIPTION_BYTES * len(self.subscriptions)
        return held + sum(it.held_bytes for it in self.transactions.values())

    # Answers

    def answer(self, command: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a frame."""
        self.put(written(command, headers.items(), body, self.rules) + self.door.line_end)

    def done(self, headers: Headers, pending: Pending | None = None) -> None:
        """The frame is carried out: send its receipt, if requested, once ``pending`` is stored."""
        if pending is not None or "receipt" in headers:
            self.slot(headers).when(pending)

    def slot(self, headers: Headers, held: Sequence[str] = ()) -> Slot:
        """A place for the frame's receipt, after all earlier ones and those ``held`` back."""
        self.outbox.flush()
        own = headers.get("receipt")
        return self.receipts.slot(held if own is None else (*held, own))

    def look(self) -> None:
        """Send the receipts that are due."""
        try:
            for id in self.receipts.take():
                self.answer("RECEIPT", {"receipt-id": id})
        except Unsent as unsent:
            self.fail(unsent.error, unsent.id)

    def fail(
        self,
        error: LogstoreError,
        receipt: str | None = None,
        *,
        subscription: str | None = None,
        reason: str = "",
    ) -> None:
        """End the connection and tell the client why. ``reason``: the text for the log, if it
        differs.
        """
        if self.phase in ENDING:
            return
        message, detail = _said(error, self.vhost_name)
        self.reason = reason or str(error)
        headers = {"message": message}
        if receipt is not None:
            headers["receipt-id"] = receipt
        if subscription is not None:
            headers["subscription"] = subscription
        headers |= {"content-type": "text/plain", "version": ",".join(VERSIONS)}
        self.let_go()
        self.answer("ERROR", headers, detail.encode("utf-8", "surrogateescape"))
        self.phase = Phase.DISCARDING

    def let_go(self) -> None:
        """Return unsettled messages and delete exclusive queues."""
        self.outbox.flush()  # its earlier messages are still published
        self.outbox.close()
        if self.phase in OPEN:
            self.leave(Phase.OVER)
        self.receipts.close()
        self._holds = 0
        self._later.clear()

    def leave(self, phase: Phase, then: Callable[[], object] = lambda: None) -> None:
        """End all subscriptions: their messages return in order, and nothing is committed.

        ``then`` is called when the subscriptions have ended and exclusive queues are deleted.
        """
        vhost, self.phase = self.vhost, phase
        vhost.guests.pop(self, None)
        self.transactions.clear()
        # First: a queue's next consumer begins with what goes back.
        for it in self.unacked.drain():
            it.queue.release(it)
        subscriptions, self.subscriptions = self.subscriptions, {}
        part(list(subscriptions.values()), self.door.slices, lambda: vhost.owner_gone(self, then))


def _described(subscription: StompSubscription) -> str:
    shown = subscription.shown
    if shown is not None:
        return f"id='{shown}'"
    return f"destination='{text(subscription.tag).partition('_')[2]}'"


def _said(error: LogstoreError, vhost: str) -> tuple[str, str]:
    """The header and the body of an ERROR."""
    if isinstance(error, StompFault):
        return error.message, error.detail
    refusal = refusal_of(error, vhost)
    name, _, detail = str(refusal).partition(" - ")
    return name.lower(), detail


def _gone(entry: Admitted) -> str:
    """The error for a client whose login is no longer valid."""
    if entry.who.user:
        return f"user '{entry.user}' is deleted"
    return "there are users now: log in as one of them"
