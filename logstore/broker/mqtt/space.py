"""The space of topics: a message published at any door reaches subscribers at all doors.

An MQTT topic is a channel of the same name, and, translated (``swap.py``), a routing key of
amq.topic in the virtual host ``/``. Messages of QoS 0 go through channels, in chunks that equal
receivers share. Messages that need an acknowledgement go into the queues of the sessions that must
acknowledge them, in one run with the queues bound to amq.topic; all other subscribers receive them
through channels, too.

The receivers of a topic are found once and remembered by ``Channels``.
"""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from logstore.broker.channel import Channels
from logstore.broker.channel_route import Route
from logstore.broker.listeners import Chunk, Form, Match, Opening, Others, Receiver
from logstore.broker.mqtt.filters import LEVELS_MAX, FilterTree, Found, has_wildcard, is_topic
from logstore.broker.mqtt.member import Grant, Member
from logstore.broker.mqtt.message import About, Carried, Message
from logstore.broker.queues.pending import Waiting
from logstore.broker.unsafe import Unsafe
from logstore.counts.mqtt_space import SpaceCounts
from logstore.errors import InvalidName, LogstoreError
from logstore.slices import Steps, in_one_go

if TYPE_CHECKING:  # a store without queues does without
    from logstore.broker.queues.queue import Queue
    from logstore.broker.queues.transaction import Transaction

FEW: Final = 1000  # filters of a member: of more it costs less to forget all routes
LEVELS_A_UNIT: Final = 8  # of a filter that is removed
_EVERYTHING: Final = 1 << 62  # looks at a tree
_NOTHING: Final = Unsafe()
_OWN: Final = b"$"  # how the server's own topics begin

# Runs the first in another thread, then the second, with what it gave, in the sessions' own.
Work = Callable[[Callable[[], Any], Callable[[Any], None]], object]


class Sent(NamedTuple):
    """The result of publishing messages together."""

    waiting: Waiting | None  # must be safe before the acknowledgement
    matched: Sequence[int]  # how many get each


class Beyond(NamedTuple):
    """For one topic: the sessions that must acknowledge, and those that do not want their own
    messages.
    """

    queues: tuple["Queue", ...]
    away: tuple["Queue", ...]  # of members that are not connected
    shared: tuple["Queue", ...]  # of groups
    # Members whose queues do not get what they publish themselves; whether they get it at all.
    deaf: Mapping[object, tuple["Queue | None", bool]]
    asking: frozenset[object]  # members that do not want that by some of their filters


NOBODY_BEYOND: Final = Beyond((), (), (), {}, frozenset())


class Rows(Protocol):
    """Messages for queues, gathered to be published together."""

    def add(
        self,
        topic: bytes,
        payloads: Sequence[bytes],
        qos: int,
        about: About | None,
        queues: tuple["Queue", ...],
        *,
        retain: bool,
    ) -> int:
        """Add messages for these queues and those bound to amq.topic; return how many get each."""

    def publish(self, waiting: Waiting | None, held: "Transaction | None") -> None:
        """Publish the rows; ``waiting`` is told which marks must become safe."""


class Crossing(Protocol):
    """The connection to AMQP's queues and exchanges."""

    @property
    def crowded(self) -> bool:
        """Whether too many messages wait for queues."""

    def rows(self) -> Rows: ...
    def look(self) -> None:
        """Note that the first subscriber has come, or the last one has gone."""


class NotOwn:
    """A ``Form`` without the messages that the member itself has published [MQTT-3.8.3-3]."""

    def __init__(self, form: Form | None, member: object, own: Form | None) -> None:
        """``own``: the form of the member's own messages, by other filters. None: it gets none of
        them.
        """
        self._any = form or own
        self._form, self._member, self._own = form, member, own

    def opening(self, match: Match) -> Opening:
        """As Form.opening."""
        assert self._any is not None
        return self._any.opening(match)

    def chunk(self, openings: Sequence[Opening], payloads: Sequence[bytes]) -> Chunk:
        """As Form.chunk."""
        chunks = []
        for own, those in groupby(payloads, self._is_own):
            form = self._own if own else self._form
            if form is not None:
                chunks.append(form.chunk(openings, list(those)))
        return chunks[0] if len(chunks) == 1 else self.join(chunks)

    def _is_own(self, payload: bytes) -> bool:
        return isinstance(payload, Carried) and payload.publisher is self._member

    def join(self, chunks: Sequence[Chunk]) -> Chunk:
        """As Form.join."""
        assert self._any is not None
        return self._any.join(chunks)


