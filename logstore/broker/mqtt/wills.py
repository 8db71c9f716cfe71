"""Wills: messages that clients leave to be published if their connections end unexpectedly.

A will that is retained, or whose session outlives its connection, is stored from CONNECT on, so
that it is published even if the server has crashed meanwhile; other wills end with the process, as
their sessions do. A will is deleted once its message is safe; a crash in between publishes it
twice.

A will belongs to a client id, not to a session object. Three events decide its fate, in whatever
order connections and sessions end.

    left   the connection has ended: after DISCONNECT 0x00, the will is deleted [MQTT-3.1.2-10];
           otherwise it is due, immediately or later
    back   the client has connected again: a will that is not due yet is deleted [MQTT-3.1.3-9]
    ended  the session is over: a will that is not due yet is due now
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from logstore.broker.mqtt.deadlines import Deadlines
from logstore.broker.mqtt.message import NOTHING, About, Message
from logstore.errors import LogstoreError, Refused
from logstore.kept.keeping import Keeping
from logstore.kept.wills import KeptWill, WillKeeper

PUBLISHED_MAX: Final = 500  # in one turn; a network that fails may end ten thousand connections
RETRY_MS: Final = 1000  # after which one that could not be published is tried again
ENTRY_BYTES: Final = 1024  # what one takes beside its texts

_log = logging.getLogger("logstore.mqtt")

# Publishes messages, and calls what it is given once they are safe, or with why they are not.
Publish = Callable[[Sequence[Message], Callable[[LogstoreError | None], None]], object]


class Will(NamedTuple):
    """The will in a CONNECT."""

    topic: bytes
    payload: bytes
    qos: int = 0
    retain: bool = False
    delay_s: int = 0
    about: About | None = None  # without an expiry
    expiry_s: int | None = None  # from when it is published


class Ending(Protocol):
    """What is needed from a session."""

    @property
    def client(self) -> str:
        """The id of the session's client."""

    @property
    def expiry_s(self) -> int:
        """How long the session outlives its connection, in seconds."""


class WillsFull(Refused):
    """There is no memory for another will."""


