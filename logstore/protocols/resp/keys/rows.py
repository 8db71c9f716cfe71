"""Rows of the table of commands: what most commands on keys have in common."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from logstore.protocols.resp.client import RespClient, Run
from logstore.protocols.resp.command import Command, KeyFlags
from logstore.slices import Steps

ALL: Final = (1, -1, 1)
FIRST: Final = (1, 1, 1)
PAIR: Final = (1, 2, 1)
PAIRS: Final = (1, -1, 2)
NONE: Final = (0, 0, 0)
SUM: Final = ("request_policy:multi_shard", "response_policy:agg_sum")
EVERYWHERE: Final = ("request_policy:all_shards", "response_policy:all_succeeded")
RO: Final[KeyFlags] = (("RO",),)
LOOK: Final[KeyFlags] = (("RO", "access"),)
UPDATE: Final[KeyFlags] = (("RW", "access", "update"),)
CHANGE: Final[KeyFlags] = (("RW", "update"),)
PUT: Final[KeyFlags] = (("OW", "update"),)
INSERT: Final[KeyFlags] = (("OW", "insert"),)
DELETE: Final[KeyFlags] = (("RM", "delete"),)

AT_ONCE: Final = 2000  # keys of a command that are gone through in one go, at a microsecond each
LOOKED_AT_ONCE: Final = 5000  # elements that are only looked up, or compared
LOOKS_A_UNIT: Final = 10
UNITS_A_COMMAND: Final = 4  # keys or elements that take about as long as a small command

Item = TypeVar("Item")
Reply = Callable[[RespClient, Sequence[bytes]], bytes]
ReplyInSteps = Callable[[RespClient, Sequence[bytes]], Steps]


def says(reply: Reply) -> Run:
    """A handler of a command with one reply."""

    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        client.say(reply(client, arguments))

    return run


def in_parts(steps: ReplyInSteps) -> Run:
    """As ``says``, for a command that may be large; no other client sees it half done.

    ``steps`` yields after each part its number of keys or elements, and never waits.
    """

    def run(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
        under_way, done = steps(client, arguments), 0
        for units in under_way:
            assert isinstance(units, int)
            done += units
            if done >= AT_ONCE:
                return alone(client, under_way)
        client.units += done
        return None

    return run


def alone(client: RespClient, steps: Steps) -> Steps:
    """Run steps while no other client uses keys.

    A script runs in one step, and so do the commands that it calls.
    """
    keys = client.door.keys
    taken = not client.in_transaction and keys.take(client)
    try:
        result = yield from steps
        if taken:
            yield from keys.gather()
    finally:
        if taken:
            client.note_stirred()  # of which nothing is known once it is written
            keys.let_go(client)
    return result


def not_held_up(client: RespClient) -> Steps:
    """Wait until no other client runs a command that must not be seen half done."""
    keys = client.door.keys
    while keys.is_held_from(client):
        yield lambda go_on: keys.held_up(client, lambda: go_on(None))


def parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items in groups that are processed in one step."""
    for at in range(0, len(items), AT_ONCE):
        yield items[at : at + AT_ONCE]


def read(
    name: str, arity: int, run: Run, summary: str, since: str, *,
    keys: tuple[int, int, int] = FIRST, key_flags: KeyFlags = LOOK, fast: bool = True,
    group: str = "generic", tips: tuple[str, ...] = (), more: tuple[str, ...] = (),
) -> Command:  # fmt: skip
    """A command that changes nothing."""
    return Command(
        name, arity, run, summary, since, group, ("readonly", *("fast",) * fast),
        (_category(group), "@read", "@fast" if fast else "@slow", *more), tips, keys, key_flags,
        many=keys[1] < 0,
    )  # fmt: skip


def write(
    name: str, arity: int, run: Run, summary: str, since: str, *,
    keys: tuple[int, int, int] = NONE, key_flags: KeyFlags = CHANGE, fast: bool = True,
    group: str = "generic", tips: tuple[str, ...] = (), more: tuple[str, ...] = (),
    grows: bool = False,
) -> Command:  # fmt: skip
    """A command that may change keys; ``grows``: it may need more memory."""
    return Command(
        name, arity, run, summary, since, group,
        ("write", *("denyoom",) * grows, *("fast",) * fast),
        (_category(group), "@write", "@fast" if fast else "@slow", *more), tips, keys, key_flags,
        publishes=True, many=keys[1] < 0,
    )  # fmt: skip


def _category(group: str) -> str:
    return "@keyspace" if group == "generic" else f"@{group}"