class _Parked(NamedTuple):
    """Messages of a channel whose history is being opened."""

    topic: bytes
    contents: Sequence[bytes]
    acked: bool
    foreign: bool
    waiting: Waiting | None


class Space:
    """The space of one node. Members are MQTT's; other subscribers are where they always were.

    Used in the sessions' thread, except for the methods that ``Channels`` calls.
    """

    def __init__(
        self,
        channels: Channels,
        soon: Callable[[Callable[[], object]], object],
        work: Work,
        *,
        keep_for_away: bool = False,
    ) -> None:
        """``keep_for_away``: messages of QoS 0 too wait for disconnected members with a queue."""
        self.counts = SpaceCounts()
        self.tree: FilterTree[Member, Grant] = FilterTree()
        self.crossing: Crossing | None = None  # once there are queues
        self.channels = channels
        self._soon = soon
        self._work = work
        self._keep_for_away = keep_for_away
        self._filters: dict[Member, dict[bytes, None]] = {}
        self._parked: list[_Parked] = []
        channels.came = self._came
        self._attended = False

    def __len__(self) -> int:
        """The number of members."""
        return len(self._filters)

    # Other doors

    def join(self, crossing: Crossing) -> None:
        """Attach the crossing, which carries messages to the queues and from them."""
        self.crossing = crossing
        self._came()

    def _came(self) -> None:
        """Note that a subscriber is about to come. Called from any thread."""
        if self.crossing is not None:
            self._soon(self.crossing.look)

    @property
    def is_heard(self) -> bool:
        """Whether any subscriber or history may get messages that come by another door."""
        return bool(self._filters) or self.channels.is_heard or self.channels.keeps

    # Subscriptions

    def subscribe(self, member: Member, filter: bytes, grant: Grant) -> Grant | None:
        """Subscribe the member; return its earlier grant by the same filter, or None.

        The filter must be legal, and not that of a shared subscription.
        """
        with self.channels.lock:
            if not self._attended:
                self._attended = True
                self.channels.attend(self)
            self.channels.coming(member)
            if not self._filters:
                self._came()
            self._filters.setdefault(member, {})[filter] = None
            before = self.tree.add(filter, member, grant)
            self._forget(filter)
        return before

    def unsubscribe(self, member: Member, filter: bytes) -> Grant | None:
        """End the member's subscription; return its grant, or None if there was none."""
        with self.channels.lock:
            filters = self._filters.get(member)
            if filters is None or filter not in filters:
                return None
            self.channels.coming(member)
            del filters[filter]
            if not filters:
                del self._filters[member]
            self._forget(filter)
            return self.tree.remove(filter, member)

    def leave(self, member: Member) -> None:
        """Remove the member with all its subscriptions."""
        in_one_go(self.leaving(member))

    def leaving(self, member: Member) -> Steps:
        """Remove the member in steps. The member must already say that it is not live and has no
        queue.
        """
        self.changed(member)
        return self._remove(member, self._filters.pop(member, {}))

    def _remove(self, member: Member, filters: Iterable[bytes]) -> Steps:
        for filter in filters:
            with self.channels.lock:
                self.tree.remove(filter, member)
            yield 1 + min(filter.count(b"/"), LEVELS_MAX) // LEVELS_A_UNIT

    def changed(self, member: Member) -> None:
        """Note that the attributes of the member are about to change, or have just changed."""
        filters = self._filters.get(member)
        if filters is None:
            return
        with self.channels.lock:
            self.channels.coming(member)
            if len(filters) > FEW:
                self.channels.forget_routes()
                return
            for filter in filters:
                self._forget(filter)

    def _forget(self, filter: bytes) -> None:
        """Forget the cached routes of topics that the filter may match."""
        if not has_wildcard(filter):
            self.channels.forget_route(filter)
            return
        first = filter.partition(b"/")[0]
        if first in (b"+", b"#"):
            self.channels.forget_routes()
        else:
            self.channels.forget_level(first)

    # As Beside of channels

    def others(self, channel: bytes) -> Others | None:
        """As ``Beside.others``, for messages of any door."""
        if channel.startswith(_OWN):  # the server's own for MQTT; a channel may have the name
            return None
        return self._others(channel)

    def _others(self, topic: bytes) -> Others | None:
        if not self._is_one(topic):
            return None
        return self._gathered(self.tree.matching(topic, _EVERYTHING) or [])

    def _is_one(self, topic: bytes) -> bool:
        if not len(self.tree):
            return False
        if is_topic(topic):
            return True
        self.counts.no_topics += 1
        return False

    def is_quick(self, channel: bytes) -> bool:
        """As Beside.is_quick."""
        return self.tree.matching(channel) is not None

    def searching(self, channel: bytes) -> Generator[int, None, Others | None]:
        """As Beside.searching."""
        if channel.startswith(_OWN) or not self._is_one(channel):
            return None
        found = yield from self.tree.searching(channel)
        return self._gathered(found)

    def preparing(self, topics: Collection[bytes]) -> Steps | None:
        """Find the subscribers of these topics in steps; None: no steps are needed."""
        slow = [it for it in topics if not self.channels.is_quick(it)]
        return self._prepare(slow) if slow else None

    def _prepare(self, topics: Sequence[bytes]) -> Steps:
        for topic in topics:
            with self.channels.lock:
                steps = self.channels.searching(topic)
            while True:
                with self.channels.lock:
                    try:
                        units = next(steps)
                    except StopIteration:
                        break
                yield units

    def _gathered(self, found: Found[Member, Grant]) -> Others | None:
        """Return each member once with all its matching grants [MQTT-3.3.4-2, -3]; None: no
        members.
        """
        if not any(found):
            return None
        gathered: dict[Member, tuple[Grant, ...]]
        if len(found) == 1:
            gathered = {member: (grant,) for member, grant in found[0].items()}
        else:
            gathered = {}
            for entries in found:
                for member, grant in entries.items():
                    gathered[member] = (*gathered.get(member, ()), grant)
        return _others(list(gathered.items()))

    # Publishing

    def publish(self, messages: Sequence[Message], held: "Transaction | None" = None) -> Sent:
        """Send the messages to all their subscribers. Raises nothing. Call ``settle`` afterwards.

        ``held``: messages for queues become a part of this transaction; the rest is sent when it
        begins.
        """
        sending = _Sending(self, held)
        with self.channels.lock:
            for first, payloads in _alike(messages):
                sending.take(first, payloads)
            sending.end()
        return Sent(sending.waiting, sending.matched)

    def settle(self, size: int = 0) -> None:
        """Deliver messages to subscribers soon, after publishing and at the end of the
        bytes read.
        """
        with self.channels.lock:
            self.channels.settle(size)

    @property
    def crowded(self) -> bool:
        """Whether there is currently no room for more messages in queues."""
        return self.crossing is not None and self.crossing.crowded

    def beyond(self, topic: bytes, *, foreign: bool = False) -> Beyond:
        """Return the queues for messages of this topic, and the members that want none of their
        own.

        ``foreign``: the messages come by another door than MQTT's. Raises as ``to_channel``.
        """
        if self._is_closed(topic):
            others = self.others(topic) if foreign else self._others(topic)
            found = None if others is None else others.beyond
        else:
            found = self._route(topic, foreign=foreign).beyond
        return NOBODY_BEYOND if found is None else found

    def _route(self, topic: bytes, *, foreign: bool) -> Route:
        if topic.startswith(_OWN) and not foreign:
            return self.channels.route_with(topic, self._others(topic))
        try:
            return self.channels.route(topic)
        except InvalidName:  # a rule says that it is kept, and what has levels can't be
            return self.channels.route_with(topic, self._others(topic))

    def _is_closed(self, topic: bytes) -> bool:
        """Whether the history of the topic's channel, or an earlier one, must be opened first."""
        channels = self.channels
        return channels.keeps and bool(self._parked or channels.unopened([(topic, True)]))

    def to_channel(
        self,
        topic: bytes,
        contents: Sequence[bytes],
        waiting: Waiting | None,
        *,
        acked: bool,
        foreign: bool = False,
    ) -> int:
        """Publish to subscribers without a queue for the topic; return how many get each message.

        Raises InvalidRecord, and Failed from a channel with a history. If its log must be opened
        first, it gets the messages after that, and ``waiting`` waits for it.
        """
        it = _Parked(topic, contents, acked, foreign, waiting)
        if self._is_closed(topic):
            self._park(it)
            return 1
        return self._put(it)

    def _put(self, it: _Parked) -> int:
        topic, contents, acked, foreign, waiting = it
        route = self._route(topic, foreign=foreign)
        its = route.acked if acked and route.acked is not None else route
        if its.history is None:
            return self.channels.put(its, contents, _NOTHING)
        unsafe = Unsafe()
        receivers = self.channels.put(its, contents, unsafe)
        for log in unsafe:
            if waiting is not None:
                waiting.appended(log, unsafe.mark(log))
            log.sync_soon()
        return receivers + 1  # the history has it

    def _park(self, parked: _Parked) -> None:
        if parked.waiting is not None:
            parked.waiting.park()
        self._parked.append(parked)
        if len(self._parked) == 1:
            self._open_next()

    def _open_next(self) -> None:
        with self.channels.lock:
            needed = self.channels.unopened([(self._parked[0].topic, True)])
        self._work(partial(self.channels.open_histories, needed), self._opened)

    def _opened(self, _: object) -> None:
        """Publish the parked messages. If a log could not be opened, its publishers get
        the error.
        """
        with self.channels.lock:
            parked, self._parked = self._parked, []
            for number, it in enumerate(parked):
                if number and self._is_closed(it.topic):
                    self._parked = parked[number:]
                    self._open_next()
                    break
                self._unpark(it)
            self.channels.settle_elsewhere()

    def _unpark(self, it: _Parked) -> None:
        error: LogstoreError | None = None
        try:
            self.to_channel(it.topic, it.contents, it.waiting, acked=it.acked, foreign=it.foreign)
        except LogstoreError as raised:
            error = raised
            self.counts.unkept += len(it.contents)
        if it.waiting is not None:
            it.waiting.unparked(None, 0, error)

    def away(self, beyond: Beyond) -> tuple["Queue", ...]:
        """Return the queues that get messages of QoS 0: those of groups, or all if so
        configured.
        """
        return beyond.away if self._keep_for_away else beyond.shared


