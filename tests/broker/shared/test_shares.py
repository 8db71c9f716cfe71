"""Share partitions at work: where a group begins, what it is given, and what is left of it."""

import pytest
from shares_kit import (
    ACCEPT,
    EARLY,
    GAP,
    LOCK_MS,
    REJECT,
    RELEASE,
    RENEW,
    Shop,
    append,
    mark,
    places,
)

from logstore.broker.queues.share_groups import Place
from logstore.broker.shared import shares as module
from logstore.broker.shared.rules import LATEST, Rules, duration_ms
from logstore.broker.shared.shared_partition import READ_BYTES
from logstore.broker.shares.acknowledgement import Said
from logstore.broker.shares.partition import Acquired, Limits
from logstore.broker.transactions.state import Outcome
from logstore.errors import (
    InvalidName,
    InvalidRecordState,
    InvalidSetting,
    LogFailed,
    Refused,
    StorageFull,
    TooManyPartitions,
    UnknownPartition,
    UnknownTopic,
)
from logstore.records.encode import encode


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def topic(shop):
    made = shop.topic()
    append(made, 5)
    append(made, 5)
    return made


# Where a group begins


@pytest.mark.parametrize(
    ("begins", "expected"),
    [("earliest", 0), ("latest", 10), ("by_duration:PT0S", 0), ("by_duration:P1D", 0)],
)
def test_a_group_begins_as_its_setting_says(shop, topic, begins, expected):
    shop.default = EARLY._replace(begins=begins)
    partition = shop.partition(topic)
    assert partition.start() == expected
    assert partition.lag() == 10 - expected
    assert not shop.offsets(partition, shop.member(), 0)


def test_by_duration_is_a_time_before_it_begins(shop, topic):
    shop.ms = 5000
    shop.default = EARLY._replace(begins="by_duration:PT4S")
    assert shop.partition(topic).start() == 10
    shop.default = EARLY._replace(begins="by_duration:PT5S")
    assert shop.partition(topic, group="h").start() == 0


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("P1D", 86_400_000),
        ("P1DT2H3M4.5S", 93_784_500),
        ("PT0.001S", 1),
        ("PT0.0009S", 0),
        ("PT2H", 7_200_000),
    ],
)
def test_durations(text, ms):
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "1D", "PT1", "P1H", "-PT1S", "PT1S "])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InvalidSetting):
        duration_ms(text)


def test_where_it_begins_is_decided_once_and_kept_before_anything_is_given(shop, topic):
    shop.default = EARLY._replace(begins=LATEST)
    shop.quick = False
    heard = []
    place = Place("g", topic.uuid, 0)
    shop.shares.find(place, heard.append)
    shop.turn()
    append(topic, 3)
    shop.shares.find(place, heard.append)
    shop.turn()
    assert heard == []  # the journal has it, but for the sync
    shop.sync()
    assert heard[0] is heard[1]
    assert heard[0].start() == 10
    again = Shop(shop)
    assert again.partition(again.topics[topic.uuid]).start() == 10


def test_who_is_killed_before_begins_anew(shop, topic):
    shop.default = EARLY._replace(begins=LATEST)
    shop.quick = False
    shop.shares.find(Place("g", topic.uuid, 0), lambda _: None)
    shop.turn()
    again = Shop(shop)
    append(again.topics[topic.uuid], 2)
    assert again.partition(again.topics[topic.uuid]).start() == 12


def test_a_journal_that_is_full_gives_nothing(shop, topic):
    shop.journal.full = True
    with pytest.raises(StorageFull):
        shop.partition(topic)
    shop.journal.full = False
    assert shop.partition(topic).start() == 0


def test_what_is_not_there_is_refused(shop, topic):
    with pytest.raises(UnknownPartition):
        shop.partition(topic, 1)
    with pytest.raises(InvalidName):
        shop.partition(topic, group="")
    topic.read_only = True
    with pytest.raises(UnknownTopic):
        shop.partition(topic)
    shop.delete(topic)
    with pytest.raises(UnknownTopic):
        shop.partition(topic)


def test_there_are_only_so_many(shop, monkeypatch):
    monkeypatch.setattr(module, "PARTITIONS_MAX", 2)
    topic = shop.topic(partitions=3)
    shop.partition(topic, 0)
    shop.partition(topic, 1)
    with pytest.raises(TooManyPartitions):
        shop.partition(topic, 2)
    shop.shares.forget("g", topic.uuid, lambda _: None)
    shop.turn()
    shop.partition(topic, 2)


