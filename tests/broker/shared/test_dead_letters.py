"""Dead letters of share groups: what they carry, when there is none, and that each comes once."""

import logging
from itertools import count

import pytest
from clock import NOW_MS
from shares_kit import ACCEPT, EARLY, GAP, LOCK_MS, REJECT, RELEASE, Shop, append

from logstore.broker.queues.share_groups import Place
from logstore.broker.shared.dead_letters import RETRY_MS, STEP_MAX, STEPS_MAX
from logstore.broker.shared.letter import REJECTED, TOO_OFTEN
from logstore.broker.shared.rules import rules_of
from logstore.broker.shares.acknowledgement import Said
from logstore.broker.shares.partition import Limits
from logstore.config import Config
from logstore.errors import StorageFull
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.settings import GroupSettings

DEAD = "dlq.g"
LIMIT = 2
PERMITS = {"errors.deadletterqueue.group.enable": "true"}


def rules(**more):
    limits = Limits(deliveries=LIMIT, lock_ms=LOCK_MS, letters=True)
    return EARLY._replace(**{"limits": limits, "dead_letters": DEAD, **more})


@pytest.fixture
def shop():
    return Shop(rules=rules())


@pytest.fixture
def topic(shop):
    made = shop.topic()
    append(made, 5)
    append(made, 5)
    return made


@pytest.fixture
def dead(shop):
    return dead_topic(shop)


def dead_topic(shop, name=DEAD, partitions=1, **settings):
    given = {name.replace("_", "."): value for name, value in settings.items()}
    return shop.topic(name, partitions, settings=Config().topic({**PERMITS, **given}))


def letters(shop, name=DEAD, partition=0):
    """Records of the topic, all of which is synced by now."""
    its = shop.by_name(name).partitions[partition]
    its.sync()
    shop.turn()
    batches = its.read(its.start, 1 << 30)
    return [record for batch in batches for record in decode(batch)]


def about(record):
    """The value of each of our headers, by the last part of its name."""
    return {
        name.removeprefix("__dlq.errors."): value.decode()
        for name, value in record.headers
        if name.startswith("__dlq.errors.")
    }


def offsets(shop, *args):
    return [int(about(it)["offset"]) for it in letters(shop, *args)]


def rejected(shop, topic, *what, group="g"):
    """A member has all of the partition, and says this of some."""
    partition, a = shop.partition(topic, group=group), shop.member(group=group)
    shop.take(partition, a)
    assert shop.say(partition, a, *what) == [None]
    return partition, a


# What they carry


def test_what_is_rejected_has_a_letter_that_says_where_it_is_and_why(shop, topic, dead):
    partition, _ = rejected(shop, topic, (0, 4, [ACCEPT, REJECT, GAP, RELEASE, REJECT]))
    [first, second] = letters(shop)
    assert (first.key, first.value, first.timestamp_ms) == (None, None, NOW_MS)
    assert first.headers == (
        ("__dlq.errors.topic", b"t"),
        ("__dlq.errors.partition", b"0"),
        ("__dlq.errors.offset", b"1"),
        ("__dlq.errors.group", b"g"),
        ("__dlq.errors.delivery.count", b"1"),
        ("__dlq.errors.message", REJECTED.encode()),
    )
    assert about(second)["offset"] == "4"
    assert partition.start() == 3
    assert (shop.shares.counts.dead_letters, shop.shares.counts.dropped) == (2, 0)


@pytest.mark.parametrize("how", ["released", "overdue", "left"])
def test_what_was_delivered_too_often_has_one(shop, topic, dead, how):
    partition = shop.partition(topic)
    for _ in range(LIMIT):
        a = shop.member()
        assert shop.offsets(partition, a, 1) == [0]
        if how == "released":
            assert shop.say(partition, a, (0, 0, [RELEASE])) == [None]
        elif how == "overdue":
            shop.pass_time(LOCK_MS)
        else:
            shop.shares.end(a)
            shop.turn()
    [letter] = letters(shop)
    assert about(letter) == {
        "topic": "t", "partition": "0", "offset": "0", "group": "g", "delivery.count": str(LIMIT),
        "message": TOO_OFTEN,
    }  # fmt: skip
    assert partition.start() == 1
    assert shop.offsets(partition, shop.member()) == list(range(1, 10))


