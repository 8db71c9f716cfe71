"""What /metrics says, of models that a test has made; read by Prometheus's own parsers."""

import json
import re
from collections import Counter
from types import SimpleNamespace

import pytest
from clock import NOW_MS
from cluster_facts import cluster
from http_kit import HttpPeer, answers, request
from metrics_kit import Metered, queue
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from transacting_kit import Node
from transaction_parts import COMMIT

from logstore.broker.routing.refusals import NoExchange
from logstore.counts.mqtt_sessions import SessionCounts
from logstore.counts.mqtt_space import SpaceCounts
from logstore.counts.shares import ShareCounts
from logstore.errors import Failed
from logstore.protocols.http.common.scrapes import SCRAPES_MAX, UNREAD_S, Scrapes
from logstore.protocols.http.metrics.exposition import (
    COUNTER,
    LINES_MAX,
    OPEN,
    SUFFIXES,
    TEXT,
    TYPES,
    UNITS,
)
from logstore.protocols.http.metrics.scene import SUM_STEP
from logstore.protocols.http.metrics.scrape import GROUPS, PARTS_AT_ONCE, TABLES
from logstore.protocols.http.metrics.table_rabbit import OTHER_GROUPS
from logstore.records.record import Message

FAMILIES = [row.family for row in TABLES]
NAMES = [it.name for it in FAMILIES]
HOSTILE = ['<script>"\\\n', "\u202e", "\u2028", "a,b=c", "# EOF", "}", "x" * 255, "\x00", "é"]


# The tables themselves


@pytest.mark.parametrize("family", FAMILIES, ids=lambda it: it.name)
def test_a_family_is_named_as_all_that_reads_it_demands(family):
    assert re.fullmatch("[a-z][a-z0-9_]*", family.name)
    assert family.type in TYPES
    assert re.fullmatch(r"[ -~]+\.", family.help)
    assert not set(family.help) & set('"\\')
    endings = {ending for kind in TYPES for ending in SUFFIXES[kind] if ending}
    if family.type == COUNTER:
        assert not any(family.name.endswith(it) for it in endings)


def test_no_two_families_can_be_taken_for_each_other():
    assert [name for name, count in Counter(NAMES).items() if count > 1] == []
    shown = Counter(it.name + suffix for it in FAMILIES for suffix in SUFFIXES[it.type])
    assert [name for name, count in shown.items() if count > 1] == []
    for it in FAMILIES:  # what others call themselves must not look like a part of this one
        parts = {it.name + suffix for suffix in SUFFIXES[it.type] if suffix}
        assert not parts & (set(NAMES) - {it.name})


def test_units_are_the_base_units():
    for it in FAMILIES:
        assert not re.search("_(ms|milliseconds|microseconds|kilobytes|mb|minutes)(_|$)", it.name)
        assert it.unit in ("", *UNITS)


# What is said


class Asker:
    """A Prometheus."""

    def __init__(self, metered, scrapes=None):
        self.metered = metered
        self.scrapes = scrapes or Scrapes(metered.house)
        self.peer = HttpPeer(scrapes=self.scrapes, work=metered.later.take)

    def begin(self, path="/metrics", *headers):
        return self.peer.say(request("GET", path, b"", *headers))

    def end(self, out=b""):
        """All that comes of it; how many turns it took."""
        self.metered.later.work_off()
        turns = 0
        out += self.peer.out()
        while self.metered.left:
            calls, self.metered.left[:] = list(self.metered.left), []
            for call in calls:
                call()
            out += self.peer.out()
            turns += 1
        [(status, headers, body)] = answers(out)
        return status, headers, body.decode(), turns

    def ask(self, path="/metrics", *headers):
        return self.end(self.begin(path, *headers))

    def text(self, path="/metrics"):
        status, headers, text, _ = self.ask(path)
        assert status == 200, text
        assert headers["content-type"] == TEXT.content_type
        return text

    def samples(self, path="/metrics"):
        """{(name, labels): value} by the text of old; that of OpenMetrics says the same."""
        found = samples(parse_text(self.text(path)))
        status, headers, text, _ = self.ask(path, f"accept: {OPEN.content_type}")
        assert (status, headers["content-type"]) == (200, OPEN.content_type)
        assert steady(samples(parse_open(text))) == steady(found)
        return found


