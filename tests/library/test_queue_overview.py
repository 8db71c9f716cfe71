"""What verify, status and a backup make of queues."""

import os
import shutil
from contextlib import contextmanager

import pytest

import logstore
from logstore import Config
from logstore.errors import UnknownTopic
from logstore.kept.queues import JOURNAL_NAME
from logstore.storage.disk import Disk
from logstore.storage.kinds import JOURNAL, LANE
from logstore.upkeep.backup import restore

QUIET = Config({"upkeep.interval.ms": ("-1", "test")})


@contextmanager
def opened(path, mode="write"):
    with logstore.open(path, mode, config=QUIET) as store:
        yield store


@pytest.fixture
def path(tmp_path):
    """Of a store with a queue in use: 20 messages, of which 6 are settled and 3 had been out."""
    path = tmp_path / "data"
    with opened(path) as store:
        store.exchange("events", "topic")
        queue = store.queue("mail").bind("events", "mail.#").bind("amq.topic", "mail.#")
        store.queue("idle")
        for n in range(20):
            queue.publish(b"%d" % n, priority=n % 2)
        messages = [queue.get() for _ in range(9)]
        for message in messages[:6]:
            message.ack()
    return path


def findings(path, mode="read"):
    with opened(path, mode) as store:
        return [(it.path, it.message, it.left) for r in store.verify() for it in r.findings]


def lanes(path):
    return sorted(it for it in (path / "queues").iterdir())


def change(path, work):
    """To the directory of a store that nobody has open."""
    with opened(path) as store:
        work(store.internals().directory)


def test_queues_in_use_are_whole_by_everybodys_account(path):
    assert findings(path) == []
    assert findings(path, "write") == []
    with opened(path) as store:
        message = store.queue("mail").get()
        store.queue("mail").publish(b"more")
        assert findings(path) == []
        message.ack()
    assert findings(path) == []


def test_verify_says_that_a_lane_ends_before_what_was_given_out(path):
    [lane] = lanes(path)

    def lose(directory):
        [name] = [name for name, it in directory.entries() if it.kind == LANE.name]
        directory.delete(LANE.name, name)
        directory.create(LANE.name, name, 1, {})

    change(path, lose)
    [(found, message, left)] = findings(path)
    assert found == str(lane)
    assert message == ("ends at offset 0, but messages up to 8 of queue mail were given out")
    assert not left


def test_verify_says_which_lane_is_missing(path):
    [lane] = lanes(path)

    def lose(directory):
        [name] = [name for name, it in directory.entries() if it.kind == LANE.name]
        directory.delete(LANE.name, name)

    change(path, lose)
    assert findings(path) == [
        (str(lane), "is missing: queue mail has had messages there", False),
    ]


def test_verify_names_what_is_left_of_a_queue_that_was_deleted(path):
    [lane] = lanes(path)
    number = int(lane.name.split(".")[0])

    def forget(directory):
        key = number.to_bytes(8, "big")
        directory._catalog.environment.commit([(b"queues", key, None)])
        bindings = [key for key, _ in directory._catalog.environment.items(b"bindings")]
        directory._catalog.environment.commit([(b"bindings", key, None) for key in bindings])

    change(path, forget)
    assert findings(path) == [(str(lane), "is of a queue that was deleted", True)]
    with opened(path) as store:
        store.queue("idle").publish(b"1")
    assert findings(path) == []


def test_verify_names_rows_that_are_damaged_or_that_lead_nowhere(path):
    [lane] = lanes(path)
    number = int(lane.name.split(".")[0]).to_bytes(8, "big")
    change(path, lambda it: it._catalog.environment.commit([(b"queues", number, None)]))
    left, *bindings = findings(path)[::-1]
    assert left[0] == str(lane)
    assert len(bindings) == 2
    assert all("of an exchange or queue that is not there" in it[1] for it in bindings)
    change(path, lambda it: it._catalog.environment.commit([(b"queues", number, b"\xff")]))
    [(found, message, _)] = findings(path)
    assert found == str(path / "catalog.mdb")
    assert "is damaged" in message


def test_verify_says_that_what_is_settled_is_not_known(path):
    def spoil(directory):
        [entry] = [it for _, it in directory.entries() if it.kind == JOURNAL.name]
        environment = directory._catalog.environment
        environment.commit([(b"notes", entry.log_key(0), b"\x01\x02Q")])

    change(path, spoil)
    [(found, message, _)] = findings(path)
    assert found == str(path / "journal" / f"{JOURNAL_NAME}-0")
    assert message.startswith("what is settled is not known: ")
    with opened(path, "read") as store:
        assert any("queues" in it for it in store.status().damaged)


def test_verify_of_a_topic_says_nothing_of_queues(path):
    change(path, lambda it: it.delete(LANE.name, f"{lanes(path)[0].name.removesuffix('-0')}"))
    with opened(path) as store:
        store.create_topic("t")
        assert not [it for report in store.verify("t") for it in report.findings]
        with pytest.raises(UnknownTopic):
            list(store.verify("queues/2.0"))


def test_status_counts_queues_and_what_is_not_settled(path):
    with opened(path, "read") as store:
        status = store.status()
        assert (status.topics, status.queues, status.messages) == (0, 2, 14)
        assert not status.damaged
    with opened(path) as store:
        queue = store.queue("mail")
        messages = [queue.get() for _ in range(14)]
        assert store.status().messages == 14
        for message in messages:
            message.ack()
        assert store.status().messages == 0


def test_a_store_without_queues_has_none(tmp_path):
    with opened(tmp_path / "data") as store:
        status = store.status()
        assert (status.queues, status.messages) == (0, 0)
        assert not (tmp_path / "data" / "journal").exists()
    assert findings(tmp_path / "data") == []


def test_what_is_restored_delivers_what_was_not_settled(path, tmp_path):
    with opened(path, "read") as store:
        list(store.backup(tmp_path / "backup"))
    shutil.rmtree(path)
    list(restore(str(tmp_path / "backup"), str(path), Disk()))
    assert findings(path) == []
    with opened(path) as store:
        found = []
        while (message := store.queue("mail").get()) is not None:
            found.append((int(message.body), message.redelivered))
            message.ack()
        assert [it for it, _ in found] == list(range(6, 20))
        assert [again for _, again in found] == [True] * 3 + [False] * 11
        assert store.exchange("events", "topic").publish(b"new", "mail.new")
        assert store.queue("mail").get().body == b"new"


def test_queues_keep_no_more_files_open_than_topics_do(tmp_path):
    bound = 20
    config = Config({it: (str(value), "test") for it, value in (
        ("upkeep.interval.ms", -1), ("files.open.max", bound),
    )})  # fmt: skip
    with logstore.open(tmp_path / "data", config=config) as store:
        store.queue("first").publish(b"x")
        before = len(os.listdir("/proc/self/fd"))
        queues = [store.queue(f"q{n}") for n in range(3 * bound)]
        for queue in queues:
            queue.publish(b"x")
        for queue in queues:
            queue.get().ack()
        assert len(os.listdir("/proc/self/fd")) <= before + bound
