"""Another store takes the name of an open data directory: nothing there is ever touched."""

import os

import pytest

import logstore
from logstore.config import Config
from logstore.errors import LogstoreError
from logstore.storage.disk import Disk
from logstore.upkeep.desk import Desk

OFF = Config({"upkeep.interval.ms": ("-1", "test"), "files.open.max": ("16", "test")})


def tree(path):
    """Every file with its bytes, but for LMDB's table of readers."""
    found = {}
    for folder, _, names in os.walk(path):
        found[folder] = None
        for name in names:
            file = os.path.join(folder, name)
            if not name.endswith((".mdb-lock", ".sock")):
                with open(file, "rb") as opened:
                    found[file] = opened.read()
    return found


class Swap:
    """A store whose directory is moved away, and another one in its place."""

    def __init__(self, tmp_path):
        self.path, self.moved = str(tmp_path / "data"), str(tmp_path / "moved")
        self.stranger = str(tmp_path / "stranger")
        with logstore.open(self.stranger, config=OFF) as stranger:
            for name in ("t", "old", "doomed"):
                stranger.create_topic(name).append(b"a stranger's")

    def swap(self):
        os.rename(self.path, self.moved)
        os.rename(self.stranger, self.path)
        self.before = tree(self.path)

    def check(self):
        assert tree(self.path) == self.before


@pytest.fixture
def swap(tmp_path):
    return Swap(tmp_path)


@pytest.fixture
def blind(swap, monkeypatch):
    """A store that is swapped just after it has looked, so that it has not noticed yet."""
    store = logstore.open(swap.path, config=OFF)
    small = {"segment.bytes": "1000", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}
    store.create_topic("t", settings=small)
    store.create_topic("old").append(b"old")
    store.create_topic("doomed").append(b"doomed")
    for n in range(30):
        store.topic("t").append(bytes(100), key=b"%d" % (n % 3))
    in_place = store._directory._in_place
    monkeypatch.setattr(in_place, "check", lambda: None)
    monkeypatch.setattr(in_place, "check_now", lambda: None)
    monkeypatch.setattr(in_place, "is_due", lambda path: False)
    store._directory._catalog.environment._look_at_s = float("inf")
    swap.swap()
    yield store
    store.close()
    swap.check()


def test_topics_are_made_grown_and_deleted_in_the_own_directory(blind, swap):
    blind.create_topic("u", partitions=2).append(b"1")
    blind.alter_topic("u", partitions=3)
    blind.delete_topic("doomed")
    swap.check()
    assert {"u-0", "u-1", "u-2"} <= {*os.listdir(swap.moved)}
    assert "doomed-0" not in os.listdir(swap.moved)


def test_segments_are_begun_read_and_trimmed_in_the_own_directory(blind, swap):
    topic, before = blind.topic("t"), {*os.listdir(f"{swap.moved}/t-0")}
    for n in range(30):
        assert topic.append(bytes(100), key=b"k").offset == 30 + n
    topic.partition(0).roll()
    assert {*os.listdir(f"{swap.moved}/t-0")} > before
    blind.trim("t", 20)
    for log in (topic.partition(0), blind.topic("old").partition(0)):
        assert log.read(log.start, 1 << 20)
    swap.check()


def test_compaction_by_the_child_process_happens_in_the_own_directory(blind, swap):
    blind.topic("t").partition(0).roll()
    swap.check()
    outcomes = list(blind.compaction("t"))
    assert [it.broke for it in outcomes] == [None]
    assert sum(it.records_removed for it in outcomes) > 0
    swap.check()


def test_verify_and_sizes_look_into_the_own_directory(blind, swap):
    assert sum(report.records for report in blind.verify()) == 32
    assert [it.end for it in blind.sizes("t")] == [30]


def test_a_reader_commits_and_claims_in_the_own_directory(swap):
    with logstore.open(swap.path, config=OFF) as store:
        store.create_topic("t").append(b"mine")
    reader = logstore.open(swap.path, "read", config=OFF)
    swap.swap()
    reader._directory._catalog.environment._look_at_s = float("inf")  # it has just looked
    consumer = reader.consumer("t", group="g")
    assert [it.value for it in consumer.poll(1)] == [b"mine"]
    consumer.commit()
    assert os.listdir(f"{swap.moved}/claims")
    consumer.close()
    reader.close()
    swap.check()
    with logstore.open(swap.moved, "read", config=OFF) as store:
        assert [it.committed for it in store.group("g").describe()] == [1]