def _others(matched: Sequence[tuple[Member, Sequence[Grant]]]) -> Others:
    """Combine members and their matching grants into receivers and queues."""
    listening: list[tuple[Form, Receiver]] = []
    quiet: list[tuple[Form, Receiver]] = []
    queues: list[Queue] = []
    away: list[Queue] = []
    shared: list[Queue] = []
    deaf: dict[object, tuple[Queue | None, bool]] = {}
    asking: set[object] = set()
    for member, grants in matched:
        queue = member.queue if any(it.qos for it in grants) else None
        if queue is not None:
            queues.append(queue)
            if not member.live:
                away.append(queue)
            if member.shared:
                shared.append(queue)
        heard: Sequence[Grant] = grants
        if any(it.no_local for it in grants):
            asking.add(member)
            heard = [it for it in grants if not it.no_local]
            if not any(it.qos for it in heard):
                deaf[member] = queue, bool(heard)
        if member.live:
            place = _form(member, grants), member
            listening.append(place)
            if queue is None:
                quiet.append(place)
            elif heard and member in deaf:  # with QoS 0 alone it hears itself
                quiet.append((NotOwn(None, member, _plain_form(member, heard)), member))
    beyond = None
    if queues or asking:
        beyond = Beyond(tuple(queues), tuple(away), tuple(shared), deaf, frozenset(asking))
    return Others(listening, quiet if queues else None, beyond)


