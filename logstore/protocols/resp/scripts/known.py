"""The known scripts: what each does, and the programs that execute it.

Each program is identified by the SHA-1 of its canonical text (``program.canonical``). A test
installs the packages that the scripts come from, and checks that the texts are unchanged.
"""

from collections.abc import Generator, Sequence
from math import floor
from typing import Final, NamedTuple

from logstore.protocols.resp.scripts.calls import CALL_UNITS, Call, Keys, Script
from logstore.protocols.resp.scripts.queues import (
    clean_chord,
    count_chord_part,
    extend_chord_claim,
    pop_due,
    put_back,
    refresh_binding,
    send_to_group,
    sweep_bindings,
    take_first_due,
)
from logstore.protocols.resp.scripts.values import (
    Failed,
    Status,
    Value,
    argument,
    number,
    shown,
    sure,
)

PREFIX_STEP: Final = 1000  # keys that are removed at once
ENTRIES_MAX: Final = 10_000  # added at once; no limit of requests is as high


def _at(items: Sequence[bytes], place: int) -> Value:
    """KEYS[1], ARGV[1] and so on; None if there are fewer."""
    return items[place - 1] if place <= len(items) else None


# Locks


def _release(call: Call, keys: Keys, args: Keys) -> Value:
    """Delete a key that holds this token."""
    if call("get", _at(keys, 1)) == _at(args, 1):
        return call("del", keys[0])
    return 0


def _release_one(call: Call, keys: Keys, args: Keys) -> Value:
    """Delete a key that holds this token; returns 1."""
    if call("get", _at(keys, 1)) != _at(args, 1):
        return 0
    call("del", keys[0])
    return 1


def _release_told(call: Call, keys: Keys, args: Keys) -> Value:
    """As ``_release``, but -1 if the key does not exist."""
    held = call("get", _at(keys, 1))
    if held == _at(args, 1):
        return call("del", keys[0])
    return -1 if held is False else 0


def _extend(call: Call, keys: Keys, args: Keys) -> Value:
    """redis-py: extend the expiry of the key that holds this token."""
    if call("get", _at(keys, 1)) != _at(args, 1):
        return 0
    left = sure(call("pttl", keys[0]))
    if left < 0:
        return 0
    ttl = _at(args, 2)
    if _at(args, 3) == b"0":
        ttl = sure(ttl) + left
    call("pexpire", keys[0], ttl)
    return 1


def _reacquire(call: Call, keys: Keys, args: Keys) -> Value:
    if call("get", _at(keys, 1)) != _at(args, 1):
        return 0
    call("pexpire", keys[0], _at(args, 2))
    return 1


def _put_off(call: Call, keys: Keys, args: Keys) -> Value:
    """Set the expiry of the key that holds this token; returns the result of PEXPIRE."""
    if call("get", _at(keys, 1)) == _at(args, 1):
        return call("pexpire", keys[0], _at(args, 2))
    return 0


def _save(call: Call, keys: Keys, args: Keys) -> Value:
    """Symfony: take the key, or extend its expiry."""
    if call("get", _at(keys, 1)) == _at(args, 1):
        return call("pexpire", keys[0], _at(args, 2))
    return call("set", keys[0], _at(args, 1), b"NX", b"PX", _at(args, 2))


def _lock_all(call: Call, keys: Keys, args: Keys) -> Generator[int, None, Value]:
    """Redlock: take keys, if none of them exists."""
    for key in keys:
        if call("exists", key) == 1:
            return 0
        yield CALL_UNITS
    return (yield from _set_all(call, keys, args))


def _set_all(call: Call, keys: Keys, args: Keys) -> Generator[int, None, Value]:
    for key in keys:
        call("set", key, _at(args, 1), b"PX", _at(args, 2))
        yield CALL_UNITS
    return len(keys)


def _extend_all(call: Call, keys: Keys, args: Keys) -> Generator[int, None, Value]:
    for key in keys:
        if call("get", key) != _at(args, 1):
            return 0
        yield CALL_UNITS
    return (yield from _set_all(call, keys, args))


