import json

import pytest


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
