"""The client of one cluster: everything with which this process talks to it, in one thread."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Protocol

from logstore.cluster import brokers
from logstore.cluster.admin import Admin
from logstore.cluster.brokers import Address, Alarm, Brokers
from logstore.cluster.catalogue import Catalogue
from logstore.cluster.cluster_log import ClusterLog
from logstore.cluster.fetch_session import Place
from logstore.cluster.fetcher import Fetcher
from logstore.cluster.identity import Identities
from logstore.cluster.login import Credentials
from logstore.cluster.offsets import Offsets
from logstore.cluster.waiters import WaitFor
from logstore.cluster.writer import Writer
from logstore.errors import ClusterUnreachable, LogstoreError

START_S: Final = 30.0
LOOK_EVERY_S: Final = 0.5  # at who is silent


class Around(brokers.Around, Protocol):
    """The surroundings: a clock, timers, sockets, the loop's turn and worker threads."""

    def soon(self, call: Callable[[], object]) -> object:
        """Make the call once, at the end of this turn; from any thread."""

    def work(self, job: Callable[[], Any], done: Callable[[Any], None]) -> object:
        """Run the first function in another thread, and the second in this one with its result."""


class Client:
    """The client of one cluster."""

    def __init__(
        self,
        bootstrap: Sequence[Address],
        around: Around,
        random: Random,
        credentials: Credentials | None = None,
        rack: str = "",
    ) -> None:
        """``rack``: the rack of this process, as brokers name racks."""
        self.around = around
        self.random = random
        self.brokers = Brokers(bootstrap, around, random, credentials)
        self.identities = Identities(self.brokers)
        facts = around.now, around.soon, around.call_at, random
        self.writer = Writer(self.brokers, *facts)
        self.fetcher = Fetcher(self.brokers, *facts, rack)
        self.offsets = Offsets(self.brokers, around.now, around.call_at, random)
        self.admin = Admin(self.brokers, around.now, around.call_at, random)
        self.catalogue = Catalogue(self.brokers, around.now, around.call_at, random, around.work)
        self._looking = self._look_later()

    def _look_later(self) -> Alarm:
        return self.around.call_at(self.around.now() + LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        """Check for silent brokers: a frozen or unreachable broker ends no connection."""
        self._looking = self._look_later()
        self.brokers.look()

    def begin_start(self, then: Callable[[LogstoreError | None], object]) -> None:
        """``then`` gets None once brokers and topics are known, or the error."""
        waiting = [then]
        stop = self.brokers.watch(lambda: look())
        late = self.around.call_at(self.around.now() + START_S, lambda: tell(self._silent()))

        def tell(found: LogstoreError | None) -> None:
            if waiting:
                stop()
                late.cancel()
                waiting.pop()(found)

        def look() -> None:
            if self.catalogue.ready and self.brokers.view.nodes:
                tell(None)

        if not self.brokers.view.nodes:
            self.brokers.refresh()
        if not self.catalogue.ready:
            self.catalogue.look()
        self.catalogue.when_ready(look)
        look()

    def _silent(self) -> LogstoreError:
        why = self.brokers.failure or "no broker says which topics there are"
        return ClusterUnreachable(f"the cluster can't be reached: {why}")

    def shared_log(self, place: Place, start: int, safe: int, wait_for: WaitFor) -> ClusterLog:
        """A partition to which others append, too."""
        return ClusterLog(
            place, self.writer, self.fetcher, self.offsets, self.identities.anybody, wait_for,
            start, safe,
        )  # fmt: skip

    def close(self) -> None:
        """End all connections, and report that to waiting callers."""
        self._looking.cancel()
        self.catalogue.close()
        self.brokers.close()
