"""The layers below the library face, for other parts of logstore.

A node serves them; a mirror and the command line read them. Not a stable interface.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logstore.broker.channel import Channels
from logstore.broker.chores import Chores
from logstore.broker.consumer import Consumer
from logstore.broker.consuming import Wish
from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.listening import Listener
from logstore.clock import now_ms
from logstore.open_topics import OpenTopics
from logstore.storage.directory import LocalDirectory
from logstore.storage.groups import GroupTable
from logstore.storage.users import DirectKeeper

if TYPE_CHECKING:
    from logstore.access.access import Access
    from logstore.store_queues import StoreQueues
    from logstore.upkeep.desk import Desk
    from logstore.upkeep.doing import Doing

Names = Iterable[str | bytes]


@dataclass(frozen=True, slots=True)
class Internals:
    """The models and the directory of one open store."""

    directory: LocalDirectory
    topics: OpenTopics
    channels: Channels
    desk: "Desk | None"  # where others of this machine ask, if there can be one
    queues: "Callable[[], StoreQueues]"  # made when they are asked for
    doing: "Doing"  # what upkeep is at
    deduplication: Deduplication  # what keeps repeats out
    consumer: Callable[[Wish, Chores], Consumer]  # closed with the store
    listener: Callable[[Names, Names, Callable[[], object]], Listener]  # likewise; see ``told``

    @property
    def groups(self) -> GroupTable | None:
        """What is kept of groups; None without a catalogue."""
        return self.directory.groups

    def access(self) -> "Access":
        """Users and rules as they are on disk; without a server, whose own are in its memory.

        Changes are durable, or refused (ReadOnly where this process does not write the store), when
        ``change`` returns.
        """
        from logstore.access.access import Access, open_access
        from logstore.audit_topic import OwnAudit

        table = self.groups
        if table is None:
            return open_access()
        access = Access(DirectKeeper(table.environment, self._check_written))
        access.audit = OwnAudit(self.topics, lambda: access.required, now_ms)
        return access

    def _check_written(self) -> None:
        self.directory.writable()
