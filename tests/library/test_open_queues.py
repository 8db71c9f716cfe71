"""The logs of queues: lanes, the journal, what is volatile."""

import os
from unittest.mock import Mock

import pytest
from clock import NOW_MS
from storage_kit import fill, numbers

import logstore
from logstore.broker.queues.journal import queue_key
from logstore.errors import LogFailed
from logstore.kept.queues import LaneTrim
from logstore.open_queues import Lane, OpenQueues, parse_lane
from logstore.records.encode import encode

FIRST, SECOND = Lane(7, 0), Lane(7, 255)


@pytest.fixture
def queues(tmp_path):
    """Opens the queues of one store, again and again."""
    stores = []

    def opened():
        for store in stores:
            store.close()
        store = logstore.open(tmp_path / "data", clock=lambda: NOW_MS)
        stores.append(store)
        return OpenQueues(store.internals().directory.writable(), keeper=None)

    yield opened
    for store in stores:
        store.close()


def test_lanes_are_found_again(queues):
    first = queues()
    assert first.lanes() == {}
    for lane in (SECOND, FIRST, Lane(12, 3)):
        fill(first.open(lane, {}), 3)
    assert first.lanes() == {7: [0, 255], 12: [3]}
    again = queues()
    assert again.lanes() == {7: [0, 255], 12: [3]}
    assert numbers(again.open(FIRST, {})) == [0, 1, 2]


def test_a_lane_that_is_deleted_is_gone_and_may_be_deleted_again(queues, tmp_path):
    found = queues()
    fill(found.open(FIRST, {}), 3)
    fill(found.open(SECOND, {}), 3)
    found.delete([FIRST, Lane(8, 0)])
    found.delete([FIRST])
    assert found.lanes() == {7: [255]}
    assert os.listdir(tmp_path / "data" / "queues") == ["7.255-0"]
    assert found.open(FIRST, {}).end == 0  # a new one


def test_the_journal_is_made_once_and_is_found_again(queues, tmp_path):
    journal = queues().journal()
    journal.append(encode([(b"X", queue_key(7), (), NOW_MS)]))
    journal.wait(1)
    assert os.listdir(tmp_path / "data" / "journal") == ["settled-0"]
    assert queues().journal().end == 1


def test_the_journal_is_synced_whatever_topics_are(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGSTORE_TOPIC_FLUSH_MESSAGES", "1000000")
    with logstore.open(tmp_path / "data") as store:
        queues = OpenQueues(store.internals().directory.writable(), keeper=None)
        journal, lane = queues.journal(), queues.open(FIRST, {})
        assert (journal.settings.flush_messages, lane.settings.flush_messages) == (1, 1_000_000)


def test_a_lane_that_failed_keeps_no_other_one_from_being_trimmed(queues, monkeypatch):
    found = queues()
    lanes = [found.open(it, {"retention.ms": "0"}) for it in (FIRST, SECOND)]
    for lane in lanes:
        fill(lane, 3)
        lane.wait(3)
    monkeypatch.setattr(lanes[0], "roll", Mock(side_effect=LogFailed("the disk is gone")))
    with pytest.raises(LogFailed, match="the disk is gone"):
        found.trim([LaneTrim(it, 3, 3, drained=True) for it in lanes], NOW_MS)
    assert [it.start for it in lanes] == [0, 3]


def test_queues_are_no_topics(queues, tmp_path):
    found = queues()
    fill(found.open(FIRST, {}), 3)
    found.journal()
    with logstore.open(tmp_path / "data", "read") as store:
        assert store.topics() == []
        assert store.status().partitions == 0
        assert store.status().bytes > 0
        found = [report for report in store.verify() if report.findings]
        assert [report.path for report in found] == [str(tmp_path / "data/queues/7.0-0")]
        assert found[0].findings[0].left  # of a queue that nothing is known of


def test_what_is_volatile_is_gone_at_the_next_opening(queues):
    found = queues()
    fill(found.make_volatile(FIRST), 3)
    found.drop_volatile(FIRST)
    fill(found.make_volatile(FIRST), 2)
    assert queues().make_volatile(FIRST).end == 0


NO_LANES = ("7", "7.", ".0", "7.256", "07.0", "7.00", "x.0", "7.0.1", "\u0667.0")


@pytest.mark.parametrize("name", NO_LANES)
def test_other_names_are_no_lanes(name):
    assert parse_lane(name) is None


@pytest.mark.parametrize("lane", [FIRST, SECOND, Lane(2**40, 3)])
def test_a_lane_is_read_from_its_name(lane):
    assert parse_lane(str(lane)) == lane
