import errno
import os
import subprocess
import sys

import pytest
from storage_kit import NamedDisk

from logstore.owner import Owner
from logstore.storage.disk import Disk
from logstore.storage.lock import LockFile, owner_of


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "lock")


def test_one_at_a_time_and_it_says_who(path):
    first, second = LockFile(Disk(), path), LockFile(Disk(), path)
    assert first.take()
    assert not second.take()
    owner = owner_of(Disk(), path)
    assert owner.pid == os.getpid()
    assert owner.command
    first.release()
    assert owner_of(Disk(), path) is None
    assert second.take()
    second.release()


def test_nobody_has_a_lock_that_is_not_there(path):
    assert owner_of(Disk(), path) is None
    assert not os.path.exists(path)


def test_asking_who_has_it_is_in_nobodys_way(path):
    """Or a server could not start in the moment when someone looks at its status."""
    LockFile(Disk(), path).take()

    class Asks(Disk):
        def read(self, fd, size, position):
            raise AssertionError("nobody has it")

        def close(self, fd):
            # Still in owner_of, with the file open: the lock can be had.
            if not self.asked:
                self.asked = True
                assert second.take()
            super().close(fd)

        asked = False

    other = path + "2"
    open(other, "w").close()
    second = LockFile(Disk(), other)
    assert owner_of(Asks(), other) is None
    second.release()


def test_the_death_of_the_owner_frees_it(path):
    script = (
        "import sys; from logstore.storage.disk import Disk;"
        "from logstore.storage.lock import LockFile;"
        "LockFile(Disk(), sys.argv[1]).take(); print('taken', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout.readline() == b"taken\n"
        assert owner_of(Disk(), path).pid == process.pid
        assert not LockFile(Disk(), path).take()
        process.kill()
        process.wait()
    assert owner_of(Disk(), path) is None
    lock = LockFile(Disk(), path)
    assert lock.take()
    lock.release()


@pytest.mark.parametrize("text", [b"", b"{}", b"garbage", b"[1]", b"7", b"\xff\xfe"])
def test_an_owner_that_cant_be_read(path, text):
    lock = LockFile(Disk(), path)
    assert lock.take()
    with open(path, "wb") as file:
        file.write(text)
    assert owner_of(Disk(), path) == Owner(0, "a process that is just starting", 0)
    lock.release()


def test_a_full_disk_does_not_keep_the_lock_taken(path):
    class Full(NamedDisk):
        full = True

        def write(self, fd, buffers, position):
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(fd, buffers, position)

    disk = Full()
    with pytest.raises(OSError, match="No space"):
        LockFile(disk, path).take()
    disk.full = False
    lock = LockFile(disk, path)
    assert lock.take()
    lock.release()


def test_a_lock_file_that_cant_be_emptied_is_let_go_of_all_the_same(path):
    class Fails(NamedDisk):
        fail = False

        def truncate(self, fd, size):
            if self.fail:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().truncate(fd, size)

    disk = Fails()
    lock = LockFile(disk, path)
    assert lock.take()
    disk.fail = True
    lock.release()
    assert owner_of(Disk(), path) is None
    assert LockFile(Disk(), path).take()
