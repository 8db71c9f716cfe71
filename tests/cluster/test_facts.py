"""What the records of the topic of facts come to, whoever makes them and whatever is compacted."""

import pytest
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st

from logstore.cluster import facts as module
from logstore.cluster.facts import NEW, Facts, access_key, key_of, value_of
from logstore.errors import SchemaTooNew
from logstore.kept.queues import (
    KeptBinding,
    KeptExchange,
    KeptPolicy,
    KeptQueue,
    KeptTopicRoute,
    KeptVhost,
)
from logstore.kept.users import KeptPermission, KeptUser
from logstore.records.encode import encode

HOST = KeptVhost(1, "/")


def batch(base, *records):
    return encode([(value, key, (), NOW_MS) for key, value in records]).with_base_offset(base)


def put(fact, first=NEW):
    return key_of(fact), value_of(fact, first)


def gone(fact):
    return key_of(fact), None


def read(*records, at=0):
    facts = Facts()
    return facts, [facts.apply(batch(at + n, it)).routing for n, it in enumerate(records)]


def counting(facts):
    found = facts.routing()
    rows = (
        *found.vhosts, *found.exchanges, *found.queues, *found.bindings, *found.policies,
    )  # fmt: skip
    return {repr(it) for it in rows}


# One after the other


def test_what_is_made_counts_and_what_is_forgotten_does_not():
    queue, exchange = KeptQueue(2, 1, "q"), KeptExchange(3, 1, "x", "topic")
    binding = KeptBinding(4, 3, 2, "k", {"n": 1})
    facts, news = read(put(HOST), put(queue), put(exchange), put(binding), gone(queue))
    assert [it.came for it in news] == [[HOST], [queue], [exchange], [binding], []]
    assert news[-1].gone == [binding, queue]
    assert counting(facts) == {repr(HOST), repr(exchange)}


def test_facts_of_one_batch_come_in_an_order_in_which_each_refers_to_what_is_there():
    queue, exchange = KeptQueue(2, 1, "q"), KeptExchange(3, 1, "x", "topic")
    binding = KeptBinding(4, 3, 2, "k")
    facts = Facts()
    news = facts.apply(batch(0, put(binding), put(queue), put(exchange), put(HOST))).routing
    assert news.came == [HOST, queue, exchange, binding]


def test_of_two_of_a_name_the_one_made_first_counts():
    one, other = KeptQueue(2, 1, "q"), KeptQueue(9, 1, "q", auto_delete=True)
    facts, news = read(put(HOST), put(one), put(other))
    assert (news[1].came, any(news[2])) == ([one], False)
    assert facts.counting(key_of(other)) is None
    assert facts.namesakes(key_of(other)) == [key_of(one)]
    news = facts.apply(batch(3, gone(one))).routing
    assert (news.came, news.gone) == ([other], [one])


def test_what_was_forgotten_never_counts_again():
    queue, exchange = KeptQueue(2, 1, "q"), KeptExchange(3, 1, "x", "topic")
    facts, _ = read(put(HOST), put(queue), put(exchange), gone(queue))
    stray = facts.apply(batch(4, put(queue, first=1)))
    assert (stray.strays, any(stray.routing)) == ([key_of(queue)], False)
    assert facts.has(key_of(queue)), "it is to be forgotten once more"
    facts.apply(batch(5, gone(queue)))
    assert not facts.has(key_of(queue))


@pytest.mark.parametrize("key", [b"", b"q", b"q" + bytes(9)])
def test_what_is_no_key_is_damaged_however_often_it_comes(key):
    facts = Facts()
    for at, value in enumerate([b"\1", None, b"\1"]):
        assert not facts.apply(batch(at, (key, value))).strays
    assert list(facts.damaged) == [key]


def test_of_strays_so_many_are_known_at_most(monkeypatch):
    monkeypatch.setattr(module, "FORGOTTEN_KEPT", 2)
    facts = Facts()
    for n in range(3):
        facts.apply(batch(n, gone(KeptVhost(n, "v"))))
    assert [facts.is_forgotten(key_of(KeptVhost(n, "v"))) for n in range(3)] == [False, True, True]


def test_a_fact_that_is_changed_keeps_its_place_before_others_of_its_name():
    one, other = KeptQueue(2, 1, "q"), KeptQueue(9, 1, "q")
    changed = KeptQueue(2, 1, "q", ttls=(5,))
    for first_record in ([(1, put(one))], []):  # compaction has removed it
        facts = Facts()
        for at, it in [(0, put(HOST)), *first_record, (2, put(other)), (3, put(changed, first=1))]:
            facts.apply(batch(at, it))
        assert facts.counting(key_of(changed)) == changed
        assert facts.counting(key_of(other)) is None
        assert facts.first(key_of(changed)) == 1


