"""What a log on disk knows of transactions: how far it is stable, and which were aborted."""

import os
import random
import shutil
import sys
from array import array
from dataclasses import replace

import pytest
from storage_kit import FullDisk, add, fill
from transactions_kit import Producers, a_ledger, every_batch, transactions_in

import logstore
from logstore.errors import CorruptBatch
from logstore.log import Aborted
from logstore.records.control import ABORT, COMMIT, marker
from logstore.storage.aborted_index import ABORTED_ENTRY
from logstore.storage.disk import Disk
from logstore.storage.kinds import TOPIC
from logstore.storage.names import cleaned_stem
from logstore.storage.verify import verify
from logstore.storage.whole_segment import write_segment

KINDS = {"topic": replace(TOPIC, notes=a_ledger)}


def a_log(store, disk=None, **settings):
    return store.log_of(store.writer(disk, kinds=KINDS), **settings)


def write(log, producer, sequence=0, epoch=0, count=1):
    return add(
        log, *[b"x"] * count, producer_id=producer, producer_epoch=epoch, base_sequence=sequence,
        transactional=True,
    )  # fmt: skip


def end(log, outcome, producer, epoch=0):
    at = log.append(marker(outcome, producer, epoch, 0))
    log.wait(at + 1)
    return at


def as_reader(store):
    directory = store.reader(kinds=KINDS)
    return directory.log("t", directory.topics()["t"], 0)


def test_a_log_is_stable_up_to_its_first_open_transaction(store):
    log = a_log(store)
    fill(log, 2)
    write(log, 7)
    write(log, 8)
    fill(log, 1)
    assert (log.stable, log.safe) == (2, 5)
    end(log, COMMIT, 7)
    assert log.stable == 3
    end(log, COMMIT, 8)
    assert log.stable == log.safe == 7
    assert log.aborted(0, 7) == []


def test_whoever_watches_hears_of_a_marker_before_it_is_synced(store):
    log = a_log(store)
    write(log, 7)
    told = []
    stop = log.watch(lambda: told.append((log.stable, log.safe)))
    log.append(marker(COMMIT, 7, 0, 0))
    assert told == [(1, 1)]  # what it has decided about is shown
    stop()


def test_what_is_not_safe_is_not_stable(store):
    log = a_log(store)
    fill(log, 1)
    log.append(marker(COMMIT, 7, 0, 0))
    assert log.stable == log.safe == 1


def test_an_aborted_transaction_is_told_of_where_it_stands(store):
    log = a_log(store)
    write(log, 7)
    write(log, 8)
    fill(log, 3)
    assert end(log, ABORT, 7) == 5
    fill(log, 2)
    end(log, ABORT, 8)
    first, second = Aborted(7, 0, 5, 1), Aborted(8, 1, 8, 9)
    assert log.aborted(0, 9) == [first, second]
    assert log.aborted(5, 6) == [first, second]  # it begins with a marker
    assert log.aborted(6, 8) == [second]
    assert log.aborted(0, 1) == [first]
    assert log.aborted(9, 9) == []


def test_an_end_without_a_transaction_is_no_entry(store):
    log = a_log(store)
    fill(log, 1)
    end(log, ABORT, 7)
    write(log, 7)
    end(log, ABORT, 7)
    assert log.aborted(0, log.safe) == [Aborted(7, 2, 3, 4)]


def test_the_marker_may_be_in_a_later_segment(store):
    log = a_log(store, segment_bytes=300)
    write(log, 7)
    fill(log, 20)
    at = end(log, ABORT, 7)
    assert store.segment(log.bases()[-1], ".txnindex").exists()
    assert log.aborted(0, 1) == [Aborted(7, 0, at, at + 1)]


def test_the_files_are_as_kafkas(store):
    log = a_log(store)
    write(log, 7)
    end(log, ABORT, 7)
    data = store.segment(ending=".txnindex").read_bytes()
    assert ABORTED_ENTRY.unpack(data) == (0, 7, 0, 1, 2)


@pytest.mark.parametrize("bumps", [False, True])
@pytest.mark.parametrize("crashes", [False, True])
def test_both_outlive_the_process(store, bumps, crashes):
    rng = random.Random(f"{bumps} {crashes}")
    producers, log = Producers(rng, bumps=bumps), a_log(store, segment_bytes=1000)
    for _ in range(3):
        for _ in range(60):
            log.append(producers.next())
            if rng.random() < 0.05:
                log.secure()
        log.wait(log.end)
        begun, aborted = transactions_in(every_batch(log))
        seen = dict(log.notes.open), log.aborted(0, log.safe), log.stable
        assert seen == (begun, aborted, min(begun.values(), default=log.end))
        reader = as_reader(store)
        assert (reader.aborted(0, reader.safe), reader.stable) == (seen[1], seen[2])
        store.close()
        (store.crash if crashes else store.close)()
        log = a_log(store)
        assert (dict(log.notes.open), log.aborted(0, log.safe), log.stable) == seen


