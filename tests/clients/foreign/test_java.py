"""Apache Kafka's own client, in Java: that of today, and the last one from before 4.0."""

from typing import ClassVar

from matrix_admin import Admin
from matrix_groups import PARTITIONS, Groups, numbers, positions, shared, spread
from matrix_records import Records
from speaking import until

ASSIGNORS = "org.apache.kafka.clients.consumer."


class TestJava(Records, Admin, Groups):
    client_name = "java"

    def test_a_static_member_comes_back_to_its_partitions(self, client, join, topic):
        group = f"group-of-{topic}"
        client("create", topic=topic, partitions=PARTITIONS)
        one = join(topic, group, instance="one")
        two = join(topic, group, instance="two")
        until(lambda: shared(one, two), one, two)
        held = set(one.partitions)
        one.close()
        assert client("group", group=group)["members"] == 2
        again = join(topic, group, instance="one")
        until(lambda: again.partitions, again)
        assert (again.partitions, shared(again, two)) == (held, True)


class TestNewProtocol(Groups):
    """KIP-848: the server assigns."""

    client_name = "java"
    settings: ClassVar = {"protocol": "consumer"}

    def test_the_servers_range_assignor_may_be_asked_for(self, client, join, topic):
        group = f"group-of-{topic}"
        client("create", topic=topic, partitions=PARTITIONS)
        one = join(topic, group, protocol="consumer", assignor="range")
        two = join(topic, group, protocol="consumer", assignor="range")
        until(lambda: shared(one, two), one, two)
        assert client("group", group=group)["assignor"] == "range"
        assert sorted([one.partitions, two.partitions], key=min) == [{0, 1}, {2, 3}]

    def test_an_empty_group_goes_over_to_the_new_protocol(self, client, join, topic):
        group = f"group-of-{topic}"
        client("create", topic=topic, partitions=PARTITIONS)
        client("produce", topic=topic, records=spread(0, 8))
        old = join(topic, group)
        until(lambda: positions(old) == dict.fromkeys(range(PARTITIONS), 2), old)
        old.close()
        client("produce", topic=topic, records=spread(8, 8))
        new = join(topic, group, protocol="consumer")
        until(lambda: len(new.records) >= 8, new)
        assert numbers(new) == list(range(8, 16))

    def test_a_group_goes_over_to_the_new_protocol_while_it_runs(self, client, join, topic):
        group = f"group-of-{topic}"
        client("create", topic=topic, partitions=PARTITIONS)
        old = join(topic, group)
        until(lambda: shared(old), old)
        new = join(topic, group, protocol="consumer")
        until(lambda: shared(old, new), old, new)


class TestCooperative(Groups):
    """Only what moves is given up (KIP-429)."""

    client_name = "java"
    settings: ClassVar = {"assignor": ASSIGNORS + "CooperativeStickyAssignor"}


class TestSticky(Groups):
    client_name = "java"
    settings: ClassVar = {"assignor": ASSIGNORS + "StickyAssignor"}


class TestJava39(Records, Admin, Groups):
    client_name = "java-3.9"
