"""Exchanges and queues by the library, in one process and without a server."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import pytest
from clock import NOW_MS
from library_parts import DEADLINE_S, CountingDisk

import logstore
from logstore.broker.queues.handles import Queue as Handle
from logstore.broker.queues.message import Message
from logstore.broker.queues.refusals import (
    DefaultVhost,
    ExclusiveUse,
    InvalidQueueArgument,
    NotEmpty,
    NoVhost,
    QueueDiffers,
)
from logstore.broker.routing.refusals import Inequivalent, NoExchange, NoQueue
from logstore.counts.queues import QueueTotals
from logstore.errors import Closed, Forked, InvalidName, ReadOnly, Refused
from logstore.kept.users import KeptPermission, KeptRule, KeptTopicPermission, KeptUser
from logstore.node.queues import NodeQueues
from logstore.storage.committer import Committer
from logstore.store import open_store
from logstore.turn import Turn


class Time:
    def __init__(self):
        self.now_ms = NOW_MS

    def __call__(self):
        return self.now_ms


def bodies(queue):
    """All that is ready, acknowledged."""
    found = []
    while (message := queue.get()) is not None:
        found.append(message.body)
        message.ack()
    return found


def test_a_message_goes_by_its_key(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        events = store.exchange("events", "topic")
        mail = store.queue("mail").bind(events, "mail.#")
        store.queue("all").bind("events", "#")
        assert events.publish(b"one", "mail.new")
        assert events.publish(b"two", "sms.new")
        assert bodies(mail) == [b"one"]
        assert bodies(store.queue("all")) == [b"one", b"two"]
        mail.unbind("events", "mail.#")
        store.queue("all").delete()
        assert not events.publish(b"three", "mail.new")


def test_all_of_a_message_arrives(tmp_path):
    at = datetime(2026, 1, 2, tzinfo=UTC)
    with logstore.open(tmp_path / "data") as store:
        store.queue("work").publish(
            b"body", headers={"n": 1, "deep": {"at": at, "list": [True, None, b"x"]}},
            priority=3, expiration=60_000, content_type="text/plain", timestamp=at, message_id="7",
        )  # fmt: skip
        message = store.queue("work").get()
    assert (message.queue, message.exchange, message.key) == ("work", "", "work")
    assert message.headers["n"] == 1
    assert message.headers["deep"] == {"at": int(at.timestamp()), "list": [True, None, b"x"]}
    found = message.properties
    assert (found.priority, found.expiration, found.content_type) == (3, "60000", "text/plain")
    assert (found.timestamp, found.message_id, found.delivery_mode) == (at.timestamp(), "7", 2)
    assert not message.redelivered


def test_publish_returns_when_the_message_is_synced(tmp_path):
    disk = CountingDisk()
    with open_store(tmp_path / "data", disk=disk) as store:
        queue = store.queue("work")
        queue.publish(b"first")  # makes the lane
        before = disk.syncs
        queue.publish(b"second")
        assert disk.syncs > before


def test_what_was_published_and_not_settled_is_there_after_a_restart(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.exchange("events", "fanout")
        queue = store.queue("work", max_priority=5).bind("events")
        store.exchange("events").publish_many([b"a", b"b", b"c"], priority=1)
        store.exchange("events").publish(b"urgent", priority=5)
        assert queue.get().body == b"urgent"  # not settled
        queue.get().ack()
    with logstore.open(tmp_path / "data") as store:
        assert (store.queues(), store.queue("work").arguments) == (["work"], {"x-max-priority": 5})
        assert store.queue("work").counts() == (3, 0, 0)
        assert store.exchange("events").type == "fanout"
        assert [it.key for it in store.queue("work").bindings()] == ["work", ""]
        first = store.queue("work").get()
        assert (first.body, first.redelivered) == (b"urgent", True)
        first.ack()
        assert bodies(store.queue("work")) == [b"b", b"c"]
    with logstore.open(tmp_path / "data") as store:
        assert store.queue("work").get() is None


def test_a_nacked_message_keeps_its_place(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work", delivery_limit=10)
        store.exchange("").publish_many([b"1", b"2", b"3"], "work")
        first, second = queue.get(), queue.get()
        second.nack()
        first.nack()
        again = queue.get()
        assert (again.body, again.redelivered, again.delivery_count) == (b"1", True, 1)
        assert [queue.get().body, queue.get().body] == [b"2", b"3"]


def test_a_rejected_message_is_dead_lettered(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.exchange("dead", "fanout")
        dead = store.queue("graveyard").bind("dead")
        queue = store.queue("work", dead_letter_exchange="dead")
        queue.publish(b"bad")
        queue.publish(b"worse")
        queue.get().reject()
        queue.get().nack(requeue=False)
        with dead.consume() as messages:
            found = [messages.get(DEADLINE_S) for _ in range(2)]
        assert [it.body for it in found] == [b"bad", b"worse"]
        assert [it.headers["x-death"][0]["queue"] for it in found] == ["work", "work"]


def test_a_dead_letter_that_was_on_its_way_at_the_end_comes_once(tmp_path):
    for _ in range(5):
        with logstore.open(tmp_path / "data") as store:
            store.queue("dead")
            queue = store.queue("work", arguments={
                "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead",
            })  # fmt: skip
            queue.publish(b"bad")
            queue.get().reject()
    with logstore.open(tmp_path / "data") as store:
        assert store.queue("work").counts() == (0, 0, 0)
        assert bodies(store.queue("dead")) == [b"bad"] * 5


def test_a_message_expires_while_nobody_calls(tmp_path):
    clock = Time()
    with open_store(tmp_path / "data", clock=clock) as store:
        store.queue("dead")
        queue = store.queue(
            "work", message_ttl=1000, dead_letter_exchange="", dead_letter_routing_key="dead"
        )
        queue.publish(b"late")
        queue.publish(b"sooner", expiration=10)
        assert queue.counts().ready == 2
        clock.now_ms += 1001
        with store.queue("dead").consume() as messages:
            assert {messages.get(DEADLINE_S).body for _ in range(2)} == {b"late", b"sooner"}
        assert queue.get() is None


def test_a_queue_that_nobody_uses_is_forgotten(tmp_path):
    clock = Time()
    with open_store(tmp_path / "data", clock=clock) as store:
        queue = store.queue("work", expires=1000)
        clock.now_ms += 1001
        with pytest.raises(NoQueue):
            queue.get()


def test_a_consumer_has_as_many_unsettled_as_its_prefetch_says(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work")
        store.exchange("").publish_many([b"%d" % n for n in range(10)], "work")
        with queue.consume(prefetch=3) as messages:
            had = messages.get_many(10, DEADLINE_S)
            assert [it.body for it in had] == [b"0", b"1", b"2"]
            assert messages.get(timeout_s=0) is None
            assert queue.counts() == (7, 3, 1)
            messages.ack(had[:2])
            assert [it.body for it in messages.get_many(10, DEADLINE_S)] == [b"3", b"4"]
        assert queue.counts() == (8, 0, 0)
        assert bodies(queue) == [b"%d" % n for n in range(2, 10)]


def test_only_what_was_handed_out_counts_as_failed(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work", delivery_limit=5)
        store.exchange("").publish_many([b"a", b"b"], "work")
        with queue.consume() as messages:
            messages.get(DEADLINE_S)
        assert [queue.get().delivery_count for _ in range(2)] == [1, 0]


def test_consumers_in_several_threads_share_the_messages(tmp_path):
    total, had, lock, done = 400, [], threading.Lock(), threading.Event()
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work")

        def consume():
            with queue.consume(prefetch=5) as messages:
                while not done.is_set():
                    message = messages.get(0.05)
                    if message is not None:
                        with lock:
                            had.append(message.body)
                            if len(had) >= total:
                                done.set()
                        message.ack()

        def publish(number):
            for n in range(100):
                queue.publish(b"%d-%d" % (number, n))

        with ThreadPoolExecutor(8) as pool:
            works = [pool.submit(consume) for _ in range(4)]
            works += [pool.submit(publish, number) for number in range(4)]
            for work in works:
                work.result(DEADLINE_S)
        assert sorted(had) == sorted(b"%d-%d" % (k, n) for k in range(4) for n in range(100))
        assert queue.counts() == (0, 0, 0)


def test_a_consumer_that_waits_gets_what_another_thread_publishes(tmp_path):
    with logstore.open(tmp_path / "data") as store, ThreadPoolExecutor(1) as pool:
        queue = store.queue("work")
        with queue.consume() as messages:
            waiting = pool.submit(messages.get)
            queue.publish(b"here")
            assert waiting.result(DEADLINE_S).body == b"here"


def test_iterating_ends_when_the_consumer_is_closed(tmp_path):
    with logstore.open(tmp_path / "data") as store, ThreadPoolExecutor(1) as pool:
        queue = store.queue("work")
        messages = queue.consume()
        found = pool.submit(lambda: [it.body for it in messages])
        messages.close()
        assert found.result(DEADLINE_S) == []
        with pytest.raises(Closed):
            messages.get()
        messages.close()


def test_closing_the_store_ends_those_who_wait(tmp_path):
    store = logstore.open(tmp_path / "data")
    queue = store.queue("work")
    began = threading.Event()

    def wait():
        with queue.consume() as messages:
            began.set()
            return list(messages)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        assert began.wait(DEADLINE_S)
        store.close()
        assert waiting.result(DEADLINE_S) == []
    with pytest.raises(Closed):
        queue.publish(b"late")
    with pytest.raises(Closed):
        store.queue("work")


def test_what_a_deleted_queue_gave_out_is_settled_in_vain(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work")
        queue.publish(b"a")
        queue.publish(b"b")
        with queue.consume(prefetch=1) as messages:
            message = messages.get(DEADLINE_S)
            with pytest.raises(NotEmpty):
                queue.delete(if_empty=True)
            assert queue.delete() == 1
            message.ack()
            with pytest.raises(Refused, match="queue 'work' has cancelled its consumer"):
                messages.get()
        with pytest.raises(NoQueue, match="no queue 'work'"):
            queue.counts()
        assert store.queues() == []


def test_a_message_is_settled_once(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work")
        queue.publish(b"a")
        message = queue.get()
        message.ack()
        for again in (message.ack, message.nack, message.reject):
            with pytest.raises(Refused, match="settled or given back before"):
                again()
        queue.publish(b"b")
        with queue.consume() as messages:
            message = messages.get(DEADLINE_S)
        with pytest.raises(Refused, match="settled or given back before"):
            message.ack()
        assert queue.purge() == 1
        assert queue.counts() == (0, 0, 0)


def test_a_full_queue_refuses_what_it_has_no_room_for(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work", max_length=2, overflow="reject-publish")
        assert store.exchange("").publish_many([b"a", (b"b", "other"), b"c", b"d"], "work") == (
            (1,), (3,),
        )  # fmt: skip
        with pytest.raises(Refused, match="a queue is full"):
            queue.publish(b"e")
        assert bodies(queue) == [b"a", b"c"]


def test_a_queue_that_was_full_is_full_after_a_restart(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.queue("work", max_length=1, overflow="reject-publish").publish(b"a")
    with logstore.open(tmp_path / "data") as store, pytest.raises(Refused, match="a queue is full"):
        store.queue("work").publish(b"b")


def test_a_second_declaration_must_say_the_same(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.queue("work", max_priority=5)
        store.exchange("events", "topic")
        assert store.queue("work").arguments == {"x-max-priority": 5}  # the one that there is
        store.queue("work", arguments={"x-max-priority": 5})
        with pytest.raises(QueueDiffers, match="already exists with x-max-priority 5, not 6"):
            store.queue("work", max_priority=6)
        with pytest.raises(Inequivalent, match="already exists with type topic, not direct"):
            store.exchange("events", "direct")
        with pytest.raises(NoExchange):
            store.exchange("other")
        with pytest.raises(Refused, match="max_length"):
            store.queue("new", max_lenght=5)
        with pytest.raises(InvalidName):
            store.queue("n" * 256)
        with pytest.raises(NoExchange):
            store.queue("work").bind("other")
        assert store.queues() == ["work"]


def test_only_one_consumer_has_an_exclusive_one(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work")
        with queue.consume(exclusive=True), pytest.raises(ExclusiveUse):
            queue.consume()
        queue.consume().close()


def test_what_is_not_durable_ends_with_the_store(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.queue("fleeting", durable=False).publish(b"a")
        own = store.queue(exclusive=True)
        own.publish(b"b")
        assert own.name.startswith("amq.gen-")
        assert bodies(own) == [b"b"]
        assert len(store.queues()) == 2
    with logstore.open(tmp_path / "data") as store:
        assert store.queues() == []


def test_exchanges_lead_to_exchanges(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.exchange("lost", "fanout")
        first = store.exchange("first", "direct", alternate="lost")
        second = store.exchange("second", "fanout").bind(first, "on")
        queue, lost = store.queue("work").bind(second), store.queue("lost").bind("lost")
        first.publish(b"a", "on")
        first.publish(b"b", "off")
        assert (bodies(queue), bodies(lost)) == ([b"a"], [b"b"])
        assert [(it.destination, it.kind) for it in first.bindings()] == [("second", "exchange")]
        second.unbind(first, "on")
        second.delete()
        assert "second" not in store.exchanges()


def test_a_store_that_is_read_has_no_queues(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.queue("work")
        with (
            logstore.open(tmp_path / "data", "read") as reader,
            pytest.raises(ReadOnly, match="only the process that writes a store has its queues"),
        ):
            reader.queue("work")


def test_a_fork_has_no_queues(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work")
        messages = queue.consume()
        queue.publish(b"a")
        message = messages.get(DEADLINE_S)
        child = os.fork()
        if not child:
            calls = (queue.get, messages.get, message.ack, lambda: queue.publish(b"b"))
            refused = 0
            for call in calls:
                try:
                    call()
                except Forked:
                    refused += 1
            os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
        message.ack()
        assert queue.counts() == (0, 0, 1)


def test_values_of_the_wrong_type_are_the_callers_fault(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work")
        with pytest.raises(TypeError):
            queue.publish("text")
        with pytest.raises(TypeError):
            queue.publish(b"a", headers={"a": object()})
        with pytest.raises(TypeError):
            queue.publish(b"a", colour="red")
        with pytest.raises(ValueError, match="255"):
            queue.publish(b"a", priority=256)
        with pytest.raises(Refused, match="invalid expiration"):
            queue.publish(b"a", expiration=-1)
        assert queue.counts().ready == 0


class Serving:
    """What a node does with the queues of a store, in a thread that stands for its own."""

    def __init__(self, store):
        self.internals = store.internals()
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self):
        self.loop = asyncio.get_running_loop()
        self.turn = Turn(self.loop)
        self._over = asyncio.Event()
        environment = self.internals.groups.environment
        committer = Committer(environment, self.turn.soon, self.loop.call_soon)
        with ThreadPoolExecutor(1) as pool:

            def work(first, second):
                pool.submit(lambda: self.done(first(), second))

            served = NodeQueues(
                self.loop, self.turn, self.internals, committer, work, QueueTotals()
            )
            self.queues = served.queues
            self._up.set()
            await self._over.wait()
            served.close()
            committer.close()
            self.turn.stop()

    def done(self, found, second):
        self.turn.soon(lambda: second(found))

    def publish(self, key, body):
        """As a client's message."""
        vhost = self.queues.vhosts[b"/"]
        message = Message(b"", key, b"\0\0", body)

        def publish():
            published = vhost.publish([(vhost.route(message), message)])
            published.waiting.watch(lambda: None)

        self.turn.soon(publish)

    def __enter__(self):
        self._thread.start()
        assert self._up.wait(DEADLINE_S)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


