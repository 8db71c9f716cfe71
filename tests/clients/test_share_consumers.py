"""Share groups at a real server: raw frames and librdkafka's share consumer, over kills."""

import signal
import threading
import time
from contextlib import suppress

import pytest
from confluent_kafka import AcknowledgeType, KafkaException, ShareConsumer
from librdkafka import consume, create, produce
from serving import DEADLINE_S
from wire_client import WireClient

import logstore
from logstore.broker.queues.settled import Settled
from logstore.broker.queues.share_groups import Place, begun, share_key
from logstore.kafka.messages import (
    alter_share_group_offsets,
    delete_groups,
    describe_share_group_offsets,
    incremental_alter_configs,
    metadata,
    share_acknowledge,
    share_fetch,
)
from logstore.open_queues import OpenQueues
from logstore.records.encode import encode
from logstore.records.record import Message

pytestmark = pytest.mark.long

GROUP = 32
ACCEPT, RELEASE = 1, 2
KILLS = 4


def setting(server, group, name="share.auto.offset.reset", value="earliest"):
    change = incremental_alter_configs.AlterableConfig(name, 0, value)
    resource = incremental_alter_configs.AlterConfigsResource(GROUP, group, [change])
    request = incremental_alter_configs.Request([resource])
    with WireClient(server.endpoint) as client:
        [told] = client.ask(44, 1, request, incremental_alter_configs.Response).responses
        assert told.error_code == 0, told.error_message


class Member(WireClient):
    """One member by raw frames, of one partition."""

    def __init__(self, server, topic_id, member="m", group="g"):
        super().__init__(server.endpoint)
        self.topic_id, self.member, self.group, self.epoch = topic_id, member, group, 0

    def fetch(self, *told, wait_ms=20_000):
        batches = [share_acknowledge.AcknowledgementBatch(*it) for it in told]
        part = share_fetch.FetchPartition(0, batches)
        topics = [share_fetch.FetchTopic(self.topic_id, [part])]
        request = share_fetch.Request(
            self.group, self.member, self.epoch, wait_ms, 1, 1 << 20, 500, 500, 0, False, topics
        )
        answer = self.ask(78, 2, request, share_fetch.Response)
        if answer.error_code:
            return answer.error_code
        self.epoch += 1
        return {
            it.first_offset: (it.last_offset, it.delivery_count)
            for topic in answer.responses
            for part in topic.partitions
            for it in part.acquired_records
        }

    def say(self, *told):
        batches = [share_acknowledge.AcknowledgementBatch(*it) for it in told]
        topics = [share_acknowledge.Topic(self.topic_id, [share_acknowledge.Partition(0, batches)])]
        request = share_acknowledge.Request(self.group, self.member, self.epoch, False, topics)
        answer = self.ask(79, 2, request, share_acknowledge.Response)
        assert answer.error_code == 0
        self.epoch += 1
        [[part]] = [it.partitions for it in answer.responses]
        return part.error_code


def topic_id(server, name):
    with WireClient(server.endpoint) as client:
        answer = client.ask(3, 12, metadata.Request([metadata.Topic(name=name)]), metadata.Response)
        [topic] = answer.topics
        return topic.topic_id


def standing(server, group="g"):
    request = describe_share_group_offsets.Request(
        [describe_share_group_offsets.RequestGroup(group, None)]
    )
    with WireClient(server.endpoint) as client:
        [found] = client.ask(90, 1, request, describe_share_group_offsets.Response).groups
    return {
        (topic.topic_name, it.partition_index): (it.start_offset, it.lag)
        for topic in found.topics
        for it in topic.partitions
    }


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_settled_stays_so_when_the_server_is_back(start, how):
    server = start()
    create(server, "t")
    setting(server, "g")
    produce(server, "t", [b"%d" % n for n in range(10)])
    known = topic_id(server, "t")
    with Member(server, known) as member:
        assert member.fetch() == {0: (9, 1)}
        assert member.say((0, 4, [ACCEPT]), (6, 6, [RELEASE]), (8, 8, [ACCEPT])) == 0
    server.stop(how)
    server = start()
    assert standing(server) == {("t", 0): (5, 4)}
    with Member(server, known) as member:
        member.epoch = 3
        assert member.fetch() == 122
        member.epoch = 0
        found = member.fetch()
        counts = {
            offset: count
            for first, (last, count) in found.items()
            for offset in range(first, last + 1)
        }
        assert (sorted(counts), counts[6]) == ([5, 6, 7, 9], 2)
        assert member.say((5, 7, [ACCEPT]), (9, 9, [ACCEPT])) == 0
    assert standing(server) == {("t", 0): (10, 0)}
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors


def test_a_member_that_is_gone_and_one_that_waits(start):
    server = start()
    create(server, "t")
    setting(server, "g")
    known = topic_id(server, "t")
    one, two = Member(server, known, "one"), Member(server, known, "two")
    assert one.fetch(wait_ms=0) in ({}, {0: (0, 1)})
    produce(server, "t", [b"x"])
    assert one.fetch() == {0: (0, 1)}
    one.socket.close()
    assert two.fetch() == {0: (0, 2)}
    two.socket.close()
    assert server.stop()[0] == 0