def _unlock_all(call: Call, keys: Keys, args: Keys) -> Generator[int, None, Value]:
    held = []
    for key in dict.fromkeys(keys):
        if call("get", key) == _at(args, 1):
            held.append(key)
        yield CALL_UNITS
    for key in held:
        call("del", key)
        yield CALL_UNITS
    return len(held)


def _aio_set(call: Call, keys: Keys, args: Keys) -> Value:
    """Aioredlock: take the key, or extend its expiry."""
    held = call("get", _at(keys, 1))
    if held is False or held == _at(args, 1):
        return call("set", keys[0], _at(args, 1), b"PX", _at(args, 2))
    raise Failed(b"ERROR")


def _aio_unset(call: Call, keys: Keys, args: Keys) -> Value:
    held = call("get", _at(keys, 1))
    if held is False:
        return Status(b"OK")
    if held == _at(args, 1):
        return call("del", keys[0])
    raise Failed(b"ERROR")


def _aio_ttl(call: Call, keys: Keys, args: Keys) -> Value:
    held = call("get", _at(keys, 1))
    if held is not False and held == _at(args, 1):
        return call("ttl", keys[0])
    raise Failed(b"ERROR")


def _signal(call: Call, key: Value, ttl_ms: Value) -> None:
    call("del", key)
    call("lpush", key, 1)
    call("pexpire", key, ttl_ms)


def _unlock_and_signal(call: Call, keys: Keys, args: Keys) -> Value:
    """python-redis-lock: release the lock and signal a waiting client."""
    if call("get", _at(keys, 1)) != _at(args, 1):
        return 1
    _signal(call, _at(keys, 2), _at(args, 2))
    call("del", keys[0])
    return 0


def _extend_lock(call: Call, keys: Keys, args: Keys) -> Value:
    if call("get", _at(keys, 1)) != _at(args, 1):
        return 1
    if sure(call("ttl", keys[0])) < 0:
        return 2
    call("expire", keys[0], _at(args, 2))
    return 0


def _reset_lock(call: Call, keys: Keys, args: Keys) -> Value:
    _signal(call, _at(keys, 2), _at(args, 2))
    return call("del", keys[0])


def _reset_all_locks(call: Call, _: Keys, __: Keys) -> Generator[int, None, Value]:
    locks = yield from call.keys(b"lock:*")
    for lock in locks:
        signal = b"lock-signal:" + lock.removeprefix(b"lock:")
        call("del", signal)
        call("lpush", signal, 1)
        call("expire", signal, 1)
        call("del", lock)
        yield 1
    return len(locks)


# Counters and caches


def _add_if_there(call: Call, keys: Keys, args: Keys) -> Value:
    """django-redis: INCRBY of an existing key."""
    if call("exists", _at(keys, 1)) == 1:
        return call("incrby", keys[0], _at(args, 1))
    return False


def _add(call: Call, keys: Keys, args: Keys) -> Value:
    return call("incrby", _at(keys, 1), _at(args, 1))


def _swap(call: Call, keys: Keys, args: Keys) -> Value:
    """aiocache: replace a value, if it equals the expected one."""
    if call("get", _at(keys, 1)) != _at(args, 2):
        return 0
    if len(args) == 4:
        return call("set", keys[0], args[0], args[2], args[3])
    return call("set", keys[0], args[0])


def _put_new(call: Call, keys: Keys, args: Keys) -> Value:
    """Laravel: store a value that expires, if the key does not exist."""
    if sure(call("exists", _at(keys, 1))) < 1:
        return call("setex", keys[0], _at(args, 2), _at(args, 1))
    return False


def _count_hit(call: Call, keys: Keys, args: Keys) -> Value:
    """rate-limit-redis 6: count a hit."""
    window_ms = number(_at(args, 1))
    left = call("pttl", _at(keys, 1))
    if sure(left) <= 0:
        call("set", keys[0], 1, b"PX", window_ms)
        return [1, window_ms]
    return [call("incr", keys[0]), left]


