"""Batches sent from the file as they stand there: the same bytes that reading gives."""

import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storage_kit import Opened, a_batch, fill

from logstore.records.batch import split
from logstore.storage.disk import Disk
from logstore.storage.extent import EXTENT_BYTES_MIN

UNSYNCED = 2**63 - 1
MIB = 1 << 20


def data_of(extent):
    try:
        return os.pread(extent.fileno(), len(extent), extent.position)
    finally:
        extent.release()


def read(log, at, bytes_max):
    return b"".join(bytes(batch.data) for batch in log.read(at, bytes_max))


def full_log(store, batches=200, **given):
    log = store.log(**given)
    for n in range(batches):
        log.append(a_batch(b"%d" % n, bytes(2000)))
    log.sync()
    return log


def test_it_is_what_reading_gives(store):
    log = full_log(store)
    extent = log.extent(0, MIB)
    assert data_of(extent) == read(log, 0, MIB)


def test_it_ends_before_a_batch_that_does_not_fit_any_more(store):
    log = full_log(store)
    found = data_of(log.extent(0, 100_000))
    assert EXTENT_BYTES_MIN <= len(found) <= 100_000
    assert read(log, 0, MIB).startswith(found)


def test_one_goes_on_where_the_last_one_ended(store):
    log = full_log(store, segment_bytes=300_000)
    whole, at = b"", 0
    while (extent := log.extent(at, 100_000)) is not None:
        batches = data_of(extent)
        whole += batches
        at = [*split(batches)][-1].next_offset
    rest = b""
    while batches := log.read(at, MIB):
        rest += b"".join(bytes(batch.data) for batch in batches)
        at = batches[-1].next_offset
    everything, at = b"", 0
    while batches := log.read(at, MIB):
        everything += b"".join(bytes(batch.data) for batch in batches)
        at = batches[-1].next_offset
    assert whole + rest == everything
    assert len(whole) > 100_000


def test_what_is_not_safe_is_never_in_it(store, monkeypatch):
    log = full_log(store)
    safe, synced = log.safe, read(log, 0, 2 * MIB)
    monkeypatch.setattr(log._flusher, "written", lambda log: None)
    for n in range(100):
        log.append(a_batch(b"%d" % n, bytes(2000)))
    assert log.safe == safe
    assert data_of(log.extent(0, 2 * MIB)) == synced
    assert log.extent(safe, MIB) is None


def test_of_a_log_that_is_not_synced_it_goes_to_the_end(store):
    log = full_log(store, flush_messages=UNSYNCED)
    assert data_of(log.extent(0, 2 * MIB)) == read(log, 0, 2 * MIB)


def test_little_is_read(store):
    log = store.log()
    fill(log, 3)
    assert log.extent(0, MIB) is None
    assert log.extent(log.end, MIB) is None


def test_in_the_middle_of_a_batch_it_is_read(store):
    log = full_log(store)
    assert log.extent(1, MIB) is None
    data_of(log.extent(2, MIB))


def test_headers_that_nobody_has_looked_at_are_read_first(store):
    full_log(store)
    store.close()
    log = store.log()
    assert log.extent(0, MIB) is None
    expected = read(log, 0, MIB)
    assert data_of(log.extent(0, MIB)) == expected


def test_a_header_that_has_changed_on_disk_is_refused_by_the_read(store):
    full_log(store, batches=40)
    store.close()
    path = os.path.join(store.path, "t-0", "00000000000000000000.log")
    with open(path, "r+b") as file:
        file.seek(7)  # of the first base offset
        file.write(b"\x01")
    log = store.log()
    assert log.extent(0, MIB) is None


def test_what_is_gone_is_no_extent(store):
    log = full_log(store)
    log.trim(100)
    assert log.extent(50, MIB) is None
    data_of(log.extent(100, MIB))


def test_it_outlives_its_file(store):
    """A segment that retention removes is sent to the end by whoever has begun."""
    log = full_log(store, segment_bytes=200_000)
    expected = read(log, 0, 150_000)
    extent = log.extent(0, 150_000)
    log.trim(log.end)
    assert data_of(extent) == expected[: len(expected)]


