import errno
import os
import resource
from contextlib import ExitStack
from typing import ClassVar

import pytest
from storage_kit import NamedDisk, run_all

from logstore.descriptors import opened, shares
from logstore.storage.disk import Disk
from logstore.storage.files import OpenFiles


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def test_only_so_many_are_open(tmp_path):
    before = descriptors()
    files = OpenFiles(Disk(), 4, write=True)
    for n in range(20):
        files.write(str(tmp_path / str(n)), [b"%d" % n], 0)
    assert descriptors() == before + 4
    assert [files.read(str(tmp_path / str(n)), 9, 0) for n in range(20)] == [
        b"%d" % n for n in range(20)
    ]
    files.close()
    assert descriptors() == before


def test_one_in_use_is_not_closed_under_its_user(tmp_path):
    files = OpenFiles(Disk(), 1, write=True)
    path = str(tmp_path / "a")
    files.write(path, [b"abc"], 0)
    with files.use(path) as fd:
        files.write(str(tmp_path / "b"), [b"x"], 0)
        files.forget(path)
        assert os.pread(fd, 3, 0) == b"abc"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    files.close()


def test_threads_and_evictions(tmp_path):
    files = OpenFiles(Disk(), 3, write=True)
    paths = [str(tmp_path / str(n)) for n in range(12)]
    for n, path in enumerate(paths):
        files.write(path, [b"%02d" % n], 0)

    def read(first):
        for n in range(first, first + 600):
            assert files.read(paths[n % 12], 9, 0) == b"%02d" % (n % 12)

    run_all(*[lambda first=first: read(first) for first in range(6)])
    files.close()


def test_a_short_write_is_finished(tmp_path):
    class Short(NamedDisk):
        def write(self, fd, buffers, position):
            return super().write(fd, [b"".join(buffers)[:3]], position)

    files = OpenFiles(Short(), 4, write=True)
    files.write(str(tmp_path / "a"), [b"abcd", memoryview(b"efgh")], 0)
    assert (tmp_path / "a").read_bytes() == b"abcdefgh"
    files.close()


def test_a_disk_that_takes_nothing_is_full(tmp_path):
    class Nothing(NamedDisk):
        def write(self, fd, buffers, position):
            return 0

    files = OpenFiles(Nothing(), 4, write=True)
    with pytest.raises(OSError, match="No space") as raised:
        files.write(str(tmp_path / "a"), [b"abcd"], 0)
    assert raised.value.errno == errno.ENOSPC
    files.close()


def test_reading_makes_no_file(tmp_path):
    files = OpenFiles(Disk(), 4, write=False)
    with pytest.raises(FileNotFoundError):
        files.read(str(tmp_path / "a"), 1, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_directorys_files_are_forgotten_together(tmp_path):
    files = OpenFiles(Disk(), 9, write=True)
    for name in ("t-1", "t-10"):
        (tmp_path / name).mkdir()
        files.write(str(tmp_path / name / "0.log"), [b"old"], 0)
    files.forget_below(str(tmp_path / "t-1"))
    assert list(files._open) == [str(tmp_path / "t-10" / "0.log")]
    files.close()


class FailingDisk(NamedDisk):
    fail = False

    def __init__(self):
        super().__init__()
        self.synced = []

    def sync(self, fd):
        if self.fail:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(fd)
        self.synced.append(self.paths[fd])


def test_a_dirty_file_is_synced_before_it_is_closed_for_want_of_room(tmp_path):
    disk = FailingDisk()
    files = OpenFiles(disk, 2, write=True)
    paths = [str(tmp_path / name) for name in "abc"]
    files.write(paths[0], [b"x"], 0)
    files.sync(paths[0])
    files.write(paths[1], [b"x"], 0)
    files.write(paths[2], [b"x"], 0)  # a goes, and is clean
    assert disk.synced == [paths[0]]
    files.read(paths[0], 1, 0)  # b goes
    assert disk.synced == paths[:2]
    files.close()


def test_a_sync_that_failed_as_the_file_was_closed_is_told_to_the_next(tmp_path):
    disk = FailingDisk()
    files = OpenFiles(disk, 1, write=True)
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    files.write(a, [b"x"], 0)
    disk.fail = True
    files.write(b, [b"x"], 0)
    disk.fail = False
    with pytest.raises(OSError, match="Input/output"):
        files.sync(a)
    with pytest.raises(OSError, match="Input/output"):
        files.syncing(a)
    files.sync(b)
    files.close()


class Short(Disk):
    """Files beyond so many can't be opened, by this process."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def open(self, path, *, write=False, create=False):
        return opened(lambda: self._open(path, write=write, create=create))

    def _open(self, path, **how):
        if len(self.there) >= self.most:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        fd = super().open(path, **how)
        self.there.add(fd)
        return fd

    there: ClassVar[set[int]] = set()

    def close(self, fd):
        self.there.discard(fd)
        super().close(fd)


def test_where_no_descriptor_is_left_files_that_nobody_uses_are_closed(tmp_path):
    disk = Short(6)
    one, other = OpenFiles(disk, 100, write=True), OpenFiles(disk, 100, write=True)
    for n in range(20):
        for files in (one, other):
            files.write(str(tmp_path / f"{id(files)}-{n}"), [b"%d" % n], 0)
    assert len(disk.there) <= 6
    for n in range(20):
        assert one.read(str(tmp_path / f"{id(one)}-{n}"), 9, 0) == b"%d" % n
    with ExitStack() as using:
        for n in range(6):
            using.enter_context(other.use(str(tmp_path / f"{id(other)}-{n}")))
        with pytest.raises(OSError, match="Too many open files"):
            other.use(str(tmp_path / f"{id(other)}-19"))
    one.close()
    other.close()


def test_no_more_files_are_kept_open_than_the_process_has_room_for(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (128, 128))
    before = descriptors()
    files = OpenFiles(Disk(), 4096, write=True)
    for n in range(100):
        files.write(str(tmp_path / str(n)), [b"x"], 0)
    assert descriptors() == before + shares(4096).files == before + 32
    files.close()


@pytest.mark.parametrize(
    ("limit", "wanted", "files", "connections"),
    [(256, 4096, 96, 96), (1024, 4096, 480, 480), (1024, 16, 16, 944), (20_000, 4096, 4096, 15840),
     (64, 4096, 16, 16)],
)  # fmt: skip
def test_files_and_connections_have_each_their_share(limit, wanted, files, connections):
    assert shares(wanted, limit) == (files, connections)
