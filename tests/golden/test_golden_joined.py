"""A store of joined models that an older logstore wrote (schema 6): opened, read and used."""

import json
from itertools import islice

import logstore
from logstore.storage.catalog import SCHEMA
from tests.golden.golden_joined import LATER, described
from tests.golden.golden_store import HERE, config_of, open_golden, unpack

EXPECTED = json.loads((HERE / "joined.json").read_text())
DEADLINE_S = 30


def findings(store):
    return [it for report in store.verify() for it in report.findings if not it.left]


def test_all_of_it_is_there(tmp_path):
    directory = unpack("joined", tmp_path)
    with open_golden(directory, "write") as store:
        assert json.loads(json.dumps(described(store))) == EXPECTED["joined"]
        assert findings(store) == []
        assert store.status().schema == SCHEMA


def test_it_goes_on(tmp_path):
    with open_golden(unpack("joined", tmp_path), "write") as store:
        store.exchange("once").publish(b"one", "single", headers={"x-deduplication-header": "1"})
        assert store.queue("single").counts().ready == 1
        store.topic("payments").append(b"paid", headers={"id": b"1"})
        assert store.topic("payments").partition(0).safe == 4
        assert len(list(store.consumer("payments"))) == 2
        store.exchange("events").publish(b"new", "audit.new")
        assert [it.value for it in store.consumer("audit")][-1] == b"new"
        store.topic("flights").append(b"3", b"AF3")
        while store.topic_routes()[0].lag != 0:
            pass
        assert [it.value for it in store.consumer("stream")][-1] == b"3"


def test_what_waits_comes_when_it_is_due(tmp_path):
    directory = unpack("joined", tmp_path)
    config = config_of(directory)
    with logstore.open(directory, "write", config=config, clock=lambda: LATER + 10) as store:
        with store.queue("mail").consume() as consumer:
            bodies = [consumer.get(DEADLINE_S).body for _ in range(4)]
        assert bodies == [b"ready", b"late 0", b"late 1", b"late 2"]
        with store.consumer("orders", follow=True) as consumer:
            assert [it.value for it in islice(consumer, 3)] == [b"0", b"1", b"2"]
