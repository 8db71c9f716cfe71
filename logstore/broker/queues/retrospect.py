"""A queue's past for users of the library: from any thread, page by page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from logstore.amqp import fields, properties
from logstore.amqp.properties import Properties
from logstore.amqp.replies import Refusal
from logstore.broker.mapping.records import Recording
from logstore.broker.queues import past, replaying
from logstore.broker.queues.given import name_of
from logstore.broker.queues.past import STATES, Cut, Found, Order, Page, Track, Wanted
from logstore.broker.queues.peeking import Spot, spot_of
from logstore.broker.queues.queue import Queue as Model
from logstore.broker.queues.received import Desk
from logstore.broker.queues.replaying import Into, Sent
from logstore.broker.queues.vhost import Vhost
from logstore.broker.reading import OnDamage, Skip, skip_of
from logstore.broker.routing.refusals import NoQueue
from logstore.broker.rules import Unstamped
from logstore.broker.start import time_ms
from logstore.config import nearest
from logstore.errors import LogstoreError, Refused

PAGE_MESSAGES: Final = past.SPAN_MAX  # a page is synced where it goes: as many as are asked about
PAGE_BYTES: Final = 4 << 20  # of bodies, beside the last

Place = datetime | int | str | None


class PastMessage:
    """One message of a queue on disk; reading does not take it."""

    __slots__ = ("_found", "_properties", "queue")

    def __init__(self, queue: str, found: Found) -> None:
        self.queue = queue
        self._found = found
        self._properties: Properties | None = None

    def __repr__(self) -> str:
        return f"<PastMessage {self.position} of {self.queue!r}, {self.state}>"

    @property
    def position(self) -> str:
        """The position: its offset, such as ``17``, or ``4:17`` in priority 4."""
        return str(self._found.spot)

    @property
    def priority(self) -> int:
        return self._found.lane

    @property
    def offset(self) -> int:
        """The offset among the messages of its priority."""
        return self._found.record.offset

    @property
    def state(self) -> str:
        """The state: ``ready``, ``out`` (a consumer has it) or ``settled``."""
        return self._found.state

    @property
    def time_ms(self) -> int:
        """The time of publishing."""
        return self._found.record.timestamp_ms

    @property
    def delivery_count(self) -> int:
        """The number of times that it was returned as failed; 0 for a settled message."""
        return self._found.failures

    @property
    def redelivered(self) -> bool:
        """Whether the message has failed before."""
        return self._found.failures > 0

    @property
    def exchange(self) -> str:
        """The exchange to which the message was published; empty: the default exchange."""
        return fields.text(self._found.shown.exchange)

    @property
    def key(self) -> str:
        """The routing key."""
        return fields.text(self._found.record.key or b"")

    @property
    def body(self) -> bytes:
        return self._found.record.value or b""

    @property
    def properties(self) -> Properties:
        """All properties; those that were not given are None."""
        if self._properties is None:
            try:
                self._properties = properties.read(self._found.shown.deliver)
            except Refusal:  # a record that no door has written
                self._properties = Properties()
        return self._properties

    @property
    def headers(self) -> dict[str, Any]:
        return self.properties.headers or {}


class Reading:
    """A queue's past that is read page by page."""

    def __init__(
        self,
        desk: Desk,
        name: str,
        first: Spot | int | None,
        upto: Spot | None,
        wanted: Wanted,
        skip: Skip | None,
        order: Order = "time",
        *,
        on: Track | None = None,
    ) -> None:
        """``first``: a position, or ms. ``on``: where an earlier reading has ended, instead of
        these.

        Messages that arrive later are not read.

        Raises NoQueue, Refused; Damaged, StorageFull if it cannot be opened.
        """
        self._desk, self._name = desk, name_of(name)
        self._wanted, self._skip, self._order = wanted, skip, order
        self._queue, cuts = self._opened()
        self.track: Track = past.begin(cuts, first, upto, order) if on is None else on

    def _opened(self) -> tuple[Model, list[Cut]]:
        found: list[tuple[Model, list[Cut] | LogstoreError]] = []

        def look(vhost: Vhost) -> None:
            queue = vhost.queue(self._name, self._desk).plain("past: its messages stay")

            def known() -> None:
                try:
                    found.append((queue, past.cuts(queue)))
                except LogstoreError as error:
                    found.append((queue, error))
                self._desk.poke()

            queue.when_open(known)

        self._desk.do(look)
        self._desk.wait(lambda: found)
        queue, cuts = found[0]
        if isinstance(cuts, LogstoreError):
            raise cuts
        return queue, cuts

    def page(
        self,
        most: int = PAGE_MESSAGES,
        bytes_max: int = PAGE_BYTES,
        before_ms: int | None = None,
    ) -> Page:
        """As past.read. Also raises NoQueue if the queue was deleted meanwhile."""
        try:
            spans = self._desk.run(lambda: past.spans(self._queue, self.track, self._order))
            return past.read(
                spans, self.track, self._wanted, most, bytes_max,
                order=self._order, before_ms=before_ms, skip=self._skip,
            )  # fmt: skip
        except LogstoreError as error:
            if self._queue.gone:
                raise NoQueue(self._name) from error
            raise

    def pages(self) -> Iterator[Page]:
        """The pages with messages."""
        while self.track:
            page = self.page()
            if page.found:
                yield page