def test_what_refers_to_nothing_counts_once_that_is_there():
    queue, binding = KeptQueue(2, 1, "q"), KeptBinding(4, 3, 2, "k")
    facts, news = read(put(binding), put(queue), put(HOST), put(KeptExchange(3, 1, "x", "topic")))
    assert [len(it.came) for it in news] == [0, 0, 2, 2]
    assert binding in news[3].came
    assert facts.referring([key_of(HOST)])[0] == key_of(binding)


def test_a_binding_of_two_hosts_does_not_count():
    other = KeptVhost(5, "other")
    queue, exchange = KeptQueue(2, 1, "q"), KeptExchange(3, 5, "x", "topic")
    facts, _ = read(put(HOST), put(other), put(queue), put(exchange), put(KeptBinding(4, 3, 2, "")))
    assert facts.routing().bindings == []


def test_bindings_that_differ_in_the_type_of_an_argument_alone_are_two():
    queue, exchange = KeptQueue(2, 1, "q"), KeptExchange(3, 1, "x", "headers")
    two = [KeptBinding(4, 3, 2, "", {"n": 1}), KeptBinding(5, 3, 2, "", {"n": True})]
    facts, _ = read(put(HOST), put(queue), put(exchange), *map(put, two))
    assert len(facts.routing().bindings) == 2


# Damage, and what is not known


@pytest.mark.parametrize(
    "record",
    [
        (b"q" + b"\0" * 7, b"\1"),
        (b"q" + b"\0" * 8, b""),
        (b"", b"\1value"),
        (b"q" + b"\0" * 7 + b"\2", b"\1" + b"\xff" * 8 + b"\0\0\0\3abc"),
        (key_of(KeptQueue(2, 1, "q")), value_of(KeptQueue(2, 1, "q"), 70)),
        (key_of(KeptBinding(2, 1, 1, "")), b"\1" + b"\xff" * 8 + b"123"),
    ],
)
def test_a_damaged_record_damages_nothing_else(record):
    facts = Facts("there-0")
    facts.apply(batch(0, put(HOST), record, put(KeptQueue(3, 1, "q"))))
    assert len(counting(facts)) == 2
    [error] = facts.routing().damaged
    assert str(error).startswith("there-0: ")
    assert "\n" not in str(error)
    facts.apply(batch(9, (record[0], None)))
    assert facts.routing().damaged == []


def test_damage_in_the_place_of_a_fact_takes_what_refers_to_it():
    queue = KeptQueue(3, 1, "q")
    _, news = read(put(HOST), put(queue), (key_of(HOST), b"\1garbage"))
    assert news[-1].gone == [queue, HOST]


def test_what_another_logstore_has_written_is_refused_and_never_skipped():
    newer = b"\2" + value_of(HOST)[1:]
    for record in ((b"z12345678", b"x"), (key_of(HOST), newer), (b"z12345678", None)):
        facts = Facts()
        with pytest.raises(SchemaTooNew, match="update this node"):
            facts.apply(batch(0, put(HOST), record))
        assert counting(facts) == set(), "nothing of the batch was applied"


def test_topic_routes_are_not_kept_there():
    with pytest.raises(KeyError):
        key_of(KeptTopicRoute(1, 1, "t", "x", "k"))


# Users


def test_of_users_the_last_record_counts():
    al, again = KeptUser("al"), KeptUser("al", tags=("administrator",))
    allowed = KeptPermission("al", "/", ".*", "", "")
    facts = Facts()
    news = [facts.apply(batch(n, it)).access for n, it in enumerate([
        put(al), put(again), put(allowed), gone(al),
    ])]  # fmt: skip
    assert [(it.keep, it.forget) for it in news] == [
        ([al], []), ([again], []), ([allowed], []), ([], [again]),
    ]  # fmt: skip
    found = facts.access()
    assert (found.users, found.permissions, found.damaged) == ((), [allowed], [])


def test_a_damaged_user_is_named_and_not_there():
    al = KeptUser("al")
    key, value = put(al)
    facts = Facts("there-0")
    facts.apply(batch(0, (key, value)))
    news = facts.apply(batch(1, (key, value[:-1] + b"?"))).access
    assert (news.forget, news.damage) == ([al], True)
    [damaged] = facts.access().damaged
    assert access_key(damaged.key) == key
    assert "user 'al' is damaged" in damaged.why
    news = facts.apply(batch(2, (key, value))).access
    assert (news.keep, news.damage) == ([al], True)


# Whoever makes them

