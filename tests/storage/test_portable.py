"""Each call does the same whether the system has what it likes best, or lacks it."""

import errno
import fcntl
import os
import socket
import threading

import pytest
from storage_kit import DEADLINE_S, CountingDisk, a_batch

from logstore import platforms, portable
from logstore.storage.disk import Disk
from logstore.storage.lock import LockFile, owner_of
from logstore.storage.pin import Pin


@pytest.fixture
def lacks(monkeypatch):
    """Take things away."""

    def take(*rules):
        for rule in rules:
            monkeypatch.setattr(rule, "there", False)

    return take


def with_and_without(*rules):
    """Twice: as it is here, and without these."""

    def once(request, lacks):
        if request.param:
            lacks(*rules)

    return pytest.fixture(once, params=[False, True], ids=["there", "lacking"])


vectors = with_and_without(platforms.PREADV, platforms.PREADV2)
room = with_and_without(platforms.POSIX_FALLOCATE)
locks = with_and_without(platforms.OFD_LOCKS)
paths = with_and_without(platforms.PROC, platforms.O_TMPFILE, platforms.SOCKET_MODES)
sending = with_and_without(platforms.SENDFILE)


@pytest.fixture
def fd(tmp_path):
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


@pytest.mark.usefixtures("vectors")
def test_what_is_written_in_pieces_is_read(fd):
    assert portable.write(fd, [b"one", bytearray(b"two"), memoryview(b"three")], 5) == 11
    into = bytearray(b"." * 20)
    assert portable.read_into(fd, into, 4) == 12
    assert into == b"\0onetwothree" + b"." * 8
    assert portable.read_into(fd, into, 16) == 0
    assert portable.are_cached(fd, [0, 15])


@pytest.mark.usefixtures("room")
def test_room_is_zeros_behind_what_is_there(fd):
    os.pwrite(fd, b"kept", 0)
    portable.allocate(fd, 3_000_000)
    portable.allocate(fd, 10)
    assert os.pread(fd, 3_000_001, 0) == b"kept" + bytes(2_999_996)
    os.pwrite(fd, b"here", 2)  # the file is not one that is only appended to
    assert os.pread(fd, 6, 0) == b"kehere"


def test_appended_room_takes_nothing_from_who_writes_meanwhile(fd, lacks, monkeypatch):
    """Another process may make the catalogue longer between a look at its size and the zeros."""
    lacks(platforms.POSIX_FALLOCATE)
    look = os.fstat

    def looked(fd):
        facts = look(fd)
        if not facts.st_size:
            os.pwrite(fd, b"other's", 0)
        return facts

    monkeypatch.setattr(portable.os, "fstat", looked)
    portable.allocate(fd, 100)
    assert os.pread(fd, 200, 0).rstrip(b"\0") == b"other's"
    assert look(fd).st_size >= 100


@pytest.mark.usefixtures("locks")
class TestLocks:
    """As those of a file's name, by whatever kind of lock."""

    def test_one_at_a_time_though_it_is_the_same_process(self, tmp_path):
        path = str(tmp_path / "lock")
        first, second = LockFile(Disk(), path), LockFile(Disk(), path)
        assert first.take()
        assert not second.take()
        assert owner_of(Disk(), path).pid == os.getpid()
        assert not second.take()  # the look has not let go of it
        first.release()
        assert owner_of(Disk(), path) is None
        assert second.take()
        second.release()

    def test_who_copies_shares_and_who_trims_does_not(self, tmp_path):
        pin = Pin(Disk(), str(tmp_path / "pin"))
        pin.make()
        trims = []
        with pin.shared(), pin.shared():
            assert not pin.unless_shared(lambda: trims.append(1))
        assert pin.unless_shared(lambda: trims.append(2))
        assert trims == [2]

    def test_a_byte_that_is_locked_as_lmdb_does(self, tmp_path):
        """Of another process: to this one its own locks are none."""
        disk, path = Disk(), str(tmp_path / "table")
        fd = disk.open(path, write=True, create=True)
        ready, taken = os.pipe()
        end, ended = os.pipe()
        child = os.fork()
        if not child:
            fcntl.lockf(os.open(path, os.O_RDWR), fcntl.LOCK_EX, 1, 7)
            os.write(taken, b".")
            os.close(ended)
            os.read(end, 1)
            os._exit(0)
        os.close(end)
        assert os.read(ready, 1) == b"."
        assert disk.locked_bytes(fd, 7, 1)
        assert not disk.locked_bytes(fd, 8, 1)
        os.close(ended)
        os.waitpid(child, 0)
        assert not disk.locked_bytes(fd, 7, 1)
        for it in (fd, ready, taken):
            os.close(it)


def test_who_only_looks_at_a_flock_keeps_no_writer_out(tmp_path, lacks, monkeypatch):
    lacks(platforms.OFD_LOCKS)
    path, disk = str(tmp_path / "lock"), Disk()
    looking = disk.open(path, write=True, create=True)
    fcntl.flock(looking, fcntl.LOCK_SH)  # as within a look
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2:
            fcntl.flock(looking, fcntl.LOCK_UN)

    monkeypatch.setattr(portable.time, "sleep", pause)
    lock = LockFile(disk, path)
    assert lock.take()
    assert len(pauses) == 2
    lock.release()
    disk.close(looking)


