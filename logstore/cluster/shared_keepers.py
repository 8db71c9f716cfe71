"""Keepers of shared facts (exchanges and queues, users) for the models of a node.

They take the place of a data directory's keepers (``storage/committer.py``). A cluster has no index
of delayed messages, so scheduling a message is refused.
"""

from collections.abc import Sequence

from logstore.cluster.facts_keeper import FactsKeeper
from logstore.errors import Refused
from logstore.kept.keeping import Keeping
from logstore.kept.queues import Kept, KeptRouting, Numbers
from logstore.kept.schedules import Entry
from logstore.kept.users import Forgotten, KeptAccess
from logstore.kept.users import Kept as KeptOfAccess


class NoIndex:
    """An empty ``ScheduleIndex``."""

    def logs(self) -> Sequence[bytes]:
        """As ScheduleIndex.logs."""
        return ()

    def mark(self, log: bytes) -> int:
        """As ScheduleIndex.mark."""
        return 0

    def page(self, log: bytes, first: Entry, most: int) -> tuple[Sequence[Entry], bool]:
        """As ScheduleIndex.page."""
        return (), False


class NoSchedules:
    """A ``ScheduleKeeper`` that refuses schedules."""

    def __init__(self) -> None:
        self.index = NoIndex()

    def write(self, log: bytes, put: Sequence[Entry], gone: Sequence[Entry], mark: int) -> Keeping:
        """As ScheduleKeeper.write: refused."""
        keeping = Keeping()
        keeping.finish(
            Refused("messages can't be delayed in front of a cluster: publish them without a delay")
        )
        return keeping

    def forget(self, log: bytes, most: int) -> Keeping:
        """As ScheduleKeeper.forget: there is nothing."""
        keeping = Keeping()
        keeping.finish(None)
        return keeping


class SharedQueues:
    """The ``QueueKeeper`` over the topic of facts."""

    def __init__(self, keeper: FactsKeeper, numbers: Numbers) -> None:
        self.schedules = NoSchedules()
        self.numbers = numbers
        self._keeper = keeper

    def used(self) -> bool:
        """As QueueKeeper.used: what others keep is here, too."""
        return True

    def load(self) -> KeptRouting:
        """As QueueKeeper.load, of what is read by now."""
        return self._keeper.routing()

    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Kept] = ()) -> Keeping:
        """As QueueKeeper.change."""
        return self._keeper.change(keep, forget)


class SharedUsers:
    """The ``UserKeeper`` over the topic of facts."""

    def __init__(self, keeper: FactsKeeper) -> None:
        self._keeper = keeper

    def load(self) -> KeptAccess:
        """As UserKeeper.load, of what is read by now."""
        return self._keeper.access()

    def change(
        self, keep: Sequence[KeptOfAccess] = (), forget: Sequence[Forgotten] = ()
    ) -> Keeping:
        """As UserKeeper.change."""
        return self._keeper.change(keep, forget)
