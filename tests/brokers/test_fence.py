"""The fence of a partition with one owner: whoever owned it before is refused by its leader.

That holds over deaths of brokers, restarts, compaction and deletion, as long as a record of the
owner stands; without one it does not, and then the self-check says so.
"""

import itertools
import signal
import time
from contextlib import suppress

import pytest
from checking import Checking
from waiting import until

from logstore.cluster import kinds
from logstore.cluster.brokers import Use
from logstore.cluster.claims import BEAT, CLAIM, FENCE, Word, batch_of
from logstore.cluster.coordinators import TRANSACTION, find
from logstore.cluster.identity import TIMEOUT_MS, Identity
from logstore.cluster.writer import PartitionWriter
from logstore.errors import ClusterUnreachable, Failed, FencedProducer
from logstore.node.roaming import JOURNAL
from logstore.records.encode import encode

DAY_MS = 86_400_000
LAST_EPOCH = 2**15 - 2  # that a producer is given
_names = (f"journal-{it}" for it in itertools.count())


def now_ms():
    """Brokers forget producers by the time of their batches."""
    return time.time_ns() // 1_000_000


class Owner:
    """Of a partition: a client of its own."""

    def __init__(self, client, name, place):
        self.client, self.name, self.place = client, name, place
        self.begin(self.named())

    def named(self):
        """The next identity of its name, once the coordinator gives one."""
        found = []

        def ask():
            with suppress(ClusterUnreachable):  # that one is loading, say
                found.append(
                    self.client.told(lambda then: self.client.identities.named(self.name, then))
                )

        until(lambda: found, ask)
        return found[0]

    def use_up(self):
        """Ask for identities until the cluster has given the last epoch of this producer."""
        client, messages = self.client, kinds.INIT_PRODUCER_ID.messages()
        node = client.told(lambda then: find(client.brokers, self.name, TRANSACTION, then))

        def some(then):
            left = [5000]  # in the time of one wait

            def ask():
                request = messages.Request(self.name, TIMEOUT_MS)
                client.brokers.ask(node, kinds.INIT_PRODUCER_ID, request, answered, Use.SLOW)

            def answered(it):
                left[0] -= 1
                if left[0] and not it.error_code and it.producer_epoch < LAST_EPOCH:
                    ask()
                else:
                    then((it.error_code, Identity(it.producer_id, it.producer_epoch)))

            ask()

        while self.identity.epoch < LAST_EPOCH:
            code, self.identity = client.told(some)
            assert code == 0

    def begin(self, identity):
        """Append with that identity from now on."""
        self.identity, given, self.forgotten = identity, [identity], False

        def identify(then):
            if given:
                then(given.pop())
            else:
                self.forgotten = True
                then(FencedProducer("forgotten"))

        self.news = []
        self.log = self.client.call(
            lambda: PartitionWriter(
                self.client.writer, *self.place, identify,
                lambda: [tell() for tell in list(self.news)],
            )
        )  # fmt: skip

    def again(self):
        """As if nobody had told it that it is refused."""
        self.begin(self.identity)

    def watch(self, tell):
        self.news.append(tell)
        return lambda: self.news.remove(tell)

    def append(self, value=b"x", key=b"k", age_ms=0):
        """Whether it stands, once that is known."""
        return self._append(encode([(value, key, (), now_ms() - age_ms)]))

    def say(self, kind):
        return self._append(batch_of(Word(kind, "n", "n:1", now_ms())))

    def _append(self, batch):
        mark = self.client.call(self.log.append, batch)
        self.client.until(self, lambda: self.log.done > mark or self.log.failure is not None)
        return self.log.done > mark

    def is_fenced(self):
        """Whether the leader refuses it as such; it may be asked again."""
        stands = self.append(b"zombie")
        fenced = isinstance(self.log.failure, FencedProducer) and not self.forgotten
        self.again()
        return not stands and fenced


@pytest.fixture
def name():
    return next(_names)


@pytest.fixture
def owners(make_topic, connect, name):
    """owners(**config) -> two of one partition: the first was, the second is."""

    def make(**config):
        place = make_topic(**config), 0
        first = Owner(connect(), name, place)
        assert first.say(CLAIM)
        assert first.append(b"a")
        second = Owner(connect(), name, place)
        assert first.append(b"before the claim stands")
        assert second.say(CLAIM)
        assert first.is_fenced()
        return first, second

    return make


def trim(owner, before):
    return owner.client.told(
        lambda then: owner.client.offsets.delete_below(owner.place, before, then)
    )


def end_of(owner):
    return owner.client.bounds(owner.place)[1]


def all_killed(cluster, place):
    cluster.kill()
    cluster.start()


def all_restarted(cluster, place):
    cluster.restart()


def leader_killed(cluster, place):
    leader = cluster.leader(*place)
    leader.signal(signal.SIGKILL)
    cluster.wait_out_of_sync(leader.number, *place)


