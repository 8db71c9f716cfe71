import errno
import os
import struct

import pytest
from clock import NOW_MS
from crafted import DAMAGED, put, three, with_maximum
from storage_kit import NamedDisk, fill, numbers

from logstore.errors import ReadOnly
from logstore.storage.verify import verify


def findings(directory):
    return [it for report in verify(directory) for it in report.findings]


@pytest.fixture
def filled(store):
    log = store.log(segment_bytes=500, index_interval_bytes=100)
    fill(log, 20)
    store.close()
    return log


def test_a_sound_store(store, filled):
    reports = list(verify(store.writer()))
    assert [it.findings for it in reports] == [()] * len(reports)
    assert sum(it.records for it in reports) == 20
    assert sum(it.bytes for it in reports) == filled.bytes()


def test_a_flipped_bit_in_the_records(store, filled):
    path = store.segment(filled.chain.bases[1])
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (finding,) = findings(store.writer())
    assert finding.path == str(path)
    assert not finding.derived
    assert "has CRC" in finding.message
    assert "at position" in finding.message


def test_a_header_that_cant_be_walked_over(store, filled):
    path = store.segment(filled.chain.bases[1])
    data = bytearray(path.read_bytes())
    data[16] = 7
    path.write_bytes(data)
    found = [it for it in findings(store.writer()) if not it.derived]
    assert "at position 0: " in found[0].message
    assert "what follows can't be read" in found[0].message


def test_a_missing_segment(store, filled):
    second, third = filled.chain.bases[1:3]
    store.segment(second).unlink()
    found = findings(store.writer())
    assert f"begins at {third}, the segment before ends at {second}" in found[0].message


def test_a_gap_within_a_segment(store, filled):
    path = store.segment(filled.chain.bases[1])
    data = path.read_bytes()
    base = filled.chain.bases[1]
    second = int.from_bytes(data[8:12], "big") + 12
    third = second + int.from_bytes(data[second + 8 : second + 12], "big") + 12
    path.write_bytes(data[:second] + data[third:])
    messages = [it.message for it in findings(store.writer()) if not it.derived]
    assert f"at position {second}: offsets {base + 1} to {base + 1} are missing" in messages


def test_a_disk_that_does_not_give_a_segment(store, filled):
    class Broken(NamedDisk):
        def read(self, fd, size, position):
            if self.paths[fd] == path:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(fd, size, position)

    path = str(store.segment(filled.chain.bases[1]))
    found = findings(store.writer(Broken()))
    assert [(it.path, it.derived) for it in found] == [(path, False)]
    assert "can't be read: Input/output error" in found[0].message


def test_every_segment_is_missing(store, filled):
    for path in (store.path / "t-0").iterdir():
        path.unlink()
    messages = [it.message for it in findings(store.writer())]
    assert any("every segment is missing" in it for it in messages)


def test_index_entries_that_lie(store, filled):
    path = store.segment(0, ".index")
    offset, position = struct.unpack_from(">II", path.read_bytes())
    path.write_bytes(struct.pack(">II", offset, position + 1) + path.read_bytes()[8:])
    found = findings(store.writer())
    assert found
    assert all(it.derived for it in found)
    assert f"the entry of offset {offset} names position {position + 1}" in found[0].message


@pytest.mark.parametrize(("change", "message"), [
    (lambda path: path.unlink(), "the file is missing"),
    (lambda path: path.write_bytes(path.read_bytes()[:-1]), "the last entry is cut off"),
    (lambda path: path.write_bytes(b"\xff" * 24), "the entries do not rise, here or by time"),
])  # fmt: skip
def test_index_files_that_a_reader_does_without(store, filled, change, message):
    change(store.segment(0, ".index"))
    found = findings(store.writer())
    assert [it.derived for it in found] == [True] * len(found)
    assert message in {it.message for it in found}


def test_directories_of_no_topic(store, filled):
    for name in ("t-7", "u-0"):
        (store.path / name).mkdir()
        (store.path / name / f"{0:020d}.log").write_bytes(b"")
    (store.path / "claims").mkdir(exist_ok=True)
    found = findings(store.writer())
    assert [(it.path.rpartition("/")[2], it.message) for it in found] == [
        ("t-7", "belongs to no topic of the catalogue"),
        ("u-0", "belongs to no topic of the catalogue"),
    ]


def test_the_empty_directory_that_an_interrupted_create_leaves_is_no_damage(store, filled):
    (store.path / "u-0").mkdir()
    assert findings(store.writer()) == []


