"""A queue's past messages, also settled ones: list, and replay to another object, a page at a time.

A page states where the next one begins, and the client sends that back; the server keeps no state.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct, field

from logstore.access.resources import WRITE
from logstore.amqp import fields
from logstore.broker.routing.refusals import NoQueue
from logstore.errors import Damaged, LogstoreError, NoneOfThatName, Refused
from logstore.http.faults import BAD_REQUEST, UNAVAILABLE, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.elsewhere import elsewhere
from logstore.protocols.http.native.asked import asked
from logstore.protocols.http.native.messages import downloadable, message_contents
from logstore.protocols.http.native.objects import require_topic, topic_of
from logstore.protocols.http.replies.contents import PREVIEW_BYTES, WHOLE_BYTES_MAX
from logstore.protocols.http.within import Within, within

if TYPE_CHECKING:  # the model, which a server that has no queues does without
    from logstore.broker.queues.past import Cut, Found, Order, Page, Track, Wanted
    from logstore.broker.queues.peeking import Spot
    from logstore.broker.queues.queue import Queue
    from logstore.broker.queues.replaying import Into, Sent

_T = TypeVar("_T")

PAGE: Final = 20  # messages, where nothing is said
PAGE_MAX: Final = 500
REPLAYED_MAX: Final = 10_000  # by one request
REPLAYED_BYTES_MAX: Final = 4 << 20  # of bodies, beside the last
REPLAYS_MAX: Final = 16  # at one door: each holds a page until it is safe elsewhere
HEADERS_MAX: Final = 16  # that are looked for
TIME_MAX: Final = 2**63 - 1  # ms
TIME_CHARS: Final = 19


class QueueReplay(Struct, forbid_unknown_fields=True):
    """``into``: exchange:NAME, queue:NAME or topic:NAME. ``on``: as given by the previous reply."""

    into: str
    key: str | None = None  # else each message keeps its own
    first: str | None = field(name="from", default=None)  # a position
    upto: str | None = field(name="to", default=None)
    from_ms: int | None = None
    to_ms: int | None = None
    only: str = "settled"
    headers: dict[str, str] = {}
    on: str | None = None
    before_ms: int | None = None  # stop before the first that was published then or later
    limit: int = REPLAYED_MAX
    dry_run: bool = False


# Looking at it


def listed(door: HttpDoor, call: Call) -> None:
    """List messages by position, in the order of delivery, or by time.

    Raises Fault, Forbidden, NoVhost, NoQueue, Locked.
    """
    queue = within(door, call).open_queue(call.names["name"])
    order = _order(call)
    most = call.number("limit", PAGE, PAGE_MAX)
    begin, upto = _spot(call.text("from")), _spot(call.text("to"))
    from_ms, to_ms, before_ms = (_ms(call, it) for it in ("from_ms", "to_ms", "before_ms"))
    wanted = _wanted(call.text("only") or "all", _headers(call), from_ms, to_ms)
    given = call.query.get("on")
    on = None if given is None else _track(fields.text(given))

    def shown(page: "Page", damaged: Sequence[str]) -> dict[str, Any]:
        following = page.following if order == "position" else None
        return {
            "items": [_shown(it, PREVIEW_BYTES) for it in page.found],
            "damaged": damaged,
            "next": None if following is None else str(following),
            "on": str(page.track) or None,
            "next_ms": page.next_ms,
        }

    def read(track: "Track", spans: Any) -> dict[str, Any]:  # noqa: ANN401  Sequence[Span]
        from logstore.broker.queues import past

        damaged: list[str] = []
        page = past.read(
            spans, track, wanted, most, WHOLE_BYTES_MAX, order=order, before_ms=before_ms,
            skip=lambda error: damaged.append(str(error)),
        )  # fmt: skip
        return shown(page, damaged)

    first = from_ms if begin is None else begin
    _read(door, call, queue, _Begin(on, first, upto, order), read, call.answer)


def described(door: HttpDoor, call: Call) -> None:
    """Describe one message, with its body unless that is too large. Raises as ``listed``,
    NoneOfThatName.
    """
    _one(door, call, lambda it: _shown(it, WHOLE_BYTES_MAX), call.answer)


def downloaded(door: HttpDoor, call: Call) -> None:
    """Send the body of one message. Raises as ``described``."""
    _one(door, call, lambda it: it.record.value or b"", lambda body: downloadable(door, call, body))


def _one(
    door: HttpDoor, call: Call, show: "Callable[[Found], _T]", answer: Callable[[_T], None]
) -> None:
    queue = within(door, call).open_queue(call.names["name"])
    spot = _spot(fields.text(call.names["offset"]))
    assert spot is not None

    def read(track: "Track", spans: Any) -> _T:  # noqa: ANN401  Sequence[Span]
        from logstore.broker.queues import past

        damaged: list[LogstoreError] = []
        page = past.read(spans, track, past.Wanted(), 1, 1, skip=damaged.append)
        name = fields.text(queue.facts.name)
        if damaged:
            raise Damaged(f"message {spot} of queue {name!r} can't be read; see the log")
        if not page.found or page.found[0].spot != spot:
            raise NoneOfThatName(
                f"queue {name!r} has no message {spot}: it never had, or it is gone by now", ""
            )
        return show(page.found[0])

    end = spot._replace(offset=spot.offset + 1)
    _read(door, call, queue, _Begin(None, spot, end, "time"), read, answer)


class _Begin:
    """Where a page begins."""

    def __init__(
        self, on: "Track | None", first: "Spot | int | None", upto: "Spot | None", order: "Order"
    ) -> None:
        self.on, self.order = on, order
        self._first, self._upto = first, upto

    def track(self, cuts: "Sequence[Cut]") -> "Track":
        """In a thread that may wait. Raises Refused, LogFailed, Damaged, Failed."""
        from logstore.broker.queues import past

        return past.begin(cuts, self._first, self._upto, self.order)


def _read(
    door: HttpDoor,
    call: Call,
    queue: "Queue",
    begin: _Begin,
    read: "Callable[[Track, Any], _T]",
    answer: "Callable[[_T], object]",
) -> None:
    """A worker finds the position, the sessions' thread adds the states, and a worker reads."""
    from logstore.broker.queues import past

    def known() -> None:
        _check(queue)
        if begin.on is not None:
            found(begin.on)
        else:
            cuts = past.cuts(queue)
            elsewhere(door, call, partial(_of, queue, lambda: begin.track(cuts)), found)

    def found(track: "Track") -> None:
        _check(queue)
        spans = past.spans(queue, track, begin.order)
        elsewhere(door, call, partial(_of, queue, lambda: read(track, spans)), answer)

    queue.when_open(lambda: call.attempt(known))


