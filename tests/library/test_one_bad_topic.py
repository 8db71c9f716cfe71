"""One topic is damaged, forbidden or odd: every other one works, whatever is done."""

import errno
import json
import os
import shutil

import pytest

import logstore
from logstore import Message
from logstore.config import Config
from logstore.errors import Failed, LogstoreError
from logstore.storage.catalog import Catalog
from logstore.storage.disk import Disk
from logstore.upkeep.backup import restore

pytestmark = pytest.mark.long

OFF = Config({"upkeep.interval.ms": ("-1", "test")})
SETTINGS = {"cleanup.policy": "compact,delete", "retention.ms": "1000000000"}
RECORDS = [Message(b"1", b"k"), Message(b"2", b"l")]
LOG = "00000000000000000000.log"


class Forbidding(Disk):
    """What is below ``bad-0`` can't be opened, or not even looked at."""

    code = 0

    def _check(self, path):
        if self.code and "/bad-0" in path:
            raise OSError(self.code, os.strerror(self.code), path)

    def open(self, path, *, write=False, create=False):
        self._check(path)
        return super().open(path, write=write, create=create)

    def list(self, path):
        self._check(path)
        return super().list(path)

    def size(self, path):
        self._check(path)
        return super().size(path)


def missing(path, disk):
    shutil.rmtree(path / "bad-0")


def a_file(path, disk):
    shutil.rmtree(path / "bad-0")
    (path / "bad-0").write_bytes(b"")


def a_dangling_link(path, disk):
    shutil.rmtree(path / "bad-0")
    (path / "bad-0").symlink_to(path / "not-there")


def a_looping_link(path, disk):
    shutil.rmtree(path / "bad-0")
    (path / "bad-0").symlink_to(path / "bad-0")


def a_directory_for_a_segment(path, disk):
    (path / "bad-0" / LOG).unlink()
    (path / "bad-0" / LOG).mkdir()


def a_pipe_for_a_segment(path, disk):
    (path / "bad-0" / LOG).unlink()
    os.mkfifo(path / "bad-0" / LOG)


def garbage_in_a_segment(path, disk):
    file = path / "bad-0" / LOG
    file.write_bytes(b"\xff" * len(file.read_bytes()))


def an_empty_directory(path, disk):
    for file in (path / "bad-0").iterdir():
        file.unlink()


def forbidden(path, disk):
    disk.code = errno.EACCES


def broken(path, disk):
    disk.code = errno.EIO


def rows(path, table, value, of=b""):
    catalog = Catalog(Disk(), str(path / "catalog.mdb"), create=False, write=True)
    uuid = bytes.fromhex(catalog.topic("bad").id.replace("-", ""))
    keys = [key for key, _ in catalog.environment.items(table) if key in (b"bad", uuid + bytes(4))]
    catalog.environment.commit([(table, key, value) for key in keys])
    catalog.close()
    assert keys


def a_damaged_entry(path, disk):
    rows(path, b"topics", b"{garbage")


def a_damaged_state(path, disk):
    rows(path, b"logs", b"\xff" * 88)


def a_damaged_note(path, disk):
    catalog = Catalog(Disk(), str(path / "catalog.mdb"), create=False, write=True)
    key = catalog.topic("bad").log_key(0)
    catalog.environment.commit([(b"notes", key, b"cut off")])
    catalog.close()


ODDITIES = [
    missing, a_file, a_dangling_link, a_looping_link, a_directory_for_a_segment,
    a_pipe_for_a_segment, garbage_in_a_segment, an_empty_directory, forbidden, broken,
    a_damaged_entry, a_damaged_state, a_damaged_note,
]  # fmt: skip


@pytest.fixture(params=[True, False], ids=["closed", "crashed"])
def clean(request):
    return request.param


@pytest.fixture(params=ODDITIES, ids=lambda it: it.__name__)
def damaged(request, clean, tmp_path):
    """(path, disk): of three topics, the first is not as it should be."""
    path, disk = tmp_path / "data", Forbidding()
    with logstore.open(path, config=OFF) as store:
        for name in ("bad", "good", "late"):
            store.create_topic(name, 1, SETTINGS).append_many(RECORDS)
        with store.consumer("bad", "good", "late", group="g") as consumer:
            assert len(list(consumer)) == 6
    request.param(path, disk)
    if not clean:
        catalog = Catalog(Disk(), str(path / "catalog.mdb"), create=False, write=True)
        catalog.opened()
        catalog.close()
    return path, disk


def values(store, name):
    with store.consumer(name) as consumer:
        return [it.value for it in consumer]


def check_error(raised):
    assert "bad" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_every_other_topic_is_written_and_read(damaged, request):
    path, disk = damaged
    with logstore.open(path, config=OFF, disk=disk) as store:
        store.topic("good").append(b"3", key=b"3")
        store.create_topic("new").append(b"1")
        store.delete_topic("late")
        assert values(store, "good") == [b"1", b"2", b"3"]
        with pytest.raises(LogstoreError) as raised:
            store.topic("bad").append(b"3", key=b"3")
        check_error(raised)
    with logstore.open(path, "read", config=OFF, disk=disk) as reader:
        assert values(reader, "good") == [b"1", b"2", b"3"]
        if "a_damaged_note" not in request.node.name:  # of no meaning to who only reads
            with pytest.raises(LogstoreError) as raised:
                values(reader, "bad")
            check_error(raised)
    with logstore.open(path, config=OFF, disk=disk) as store:  # again: it goes on so
        store.topic("good").append(b"4", key=b"4")
        assert values(store, "good") == [b"1", b"2", b"3", b"4"]
        assert values(store, "new") == [b"1"]


