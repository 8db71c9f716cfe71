"""What is known of idempotent producers over several starts in which their partition is only read,
or trimmed: a batch that is sent again is never taken twice.
"""

import signal

import pytest
from librdkafka import consume
from wire_client import WireClient

from logstore.kafka.messages import delete_records

pytestmark = pytest.mark.long


def one_batch(server):
    with WireClient(server.endpoint) as client:
        producer_id = client.new_producer_id()
        assert client.produce("t", [b"a"], producer=(producer_id, 0, 0)) == (0, 0)
        assert client.produce("t", [b"b"], producer=(producer_id, 0, 1)) == (0, 1)
    assert server.stop()[0] == 0
    return producer_id


def test_a_start_in_which_the_partition_is_only_read_forgets_no_producer(start):
    producer_id = one_batch(start())
    server = start()
    assert len(consume(server, 2, ("t", 0, 0))) == 2
    assert server.stop()[0] == 0
    server = start()
    with WireClient(server.endpoint) as client:
        assert client.produce("t", [b"b"], producer=(producer_id, 0, 1)) == (0, 1)


def test_deleting_records_after_a_start_forgets_no_producer_by_kill_9(start):
    producer_id = one_batch(start())
    server = start()
    with WireClient(server.endpoint) as client:
        topic = delete_records.Topic("t", [delete_records.Partition(0, 1)])
        request = delete_records.Request([topic], 1000)
        client.ask(21, 1, request, delete_records.Response)
    server.stop(signal.SIGKILL)
    server = start()
    with WireClient(server.endpoint) as client:
        assert client.produce("t", [b"b"], producer=(producer_id, 0, 1)) == (0, 1)
