"""Queues of several nodes: who gives them out changes, and what is acknowledged stays so."""

import random
from types import SimpleNamespace

import pytest
from memory_log import MemoryLog
from queue_parts import KINDS_WITH_NOTES, Channel, Consumer, Time
from roaming_parts import PARTITIONS, Common, Lane, RoamingNode, settled_of
from storage_kit import Opened

from logstore.broker.queues.journaling import RETRY_MS
from logstore.broker.queues.refusals import NotAmongNodes
from logstore.broker.queues.roaming import queue as roaming_queue
from logstore.broker.queues.roaming.queue import PATIENCE_MS
from logstore.broker.queues.settling import Settling, settled
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.trimming import EVERY_MS
from logstore.broker.routing.refusals import UnknownType
from logstore.errors import ClusterUnreachable, LogFailed, NotOwned


@pytest.fixture
def nodes(tmp_path):
    """Two of them."""
    common, clock = Common(), Time()
    opened = [Opened(tmp_path / name) for name in ("a", "b")]
    found = [RoamingNode(it.writer(kinds=KINDS_WITH_NOTES), clock, common) for it in opened]
    yield found
    for node, its in zip(found, opened, strict=True):
        node.close()
        its.close_all()


def declared(nodes, name=b"q", **given):
    return [node.declare(name, **given) for node in nodes]


def test_any_node_takes_messages_and_the_owner_gives_them_out(nodes):
    a, b = nodes
    declared(nodes)
    a.own_all()
    a.publish(b"q", b"1")
    b.publish(b"q", b"2", b"3")
    assert a.bodies(b"q") == [b"1", b"2", b"3"]


def test_a_consumer_of_the_owner_gets_what_comes_to_another_node(nodes):
    a, b = nodes
    queue, _ = declared(nodes)
    a.own_all()
    consumer = Consumer()
    queue.subscribe(consumer)
    a.run()
    b.publish(b"q", b"1")
    a.run(until=lambda: consumer.had)
    assert consumer.bodies == [b"1"]


def test_what_is_settled_stays_so_with_the_next_owner(nodes):
    a, b = nodes
    declared(nodes)
    a.own_all()
    b.publish(b"q", *(b"%d" % n for n in range(6)))
    channel = Channel()
    for _ in range(4):
        a.get(b"q", channel, no_ack=False)
    channel.ack(1)
    channel.ack(3)
    a.run()
    a.lose_all()
    b.own_all()
    again = [b.get(b"q", Channel(), no_ack=False) for _ in range(4)]
    assert [it.delivery.body for it in again] == [b"1", b"3", b"4", b"5"]
    assert [it.delivery.redelivered for it in again] == [True, True, True, True]
    assert b.get(b"q") is None


def test_what_was_settled_in_the_turn_in_which_a_node_gives_a_queue_up_stays_so(nodes):
    a, b = nodes
    queue, _ = declared(nodes)
    a.own_all()
    consumer = Consumer()
    queue.subscribe(consumer)
    a.publish(b"q", b"1", b"2")
    consumer.channel.ack(1)
    a.lose_all(told=True)
    b.own_all()
    assert b.bodies(b"q") == [b"2"]


def test_what_is_said_to_an_owner_that_lost_it_has_no_effect(nodes):
    a, b = nodes
    declared(nodes)
    a.own_all()
    a.publish(b"q", b"1", b"2")
    channel = Channel()
    a.get(b"q", channel, no_ack=False)
    a.lose_all()
    b.own_all()
    channel.ack(1)
    a.run()
    assert b.bodies(b"q") == [b"1", b"2"]


