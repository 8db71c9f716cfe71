"""After a crash a log is recovered when it is used, or in the background; none holds up others."""

import errno
import os
import threading

import pytest
from storage_kit import NamedDisk, fill, numbers

from logstore.errors import Failed, LogstoreError, UnknownPartition
from logstore.storage.disk import Disk
from logstore.storage.names import segment_stem
from logstore.upkeep.recovering import Recovering


class Looked(Disk):
    """Notes which directories were looked into."""

    def __init__(self):
        super().__init__()
        self.looked = []

    def list(self, path):
        self.looked.append(os.path.basename(path))
        return super().list(path)


class Held(Disk):
    """Whoever looks into ``t-0`` waits until that is allowed."""

    def __init__(self):
        super().__init__()
        self.come, self.go = threading.Event(), threading.Event()

    def list(self, path):
        if path.endswith("/t-0"):
            self.come.set()
            assert self.go.wait(30)
        return super().list(path)


@pytest.fixture
def crashed(store):
    """Three logs of five records each, and a process that was killed."""
    directory = store.writer()
    for name in ("t", "u", "v"):
        fill(store.log_of(directory, name), 5)
    store.crash()
    return store


def all_of(directory):
    return [directory.log(name, entry, 0) for name, entry in directory.topics().items()]


def recover_rest(directory):
    count = 0
    while directory.recover_next():
        count += 1
    return count


def damage(store, name):
    path = segment_stem(str(store.path / f"{name}-0"), 0) + ".log"
    os.truncate(path, os.path.getsize(path) - 20)


def test_opening_looks_into_no_log(crashed):
    disk = Looked()
    directory = crashed.writer(disk)
    assert not directory.recovered
    assert not [it for it in disk.looked if it.endswith("-0")]


def test_the_first_use_recovers_that_log_alone(crashed):
    disk = Looked()
    directory = crashed.writer(disk)
    assert numbers(crashed.log_of(directory, "u")) == [0, 1, 2, 3, 4]
    assert {it for it in disk.looked if it.endswith("-0")} == {"u-0"}
    left = {n: directory.is_recovered(it, 0) for n, it in directory.topics().items()}
    assert left == {"t": False, "u": True, "v": False}


def test_the_rest_is_recovered_one_by_one_and_not_kept_open(crashed):
    directory = crashed.writer()
    crashed.log_of(directory, "u")
    assert recover_rest(directory) == 2
    assert directory.recovered
    assert list(directory._logs) == ["u-0"]
    assert [numbers(log) for log in all_of(directory)] == [[0, 1, 2, 3, 4]] * 3


def test_a_log_that_was_recovered_in_the_background_is_not_gone_over_again(crashed):
    directory = crashed.writer()
    recover_rest(directory)
    for log in all_of(directory):
        assert log.state.recovery_offset == 5


def test_what_a_close_leaves_unrecovered_is_recovered_by_the_next(crashed):
    directory = crashed.writer()
    crashed.log_of(directory, "u")
    crashed.close()
    directory = crashed.writer()
    assert not directory.recovered
    assert recover_rest(directory) == 2, "u was recovered, and closed"
    crashed.close()
    assert crashed.writer().recovered


def test_a_second_crash_while_logs_are_recovered_loses_nothing(crashed):
    directory = crashed.writer()
    fill(crashed.log_of(directory, "u"), 2)
    assert directory.recover_next()
    crashed.crash()
    directory = crashed.writer()
    assert recover_rest(directory) == 3
    counts = {log.name: log.end for log in all_of(directory)}
    assert counts == {"t-0": 5, "u-0": 7, "v-0": 5}


def test_one_damaged_log_does_not_have_all_others_recovered_at_each_start(crashed):
    damage(crashed, "t")
    directory = crashed.writer()
    recover_rest(directory)
    assert not directory.recovered
    crashed.close()
    for _ in range(2):
        directory = crashed.writer()
        assert recover_rest(directory) == 1
        with pytest.raises(LogstoreError, match="were acknowledged"):
            crashed.log_of(directory, "t").check_failure()
        crashed.close()


def test_a_log_that_can_not_be_read_keeps_back_no_other(crashed, caplog):
    class Broken(NamedDisk):
        def read(self, fd, size, position):
            if "/t-0/" in self.paths[fd]:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(fd, size, position)

    directory = crashed.writer(Broken())
    assert recover_rest(directory) == 3
    assert "not recovered: " in caplog.text
    assert "open t-0: Input/output error" in caplog.text
    assert [crashed.log_of(directory, name).end for name in ("u", "v")] == [5, 5]
    with pytest.raises(Failed, match="open t-0"):
        crashed.log_of(directory, "t")


def test_a_log_that_takes_long_holds_up_no_other(crashed):
    disk = Held()
    directory = crashed.writer(disk)
    background = threading.Thread(target=directory.recover_next)
    background.start()
    assert disk.come.wait(30)
    fill(crashed.log_of(directory, "u"), 1, first=5)
    assert numbers(crashed.log_of(directory, "v")) == [0, 1, 2, 3, 4]
    disk.go.set()
    background.join()
    assert directory.recovered


