"""Rows of the table of commands: what most that are about keys have alike."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

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

Reply = Callable[[RespClient, Sequence[bytes]], bytes]
ReplyInSteps = Callable[[RespClient, Sequence[bytes]], Steps]


def says(reply: Reply) -> Run:
    """Carries out a command that gives its one reply."""

    def run(client: RespClient, arguments: Sequence[bytes]) -> None:
        client.say(reply(client, arguments))

    return run


def in_parts(steps: ReplyInSteps) -> Run:
    """The same of one that may be about many keys: nobody else sees them half done."""

    def run(client: RespClient, arguments: Sequence[bytes]) -> Steps | None:
        if len(arguments) > AT_ONCE:
            return alone(client, steps(client, arguments))
        for _ in steps(client, arguments):
            pass
        return None

    return run


def alone(client: RespClient, steps: Steps) -> Steps:
    """While it is under way nobody else does anything about keys."""
    keys = client.door.keys
    taken = keys.take(client)
    try:
        yield from steps
    finally:
        if taken:
            keys.let_go(client)


def parts(items: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """So many at a time as are gone through in one go."""
    for at in range(0, len(items), AT_ONCE):
        yield items[at : at + AT_ONCE]


def read(
    name: str, arity: int, run: Run, summary: str, since: str, *,
    keys: tuple[int, int, int] = FIRST, key_flags: KeyFlags = LOOK, fast: bool = True,
    group: str = "generic", tips: tuple[str, ...] = (), more: tuple[str, ...] = (),
) -> Command:  # fmt: skip
    """One that changes nothing."""
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
    """One that may change something; ``grows``: so that more memory is needed."""
    return Command(
        name, arity, run, summary, since, group,
        ("write", *("denyoom",) * grows, *("fast",) * fast),
        (_category(group), "@write", "@fast" if fast else "@slow", *more), tips, keys, key_flags,
        publishes=True, many=keys[1] < 0,
    )  # fmt: skip


def _category(group: str) -> str:
    return "@keyspace" if group == "generic" else f"@{group}"