@pytest.mark.usefixtures("paths")
@pytest.mark.parametrize("deep", [False, True])
def test_a_socket_is_found_however_long_its_path_is(tmp_path, deep):
    folder = tmp_path / "/".join(["deep" * 20] * 3 if deep else ["d"])
    folder.mkdir(parents=True)
    disk, path = Disk(), f"{folder}/api.sock"
    with disk.listen(path) as listening, disk.connect(path) as connection:
        accepted, _ = listening.accept()
        with accepted:
            connection.sendall(b"heard")
            assert accepted.recv(10) == b"heard"
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(folder) == ["api.sock"]


def test_a_socket_of_another_directory_of_the_name_is_not_taken(tmp_path, lacks):
    lacks(platforms.PROC)
    (tmp_path / "d").mkdir()
    disk = Disk()
    disk.anchor(str(tmp_path / "d"))
    (tmp_path / "d").rename(tmp_path / "moved")
    (tmp_path / "d").mkdir()
    with pytest.raises(OSError, match="another directory") as raised:
        disk.listen(str(tmp_path / "d" / "api.sock"))
    assert raised.value.errno == errno.ESTALE
    disk.let_go(str(tmp_path / "d"))


@pytest.mark.usefixtures("paths")
def test_a_file_without_a_name_leaves_nothing(tmp_path):
    fd = portable.open_nameless(str(tmp_path))
    os.write(fd, b"data")
    assert os.listdir(tmp_path) == []
    os.close(fd)


@pytest.mark.usefixtures("sending")
def test_a_file_is_sent_into_a_socket(fd):
    os.pwrite(fd, b"0123456789", 0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert portable.send_file(ours.fileno(), fd, 3, 5) == 5
        assert portable.send_file(ours.fileno(), fd, 10, 5) == 0
        assert theirs.recv(100) == b"34567"
        ours.setblocking(False)  # as a server's are
        os.ftruncate(fd, 1 << 20)
        while True:  # until the peer, who does not read, has no room left
            try:
                assert portable.send_file(ours.fileno(), fd, 0, 1 << 20)
            except BlockingIOError:
                break


class TestSyncs:
    def test_without_syncfs_each_of_many_logs_is_synced(self, store, lacks):
        lacks(platforms.SYNCFS)
        disk = CountingDisk()
        directory = store.writer(disk)
        logs = [store.log_of(directory, "t", partition, 4) for partition in range(4)]
        for log in logs:
            log.append(a_batch(b"v"))
        disk.syncs = 0
        logs[0].wait(1)
        assert (logs[0].safe, disk.sync_alls) == (1, 0)
        assert disk.syncs >= 1
        for log in logs:
            log.wait(1)
        assert disk.syncs >= len(logs)

    def test_where_no_syncfs_is_there_nobody_waits_for_what_nobody_asked_for(self, store, lacks):
        """One that syncs at leisure would make each lone writer pay for it."""
        lacks(platforms.SYNCFS)
        disk = CountingDisk()
        directory = store.writer(disk)
        logs = [store.log_of(directory, "t", partition, 4) for partition in range(4)]
        for log in logs:
            log.append(a_batch(b"v"))
        for log in logs[1:]:
            log.sync_soon(hurry=False)
        logs[0].wait(1)
        assert [log.safe for log in logs] == [1, 0, 0, 0]

    def test_macos_syncs_by_f_fullfsync_alone(self, fd, tmp_path, lacks, monkeypatch):
        lacks(platforms.FDATASYNC, platforms.SYNCFS)
        monkeypatch.setattr(platforms, "MACOS", True)
        calls = []
        monkeypatch.setattr(portable.fcntl, "fcntl", lambda fd, command: calls.append(command))
        for name in ("fsync", "fdatasync"):
            monkeypatch.delattr(portable.os, name)
        Disk().sync(fd)
        Disk().sync_directory(str(tmp_path))
        portable.sync_directory(tmp_path)
        assert calls == [51, 51, 51]  # F_BARRIERFSYNC is 85

    def test_elsewhere_a_sync_is_an_fsync(self, fd, lacks, monkeypatch):
        lacks(platforms.FDATASYNC)
        synced = []
        monkeypatch.setattr(portable.os, "fsync", synced.append)
        Disk().sync(fd)
        assert synced == [fd]

    def test_a_cache_that_cant_be_dropped_is_left(self, fd, lacks, monkeypatch):
        lacks(platforms.POSIX_FADVISE)
        monkeypatch.delattr(portable.os, "posix_fadvise")
        Disk().drop_cached(fd, 0)


@pytest.mark.usefixtures("locks")
def test_a_lock_is_waited_for_by_who_shares_it(tmp_path):
    disk, path = Disk(), str(tmp_path / "pin")
    holding = disk.open(path, write=True, create=True)
    assert disk.lock(holding)
    shared = threading.Event()

    def share():
        waiting = disk.open(path)
        disk.share(waiting)
        shared.set()
        disk.close(waiting)

    thread = threading.Thread(target=share)
    thread.start()
    disk.close(holding)
    assert shared.wait(DEADLINE_S)
    thread.join()
