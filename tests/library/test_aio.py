"""What is asyncio's own: tasks that are cancelled, many that wait, the loop that is not held up."""

import asyncio
import threading
from itertools import count

import pytest
from kept_channels import ORDERS_KEPT
from library_parts import DEADLINE_S

import logstore
import logstore.aio
from logstore import Message
from logstore.aio import consumer as consumer_module
from logstore.aio import producer as producer_module
from logstore.aio.bell import CALLS_MAX
from logstore.aio.topic import SMALL_BYTES
from logstore.aio.workers import Workers
from logstore.broker.rules import Rules
from logstore.errors import Closed, LogFailed, Refused, UnknownPartition, UnknownTopic
from logstore.storage.disk import Disk


class HeldDisk(Disk):
    """A disk whose syncs of data wait while it is held."""

    def __init__(self):
        self._go = threading.Event()
        self._go.set()
        self.asked = threading.Event()
        self.hold, self.go = self._go.clear, self._go.set

    def sync(self, fd):
        self._wait()
        super().sync(fd)

    def sync_all(self, fd):
        self._wait()
        super().sync_all(fd)

    def _wait(self):
        self.asked.set()
        assert self._go.wait(DEADLINE_S)


@pytest.fixture
def disk():
    return HeldDisk()


@pytest.fixture
def run(tmp_path, disk):
    """Run this with an open store."""

    def run(work, **given):
        async def opened():
            async with logstore.aio.open(tmp_path / "data", disk=disk, **given) as store:
                return await work(store)

        return asyncio.run(asyncio.wait_for(opened(), 2 * DEADLINE_S))

    return run


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return "\n".join(getattr(caught.value, "__notes__", []))


def values(path):
    with logstore.open(path, "read") as store, store.consumer("t") as consumer:
        return [it.value for it in consumer]


# Cancelled tasks


def test_a_cancelled_append_says_that_it_is_written_and_not_known_to_be_synced(run, disk, tmp_path):
    async def work(store):
        topic = await store.create_topic("t")
        await topic.append(b"acknowledged")
        disk.hold()
        task = asyncio.create_task(topic.append(b"written"))
        many = asyncio.create_task(topic.append_many([Message(b"1"), Message(b"2")]))
        await turns(10)
        notes = [await cancelled(task), await cancelled(many)]
        disk.go()
        return notes

    one, many = run(work)
    assert "one record of t-0: appended, and not known to be synced" in one
    assert "2 records of topic 't'" in many
    assert values(tmp_path / "data") == [b"acknowledged", b"written", b"1", b"2"]


def test_a_publish_that_is_cancelled_while_others_have_the_queues_says_that_it_may_be_made(run):
    async def work(store):
        queue, default = await store.queue("q"), await store.exchange("")
        inside, go = threading.Event(), threading.Event()

        def hold(_):
            inside.set()
            assert go.wait(DEADLINE_S)

        holding = asyncio.create_task(
            asyncio.to_thread(store.internals().queues().with_model, hold)
        )
        await asyncio.to_thread(inside.wait, DEADLINE_S)
        task = asyncio.create_task(default.publish(b"x", "q"))
        large = asyncio.create_task(default.publish(b"x" * 100_000, "q"))
        await until(lambda: len(store.workers._waiting) == 2)
        notes = [await cancelled(task), await cancelled(large)]
        go.set()
        await holding
        await queue.purge()
        return notes

    assert run(work) == ["one message: perhaps published, and not waited for"] * 2


def test_a_consumer_of_a_queue_that_is_closed_while_it_is_opened_consumes_nothing(run):
    async def work(store):
        queue = await store.queue("q")
        messages = queue.consume()
        await store.workers.run(messages._consumer.close)  # as its close does, and comes first
        with pytest.raises(Closed):
            await messages
        return (await queue.counts()).consumers

    assert run(work) == 0


@pytest.mark.long
def test_a_task_that_is_cancelled_while_it_waits_for_records_loses_none(run):
    async def work(store):
        topic = await store.create_topic("t")
        got, sent = [], count()
        async with store.consumer("t", follow=True) as consumer:
            for moment in range(60):
                task = asyncio.create_task(anext(consumer))
                await turns(moment % 20)
                await topic.append_many([Message(b"%d" % next(sent)) for _ in range(3)])
                if moment % 3:
                    await asyncio.sleep(0.001)
                task.cancel()
                try:
                    got.append(await task)
                except asyncio.CancelledError:
                    continue
            while len(got) < 180:
                got.append(await anext(consumer))
            assert await consumer.poll(timeout_s=0) == []
        return [int(it.value) for it in got]

    assert run(work) == list(range(180))


@pytest.mark.long
@pytest.mark.parametrize("how", ["get", "consume"])
def test_a_task_that_is_cancelled_while_it_waits_for_messages_loses_none(run, how):
    async def work(store):
        queue = await store.queue("jobs", delivery_limit=1)
        got, sent = [], count()
        async with queue.consume(prefetch=3) as messages:
            if how == "get":
                await messages.close()
            take = queue.get if how == "get" else messages.get
            for moment in range(60):
                task = asyncio.create_task(take())
                await turns(moment % 12)
                await queue.publish(b"%d" % next(sent))
                task.cancel()
                try:
                    message = await task
                except asyncio.CancelledError:
                    continue
                if message is not None:
                    got.append((int(message.body), message.redelivered))
                    await message.ack()
            while len(got) < 60:
                message = await take()
                got.append((int(message.body), message.redelivered))
                await message.ack()
        assert await queue.counts() == (0, 0, 0)
        return got

    found = run(work)
    assert sorted(number for number, _ in found) == list(range(60))
    if how == "consume":
        assert found == [(number, False) for number in range(60)]