def another_file_in_its_place(log, base_offset):
    """Compaction has swapped the file; a reader looks between its steps."""
    path = log.chain.segment(base_offset).path
    with open(path, "rb") as file:
        first, *rest = split(file.read())
    with open(path + ".other", "wb") as file:
        file.write(b"".join(bytes(batch.data) for batch in rest))
    os.rename(path + ".other", path)
    log._files.forget(path)
    return first.size


def test_of_a_file_that_was_swapped_it_is_at_the_batch_asked_for(store):
    """Else a client would be sent bytes from the middle of a batch."""
    log = full_log(store, segment_bytes=300_000)
    data = data_of(log.extent(0, 100_000))
    at = [*split(data)][-1].next_offset
    log.extent(at, 100_000).release()  # where it begins is known by now
    another_file_in_its_place(log, 0)
    extent = log.extent(at, MIB)  # to the end of the file
    assert extent is None or next(split(data_of(extent))).base_offset == at
    assert log.read(at, 1)[0].base_offset == at


def test_what_was_written_before_flush_messages_was_raised_is_not_in_it(store, monkeypatch):
    log = full_log(store)
    safe, synced = log.safe, read(log, 0, 2 * MIB)
    monkeypatch.setattr(log._flusher, "written", lambda log: None)
    for n in range(100):
        log.append(a_batch(b"%d" % n, bytes(2000)))
    log.settings = replace(log.settings, flush_messages=UNSYNCED)
    assert log.safe == safe
    extent = log.extent(0, 2 * MIB)
    assert extent is None or synced.startswith(data_of(extent))
    assert log.extent(safe, MIB) is None


def test_what_is_synced_and_not_yet_safe_is_not_in_it(store, monkeypatch):
    """The flusher's thread is between the two."""
    log = full_log(store, segment_bytes=250_000)
    safe = log.safe
    for _ in range(100):
        log.append(a_batch(bytes(2000)))
    log.sync()
    monkeypatch.setattr(log, "safe", safe)
    assert log.extent(safe, MIB) is None


def test_clients_that_never_read_keep_half_of_the_files_open_at_most(store):
    directory = store.writer(files_open_max=16)
    log = store.log_of(directory, segment_bytes=100_000)
    for _ in range(2000):
        log.append(a_batch(bytes(2000)))
    log.sync()
    bases = log.bases()
    assert len(bases) > 30
    before = len(os.listdir("/proc/self/fd"))
    extents = [log.extent(base, 90_000) for base in bases]
    again = [log.extent(base, 90_000) for base in bases]
    held = [it for it in extents + again if it is not None]
    assert len({it.fileno() for it in held}) == 8
    assert len(os.listdir("/proc/self/fd")) <= before + 16 + 8
    for it in held:
        it.release()
    assert len(os.listdir("/proc/self/fd")) <= before + 16
    data_of(log.extent(bases[0], 90_000))


class Cold(Disk):
    def cached(self, fd, position, size, every):
        return False


def test_what_is_not_in_the_page_cache_is_read(store):
    log = full_log(store)
    log._files.disk = Cold()
    assert log.extent(0, MIB) is None


def test_it_is_released_when_it_is_not_given(store):
    log = full_log(store)
    for at in range(log.end):
        extent = log.extent(at, 10_000)
        assert extent is None
    assert all(file.uses == 0 for file in log._files._open.values())


@pytest.mark.long
@pytest.mark.parametrize("flush_messages", [1, UNSYNCED])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 40_000), min_size=5, max_size=60),
    steps=st.lists(st.integers(EXTENT_BYTES_MIN, 400_000), min_size=1, max_size=8),
)
def test_any_steps_through_any_log_give_its_bytes(tmp_path_factory, flush_messages, sizes, steps):
    store = Opened(tmp_path_factory.mktemp("extents"))
    log = store.log(segment_bytes=200_000, flush_messages=flush_messages)
    for size in sizes:
        log.append(a_batch(bytes(size)))
    log.sync()
    taken, at, turn = [], 0, 0
    while at < log.safe:
        extent = log.extent(at, steps[turn % len(steps)])
        turn += 1
        data = data_of(extent) if extent is not None else read(log, at, 1)
        taken.append(data)
        at = [*split(data)][-1].next_offset
    plain, at = [], 0
    while batches := log.read(at, 1):
        plain += [bytes(batch.data) for batch in batches]
        at = batches[-1].next_offset
    assert b"".join(taken) == b"".join(plain)
    store.close_all()
