"""Messages of a queue: show without taking them, fetch, move."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Raw, Struct

from logstore.amqp import fields
from logstore.amqp.properties import NONE, read_around, write
from logstore.amqp.replies import Refusal
from logstore.broker.routing.refusals import NoQueue
from logstore.errors import Damaged, LogstoreError, NoneOfThatName, Refused
from logstore.http.bodies import encode
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.elsewhere import elsewhere
from logstore.protocols.http.native.asked import asked, name_in
from logstore.protocols.http.replies.contents import PREVIEW_BYTES, WHOLE_BYTES_MAX, pieces, preview
from logstore.protocols.http.replies.shown import properties
from logstore.protocols.http.within import Within, within

if TYPE_CHECKING:  # the model, which a server that has no queues does without
    from logstore.broker.queues.acts import Fetched, Group
    from logstore.broker.queues.moving import Moved, Target
    from logstore.broker.queues.peeking import Peek, Peeked, Places, Spot
    from logstore.broker.queues.queue import Queue
    from logstore.broker.queues.subscription import Got

_T = TypeVar("_T")

PEEKED: Final = 20  # messages, where nothing is said
GET_MAX: Final = 1000
BINARY: Final = "application/octet-stream"

# What becomes of messages that were fetched: a function of ``acts``.
ENDINGS: Final = {
    "ack": "settled",
    "requeue": "given_back",
    "reject": "rejected",
    "reject-requeue": "returned",
}
LIMIT_MAX: Final = 500  # messages that are looked at at once


class MessagesGet(Struct, forbid_unknown_fields=True):
    """``then``: ack, requeue, reject (to the dead letters), or reject-requeue."""

    count: int = 1
    then: str = "requeue"
    whole: bool = False  # bodies, as far as one answer holds them


class MessagesMove(Struct, forbid_unknown_fields=True):
    """``key``: a new routing key for all. ``limit``: defaults to all that are ready now."""

    to_exchange: str
    key: str | None = None
    limit: int | None = None
    dry_run: bool = False


# Looking at them


def peeked(door: HttpDoor, call: Call) -> None:
    """List messages in the order of delivery.

    Raises Fault, Forbidden, NoVhost, NoQueue, Locked.
    """
    from logstore.broker.queues import peeking

    queue = within(door, call).open_queue(call.names["name"])
    text = call.text("from")
    begin = _spot(text) if text else None
    most = call.number("limit", PEEKED, LIMIT_MAX)

    def page(peek: "Peek") -> dict[str, Any]:
        return {
            "items": [_peeked(it, PREVIEW_BYTES) for it in peek.messages],
            "damaged": [str(it) for it in peek.damaged],
            "next": None if peek.following is None else str(peek.following),
        }

    _peek(door, call, queue, lambda: peeking.places(queue, begin, most), page, call.answer)


def described(door: HttpDoor, call: Call) -> None:
    """Describe one message, with its body unless that is too large. Raises as ``peeked``,
    NoneOfThatName.
    """
    _one(door, call, lambda it: _peeked(it, WHOLE_BYTES_MAX), call.answer)


def downloaded(door: HttpDoor, call: Call) -> None:
    """Send the body of one message. Raises as ``described``."""
    _one(door, call, lambda it: it.record.value or b"", lambda body: downloadable(door, call, body))


def downloadable(door: HttpDoor, call: Call, body: bytes) -> None:
    """Reply with the body of a message."""
    # It is somebody else's: no browser is to make a page of it.
    headers = [("content-disposition", "attachment")]
    if len(body) <= WHOLE_BYTES_MAX:
        call.content(200, body, BINARY, headers)
    else:
        door.downloads.begin(len(body), call.at_end)
        call.stream(BINARY, pieces(body), headers)


def _one(
    door: HttpDoor, call: Call, show: "Callable[[Peeked], _T]", answer: Callable[[_T], None]
) -> None:
    from logstore.broker.queues import peeking

    queue = within(door, call).open_queue(call.names["name"])
    spot = _spot(fields.text(call.names["offset"]))

    def where() -> "Places":
        place = peeking.place(queue, spot)
        return peeking.Places([] if place is None else [place], None)

    def found(peek: "Peek") -> _T:
        if peek.damaged:
            raise Damaged(f"message {spot} of queue {_of(queue)!r} can't be read; see the log")
        if not peek.messages:
            raise NoneOfThatName(
                f"no message {spot} is in queue {_of(queue)!r}: it is settled, or never was", ""
            )
        return show(peek.messages[0])

    _peek(door, call, queue, where, found, answer)


def _spot(text: str) -> "Spot":
    from logstore.broker.queues.peeking import spot_of

    try:
        return spot_of(text)
    except Refused as error:
        raise Fault(BAD_REQUEST, str(error)) from None


def _peek(
    door: HttpDoor,
    call: Call,
    queue: "Queue",
    where: "Callable[[], Places]",
    show: "Callable[[Peek], _T]",
    answer: Callable[[_T], None],
) -> None:
    """A worker reads, because it may wait for the disk, and makes the rows."""
    from logstore.broker.queues import peeking

    def read(wanted: "Places") -> _T | LogstoreError:
        try:
            return show(peeking.read(wanted, queue.limits.ttl_ms))
        except LogstoreError as error:
            return NoQueue(queue.facts.name) if queue.gone else error

    def known() -> None:
        if queue.gone:
            raise NoQueue(queue.facts.name)
        if queue.failed is not None:
            raise queue.failed
        wanted = where()
        door.work(lambda: read(wanted), lambda found: call.attempt(lambda: told(found)))

    def told(found: _T | LogstoreError) -> None:
        if isinstance(found, LogstoreError):
            raise found
        answer(found)

    queue.when_open(lambda: call.attempt(known))


def _of(queue: "Queue") -> str:
    return fields.text(queue.facts.name)


def _peeked(it: "Peeked", bytes_max: int) -> dict[str, Any]:
    place, record = it.place, it.record
    return {
        "position": str(place.spot),
        "priority": place.spot.priority,
        "offset": str(place.spot.offset),
        "state": place.state,
        "redelivered": place.redelivered,
        "delivery_count": place.failures,
        "time_ms": record.timestamp_ms,
        "expires_ms": it.expires_ms,
        "exchange": fields.text(it.shown.exchange),
        "key": fields.text(record.key or b""),
        **message_contents(it.shown.deliver, record.value or b"", bytes_max),
    }


def message_contents(given: bytes, body: bytes, bytes_max: int) -> dict[str, Any]:
    """Properties and body, unless they are too large."""
    found = properties(given if len(given) <= bytes_max else _without_headers(given))
    return {
        "properties": found,
        "body": preview(body, bytes_max),
        "body_bytes": len(body),
        "truncated": max(len(given), len(body)) > bytes_max,
    }


def _without_headers(given: bytes) -> bytes:
    try:
        return write(read_around(given)[0])
    except Refusal:  # a record that no door has written
        return NONE


# Taking them


def fetched(door: HttpDoor, call: Call) -> None:
    """Fetch the first ready messages. Raises Fault, Forbidden, NoVhost, NoQueue, Locked."""
    from logstore.broker.queues import acts

    host, given = within(door, call), asked(call, MessagesGet)
    if given.then not in ENDINGS:
        raise Fault(BAD_REQUEST, f"then={given.then[:20]!r}: must be one of {', '.join(ENDINGS)}")
    if not 1 <= given.count <= GET_MAX:
        raise Fault(BAD_REQUEST, f"count={given.count}: must be a number from 1 to {GET_MAX}")

    def here(found: "Fetched") -> None:
        # Of what nobody waits for any more nothing is lost.
        found.end(acts.given_back if call.over else ending)
        if found.error is not None and not found.messages:
            raise found.error
        elsewhere(
            door, call,
            lambda: encode({"items": [_got(it, bytes_max) for it in found.messages]}),
            lambda body: call.answer(Raw(body)),
        )  # fmt: skip

    ending: Callable[[Group], None] = getattr(acts, ENDINGS[given.then])
    bytes_max = WHOLE_BYTES_MAX if given.whole else PREVIEW_BYTES
    host.fetch(
        call.names["name"], given.count, lambda found: call.attempt(lambda: here(found)),
        bytes_max=WHOLE_BYTES_MAX,
    )  # fmt: skip


def _got(got: "Got", bytes_max: int) -> dict[str, Any]:
    it = got.delivery
    return {
        "redelivered": it.redelivered,
        "exchange": fields.text(it.exchange),
        "key": fields.text(it.key),
        **message_contents(it.properties, it.body, bytes_max),
        "ready": got.ready,
    }


# Moving them


def moved(door: HttpDoor, call: Call) -> None:
    """Move messages, as if published again, each in one step. Raises Fault, Forbidden, NoVhost,
    NoQueue, Locked.
    """
    from logstore.broker.queues.moving import Target

    host, given = within(door, call), asked(call, MessagesMove)
    name = call.names["name"]
    target = Target(
        name_in(given.to_exchange),
        None if given.key is None else name_in(given.key),
    )
    if given.limit is not None and given.limit < 1:
        raise Fault(BAD_REQUEST, f"limit={given.limit}: must be 1 or more")
    if given.dry_run:
        _would_move(call, host, name, target, given)
        return

    def done(found: "Moved") -> None:
        call.answer({
            "moved": found.moved, "unrouted": found.unrouted, "refused": found.refused,
            "error": None if found.error is None else str(found.error), "dry_run": False,
        })  # fmt: skip

    host.move(name, target, given.limit, done, lambda: not call.over)


def _would_move(
    call: Call, host: Within, name: bytes, target: "Target", given: MessagesMove
) -> None:
    queue = host.check_move(name, target)

    def known() -> None:
        if queue.failed is not None:
            raise queue.failed
        ready = queue.ready if given.limit is None else min(queue.ready, given.limit)
        call.answer({"moved": ready, "unrouted": 0, "refused": 0, "error": None, "dry_run": True})

    queue.when_open(lambda: call.attempt(known))
