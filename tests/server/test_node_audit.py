"""The audit log of a node: made when there is something to tell, and never in anyone's way."""

import json
import logging
import threading
from contextlib import contextmanager

import pytest
from clock import Clock
from faults import FULL, FaultyDisk
from workers import LaterWork

import logstore
from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.audit import DONE, GATHER_MS, LOGIN, REFUSED, TOPIC
from logstore.access.identity import OWNER, Identity
from logstore.audit_topic import TOPIC_SETTINGS
from logstore.errors import StorageFull
from logstore.kept.users import KeptAccess, KeptUser
from logstore.names import AUDIT_TOPIC
from logstore.node.audit import WAITING_MAX, NodeAudit
from logstore.records.decode import decode

AL = Identity("al", "10.0.0.1", "PLAIN", "kafka")
USERS = KeptAccess(users=[KeptUser("root", tags=(ADMINISTRATOR,))])


class Turn:
    """The sessions' thread and its clock, by hand."""

    def __init__(self):
        self.left, self.calls, self.at = [], [], 0.0

    def soon(self, call):
        self.left.append(call)

    def now(self):
        return self.at

    def call_at(self, at, call):
        self.calls.append((at, call))

    def over(self):
        calls, self.left = self.left, []
        for call in calls:
            call()

    def later(self, ms):
        self.at += ms / 1000
        due = [it for it in self.calls if it[0] <= self.at]
        self.calls = [it for it in self.calls if it[0] > self.at]
        for _, call in due:
            call()


class Node:
    def __init__(self, store, kept):
        self.turn, self.work, self.clock = Turn(), LaterWork(), Clock()
        self.store = store.internals()
        self.access = Access(Unkept(kept))
        self.audit = NodeAudit(
            self.store.topics, self.access, self.turn, self.work.take, self.clock
        )

    def tell(self, *told, **more):
        """In a turn of its own."""
        self.audit.tell(*told, **more)
        self.turn.over()

    def records(self):
        topic = self.store.topics.get(AUDIT_TOPIC)
        if topic is None:
            return []
        log = topic.partition(0)
        log.wait(log.end)
        return (
            [
                json.loads(record.value)
                for batch in log.read(log.start, 1 << 30)
                for record in decode(batch, AUDIT_TOPIC, 0)
            ]
            if log.end
            else []
        )


@contextmanager
def node(path, kept=USERS, disk=None):
    with logstore.open(path, disk=disk) as store:
        yield Node(store, kept)


def test_it_is_made_with_the_first_record_outside_the_sessions_thread(tmp_path):
    with node(tmp_path) as it:
        assert it.store.topics.get(AUDIT_TOPIC) is None
        it.tell(TOPIC, AL, "deleted orders")
        it.tell(TOPIC, AL, "deleted sales")
        assert it.store.topics.get(AUDIT_TOPIC) is None
        assert it.work.work_off() == 1
        assert it.store.topics.given(AUDIT_TOPIC) == TOPIC_SETTINGS
        assert [one["what"] for one in it.records()] == [["deleted orders"], ["deleted sales"]]
        it.tell(TOPIC, AL, "deleted third")
        assert it.work.work_off() == 0
        assert len(it.records()) == 3


def test_it_keeps_thirty_days_and_256_mib():
    assert TOPIC_SETTINGS["retention.ms"] == str(30 * 24 * 60 * 60 * 1000)
    assert TOPIC_SETTINGS["retention.bytes"] == str(256 * 1024 * 1024)


def test_repeated_logins_are_one_record_after_ten_seconds(tmp_path):
    with node(tmp_path) as it:
        for _ in range(7):
            it.tell(LOGIN, AL, outcome=REFUSED)
        it.turn.later(GATHER_MS - 1)
        assert not it.work.jobs
        it.turn.later(1)
        it.work.work_off()
        [record] = it.records()
        assert (record["event"], record["outcome"], record["count"]) == (LOGIN, REFUSED, 7)
        assert not it.turn.calls
        it.tell(LOGIN, AL, outcome=DONE)
        it.turn.later(GATHER_MS)
        assert [one["count"] for one in it.records()] == [7, 1]


def test_without_users_there_is_none(tmp_path):
    with node(tmp_path, KeptAccess()) as it:
        it.tell(TOPIC, AL, "deleted orders")
        it.tell(LOGIN, AL)
        it.turn.later(GATHER_MS)
        it.audit.close()
        assert not it.work.jobs
        assert it.store.topics.get(AUDIT_TOPIC) is None
        it.access.change(USERS.users)
        it.tell(TOPIC, AL, "deleted orders")
        it.work.work_off()
        assert len(it.records()) == 1


def test_the_log_of_the_server_says_it_too_to_whoever_wants_to_know(tmp_path, caplog):
    caplog.set_level(logging.INFO, "logstore.audit")
    with node(tmp_path) as it:
        it.tell(LOGIN, AL, outcome=REFUSED)
        it.tell(LOGIN, AL, outcome=REFUSED)
        it.tell(TOPIC, OWNER, "deleted a\nb")
        it.turn.later(GATHER_MS)
        it.tell(TOPIC, AL, "deleted c")
        it.audit.close()
    assert caplog.messages == [
        "topic done: __owner__ (data directory): deleted a\\nb",
        "login refused: al at 10.0.0.1 (kafka, PLAIN), 2 times",
        "topic done: al at 10.0.0.1 (kafka, PLAIN): deleted c",
    ]
    assert caplog.records[1].facts["count"] == 2


