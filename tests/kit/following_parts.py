"""Queues and users of two nodes that share facts, without a disk and without threads."""

from clock import Clock
from facts_kit import SharingNode
from memory_log import MemoryLog
from roaming_parts import PARTITIONS, NoOther

from logstore.access.access import Access
from logstore.broker.queues.following import Following
from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.queues.queues import Queues
from logstore.broker.queues.roaming.partition import Around
from logstore.broker.queues.roaming.roamers import Roamers
from logstore.broker.queues.station_home import Surroundings
from logstore.counts.queues import QueueTotals
from logstore.definitions.exporting import arranged, export


def work(first, second):
    """Run the job at once."""
    second(first())


class MemoryQueueLogs:
    """As QueueLogs."""

    topics_damaged = False

    def __init__(self, keeper):
        self.keeper = keeper
        self.deleted = []
        self._lanes = {}

    def lanes(self):
        return {}

    def journal(self):
        log = MemoryLog("settled")
        log.notes = SettlementNotes()
        return log

    def open(self, lane, settings):
        return self._lanes.setdefault(lane, MemoryLog(str(lane)))

    def alter(self, lane, settings):
        pass

    def delete(self, lanes):
        self.deleted += lanes

    def trim(self, lanes, now_ms):
        pass

    def trim_journal(self):
        pass

    make_volatile = drop_volatile = None  # tests of names publish nothing


class FollowingNode(SharingNode):
    """A node with the model that follows; call ``begin`` once it has read to the end."""

    def __init__(self, log, number, common=None):
        """``common``: state that several nodes' queues share; None: each has its own."""
        super().__init__(log, number)
        self.owned = True
        self.common = common

    def begin(self):
        kept = self.queues.load()
        self.logs = MemoryQueueLogs(self.queues)
        roamers = None
        if self.common is not None:
            around = Around(Clock(), self.soon, lambda it, at_ms: None, work, self.common)
            roamers = Roamers(around, self.common, NoOther(), PARTITIONS, QueueTotals())
        self.model = Queues(
            self.logs, Clock(), self.soon, work,
            surroundings=Surroundings(next_id=self.numbers.next, roamers=roamers),
        )  # fmt: skip
        self.access = Access(self.users)
        self.following = Following(self.model, kept, lambda queue: self.owned)
        self.keeper.follow(self.following.show, self.access.follow)

    @property
    def vhost(self):
        return self.model.vhosts[b"/"]

    def definitions(self):
        """All durable objects, as exported for users."""
        steps = export(self.model, self.access, "4.0")
        try:
            while True:
                next(steps)
        except StopIteration as ended:
            found = arranged(ended.value).definitions
        mine = {(it["vhost"], it["name"]) for it in found["queues"] if not it["durable"]}
        found["queues"] = [it for it in found["queues"] if it["durable"]]
        found["bindings"] = [
            it for it in found["bindings"]
            if it["destination_type"] != "queue" or (it["vhost"], it["destination"]) not in mine
        ]  # fmt: skip
        found["bindings"].sort(key=repr)
        return found
