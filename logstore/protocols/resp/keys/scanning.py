"""Commands on all keys: KEYS, SCAN, RANDOMKEY, FLUSHDB."""

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Final, NamedTuple

from logstore.broker.keys.keys import DATABASES
from logstore.errors import InvalidName
from logstore.patterns import Pattern
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.keys import rows
from logstore.protocols.resp.keys.generic import kind_of
from logstore.protocols.resp.keys.long_replies import plain, saying
from logstore.protocols.resp.keys.look import all_seen, integer_of, keyspace
from logstore.protocols.resp.relaying import flush_elsewhere
from logstore.protocols.resp.replies import OK, array, bulk
from logstore.protocols.resp.tracking import tell_flushed
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

CURSOR_MAX: Final = 2**64 - 1
COUNT: Final = 10  # keys that SCAN looks at by default
SCANNED_AT_ONCE: Final = 1000
SYNTAX: Final = "syntax error"
TRIES: Final = 100  # at random, for a key that one may know of


class Scan(NamedTuple):
    """The arguments of SCAN."""

    cursor: int
    most: int = COUNT
    pattern: bytes | None = None
    kind: bytes | None = None


def _cursor(text: bytes) -> int:
    """A cursor, parsed like C's ``strtoul``, which must use all bytes. Raises Wrong."""
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    if text and not (digits.isdigit() and int(digits[:21]) <= CURSOR_MAX):
        raise Wrong("invalid cursor")
    number = int(digits or b"0")
    return (-number if text[:1] == b"-" else number) & CURSOR_MAX


def _asked(arguments: Sequence[bytes]) -> Scan:
    """Raises Wrong."""
    asked, at = Scan(_cursor(arguments[1])), 2
    while at < len(arguments):
        option = arguments[at].upper()
        if option not in (b"MATCH", b"COUNT", b"TYPE") or at + 1 == len(arguments):
            raise Wrong(SYNTAX)
        given = arguments[at + 1]
        if option == b"COUNT":
            count = integer_of(given)
            if count < 1:
                raise Wrong(SYNTAX)
            asked = asked._replace(most=count)
        elif option == b"MATCH":
            asked = asked._replace(pattern=given)
        else:
            asked = asked._replace(kind=given.lower())
        at += 2
    return asked


def _pattern(text: bytes | None) -> Pattern | None:
    """Parse a pattern; None if it matches everything. Raises Wrong."""
    if text is None or text == b"*":
        return None
    try:
        return Pattern(text)
    except InvalidName as error:
        raise Wrong(str(error)) from None


def _matching(
    client: RespClient, keys: Sequence[bytes], pattern: Pattern | None
) -> Generator[int, None, list[bytes]]:
    """The keys that match and that the client may see."""
    sees: Callable[[bytes], bool] = client.permits.may_see_key
    some = keys if client.permits.sees_all_keys else [key for key in keys if sees(key)]
    if pattern is None:
        yield len(some)
        return list(some)
    found = []
    for key in some:
        if (yield from pattern.matching(key)):
            found.append(key)  # noqa: PERF401  a comprehension can't yield
    return found


def _keys(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    found = yield from matching_keys(client, arguments[1])
    yield from saying(client, b"*%d\r\n" % len(found), found, plain)


def matching_keys(client: RespClient, text: bytes) -> Generator[int, None, list[bytes]]:
    """All keys that match a pattern. Raises Wrong."""
    pattern, found = _pattern(text), list[bytes]()
    for keys in all_seen(client).parts():
        found += yield from _matching(client, keys, pattern)
    return found


def _scan(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    asked = _asked(arguments)
    pattern, cursor, left = _pattern(asked.pattern), asked.cursor, asked.most
    space, found = all_seen(client), []
    while left > 0:
        some, cursor = space.order.scan(cursor, min(left, SCANNED_AT_ONCE))
        left -= SCANNED_AT_ONCE
        alive = space.alive(some)
        if asked.kind is not None:
            alive = [key for key in alive if kind_of(space.values.get(key)) == asked.kind]
        found += yield from _matching(client, alive, pattern)
        if not cursor:
            break
    client.say(array([bulk(b"%d" % cursor), array(list(map(bulk, found)))]))


def _random(client: RespClient, _: Sequence[bytes]) -> bytes:
    space, chance = all_seen(client), client.door.keys.chance
    for _try in range(TRIES):
        key = space.any_key(chance)
        if key is None:
            return client.null()
        if client.permits.sees_all_keys or client.permits.may_see_key(key):
            return bulk(key)
    return client.null()


def _check_flush(arguments: Sequence[bytes]) -> None:
    if len(arguments) > 2 or (
        len(arguments) == 2 and arguments[1].lower() not in (b"async", b"sync")
    ):
        raise Wrong(SYNTAX)


def _flushdb(client: RespClient, arguments: Sequence[bytes]) -> None:
    _check_flush(arguments)
    client.door.keys.flush([keyspace(client).number])
    client.say(OK)
    tell_flushed(client)


def _flushall(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    _check_flush(arguments)
    if client.door.keys.elsewhere and not client.relayed:
        return _flushing_elsewhere(client)
    _flush_all(client, range(DATABASES))
    return None


def _flushing_elsewhere(client: RespClient) -> Steps:
    """Flush databases one by one, those of this node last."""
    yield from flush_elsewhere(client)
    elsewhere = client.door.keys.elsewhere
    _flush_all(client, [it for it in range(DATABASES) if it not in elsewhere])


def _flush_all(client: RespClient, numbers: Iterable[int]) -> None:
    client.door.keys.flush([keyspace(client, it).number for it in numbers])
    client.say(OK)
    tell_flushed(client)


_DANGEROUS: Final = ("@dangerous",)
_SHARDS: Final = "request_policy:all_shards"

COMMANDS: Final = (
    rows.read("keys", 2, _keys, "The keys that match.", "1.0.0", keys=rows.NONE, fast=False,
              tips=(_SHARDS, "nondeterministic_output_order"), more=_DANGEROUS),
    rows.read("scan", -2, _scan, "The keys, a part at a time.", "2.8.0", keys=rows.NONE,
              fast=False,
              tips=("nondeterministic_output", "request_policy:special",
                    "response_policy:special")),
    rows.read("randomkey", 1, rows.says(_random), "Any key.", "1.0.0", keys=rows.NONE, fast=False,
              tips=(_SHARDS, "response_policy:special", "nondeterministic_output")),
    rows.write("flushdb", -1, _flushdb, "Removes all keys of a database.", "1.0.0", fast=False,
               tips=rows.EVERYWHERE, more=_DANGEROUS),
    rows.write("flushall", -1, _flushall, "Removes all keys.", "1.0.0", fast=False,
               tips=rows.EVERYWHERE, more=_DANGEROUS),
)  # fmt: skip
