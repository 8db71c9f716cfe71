"""LPUSH, RPOP and all other commands on lists, except blocking ones."""

import math
from collections.abc import Callable, Generator, Sequence
from itertools import islice
from typing import Final

from logstore.broker.keys.collection import parts_of, some_of
from logstore.broker.keys.lists import List
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.keys.collection_rows import (
    DELETE,
    INSERT,
    LOOK,
    PAIR,
    POP,
    RO,
    UPDATE,
    reads,
    writes,
)
from logstore.protocols.resp.keys.long_replies import plain, say, saying
from logstore.protocols.resp.keys.look import integer_of
from logstore.protocols.resp.keys.reach import find, first_of, make, see, wrote
from logstore.protocols.resp.keys.rows import LOOKED_AT_ONCE, LOOKS_A_UNIT, in_parts
from logstore.protocols.resp.keys.words import (
    LONG_MAX,
    SYNTAX,
    count,
    some_keys,
    within,
    wrong_count,
)
from logstore.protocols.resp.replies import OK, array, bulk, null_array
from logstore.protocols.resp.replies import integer as number
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

NO_KEY: Final = "no such key"
NO_KEYS: Final = "numkeys should be greater than 0"
NO_COUNT: Final = "count should be greater than 0"
RANK_ZERO: Final = (
    "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "
    "negative to start from the end of the list"
)
LEFT, RIGHT = b"left", b"right"
POPPED: Final = {LEFT: "lpop", RIGHT: "rpop"}
PUSHED: Final = {LEFT: "lpush", RIGHT: "rpush"}
POP_ONE: Final = {LEFT: List.pop_left, RIGHT: List.pop_right}
PUSH_ONE: Final = {LEFT: List.push_left, RIGHT: List.push_right}


def end_of(word: bytes) -> bytes:
    """Parse LEFT or RIGHT. Raises Wrong."""
    end = word.lower()
    if end not in POPPED:
        raise Wrong(SYNTAX)
    return end


def _push(end: bytes, *, make_it: bool = True) -> Run:
    def steps(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        key = arguments[1]
        found = make(client, key, List) if make_it else find(client, key, List)
        if found is None:
            client.say(number(0))
            return
        push = PUSH_ONE[end]
        for some in some_of(arguments[2:]):
            for item in some:
                push(found, item)
            yield len(some)
        wrote(client, key, found, PUSHED[end])
        client.say(number(len(found)))

    return in_parts(steps)


def pop_some(
    client: RespClient, key: bytes, found: List, end: bytes, most: int
) -> Generator[int, None, list[bytes]]:
    """Remove and return up to ``most`` elements from this end."""
    pop, items = POP_ONE[end], list[bytes]()
    for some in some_of(range(min(most, len(found)))):
        items += [pop(found) for _ in some]
        yield len(some)
    if items:
        wrote(client, key, found, POPPED[end])
    return items


def _pop(end: bytes) -> Run:
    def steps(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        if len(arguments) > 3:
            raise wrong_count(arguments[0].decode().lower())
        counted = len(arguments) == 3
        most = count(arguments[2]) if counted else 1
        found = find(client, arguments[1], List)
        if found is None:
            client.say(null_array(client.version) if counted else client.null())
            return
        items = yield from pop_some(client, arguments[1], found, end, most)
        if counted:
            yield from saying(client, b"*%d\r\n" % len(items), items, plain)
        else:
            client.say(bulk(items[0]))

    return in_parts(steps)


def _length(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], List)
    client.say(number(0 if found is None else len(found)))


def _at(found: List, text: bytes) -> int | None:
    """The position of an index; None if it is out of range."""
    at = integer_of(text)
    at += len(found) * (at < 0)
    return at if 0 <= at < len(found) else None


def _index(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], List)
    at = None if found is None else _at(found, arguments[2])
    client.say(client.null() if found is None or at is None else bulk(found.items[at]))


def _replace(client: RespClient, arguments: Sequence[bytes]) -> None:
    key = arguments[1]
    found = find(client, key, List)
    if found is None:
        raise Wrong(NO_KEY)
    at = _at(found, arguments[2])
    if at is None:
        raise Wrong("index out of range")
    found.replace(at, arguments[3])
    wrote(client, key, found, "lset")
    client.say(OK)


