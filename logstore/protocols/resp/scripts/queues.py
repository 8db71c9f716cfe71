"""Scripts of task queues: huey, Sidekiq, kombu and Celery's chords, channels_redis."""

from collections.abc import Generator
from math import floor

from logstore.protocols.resp.scripts.calls import CALL_UNITS, Call, Keys
from logstore.protocols.resp.scripts.values import Value, argument, number, sure


def pop_due(call: Call, keys: Keys, args: Keys) -> Generator[int, None, Value]:
    """huey: take all entries that are due."""
    upto = sure(args[0])
    found = yield from call.in_parts("zrangebyscore", keys[0], b"-inf", upto)
    assert isinstance(found, list)
    taken = yield from call.in_parts("zremrangebyscore", keys[0], b"-inf", upto)
    if taken == len(found):
        return found
    return None


def take_first_due(call: Call, keys: Keys, args: Keys) -> Value:
    """Sidekiq: take one entry that is due."""
    upto = args[0] if args else None
    found = call("zrangebyscore", keys[0], b"-inf", upto, b"LIMIT", 0, 1)
    assert isinstance(found, list)
    if not found:
        return None
    call("zrem", keys[0], found[0])
    return found[0]


def put_back(call: Call, _: Keys, args: Keys) -> Generator[int, None, Value]:
    """channels_redis: restore messages that were taken and not delivered."""
    found = yield from call.in_parts("zrange", args[1], 0, -1, b"WITHSCORES")
    assert isinstance(found, list)
    for at in range(len(found) - 2, -1, -2):
        call("zadd", args[0], found[at + 1], found[at])
        yield CALL_UNITS
    call("del", args[1])
    return None


def send_to_group(call: Call, keys: Keys, args: Keys) -> Generator[int, None, Value]:
    """channels_redis: send a message to each channel with room; returns the number of full ones."""
    full = 0
    for at, key in enumerate(keys):
        count = sure(call("zcount", key, b"-inf", b"+inf"))
        if count < sure(args[at + len(keys)]):
            call("zadd", key, args[-2], args[at])
            call("expire", key, args[-1])
        else:
            full += 1
        yield CALL_UNITS
    return full


def _now_ms(call: Call) -> float:
    now = call("time")
    assert isinstance(now, list)
    return sure(now[0]) * 1000 + floor(sure(now[1]) / 1000)


def refresh_binding(call: Call, keys: Keys, args: Keys) -> Value:
    """kombu: bind a queue, and extend the expiry of its table of bindings."""
    call("sadd", keys[0], args[0])
    call("zadd", keys[1], b"GT", _now_ms(call) + sure(args[2]), args[1])
    return None


def sweep_bindings(call: Call, keys: Keys, args: Keys) -> Generator[int, None, Value]:
    """kombu: remove expired tables, unless they contain a queue without expiry."""
    overdue = call("zrangebyscore", keys[0], b"-inf", _now_ms(call), b"LIMIT", 0, sure(args[2]))
    assert isinstance(overdue, list)
    for exchange in map(argument, overdue):
        if call("exists", args[1] + exchange) == 0:
            call("del", args[0] + exchange)
        call("zrem", keys[0], exchange)
        yield CALL_UNITS
    return len(overdue)


def count_chord_part(call: Call, keys: Keys, args: Keys) -> Value:
    """Celery: count a finished task of a chord's header; the last one gets the claim to
    continue.
    """
    results, total, size, done, group, claim = (keys[place] for place in range(6))
    task, value, ordered, score = (args[place] for place in range(4))
    expires, group_expires, claim_expires = (sure(args[place]) for place in (4, 5, 6))
    if call("get", claim) == b"done":
        return [-1, 0, 0, 0]
    member = task + b":" + score
    if call("sismember", done, member) == 0:
        if ordered == b"1":
            call("zadd", results, score, value)
        else:
            call("rpush", results, value)
        call("sadd", done, member)
    scored = ordered == b"1"
    ready = call("zcount", results, b"-inf", b"+inf") if scored else call("llen", results)
    if expires > 0:
        for key in (results, total, size, done):
            call("expire", key, expires)
        if group_expires > 0:
            call("expire", group, group_expires)
    more, count = call("get", total), call("get", size)
    claimed = 0
    if count is not False and ready == sure(count) + (0 if more is False else sure(more)):
        claimed = int(call("set", claim, args[7], b"NX", b"EX", claim_expires) is not False)
    return [ready, more, count, claimed]


def clean_chord(call: Call, keys: Keys, args: Keys) -> Value:
    """Celery: remove a chord that the holder of the claim has finished."""
    expires = number(args[1])
    if call("get", keys[0]) != args[0]:
        return 0
    call("del", keys[1], keys[2], keys[3], keys[4])
    if expires is not None and expires > 0:
        call("set", keys[0], b"done", b"EX", expires)
    return 1


def extend_chord_claim(call: Call, keys: Keys, args: Keys) -> Value:
    """Celery: extend the claim of its holder, or take it again."""
    claim, size = keys[0], keys[1]
    expires = sure(args[1])
    held = call("get", claim)
    if held == args[0]:
        return call("expire", claim, expires)
    if held is False and call("exists", size) == 1:
        return int(call("set", claim, args[0], b"EX", expires, b"NX") is not False)
    return 0
