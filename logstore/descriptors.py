"""File descriptors: how many this process may have open, and how they are shared out.

Files of logs and connections each have a bounded share, so that neither starves the other. A caller
that finds no descriptor left nevertheless has idle open files closed.
"""

import errno
import resource
import weakref
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeVar

from logstore import platforms

# What a server has open besides, with room: standard streams, event loop and its pipes, catalogue,
# lock, watermarks, listening sockets, pipes of upkeep's child, a directory in each thread.
OWN: Final = 64
LEAST: Final = 16  # of either
NONE_LEFT: Final = frozenset({errno.EMFILE, errno.ENFILE})

_T = TypeVar("_T")


class Shares(NamedTuple):
    """The share of descriptors for each use."""

    files: int
    connections: int


def shares(wanted: int, limit: int | None = None) -> Shares:
    """``wanted``: files, if there is room; ``limit``: of the process, else what it is now.

    Half of what is left beyond our own, so that as many connections as files can be open.
    """
    if limit is None:
        limit = limit_of()
    left = limit - OWN
    files = min(wanted, max(left // 2, LEAST))
    return Shares(files, max(left - files, LEAST))


def limit_of() -> int:
    """How many this process may have open, all together."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def files_max(hard: int) -> int:
    """How many it may allow itself, of the hard limit."""
    return hard if platforms.MANY_FILES.there else min(hard, platforms.OPEN_MAX)


class Keeper(Protocol):
    """Something that keeps idle files open, and can close them."""

    def close_idle(self) -> bool:
        """Close some; whether there were any. It is called with locks held: it waits for none."""


_keepers: Final[weakref.WeakSet[Keeper]] = weakref.WeakSet()


def keeps(keeper: Keeper) -> None:
    """Have it asked when there are none left, as long as it lives."""
    _keepers.add(keeper)


def opened(open_: Callable[[], _T]) -> _T:
    """What ``open_()`` returns; again as long as it finds none left, and others can be closed.

    Raises OSError.
    """
    while True:
        try:
            return open_()
        except OSError as error:
            if error.errno not in NONE_LEFT:
                raise
            if not any(keeper.close_idle() for keeper in list(_keepers)):
                raise