def test_a_server_in_the_same_process_shares_the_queues(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("work")
        queue.publish(b"before")
        before = queue.consume()
        with Serving(store) as server, ThreadPoolExecutor(1) as pool:
            with pytest.raises(Closed):
                before.get()
            store.exchange("events", "fanout")
            queue.bind("events")
            store.exchange("events").publish(b"by the library")
            with queue.consume() as messages:
                had = [messages.get(DEADLINE_S) for _ in range(2)]
                assert [it.body for it in had] == [b"before", b"by the library"]
                assert messages.get(timeout_s=0.01) is None
                waiting = pool.submit(messages.get)
                server.publish(b"work", b"by a client")
                had.append(waiting.result(DEADLINE_S))
                assert had[-1].body == b"by a client"
                messages.ack(had[:2])
                assert queue.counts() == (0, 1, 1)
            left = queue.consume()
            assert left.get(DEADLINE_S).body == b"by a client"
        with pytest.raises(Closed):
            left.get()
        assert queue.counts() == (1, 0, 0)
        assert bodies(queue) == [b"by a client"]


def test_a_virtual_host_of_a_name_that_was_deleted_begins_with_nothing(tmp_path):
    every = (".*", ".*", ".*")
    elsewhere = KeptPermission("al", "mail", *every)
    rule = partial(KeptRule, "al", "read")
    stay = [rule("queue", "mail:q"), rule("queue", "shop:q", allow=False)]
    go = [
        KeptPermission("al", "shop", *every), KeptTopicPermission("al", "shop", "x", ".*", ".*"),
        rule("queue", "shop:q"), rule("exchange", "shop:", "prefix"),
    ]  # fmt: skip
    with logstore.open(tmp_path / "data") as store:
        for name in ("shop", "mail"):
            store.add_vhost(name)
        store.internals().access().change([KeptUser("al"), elsewhere, *stay, *go])
        store.delete_vhost("shop")
        store.add_vhost("shop")
        left = store.internals().access()
        assert list(left.permissions.values()) == [elsewhere]
        assert not left.topic_permissions
        assert set(left.rules) == set(stay)


def test_virtual_hosts_have_queues_and_exchanges_of_their_own(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        assert store.vhosts() == ["/"]
        for _ in range(2):
            store.add_vhost("shop")
        store.exchange("x", "fanout", vhost="shop")
        queue = store.queue("q", vhost="shop").bind("x")
        store.queue("q", max_length=1)
        assert store.exchange("x", vhost="shop").publish(b"1")
        with pytest.raises(NoExchange):
            store.exchange("x")
        with pytest.raises(NoVhost, match="no virtual host 'none'"):
            store.queue("q", vhost="none")
    with logstore.open(tmp_path / "data") as store:
        assert store.vhosts() == ["/", "shop"]
        assert store.queues(vhost="shop") == ["q"]
        assert bodies(store.queue("q", vhost="shop")) == [b"1"]
        assert "x" in store.exchanges(vhost="shop")
        assert "x" not in store.exchanges()
        queue = store.queue("q", vhost="shop")
        queue.publish(b"2")
        with queue.consume() as messages:
            message = messages.get()
            store.delete_vhost("shop")
            with pytest.raises(Refused, match="has cancelled its consumer"):
                messages.get()
            message.ack()  # of no effect
        with pytest.raises(NoVhost):
            queue.get()
        with pytest.raises(NoVhost):
            store.delete_vhost("shop")
        with pytest.raises(DefaultVhost):
            store.delete_vhost("/")
        with pytest.raises(InvalidName):
            store.add_vhost("")
    with logstore.open(tmp_path / "data") as store:
        assert store.vhosts() == ["/"]
        assert store.queues() == ["q"]


def test_the_past_of_a_queue_is_read_and_nothing_is_taken(tmp_path):
    times = iter(range(NOW_MS, NOW_MS + 10_000, 10))
    with logstore.open(tmp_path / "data", clock=lambda: next(times)) as store:
        queue = store.queue("q", max_priority=5)
        for n in range(6):
            queue.publish(b"%d" % n, headers={"n": n}, priority=n % 2)
        first = queue.get()
        first.ack()
        out = queue.get()
        found = list(queue.history())
        assert [it.body for it in found] == [b"0", b"1", b"2", b"3", b"4", b"5"]
        states = {it.body: it.state for it in found}
        assert (states[first.body], states[out.body]) == ("settled", "out")
        assert sorted(set(states.values())) == ["out", "ready", "settled"]
        [it] = queue.history(only="settled")
        assert (it.position, it.priority, it.offset, it.key) == ("1:0", 1, 0, "q")
        assert (it.headers, it.properties.priority, it.exchange) == ({"n": 1}, 1, "")
        assert "PastMessage 1:0 of 'q', settled" in repr(it)
        assert [it.body for it in queue.history("1:1")] == [b"3", b"5"]
        assert [it.body for it in queue.history(1, 2)] == [b"2"]
        assert [it.body for it in queue.history(headers={"n": "4"})] == [b"4"]
        since = datetime.fromtimestamp(found[3].time_ms / 1000, UTC)
        assert [it.body for it in queue.history(since)] == [b"3", b"4", b"5"]
        assert [it.body for it in queue.history(upto=since)] == [b"0", b"1", b"2"]
        assert [it.body for it in queue.history(since.replace(tzinfo=None))] == [b"3", b"4", b"5"]
        assert queue.counts()[:2] == (4, 1)
        queue.purge()
        assert sorted(it.state for it in queue.history()) == ["out", "settled"]
    with logstore.open(tmp_path / "data") as store:
        assert [it.state for it in store.queue("q").history(only="settled")] == ["settled"]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"only": "some"}, Refused), ({"first": "x"}, Refused), ({"first": -1}, Refused),
        ({"first": True}, TypeError), ({"headers": {"a": 1}}, TypeError),
        ({"first": "1:0", "upto": "2:0"}, Refused), ({"on_damage": "eat"}, Refused),
    ],
)  # fmt: skip
def test_a_past_that_makes_no_sense_is_refused_at_once(tmp_path, given, error):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("q", max_priority=5)
        queue.publish(b"1", priority=1)
        with pytest.raises(error) as caught:
            queue.history(**given)
        assert "\n" not in str(caught.value)
        with pytest.raises(NoQueue):
            Handle("nobody", store._store_queues()).history()


