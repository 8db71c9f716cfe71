"""What upkeep is at and did lately, as people are told."""

import pytest
from clock import Clock

import logstore
from logstore.errors import UnknownTopic
from logstore.records.record import Message
from logstore.upkeep.doing import HISTORY_MAX, TOPICS_SHOWN, Asked, Did, Doing

RETENTION = Asked("retention", (), dry_run=False, by_itself=True)


@pytest.fixture
def doing():
    return Doing(Clock(1000))


def test_a_run_shows_where_it_is(doing):
    run = doing.begin(Asked("compact", ("a", "b"), dry_run=False, by_itself=False))
    [found] = doing.facts()["running"]
    assert (found["name"], found["object"], found["share"]) == ("compact", "a, b", 0)
    run.at("a", 3)
    run.progress(1, 4)
    [found] = doing.facts()["running"]
    assert found == {
        "name": "compact", "object": "a-3", "share": 0.25, "logs": 0, "since_ms": 1000,
        "by_itself": False, "dry_run": False,
    }  # fmt: skip
    run.at("b", 0)
    assert doing.facts()["running"][0]["share"] == 0
    run.progress(0, 0)
    assert doing.facts()["running"][0]["share"] == 1
    doing._clock.ms = 1500
    doing.end(run)
    assert doing.facts()["running"] == []
    [ended] = doing.facts()["history"]
    assert (ended["object"], ended["began_ms"], ended["took_ms"]) == ("a, b", 1000, 500)
    assert (ended["outcome"], ended["error"]) == ("nothing was to be done", None)


@pytest.mark.parametrize(
    ("name", "dry_run", "did", "outcome"),
    [
        ("retention", False, Did(True, 2, bytes=300), "dropped 4 segments of 600 bytes"),
        ("retention", True, Did(True, 1, bytes=9), "would have dropped 2 segments of 18 bytes"),
        ("compact", False, Did(True, records=5, bytes=40),
         "compacted 2 logs: 10 records removed, 80 bytes saved"),
        ("compact", True, Did(True), "would have rewritten 2 logs"),
        ("recompress", False, Did(True, bytes=7), "recompressed 2 logs: 14 bytes saved"),
    ],
)  # fmt: skip
def test_what_came_of_it_is_said(doing, name, dry_run, did, outcome):
    run = doing.begin(Asked(name, (), dry_run, by_itself=False))
    run.add(did)
    run.add(Did())
    run.add(did)
    doing.end(run)
    [ended] = doing.facts()["history"]
    assert (ended["outcome"], ended["logs"], ended["object"]) == (outcome, 3, "all logs")


def test_what_did_nothing_by_itself_is_not_remembered(doing):
    run = doing.begin(RETENTION)
    run.add(Did())
    doing.end(run)
    assert doing.facts()["history"] == []


def test_failures_are_told_the_first_in_words(doing):
    run = doing.begin(RETENTION)
    run.add(Did(failure="t-0: damaged"))
    run.add(Did(failure="t-1: damaged"))
    doing.end(run)
    assert doing.facts()["history"][0]["error"] == "t-0: damaged (and 1 more)"
    doing.end(doing.begin(RETENTION), "no space left")
    assert doing.facts()["history"][0]["error"] == "no space left"


def test_what_each_job_has_done_is_counted_without_dry_runs(doing):
    for dry_run, error in ((False, ""), (True, ""), (False, "no space left")):
        run = doing.begin(Asked("retention", (), dry_run, by_itself=True))
        run.add(Did(True, segments=2, bytes=30))
        run.add(Did(failure="t-0: damaged"))
        doing._clock.ms += 100
        doing.end(run, error)
    doing.end(doing.begin(Asked("compact", (), dry_run=False, by_itself=True)))
    assert doing.facts()["totals"] == {
        "retention": {
            "runs": 2, "failed": 1, "failures": 2, "ms": 200, "segments": 4, "records": 0,
            "bytes": 60,
        },
        "compact": {
            "runs": 1, "failed": 0, "failures": 0, "ms": 0, "segments": 0, "records": 0,
            "bytes": 0,
        },
    }  # fmt: skip


def test_so_many_are_remembered_the_newest_first(doing):
    for number in range(HISTORY_MAX + 5):
        doing.end(doing.begin(Asked("compact", (str(number),), dry_run=False, by_itself=False)))
    objects = [it["object"] for it in doing.facts()["history"]]
    assert objects == [str(number) for number in range(HISTORY_MAX + 4, 4, -1)]


def test_a_job_that_names_very_many_topics_shows_some(doing):
    topics = tuple(f"t{number}" for number in range(TOPICS_SHOWN + 7))
    doing.end(doing.begin(Asked("compact", topics, dry_run=False, by_itself=False)))
    assert doing.facts()["history"][0]["object"].endswith(f"t{TOPICS_SHOWN - 1} and 7 more")


def test_jobs_of_a_store_are_seen_from_their_beginning_to_their_end(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        doing = store.internals().doing
        topic = store.create_topic("t", 2, {"retention.ms": "1", "segment.bytes": "1048576"})
        store.create_topic("u", 1)
        topic.append_many([Message(b"v" * 1000, timestamp_ms=1000)] * 2000, 1)
        outcomes = store.retention("t")
        next(outcomes)
        [running] = doing.facts()["running"]
        assert (running["name"], running["object"]) == ("retention", "t-0")
        list(outcomes)
        assert doing.facts()["running"] == []
        [ended] = doing.facts()["history"]
        assert ended["outcome"].startswith("dropped ")
        assert (ended["logs"], ended["object"], ended["error"]) == (2, "t", None)
        next(iter(store.retention()))  # and no more of it: given up
        assert doing.facts()["running"] == []
        with pytest.raises(UnknownTopic):
            list(store.retention("nope"))
        assert doing.facts()["running"] == []
