"""Several nodes whose queues have their messages and journals in common, in one process."""

from itertools import count

from memory_log import MemoryLog
from queue_parts import Node

from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.queues.roaming.partition import Around
from logstore.broker.queues.roaming.roamers import Roamers
from logstore.broker.queues.station_home import Surroundings
from logstore.counts.queues import QueueTotals
from logstore.kept.queues import Lane
from logstore.records.decode import decode

PARTITIONS = 2


class Common:
    """What all nodes see: a log for each lane, one for each partition of the journal."""

    crowded = False

    def __init__(self):
        self.logs = {}
        self.journals = [MemoryLog(f"journal-{n}") for n in range(PARTITIONS)]
        self.trimmed = []

    def journal(self, number):
        """The journal as its next owner has it, with its notes."""
        log, notes = self.journals[number], SettlementNotes()
        for batch in log.read(log.start, 1 << 30):
            notes.appended(batch, batch.base_offset)
        notes.freeze()
        log.notes = notes
        return log

    def bodies(self, queue):
        """All bodies ever put into a queue, by lane."""
        return {
            lane.priority: [
                record.value for batch in log.read(0, 1 << 30) for record in decode(batch)
            ]
            for lane, log in sorted(self.logs.items()) if lane.queue == queue
        }  # fmt: skip

    # As QueueLogs, and as Lanes

    def open(self, lane, settings):
        return self.logs.setdefault(lane, MemoryLog(str(lane)))

    def alter(self, lane, settings):
        pass

    def trim(self, lanes, now_ms):
        self.trimmed += [(it.log.name, it.floor) for it in lanes]

    def catch_up(self, log):
        pass  # all is here

    def begin_catch_up(self, log, then):
        then()

    def lanes_of(self, queue):
        return [it.priority for it in sorted(self.logs) if it.queue == queue]

    def delete_all(self, queue):
        for lane in [it for it in self.logs if it.queue == queue]:
            del self.logs[lane]


class NoOther:
    """A node that knows of no others."""

    def seat(self, queue, partition, home):
        return None


class RoamingNode(Node):
    """One of them. Numbers of queues are given in the order of their declaration."""

    def __init__(self, directory, clock, common, elsewhere=None):
        self.common = common
        self.numbers = count(1000)
        self.elsewhere = NoOther() if elsewhere is None else elsewhere
        super().__init__(directory, clock)

    def surroundings(self):
        around = Around(self.clock, self.soon, self._alarm, self.work, self.common)
        self.roamers = Roamers(around, self.common, self.elsewhere, PARTITIONS, QueueTotals())
        return Surroundings(
            self.topics, self.channels, self.work, tell=self.topics.tell, roamers=self.roamers,
            next_id=lambda: next(self.numbers),
        )  # fmt: skip

    def _alarm(self, it, at_ms):
        self.queues.alarm(it, at_ms)

    def own(self, number):
        self.roamers.own(number, self.common.journal(number))
        self.run()

    def own_all(self):
        for number in range(PARTITIONS):
            self.own(number)

    def lose_all(self, *, told=False):
        for number in range(PARTITIONS):
            self.roamers.lose(number, told=told)
        self.run()


def settled_of(common, queue):
    """The lanes of a queue that the journal knows."""
    for log in common.journals:
        notes = SettlementNotes()
        for batch in log.read(log.start, 1 << 30):
            notes.appended(batch, batch.base_offset)
        state = notes.state(queue)
        if state is not None:
            return state.lanes
    return {}


__all__ = ["Common", "Lane", "RoamingNode", "settled_of"]
