"""A Kafka session without sockets, disk or clock: logs in memory that are safe when a test says."""

import itertools
import struct
import uuid
from types import SimpleNamespace

from clock import NOW_MS
from coordinator_parts import MemoryKeeper
from memory_log import MemoryLog
from shared_door import SharesOfDoor

from logstore.access.access import open_access
from logstore.access.logins import Nobody
from logstore.broker.coordinator.coordinator import Coordinator
from logstore.broker.coordinator.view import TopicFacts
from logstore.broker.ledger import Ledger
from logstore.broker.topic import Topic
from logstore.broker.topics import Segments, check_more
from logstore.config import Config, check_topic_settings
from logstore.counts.schedules import ScheduleCounts
from logstore.errors import InvalidName, LogFailed, TopicExists, UnknownTopic
from logstore.kafka.schema import codec
from logstore.protocols.house import NoTransactions
from logstore.protocols.kafka.apis import APIS
from logstore.protocols.kafka.door import KafkaDoor
from logstore.protocols.kafka.session import KafkaSession
from logstore.protocols.kafka.subscription import SPEECH
from logstore.records.encode import encode

NUMBERS = itertools.count(1)  # of connections


class HeldLog(MemoryLog):
    """Safe only as far as ``sync`` was called."""

    def __init__(self, name, clock):
        super().__init__(name)
        self.notes = Ledger(clock, 86_400_000)
        self.held = False
        self.failure = None
        self.syncs = 0
        self._safe = 0

    @property
    def safe(self):
        return self._safe if self.held else self.end

    def append(self, batch):
        base_offset = super().append(batch)
        if not self.held:
            self._safe = self.end
        return base_offset

    @property
    def synced(self):
        return self.safe

    def read(self, at, bytes_max):
        return [it for it in super().read(at, bytes_max) if it.base_offset < self.safe]

    def hold(self):
        self._safe, self.held = self.end, True

    def sync(self):
        self._safe = self.end
        for wake in list(self._watchers.values()):
            wake()

    def fail(self):
        self.failure = LogFailed(f"{self.name}: sync failed")
        for wake in list(self._watchers.values()):
            wake()

    def check_failure(self):
        if self.failure is not None:
            raise self.failure

    def sync_soon(self, *, hurry=True, always=False):
        self.syncs += 1


def opened(topic):
    """The topic with its logs open."""
    for number in range(len(topic.partitions)):
        topic.partition(number)
    return topic


class NothingWaits:
    """``Schedules`` of topics that have no companions."""

    counts = ScheduleCounts()

    def waiting(self):
        return {}


