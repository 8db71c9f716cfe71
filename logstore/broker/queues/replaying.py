"""Publishes messages of a queue's past again: to an exchange, a queue or a topic.

They are published as new messages, in order, and the originals stay. To a topic, they are appended
as records with their original times. If a full queue refuses a message, the replay ends: all
earlier messages are safe, and the caller can continue with the refused one.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from logstore.broker.queues.message import Message
from logstore.broker.queues.moving import without_copies
from logstore.broker.rules import Unstamped
from logstore.errors import LogstoreError, Refused

if TYPE_CHECKING:
    from logstore.broker.mapping.records import Recording
    from logstore.broker.queues.past import Found
    from logstore.broker.queues.publishing import Published
    from logstore.broker.queues.station import Route
    from logstore.broker.queues.vhost import Vhost

SLICE_MAX: Final = 250  # messages that are published in one turn: 5 ms
Kind = Literal["exchange", "queue", "topic"]
KINDS: Final[tuple[Kind, ...]] = ("exchange", "queue", "topic")


class Into(NamedTuple):
    """The destination. ``key``: None keeps each message's key, and the keys of its CC and BCC."""

    kind: Kind
    name: str
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name or '(default)'}"


def into_of(text: str, key: str | None = None) -> Into:
    """Parse ``exchange:NAME``, ``queue:NAME`` or ``topic:NAME``. Raises Refused."""
    kind, colon, name = text.partition(":")
    for known in KINDS:
        if kind == known and colon and (name or kind == "exchange"):
            if key is not None and kind == "queue":
                raise Refused(
                    "a message that is published to a queue has the queue's name as its key"
                )
            return Into(known, name, key)
    raise Refused(
        f"{text[:40]!r} is not a destination: use exchange:NAME, queue:NAME or topic:NAME"
    )


class Sent(NamedTuple):
    """The result of a replay."""

    sent: int  # the first of them, which are safe
    unrouted: int = 0  # of these: no queue takes them
    error: LogstoreError | None = None  # the error that ended it


def messages(found: "Sequence[Found]", exchange: bytes, key: bytes | None) -> list[Message]:
    """Return the messages as they are published again."""
    if key is None:
        return [
            Message(exchange, it.record.key or b"", it.shown.properties, it.record.value or b"")
            for it in found
        ]
    return [
        Message(exchange, key, without_copies(it.shown.properties), it.record.value or b"")
        for it in found
    ]


def records(
    found: "Sequence[Found]", recording: "Recording", key: bytes | None = None
) -> list[Unstamped]:
    """Return the messages as records of a topic, with the times of their first publication."""
    made: list[Unstamped] = []
    last: object = None
    keyed = filled = False
    for _, _, record, shown, _ in found:
        own, body = record.key if key is None else key, record.value
        if shown is not last or bool(own) != keyed or bool(body) != filled:
            last, keyed, filled = shown, bool(own), bool(body)
            mapped = recording.mapped(shown.exchange, shown.properties, keyed=keyed, filled=filled)
        value = None if mapped.tombstone else body or b""
        made.append((value, own or mapped.key, mapped.headers, record.timestamp_ms))
    return made


def send(
    vhost: "Vhost",
    given: Sequence[Message],
    then: Callable[[Sent], object],
    check: Callable[[Message], object] = lambda _: None,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Publish the messages, some in each turn; ``then`` is called once they are safe.

    ``check`` may refuse a message, which ends the replay. ``wanted``: asked in each turn whether to
    go on.
    """
    _Sending(vhost, given, then, check, wanted).go_on()


class _Sending:
    def __init__(
        self,
        vhost: "Vhost",
        given: Sequence[Message],
        then: Callable[[Sent], object],
        check: Callable[[Message], object],
        wanted: Callable[[], bool],
    ) -> None:
        self._vhost = vhost
        self._given = given
        self._then: Callable[[Sent], object] | None = then
        self._check, self._wanted = check, wanted
        self._place = self._sent = self._unrouted = 0
        self._under_way: deque[tuple[Published, int]] = deque()  # each with how many they are
        self._error: LogstoreError | None = None

    def go_on(self) -> None:
        """Publish the next messages."""
        if self._then is None:
            return
        left = SLICE_MAX if self._wanted() else 0
        if not left:
            self._error = Refused("the client no longer waits for it")
        while left > 0 and self._error is None and self._place < len(self._given):
            taken = self._publish(left)
            if taken < 0:
                return
            left -= taken
        if self._error is None and self._place < len(self._given):
            self._vhost.soon(self.go_on)
        self._look()

    def _publish(self, most: int) -> int:
        """Publish up to ``most`` messages; return how many were; -1: not possible now."""
        run: list[tuple[Route, Message]] = []
        for message in self._given[self._place : self._place + most]:
            try:
                self._check(message)
                route = self._vhost.route(message)
            except LogstoreError as error:
                if not run:
                    self._error = error
                    return 0
                break
            refusing = any(queue.limits.rejects for queue in route if hasattr(queue, "limits"))
            if refusing and run:
                break
            run.append((route, message))
            if refusing:  # by itself: those behind one that is refused are not published
                break
        full = self._vhost.to_be_counted(run)
        if full is not None:  # whether it has room is known once it is open
            full.when_open(lambda: self._vhost.soon(self.go_on))
            return -1
        published = self._vhost.publish(run)
        self._place += len(run)
        self._under_way.append((published, len(run)))
        if published.rejected:
            self._error = published.error or Refused(
                "a queue is full and accepts no more messages; consume from it first, then continue"
            )
        published.waiting.watch(self._wake)
        return len(run)

    def _wake(self) -> None:
        """Schedule a look. Called from any thread."""
        self._vhost.soon(self._look)

    def _look(self) -> None:
        """Check whether all published messages are safe."""
        while self._under_way and self._under_way[0][0].waiting.settled():
            published, count = self._under_way.popleft()
            failed = published.error or published.waiting.failed
            if failed is not None or published.rejected:
                first = min(published.rejected, default=0)
                self._sent += first if failed is None else 0
                self._error = failed or self._error
                self._end()
                return
            self._sent += count
            self._unrouted += len(published.unrouted)
        done = self._error is not None or self._place == len(self._given)
        if done and not self._under_way:
            self._end()

    def _end(self) -> None:
        then, self._then = self._then, None
        for published, _ in self._under_way:
            published.waiting.close()
        self._under_way.clear()
        if then is not None:
            then(Sent(self._sent, self._unrouted, self._error))
