"""The golden store of transactions: what is in it, and (run as a program) how it was made.

``python -m tests.golden.golden_transactions`` writes ``transactions.tar.gz`` beside this file, with
the logstore that is installed, and ``transactions.json``: what this logstore finds in it. It is
made once, at the commit that ``transactions.json`` names, and never again.

Two servers had it. The first was stopped: the journal's note knows all of it. The second was
killed, with transactions open and offsets pending: what it has done stands in the journal above
the note. Between them one topic was compacted, and the library had held transactions.
"""

import json
import signal
import tempfile
import time
from pathlib import Path

from confluent_kafka import (
    AcknowledgeType,
    Consumer,
    ConsumerGroupTopicPartitions,
    Producer,
    ShareConsumer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from logstore.broker.queues.journal import SettlementNotes, settlements_of
from logstore.open_queues import journal_there
from logstore.records.control import outcome_of
from logstore.records.decode import decode
from logstore.storage.catalog import Catalog
from logstore.storage.disk import Disk
from logstore.storage.kinds import JOURNAL, KINDS
from logstore.storage.names import CATALOG
from tests.golden.golden_store import FOREVER, HERE, commit, open_golden, pack, text, unpack
from tests.kit.librdkafka import admin, produce
from tests.kit.serving import Serving

WAIT_S = 30
SMALL = {"segment.bytes": "400", "index.interval.bytes": "100"}
SETTINGS = {name.removeprefix("LOGSTORE_"): value for name, value in FOREVER.items()}


def serving(directory):
    return Serving(directory, resp_port=-1, kafka_tls_port=-1, **SETTINGS)


# Making it


def made(directory):
    with open_golden(directory, "write") as store:
        store.create_topic("moves", 2, SMALL)
        store.create_topic("copies", 1, SMALL | {"cleanup.policy": "compact"})
        store.create_topic("fleeting", 1)
        store.create_topic("held", 1)
        store.queue("jobs")
        for n in range(4):
            store.topic("held").append(b"plain %d" % n)


def by_the_library(directory):
    """Held transactions: what they bring stands in the journal, too. And a compaction."""
    with (
        open_golden(directory, "write") as store,
        store.consumer("held", group="held", auto_commit=False) as consumer,
    ):
        for n in range(2):
            [record] = consumer.poll(1)
            with store.transaction() as tx:
                tx.append("copies", b"held %d" % n, key=b"h%d" % n)
                tx.publish("", b"job %d" % n, "jobs")
                tx.commit_offset(consumer, record)
        [done] = store.compaction("copies")
        assert done.records_removed == 1, done


class Writer:
    """A producer with transactions."""

    def __init__(self, server, name):
        self.name, self.count = name, 0
        self._producer = Producer({
            "bootstrap.servers": server.address, "transactional.id": name, "linger.ms": 0,
            "transaction.timeout.ms": 900_000, "log_level": 0,
        })  # fmt: skip
        self._producer.init_transactions(WAIT_S)

    def begin(self, group=None, **offsets):
        """Writes to all partitions, and stages these offsets, of partition 0 of each topic."""
        self._producer.begin_transaction()
        for topic, partition in (("moves", 0), ("moves", 1), ("copies", 0)):
            self.count += 1
            self._producer.produce(
                topic, f"{self.name} {self.count}", f"k{self.count % 4}", partition
            )
        assert self._producer.flush(WAIT_S) == 0
        if group is not None:
            places = [TopicPartition(topic, 0, at) for topic, at in offsets.items()]
            self._producer.send_offsets_to_transaction(places, metadata_of(group), WAIT_S)

    def end(self, outcome):
        if outcome == "commit":
            self._producer.commit_transaction(WAIT_S)
        else:
            self._producer.abort_transaction(WAIT_S)


GROUPS = {}
# By offset; what a share group says of all others is that they are to come again.
SAID = {0: AcknowledgeType.ACCEPT, 1: AcknowledgeType.ACCEPT, 3: AcknowledgeType.REJECT}


def metadata_of(group):
    return GROUPS[group].consumer_group_metadata()


def know(server, *groups):
    for group in groups:
        GROUPS[group] = Consumer(
            {"bootstrap.servers": server.address, "group.id": group, "log_level": 0}
        )


def plain(server, topic, count):
    assert produce(server, topic, [b"plain %d" % n for n in range(count)]) == []


def ended(server):
    """With the first server: two of each outcome, and offsets of those that were committed."""
    know(server, "readers")
    writer = Writer(server, "copier")
    for n, outcome in enumerate(["commit", "abort", "commit", "abort"]):
        writer.begin("readers", held=n + 1)
        writer.end(outcome)
        plain(server, "moves", 1)


def shared(server):
    """A share group has some of the records, in all states."""
    resource = ConfigResource(ResourceType.GROUP, "sharers")
    resource.add_incremental_config(
        ConfigEntry(
            "share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET
        )
    )
    [done] = admin(server).incremental_alter_configs([resource]).values()
    done.result()
    consumer = ShareConsumer({
        "bootstrap.servers": server.address, "group.id": "sharers", "log_level": 0,
        "share.acknowledgement.mode": "explicit",
    })  # fmt: skip
    consumer.subscribe(["held"])
    seen, deadline = {}, time.monotonic() + WAIT_S
    while seen.get(2, 0) < 2 and time.monotonic() < deadline:
        for message in consumer.poll(0.5):
            assert message.error() is None
            offset = message.offset()
            seen[offset] = seen.get(offset, 0) + 1
            kinds = {
                0: AcknowledgeType.ACCEPT,
                1: AcknowledgeType.ACCEPT,
                3: AcknowledgeType.REJECT,
            }
            consumer.acknowledge(message, kinds.get(offset, AcknowledgeType.RELEASE))
        assert not any(consumer.commit_sync(10.0).values())
    assert seen[2] >= 2
    return consumer


def left_open(server):
    """With the second server, which is killed then."""
    know(server, "readers", "waiting", "overtaken", "fleeting")
    writer = Writer(server, "copier")
    for n, outcome in enumerate(["commit", "abort"]):
        writer.begin("readers", held=n + 3)
        writer.end(outcome)
    other = Writer(server, "opener")
    other.begin("waiting", held=2, moves=1)
    second = Writer(server, "second")
    second.begin("overtaken", held=1, moves=2)
    [done] = (
        admin(server)
        .alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions("overtaken", [TopicPartition("held", 0, 3)])]
        )
        .values()
    )
    done.result()
    third = Writer(server, "third")
    third.begin("fleeting", fleeting=0, held=1)
    [gone] = admin(server).delete_topics(["fleeting"]).values()
    gone.result()
    idle = Writer(server, "idle")
    plain(server, "moves", 2)
    return writer, other, second, third, idle