# What is given


def test_whole_batches_come_and_say_which_of_their_records_are_meant(shop, topic):
    partition, a, b = shop.partition(topic), shop.member("a"), shop.member("b")
    taken = shop.take(partition, a, 3)
    assert [it.base_offset for it in taken.batches] == [0]
    assert taken.acquired == [Acquired(0, 2, 1)]
    taken = shop.take(partition, b, 4)
    assert [it.base_offset for it in taken.batches] == [0, 5]
    assert taken.acquired == [Acquired(3, 6, 1)]
    assert shop.offsets(partition, a, 100) == [7, 8, 9]
    assert shop.take(partition, a).batches == []


def test_new_records_come_by_whole_batches_where_that_is_asked(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    assert shop.offsets(partition, a, 2, whole=True) == [0, 1, 2, 3, 4]
    assert shop.offsets(partition, a, 6, whole=True) == [5, 6, 7, 8, 9]


def test_as_many_bytes_as_are_wanted_but_one_batch_at_least(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    size = topic.partitions[0].read(0, 1)[0].size
    assert shop.offsets(partition, a, bytes_max=size, first=False) == [0, 1, 2, 3, 4]
    assert shop.offsets(partition, a, bytes_max=size - 1, first=False) == []
    assert shop.offsets(partition, a, bytes_max=1) == [5, 6, 7, 8, 9]


def test_much_is_read_in_parts(shop):
    topic = shop.topic()
    value = bytes(READ_BYTES // 3)
    for _ in range(20):
        topic.partitions[0].append(encode([(value, None, (), 0)]))
    assert shop.offsets(shop.partition(topic), shop.member()) == list(range(20))


def test_where_all_is_empty_it_is_looked_at_some_at_a_time(shop):
    topic = shop.topic()
    for _ in range(200):
        mark(topic, Outcome.COMMIT, 7)
    append(topic)
    partition, a = shop.partition(topic), shop.member()
    found, times = [], 0
    while not found:
        taken = shop.take(partition, a)
        assert taken.more is not bool(taken.acquired)
        found = taken.acquired
        times += 1
    assert found == [Acquired(200, 200, 1)]
    assert times == 4


def test_trap_11_control_records_and_gaps_of_compaction_are_nobodys(shop):
    topic = shop.topic()
    append(topic, 2)
    mark(topic, Outcome.COMMIT, 7)
    append(topic, 2)
    its = topic.partitions[0]
    its.append(encode([(b"x", None, (), 0)] * 3))
    del its._batches[2], its._ends[2]  # offsets 3 and 4
    partition, a = shop.partition(topic), shop.member()
    taken = shop.take(partition, a)
    assert taken.acquired == [Acquired(0, 1, 1), Acquired(5, 7, 1)]
    assert [it.base_offset for it in taken.batches] == [0, 5]
    assert shop.say(partition, a, (0, 1, [ACCEPT]), (5, 6, [GAP])) == [None]
    assert (partition.start(), partition.lag()) == (7, 1)


def test_trap_11_a_gap_within_what_is_acquired_may_be_said_to_be_one(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a)
    assert shop.say(partition, a, (0, 9, [ACCEPT, GAP] * 5)) == [None]
    assert partition.start() == 10


def test_committed_records_alone_where_the_group_wants_that(shop):
    topic = shop.topic()
    append(topic, 2)
    append(topic, 2, producer_id=7, producer_epoch=0, base_sequence=0, transactional=True)
    append(topic, 1)
    shop.by_group["committed"] = EARLY._replace(committed=True)
    partition, a = shop.partition(topic, group="committed"), shop.member(group="committed")
    assert shop.offsets(partition, a) == [0, 1]
    assert not partition.available()
    mark(topic, Outcome.ABORT, 7)
    assert partition.available()
    assert shop.offsets(partition, a) == [4]
    assert shop.say(partition, a, (0, 1, [ACCEPT]), (4, 4, [ACCEPT])) == [None]
    assert (partition.start(), partition.lag()) == (6, 0)
    append(topic, 1)
    assert shop.offsets(partition, a) == [6]
    assert partition.start() == 6


def test_trap_10_two_groups_read_with_an_isolation_each(shop):
    topic = shop.topic()
    append(topic, 2, producer_id=7, producer_epoch=0, base_sequence=0, transactional=True)
    shop.by_group["c"] = EARLY._replace(committed=True)
    committed, uncommitted = shop.partition(topic, group="c"), shop.partition(topic, group="u")
    c, u = shop.member(group="c"), shop.member(group="u")
    assert (shop.offsets(committed, c), shop.offsets(uncommitted, u)) == ([], [0, 1])
    mark(topic, Outcome.ABORT, 7)
    append(topic, 1)
    assert (shop.offsets(committed, c), shop.offsets(uncommitted, u)) == ([3], [3])


def test_trap_9_isolation_changes_while_records_are_out(shop):
    """What a member has he keeps; what comes back is looked at anew."""
    topic = shop.topic()
    append(topic, 4, producer_id=7, producer_epoch=0, base_sequence=0, transactional=True)
    partition, a = shop.partition(topic), shop.member()
    assert shop.offsets(partition, a) == [0, 1, 2, 3]
    mark(topic, Outcome.ABORT, 7)
    shop.by_group["g"] = EARLY._replace(committed=True)
    shop.quick = False
    under_way = shop.say(partition, a, (1, 1, [ACCEPT]))
    shop.shares.end(a)
    b = shop.member("b")
    append(topic, 1)
    assert shop.offsets(partition, b) == [5]
    shop.sync()
    assert under_way == [None]
    assert shop.say(partition, b, (5, 5, [ACCEPT])) == []
    shop.sync()
    assert (partition.start(), partition.lag()) == (6, 0)


def test_a_log_that_loses_its_start_takes_what_nobody_has(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a, 2)
    append(topic, 5)
    topic.partitions[0].trim(10)
    assert shop.offsets(partition, a) == [10, 11, 12, 13, 14]
    assert partition.start() == 0
    assert shop.say(partition, a, (0, 1, [ACCEPT])) == [None]
    assert partition.start() == 10
    again = Shop(shop)
    assert again.partition(again.topics[topic.uuid]).start() == 10


def test_what_can_not_be_read_is_told_once_the_rest_is_given(shop, topic):
    its, read = topic.partitions[0], topic.partitions[0].read

    def damaged(at, bytes_max):
        if at >= 5:
            raise LogFailed("t-0: damaged")
        return read(at, 1)

    its.read = damaged
    partition, a = shop.partition(topic), shop.member()
    assert shop.offsets(partition, a) == [0, 1, 2, 3, 4]
    with pytest.raises(LogFailed):
        shop.take(partition, a)


def test_what_has_to_be_fetched_first_comes_later(shop, topic):
    its, read = topic.partitions[0], topic.partitions[0].read
    its.read = lambda at, bytes_max: []
    partition, a = shop.partition(topic), shop.member()
    taken = shop.take(partition, a)
    assert (taken.acquired, taken.cold) == ([], True)
    its.read = read
    assert len(shop.offsets(partition, a)) == 10


# What members say


def test_what_is_accepted_counts_once_the_journal_is_safe(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a)
    shop.quick = False
    heard = shop.say(partition, a, (0, 3, [ACCEPT, RELEASE, REJECT, GAP]))
    assert (heard, partition.start()) == ([], 0)
    assert not partition.available()
    shop.sync()
    assert (heard, partition.start()) == ([None], 1)
    assert shop.offsets(partition, shop.member("b")) == [1]


def test_what_all_of_a_turn_say_is_one_batch_and_one_sync(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a)
    batches, syncs = len(shop.journal._batches), shop.journal.soon
    heard = []
    for offset in range(10):
        partition.acknowledge(a.owner, [Said(offset, offset + 1, ACCEPT)], heard.append)
    shop.turn()
    assert heard == [None] * 10
    assert (len(shop.journal._batches), shop.journal.soon) == (batches + 1, syncs + 1)


@pytest.mark.parametrize("how", ["full", "failed"])
def test_what_the_journal_does_not_take_is_as_before(shop, topic, how):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a, 4)
    shop.quick = False
    if how == "full":
        shop.journal.full = True
    heard = shop.say(partition, a, (0, 1, [ACCEPT, RELEASE]))
    if how == "failed":
        shop.journal.fail()
        shop.turn()
    assert [type(it) for it in heard] == [StorageFull if how == "full" else LogFailed]
    assert partition.start() == 0
    assert shop.offsets(partition, shop.member("b"), 1) == [4]
    shop.pass_time(LOCK_MS)
    assert shop.offsets(partition, a) == list(range(10))
    again = Shop(shop)
    assert again.partition(again.topics[topic.uuid]).start() == 0


def test_trap_2_a_deadline_passes_while_what_is_said_is_on_its_way(shop, topic):
    """KAFKA-19476: what is done with stays so; what is not is nobody's."""
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a, 4)
    shop.quick = False
    heard = shop.say(partition, a, (0, 1, [ACCEPT, RELEASE]))
    shop.pass_time(LOCK_MS)
    assert shop.offsets(partition, shop.member("b"), 2) == [2, 3]
    shop.sync()
    assert (heard, partition.start()) == ([None], 1)
    assert shop.offsets(partition, a, 1) == [1]


def test_trap_2_after_it_has_failed_nothing_stays_without_a_deadline(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a, 4)
    shop.quick = False
    heard = shop.say(partition, a, (0, 3, [ACCEPT]))
    shop.pass_time(LOCK_MS)
    shop.journal.fail()
    shop.turn()
    assert [type(it) for it in heard] == [LogFailed]
    shop.pass_time(1)
    assert shop.offsets(partition, shop.member("b"), 4) == [0, 1, 2, 3]


def test_trap_3_nobody_acquires_what_is_put_back_meanwhile(shop, topic):
    """A session ends while what it has said fails: its records are available once, by then."""
    partition, a, b = shop.partition(topic), shop.member("a"), shop.member("b")
    shop.take(partition, a, 10)
    shop.quick = False
    heard = shop.say(partition, a, (0, 4, [ACCEPT]))
    shop.shares.end(a)
    assert shop.offsets(partition, b) == [5, 6, 7, 8, 9]
    shop.journal.fail()
    shop.turn()
    assert [type(it) for it in heard] == [LogFailed]
    assert shop.offsets(partition, b) == [0, 1, 2, 3, 4]


def test_trap_1_what_frees_records_wakes_who_waits(shop, topic):
    """KAFKA-19612."""
    shop.default = EARLY._replace(limits=Limits(locks=10, lock_ms=LOCK_MS))
    append(topic, 10)
    partition, a, b = shop.partition(topic), shop.member("a"), shop.member("b")
    woken = []
    assert len(shop.offsets(partition, a)) == 10
    stop = partition.watch(lambda: woken.append(partition.available()))
    assert not partition.available()
    assert shop.say(partition, a, (0, 3, [ACCEPT])) == [None]  # room for new ones
    assert woken == [True]
    assert shop.offsets(partition, b) == [10, 11, 12, 13]
    shop.shares.end(b)
    assert woken[1:] == [True]
    assert shop.offsets(partition, shop.member("c")) == [10, 11, 12, 13]
    shop.pass_time(LOCK_MS)
    assert woken[2:] == [True]
    stop()
    shop.say(partition, a, (0, 0, [ACCEPT]))
    assert len(woken) == 3


def test_the_journal_is_told_only_of_what_the_log_can_not_lose(shop):
    """With flush.messages above 1 records are given before they are synced."""
    topic = shop.topic()
    its = topic.partitions[0]
    its.held = True
    append(topic, 4)
    type(its).safe = property(lambda self: self.end if self.held else self.synced)
    try:
        its.read = lambda at, bytes_max: [it for it in its._batches if it.next_offset > at]
        partition, a = shop.partition(topic), shop.member()
        assert len(shop.offsets(partition, a)) == 4
        before = shop.journal.end
        heard = shop.say(partition, a, (0, 1, [ACCEPT]))
        assert (heard, shop.journal.end) == ([], before)
        its.synced = 2
        its._news()
        shop.turn()
        assert (heard, partition.start()) == ([None], 2)
    finally:
        del type(its).safe


def test_more_time_is_given_at_once_and_is_no_news_for_the_journal(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a, 4)
    before = shop.journal.end
    shop.pass_time(LOCK_MS // 2)
    assert shop.say(partition, a, (0, 1, [RENEW])) == [None]
    assert shop.journal.end == before
    shop.pass_time(LOCK_MS // 2)
    assert shop.offsets(partition, shop.member("b"), 2) == [2, 3]
    shop.pass_time(LOCK_MS // 2)
    assert shop.offsets(partition, shop.member("b"), 2) == [0, 1]


def test_what_is_refused_changes_nothing(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a, 4)
    [error] = shop.say(partition, a, (0, 1, [ACCEPT]), (4, 4, [ACCEPT]))
    assert type(error) is Refused
    [error] = shop.say(partition, shop.member("b"), (0, 1, [ACCEPT]))
    assert type(error) is InvalidRecordState
    assert partition.start() == 0


def test_records_that_were_delivered_too_often_are_done_with(shop, topic):
    shop.default = EARLY._replace(limits=Limits(deliveries=2, lock_ms=LOCK_MS))
    partition = shop.partition(topic)
    for n in range(2):
        session = shop.member(str(n))
        assert shop.offsets(partition, session, 3) == [0, 1, 2]
        shop.shares.end(session)
        shop.turn()
    assert partition.start() == 3
    again = Shop(shop)
    assert again.partition(again.topics[topic.uuid]).start() == 3


def test_a_lower_limit_of_deliveries_counts_for_those_that_are_back(shop, topic):
    partition = shop.partition(topic)
    for n in range(2):
        session = shop.member(str(n))
        shop.take(partition, session, 3)
        shop.shares.end(session)
        shop.turn()
    shop.by_group["g"] = EARLY._replace(limits=Limits(deliveries=2, lock_ms=LOCK_MS))
    assert shop.offsets(partition, shop.member(), 2) == [3, 4]
    assert partition.start() == 3


def test_trap_6_after_a_kill_records_come_again(shop, topic):
    """Sessions are lost: whoever goes on is told so, and what was not settled is available."""
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a)
    shop.say(partition, a, (0, 2, [ACCEPT]), (3, 3, [RELEASE]))
    again = Shop(shop)
    assert len(again.shares.sessions) == 0
    partition = again.partition(again.topics[topic.uuid])
    taken = again.take(partition, again.member())
    assert taken.acquired == [Acquired(3, 3, 2), Acquired(4, 9, 1)]


def test_a_session_that_ends_releases_everywhere_some_a_turn(shop):
    topic = shop.topic(partitions=3 * module.ENDED_AT_ONCE)
    a, partitions = shop.member(), []
    for number in range(len(topic.partitions)):
        append(topic, 1, number)
        partitions.append(shop.partition(topic, number))
        shop.take(partitions[-1], a)
    shop.shares.left("a")
    assert sum(it.available() for it in partitions) == module.ENDED_AT_ONCE
    shop.turn()
    assert all(it.available() for it in partitions)
    assert len(shop.shares.sessions) == 0


# What is deleted, or begins again


def test_trap_8_a_topic_made_anew_under_its_name_is_new(shop, topic):
    """What members had of the old one means nothing; so at the next start."""
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a)
    shop.say(partition, a, (0, 4, [ACCEPT]))
    shop.delete(topic)
    assert shop.kept() == {}
    assert not shop.take(partition, a).acquired
    assert not partition.available()
    [error] = shop.say(partition, a, (5, 5, [ACCEPT]))
    assert type(error) is InvalidRecordState
    made = shop.topic(topic.name)
    append(made, 2)
    assert shop.offsets(shop.partition(made), a) == [0, 1]


def test_a_topic_that_goes_while_it_is_opened(shop, topic):
    shop.slow = True
    heard = []
    shop.shares.find(Place("g", topic.uuid, 0), heard.append)
    shop.delete(topic)
    assert [type(it) for it in heard] == [UnknownTopic]
    shop.do_jobs()
    shop.turn()
    assert (len(heard), shop.kept()) == (1, {})


def test_topics_that_went_while_nobody_was_there_are_forgotten(shop, topic):
    shop.partition(topic)
    del shop.topics[topic.uuid]
    assert shop.kept()
    assert Shop(shop).kept() == {}


def test_a_group_that_is_deleted_begins_anew(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a)
    shop.say(partition, a, (0, 4, [ACCEPT]))
    heard, other = [], shop.partition(topic, group="other")
    shop.shares.group_gone("g", heard.append)
    shop.shares.group_gone("none", heard.append)
    shop.turn()
    assert heard == [None, None]
    assert list(shop.kept()) == [other.place]
    assert shop.partition(topic).start() == 0
    assert shop.partition(topic, group="other") is other


@pytest.mark.parametrize("start", [0, 3, 10])
def test_a_group_may_begin_elsewhere(shop, topic, start):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a, 7)
    shop.say(partition, a, (0, 4, [ACCEPT]))
    heard = []
    shop.shares.begin_at(partition.place, start, heard.append)
    shop.shares.find(partition.place, heard.append)
    assert heard == []
    [error] = shop.say(partition, a, (5, 5, [ACCEPT]))
    assert type(error) is InvalidRecordState
    assert heard[0] is None
    assert heard[1].start() == start
    assert shop.offsets(heard[1], a) == list(range(start, 10))
    again = Shop(shop)
    assert again.partition(again.topics[topic.uuid]).start() == start


def test_where_the_journal_does_not_take_that_all_is_as_before(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a, 7)
    shop.say(partition, a, (0, 4, [ACCEPT]))
    shop.journal.full = True
    heard = []
    shop.shares.begin_at(partition.place, 9, heard.append)
    shop.shares.find(partition.place, heard.append)
    shop.turn()
    assert heard[0] is partition
    assert type(heard[1]) is StorageFull
    shop.shares.forget("g", topic.uuid, heard.append)
    shop.turn()
    assert type(heard[2]) is StorageFull
    shop.journal.full = False
    assert shop.say(partition, a, (5, 5, [ACCEPT])) == [None]
    assert shop.partition(topic) is partition
    assert partition.start() == 6


def test_who_moves_a_group_while_another_does_comes_after_him(shop, topic):
    partition = shop.partition(topic)
    shop.quick = False
    heard = []
    for start in (3, 7):
        shop.shares.begin_at(partition.place, start, heard.append)
    shop.shares.group_gone("g", heard.append)
    shop.turn()
    assert heard == []
    for _ in range(6):
        shop.sync()
    assert heard == [None] * 3
    assert shop.kept() == {}
    shop.quick = True
    assert shop.partition(topic).start() == 0


def test_nobody_who_moves_a_group_overtakes_another(shop, topic):
    """Who has waited goes on in a later turn than the one before him has ended in."""
    partition, heard = shop.partition(topic), []
    shop.quick = False

    def move(start):
        shop.shares.begin_at(partition.place, start, lambda _: heard.append(start))

    move(3)
    move(7)
    while heard != [3]:
        shop.calls.popleft()() if shop.calls else shop.telling.end_turn()
        shop.journal.sync()
    move(1)
    shop.shares.find(partition.place, lambda it: heard.append(it.start()))
    shop.quick = True
    shop.turn()
    shop.sync()
    assert heard == [3, 7, 1, 1]
    assert shop.shares.standing(partition.place, 10) == (1, 9)


def test_a_group_may_go_while_it_is_moved_in_many_topics(shop, topic):
    other = shop.topic("other", partitions=3)
    for number in range(3):
        shop.partition(other, number)
    partition, heard = shop.partition(topic), []
    shop.quick = False
    shop.shares.forget("g", other.uuid, lambda _: heard.append("other"))
    shop.shares.begin_at(partition.place, 3, lambda _: heard.append("t"))
    shop.shares.group_gone("g", lambda _: heard.append("g"))
    shop.shares.find(partition.place, lambda it: heard.append(it.start()))
    shop.quick = True
    shop.turn()
    shop.sync()
    assert heard == ["other", "t", "g", 0]
    assert places(shop.shares) == [partition.place]


def test_a_topic_that_goes_while_a_group_is_moved_in_it(shop, topic):
    partition = shop.partition(topic)
    shop.quick = False
    heard = []
    for start in (3, 7):
        shop.shares.begin_at(partition.place, start, heard.append)
    shop.delete(topic)
    shop.sync()
    assert [type(it) for it in heard] == [type(None), UnknownTopic]
    assert shop.kept() == {}
    assert places(shop.shares) == []


def test_a_place_that_is_not_there_is_none_to_begin_at(shop, topic):
    heard = []
    shop.shares.begin_at(Place("g", topic.uuid, 5), 3, heard.append)
    assert [type(it) for it in heard] == [UnknownPartition]


def test_what_is_known_of_a_group_without_opening_anything(shop, topic):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a)
    shop.say(partition, a, (0, 2, [ACCEPT]), (5, 5, [ACCEPT]))
    assert shop.shares.standing(partition.place, 10) == (3, 6)
    again = Shop(shop)
    assert places(again.shares) == [partition.place]
    assert again.shares.has("g")
    assert not again.shares.has("h")
    assert again.shares.standing(partition.place, 12) == (3, 8)
    assert again.shares.standing(partition.place, None) == (3, -1)
    assert again.shares.standing(Place("h", topic.uuid, 0), 12) is None
    assert again.shares.at_hand(partition.place) is None


def test_rules_have_kafkas_defaults():
    assert Rules() == Rules(Limits(5, 2000, 30_000, renews=True), committed=False, begins="latest")