def test_the_desk_stands_in_the_own_directory_and_takes_no_other_away(swap):
    logstore.open(swap.path, config=OFF).close()
    disk = Disk()
    disk.anchor(swap.path)
    swap.swap()
    theirs = Desk(Disk(), swap.path)
    desk = Desk(disk, swap.path)
    assert "api.sock" in os.listdir(swap.moved)
    desk.close()
    desk.remove()
    assert "api.sock" not in os.listdir(swap.moved)
    assert "api.sock" in os.listdir(swap.path)
    theirs.close()
    theirs.remove()
    disk.let_go(swap.path)


@pytest.mark.parametrize("mode", ["write", "read"])
@pytest.mark.parametrize("moment", ["list", "place_of", "lock"])
def test_what_was_looked_at_is_what_is_opened(swap, mode, moment):
    """The name goes to another store between the look and the act, whenever that is."""
    with logstore.open(swap.path, config=OFF) as store:
        store.create_topic("mine").append(b"mine")

    class Swaps(Disk):
        done = False

        def _swap(self, at):
            if at == moment and not self.done:
                self.done = True
                swap.swap()

    for name in ("list", "place_of", "lock"):

        def call(self, *given, name=name, **named):
            self._swap(name)
            return getattr(Disk, name)(self, *given, **named)

        setattr(Swaps, name, call)
    disk = Swaps()
    refused = None
    try:
        store = logstore.open(swap.path, mode, config=OFF, disk=disk)
    except LogstoreError as error:
        refused = error
    if refused is not None:
        assert "removed, moved or replaced" in str(refused)
        swap.check()
        return
    assert [*store.topics()] == ["mine"]
    assert store.topic("mine").partition(0).read(0, 1)
    if mode == "write":
        with pytest.raises(LogstoreError, match="removed, moved or replaced"):
            store.delete_topic("mine")
        with pytest.raises(LogstoreError, match="removed, moved or replaced"):
            store.close()
    else:
        store.close()
    if disk.done:
        swap.check()
    else:
        assert (mode, moment) == ("read", "lock")  # a reader takes none


@pytest.mark.long
def test_a_partition_on_a_bigger_disk_goes_on_working(tmp_path):
    path, bigger = str(tmp_path / "data"), tmp_path / "bigger"
    bigger.mkdir()
    small = {"segment.bytes": "1000", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}
    with logstore.open(path, config=OFF) as store:
        store.create_topic("absolute", settings=small).append(b"1", key=b"k")
        store.create_topic("relative", settings=small).append(b"1", key=b"k")
    for name, target in (("absolute", str(bigger)), ("relative", "../bigger")):
        os.rename(f"{path}/{name}-0", f"{bigger}/{name}-0")
        os.symlink(f"{target}/{name}-0", f"{path}/{name}-0")
    with logstore.open(path, config=OFF) as store:
        for name in ("absolute", "relative"):
            topic = store.topic(name)
            for _ in range(30):
                topic.append(bytes(100), key=b"k")
            topic.partition(0).roll()
            assert [it.broke for it in store.compaction(name)] == [None]
            assert len(os.listdir(bigger / f"{name}-0")) >= 3
        assert not [it for report in store.verify() for it in report.findings]


def test_every_store_lets_go_of_its_directory(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for mode in ("write", "read"):
        logstore.open(tmp_path / "data", mode, config=OFF).close()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").touch()
    for mode in ("write", "read"):
        with pytest.raises(LogstoreError):
            logstore.open(tmp_path / "foreign", mode, config=OFF)
    with logstore.open(tmp_path / "data", config=OFF), pytest.raises(LogstoreError):
        logstore.open(tmp_path / "data", config=OFF)  # it is locked
    assert len(os.listdir("/proc/self/fd")) == before
