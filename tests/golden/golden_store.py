"""The golden store: what is in it, where it lies, and (run as a program) how it was made.

``python tests/golden/golden_store.py`` writes ``store.tar.gz`` and ``crashed.tar.gz`` beside this
file, with the logstore that is installed, and ``store.json``: everything that this logstore reads
in them. They are made once, at the commit that ``store.json`` names, and never again: later
programs must open them. A new schema gets files of its own.

The crashed store is the same before it was closed: with members that live, an unclean mark, and
a topic whose files are deleted by half.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import lmdb

import logstore
from logstore.errors import ReadOnly
from logstore.records.record import Message

HERE = Path(__file__).parent
T0 = 1_790_000_000_000  # 2026-09-21; the store is opened with this clock
HOUR_MS = 3_600_000
DOOMED = "doomed"
# Nothing may go while the store is looked at, in whichever year that is.
FOREVER = {
    "LOGSTORE_UPKEEP_INTERVAL_MS": "-1",
    "LOGSTORE_OFFSETS_RETENTION_MINUTES": "-1",
}
CODECS = ("uncompressed", "gzip", "snappy", "lz4", "zstd")


def unpack(name, target):
    """One of the archives, as a data directory below ``target``."""
    with tarfile.open(HERE / f"{name}.tar.gz") as archive:
        archive.extractall(target, filter="data")
    return Path(target, name)


def open_golden(path, mode="read"):
    """Opened an hour after it was made, with nothing done by itself."""
    return logstore.open(path, mode, config=config_of(path), clock=lambda: T0 + HOUR_MS)


def config_of(path):
    from logstore.config import Config

    return Config.load(Path(path) / "logstore.toml", FOREVER)


def text(data):
    return None if data is None else data.decode("latin-1")


def described(store):
    """All that can be read in a store by the library, as JSON has it."""
    return {
        "topics": {name: described_topic(store, name) for name in store.topics()},
        "groups": {name: described_group(store.group(name)) for name in store.groups()},
    }


def described_topic(store, name):
    topic = store.topic(name)
    own = {it.name: str(it.value) for it in store.describe_topic(name) if it.source == "topic"}
    records = {}
    for number in range(len(topic.partitions)):
        with store.consumer(name, partitions=[number]) as consumer:
            records[str(number)] = [
                [
                    it.offset, it.timestamp_ms, text(it.key), text(it.value),
                    [[key, text(value)] for key, value in it.headers],
                ]
                for it in consumer
            ]  # fmt: skip
    return {
        "id": topic.id,
        "settings": own,
        "partitions": [[it.start, it.safe, it.end] for it in topic.partitions],
        "records": records,
    }


def described_group(group):
    lags = [[it.topic, it.partition, it.committed, it.lag, it.metadata] for it in group.describe()]
    return {"lags": sorted(lags)}


# Making it


class HalfDeleting:
    """A disk that can't remove directories: what a crash in the middle of a deletion leaves."""

    def __new__(cls):
        from logstore.storage.disk import Disk

        class Kept(Disk):
            def remove_tree(self, path):
                raise PermissionError(13, "Permission denied", path)

        return Kept()


def messages(count, size=16, keyed=None, at_ms=T0):
    return [
        Message(
            (f"value {number} ".encode() * size)[:size],
            None if keyed is None else f"key {number % keyed}".encode(),
            (("n", str(number).encode()), ("none", None)) if number % 5 == 0 else (),
            at_ms + 1000 * number,
        )
        for number in range(count)
    ]


def fill(store):
    for codec in CODECS:
        topic = store.create_topic(f"codec-{codec}", 1, {"compression.type": codec})
        topic.append_many(messages(40), partition=0)
        topic.append_many(messages(5, 200), partition=0)
    keyed = store.create_topic("keyed", 3, {"message.timestamp.type": "LogAppendTime"})
    keyed.append_many(messages(60, keyed=12))
    keyed.append_many([Message(None, b"key 3"), Message(b"", b"", (("\u00fc", b"\xff\0"),))])
    compacted = store.create_topic(
        "compacted", 2,
        {"cleanup.policy": "compact", "segment.bytes": "1000", "min.cleanable.dirty.ratio": "0"},
    )  # fmt: skip
    for pass_ in range(6):
        compacted.append_many(messages(20, 60, keyed=8, at_ms=T0 + pass_))
    compacted.append_many([Message(None, b"key 2"), Message(None, b"key 5")])
    compacted.append_many(messages(30, 120, keyed=30))
    assert any(it.records_removed for it in store.compaction("compacted"))
    trimmed = store.create_topic("trimmed", 1, {"segment.bytes": "900"})
    for _ in range(8):
        trimmed.append_many(messages(10), partition=0)
    store.trim("trimmed", 33)
    store.create_topic("empty.topic_-", 2, {"retention.ms": "-1", "retention.groups": "readers"})
    loose = store.create_topic("loose", 1, {"flush.messages": "100"})
    loose.append_many(messages(7), partition=0)
    store.alter_topic("loose", partitions=2, settings={"retention.bytes": "1000000"})
    gone = store.create_topic(DOOMED, 2)
    gone.append_many(messages(3))