class _Held:
    """One known will."""

    __slots__ = ("bytes", "kept", "row")

    def __init__(self, kept: KeptWill, *, row: bool) -> None:
        self.kept = kept
        self.row = row  # it is kept
        user = sum(len(name) + len(value) + ENTRY_BYTES // 8 for name, value in kept.user)
        texts = (kept.topic, kept.payload, kept.content_type, kept.response_topic, kept.correlation)
        self.bytes = ENTRY_BYTES + user + sum(map(len, filter(None, texts)))


class Wills:
    """The wills of one store. Used in the sessions' thread."""

    def __init__(
        self,
        keeper: WillKeeper,
        publish: Publish,
        clock: Callable[[], int],
        alarm: Callable[[int | None], object],
        bytes_max: int,
    ) -> None:
        """``alarm``: schedules a call of ``tick``. ``bytes_max``: the memory limit of all wills
        together.

        Raises Failed.
        """
        self._keeper = keeper
        self._publish = publish
        self._clock = clock
        self._alarm = alarm
        self._bytes_max = bytes_max
        self.held_bytes = 0
        self.published = 0
        self.firing = 0  # published, and not safe yet
        self._failing = self._closed = False
        self._all: dict[int, _Held] = {}
        self._by_client: dict[str, _Held] = {}  # the one that events of this client are about
        self._due = Deadlines()
        found = keeper.load()
        for error in found.damaged:
            _log.error("%s", error)
        for will in sorted(found.wills):  # the later of a client's two wills counts
            self._add(_Held(will, row=True))
        self._next = max(self._all, default=0) + 1

    def __len__(self) -> int:
        return len(self._all)

    def begin(self) -> None:
        """After a start, treat all clients as disconnected, and publish overdue wills."""
        now_ms, changed = self._clock(), []
        for held in self._all.values():
            if held.kept.due_ms is None:
                held.kept = held.kept._replace(due_ms=_due_ms(held.kept, now_ms))
                changed.append(held.kept)
            self._due.set(held.kept.number, held.kept.due_ms or 0)
        if changed:
            self._keeper.change(changed)
        self.tick(now_ms)

    def _add(self, held: _Held) -> None:
        self._all[held.kept.number] = held
        self._by_client[held.kept.client] = held
        self.held_bytes += held.bytes

    # What clients do

    def keep(self, client: str, will: Will, session_s: int) -> Keeping | None:
        """Store the will of a client at CONNECT, after its earlier connection is settled.

        ``session_s``: how long the session outlives its connection. Returns what must be waited
        for; None: nothing. Raises WillsFull.
        """
        about = NOTHING if will.about is None else will.about
        kept = KeptWill(
            self._next, client, will.topic, will.payload, will.qos, will.retain, will.delay_s,
            session_s, None, about.payload_format, about.content_type, about.response_topic,
            about.correlation, about.user, will.expiry_s,
        )  # fmt: skip
        held = _Held(kept, row=will.retain or session_s > 0)
        if self.held_bytes + held.bytes > self._bytes_max:
            raise WillsFull(
                f"the wills of {len(self._all)} clients take {self.held_bytes} bytes: there is"
                " no memory for another"
            )
        before = self._by_client.get(client)
        if before is not None:  # its client was never let in
            self._forget(before)
        self._next += 1
        self._add(held)
        return self._keeper.change([kept]) if held.row else None

    def give_up(self, client: str) -> None:
        """Remove the will of a client that is not admitted."""
        held = self._by_client.get(client)
        if held is not None and held.kept.due_ms is None:
            self._forget(held)

    # What becomes of sessions: also of those without a will

    def left(self, session: Ending, *, graceful: bool) -> None:
        """Handle the end of a connection. ``graceful``: by a DISCONNECT that wants no will sent."""
        held = self._by_client.get(session.client)
        if held is None or held.kept.due_ms is not None:
            return
        if graceful:
            self._forget(held)
            return
        now_ms, kept = self._clock(), held.kept._replace(session_s=session.expiry_s)
        due_ms = _due_ms(kept, now_ms)
        if due_ms <= now_ms:
            self._fire([held])
            return
        held.kept = kept._replace(due_ms=due_ms)
        self._due.set(kept.number, due_ms)
        if held.row:
            self._keeper.change([held.kept])
        self._alarm(self._due.next_ms)

    def back(self, session: Ending) -> None:
        """Cancel the pending will of a session that is connected again."""
        held = self._by_client.get(session.client)
        if held is not None and held.kept.due_ms is not None:
            self._forget(held)

    def ended(self, session: Ending) -> None:
        """Publish the pending will of a session that has ended."""
        held = self._by_client.get(session.client)
        if held is not None and held.kept.due_ms is not None:
            self._fire([held])

    def _forget(self, held: _Held) -> None:
        """Remove a will that is no longer needed."""
        self._settled(held)
        self._gone(held)

    def _settled(self, held: _Held) -> None:
        """Detach the will from its client, whose later actions have no effect on it."""
        self._due.forget(held.kept.number)
        if self._by_client.get(held.kept.client) is held:
            del self._by_client[held.kept.client]

    def _gone(self, held: _Held) -> None:
        del self._all[held.kept.number]
        self.held_bytes -= held.bytes
        if held.row:
            self._keeper.change((), [held.kept.number])

    # Published

    @property
    def deadline_ms(self) -> int | None:
        """When ``tick`` must be called; None: no will is pending."""
        return self._due.next_ms

    def tick(self, now_ms: int) -> None:
        """Publish the wills that are due."""
        due = [self._all[number] for number in self._due.due(now_ms, PUBLISHED_MAX)]
        if due:
            self._fire(due)
        self._alarm(self._due.next_ms)

    def _fire(self, due: Sequence[_Held]) -> None:
        now_ms = self._clock()
        for held in due:
            self._settled(held)
        messages = [_message(held.kept, now_ms) for held in due]
        self.firing += len(due)
        self._publish(messages, lambda error: self._fired(due, error))

    def _fired(self, due: Sequence[_Held], error: LogstoreError | None) -> None:
        self.firing -= len(due)
        if self._closed:  # they come again: it cannot be noted
            return
        if error is None:
            self._failing = False
            self.published += len(due)
            for held in due:
                self._gone(held)
            return
        if not self._failing:
            _log.error("%d wills are not published yet: %s", len(due), error)
        self._failing = True
        for held in due:  # subscribers get it again
            self._due.set(held.kept.number, self._clock() + RETRY_MS)
        self._alarm(self._due.next_ms)

    def close(self) -> None:
        """Stop publishing wills, at the end of the process."""
        self._closed = True


def _due_ms(will: KeptWill, now_ms: int) -> int:
    """Return when the will is due if the connection ends now: after its delay, or at the session's
    end [3.1.2.5].
    """
    return now_ms + 1000 * min(will.delay_s, will.session_s)


def _message(will: KeptWill, now_ms: int) -> Message:
    about = About(
        will.payload_format, will.content_type, will.response_topic, will.correlation, will.user,
        None if will.expiry_s is None else now_ms + 1000 * will.expiry_s,
    )  # fmt: skip
    return Message(
        will.topic, will.payload, will.qos, will.retain, None if about == NOTHING else about
    )
