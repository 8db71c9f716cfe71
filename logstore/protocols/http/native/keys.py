"""Redis's databases and their keys: count, list, show, delete."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from logstore.access import audit
from logstore.access.resources import DESCRIBE, KEY, READ, name_text
from logstore.amqp import fields
from logstore.errors import InvalidName, LogstoreError
from logstore.http.faults import BAD_REQUEST, NOT_FOUND, UNAVAILABLE, Fault
from logstore.names import KEYS_DATABASES
from logstore.patterns import Pattern
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.replies import contents
from logstore.slices import Steps

if TYPE_CHECKING:  # the model, which a server without keys does without
    from logstore.broker.keys.journal import Journal
    from logstore.broker.keys.keys import Keys
    from logstore.broker.keys.keyspace import Keyspace

KINDS: Final = ("string", "list", "hash", "set", "zset")
COUNT: Final = 100  # keys that are shown where nobody says how many
COUNT_MOST: Final = 500
LOOKED_AT_MOST: Final = 100_000  # keys that one answer looks at
AT_ONCE: Final = 200
LIST_BYTES: Final = 100  # of a value in a list of keys
LIST_ELEMENTS: Final = 3
SHOWN_ELEMENTS: Final = 100
CURSOR_MAX: Final = 2**64
SHOWN: Final = 60  # characters of a name in a message


def databases(door: HttpDoor, call: Call) -> None:
    """List databases with keys, and whether all are loaded and writable."""
    keys = door.keys_of.opened
    call.answer({
        "loading": keys is not None and keys.loading,
        "damage": None if keys is None else keys.damage,
        "failing": None if keys is None else keys.failing,
        "databases": [] if keys is None else [
            _database(space, journal)
            for space, journal in zip(keys.databases, keys.journals, strict=True) if len(space)
        ],
    })  # fmt: skip


def _database(it: "Keyspace", journal: "Journal") -> dict[str, object]:
    return {
        "database": it.number,
        "topic": f"__keys.{journal.topic}",
        "keys": len(it),
        "expiring": len(it.deadlines),
        "bytes": it.contents.bytes,
        "hits": it.hits,
        "misses": it.misses,
        "expired": it.expired,
        "evicted": it.evicted,
    }


# Which


class Asked(NamedTuple):
    """The request for a part of a database's keys."""

    cursor: int
    most: int
    pattern: Pattern | None
    kind: str
    values: bool  # whether he may read them


def scanned(door: HttpDoor, call: Call) -> None:
    """Return about ``count`` visible keys from ``cursor`` on, as SCAN does.

    Raises Fault.
    """
    number, asked = _number(call), _asked(call)

    def look(keys: "Keys") -> None:
        space, journal = keys.databases[number], keys.journals[number]
        steps = _scan(call, keys, space, asked)

        def found(result: Any) -> None:  # noqa: ANN401
            if isinstance(result, LogstoreError):
                call.fail(result)
                return
            rows, cursor, looked_at = result
            _when_safe(call, journal, journal.unsafe, lambda: call.answer({
                "items": rows,
                "cursor": str(cursor) if cursor else None,
                "looked_at": looked_at,
                "keys": len(space),
            }))  # fmt: skip

        door.slices.begin(steps, found)

    _when_free(door, call, number, look, lambda: call.answer(
        {"items": [], "cursor": None, "looked_at": 0, "keys": 0}
    ))  # fmt: skip


def _asked(call: Call) -> Asked:
    """Raises Fault."""
    cursor, pattern, kind = call.text("cursor") or "0", call.query.get("pattern"), call.text("type")
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= len(str(CURSOR_MAX))):
        raise Fault(BAD_REQUEST, f"cursor={cursor[:20]}: must be the cursor of the previous reply")
    if kind and kind not in KINDS:
        raise Fault(BAD_REQUEST, f"type={kind[:20]}: must be one of {', '.join(KINDS)}")
    try:
        wanted = None if pattern in (None, b"", b"*") else Pattern(pattern)
    except InvalidName as error:
        raise Fault(BAD_REQUEST, f"pattern: {error}") from None
    count = call.number("count", COUNT, COUNT_MOST)
    return Asked(int(cursor) % CURSOR_MAX, count, wanted, kind, call.rights.all)


def _scan(call: Call, keys: "Keys", space: "Keyspace", asked: Asked) -> Steps:
    rows: list[dict[str, Any]] = []
    cursor, looked_at = asked.cursor, 0
    while len(rows) < asked.most and looked_at < LOOKED_AT_MOST:
        while keys.taken:  # a transaction has begun meanwhile, which is not seen half done
            yield AT_ONCE
        some, cursor = space.order.scan(cursor, min(AT_ONCE, asked.most))
        looked_at += len(some)
        for key in some:
            if asked.pattern is not None and not (yield from asked.pattern.matching(key)):
                continue
            value = _at(space, key)
            if value is None or not call.rights.may(DESCRIBE, KEY, name_text(key)):
                continue
            if not asked.kind or _kind(value) == asked.kind:
                reads = asked.values or call.rights.may(READ, KEY, name_text(key))
                rows.append(_row(space, key, value, LIST_BYTES, LIST_ELEMENTS, reads=reads))
        yield 1 + len(some)
        if not cursor:
            break
    return rows, cursor, looked_at


# One


