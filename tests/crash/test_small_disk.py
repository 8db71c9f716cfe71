"""Real, small file systems that are full: nothing ends by a signal, the store can free itself."""

import itertools
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from system_commands import command

import logstore
from logstore.config import Config
from logstore.errors import StorageFull

pytestmark = pytest.mark.long

OFF = Config({"upkeep.interval.ms": ("-1", "test")})
VALUE = bytes(range(256)) * 40
FULL_BY_A_CHILD = """
import os, sys, logstore
from logstore.errors import StorageFull
value = bytes(range(256)) * 40
store = logstore.open(sys.argv[1])
store.create_topic("keep").append(b"1")
topic = store.create_topic("t")
try:
    while True:
        topic.append(value)
except StorageFull:
    pass
with open(sys.argv[1] + "/../rest", "wb", buffering=0) as rest:
    try:
        while rest.write(bytes(512)):
            pass
    except OSError:
        pass
os.kill(os.getpid(), 9)
"""


@pytest.fixture(params=["tmpfs", "ext4"])
def mounted(request, tmp_path):
    where = tmp_path / "mounted"
    where.mkdir()
    if request.param == "tmpfs":
        command("mount", "-t", "tmpfs", "-o", "size=12m", "none", str(where))
    else:
        image = tmp_path / "ext4.image"
        with image.open("wb") as file:
            file.truncate(24 << 20)
        command("mkfs.ext4", "-q", "-m", "0", str(image))
        command("mount", "-o", "loop", str(image), str(where))
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def fill_up(path):
    """To the last byte."""
    with path.open("wb", buffering=0) as rest, suppress(OSError):
        while rest.write(bytes(512)):
            pass


def run(*words, data):
    return subprocess.run(
        [sys.executable, "-m", "logstore_cli", *words, "--data", str(data)],
        capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def append_for_ever(topic):
    while True:
        topic.append(VALUE)


def create_for_ever(store):
    for n in itertools.count():
        store.create_topic(f"n{n}", 4)


@pytest.fixture
def full(mounted):
    """A young store whose disk is full, after kill -9; what else takes room can't be removed."""
    data = mounted / "data"
    done = subprocess.run(
        [sys.executable, "-c", FULL_BY_A_CHILD, str(data)], check=False, capture_output=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    return data


def test_a_full_store_starts_after_a_kill_and_frees_itself_by_deleting(full):
    with logstore.open(full, config=OFF) as store:
        topic = store.topic("t")
        with pytest.raises(StorageFull):
            append_for_ever(topic)
        store.delete_topic("t")
        store.topic("keep").append(VALUE)
    with logstore.open(full, config=OFF) as store:
        assert [it.value for it in store.consumer("keep")] == [b"1", VALUE]


def test_it_frees_itself_by_altering_and_retention(full):
    with logstore.open(full, config=OFF) as store:
        store.alter_topic("t", {"retention.ms": "1"})
        topic = store.topic("t")
        end = topic.partition(0).safe
        assert end > 100
        store._upkeep._jobs._clock = lambda: logstore.clock.now_ms() + 60_000
        outcomes = list(store.retention())
        assert all(it.broke is None for it in outcomes), outcomes
        assert topic.partition(0).start == end
        assert topic.append(VALUE).offset == end


def test_it_frees_itself_by_trimming(full):
    with logstore.open(full, config=OFF) as store:
        log = store.topic("t").partition(0)
        log.roll()
        store.trim("t", "latest")
        assert log.start == log.safe
        assert store.topic("t").append(VALUE).offset == log.safe - 1


def test_it_can_be_closed_and_opened_any_number_of_times(full):
    for _ in range(5):
        # It may be told when it is closed that the indexes found no room.
        with suppress(StorageFull), logstore.open(full, config=OFF) as store:
            assert store.topic("t").partition(0).safe > 100
            with suppress(StorageFull):
                store.create_topic("more")
    with logstore.open(full, config=OFF) as store:
        store.delete_topic("t")
        store.create_topic("after").append(b"1")


def test_what_takes_room_is_refused_in_one_line_and_leaves_the_reserve(full):
    with logstore.open(full, config=OFF) as store:
        with pytest.raises(StorageFull, match="free some space") as raised:
            create_for_ever(store)
        assert "\n" not in str(raised.value)
        for _ in range(50):
            with pytest.raises(StorageFull):
                store.create_topic("more", 100)
        store.delete_topic("t")


def test_the_command_line_frees_a_full_store(full):
    done = run("topic", "list", data=full)
    assert done.returncode == 0, done.stderr
    done = run("topic", "delete", "t", "--yes", data=full)
    assert done.returncode == 0, done.stderr
    done = run("topic", "create", "after", data=full)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words", [["topic", "list"], ["group", "list"], ["consume", "t"], ["status"], ["verify"]]
)
def test_a_restored_store_on_a_full_disk_ends_no_command_by_a_signal(mounted, words):
    """LMDB's lock file is not there yet."""
    data = mounted / "data"
    with logstore.open(data, config=OFF) as store:
        store.create_topic("t").append(b"1")
    for name in ("catalog.mdb-lock", "lock", "watermarks"):
        (data / name).unlink()
    fill_up(mounted / "rest")
    done = run(*words, data=data)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr.count("\n") <= 1
    if done.returncode:
        assert "No space left on device" in done.stderr
    (mounted / "rest").unlink()
    assert run(*words, data=data).returncode == 0