@pytest.mark.parametrize("mode", ["read", "write"])
def test_status_and_verify_name_it_and_go_on(damaged, mode, request):
    path, disk = damaged
    if mode == "read" and "a_damaged_note" in request.node.name:
        pytest.skip("it is of no meaning to who only reads")
    with logstore.open(path, mode, config=OFF, disk=disk) as store:
        status = store.status()
        assert status.offsets >= 4
        (named,) = status.damaged
        assert "bad" in named
        reports = list(store.verify(repair=mode == "write"))
    findings = [it for report in reports for it in report.findings]
    assert findings
    assert all("bad" in it.path + it.message for it in findings)
    assert all("\n" not in it.message for it in findings)
    whole = [it for it in reports if not it.findings]
    assert sum(it.records for it in whole) == 4


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_group_that_reads_it_is_described_moved_and_goes_on_in_the_others(damaged, mode):
    path, disk = damaged
    with logstore.open(path, mode, config=OFF, disk=disk) as store:
        found = {it.topic: it for it in store.group("g").describe()}
        assert found.keys() == {"bad", "good", "late"}
        for name in ("good", "late"):
            assert (found[name].committed, found[name].lag, found[name].broken) == (2, 0, None)
        assert (found["bad"].broken is None) == (found["bad"].lag is not None)
        assert "\n" not in (found["bad"].broken or "")
        if mode == "write":
            [move] = store.group("g").reset("earliest", ["good"])
            assert move.before == 2
            with store.consumer("good", group="g") as consumer:
                assert len(list(consumer)) == 2
            assert store.expire_offsets() == []


def test_upkeep_goes_on_with_the_others(damaged):
    path, disk = damaged
    with logstore.open(path, config=OFF, disk=disk) as store:
        for outcomes in (store.retention(), store.compaction()):
            found = {it.topic: it.broke for it in outcomes}
            assert {name for name, broke in found.items() if broke is None} == {"good", "late"}
        store.topic("good").append(b"3", key=b"3")


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_backup_has_the_others_and_says_what_it_lacks(damaged, mode, tmp_path, request):
    path, disk = damaged
    if mode == "read" and "a_damaged_note" in request.node.name:
        pytest.skip("it is of no meaning to who only reads")
    with (
        logstore.open(path, mode, config=OFF, disk=disk) as store,
        pytest.raises(
            Failed, match="the backup is finished, but lacks all or a part of bad-0: "
        ) as raised,
    ):
        list(store.backup(tmp_path / "copy"))
    check_error(raised)
    manifest = json.loads((tmp_path / "copy" / "backup.json").read_bytes())
    assert list(manifest["left_out"]) == ["bad-0"]
    list(restore(str(tmp_path / "copy"), str(tmp_path / "again"), Disk()))
    with logstore.open(tmp_path / "again", config=OFF) as store:
        assert values(store, "good") == [b"1", b"2"]
        store.topic("late").append(b"3", key=b"3")
        with pytest.raises(LogstoreError):
            store.topic("bad").partition(0).read(1, 1)


def test_one_log_that_cannot_be_synced_fails_no_other(tmp_path):
    """Even if all are synced together."""

    class Fails(Disk):
        paths, failing = {}, False

        def open(self, path, *, write=False, create=False):
            fd = super().open(path, write=write, create=create)
            self.paths[fd] = path
            return fd

        def sync(self, fd):
            if self.failing and "/bad-0" in self.paths[fd]:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync(fd)

    disk = Fails()
    config = Config({"upkeep.interval.ms": ("-1", "test"), "files.open.max": ("16", "test")})
    store = logstore.open(tmp_path / "data", config=config, disk=disk)
    logs = {}
    for name in ("bad", "good", "late"):
        topic = store.create_topic(name)
        logs[name] = topic.partition(0)
        topic.append(b"1")
    batches = logs["good"].read(0, 1)
    for name in ("bad", "good", "late"):
        logs[name].append(batches[0])
    disk.failing = True
    for path in (tmp_path / f"other{n}" for n in range(16)):  # files are synced as they are closed
        path.write_bytes(b"")
        logs["good"]._files.read(str(path), 1, 0)
    with pytest.raises(LogstoreError, match="bad-0"):
        logs["bad"].wait(2)
    for name in ("good", "late"):
        logs[name].wait(2)
        assert logs[name].safe == 2
    with pytest.raises(LogstoreError, match="bad-0"):
        store.close()


def test_partitions_on_other_file_systems_are_synced_there(tmp_path):
    """A partition may be a link to a larger disk: one sync of a file system does not reach it."""

    class Devices(Disk):
        synced = []  # noqa: RUF012

        def device(self, path):
            return 2 if "/t-1" in path else 1

        def sync_all(self, fd):
            self.synced.append(os.readlink(f"/proc/self/fd/{fd}"))
            super().sync_all(fd)

    disk = Devices()
    with logstore.open(tmp_path / "data", config=OFF, disk=disk) as store:
        topic = store.create_topic("t", 3)
        disk.synced.clear()
        for number in range(3):
            topic.append_many(RECORDS[:1], partition=number)
        batch = topic.partition(0).read(0, 1)[0]
        for log in topic.partitions:
            log.append(batch)
        for log in topic.partitions:
            log.wait(2)
        assert {path.rpartition("/")[0][-3:] for path in disk.synced} == {"t-0", "t-1"}