class MemoryTopics:
    """``Topics`` of ``HeldLog``s."""

    schedules = NothingWaits()

    def __init__(self, clock, config=None):
        self._clock = clock
        self._config = config or Config()
        self._topics = {}
        self._given = {}
        self._found = {}  # names by uuid, so that many can be looked for
        self._next_id = 0

    def get(self, name):
        return self._topics.get(name)

    def by_uuid(self, wanted):
        known = self._topics.get(self._found.get(wanted))
        if known is None or known.uuid != wanted:
            known = next((it for it in self._topics.values() if it.uuid == wanted), None)
            self._found[wanted] = known and known.name
        return known

    def names(self):
        return sorted(self._topics)

    def create(self, name, partitions, settings):
        count = self.check_new(name, partitions, settings)
        topic = self.put(name, [self.log(name, n) for n in range(count)], settings)
        return opened(topic)

    def log(self, name, number):
        return HeldLog(f"{name}-{number}", self._clock)

    def put(self, name, logs, settings=()):
        """A topic with these logs, none of which is open yet."""
        self._given[name] = dict(settings)
        self._topics[name] = Topic(
            name, str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), logs,
            self._config.topic(self._given[name]), NOW_MS, self._clock,
        )  # fmt: skip
        return self._topics[name]

    def check_new(self, name, partitions, settings):
        if not name or " " in name:
            raise InvalidName(f"{name!r}")
        if name in self._topics:
            raise TopicExists(name)
        check_topic_settings(settings)
        return min(partitions or 1, 100)

    def check_room(self, partitions):
        """Do nothing: there is always room."""

    def check_growth(self, name, partitions):
        check_more(name, len(self._topics[name].partitions), partitions)

    def grow(self, name, partitions):
        topic = self._topics[name]
        more = range(len(topic.partitions), min(partitions, 100))
        topic.grow([*topic.partitions, *(self.log(name, n) for n in more)])
        return opened(topic)

    def alter(self, name, settings, reset):
        given = {k: v for k, v in self._given[name].items() if k not in reset} | dict(settings)
        self._given[name] = given
        self._topics[name].change(self._config.topic(given))
        return self._topics[name]

    def delete(self, name):
        if self._topics.pop(name, None) is None:
            raise UnknownTopic(name)

    def describe(self, name):
        return self._config.describe_topic(self.given(name))

    def describe_new(self, settings):
        return self._config.describe_topic(check_topic_settings(settings))

    def describe_store(self):
        return self._config.describe()

    def given(self, name):
        if name not in self._given:
            raise UnknownTopic(name)
        return self._given[name]

    def sizes(self, name):
        if name not in self._topics:
            raise UnknownTopic(name)
        numbers = range(len(self._topics[name].partitions))
        return [SimpleNamespace(partition=number, bytes=10) for number in numbers]

    def offsets(self, name):
        if name not in self._topics:
            raise UnknownTopic(name)
        return [(log.start, log.safe) for log in self._topics[name].partitions]

    def weights(self, name):
        return [it.bytes for it in self.sizes(name)]

    def segments(self, name, partition, most):
        log = self._topics[name].partition(partition)
        newest = SimpleNamespace(
            base_offset=log.start, end_offset=log.end, bytes=10, active=True,
            max_timestamp_ms=log.latest_timestamp(),
        )  # fmt: skip
        return Segments([newest], 1, 10)

    def space(self):
        return SimpleNamespace(total_bytes=1000, usable_bytes=100)

    def knows_producer(self, producer_id):
        return True

    def new_producer_id(self):
        self._next_id += 1
        return self._next_id


