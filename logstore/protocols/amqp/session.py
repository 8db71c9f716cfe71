"""One AMQP connection: frames in, frames out.

Frames are parsed in ``reading.py``. Frames of channel 0 belong to the connection; all others belong
to a channel (``channel.py``), which handles them in order. All messages of one read are given to
the queues together.

If the connection ends with an error, the reason is sent in a Close, and the client's further input
is discarded until it replies: closing a socket with unread bytes would destroy the Close in
transit.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from logstore.access.quotas import Seat
from logstore.amqp import methods
from logstore.amqp.fields import data
from logstore.amqp.frames import (
    HEARTBEAT_FRAME,
    OVERHEAD,
    SIZE_MIN,
    method_frame,
)
from logstore.amqp.methods import Method
from logstore.amqp.replies import (
    ACCESS_REFUSED,
    CHANNEL_ERROR,
    CONNECTION_FORCED,
    INTERNAL_ERROR,
    NOT_ALLOWED,
    PRECONDITION_FAILED,
    Refusal,
)
from logstore.broker.queues.queues import Queues
from logstore.broker.queues.vhost import Vhost
from logstore.errors import LogstoreError
from logstore.kept.keeping import ReadOn
from logstore.protocols import session
from logstore.protocols.amqp import publish, reading, seen, standing
from logstore.protocols.amqp.carrier import Publishing
from logstore.protocols.amqp.channel import CHANNEL_BYTES, AmqpChannel
from logstore.protocols.amqp.door import AmqpDoor
from logstore.protocols.amqp.handlers import carry_out
from logstore.protocols.amqp.handshake import About, Handshake, State
from logstore.protocols.amqp.phase import EARLY, ENDING, Phase
from logstore.protocols.amqp.subscription import AmqpSubscription
from logstore.protocols.amqp_clients import Client, ClientChannel
from logstore.protocols.rabbit_alarm import LOOK_S
from logstore.protocols.rabbit_login import Admitted
from logstore.protocols.rabbit_parting import part
from logstore.protocols.rabbit_permits import Permits
from logstore.protocols.session import Buffer, Link
from logstore.records.encode import Pieces
from logstore.version import VERSION

FIRST_FRAME_BYTES_MAX: Final = 2 * SIZE_MIN  # before both have agreed: RabbitMQ 4.1's size, too
PLATFORM: Final = f"logstore {VERSION} (Python)"
HANDSHAKE_S: Final = 10.0
EARLY_BYTES_MAX: Final = 16 << 10  # from a client before its login: a few frames of 8 KiB
CLOSE_S: Final = 10.0  # for a client to answer our Close
# When the server stops: acknowledgements that are on their way still count.
LEAVE_S: Final = 1.0
LEFT_S: Final = 2.0  # for a client then to answer our Close
CROWDED_S: Final = 0.01  # between looks whether queues take messages again
BEATS: Final = 2.5  # intervals of silence: between the two and three of RabbitMQ
BYTES_AT_ONCE: Final = 256 << 10  # taken of one connection before others have their turn
PARKED_BYTES_MAX: Final = 1 << 20  # of frames behind one that is being answered; then it waits
OUT_BYTES_MAX: Final = 1 << 20  # unsent; then queues give it no more
CHANNELS_LOOKED_AT: Final = 100  # by a list of connections, each with up to 2,047
SHOWN: Final = 100  # characters of a client's own name
SHUTDOWN: Final = "broker forced connection closure with reason 'shutdown'"


class _Due(NamedTuple):
    """A refusal that is delayed, to slow down attempts to guess passwords."""

    at: float
    refusal: Refusal
    reason: str


class AmqpSession:
    """One AMQP connection, as a ``Session``."""

    def __init__(self, door: AmqpDoor, link: Link) -> None:
        self.wants = 0
        self.closed: str | None = None
        self.door = door
        self.link = link
        self.vhost: Vhost  # once it is open
        self.vhost_name = ""
        self.channels: dict[int, AmqpChannel] = {}
        self.out: list[bytes] = []
        self.out_bytes = 0
        self.parked_bytes = 0  # frames and contents that wait within channels
        self.payload_max = FIRST_FRAME_BYTES_MAX - OVERHEAD
        self.published: dict[AmqpChannel, None] = {}  # channels with messages for the queues
        self.confirming: dict[AmqpChannel, None] = {}  # channels that wait for confirms
        self.roomier: dict[AmqpChannel, None] = {}  # those whose queues were woken in this read
        self.content_bytes = 0  # of bodies that have not arrived as a whole, and of transactions
        self.publishings: dict[bytes, Publishing] = {}
        self.starved = False  # a queue had more for it than it could take
        self.may_cancel = False  # the client understands that a consumer of it is cancelled
        self._hears_blocked = False
        self.told_blocked = ""  # why it may not publish now
        self.phase = Phase.HEADER
        about = About(door.version, PLATFORM, door.cluster_name)
        self.handshake = Handshake(about, external=link.secure)
        self.entry: Admitted | None = None  # once it is known who the client is
        self.seat = Seat(door.access.metering)
        self.is_out = False  # its user was deleted
        self._rules = door.access.version  # rules of the last check
        self.permits: Permits  # once its virtual host is open
        self._early_bytes = 0  # bytes processed before the login
        self._checking = False  # a password, now: nothing is taken meanwhile
        self._due: _Due | None = None
        self._now = 0.0
        self._heard_at = 0.0
        self._since = 0.0  # when the phase began
        self._sent = True  # something, since the last beat
        self._beat_at = 0.0
        self._reason = ""  # why it is closed
        self._begun = False
        self.until = math.inf  # of the read that is being taken
        self.full = False  # takes nothing before a channel has gone on, or the queues are open
        self._crowded = False  # takes nothing before the queues have room
        self._leaving = False
        self._unread = 0  # bytes that it had sent when it was looked at last
        self._later: list[Callable[[], None]] = []
        door.sessions[self] = None
        link.wake()  # the time in which a client has to come in begins then

    def about(self) -> session.About:
        """As Doorway.about."""
        said = self.handshake.client_properties
        software = " ".join(str(said[it]) for it in ("product", "version") if said.get(it))
        state = "blocked" if self.told_blocked else self.phase.name.lower()
        return session.About(
            "" if self.entry is None else self.entry.user,
            str(said.get("connection_name", ""))[:SHOWN],
            software[:SHOWN],
            state,
            facts={
                "vhost": self.vhost_name,
                "channels": len(self.channels),
                "consumers": sum(
                    len(it.subscriptions)
                    for it in islice(self.channels.values(), CHANNELS_LOOKED_AT)
                ),
                "heartbeat_s": self.handshake.heartbeat_s,
                "frame_max": self.handshake.frame_max,
            },
        )

    # The session of the server

    @property
    def deadline(self) -> float | None:
        due = self._phase_ends()
        if self._due is None:
            return due
        return self._due.at if due is None else min(due, self._due.at)

    def _phase_ends(self) -> float | None:
        match self.phase:
            case Phase.HEADER | Phase.HANDSHAKE:
                return self._since + HANDSHAKE_S if self._begun else None
            case Phase.RUNNING:
                return self._next_look()
            case Phase.LEAVING:
                return self._since + LEAVE_S
            case Phase.CLOSING | Phase.DISCARDING:
                return self._since + (LEFT_S if self._leaving else CLOSE_S)
            case Phase.OVER:
                return None

    def _next_look(self) -> float | None:
        beat_s = self.handshake.heartbeat_s
        due = min(self._beat_at, self._heard_at + BEATS * beat_s) if beat_s else math.inf
        if self._crowded:
            due = min(due, self._now + CROWDED_S)
        if self.told_blocked:
            due = min(due, self._now + LOOK_S)
        return due if due < math.inf else None

    @property
    def name(self) -> str:
        """As Carrier.name."""
        host, port = self.link.address
        return f"{self.link.peer} -> {host}:{port}"

    @property
    def busy(self) -> bool:
        return False  # a client that has closed its side reads nothing

    @property
    def kept(self) -> bool:
        return False

    @property
    def held_bytes(self) -> int:
        held = self.parked_bytes + self.content_bytes + self.out_bytes
        return held + CHANNEL_BYTES * len(self.channels)

    def _begin(self, now: float) -> None:
        self._now = now
        if not self._begun:
            self._begun, self._since = True, now

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        self._heard_at = now
        self._begin(now)
        early = self.phase in EARLY
        if early and self._early_bytes + len(data) > EARLY_BYTES_MAX:
            self.end(f"sent more than {EARLY_BYTES_MAX} bytes before its login")
            return 0
        if len(data) < self.wants or self.full or self._crowded:
            return 0
        raw = bytes(data[: max(BYTES_AT_ONCE, self.wants)])
        self.wants = 0
        taken = reading.take(self, raw)
        self._early_bytes += taken if early else 0
        self._end_read()
        if taken and taken < len(data) and not self.wants and not self.full:
            self.link.wake()  # others first
        return taken

    def wake(self, now: float) -> None:
        """As Session.wake."""
        deadline = self.deadline
        self._begin(now)
        self._crowded = self._crowded and self.door.queues.crowded
        if self.told_blocked:
            self.door.look_at_disk(now)
        later, self._later = self._later, []
        for call in later:
            call()
        self._end_read()  # waiting frames of channels may have published
        if deadline is None or now < deadline:
            return
        if self._due is not None and now >= self._due.at:
            self.fail(self._due.refusal, reason=self._due.reason)
            return
        match self.phase:
            case Phase.HEADER | Phase.HANDSHAKE:
                self._time_is_up("handshake timeout")
            case Phase.RUNNING:
                if self.handshake.heartbeat_s:
                    self._beat(now)
            case Phase.LEAVING:
                self.fail(Refusal(CONNECTION_FORCED, SHUTDOWN))
            case Phase.CLOSING | Phase.DISCARDING:
                self._time_is_up(self._reason)

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing; returns all output, so that pushed data comes after it."""
        out = self.out
        if not out:
            self._feed()
            return ()
        joined = out[0] if len(out) == 1 else b"".join(out)
        self.out, self.out_bytes = [], 0
        self._sent = self._sent or joined is not HEARTBEAT_FRAME
        return (joined,)

    def finish(self, now: float) -> None:
        """As Session.finish: the client is gone, or does not read what it is sent."""
        self.end(self._reason)

    def leave(self, now: float) -> bool:
        """As Session.leave."""
        self._now, self._leaving = now, True
        if self.phase is Phase.RUNNING:
            self.to(Phase.LEAVING)
            if not any(channel.owes for channel in self.channels.values()):
                self.fail(Refusal(CONNECTION_FORCED, SHUTDOWN))
        elif self.phase in (Phase.HEADER, Phase.HANDSHAKE):
            self.end("")
        return self.phase is not Phase.OVER

    def close(self) -> None:
        """As Session.close."""
        self.end(self._reason)
        self.door.sessions.pop(self, None)
        self.seat.close()

    # Methods of its own

    def take_method(self, method: Method) -> None:
        """Process a method of the connection itself. Raises Refusal."""
        if isinstance(method, methods.ConnectionClose):
            self._close()
        elif self.phase is Phase.HANDSHAKE:
            self._shake_hands(method)
        elif isinstance(method, methods.ConnectionUpdateSecret):
            standing.check_secret(self, method.new_secret)
        else:
            raise Refusal(CHANNEL_ERROR, "unexpected method in connection state running")

    def _close(self) -> None:
        """Close at the client's request; it is answered after its exclusive queues are deleted."""
        self.send_all_published()
        self._let_go(self._closed_in_order)

    def closed_by_peer(self) -> None:
        """The client has answered the server's Close."""
        self.end(self._reason)

    def _closed_in_order(self) -> None:
        if self.phase is not Phase.OVER:
            self.send(methods.ConnectionCloseOk())
            self.end("")
            self.link.wake()

    # The handshake

    def _shake_hands(self, method: Method) -> None:
        answer = self.handshake.take(method)
        if self.handshake.state is State.LOGIN:
            standing.check_login(self)
        elif self.handshake.state is State.DONE:
            self.full = True
            self.door.queues_of.when_open(partial(self._queues_open, answer))
        elif answer is not None:
            self.send(answer)

    def begin_check(self) -> None:
        """A password is being checked: later frames wait."""
        self._checking = self.full = True

    def end_check(self) -> None:
        """The password is right: continue."""
        self._checking, self.full = False, self.parked_bytes > PARKED_BYTES_MAX
        self.link.wake()

    def refuse(self, refusal: Refusal, delay_s: float, reason: str) -> None:
        """The login failed: tell the client after the delay. ``reason``: for the log."""
        self.link.wake()
        if delay_s > 0:
            self._due = _Due(self._now + delay_s, refusal, reason)
        else:
            self.fail(refusal, reason=reason)

    def _queues_open(
        self, answer: Method | None, queues: Queues | LogstoreError, *, looked: bool = False
    ) -> None:
        """The queues, for which the first client has to wait, are open.

        ``looked``: changes of other nodes were read.
        """
        if self.phase is not Phase.HANDSHAKE:
            return  # it has ended meanwhile
        read_on = None if looked or isinstance(queues, LogstoreError) else self._to_look(queues)
        if read_on is not None:
            self.full = True
            read_on(lambda error: self._queues_open(answer, error or queues, looked=True))
            return
        self.full = False
        try:
            if isinstance(queues, LogstoreError):
                raise Refusal(INTERNAL_ERROR, str(queues))
            self._open(queues)
        except Refusal as refusal:
            self.fail(refusal, methods.IDS[methods.ConnectionOpen])
        else:
            assert answer is not None
            self.send(answer)
            self.tell_blocked()
        self.link.wake()

    def _to_look(self, queues: Queues) -> ReadOn | None:
        """A read of other nodes' changes, if the virtual host is unknown; it may be new."""
        known = data(self.handshake.vhost) in queues.vhosts
        return None if known else queues.read_on

    def _open(self, queues: Queues) -> None:
        """Open the virtual host. Raises Refusal if it does not exist or the client may not
        use it.
        """
        shake = self.handshake
        vhost = queues.vhosts.get(data(shake.vhost))
        if vhost is None:
            raise Refusal(NOT_ALLOWED, f"vhost {shake.vhost} not found")
        assert self.entry is not None
        permits = Permits(self.door.access, self.door.refusals, self.entry, shake.vhost)
        permits.enter()
        most = self.seat.take(self.entry.who.user)
        if most is not None:
            raise Refusal(
                NOT_ALLOWED,
                f"connection refused for user '{permits.user}': user connection limit ({most}) is "
                f"reached",
            )
        self.vhost, self.vhost_name, self.permits = vhost, shake.vhost, permits
        vhost.guests[self] = None
        self.payload_max = shake.frame_max - OVERHEAD
        self.may_cancel = shake.can("consumer_cancel_notify")
        self._hears_blocked = shake.can("connection.blocked")
        self.to(Phase.RUNNING)
        self._beat_at = self._now + shake.heartbeat_s / 2

    def vhost_gone(self) -> None:
        """As queues' Guest.vhost_gone."""
        self.fail(Refusal(CONNECTION_FORCED, f"vhost '{self.vhost_name}' is deleted"))
        self.link.wake()

    def users_changed(self) -> None:
        """As rounds.Told.users_changed."""
        if self.entry is not None and not self.door.access.knows(self.entry.who):
            self.is_out = True

    def rules_changed(self) -> None:
        """As rounds.Told.rules_changed."""
        self._rules = self.door.access.version
        standing.look_again(self)

    def must_look(self) -> bool:
        """Whether the consumers have yet to be checked against changed rules.

        The check comes in its turn, perhaps some turns later; consumers receive nothing until then.
        """
        if self._rules == self.door.access.version:
            return False
        self.starved = True
        return True

    # Channels

    def forget_channel(self, channel: AmqpChannel) -> None:
        """Free the channel's number."""
        del self.channels[channel.number]
        self.door.counts.channel_closed(publishes=channel.publishes)

    def closed_in_order(self, channel: AmqpChannel) -> None:
        """Answer the client's Close of a channel, whose consumers have ended."""
        if self.phase in (Phase.RUNNING, Phase.LEAVING):
            channel.answer(methods.ChannelCloseOk())
            self.link.wake()

    def went_on(self) -> None:
        """A channel has processed some of its waiting frames."""
        if self.full and not self._checking and self.parked_bytes <= PARKED_BYTES_MAX:
            self.full = False
        self.link.wake()

    def later(self, call: Callable[[], None]) -> None:
        """Call this in the next turn."""
        self._later.append(call)
        self.link.wake()

    def park(self, size: int) -> None:
        """Count bytes that wait in a channel (negative: no longer); too many stop the input."""
        self.parked_bytes += size
        self.full = self._checking or self.parked_bytes > PARKED_BYTES_MAX

    def cancelled(self, channel: AmqpChannel, tag: bytes, timeout_ms: int | None) -> None:
        """A consumer is cancelled: tell the client, if it has that capability.

        ``timeout_ms``: the delivery timeout that was exceeded; None if the queue is gone.
        """
        if channel.subscriptions.pop(tag, None) is None:
            return
        if self.may_cancel:
            channel.cancelled(tag)
        elif timeout_ms is not None:
            refusal = Refusal(
                PRECONDITION_FAILED,
                f"delivery acknowledgement on channel {channel.number} timed out. Timeout value "
                f"used: {timeout_ms} ms. This timeout value can be configured, see consumers doc "
                f"guide to learn more",
            )
            self.later(lambda: channel.end_by_itself(refusal))
        if channel.limit:  # the messages that the consumer had may have gone back
            channel.wake_queues()
        self.link.wake()

    def publish(
        self, channel: AmqpChannel, publishing: Publishing, properties: bytes, body: bytes | Pieces
    ) -> None:
        """Publish a message that arrived in several reads."""
        publish.take_one(channel, publishing, properties, body)

    def carry_out(self, channel: AmqpChannel, method: Method) -> None:
        """Carry out a channel's method. Raises Refusal and the errors of queues."""
        carry_out(channel, method)

    def late(self) -> bool:
        """Whether this read has used up its time, so that other sessions have their turn."""
        return self.door.stopwatch() > self.until

    # Sending

    def send(self, method: Method) -> None:
        """Send a method of the connection itself."""
        self.put(method_frame(0, method))

    def put(self, frames: bytes) -> None:
        """Append frames to the output. Does not wake the link."""
        self.out.append(frames)
        self.out_bytes += len(frames)

    def room_bytes(self) -> int:
        """How many more bytes queues may deliver; 0 if the client does not read."""
        if self.phase is not Phase.RUNNING:
            return 0
        room = OUT_BYTES_MAX - self.out_bytes - self.link.unsent
        if room <= 0:
            self.starved = True
            return 0
        return room

    def _feed(self) -> None:
        """Let queues that found no room continue: everything is sent."""
        if self.starved:
            self.starved = False
            for channel in list(self.channels.values()):
                channel.wake_queues()

    def _end_read(self) -> None:
        if self.published:
            self.door.look_at_disk(self._now)
            self.send_all_published()
            self._crowded = self.door.queues.crowded
        self._look()

    def _look(self) -> None:
        for channel in list(self.confirming):
            channel.look()
        self.roomier.clear()

    def send_all_published(self) -> None:
        """Give all published messages to the queues."""
        published, self.published = self.published, {}
        for channel in published:
            publish.flush(channel)

    def tell_blocked(self) -> None:
        """Tell the client that publishing is blocked or allowed again."""
        reason = self.door.blocked
        if self.phase is not Phase.RUNNING or reason == self.told_blocked:
            return
        self.told_blocked = reason
        if self._hears_blocked:
            self.send(
                methods.ConnectionBlocked(reason) if reason else methods.ConnectionUnblocked()
            )
        if not reason:
            for channel in list(self.channels.values()):
                channel.unblock()
        self.link.wake()

    def _beat(self, now: float) -> None:
        beat_s = self.handshake.heartbeat_s
        if self.link.unsent and self.link.unread != self._unread:
            # Input is not read while the client does not read, but new input shows that it is
            # alive.
            self._unread, self._heard_at = self.link.unread, now
        if self.link.unread and (self._crowded or self.full):
            self._heard_at = now  # input has come that is not processed yet
        if now >= self._heard_at + BEATS * beat_s:
            self._time_is_up(f"missed heartbeats from the client, timeout: {beat_s} s")
            return
        if now >= self._beat_at:
            if not self._sent:
                self.put(HEARTBEAT_FRAME)
            self._sent = False
            self._beat_at = now + beat_s / 2

    # As others see it

    def seen(self) -> Client | None:
        """As Connected.seen."""
        return seen.client(self)

    def seen_channels(self) -> list[ClientChannel]:
        """As Connected.seen_channels."""
        return seen.channels(self)

    def end_by(self, reason: str) -> None:
        """As Connected.end_by."""
        self.fail(Refusal(CONNECTION_FORCED, reason))
        self.link.wake()

    # The end

    def to(self, phase: Phase) -> None:
        """Enter a phase."""
        if phase is not Phase.HANDSHAKE:  # its time began with the connection
            self._since = self._now
        self.phase = phase

    def fail(self, refusal: Refusal, ids: tuple[int, int] = (0, 0), *, reason: str = "") -> None:
        """End the connection with an error that the client is told.

        ``ids``: of the failed method. ``reason``: the text for the log, if it differs.
        """
        if self.phase in ENDING:
            return
        handshake = self.phase is Phase.HANDSHAKE
        self._let_go()
        self._reason = "" if self._leaving else reason or str(refusal)  # a stop is no fault
        if (
            handshake
            and refusal.code == ACCESS_REFUSED
            and not self.handshake.can("authentication_failure_close")
        ):
            self.end(self._reason)
            return
        self.send(methods.ConnectionClose(refusal.code, refusal.text, *ids))
        self.to(Phase.CLOSING)

    def end(self, reason: str) -> None:
        """End the connection without a method to the client. ``reason``: as Session.closed."""
        self._let_go()
        if self.closed is None:
            self.closed = reason
        self.phase = Phase.OVER

    def _time_is_up(self, reason: str) -> None:
        """End the connection, without waiting for a client that does not read."""
        self.end(reason)
        if self.link.unsent:
            self.link.cut(reason)

    def _let_go(self, then: Callable[[], object] = lambda: None) -> None:
        """Return unsettled messages, delete exclusive queues, and call ``then``."""
        channels, self.channels = self.channels, {}
        consumers: list[AmqpSubscription] = []
        for channel in channels.values():
            self.door.counts.channel_closed(publishes=channel.publishes)
            consumers += channel.end()
        for waiting in (self.published, self.confirming, self.roomier):
            waiting.clear()
        self.parked_bytes, self.full = 0, False
        self._checking, self._due = False, None
        if self.phase in (Phase.RUNNING, Phase.LEAVING):
            self.to(Phase.CLOSING)
            vhost = self.vhost
            vhost.guests.pop(self, None)
            part(consumers, self.door.slices, lambda: vhost.owner_gone(self, then))
        else:
            assert not consumers
            then()
