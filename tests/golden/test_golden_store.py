"""Stores that older logstores wrote are opened, read and written on.

``store`` and ``crashed`` are of commit 5b6534c (schema 2), ``schema3`` is of e5ff736.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from mostly_long import mostly_long
from serving import Serving

from logstore.storage.catalog import SCHEMA, Catalog
from logstore.storage.disk import Disk
from tests.golden.golden_store import DOOMED, FOREVER, HERE, described, open_golden, unpack

EXPECTED = json.loads((HERE / "store.json").read_text())
CRASHED = {
    part: {**EXPECTED[part], **EXPECTED["crashed"][part]} for part in ("topics", "groups")
}  # fmt: skip
del CRASHED["topics"][DOOMED]
SCHEMA3 = json.loads((HERE / "schema3.json").read_text())
ALL = {
    "store": {part: EXPECTED[part] for part in ("topics", "groups")},
    "crashed": CRASHED,
    "schema3": {part: SCHEMA3[part] for part in ("topics", "groups")},
}
KINDS = {
    "classic-left": "classic", "classic-there": "classic", "new-left": "consumer",
    "new-there": "consumer", "readers": "embedded", "gr\u00fcn:1": "embedded",
}  # fmt: skip


def as_json(found):
    return json.loads(json.dumps(found))


@pytest.mark.parametrize("mode", ["read", "write"])
@pytest.mark.parametrize("name", ALL)
def test_everything_in_an_older_store_is_there(tmp_path, name, mode):
    directory = unpack(name, tmp_path)
    with open_golden(directory, mode) as store:
        assert as_json(described(store)) == ALL[name]
        assert [it.findings for it in store.verify() if it.findings] == []
        assert store.status().damaged == ()
    with open_golden(directory) as store:
        assert as_json(described(store)) == ALL[name]
        assert store.status().schema == SCHEMA


def test_a_deletion_that_an_older_program_died_in_is_finished(tmp_path):
    directory = unpack("crashed", tmp_path)
    assert list(directory.glob(f"{DOOMED}-*"))
    open_golden(directory, "write").close()
    assert not list(directory.glob(f"{DOOMED}-*"))


@pytest.mark.parametrize("name", ALL)
def test_an_older_store_takes_records_and_topics_of_each_kind(tmp_path, name):
    directory = unpack(name, tmp_path)
    with open_golden(directory, "write") as store:
        for topic in store.topics():
            store.topic(topic).append(b"more", key=b"key 3", partition=0)
        store.create_topic("new", 2).append(b"first", partition=1)
        store.delete_topic("keyed")
        store.alter_topic("loose", partitions=3)
    with open_golden(directory) as store:
        assert store.topics() == sorted(
            {*ALL[name]["topics"], "new"} - {"keyed"},
        )
        for topic, before in ALL[name]["topics"].items():
            if topic != "keyed":
                ends = [it.end for it in store.topic(topic).partitions]
                assert ends[0] == before["partitions"][0][2] + 1
        assert [it.end for it in store.topic("new").partitions] == [0, 1]
        assert {lag.topic for lag in store.group("readers").describe()} == {"codec-gzip"}


@pytest.mark.parametrize("name", ALL)
def test_batches_that_idempotent_producers_sent_to_an_older_store_are_known(tmp_path, name):
    with open_golden(unpack(name, tmp_path), "write") as store:
        log = store.topic("keyed").partition(0)
        sent, at = {}, log.start
        while at < log.safe:
            for batch in log.read(at, 1 << 20):
                at = batch.next_offset
                if batch.producer_id >= 0:
                    sent.setdefault(batch.producer_id, []).append(batch)
        assert sent
        for batches in sent.values():
            for batch in batches[-5:]:
                assert log.notes.check(batch) == batch.base_offset


def test_groups_of_an_older_store_are_of_their_kinds(tmp_path):
    with open_golden(unpack("store", tmp_path)) as store:
        assert store.internals().directory.groups.kinds() == KINDS


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize("left", ["left", "there"])
def test_clients_go_on_in_groups_of_an_older_store(tmp_path, protocol, left):
    directory = unpack("crashed", tmp_path)
    server = Serving(directory, resp_port=-1, **settings())
    group = f"{'classic' if protocol == 'classic' else 'new'}-{left}-killed"
    try:
        consumer = Consumer({
            "bootstrap.servers": server.address, "group.id": group, "log_level": 0,
            "group.protocol": protocol, "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        })  # fmt: skip
        places = [TopicPartition("codec-zstd", 0), TopicPartition("keyed", 1)]
        assert [it.offset for it in consumer.committed(places, 30)] == [7, 3]
        if left == "left":
            consumer.subscribe(["codec-zstd"])
            assert consumer.poll(30).offset() == 7
        consumer.close()
        producer = Producer({
            "bootstrap.servers": server.address, "enable.idempotence": True, "log_level": 0,
        })  # fmt: skip
        told = []
        end = CRASHED["topics"]["keyed"]["partitions"][0][2]
        producer.produce("keyed", b"on", b"k", 0, on_delivery=lambda *it: told.append(it))
        producer.flush(30)
        assert [(error, message.offset()) for error, message in told] == [(None, end)]
    finally:
        code, _ = server.stop()
    assert code == 0


def settings():
    return {name.removeprefix("LOGSTORE_").lower(): value for name, value in FOREVER.items()}


@pytest.mark.parametrize(
    "command",
    mostly_long([["topic", "list"], ["topic", "create", "more"], ["verify"]], [["topic", "list"]]),
)
def test_an_older_program_refuses_a_newer_schema_in_one_line(tmp_path, command):
    directory = unpack("store", tmp_path)
    catalog = Catalog(Disk(), str(directory / "catalog.mdb"), create=False, write=True)
    catalog.environment.commit([(b"meta", b"schema", str(SCHEMA + 1).encode())])
    catalog.close()
    run = subprocess.run(
        [Path(sys.executable).with_name("logstore"), *command, "--data", directory],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode != 0
    assert run.stdout == ""
    assert run.stderr == (
        f"logstore: {directory}/catalog.mdb: schema version {SCHEMA + 1}, this logstore knows up "
        f"to {SCHEMA}: use the newer logstore that wrote it\n"
    )
