"""Redis sessions over logs of keys that are synced when a test says so."""

from memory_log import MemoryLog
from resp_kit import FakeDoor, InMemory

from logstore.broker.keys.journal import ON_DISK
from logstore.errors import FencedProducer, LogFailed, NotOwned, StorageFull
from logstore.records.decode import decode
from logstore.records.encode import encode


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
        """Complete a sync and notify; returns what each session has received since."""
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


class BeatingLog(SlowLog):
    """One of a process that may lose it; ``beats``: where it has said that it is there."""

    standing_bytes = 0

    def __init__(self, name):
        super().__init__(name)
        self.beats, self.given_up = [], 0

    def append(self, batch):
        if self.failed:
            raise FencedProducer("another node has claimed it")
        return super().append(batch)

    def check_failure(self):
        pass

    def beat(self):
        self.beats.append(self.append(encode([(None, b"\0T\xff", (), 0)])))
        return self.beats[-1]

    def trim(self, before):
        """Do nothing: the first record must remain a beat."""

    def trim_to_beat(self, mark):
        assert mark in self.beats
        assert mark < self.safe
        self._let_go(mark)

    def give_up(self):
        self.given_up += 1


class Sure:
    """``Standing``, of which a test says whether it is."""

    def __init__(self):
        self.sure, self.waiting = True, {}

    def ask(self, then):
        self.waiting[then] = None

    def become_sure(self):
        self.sure = True
        waiting, self.waiting = self.waiting, {}
        for then in waiting:
            then()

    def close(self):
        self.waiting.clear()


class Apart(InMemory):
    """Logs of databases that are not there before they are owned."""

    def is_there(self, database):
        return False

    def open(self, database):
        if database not in self.logs:
            raise NotOwned(f"database {database} is another node's")
        return self.logs[database]


class ApartDoor(FakeDoor):
    """Of a node among several; which databases it serves, a test says."""

    def __init__(self, bounds=ON_DISK, **options):
        self.logs = Apart()
        super().__init__(logs=self.logs, apart=bounds, **options)

    def own(self, number, log=None):
        """Own the log with its contents."""
        log = self.logs.logs[number] = log or BeatingLog(f"keys-{number}")
        self.standing = Sure()
        self.keys.own(number, self.standing)
        self.around.end_turn()
        return log

    def lose(self, number, why="database 0 is served by node b"):
        self.logs.logs.pop(number)
        self.keys.lose(number, why)
        self.look()

    def sync(self, log):
        self.around.end_turn()
        log.sync()
        self.look()

    def look(self):
        """Notify the sessions; returns what each has received since."""
        self.around.end_turn()
        for session in self.sessions:
            if session._client.number in self.everyone:
                session.wake(self.now)
                session._client.link.sent += b"".join(session.outgoing(1 << 20))
