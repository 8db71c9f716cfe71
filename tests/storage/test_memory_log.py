import pytest
from clock import NOW_MS
from storage_kit import a_batch, numbered, run_all, values

from logstore.errors import OffsetAboveEnd, OffsetBelowStart, RecordTooLarge
from logstore.storage.memory_log import MemoryLog


def filled(count, bytes_max=1 << 20):
    log = MemoryLog("ring", bytes_max)
    for n in range(count):
        log.append(a_batch(b"%d" % n, at_ms=NOW_MS + n))
    return log


def test_what_is_appended_is_safe_at_once():
    log = filled(3)
    assert (log.start, log.safe, log.end) == (0, 3, 3)
    assert values(log) == [b"0", b"1", b"2"]
    log.wait(3)
    log.sync_soon()


def test_the_oldest_go_when_it_is_full():
    size = a_batch(b"0").size
    log = filled(5, bytes_max=3 * size)
    assert (log.start, log.end) == (2, 5)
    assert values(log) == [b"2", b"3", b"4"]
    with pytest.raises(OffsetBelowStart, match="ring: offset 1 is below the start, 2"):
        log.read(1, 1)


def test_a_batch_that_could_never_be_kept():
    with pytest.raises(RecordTooLarge):
        MemoryLog("ring", 100).append(a_batch(bytes(200)))


def test_bounds():
    log = filled(2)
    assert log.read(2, 1) == []
    with pytest.raises(OffsetAboveEnd):
        log.read(3, 1)
    with pytest.raises(OffsetAboveEnd):
        log.trim(3)


def test_trim_within_a_batch():
    log = MemoryLog("ring", 1 << 20)
    log.append(a_batch(b"a", b"b", b"c"))
    log.trim(1)
    assert values(log) == [b"b", b"c"]
    log.trim(3)
    assert log.read(3, 1) == []
    assert log._bytes == 0


def test_find():
    log = filled(5)
    assert [log.find(NOW_MS + n) for n in (-1, 0, 3, 9)] == [0, 0, 3, 5]
    log.trim(2)
    assert log.find(0) == 2


def test_watchers_are_called_until_they_stop():
    log, seen = filled(1), []
    stop = log.watch(lambda: seen.append(log.end))
    log.append(a_batch(b"v"))
    stop()
    log.append(a_batch(b"v"))
    assert seen == [2]


def test_threads():
    log = MemoryLog("ring", 1 << 20)
    run_all(*[lambda: [log.append(a_batch(numbered(n))) for n in range(200)]] * 4)
    assert log.end == 800
    assert len(values(log)) == 800
