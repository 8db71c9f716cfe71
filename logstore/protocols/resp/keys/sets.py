"""SADD, SINTER and all others about sets."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from logstore.broker.keys.sets import Set
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.keys.collection_rows import (
    ALL,
    DELETE,
    INSERT,
    LOOK,
    PAIR,
    POP,
    RO,
    STORE,
    reads,
    writes,
)
from logstore.protocols.resp.keys.element_scans import scan
from logstore.protocols.resp.keys.long_replies import plain, say
from logstore.protocols.resp.keys.reach import CHANCE, find, make, see, store, wrote
from logstore.protocols.resp.keys.words import LONG_MAX, SYNTAX, count, some_keys, within
from logstore.protocols.resp.replies import array, bulk, bulks, set_of
from logstore.protocols.resp.replies import integer as number
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

NO_KEYS: Final = "numkeys should be greater than 0"
TOO_FEW: Final = "Number of keys can't be greater than number of args"
NO_LIMIT: Final = "LIMIT can't be negative"


def _add(client: RespClient, arguments: Sequence[bytes]) -> None:
    key = arguments[1]
    found = make(client, key, Set)
    new = sum(map(found.add, arguments[2:]))
    if new:
        wrote(client, key, found, "sadd")
    client.say(number(new))


def _remove(client: RespClient, arguments: Sequence[bytes]) -> None:
    key = arguments[1]
    found = find(client, key, Set)
    gone = 0 if found is None else sum(map(found.remove, arguments[2:]))
    if found is not None and gone:
        wrote(client, key, found, "srem")
    client.say(number(gone))


def _move(client: RespClient, arguments: Sequence[bytes]) -> None:
    _, source, target, member = arguments
    taken = find(client, source, Set)
    if taken is None:
        client.say(number(0))
        return
    given = make(client, target, Set)
    if taken is given or not taken.remove(member):
        client.say(number(taken is given and member in taken))
        return
    wrote(client, source, taken, "srem")
    if given.add(member):
        wrote(client, target, given, "sadd")
    client.say(number(1))


def _is_member(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], Set)
    client.say(number(found is not None and arguments[2] in found))


def _are_members(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], Set)
    members = () if found is None else found.members
    client.say(array([number(it in members) for it in arguments[2:]]))


def _size(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], Set)
    client.say(number(0 if found is None else len(found)))


def _members(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    found = see(client, arguments[1], Set)
    members = [] if found is None else list(found.in_order())
    mark = b"~" if client.version == 3 else b"*"
    return say(client, b"%b%d\r\n" % (mark, len(members)), members, plain)


def _pop(client: RespClient, arguments: Sequence[bytes]) -> None:
    if len(arguments) > 3:
        raise Wrong(SYNTAX)
    key, counted = arguments[1], len(arguments) == 3
    most = count(arguments[2]) if counted else 1
    found = find(client, key, Set)
    taken: list[bytes] = []
    if found is not None and most >= len(found):
        taken = list(found.in_order())
    elif found is not None:
        taken = CHANCE.sample(found.members.items, most)
    if found is not None and taken:
        for member in taken:
            found.remove(member)
        wrote(client, key, found, "spop")
    if counted:
        client.say(set_of(taken, client.version))
    else:
        client.say(bulk(taken[0]) if taken else client.null())


def _random(client: RespClient, arguments: Sequence[bytes]) -> None:
    """SRANDMEMBER."""
    if len(arguments) > 3:
        raise Wrong(SYNTAX)
    counted = len(arguments) == 3
    asked = within(arguments[2], -LONG_MAX, LONG_MAX) if counted else 1
    found = see(client, arguments[1], Set)
    chosen: Sequence[bytes] = []
    if found is not None and asked < 0:
        chosen = CHANCE.choices(found.members.items, k=-asked)
    elif found is not None and asked >= len(found):
        chosen = found.in_order()
    elif found is not None:
        chosen = CHANCE.sample(found.members.items, asked)
    if counted:
        client.say(bulks(chosen))
    else:
        client.say(bulk(CHANCE.choice(chosen)) if chosen else client.null())


def _scan(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    def some(found: Set, cursor: int, most: int) -> tuple[int, list[bytes]]:
        return (0, list(found.in_order())) if found.small else found.members.scan(cursor, most)

    return scan(client, arguments, Set, some, lambda _, member: (member,))


# Several sets

Sets = Sequence[Set | None]


def _all(client: RespClient, keys: Iterable[bytes]) -> Sets:
    return [see(client, key, Set) for key in keys]


def _intersection(sets: Sets) -> list[bytes]:
    known = [it for it in sets if it is not None]
    if len(known) < len(sets):
        return []
    known.sort(key=len)
    first, *others = known
    if not others:
        return list(first.in_order())
    return [it for it in first.in_order() if all(it in other.members for other in others)]


def _union(sets: Sets) -> list[bytes]:
    found: dict[bytes, None] = {}
    for it in sets:
        if it is not None:
            found.update(dict.fromkeys(it.members))
    return list(found)


def _difference(sets: Sets) -> list[bytes]:
    first, *others = sets
    if first is None:
        return []
    known = [it.members for it in others if it is not None]
    return [it for it in first.in_order() if not any(it in other for other in known)]


Combine = Callable[[Sets], list[bytes]]


def _combined(combine: Combine) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        client.say(_in_order(combine(_all(client, arguments[1:])), client))

    return run


def _in_order(members: list[bytes], client: RespClient) -> bytes:
    """What was made of several is a set of its own, of numbers alone perhaps."""
    return set_of(Set.of(members).in_order() if len(members) <= 512 else members, client.version)


def _stored(combine: Combine) -> Run:
    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        made = Set.of(combine(_all(client, arguments[2:])))
        store(client, arguments[1], made, arguments[0].lower().decode())
        client.say(number(len(made)))

    return run


def _common(client: RespClient, arguments: Sequence[bytes]) -> None:
    """SINTERCARD."""
    keys, at = some_keys(arguments, 1, NO_KEYS)
    if at > len(arguments):
        raise Wrong(TOO_FEW)
    most = 0
    while at < len(arguments):
        if arguments[at].upper() != b"LIMIT" or at + 1 == len(arguments):
            raise Wrong(SYNTAX)
        most, at = count(arguments[at + 1], NO_LIMIT), at + 2
    size = len(_intersection(_all(client, keys)))
    client.say(number(min(size, most) if most else size))


GROUP: Final = "set"
UNORDERED: Final = ("nondeterministic_output_order",)

COMMANDS: Final = (
    writes(GROUP, "sadd", -3, _add, "Adds members to a set.", "1.0.0", INSERT, oom=True, many=True),
    writes(GROUP, "srem", -3, _remove, "Removes members; how many.", "1.0.0", DELETE, many=True),
    writes(GROUP, "smove", 4, _move, "Moves a member to another set.", "1.0.0",
           (("RW", "access", "delete"), ("RW", "insert")), keys=PAIR),
    reads(GROUP, "sismember", 3, _is_member, "Whether it is a member.", "1.0.0", RO),
    reads(GROUP, "smismember", -3, _are_members, "Which of these are members.", "6.2.0", LOOK,
          many=True),
    reads(GROUP, "scard", 2, _size, "How many members there are.", "1.0.0", RO),
    reads(GROUP, "smembers", 2, _members, "All members.", "1.0.0", LOOK, fast=False,
          tips=UNORDERED),
    writes(GROUP, "spop", -2, _pop, "Takes members by chance.", "1.0.0", POP,
           tips=("nondeterministic_output",)),
    reads(GROUP, "srandmember", -2, _random, "Members by chance.", "1.0.0", LOOK, fast=False,
          tips=("nondeterministic_output",)),
    reads(GROUP, "sscan", -3, _scan, "The members, a part at a time.", "2.8.0", LOOK, fast=False,
          tips=("nondeterministic_output",)),
    reads(GROUP, "sinter", -2, _combined(_intersection), "Members of all these sets.", "1.0.0",
          LOOK, keys=ALL, fast=False, tips=UNORDERED, many=True),
    reads(GROUP, "sunion", -2, _combined(_union), "Members of any of these sets.", "1.0.0", LOOK,
          keys=ALL, fast=False, tips=UNORDERED, many=True),
    reads(GROUP, "sdiff", -2, _combined(_difference), "Members of the first set alone.", "1.0.0",
          LOOK, keys=ALL, fast=False, tips=UNORDERED, many=True),
    writes(GROUP, "sinterstore", -3, _stored(_intersection), "Stores what SINTER would say.",
           "1.0.0", (("RW", "update"), ("RO", "access")), keys=ALL, fast=False, oom=True,
           many=True),
    writes(GROUP, "sunionstore", -3, _stored(_union), "Stores what SUNION would say.", "1.0.0",
           STORE, keys=ALL, fast=False, oom=True, many=True),
    writes(GROUP, "sdiffstore", -3, _stored(_difference), "Stores what SDIFF would say.", "1.0.0",
           STORE, keys=ALL, fast=False, oom=True, many=True),
    reads(GROUP, "sintercard", -3, _common, "How many members all these sets have in common.",
          "7.0.0", LOOK, numkeys=1, fast=False, many=True),
)  # fmt: skip