def test_the_delivery_count_of_what_is_rejected_is_that_of_its_deliveries(shop, topic, dead):
    shop.default = rules(limits=Limits(deliveries=5, lock_ms=LOCK_MS, letters=True))
    partition, a = rejected(shop, topic, (0, 9, [RELEASE]))
    shop.take(partition, a)
    shop.say(partition, a, (0, 0, [REJECT]))
    [letter] = letters(shop)
    assert about(letter)["delivery.count"] == "2"


def test_with_the_setting_it_has_all_that_the_record_has(shop, dead):
    shop.default = rules(copies=True)
    topic = shop.topic()
    rows = [(b"v%d" % n, b"k%d" % n, (("h", b"x"),), NOW_MS - 5) for n in range(4)]
    topic.partitions[0].append(encode(rows))
    rejected(shop, topic, (0, 3, [REJECT, ACCEPT, REJECT, ACCEPT]))
    found = letters(shop)
    assert [(it.key, it.value) for it in found] == [(b"k0", b"v0"), (b"k2", b"v2")]
    assert all(it.headers[0] == ("h", b"x") for it in found)
    assert [it.timestamp_ms for it in found] == [NOW_MS] * 2
    assert offsets(shop) == [0, 2]


def test_what_is_gone_from_its_log_has_a_letter_without_it(shop, topic, dead):
    shop.default = rules(copies=True)
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a)
    topic.partitions[0].trim(5)
    assert shop.say(partition, a, (4, 5, [REJECT])) == [None]
    assert [(about(it)["offset"], it.value) for it in letters(shop)] == [("4", None), ("5", b"0")]


def test_they_go_to_the_partition_of_the_same_number_as_far_as_there_are_some(shop):
    topic = shop.topic(partitions=3)
    dead_topic(shop, partitions=2)
    for number in range(3):
        append(topic, 1, number)
        partition, a = shop.partition(topic, number), shop.member()
        shop.take(partition, a)
        shop.say(partition, a, (0, 0, [REJECT]))
    found = [[about(it)["partition"] for it in letters(shop, DEAD, n)] for n in range(2)]
    assert found == [["0", "2"], ["1"]]


def test_the_settings_of_a_group_say_it():
    said = rules_of(
        GroupSettings(
            errors_deadletterqueue_topic_name=DEAD, errors_deadletterqueue_copy_record_enable=True
        )
    )
    assert (said.dead_letters, said.copies, said.limits.letters) == (DEAD, True, True)
    assert not rules_of(GroupSettings()).limits.letters


# What has none


def no_topic(shop):
    return "does not exist"


def not_permitted(shop):
    shop.topic(DEAD)
    return "errors.deadletterqueue.group.enable"


def other_prefix(shop):
    dead_topic(shop)
    shop.prefix = "dead."
    return "lacks the prefix 'dead.'"


def queues_own(shop):
    dead_topic(shop).read_only = True
    return "the server's own"


def servers_own(shop):
    dead_topic(shop, "__g")
    shop.default = rules(dead_letters="__g")
    return "the server's own"


def keys_only(shop):
    dead_topic(shop, cleanup_policy="compact")
    return "a record needs a key"


def too_small(shop):
    dead_topic(shop, max_message_bytes="100")
    return "over max.message.bytes"


def itself(shop):
    shop.by_name("t").change(Config().topic(PERMITS))
    shop.default = rules(dead_letters="t")
    return "is the topic that they come from"


@pytest.mark.parametrize(
    "lacking",
    [
        no_topic, not_permitted, other_prefix, queues_own, servers_own, keys_only, too_small,
        itself,
    ],
)  # fmt: skip
def test_where_no_letter_can_go_the_record_is_done_with_and_it_is_said_once(
    shop, topic, lacking, caplog
):
    why = lacking(shop)
    with caplog.at_level(logging.WARNING):
        partition, a = rejected(shop, topic, (0, 0, [REJECT]))
        shop.say(partition, a, (1, 1, [REJECT]))
    assert partition.start() == 2
    assert (shop.shares.counts.dead_letters, shop.shares.counts.dropped) == (0, 2)
    [said] = caplog.messages
    assert said.startswith("share group 'g': records that died have no dead letter: ")
    assert why in said
    again = Shop(shop)
    assert again.partition(again.topics[topic.uuid]).start() == 2