def test_who_wants_the_log_that_is_being_recovered_gets_the_one_that_was(crashed):
    disk = Held()
    directory = crashed.writer(disk)
    found = []
    use = [threading.Thread(target=lambda: found.append(crashed.log_of(directory, "t")))
           for _ in range(3)]  # fmt: skip
    for thread in use:
        thread.start()
    assert disk.come.wait(30)
    disk.go.set()
    for thread in use:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert numbers(found[0]) == [0, 1, 2, 3, 4]


def test_deleting_waits_for_the_recovery_of_that_log(crashed):
    disk = Held()
    directory = crashed.writer(disk)
    background = threading.Thread(target=directory.recover_next)
    background.start()
    assert disk.come.wait(30)
    deleting = threading.Thread(target=directory.delete_topic, args=("t",))
    deleting.start()
    entry = directory.topics()["t"]
    disk.go.set()
    background.join()
    deleting.join()
    assert "t" not in directory.topics()
    assert not (crashed.path / "t-0").exists()
    with pytest.raises(LogstoreError):
        directory.log("t", entry, 0)
    assert crashed.log_of(directory, "t").end == 0, "one of that name is made anew"
    assert directory.is_recovered(directory.topics()["t"], 0)


def test_a_deleted_topic_is_not_waited_for(crashed):
    directory = crashed.writer()
    directory.delete_topic("t")
    assert recover_rest(directory) == 2
    assert directory.recovered


def test_settings_changed_while_a_log_is_recovered_are_its_settings(crashed):
    disk = Held()
    directory = crashed.writer(disk)
    found = []
    use = threading.Thread(target=lambda: found.append(crashed.log_of(directory, "t")))
    use.start()
    assert disk.come.wait(30)
    directory.change_topic("t", settings={"segment.bytes": "12345"})
    disk.go.set()
    use.join()
    assert found[0].settings.segment_bytes == 12345


def test_a_reader_beside_the_writer_sees_no_more_than_what_was_synced(store):
    directory = store.writer()
    log = store.log_of(directory, "t", flush_messages=1000)
    fill(log, 3)
    log.sync()
    fill(log, 2, first=3)
    assert log.safe == 5
    store.crash()
    directory = store.writer()
    follower = store.log_of(store.reader(), "t")
    assert (follower.safe, follower.end) == (3, 5)
    assert numbers(follower) == [0, 1, 2]
    assert follower.read(5, 1000) == [], "who had read so far waits"
    assert directory.recover_next()
    assert (follower.safe, follower.end) == (5, 5)
    assert numbers(follower) == [0, 1, 2, 3, 4]


def test_a_reader_recovers_what_a_writer_has_left(crashed):
    from logstore.config import Config
    from logstore.storage.opening import open_directory

    crashed.writer()
    crashed.close()  # in good order, with nothing recovered
    reader = open_directory(
        str(crashed.path), "read", Config(), Disk(), create=False, clock=lambda: 0
    )
    try:
        assert [log.end for log in all_of(reader)] == [5, 5, 5]
        assert reader.settled
    finally:
        reader.close()


def test_a_reader_does_not_try_again_what_can_not_be_recovered(crashed):
    damage(crashed, "t")
    directory = crashed.writer()
    recover_rest(directory)
    crashed.close()
    assert crashed.reader().settled


def test_the_background_ends_when_it_is_told_to():
    asked = []
    over = threading.Event()

    def recover_next():
        asked.append(1)
        over.set()
        return True

    recovering = Recovering(recover_next)
    assert over.wait(30)
    recovering.close()
    count = len(asked)
    recovering.close()
    assert len(asked) == count


def test_the_background_ends_when_nothing_is_left():
    left = [False, True, True]
    recovering = Recovering(left.pop)
    recovering.wait()
    assert left == []


def test_no_partition_of_that_number(crashed):
    directory = crashed.writer()
    with pytest.raises(UnknownPartition):
        directory.log("t", directory.topics()["t"], 7)


def test_what_was_recovered_is_counted_and_nothing_else(crashed):
    directory = crashed.writer()
    directory.log("t", directory.topics()["t"], 0)
    assert (directory.recoveries.logs, directory.recoveries.failed) == (1, 0)
    recover_rest(directory)
    directory.log("u", directory.topics()["u"], 0)  # it was recovered in the background
    assert (directory.recoveries.logs, directory.recoveries.failed) == (3, 0)
    assert directory.recoveries.seconds > 0
    crashed.close()
    again = crashed.writer()
    all_of(again)
    assert again.recoveries.logs == 0


def test_a_log_that_can_not_be_opened_after_a_crash_is_counted_as_failed(crashed):
    class Broken(Disk):
        def list(self, path):
            if path.endswith("/t-0"):
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
            return super().list(path)

    directory = crashed.writer(Broken())
    with pytest.raises(LogstoreError):
        directory.log("t", directory.topics()["t"], 0)
    assert (directory.recoveries.logs, directory.recoveries.failed) == (1, 1)
