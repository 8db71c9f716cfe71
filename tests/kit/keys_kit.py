"""Redis sessions over logs of keys that are synced when a test says so."""

from memory_log import MemoryLog
from resp_kit import FakeDoor

from logstore.errors import LogFailed, StorageFull
from logstore.records.decode import decode


class SlowLog(MemoryLog):
    """What is appended is safe once ``sync`` was called."""

    def __init__(self, name):
        super().__init__(name)
        self._safe = 0
        self.full = self.failed = False
        self.hurried = []

    @property
    def safe(self):
        return self._safe

    def append(self, batch):
        if self.full:
            raise StorageFull("no space left on device")
        self.check_failure()
        return super().append(batch)

    def check_failure(self):
        if self.failed:
            raise LogFailed("the disk is gone")

    def sync_soon(self, *, hurry=True, always=False):
        self.hurried.append(hurry)

    def wait(self, upto):
        self.sync()

    def read(self, at, bytes_max):
        return [it for it in super().read(at, bytes_max) if it.next_offset <= self._safe]

    def sync(self):
        self._safe = self.end
        for wake in list(self._watchers.values()):
            wake()

    @property
    def batches(self):
        return list(self._batches)

    @property
    def records(self):
        return [it for batch in self._batches for it in decode(batch) if it.offset >= self.start]


class KeysDoor(FakeDoor):
    """Database 0 is in ``log``."""

    def __init__(self, *, log=None, opened=True, **options):
        self.log = SlowLog("__keys.0-0") if log is None else log
        super().__init__(logs={0: self.log} if opened else {}, **options)
        self.around.end_turn()

    def end_turn(self):
        self.around.end_turn()

    def sync(self):
        """The disk has done; whoever waits is told. What each of them has got since."""
        self.around.end_turn()
        self.log.sync()
        self.around.end_turn()
        for session in self.sessions:
            if session._client.number in self.everyone:
                session.wake(self.now)
                session._client.link.sent += b"".join(session.outgoing(1 << 20))


def rows(log):
    """Key, value and headers of all records."""
    return [(it.key, it.value, dict(it.headers)) for it in log.records]