def test_a_record_that_is_too_large_for_the_topic_has_a_letter_without_it(shop, topic):
    shop.default = rules(copies=True)
    dead_topic(shop, max_message_bytes="400")
    topic.partitions[0].append(encode([(b"x" * 500, None, (), NOW_MS)]))
    rejected(shop, topic, (9, 10, [REJECT]))
    assert [(about(it)["offset"], it.value) for it in letters(shop)] == [("9", b"4"), ("10", None)]
    assert shop.shares.counts.dropped == 0


@pytest.mark.parametrize("copies", [False, True])
def test_a_letter_does_not_come_to_a_topic_that_it_has_been_in(shop, topic, copies, caplog):
    """Of three groups each reads the topic of the one before; the last names the first one's."""
    names = [DEAD, "dlq.h", "dlq.i"]
    for name in names:
        dead_topic(shop, name)
    for group, name in zip("ghij", [*names, DEAD], strict=True):
        shop.by_group[group] = rules(dead_letters=name, copies=copies)
    rejected(shop, topic, (3, 3, [REJECT]), group="g")
    for group, name in zip("hij", names, strict=True):
        assert len(letters(shop, name)) == 1
        rejected(shop, shop.by_name(name), (0, 0, [REJECT]), group=group)
    assert [len(letters(shop, name)) for name in names] == [1, 1, 1]
    path = [v for name, v in letters(shop, "dlq.i")[0].headers if name == "__dlq.errors.topic"]
    assert path == [b"t", b"dlq.g", b"dlq.h"]
    assert shop.shares.counts.dropped == 1
    assert "it would go round: a record has died in topic 'dlq.g' before" in caplog.text


def test_when_the_setting_is_withdrawn_what_is_left_is_done_with(shop, topic, dead):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a)
    shop.slow = True
    assert shop.say(partition, a, (0, 0, [REJECT])) == [None]
    again = Shop(shop)
    again.default = EARLY
    partition = again.partition(again.topics[topic.uuid])
    assert again.offsets(partition, again.member()) == list(range(1, 10))
    assert (partition.start(), letters(again)) == (1, [])
    assert again.shares.counts.dropped == 0


def test_without_letters_all_is_as_before(shop, topic, dead):
    shop.default = EARLY
    partition, _ = rejected(shop, topic, (0, 0, [REJECT]))
    assert (partition.start(), letters(shop)) == (1, [])
    assert (shop.shares.counts.dead_letters, shop.shares.counts.dropped) == (0, 0)


# Exactly once


def step(shop):
    """One of the smallest pieces of what there is to do; whether there was any."""
    if shop.jobs:
        job, then = shop.jobs.popleft()
        then(job())
    elif shop.calls:
        shop.calls.popleft()()
    elif shop.telling._records:
        shop.telling.end_turn()
    elif shop.journal.synced < shop.journal.end:
        shop.journal.sync()
    elif shop.holding.has_begun:
        shop._end_holding()
    else:
        for topic in shop.topics.values():
            its = topic.partitions[0]
            if its.synced < its.end:
                its.sync()
                return True
        return False
    return True


def died(shop, how, steps):
    """A record dies, and so many steps follow.

    Whether that was acknowledged, and whether there was nothing more to do.
    """
    [topic] = [it for it in shop.topics.values() if it.name == "t"]
    partition, a, heard = shop.partition(topic), shop.member(), []
    shop.take(partition, a)
    if how == "rejected":
        partition.acknowledge(a.owner, [Said(2, 3, REJECT)], heard.append)
    else:
        shop.say(partition, a, (0, 1, [ACCEPT]), (3, 9, [ACCEPT]))
        shop.pass_time(LOCK_MS)
        shop.take(partition, shop.member("b"), 1)
        shop.ms += LOCK_MS
        shop.shares.look_at_times()
    over = not all(step(shop) for _ in range(steps))
    return heard == [None], over