class Talk:
    """A session, and the client's side of it. With ``beside``: another one of the same node."""

    def __init__(
        self, topics=None, settings=None, work=None, keeper=None, beside=None, access=None,
        logins=None, certificate=None, tokens=None, transactions=None,
    ):  # fmt: skip
        self.woken = 0
        if beside is not None:
            self.__dict__ |= {name: beside.__dict__[name] for name in self.SHARED}
        else:
            self.clock_ms = NOW_MS
            self._time = SimpleNamespace(now=1000.0, due_ms=None)
            given = {name: (str(value), "test") for name, value in (settings or {}).items()}
            config = Config(given)
            settings = config.store
            self.topics = topics or MemoryTopics(lambda: self.clock_ms, config)
            self.keeper = keeper or MemoryKeeper()
            self.coordinator = Coordinator(
                settings, self.keeper, self._facts, names=self.topics.names, speech=SPEECH,
                due=self._set_timer,
            )  # fmt: skip
            self.shares_of = SharesOfDoor(self, HeldLog("journal", lambda: self.clock_ms))
            self.door = KafkaDoor(
                self.topics, self.coordinator, settings, "store", "/data", lambda: self.clock_ms,
                work or (lambda job, done: done(job())),
                access=access or open_access(), logins=logins or Nobody(), tokens=tokens,
                transactions_of=transactions or NoTransactions(),
                shares_of=self.shares_of,
            )  # fmt: skip
        address, peer = ("127.0.0.1", 9092), ("192.0.2.1", 50_000)
        self.cuts = []
        self.session = KafkaSession(
            self.door, self._wake, address, peer, certificate, cut=self.cuts.append,
            number=next(NUMBERS),
        )  # fmt: skip
        self._correlation = 0
        self._left = b""

    SHARED = ("clock_ms", "_time", "topics", "keeper", "coordinator", "shares_of", "door")

    @property
    def now(self):
        return self._time.now

    def _facts(self, name):
        topic = self.topics.get(name)
        return topic and TopicFacts(topic.id, len(topic.partitions))

    def _wake(self):
        self.woken += 1

    def frame(self, key, version, body, client_id=b"test"):
        self._correlation += 1
        head = struct.pack(">hhih", key, version, self._correlation, len(client_id)) + client_id
        if version >= APIS[key].flexible:
            head += b"\0"
        return struct.pack(">i", len(head) + len(body)) + head + bytes(body)

    def feed(self, data):
        """Feed data as a server does: unprocessed bytes are given again."""
        self._left += data
        taken = self.session.receive(memoryview(bytearray(self._left)), self.now)
        self._left = self._left[taken:]
        return taken

    def send(self, key, version, body):
        self.feed(self.frame(key, version, body))
        return self._correlation

    def out(self, bytes_max=1 << 30):
        """The session's present output."""
        self.shares_of.turn()
        parts = []
        while buffers := self.session.outgoing(bytes_max):
            parts += map(bytes, buffers)
        return b"".join(parts)

    def replies(self):
        """(correlation id, the rest) of each reply."""
        data, found = self.out(), []
        while data:
            size, correlation = struct.unpack_from(">ii", data)
            found.append((correlation, data[8 : 4 + size]))
            data = data[4 + size :]
        return found

    def say(self, key, version, request):
        """Send a request; returns its correlation id."""
        out = bytearray()
        codec(type(request), version, version >= APIS[key].flexible).write(out, request)
        return self.send(key, version, out)

    def ask(self, key, version, request, response_kind):
        """The answer, which must come at once."""
        asked = self.say(key, version, request)
        [(correlation, body)] = self.replies()
        assert correlation == asked
        return self.read(key, version, response_kind, body)

    @staticmethod
    def read(key, version, response_kind, body):
        flexible = version >= APIS[key].flexible
        if flexible and key != 18:
            assert body[:1] == b"\0"
            body = body[1:]
        found, end = codec(response_kind, version, flexible).read(body, 0)
        assert end == len(body)
        return found

    def pass_time(self, seconds):
        self._time.now += seconds
        now_ms = int(self.now * 1000)
        if self._time.due_ms is not None and self._time.due_ms <= now_ms:
            self._time.due_ms = None
            self.coordinator.tick(now_ms)
            if (due_ms := self.coordinator.deadline()) is not None:
                self._set_timer(due_ms)
        if self.shares_of.opened is not None:
            self.shares_of.opened.look_at_times()
        self.session.wake(self.now)

    def _set_timer(self, due_ms):
        """Set the timer as a node does: to an earlier time, or again once it was due."""
        if self._time.due_ms is None or due_ms < self._time.due_ms:
            self._time.due_ms = due_ms


def a_batch(*values, key=None, at_ms=NOW_MS, **facts):
    return bytes(encode([(value, key, (), at_ms) for value in values], **facts).data)


def produce_body(topic, records, acks=-1, partition=0, timeout_ms=1000):
    """A Produce request, version 3 to 8."""
    name = topic.encode()
    size = -1 if records is None else len(records)
    return (
        struct.pack(">hhii", -1, acks, timeout_ms, 1)
        + struct.pack(">h", len(name)) + name
        + struct.pack(">iii", 1, partition, size) + (records or b"")
    )  # fmt: skip


def produced(body, topic):
    """(error code, base offset, append time, log start, message) of a version 8 answer."""
    *found, _ = produced_with_faults(body, topic)
    return tuple(found)


def produced_with_faults(body, topic):
    """As ``produced``, with (place in the batch, message) of each record at fault."""
    at = 4 + 2 + len(topic.encode()) + 4
    partition, code, base, time_ms, start, count = struct.unpack_from(">ihqqqi", body, at)
    assert partition == 0
    at += struct.calcsize(">ihqqqi")
    faults = []
    for _ in range(count):
        [place] = struct.unpack_from(">i", body, at)
        why, at = _nullable(body, at + 4)
        faults.append((place, why))
    message, at = _nullable(body, at)
    return code, base, time_ms, start, message, faults


def _nullable(body, at):
    size = struct.unpack_from(">h", body, at)[0]
    return (None, at + 2) if size < 0 else (body[at + 2 : at + 2 + size].decode(), at + 2 + size)
