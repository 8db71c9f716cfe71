"""The requests of nodes about volatile queues, as bytes. Pure.

There are three kinds of requests (``Ask`` of the link); fields are encoded as on the link
(``relay/wire.py``):

    TABLE    a byte: ANEW, or ON: what was answered before is known here, and what comes next is
             asked for. Answered once there is something: flags (BEGINS: what the asker knew counts
             no more unless it is said again; WHOLE: that is all of it by now), then items
    PUT      virtual host, queue, its number, and a batch of messages as a lane has it. Answered
             with nothing once the queue has them
    CHANGE   BOUND, UNBOUND and a binding, or GONE and a queue: to be made, or deleted, there

    item     its kind; virtual host, name; of CAME: number, 1 for exclusive, 2 for auto-delete,
             arguments; of BOUND and UNBOUND: source, key, arguments (name: of the queue)
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from logstore.amqp import fields
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.tables import arguments_of, table_of
from logstore.broker.routing.arguments import Arguments
from logstore.broker.routing.binding import Binding
from logstore.errors import BrokenProtocol
from logstore.relay.wire import Source, numbered

TABLE: Final = 1
PUT: Final = 2
CHANGE: Final = 3

ANEW: Final = b"\1"
ON: Final = b"\0"
BEGINS: Final = 1
WHOLE: Final = 2

CAME, GONE, BOUND, UNBOUND = range(1, 5)
_EXCLUSIVE: Final = 1
_AUTO_DELETE: Final = 2


class Came(NamedTuple):
    """A queue exists."""

    vhost: bytes
    number: int
    facts: QueueFacts


class Gone(NamedTuple):
    """No queue has this name any more."""

    vhost: bytes
    name: bytes


class Bound(NamedTuple):
    """A binding exists, or no longer exists."""

    vhost: bytes
    binding: Binding
    there: bool


Item = Came | Gone | Bound


def _data(value: bytes) -> bytes:
    return numbered(len(value)) + value


def item_bytes(item: Item) -> bytes:
    """Encode an item for the link."""
    match item:
        case Came(vhost, number, facts):
            flags = _EXCLUSIVE * facts.exclusive + _AUTO_DELETE * facts.auto_delete
            rest = numbered(number) + numbered(flags) + fields.table(table_of(facts.arguments))
            return numbered(CAME) + _data(vhost) + _data(facts.name) + rest
        case Gone(vhost, name):
            return numbered(GONE) + _data(vhost) + _data(name)
        case Bound(vhost, binding, there):
            head = numbered(BOUND if there else UNBOUND) + _data(vhost)
            names = _data(binding.destination) + _data(binding.source) + _data(binding.key)
            return head + names + fields.table(table_of(binding.arguments))


def items(source: Source) -> Iterator[Item]:
    """Decode the remaining items. Raises BrokenProtocol."""
    while not source.ended:
        kind = source.number()
        vhost, name = (source.data(source.number()) for _ in range(2))
        if kind == CAME:
            number, flags = source.number(), source.number()
            exclusive, auto = bool(flags & _EXCLUSIVE), bool(flags & _AUTO_DELETE)
            arguments = _arguments(source)
            yield Came(vhost, number, QueueFacts(name, False, exclusive, auto, arguments))
        elif kind == GONE:
            yield Gone(vhost, name)
        elif kind in (BOUND, UNBOUND):
            exchange, key = (source.data(source.number()) for _ in range(2))
            binding = Binding(exchange, name, key, _arguments(source))
            yield Bound(vhost, binding, kind == BOUND)
        else:
            raise BrokenProtocol(f"a volatile queue of another node has news of kind {kind}")


def _arguments(source: Source) -> Arguments:
    size = source.data(4)
    table, _ = fields.read_table(size + source.data(int.from_bytes(size)), 0)
    return arguments_of(table)


def put_head(vhost: bytes, queue: bytes, number: int) -> bytes:
    """Return the head of a PUT; the batch follows."""
    return _data(vhost) + _data(queue) + numbered(number)


def put(content: bytes) -> tuple[bytes, bytes, int, memoryview]:
    """Decode a PUT: virtual host, queue, its number, and the batch. Raises BrokenProtocol."""
    source = Source(memoryview(content))
    vhost, queue = (source.data(source.number()) for _ in range(2))
    return vhost, queue, source.number(), source.rest()