def _form(member: Member, grants: Sequence[Grant]) -> Form:
    if not any(it.no_local for it in grants):
        return _plain_form(member, grants)
    heard = [it for it in grants if not it.no_local]
    own = _plain_form(member, heard) if heard else None
    return NotOwn(_plain_form(member, grants), member, own)


def _plain_form(member: Member, grants: Sequence[Grant]) -> Form:
    if len(grants) == 1:
        (grant,) = grants
        ids = (grant.id,) if grant.id else ()
        return member.form_of(retain_as_published=grant.retain_as_published, ids=ids)
    return member.form_of(
        retain_as_published=any(it.retain_as_published for it in grants),
        ids=tuple(sorted({it.id for it in grants if it.id})),
    )


def _alike(messages: Sequence[Message]) -> Iterator[tuple[Message, Sequence[bytes]]]:
    """Yield runs of messages that differ only in their payloads: the first one, and the
    payloads.
    """
    begin, first = 0, messages[0]
    rest = first[2:]
    for number, message in enumerate(messages):
        if message[0] != first[0] or message[2:] != rest:
            yield first, [it[1] for it in messages[begin:number]]
            begin, first = number, message
            rest = first[2:]
    yield first, [it[1] for it in messages[begin:]]


class _Sending:
    """Messages that one publisher is sending."""

    def __init__(self, space: Space, held: "Transaction | None") -> None:
        self.waiting: Waiting | None = None
        self.matched: list[int] = []
        self._space = space
        self._held = held
        self._rows = None if space.crossing is None else space.crossing.rows()

    def take(self, first: Message, payloads: Sequence[bytes]) -> None:
        """Send messages that differ from the first one only in their payloads."""
        topic, _, qos, retain, about, publisher = first
        if qos and self.waiting is None and self._held is None:
            self.waiting = Waiting()
        try:
            beyond = self._space.beyond(topic)
            matched = self._to_channel(first, payloads, beyond)
        except LogstoreError as error:  # its channel is to keep it, and can't
            self._failed(error, len(payloads))
            return
        own, hears = beyond.deaf.get(publisher, (None, True))
        matched -= not hears
        if self._rows is not None:
            queues = beyond.queues if qos else self._space.away(beyond)
            if own is not None:
                queues = tuple([it for it in queues if it is not own])
            matched += self._rows.add(topic, payloads, qos, about, queues, retain=retain)
        self.matched += [max(matched, 0)] * len(payloads)

    def _to_channel(self, first: Message, payloads: Sequence[bytes], beyond: Beyond) -> int:
        topic, _, qos, retain, about, publisher = first
        contents = payloads
        if retain or about is not None or publisher in beyond.asking:
            contents = [Carried(it, about, publisher, retain=retain) for it in payloads]
        space = self._space
        if self._held is None:
            waiting = self.waiting if qos else None
            return space.to_channel(topic, contents, waiting, acked=qos > 0)
        self._held.before(
            partial(ahead, space, topic, contents, acked=qos > 0), sum(map(len, payloads))
        )
        return 1

    def _failed(self, error: LogstoreError, count: int) -> None:
        self._space.counts.unkept += count
        if self.waiting is not None:
            self.waiting.failed = self.waiting.failed or error
        self.matched += [1] * count  # they failed, which is not "no subscribers"

    def end(self) -> None:
        """Publish the rows, after all messages.

        A message that cannot become a part of the transaction has already failed.
        """
        if self._held is not None and self.waiting is None:
            self.waiting = Waiting()
        if self._rows is not None:
            self._rows.publish(self.waiting, self._held)


def ahead(
    space: Space,
    topic: bytes,
    contents: Sequence[bytes],
    waiting: Waiting,
    *,
    acked: bool,
    foreign: bool = False,
) -> None:
    """Publish messages for channels, as an ``Ahead`` of a transaction: before the
    journal has it.
    """
    try:
        with space.channels.lock:
            space.to_channel(topic, contents, waiting, acked=acked, foreign=foreign)
            space.channels.settle_elsewhere()
    except LogstoreError as error:
        waiting.failed = waiting.failed or error
