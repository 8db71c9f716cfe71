"""What is dirty enough is compacted soon; a log in which nothing happens costs a look nothing."""

import pytest
from clock import NOW_MS
from storage_kit import Opened, add

from logstore.storage.disk import Disk
from logstore.upkeep.upkeep import Upkeep

HOUR_MS = 3_600_000


class Counting(Disk):
    """Counts calls on files."""

    calls = 0

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if callable(found) and not name.startswith("_"):
            type(self).calls += 1
        return found


@pytest.fixture
def clock():
    return [NOW_MS]


@pytest.fixture
def opened(tmp_path):
    store = Opened(tmp_path / "data")
    yield store
    store.close_all()


@pytest.fixture
def begin(opened, clock, monkeypatch):
    """begin(disk) -> (directory, upkeep), without the thread: a test does what that would do."""
    monkeypatch.setattr("logstore.upkeep.upkeep.Rhythm", lambda *given: None)
    monkeypatch.setattr("logstore.upkeep.upkeep.Recovering", lambda recover_next: None)
    monkeypatch.setattr("logstore.upkeep.upkeep.Desk", lambda disk, path, facts: None)

    def run(disk=None):
        directory = opened.writer(disk)
        upkeep = Upkeep(directory, lambda: clock[0])
        upkeep.begin()
        return directory, upkeep

    return run


def a_log(directory, name="t", **settings):
    settings = {"cleanup.policy": "compact", "segment.bytes": "200", **settings}
    given = {key.replace("_", "."): str(value) for key, value in settings.items()}
    return directory.log(name, directory.create_topic(name, 1, given), 0)


def keyed(log, count, at_ms=NOW_MS):
    for n in range(count):
        add(log, bytes(60), at_ms=at_ms + n)
        log.wait(log.end)


def test_what_was_rolled_is_compacted_by_the_next_look(begin):
    directory, upkeep = begin()
    log = a_log(directory)
    upkeep.look()
    keyed(log, 10)
    assert log.state.clean_below == 0
    upkeep.look()
    assert log.state.clean_below > 0


def test_a_log_in_which_nothing_happens_costs_a_look_no_call(begin):
    directory, upkeep = begin(Counting())
    logs = [a_log(directory, f"t{n}") for n in range(20)]
    for log in logs:
        keyed(log, 5)
    upkeep.look()
    before = Counting.calls
    for _ in range(5):
        upkeep.look()
    assert Counting.calls == before


def test_only_the_log_that_was_rolled_is_looked_at(begin, monkeypatch):
    directory, upkeep = begin()
    logs = [a_log(directory, f"t{n}") for n in range(5)]
    upkeep.look()
    keyed(logs[3], 10)
    asked = []
    real = directory.log
    monkeypatch.setattr(
        directory, "log", lambda name, *of: (asked.append(name), real(name, *of))[1]
    )
    upkeep.look()
    assert asked == ["t3"]


def test_the_first_look_finds_what_was_left_by_the_process_before(begin, opened):
    directory, _ = begin()
    keyed(a_log(directory), 10)
    opened.close()
    directory, upkeep = begin()
    upkeep.look()
    assert directory.log("t", directory.topics()["t"], 0).state.clean_below > 0


def test_a_topic_that_is_made_compacted_is_looked_at(begin):
    directory, upkeep = begin()
    log = a_log(directory, cleanup_policy="delete")
    upkeep.look()
    keyed(log, 10)
    upkeep.look()
    assert log.state.clean_below == 0
    given = {"cleanup.policy": "compact", "segment.bytes": "200"}
    directory.change_topic("t", settings=given)
    upkeep.look()
    assert log.state.clean_below > 0


def test_what_time_makes_due_is_looked_at_then(begin, clock):
    directory, upkeep = begin()
    log = a_log(directory, min_compaction_lag_ms=HOUR_MS)
    upkeep.look()
    keyed(log, 10)
    upkeep.look()
    assert log.state.clean_below == 0
    clock[0] += HOUR_MS + 20
    upkeep.look()
    assert log.state.clean_below > 0


def test_the_first_record_of_a_log_with_a_largest_lag_is_seen_in_time(begin, clock):
    directory, upkeep = begin()
    log = a_log(directory, max_compaction_lag_ms=HOUR_MS, segment_bytes=1 << 20)
    upkeep.look()
    keyed(log, 3)
    upkeep.look()
    assert len(log.chain.bases) == 1
    clock[0] += HOUR_MS + 20
    upkeep.look()
    assert log.state.clean_below == 3


def test_a_log_that_is_not_recovered_is_left_alone_by_what_comes_by_itself(begin, opened):
    directory, _ = begin()
    keyed(a_log(directory), 10)
    opened.crash()
    directory, upkeep = begin()
    entry = directory.topics()["t"]
    upkeep.look()
    upkeep.do()
    assert not directory.is_recovered(entry, 0)
    assert directory.recover_next()
    upkeep.do()
    assert directory.log("t", entry, 0).state.clean_below > 0


def test_upkeep_opens_no_log_that_has_nothing_to_work_on(begin, opened):
    directory, _ = begin()
    a_log(directory, "few", segment_bytes=1 << 20)
    keyed(a_log(directory, "many"), 10)
    opened.close()
    directory, upkeep = begin()
    upkeep.do()
    assert list(directory._logs) == ["many-0"]


def test_what_it_did_and_failed_at_is_noted_for_others(begin, opened):
    from logstore.storage.ran import last

    directory, upkeep = begin()
    keyed(a_log(directory), 10)
    upkeep.do()
    ran = last(opened.reader().noted_upkeep())
    assert (ran.logs_compacted, ran.failed, ran.began_ms) == (1, 0, NOW_MS)


def test_a_look_that_finds_nothing_does_not_hide_what_was_done_last(begin):
    directory, upkeep = begin()
    keyed(a_log(directory), 10)
    upkeep.do()
    noted = directory.noted_upkeep()
    upkeep.look()
    assert directory.noted_upkeep() == noted
