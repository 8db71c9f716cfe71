"""What the audit log is told of a process that has the store for itself: it acts as the owner."""

import json

import pytest
from waiting import until

import logstore
from logstore.access.identity import OWNER
from logstore.errors import UnknownTopic
from logstore.kept.users import KeptUser
from logstore.names import AUDIT_TOPIC
from logstore.records.decode import decode


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path) as store:
        store.create_topic("orders", 2)
        yield store


def told(store):
    """Event and what, of all records but those about users; all of them are synced."""
    [log] = store.topic(AUDIT_TOPIC).partitions
    assert log.synced == log.end
    found = [
        json.loads(record.value)
        for batch in log.read(0, 1 << 20)
        for record in decode(batch, AUDIT_TOPIC, 0)
    ]
    assert {(it["user"], it["mechanism"], it["outcome"]) for it in found} == {
        ("__owner__", "data directory", "done")
    }
    return [(it["event"], *it["what"]) for it in found if it["event"] != "user"]


def add_a_user(store):
    store.internals().access().change([KeptUser("al")], by=OWNER)


def test_without_users_there_is_no_audit_log(store):
    store.alter_topic("orders", {"retention.ms": "5"})
    store.delete_topic("orders")
    store.queue("mail").delete()
    assert store.topics() == []


def test_topics_are_told(store):
    add_a_user(store)
    orders = store.topic("orders")
    orders.append_many([logstore.Message(b"x")] * 3, partition=1)
    store.alter_topic("orders", {"retention.ms": "5"})
    store.alter_topic("orders", reset=["retention.ms"])
    store.alter_topic("orders", partitions=3)  # no setting
    store.trim("orders", 2, [1], dry_run=True)
    store.trim("orders", 2, [1])
    store.delete_topic("orders")
    with pytest.raises(UnknownTopic):
        store.delete_topic("orders")
    assert told(store) == [
        ("settings", "of topic orders: retention.ms=5"),
        ("settings", "of topic orders: retention.ms by default"),
        ("records", "deleted of orders-1 those before 2"),
        ("topic", "deleted orders"),
    ]


def test_groups_are_told(store):
    add_a_user(store)
    store.topic("orders").append(b"x", partition=0)
    with store.consumer("orders", group="g") as consumer:
        next(iter(consumer))
        consumer.commit()
    store.group("g").delete()
    assert told(store) == [("group", "deleted g")]


def test_settings_of_share_groups_are_told_once(store):
    add_a_user(store)
    for _ in range(2):
        with store.share_consumer("orders", group="g", auto_offset_reset="earliest") as consumer:
            assert consumer.get(0) is None
    assert told(store) == [("settings", "of group g: share.auto.offset.reset=earliest")]


def test_queues_exchanges_and_virtual_hosts_are_told(store):
    add_a_user(store)
    mail = store.queue("mail")
    mail.purge()
    mail.delete()
    exchange = store.exchange("x", "fanout")
    exchange.delete()
    exchange.delete()  # there is none any more
    store.add_vhost("a:b")
    store.queue("in", vhost="a:b").delete()
    store.delete_vhost("a:b")
    assert told(store) == [
        ("queue", "purged mail"),
        ("queue", "deleted mail"),
        ("exchange", "deleted x"),
        ("virtual-host", "made a:b"),
        ("queue", "deleted a%3Ab:in"),
        ("virtual-host", "deleted a:b"),
    ]


def test_what_is_cancelled_and_definitions_that_are_given_are_told(store):
    add_a_user(store)
    store.create_topic("later", 1, {"delivery.schedule": "true"})
    store.topic("later").append(b"x", deliver_at=4_000_000_000_000)
    until(lambda: list(store.scheduled("later")))  # a thread of its own looks
    [waiting] = store.scheduled("later")
    store.cancel("later", 0, waiting.offset)
    store.export_definitions()
    store.export_definitions(vhost="/")
    assert told(store) == [
        ("records", f"cancelled later-0 at {waiting.offset}"),
        ("definitions", "given, with hashes of passwords"),
        ("definitions", "given of virtual host /"),
    ]


def test_the_last_user_who_goes_is_told_and_nothing_after_that(store):
    add_a_user(store)
    store.internals().access().change([], [KeptUser("al")], by=OWNER)
    store.delete_topic("orders")
    [log] = store.topic(AUDIT_TOPIC).partitions
    assert log.end == 2