def test_what_was_gathered_is_written_when_the_server_stops(tmp_path):
    with node(tmp_path) as it:
        it.tell(LOGIN, AL)
        it.audit.close()
    with node(tmp_path) as it:
        assert [one["event"] for one in it.records()] == [LOGIN]


def test_it_is_told_from_any_thread(tmp_path):
    with node(tmp_path) as it:
        teller = threading.Thread(target=it.audit.tell, args=(TOPIC, AL, "deleted orders"))
        teller.start()
        teller.join()
        assert not it.work.jobs
        it.turn.over()  # brings it to the sessions' thread
        it.turn.over()
        it.work.work_off()
        assert len(it.records()) == 1


def test_what_one_turn_tells_is_one_batch(tmp_path):
    with node(tmp_path) as it:
        it.tell(TOPIC, AL, "deleted first")
        it.work.work_off()
        for number in range(1000):
            it.audit.tell(TOPIC, Identity("al", f"10.{number}"), "deleted a")
        it.turn.over()
        log = it.store.topics.get(AUDIT_TOPIC).partition(0)
        log.wait(log.end)
        assert [batch.record_count for batch in log.read(0, 1 << 30)] == [1, 1000]


def test_what_the_last_turn_tells_is_kept(tmp_path):
    with node(tmp_path) as it:
        it.audit.tell(TOPIC, AL, "deleted a")
        it.audit.close()
        assert len(it.records()) == 1


def test_one_that_is_deleted_is_made_again(tmp_path):
    with node(tmp_path) as it:
        it.tell(TOPIC, AL, "deleted a")
        it.work.work_off()
        it.store.topics.delete(AUDIT_TOPIC)
        it.tell(TOPIC, AL, f"deleted {AUDIT_TOPIC}")
        it.work.work_off()
        assert [one["what"] for one in it.records()] == [[f"deleted {AUDIT_TOPIC}"]]


@pytest.mark.parametrize("made", [True, False], ids=["made before", "not made before"])
def test_a_full_disk_drops_records_counted_and_refuses_nobody(tmp_path, caplog, made):
    disk = FaultyDisk()
    with node(tmp_path, disk=disk) as it:
        if made:
            it.tell(TOPIC, AL, "deleted before")
            it.work.work_off()
            it.records()
        disk.faults.begin(FULL, forever=True, code=28)
        with caplog.at_level(logging.WARNING, "logstore.audit"):
            for number in range(5):
                it.tell(TOPIC, AL, f"deleted {number}")
                it.work.work_off()
                it.clock.ms += GATHER_MS
        assert it.audit.dropped == 5
        [line] = caplog.messages  # not one for each
        assert "dropped" in line
        disk.faults.end()
        it.tell(TOPIC, AL, "deleted after")
        it.work.work_off()
        told = it.records()[made:]
        assert [(one["event"], one["count"]) for one in told] in ([(TOPIC, 1), ("audit", 5)],)
        assert it.audit.dropped == 0


def test_a_topic_that_cannot_be_made_is_not_tried_for_each_record(tmp_path):
    with node(tmp_path) as it:
        it.store.topics.refuse("the server stops")
        for number in range(5):
            it.tell(TOPIC, AL, f"deleted {number}")
            it.work.work_off()
        assert it.store.topics.get(AUDIT_TOPIC) is None
        tried = len(it.work.jobs)
        it.tell(TOPIC, AL, "deleted another")
        assert len(it.work.jobs) == tried == 0


@pytest.mark.long
def test_what_waits_for_the_topic_is_bounded(tmp_path):
    with node(tmp_path) as it:
        for number in range(WAITING_MAX + 10):
            it.tell(TOPIC, Identity("al", f"10.{number}"), "deleted a")
        assert it.audit.dropped == 10
        it.work.work_off()
        records = it.records()
        assert len(records) == WAITING_MAX + 1
        assert (records[-1]["event"], records[-1]["count"]) == ("audit", 10)


def test_an_error_is_no_error_of_whoever_tells(tmp_path):
    with node(tmp_path) as it:
        it.tell(TOPIC, AL, "deleted a")
        it.work.work_off()

        def full(batch):
            raise StorageFull("no space left")

        it.store.topics.get(AUDIT_TOPIC).partition(0).append = full
        it.tell(TOPIC, AL, "deleted b")
        assert it.audit.dropped == 1


def test_without_a_server_the_owner_s_changes_are_told_and_synced(tmp_path):
    with logstore.open(tmp_path) as store:
        access = store.internals().access()
        access.change(USERS.users, by=OWNER)
        access.change([KeptUser("al")], by=OWNER)
        with logstore.open(tmp_path, "read") as reader:
            [log] = reader.topic(AUDIT_TOPIC).partitions
            told = [
                json.loads(record.value)
                for batch in log.read(0, 1 << 20)
                for record in decode(batch, AUDIT_TOPIC, 0)
            ]
        assert [(one["mechanism"], one["what"]) for one in told] == [
            ("data directory", ["made root, tags administrator"]),
            ("data directory", ["made al, tags none"]),
        ]


def test_a_full_disk_refuses_no_change_of_users(tmp_path, caplog):
    disk = FaultyDisk()
    with logstore.open(tmp_path, disk=disk) as store:
        access = store.internals().access()
        disk.faults.begin(FULL, forever=True, code=28)
        assert access.change(USERS.users, by=OWNER).error is None
        assert "root" in access.users
        assert "dropped" in caplog.text
