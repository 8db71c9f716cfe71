"""Logs that are waited for one after the other, until they are synced."""

import pytest
from transacting_kit import HeldLog

from logstore.broker.transacting.syncing import Syncing
from logstore.errors import LogFailed
from logstore.records.encode import encode


def a_log(name="a"):
    it = HeldLog(name, None)
    it.append(encode([(b"v", None, (), 0)]))
    return it


@pytest.fixture
def logs():
    return [a_log(name) for name in "abc"]


@pytest.fixture
def syncing(logs):
    syncing = Syncing()
    for its in logs:
        syncing.add(its, its.end)
    return syncing


@pytest.fixture
def news():
    return []


def test_nothing_is_done_at_once(news):
    assert Syncing().done
    assert Syncing().asked


def test_all_are_asked_for_and_one_is_watched(syncing, logs, news):
    assert syncing.ask(2) == 2
    assert not syncing.asked
    assert syncing.ask(2) == 1
    assert syncing.asked
    assert [its.soon for its in logs] == [1, 1, 1]
    assert syncing.look(9, lambda: news.append(1)) == 0
    assert [len(its._watchers) for its in logs] == [1, 0, 0]
    logs[1].sync()
    assert not news
    logs[0].sync()
    assert news
    assert syncing.look(9, lambda: news.append(2)) == 2
    assert [len(its._watchers) for its in logs] == [0, 0, 1]
    assert not syncing.done
    logs[2].sync()
    assert syncing.look(9, lambda: None) == 1
    assert syncing.done
    assert syncing.failed is None
    assert not logs[2]._watchers


def test_it_is_looked_at_so_many(syncing, logs):
    for its in logs:
        its.sync()
    assert syncing.look(2, lambda: None) == 2
    assert not syncing.done
    assert syncing.look(2, lambda: None) == 1
    assert syncing.done


def test_what_is_synced_needs_no_sync(syncing, logs):
    logs[0].sync()
    syncing.ask(9)
    assert [its.soon for its in logs] == [0, 1, 1]


def test_what_was_deleted_nobody_waits_for(syncing, logs):
    logs[0].gone = True
    for its in logs[1:]:
        its.sync()
    assert syncing.look(9, lambda: None) == 3
    assert syncing.done
    assert syncing.failed is None


def test_one_that_fails_is_enough(syncing, logs, news):
    assert syncing.look(9, lambda: news.append(1)) == 0
    logs[0].fail()
    assert news
    syncing.look(9, lambda: None)
    assert syncing.done
    assert isinstance(syncing.failed, LogFailed)
    assert not logs[0]._watchers


def test_news_that_comes_before_it_is_watched_is_not_missed(syncing, logs):
    watch = logs[0].watch

    def watched(wake):
        logs[0].sync()
        return watch(wake)

    logs[0].watch = watched
    assert syncing.look(9, lambda: None) == 1
    assert not logs[0]._watchers