def one(door: HttpDoor, call: Call) -> None:
    """Describe one key, with a part of its value. Raises Fault."""
    number, key = _number(call), call.names["key"]

    def look(keys: "Keys") -> None:
        space, journal = keys.databases[number], keys.journals[number]
        unsafe = journal.unsafe_since(key)
        value = _at(space, key)
        if value is None:
            fault = _no_key(number, key)
            _when_safe(call, journal, unsafe, lambda: call.fail(fault))
            return
        row = _row(space, key, value, contents.PREVIEW_BYTES, SHOWN_ELEMENTS, reads=True)
        _when_safe(call, journal, unsafe, lambda: call.answer(row))

    _when_free(door, call, number, look, lambda: call.fail(_no_key(number, key)))


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete a key; the reply describes it, once the deletion is on disk. Raises Fault."""
    number, key = _number(call), call.names["key"]

    def remove(keys: "Keys") -> None:
        space, journal = keys.databases[number], keys.journals[number]
        value = _at(space, key)
        if value is None:
            call.fail(_no_key(number, key))
            return
        row = _row(space, key, value, LIST_BYTES, LIST_ELEMENTS, reads=False)
        with door.channels.lock:  # it is announced there
            space.remove(key)
            door.channels.settle()
        # Else nobody waits: it is synced within a second, or in memory alone.
        turn = journal.turn if space.must and key in space.dirty else 0
        keys.end_turn()

        def done() -> None:
            if number in keys.elsewhere:  # whether it was written is not known
                call.fail(Fault(UNAVAILABLE, keys.elsewhere[number]))
                return
            if space.values.get(key) is value:  # it was given back
                call.fail(Fault(UNAVAILABLE, f"it can't be written: {keys.failing}"))
                return
            door.audit.tell(audit.KEYS, call.who, f"deleted: {name_text(key)} of {number}")
            call.answer(row)

        _when_safe(call, journal, turn, done)

    _when_free(door, call, number, remove, lambda: call.fail(_no_key(number, key)))


# Looking


def _number(call: Call) -> int:
    """Raises Fault."""
    text = call.word("database")
    if not (text.isascii() and text.isdigit() and len(text) < SHOWN and int(text) < KEYS_DATABASES):
        raise Fault(NOT_FOUND, f"no database {text[:SHOWN]!r}: they are 0 to {KEYS_DATABASES - 1}")
    return int(text)


def _at(space: "Keyspace", key: bytes) -> object | None:
    """The value, unless it has expired. Does not count as a use for eviction."""
    return space.values.get(key) if space.alive((key,)) else None


def _no_key(number: int, key: bytes) -> Fault:
    return Fault(NOT_FOUND, f"no key {name_text(key)[:SHOWN]!r} in database {number}")


def _when_free(
    door: HttpDoor,
    call: Call,
    number: int,
    then: "Callable[[Keys], None]",
    without: Callable[[], None],
) -> None:
    """Continue when no client is within a transaction, and this node certainly serves the database.

    ``without``: if no keys ever existed.
    """
    keys = door.keys_of.opened
    if keys is None:
        without()
        return
    if keys.damage is not None:
        call.fail(Fault(UNAVAILABLE, keys.damage))
    elif number in keys.elsewhere:
        call.fail(Fault(UNAVAILABLE, keys.elsewhere[number]))
    elif keys.loading:
        call.fail(Fault(UNAVAILABLE, "keys are still read from disk"))
    elif not keys.is_sure(number):
        again = partial(_again, door, call, number, then, without)
        keys.when_sure(number, again)
        call.at_end(partial(keys.unasked, again))
    elif not keys.held_up(call, lambda: _again(door, call, number, then, without)):
        call.attempt(lambda: then(keys))


def _again(
    door: HttpDoor,
    call: Call,
    number: int,
    then: "Callable[[Keys], None]",
    without: Callable[[], None],
) -> None:
    if not call.over:
        _when_free(door, call, number, then, without)


def _when_safe(call: Call, journal: "Journal", turn: int, then: Callable[[], None]) -> None:
    """Continue once this turn's changes are on disk, so that nothing that was read is lost. 0:
    immediately.
    """
    if not turn or journal.done >= turn:
        call.attempt(then)
        return
    watching: list[Callable[[], object]] = []

    def look() -> None:
        if not watching or call.over:
            return
        try:
            if journal.done < turn:
                journal.check_failure()
                return
        except LogstoreError as error:
            stop()
            call.fail(error)
            return
        stop()
        call.attempt(then)

    def stop() -> None:
        while watching:
            watching.pop()()

    watching.append(journal.watch(look))
    call.at_end(stop)


# As JSON


def _kind(value: object) -> str:
    return "string" if type(value) is bytes else value.kind  # type: ignore[attr-defined]


def _row(
    space: "Keyspace", key: bytes, value: object, bytes_max: int, most: int, *, reads: bool
) -> dict[str, Any]:
    from logstore.broker.keys.keyspace import size_of

    plain = type(value) is bytes
    return {
        "key": fields.text(key),
        "type": _kind(value),
        "expires_ms": space.deadline(key),
        "bytes": size_of(value),
        "elements": None if plain else len(value),  # type: ignore[arg-type]
        "value": _value(value, bytes_max, most) if reads else None,
    }


def _value(value: Any, bytes_max: int, most: int) -> object:  # noqa: ANN401  of any kind
    shown = partial(contents.preview, bytes_max=bytes_max)
    if type(value) is bytes:
        return shown(value)
    return [[shown(it) for it in element] for element in _elements(value, most)]


def _elements(value: Any, most: int) -> Iterable[Sequence[bytes]]:  # noqa: ANN401
    """The first elements: texts of a list or a set, pairs of a hash or a sorted set."""
    from logstore.broker.keys.numerals import double_text

    match value.kind:
        case "hash":
            return islice(value.fields.items(), most)
        case "zset":
            return [(it, double_text(score)) for it, score in islice(value.scores.items(), most)]
        case "list":
            return [(it,) for it in islice(value.items, most)]
        case _:
            return [(it,) for it in islice(value.members, most)]
