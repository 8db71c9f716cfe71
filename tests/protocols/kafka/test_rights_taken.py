"""Rights that are taken away are gone at once: from what waits, and from who is there."""

import pytest
from door_kit import Talk, a_batch
from fetch_kit import MIB, answer, asking
from group_kit import a_join, joined, settled

from logstore.access.access import ADMINISTRATOR, Access, Unkept, open_access
from logstore.access.identity import Identity
from logstore.access.resources import GROUP, READ, TOPIC
from logstore.kafka.messages import join_group
from logstore.kept.users import KeptAccess, KeptRule, KeptUser
from logstore.records.batch import Batch

VERSION, MINUTE_MS = 11, 60_000
NOT_ALLOWED, NO_GROUP = 29, 30
ROOT, AL, BO = KeptUser("root", tags=(ADMINISTRATOR,)), KeptUser("al"), KeptUser("bo")
READS = {name: KeptRule("al", READ, TOPIC, name) for name in ("t", "u")}


def an_access():
    return Access(Unkept(KeptAccess((ROOT, AL, BO), [*READS.values()])))


def a_talk(**facts):
    talk = Talk(**facts)
    for name in ("t", "u"):
        talk.topics.create(name, 1, {})
    log_in(talk, "al")
    return talk


def log_in(talk, user):
    talk.access = talk.door.access
    talk.session._login = None
    talk.session._client.become(Identity(user, "192.0.2.1", "PLAIN", "kafka"))


@pytest.fixture
def talk():
    return a_talk(access=an_access())


def fetch(talk, *names, wait_ms=MINUTE_MS, session=(0, -1)):
    places = [(name, 0, 0, MIB) for name in names]
    talk.send(1, VERSION, asking(VERSION, places, wait_ms=wait_ms, session=session))


def told(talk):
    """By topic: the code, and whether records came."""
    found = answer(talk, VERSION)
    return {
        topic["topic"]: (it["error_code"], bool(it["records"]))
        for topic in found["responses"]
        for it in topic["partitions"]
    }


def fill(talk, name):
    talk.topics.get(name).partitions[0].append(Batch(a_batch(b"secret")))


def test_a_fetch_that_waits_is_answered_when_its_right_is_taken(talk):
    fetch(talk, "t", "u")
    assert talk.replies() == []
    woken = talk.woken
    talk.access.change(forget=[READS["t"]])
    assert talk.woken > woken
    assert told(talk) == {"t": (NOT_ALLOWED, False), "u": (0, False)}


def test_nothing_that_comes_after_a_right_was_taken_is_given(talk):
    fetch(talk, "t")
    talk.access.change(forget=[READS["t"]])
    fill(talk, "t")
    assert told(talk) == {"t": (NOT_ALLOWED, False)}


def test_a_fetch_waits_on_through_changes_that_do_not_concern_it(talk):
    fetch(talk, "t")
    talk.access.change([KeptRule("bo", READ, TOPIC, "t")])
    talk.access.change(forget=[READS["u"]])
    assert talk.replies() == []
    fill(talk, "t")
    talk.session.wake(talk.now)
    assert told(talk) == {"t": (0, True)}


def test_a_rule_that_denies_ends_a_fetch_that_waits(talk):
    fetch(talk, "t")
    talk.access.change([KeptRule("*", READ, TOPIC, "t", allow=False)])
    assert told(talk) == {"t": (NOT_ALLOWED, False)}


def test_a_fetch_session_loses_a_topic_and_has_it_again(talk):
    fetch(talk, "t", "u", wait_ms=0, session=(0, 0))
    session = answer(talk, VERSION)["session_id"]
    fill(talk, "t")
    talk.access.change(forget=[READS["t"]])
    fetch(talk, wait_ms=0, session=(session, 1))
    assert told(talk) == {"t": (NOT_ALLOWED, False)}
    talk.access.change([READS["t"]])
    fetch(talk, wait_ms=0, session=(session, 2))
    assert told(talk) == {"t": (0, True)}


class Extent:
    """As of a file, which must be let go."""

    following = 1

    def __init__(self):
        self.released = 0

    def __len__(self):
        return 100

    def release(self):
        self.released += 1


def test_what_a_worker_has_read_meanwhile_is_not_sent(monkeypatch):
    monkeypatch.setattr("logstore.protocols.kafka.fetch.READ_AT_ONCE", 1)
    jobs, extent = [], Extent()
    talk = a_talk(access=an_access(), work=lambda job, done: jobs.append((job, done)))
    for name in ("t", "u"):
        fill(talk, name)
    log = talk.topics.get("t").partitions[0]
    monkeypatch.setattr(log, "extent", lambda at, bytes_max: extent)
    fetch(talk, "t", "u")
    assert talk.replies() == []
    [(job, done)] = jobs
    read = job()
    talk.access.change(forget=[READS["t"]])
    assert talk.replies() == []
    assert len(jobs) == 1  # two workers would be in each other's way
    done(read)
    assert talk.replies() == []
    assert extent.released == 1
    job, done = jobs[1]
    done(job())
    assert told(talk) == {"t": (NOT_ALLOWED, False), "u": (0, True)}
    assert extent.released == 1


def test_connections_of_a_user_that_is_removed_end(talk):
    other = Talk(beside=talk)
    log_in(other, "bo")
    fetch(talk, "t")
    talk.access.change(forget=[AL])
    assert talk.session.closed == "user 'al' was removed"
    assert talk.cuts == [talk.session.closed]  # also where it does not take what it was told
    assert talk.feed(talk.frame(18, 0, b"")) == 0
    assert other.session.closed is None


def test_connections_that_nobody_logged_in_to_end_with_the_first_user():
    access = open_access()
    talk = Talk(access=access)
    talk.topics.create("t", 1, {})
    fetch(talk, "t")
    access.change([ROOT])
    assert "every client must log in" in talk.session.closed
    assert talk.woken


def test_a_connection_that_is_about_to_log_in_stays_when_rules_change():
    access = an_access()
    talk = Talk(access=access)
    access.change([KeptRule("bo", READ, TOPIC, "t")])
    assert talk.session.closed is None


def test_a_connection_that_is_gone_is_not_told_any_more(talk):
    talk.session.close()
    talk.access.change(forget=[AL])
    assert talk.session.closed is None
    assert not talk.door.clients


def test_a_join_that_waits_for_other_members_is_refused_when_its_right_is_taken():
    right = KeptRule("al", READ, GROUP, "g")
    access = Access(Unkept(KeptAccess((ROOT, AL, BO), [right, *READS.values()])))
    talk = a_talk(access=access)
    member = settled(talk)
    other = Talk(beside=talk)
    log_in(other, "al")
    joined(talk, member=member)  # again: the generation is old as soon as the other one comes
    asked = other.ask(11, 9, a_join(), join_group.Response)
    other.say(11, 9, a_join(member=asked.member_id))
    assert other.replies() == []
    access.change(forget=[READS["t"]])
    assert other.replies() == []
    woken = other.woken
    access.change(forget=[right])
    assert other.woken > woken
    [(_, body)] = other.replies()
    assert other.read(11, 9, join_group.Response, body).error_code == NO_GROUP
    assert other.session.closed is None