def replayed(
    desk: Desk,
    found: Sequence[Found],
    into: Into,
    append: Callable[[Sequence[Unstamped]], object] | None,
) -> Sent:
    """Publish messages of a past again; they are safe on return.

    ``append``: appends to the topic, if the target is one. Raises NoExchange, NoQueue,
    InternalExchange, InvalidName, and the errors of ``append``.
    """
    if append is not None:
        recording, key = Recording(), None if into.key is None else fields.data(into.key)
        append(replaying.records(found, recording, key))
        return Sent(len(found))
    exchange = b"" if into.kind == "queue" else name_of(into.name)
    named = into.name if into.kind == "queue" else into.key
    key = None if named is None else name_of(named, "routing key")
    sent: list[Sent] = []

    def send(vhost: Vhost) -> None:
        vhost.topology.check_publish(exchange)
        if into.kind == "queue":
            vhost.queue(key or b"", desk)
        replaying.send(vhost, replaying.messages(found, exchange, key), told)

    def told(it: Sent) -> None:
        sent.append(it)
        desk.poke()

    desk.do(send)
    desk.wait(lambda: sent)
    return sent[0]


def wanted_of(only: str, headers: Mapping[str, str] | None, to_ms: int | None) -> Wanted:
    """Return the checked filter. Raises Refused, TypeError."""
    if only not in STATES:
        raise Refused(
            f"only={only!r}: must be one of {', '.join(STATES)}{nearest(str(only), STATES)}"
        )
    if headers is not None and not isinstance(headers, Mapping):
        raise TypeError(
            f"headers are a mapping of names to values, not {type(headers).__name__}: {{'h': 'v'}}"
        )
    pairs = [] if headers is None else list(headers.items())
    for pair in pairs:
        if not all(isinstance(it, str) for it in pair):
            raise TypeError("headers are texts, and so are the values that they are to have")
    return Wanted(STATES[only], None, to_ms, pairs)


def place_of(given: Place) -> Spot | int | None:
    """Return a position, or a time in ms. Raises Refused, TypeError."""
    if given is None:
        return None
    if isinstance(given, datetime):
        return time_ms(given)
    if isinstance(given, str):
        return spot_of(given)
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(f"a place is a time, an offset or a position, not {type(given).__name__}")
    return spot_of(str(given))


def history(
    desk: Desk,
    name: str,
    first: Place,
    upto: Place,
    only: str,
    headers: Mapping[str, str] | None,
    on_damage: OnDamage,
) -> Iterator[PastMessage]:
    """As Queue.history."""
    begin, end = place_of(first), place_of(upto)
    wanted = wanted_of(only, headers, end if isinstance(end, int) else None)
    if isinstance(begin, int):
        wanted = wanted._replace(from_ms=begin)
    spot = end if isinstance(end, Spot) else None
    reading = Reading(desk, name, begin, spot, wanted, skip_of(on_damage))
    return (PastMessage(name, it) for page in reading.pages() for it in page.found)