def steady(found):
    """Without what a process uses meanwhile."""
    return {
        (name, labels): None if "process_" in name else it for (name, labels), it in found.items()
    }


def samples(families):
    found = {}
    for family in families:
        for it in family.samples:
            key = it.name, tuple(sorted(it.labels.items()))
            assert key not in found, f"twice: {key}"
            found[key] = it.value
    return found


def labelled(name, value, **labels):
    return {(name, tuple(sorted(labels.items()))): value}


def assert_says(found, *rows):
    for row in rows:
        assert row.items() <= found.items(), row


QUEUES = {
    b"/": [queue(b"mail", 7, 2, consumers=1, published=9, acked=4), queue(b"jobs", 1)],
    b"shop": [queue(b"mail", 10, published=1)],
}


class Few(list):
    """So many, and what is counted of them."""

    def __init__(self, count, **counted):
        super().__init__(range(count))
        self.__dict__ |= counted


class FewSessions:
    """Of MQTT, three of which are connected."""

    connected, subscriptions = 3, 7
    counts = SessionCounts(begun=9, expired=2)

    def __len__(self):
        return 5


def test_sessions_of_mqtt_clients_are_counted():
    metered = Metered()
    metered.house.mqtt_of.opened = SimpleNamespace(
        sessions=FewSessions(), retained=Few(4, held_bytes=500, dropped=6),
        wills=Few(8, published=10), mapped=SimpleNamespace(published=11),
    )  # fmt: skip
    metered.house.space.counts = SpaceCounts(no_topics=12, no_keys=13, full=14, unkept=15)
    found = Asker(metered).samples()
    assert_says(
        found,
        labelled("logstore_mqtt_names_refused_total", 12),
        labelled("logstore_mqtt_messages_without_key_total", 13),
        labelled("logstore_mqtt_messages_without_room_total", 14),
        labelled("logstore_mqtt_messages_unkept_total", 15),
        labelled("logstore_mqtt_sessions", 3, state="connected"),
        labelled("logstore_mqtt_sessions", 2, state="away"),
        labelled("logstore_mqtt_subscriptions", 7),
        labelled("logstore_mqtt_sessions_begun_total", 9),
        labelled("logstore_mqtt_sessions_expired_total", 2),
        labelled("logstore_mqtt_retained_messages", 4),
        labelled("logstore_mqtt_retained_bytes", 500),
        labelled("logstore_mqtt_retained_dropped_total", 6),
        labelled("logstore_mqtt_wills", 8),
        labelled("logstore_mqtt_wills_published_total", 10),
        labelled("logstore_mqtt_mapped_messages_total", 11),
    )


def test_queues_are_summed_up():
    metered = Metered(QUEUES)
    metered.figures.queues.published = 100  # with those that are gone
    found = Asker(metered).samples()
    assert_says(
        found,
        labelled("rabbitmq_queues", 3),
        labelled("rabbitmq_queue_messages_ready", 18),
        labelled("rabbitmq_queue_messages_unacked", 2),
        labelled("rabbitmq_queue_messages", 20),
        labelled("rabbitmq_queue_consumers", 1),
        labelled("rabbitmq_consumers", 1),
        labelled("rabbitmq_global_consumers", 1, protocol="amqp091"),
        labelled("rabbitmq_queue_messages_published_total", 100),
    )
    [identity] = [dict(labels) for (name, labels) in found if name == "rabbitmq_identity_info"]
    assert identity["rabbitmq_endpoint"] == "aggregated"
    assert identity["rabbitmq_cluster"] == "the-store"


