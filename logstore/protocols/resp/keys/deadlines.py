"""Expiry of keys: the options of commands, and the commands about expiry alone."""

from collections.abc import Sequence
from typing import Final

from logstore.broker.keys.keyspace import Keyspace
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.keys import rows
from logstore.protocols.resp.keys.look import integer_of, keyspace, look
from logstore.protocols.resp.replies import integer
from logstore.protocols.resp.wrong import Wrong

TIME_MAX: Final = 2**63 - 1  # ms since 1970, or from now
NO_KEY: Final = integer(-2)
NEVER: Final = integer(-1)
# For a command's option: ms per unit, and whether it counts from now.
UNITS: Final = {b"EX": (1000, True), b"PX": (1, True), b"EXAT": (1000, False), b"PXAT": (1, False)}


def deadline_of(space: Keyspace, text: bytes, unit_ms: int, name: str, *, from_now: bool) -> int:
    """The time at which a value set by the command expires. Raises Wrong."""
    time = integer_of(text)
    if time <= 0 or time * unit_ms > TIME_MAX:
        raise _bad_time(name)
    return _since_1970(space, time * unit_ms, name, from_now=from_now)


def _bad_time(name: str) -> Wrong:
    return Wrong(f"invalid expire time in '{name}' command")


def _since_1970(space: Keyspace, time_ms: int, name: str, *, from_now: bool) -> int:
    begin_ms = space.clock() if from_now else 0
    if time_ms > TIME_MAX - begin_ms:
        raise _bad_time(name)
    return begin_ms + time_ms


def _condition(arguments: Sequence[bytes]) -> frozenset[bytes]:
    """Raises Wrong."""
    found: set[bytes] = set()
    for shown in arguments:
        word = shown.lower()
        if word not in (b"nx", b"xx", b"gt", b"lt"):
            raise Wrong(b"Unsupported option %b" % shown)
        found.add(word)
    if b"nx" in found and len(found) > 1:
        raise Wrong("NX and XX, GT or LT options at the same time are not compatible")
    if {b"gt", b"lt"} <= found:
        raise Wrong("GT and LT options at the same time are not compatible")
    return frozenset(found)


def _holds(condition: frozenset[bytes], now: int | None, wanted: int) -> bool:
    """Whether the condition lets a key's deadline, or the lack of one, be replaced."""
    if b"nx" in condition and now is not None:
        return False
    if b"xx" in condition and now is None:
        return False
    if b"gt" in condition and (now is None or wanted <= now):
        return False
    return not (b"lt" in condition and now is not None and wanted >= now)


def _expire(unit_ms: int, *, from_now: bool) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> bytes:
        name, key, space = arguments[0].decode().lower(), arguments[1], keyspace(client)
        condition = _condition(arguments[3:])
        time_ms = integer_of(arguments[2]) * unit_ms
        if not -TIME_MAX - 1 <= time_ms <= TIME_MAX:
            raise _bad_time(name)
        wanted = _since_1970(space, time_ms, name, from_now=from_now)
        if look(client, key) is None or not _holds(condition, space.deadline(key), wanted):
            return integer(0)
        if wanted <= space.clock():
            space.remove(key)
        else:
            space.date(key, wanted)
        return integer(1)

    return rows.says(run)


def _left(unit_ms: int) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> bytes:
        space, key = keyspace(client), arguments[1]
        if look(client, key) is None:
            return NO_KEY
        deadline = space.deadline(key)
        if deadline is None:
            return NEVER
        return integer((max(deadline - space.clock(), 0) + unit_ms // 2) // unit_ms)

    return rows.says(run)


def _when(unit_ms: int) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> bytes:
        if look(client, arguments[1]) is None:
            return NO_KEY
        deadline = keyspace(client).deadline(arguments[1])
        return NEVER if deadline is None else integer((deadline + unit_ms // 2) // unit_ms)

    return rows.says(run)


def _persist(client: RespClient, arguments: Sequence[bytes]) -> bytes:
    if look(client, arguments[1]) is None:
        return integer(0)
    return integer(int(keyspace(client).persist(arguments[1])))


_VARIES: Final = ("nondeterministic_output",)

COMMANDS: Final = (
    rows.read("ttl", 2, _left(1000), "How long a key will still live, in seconds.", "1.0.0",
              tips=_VARIES),
    rows.read("pttl", 2, _left(1), "The same in milliseconds.", "2.6.0", tips=_VARIES),
    rows.read("expiretime", 2, _when(1000), "When a key expires, in seconds since 1970.", "7.0.0"),
    rows.read("pexpiretime", 2, _when(1), "The same in milliseconds.", "7.0.0"),
    rows.write("expire", -3, _expire(1000, from_now=True), "Has a key expire in so many seconds.",
               "1.0.0", keys=rows.FIRST),
    rows.write("pexpire", -3, _expire(1, from_now=True), "The same in milliseconds.", "2.6.0",
               keys=rows.FIRST),
    rows.write("expireat", -3, _expire(1000, from_now=False), "Has a key expire at a time.",
               "1.2.0", keys=rows.FIRST),
    rows.write("pexpireat", -3, _expire(1, from_now=False), "The same in milliseconds.", "2.6.0",
               keys=rows.FIRST),
    rows.write("persist", 2, rows.says(_persist), "Has a key never expire.", "2.2.0",
               keys=rows.FIRST),
)  # fmt: skip