def test_consumers_follow_their_queue(nodes):
    a, b = nodes
    queue, _ = declared(nodes)
    consumer = Consumer(prefetch=2)
    queue.subscribe(consumer)
    b.publish(b"q", b"1", b"2", b"3")
    a.own_all()
    a.run(until=lambda: len(consumer.had) == 2)
    a.lose_all()
    assert queue.subscriptions == [consumer]
    a.own_all()
    a.run()
    assert consumer.bodies == [b"1", b"2"], "its prefetch count is used up by what it has still"
    consumer.channel.ack(2, multiple=True)
    queue.wake()
    a.run(until=lambda: len(consumer.had) == 4)
    assert consumer.bodies == [b"1", b"2", b"1", b"2"]
    assert not consumer.is_cancelled


def test_who_fetches_where_no_node_serves_waits_for_a_while(nodes):
    a, b = nodes
    queue, _ = declared(nodes)
    got = []
    queue.get(Channel(), True, got.append)
    b.publish(b"q", b"1")
    a.own_all()
    a.run(until=lambda: got)
    assert got[0].delivery.body == b"1"
    a.lose_all()
    queue.get(Channel(), True, got.append)
    a.later(PATIENCE_MS)
    assert got[1:] == [None]
    with pytest.raises(NotOwned):
        queue.plain("past")


