"""A store with queues that an older logstore wrote (schema 4): opened, read and used."""

import json
from copy import deepcopy

import pytest

from logstore.broker.queues.held import HELD
from logstore.broker.queues.journal import QUEUE
from logstore.records.decode import decode
from logstore.storage.catalog import SCHEMA
from logstore.storage.kinds import JOURNAL
from tests.golden.golden_queues import described
from tests.golden.golden_store import HERE, open_golden, unpack

EXPECTED = json.loads((HERE / "queues.json").read_text())
DEADLINE_S = 30
NAMES = ("queues", "queues-crashed")


def findings(store):
    return [it for report in store.verify() for it in report.findings if not it.left]


def contents(store):
    return json.loads(json.dumps(described(store)))


@pytest.mark.parametrize("name", NAMES)
def test_all_of_queues_is_there(tmp_path, name):
    directory = unpack(name, tmp_path)
    with open_golden(directory, "write") as store:
        assert contents(store) == EXPECTED[name]
        assert findings(store) == []
        assert store.status().schema == SCHEMA
    again = deepcopy(EXPECTED[name]["/"]["queues"])
    for queue in again.values():  # what had been given out is said to have been
        queue["messages"] = [[*it[:3], True, *it[4:]] for it in queue["messages"]]
    with open_golden(directory, "write") as store:
        assert contents(store)["/"]["queues"] == again


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_sees_that_it_is_whole(tmp_path, name):
    with open_golden(unpack(name, tmp_path)) as store:
        assert findings(store) == []
        status = store.status()
        queues = [
            it for vhost in ("/", "second") for it in EXPECTED[name][vhost]["queues"].values()
        ]
        assert status.queues == len(queues)
        assert status.messages == sum(len(it["messages"]) for it in queues)
        assert not status.damaged


@pytest.mark.parametrize("name", NAMES)
def test_messages_go_on_to_where_they_are_routed(tmp_path, name):
    with open_golden(unpack(name, tmp_path), "write") as store:
        events, mail = store.exchange("events"), store.queue("mail")
        before = mail.counts().ready
        assert events.publish(b"new", "mail.new", priority=5)
        assert events.publish(b"by header", "very.important", headers={"yes": True, "n": -5})
        assert mail.counts().ready == before + 2
        dead = store.queue("spoiled").counts().ready
        message = mail.get()
        message.reject()
        with store.queue("spoiled").consume() as consumer:  # until it has come there
            assert len([consumer.get(DEADLINE_S) for _ in range(dead + 1)]) == dead + 1
        assert store.queue("mail").delete() == before + 1
        assert store.queue("limited").purge() > 0


def test_it_has_a_journal_with_dead_letters_and_what_is_settled(tmp_path):
    with open_golden(unpack("queues", tmp_path)) as store:
        directory = store.internals().directory
        [log] = [
            directory.log(name, it, 0) for name, it in directory.entries()
            if it.kind == JOURNAL.name
        ]  # fmt: skip
        records = [it for batch in log.read(log.start, 1 << 20) for it in decode(batch)]
    assert {it.key[:1] for it in records} == {QUEUE, HELD}
