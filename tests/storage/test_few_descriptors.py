"""A process that has no file descriptor left makes no log fail: what it asks is tried again."""

import errno
import os

import pytest
from storage_kit import a_batch, add, fill, numbers

from logstore.errors import Failed
from logstore.storage.disk import Disk


class Without(Disk):
    """``left``: so many calls that open something find no descriptor left."""

    left = 0
    refused = 0

    def _refuse(self, path):
        if self.left:
            self.left -= 1
            self.refused += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    def open(self, path, **how):
        self._refuse(path)
        return super().open(path, **how)

    def sync_directory(self, path):
        self._refuse(path)
        super().sync_directory(path)


@pytest.fixture
def disk(monkeypatch):
    monkeypatch.setattr("logstore.storage.flusher.SHORT_S", 0)
    return Without()


def test_an_append_is_refused_and_the_next_is_taken(store, disk):
    log = store.log(disk)
    fill(log, 2)
    log._files.forget_below(str(store.path / "t-0"))
    disk.left = 1
    with pytest.raises(Failed, match="append to t-0 at offset 2: Too many open files"):
        add(log, b"lost")
    fill(log, 2, first=2)
    assert numbers(log) == [0, 1, 2, 3]


@pytest.mark.parametrize("least", [1, 1000], ids=["all at once", "one by one"])
def test_a_sync_is_tried_again(store, disk, monkeypatch, least):
    monkeypatch.setattr("logstore.storage.flusher.SYNC_ALL_FILES_MIN", least)
    log = store.log(disk, segment_bytes=200)
    for n in range(6):  # rolls, so that a directory is to be synced, too
        log._files.forget_below(str(store.path / "t-0"))
        log.append(a_batch(b"%020d" % n))
        log._files.forget_below(str(store.path / "t-0"))
        disk.left = 3
        log.sync()
        disk.left = 0
        log.check_failure()
        assert log.synced == n + 1
    assert disk.refused
    store.close()
    assert numbers(store.log()) == [0, 1, 2, 3, 4, 5]
