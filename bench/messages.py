"""The records most questions use: a value of 100 bytes, a key of 12, no headers.

With ``mixed`` the keys are 8 to 12 bytes long: records of unequal layout, which a reader cannot
take many at a time.
"""

import random

VALUE_BYTES = 100
KEY_BYTES = 12  # unless mixed
KEYS = 1000  # as many different keys; a topic's keys repeat
START_MS = 1_700_000_000_000


def pairs(count: int, seed: int = 1, *, mixed: bool = False) -> list[tuple[bytes, bytes]]:
    """(key, value) pairs, the same ones on each call."""
    rng = random.Random(seed)
    form = b"key-%d" if mixed else b"key-%08d"
    keys = [form % (rng.random() * 10 ** rng.randrange(4, 9)) for _ in range(KEYS)]
    return [(rng.choice(keys), rng.randbytes(VALUE_BYTES)) for _ in range(count)]


def timed(
    count: int, seed: int = 1, *, mixed: bool = False
) -> list[tuple[bytes, bytes, tuple, int]]:
    """(value, key, headers, timestamp) tuples as ``encode`` takes them, a record every 1-3 ms."""
    rng = random.Random(seed)
    messages, now = [], START_MS
    for key, value in pairs(count, seed, mixed=mixed):
        now += rng.randrange(1, 4)
        messages.append((value, key, (), now))
    return messages
