"""A house with metrics to scrape, without anything behind it."""

from types import SimpleNamespace

from clock import NOW_MS, Clock
from door_kit import MemoryTopics
from workers import LaterWork

from logstore.broker.coordinator.calls import GroupListing
from logstore.broker.coordinator.refusal import Refusal
from logstore.broker.deduplication.deduplication import Deduplication
from logstore.budget import BUDGET_BYTES_MAX, Budget
from logstore.counts.mqtt_space import SpaceCounts
from logstore.counts.queues import QueueCounts
from logstore.counts.schedules import ScheduleCounts
from logstore.figures.figures import Figures
from logstore.kept.groups import KeptOffset
from logstore.settings import StoreSettings
from logstore.turns import Turns
from logstore.upkeep.doing import TOTALS


class Groups:
    """A coordinator of groups that have committed this: {group: {(topic, partition): offset}}.

    A group called ``shared`` is a share group.
    """

    def __init__(self, committed=(), damaged=()):
        self.committed = dict(committed)
        self.damaged = damaged

    def kinds(self):
        return {it: "share" if it == "shared" else "classic" for it in self.committed}

    def group_names(self, kept):
        return sorted(kept)

    def listing(self, name, kind):
        return GroupListing(name, kind, "Empty", "consumer")

    def fetch(self, name, now_ms):
        if name in self.damaged:
            raise Refusal("UNKNOWN_SERVER_ERROR", "a row is damaged")
        return {place: KeptOffset(it, NOW_MS, "") for place, it in self.committed[name].items()}

    def members(self, name):
        return 2


def queue(name, ready=0, out=0, *, counted=True, consumers=0, **counts):
    its = QueueCounts()
    for what, count in counts.items():
        setattr(its, what, count)
    return SimpleNamespace(
        facts=SimpleNamespace(name=name), ready=ready, out=out, counts=its, gone=False,
        subscriptions=[None] * consumers, opened=counted,
    )  # fmt: skip


class Hosted:
    """Virtual hosts with these queues: {vhost: [queue]}."""

    def __init__(self, by_vhost):
        self.vhosts = {
            name: SimpleNamespace(
                name=name, queues=lambda its=its: its, count_queues=lambda its=its: len(its),
                policies=(),
                topology=SimpleNamespace(
                    exchanges=lambda: [SimpleNamespace(name=b"x", type_name="topic")],
                    count_bindings_from=lambda name: 3,
                ),
            )
            for name, its in by_vhost.items()
        }  # fmt: skip
        self.scheduled = ScheduleCounts()

    def delayed(self):
        return ()


class Coming:
    """A connection, as doors are summed up."""

    def __init__(self, door, bytes_in=10, bytes_out=20):
        self.door, self.bytes_in, self.bytes_out = door, bytes_in, bytes_out


class Metered:
    """A house; ``work`` is done when the test says so, ``left`` are calls for the next turn."""

    def __init__(self, queues=None, groups=(), damaged=(), **settings):
        self.clock = Clock()
        self.later = LaterWork()
        self.left = []
        self.topics = MemoryTopics(self.clock)
        self.figures = Figures(clock=self.clock)
        self.clock.ms += 5000  # since the beginning
        self.looked = 0
        self.figures.connections = self.connections
        hosted = None if queues is None else Hosted(queues)
        self.house = SimpleNamespace(
            topics=self.topics,
            coordinator=Groups(groups, damaged),
            queues_of=SimpleNamespace(opened=hosted),
            mqtt_of=SimpleNamespace(opened=None),
            keys_of=SimpleNamespace(opened=None),
            transactions_of=SimpleNamespace(opened=None),
            shares_of=SimpleNamespace(opened=None),
            cluster=None,
            space=SimpleNamespace(counts=SpaceCounts()),
            channels=SimpleNamespace(names=[1], patterns=[], apart=[]),
            settings=StoreSettings(**settings),
            budget=Budget(BUDGET_BYTES_MAX),
            deduplication=Deduplication(),
            clock=self.clock,
            work=self.later.take,
            soon=self.left.append,
            turns=Turns(),
            figures=self.figures,
            store_id="the-store",
            jobs=lambda: {"running": [{}], "totals": {"compact": dict.fromkeys(TOTALS, 1500)}},
            unrecovered=lambda: 3,
            certificate_expires_s=lambda: None,
            facts=lambda: {"version": "1", "doors": {"kafka": {"host": "h", "port": 9092}}},
        )

    def connections(self):
        self.looked += 1
        return [Coming(name) for name in ("kafka", "kafka", "amqp", "http")]
