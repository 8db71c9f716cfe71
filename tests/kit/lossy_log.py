"""One log on a lossy disk, with a picture of each moment; the law that it has to obey."""

from contextlib import suppress
from dataclasses import dataclass

from clock import NOW_MS

from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.settings import TopicSettings
from logstore.storage.catalog import LogState
from logstore.storage.chain import Chain
from logstore.storage.disk_log import DiskLog
from logstore.storage.files import OpenFiles
from logstore.storage.flusher import Flusher
from logstore.storage.recovery import recover
from logstore.storage.segment import Indexes

SEED = 20130101


class MemorySlot:
    """A slot of the watermarks file, and all that it ever said."""

    def __init__(self, words=(0, 0, 0)):
        self.words = tuple(words)
        self.undecided = None

    def publish(self, start, safe, undecided=None):
        self.words = start, safe, safe
        self.undecided = undecided

    def publish_undecided(self, undecided):
        self.undecided = undecided

    def publish_start(self, start):
        self.words = start, *self.words[1:]

    def publish_safe(self, safe):
        self.words = self.words[0], safe, self.words[2]

    def publish_synced(self, synced):
        self.words = *self.words[:2], synced

    def synced(self):
        return self.words[2]

    def release(self):
        raise AssertionError("no topic is deleted here")


@dataclass(frozen=True)
class Moment:
    """What was true when the power went."""

    disk: object  # Frozen
    state: LogState
    slot: tuple
    appended: int
    acknowledged: int
    start: int


class Machine:
    """One log on a lossy disk; takes a picture of every moment."""

    def __init__(
        self, disk, state=None, slot=(0, 0, 0), *, appended=0, flush_messages=1,
        crashed=True, value_bytes=0, **given,
    ):  # fmt: skip
        self.disk, self.state, self.slot = disk, state or LogState(), MemorySlot(slot)
        self.moments = []
        self.appended = self.acknowledged = appended
        self.start = self.state.start
        self.value_bytes = value_bytes
        small = {"segment_bytes": 230, "index_interval_bytes": 60}
        settings = TopicSettings(flush_messages=flush_messages, **(small | given))
        disk.changed = self._picture
        files = OpenFiles(disk, 16, write=True)
        self.flusher = Flusher(files, self._after_sync)
        chain = Chain(
            "t-0",
            files,
            Indexes(),
            settings.index_interval_bytes,
            gaps_below=lambda: self.state.gaps_below,
        )
        found = recover(chain, files, self.state, self.slot.synced(), crashed=crashed)
        self.damage = found.damage
        self.log = DiskLog(
            "t-0", chain, files, self.flusher, self.slot, settings, self.state, found.end,
            found.position, save=self._save, damage=found.damage,
        )  # fmt: skip

    def _save(self, log, state):
        self.state = state
        self._picture()

    def _after_sync(self, logs):
        with suppress(OSError):  # only the next start takes longer
            self._save(self.log, self.log.recovery_point())

    def _picture(self):
        frozen = self.disk.freeze()
        acknowledged = max(self.acknowledged, self.log.safe if hasattr(self, "log") else 0)
        self.moments.append(
            Moment(frozen, self.state, self.slot.words, self.appended, acknowledged, self.start)
        )

    def append(self, count=1):
        first = self.appended
        numbers = range(first, first + count)
        messages = [(self.value(n), None, (), NOW_MS + n) for n in numbers]
        self.appended += count
        assert self.log.append(encode(messages)) == first

    def value(self, n):
        return (b"%d" % n).ljust(self.value_bytes, b".")

    def wait(self):
        self.log.wait(self.appended)
        self.acknowledged = self.appended
        self._picture()

    def trim(self, before):
        self.start = max(self.start, before)  # asked for: from now on it may be gone
        self.log.trim(before)
        self._picture()

    def records(self):
        found, at = [], self.log.start
        while batches := self.log.read(at, 200):
            for batch in batches:
                batch.check()
                records = [record for record in decode(batch) if record.offset >= at]
                for record in records:
                    assert record.value == self.value(record.offset)
                    assert record.timestamp_ms == NOW_MS + record.offset
                found += [record.offset for record in records]
            at = batches[-1].next_offset
        return found


def check_law(moment, disk, slot, **given):
    machine = Machine(disk, moment.state, slot, appended=moment.appended, **given)
    assert machine.damage is None, machine.damage
    assert machine.log.start <= moment.start
    assert machine.log.start >= moment.state.start
    found = machine.records()
    end = machine.log.end
    assert found == list(range(machine.log.start, end))  # in order, once
    assert moment.acknowledged <= end <= moment.appended
    # It continues as if nothing had happened.
    machine.appended = machine.acknowledged = end
    machine.append(2)
    machine.wait()
    assert machine.records() == list(range(machine.log.start, end + 2))
    check_after_power_cut(machine, **given)


def check_after_power_cut(machine, **given):
    """Check that acknowledged records survive if only synced data is left."""
    disk = machine.disk.freeze().disk(frozenset())
    again = Machine(disk, machine.state, machine.slot.words, appended=machine.appended, **given)
    assert again.damage is None, again.damage
    assert again.records() == list(range(machine.log.start, machine.acknowledged))
