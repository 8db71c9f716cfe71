"""SADD, SINTER and all other commands on sets."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final, NamedTuple

from logstore.broker.keys.collection import parts_of, some_of
from logstore.broker.keys.sets import INTSET_MEMBERS, Set
from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.keys.chance import places, say_drawn
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
from logstore.protocols.resp.keys.long_replies import plain, say, saying
from logstore.protocols.resp.keys.reach import CHANCE, find, make, see, store, wrote
from logstore.protocols.resp.keys.rows import (
    LOOKED_AT_ONCE,
    LOOKS_A_UNIT,
    UNITS_A_COMMAND,
    in_parts,
)
from logstore.protocols.resp.keys.words import LONG_MAX, SYNTAX, count, some_keys, within
from logstore.protocols.resp.replies import bulk
from logstore.protocols.resp.replies import integer as number
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

YES, NO = number(1), number(0)
NO_KEYS: Final = "numkeys should be greater than 0"
TOO_FEW: Final = "Number of keys can't be greater than number of args"
NO_LIMIT: Final = "LIMIT can't be negative"


@in_parts
def _add(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    key, new = arguments[1], 0
    found = make(client, key, Set)
    for some in some_of(arguments[2:]):
        new += found.add_all(some)
        yield len(some)
    if new:
        wrote(client, key, found, "sadd")
    client.say(number(new))


@in_parts
def _remove(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    key, gone = arguments[1], 0
    found = find(client, key, Set)
    if found is not None:
        for some in some_of(arguments[2:]):
            gone += sum(map(found.remove, some))
            yield len(some)
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


@in_parts
def _are_members(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    found = see(client, arguments[1], Set)
    members: Mapping[bytes, object] = {} if found is None else found.members.places

    def written(some: Sequence[bytes]) -> bytes:
        return b"".join([YES if it in members else NO for it in some])

    asked = arguments[2:]
    yield from saying(client, b"*%d\r\n" % len(asked), asked, written)


def _size(client: RespClient, arguments: Sequence[bytes]) -> None:
    found = see(client, arguments[1], Set)
    client.say(number(0 if found is None else len(found)))


def _members(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
    found = see(client, arguments[1], Set)
    members = [] if found is None else list(found.in_order())
    return say(client, _head(client, members), members, plain)


def _head(client: RespClient, members: Sequence[bytes]) -> bytes:
    return b"%b%d\r\n" % (b"~" if client.version == 3 else b"*", len(members))


@in_parts
def _pop(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    if len(arguments) > 3:
        raise Wrong(SYNTAX)
    key, counted = arguments[1], len(arguments) == 3
    most = count(arguments[2]) if counted else 1
    found = find(client, key, Set)
    taken: list[bytes] = []
    if found is not None:
        whole = list(found.in_order()) if most >= len(found) else None
        for some in some_of(range(min(most, len(found))) if whole is None else whole):
            for it in some:
                member = it if isinstance(it, bytes) else found.any(CHANCE)
                found.remove(member)
                taken.append(member)
            yield len(some)
        if taken:
            wrote(client, key, found, "spop")
    if counted:
        yield from saying(client, _head(client, taken), taken, plain)
    else:
        client.say(bulk(taken[0]) if taken else client.null())


@in_parts
def _random(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    """SRANDMEMBER."""
    if len(arguments) > 3:
        raise Wrong(SYNTAX)
    counted = len(arguments) == 3
    asked = within(arguments[2], -LONG_MAX, LONG_MAX) if counted else 1
    found = see(client, arguments[1], Set)
    chosen: Sequence[bytes] = []
    if found is not None and asked >= len(found):
        chosen = found.in_order()
    elif found is not None:
        members = found.members.items
        chosen = [members[at] for at in (yield from places(len(members), asked))]
    if counted:
        yield from say_drawn(client, b"*%d\r\n" % len(chosen), chosen, plain)
    else:
        client.say(bulk(CHANCE.choice(chosen)) if chosen else client.null())


def _scan(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    def some(found: Set, cursor: int, most: int) -> tuple[int, list[bytes]]:
        return (0, list(found.in_order())) if found.small else found.members.scan(cursor, most)

    return scan(client, arguments, Set, some, lambda _, member: (member,))


# Several sets

Found = Generator[int, None, list[bytes]]  # in steps


class Sets(NamedTuple):
    """The sets that a command names."""

    found: list[Set | None]
    sizes: list[int]


def _all(client: RespClient, keys: Sequence[bytes]) -> Generator[int, None, Sets]:
    sets = Sets([], [])
    for some in some_of(keys):
        found = [see(client, key, Set) for key in some]
        sets.found.extend(found)
        sets.sizes.extend([0 if it is None else len(it) for it in found])
        yield len(some)
    return sets


def _intersection(sets: Sets) -> Found:
    if None in sets.found:
        return []
    found: list[bytes] | None = None
    for at in sorted(range(len(sets.sizes)), key=sets.sizes.__getitem__):  # from the smallest on
        chosen = sets.found[at]
        assert chosen is not None
        if found is None:
            found = list(chosen.in_order())
        else:
            found = yield from _sieved(found, chosen, there=True)
    return found or []


def _sieved(members: list[bytes], other: Set, *, there: bool) -> Found:
    """The members that the other set contains, or does not contain."""
    names, left = other.members.places, list[bytes]()
    for some in parts_of(members, LOOKED_AT_ONCE):
        left += [it for it in some if (it in names) is there]
        yield UNITS_A_COMMAND + len(some) // LOOKS_A_UNIT
    return left


def _union(sets: Sets) -> Found:
    found: dict[bytes, None] = {}
    there = [it for it in sets.found if it is not None]
    for it in there:
        for some in parts_of(it.members, LOOKED_AT_ONCE):
            found.update(dict.fromkeys(some))
            yield UNITS_A_COMMAND + len(some) // LOOKS_A_UNIT
    return list(found)


def _difference(sets: Sets) -> Found:
    first = sets.found[0]
    found = [] if first is None else list(first.in_order())
    others = [it for it in sets.found[1:] if it is not None] if found else []
    for it in others:
        if found:
            found = yield from _sieved(found, it, there=False)
    return found


Combine = Callable[[Sets], Found]


def _combined(combine: Combine) -> Run:
    def steps(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        members = yield from combine((yield from _all(client, arguments[1:])))
        if len(members) <= INTSET_MEMBERS:  # a set of its own, of numbers alone perhaps
            members = Set.of(members).in_order()
        yield from saying(client, _head(client, members), members, plain)

    return in_parts(steps)


def _stored(combine: Combine) -> Run:
    def steps(client: RespClient, arguments: Sequence[bytes]) -> Steps:
        members = yield from combine((yield from _all(client, arguments[2:])))
        made = Set()
        for some in some_of(members):
            made.add_all(some)
            yield len(some)
        store(client, arguments[1], made, arguments[0].lower().decode())
        client.say(number(len(made)))

    return in_parts(steps)


@in_parts
def _common(client: RespClient, arguments: Sequence[bytes]) -> Steps:
    """SINTERCARD."""
    keys, at = some_keys(arguments, 1, NO_KEYS)
    if at > len(arguments):
        raise Wrong(TOO_FEW)
    most = 0
    while at < len(arguments):
        if arguments[at].upper() != b"LIMIT" or at + 1 == len(arguments):
            raise Wrong(SYNTAX)
        most, at = count(arguments[at + 1], NO_LIMIT), at + 2
    members = yield from _intersection((yield from _all(client, keys)))
    client.say(number(min(len(members), most) if most else len(members)))


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
