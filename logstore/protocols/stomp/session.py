"""One STOMP connection: bytes in, bytes out, and timeouts.

All messages of one read are given to the queues together. A connection that gets an ERROR ends
(1.2, "ERROR"); its further input is discarded for a while, because closing a socket with unread
bytes would destroy the ERROR in transit.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

from logstore.access.quotas import Seat
from logstore.broker.routing.refusals import NoExchange, NoQueue
from logstore.errors import LogstoreError
from logstore.foreign import HEAD_BYTES as FOREIGN_BYTES
from logstore.foreign import (
    not_http,
    not_kafka,
    speaks_http,
    speaks_kafka,
    speaks_tls,
    without_tls,
)
from logstore.protocols.amqp_clients import Client, ClientChannel
from logstore.protocols.rabbit_alarm import LOOK_S
from logstore.protocols.session import About, Buffer, Link
from logstore.protocols.stomp import seen
from logstore.protocols.stomp.client import StompClient
from logstore.protocols.stomp.connect import Entry
from logstore.protocols.stomp.door import StompDoor
from logstore.protocols.stomp.handlers import DISCONNECT, carry_out
from logstore.protocols.stomp.phase import EARLY, ENDING, OPEN, TAKING, Phase
from logstore.stomp.beats import NONE, Beats
from logstore.stomp.faults import StompFault
from logstore.stomp.frames import CONNECTING, HEAD_BYTES_MAX, SEND, Frame
from logstore.stomp.reading import Reader

HANDSHAKE_S: Final = 10.0
EARLY_BYTES_MAX: Final = 16 << 10  # of a head, before its client is in
EARLY_BODY_BYTES_MAX: Final = 1 << 10  # which is thrown away: some clients send a line end
DISCARD_S: Final = 2.0  # for a client to read an ERROR
LEAVE_S: Final = 1.0  # when the server stops: acknowledgements that are on their way still count
CROWDED_S: Final = 0.01  # between looks whether queues take messages again
PATIENCE: Final = 2  # intervals without a sign of life
BYTES_AT_ONCE: Final = 256 << 10  # taken of one connection before others have their turn
WORK_AT_ONCE: Final = 128  # frames in a turn, without SENDs: some 10 ms
READ_S: Final = 0.004  # of processing: publishing takes as long again
SESSION_BYTES: Final = 1024
SHUTDOWN: Final = "broker forced connection closure with reason 'shutdown'"
BEAT: Final = b"\n"
PROTOCOL_NAME: Final = "STOMP"
_AMQP: Final = b"AMQP"


class StompSession:
    """One STOMP connection, as a ``Session``."""

    __slots__ = (
        "_beat_at", "_beats", "_begun", "_crowded", "_door", "_due", "_entry", "_heard_at",
        "_leaving", "_link", "_looking", "_now", "_reader", "_seat", "_seen", "_sent", "_since",
        "busy", "client", "closed", "kept",
    )  # fmt: skip

    def __init__(self, door: StompDoor, link: Link) -> None:
        self.kept = False
        self.busy = False  # a client that has closed its side reads nothing
        self.closed: str | None = None
        self.client = StompClient(door, link)
        self._door = door
        self._link = link
        self._reader = Reader(EARLY_BODY_BYTES_MAX, EARLY_BYTES_MAX)
        self._seat = Seat(door.access.metering)
        self._entry: Entry | None = None
        self._due: float | None = None  # when a wrong password is told
        self._beats: Beats = NONE
        self._now = 0.0
        self._since = 0.0  # when the phase began
        self._seen = Phase.FIRST  # the phase, as it was looked at last
        self._heard_at = 0.0
        self._sent = True  # something, since the last beat
        self._beat_at = math.inf
        self._begun = False
        self._crowded = False  # takes nothing before the queues have room
        self._leaving = False
        self._looking = False  # takes nothing before all is known that other nodes have made
        door.sessions[self] = None
        link.wake()  # the time in which a client has to come in begins then

    def about(self) -> About:
        """As Doorway.about."""
        it = self.client
        return About(
            "" if it.entry is None else it.entry.user,
            state="blocked" if it.outbox.blocked else it.phase.name.lower(),
            facts={
                "vhost": it.vhost_name, "version": it.version,
                "subscriptions": len(it.subscriptions), "transactions": len(it.transactions),
                "unacked": len(it.unacked), "heart_beat": self._beats.header,
            },
        )  # fmt: skip

    # The session of the server

    @property
    def wants(self) -> int:
        return self._reader.wants

    @property
    def held_bytes(self) -> int:
        return SESSION_BYTES + self._reader.held_bytes + self.client.held_bytes

    @property
    def deadline(self) -> float | None:
        due = self._phase_ends()
        if self._due is not None:
            due = min(due, self._due)
        return due if due < math.inf else None

    def _phase_ends(self) -> float:
        match self.client.phase:
            case Phase.FIRST | Phase.LOGIN:
                waits = not self._begun or self.client.entry is not None  # for the queues to open
                return math.inf if waits else self._since + HANDSHAKE_S
            case Phase.RUNNING:
                return self._next_look()
            case Phase.GOING:
                return self._since + LEAVE_S if self._leaving else self._next_look()
            case Phase.LEAVING:
                return self._since + LEAVE_S
            case Phase.DISCARDING:
                return self._since + DISCARD_S
            case Phase.OVER:
                return math.inf

    def _next_look(self) -> float:
        due = self._beat_at
        if self._beats.expects:
            due = min(due, self._heard_at + PATIENCE * self._beats.expects)
        if self._crowded:
            due = min(due, self._now + CROWDED_S)
        if self.client.outbox.blocked:
            due = min(due, self._now + LOOK_S)
        return due

    def _begin(self, now: float) -> None:
        self._now = now
        if not self._begun:
            self._begun, self._since = True, now

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        self._begin(now)
        self._heard_at = now
        client = self.client
        if client.phase in ENDING or client.phase is Phase.GOING:
            return len(data)
        if len(data) < self._reader.wants or client.full or self._crowded:
            return 0
        if self._looking:
            return 0
        if client.phase not in TAKING:
            return 0
        raw = bytes(data[: max(BYTES_AT_ONCE, self._reader.wants)])
        taken = self._take(raw)
        self._end_read()
        if taken and taken < len(data) and not self._reader.wants and not client.full:
            self._link.wake()  # others first
        return taken

    def _take(self, raw: bytes) -> int:
        client, reader, at, left = self.client, self._reader, 0, WORK_AT_ONCE
        if client.phase is Phase.FIRST and self._is_foreign(raw):
            return len(raw)
        client.until = self._door.stopwatch() + READ_S
        try:
            while left > 0 and not self._stops:
                frame, at = reader.next(raw, at)
                if frame is None:
                    break
                self._attempt(frame)
                left -= frame.command != SEND
        except StompFault as fault:  # an error of the bytes, not of a request
            client.fail(fault)
        return len(raw) if client.phase in ENDING or client.phase is Phase.GOING else at

    @property
    def _stops(self) -> bool:
        """Whether no further frame is processed in this turn."""
        client = self.client
        return client.full or client.phase not in TAKING or client.late or self._looking

    def _attempt(self, frame: Frame, *, looked: bool = False) -> None:
        """Carry out a frame. ``looked``: changes of other nodes were read."""
        try:
            self._carry_out(frame)
        except (NoQueue, NoExchange) as error:
            read_on = None if looked else self.client.vhost.read_on
            if read_on is None:
                self.client.fail(error, frame.headers.get("receipt"))
            else:
                self._looking = True
                read_on(partial(self._go_on, frame))
        except LogstoreError as error:
            self.client.fail(error, frame.headers.get("receipt"))

    def _go_on(self, frame: Frame, error: LogstoreError | None) -> None:
        """Carry out a frame again that named something unknown here."""
        self._looking = False
        if self.client.phase not in TAKING:
            return  # it has ended meanwhile
        if error is None:
            self._attempt(frame, looked=True)
        else:
            self.client.fail(error, frame.headers.get("receipt"))
        self._end_read()
        self._link.wake()

    def _carry_out(self, frame: Frame) -> None:
        client = self.client
        if client.phase is Phase.FIRST:
            if frame.command not in CONNECTING:
                raise StompFault("Illegal command", "You must log in using CONNECT first")
            self._entry = Entry(client, frame, self._seat)
            self._entry.begin()
            self._look_at_entry()
        elif frame.command == DISCONNECT:
            self._disconnect(frame)
        else:
            carry_out(client, frame)

    def _is_foreign(self, raw: bytes) -> bool:
        """Whether the peer speaks another protocol; at least the log says which."""
        head = raw[:FOREIGN_BYTES]
        if speaks_kafka(raw):
            self._end(not_kafka(PROTOCOL_NAME))
        elif speaks_tls(head):
            self._end(without_tls(PROTOCOL_NAME, "stomp.tls.port"))
        elif speaks_http(head) and not any(it.encode().startswith(head) for it in CONNECTING):
            self._end(not_http(PROTOCOL_NAME))
        elif head == _AMQP:
            self._end(f"the peer speaks AMQP: {PROTOCOL_NAME} is served here")
        else:
            return False
        return True

    def _disconnect(self, frame: Frame) -> None:
        """End after DISCONNECT: earlier frames are confirmed before its receipt.

        Unsettled messages return to their queues.
        """
        client = self.client
        slot = client.slot(frame.headers)
        client.leave(Phase.GOING, slot.done)

    def wake(self, now: float) -> None:
        """As Session.wake."""
        deadline = self.deadline
        self._begin(now)
        client = self.client
        self._crowded = self._crowded and self._door.queues.crowded
        if client.outbox.blocked:
            self._door.alarm.look(now)
        if client.full or self._looking:
            self._heard_at = now  # input is not read, so its heartbeats cannot arrive
        client.call_later()
        self._look_at_entry()
        self._end_read()
        if deadline is not None and now >= deadline:
            self._time_has_come(now)

    def _look_at_entry(self) -> None:
        entry = self._entry
        if entry is None:
            return
        if entry.refused is not None:
            delay_s, fault, reason = entry.refused
            if self._due is None and delay_s > 0:
                self._due = self._now + delay_s
            if self._due is None or self._now >= self._due:
                self._entry = self._due = None
                self.client.fail(fault, reason=reason)
        elif self.client.phase not in EARLY:
            self._entry = None
            self._beats = entry.beats
            self._reader.body_bytes_max = self._door.message_bytes_max
            self._reader.head_bytes_max = HEAD_BYTES_MAX
            self._reader.speak(self.client.rules)
            if self._beats.sends:
                self._beat_at = self._now + self._beats.sends / 2

    def _time_has_come(self, now: float) -> None:
        match self.client.phase:
            case Phase.FIRST | Phase.LOGIN:
                if self._due is None:
                    self._time_is_up("handshake timeout")
            case Phase.GOING if self._leaving:
                self._time_is_up("")
            case Phase.RUNNING | Phase.GOING:
                self._beat(now)
            case Phase.LEAVING:
                self.client.fail(StompFault("connection_forced", SHUTDOWN))
            case Phase.DISCARDING | Phase.OVER:
                self._time_is_up(self.client.reason)

    def _beat(self, now: float) -> None:
        expects = self._beats.expects
        if expects and now >= self._heard_at + PATIENCE * expects:
            if self._link.unread:  # input has come that is not processed yet
                self._heard_at = now
            else:
                self._time_is_up(f"missed heart-beats from the client, each {expects:g} s")
                return
        if now >= self._beat_at:
            if not self._sent:
                self.client.put(BEAT)
            self._sent = False
            self._beat_at = now + self._beats.sends / 2

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing; returns all output, so that pushed data comes after it."""
        client = self.client
        self._note_phase()
        if not client.out:
            client.feed()
            return ()
        joined = client.out[0] if len(client.out) == 1 else b"".join(client.out)
        client.out, client.out_bytes = [], 0
        self._sent = self._sent or joined is not BEAT
        return (joined,)

    def _end_read(self) -> None:
        """Give new messages to the queues, and send receipts that are due."""
        client = self.client
        if client.outbox.run:
            self._door.alarm.look(self._now)
            client.outbox.flush()
            self._crowded = client.phase in OPEN and self._door.queues.crowded
        client.look()
        if client.phase is Phase.GOING and not client.receipts:
            self._end("")
        self._note_phase()

    def _note_phase(self) -> None:
        """Note a new phase; the last phases may be over at once."""
        phase = self.client.phase
        if phase is not self._seen:
            self._seen, self._since = phase, self._now
        if phase is Phase.DISCARDING and self.closed is None and not self._link.unread:
            self.closed = "" if self._leaving else self.client.reason

    def finish(self, now: float) -> None:
        """As Session.finish: the client is gone, or does not read what it is sent."""
        self._end(self.client.reason)

    def leave(self, now: float) -> bool:
        """As Session.leave."""
        self._begin(now)
        self._leaving = True
        client = self.client
        if client.phase is Phase.RUNNING:
            if client.unacked or client.receipts:
                client.phase = Phase.LEAVING
            else:
                client.fail(StompFault("connection_forced", SHUTDOWN))
        elif client.phase in EARLY:
            self._end("")
        elif client.phase is Phase.GOING:
            self._since = now
        self._note_phase()
        return client.phase is not Phase.OVER

    def close(self) -> None:
        """As Session.close."""
        self._end(self.client.reason)
        self._door.sessions.pop(self, None)
        self._seat.close()

    # As others see it

    @property
    def name(self) -> str:
        """As Connected.name."""
        return self.client.connection

    def seen(self) -> Client | None:
        """As Connected.seen."""
        return seen.client(self.client, self._beats)

    def seen_channels(self) -> list[ClientChannel]:
        """As Connected.seen_channels."""
        return [seen.channel(self.client)]

    def tell_blocked(self) -> None:
        """As door.Session.tell_blocked."""
        self.client.tell_blocked()

    def users_changed(self) -> None:
        """As rounds.Told.users_changed."""
        client = self.client
        if client.entry is not None and not self._door.access.knows(client.entry.who):
            client.is_out = True

    def rules_changed(self) -> None:
        """As rounds.Told.rules_changed."""
        self.client.look_again()

    def end_by(self, reason: str) -> None:
        """As Doorway.end."""
        if self.client.phase in EARLY:
            self._end(reason)
        else:
            self.client.fail(StompFault("connection_forced", reason))
        self._link.wake()

    # The end

    def _end(self, reason: str) -> None:
        """End the connection without a frame to the client. ``reason``: as Session.closed."""
        self.client.let_go()
        if self.closed is None:
            self.closed = reason
        self.client.phase = Phase.OVER

    def _time_is_up(self, reason: str) -> None:
        """End the connection, without waiting for a client that does not read."""
        self._end(reason)
        if self._link.unsent:
            self._link.cut(reason)
