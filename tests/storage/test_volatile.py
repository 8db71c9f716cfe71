"""Logs that do not outlive the process."""

import os

import pytest
from storage_kit import a_batch, fill, numbers

from logstore.errors import Failed, UnknownPartition


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


@pytest.mark.parametrize("what", ["a link", "a file"])
def test_a_folder_that_cannot_be_removed_keeps_no_topic_from_working(store, tmp_path, what, caplog):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    store.path.mkdir(exist_ok=True)
    path = store.path / "volatile"
    path.symlink_to(tmp_path / "elsewhere") if what == "a link" else path.touch()
    directory = store.writer()
    fill(store.log_of(directory), 2)
    assert numbers(store.log_of(directory)) == [0, 1]
    assert [str(path) in it.getMessage() for it in caplog.records] == [True]
    with pytest.raises(Failed, match="remove what was volatile"):
        directory.make_volatile("7.0")
    path.unlink()
    fill(directory.make_volatile("7.0"), 3)
    assert folder(store) == ["7.0"]
    assert (tmp_path / "elsewhere" / "kept").exists()
