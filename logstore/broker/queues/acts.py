"""Operations on queues by callers without a channel: publish a message, fetch some.

Each operation calls ``then`` once with its result, immediately or in a later turn. Used in the
sessions' thread.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from logstore.broker.queues.unacked import Delivered, Unacked
from logstore.errors import LogstoreError

if TYPE_CHECKING:  # the model, which the caller has already loaded
    from logstore.broker.queues.message import Message
    from logstore.broker.queues.publishing import Published
    from logstore.broker.queues.queue import Queue
    from logstore.broker.queues.subscription import Got
    from logstore.broker.queues.vhost import Vhost

FETCHED_AT_ONCE: Final = 100  # messages, at some 30 us each; the others come in the next turns
MANY: Final = 1 << 30  # messages: more than any act fetches
FETCHED_MAX: Final = 10_000  # by one act
FETCHED_BYTES_MAX: Final = 16 << 20  # of their bodies, beside the last

Group = Delivered[Any, Any]


class Routed(NamedTuple):
    """The result of publishing a message."""

    taken: bool  # by some queue
    refused: bool  # by some queue: it was full


def publish(
    vhost: "Vhost", message: "Message", then: Callable[[Routed | LogstoreError], object]
) -> None:
    """Publish a message; ``then`` is called once it is safe. Raises as ``Vhost.route``."""
    _Publication(vhost, message, then).offer()


class _Publication:
    def __init__(
        self, vhost: "Vhost", message: "Message", then: Callable[[Routed | LogstoreError], object]
    ) -> None:
        self._vhost = vhost
        self._run = [(vhost.route(message), message)]
        self._then = then
        self._published: Published | None = None

    def offer(self) -> None:
        queue = self._vhost.to_be_counted(self._run)
        if queue is not None:
            queue.when_open(self._again)
            return
        self._published = self._vhost.publish(self._run)
        self._published.waiting.watch(self._wake)
        self._look()

    def _again(self) -> None:
        """Offer the message again: a queue now knows whether it has room.

        In a turn of its own, since the queue may have failed.
        """
        self._vhost.soon(self.offer)

    def _wake(self) -> None:
        """Schedule a look. Called from any thread."""
        self._vhost.soon(self._look)

    def _look(self) -> None:
        published = self._published
        if published is None or not published.waiting.settled():
            return
        self._published = None
        failed = published.error or published.waiting.failed
        if failed is not None:
            self._then(failed)
        else:
            self._then(Routed(not published.unrouted, bool(published.rejected)))


class _Hands:
    """A ``Channel`` without a client."""

    name = "HTTP"
    whose = None

    def __init__(self) -> None:
        self.unacked: Unacked[Queue, Any] = Unacked()

    def room(self) -> int:
        """As Channel.room."""
        return MANY


class Fetched:
    """Fetched messages in order; they stay delivered until ``end`` says what happens to them.

    Settlements take effect once the journal has them, as with any consumer.
    """

    def __init__(self) -> None:
        self.messages: list[Got] = []
        self.error: LogstoreError | None = None  # why these are all
        self.hands = _Hands()

    def end(self, settle: Callable[[Group], object]) -> None:
        """End the fetch with one of ``settled``, ``rejected``, ``returned`` and ``given_back``.
        Call once.
        """
        for group in self.hands.unacked.drain():
            settle(group)


def settled(group: Group) -> None:
    """Settle the messages."""
    group.queue.settle(group)


def rejected(group: Group) -> None:
    """Dead-letter the messages, or drop them if the queue has no dead letter exchange."""
    group.queue.reject(group)


def returned(group: Group) -> None:
    """Return the messages to their places in the queue, as failed once more."""
    group.queue.release(group)


def given_back(group: Group) -> None:
    """Return the messages to their places in the queue, as never delivered."""
    group.queue.release(group, failed=False)


def fetch(
    vhost: "Vhost",
    queue: "Queue",
    count: int,
    then: Callable[[Fetched], object],
    *,
    bytes_max: int = FETCHED_BYTES_MAX,
) -> None:
    """Fetch the first ``count`` ready messages, or as many as there are, within bounds.

    ``then`` gets them all together, and must ``end`` them.
    """
    _Fetching(vhost, queue, min(count, FETCHED_MAX), bytes_max, then).go_on()


class _Fetching:
    def __init__(
        self,
        vhost: "Vhost",
        queue: "Queue",
        count: int,
        bytes_max: int,
        then: Callable[[Fetched], object],
    ) -> None:
        self._soon = vhost.soon
        self._queue = queue
        self._left, self._left_bytes = count, bytes_max
        self._then = then
        self._fetched = Fetched()
        self._inside = self._here = False

    def go_on(self) -> None:
        """Ask for as many messages as a turn may take; each may come at once or later."""
        self._inside = True
        for _ in range(FETCHED_AT_ONCE):
            if self._left <= 0 or self._left_bytes <= 0:
                break
            self._here = False
            if not self._ask():
                break
        self._inside = False
        if self._left <= 0 or self._left_bytes <= 0:
            self._then(self._fetched)
        elif self._here:
            self._soon(self.go_on)

    def _ask(self) -> bool:
        """Ask for one message; return whether the answer is here."""
        try:
            self._queue.get(self._fetched.hands, False, self._got)
        except LogstoreError as error:
            self._fetched.error = error
            self._left = 0
        return self._here

    def _got(self, got: "Got | None") -> None:
        self._here = True
        if got is None:
            self._left = 0
            self._fetched.error = self._queue.unreadable
        else:
            self._fetched.messages.append(got)
            self._left -= 1
            self._left_bytes -= len(got.delivery.body)
        if not self._inside:
            self.go_on()
