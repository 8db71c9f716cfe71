"""A thread that must not wait for the disk: what is not here is fetched by others."""

import threading

from storage_kit import DEADLINE_S, add, fill, numbers

from logstore.storage.cold import NotHere
from logstore.storage.disk import Disk
from logstore.storage.segment import READ_BYTES_MIN


class ColdDisk(Disk):
    """Nothing is in the page cache but what was read before."""

    def __init__(self):
        self.reads = []
        self.warm = set()
        self.broken, self.bug = False, None

    def cached(self, fd, position, size, every):
        return position in self.warm

    def read_into(self, fd, room, position):
        self.reads.append((threading.current_thread().name, position))
        if self.bug is not None:
            raise self.bug
        if self.broken:
            raise OSError(5, "Input/output error")
        self.warm.add(position)
        return super().read_into(fd, room, position)


def cold_log(store, count=10):
    disk = ColdDisk()
    directory = store.writer(disk)
    log = store.log_of(directory)
    fill(log, count)
    directory.never_wait_in(threading.get_ident())
    return log, disk


def read_when_it_is_here(log, at):
    """The first read gives nothing and asks; the news tells when to read again."""
    here = threading.Event()
    stop = log.watch(here.set)
    assert log.read(at, 1 << 20) == []
    assert here.wait(DEADLINE_S)
    stop()
    return log.read(at, 1 << 20)


def held_up(disk):
    """An event that says that a read has begun, and one that lets it go on."""
    waiting, go_on = threading.Event(), threading.Event()
    read_into = disk.read_into

    def held(fd, room, position):
        waiting.set()
        assert go_on.wait(DEADLINE_S)
        return read_into(fd, room, position)

    disk.read_into = held
    return waiting, go_on


def test_a_read_gives_nothing_and_tells_when_it_is_here(store):
    log, disk = cold_log(store)
    assert len(read_when_it_is_here(log, 0)) == 10
    assert all(name.startswith("cold-reads") for name, _ in disk.reads)


def test_other_threads_wait_for_the_disk(store):
    log, disk = cold_log(store)
    found = []
    thread = threading.Thread(target=lambda: found.extend(numbers(log)))
    thread.start()
    thread.join()
    assert found == list(range(10))
    assert disk.reads == []


def test_what_was_fetched_is_read_though_it_is_gone_again(store):
    """Else a reader under memory pressure would ask for ever."""
    log, disk = cold_log(store)
    disk.warm = frozenset()  # nothing stays
    disk.read_into = lambda fd, room, position: Disk.read_into(disk, fd, room, position)
    assert len(read_when_it_is_here(log, 0)) == 10
    assert len(read_when_it_is_here(log, 0)) == 10


def test_it_is_asked_for_once_however_many_want_it(store):
    log, disk = cold_log(store)
    waiting, go_on = held_up(disk)
    here = threading.Event()
    log.watch(here.set)
    assert log.read(0, 1 << 20) == []
    assert waiting.wait(DEADLINE_S)
    assert log.read(0, 1 << 20) == []
    go_on.set()
    assert here.wait(DEADLINE_S)
    assert len(log.read(0, 1 << 20)) == 10
    assert len({position for _, position in disk.reads}) == len(disk.reads)


def test_all_are_told_who_have_asked_for_the_same(store):
    """A topic that was deleted and made anew has the same paths, and other watchers."""
    log, disk = cold_log(store)
    waiting, go_on = held_up(disk)
    missing = NotHere((log.chain.segment(0).path, 0, 1000))
    first, second = threading.Event(), threading.Event()
    log._files.fetch(missing, first.set)
    assert waiting.wait(DEADLINE_S)
    log._files.fetch(missing, second.set)
    go_on.set()
    assert first.wait(DEADLINE_S)
    assert second.wait(DEADLINE_S)


def test_a_disk_that_fails_is_told_by_the_next_read(store):
    log, disk = cold_log(store)
    disk.broken = True
    assert len(read_when_it_is_here(log, 0)) == 10  # only the fetching has failed


def test_appends_go_on_meanwhile(store):
    log, _ = cold_log(store)
    assert log.read(0, 1 << 20) == []
    assert add(log, b"10|") == 10


def test_a_store_is_closed_while_something_is_fetched(store):
    log, _ = cold_log(store)
    assert log.read(0, 1 << 20) == []
    store.close()
    assert not any(it.name.startswith("cold-reads") for it in threading.enumerate())


class WatchedDisk(Disk):
    """Notes what is asked of the kernel."""

    def __init__(self):
        self.read_bytes, self.probed_bytes = [], []

    def read(self, fd, size, position):
        self.read_bytes.append(size)
        return super().read(fd, size, position)

    def cached(self, fd, position, size, every):
        self.probed_bytes.append(size)
        return super().cached(fd, position, size, every)


def test_a_reader_at_the_end_of_a_log_asks_for_no_more_than_is_there(store):
    disk = WatchedDisk()
    directory = store.writer(disk)
    log = store.log_of(directory)
    fill(log, 100)  # so many small ones have zeros written ahead of them
    directory.never_wait_in(threading.get_ident())
    last = log.read(99, 8 << 20)
    for at in range(last[-1].next_offset, last[-1].next_offset + 3):
        add(log, b"news")
        log.sync()
        disk.read_bytes.clear()
        disk.probed_bytes.clear()
        (batch,) = log.read(at, 8 << 20)
        assert batch.base_offset == at
        assert disk.read_bytes == disk.probed_bytes == [READ_BYTES_MIN]


def test_a_place_that_is_kept_leads_to_what_the_index_leads_to(store):
    log = store.log(segment_bytes=3000)
    found = []
    for n in range(200):
        add(log, b"%d" % n)
        log.sync()
        found += [it.base_offset for it in log.read(n, 1 << 20)]
    by_index = [log.read(n, 1)[0].base_offset for n in range(200)]
    assert found == by_index == list(range(200))
    assert len(log.chain.bases) > 3


def test_who_fails_at_being_told_keeps_nobody_else_waiting(store, caplog):
    log, _ = cold_log(store)
    path, told = log.chain.segment(0).path, threading.Event()

    def fails():
        raise ZeroDivisionError

    log._files.fetch(NotHere((path, 0, 100)), fails)
    log._files.fetch(NotHere((path, 0, 100)), told.set)
    assert told.wait(DEADLINE_S)
    told.clear()
    log._files.fetch(NotHere((path, 0, 200)), told.set)
    assert told.wait(DEADLINE_S)
    assert "a bug in telling of what was read" in caplog.text


def test_a_read_that_fails_by_a_bug_ends_no_other(store, caplog):
    log, disk = cold_log(store)
    disk.bug = ZeroDivisionError()
    path, told = log.chain.segment(0).path, threading.Event()
    for size in (100, 200):
        log._files.fetch(NotHere((path, 0, size)), told.set)
        assert told.wait(DEADLINE_S)
        told.clear()
    assert "a bug in reading" in caplog.text
