"""What stands below the library face, for the parts of logstore that are wired to it.

A node serves it; a mirror and the command line look into it. None of it is promised to users.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logstore.broker.channel import Channels
from logstore.open_topics import OpenTopics
from logstore.storage.directory import LocalDirectory
from logstore.storage.groups import GroupTable

if TYPE_CHECKING:
    from logstore.store_queues import StoreQueues
    from logstore.upkeep.desk import Desk


@dataclass(frozen=True, slots=True)
class Internals:
    """The models and the directory of one open store, each of them once."""

    directory: LocalDirectory
    topics: OpenTopics
    channels: Channels
    desk: "Desk | None"  # where others of this machine ask, if there can be one
    queues: "Callable[[], StoreQueues]"  # made when they are asked for

    @property
    def groups(self) -> GroupTable | None:
        """What is kept of groups; None without a catalogue."""
        return self.directory.groups
