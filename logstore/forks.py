"""Forks of a process with an open store: a fork has a copy of everything and owns nothing.

Two processes that each append by their copy would write to the same offsets, and locks that other
threads held during the fork stay locked in the copy forever. So every object of an open store is
notified in the child when it starts, and raises ``Forked`` from then on. This costs nothing before
a fork: no append compares process ids. The child closes only its own descriptors.
"""

import os
import weakref
from typing import Final, Protocol

from logstore.errors import Forked


class Forkable(Protocol):
    """Something that must not be used in another process than the one that made it."""

    def forked(self, error: Forked) -> None:
        """In a child process: raise the error whenever used, wait for no lock, touch no file.

        Called before any other Python code of the child runs.
        """


_watched: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()


def watch(thing: Forkable) -> None:
    """Have it told of a fork, as long as it lives."""
    _watched.add(thing)


def _tell() -> None:
    error = Forked(
        f"the store was opened by process {os.getppid()}, of which this one, {os.getpid()}, is a "
        f"fork: a store can't be used across a fork; open it here, after the fork"
    )
    for thing in list(_watched):
        thing.forked(error)
    _watched.clear()


os.register_at_fork(after_in_child=_tell)
