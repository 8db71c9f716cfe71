"""A store with Kafka's transactions in all states, of a server that was killed (schema 8)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

import logstore
from logstore.errors import SchemaTooNew
from logstore.open_queues import journal_there
from logstore.records.encode import encode
from logstore.storage.catalog import SCHEMA
from tests.golden.golden_store import HERE, T0, open_golden, unpack
from tests.golden.golden_transactions import described, noted, serving

EXPECTED = json.loads((HERE / "transactions.json").read_text())
COMMAND = Path(sys.executable).with_name("logstore")
WAIT_S = 30


def findings(store):
    return [it for report in store.verify() for it in report.findings if not it.left]


def test_all_of_it_is_there(tmp_path):
    directory, expected = unpack("transactions", tmp_path), EXPECTED["transactions"]
    for _ in range(2):  # the second time it was closed
        with open_golden(directory, "write") as store:
            found = json.loads(json.dumps(described(store)))
            letters = found["journal"].pop("letters")
            assert letters.startswith(expected["journal"]["letters"])
            assert found["journal"].items() <= expected["journal"].items()
            assert {**found, "journal": None} == {**expected, "journal": None}
            assert findings(store) == []
            assert store.status().schema == SCHEMA
    with open_golden(directory) as store:
        assert findings(store) == []


def test_a_reader_finds_the_same_without_a_writer(tmp_path):
    expected = EXPECTED["transactions"]["topics"]
    with open_golden(unpack("transactions", tmp_path)) as store:
        for name, partitions in expected.items():
            for number, of_partition in enumerate(partitions):
                log = store.topic(name).partition(number)
                assert (log.safe, log.stable) == (of_partition["safe"], of_partition["stable"])
                for isolation in ("committed", "uncommitted"):
                    with store.consumer(name, partitions=[number], isolation=isolation) as consumer:
                        found = [[it.offset, it.value.decode()] for it in consumer]
                    assert found == of_partition[isolation]


def test_the_journal_is_partly_in_its_note_and_partly_above_it(tmp_path):
    found = noted(unpack("transactions", tmp_path))
    assert json.loads(json.dumps(found)) == EXPECTED["noted"]
    assert found["ids"]
    assert found["shares"]
    journal = EXPECTED["transactions"]["journal"]
    above = journal["letters"][found["upto"] - journal["start"] :]
    assert set(above) >= set("TPODF")
    assert set(journal["letters"]) == set("TPODFGHQ")
    assert journal["ids"].keys() > found["ids"].keys()


@pytest.mark.long
def test_compaction_goes_on_with_its_markers(tmp_path):
    """Those that were given a time go when it is over."""
    directory = unpack("transactions", tmp_path)
    with open_golden(directory, "write") as store:
        before = described(store)["topics"]["copies"][0]
        [done] = store.compaction("copies", seal=True)
        assert done.broke is None
        after = described(store)["topics"]["copies"][0]
        assert after["stable"] == before["stable"]
        latest = {value.split()[0]: value for _, value in before["committed"]}
        assert {value.split()[0]: value for _, value in after["committed"]} == latest
        assert findings(store) == []
    later = T0 + 400 * 86_400_000
    with logstore.open(directory, "write", clock=lambda: later) as store:
        store.retention("copies", dry_run=True)
        [done] = store.compaction("copies", seal=True)
        assert done.broke is None
        due = {at for at, _, _, horizon in after["markers"] if horizon is not None}
        assert due
        left = {at for at, *_ in described(store)["topics"]["copies"][0]["markers"]}
        assert not left.intersection(due)
        assert findings(store) == []


def told_by_a_newer_one(directory):
    with open_golden(directory, "write") as store:
        log = journal_there(store.internals().directory.writable())
        log.wait(log.append(encode([(b"anything", b"Zx", (), T0)])) + 1)


def looked_into(directory):
    with open_golden(directory, "write") as store:
        store.queue("jobs")


@pytest.mark.long
def test_one_line_refuses_what_a_newer_logstore_has_told_the_journal(tmp_path):
    directory, why = unpack("transactions", tmp_path), "b'Zx', which this logstore does not know"
    with pytest.raises(SchemaTooNew, match=why):
        told_by_a_newer_one(directory)
    with pytest.raises(SchemaTooNew, match=why):
        looked_into(directory)
    told = subprocess.run(
        [COMMAND, "queue", "list", "--data", directory], capture_output=True, text=True, timeout=60
    )
    assert told.returncode != 0
    line = told.stderr.strip().splitlines()[-1]
    assert line.endswith("this logstore does not know: open the store with the one that wrote it")
    assert "Traceback" not in told.stderr


@pytest.mark.long
def test_a_server_goes_on_with_them(tmp_path):
    """Whose producer comes again has what was open aborted; others are not held back any more."""
    server = serving(unpack("transactions", tmp_path))
    try:
        for name in ("opener", "second", "third", "copier"):
            producer = Producer(
                {"bootstrap.servers": server.address, "transactional.id": name, "log_level": 0}
            )
            producer.init_transactions(WAIT_S)
        producer.begin_transaction()
        producer.produce("moves", b"the last", partition=0)
        producer.commit_transaction(WAIT_S)
        consumer = Consumer({
            "bootstrap.servers": server.address, "group.id": "waiting", "log_level": 0,
            "isolation.level": "read_committed", "auto.offset.reset": "earliest",
        })  # fmt: skip
        [place] = consumer.committed([TopicPartition("moves", 0)], WAIT_S)
        assert (place.offset, place.error) == (-1001, None)
        consumer.assign([TopicPartition("moves", 0, 0)])
        expected = [
            value.encode()
            for _, value in EXPECTED["transactions"]["topics"]["moves"][0]["uncommitted"]
            if value.startswith("plain")
        ]
        values = []
        while b"the last" not in values:
            [message] = consumer.consume(1, WAIT_S)
            values.append(message.value())
        assert [it for it in values if it.startswith(b"plain")] == expected
        committed = EXPECTED["transactions"]["topics"]["moves"][0]["committed"]
        assert {value.encode() for _, value in committed} <= set(values)
        assert not {b"opener 1", b"second 1", b"third 1"}.intersection(values)
        consumer.close()
    finally:
        code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors
