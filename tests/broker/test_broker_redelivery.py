"""A consumer that stops, fails or dies anywhere, and one that comes after it."""

from broker_parts import Members, memory_topic, taken
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker import reading as module
from logstore.broker.consumer import Consumer
from logstore.records.record import Message

PARTITIONS = 2

# How a session reads (one by one, or so many a poll), how many reads it does, and how it ends.
reads = st.integers(1, 4) | st.just("one by one")
sessions = st.lists(
    st.tuples(reads, st.integers(0, 8), st.sampled_from(["clean", "fails", "dies"])), max_size=12
)
# Appended before each session: how many records, to which partition.
appends = st.lists(st.tuples(st.integers(0, 5), st.integers(0, PARTITIONS - 1)), max_size=12)


class Boom(Exception):
    pass


def opened(topic, members):
    logs = {("t", number): log for number, log in enumerate(topic.partitions)}
    committed = dict(members.offsets)
    positions = {place: committed.get(place, 0) for place in logs}
    return Consumer(logs, positions, committed=committed, membership=members, commit_s=1e6)


def session(topic, members, how, count, ending, commits):
    """The records of one session: those that were done, and those handed out and not done."""
    consumer = opened(topic, members)
    records, last = [], 0
    try:
        with consumer:
            for turn in range(count):
                got = taken(iter(consumer), 1) if how == "one by one" else consumer.poll(how)
                if not got:
                    break
                records += got
                last = len(got)
                if turn in commits:
                    consumer.commit()
                    last = 0
            if ending == "fails":
                raise Boom
            if ending == "dies":
                consumer._membership = None  # nothing is committed any more
    except Boom:
        pass
    lost = last if ending != "clean" else 0
    return [(r.partition, r.offset) for r in records], lost


@given(sessions, appends, st.sets(st.integers(0, 8)), st.sampled_from([1, 100, 1 << 20]))
def test_every_record_is_seen_and_only_failures_see_it_twice(plan, filling, commits, read_bytes):
    topic, members = memory_topic(PARTITIONS), Members()
    seen, again_allowed = [], 0
    before, module.READ_BYTES = module.READ_BYTES, read_bytes
    try:
        for at, (how, count, ending) in enumerate(plan):
            if at < len(filling):
                many, number = filling[at]
                topic.append_many([Message(b"")] * many, partition=number)
            records, lost = session(topic, members, how, count, ending, commits)
            seen += records
            if ending == "dies":
                again_allowed += len(records)
            elif ending == "fails":
                again_allowed += lost
        with opened(topic, members) as consumer:
            seen += [(r.partition, r.offset) for r in consumer]
    finally:
        module.READ_BYTES = before
    everything = {(n, at) for n, log in enumerate(topic.partitions) for at in range(log.end)}
    assert set(seen) == everything
    assert len(seen) - len(everything) <= again_allowed
    if all(ending == "clean" for _, _, ending in plan):
        assert len(seen) == len(everything)
    assert members.offsets == {("t", n): log.end for n, log in enumerate(topic.partitions)}
