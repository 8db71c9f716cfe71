"""Follows a topic as events: some records twice a second, and the number of skipped ones.

If records arrive faster than a person can read, only some are shown. Logs are read at most every
half second, and only after records have become safe.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from logstore.access.resources import READ
from logstore.broker.looking import HeaderLookedFor, LookedFor
from logstore.broker.search import Search, cursor
from logstore.broker.topic import Topic
from logstore.errors import (
    Damaged,
    Failed,
    Forbidden,
    LogstoreError,
    Refused,
    UnknownTopic,
)
from logstore.http.bodies import encode
from logstore.http.faults import UNAVAILABLE, Fault
from logstore.log import Log, Wake
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.elsewhere import elsewhere
from logstore.protocols.http.native import record_rows
from logstore.protocols.http.native.objects import may_topic, offset_given, topic_of
from logstore.protocols.http.native.search import cursor_given
from logstore.protocols.http.replies.events import Events
from logstore.records.record import Record

BATCH_S: Final = 0.5
BATCH_MAX: Final = 500  # records of one event; a browser shows no more
BATCH_BYTES: Final = 96 << 10  # of them: events that are not read are dropped beyond some more
GROWN_S: Final = 5.0  # between looks whether there are more partitions
PART_S: Final = 0.05
PART_BYTES: Final = 8 << 20
PARTITIONS_MAX: Final = 100  # their offsets are said with each event
TAILS_MAX: Final = 100  # at one door: each decodes what comes
RECORDS, REFUSED = "records", "refused"  # of events
QUERY: Final = ("partitions", "key", "text", "header", "cursor")
LAST_EVENT_ID: Final = "last-event-id"


class _Batch(NamedTuple):
    """The records found by one read."""

    rows: Sequence[bytes]
    positions: Mapping[int, int]
    skipped: int  # that are not among them: offsets that nobody has looked at, too


def tailed(door: HttpDoor, call: Call) -> None:
    """Follow a topic. Raises Fault, UnknownTopic, UnknownPartition, Refused."""
    topic = topic_of(door, call.word("name"))
    wanted, numbers = _looked_for(call), _numbers(call, topic)
    said = call.headers.get(LAST_EVENT_ID, "") or call.text("cursor")
    begin = cursor_given(said)[0] if said else {}
    _check_room(door)
    tail = _Tail(door, call, topic, wanted, numbers)
    elsewhere(door, call, partial(tail.open, begin), tail.begin)


def _check_room(door: HttpDoor) -> None:
    """Raises Fault."""
    if len(door.tails) >= TAILS_MAX:
        raise Fault(UNAVAILABLE, f"{TAILS_MAX} follow topics already: try again later")


def _looked_for(call: Call) -> LookedFor:
    """The search terms of the query, as texts: header=name, or name=value."""
    key, text, header = (call.query.get(it) for it in ("key", "text", "header"))
    if header is None:
        return LookedFor(key, text)
    name, equals, value = header.partition(b"=")
    wanted = HeaderLookedFor(name.decode("utf-8", "surrogateescape"), value if equals else None)
    return LookedFor(key, text, wanted)


def _numbers(call: Call, topic: Topic) -> Sequence[int] | None:
    """The partitions; None: all, including later ones. Raises Fault, UnknownPartition, Refused."""
    given = call.text("partitions")
    numbers = [offset_given(it, "partition") for it in given.split(",")] if given else None
    if len(topic.partitions if numbers is None else numbers) > PARTITIONS_MAX:
        raise Refused(f"at most {PARTITIONS_MAX} partitions can be followed: name some of them")
    for number in numbers or ():
        topic.at_hand(number)
    return None if numbers is None else list(dict.fromkeys(numbers))


class _Tail:
    """One browser that follows a topic. In the sessions' thread, except ``open`` and ``_look``."""

    def __init__(
        self,
        door: HttpDoor,
        call: Call,
        topic: Topic,
        wanted: LookedFor,
        numbers: Sequence[int] | None,
    ) -> None:
        self._door, self._call, self._topic = door, call, topic
        self._wanted, self._asked = wanted, numbers
        self._positions: dict[int, int] = {}
        self._watched: dict[int, tuple[Log, Wake]] = {}
        self._events: Events | None = None
        self._not_before = 0.0  # when the next look may be taken
        self._news = self._looking = False

    def open(self, begin: Mapping[int, int]) -> dict[int, Log]:
        """The logs, opened in a worker. ``begin``: where to begin, if not at the end."""
        logs: dict[int, Log] = {}
        for number in self._numbers:
            try:
                log = logs[number] = self._topic.partition(number)
            except (Damaged, Failed):  # one that is broken hides no other
                continue
            at = begin.get(number, log.safe)
            self._positions[number] = min(max(at, log.start), log.safe)
        return logs

    @property
    def _numbers(self) -> Sequence[int]:
        every = range(min(len(self._topic.partitions), PARTITIONS_MAX))
        return every if self._asked is None else self._asked

    def begin(self, logs: Mapping[int, Log]) -> None:
        """Start with these logs. Raises Fault."""
        _check_room(self._door)  # others may have come since
        self._events = self._call.events()
        self._door.tails.add(self)
        self._call.at_end(self._close)
        self._watch(logs)
        self._send(())  # the stream is open, and where it is can be gone on from
        self._hear()
        self._grow_later()

    def _watch(self, logs: Mapping[int, Log]) -> None:
        for number, log in logs.items():
            if number not in self._watched:
                self._watched[number] = log, log.watch(self._wake)

    def _close(self) -> None:
        self._door.tails.discard(self)
        watched, self._watched = self._watched, {}
        for _, stop in watched.values():
            stop()

    def _drop_failed(self) -> None:
        """Watch no log that has failed: its partition has another one, or is opened again."""
        for number, (log, stop) in list(self._watched.items()):
            if self._topic.at_hand(number) is not log:
                del self._watched[number]
                stop()

    @property
    def _over(self) -> bool:
        return self._events is None or not self._events.open

    def _wake(self) -> None:
        """Records have become safe. From any thread."""
        self._door.soon(self._hear)

    def _hear(self) -> None:
        if self._news or self._over:
            return
        self._news = True
        if not self._looking:
            timer = self._door.timer
            timer.call_at(max(self._not_before, timer.now()), self._look_now)

    def _look_now(self) -> None:
        if self._over or self._looking:
            return
        self._news, self._looking = False, True
        self._not_before = self._door.timer.now() + BATCH_S
        self._door.searches(self._look, self._looked)

    def _look(self) -> _Batch | LogstoreError:
        """Read, in a worker."""
        positions = dict(self._positions)
        search = Search(  # back: of very many the newest are shown
            self._topic, list(positions), self._wanted, _row, BATCH_MAX, back=True,
            begin=lambda log, number: positions[number], end=lambda log, number: log.safe,
        )  # fmt: skip
        stopwatch = self._door.stopwatch
        began = stopwatch()
        try:
            rows = search.step(
                lambda: stopwatch() - began < PART_S and search.counts.bytes < PART_BYTES
            )
            while not search.opened:
                rows += search.step(lambda: False)
            rows += search.rest()
        except LogstoreError as error:
            return error
        left = sum(at - positions[number] for number, at in search.positions().items())
        fit = _fitting([it.row for it in rows])
        fit.reverse()
        return _Batch(fit, positions | search.newest, max(left, 0) + len(rows) - len(fit))

    def _looked(self, found: _Batch | LogstoreError) -> None:
        self._looking = False
        if self._over:
            return
        found = self._refusal() or found
        if isinstance(found, LogstoreError):
            self._refuse(found)
            return
        self._positions |= found.positions
        if found.rows or found.skipped:
            self._send(found.rows, found.skipped)
        if self._news:
            self._news = False
            self._hear()

    def _refusal(self) -> LogstoreError | None:
        """The reason why it ends, if it does."""
        name = self._topic.name
        if self._door.topics.get(name) is not self._topic:
            return UnknownTopic(f"topic {name!r} was deleted", name)
        if not may_topic(self._door, self._call, READ, name):
            return Forbidden(f"topic {name!r} may no longer be read")
        return None

    def _send(self, rows: Sequence[bytes], skipped: int = 0) -> None:
        if self._over:
            return
        assert self._events is not None
        about = {"records": list(map(msgspec.Raw, rows)), "dropped": skipped}
        where = cursor(self._positions, back=False)
        self._events.send(encode(about), RECORDS, where)

    def _refuse(self, error: LogstoreError) -> None:
        """End with this reason."""
        assert self._events is not None
        about = {"error": str(error), "kind": type(error).__name__}
        self._events.send(encode(about), REFUSED)
        self._close()
        self._events = None

    # More partitions

    def _grow_later(self) -> None:
        timer = self._door.timer
        timer.call_at(timer.now() + GROWN_S, self._look_for_more)

    def _look_for_more(self) -> None:
        if self._over:
            return
        refusal = self._refusal()
        if refusal is not None:
            self._refuse(refusal)
            return
        self._drop_failed()
        if len(self._numbers) > len(self._watched):
            self._door.searches(self._open_more, self._opened_more)
        else:
            self._grow_later()

    def _open_more(self) -> dict[int, Log]:
        """Open new partitions, in a worker, at their start, because they are recent."""
        found = {}
        for number in self._numbers:
            if number not in self._watched:
                try:
                    found[number] = self._topic.partition(number)
                except LogstoreError:
                    continue
        return found

    def _opened_more(self, logs: Mapping[int, Log]) -> None:
        if self._over:
            return
        for number, log in logs.items():
            self._positions.setdefault(number, log.start)
        self._watch(logs)
        self._hear()
        self._grow_later()


def _fitting(rows: Sequence[bytes]) -> list[bytes]:
    """The first records that fit into an event, at least one."""
    fit: list[bytes] = []
    size = 0
    for row in rows:
        size += len(row)
        if fit and size > BATCH_BYTES:
            break
        fit.append(row)
    return fit


def _row(record: Record) -> bytes:
    return encode(record_rows.row(record))