@pytest.mark.parametrize("lost", [False, True], ids=["kill", "power"])
@pytest.mark.parametrize("how", ["rejected", "too often"])
@pytest.mark.parametrize("used", [False, True], ids=["unopened", "opened"])
def test_it_is_dead_or_has_its_letter_once_wherever_the_end_comes(how, used, lost):
    before, over = 0, False
    for steps in count():
        shop = Shop(rules=rules())
        append(shop.topic(), 10)
        its = dead_topic(shop)
        if used:
            its.partition(0)
        its.partitions[0].held = True
        acknowledged, over = died(shop, how, steps)
        written = its.partitions[0].end
        before += not written
        again = Shop(shop, lost=lost)
        partition = again.partition(again.by_name("t"))
        given = again.offsets(partition, again.member())
        for _ in range(2):
            found = offsets(again)
            assert found in ([], [2]), found
            if acknowledged or (written and not lost):
                assert found == [2], steps
            assert not (found and 2 in given), steps
            if how == "rejected":
                assert found or 2 in given, steps
            again = Shop(again, lost=lost)
            again.partition(again.by_name("t"))
            again.turn()
        if over:
            break
    assert written == 1
    assert before > 3, "it was looked at before, too"


def test_what_is_left_goes_as_soon_as_a_member_comes_to_the_partition(shop, topic, dead):
    partition, a = shop.partition(topic), shop.member()
    shop.take(partition, a)
    shop.slow = True
    assert shop.say(partition, a, (0, 0, [REJECT])) == [None]
    again = Shop(shop)
    assert letters(again) == []
    again.partition(again.topics[topic.uuid])
    assert offsets(again) == [0]


def test_a_journal_without_room_has_it_tried_again(shop, topic, dead, caplog):
    partition, a = rejected(shop, topic, (1, 9, [ACCEPT]))
    append(topic, 1)
    shop.slow = True
    assert shop.say(partition, a, (0, 0, [REJECT])) == [None]
    shop.journal.full = True
    shop.slow = False
    shop.turn()
    assert (letters(shop), partition.start(), partition.dying) == ([], 0, 1)
    assert "it is tried again" in caplog.text
    shop.journal.full = False
    assert letters(shop) == []
    shop.pass_time(RETRY_MS)
    assert (offsets(shop), partition.start(), partition.dying) == ([0], 10, 0)


def test_a_journal_that_has_failed_is_not_told_again(shop, topic, dead):
    partition, a = rejected(shop, topic, (1, 9, [ACCEPT]))
    shop.slow = True
    assert shop.say(partition, a, (0, 0, [REJECT])) == [None]
    shop.slow, shop.quick = False, False
    shop.turn()
    shop.journal.fail()
    shop.turn()
    end = shop.journal.end
    shop.journal.failed = False
    shop.pass_time(10 * RETRY_MS)
    assert (shop.journal.end, partition.dying, letters(shop)) == (end, 1, [])


def test_a_partition_that_has_failed_holds_up_no_other(shop, topic):
    its = dead_topic(shop, partitions=2).partitions
    other = shop.topic("u", 2)
    append(other, 1, 1)
    its[0].failed = True
    partition, _ = rejected(shop, topic, (0, 9, [REJECT]))
    another, a = shop.partition(other, 1), shop.member()
    shop.take(another, a)
    shop.say(another, a, (0, 0, [REJECT]))
    shop.pass_time(RETRY_MS)
    assert (partition.dying, partition.start()) == (10, 0)
    assert offsets(shop, DEAD, 1) == [0]
    its[0].failed = False
    again = Shop(shop)
    again.partition(again.topics[topic.uuid])
    assert offsets(again) == list(range(10))


def test_its_topic_is_deleted_on_the_way(shop, topic, dead):
    partition, a = rejected(shop, topic, (1, 9, [ACCEPT]))
    shop.quick = False
    assert shop.say(partition, a, (0, 0, [REJECT])) == []
    shop.slow = True
    shop.sync()
    del shop.topics[dead.uuid]
    shop.slow, shop.quick = False, True
    shop.turn()
    shop.pass_time(RETRY_MS)
    assert (partition.start(), shop.shares.counts.dropped) == (10, 1)


