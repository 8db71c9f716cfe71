"""Messages of QoS 2 on their way to a client: failures, and what goes away meanwhile."""

from itertools import pairwise

import pytest
from mqtt_sessions import Line, MqttLives

from logstore.broker.mqtt.exact import RECLAIMED_AT_ONCE
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.packet_ids import PID_MAX
from logstore.broker.mqtt.sessions import Wanted
from logstore.errors import Damaged, StorageFull
from logstore.kept.mqtt import NEVER

FILTER = b"$share/g/a/+"


class Hands:
    """The queues, whose journal takes nothing while it is full; or answers when it is told to."""

    def __init__(self, queues):
        self.queues = queues
        self.full = False
        self.late = None  # what is to be committed, where that is held back
        self.handovers, self.handing_over = queues.handovers, queues.handing_over

    def commit(self, transaction, then):
        if self.late is not None:
            self.late.append((transaction, then))
        elif self.full:
            error = StorageFull("the disk is full")
            for it in transaction.remembered:
                it.came(error)
            transaction.endings.clear()
            then(error)
        else:
            self.queues.commit(transaction, then)

    def go_on(self):
        late, self.late = self.late, None
        for transaction, then in late:
            self.commit(transaction, then)


@pytest.fixture
def lives(tmp_path):
    lives = MqttLives(tmp_path)
    lives.open()
    yield lives
    lives.end()


@pytest.fixture
def node(lives):
    return lives.node


@pytest.fixture
def hands(node):
    node.sessions.hands = Hands(node.queues)
    return node.sessions.hands


def come(node, client="c", **given):
    session, _, line = node.come(client, **given)
    node.subscribe(session, b"a/#", qos=2)
    return session, line


def pids(line):
    return [it.pid for it in line.sent]


def later(node):
    """When what failed is tried again."""
    node.sessions.wake()
    node.run()


def received(node, session, *those):
    assert session.exact.received(those) == []
    node.run()


def completed(node, session, *those):
    assert session.exact.completed(those) == 0
    node.run()


def test_messages_of_one_qos_keep_their_order_beside_those_of_another(node, hands):
    _, line = come(node)
    hands.late = []
    node.space.publish(b"a/1", b"1", qos=2)
    node.space.publish(b"a/1", b"2", qos=1)
    node.run()
    node.send(b"a/1", b"3", qos=1)
    hands.go_on()
    node.run()
    assert line.bodies == [b"1", b"2", b"3"]


def test_what_could_not_be_kept_is_sent_once_it_can_on_the_same_connection(node, hands):
    session, line = come(node)
    hands.full = True
    node.send(b"a/1", b"1", b"2", qos=2)
    node.send(b"a/1", b"3", qos=1)
    later(node)
    assert line.sent == []
    hands.full = False
    later(node)
    assert [(it.payload, it.dup) for it in line.sent] == [
        (b"1", False),
        (b"2", False),
        (b"3", False),
    ]
    received(node, session, *pids(line)[:2])
    assert line.released == pids(line)[:2]


def test_the_next_connection_gets_what_could_not_be_kept_and_what_follows(node, hands):
    session, line = come(node)
    hands.full = True
    node.send(b"a/1", b"1", qos=2)
    node.go(session)
    _, _, line = node.come("c")
    node.send(b"a/1", b"2", qos=2)
    assert line.sent == []
    hands.full = False
    later(node)
    assert line.bodies == [b"1", b"2"]


def test_a_client_whose_receipt_could_not_be_kept_is_released_once_it_can(node, hands):
    session, line = come(node)
    node.send(b"a/1", b"1", qos=2)
    [pid] = pids(line)
    hands.full = True
    received(node, session, pid)
    assert line.released == []
    hands.full = False
    later(node)
    assert line.released == [pid]
    completed(node, session, pid)
    assert (session.queue.out, len(session.out.pids)) == (0, 0)


def test_what_is_over_is_settled_once_that_can_be_kept(lives, node, hands):
    session, line = come(node)
    node.send(b"a/1", b"1", qos=2)
    received(node, session, *pids(line))
    hands.full = True
    completed(node, session, *pids(line))
    assert session.queue.out == 1
    hands.full = False
    later(node)
    assert session.queue.out == 0
    lives.crash()
    session, _, line = lives.open().come("c")
    assert (line.sent, line.released, session.queue.out) == ([], [], 0)


def test_a_client_that_said_it_has_a_message_is_released_though_its_queue_is_deleted(node, hands):
    session, line = come(node)
    node.send(b"a/1", b"1", b"2", b"3", qos=2)
    first, second, third = pids(line)
    received(node, session, first)
    hands.late = []
    received(node, session, second)
    node.vhost.delete_queue(session.queue)
    node.run()
    hands.go_on()
    node.run()
    assert line.released == [first, second]
    completed(node, session, first, second)
    assert session.exact.received([third]) == [third]
    assert len(session.out.pids) == 0
    node.send(b"a/1", b"4", qos=2)
    assert line.bodies[-1] == b"4"


