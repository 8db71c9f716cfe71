"""LPUSH, RPOP and all others about lists, but those that wait."""

from collections.abc import Callable, Sequence
from typing import Final

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
from logstore.protocols.resp.keys.long_replies import plain, say
from logstore.protocols.resp.keys.look import integer_of
from logstore.protocols.resp.keys.reach import find, make, see, wrote
from logstore.protocols.resp.keys.words import (
    LONG_MAX,
    SYNTAX,
    count,
    some_keys,
    within,
    wrong_count,
)
from logstore.protocols.resp.replies import OK, array, bulk, bulks, null_array
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
    """LEFT or RIGHT. Raises Wrong."""
    end = word.lower()
    if end not in POPPED:
        raise Wrong(SYNTAX)
    return end


def _push(end: bytes, *, make_it: bool = True) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        key = arguments[1]
        found = make(client, key, List) if make_it else find(client, key, List)
        if found is None:
            client.say(number(0))
            return
        push = PUSH_ONE[end]
        for item in arguments[2:]:
            push(found, item)
        wrote(client, key, found, PUSHED[end])
        client.say(number(len(found)))

    return run


def pop_some(client: RespClient, key: bytes, found: List, end: bytes, most: int) -> list[bytes]:
    """Take up to so many from this end."""
    pop = POP_ONE[end]
    items = [pop(found) for _ in range(min(most, len(found)))]
    if items:
        wrote(client, key, found, POPPED[end])
    return items


def _pop(end: bytes) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        if len(arguments) > 3:
            raise wrong_count(arguments[0].decode().lower())
        counted = len(arguments) == 3
        most = count(arguments[2]) if counted else 1
        found = find(client, arguments[1], List)
        if found is None:
            client.say(null_array(client.version) if counted else client.null())
            return
        items = pop_some(client, arguments[1], found, end, most)
        client.say(bulks(items) if counted else bulk(items[0]))

    return run


def _length(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], List)
    client.say(number(0 if found is None else len(found)))


def _at(found: List, text: bytes) -> int | None:
    """Which place an index means; None: there is none."""
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


def _insert(client: RespClient, arguments: Sequence[bytes]) -> None:
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
    found.insert(at + (where == b"after"), item)
    wrote(client, key, found, "linsert")
    client.say(number(len(found)))


def bounds(start: int, stop: int, size: int) -> tuple[int, int]:
    """From the one to the other, both counted in, as a range of Python; empty where it is none."""
    start = max(start + size * (start < 0), 0)
    stop += size * (stop < 0)
    return (start, min(stop + 1, size)) if start <= stop and start < size else (0, 0)


def _range(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    start, stop = integer_of(arguments[2]), integer_of(arguments[3])
    found = see(client, arguments[1], List)
    items = [] if found is None else found.slice(*bounds(start, stop, len(found)))
    return say(client, b"*%d\r\n" % len(items), items, plain)


def _trim(client: RespClient, arguments: Sequence[bytes]) -> None:
    start, stop = integer_of(arguments[2]), integer_of(arguments[3])
    key = arguments[1]
    found = find(client, key, List)
    if found is not None:
        size = len(found)
        start, stop = bounds(start, stop, size)
        for _ in range(size - stop):
            found.pop_right()
        for _ in range(start):
            found.pop_left()
        wrote(client, key, found, "ltrim")
    client.say(OK)


def _remove(client: RespClient, arguments: Sequence[bytes]) -> None:
    key, item = arguments[1], arguments[3]
    most = within(arguments[2], -LONG_MAX, LONG_MAX)
    found = find(client, key, List)
    places = [] if found is None else [at for at, it in enumerate(found.items) if it == item]
    if most:
        places = places[:most] if most > 0 else places[most:]
    if found is not None and places:
        found.remove_at(places)
        wrote(client, key, found, "lrem")
    client.say(number(len(places)))


def _find(client: RespClient, arguments: Sequence[bytes]) -> None:
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
    places = _places(found, item, rank, most, looked_at)
    if most != -1:
        client.say(array(list(map(number, places))))
    else:
        client.say(number(places[0]) if places else client.null())


def _places(found: List, item: bytes, rank: int, most: int, looked_at: int) -> list[int]:
    size = len(found)
    items = found.items if rank > 0 else reversed(found.items)
    places: list[int] = []
    for at, it in enumerate(items):
        if looked_at and at >= looked_at:
            break
        if it == item:
            if abs(rank) > 1:
                rank += -1 if rank > 0 else 1
                continue
            places.append(at if rank > 0 else size - 1 - at)
            if most and len(places) >= max(most, 1):
                break
    return places


def moved(
    client: RespClient, source: bytes, target: bytes, ends: tuple[bytes, bytes]
) -> bytes | None:
    """The element that went from one list to the other, if there was one. Raises Wrong."""
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
    """Keys, which end and how many, of LMPOP and its kin: from their number on. Raises Wrong."""
    keys, at = some_keys(arguments, at, NO_KEYS)
    if at >= len(arguments):
        raise Wrong(SYNTAX)
    end, at, most = ends(arguments[at]), at + 1, -1
    while at < len(arguments):
        if most != -1 or arguments[at].upper() != b"COUNT" or at + 1 == len(arguments):
            raise Wrong(SYNTAX)
        most, at = within(arguments[at + 1], 1, LONG_MAX, NO_COUNT), at + 2
    return keys, end, max(most, 1)


def popped(client: RespClient, keys: Sequence[bytes], end: bytes, most: int) -> bytes | None:
    """What LMPOP says, if one of the lists is there. Raises Wrong."""
    for key in keys:
        found = find(client, key, List)
        if found is not None:
            return array([bulk(key), bulks(pop_some(client, key, found, end, most))])
    return None


def _pop_many(client: RespClient, arguments: Sequence[bytes]) -> None:
    client.say(popped(client, *many_pops(arguments, 1, end_of)) or null_array(client.version))


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