# What is in it


def described(store):
    """By the library, which goes on with nothing."""
    return {
        "topics": {name: described_topic(store, name) for name in store.topics()},
        "groups": {
            name: sorted(
                [it.topic, it.partition, it.committed, it.metadata]
                for it in store.group(name).describe()
            )
            for name in store.groups()
        },
        "records": offsets_of(store),
        "queue": [it.body.decode() for it in store.queue("jobs").history()],
        "journal": described_journal(store),
    }


def described_topic(store, name):
    found = []
    for number, log in enumerate(store.topic(name).partitions):
        shown = {}
        for isolation in ("committed", "uncommitted"):
            with store.consumer(name, partitions=[number], isolation=isolation) as consumer:
                shown[isolation] = [[it.offset, text(it.value)] for it in consumer]
        found.append({
            **shown, "safe": log.safe, "stable": log.stable, "bases": log.bases(),
            "open": sorted(log.notes.open.values()),
            "aborted": [[it.first, it.last, it.stable] for it in log.aborted(0, log.safe)],
            "markers": [
                [it.base_offset, outcome_of(it), it.producer_epoch, it.delete_horizon_ms]
                for it in batches_of(log) if it.is_control
            ],
        })  # fmt: skip
    return found


def batches_of(log):
    at = log.start
    while batches := log.read(at, 1 << 20):
        yield from batches
        at = batches[-1].next_offset


def offsets_of(store):
    """Whether the row of a group's offset says which record of the journal has committed it."""
    offsets = store.internals().directory.groups.offsets
    return {
        group: sorted([topic, number, it.record] for (topic, number), it in kept.items())
        for group in store.groups()
        if (kept := offsets.fetch(group))
    }


def described_journal(store):
    directory = store.internals().directory.writable()
    log = journal_there(directory)
    known = settlements_of(log).transactions()
    shares = settlements_of(log).shares()
    topics = {store.topic(it).uuid.hex(): it for it in store.topics()}
    return {
        "start": log.start,
        "letters": "".join(
            record.key[:1].decode() for batch in batches_of(log) for record in decode(batch)
        ),
        "ids": {
            it.name: [it.epoch, it.last_epoch, it.timeout_ms, it.version, it.state.name]
            for it in known.ids()
        },
        "staged": {
            group: sorted(
                [topics.get(topic_id.hex(), "gone"), number]
                for topic_id, number in known.staged.partitions(group)
            )
            for group in ("waiting", "overtaken", "fleeting")
        },
        "overtakes": known.staged.overtakes("overtaken", [(store.topic("held").uuid, 0)]),
        "unfinished": len(known.unfinished()),
        "shares": [
            [place.group, topics.get(place.topic_id.hex(), "gone"), place.partition, kept.hex()]
            for place, kept in shares.partitions()
        ],
    }  # fmt: skip


def noted(path):
    """What the catalogue has of the journal, as it is packed: where its note ends, and says."""
    catalog = Catalog(Disk(), str(path / CATALOG), create=False, write=True, kinds=KINDS)
    try:
        [entry] = [entry for _, entry in catalog.entries() if entry.kind == JOURNAL.name]
        state, note = catalog.log_state(entry.log_key(0)), catalog.note(entry.log_key(0))
    finally:
        catalog.close()
    notes = SettlementNotes()
    notes.load(note)
    return {
        "upto": state.recovery_offset,
        "ids": {it.name: [it.epoch, it.state.name] for it in notes.transactions().ids()},
        "shares": len(list(notes.shares().partitions())),
    }


def main():
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work, "transactions")
        made(directory)
        server = serving(directory)
        try:
            ended(server)
            sharer = shared(server)
        finally:
            code, errors = server.stop()
        assert code == 0, errors
        by_the_library(directory)
        server = serving(directory)
        try:
            clients = left_open(server)
        finally:
            server.stop(signal.SIGKILL)
        pack(directory, "transactions", HERE / "transactions.tar.gz")
    with tempfile.TemporaryDirectory() as work:
        found = {"commit": commit(), "noted": noted(unpack("transactions", work))}
    with (
        tempfile.TemporaryDirectory() as work,
        open_golden(unpack("transactions", work), "write") as it,
    ):
        found = {**found, "schema": it.status().schema, "transactions": described(it)}
    lines = json.dumps(found, separators=(",", ":"), ensure_ascii=False).replace('},"', '},\n"')
    (HERE / "transactions.json").write_text(lines + "\n")
    del sharer, clients


if __name__ == "__main__":
    main()