@in_parts
def _insert(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    _, key, word, pivot, item = arguments
    where = word.lower()
    if where not in (b"before", b"after"):
        raise Wrong(SYNTAX)
    found = find(client, key, List)
    if found is None:
        client.say(number(0))
        return
    try:
        at = found.items.index(pivot)
    except ValueError:
        client.say(number(-1))
        return
    yield from found.inserting(at + (where == b"after"), item)
    wrote(client, key, found, "linsert")
    client.say(number(len(found)))


def bounds(start: int, stop: int, size: int) -> tuple[int, int]:
    """An inclusive range of Redis as a Python range; empty if it selects nothing."""
    start = max(start + size * (start < 0), 0)
    stop += size * (stop < 0)
    return (start, min(stop + 1, size)) if start <= stop and start < size else (0, 0)


def _range(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    start, stop = integer_of(arguments[2]), integer_of(arguments[3])
    found = see(client, arguments[1], List)
    items = [] if found is None else found.slice(*bounds(start, stop, len(found)))
    return say(client, b"*%d\r\n" % len(items), items, plain)


@in_parts
def _trim(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    start, stop = integer_of(arguments[2]), integer_of(arguments[3])
    key = arguments[1]
    found = find(client, key, List)
    if found is not None:
        size = len(found)
        start, stop = bounds(start, stop, size)
        for pop, count_ in ((found.pop_right, size - stop), (found.pop_left, start)):
            for some in some_of(range(count_)):
                for _ in some:
                    pop()
                yield len(some)
        wrote(client, key, found, "ltrim")
    client.say(OK)


@in_parts
def _remove(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    key, item = arguments[1], arguments[3]
    most = within(arguments[2], -LONG_MAX, LONG_MAX)
    found = find(client, key, List)
    places: list[int] = []
    for some in parts_of(enumerate(() if found is None else found.items), LOOKED_AT_ONCE):
        places += [at for at, it in some if it == item]
        yield len(some) // LOOKS_A_UNIT
    if most:
        places = places[:most] if most > 0 else places[most:]
    if found is not None and places:
        yield from found.removing(places)
        wrote(client, key, found, "lrem")
    client.say(number(len(places)))


@in_parts
def _find(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    """LPOS."""
    item, rank, most, looked_at = arguments[2], 1, -1, 0
    at = 3
    while at < len(arguments):
        option, more = arguments[at].upper(), at + 1 < len(arguments)
        if option == b"RANK" and more:
            rank = within(arguments[at + 1], -LONG_MAX, LONG_MAX)
            if not rank:
                raise Wrong(RANK_ZERO)
        elif option == b"COUNT" and more:
            most = count(arguments[at + 1], "COUNT can't be negative")
        elif option == b"MAXLEN" and more:
            looked_at = count(arguments[at + 1], "MAXLEN can't be negative")
        else:
            raise Wrong(SYNTAX)
        at += 2
    found = see(client, arguments[1], List)
    if found is None:
        client.say(array([]) if most != -1 else client.null())
        return
    places = yield from _places(found, item, rank, most, looked_at)
    if most != -1:
        yield from saying(client, b"*%d\r\n" % len(places), places, _numbers)
    else:
        client.say(number(places[0]) if places else client.null())


def _numbers(places: Sequence[int]) -> bytes:
    return b"".join([b":%d\r\n" % it for it in places])


def _places(
    found: List, item: bytes, rank: int, most: int, looked_at: int
) -> Generator[int, None, list[int]]:
    """Positions of the item. ``most`` and ``looked_at``: -1 for one, 0 for all."""
    size, skipped = len(found), abs(rank) - 1
    items = islice(found.items if rank > 0 else reversed(found.items), looked_at or None)
    enough = skipped + max(most, 1) if most else math.inf
    places: list[int] = []
    for some in parts_of(enumerate(items), LOOKED_AT_ONCE):
        places += [at for at, it in some if it == item]
        yield len(some) // LOOKS_A_UNIT
        if len(places) >= enough:
            break
    chosen = places[skipped : skipped + max(most, 1) if most else None]
    return chosen if rank > 0 else [size - 1 - at for at in chosen]


def moved(
    client: RespClient, source: bytes, target: bytes, ends: tuple[bytes, bytes]
) -> bytes | None:
    """Move an element between lists; returns it, or None from an empty list. Raises Wrong."""
    taken = find(client, source, List)
    if taken is None:
        return None
    given = make(client, target, List)
    item = POP_ONE[ends[0]](taken)
    PUSH_ONE[ends[1]](given, item)
    wrote(client, target, given, PUSHED[ends[1]])
    wrote(client, source, taken, POPPED[ends[0]])
    return item


def _move(client: RespClient, arguments: Sequence[bytes]) -> None:
    ends = end_of(arguments[3]), end_of(arguments[4])
    item = moved(client, arguments[1], arguments[2], ends)
    client.say(client.null() if item is None else bulk(item))


def _move_round(client: RespClient, arguments: Sequence[bytes]) -> None:
    """RPOPLPUSH."""
    item = moved(client, arguments[1], arguments[2], (RIGHT, LEFT))
    client.say(client.null() if item is None else bulk(item))


def many_pops(
    arguments: Sequence[bytes], at: int, ends: Callable[[bytes], bytes]
) -> tuple[Sequence[bytes], bytes, int]:
    """The keys, end and count of LMPOP and its kin, from the number of keys on. Raises Wrong."""
    keys, at = some_keys(arguments, at, NO_KEYS)
    if at >= len(arguments):
        raise Wrong(SYNTAX)
    end, at, most = ends(arguments[at]), at + 1, -1
    while at < len(arguments):
        if most != -1 or arguments[at].upper() != b"COUNT" or at + 1 == len(arguments):
            raise Wrong(SYNTAX)
        most, at = within(arguments[at + 1], 1, LONG_MAX, NO_COUNT), at + 2
    return keys, end, max(most, 1)


def popped(
    client: RespClient, keys: Sequence[bytes], end: bytes, most: int
) -> Generator[int, None, bytes | None]:
    """The reply of LMPOP; None if all lists are empty. Raises Wrong."""
    key, found = yield from first_of(client, keys, List)
    if found is None:
        return None
    items = yield from pop_some(client, key, found, end, most)
    written = []
    for some in some_of(items):
        written.append(plain(some))
        yield len(some)
    return b"*2\r\n%b*%d\r\n%b" % (bulk(key), len(items), b"".join(written))


@in_parts
def _pop_many(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    found = yield from popped(client, *many_pops(arguments, 1, end_of))
    client.say(found or null_array(client.version))


GROUP: Final = "list"
MOVING: Final = (("RW", "access", "delete"), ("RW", "insert"))

COMMANDS: Final = (
    writes(GROUP, "lpush", -3, _push(LEFT), "Puts elements at the left end.", "1.0.0", INSERT,
           oom=True, many=True),
    writes(GROUP, "rpush", -3, _push(RIGHT), "Puts elements at the right end.", "1.0.0", INSERT,
           oom=True, many=True),
    writes(GROUP, "lpushx", -3, _push(LEFT, make_it=False),
           "Puts elements at the left end of a list that is there.", "2.2.0", INSERT, oom=True,
           many=True),
    writes(GROUP, "rpushx", -3, _push(RIGHT, make_it=False),
           "Puts elements at the right end of a list that is there.", "2.2.0", INSERT, oom=True,
           many=True),
    writes(GROUP, "lpop", -2, _pop(LEFT), "Takes elements from the left end.", "1.0.0", POP),
    writes(GROUP, "rpop", -2, _pop(RIGHT), "Takes elements from the right end.", "1.0.0", POP),
    reads(GROUP, "llen", 2, _length, "How many elements there are.", "1.0.0", RO),
    reads(GROUP, "lindex", 3, _index, "The element at a place.", "1.0.0", LOOK, fast=False),
    reads(GROUP, "lrange", 4, _range, "The elements from one place to another.", "1.0.0", LOOK,
          fast=False),
    reads(GROUP, "lpos", -3, _find, "The places of an element.", "6.0.6", LOOK, fast=False),
    writes(GROUP, "lset", 4, _replace, "Sets the element at a place.", "1.0.0", UPDATE, fast=False,
           oom=True),
    writes(GROUP, "linsert", 5, _insert, "Puts an element before or after another.", "2.2.0",
           INSERT, fast=False, oom=True),
    writes(GROUP, "ltrim", 4, _trim, "Keeps the elements from one place to another.", "1.0.0",
           DELETE, fast=False),
    writes(GROUP, "lrem", 4, _remove, "Removes elements that are equal to one.", "1.0.0", DELETE,
           fast=False),
    writes(GROUP, "lmove", 5, _move, "Moves an element to another list.", "6.2.0", MOVING,
           keys=PAIR, fast=False, oom=True),
    writes(GROUP, "rpoplpush", 3, _move_round, "Moves an element to another list.", "1.2.0",
           MOVING, keys=PAIR, fast=False, oom=True),
    writes(GROUP, "lmpop", -4, _pop_many, "Takes elements from the first list that is there.",
           "7.0.0", POP, numkeys=1, fast=False),
)  # fmt: skip