def _check(queue: "Queue") -> None:
    if queue.gone:
        raise NoQueue(queue.facts.name)


def _of(queue: "Queue", job: Callable[[], _T]) -> _T:
    """The error for a queue that was deleted meanwhile."""
    try:
        return job()
    except LogstoreError as error:
        if queue.gone:
            raise NoQueue(queue.facts.name) from error
        raise


def _shown(it: "Found", bytes_max: int) -> dict[str, Any]:
    return {
        "position": str(it.spot),
        "priority": it.lane,
        "offset": str(it.record.offset),
        "state": it.state,
        "delivery_count": it.failures,
        "time_ms": it.record.timestamp_ms,
        "exchange": fields.text(it.shown.exchange),
        "key": fields.text(it.record.key or b""),
        **message_contents(it.shown.deliver, it.record.value or b"", bytes_max),
    }


# What is asked for


def _spot(text: str | None) -> "Spot | None":
    from logstore.broker.queues.peeking import spot_of

    return None if not text else _asked(lambda: spot_of(text))


def _track(text: str) -> "Track":
    from logstore.broker.queues.past import track_of

    return _asked(lambda: track_of(text))


def _asked(call: Callable[[], _T]) -> _T:
    try:
        return call()
    except Refused as error:
        raise Fault(BAD_REQUEST, str(error)) from None


def _order(call: Call) -> "Order":
    text = call.text("order") or "position"
    if text == "time":
        return "time"
    if text == "position":
        return "position"
    raise Fault(BAD_REQUEST, f"order={text[:20]!r}: must be position or time")


def _ms(call: Call, name: str) -> int | None:
    text = call.text(name)
    if not text:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= TIME_CHARS):
        raise Fault(BAD_REQUEST, f"{name}={text[:20]}: must be milliseconds since 1970")
    return int(text)


def _headers(call: Call) -> Mapping[str, str]:
    found = {}
    for given in call.many.get("header", ()):
        name, equals, value = fields.text(given).partition("=")
        if not equals:
            raise Fault(BAD_REQUEST, f"header={name[:20]!r}: must be NAME=VALUE")
        found[name] = value
    return found