def _count_hit_before(call: Call, keys: Keys, args: Keys) -> Value:
    """rate-limit-redis 3 and 4: count a hit."""
    hits = call("incr", _at(keys, 1))
    left = call("pttl", keys[0])
    if sure(left) <= 0 or _at(args, 1) == b"1":
        left = sure(_at(args, 2))
        call("pexpire", keys[0], left)
    return [hits, left]


def _hits(call: Call, keys: Keys, _: Keys) -> Value:
    return [call("get", _at(keys, 1)), call("pttl", keys[0])]


def _add_until(call: Call, keys: Keys, args: Keys) -> Value:
    """limits: count in a fixed window."""
    amount = number(_at(args, 2))
    count = call("incrby", _at(keys, 1), amount)
    if number(count) == amount:
        call("expire", keys[0], _at(args, 1))
    return count


def _shift(call: Call, keys: Keys, expiry: float, left: float) -> bool:
    """Make the window that has ended the previous one."""
    if not 0 < left < expiry:
        return False
    call("rename", keys[1], keys[0])
    call("set", keys[1], 0, b"PX", left + expiry)
    return True


def _look_at_windows(call: Call, keys: Keys, args: Keys) -> Value:
    """limits: read a sliding window."""
    expiry = sure(_at(args, 1)) * 1000

    def looked() -> list[Value]:
        return [call(name, key) for key in (keys[0], keys[1]) for name in ("get", "pttl")]

    found = looked()
    return looked() if _shift(call, keys, expiry, sure(found[3])) else found


def _take_of_windows(call: Call, keys: Keys, args: Keys) -> Value:
    limit, amount = sure(_at(args, 1)), sure(_at(args, 3))
    expiry = sure(_at(args, 2)) * 1000
    if amount > limit:
        return False
    _shift(call, keys, expiry, sure(call("pttl", _at(keys, 2))))
    before = number(call("get", keys[0])) or 0
    before_left = max(number(call("pttl", keys[0])) or 0, 0)
    count = number(call("get", keys[1])) or 0
    if floor(before * before_left / expiry) + count + amount > limit:
        return False
    if call("exists", keys[1]) == 1:
        call("incrby", keys[1], amount)
    else:
        call("set", keys[1], amount, b"PX", expiry * 2)
    return True


def _take_of_moving(call: Call, keys: Keys, args: Keys) -> Value:
    """limits: count hits in a moving window, in which each hit is an entry."""
    time, limit, expiry, amount = (sure(_at(args, place)) for place in (1, 2, 3, 4))
    if amount > limit:
        return False
    return _take_entries(call, keys, (time, limit, expiry, amount))


def _take_of_moving_before(call: Call, keys: Keys, args: Keys) -> Value:
    """Limits 2, which does not check first whether the amount exceeds the limit."""
    time, limit, expiry, amount = (sure(_at(args, place)) for place in (1, 2, 3, 4))
    return _take_entries(call, keys, (time, limit, expiry, amount))


def _take_entries(call: Call, keys: Keys, asked: tuple[float, float, float, float]) -> Value:
    time, limit, expiry, amount = asked
    entry = call("lindex", _at(keys, 1), limit - amount)
    if entry is not False and sure(entry) >= time - expiry:
        return False
    if amount > ENTRIES_MAX:
        raise Failed(b"ERR more than %d entries at once" % ENTRIES_MAX)
    if amount >= 1:
        call("lpush", keys[0], *[argument(time)] * int(amount))
    call("ltrim", keys[0], 0, limit - 1)
    call("expire", keys[0], expiry)
    return True


def _look_at_moving(call: Call, keys: Keys, args: Keys) -> Value:
    """limits: the oldest entry in the window and the number of entries; a binary search."""
    size, expiry = sure(_at(args, 2)), sure(_at(args, 1))
    low, high, found = 0, int(size) - 1, None
    while low <= high:
        middle = (low + high) // 2
        value = number(call("lindex", _at(keys, 1), middle))
        if value is not None and value >= expiry:
            found, low = middle, middle + 1
        else:
            high = middle - 1
    if found is None:
        return None
    return [shown(sure(call("lindex", keys[0], found))), found + 1]