ENDINGS = [leader_killed, all_killed, all_restarted]


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_owner_before_is_refused_after_brokers_have_ended(cluster, owners, ending):
    first, second = owners()
    ending(cluster, second.place)
    assert first.is_fenced()
    assert second.append(b"b")
    cluster.heal()
    assert first.is_fenced()


def test_it_is_refused_after_compaction_and_a_kill_of_all(cluster, owners, admin, connect):
    first, second = owners(
        cleanup_policy="compact", segment_ms=100, min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms=200, min_compaction_lag_ms=0,
    )  # fmt: skip
    for number in range(50):
        assert second.append(b"%d" % number, b"k%d" % (number % 3))
    compacted = connect()

    def left():
        return len(compacted.read_all(compacted.log(second.place[0])))

    until(lambda: left() < 50)
    cluster.kill()
    cluster.start()
    assert first.is_fenced()
    assert second.append(b"b", key=b"k")


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_is_refused_after_all_was_deleted_behind_a_beat(cluster, owners, ending):
    first, second = owners()
    beat = end_of(second)
    assert second.say(BEAT)
    assert trim(second, beat) == beat
    assert first.is_fenced()
    ending(cluster, second.place)
    assert first.is_fenced()
    assert second.append(b"b")


def test_without_a_beat_it_is_taken_after_a_restart(cluster, owners):
    """This is why there is one. The second owner is then out of its order, and is lost."""
    first, second = owners()
    trim(second, end_of(second))
    assert first.is_fenced()  # it is known as long as the leader runs
    cluster.restart()
    assert first.append(b"zombie")
    assert not second.append(b"b")
    assert second.forgotten


def test_the_self_check_finds_a_fence(make_topic, connect, name):
    checking, client = check(make_topic, connect, name)
    client.call(checking.begin)
    client.until(checking, lambda: checking.heard)
    assert checking.heard == [None]


def test_the_self_check_notices_where_a_fence_does_not_hold(cluster, make_topic, connect, name):
    """As on an engine that forgets producers with their records: here all brokers restart."""
    checking, client = check(make_topic, connect, name)
    waiting = []

    def to_the_end(before, then):
        waiting.append(then)
        checking.tell()

    checking.trim = to_the_end
    client.call(checking.begin)
    client.until(checking, lambda: waiting)
    place = checking.place
    end = client.bounds(place)[1]
    start = client.told(lambda then: client.offsets.delete_below(place, end, then))
    cluster.restart()
    checking.trim = lambda before, then: then(before)
    client.call(waiting[0], start)
    client.until(checking, lambda: checking.heard)
    [error] = checking.heard
    assert isinstance(error, Failed)
    assert "takes what a former owner appends after records before its owner's last" in str(error)


def check(make_topic, connect, name):
    client = connect()
    place = make_topic(), 0
    made = Checking(client, name, place, client.loop.time, client.loop.call_at, now_ms)
    return made, client


# What leaders forget, and what becomes of names


@pytest.fixture
def short_memory(cluster):
    """Leaders forget producers after 4 s."""
    cluster.alter("producer.id.expiration.ms", "4000")
    yield
    cluster.alter("producer.id.expiration.ms", None)


def test_beats_have_leaders_remember_an_owner_that_appends_nothing(owners, short_memory):
    """One that says nothing for that time is forgotten, and its former owner let in."""
    first, second = owners()
    forgotten, _ = owners()
    until(lambda: not forgotten.is_fenced(), lambda: second.say(BEAT))
    assert first.is_fenced()
    assert second.append(b"b")


def test_batches_with_old_timestamps_have_it_forgotten_but_for_a_beat_or_append_time(owners):
    """As a node's would whose clock is wrong; the nodes' own journal has the time of appending."""
    first, second = owners()
    beaten, beating = owners()
    stamped, stamping = owners(**JOURNAL.settings)
    for it in (second, beating, stamping):
        assert it.append(b"old", age_ms=2 * DAY_MS)
        if it is beating:
            assert it.say(BEAT)
    until(lambda: not first.is_fenced())
    assert beaten.is_fenced()
    assert stamped.is_fenced()
    assert beating.append(b"b")
    assert stamping.append(b"b")


def test_a_name_whose_epochs_are_used_up_has_another_producer_and_a_fence(owners, connect):
    """Then no epoch of the new producer refuses the one before: a batch with its next one does."""
    first, second = owners()
    before = second.identity
    second.use_up()
    third = Owner(connect(), second.name, second.place)
    last, third_is = second.identity, third.identity
    assert last.pid == before.pid
    assert last.epoch == LAST_EPOCH
    assert third_is.pid != last.pid
    second.begin(last)
    assert second.say(CLAIM)
    third.begin(Identity(last.pid, last.epoch + 1))
    assert third.say(FENCE)
    third.begin(third_is)
    assert third.say(CLAIM)
    assert second.is_fenced()
    assert first.is_fenced()
    assert third.append(b"c")