def test_no_packet_id_is_used_twice_when_they_go_round(node):
    session, line = come(node, window=PID_MAX)
    session.out.pids._last = PID_MAX - 2
    node.send(b"a/1", *[b"%d" % n for n in range(5)], qos=2)
    assert pids(line) == [PID_MAX - 1, PID_MAX, 1, 2, 3]
    received(node, session, PID_MAX, 1)
    completed(node, session, PID_MAX, 1)
    session.out.pids._last = PID_MAX - 2
    node.send(b"a/1", b"5", b"6", b"7", qos=2)
    assert pids(line)[5:] == [PID_MAX, 1, 4]


def test_what_waits_for_the_journal_counts_as_what_is_to_be_sent(node, hands):
    session, line = come(node, window=PID_MAX)
    line.room = 100_000
    hands.late = []
    body = bytes(10_000)
    for _ in range(40):
        node.send(b"a/1", body, qos=2)
    assert session.exact.held_bytes < 300_000
    hands.go_on()
    node.run()
    session.out.drained()
    node.run()
    assert len(line.sent) == 40


def test_a_clean_stop_keeps_what_is_handed_over(lives, node):
    session, line = come(node)
    node.send(b"a/1", b"1", b"2", b"3", qos=2)
    first, second, third = pids(line)
    received(node, session, first, second)
    completed(node, session, first)
    lives.close()
    session, present, line = lives.open().come("c")
    assert present
    assert line.released == [second]
    assert [(it.pid, it.payload, it.dup) for it in line.sent] == [(third, b"3", True)]


def test_a_process_that_is_killed_keeps_what_is_handed_over(lives, node):
    session, line = come(node)
    node.send(b"a/1", b"1", b"2", b"3", qos=2)
    first, second, third = pids(line)
    received(node, session, first, second)
    completed(node, session, first)
    lives.crash()
    session, present, line = lives.open().come("c")
    assert present
    assert line.released == [second]
    assert [(it.pid, it.payload, it.dup) for it in line.sent] == [(third, b"3", True)]


def test_no_other_message_has_the_number_of_one_that_can_not_be_read_now(lives, node):
    """Its client may have said that it has it, and would throw another one of that number away."""
    session, line = come(node, window=PID_MAX)
    node.send(b"a/1", b"1", b"2", b"3", qos=2)
    first, second, third = pids(line)
    received(node, session, second)
    completed(node, session, second)
    lives.crash()
    node = lives.open()
    session = node.sessions.of("c")
    [outlet] = session.out.outlets
    [lane] = outlet.queue.stock.lanes.values()
    lane.failed = Damaged("a batch of it is damaged")
    _, present, line = node.come("c", window=PID_MAX)
    assert present
    assert line.sent == []
    assert session.out.pids.reserved == {first, third}
    assert session.out.room() == session.out.pids.most == PID_MAX - 2
    taken = {session.out.pids.take(tag) for tag in range(1, PID_MAX - 1)}
    assert taken == set(range(1, PID_MAX + 1)) - {first, third}


def test_what_a_session_was_sent_of_a_group_nobody_gets_though_it_never_comes_back(lives, node):
    one, _, first = node.come("one")
    node.subscribe(one, FILTER, qos=2)
    node.send(b"a/b", b"1", qos=2)
    assert first.bodies == [b"1"]
    other, _, _ = node.come("other", line=Line())
    node.subscribe(other, FILTER, qos=2)
    for _ in range(2):
        lives.crash()
        node = lives.open()
        one = node.sessions.of("one")
        if one is not None:
            node.sessions.end(one)
            node.run()
        _, _, second = node.come("other")
        assert second.sent == []
        node.go(node.sessions.of("other"))


def test_a_session_that_is_over_takes_what_it_was_handing_over_along(lives, node):
    session, line = come(node)
    session.subscribe([(b"b", Grant(2))])
    node.send(b"a/1", b"1", b"2", qos=2)
    received(node, session, pids(line)[0])
    node.sessions.end(session)
    node.run()
    assert node.queues.handing_over() == []
    lives.crash()
    session, present, line = lives.open().come("c")
    assert (present, line.sent, line.released) == (False, [], [])


@pytest.mark.long
def test_no_turn_goes_through_all_that_was_in_flight_when_the_process_was_killed(lives, node):
    session, line = come(node, window=PID_MAX)
    bodies = [b"%d" % n for n in range(3000)]
    node.send(b"a/1", *bodies, qos=2)
    received(node, session, *pids(line)[:1000])
    lives.crash()
    node = lives.open()
    line = Line()
    connected = node.sessions.connect(Wanted("c", "", False, NEVER, 5, line))
    node.wait_for(connected.kept)
    session = connected.session
    session.begin(PID_MAX)
    counts = [0, len(session.out.pids)]
    while len(session.out.pids) < len(bodies):
        node.turn()
        counts.append(len(session.out.pids))
    assert max(after - before for before, after in pairwise(counts)) == RECLAIMED_AT_ONCE
    node.run()
    assert len(line.released) == 1000
    assert line.bodies == bodies[1000:]