def _entries(call: Call, keys: Keys, args: Keys) -> list[float]:
    """The entries in the window, from the newest on."""
    expiry = sure(_at(args, 1))
    items = call("lrange", _at(keys, 1), 0, sure(_at(args, 2)))
    assert isinstance(items, list)
    found: list[float] = []
    for item in items:
        if sure(item) < expiry:
            break
        found.append(sure(item))
    return found


def _look_at_moving_text(call: Call, keys: Keys, args: Keys) -> Value:
    """Limits 4: the oldest entry as text, and the number of entries."""
    found = _entries(call, keys, args)
    return [shown(min(found)), len(found)] if found else None


def _look_at_moving_number(call: Call, keys: Keys, args: Keys) -> Value:
    """Limits 3: the oldest entry as a number, and the number of entries."""
    found = _entries(call, keys, args)
    return [min(found), len(found)] if found else [None, 0]


def _look_at_moving_newest(call: Call, keys: Keys, args: Keys) -> Value:
    """Limits 2: the newest entry, and the number of entries."""
    found = _entries(call, keys, args)
    return [found[0], len(found)] if found else [None, 0]


def _remove_all(call: Call, names: list[bytes]) -> Generator[int, None, int]:
    count = 0
    for at in range(0, len(names), PREFIX_STEP):
        some = names[at : at + PREFIX_STEP]
        count += int(sure(call("del", *some)))
        yield len(some)
    return count


def _clear(call: Call, keys: Keys, _: Keys) -> Generator[int, None, Value]:
    """limits: remove what matches a pattern."""
    return (yield from _remove_all(call, (yield from call.keys(_at(keys, 1)))))


def _clear_quietly(call: Call, _: Keys, args: Keys) -> Generator[int, None, Value]:
    """channels_redis: remove keys that match a pattern, without a result."""
    yield from _remove_all(call, (yield from call.keys(_at(args, 1))))
    return None


class Known(NamedTuple):
    """A script, and the texts of it that are recognized."""

    of: str  # for people
    run: Script
    programs: tuple[str, ...]