@pytest.mark.parametrize("at", [0, 5, 17, 40])
@pytest.mark.parametrize("below", [1, 18, 41, 60])
def test_a_range_has_all_that_touch_it(store, at, below):
    producers, log = Producers(random.Random(1), bumps=True), a_log(store, segment_bytes=700)
    while log.end < 60:
        log.append(producers.next())
    log.wait(log.end)
    _, aborted = transactions_in(every_batch(log))
    found = log.aborted(at, below)
    assert [it for it in found if it.first < below] == found
    assert found == [it for it in aborted if it[2] >= at and it[1] < below]


def damage_nothing(path):
    os.remove(path)


def damage_end(path):
    os.truncate(path, 34)


def damage_entry(path):
    path.write_bytes(b"\1" * 68)


@pytest.mark.parametrize("damage", [damage_nothing, damage_end, damage_entry])
@pytest.mark.parametrize("crashes", [False, True])
def test_an_index_that_lacks_something_is_made_anew_at_a_start(store, damage, crashes):
    log = a_log(store, segment_bytes=300)
    for n in range(8):
        write(log, 7, sequence=n)
        end(log, ABORT, 7)
    before = log.aborted(0, log.safe)
    assert len(before) == 8
    log.secure()
    (store.crash if crashes else store.close)()
    damage(store.segment(ending=".txnindex"))
    log = a_log(store)
    if damage is damage_entry:
        with pytest.raises(
            CorruptBatch, match=r"0\.txnindex: entry 0 is not an aborted tr.*: remove"
        ):
            log.aborted(0, log.safe)
        store.close()
        damage_nothing(store.segment(ending=".txnindex"))
        log = a_log(store)
    assert log.aborted(0, log.safe) == before


@pytest.mark.parametrize("left", [68, 34, 17, 0])
def test_no_batch_is_cut_off_for_what_a_power_cut_has_left_of_an_index(store, left):
    log = a_log(store)
    for n in range(3):
        write(log, 7, sequence=n)
        end(log, ABORT, 7)
    before = log.aborted(0, log.safe)
    store.crash()
    index = store.segment(0, ".txnindex")
    index.write_bytes(index.read_bytes()[:34] + bytes(left))
    log = a_log(store)
    assert (log.end, log.damage, log.aborted(0, log.safe)) == (6, None, before)
    assert as_reader(store).aborted(0, log.safe) == before


def test_readers_elsewhere_are_shown_no_more_than_what_is_synced(store):
    log = a_log(store, flush_messages=1000)
    write(log, 7)
    reader = as_reader(store)
    assert (reader.safe, reader.stable) == (1, 0)
    log.append(marker(ABORT, 7, 0, 0))
    assert (log.stable, reader.safe, reader.stable) == (2, 2, 0)  # a power cut may take the marker
    log.sync()
    assert (reader.stable, reader.aborted(0, 2)) == (2, [Aborted(7, 0, 1, 2)])


def test_a_transaction_between_two_syncs_is_not_shown_half(store):
    log = a_log(store, flush_messages=1000)
    log.append(marker(COMMIT, 5, 0, 0))
    log.sync()
    reader = as_reader(store)
    log.append(marker(COMMIT, 5, 0, 0))
    write(log, 7)
    assert reader.stable == 2
    log.append(marker(ABORT, 7, 0, 0))
    assert reader.stable == 2
    log.sync()
    assert reader.stable == 4


def test_readers_go_by_the_catalogue_where_the_watermarks_are_behind_it(store):
    """As after a power cut: they are never synced."""
    log = a_log(store)
    marks = store.path / "watermarks"
    before = marks.read_bytes()
    write(log, 7)
    log.secure()
    store.crash()
    marks.write_bytes(before)
    reader = as_reader(store)
    assert (reader.safe, reader.stable) == (1, 0)


def test_a_full_disk_keeps_readers_elsewhere_back(store):
    disk = FullDisk()
    log = a_log(store, disk, preallocate="false")
    write(log, 7)
    disk.writes = 1
    log.append(marker(ABORT, 7, 0, 0))
    log.sync()
    reader = as_reader(store)
    assert log.aborted(0, 2) == [Aborted(7, 0, 1, 2)]
    assert (reader.safe, reader.stable) == (2, 0)
    disk.writes = None
    fill(log, 1)
    assert (reader.stable, reader.aborted(0, 2)) == (3, log.aborted(0, 2))