@pytest.mark.long
def test_a_consumer_that_is_cancelled_while_it_is_opened_leaves_the_group(run):
    async def work(store):
        await store.create_topic("t")

        async def consume():
            async with store.consumer("t", group="g") as consumer:
                await consumer.poll(timeout_s=0)

        for moment in range(16):
            task = asyncio.create_task(consume())
            await turns(moment % 4)
            await asyncio.sleep(0.002 * (moment // 4))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        group = await store.group("g")
        while await group.members():  # they are leaving: nobody waits for that
            await asyncio.sleep(0.001)
        await store.topic("t").append(b"x")
        async with store.consumer("t", group="g") as last:
            return [record.value async for record in last]

    assert run(work) == [b"x"]


async def _opened(path):
    async with logstore.aio.open(path):
        await asyncio.sleep(DEADLINE_S)


@pytest.mark.long
def test_an_open_that_is_cancelled_leaves_the_store_unlocked(tmp_path):
    async def work():
        for moment in range(6):
            task = asyncio.ensure_future(_opened(tmp_path / "d"))
            await turns(moment)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(work())
    for _ in range(DEADLINE_S * 100):  # it is closed by a thread that is on its way out
        try:
            logstore.open(tmp_path / "d").close()
        except logstore.errors.StoreLocked:
            threading.Event().wait(0.01)
            continue
        return
    raise AssertionError("still locked")


@pytest.mark.long
def test_a_stream_goes_on_where_a_cancelled_task_left_it(run):
    async def work(store):
        for number in range(4):
            await (await store.create_topic(f"t{number}")).append(b"x")
        found, reports = [], store.verify()
        for moment in count():
            task = asyncio.create_task(anext(reports))
            await turns(moment)
            if task.done():
                break
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        found.append(await task)
        found += [it async for it in reports]
        return found

    assert sum(it.records for it in run(work)) == 4


@pytest.mark.long
def test_closing_goes_on_when_whoever_waits_is_cancelled(tmp_path, disk):
    async def work():
        store = await logstore.aio.open(tmp_path / "data", disk=disk)
        topic = await store.create_topic("t")
        await topic.append(b"1")
        disk.hold()
        appending = asyncio.create_task(topic.append(b"2"))
        await turns(5)
        closing = asyncio.create_task(store.close())
        await turns(5)
        await cancelled(closing)
        with pytest.raises(Closed):
            await store.topics()
        disk.go()
        assert (await appending).offset == 1
        await store.close()

    asyncio.run(work())
    logstore.open(tmp_path / "data").close()


# The end, and what goes wrong


def test_whoever_waits_hears_that_the_store_is_closed(tmp_path):
    async def work():
        store = await logstore.aio.open(tmp_path / "data")
        await store.create_topic("t")
        queue = await store.queue("q")

        async def over(things):
            return [it async for it in things]

        tasks = [asyncio.create_task(over(it)) for it in (store.listen("c"), queue.consume())]
        records = asyncio.create_task(over(store.consumer("t", follow=True)))
        await asyncio.sleep(0.05)
        await store.close()
        with pytest.raises(Closed):
            await records
        return await asyncio.gather(*tasks)

    assert asyncio.run(work()) == [[], []]


def test_a_commit_while_a_store_waits_for_its_last_work_hears_that_it_is_closed(
    tmp_path, monkeypatch
):
    shut, plain = [], Workers.shut

    def shutting(self):
        plain(self)
        shut.append(self)

    monkeypatch.setattr(Workers, "shut", shutting)

    async def work():
        store = await logstore.aio.open(tmp_path / "data")
        await (await store.create_topic("t")).append(b"x")
        consumer = await store.consumer("t", group="g")
        go, begun = threading.Event(), threading.Event()

        def last():
            begun.set()
            assert go.wait(DEADLINE_S)

        working = store.slow.start(last)
        await asyncio.to_thread(begun.wait, DEADLINE_S)
        closing = asyncio.create_task(store.close())
        await until(lambda: store.workers in shut)
        with pytest.raises(Closed):
            await consumer.commit()
        go.set()
        await closing
        await asyncio.gather(working, return_exceptions=True)

    asyncio.run(work())


def test_a_bug_in_one_chore_of_a_round_keeps_no_other_from_being_done(tmp_path, caplog):
    done = count(1)

    def broken():
        raise ZeroDivisionError

    async def work():
        async with logstore.aio.open(tmp_path / "data") as store:
            rounds = store._ground.rounds
            chores = [rounds.begin(0.0, broken, "chore") for _ in range(8)]
            chores += [rounds.begin(0.0, lambda: next(done) < 50, "chore") for _ in range(8)]
            await until(lambda: all(it.over for it in chores))

    asyncio.run(asyncio.wait_for(work(), DEADLINE_S))
    assert len(caplog.records) == 8


def test_a_listener_that_is_closed_before_its_history_is_open_ends_as_any_other(tmp_path):
    (tmp_path / "logstore.toml").write_text(ORDERS_KEPT)

    async def work():
        async with logstore.aio.open(tmp_path) as store:
            listener = store.listen("orders.eu")
            assert listener._listener is None
            await listener.close()
            with pytest.raises(Closed):
                await listener
            return await listener.get(), [it async for it in listener]

    assert asyncio.run(work()) == (None, [])


def test_a_sync_that_failed_is_told_to_all_who_wait(run, monkeypatch):
    async def work(store):
        topic = await store.create_topic("t")
        await topic.append(b"1")
        log = topic.partitions[0]
        with monkeypatch.context() as patch:
            patch.setattr(log, "sync_soon", lambda: log.end_sync(log.begin_sync(), OSError(5, "")))
            found = await asyncio.gather(
                *(topic.append(b"%d" % n) for n in range(5)), return_exceptions=True
            )
        with pytest.raises(LogFailed):
            await store.close()
        return found

    with pytest.raises(LogFailed):
        run(work)


@pytest.mark.long
def test_a_topic_that_is_deleted_is_told_to_whoever_waits(run, disk):
    async def work(store):
        topic = await store.create_topic("t")
        await topic.append(b"1")
        disk.hold()
        task = asyncio.create_task(topic.append(b"2"))
        await turns(5)
        deleting = asyncio.create_task(store.delete_topic("t"))
        await asyncio.sleep(0.05)
        disk.go()
        await deleting
        found = (await asyncio.gather(task, return_exceptions=True))[0]
        assert isinstance(found, UnknownPartition) or found.offset == 1
        with pytest.raises(UnknownTopic):
            store.topic("t")
        with pytest.raises(UnknownTopic):
            store.producer("t")
        with pytest.raises(UnknownTopic):
            await store.consumer("t")

    run(work)


def test_another_loop_is_refused(run, tmp_path):
    async def work(store):
        topic = await store.create_topic("t")

        def elsewhere():
            with pytest.raises(Refused, match="another event loop"):
                asyncio.run(topic.append(b"x"))

        await asyncio.get_running_loop().run_in_executor(None, elsewhere)

    run(work)


def test_what_is_no_value_is_told_at_once_and_harms_no_other(run):
    async def work(store):
        topic = await store.create_topic("t")
        found = await asyncio.gather(
            topic.append(b"1"), topic.append("text"), topic.append(b"2"), return_exceptions=True
        )
        with pytest.raises(TypeError):
            await store.channel("c").publish("text")
        with pytest.raises(TypeError):
            await (await store.queue("q")).publish("text")
        return [type(it).__name__ for it in found]

    assert run(work) == ["Position", "TypeError", "Position"]


def test_appends_of_many_tasks_stand_in_the_order_in_which_they_were_called(run):
    async def work(store):
        topic = await store.create_topic("t", partitions=3)
        await topic.append(b"", partition=1)  # the other logs are not open yet
        found = await asyncio.gather(*(topic.append(b"%d" % n, partition=0) for n in range(50)))
        return [it.offset for it in found]

    assert run(work) == list(range(50))


# Many, and the loop


@pytest.mark.long
def test_waiting_consumers_have_no_threads(run):
    async def work(store):
        await (await store.create_topic("t")).append(b"0")
        queue = await store.queue("q")
        got = []

        async def take(things, ack=False):
            async with things:
                async for it in things:
                    got.append(it)
                    if ack:
                        await it.ack()

        def begin(groups):
            kinds = [
                lambda n: take(store.consumer("t", follow=True)),
                lambda n: take(store.consumer("t", follow=True, group=f"g{groups}-{n}")),
                lambda n: take(queue.consume(prefetch=1), ack=True),
                lambda n: take(store.listen("c")),
            ]
            return [asyncio.create_task(kind(n)) for n in range(25) for kind in kinds]

        tasks = begin("a")
        await until(lambda: len(got) == 50)
        before = {it.name for it in threading.enumerate()}
        tasks += begin("b")
        await until(lambda: len(got) == 100)
        assert {it.name for it in threading.enumerate()} - before <= {
            "aio_1", "aio_2", "aio_3", "aio-rounds_0", "aio-rounds_1",
        }  # fmt: skip
        got.clear()
        await store.topic("t").append(b"1")
        await store.channel("c").publish(b"1")
        await (await store.exchange("")).publish_many([b"x"] * 50, "q")
        await until(lambda: len(got) == 200)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(work)


@pytest.mark.long
def test_the_loop_is_not_held_up_by_what_always_finds_something(run, monkeypatch):
    monkeypatch.setattr(consumer_module, "IN_A_ROW", 10)

    async def work(store):
        topic = await store.create_topic("t")
        await topic.append_many([Message(b"x")] * 2000)
        queue = await store.queue("q")
        await (await store.exchange("")).publish_many([b"x"] * 1000, "q")
        listener = store.listen("c")
        for _ in range(1000):
            await store.channel("c").publish(b"x")
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        found = []
        for most, things in [(2000, store.consumer("t")), (1000, queue.consume(prefetch=0)),
                             (1000, listener)]:  # fmt: skip
            before, taken = ticks, 0
            async for it in things:
                taken += 1
                if most == 1000 and hasattr(it, "ack"):
                    await it.ack()
                if taken == most:
                    break
            found.append(ticks - before)
        ticking.cancel()
        return found

    assert all(it >= 9 for it in run(work))


@pytest.mark.long
def test_of_many_who_are_woken_some_go_on_in_each_turn_of_the_loop(run, disk):
    async def work(store):
        topic = await store.create_topic("t")
        await topic.append(b"first")
        disk.hold()
        done = []

        async def append(number):
            await topic.append(b"%d" % number)
            done.append(number)

        tasks = [asyncio.create_task(append(n)) for n in range(4 * CALLS_MAX)]
        await turns(3)
        disk.go()
        most, before = 0, 0
        while len(done) < len(tasks):
            await asyncio.sleep(0)
            most, before = max(most, len(done) - before), len(done)
        return most, done

    most, done = run(work)
    assert most <= CALLS_MAX
    assert done == sorted(done)


@pytest.mark.long
def test_a_producer_waits_for_a_disk_that_cannot_keep_up(run, disk, monkeypatch):
    monkeypatch.setattr(producer_module, "BATCHES_MAX", 3)

    async def work(store):
        await store.create_topic("t")
        async with store.producer("t", batch_bytes=1000) as producer:
            await producer.send(b"x")
            await producer.flush()
            disk.hold()

            async def send():
                for _ in range(500):
                    await producer.send(b"x" * 100)

            task = asyncio.create_task(send())
            await until(lambda: producer.sent > 30)
            await asyncio.sleep(0.1)
            held = producer.sent
            assert not task.done()
            disk.go()
            await task
            await producer.flush()
            assert producer.acknowledged == producer.sent == 501
        return held

    assert run(work) <= 1 + 5 * 11


@pytest.mark.parametrize("how", ["append", "append_many"])
def test_large_headers_are_not_encoded_in_the_loop(run, monkeypatch, how):
    here, encoded = threading.get_ident(), []
    plain = Rules.encode

    def encode(self, *given):
        encoded.append(threading.get_ident() == here)
        return plain(self, *given)

    async def work(store):
        topic = await (await store.create_topic("t"))
        monkeypatch.setattr(Rules, "encode", encode)
        for size in (1, SMALL_BYTES):
            headers = (("h", b"x" * size),)
            if how == "append":
                await topic.append(b"x", headers=iter(headers))
            else:
                await topic.append_many([Message(b"x", None, headers)])
        return [record.headers async for record in store.consumer("t")]

    assert run(work) == [(("h", b"x" * size),) for size in (1, SMALL_BYTES)]
    assert encoded == [True, False]


def test_deadlines_are_kept_while_everybody_waits(run):
    async def work(store):
        dead = await store.queue("dead")
        queue = await store.queue(
            "q", message_ttl=20, dead_letter_exchange="", dead_letter_routing_key="dead"
        )
        async with dead.consume() as messages:
            await queue.publish(b"late")
            message = await messages.get()
            await message.ack()
        return message.body

    assert run(work) == b"late"


def test_routes_go_on_while_nobody_uses_the_queues(run):
    async def work(store):
        await store.create_topic("from")
        await store.create_topic("to")
        events = await store.exchange("events", "fanout")
        await events.lead("topic:to")
        await store.route_topic("from", "events")
        async with store.consumer("to", follow=True) as consumer:
            await store.topic("from").append(b"x", b"k")
            return (await anext(consumer)).value

    assert run(work) == b"x"


def test_a_replay_awaits_its_pauses(run):
    async def work(store):
        topic = await store.create_topic("t")
        for at in (1000, 1100, 5000):
            await topic.append(b"x", timestamp_ms=at)
        slept = []

        async def sleep(seconds):
            slept.append(seconds)

        found = [it async for them in store.replay("t", speed=0.001, sleep=sleep) for it in them]
        return [it.timestamp_ms for it in found], slept

    times, slept = run(work)
    assert times == [1000, 1100, 5000]
    assert sum(slept) > 3000


@pytest.mark.long
def test_two_tasks_that_read_one_consumer_get_each_record_once(run):
    async def work(store):
        topic = await store.create_topic("t")
        got = []

        async def read():
            async for record in consumer:
                got.append(int(record.value))
                await asyncio.sleep(0)

        async with store.consumer("t", follow=True) as consumer:
            tasks = [asyncio.create_task(read()) for _ in range(2)]
            for number in range(100):
                await topic.append(b"%d" % number)
            await until(lambda: len(got) >= 100)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return got

    assert sorted(run(work)) == list(range(100))


@pytest.mark.long
def test_threads_go_on_using_the_same_store(tmp_path):
    with logstore.open(tmp_path / "data") as behind:
        queue = behind.queue("q")
        stop = threading.Event()

        def publish():
            while not stop.is_set():
                queue.publish(b"x")

        async def work():
            async with logstore.aio.Store(behind) as store:
                thread = threading.Thread(target=publish)
                thread.start()
                theirs = await store.queue("q")
                async with theirs.consume() as messages:
                    for _ in range(100):
                        await (await messages.get()).ack()
                        await theirs.publish(b"y")
                stop.set()
                await asyncio.get_running_loop().run_in_executor(None, thread.join)

        asyncio.run(work())