@pytest.mark.parametrize(
    ("path", "settings"),
    [("/metrics/per-object", {}), ("/metrics", {"metrics_per_object": True})],
)
def test_each_queue_by_itself(path, settings):
    found = Asker(Metered(QUEUES, **settings)).samples(path)
    mail = {"vhost": "/", "queue": "mail"}
    assert_says(
        found,
        labelled("rabbitmq_queues", 3),
        labelled("rabbitmq_queue_messages_ready", 7, **mail),
        labelled("rabbitmq_queue_messages_ready", 10, vhost="shop", queue="mail"),
        labelled("rabbitmq_queue_messages_published_total", 9, **mail),
        labelled("rabbitmq_queue_messages_acked_total", 4, **mail),
        labelled("rabbitmq_queue_consumers", 0, vhost="/", queue="jobs"),
        labelled("rabbitmq_queue_info", 1, **mail, queue_type="rabbit_classic_queue",
                 membership="leader"),
    )  # fmt: skip
    assert ("rabbitmq_queue_messages_ready", ()) not in found  # a sum beside them doubles all
    assert not [name for name, _ in found if name.startswith("rabbitmq_channel_")]


def test_queues_whose_messages_are_not_counted_yet_say_so():
    found = Asker(Metered({b"/": [queue(b"a", 5), queue(b"b", 0, counted=False)]})).samples()
    assert_says(
        found,
        labelled("rabbitmq_queues", 2),
        labelled("rabbitmq_queue_messages_ready", 5),
        labelled("logstore_queues_uncounted", 1),
    )