def test_what_is_trimmed_goes_with_its_index(store):
    log = a_log(store, segment_bytes=300)
    for n in range(8):
        write(log, 7, sequence=n)
        end(log, ABORT, 7)
    before = log.bases()
    log.trim(before[2])
    assert not store.segment(before[0], ".txnindex").exists()
    assert log.aborted(log.start, log.safe)[0].last >= before[2]
    log.secure()
    store.crash()
    log = a_log(store)
    assert log.aborted(log.start, log.safe)[0].last >= before[2]


def test_what_is_merged_keeps_what_was_aborted(store):
    log = a_log(store, segment_bytes=200)
    for n in range(8):
        write(log, 7, sequence=n)
        end(log, ABORT, 7)
    log.secure()
    before, bases = log.aborted(0, log.safe), log.bases()[:3]
    stem = cleaned_stem(str(store.path / "t-0"), bases[0], 1)
    batches = [batch for base in bases for _, batch in log.segment(base).walk()]
    write_segment(Disk(), stem, bases[0], 4096, batches)
    assert log.swap(bases, stem)
    files = {it for it in store.files() if it.endswith(".txnindex")}
    assert [f"{it:020d}.txnindex" in files for it in bases] == [True, False, False]
    assert log.aborted(0, log.safe) == before == as_reader(store).aborted(0, log.safe)
    store.close()
    store.crash()
    log = a_log(store)
    assert log.aborted(0, log.safe) == before


def test_a_merge_that_is_cut_off_shows_nothing_twice(store):
    log = a_log(store, segment_bytes=200)
    for n in range(8):
        write(log, 7, sequence=n)
        end(log, ABORT, 7)
    log.secure()
    before, bases = log.aborted(0, log.safe), log.bases()[:3]
    log.chain._put_aborted(cleaned_stem(str(store.path / "t-0"), bases[0], 1), bases, ())
    assert log.aborted(0, log.safe) == before


def test_what_a_crash_brings_back_of_a_merged_segment_is_told_of_nowhere(store):
    log = a_log(store, segment_bytes=200)
    for n in range(8):
        write(log, 7, sequence=n)
        end(log, ABORT, 7)
    log.secure()
    before, [first, second, *_] = log.aborted(0, log.safe), log.bases()
    stray = store.segment(second, ".txnindex")
    told = stray.read_bytes()
    stem = cleaned_stem(str(store.path / "t-0"), first, 1)
    batches = [batch for base in (first, second) for _, batch in log.segment(base).walk()]
    write_segment(Disk(), stem, first, 4096, batches)
    assert log.swap([first, second], stem)
    store.crash()
    stray.write_bytes(told)  # its removal was not on disk, that of the other files was
    assert as_reader(store).aborted(0, log.safe) == before
    assert a_log(store).aborted(0, log.safe) == before
    assert not stray.exists()


def test_what_a_merge_that_is_cut_off_leaves_beside_a_segment_goes_at_the_next_start(store):
    log = a_log(store, segment_bytes=200)
    for n in range(8):
        write(log, 7, sequence=n)
        end(log, ABORT, 7)
    log.secure()
    before, bases = log.aborted(0, log.safe), log.bases()[:3]
    log.mark(merged_base=bases[0], merged_below=log.bases()[3])
    path = store.segment(bases[0], ".txnindex")
    size = path.stat().st_size
    log.chain._put_aborted(cleaned_stem(str(store.path / "t-0"), bases[0], 1), bases, ())
    assert path.stat().st_size == 3 * size
    store.crash()
    assert a_log(store).aborted(0, log.safe) == before
    assert path.stat().st_size == size


def test_verify_finds_an_index_that_is_none(store):
    log = a_log(store)
    write(log, 7)
    end(log, ABORT, 7)
    store.close()
    directory = store.reader(kinds=KINDS)
    [report] = verify(directory)
    assert report.findings == ()
    damage_entry(store.segment(ending=".txnindex"))
    [report] = verify(directory)
    [finding] = report.findings
    assert finding.path.endswith(".txnindex")
    assert finding.message.startswith("entry 0 is not an aborted transaction: remove the file")


def messages(store):
    """What verify says of what stands in which kind of file; nothing of a store that is whole."""
    reports = list(verify(store.reader(kinds=KINDS)))
    return [(it.path[-9:], it.message) for report in reports for it in report.findings]


