"""A real, small ext4: filled to its last byte, and remounted for reading under a running writer."""

import os
import subprocess
from contextlib import suppress

import pytest
from system_commands import command

import logstore
from logstore.config import Config
from logstore.errors import Failed, LogstoreError, ReadOnly, StorageFull

IMAGE_BYTES = 24 << 20
OFF = Config({"upkeep.interval.ms": ("-1", "test")})
SETTINGS = {
    "segment.bytes": "400000", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0",
}  # fmt: skip
VALUE = bytes(range(256)) * 40


@pytest.fixture
def mounted(tmp_path):
    image, where = tmp_path / "ext4.image", tmp_path / "mounted"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    where.mkdir()
    command("mkfs.ext4", "-q", "-m", "0", str(image))
    command("mount", "-o", "loop", str(image), str(where))
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def append_until_refused(topic, first=0):
    """(how many were acknowledged, the error)."""
    n = first
    while True:
        try:
            position = topic.append(VALUE + b"%d" % n, key=b"k%d" % (n % 50))
        except LogstoreError as error:
            return n, error
        assert position.offset == n
        n += 1


def fill_up(path):
    """To the last byte."""
    with path.open("wb", buffering=0) as rest, suppress(OSError):
        while rest.write(bytes(512)):
            pass


def values(store):
    with store.consumer("t") as consumer:
        return {it.key: it.value for it in consumer}


def latest(count):
    return {b"k%d" % (n % 50): VALUE + b"%d" % n for n in range(count)}


@pytest.mark.long
def test_filled_to_the_last_byte_and_freed_again(mounted):
    ballast = mounted / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    with logstore.open(mounted / "data", config=OFF) as store:
        topic = store.create_topic("t", settings=SETTINGS)
        count, error = append_until_refused(topic)
        assert count > 100
        assert isinstance(error, StorageFull)
        assert "free some space" in str(error)
        fill_up(mounted / "rest")
        assert isinstance(append_until_refused(topic, count)[1], StorageFull)
        assert values(store) == latest(count)  # readers go on
        with logstore.open(mounted / "data", "read") as reader:
            assert values(reader) == latest(count)
        with suppress(StorageFull):  # and nothing else; a directory may still have room
            store.create_topic("u")
        for outcome in store.compaction():  # it has no room to write in
            assert outcome.broke is None or isinstance(outcome.broke.error(), StorageFull)
        assert values(store) == latest(count)
        ballast.unlink()
        os.unlink(mounted / "rest")
        more = count + 60
        for n in range(count, more):  # the same store, without a restart
            assert topic.append(VALUE + b"%d" % n, key=b"k%d" % (n % 50)).offset == n
        topic.partition(0).roll()
        outcome = next(it for it in store.compaction("t"))
        assert outcome.broke is None
        assert values(store) == latest(more)
    with logstore.open(mounted / "data", config=OFF) as store:
        assert values(store) == latest(more)
        assert not [it for report in store.verify() for it in report.findings if not it.derived]


def test_remounted_for_reading_under_a_running_writer(mounted):
    data = mounted / "data"
    store = logstore.open(data, config=OFF)
    topic = store.create_topic("t", settings=SETTINGS | {"preallocate": "true"})
    for n in range(60):
        topic.append(VALUE + b"%d" % n, key=b"k%d" % (n % 50))
    # Open files forbid a plain remount; this is what the kernel itself does when a disk fails it.
    command("mount", "-o", "remount,abort", str(mounted))
    count, error = append_until_refused(topic, 60)
    assert isinstance(error, ReadOnly | Failed)
    assert str(data) in str(error) or "t-0" in str(error)
    assert values(store) == latest(count)
    with pytest.raises(LogstoreError):
        store.create_topic("u")
    with pytest.raises(LogstoreError):
        store.close()
    subprocess.run(["umount", "-l", str(mounted)], check=True)
    command("mount", "-o", "loop", str(mounted.parent / "ext4.image"), str(mounted))
    with logstore.open(data, config=OFF) as again:
        assert values(again) == latest(count)
        assert again.topic("t").append(b"more", key=b"k0").offset == count
