"""What one client has written and committed, another reads and goes on from."""

from itertools import permutations

import pytest
from matrix_groups import PARTITIONS, numbers, positions, spread
from matrix_records import CODECS, records, values
from speaking import until

NAMES = ["java", "kafkajs", "franz-go"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("writer", "reader"), list(permutations(NAMES, 2)))
def test_one_reads_what_another_wrote(speaking_to, topic, writer, reader, codec):
    sent = records(100, headers=[["from", writer]])
    speaking_to(writer)("produce", topic=topic, records=sent, compression=codec)
    found = speaking_to(reader)("consume", topic=topic, count=100)
    assert values(found) == [it["value"] for it in sent]
    assert all(it["headers"] == [["from", writer]] for it in found["records"])


def test_a_group_goes_on_from_client_to_client(speaking_to, join, topic):
    group, sent = f"group-of-{topic}", 0
    speaking_to("java")("create", topic=topic, partitions=PARTITIONS)
    for writer, reader in zip(NAMES, [*NAMES[1:], NAMES[0]], strict=True):
        speaking_to(writer)("produce", topic=topic, records=spread(sent, 8))
        member = join(topic, group, reader)
        ends = dict.fromkeys(range(PARTITIONS), (sent + 8) // PARTITIONS)
        until(lambda member=member, ends=ends: positions(member) == ends, member)
        assert numbers(member) == list(range(sent, sent + 8))
        member.close()
        sent += 8


def test_members_of_two_clients_share_a_group(speaking_to, join, topic):
    group = f"group-of-{topic}"
    speaking_to("java")("create", topic=topic, partitions=PARTITIONS)
    range_of_java = "org.apache.kafka.clients.consumer.RangeAssignor"
    one = join(topic, group, "java", assignor=range_of_java)
    two = join(topic, group, "franz-go", assignor="range")
    until(lambda: len(one.partitions) == len(two.partitions) == 2, one, two)
    assert one.partitions | two.partitions == set(range(PARTITIONS))
