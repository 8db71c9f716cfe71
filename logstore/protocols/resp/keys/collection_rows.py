"""The rows of commands on collections in the table of all commands."""

from typing import Final

from logstore.protocols.resp.client import Run
from logstore.protocols.resp.command import Command, KeyFlags

# Uses of a key, in the words of COMMAND.
RO: Final[KeyFlags] = (("RO",),)
LOOK: Final[KeyFlags] = (("RO", "access"),)
UPDATE: Final[KeyFlags] = (("RW", "update"),)
INSERT: Final[KeyFlags] = (("RW", "insert"),)
DELETE: Final[KeyFlags] = (("RW", "delete"),)
CHANGE: Final[KeyFlags] = (("RW", "access", "update"),)
POP: Final[KeyFlags] = (("RW", "access", "delete"),)
STORE: Final[KeyFlags] = (("OW", "update"), ("RO", "access"))  # the first, and all others

NONE: Final = (0, 0, 0)
FIRST: Final = (1, 1, 1)
PAIR: Final = (1, 2, 1)
ALL: Final = (1, -1, 1)
BUT_LAST: Final = (1, -2, 1)


def reads(
    group: str, name: str, arity: int, run: Run, summary: str, since: str,
    key_flags: KeyFlags = LOOK, *, keys: tuple[int, int, int] = FIRST, fast: bool = True,
    tips: tuple[str, ...] = (), many: bool = False, numkeys: int = 0,
) -> Command:  # fmt: skip
    """A reading command. ``numkeys``: the position of the number of keys; ``keys``: keys
    before it.
    """
    movable = ("movablekeys",) if numkeys else ()
    return Command(
        name, arity, run, summary, since, group, ("readonly", *("fast",) * fast, *movable),
        ("@read", _category(group), "@fast" if fast else "@slow"), tips,
        _apart(keys, key_flags) if numkeys else keys, key_flags, many=many, numkeys=numkeys,
    )  # fmt: skip


def writes(
    group: str, name: str, arity: int, run: Run, summary: str, since: str,
    key_flags: KeyFlags = UPDATE, *, keys: tuple[int, int, int] = FIRST, fast: bool = True,
    tips: tuple[str, ...] = (), many: bool = False, oom: bool = False, blocks: bool = False,
    numkeys: int = 0,
) -> Command:  # fmt: skip
    """A writing command. ``oom``: it needs more memory; ``blocks``: it may wait for elements."""
    movable = ("movablekeys",) if numkeys else ()
    return Command(
        name, arity, run, summary, since, group,
        ("write", *("denyoom",) * oom, *("blocking",) * blocks, *("fast",) * fast, *movable),
        ("@write", _category(group), "@fast" if fast else "@slow", *("@blocking",) * blocks), tips,
        _apart(keys, key_flags) if numkeys else keys, key_flags, publishes=True, many=many,
        numkeys=numkeys,
    )  # fmt: skip


def _apart(keys: tuple[int, int, int], key_flags: KeyFlags) -> tuple[int, int, int]:
    """The positions of keys outside of the counted ones."""
    return keys if len(key_flags) > 1 else NONE


def _category(group: str) -> str:
    return "@" + group.replace("-", "")
