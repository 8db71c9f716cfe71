import pytest
from far_log import FarLog
from storage_kit import a_batch

from logstore.broker.unsafe import Unsafe
from logstore.errors import LogFailed


def appended(log, count=1):
    """The mark after what was appended."""
    return log.append(a_batch(*[b"v"] * count)) + count


def test_nothing_is_settled_at_once():
    unsafe = Unsafe()
    assert not unsafe
    assert unsafe.settled()
    unsafe.wait()


def test_all_logs_must_be_safe_up_to_their_marks():
    first, second, unsafe = FarLog("first"), FarLog("second"), Unsafe()
    unsafe.add(first, appended(first, 3))
    unsafe.add(second, appended(second))
    unsafe.add(second, appended(second, 2))
    assert not unsafe.settled()
    first.arrive()
    assert not unsafe.settled()
    assert list(unsafe) == [second]
    second.arrive()
    assert unsafe.settled()
    assert not unsafe


def test_what_became_safe_before_it_was_watched_is_told_at_once():
    log, unsafe, told = FarLog("log"), Unsafe(), []
    unsafe.add(log, appended(log))
    assert not unsafe.settled()
    log.arrive()
    unsafe.watch(lambda: told.append(unsafe.settled()))
    assert told == [True]


def test_it_goes_by_marks_where_others_append_to_the_same_log():
    log, unsafe = FarLog("log"), Unsafe()
    unsafe.add(log, appended(log, 2))
    log.append_elsewhere(a_batch(*[b"x"] * 50))
    log.safe = 50  # as a fetch has told, before the append was answered
    assert not unsafe.settled()
    log.arrive()
    assert unsafe.settled()


def test_a_lower_mark_does_not_shorten_the_wait():
    log, unsafe = FarLog("log"), Unsafe()
    first = appended(log)
    log.arrive()
    unsafe.add(log, appended(log))
    unsafe.add(log, first)  # a batch that an idempotent producer has sent again
    assert not unsafe.settled()


def test_a_log_that_fails_is_named_and_the_others_are_waited_for():
    good, bad, unsafe = FarLog("good"), FarLog("bad"), Unsafe()
    for log in (good, bad):
        unsafe.add(log, appended(log))
    bad.fail()
    failed = unsafe.settle()
    assert list(failed) == [bad]
    assert "bad: another node owns it" in str(failed[bad])
    assert list(unsafe) == [good]


def test_what_is_safe_already_is_acknowledged_though_the_log_has_failed_since():
    log, unsafe = FarLog("log"), Unsafe()
    unsafe.add(log, appended(log))
    log.arrive()
    log.fail()
    assert unsafe.settled()


def test_settled_raises_where_something_never_will_be_safe():
    log, unsafe = FarLog("log"), Unsafe()
    unsafe.add(log, appended(log))
    log.fail()
    with pytest.raises(LogFailed, match="another node owns it"):
        unsafe.settled()


def test_watching_has_it_synced_and_ends_with_it():
    log, unsafe, woken = FarLog("log"), Unsafe(), []
    unsafe.add(log, appended(log))
    unsafe.watch(lambda: woken.append(1))
    unsafe.watch(lambda: woken.append(2))  # it is watched already
    assert (log.syncs, log.watched) == (2, 1)
    log.arrive()
    assert woken == [1]
    assert unsafe.settled()
    assert log.watched == 0


def test_closing_stops_watching():
    log, unsafe = FarLog("log"), Unsafe()
    unsafe.add(log, appended(log))
    unsafe.watch(lambda: None)
    unsafe.close()
    assert (bool(unsafe), log.watched) == (False, 0)


def test_waiting_returns_when_all_is_safe():
    logs, unsafe = [FarLog("a"), FarLog("b")], Unsafe()
    for log in logs:
        unsafe.add(log, appended(log, 2))
    unsafe.wait()
    assert [log.done for log in logs] == [2, 2]
    assert not unsafe


def test_waiting_for_a_log_that_fails_raises():
    log, unsafe = FarLog("log"), Unsafe()
    unsafe.add(log, appended(log))
    log.fail()
    with pytest.raises(LogFailed):
        unsafe.wait()