def test_without_queues_all_is_zero_and_nothing_is_opened():
    found = Asker(Metered(queues=None)).samples()
    assert_says(
        found,
        labelled("rabbitmq_queues", 0),
        labelled("rabbitmq_queue_messages_ready", 0),
        labelled("rabbitmq_global_messages_received_total", 0, protocol="amqp091"),
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_can_be_anything(name):
    found = Asker(Metered({name.encode(): [queue(name.encode(), 3)]})).samples(
        "/metrics/per-object"
    )
    assert_says(found, labelled("rabbitmq_queue_messages_ready", 3, vhost=name, queue=name))


def test_names_that_are_no_text_are_told_apart():
    metered = Metered({b"/": [queue(b"a\xff", 1), queue(b"a\xfe", 2), queue("a�".encode(), 3)]})
    found = Asker(metered).samples("/metrics/per-object")
    assert_says(
        found,
        labelled("rabbitmq_queue_messages_ready", 1, vhost="/", queue="a�", queue_bytes="61ff"),
        labelled("rabbitmq_queue_messages_ready", 2, vhost="/", queue="a�", queue_bytes="61fe"),
        labelled("rabbitmq_queue_messages_ready", 3, vhost="/", queue="a�"),
    )


def kafka(**more):
    metered = Metered(groups={
        "billing": {("orders", 0): 2, ("orders", 1): 1, ("gone", 0): 5},
        "idle": {},
    }, **more)  # fmt: skip
    topic = metered.topics.create("orders", 2, {})
    for number, count in ((0, 5), (1, 1)):
        topic.append_many([Message(b"v")] * count, partition=number)
    return metered


def test_topics_and_groups_have_the_names_of_kafkas_exporter():
    found = Asker(kafka()).samples()
    place = {"topic": "orders", "partition": "0"}
    group = {"consumergroup": "billing"}
    assert_says(
        found,
        labelled("kafka_brokers", 1),
        labelled("kafka_broker_info", 1, id="1", address="h:9092"),
        labelled("kafka_topic_partitions", 2, topic="orders"),
        labelled("kafka_topic_partition_current_offset", 5, **place),
        labelled("kafka_topic_partition_oldest_offset", 0, **place),
        labelled("kafka_topic_partition_under_replicated_partition", 0, **place),
        labelled("kafka_consumergroup_members", 2, **group),
        labelled("kafka_consumergroup_current_offset", 2, **group, **place),
        labelled("kafka_consumergroup_lag", 3, **group, **place),
        labelled("kafka_consumergroup_lag", 0, **group, topic="orders", partition="1"),
        labelled("kafka_consumergroup_lag_sum", 3, **group, topic="orders"),
        labelled("kafka_consumergroup_current_offset_sum", 3, **group, topic="orders"),
        labelled("kafka_consumergroup_current_offset", 5, **group, topic="gone", partition="0"),
        labelled("logstore_groups", 2, state="Empty"),
        labelled("logstore_records", 6),
    )
    # Nobody knows how far behind it is.
    assert not labelled("kafka_consumergroup_lag", 0, **group, topic="gone",
                        partition="0").keys() & found.keys()  # fmt: skip


def test_of_very_many_partitions_there_are_sums_and_how_many_they_are():
    few = Asker(kafka(metrics_objects_max=2)).samples()
    assert_says(few, labelled("logstore_metrics_left_out", 0, kind="partitions"),
                labelled("logstore_metrics_left_out", 3, kind="group_partitions"),
                labelled("kafka_topic_partition_current_offset", 1, topic="orders", partition="1"),
                labelled("kafka_consumergroup_lag_sum", 3, consumergroup="billing", topic="orders"),
    )  # fmt: skip
    assert not [name for name, _ in few if name == "kafka_consumergroup_lag"]
    none = Asker(kafka(metrics_objects_max=0)).samples()
    assert_says(none, labelled("logstore_metrics_left_out", 2, kind="partitions"),
                labelled("logstore_metrics_left_out", 1, kind="topics"),
                labelled("logstore_metrics_left_out", 2, kind="groups"),
                labelled("logstore_metrics_left_out", 2, kind="group_topics"),
                labelled("logstore_partitions", 2), labelled("logstore_records", 6))  # fmt: skip
    assert not [name for name, _ in none if name.startswith("kafka_topic")]
    all_ = Asker(kafka(metrics_objects_max=0)).samples("/metrics/per-object")
    assert_says(all_, labelled("kafka_consumergroup_lag", 3, consumergroup="billing",
                               topic="orders", partition="0"))  # fmt: skip


def test_a_group_that_cannot_be_read_spoils_nothing_else():
    metered = kafka(damaged=("idle",))
    found = Asker(metered).samples()
    assert_says(found, labelled("logstore_groups_damaged", 1),
                labelled("kafka_consumergroup_members", 2, consumergroup="billing"))  # fmt: skip


def test_what_is_counted_of_doors_and_of_the_disk():
    metered = Metered()
    door = metered.figures.door("kafka")
    door.opened, door.closed, door.refused, door.slow = 7, 5, 3, 1
    for ms in (0.05, 0.3, 5000):
        metered.figures.syncs.lengths_ms.add(ms)
    metered.figures.syncs.failed = 2
    metered.house.turns.add(0.002)
    asker = Asker(metered)
    found = asker.samples()
    assert_says(
        found,
        labelled("logstore_door_connections", 2, door="kafka"),
        labelled("logstore_door_connections_opened_total", 7, door="kafka"),
        labelled("logstore_door_connections_refused_total", 3, door="kafka"),
        labelled("logstore_door_slow_clients_total", 1, door="kafka"),
        labelled("logstore_door_received_bytes_total", 10, door="http"),
        labelled("rabbitmq_connections", 1),
        labelled("logstore_sync_seconds_bucket", 1, le="0.0001"),
        labelled("logstore_sync_seconds_bucket", 2, le="0.0005"),
        labelled("logstore_sync_seconds_bucket", 3, le="+Inf"),
        labelled("logstore_sync_seconds_count", 3),
        labelled("logstore_sync_failures_total", 2),
        labelled("logstore_turn_seconds_bucket", 1, le="0.0025"),
        labelled("rabbitmq_erlang_uptime_seconds", 5),
        labelled("rabbitmq_disk_space_available_bytes", 100),
    )
    assert found["logstore_sync_seconds_sum", ()] == pytest.approx(5.00035)
    assert metered.looked == 2  # once each text
    assert found["process_resident_memory_bytes", ()] > 1 << 20
    assert found["process_open_fds", ()] > 2


def test_what_upkeep_does_and_what_a_crash_has_left():
    metered = Metered()
    found = Asker(metered).samples()
    assert_says(
        found,
        labelled("logstore_upkeep_running", 1),
        labelled("logstore_upkeep_runs_total", 1500, job="compact"),
        labelled("logstore_upkeep_run_seconds_total", 1.5, job="compact"),
        labelled("logstore_upkeep_freed_bytes_total", 1500, job="compact"),
        labelled("logstore_unrecovered_logs", 3),
    )
    assert ("logstore_certificate_expiry_timestamp_seconds", ()) not in found  # there is no TLS
    metered.house.certificate_expires_s = lambda: 1_800_000_000
    assert_says(
        Asker(metered).samples(),
        labelled("logstore_certificate_expiry_timestamp_seconds", 1_800_000_000),
    )


def test_transactions_are_counted():
    metered, node = Metered(), Node()
    assert_says(Asker(metered).samples(), labelled("logstore_transactional_ids", 0))
    metered.house.transactions_of = SimpleNamespace(opened=node.coordinator)
    committed, abandoned, begun = map(node.producer, ("copier", "silent", "begun"))
    for name, producer in (("copier", committed), ("silent", abandoned), ("begun", begun)):
        node.write(producer, name=name)
    node.sync()
    node.end(committed, COMMIT)
    node.coordinator.abort("silent", lambda _: None)
    node.settle()
    assert_says(
        Asker(metered).samples(),
        labelled("logstore_transactional_ids", 3),
        labelled("logstore_transactions_open", 1),
        labelled("logstore_transactions_oldest_begin_timestamp_seconds", NOW_MS / 1000),
        labelled("logstore_transactions_committed_total", 1),
        labelled("logstore_transactions_aborted_total", 1),
        labelled("logstore_transactions_abandoned_total", 1),
    )


def test_dead_letters_of_share_groups_are_counted():
    metered, shares = Metered(), SimpleNamespace(counts=ShareCounts(5, 2))
    assert_says(Asker(metered).samples(), labelled("logstore_share_dead_letters_total", 0))
    metered.house.shares_of = SimpleNamespace(opened=shares)
    assert_says(
        Asker(metered).samples(),
        labelled("logstore_share_dead_letters_total", 5),
        labelled("logstore_share_dead_letters_dropped_total", 2),
    )


# In detail


def test_groups_of_families_are_chosen_as_with_rabbitmq():
    asker = Asker(Metered(QUEUES))
    found = asker.samples("/metrics/detailed?family=queue_coarse_metrics&vhost=shop")
    assert_says(found, labelled("rabbitmq_detailed_queue_messages_ready", 10, vhost="shop",
                                queue="mail"))  # fmt: skip
    assert {name for name, _ in found} == {
        "rabbitmq_identity_info", "rabbitmq_build_info", "rabbitmq_detailed_queue_messages_ready",
        "rabbitmq_detailed_queue_messages_unacked", "rabbitmq_detailed_queue_messages",
    }  # fmt: skip
    both = asker.samples("/metrics/detailed?family=exchange_bindings&family=vhost_status"
                         "&vhost=shop&vhost=%2F")  # fmt: skip
    assert_says(both, labelled("rabbitmq_cluster_vhost_status", 1, vhost="/"),
                labelled("rabbitmq_cluster_exchange_bindings", 3, vhost="shop", exchange="x",
                         type="topic"))  # fmt: skip


def test_who_names_no_group_gets_none():
    found = Asker(Metered(QUEUES)).samples("/metrics/detailed")
    assert {name for name, _ in found} == {"rabbitmq_identity_info", "rabbitmq_build_info"}


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_every_group_can_be_asked_for(group):
    metered = kafka(queues=QUEUES)
    found = Asker(metered).samples(f"/metrics/detailed?family={group}")
    assert len(found) > 2


@pytest.mark.parametrize("group", sorted(OTHER_GROUPS))
def test_what_rabbitmq_has_besides_is_empty_and_no_fault(group):
    path = f"/metrics/detailed?family={group}&family=queue_consumer_count"
    found = Asker(Metered(QUEUES)).samples(path)
    assert {name for name, _ in found} >= {"rabbitmq_detailed_queue_consumers"}


def test_kminions_names_are_for_those_who_ask():
    found = Asker(kafka()).samples("/metrics/detailed?family=kminion")
    assert_says(
        found,
        labelled("kminion_kafka_topic_partition_high_water_mark", 5, topic_name="orders",
                 partition_id="0"),
        labelled("kminion_kafka_consumer_group_topic_lag", 3, group_id="billing",
                 topic_name="orders"),
    )  # fmt: skip
    assert not [name for name, _ in Asker(kafka()).samples() if name.startswith("kminion")]


def test_a_share_group_is_told_apart_by_its_protocol():
    metered = Metered(groups={"shared": {}, "billing": {}})
    found = Asker(metered).samples("/metrics/detailed?family=kminion")
    rest = {"protocol": "", "state": "Empty", "coordinator_id": "1"}
    name = "kminion_kafka_consumer_group_info"
    assert_says(
        found,
        labelled(name, 0, group_id="shared", protocol_type="share", **rest),
        labelled(name, 0, group_id="billing", protocol_type="consumer", **rest),
    )


def test_a_group_that_there_is_not_is_refused_with_the_nearest():
    status, _, text, _ = Asker(Metered()).ask("/metrics/detailed?family=queue_coarse_metric")
    assert status == 400
    assert "did you mean queue_coarse_metrics?" in text
    assert Asker(Metered()).ask("/metrics?family=x")[0] == 400


# How it is answered


def test_a_scrape_of_many_queues_lets_others_have_their_turn():
    count = 3000
    metered = Metered({b"/": [queue(b"q%d" % n, 1) for n in range(count)]})
    status, _, text, turns = Asker(metered).ask()
    assert status == 200
    assert f"rabbitmq_queue_messages_ready {count}\n" in text
    assert turns >= count // SUM_STEP - 1  # the first were summed up at once
    status, _, text, turns = Asker(metered).ask("/metrics/per-object")
    assert text.count("rabbitmq_queue_messages_ready{") == count
    assert turns >= text.count("\n") // (LINES_MAX * PARTS_AT_ONCE) - 1


def test_a_queue_that_goes_meanwhile_is_left_out():
    there = [queue(b"q%d" % n, 1) for n in range(3)]
    metered = Metered({b"/": there})
    asker = Asker(metered)
    out = asker.begin("/metrics/per-object")
    there[1].gone = True
    _, _, text, _ = asker.end(out)
    assert 'queue="q0"' in text
    assert 'queue="q1"' not in text


def test_an_exchange_that_goes_meanwhile_is_left_out():
    metered = Metered({b"/": [], b"shop": []})
    gone = metered.house.queues_of.opened.vhosts[b"/"].topology

    def count(name):
        raise NoExchange(name)

    gone.count_bindings_from = count
    text = Asker(metered).text("/metrics/detailed?family=exchange_bindings")
    [said] = [it for it in text.splitlines() if "exchange_bindings{" in it]
    assert 'vhost="shop"' in said


def test_only_so_many_are_answered_at_a_time():
    metered = Metered()
    first = Asker(metered)
    askers = [first, *(Asker(metered, first.scrapes) for _ in range(SCRAPES_MAX))]
    begun = [it.begin() for it in askers]
    assert begun[:SCRAPES_MAX] == [b""] * SCRAPES_MAX
    [(status, _, body)] = answers(begun[-1])
    assert status == 503
    assert b"try again" in body
    askers[0].peer.session.close()  # gone
    assert askers[-1].begin() == b""  # has its place
    for it in askers[1:]:
        assert it.end()[0] == 200
    assert first.scrapes.under_way == 0


def test_one_that_nobody_reads_makes_room_for_another():
    metered = Metered({b"/": [queue(b"q%d" % n) for n in range(3000)]})
    scrapes, now = Scrapes(metered.house), [0.0]
    askers = [Asker(metered, scrapes) for _ in range(SCRAPES_MAX + 2)]
    for it in askers:
        it.peer = HttpPeer(scrapes=scrapes, work=metered.later.take, stopwatch=lambda: now[0])
    slow = askers[:SCRAPES_MAX]
    for it in slow:
        it.begin("/metrics/per-object")
    metered.later.work_off()
    assert all(it.peer.session.outgoing(1000) for it in slow)
    now[0] += UNREAD_S - 1
    assert b" 503 " in askers[-2].begin()
    now[0] += 1
    assert askers[-1].begin() == b""
    assert [bool(it.peer.session.closed) for it in slow] == [True, False, False, False]
    slow[0].peer.session.close()
    assert scrapes.under_way == SCRAPES_MAX


def test_only_the_head_is_answered_to_who_asks_for_that():
    metered = Metered(QUEUES)
    asker = Asker(metered)
    asker.peer.say(request("HEAD", "/metrics"))
    metered.later.work_off()
    [(status, headers, body)] = answers(asker.peer.out(), heads=(0,))
    assert (status, headers["content-type"], body) == (200, TEXT.content_type, b"")
    assert asker.scrapes.under_way == 0
    assert asker.ask()[0] == 200  # on the same connection


def test_who_goes_in_the_middle_of_it_leaves_nothing_behind():
    metered = Metered({b"/": [queue(b"q%d" % n) for n in range(3000)]})
    asker = Asker(metered)
    asker.begin("/metrics/per-object")
    metered.later.work_off()
    assert asker.peer.session.outgoing(1000)
    asker.peer.session.close()
    assert asker.scrapes.under_way == 0
    for call in metered.left:  # its turn comes although it is gone
        call()


def test_a_parameter_is_given_once_unless_it_is_a_list():
    status, _, text, _ = Asker(Metered()).ask("/api/v1/vhosts?page=1&page=2")
    assert (status, "'page' is given twice" in text) == (400, True)


def test_what_goes_wrong_in_a_worker_is_the_answer():
    metered = Metered()
    asker = Asker(metered)
    metered.house.work = lambda job, done: done(Failed("internal error: it broke"))
    status, _, text, _ = asker.ask()
    assert (status, json.loads(text)["error"]) == (500, "internal error: it broke")
    assert asker.scrapes.under_way == 0


def test_a_node_tells_of_its_cluster_and_a_server_of_its_own_of_none():
    metered = Metered()
    assert "logstore_cluster" not in Asker(metered).text()
    metered.house.cluster = lambda: cluster(failure="refused", stalled=1)
    found = Asker(metered).samples()

    def value(name, **labels):
        return found[f"logstore_cluster_{name}", tuple(labels.items())]

    assert (value("reached"), value("brokers"), value("queues_refused")) == (0, 1, 0)
    states = "here", "elsewhere", "nobody"
    assert [value("partitions", of="queues", state=it) for it in states] == [1, 1, 0]
    assert [value("partitions", of="keys", state=it) for it in states] == [1, 0, 0]
    assert value("partition_epoch", of="queues", partition="1") == 7
    assert value("partition_epoch", of="keys", partition="0") == 5
    assert (value("unacknowledged_bytes"), value("unacknowledged_appends")) == (30, 3)
    assert (value("longest_wait_seconds"), value("stalled_partitions")) == (0.5, 1)
    assert (value("stalls_total"), value("stalled_seconds_total")) == (2, 7.5)
    assert value("facts_unread") == 4
