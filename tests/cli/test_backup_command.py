import json

import pytest
from resp_kit import AtHand

import logstore as library
from logstore.broker.keys.key_topics import KeyTopics
from logstore.broker.keys.keys import Keys


@pytest.fixture
def topic(logstore):
    logstore("topic", "create", "t", "--config", "segment.bytes=300")
    logstore("produce", "t", "--batch-bytes", 1, stdin=b"".join(b"%d\n" % n for n in range(50)))
    logstore("consume", "t", "--group", "g", "--max", 20)


def test_there_and_back(logstore, topic, spawn):
    said = logstore("backup", "copy").lines[0]
    assert said.startswith("backed up ")
    assert " of them linked, " in said
    assert logstore("restore", "copy", "--data", "again").lines[0].startswith("restored copy to ")
    assert logstore("consume", "t", "--data", "again").lines == [str(n) for n in range(50)]
    rest = logstore("consume", "t", "--group", "g", "--data", "again").lines
    assert rest == [str(n) for n in range(20, 50)]
    assert logstore("verify", "--data", "again").lines[-1].endswith("nothing is damaged")


@pytest.mark.long
def test_beside_a_producer(logstore, topic, spawn):
    producer = spawn("produce", "t")
    follower = spawn("consume", "t", "--follow", "--from", "latest")
    producer.write(b"more\n")
    assert spawn("consume", "t", "--follow", "--from", 50, "--max", 1).line() == b"more\n"
    found = json.loads(logstore("backup", "copy", "--json").out)
    assert found["linked"] > 0
    logstore("restore", "copy", "--data", "again")
    assert logstore("consume", "t", "--data", "again").lines[-1] == "more"
    assert follower.popen.poll() is None


def test_refused(logstore, topic, data):
    assert "no such directory" in logstore("backup", "x", "--data", "nowhere", code=1).err
    assert "not a finished backup" in logstore("restore", data, "--data", "again", code=1).err
    logstore("backup", "copy")
    assert "not empty: name a new" in logstore("backup", "copy", code=1).err
    assert "not empty: name a new" in logstore("restore", "copy", code=1).err


@pytest.mark.long
def test_keys_are_copied_with_who_is_where_and_verified(data, logstore):
    def opened(path):
        store = library.open(path)
        around = AtHand()
        keys = Keys(KeyTopics(store.internals().topics), lambda: 5000, around)
        around.end_turn()
        return store, keys

    store, keys = opened(data)
    for number in (0, 2):
        keys.databases[number].put(b"in", b"%d" % number)
    keys.together((0, 2))
    keys.swap(0, 1)
    keys.close()
    store.close()
    assert logstore("verify").lines[-1].endswith("nothing is damaged")
    assert "topics" in logstore("status").out
    logstore("backup", "copy")
    logstore("restore", "copy", "--data", "again")
    assert logstore("verify", "--data", "again").lines[-1].endswith("nothing is damaged")
    store, keys = opened("again")
    assert [it.values for it in keys.databases[:3]] == [{}, {b"in": b"0"}, {b"in": b"2"}]
    keys.close()
    store.close()