def embedded_group(store):
    with store.consumer("codec-gzip", "keyed", group="readers") as consumer:
        for _ in range(25):
            next(iter(consumer))
        consumer.commit("metadata \u00fc")
    store.group("readers").reset("latest", ["keyed"])
    with store.consumer("keyed", group="gr\u00fcn:1") as consumer:
        next(iter(consumer))
        consumer.commit()


def by_clients(directory, kill):
    """What Kafka clients leave: idempotent batches, groups of both protocols."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    server = subprocess.Popen(
        [
            Path(sys.executable).with_name("logstore"), "serve", "--data", directory,
            "--kafka-port", "0", "--resp-port", "-1", "--amqp-port", "-1",
        "--mqtt-port", "-1", "--stomp-port", "-1", "--http-port", "-1",
        ],
        stdout=subprocess.PIPE, env={**os.environ, **FOREVER}, text=True,
    )  # fmt: skip
    address = server.stdout.readline().split()[-1]
    for _ in range(2):  # two producers
        producer = Producer(
            {"bootstrap.servers": address, "enable.idempotence": True, "log_level": 0}
        )
        for batch in range(7):
            producer.produce("keyed", f"{batch}", f"i{batch}", partition=0)
            producer.flush()
    consumers = []
    for name, protocol in (("classic", "classic"), ("new", "consumer")):
        for left in (True, False):
            consumer = Consumer({
                "bootstrap.servers": address, "log_level": 0,
                "group.id": f"{name}-{'left' if left else 'there'}{'-killed' if kill else ''}",
                "group.protocol": protocol, "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            })  # fmt: skip
            consumer.subscribe(["codec-zstd", "keyed"])
            assert consumer.consume(10, 30)
            offsets = [
                TopicPartition("codec-zstd", 0, 7, metadata=name), TopicPartition("keyed", 1, 3),
            ]  # fmt: skip
            consumer.commit(offsets=offsets, asynchronous=False)
            if left:
                consumer.close()
            else:
                consumers.append(consumer)
    if kill:
        server.kill()
    else:
        server.terminate()
    server.wait(30)
    return consumers


def pack(directory, name, archive):
    """The directory as it stands, its catalogue without free pages."""
    copy = directory.parent / "packed" / name
    shutil.copytree(
        directory, copy, ignore=shutil.ignore_patterns("catalog.mdb*", "lock", "api.sock")
    )
    # Not by opening the store, which would recover it.
    catalog = lmdb.open(str(directory / "catalog.mdb"), subdir=False, readonly=True, lock=False)
    catalog.copyfd(os.open(copy / "catalog.mdb", os.O_WRONLY | os.O_CREAT), compact=True)
    catalog.close()
    with tarfile.open(archive, "w:gz", compresslevel=9) as packed:
        packed.add(copy, name, filter=anonymous)


def anonymous(member):
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main():
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work, "store")
        with open_golden(directory, "write") as store:
            fill(store)
            embedded_group(store)
        by_clients(directory, kill=False)
        pack(directory, "store", HERE / "store.tar.gz")
        with open_golden(directory) as store:
            found = {"commit": commit(), "schema": store.status().schema, **described(store)}
        crash(directory)
        pack(directory, "crashed", HERE / "crashed.tar.gz")
        with open_golden(directory) as store:
            found["crashed"] = {
                part: {name: it for name, it in all_.items() if found[part].get(name) != it}
                for part, all_ in described(store).items()
            }
        lines = json.dumps(found, separators=(",", ":")).replace('},"', '},\n"')
        (HERE / "store.json").write_text(lines + "\n")
        sys.stdout.flush()
        os._exit(0)  # consumers of a server that is gone would wait for it


def crash(directory):
    """A server killed under its clients, then a process killed in the middle of a deletion."""
    by_clients(directory, kill=True)
    if os.fork() == 0:
        store = logstore.open(
            directory, "write", config=config_of(directory), clock=lambda: T0, disk=HalfDeleting()
        )
        store.consumer("codec-lz4", group="died").poll(5)
        store.topic("keyed").append_many(messages(9, keyed=3))
        try:
            store.delete_topic(DOOMED)
        except ReadOnly:
            os._exit(0)
        os._exit(1)
    assert os.wait()[1] == 0


def commit():
    run = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, check=True
    )
    return run.stdout.decode().strip()


if __name__ == "__main__":
    main()
