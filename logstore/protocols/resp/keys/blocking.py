"""BLPOP, BZPOPMIN and all other commands that wait until a key has elements."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

from logstore.broker.keys.collection import Collection
from logstore.broker.keys.lists import List
from logstore.broker.keys.numerals import as_long_double
from logstore.broker.keys.sorted_sets import SortedSet
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.keys import lists, sorted_sets
from logstore.protocols.resp.keys.collection_rows import BUT_LAST, PAIR, POP, writes
from logstore.protocols.resp.keys.lists import LEFT, MOVING, RIGHT, many_pops, moved
from logstore.protocols.resp.keys.reach import first_of
from logstore.protocols.resp.keys.rows import alone, in_parts
from logstore.protocols.resp.keys.scores import flat
from logstore.protocols.resp.onlookers.party import Attempt, Attempted, Blocked
from logstore.protocols.resp.onlookers.waiting import TIMED_OUT
from logstore.protocols.resp.replies import array, bulk, null_array
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import GoOn, Steps

TIMEOUT_MS_MAX: Final = 2**63 - 1
KEYS_MAX: Final = 5000  # for which one client waits: each is noted, and later removed
NO_TIMEOUT: Final = "timeout is not a float or out of range"


def timeout_of(client: RespClient, text: bytes) -> float:
    """The timeout in seconds; 0 means for ever. Raises Wrong."""
    given = as_long_double(text)
    if given is None:
        raise Wrong(NO_TIMEOUT)
    if isinstance(given, float):
        raise Wrong("timeout is negative" if given < 0 else "timeout is out of range")
    if abs(given) > TIMEOUT_MS_MAX:
        raise Wrong("timeout is negative" if given < 0 else "timeout is out of range")
    timeout_ms = math.ceil(float(given) * 1000)
    if timeout_ms < 0:
        raise Wrong("timeout is negative")
    if timeout_ms > TIMEOUT_MS_MAX - client.door.clock():
        raise Wrong("timeout is out of range")
    return timeout_ms / 1000


def wait(
    client: RespClient,
    kind: type[Collection],
    keys: Sequence[bytes],
    timeout_s: float,
    attempt: Attempt,
    nothing: bytes,
) -> Steps | None:
    """Reply with available elements, or wait for some; reply ``nothing`` on a timeout.

    A timeout of 0 means for ever. Raises Wrong.
    """
    reply: bytes | None = None

    def attempted(client: RespClient, _: Sequence[bytes]) -> Steps:
        nonlocal reply
        reply = yield from attempt()

    steps = in_parts(attempted)(client, ())
    if steps is None and (reply is not None or client.in_transaction):
        client.say(nothing if reply is None else reply)
        return None

    def to_the_end() -> Steps:
        if steps is not None:
            yield from steps
        said = reply
        if said is None and not client.in_transaction:
            if len(keys) > KEYS_MAX:
                raise Wrong(f"all keys are empty, and at most {KEYS_MAX} keys can be waited for")
            places = [(client.database, key) for key in keys]
            blocked = Blocked(client, kind, places, attempt, partial(alone, client))
            said = yield from _waiting(client, blocked, timeout_s)
        client.say(nothing if said is None else said)

    return to_the_end()


def _waiting(client: RespClient, blocked: Blocked, timeout_s: float) -> Steps:
    """The result of the wait; None on a timeout."""
    onlookers = client.door.onlookers

    def begin(go_on: GoOn) -> None:
        blocked.go_on = go_on
        onlookers.waiting.add(blocked)
        onlookers.look()
        if timeout_s:
            client.rest(timeout_s, lambda _: onlookers.waiting.end(client, TIMED_OUT))

    reply = yield begin
    return None if reply is TIMED_OUT else reply


def _pop(end: bytes) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
        timeout_s = timeout_of(client, arguments[-1])
        keys = arguments[1:-1]

        def attempt() -> Attempted:
            key, found = yield from first_of(client, keys, List)
            if found is None:
                return None
            (item,) = yield from lists.pop_some(client, key, found, end, 1)
            return array([bulk(key), bulk(item)])

        return wait(client, List, keys, timeout_s, attempt, null_array(client.version))

    return run


def _move(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    ends = lists.end_of(arguments[3]), lists.end_of(arguments[4])
    return _moving(client, arguments, ends)


def _move_round(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    """BRPOPLPUSH."""
    return _moving(client, arguments, (RIGHT, LEFT))


def _moving(
    client: RespClient, arguments: Sequence[bytes], ends: tuple[bytes, bytes]
) -> Steps | None:
    timeout_s = timeout_of(client, arguments[-1])
    source, target = arguments[1:3]

    def attempt() -> Attempted:
        item = moved(client, source, target, ends)
        yield 1
        return None if item is None else bulk(item)

    nothing = client.null() if client.in_transaction else null_array(client.version)
    return wait(client, List, [source], timeout_s, attempt, nothing)


def _pop_many(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    """BLMPOP."""
    timeout_s = timeout_of(client, arguments[1])
    keys, end, most = many_pops(arguments, 2, lists.end_of)
    return wait(
        client, List, keys, timeout_s, lambda: lists.popped(client, keys, end, most),
        null_array(client.version),
    )  # fmt: skip


def _pop_scored(end: bytes) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
        timeout_s = timeout_of(client, arguments[-1])
        keys = arguments[1:-1]

        def attempt() -> Attempted:
            key, found = yield from first_of(client, keys, SortedSet)
            if found is None:
                return None
            entries = yield from sorted_sets.pop_some(client, key, found, end, 1)
            return array([bulk(key), *flat(entries, client.version)])

        return wait(client, SortedSet, keys, timeout_s, attempt, null_array(client.version))

    return run


def _pop_many_scored(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    """BZMPOP."""
    timeout_s = timeout_of(client, arguments[1])
    keys, end, most = many_pops(arguments, 2, sorted_sets.end_of)
    return wait(
        client, SortedSet, keys, timeout_s, lambda: sorted_sets.popped(client, keys, end, most),
        null_array(client.version),
    )  # fmt: skip


_LIST: Final = "list"
_ZSET: Final = "sorted-set"

COMMANDS: Final = (
    writes(_LIST, "blpop", -3, _pop(LEFT), "Takes from the left end of a list, once there is one.",
           "2.0.0", POP, keys=BUT_LAST, fast=False, blocks=True, many=True),
    writes(_LIST, "brpop", -3, _pop(RIGHT),
           "Takes from the right end of a list, once there is one.", "2.0.0", POP, keys=BUT_LAST,
           fast=False, blocks=True, many=True),
    writes(_LIST, "blmove", 6, _move, "Moves an element to another list, once there is one.",
           "6.2.0", MOVING, keys=PAIR, fast=False, oom=True, blocks=True),
    writes(_LIST, "brpoplpush", 4, _move_round,
           "Moves an element to another list, once there is one.", "2.2.0", MOVING, keys=PAIR,
           fast=False, oom=True, blocks=True),
    writes(_LIST, "blmpop", -5, _pop_many,
           "Takes from the first list that is there, once there is one.", "7.0.0", POP, numkeys=2,
           fast=False, blocks=True, many=True),
    writes(_ZSET, "bzpopmin", -3, _pop_scored(sorted_sets.MIN),
           "Takes the member with the least score, once there is one.", "5.0.0", POP,
           keys=BUT_LAST, blocks=True, many=True),
    writes(_ZSET, "bzpopmax", -3, _pop_scored(sorted_sets.MAX),
           "Takes the member with the greatest score, once there is one.", "5.0.0", POP,
           keys=BUT_LAST, blocks=True, many=True),
    writes(_ZSET, "bzmpop", -5, _pop_many_scored,
           "Takes from the first sorted set that is there, once there is one.", "7.0.0", POP,
           numkeys=2, fast=False, blocks=True, many=True),
)  # fmt: skip
