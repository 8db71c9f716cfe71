"""x-delayed-message: messages that wait at an exchange, and go on when they are due."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_parts import Channel, Lives, props

from logstore.amqp import fields, properties
from logstore.broker.queues import delayed
from logstore.broker.queues import waiting as waiting_module
from logstore.broker.queues.delayed import WRITE_MS
from logstore.broker.queues.message import Framing, Looked
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.waited import due_ms, waited
from logstore.broker.routing import exchange_types
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.refusals import InvalidDelay, NoDelayedType, UnknownType
from logstore.errors import Failed, NotWaiting
from logstore.kept.schedules import Entry
from logstore.records.record import Record
from logstore.storage.schedules import ScheduleTable


def declare(node, name=b"later", kind="direct", *, durable=True, **more):
    arguments = arguments_of({"x-delayed-type": kind, **more})
    facts = ExchangeFacts(name, "x-delayed-message", durable, arguments=arguments)
    pending = node.vhost.declare_exchange(facts)
    node.run(until=lambda: pending is None or pending.done)


def ready(node, kind="direct", *, durable=True):
    declare(node, kind=kind, durable=durable)
    node.declare(b"q", durable=durable)
    node.bind(b"later", b"q", b"k")
    return node


def later(node, *bodies, delay=1000, **given):
    return node.publish(b"k", *bodies, exchange=b"later", headers={"x-delay": delay}, **given)


def station(node, name=b"later"):
    return node.vhost.topology.station(name)


def waiting(node):
    it = station(node)
    node.run(until=lambda: it.stock.opened)
    return it.waiting


@pytest.fixture
def at(node):
    return ready(node)


def test_a_message_comes_when_its_delay_is_over_and_not_before(at):
    later(at, b"one")
    assert at.bodies(b"q") == []
    at.later(999)
    assert at.bodies(b"q") == []
    at.later(1)
    assert at.bodies(b"q") == [b"one"]
    assert waiting(at) == 0


def test_messages_come_in_the_order_of_their_times_then_as_they_were_published(at):
    for body, delay in ((b"a", 500), (b"b", 100), (b"c", 300), (b"d", 100), (b"e", 400)):
        later(at, body, delay=delay)
    at.later(1000)
    assert at.bodies(b"q") == [b"b", b"d", b"c", b"e", b"a"]


def test_what_has_no_delay_goes_on_at_once(at):
    for number, headers in enumerate((None, {}, {"x-delay": 0}, {"x-delay": -5}, {"x-delay": "x"})):
        at.publish(b"k", b"%d" % number, exchange=b"later", headers=headers)
    assert at.bodies(b"q") == [b"0", b"1", b"2", b"3", b"4"]


def test_a_consumer_sees_that_the_message_has_waited(at):
    later(at, b"int", delay=1500)
    later(at, b"text", delay="1500")
    later(at, b"long", delay=2**38)
    at.later(2**38)
    found = {}
    while (got := at.get(b"q")) is not None:
        headers = properties.read(got.delivery.properties).headers
        found[got.delivery.body] = headers["x-delay"]
        assert got.delivery.exchange == b"later"
    assert found == {b"int": -1500, b"text": -1500, b"long": -(2**38)}
    assert type(found[b"long"]) is fields.Long


def test_a_moment_may_be_named_in_place_of_a_delay(at):
    now_s = at.clock() // 1000
    at.publish(b"k", b"a", exchange=b"later", headers={"x-deliver-at": fields.Timestamp(now_s + 5)})
    at.publish(b"k", b"b", exchange=b"later", headers={"x-deliver-at": at.clock() + 2000})
    at.publish(b"k", b"past", exchange=b"later", headers={"x-deliver-at": at.clock() - 2000})
    at.later(1)
    assert at.bodies(b"q") == [b"past"]
    at.later(2000)
    assert at.bodies(b"q") == [b"b"]
    at.later(3000)
    got = at.get(b"q")
    assert got.delivery.body == b"a"
    headers = properties.read(got.delivery.properties).headers
    assert "x-deliver-at" not in headers  # it would wait again at the next such exchange
    assert headers["x-delay"] < 0


def test_ten_years_are_waited_and_no_longer_ones_taken(at):
    ten = 315_360_000_000
    later(at, b"then", delay=ten)
    with pytest.raises(InvalidDelay, match="at most ten years"):
        later(at, b"never", delay=ten + 1)
    at.later(ten - 1)
    assert at.bodies(b"q") == []
    at.later(1)
    assert at.bodies(b"q") == [b"then"]


def test_a_type_by_which_messages_go_on_is_needed(node):
    for arguments in ({}, {"x-delayed-type": 5}, {"x-delayed-type": "x-delayed-message"}):
        facts = ExchangeFacts(b"e", "x-delayed-message", arguments=arguments_of(arguments))
        with pytest.raises(NoDelayedType):
            node.vhost.declare_exchange(facts)
    facts = ExchangeFacts(
        b"e", "x-delayed-message", arguments=arguments_of({"x-delayed-type": "no-type"})
    )
    with pytest.raises(UnknownType):
        node.vhost.declare_exchange(facts)


def test_they_are_routed_as_everything_is_bound_when_they_are_due(node):
    declare(node, kind="topic")
    for name in (b"a", b"b"):
        node.declare(name)
    node.bind(b"later", b"a", b"x.*")
    published = node.publish(b"x.y", b"1", exchange=b"later", headers={"x-delay": 100})
    assert published.unrouted == []
    published = node.publish(b"z", b"2", exchange=b"later", headers={"x-delay": 100})
    assert published.unrouted == [0]  # by now: a mandatory one is returned
    node.bind(b"later", b"b", b"#")
    node.later(100)
    assert node.bodies(b"a") == [b"1"]
    assert node.bodies(b"b") == [b"1", b"2"]


def test_what_has_no_queue_by_then_is_dropped_and_counted(at):
    at.publish(b"nobody", b"1", exchange=b"later", headers={"x-delay": 100})
    at.later(100)
    assert (waiting(at), station(at).became.dropped) == (0, 1)


def test_the_alternate_exchange_gets_what_has_no_route_by_then(node):
    node.exchange(b"else", "fanout")
    declare(node, **{"alternate-exchange": "else"})
    node.declare(b"q")
    node.bind(b"else", b"q")
    node.publish(b"k", b"1", exchange=b"later", headers={"x-delay": 100})
    node.later(100)
    assert node.bodies(b"q") == [b"1"]


def test_messages_wait_at_an_exchange_that_another_one_sends_to(node):
    ready(node)
    node.exchange(b"first", "fanout")
    pending = node.vhost.bind(Binding(b"first", b"later", b"", kind="exchange"))
    node.run(until=lambda: pending.done)
    node.publish(b"k", b"1", exchange=b"first", headers={"x-delay": 100})
    assert node.bodies(b"q") == []
    node.later(100)
    got = node.get(b"q")
    assert (got.delivery.body, got.delivery.exchange) == (b"1", b"first")


def test_two_such_exchanges_that_send_to_each_other_have_a_message_wait_once(node):
    ready(node, "fanout")
    declare(node, b"second", "fanout")
    for source, to in ((b"later", b"second"), (b"second", b"later")):
        pending = node.vhost.bind(Binding(source, to, b"", kind="exchange"))
        node.run(until=lambda pending=pending: pending.done)
    node.publish(b"k", b"1", exchange=b"later", headers={"x-deliver-at": node.clock() + 100})
    node.later(100)
    assert node.bodies(b"q") == [b"1"]


def test_copies_go_to_their_keys_and_queues(node):
    ready(node)
    node.declare(b"cc")
    node.bind(b"later", b"cc", b"copy")
    node.publish(b"k", b"1", exchange=b"later", headers={"x-delay": 100, "CC": ["copy"]})
    node.later(100)
    assert (node.bodies(b"q"), node.bodies(b"cc")) == ([b"1"], [b"1"])


def test_what_waits_outlives_a_restart_and_a_kill(lives):
    node = ready(lives.node)
    later(node, b"1", delay=1000)
    later(node, b"2", delay=5000)
    node = lives.again()
    assert waiting(node) == 2
    node.later(1000)
    assert node.bodies(b"q") == [b"1"]
    later(node, b"3", delay=1000)
    node = lives.kill()
    node.later(4000)
    assert node.bodies(b"q") == [b"3", b"2"]
    assert waiting(node) == 0


def test_what_became_due_while_there_was_no_process_comes_at_the_start(lives):
    node = ready(lives.node)
    later(node, b"1", b"2", b"3")
    lives.close()
    lives.clock.now_ms += 10_000
    node = lives.open()
    node.run()
    assert node.bodies(b"q") == [b"1", b"2", b"3"]
    node = lives.kill()
    node.run()
    assert node.bodies(b"q") == []


@pytest.mark.long
def test_what_was_moved_does_not_come_again_after_a_kill(lives):
    node = ready(lives.node)
    later(node, *(b"%d" % n for n in range(500)))
    node.later(1000)
    node = lives.kill()
    node.later(5000)
    assert node.bodies(b"q") == [b"%d" % n for n in range(500)]


def test_an_exchange_that_is_not_durable_keeps_them_as_long_as_the_process(lives):
    node = ready(lives.node, durable=False)
    later(node, b"1")
    node.later(1000)
    assert node.bodies(b"q") == [b"1"]
    later(node, b"2")
    number = station(node).id
    node = lives.again()
    assert number not in node.logs.lanes()
    ready(node, durable=False)
    node.later(1000)
    assert node.bodies(b"q") == []


@pytest.mark.long
def test_a_deleted_exchange_takes_with_it_what_waits(lives):
    node = ready(lives.node)
    later(node, *(b"%d" % n for n in range(3000)))
    node.later(2500)  # by then the index has some
    number = station(node).id
    later(node, b"x")
    pending = node.vhost.delete_exchange(b"later")
    node.run(until=lambda: pending.done)
    assert number not in node.logs.lanes()
    ready(node)
    node.later(10_000)
    node.bodies(b"q")
    node = lives.kill()
    node.later(10_000)
    assert node.bodies(b"q") == []
    assert list(node.queues.schedules.index.logs()) == []


def test_a_deleted_virtual_host_takes_with_it_what_waits(node):
    node.add_vhost(b"v")
    ready(node.within(b"v"))
    later(node, b"1")
    number = station(node).id
    node.delete_vhost(b"v")
    node.later(5000)
    assert number not in node.logs.lanes()


def test_a_transaction_brings_them_together_with_others(lives):
    node = ready(lives.node)
    held = Transaction()
    messages = [
        node.message(b"k", b"late", exchange=b"later", headers={"x-delay": 1000}),
        node.message(b"q", b"now"),
    ]
    published = node.vhost.publish([(node.vhost.route(it), it) for it in messages], held)
    assert set(published.lasting) == {0, 1}
    done = []
    node.vhost.commit(held, done.append)
    node.run(until=lambda: done)
    assert done == [None]
    node = lives.kill()
    assert node.bodies(b"q") == [b"now"]
    node.later(1000)
    assert node.bodies(b"q") == [b"late"]


def test_a_clock_that_goes_back_an_hour_makes_them_wait_and_loses_none(at, caplog):
    later(at, b"1")
    at.later(100)
    at.later(-3_600_000)
    assert at.bodies(b"q") == []
    assert "the clock went back by 3600 s" in caplog.text
    later(at, b"2", delay=500)  # by the new time
    at.later(500)
    assert at.bodies(b"q") == [b"2"]
    at.later(3_600_400)
    assert at.bodies(b"q") == [b"1"]


def test_a_clock_that_goes_forward_an_hour_has_them_come(at):
    later(at, b"1", delay=3_000_000)
    assert at.queues.deadline_ms() <= at.clock() + 1000  # it is looked at again and again
    at.later(3_600_000)
    assert at.bodies(b"q") == [b"1"]


def test_the_index_is_made_again_where_it_is_gone(lives):
    node = ready(lives.node)
    later(node, *(b"%d" % n for n in range(100)), delay=10_000)
    node.later(3000)
    table = node.queues.schedules.index
    node.run(until=table.logs)
    (key,) = table.logs()
    assert table.mark(key) == 100
    entries, _ = table.page(key, (0, 0), 1000)
    table.environment.transact((b"schedules",), lambda it: table.write(it, key, (), entries[10:60]))
    node = lives.kill()
    node.later(10_000)
    assert sorted(node.bodies(b"q"), key=int) == [b"%d" % n for n in range(100)]


def test_of_what_the_log_has_lost_the_index_forgets_some_at_once(lives, monkeypatch):
    monkeypatch.setattr(delayed, "NEAR_MAX", 10)
    node = ready(lives.node)
    later(node, b"there", delay=10_000)
    node.later(3000)
    table = node.queues.schedules.index
    node.run(until=table.logs)
    (key,) = table.logs()
    lost = [Entry(5, 1 + n) for n in range(95)]
    table.environment.transact((b"schedules",), lambda it: table.write(it, key, lost, (), 96))
    node = lives.kill()
    writes, write = [], node.queues.schedules.write

    def noted(log, put, gone, mark):
        writes.append((len(gone), mark))
        return write(log, put, gone, mark)

    monkeypatch.setattr(node.queues.schedules, "write", noted)
    later(node, *(b"%d" % n for n in range(20)))  # in the place of those
    node.run(until=lambda: station(node)._schedule)
    assert sum(gone for gone, _ in writes) == 95
    assert max(gone for gone, _ in writes) < 20
    assert [mark for _, mark in writes] == [96] * (len(writes) - 1) + [1]
    node.later(10_000)
    assert node.bodies(b"q") == [*(b"%d" % n for n in range(20)), b"there"]


@pytest.mark.long
def test_memory_is_bounded_however_many_wait(lives, monkeypatch):
    from logstore.broker.schedules import schedule

    monkeypatch.setattr(schedule.Schedule.__init__, "__kwdefaults__", {"near_max": 50})
    node = ready(lives.node)
    for n in range(40):
        later(node, *(b"%d" % (100 * n + m) for m in range(50)), delay=10_000 + (n * 37) % 40 * 100)
        node.later(100)
    it = station(node)._schedule
    assert it.near <= 100
    node = lives.kill()
    node.later(30_000)
    assert len(node.bodies(b"q")) == 2000


@pytest.fixture
def lives(tmp_path):
    lives = Lives(tmp_path)
    lives.open()
    yield lives
    lives.end()


def listed(node, after=None, most=100):
    found = []
    waiting_module.listed(station(node), after, most, found.append)
    node.run(until=lambda: found)
    return found[0]


def cancel(node, offset):
    found = []
    waiting_module.cancel(station(node), offset, found.append)
    node.run(until=lambda: found)
    return found[0]


def test_what_waits_is_listed_in_the_order_of_its_times(lives):
    node = ready(lives.node)
    assert listed(node) == []
    for number in range(10):
        later(node, b"%d" % number, delay=1000 + 100 * (number % 5))
    order = [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]
    assert [it.offset for it in listed(node)] == order
    node.later(2500)  # the index has some by then, and others have gone on
    for number in range(10, 15):
        later(node, b"%d" % number, delay=1000)
    found = listed(node)
    assert [it.record.value for it in found] == [b"%d" % n for n in range(10, 15)]
    node = lives.again()
    assert [it.offset for it in listed(node)] == list(range(10, 15))
    first = listed(node, most=2)
    assert [it.offset for it in first] == [10, 11]
    rest = listed(node, (first[-1].due_ms, first[-1].offset))
    assert [it.offset for it in rest] == [12, 13, 14]


def test_a_message_that_goes_to_the_index_while_that_is_read_is_listed(at, monkeypatch):
    it = station(at)
    later(at, b"one", delay=100_000)
    at.run(until=lambda: it.schedule is not None and it.schedule.unwritten == 1)
    work = it.work

    def slow(first, second):
        read = first()
        at.later(WRITE_MS)
        at.run(until=lambda: not it.schedule.unwritten)
        work(lambda: read, second)

    monkeypatch.setattr(it, "work", slow)
    assert [message.record.value for message in listed(at)] == [b"one"]


def test_what_was_cancelled_does_not_come(lives):
    node = ready(lives.node)
    later(node, b"0", b"1", b"2", b"3")
    assert cancel(node, 1) is None
    assert isinstance(cancel(node, 1), NotWaiting)
    assert isinstance(cancel(node, 99), NotWaiting)
    node.later(500)
    node = lives.kill()
    assert cancel(node, 2) is None
    assert [it.offset for it in listed(node)] == [0, 3]
    node.later(5000)
    assert node.bodies(b"q") == [b"0", b"3"]
    assert isinstance(cancel(node, 0), NotWaiting)
    node = lives.kill()
    node.later(5000)
    assert node.bodies(b"q") == []


def test_what_goes_on_just_now_cannot_be_cancelled(at):
    later(at, b"1")
    found = []
    at.clock.now_ms += 1000
    at.queues.tick(at.clock.now_ms)
    at.turns.over()  # it is on its way, and not told to the journal yet
    waiting_module.cancel(station(at), 0, found.append)
    at.run(until=lambda: found)
    assert isinstance(found[0], NotWaiting)
    assert at.bodies(b"q") == [b"1"]


def test_an_exchange_where_nothing_ever_waited_has_nothing_to_cancel(at):
    assert isinstance(cancel(at, 0), NotWaiting)
    assert listed(at) == []


def test_a_dead_letter_may_wait(lives):
    node = ready(lives.node)
    node.declare(b"work", dead_letter_exchange="later", dead_letter_routing_key="k")
    node.publish(b"work", b"1", headers={"x-delay": 1000})
    channel = Channel()
    tag = node.get(b"work", channel, no_ack=False).tag
    channel.reject(tag)
    node.run()
    assert (node.ready(b"work"), waiting(node)) == (0, 1)
    node = lives.kill()
    node.later(1000)
    assert node.bodies(b"q") == [b"1"]
    assert waiting(node) == 0


def test_large_messages_that_are_due_together_are_moved_a_few_at_a_time(at, monkeypatch):
    largest = []
    forward = at.vhost.forward

    def forwarded(messages, held):
        largest.append(sum(len(it.body) for _, it in messages))
        return forward(messages, held)

    monkeypatch.setattr(at.vhost, "forward", forwarded)
    body = bytes(700_000)
    later(at, *[body] * 12)
    at.later(1000)
    assert at.bodies(b"q") == [body] * 12
    assert max(largest) <= 2 * len(body)


def test_a_list_has_no_more_of_a_body_than_its_beginning(at):
    later(at, bytes(100_000))
    (found,) = listed(at)
    assert (len(found.record.value), found.body_bytes) == (4096, 100_000)


def test_a_number_of_an_exchange_that_did_not_last_is_not_given_again(lives):
    """Or what is forgotten of the one would be forgotten of the other."""
    node = ready(lives.node, durable=False)
    later(node, *(b"%d" % n for n in range(2000)), delay=50_000)
    node.run(until=node.queues.schedules.index.logs)
    number = station(node).id
    node = lives.kill()
    ready(node)
    later(node, b"1")
    assert station(node).id > number
    node.later(1000)
    assert node.bodies(b"q") == [b"1"]
    node.run(until=lambda: len(node.queues.schedules.index.logs()) <= 1)


FIELDS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**31), 2**31 - 1), st.floats(), st.text(max_size=30),
    st.binary(max_size=30), st.lists(st.integers(0, 9), max_size=3),
    st.builds(fields.Timestamp, st.integers(0, 2**33)),
    st.builds(fields.Long, st.integers(-(2**63), 2**63 - 1)),
    st.builds(fields.UnsignedLongLong, st.integers(0, 2**64 - 1)),
    st.builds(fields.Octet, st.integers(0, 255)),
    st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=2),
)  # fmt: skip


@given(delay=FIELDS, moment=FIELDS)
def test_whatever_the_headers_hold_a_message_goes_on_waits_or_is_refused(delay, moment):
    """What ends at the station is due at some time; what does not names none that is to come."""
    matcher = exchange_types.matcher_of("x-delayed-message")(
        arguments_of({"x-delayed-type": "fanout"}), lambda n: 0
    )
    headers = {"x-delay": delay, "x-deliver-at": moment}
    headers = {name: it for name, it in headers.items() if it is not None}
    data = props(headers)
    try:
        stops = matcher.stops([b"k"], Looked(data))
    except InvalidDelay:
        return
    now_ms = 1_700_000_000_000
    due = due_ms(data, now_ms)
    if due is not None:
        assert stops
        record = Record(
            "", 0, 0, now_ms, b"k", b"x", (("amqp.exchange", b"e"), ("amqp.properties", data))
        )
        again = waited(record, Framing())
        assert not matcher.stops([b"k"], Looked(again.framed.properties))  # it waits once
    elif moment is None:
        assert not stops


@pytest.mark.long
def test_an_index_that_cannot_be_read_is_tried_again(lives, monkeypatch):
    node = ready(lives.node)
    later(node, *(b"%d" % n for n in range(1500)), delay=9000)
    node.later(3000)
    node.run(until=node.queues.schedules.index.logs)
    lives.close()
    page, mark, failing = ScheduleTable.page, ScheduleTable.mark, [True, True, True, True]

    def maybe(call):
        def called(*given):
            if failing:
                failing.pop()
                raise Failed("the disk is away for a moment")
            return call(*given)

        return called

    monkeypatch.setattr(ScheduleTable, "page", maybe(page))
    monkeypatch.setattr(ScheduleTable, "mark", maybe(mark))
    node = lives.open()
    for _ in range(12):
        node.run()
        node.later(1000)
    assert not failing
    assert len(node.bodies(b"q")) == 1500


class _Desk:
    """As in a server: a call that waits looks again only if it is woken."""

    def __init__(self, node):
        self.node = node
        self.woken = 0

    def do(self, call):
        return call(self.node.vhost)

    def poke(self):
        self.woken += 1

    def wait(self, ready):
        while not ready():
            before = self.woken
            self.node.run(until=lambda: not station(self.node)._knowing)
            assert self.woken > before, "nobody wakes it"


def test_who_asks_in_a_server_what_waits_is_woken_when_that_is_known(lives):
    later(ready(lives.node), b"1", delay=60_000)
    assert waiting_module.stations(_Desk(lives.again())) == [(b"later", 1)]