def test_each_queue_says_how_long_its_past_stays(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("q", retention_ms=60_000, retention_bytes=1 << 20)
        assert queue.arguments == {"x-retention-ms": 60_000, "x-retention-bytes": 1 << 20}
        with pytest.raises(QueueDiffers):
            store.queue("q", retention_ms=1)
        with pytest.raises(InvalidQueueArgument):
            store.queue("other", retention_ms=-1)


def arrived(store, queue, count):
    """Wait until the only route has nothing left; so many are in the queue then, at least."""
    while (route := store.topic_routes()[0]).lag != 0:
        queue.counts()  # a turn
    assert queue.counts().ready == count
    return route


@pytest.mark.parametrize("count", [1, 600])
def test_a_store_closed_while_a_topic_feeds_an_exchange_sends_nothing_twice(tmp_path, count):
    with logstore.open(tmp_path / "data") as store:
        topic, queue = store.create_topic("t"), store.queue("q")
        queue.bind(store.exchange("x", "fanout"))
        store.route_topic("t", "x")
        topic.append_many([logstore.Message(b"%d" % n) for n in range(count)])
        while not queue.counts().ready:  # what was sent by then is on its way
            pass
    with logstore.open(tmp_path / "data") as store:
        arrived(store, store.queue("q"), count)
        assert bodies(store.queue("q")) == [b"%d" % n for n in range(count)]


def test_a_store_that_was_opened_just_now_says_what_a_route_waits_for(tmp_path):
    """`topic routes` on a directory that no server has never did."""
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t")
        exchange = store.exchange("x", "fanout")
        store.route_topic("t", "x")
        exchange.delete()
        store.topic("t").append(b"waits")
    with logstore.open(tmp_path / "data") as store:
        [route] = store.topic_routes()
        assert route.waits == "no exchange 'x'; declare it first"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"topic": 5}, TypeError), ({"exchange": b"x"}, TypeError), ({"key": None}, TypeError),
        ({"key": b"k"}, TypeError), ({"fallback": 5}, TypeError),
        ({"exchange": "\ud800"}, InvalidName),
        ({"exchange": "x" * 256}, InvalidName), ({"key": "\ud800"}, Refused),
    ],
)  # fmt: skip
def test_a_route_that_makes_no_sense_is_refused_in_one_line(tmp_path, given, error):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t")
        exchange = store.exchange("x", "fanout")
        with pytest.raises(error) as caught:
            store.route_topic(**{"topic": "t", "exchange": "x", **given})
        assert "\n" not in str(caught.value)
        with pytest.raises(TypeError):
            exchange.lead(5)
        assert store.topic_routes() == []
