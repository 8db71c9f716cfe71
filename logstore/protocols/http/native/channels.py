"""Channels: list subscribers, publish, follow messages as events."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from msgspec import Struct

from logstore.access.resources import CHANNEL, DESCRIBE, READ, name_text
from logstore.amqp import fields
from logstore.broker.channel import Channels, Needed
from logstore.broker.unsafe import Unsafe
from logstore.errors import Forbidden, LogstoreError
from logstore.http.faults import BAD_REQUEST, UNAVAILABLE, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.listing import Columns, show
from logstore.protocols.http.native.asked import asked
from logstore.protocols.http.replies import contents
from logstore.protocols.http.replies.tail import BATCH_S, TAILS_MAX, Tail
from logstore.slices import Steps

ONE, PATTERN, SHARDED = "channel", "pattern", "sharded"  # kinds of rows
KINDS: Final = (ONE, PATTERN, SHARDED)


class ChannelPublish(Struct, forbid_unknown_fields=True):
    """One message. ``sharded``: to Redis's sharded channel of that name."""

    body: str = ""
    encoding: str = contents.TEXT
    sharded: bool = False


class Row(NamedTuple):
    """A channel or pattern with subscribers, or a channel that keeps a history."""

    name: bytes
    kind: str
    subscribers: int


def columns(door: HttpDoor) -> Columns[Row]:
    """The columns for sorting."""
    return Columns(
        name=lambda it: name_text(it.name),
        by={
            "name": lambda it: it.name,
            "kind": lambda it: it.kind,
            "subscribers": lambda it: it.subscribers,
            "in_per_s": lambda it: door.figures.rates("channel", it.name)["in"] or 0.0,
        },
        default=lambda it: (KINDS.index(it.kind), it.name),
    )


def list_(door: HttpDoor, call: Call) -> None:
    """List channels, then patterns, then sharded channels, by name; ``kind``: one kind only."""
    kind = call.text("kind")
    if kind and kind not in KINDS:
        raise Fault(BAD_REQUEST, f"kind={kind[:20]}: must be one of {', '.join(KINDS)}")
    sees = None if call.rights.all else partial(_sees, call)
    show(door, call, _rows(door, kind), columns(door), partial(_row, door), sees)


def _rows(door: HttpDoor, wanted: str) -> Iterator[Row]:
    """The rows of one kind or all, read in parts while channels come and go."""
    channels = door.channels
    rosters = (channels.names, channels.patterns, channels.apart)
    with channels.lock:  # a million names are copied in 5 ms
        there = [
            (kind, roster, list(roster))
            for kind, roster in zip(KINDS, rosters, strict=True)
            if wanted in ("", kind)
        ]
    for kind, roster, names in there:
        for name in names:
            if count := roster.count(name):
                yield Row(name, kind, count)
    if channels.keeps and wanted in ("", ONE):
        for topic in door.topics.names():
            if channels.keeps_history(topic) and topic.encode() not in channels.names:
                yield Row(topic.encode(), ONE, 0)


def _sees(call: Call, row: Row) -> bool:
    name = name_text(row.name)
    if call.rights.may(DESCRIBE, CHANNEL, name):
        return True
    return row.kind == PATTERN and call.rights.may_matching(READ, CHANNEL, name)


def _row(door: HttpDoor, row: Row) -> dict[str, Any]:
    by_pattern = None
    if row.kind == ONE:
        with door.channels.lock:
            by_pattern = door.channels.count_by_pattern(row.name)
    return {
        "name": fields.text(row.name),
        "kind": row.kind,
        "subscribers": row.subscribers,
        "patterns": by_pattern if row.kind == ONE else 0,
        "in_per_s": door.figures.rates("channel", row.name)["in"] if row.kind == ONE else None,
        "history": _history(door, row.name) if row.kind == ONE else None,
    }


def _history(door: HttpDoor, name: bytes) -> dict[str, Any] | None:
    """The topic of a channel's history; None: no history, or nothing was published yet."""
    topic_name = name_text(name)
    if not door.channels.keeps_history(topic_name):
        return None
    topic = door.topics.get(topic_name)
    log = None if topic is None else topic.at_hand(0)
    if log is None:
        return None if topic is None else {"topic": topic_name, "start": None, "end": None}
    return {"topic": topic_name, "start": str(log.start), "end": str(log.safe)}


# Publishing


