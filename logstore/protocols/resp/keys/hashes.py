"""HSET, HGET and all other commands on hashes."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final

from logstore.broker.keys.collection import some_of
from logstore.broker.keys.hashes import Hash
from logstore.broker.keys.numerals import (
    as_integer,
    as_long_double,
    long_double_sum,
    long_double_text,
)
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.keys.chance import places, say_drawn
from logstore.protocols.resp.keys.collection_rows import (
    CHANGE,
    DELETE,
    INSERT,
    LOOK,
    RO,
    reads,
    writes,
)
from logstore.protocols.resp.keys.element_scans import scan
from logstore.protocols.resp.keys.long_replies import plain, say, saying
from logstore.protocols.resp.keys.look import integer_of
from logstore.protocols.resp.keys.reach import find, make, see, wrote
from logstore.protocols.resp.keys.rows import in_parts
from logstore.protocols.resp.keys.words import (
    BAD_FLOAT,
    LONG_MAX,
    SYNTAX,
    within,
    wrong_count,
)
from logstore.protocols.resp.replies import OK, bulk, bulks
from logstore.protocols.resp.replies import integer as number
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

OVERFLOW: Final = "increment or decrement would overflow"
NO_NUMBER: Final = "increment would produce NaN or Infinity"


@in_parts
def _set(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    """HSET and HMSET."""
    name = arguments[0].lower()
    if len(arguments) % 2:
        raise wrong_count(name.decode())
    key = arguments[1]
    found = make(client, key, Hash)
    new = 0
    for some in some_of(zip(arguments[2::2], arguments[3::2], strict=True)):
        for field, value in some:
            new += found.set(field, value)
        yield len(some)
    wrote(client, key, found, "hset")
    client.say(OK if name == b"hmset" else number(new))


def _set_new(client: RespClient, arguments: Sequence[bytes]) -> None:
    _, key, field, value = arguments
    found = make(client, key, Hash)
    if found.get(field) is not None:
        client.say(number(0))
        return
    found.set(field, value)
    wrote(client, key, found, "hset")
    client.say(number(1))


def _get(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], Hash)
    value = None if found is None else found.get(arguments[2])
    client.say(client.null() if value is None else bulk(value))


@in_parts
def _get_many(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    found = see(client, arguments[1], Hash)
    null, fields = client.null(), {} if found is None else found.fields

    def written(some: Sequence[bytes]) -> bytes:
        values = map(fields.get, some)
        return b"".join([null if value is None else bulk(value) for value in values])

    asked = arguments[2:]
    yield from saying(client, b"*%d\r\n" % len(asked), asked, written)


@in_parts
def _remove(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    key, gone = arguments[1], 0
    found = find(client, key, Hash)
    if found is not None:
        for some in some_of(arguments[2:]):
            gone += sum(map(found.remove, some))
            yield len(some)
    if found is not None and gone:
        wrote(client, key, found, "hdel")
    client.say(number(gone))


def _length(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], Hash)
    client.say(number(0 if found is None else len(found)))


def _value_length(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], Hash)
    client.say(number(0 if found is None else len(found.get(arguments[2]) or b"")))


def _exists(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], Hash)
    client.say(number(found is not None and found.get(arguments[2]) is not None))


def _keys(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    found = see(client, arguments[1], Hash)
    fields = [] if found is None else list(found.fields)
    return say(client, b"*%d\r\n" % len(fields), fields, plain)


def _values(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    found = see(client, arguments[1], Hash)
    values = [] if found is None else list(found.fields.values())
    return say(client, b"*%d\r\n" % len(values), values, plain)


def _flat(pairs: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    return [part for pair in pairs for part in pair]


def _all(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    """HGETALL."""
    found = see(client, arguments[1], Hash)
    pairs = [] if found is None else list(found.fields.items())
    head = b"%%%d\r\n" % len(pairs) if client.version == 3 else b"*%d\r\n" % (2 * len(pairs))
    return say(client, head, pairs, lambda some: plain(_flat(some)))


def _add(client: RespClient, arguments: Sequence[bytes]) -> None:
    """HINCRBY."""
    _, key, field, by = arguments
    step = integer_of(by)
    found = make(client, key, Hash)
    text = found.get(field)
    before = 0 if text is None else as_integer(text)
    if before is None:
        raise Wrong("hash value is not an integer")
    after = before + step
    if not -LONG_MAX - 1 <= after <= LONG_MAX:
        raise Wrong(OVERFLOW)
    found.set(field, b"%d" % after)
    wrote(client, key, found, "hincrby")
    client.say(number(after))


def _add_float(client: RespClient, arguments: Sequence[bytes]) -> None:
    """HINCRBYFLOAT."""
    _, key, field, by = arguments
    step = as_long_double(by)
    if step is None:
        raise Wrong(BAD_FLOAT)
    if isinstance(step, float):
        raise Wrong("value is NaN or Infinity")
    found = make(client, key, Hash)
    text = found.get(field)
    before = Fraction(0) if text is None else as_long_double(text)
    if before is None:
        raise Wrong("hash value is not a float")
    after = None if isinstance(before, float) else long_double_sum(before, step)
    if after is None:
        raise Wrong(NO_NUMBER)
    value = long_double_text(after)
    found.set(field, value)
    wrote(client, key, found, "hincrbyfloat")
    client.say(bulk(value))


@in_parts
def _random(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    """HRANDFIELD."""
    if len(arguments) == 2:
        found = see(client, arguments[1], Hash)
        one = [] if found is None else (yield from _drawn(found, -1))
        client.say(bulk(one[0]) if one else client.null())
        return
    asked = within(arguments[2], -LONG_MAX, LONG_MAX)
    valued = len(arguments) == 4 and arguments[3].lower() == b"withvalues"
    if len(arguments) > 4 or (len(arguments) == 4 and not valued):
        raise Wrong(SYNTAX)
    if valued and not -LONG_MAX // 2 <= asked <= LONG_MAX // 2:
        raise Wrong("value is out of range")
    found = see(client, arguments[1], Hash)
    chosen = [] if found is None else (yield from _drawn(found, asked))
    values: Mapping[bytes, bytes] = {} if found is None else found.fields

    def pairs(some: Sequence[bytes]) -> bytes:
        return plain(_flat((field, values[field]) for field in some))

    def pairs_apart(some: Sequence[bytes]) -> bytes:
        return b"".join([bulks((field, values[field])) for field in some])

    flat = valued and client.version == 2
    written = plain if not valued else pairs if flat else pairs_apart
    head = b"*%d\r\n" % (2 * len(chosen) if flat else len(chosen))
    yield from say_drawn(client, head, chosen, written)


def _drawn(found: Hash, asked: int) -> Generator[int, None, list[bytes]]:
    """Up to ``asked`` distinct random fields; if negative, exactly that many with repetition."""
    if asked >= len(found):
        return list(found.fields)
    fields = list(found.fields) if found.order is None else found.order.items
    return [fields[at] for at in (yield from places(len(fields), asked))]


def _scan(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    def some(found: Hash, cursor: int, count: int) -> tuple[int, list[bytes]]:
        if found.order is None:
            return 0, list(found.fields)
        return found.order.scan(cursor, count)

    return scan(client, arguments, Hash, some, lambda found, field: [field, found.fields[field]])


GROUP: Final = "hash"

COMMANDS: Final = (
    writes(GROUP, "hset", -4, _set, "Sets fields of a hash.", "2.0.0", oom=True,
           many=True),
    writes(GROUP, "hmset", -4, _set, "Sets fields of a hash.", "2.0.0", oom=True,
           many=True),
    writes(GROUP, "hsetnx", 4, _set_new, "Sets a field of a hash that is not there.", "2.0.0",
           INSERT, oom=True),
    reads(GROUP, "hget", 3, _get, "The value of a field.", "2.0.0", LOOK),
    reads(GROUP, "hmget", -3, _get_many, "The values of fields.", "2.0.0", LOOK, many=True),
    writes(GROUP, "hdel", -3, _remove, "Removes fields; how many.", "2.0.0", DELETE, many=True),
    reads(GROUP, "hlen", 2, _length, "How many fields there are.", "2.0.0", RO),
    reads(GROUP, "hstrlen", 3, _value_length, "How long a field's value is.", "3.2.0", RO),
    reads(GROUP, "hexists", 3, _exists, "Whether there is a field.", "2.0.0", RO),
    reads(GROUP, "hkeys", 2, _keys, "All fields.", "2.0.0", LOOK, fast=False,
          tips=("nondeterministic_output_order",)),
    reads(GROUP, "hvals", 2, _values, "All values.", "2.0.0", LOOK, fast=False,
          tips=("nondeterministic_output_order",)),
    reads(GROUP, "hgetall", 2, _all, "All fields and values.", "2.0.0", LOOK, fast=False,
          tips=("nondeterministic_output_order",)),
    writes(GROUP, "hincrby", 4, _add, "Adds to a field's number.", "2.0.0", CHANGE,
           oom=True),
    writes(GROUP, "hincrbyfloat", 4, _add_float, "Adds a float to a field's number.", "2.6.0",
           CHANGE, oom=True),
    reads(GROUP, "hrandfield", -2, _random, "Fields by chance.", "6.2.0", LOOK, fast=False,
          tips=("nondeterministic_output",)),
    reads(GROUP, "hscan", -3, _scan, "The fields and values, a part at a time.", "2.8.0", LOOK,
          fast=False, tips=("nondeterministic_output",)),
)  # fmt: skip
