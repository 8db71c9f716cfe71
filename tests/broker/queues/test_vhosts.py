"""Virtual hosts: names of their own, made and deleted, over restarts and failures."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queue_parts import Channel, Consumer

from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.newest import newest
from logstore.broker.queues.refusals import DefaultVhost, NoVhost
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.refusals import NoExchange, NoQueue
from logstore.errors import CorruptStore, InvalidName, StorageFull
from logstore.kept.queues import KeptBinding, KeptExchange, KeptQueue, KeptRouting, KeptVhost
from logstore.storage import queues as rows


@pytest.fixture
def full(lives, monkeypatch):
    """Has the disk be full, or not."""

    def switch(on):
        def check_room():
            if on:
                raise StorageFull("no space left")

        monkeypatch.setattr(lives.node.committer._environment, "check_room", check_room)

    return switch


def directories(node):
    path = os.path.join(node.directory.path, "queues")
    return os.listdir(path) if os.path.exists(path) else []


def test_each_has_names_of_its_own(lives):
    node = lives.node
    for name in (b"a", b"b\xff"):
        node.add_vhost(name)
        node.within(name).exchange(b"x", "fanout" if name == b"a" else "topic")
        node.declare(b"q", max_length=1 if name == b"a" else 5)
        node.bind(b"x", b"q", b"#")
        node.publish(b"k", b"1", name, exchange=b"x")
    for _ in range(2):
        assert set(node.queues.vhosts) == {b"/", b"a", b"b\xff"}
        assert node.within(b"a").vhost.topology.exchange(b"x").type_name == "fanout"
        assert node.vhost.queue(b"q").limits.max_length == 1
        assert node.ready(b"q") == 1
        assert node.within(b"b\xff").ready(b"q") == 2
        assert node.vhost.topology.exchange(b"x").type_name == "topic"
        with pytest.raises(NoQueue):
            node.within(b"/").vhost.queue(b"q")
        node = lives.again()
    assert node.within(b"b\xff").bodies(b"q") == [b"1", b"b\xff"]
    assert node.within(b"a").bodies(b"q") == [b"a"]


def test_one_that_exists_is_not_made_again(lives):
    node = lives.node
    node.add_vhost(b"a")
    node.within(b"a").declare(b"q")
    assert node.queues.add_vhost(b"a") is None
    assert node.queues.add_vhost(b"/") is None
    assert node.vhost.queue(b"q")


def test_who_adds_what_another_is_adding_waits_for_it_too(node):
    first = node.queues.add_vhost(b"a")
    assert node.queues.add_vhost(b"a") is first
    with pytest.raises(NoVhost):
        node.queues.vhost(b"a")  # not before it is kept
    node.run(until=lambda: first.done)
    assert node.queues.vhost(b"a")


@pytest.mark.parametrize("name", [b"", b"x" * 256])
def test_names_that_are_none(node, name):
    with pytest.raises(InvalidName, match="names have 1 to 255 bytes"):
        node.queues.add_vhost(name)
    assert list(node.queues.vhosts) == [b"/"]


def test_one_that_is_not_there(node):
    for attempt in (node.queues.vhost, node.queues.delete_vhost):
        with pytest.raises(NoVhost, match="no virtual host 'no'; use an existing one"):
            attempt(b"no")


def test_the_default_one_stays(lives):
    with pytest.raises(DefaultVhost, match="the default virtual host stays"):
        lives.node.queues.delete_vhost(b"/")
    lives.node.declare(b"q")
    assert lives.again().vhost.queue(b"q")


def test_a_deleted_one_leaves_nothing(lives):
    node = lives.node
    node.declare(b"stays")
    node.publish(b"stays", b"1")
    node.add_vhost(b"a")
    node.within(b"a").exchange(b"x", "fanout")
    node.declare(b"q")
    node.declare(b"volatile", durable=False)
    node.bind(b"x", b"q")
    node.bind(b"amq.topic", b"q", b"#")
    node.vhost.bind(Binding(b"amq.fanout", b"x", kind="exchange"))
    node.publish(b"k", b"1", exchange=b"x")
    consumer = Consumer(Channel(), prefetch=10)
    node.vhost.queue(b"q").subscribe(consumer)
    node.run()
    assert consumer.bodies == [b"1"]
    assert len(directories(node)) == 2
    assert node.delete_vhost(b"a") is None
    node.run()
    assert consumer.is_cancelled
    assert list(node.queues.vhosts) == [b"/"]
    assert len(directories(node)) == 1
    kept = node.logs.keeper.load()
    assert [it.name for it in kept.vhosts] == ["/"]
    assert [it.name for it in kept.queues] == ["stays"]
    assert (kept.exchanges, kept.bindings) == ([], [])
    for _ in range(2):
        node = lives.again()
        assert list(node.queues.vhosts) == [b"/"]
        assert set(node.queues._notes.queues()) <= {0, node.vhost.queue(b"stays").id}
        node.add_vhost(b"a")
        with pytest.raises(NoQueue):  # of the same name, and not the same
            node.within(b"a").vhost.queue(b"q")
        with pytest.raises(NoExchange):
            node.vhost.topology.exchange(b"x")
        assert node.delete_vhost(b"a") is None
    assert node.within(b"/").bodies(b"stays") == [b"1"]


def test_guests_of_a_deleted_one_are_told(node):
    class Guest:
        told = 0

        def vhost_gone(self):
            self.told += 1

    guests = Guest(), Guest()
    node.add_vhost(b"a")
    for guest in guests:
        node.queues.vhost(b"a").guests[guest] = None
    gone = node.queues.vhost(b"a")
    node.queues.vhost(b"/").guests[stranger := Guest()] = None
    node.delete_vhost(b"a")
    assert [it.told for it in (*guests, stranger)] == [1, 1, 0]
    assert not gone.guests


def test_a_declaration_that_is_under_way_when_its_host_goes(lives):
    node = lives.node
    node.add_vhost(b"a")
    vhost = node.queues.vhost(b"a")
    _, queue = vhost.declare_queue(QueueFacts(b"q", durable=True))
    exchange = vhost.declare_exchange(ExchangeFacts(b"x", "direct"))
    gone = node.queues.delete_vhost(b"a")
    node.run(until=lambda: queue.done and exchange.done and gone.done)
    kept = lives.again().logs.keeper.load()
    assert (kept.queues, kept.exchanges) == ([], [])
    assert [it.name for it in kept.vhosts] in ([], ["/"])


def test_one_that_cannot_be_kept_is_not_there(lives, full):
    node = lives.node
    full(True)
    pending = node.queues.add_vhost(b"a")
    node.run(until=lambda: pending.done)
    assert isinstance(pending.error, StorageFull)
    with pytest.raises(NoVhost):
        node.queues.vhost(b"a")
    full(False)
    node.add_vhost(b"a")
    assert lives.again().queues.vhost(b"a")


def test_one_that_could_not_be_forgotten_is_there_again_after_a_restart(lives, full):
    node = lives.node
    node.add_vhost(b"a")
    node.within(b"a").declare(b"q")
    node.publish(b"q", b"1")
    full(True)
    assert isinstance(node.delete_vhost(b"a"), StorageFull)
    full(False)
    assert lives.again().within(b"a").bodies(b"q") == [b"1"]


def test_one_that_was_made_again_since_is_the_one_that_counts(lives, full):
    node = lives.node
    node.add_vhost(b"a")
    node.within(b"a").declare(b"q")
    node.publish(b"q", b"old")
    full(True)
    node.delete_vhost(b"a")
    full(False)
    node.add_vhost(b"a")
    node.within(b"a").declare(b"q")
    node.publish(b"q", b"new")
    for _ in range(2):
        node = lives.again()
        node.run()
        assert node.within(b"a").ready(b"q") == 1
        assert len(directories(node)) == 1
    assert node.bodies(b"q") == [b"new"]


def test_a_queue_that_could_not_be_forgotten_and_was_made_again(lives, full):
    node = lives.node
    node.declare(b"q")
    node.publish(b"q", b"old")
    full(True)
    _, pending = node.vhost.delete_queue(node.vhost.queue(b"q"))
    node.run(until=lambda: pending.done)
    assert isinstance(pending.error, StorageFull)
    full(False)
    node.declare(b"q", max_length=3)
    node.publish(b"q", b"new")
    node = lives.again()
    assert node.vhost.queue(b"q").limits.max_length == 3
    assert node.bodies(b"q") == [b"new"]


def test_a_process_that_dies_before_the_logs_are_deleted_leaves_none(lives):
    node = lives.node
    node.add_vhost(b"a")
    node.within(b"a").declare(b"q")
    node.publish(b"q", b"1")
    works = []
    node.queues.logs._work = lambda first, second: works.append(first)  # the logs stay
    assert node.delete_vhost(b"a") is None
    assert len(directories(node)) == 1
    node = lives.kill()
    node.run()
    assert directories(node) == []
    assert list(node.queues.vhosts) == [b"/"]


# What counts of what is kept


def routing(*rows, damaged=()):
    def of(kind):
        return [it for it in rows if isinstance(it, kind)]

    return KeptRouting(
        of(KeptVhost), of(KeptExchange), of(KeptQueue), of(KeptBinding), 100, damaged
    )


def test_earlier_ones_of_a_name_do_not_count_nor_what_they_had():
    old, new = KeptVhost(9, "a"), KeptVhost(10, "a")
    rows = [
        old, KeptExchange(11, 9, "x", "direct"), KeptQueue(12, 9, "q"), KeptBinding(13, 11, 12, ""),
        new, KeptExchange(14, 10, "x", "fanout"), KeptQueue(15, 10, "q"),
        KeptBinding(16, 14, 15, ""), KeptQueue(17, 10, "q"), KeptExchange(8, 10, "x", "topic"),
    ]  # fmt: skip
    for order in (rows, rows[::-1]):
        [hosted], left = newest(routing(*order))
        assert hosted.fact is new
        assert {it.id for it in hosted.queues.values()} == {17}
        assert {it.id for it in hosted.exchanges.values()} == {14}
        assert hosted.bindings == []  # its queue was made again
        assert sorted(it.id for it in left) == [8, 9, 11, 12, 13, 15, 16]


def test_a_binding_between_hosts_or_from_a_queue_does_not_count():
    [a, b], left = newest(
        routing(
            KeptVhost(1, "a"), KeptVhost(2, "b"), KeptExchange(3, 1, "x", "direct"),
            KeptQueue(4, 2, "q"), KeptQueue(5, 1, "q"),
            KeptBinding(6, 3, 4, ""), KeptBinding(7, 5, 5, ""), good := KeptBinding(8, 3, 5, ""),
        )
    )  # fmt: skip
    assert (a.bindings, b.bindings) == ([good], [])
    assert [it.id for it in left] == [6, 7]


ROWS = st.lists(
    st.one_of(
        st.builds(KeptVhost, st.integers(1, 40), st.sampled_from("ab")),
        st.builds(KeptExchange, st.integers(1, 40), st.integers(1, 40), st.sampled_from("xy"),
                  st.just("direct")),
        st.builds(KeptQueue, st.integers(1, 40), st.integers(1, 40), st.sampled_from("pq")),
        st.builds(KeptBinding, st.integers(1, 40), st.integers(1, 40), st.integers(1, 40),
                  st.just("")),
    ),
    unique_by=lambda it: it.id,
)  # fmt: skip


@given(ROWS)
def test_every_row_counts_or_is_left_and_names_are_there_once(rows):
    found, left = newest(routing(*rows))
    counted = []
    for it in found:
        counted += [it.fact, *it.exchanges.values(), *it.queues.values(), *it.bindings]
        assert {row.vhost for row in (*it.exchanges.values(), *it.queues.values())} <= {it.fact.id}
        ends = {row.id for row in (*it.exchanges.values(), *it.queues.values())}
        assert {end for row in it.bindings for end in (row.source, row.destination)} <= ends
    assert sorted(it.id for it in (*counted, *left)) == sorted(it.id for it in rows)
    assert len({it.fact.name for it in found}) == len(found)


def test_a_damaged_row_has_nothing_removed(lives, monkeypatch):
    node = lives.node
    node.add_vhost(b"a")
    node.within(b"a").declare(b"q")
    node.publish(b"q", b"1")
    host = node.logs.keeper.load().vhosts[-1]
    lives.close()

    def load(environment):
        kept = original(environment)
        rest = [it for it in kept.vhosts if it.id != host.id]
        return KeptRouting(
            rest, kept.exchanges, kept.queues, kept.bindings, kept.next_id,
            [CorruptStore("a row is damaged")],
        )  # fmt: skip

    original = rows.load
    monkeypatch.setattr(rows, "load", load)
    node = lives.open()
    node.run()
    assert list(node.queues.vhosts) == [b"/"]
    lives.close()
    monkeypatch.undo()
    assert lives.open().within(b"a").bodies(b"q") == [b"1"]