class TestVerify:
    """Of transactions: each finding says what readers see for it."""

    @pytest.fixture
    def entries(self, store):
        """What is written anew of the index of the only segment."""
        log = a_log(store)
        for n, outcome in enumerate([ABORT, COMMIT, ABORT]):
            fill(log, 1)
            write(log, 7, sequence=n)
            write(log, 8, sequence=n)
            end(log, outcome, 7)
            end(log, outcome, 8)
        store.close()
        assert messages(store) == []
        path = store.segment(ending=".txnindex")
        found = [Aborted(*it[1:]) for it in ABORTED_ENTRY.iter_unpack(path.read_bytes())]
        assert [(it.producer_id, it.first, it.last) for it in found] == [
            (7, 1, 3), (8, 2, 4), (7, 11, 13), (8, 12, 14),
        ]  # fmt: skip

        def put(*entries):
            path.write_bytes(b"".join([ABORTED_ENTRY.pack(0, *it) for it in entries]))
            return messages(store)

        return put, found

    def test_an_index_without_an_entry(self, entries):
        put, [first, second, *rest] = entries
        [(path, message)] = put(first, *rest)
        assert path == ".txnindex"
        assert message == (
            "lacks the transaction of producer 8 from offset 2 on, which was aborted at 4: its "
            "records are shown as if they were committed; remove the file, the next start of a "
            "writer makes it anew"
        )
        assert len(put()) == 4
        assert put(first, second, *rest) == []

    def test_an_entry_without_a_marker(self, entries):
        put, [first, *rest] = entries
        [(_, message)] = put(first, *rest[:1], Aborted(7, 6, 8, 9), *rest[1:])
        assert message.startswith(
            "has a transaction of producer 7 aborted at offset 8, where no such marker is: clients "
            "are not shown what it wrote behind that; remove the file"
        )

    def test_an_entry_that_begins_too_late(self, entries):
        put, [*others, last] = entries
        [(_, message)] = put(*others, last._replace(first=13))
        assert message.startswith(
            "has the transaction that producer 8 aborted at offset 14 begin at 13, its records "
            "begin at 12: its records are shown"
        )
        assert put(*others, last._replace(first=5)) == []  # of what compaction has taken

    def test_a_transaction_without_an_end(self, store, monkeypatch):
        log = a_log(store, segment_bytes=200)
        fill(log, 3)
        write(log, 7)
        fill(log, 3)
        store.close()
        assert messages(store) == []
        monkeypatch.setattr(type(as_reader(store)), "stable", property(lambda log: log.safe))
        [(_, message)] = messages(store)
        assert message == (
            "the transaction that producer 7 begins at offset 3 has no end, though the log is "
            "stable up to 7: its records are shown as if they were committed; restore the log from "
            "a backup"
        )

    def test_what_is_behind_a_damage_is_not_judged(self, entries, store):
        put, [first, *_] = entries
        path = store.segment()
        data = bytearray(path.read_bytes())
        data[16] = 9  # of the first batch: no magic
        path.write_bytes(data)
        assert [it for it in put(first) if it[0] == ".txnindex"] == []

    def test_a_directory_of_partitions_alone_has_no_end_of_what_is_undecided(self, store, tmp_path):
        log = a_log(store)
        write(log, 7)
        fill(log, 1)
        store.close()
        (tmp_path / "bare").mkdir()
        shutil.copytree(store.path / "t-0", tmp_path / "bare" / "t-0")
        with logstore.open(tmp_path / "bare", "read") as bare:
            assert [it for report in bare.verify() for it in report.findings] == []


def test_a_reader_goes_over_to_watermarks_that_a_writer_has_made_anew(store):
    log = a_log(store)
    fill(log, 3)
    store.close()
    path = store.path / "watermarks"
    words = array("q", path.read_bytes())
    slots = [words[at : at + 4] for at in range(8, len(words), 8)]
    old = array("q", [int.from_bytes(b"LOGSTWM1", sys.byteorder), 0, 0, 0])
    path.write_bytes(b"".join([old.tobytes(), *(it.tobytes() for it in slots)]))
    reader = as_reader(store)
    assert (reader.safe, reader.stable) == (3, 3)
    log = a_log(store)
    write(log, 7)
    assert (reader.safe, reader.stable) == (4, 3)
    end(log, ABORT, 7)
    assert (reader.safe, reader.stable) == (5, 5)


def test_a_swap_that_fails_leaves_nothing_behind(store):
    log = a_log(store, segment_bytes=200)
    for n in range(4):
        write(log, 7, sequence=n)
        end(log, ABORT, 7)
    log.secure()
    before, bases = log.aborted(0, log.safe), log.bases()[:2]
    stem = cleaned_stem(str(store.path / "t-0"), bases[0], 1)
    log.chain._files.write(stem + ".txnindex", [b"\0" * 34], 0)  # as if its rename had failed
    assert log.swap([bases[0], 999], stem) is False
    assert [it for it in store.files() if "cleaned" in it] == []
    assert log.aborted(0, log.safe) == before