def test_offsets_are_moved_and_a_deleted_group_begins_anew(start):
    server = start()
    create(server, "t")
    setting(server, "g")
    produce(server, "t", [b"x"] * 5)
    known = topic_id(server, "t")
    with Member(server, known) as member:
        member.fetch()
        member.say((0, 2, [ACCEPT]))
    with WireClient(server.endpoint) as client:
        move = alter_share_group_offsets.RequestPartition(0, 1)
        topics = [alter_share_group_offsets.RequestTopic("t", [move])]
        request = alter_share_group_offsets.Request("g", topics)
        assert client.ask(91, 0, request, alter_share_group_offsets.Response).error_code == 0
        assert standing(server) == {("t", 0): (1, 4)}
        request = delete_groups.Request(["g"])
        [done] = client.ask(42, 2, request, delete_groups.Response).results
        assert done.error_code == 0
    server.stop(signal.SIGKILL)
    server = start()
    assert standing(server) == {}
    assert server.stop()[0] == 0


def test_what_is_settled_behind_a_logs_end_is_not_of_records_that_come_there(start, tmp_path):
    """A backup's journal is copied last, and may know of records that the copy lacks."""
    with logstore.open(tmp_path / "data") as store:
        internals = store.internals()
        topic = internals.topics.create("t", 2, {})
        for number in (0, 1):
            topic.append_many([Message(b"before")] * 3, number)
        journal = OpenQueues(internals.directory.writable(), keeper=None).journal()
        settled = Settled()
        settled.settle(0, 0, 10)
        rows = [
            (value, share_key(Place("g", topic.uuid, number)), (), 0)
            for number, values in enumerate([[begun(0), settled.encode()], [begun(2)]])
            for value in values
        ]
        journal.wait(journal.append(encode(rows)) + len(rows))
    for how in (signal.SIGKILL, signal.SIGTERM):
        server = start()
        assert standing(server) == {
            ("t", 0): (3, 0 if how == signal.SIGKILL else 5),
            ("t", 1): (2, 1),
        }
        if how == signal.SIGKILL:
            produce(server, "t", [b"after"] * 5)
        server.stop(how)
    server = start()
    with Member(server, topic.uuid) as member:
        assert member.fetch() == {3: (7, 1)}
    assert server.stop()[0] == 0


# librdkafka


def sharer(server, group="g", **conf):
    named = {name.replace("_", "."): value for name, value in conf.items()}
    made = ShareConsumer({"bootstrap.servers": server.address, "group.id": group, **named})
    made.subscribe(["t"])
    return made


def test_librdkafka_shares_partitions_and_accepts_by_itself(start):
    server = start()
    create(server, "t", 2)
    setting(server, "g")
    values = [b"%d" % n for n in range(500)]
    for partition in (0, 1):
        produce(server, "t", values[partition::2], partition)
    found, lock = [], threading.Lock()

    def work():
        consumer = sharer(server)
        deadline = time.monotonic() + DEADLINE_S
        while len(found) < len(values) and time.monotonic() < deadline:
            for message in consumer.poll(0.2):
                assert message.error() is None
                with lock:
                    found.append(message.value())
            consumer.commit_sync(10.0)
        consumer.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()
    assert sorted(found) == sorted(values)
    assert set(standing(server).values()) == {(250, 0)}
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors


def test_librdkafka_accepts_releases_and_rejects_each_by_itself(start):
    server = start()
    create(server, "t")
    setting(server, "g")
    produce(server, "t", [b"%d" % n for n in range(6)])
    consumer = sharer(server, share_acknowledgement_mode="explicit")
    rounds, deadline = {}, time.monotonic() + DEADLINE_S
    while sum(map(len, rounds.values())) < 9 and time.monotonic() < deadline:
        for message in consumer.poll(0.5):
            seen = rounds.setdefault(message.value(), [])
            seen.append(message)
            if int(message.value()) % 3 == 0:
                consumer.acknowledge(message, AcknowledgeType.REJECT)
            elif int(message.value()) % 3 == 1 and len(seen) < 3:
                consumer.acknowledge(message, AcknowledgeType.RELEASE)
            else:
                consumer.acknowledge(message, AcknowledgeType.ACCEPT)
        for error in consumer.commit_sync(10.0).values():
            assert error is None
    consumer.close()
    assert {value: len(its) for value, its in rounds.items()} == {
        b"0": 1, b"1": 3, b"2": 1, b"3": 1, b"4": 3, b"5": 1
    }  # fmt: skip
    assert standing(server) == {("t", 0): (6, 0)}
    assert server.stop()[0] == 0


