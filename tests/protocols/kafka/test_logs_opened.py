"""Opening a log may take long: it is done in a worker, and nothing else waits for it."""

from collections.abc import Sequence

import pytest
import storage_kit
from door_kit import Talk, a_batch, produce_body, produced
from fetch_kit import answer, asking
from workers import LaterWork

from logstore.errors import Failed
from logstore.kafka.messages import list_offsets, offset_for_leader_epoch


class Closed(Sequence):
    """The logs of a topic, each opened at its first use, as a store has them."""

    def __init__(self, talk, logs):
        self.talk, self.logs, self.opened, self.failure = talk, logs, [], None

    def __len__(self):
        return len(self.logs)

    def __getitem__(self, number):
        assert self.talk.working, "opened in the sessions' thread"
        if self.failure is not None:
            raise self.failure
        self.opened.append(number)
        return self.logs[number]


class Workers(LaterWork, Talk):
    """Jobs are done when the test says so."""

    def __init__(self):
        LaterWork.__init__(self)
        Talk.__init__(self, work=self.take)

    def work_off(self):
        super().work_off()
        self.session.wake(self.now)


@pytest.fixture
def talk():
    talk = Workers()
    talk.topics.create("open", 1, {})
    talk.topics.put("t", Closed(talk, [talk.topics.log("t", n) for n in range(3)]))
    return talk


def logs(talk):
    return talk.topics.get("t").partitions


def test_a_batch_is_appended_when_its_log_is_open_and_later_ones_behind_it(talk):
    talk.send(0, 8, produce_body("t", a_batch(b"a")))
    talk.send(0, 8, produce_body("t", a_batch(b"b")))
    assert talk.replies() == []
    talk.work_off()
    [(_, body)] = talk.replies()
    assert produced(body, "t")[:2] == (0, 0)
    talk.feed(b"")  # the server gives it what was left
    [(_, body)] = talk.replies()
    assert produced(body, "t")[:2] == (0, 1)
    assert (logs(talk).opened, talk.jobs) == ([0], [])


def test_a_log_that_can_not_be_opened_is_told_to_who_produces(talk):
    logs(talk).failure = Failed("t-0: permission denied")
    talk.send(0, 8, produce_body("t", a_batch(b"a")))
    talk.work_off()
    [(_, body)] = talk.replies()
    code, offset, _, _, message = produced(body, "t")
    assert (code, offset, message) == (56, -1, "t-0: permission denied")


def test_another_connection_is_served_while_a_log_is_opened(talk):
    other = Talk(beside=talk)
    talk.send(1, 11, asking(11, [("t", 0, 0, 1000)]))
    talk.send(0, 8, produce_body("t", a_batch(b"a"), partition=1))
    other.send(0, 8, produce_body("open", a_batch(b"a")))
    assert len(other.replies()) == 1
    assert talk.replies() == []


def test_a_fetch_opens_all_its_logs_at_once_and_then_waits_for_news(talk):
    talk.send(1, 11, asking(11, [("t", 0, 0, 1000), ("t", 2, 0, 1000)], wait_ms=500))
    assert (talk.replies(), len(talk.jobs), talk.session.deadline) == ([], 1, None)
    talk.work_off()
    assert (talk.replies(), logs(talk).opened) == ([], [0, 2])
    assert talk.session.deadline == talk.now + 0.5
    woken = talk.woken
    logs(talk).logs[2].append(storage_kit.a_batch(b"news"))
    assert talk.woken > woken
    found = answer(talk, 11)["responses"][0]["partitions"]
    assert [bool(part["records"]) for part in found] == [False, True]


def test_a_fetch_whose_time_is_up_while_a_log_is_opened_is_answered_with_what_is_there(talk):
    logs(talk).logs[0].append(storage_kit.a_batch(b"a"))
    talk.send(1, 11, asking(11, [("t", 0, 0, 1000)], wait_ms=500, min_bytes=1 << 20))
    talk.pass_time(1)
    assert talk.replies() == []  # it could say nothing
    talk.work_off()
    [part] = answer(talk, 11)["responses"][0]["partitions"]
    assert (part["error_code"], bool(part["records"])) == (0, True)


def test_a_log_that_can_not_be_opened_is_told_to_who_fetches(talk):
    logs(talk).failure = Failed("t-0: permission denied")
    talk.send(1, 11, asking(11, [("t", 0, 0, 1000), ("open", 0, 0, 1000)], wait_ms=500))
    talk.work_off()
    found = {it["topic"]: it["partitions"][0] for it in answer(talk, 11)["responses"]}
    assert {name: part["error_code"] for name, part in found.items()} == {"t": 56, "open": 0}


@pytest.mark.parametrize("timestamp", [-1, -2])
def test_offsets_are_listed_in_a_worker_only_where_a_log_has_to_be_opened(talk, timestamp):
    def ask(name):
        asked = list_offsets.Partition(0, timestamp=timestamp)
        return talk.say(2, 5, list_offsets.Request(topics=[list_offsets.Topic(name, [asked])]))

    ask("open")
    ask("nowhere")
    assert (len(talk.replies()), talk.jobs) == (2, [])
    ask("t")
    assert (talk.replies(), len(talk.jobs)) == ([], 1)
    talk.work_off()
    assert len(talk.replies()) == 1
    ask("t")  # it is open now
    assert (len(talk.replies()), talk.jobs) == (1, [])


def test_the_end_of_an_epoch_opens_logs_in_a_worker(talk):
    asked = offset_for_leader_epoch.OffsetForLeaderPartition(1, leader_epoch=0)
    topic = offset_for_leader_epoch.OffsetForLeaderTopic("t", [asked])
    talk.say(23, 4, offset_for_leader_epoch.Request(topics=[topic]))
    assert (talk.replies(), len(talk.jobs)) == ([], 1)
    talk.work_off()
    assert (len(talk.replies()), logs(talk).opened) == (1, [1])