def test_each_who_fetches_in_vain_is_told_in_time(nodes):
    a, _ = nodes
    queue, _ = declared(nodes)
    got = []
    for _ in range(2):
        queue.get(Channel(), True, got.append)
        a.later(PATIENCE_MS // 2)
    assert got == [None]
    a.later(PATIENCE_MS // 2)
    assert got == [None, None]


def test_priorities_have_logs_of_their_own(nodes):
    a, b = nodes
    queue, _ = declared(nodes, max_priority=3)
    for priority in (0, 3, 9, 1):
        b.publish(b"q", b"%d" % priority, priority=priority)
    assert b.common.bodies(queue.id) == {0: [b"0"], 1: [b"1"], 3: [b"3", b"9"]}
    a.own_all()
    assert a.bodies(b"q") == [b"3", b"9", b"1", b"0"]


def test_logs_that_came_meanwhile_are_found(nodes):
    a, b = nodes
    queue, _ = declared(nodes)
    a.own_all()
    b.publish(b"q", b"1")
    assert queue.ready == 0, "nobody has told of the first message"
    a.roamers.lanes_came({queue.id})
    a.run()
    assert queue.ready == 1


def test_dead_letters_go_on_once_they_are_safe(nodes):
    a, b = nodes
    declared(nodes, b"q", dead_letter_exchange=b"", dead_letter_routing_key=b"dead")
    declared(nodes, b"dead")
    a.own_all()
    b.publish(b"q", b"1", b"2")
    channel = Channel()
    a.get(b"q", channel, no_ack=False)
    channel.reject(1)
    a.run()
    assert a.bodies(b"dead") == [b"1"]
    assert a.bodies(b"q") == [b"2"]
    a.lose_all()
    b.own_all()
    assert b.bodies(b"q") == b.bodies(b"dead") == []


def test_a_queue_that_is_deleted_takes_its_logs_along(nodes):
    a, b = nodes
    _, other = declared(nodes)
    a.own_all()
    consumer = Consumer()
    b.publish(b"q", b"1")
    other.subscribe(consumer)
    a.delete(b"q")
    assert a.common.logs == {}
    b.vhost.goes(other)
    assert consumer.is_cancelled
    b.own_all()
    assert [it for it in b.common.journals if it.notes.queues()] == []


def test_what_needs_one_node_is_refused(nodes):
    a, _ = nodes
    with pytest.raises(NotAmongNodes, match="overflow reject-publish"):
        a.declare(b"r", max_length=1, overflow=b"reject-publish")
    for kind in ("x-delayed-message", "x-message-deduplication"):
        with pytest.raises(UnknownType):
            a.exchange(b"e", kind, **{"x-delayed-type": "direct", "x-cache-size": 10})
    declared(nodes)
    held, told = Transaction(), []
    message = a.message(b"q", b"1")
    a.vhost.publish([(a.vhost.route(message), message)], held)
    assert not a.vhost.commit(held, told.append)
    assert isinstance(told[0], NotAmongNodes)


def committed(node, *groups):
    """What is told of a transaction that settles these."""
    held, told = Transaction(), []
    settling = Settling([(settled, it) for it in groups], held)
    node.vhost.commit(held, told.append)
    node.run(until=lambda: told)
    settling.done(told[0])
    node.run()
    return told[0]


def test_acknowledgements_of_one_partition_are_one_transaction(nodes):
    a, b = nodes
    for name in (b"q", b"r", b"s"):  # the first and the third are of one partition
        declared(nodes, name)
    a.own_all()
    channel = Channel()
    for name in (b"q", b"r", b"s"):
        a.publish(name, b"1")
        a.get(name, channel, no_ack=False)
    q, r, s = (channel.unacked.ack(tag) for tag in (1, 2, 3))
    assert isinstance(committed(a, q, r), NotAmongNodes)
    assert (a.bodies(b"q"), a.bodies(b"r")) == ([b"1"], [b"1"]), "it did not happen"
    for name in (b"q", b"r"):
        a.publish(name, b"2")
        a.get(name, channel, no_ack=False)
    assert committed(a, channel.unacked.ack(4), s) is None
    a.lose_all()
    b.own_all()
    assert (b.bodies(b"q"), b.bodies(b"r"), b.bodies(b"s")) == ([], [b"2"], [])


def test_a_client_without_room_goes_on_once_a_transaction_has_settled_what_it_has(nodes):
    """Though that was delivered before the node lost the queue, and took it over again."""
    a, _ = nodes
    queue, _ = declared(nodes)
    a.own_all()
    client = Consumer(prefetch=1)
    queue.subscribe(client)
    a.publish(b"q", b"1")
    a.lose_all()
    a.own_all()
    assert client.bodies == [b"1"]
    assert committed(a, client.channel.unacked.ack(1)) is None
    assert client.bodies == [b"1", b"1"]


def test_too_many_are_dropped_by_the_owner(nodes):
    a, b = nodes
    queue, _ = declared(nodes, max_length=2)
    a.own_all()
    consumer = Consumer()
    consumer.takes = 0
    queue.subscribe(consumer)
    b.publish(b"q", b"1", b"2", b"3")
    a.run(until=lambda: queue.ready == 2)
    assert a.bodies(b"q") == [b"2", b"3"]


@pytest.mark.parametrize("seed", range(20))
def test_each_message_is_given_out_until_it_is_settled(nodes, seed):
    chance = random.Random(seed)
    declared(nodes, b"q", max_priority=1)
    sent, settled, owner, channel = [], set(), None, None
    for _ in range(40):
        act = chance.choice(["publish", "own", "lose", "get", "get", "ack", "nack"])
        if act == "publish":
            node = chance.choice(nodes)
            bodies = [b"%d" % n for n in range(len(sent), len(sent) + chance.randrange(1, 5))]
            sent += bodies
            node.publish(b"q", *bodies, priority=chance.randrange(2))
        elif act == "own" and owner is None:
            owner, channel = chance.choice(nodes), Channel()
            owner.own_all()
        elif owner is None:
            continue
        elif act == "lose":
            owner.run()
            owner.lose_all(told=chance.random() < 0.5)
            owner = None
        elif act == "get" and (got := owner.get(b"q", channel, no_ack=False)) is not None:
            assert got.delivery.body not in settled
            channel.had = {**getattr(channel, "had", {}), got.tag: got.delivery.body}
        elif act in ("ack", "nack") and (had := getattr(channel, "had", {})):
            tag = chance.choice(list(had))
            body = had.pop(tag)
            if act == "ack":
                settled.add(body)
                channel.ack(tag)
            else:
                channel.requeue(tag)
            owner.run()
    if owner is not None:
        owner.lose_all()
    nodes[0].own_all()
    assert sorted(nodes[0].bodies(b"q")) == sorted(set(sent) - settled)


class Standing:
    """As a test says."""

    def __init__(self):
        self.sure, self.asked = False, {}

    def ask(self, then):
        self.asked[then] = None

    def prove(self):
        self.sure = True
        for then in self.asked:
            then()


def test_a_node_that_is_not_sure_of_a_queue_gives_nothing_out(nodes):
    a, _ = nodes
    queue, _ = declared(nodes)
    standing = Standing()
    for number in range(PARTITIONS):
        a.roamers.own(number, a.common.journal(number), standing)
    consumer, got = Consumer(prefetch=1), []
    queue.get(Channel(), False, got.append)
    queue.subscribe(consumer)
    a.publish(b"q", b"1", b"2")
    a.run()
    assert (consumer.had, got) == ([], [])
    standing.prove()
    a.run(until=lambda: got and consumer.had)
    assert [got[0].delivery.body, *consumer.bodies] == [b"1", b"2"]


def test_a_node_that_is_not_sure_of_a_queue_gives_nothing_out_to_whoever_asks_for_counts(nodes):
    a, _ = nodes
    queue, _ = declared(nodes)
    standing = Standing()
    standing.sure = True
    for number in range(PARTITIONS):
        a.roamers.own(number, a.common.journal(number), standing)
    consumer = Consumer(prefetch=1)
    queue.subscribe(consumer)
    a.publish(b"q", b"1", b"2")
    standing.sure = False
    consumer.channel.ack(1)
    ready = []
    queue.when_open(lambda: ready.append(queue.ready))
    a.run()
    assert (consumer.bodies, ready) == ([b"1"], [1])
    standing.prove()
    a.run()
    assert consumer.bodies == [b"1", b"2"]


class Behind(MemoryLog):
    """A lane as a node has it that has not read all of it yet."""

    def __init__(self, log, end):
        super().__init__(log.name)
        self.log = log
        self.more(end)

    def more(self, end):
        for batch in self.log.read(self.end, 1 << 30):
            if batch.base_offset < end:
                self.append(batch)


def test_what_the_next_owner_has_not_read_yet_stays_settled(nodes):
    a, b = nodes
    [queue, _] = declared(nodes)
    a.own_all()
    for n in range(4):
        a.publish(b"q", b"%d" % n)
    assert a.bodies(b"q") == [b"0", b"1", b"2", b"3"]
    a.lose_all(told=True)
    [(lane, log)] = b.common.logs.items()
    common = b.common
    common.logs[lane] = behind = Behind(log, 2)
    common.catch_up = lambda its: behind.more(log.end)
    b.own_all()
    assert b.bodies(b"q") == []
    assert settled_of(common, queue.id)[0].cursor == 4


def test_a_lane_that_could_not_be_opened_is_opened_later(nodes):
    a, _ = nodes
    [queue, _] = declared(nodes)
    a.publish(b"q", b"1")
    opens, common = a.common.open, a.common

    def refused(lane, settings):
        raise ClusterUnreachable("no broker leads it")

    common.open = refused
    a.own_all()
    consumer = Consumer()
    queue.subscribe(consumer)
    a.run()
    assert consumer.had == []
    a.later(RETRY_MS)  # and again
    common.open = opens
    a.later(RETRY_MS)
    a.run(until=lambda: consumer.had)
    assert consumer.bodies == [b"1"]


def test_who_fetches_while_a_lane_can_not_be_opened_waits_until_it_is(nodes, monkeypatch):
    a, _ = nodes
    [queue, _] = declared(nodes)
    a.publish(b"q", b"1", b"2")

    def refused(lane, settings):
        raise ClusterUnreachable("no broker leads it")

    monkeypatch.setattr(a.common, "open", refused)
    a.own_all()
    got = []
    queue.get(Channel(), True, got.append)
    a.run()
    queue.get(Channel(), True, got.append)
    a.run()
    assert got == []
    monkeypatch.undo()
    a.later(RETRY_MS)
    a.run(until=lambda: len(got) == 2)
    assert [it.delivery.body for it in got] == [b"1", b"2"]


def test_what_is_settled_is_trimmed_though_a_lane_is_opened_again_before_that(nodes, monkeypatch):
    a, _ = nodes
    queues = [a.declare(name) for name in (b"q", b"r", b"s")]  # the first and the third: of one
    a.publish(b"q", b"1")
    a.own_all()
    a.publish(b"s", b"1")
    channel = Channel()
    a.get(b"s", channel, no_ack=False)
    a.later(3 * EVERY_MS)
    opens, common = a.common.open, a.common

    def refused(lane, settings):
        if lane.queue == queues[0].id:
            raise ClusterUnreachable("no broker leads it")
        return opens(lane, settings)

    monkeypatch.setattr(common, "open", refused)
    queues[0].subscribe(Consumer())
    a.run()
    monkeypatch.undo()
    a.later(RETRY_MS // 2)
    channel.ack(1)
    a.run()
    common.trimmed.clear()
    a.later(RETRY_MS // 2)
    assert common.trimmed == []
    a.later(EVERY_MS)
    assert [floor for name, floor in common.trimmed if str(queues[2].id) in name] == [1]


class Failing(MemoryLog):
    """A lane as one node has it, until that log fails."""

    failed = False

    def __init__(self, log):
        super().__init__(log.name)
        for batch in log.read(0, 1 << 30):
            self.append(batch)

    def check_failure(self):
        if self.failed:
            raise LogFailed(self.name)

    def fail(self):
        self.failed = True
        for wake in list(self._watchers.values()):
            wake()


def consumed_from_a_log_that_fails(nodes):
    """Two messages are out to a consumer. Returns it, and the call by which their log fails."""
    a, b = nodes
    [queue, _] = declared(nodes)
    b.publish(b"q", b"1", b"2")
    [(lane, log)] = a.common.logs.items()
    a.common.logs[lane] = failing = Failing(log)
    a.own_all()
    consumer = Consumer()
    queue.subscribe(consumer)
    a.run(until=lambda: len(consumer.had) == 2)

    def fail():
        a.common.logs[lane] = log
        failing.fail()

    return consumer, fail


def test_a_lane_whose_log_has_failed_goes_on_with_another(nodes):
    a, b = nodes
    consumer, fail = consumed_from_a_log_that_fails(nodes)
    consumer.channel.ack(consumer.had[0][0])
    a.run()
    consumer.forget()
    fail()
    b.publish(b"q", b"3")
    a.run()
    assert consumer.had == []
    a.later(RETRY_MS)
    a.run(until=lambda: len(consumer.had) == 2)
    assert consumer.bodies == [b"2", b"3"], "what was acknowledged stays so"


def test_what_was_settled_in_the_turn_in_which_a_lane_goes_on_with_another_log_stays_so(nodes):
    a, _ = nodes
    consumer, fail = consumed_from_a_log_that_fails(nodes)
    fail()
    a.run()
    consumer.forget()
    consumer.channel.ack(1)
    a.later(RETRY_MS)
    a.run(until=lambda: consumer.had)
    assert consumer.bodies == [b"2"]


def test_a_queue_that_goes_with_its_last_consumer_stays_where_it_changes_its_owner(nodes):
    a, b = nodes
    [queue, _] = declared(nodes, auto_delete=True)
    a.own_all()
    consumer = Consumer()
    queue.subscribe(consumer)
    a.publish(b"q", b"1")
    for number in range(PARTITIONS):
        a.roamers.leave(number)
    queue.unsubscribe(consumer)  # as that of a node that looks for the owner now
    a.lose_all()
    b.own_all()
    assert not queue.gone
    assert b.bodies(b"q") == [b"1"]


def test_a_node_that_is_not_sure_of_a_queue_does_not_delete_it(nodes):
    a, _ = nodes
    [queue, _] = declared(nodes, auto_delete=True)
    standing = Standing()
    standing.sure = True
    for number in range(PARTITIONS):
        a.roamers.own(number, a.common.journal(number), standing)
    consumer = Consumer()
    queue.subscribe(consumer)
    standing.sure = False
    queue.unsubscribe(consumer)
    a.run()
    assert not queue.gone
    queue.subscribe(consumer)
    standing.prove()
    a.run()
    assert not queue.gone, "it has a consumer again"
    queue.unsubscribe(consumer)
    assert queue.gone


def test_what_came_to_a_queue_that_another_node_had_deleted_is_not_left(nodes):
    a, b = nodes
    _, queue = declared(nodes)
    a.own_all()
    b.publish(b"q", b"1")
    a.delete(b"q")
    a.run()
    assert a.common.logs == {}
    b.common.open(Lane(queue.id, 0), {})  # as its next message does
    b.vhost.take(queue, None)
    b.run()
    assert b.common.logs == {}


def test_who_fetches_while_the_owner_changes_gets_what_there_is(nodes):
    a, _ = nodes
    [queue, _] = declared(nodes)
    a.own_all()
    assert a.get(b"q") is None
    waiting, got = [], []
    a.common.begin_catch_up = lambda log, then: waiting.append(then)
    queue.get(Channel(), True, got.append)
    a.run()
    assert (len(waiting), a.busy) == (1, 0), "no worker waits for the cluster"
    a.lose_all()
    a.publish(b"q", b"1")
    for then in waiting:
        then()
    del a.common.begin_catch_up
    a.run()
    assert got == []
    a.own_all()
    a.run(until=lambda: got)
    assert got[0].delivery.body == b"1"


def test_of_those_who_fetch_again_no_more_wait_than_may(nodes, monkeypatch):
    """Their node has lost the owner at one moment, with all that it was asked."""
    monkeypatch.setattr(roaming_queue, "GETTERS_MAX", 2)
    a, _ = nodes
    queue, _ = declared(nodes)
    asked, got = [], []
    nowhere = queue.seat
    queue.seat = SimpleNamespace(get=lambda channel, no_ack, then: asked.append(then))
    for _ in range(5):
        queue.get(Channel(), True, got.append)
    queue.seat = nowhere
    for then in asked:
        then.retry()
    assert got == [None] * 3
    a.later(PATIENCE_MS)
    assert got == [None] * 5


def test_who_fetches_from_a_queue_that_is_deleted_gets_nothing(nodes):
    a, _ = nodes
    [queue, _] = declared(nodes)
    a.own_all()
    got = []
    queue.get(Channel(), True, got.append)
    a.delete(b"q")
    a.run()
    assert got == [None]


def test_counts_that_matter_are_of_all_that_stands_in_the_logs(nodes, monkeypatch):
    """What was confirmed at another node, and has not come here yet, is no empty queue."""
    a, b = nodes
    queue, _ = declared(nodes)
    a.own_all()
    a.publish(b"q", b"1")
    a.bodies(b"q")
    late = []

    def begin(log, then):
        if not late:
            late.append(b.publish(b"q", b"2"))
        then()

    monkeypatch.setattr(a.common, "begin_catch_up", begin)
    counts = []
    queue.when_known(lambda: counts.append(queue.ready))
    a.run(until=lambda: counts)
    assert counts == [1]
    purged = []
    queue.purge(purged.append)
    a.run(until=lambda: purged)
    assert purged == [1]


def test_a_message_to_a_log_that_has_failed_goes_to_another(nodes):
    a, _ = nodes
    [queue, _] = declared(nodes)
    lane = Lane(queue.id, 0)
    log = a.common.open(lane, {})
    a.common.logs[lane] = failing = Failing(log)
    a.publish(b"q", b"1")
    a.common.logs[lane] = log
    failing.fail()
    a.publish(b"q", b"2")
    assert a.common.bodies(queue.id) == {0: [b"2"]}