def published(door: HttpDoor, call: Call) -> None:
    """Publish a message; replies with the number of receivers, once a history is on disk. Raises
    Fault.
    """
    name, given = call.names["name"], asked(call, ChannelPublish)
    if not name:
        raise Fault(BAD_REQUEST, "a channel has a name")
    body = contents.given(given.body, given.encoding)
    if given.sharded:
        with door.channels.lock:
            count = door.channels.publish_apart(name, body)
            door.channels.settle(len(body))
        call.answer({"subscribers": count})
        return
    unsafe = Unsafe()

    def gone_out(found: int | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        elif not unsafe:
            call.answer({"subscribers": found})
        else:
            door.work(lambda: _safe(unsafe), lambda error: answer(found, error))

    def answer(count: int, error: LogstoreError | None) -> None:
        if error is None:
            call.answer({"subscribers": count})
        else:
            call.fail(error)

    def publish() -> None:
        door.slices.begin(_published(door.channels, name, body, unsafe), gone_out)

    _opened_first(door, [(name, True)], publish)


def _opened_first(door: HttpDoor, needed: list[Needed], then: Callable[[], None]) -> None:
    """Open or create histories in a worker first."""
    with door.channels.lock:
        unopened = door.channels.unopened(needed)
    if unopened:
        door.work(lambda: door.channels.open_histories(unopened), lambda _: then())
    else:
        then()


def _published(channels: Channels, name: bytes, body: bytes, unsafe: Unsafe) -> Steps:
    """Raises InvalidRecord, InvalidName, Failed for a channel with a history."""
    with channels.lock:
        search = channels.searching(name)
    while True:
        with channels.lock:
            step = next(search, None)
            if step is None:
                count = channels.publish(name, body, unsafe)
                channels.settle(len(body))
                return count
        yield step


def _safe(unsafe: Unsafe) -> LogstoreError | None:
    try:
        unsafe.wait()
    except LogstoreError as error:
        return error
    return None


# Listening


def tailed(door: HttpDoor, call: Call) -> None:
    """Send events ``messages``, as Tail makes them. Raises Fault, Forbidden, InvalidName."""
    channel, pattern = (call.query.get(it, b"") for it in ("channel", "pattern"))
    if bool(channel) == bool(pattern):
        raise Fault(BAD_REQUEST, "say a channel, or a pattern such as news.*")

    name = name_text(channel or pattern)

    def allowed() -> bool:
        may = call.rights.may if channel else call.rights.may_matching
        return may(READ, CHANNEL, name)

    if not allowed():
        rules = door.access.decision if channel else door.access.decision_matching
        why = rules(call.who, READ, CHANNEL, name).why
        door.refusals.tell(call.who, READ, CHANNEL, name, why)
        what = f"{'channel' if channel else 'channels'} {name!r}"
        raise Forbidden(
            f"{call.who.user or 'an anonymous client'} may not read {what}; ask for a rule that"
            " allows it"
        )

    def begin() -> None:
        call.attempt(lambda: _begin(door, call, channel, pattern, allowed))

    if channel:
        _opened_first(door, [(channel, True)], begin)
    else:
        with door.channels.lock:
            needed = door.channels.all_unopened()
        _opened_first(door, needed, begin)


def _begin(
    door: HttpDoor, call: Call, channel: bytes, pattern: bytes, allowed: Callable[[], bool]
) -> None:
    if call.over:
        return  # nobody waits for it any more

    def later(send: Callable[[], None]) -> None:
        door.timer.call_at(
            door.timer.now() + BATCH_S,
            # A crowd of listeners is due at one time: one of them in a turn.
            lambda: door.slices.begin(_put_off(send), lambda _: None, 0),
        )

    if len(door.channel_tails) >= TAILS_MAX:
        raise Fault(UNAVAILABLE, f"{TAILS_MAX} listen to channels here already: try again later")
    tail = Tail(door.clock, later, allowed, lambda: _leave(door, tail))
    with door.channels.lock:
        if channel:
            door.channels.subscribe(tail, channel)
        else:
            door.channels.subscribe_pattern(tail, pattern)
    door.channel_tails.add(tail)
    call.at_end(tail.leave)
    tail.begin(call.events())


def _put_off(send: Callable[[], None]) -> Steps:
    yield 0
    send()
    return None


def _leave(door: HttpDoor, tail: Tail) -> None:
    door.channel_tails.discard(tail)
    with door.channels.lock:
        door.channels.leave(tail)