def _wanted(
    only: str, headers: Mapping[str, str], from_ms: int | None, to_ms: int | None
) -> "Wanted":
    from logstore.broker.queues.past import STATES, Wanted

    if only not in STATES:
        raise Fault(BAD_REQUEST, f"only={only[:20]!r}: must be one of {', '.join(STATES)}")
    for it in (from_ms, to_ms):
        if it is not None and not -TIME_MAX <= it <= TIME_MAX:
            raise Fault(BAD_REQUEST, f"a time of {str(it)[:30]} ms is none that a message can have")
    if len(headers) > HEADERS_MAX:
        raise Fault(BAD_REQUEST, f"{len(headers)} headers: at most {HEADERS_MAX} are allowed")
    return Wanted(STATES[only], from_ms, to_ms, tuple(headers.items()))


# Replaying it


def replayed(door: HttpDoor, call: Call) -> None:
    """Replay one page, which is safe when answered; the originals stay.

    Raises Fault, Forbidden, NoVhost, NoQueue, Locked, and the errors of publishing.
    """
    from logstore.broker.queues import past, replaying

    host, given = within(door, call), asked(call, QueueReplay)
    into = _asked(lambda: replaying.into_of(given.into, given.key))
    queue = host.open_queue(call.names["name"])
    if not 1 <= given.limit <= REPLAYED_MAX:
        raise Fault(BAD_REQUEST, f"limit={given.limit}: must be a number from 1 to {REPLAYED_MAX}")
    wanted = _wanted(given.only, given.headers, given.from_ms, given.to_ms)
    send = _target(door, call, host, into)
    spot = _spot(given.first)
    on = None if given.on is None else _track(given.on)
    begin = _Begin(on, given.from_ms if spot is None else spot, _spot(given.upto), "time")
    if len(door.replaying) >= REPLAYS_MAX:
        raise Fault(UNAVAILABLE, f"{REPLAYS_MAX} replays are under way: try again later")
    door.replaying.add(call)
    call.at_end(lambda: door.replaying.discard(call))

    def read(track: "Track", spans: Any) -> "Page":  # noqa: ANN401  Sequence[Span]
        return past.read(
            spans, track, wanted, given.limit, REPLAYED_BYTES_MAX, before_ms=given.before_ms
        )

    def here(page: "Page") -> None:
        if given.dry_run:
            answer(page, replaying.Sent(len(page.found)))
        else:
            send(page.found, lambda sent: answer(page, sent))

    def answer(page: "Page", sent: "Sent") -> None:
        found, error = page.found, sent.error
        if error is not None and not sent.sent:
            call.fail(error)
            return
        if sent.sent and not given.dry_run:
            host.replayed(queue.facts.name, sent.sent, into)
        page.track.back(found[sent.sent :])
        call.answer({
            "replayed": sent.sent, "unrouted": sent.unrouted,
            "last": str(found[sent.sent - 1].spot) if sent.sent else None,
            "on": str(page.track) or None, "next_ms": page.next_ms,
            "error": None if error is None else str(error), "dry_run": given.dry_run,
        })  # fmt: skip

    _read(door, call, queue, begin, read, here)


Send = Callable[["Sequence[Found]", "Callable[[Sent], None]"], None]


def _target(door: HttpDoor, call: Call, host: Within, into: "Into") -> Send:
    """The destination. Raises Forbidden, NoExchange, NoQueue, InternalExchange, UnknownTopic."""
    if into.kind == "topic":
        require_topic(door, call, WRITE, into.name)
        topic_of(door, into.name)
        return partial(_to_topic, door, call, into)
    from logstore.broker.queues import replaying
    from logstore.protocols.http.native.asked import name_in

    exchange = b"" if into.kind == "queue" else name_in(into.name)
    named = into.name if into.kind == "queue" else into.key
    key = None if named is None else name_in(named)
    host.check_publish(exchange, key)
    if into.kind == "queue" and key is not None and host.vhost.topology.queue(key) is None:
        raise NoQueue(key)

    def send(found: "Sequence[Found]", then: "Callable[[Sent], None]") -> None:
        replaying.send(
            host.vhost, replaying.messages(found, exchange, key), then,
            lambda message: host.check_message(exchange, message), lambda: not call.over,
        )  # fmt: skip

    return send


def _to_topic(
    door: HttpDoor,
    call: Call,
    into: "Into",
    found: "Sequence[Found]",
    then: "Callable[[Sent], None]",
) -> None:
    """Append in a worker, and wait until it is synced."""
    from logstore.broker.mapping.records import Recording
    from logstore.broker.queues import replaying

    key = None if into.key is None else fields.data(into.key)

    def append() -> "Sent":
        made = replaying.records(found, Recording(), key)
        topic_of(door, into.name).append_many(made)
        return replaying.Sent(len(made))

    elsewhere(door, call, append, then, always=True)
