"""Logs that do not outlive the process."""

import os

import pytest
from storage_kit import a_batch, fill, numbers

from logstore.errors import UnknownPartition


def folder(store):
    path = store.path / "volatile"
    return sorted(os.listdir(path)) if path.exists() else None


def test_what_is_appended_is_safe_at_once_and_nothing_is_synced(store):
    directory = store.writer()
    log = directory.make_volatile("7.0")
    synced = []
    directory.disk.sync, before = synced.append, directory.disk.sync
    log.append(a_batch(b"0|"))
    assert (log.safe, log.done, log.end) == (1, 1, 1)
    log.append(a_batch(b"1|"))
    log.wait(2)
    log.sync_soon()
    assert (numbers(log), synced) == ([0, 1], [])
    directory.disk.sync = before


def test_nothing_is_left_of_them_after_a_close_and_after_a_crash(store):
    fill(store.writer().make_volatile("7.0"), 3)
    store.crash()
    assert folder(store) == ["7.0"]
    directory = store.writer()
    assert folder(store) is None
    fill(directory.make_volatile("7.0"), 3)
    store.close()
    assert folder(store) is None


def test_one_that_is_dropped_leaves_no_file_and_the_others_stay(store):
    directory = store.writer()
    gone, stays = directory.make_volatile("7.0"), directory.make_volatile("8.0")
    fill(gone, 3)
    fill(stays, 3)
    directory.drop_volatile("7.0")
    assert folder(store) == ["8.0"]
    with pytest.raises(UnknownPartition):
        gone.append(a_batch(b"3|"))
    assert numbers(stays) == [0, 1, 2]


def test_it_is_trimmed_segment_by_segment(store):
    log = store.writer(queue_segment_bytes=1 << 20).make_volatile("7.0")
    fill(log, 5, size=400_000)
    assert len(log.chain.bases) == 3
    log.trim(4)
    assert (log.start, len(log.chain.bases), numbers(log)) == (4, 1, [4])


def test_it_is_known_to_no_catalogue(store):
    directory = store.writer()
    fill(directory.make_volatile("7.0"), 3)
    assert directory.entries() == []
