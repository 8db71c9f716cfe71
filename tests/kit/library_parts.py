"""What tests of the library face share: a disk that counts and can be held up."""

import threading

from logstore.storage.disk import Disk

DEADLINE_S = 30  # for what must happen; nothing waits so long when the code is right


class CountingDisk(Disk):
    """Tells of each sync of file data."""

    def __init__(self):
        self.syncs = 0
        self._changed = threading.Condition()

    def sync(self, fd):
        super().sync(fd)
        self._count()

    def sync_all(self, fd):
        super().sync_all(fd)
        self._count()

    def _count(self):
        with self._changed:
            self.syncs += 1
            self._changed.notify_all()

    def wait_for_sync(self, more_than):
        with self._changed:
            assert self._changed.wait_for(lambda: self.syncs > more_than, DEADLINE_S)