def rejected(server, count, refuses, *, deadline_s=DEADLINE_S):
    """The offsets of so many records, of which a member rejects some and accepts the others; those
    of which it was told that this is so.
    """
    consumer = sharer(server, share_acknowledgement_mode="explicit")
    said, told, deadline = {}, set(), time.monotonic() + deadline_s
    while len(told) < count and time.monotonic() < deadline:
        batch = [it for it in consumer.poll(0.5) if it.error() is None]
        for message in batch:
            kind = AcknowledgeType.REJECT if refuses(message) else AcknowledgeType.ACCEPT
            consumer.acknowledge(message, kind)
            said[message.offset()] = kind
        if outcome := committing(consumer):
            assert not any(outcome.values())
            told |= {it.offset() for it in batch}
    consumer.close()
    assert len(told) == count
    return {it for it, kind in said.items() if kind is AcknowledgeType.REJECT}


def with_dead_letters(server, partitions=1, **more):
    create(server, "t")
    create(server, "dlq.g", partitions, errors_deadletterqueue_group_enable="true")
    settings = {
        "share.auto.offset.reset": "earliest", "errors.deadletterqueue.topic.name": "dlq.g", **more
    }  # fmt: skip
    for name, value in settings.items():
        setting(server, "g", name, value)


def letters(server, count):
    """(offset, deliveries, why, value) each."""
    found = []
    for message in consume(server, count, ("dlq.g", 0, 0)):
        said = {name: value.decode() for name, value in message.headers()}
        assert (said["__dlq.errors.topic"], said["__dlq.errors.partition"]) == ("t", "0")
        assert said["__dlq.errors.group"] == "g"
        found.append((
            int(said["__dlq.errors.offset"]), int(said["__dlq.errors.delivery.count"]),
            said["__dlq.errors.message"], message.value(),
        ))  # fmt: skip
    return found


def test_what_librdkafka_rejects_has_a_dead_letter_with_what_it_holds(start):
    server = start()
    with_dead_letters(server, **{"errors.deadletterqueue.copy.record.enable": "true"})
    produce(server, "t", [b"%d" % n for n in range(20)])
    those = rejected(server, 20, lambda it: it.offset() % 3 == 0)
    assert those == set(range(0, 20, 3))
    why = "Offset rejected by client."
    expected = [(it, 1, why, b"%d" % it) for it in sorted(those)]
    assert letters(server, len(expected)) == expected
    assert standing(server) == {("t", 0): (20, 0)}
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors


def test_what_was_delivered_too_often_has_one(start):
    server = start()
    with_dead_letters(server, **{"share.delivery.count.limit": "2"})
    produce(server, "t", [b"x"])
    for _ in range(2):
        with Member(server, topic_id(server, "t")) as member:
            assert member.fetch().keys() == {0}  # and it leaves
    why = "Offset delivery count exceeded the threshold."
    assert letters(server, 1) == [(0, 2, why, None)]
    assert server.stop()[0] == 0


def test_after_a_kill_each_that_was_rejected_has_one_dead_letter(start, tmp_path):
    """It comes as soon as the last of them is answered, while letters are on their way."""
    server = start()
    with_dead_letters(server)
    for _ in range(KILLS):
        produce(server, "t", [b"x"] * 50)
        assert len(rejected(server, 50, lambda it: True)) == 50
        server.stop(signal.SIGKILL)
        server = start(port=server.endpoint[1])
    with Member(server, topic_id(server, "t")) as member:
        assert member.fetch(wait_ms=0) == {}  # and what is left goes
    count = 50 * KILLS
    assert sorted(it[0] for it in letters(server, count)) == list(range(count))
    assert standing(server) == {("t", 0): (count, 0)}
    assert server.stop()[0] == 0
    with logstore.open(tmp_path / "data") as store:
        assert store.topic("dlq.g").partition(0).end == count


def test_librdkafka_goes_on_over_a_kill_of_the_server(start):
    """What it was told is committed never comes again, and nothing is lost."""
    server = start()
    create(server, "t")
    setting(server, "g")
    values = [b"%d" % n for n in range(300)]
    produce(server, "t", values)
    consumer = sharer(server, share_acknowledgement_mode="explicit", max_poll_records=20)
    committed, came, killed = set(), 0, False
    deadline = time.monotonic() + 2 * DEADLINE_S
    while len(committed) < len(values) and time.monotonic() < deadline:
        batch = [it for it in consumer.poll(0.5) if it.error() is None]
        came += len(batch)
        for message in batch:
            assert message.value() not in committed
            consumer.acknowledge(message, AcknowledgeType.ACCEPT)
        if came > 100 and not killed:
            server.stop(signal.SIGKILL)
            server = start(port=server.endpoint[1])
            killed = True
        outcome = committing(consumer)
        if outcome and not any(outcome.values()):
            committed |= {it.value() for it in batch}
    consumer.close()
    assert killed
    assert committed == set(values)
    assert server.stop()[0] == 0


def committing(consumer):
    """What becomes of it; nothing where nobody knows."""
    with suppress(KafkaException):
        return consumer.commit_sync(10.0)
    return {}