@pytest.mark.parametrize("what", ["group", "offsets", "moved", "topic"])
def test_who_begins_again_does_so_once_the_journal_has_all_letters(shop, topic, dead, what):
    """Else what is settled by a letter would be settled in the new beginning."""
    partition, _ = rejected(shop, topic, (1, 9, [ACCEPT]))
    shop.pass_time(LOCK_MS)
    a, heard = shop.member("b"), []
    shop.take(partition, a)
    shop.slow = True
    shop.say(partition, a, (0, 0, [REJECT]))
    shop.do_jobs()  # they are written, and a held transaction is begun
    if what == "group":
        shop.shares.group_gone("g", heard.append)
    elif what == "offsets":
        shop.shares.forget("g", topic.uuid, heard.append)
    elif what == "moved":
        shop.shares.begin_at(Place("g", topic.uuid, 0), 0, heard.append)
    else:
        shop.delete(topic)
        heard.append(None)
    shop.slow = False
    shop.turn()
    assert (heard, offsets(shop)) == ([None], [0])
    begun = [Place("g", topic.uuid, 0)] if what == "moved" else []
    assert list(shop.kept()) == begun
    if what == "moved":
        assert shop.offsets(shop.partition(topic), shop.member("c")) == list(range(10))


def test_what_could_not_begin_again_goes_on(shop, topic, dead):
    partition, _ = rejected(shop, topic, (1, 9, [ACCEPT]))
    shop.pass_time(LOCK_MS)
    a, heard = shop.member("b"), []
    shop.take(partition, a)
    shop.slow = True
    shop.say(partition, a, (0, 0, [REJECT]))
    shop.journal.full = True
    shop.shares.group_gone("g", heard.append)
    shop.slow = False
    shop.turn()
    assert [type(it) for it in heard] == [StorageFull]
    shop.journal.full = False
    shop.pass_time(RETRY_MS)
    assert (offsets(shop), partition.start()) == ([0], 10)


# Many at once


def test_many_go_some_at_a_time_of_few_partitions(shop):
    shop.default = rules(limits=Limits(deliveries=LIMIT, locks=4000, lock_ms=LOCK_MS, letters=True))
    topic = shop.topic(partitions=STEPS_MAX + 3)
    dead_topic(shop).partition(0)
    many = 2 * STEP_MAX + 1
    a, parts = shop.member(), range(len(topic.partitions))
    for number in parts:
        append(topic, many, number)
        assert len(shop.offsets(shop.partition(topic, number), a, many)) == many
    shop.slow = True
    heard = []
    for number in parts:
        heard += shop.say(shop.partition(topic, number), a, (0, many - 1, [REJECT]))
    assert heard == [None] * len(parts)
    most = 0
    while shop.jobs:
        assert len(shop.jobs) <= STEPS_MAX
        job, then = shop.jobs.popleft()
        written = job()
        most = max(most, written.upto)
        then(written)
        shop.turn()
    assert most == STEP_MAX
    found = [(about(it)["partition"], int(about(it)["offset"])) for it in letters(shop)]
    assert sorted(found) == sorted((str(n), o) for n in parts for o in range(many))
    for number in parts:
        assert [o for n, o in found if n == str(number)] == list(range(many))


def test_of_what_is_copied_a_step_has_so_many_bytes(shop, dead, monkeypatch):
    monkeypatch.setattr("logstore.broker.shared.dead_letters.STEP_BYTES", 100)
    shop.default = rules(copies=True)
    topic = shop.topic()
    topic.partitions[0].append(encode([(b"x" * 60, None, (), NOW_MS)] * 5))
    journal = shop.journal.end
    rejected(shop, topic, (0, 4, [REJECT]))
    assert offsets(shop) == [0, 1, 2, 3, 4]
    its = shop.by_name(DEAD).partitions[0]
    assert [it.record_count for it in its.read(0, 1 << 20)] == [2, 2, 1]
    assert shop.journal.end > journal
