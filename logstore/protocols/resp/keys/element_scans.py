"""HSCAN, SSCAN and ZSCAN: a collection a part at a time."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from logstore.broker.keys.collection import Collection, some_of
from logstore.errors import InvalidName
from logstore.patterns import Pattern
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.keys.long_replies import plain, saying
from logstore.protocols.resp.keys.look import integer_of
from logstore.protocols.resp.keys.reach import see
from logstore.protocols.resp.keys.words import SYNTAX
from logstore.protocols.resp.replies import array, bulk
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

CURSOR_MAX: Final = 2**64 - 1
COUNT: Final = 10  # elements at a time, where it is not said

Kind = TypeVar("Kind", bound=Collection)
EMPTY: Final = array([bulk(b"0"), array([])])


def cursor_of(text: bytes) -> int:
    """A cursor, parsed like C's ``strtoul``, which must use all bytes. Raises Wrong."""
    digits = text[1:] if text[:1] in (b"-", b"+") else text
    if not text:
        return 0
    if not digits.isdigit() or int(digits[:21]) > CURSOR_MAX:
        raise Wrong("invalid cursor")
    return -int(digits) % 2**64 if text[:1] == b"-" else int(digits)


def options(words: Sequence[bytes]) -> tuple[Pattern | None, int]:
    """The options MATCH and COUNT. Raises Wrong."""
    pattern: Pattern | None = None
    count, at = COUNT, 0
    while at < len(words):
        option, more = words[at].upper(), at + 1 < len(words)
        if option == b"COUNT" and more:
            count = integer_of(words[at + 1])
            if count < 1:
                raise Wrong(SYNTAX)
        elif option == b"MATCH" and more:
            try:
                pattern = None if words[at + 1] == b"*" else Pattern(words[at + 1])
            except InvalidName as error:
                raise Wrong(str(error)) from error
        else:
            raise Wrong(SYNTAX)
        at += 2
    return pattern, count


def scan(
    client: RespClient,
    arguments: Sequence[bytes],
    kind: type[Kind],
    some: Callable[[Kind, int, int], tuple[int, list[bytes]]],
    shown: Callable[[Kind, bytes], Sequence[bytes]],
) -> Steps:
    """``some``: returns names from a cursor on, and the next cursor; ``shown``: the replies for a
    name.
    """
    cursor = cursor_of(arguments[2])
    found = see(client, arguments[1], kind)
    if found is None:
        client.say(EMPTY)
        return
    pattern, count = options(arguments[3:])
    cursor, names = some(found, cursor, count)
    parts: list[bytes] = []
    for some_names in some_of(names):
        for name in some_names:
            matches = pattern is None or (yield from pattern.matching(name))
            if matches and name in found:  # others may have had their turn
                parts += shown(found, name)
        yield len(some_names)
    head = b"*2\r\n%b*%d\r\n" % (bulk(b"%d" % cursor), len(parts))
    yield from saying(client, head, parts, plain)