KNOWN: Final = (
    Known("redis-py's Lock", _release_one, ("6013ae0c95eeba7b3e33a88fc8d25a77f4b550fe",)),
    Known("redis-py's Lock", _extend, ("d8a398966e7abc78a880ed5663c322deb19842b9",)),
    Known("redis-py's Lock", _reacquire, ("c71cad0a6ec0d7d5ebef9ee0a7da090bd349b10e",)),
    Known("aiocache, Laravel, Symfony", _release, ("8f4d42e76cbb4fad0f45e575441b8a269ebc173c",)),
    Known("Symfony, redsync", _put_off, ("dc8ad6110baa7f60ed379b4db40a165d3c7e1ae1",)),
    Known("Symfony", _save, ("9e9cc251dc3d55fc05f5dd72bf3eec7ad461a51a",)),
    Known("redsync", _release_told, ("431f8b0689baa2a78179a9d84b54b5ae214d6570",)),
    Known("redlock", _lock_all, ("cf5bca8f73a8165d2f7c0d50da32a8f6702e4ca0",)),
    Known("redlock", _unlock_all, ("d170c1b6d0d1e4e4392607d9d8789dc336c35116",)),
    Known("redlock", _extend_all, ("8479818fb87bc8b8120b68a2f0b79ce2bc306ea7",)),
    Known("aioredlock", _aio_set, ("6a4388d39c5bdaeccaa6a6815b7a5121bfee03a6",)),
    Known("aioredlock", _aio_unset, ("8f66f8abc0e63fb145accdd4dfb6b8fa032148f2",)),
    Known("aioredlock", _aio_ttl, ("9d286bca3e7c8b07d0e3810c7c01832db912bc72",)),
    Known("python-redis-lock", _unlock_and_signal, ("9fbac0c0388b89f43a6da06cdd5fbecd8199c986",)),
    Known("python-redis-lock", _extend_lock, ("2d061d85232f1a827b11ef611d1defbe2b7aeebb",)),
    Known("python-redis-lock", _reset_lock, ("97834f27ee49e4e2c8f78be41120e41de38464b6",)),
    Known("python-redis-lock", _reset_all_locks, ("0e0e1874f7853b9dedb3e1843d9ccfb14f82e583",)),
    Known("django-redis", _add_if_there, ("e7b7aef62fe076bc53593127fd29a35e163c0292",)),
    Known("django-redis", _add, ("79d5e0e8b55197c9609e386648162577d72f98c4",)),
    Known("aiocache", _swap, ("938b63cb030297b1292c166ca89c8738608cccb5",)),
    Known("Laravel", _put_new, ("01b05c6bf89c7d7be88a5abac8291672d3648b37",)),
    Known("rate-limit-redis", _count_hit, ("fe7c87c1115d83afc44e49e59c7bf8651a327ace",)),
    Known("rate-limit-redis", _count_hit_before, ("560f57dc0682f7034fd1362ed9f92cd8e04cb51c",)),
    Known("rate-limit-redis", _hits, ("5bda0995b303189297ad9ee7193ddad4d82a5aca",)),
    Known("limits", _add_until, ("c6cfbd6f8c4fae69f8a3c3b7e930fc6a37a5597f",)),
    Known("limits", _look_at_windows, ("86df68add324c0edfa69c4c4466f004b1fbff9b4",)),
    Known("limits", _take_of_windows, ("26a2f4fcddd7298d7965bfc997f63766a0237974",)),
    Known("limits", _take_of_moving, (
        "b0d6acd4e2ec85febfb80df7d9ec93b3b31c1fce", "9f409403e37870d19f65ea3ffb6411f91ae169ca",
    )),
    Known("limits", _take_of_moving_before, ("ee32eda12282c09010760d7ad5a8d46d4f3dbb7f",)),
    Known("limits", _look_at_moving, ("5df0ecb6e303ee4fd5940123e54bb43d49cd9a6e",)),
    Known("limits", _look_at_moving_text, ("47fea55175ed4500740643e2ab7b9ee0ab4fbd1e",)),
    Known("limits", _look_at_moving_number, ("7e1a2848ed6035be4939b5bf0a7a6fa76e6d3f6a",)),
    Known("limits", _look_at_moving_newest, ("5628c9464be5bdf425729292247463866682f321",)),
    Known("limits", _clear, ("74b724a5534a608cf74beb4051bc33c970606a12",)),
    Known("huey", pop_due, (
        "01213b0fc35437046615521dc50a1d0a8d8f446f", "a78f2c5ce25baf68fbd908da271b2d4785a04708",
    )),
    Known("Sidekiq", take_first_due, (
        "ced1d9625cc75ef72a1f97bb2c349f882e8d4e75", "bf765e7268a58fe8223ca415b7b199f4ae1ad812",
    )),
    Known("kombu", refresh_binding, ("00199851afa202eb81beb564acf2f64a572fc288",)),
    Known("kombu", sweep_bindings, ("0b8e0acaacff1adfa9ff303041cf4dca7ebe9376",)),
    Known("Celery", count_chord_part, ("cc30560efaa22f2d244996b1cdc73ecfadf3f3f7",)),
    Known("Celery", clean_chord, ("9a215ba9aa1b836950fd9cb39047be2c664c6fb9",)),
    Known("Celery", extend_chord_claim, ("9fd77514df83c74d72c19c0c14814f8f69206171",)),
    Known("channels_redis", put_back, ("ccd7f74e182ee5e552dd27038f5a909861d9cf22",)),
    Known("channels_redis", _clear_quietly, ("c239dccc14def3037fd85b32a8e4fe7b2dcafff9",)),
    Known("channels_redis", send_to_group, ("ba221723aafc4b2475c68cf52654b484af2f2bf3",)),
)  # fmt: skip
BY_PROGRAM: Final = {program: it for it in KNOWN for program in it.programs}