HOSTS = st.builds(KeptVhost, st.integers(1, 4), st.sampled_from("ab"))
FACTS = st.one_of(
    HOSTS,
    st.builds(
        KeptExchange, st.integers(10, 15), st.integers(1, 4), st.sampled_from("xy"),
        st.sampled_from(["topic", "fanout"]),
    ),
    st.builds(
        KeptQueue, st.integers(20, 25), st.integers(1, 4), st.sampled_from("qr"), st.booleans()
    ),
    st.builds(
        KeptBinding, st.integers(30, 37), st.integers(10, 15),
        st.one_of(st.integers(20, 25), st.integers(10, 15)), st.sampled_from(["", "k"]),
    ),
    st.builds(
        KeptPolicy, st.integers(40, 43), st.integers(1, 4), st.just("p"), st.sampled_from("pq"),
        st.just("all"), st.just(0), st.just({"expires": 5}),
    ),
)  # fmt: skip
SAID = st.lists(st.tuples(FACTS, st.integers(0, 9)), max_size=60)


def honest(said):
    """Without what is forgotten and made again: each number is of one fact."""
    gone_by, left = set(), []
    for fact, dice in said:
        if fact.id not in gone_by:
            left.append((fact, dice))
            if dice < 3:
                gone_by.add(fact.id)
    return left


def history(said):
    """Records with their offsets, as makers write them that know where first records stand."""
    firsts, records = {}, []
    for offset, (fact, dice) in enumerate(said):
        key = key_of(fact)
        if dice < 3:
            records.append((offset, key, None))
            firsts.pop(key, None)
        else:
            records.append((offset, key, value_of(fact, firsts.get(key, NEW))))
            firsts.setdefault(key, offset)
    return records


def naive(said):
    """What counts, worked out from all that was said."""
    last, first = {}, {}
    for offset, (fact, dice) in enumerate(said):
        if dice < 3:
            last.pop(fact.id, None)
            first.pop(fact.id, None)
        else:
            last[fact.id] = fact
            first.setdefault(fact.id, offset)

    def is_first(fact, *same):
        others = [
            it for it in last.values()
            if type(it) is type(fact) and all(getattr(it, n) == getattr(fact, n) for n in same)
        ]  # fmt: skip
        return min(others, key=lambda it: first[it.id]) is fact

    hosts = [it for it in last.values() if isinstance(it, KeptVhost) and is_first(it, "name")]
    there = {it.id for it in hosts}
    middle = [
        it for it in last.values()
        if isinstance(it, KeptExchange | KeptQueue | KeptPolicy)
        and it.vhost in there and is_first(it, "vhost", "name")
    ]  # fmt: skip
    ends = {it.id: it.vhost for it in middle}
    bindings = [
        it for it in last.values()
        if isinstance(it, KeptBinding) and it.source in ends and it.destination in ends
        and ends[it.source] == ends[it.destination]
        and is_first(it, "source", "destination", "key", "arguments")
    ]  # fmt: skip
    return {repr(it) for it in (*hosts, *middle, *bindings)}


def follow(records, data):
    """Facts that were read in batches of some records; and what came of the news."""
    facts, shown = Facts(), {}
    while records:
        count = data.draw(st.integers(1, 8))
        some, records = records[:count], records[count:]
        while some:  # of a batch, what has no gaps
            base = some[0][0]
            run = [it for n, it in enumerate(some) if it[0] == base + n]
            some = some[len(run) :]
            news = facts.apply(batch(base, *(it[1:] for it in run))).routing
            for it in news.gone:
                assert shown.pop(key_of(it)) == it
            for it in news.came:
                assert shown.setdefault(key_of(it), it) is it
            for it in news.changed:
                assert shown[key_of(it)] != it
                shown[key_of(it)] = it
    assert {repr(it) for it in shown.values()} == counting(facts)
    return facts


def compacted(records, data):
    """Some of what is superseded is gone, and of tombstones such as nothing is before them."""
    last = {key: offset for offset, key, _ in records}
    left = []
    for offset, key, value in records:
        old = offset != last[key]
        if old and data.draw(st.booleans()):
            continue
        left.append((offset, key, value))
    return [
        it for n, it in enumerate(left)
        if it[2] is not None or any(other[1] == it[1] for other in left[:n])
        or data.draw(st.booleans())
    ]  # fmt: skip


@given(said=SAID, data=st.data())
def test_any_makers_any_batches_and_any_compaction_come_to_the_same(said, data):
    said = honest(said)
    records = history(said)
    expected = naive(said)
    assert counting(follow(records, data)) == expected
    assert counting(follow(compacted(records, data), data)) == expected