def test_what_is_not_safe_yet_is_not_looked_at(store):
    from storage_kit import a_batch

    log = store.log()
    fill(log, 2)
    log.append(a_batch(b"v"))
    assert findings(store.reader()) == []


class TestRepair:
    @pytest.mark.parametrize("place", [0, -1])
    @pytest.mark.parametrize("damage", ["missing", "garbage", "short"])
    def test_indexes_are_made_anew_and_nothing_else(self, store, filled, place, damage):
        base = filled.chain.bases[place]
        good = {}
        for ending in (".index", ".timeindex"):
            path = store.segment(base, ending)
            good[path] = path.read_bytes()
            if damage == "missing":
                path.unlink()
            else:
                path.write_bytes(b"garbage" * 9 if damage == "garbage" else b"abc")
        log = store.segment(base).read_bytes()
        directory = store.writer()
        assert all(it.derived for it in findings(directory))
        reports = [it for it in verify(directory, repair=True) if it.repaired]
        assert [it.path for it in reports] == [str(store.segment(base))]
        assert {path: path.read_bytes() for path in good} == good
        assert findings(directory) == []
        assert store.segment(base).read_bytes() == log

    def test_damage_stays_what_it_is(self, store, filled):
        path = store.segment(filled.chain.bases[1])
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        store.segment(filled.chain.bases[1], ".index").unlink()
        directory = store.writer()
        [report] = [it for it in verify(directory, repair=True) if it.findings]
        assert report.repaired
        assert [it.derived for it in report.findings] == [False, True]
        assert path.read_bytes() == bytes(data)
        assert [it.derived for it in findings(directory)] == [False]

    def test_a_reader_repairs_nothing(self, store, filled):
        path = store.segment(filled.chain.bases[0], ".index")
        path.unlink()
        with pytest.raises(ReadOnly):
            list(verify(store.reader(), repair=True))
        assert not path.exists()

    def test_appends_go_on_after_it(self, store, filled):
        directory = store.writer()
        log = directory.log("t", directory.topic("t"), 0)
        store.segment(log.chain.bases[-1], ".timeindex").write_bytes(b"garbage")
        list(verify(directory, repair=True))
        fill(log, 20, first=20)
        assert numbers(log) == list(range(40))
        store.close()
        assert findings(store.writer()) == []


@pytest.fixture
def three_batches(store):
    """three_batches(batch): a log with this one between two good ones, closed; its reports."""

    def write(batch, *, repair=False):
        put(store.log(), three(), batch, three())
        store.close()
        return looked_at(repair=repair)

    def looked_at(*, repair=False):
        directory = store.writer()
        try:
            return [it for report in verify(directory, repair=repair) for it in report.findings]
        finally:
            store.close()

    write.again = looked_at
    return write


@pytest.mark.parametrize("make", DAMAGED.values(), ids=DAMAGED)
def test_a_batch_whose_records_cannot_be_read_is_damage(three_batches, make):
    """Header and checksum are right: it was said that nothing is damaged."""
    [finding] = three_batches(make())
    assert not finding.derived
    assert "batch at offset 3" in finding.message
    assert finding.path.endswith(".log")


@pytest.mark.parametrize("maximum", [NOW_MS + 50, NOW_MS + 1])
def test_a_wrong_maximum_is_found_and_the_index_made_by_the_records(three_batches, maximum):
    batch = with_maximum(three(at_ms=NOW_MS), maximum)
    [finding] = [it for it in three_batches(batch) if it.path.endswith(".log")]
    assert finding.derived
    assert f"offset 3 says {maximum} ms at the latest, its records say {NOW_MS + 2}" in (
        finding.message
    )
    three_batches.again(repair=True)
    assert three_batches.again() == [finding]


def test_a_maximum_that_nobody_believes_is_no_finding(three_batches):
    assert three_batches(with_maximum(three(at_ms=NOW_MS))) == []


def test_look_ups_go_by_the_records_once_the_index_was_made_by_them(store):
    log = store.log(index_interval_bytes=60)
    late = with_maximum(three(at_ms=NOW_MS + 500), NOW_MS + 500)
    put(
        log,
        three(),
        with_maximum(three(b"a", b"b", at_ms=NOW_MS + 100), NOW_MS + 100),
        late,
        three(),
    )
    assert log.find(NOW_MS + 502) == log.safe  # the header says that there is none
    assert any(it.derived for report in verify(store._open[-1]) for it in report.findings)
    list(verify(store._open[-1], repair=True))
    assert log.find(NOW_MS + 502) == 7
    assert log.latest_timestamp() == NOW_MS + 502
