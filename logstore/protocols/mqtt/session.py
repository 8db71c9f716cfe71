"""One MQTT connection: packets in, packets out.

All messages of one read are published together, and acknowledged once they are safe. An error ends
the connection: the client gets the standard's reason code, if its version has one, and its further
input is discarded, because closing a socket with unread bytes would destroy the reason in transit.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from logstore.access.quotas import Seat
from logstore.broker.mqtt.line import Sent
from logstore.broker.mqtt.session import Session
from logstore.broker.queues.subscription import Whose
from logstore.foreign import (
    HEAD_BYTES,
    KAFKA_BYTES,
    not_http,
    not_kafka,
    speaks_http,
    speaks_kafka,
    speaks_tls,
    without_tls,
)
from logstore.mqtt import kinds, packets, properties, reading, reasons, writing
from logstore.mqtt.kinds import V5
from logstore.mqtt.reading import Acked, Item, Other, Run
from logstore.mqtt.reasons import Broken, not_allowed
from logstore.printable import printable
from logstore.protocols import session
from logstore.protocols.mqtt import deliver, entry, exactly, publish, subscribe
from logstore.protocols.mqtt.carrier import First
from logstore.protocols.mqtt.connect import Come
from logstore.protocols.mqtt.door import MqttDoor
from logstore.protocols.mqtt.form import Chunk, MqttForm
from logstore.protocols.mqtt.owed import Owed
from logstore.protocols.mqtt.permits import Permits
from logstore.protocols.mqtt.phase import Phase
from logstore.protocols.session import Buffer, Link
from logstore.slices import Steps

CONNECT_S: Final = 10.0  # for a client to send its CONNECT
EARLY_BYTES_MAX: Final = 64 << 10  # of a CONNECT, its will included
KEEP_ALIVE: Final = 1.5  # times: [MQTT-3.1.2-22]
LEAVE_S: Final = 1.0  # when the server stops: for acknowledgements
LINGER_S: Final = 1.0  # for a client to read why it ends, while it still sends
STREAM_BYTES: Final = 16 << 10  # of one read: the client has more to send after it
CROWDED_S: Final = 0.01  # between looks whether there is room again
BLOCKED_S: Final = 1.0  # between looks whether the disk has room again
TAKE_S: Final = 0.005  # of one connection before others have their turn
BYTES_AT_ONCE: Final = 256 << 10  # the same
OUT_BYTES_MAX: Final = 1 << 20  # unsent; then queues give it no more
UNACKNOWLEDGED_MAX: Final = 16_384  # of a client whose version knows no receive maximum
SHOWN: Final = 100  # characters of a client's own name
PROTOCOL: Final = "MQTT"  # as a peer of another is told of


class MqttSession:
    """One MQTT connection: a ``Session`` of the server, and a ``Line`` to its client's session."""

    __slots__ = (
        "__weakref__",
        "_begun",
        "_blocked_at",
        "_due",
        "_heard_at",
        "_is_out",
        "_leaving",
        "_now",
        "_parked",
        "_parked_bytes",
        "_prepared",
        "_reason",
        "_since",
        "_streams",
        "_working",
        "alias_bytes",
        "aliases",
        "closed",
        "come",
        "door",
        "first",
        "link",
        "mine",
        "out",
        "out_bytes",
        "owed",
        "permits",
        "phase",
        "seat",
        "starved",
        "version",
        "wants",
    )  # fmt: skip

    def __init__(self, door: MqttDoor, link: Link) -> None:
        self.door = door
        self.link = link
        self.wants = 0
        self.closed: str | None = None
        self.phase = Phase.CONNECT
        self.version = kinds.V311  # the protocol level, once it is known
        self.come: Come | None = None  # once a CONNECT has arrived
        self.permits: Permits | None = None  # once that is true
        self.mine: Session | None = None  # from when it has it to the end
        self.seat: Seat | None = None
        self.out: list[bytes] = []
        self.out_bytes = 0
        self.owed = Owed()
        self.aliases: dict[int, bytes] | None = None
        self.alias_bytes = 0
        self.first: First | None = None  # while retained messages are being sent
        self.starved = False  # a queue had more for it than it could take
        self._parked: deque[Item | Broken] | None = None  # that wait for earlier work
        self._parked_bytes = 0
        self._prepared: Run | None = None  # its receivers are known
        self._working = False  # work is done in slices: no packet is processed
        self._due: tuple[float, Broken, str] | None = None  # a refusal that is held back
        self._is_out = False  # its user was deleted
        self._leaving = False  # the server stops
        self._streams = False  # a full read: more input is on its way
        self._begun = False
        self._now = 0.0
        self._since = 0.0  # when the phase began
        self._heard_at = 0.0
        self._blocked_at = 0.0  # when it was last seen that nothing may be taken
        self._reason = ""  # why it is closed
        door.sessions[self] = None
        link.wake()  # the time in which a client has to come in begins then

    # The session of the server

    @property
    def deadline(self) -> float | None:
        due = self._phase_ends()
        if self._due is not None:
            due = self._due[0] if due is None else min(due, self._due[0])
        return due

    def _phase_ends(self) -> float | None:
        match self.phase:
            case Phase.CONNECT:
                return self._since + CONNECT_S if self._begun else None
            case Phase.RUNNING:
                return self._next_look()
            case Phase.LEAVING:
                return self._since + LEAVE_S
            case Phase.ENDING:
                return self._since + LINGER_S
        return None

    def _next_look(self) -> float | None:
        assert self.come is not None
        keep_alive_s = self.come.keep_alive_s
        due = self._heard_at + KEEP_ALIVE * keep_alive_s if keep_alive_s else math.inf
        if self._blocked_at:
            due = min(due, self._blocked_at + (BLOCKED_S if self.door.alarm.reason else CROWDED_S))
        return due if due < math.inf else None

    @property
    def busy(self) -> bool:
        return False  # a client that has closed its side reads nothing

    @property
    def kept(self) -> bool:
        return False

    @property
    def held_bytes(self) -> int:
        held = self.out_bytes + self._parked_bytes + self.alias_bytes
        return held if self.first is None else held + self.first.held_bytes

    def _begin(self, now: float) -> None:
        self._now = now
        if not self._begun:
            self._begun, self._since = True, now

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        self._begin(now)
        if self.phase is Phase.RUNNING:
            return self._receive(data)
        match self.phase:
            case Phase.CONNECT:
                return self._hear_first(data)
            case Phase.ENTERING:
                if self.permits is None and len(data) > EARLY_BYTES_MAX:
                    self.end(f"sent more than {EARLY_BYTES_MAX} bytes before its login")
                return 0
            case Phase.LEAVING:
                return 0
        return len(data)

    def _receive(self, data: memoryview) -> int:
        if len(data) < self.wants or self._full():
            return 0
        self._streams = len(data) > STREAM_BYTES
        raw = bytes(data[: max(BYTES_AT_ONCE, self.wants)])
        self.wants = at = 0
        until = self.door.stopwatch() + TAKE_S
        while True:
            taken = self._read(raw, at)
            if self.phase is not Phase.RUNNING:
                return len(data)
            more, at = taken > at and taken < len(raw), taken
            if not more or self._full() or self.door.stopwatch() > until:
                break
        if at and at < len(data) and not self.wants and not self._working:
            self.link.wake()  # others first
        return at

    def _read(self, raw: bytes, at: int) -> int:
        """Process some packets from ``at`` on; returns where they end."""
        door = self.door
        found = reading.read(raw, self.version, door.limits.packet_bytes_max, door.topics, at)
        self.wants = found.wants
        if found.items:
            self._heard_at = self._now  # of whole packets alone: [MQTT-3.1.2-22]
        items: list[Item | Broken] = [*found.items]
        if found.broken is not None:
            items.append(found.broken)
        self._take(items, found.taken - at)
        self._after_read(found.taken - at)
        return found.taken

    def _full(self) -> bool:
        """Whether no more packets are processed for now."""
        if self._working or self.owed.unacknowledged > UNACKNOWLEDGED_MAX:
            return True
        door = self.door
        assert door.model is not None
        blocked = bool(door.alarm.reason) or door.model.crowded
        self._blocked_at = self._now if blocked else 0.0
        return blocked

    def _take(self, items: Sequence[Item | Broken], size: int = 0) -> None:
        """Process items in order. ``size``: the number of bytes read."""
        try:
            for at, item in enumerate(items):
                if self.phase is not Phase.RUNNING:
                    return
                if self._working:
                    self._parked = deque(items[at:])
                    self._parked_bytes = size
                    return
                if isinstance(item, Run):
                    steps = self._preparing(item)
                    if steps is not None:
                        self._prepared, self._parked = item, deque(items[at:])
                        self._parked_bytes = size
                        self.work(steps)
                        return
                    publish.take(self, item)
                elif isinstance(item, Acked):
                    if item.kind == kinds.PUBACK:
                        self.acked(item.pids)
                    else:
                        exactly.ANSWERS[item.kind](self, item.pids)
                elif isinstance(item, Other):
                    self._carry_out(packets.read(item.first, item.body, self.version))
                else:
                    raise item
        except Broken as broken:
            self.fail(broken)

    def _preparing(self, run: Run) -> Steps | None:
        """Steps that find the receivers of the run, if that is slow and not done yet."""
        if self._prepared is run:
            self._prepared = None
            return None
        assert self.door.model is not None
        topics, first = run.topics, run.topics[0]
        alike = topics.count(first) == len(topics)
        return self.door.model.preparing((first,) if alike else set(topics))

    def _after_read(self, size: int) -> None:
        """Deliver the messages that were published in this read."""
        if size and self.door.model is not None:
            self.door.model.settle(size)
        self.answer()

    def wake(self, now: float) -> None:
        """As Session.wake."""
        deadline = self.deadline
        self._begin(now)
        if self.phase in (Phase.RUNNING, Phase.LEAVING):
            if self._blocked_at:
                self.door.alarm.look(now)
                self._full()
            if self._parked is not None and not self._working:
                self._go_on()
            self.answer()
        if deadline is not None and now >= deadline:
            self._time_has_come(now)

    def _go_on(self) -> None:
        """Process the packets that waited for work that is now done."""
        parked, size = self._parked or (), self._parked_bytes
        self._parked, self._parked_bytes = None, 0
        self._take(list(parked), size)
        self._after_read(size)

    def _time_has_come(self, now: float) -> None:
        if self._due is not None and now >= self._due[0]:
            _, broken, reason = self._due
            self._due = None
            self.refuse(broken, reason=reason)
            return
        match self.phase:
            case Phase.CONNECT:
                self._time_is_up("it has not logged in in time")
            case Phase.RUNNING:
                self._look_at_keep_alive(now)
            case Phase.LEAVING:
                self._say_that_the_server_stops()
            case Phase.ENDING:
                self._time_is_up(self._reason)

    def _look_at_keep_alive(self, now: float) -> None:
        assert self.come is not None
        keep_alive_s = self.come.keep_alive_s
        if not keep_alive_s or now < self._heard_at + KEEP_ALIVE * keep_alive_s:
            return
        if self._working or self._blocked_at or self.owed.unacknowledged > UNACKNOWLEDGED_MAX:
            self._heard_at = now  # the server itself has paused reading
            return
        if self.link.unsent and self.link.unread:
            self._heard_at = (
                now  # input is not read while the client does not read, but new input has come
            )
            return
        reason = f"nothing came of it for {KEEP_ALIVE * keep_alive_s:g} s: its keep alive is over"
        self.fail(Broken(reasons.KEEP_ALIVE_TIMEOUT, reason))
        if self.link.unsent:
            self.link.cut(reason)

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing; returns all output, so that pushed data comes after it."""
        if not self.out:
            self._feed()
            if not self.out:
                return ()
        out = self.out
        joined = out[0] if len(out) == 1 else b"".join(out)
        self.out, self.out_bytes = [], 0
        return (joined,)

    def _feed(self) -> None:
        """Continue with senders that had to wait: everything is sent."""
        if self.starved and self.mine is not None and self.phase is Phase.RUNNING:
            self.starved = False
            self.mine.out.drained()
        if self.first is not None and self.phase is Phase.RUNNING:
            self.first.go_on()

    def finish(self, now: float) -> None:
        """As Session.finish: the client is gone, or does not read what it is sent."""
        self.end(self._reason)

    def leave(self, now: float) -> bool:
        """As Session.leave."""
        self._begin(now)
        self._leaving = True
        if self.phase is Phase.RUNNING:
            self.to(Phase.LEAVING)
            self.answer()
        elif self.phase in (Phase.CONNECT, Phase.ENTERING):
            self.end("")
        return self.phase is not Phase.OVER

    def _say_that_the_server_stops(self) -> None:
        self.fail(Broken(reasons.SHUTTING_DOWN, ""))

    def close(self) -> None:
        """As Session.close."""
        self.end(self._reason)
        self.door.sessions.pop(self, None)
        if self.seat is not None:
            self.seat.close()

    # The first packet

    def _hear_first(self, data: memoryview) -> int:
        head = bytes(data[: HEAD_BYTES + 1])
        if not head:
            return 0
        if head[0] != kinds.FIRST[kinds.CONNECT]:
            self.end(_foreign(bytes(data[:KAFKA_BYTES])))  # [MQTT-3.1.0-1]
            return len(data)
        try:
            size = packets.size_of(head)
            if size > EARLY_BYTES_MAX:
                entry.too_large(self, bytes(data[:EARLY_BYTES_MAX]), EARLY_BYTES_MAX)
                return len(data)
            if not size or len(data) < size:
                self.wants = size
                return 0
            self.wants = 0
            self.to(Phase.ENTERING)
            entry.hear(self, bytes(data[:size]))
        except Broken as broken:
            self.refuse(broken)
        return size if self.phase in (Phase.ENTERING, Phase.RUNNING) else len(data)

    # What is asked

    def _carry_out(self, packet: packets.Packet) -> None:
        """Carry out one packet. Raises Broken."""
        match packet:
            case packets.Ping(kinds.PINGREQ):
                self.put(writing.PINGRESP)
            case packets.Ack(kind):
                self._acknowledged(kind, packet)
            case packets.Subscribe():
                self.work(subscribe.subscribing(self, packet))
            case packets.Unsubscribe():
                self.work(subscribe.unsubscribing(self, packet))
            case packets.Disconnect():
                self._disconnect(packet)
            case packets.Connect():  # [MQTT-3.1.0-2]
                raise not_allowed("a second CONNECT")
            case packets.Auth():  # [MQTT-4.12.0-6]
                raise not_allowed("an AUTH without an authentication method")
            case _:
                raise not_allowed("a packet that only a server sends")

    def work(self, steps: Steps) -> None:
        """Run steps that may be slow; no further packet is processed before their end."""
        self._working = True
        self.door.slices.begin(steps, self._worked)

    def _worked(self, result: object) -> None:
        self._working = False
        if isinstance(result, Exception):
            error = result if isinstance(result, Broken) else None
            self.fail(error or Broken(reasons.UNSPECIFIED, str(result)))
        if self._parked is not None or self.phase is not Phase.RUNNING:
            self.link.wake()

    def acked(self, pids: Sequence[int]) -> None:
        """Settle messages of QoS 1 that the client acknowledged or refused [MQTT-4.4.0-2]. Raises
        Broken.
        """
        assert self.mine is not None
        if not self.mine.out.acked(pids):
            raise not_allowed("a PUBACK of a message of QoS 2")

    def _acknowledged(self, kind: int, packet: packets.Ack) -> None:
        if kind == kinds.PUBACK:
            self.acked((packet.pid,))
        else:
            exactly.answer(self, kind, packet)

    def _disconnect(self, packet: packets.Disconnect) -> None:
        assert self.come is not None
        expiry_s = packet.properties.session_expiry_s
        if expiry_s and not self.come.expiry_s:  # [MQTT-3.14.2-2], 3.14.2.2.2
            raise not_allowed("a DISCONNECT gives an expiry to a session that has none")
        if packet.reason not in reasons.OF_CLIENTS:
            raise not_allowed(
                f"a DISCONNECT has the reason {packet.reason:#04x}, which only a server may send"
            )
        self.part(graceful=packet.reason == reasons.SUCCESS, expiry_s=expiry_s)
        self.end("")

    def look_at_disk(self) -> None:
        """Check the disk's free space, before something is stored."""
        self.door.alarm.look(self._now)

    # Sending

    def put(self, frames: bytes) -> None:
        """Append frames to the output. Does not wake the link."""
        self.out.append(frames)
        self.out_bytes += len(frames)

    def answer(self) -> None:
        """Acknowledge messages that have become safe."""
        for frames in self.owed.take():
            if frames:
                self.put(frames)
        if self.phase is Phase.LEAVING and not self.owed:
            self._say_that_the_server_stops()

    # As Line

    @property
    def whose(self) -> Whose | None:
        """As Line.whose."""
        host, port = self.link.peer_address
        here = self.link.address
        name = f"{self.link.peer} -> {here[0]}:{here[1]}"
        user = "" if self.permits is None else self.permits.who.user
        return Whose(name, 0, host, port, user)

    def form_of(self, *, retain_as_published: bool, ids: tuple[int, ...]) -> MqttForm:
        """As Line.form_of."""
        assert self.come is not None
        return self.door.forms.form(
            self.version, retain_as_published=retain_as_published, ids=ids,
            bytes_max=self.come.packet_bytes_max,
        )  # fmt: skip

    def deliver(self, chunk: Chunk) -> None:
        """As Line.deliver."""
        deliver.chunk(self, chunk)

    def room_bytes(self) -> int:
        """As Line.room_bytes; 0 before rules that have changed were looked at."""
        if self.phase is not Phase.RUNNING:
            return 0
        room = OUT_BYTES_MAX - self.out_bytes - self.link.unsent
        first = self.first is not None and self.first.unanswered
        if room <= 0 or first or (self.permits is not None and self.permits.outdated):
            self.starved = True
            return 0
        return room

    def send(self, messages: Sequence[Sent]) -> Sequence[int]:
        """As Line.send."""
        return deliver.messages(self, messages)

    def release(self, pids: Sequence[int]) -> None:
        """As Line.release."""
        self.put(writing.acks(kinds.PUBREL, pids))
        self.link.wake()

    def taken_over(self) -> None:
        """As Line.taken_over."""
        if self.mine is not None:
            self._leave_rest(self.mine)
        self.mine = None
        self._session_gone(Broken(reasons.TAKEN_OVER, ""))  # which is no fault

    def session_ended(self, reason: str) -> None:
        """As Line.session_ended."""
        self.mine = None
        self._session_gone(Broken(reasons.ADMINISTRATIVE, reason))

    def _session_gone(self, broken: Broken) -> None:
        if self.phase is Phase.ENTERING:  # it is not admitted yet, and will not be
            self.refuse(broken)
        else:
            self.fail(broken)
        self.link.wake()

    # As others see it

    def about(self) -> session.About:
        """As Doorway.about."""
        come, mine = self.come, self.mine
        facts: dict[str, object] = {}
        if come is not None:
            facts = {
                "client_id": come.client,
                "protocol_level": come.version,
                "clean_start": come.clean_start,
                "session_expiry_s": come.expiry_s,
                "keep_alive_s": come.keep_alive_s,
                "receive_maximum": come.window,
                "subscriptions": 0 if mine is None else len(mine.grants),
            }
        return session.About(
            "" if self.permits is None else self.permits.who.user,
            "" if come is None else come.client[:SHOWN],
            "" if come is None else f"MQTT {'5.0' if come.version == V5 else '3.1.1'}",
            "blocked" if self._blocked_at else self.phase.name.lower(),
            self.door.limits.slow_bytes,
            facts,
        )

    def end_by(self, reason: str) -> None:
        """As Doorway.end."""
        if self.phase is Phase.RUNNING:
            self.fail(Broken(reasons.ADMINISTRATIVE, reason))
        else:
            self.end(reason)
        self.link.wake()

    def users_changed(self) -> None:
        """As rounds.Told.users_changed."""
        if self.permits is not None and not self.door.access.knows(self.permits.who):
            self._is_out = True

    def rules_changed(self) -> None:
        """As rounds.Told.rules_changed."""
        permits = self.permits
        if permits is None or self.phase not in (Phase.ENTERING, Phase.RUNNING):
            return
        permits.look_anew()
        if self._is_out:
            broken = Broken(reasons.NOT_AUTHORIZED, _gone(permits.who.user))
            if self.phase is Phase.ENTERING:
                self.refuse(broken)
            else:
                self.fail(broken)
            if self.link.unsent:  # which the client may no longer receive
                self.link.cut(str(broken))
                return
        elif self.mine is not None and not permits.free:
            self.door.slices.begin(subscribe.reviewing(self), lambda _: None)
        self.link.wake()

    # The end

    def to(self, phase: Phase) -> None:
        """Enter a phase."""
        if phase is not Phase.ENTERING:  # its time began with the connection
            self._since = self._now
        self.phase = phase

    def run(self) -> None:
        """The client is admitted: start to process its packets."""
        self.to(Phase.RUNNING)
        self._heard_at = self._now

    def refuse(self, broken: Broken, *, delay_s: float = 0.0, reason: str | None = None) -> None:
        """Refuse the client. ``reason``: the text for the log, if it differs."""
        if self.phase not in (Phase.CONNECT, Phase.ENTERING):
            return
        if delay_s > 0:
            self._due = self._now + delay_s, broken, str(broken) if reason is None else reason
            self.link.wake()
            return
        connack = entry.refusal(broken, self.version)
        if connack:
            self.put(connack)
        self._reason = str(broken) if reason is None else reason
        self._let_go()
        self._linger()

    def fail(self, broken: Broken) -> None:
        """End the connection with an error, which is sent if the protocol version has a packet for
        it.
        """
        if self.phase not in (Phase.RUNNING, Phase.LEAVING):
            return
        assert self.come is not None
        self._reason = "" if self._leaving else str(broken)  # a stop is no fault
        if self.version == V5:
            said = str(broken) or reasons.NAMES[broken.code]
            text = properties.Properties(reason_string=said)
            frames = packets.write(packets.Disconnect(broken.code, text), V5)
            most = self.come.packet_bytes_max
            if most and len(frames) > most:  # [MQTT-3.14.2-3]
                frames = packets.write(packets.Disconnect(broken.code), V5)
            self.put(frames)
        self._let_go()
        self._linger()

    def _linger(self) -> None:
        """End the connection once the error is sent; later input is discarded."""
        self.to(Phase.ENDING)
        self.wants = 0
        if not self.out or not (self._streams or self.link.unread):
            self.closed = self._reason
        self.link.wake()

    def part(self, *, graceful: bool, expiry_s: int | None = None) -> None:
        """Detach the session, which continues without the connection or ends."""
        mine, self.mine = self.mine, None
        if mine is None:
            return
        model = self.door.model
        assert model is not None
        self._leave_rest(mine)
        if self.phase is Phase.ENTERING:  # it was never admitted: its will does not count
            model.wills.give_up(mine.client)
            graceful = True
        model.sessions.left(mine, self, expiry_s=expiry_s, graceful=graceful)

    def _leave_rest(self, mine: Session) -> None:
        """Leave retained messages that are not in its queue to the session's next connection."""
        model = self.door.model
        assert model is not None
        if self.first is not None:
            left = self.first.close()
            self.first = None
            if left and mine.lasts:
                model.unfinished[mine] = left

    def end(self, reason: str) -> None:
        """End the connection without a packet to the client. ``reason``: as Session.closed."""
        self._let_go()
        if self.closed is None:
            self.closed = reason
        self.phase = Phase.OVER

    def _time_is_up(self, reason: str) -> None:
        """End the connection, without waiting for a client that does not read."""
        self.end(reason)
        if self.link.unsent:
            self.link.cut(reason)

    def _let_go(self) -> None:
        self.part(graceful=False)
        self.owed.close()
        self._parked, self._parked_bytes = None, 0
        self.aliases, self.alias_bytes = None, 0
        self._due = None
        self._working = False
        self._blocked_at = 0.0


def _foreign(head: bytes) -> str:
    """The error for a peer of another protocol, from its first bytes."""
    if speaks_tls(head):
        return without_tls(PROTOCOL, "mqtt.tls.port")
    if speaks_http(head):
        return not_http(PROTOCOL)
    if speaks_kafka(head):
        return not_kafka(PROTOCOL)
    shown = printable(repr(head[: HEAD_BYTES + 1]))
    return f"its first packet is not a CONNECT: it begins with {shown}"


def _gone(user: str) -> str:
    """The error for a client whose login is no longer valid."""
    return f"user '{user}' is deleted" if user else "there are users now: log in as one of them"
