"""The largest legal requests of the RabbitMQ door: what ``bench.turns`` and the tests send.

A request is frames on channel 1 of a connection, after others that have prepared it. What a method
can be large by is in the tables: its arguments, as long as a frame may be. All else is large by
what it is about: messages, bindings, queues.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from logstore.amqp import methods, properties
from logstore.amqp.fields import Long, table
from logstore.amqp.frames import HEADER, body_frames, frame, method_frame
from logstore.amqp.methods import METHODS, Method
from logstore.amqp.properties import Properties

FRAME_MAX: Final = 131_072
ROOM: Final = 512  # of a frame, for all but its table
BODY_BYTES: Final = 16 << 20  # amqp.max.message.size
MESSAGES_AT_ONCE: Final = 2000
CHANNELS: Final = 2047  # of a connection

Q, E = "large-q", "large-e"


@dataclass(frozen=True, slots=True)
class Large:
    """One request, as it is sent once the frames before it are answered."""

    name: str
    data: bytes
    before: Sequence[bytes] = ()  # one after the other
    unacked: int = 0  # messages that are to be delivered before it


def sent(*given: Method) -> bytes:
    """The frames of methods on channel 1."""
    return b"".join([method_frame(1, it) for it in given])


def message(body: bytes, exchange: str, key: str, props: Properties | None = None) -> bytes:
    """The frames of a mandatory message, which is returned if no queue takes it."""
    written = properties.write(props or Properties())
    return b"".join((
        method_frame(1, methods.BasicPublish(0, exchange, key, True, False)),
        frame(HEADER, 1, properties.header(len(body), written)),
        *body_frames(1, body, FRAME_MAX),
    ))  # fmt: skip


def declare(
    name: str = Q, *, exclusive: bool = False, auto_delete: bool = False, **arguments: Any
) -> Method:
    named = {"x-" + it.replace("_", "-"): value for it, value in arguments.items()}
    return methods.QueueDeclare(0, name, False, False, exclusive, auto_delete, True, named)


def consume(queue: str) -> Method:
    return methods.BasicConsume(0, queue, "", False, True, False, True, {})


def exchange(kind: str, name: str = E) -> Method:
    return methods.ExchangeDeclare(0, name, kind, False, False, False, False, True, {})


def bind(queue: str = Q, key: str = "", arguments: dict[str, Any] | None = None) -> Method:
    return methods.QueueBind(0, queue, E, key, True, arguments or {})


RESET: Final = sent(
    methods.QueueDelete(0, Q, False, False, True), methods.ExchangeDelete(0, E, False, True),
    declare(),
)  # fmt: skip


def tables(size: int) -> dict[str, dict[str, Any]]:
    """Tables with as many values as the size permits, of the kinds that are slowest to read."""
    return {
        "an array": {"a": [True] * (size // 2 - 8)},
        "booleans": {f"{it:x}": True for it in range(size // 7)},
        "strings": {f"{it:x}": "v" for it in range(size // 12)},
        "tables": {f"{it:x}": {} for it in range(size // 10)},
    }


def amqp(elements: int = 10_000, size: int = FRAME_MAX) -> Iterator[Large]:
    """``elements``: bindings and queues; there are a hundred times as many messages."""
    yield from _arguments(size)
    yield from _messages(elements, BODY_BYTES * size // FRAME_MAX)
    yield from _bindings(elements)
    yield from _queues(elements)


# Fields of a method beside its table that differ from the defaults.
GIVEN: Final[dict[str, Any]] = {
    "queue": Q, "exchange": E, "source": E, "destination": "amq.direct", "type": "headers",
    "consumer_tag": "c", "no_ack": True,
}  # fmt: skip


def with_tables() -> list[type[Any]]:
    """The methods with a table that a client sends on a channel."""
    return [
        it for it in METHODS.values()
        if "arguments" in it._fields and it is not methods.ConnectionStart
    ]  # fmt: skip


def _arguments(size: int) -> Iterator[Large]:
    prepared = (RESET, sent(exchange("headers")))
    for kind, filled in tables(size - ROOM).items():
        assert len(table(filled)) <= size - ROOM
        for it in with_tables():
            values = [_value(name, filled) for name in it._fields]
            before = (
                (*prepared, sent(bind(arguments=filled))) if "Unbind" in it.__name__ else prepared
            )
            yield Large(f"{it.__name__}, {kind}", sent(it(*values)), before)
        props = Properties(headers=filled)
        yield Large(f"headers exchange, {kind}", message(b"", E, "", props), prepared)
        yield Large(
            f"a delivery, {kind}", sent(methods.BasicGet(0, Q, True)),
            (*prepared, message(b"", "", Q, props)),
        )  # fmt: skip


def _value(name: str, filled: dict[str, Any]) -> Any:
    if name == "arguments":
        return filled
    if name in GIVEN:
        return GIVEN[name]
    return 0 if name.startswith("reserved") or name == "ticket" else _EMPTY.get(name, False)


_EMPTY: Final = {"routing_key": ""}


def _messages(elements: int, size: int) -> Iterator[Large]:
    yield Large("the longest message", message(bytes(size), "", Q), (RESET,))
    yield Large("the longest message, returned", message(bytes(size), "", "none"), (RESET,))
    yield Large(
        "the longest message, fetched", sent(methods.BasicGet(0, Q, True)),
        (RESET, message(bytes(size), "", Q)),
    )  # fmt: skip
    one, count = message(b"m", "", Q), 100 * elements
    long = [
        RESET,
        *[one * min(MESSAGES_AT_ONCE, count - it) for it in range(0, count, MESSAGES_AT_ONCE)],
    ]
    yield Large("many messages", one * count, (RESET,))
    for name, props in _UNLIKE.items():
        many = b"".join(message(b"m", "", Q, props(it)) for it in range(2 * elements))
        yield Large(f"messages with {name} of their own", many, (RESET,))
    yield from _with_ids(2 * elements)
    yield Large("a purge", sent(methods.QueuePurge(0, Q, True)), long)
    yield Large("a deletion", sent(methods.QueueDelete(0, Q, False, False, True)), long)
    for name, method in _AT_ONCE.items():
        yield Large(name, sent(method), long, unacked=count)
    delayed = declare(delayed_retry_type="all", delayed_retry_min=Long(60_000))
    gone = sent(methods.QueueDelete(0, Q, False, False, True), delayed)
    yield Large("a Nack, delayed", sent(_AT_ONCE["a Nack"]), [gone, *long[1:]], unacked=count)


def _with_ids(count: int) -> Iterator[Large]:
    """Methods with ids, each of which is compared with all earlier ones."""
    header = "x-deduplication-header"
    queue = sent(methods.QueueDelete(0, Q, False, False, True), declare(message_deduplication=True))
    once = methods.ExchangeDeclare(
        0, E, "x-message-deduplication", False, False, False, False, True,
        {"x-cache-size": 10 * count},
    )  # fmt: skip
    for where, before in {"": (queue,), E: (RESET, sent(once, bind()))}.items():
        many = b"".join(
            message(b"m", where, "" if where else Q, Properties(headers={header: it}))
            for it in range(count)
        )
        what = "an exchange" if where else "a queue"
        yield Large(f"messages with ids, to {what}", many, before)
        yield Large(f"repeats, to {what}", many, (*before, many))


_UNLIKE: Final[dict[str, Callable[[int], Properties]]] = {
    "a number": lambda it: Properties(message_id=str(it)),
    "a header": lambda it: Properties(headers={"n": it}),
}
_AT_ONCE: Final[dict[str, Method]] = {
    "an Ack": methods.BasicAck(0, True),
    "a Nack": methods.BasicNack(0, True, True),
    "a recovery": methods.BasicRecover(True),
}


def _bindings(elements: int) -> Iterator[Large]:
    crowd = [Properties(headers={"a": 1, "b": 2})]
    made: dict[str, list[Method]] = {
        "direct": [bind(key=str(it)) for it in range(elements)],
        "topic": [bind(key=f"#.{'.#.'.join(f'{it:b}')}.#") for it in range(elements)],
        "headers": [
            bind(arguments={"x-match": "all", "a": 1, "b": 2, "n": it}) for it in range(elements)
        ],
    }  # fmt: skip
    for kind, all_of_it in made.items():
        before = [RESET, sent(exchange(kind)), sent(*all_of_it)]
        yield Large(f"a deletion, {kind}", sent(methods.ExchangeDelete(0, E, False, True)), before)
        key = ".".join("01"[it * 7919 >> 3 & 1] for it in range(127))
        crowded = b"".join(message(b"m", E, f"{it}.{key}"[:255], crowd[0]) for it in range(100))
        yield Large(f"messages, {kind}", crowded, before)


def _queues(elements: int) -> Iterator[Large]:
    names = [f"{Q}-{it}" for it in range(elements)]
    made = sent(*map(declare, names))
    gone = sent(*(methods.QueueDelete(0, it, False, False, True) for it in names))
    for kind, key in (("fanout", ""), ("x-consistent-hash", "1")):
        bound = sent(*(bind(it, key) for it in names))
        before = [RESET, made, sent(exchange(kind)), bound]
        yield Large(f"a message, {kind}", message(b"m", E, "k"), before)
        many = b"".join(message(b"m", E, str(it)) for it in range(10))
        yield Large(f"messages, {kind}", many, before)
    yield Large("deletions", gone, [made])
    alone = sent(*(declare(it, exclusive=True) for it in names))
    close = method_frame(0, methods.ConnectionClose(200, "", 0, 0))
    yield Large("a connection's own queues", close, [alone])
    yield from _consumers(elements, close)


def _consumers(elements: int, close: bytes) -> Iterator[Large]:
    """Consumers that end with their connection or channel."""
    names = [f"{Q}-gone-{it}" for it in range(elements // 2)]
    there = sent(*[it for name in names for it in (declare(name, auto_delete=True), consume(name))])
    yield Large("a connection's consumers", close, [there])
    again = sent(methods.ChannelClose(200, "", 0, 0), methods.ChannelOpen())
    yield Large("a channel's consumers", again, [there])
    opened = [
        method_frame(number, it)
        for number in range(2, min(elements, CHANNELS))
        for it in (methods.ChannelOpen(), consume(Q))
    ]
    yield Large("a connection's channels", close, [RESET, b"".join(opened)])
