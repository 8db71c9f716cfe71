"""The disk is full from the Nth call on, while records come in, go, and are compacted.

Writers get StorageFull, in one line; nothing half-written is seen; readers go on; and when there
is space again the same open store works on.
"""

import errno
import random
import shutil

import pytest
from clock import NOW_MS
from faults import FULL, FaultyDisk, fail_commits
from lossy_disk import some

import logstore
from logstore import Message
from logstore.config import Config
from logstore.errors import StorageFull

pytestmark = pytest.mark.long

SEED = 20130101
NUMBERS = 30  # of places, in the default run
ROUNDS = 9
KEYS = 4
CONFIG = Config({"upkeep.interval.ms": ("-1", "test")})
SMALL = {"segment.bytes": "300", "index.interval.bytes": "60"}
KEYED = SMALL | {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}
PLAIN = SMALL | {"retention.bytes": "900"}


class Work:
    """What a busy store does, one thing after the other; errors are noted."""

    def __init__(self, path, disk):
        self.path = path
        self.store = logstore.open(path, disk=disk, config=CONFIG, clock=lambda: NOW_MS)
        for name, settings in (("plain", PLAIN), ("keyed", KEYED)):
            topic = self.store.create_topic(name, 1, settings)
            assert topic.partition(0).end == 0  # used once, so that it has its first file
        self.acknowledged = {"plain": 0, "keyed": 0}  # records
        self.committed = 0
        self.made = ["plain", "keyed"]
        self.errors = []

    def attempt(self, work):
        try:
            return work()
        except StorageFull as error:
            self.errors.append(error)
            return None

    def round(self, number):
        for name in self.acknowledged:
            self.attempt(lambda name=name: self.append(name, 2 + number % 3))
        self.attempt(self.commit)
        if number % 2:
            self.upkeep(self.store.retention())
            self.upkeep(self.store.compaction())
        if number % 4 == 1:
            self.attempt(self.create)
            self.attempt(self.trim)

    def append(self, name, count):
        log = self.store.topic(name).partition(0)
        first = log.end
        messages = [
            Message(b"%d" % n, b"%d" % (n * n % KEYS), timestamp_ms=NOW_MS + n)
            for n in range(first, first + count)
        ]
        assert first == self.acknowledged[name]  # nothing is kept of what was refused
        self.store.topic(name).append_many(messages)
        self.acknowledged[name] = first + count

    def commit(self):
        with self.store.consumer("keyed", group="g") as consumer:
            consumer.poll(1)
        self.committed += 1

    def create(self):
        name = f"t{len(self.made)}"
        self.made.append(name)
        self.store.create_topic(name)

    def trim(self):
        log = self.store.topic("plain").partition(0)
        self.store.trim("plain", log.start + (log.safe - log.start) // 2)

    def upkeep(self, done):
        for one in done:
            if one.broke is not None:
                self.attempt(lambda one=one: _raise(one.broke.error()))

    def check(self, store):
        """Everything that was acknowledged and not dropped, and nothing else."""
        for name, count in self.acknowledged.items():
            log = store.topic(name).partition(0)
            assert log.safe == count
            found = [record for record in store.consumer(name) if record.topic == name]
            offsets = [record.offset for record in found]
            assert offsets == sorted(set(offsets))
            assert all(record.value == b"%d" % record.offset for record in found)
            there = {record.key: record.offset for record in found}
            if name == "plain":
                assert offsets == list(range(log.start, count))
            else:
                latest = {b"%d" % (n * n % KEYS): n for n in range(count)}
                assert there == latest
        findings = [it for report in store.verify() for it in report.findings]
        # A topic made on a full disk may have no file yet.
        wrong = [it for it in findings if not it.derived and "No space left" not in it.message]
        assert not wrong


def check_errors(errors):
    for error in errors:
        assert "\n" not in str(error)
        assert "free some space" in str(error)


def _raise(error):
    raise error


def run(path, at, *, half):
    """The disk is full from the ``at``-th call on, for two rounds; then there is space again."""
    disk = FaultyDisk()
    live.append(disk.faults)
    work = Work(path, disk)
    disk.faults.calls.clear()
    if at is not None:
        disk.faults.begin(FULL, at, forever=True, code=errno.ENOSPC, half=half)
    full_since = None
    for number in range(ROUNDS):
        work.round(number)
        if disk.faults.failed and full_since is None:
            full_since = number
        if full_since is not None and number == full_since + 1:
            work.check(work.store)  # who reads here goes on, and so does
            with logstore.open(path, "read", config=CONFIG) as reader:
                work.check(reader)
            disk.faults.end()
            errors = len(work.errors)
    disk.faults.end()
    work.check(work.store)
    check_errors(work.errors)
    if full_since is not None and full_since + 2 < ROUNDS:
        assert len(work.errors) == errors  # nothing was refused since
    work.store.close()
    with logstore.open(path, config=CONFIG, clock=lambda: NOW_MS) as store:
        work.check(store)
        store.topic("plain").append(b"more", b"k")
    live.pop()
    return work, disk.faults


live = []  # the faults of the disk that is in use


@pytest.mark.parametrize("half", [False, True], ids=["refused", "half written"])
def test_a_disk_that_is_full_from_the_nth_call_on(scratch, monkeypatch, half):
    fail_commits(monkeypatch, lambda: live[-1] if live else None)
    work, faults = run(f"{scratch}/whole", None, half=half)
    assert work.errors == []
    count = sum(faults.calls[kind] for kind in FULL)
    choose, states, refused = random.Random(SEED), 0, 0
    for at in some(range(count), choose, NUMBERS):
        path = f"{scratch}/{at}"
        try:
            work, _ = run(path, at, half=half)
        except AssertionError as error:
            raise AssertionError(f"full from call {at} of {count} on") from error
        refused += len(work.errors)
        states += 1
        shutil.rmtree(path)
    print(f"seed {SEED}: {count} places, {refused} times refused, {states} states")
    assert refused > states


def test_a_catalogue_that_outgrows_its_map_goes_on(scratch, monkeypatch):
    """LMDB's map is full again and again: it grows, and nobody is told."""
    monkeypatch.setattr("logstore.storage.environment.MAP_BYTES", 1 << 16)
    work = Work(f"{scratch}/data", FaultyDisk())
    for number in range(60):
        work.store.create_topic(f"many-{number}", settings={"retention.groups": "g" * 2000})
        work.append("plain", 2)
    assert work.errors == []
    work.check(work.store)
    work.store.close()


def test_an_open_on_a_full_disk_says_so_and_the_next_one_works(scratch, monkeypatch):
    fail_commits(monkeypatch, lambda: live[-1] if live else None)
    errors, states, failed = [], 0, True
    while failed:
        disk = FaultyDisk()
        live.append(disk.faults)
        disk.faults.begin(FULL, states, forever=True, code=errno.ENOSPC)
        path = f"{scratch}/{states}"
        try:
            with logstore.open(path, disk=disk, config=CONFIG) as store:
                store.create_topic("first")
        except StorageFull as error:
            errors.append(error)
        failed = disk.faults.failed > 0
        live.pop()
        if failed:
            with logstore.open(path, config=CONFIG) as store:
                store.create_topic("later").append(b"x")
        states += 1
    print(f"{states} states")
    assert len(errors) > 8
    check_errors(errors)
