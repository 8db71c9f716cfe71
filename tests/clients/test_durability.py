"""What a client was told stays true when the server is killed and comes back."""

import signal

import pytest
from librdkafka import consume, produce
from wire_client import WireClient

pytestmark = pytest.mark.long


def test_acknowledged_records_outlive_kill_9(start):
    server = start()
    values = [b"%d" % n for n in range(1000)]
    assert produce(server, "t", values) == []
    server.stop(signal.SIGKILL)
    server = start()
    assert [it.value() for it in consume(server, 1000, ("t", 0, 0))] == values


def test_a_batch_sent_again_after_kill_9_has_its_old_offset(start):
    server = start()
    with WireClient(server.endpoint) as client:
        producer_id = client.new_producer_id()
        for n in range(7):
            assert client.produce("t", [b"%d" % n], producer=(producer_id, 0, n)) == (0, n)
    server.stop(signal.SIGKILL)
    server = start()
    with WireClient(server.endpoint) as client:
        assert client.produce("t", [b"5"], producer=(producer_id, 0, 5)) == (0, 5)
        assert client.produce("t", [b"8"], producer=(producer_id, 0, 8))[0] == 45  # one is missing
        assert client.produce("t", [b"7"], producer=(producer_id, 0, 7)) == (0, 7)
        assert client.new_producer_id() > producer_id
    found = consume(server, 8, ("t", 0, 0))
    assert [it.value() for it in found] == [b"%d" % n for n in range(8)]


def test_a_clean_stop_keeps_what_is_known_of_producers(start):
    server = start()
    with WireClient(server.endpoint) as client:
        producer_id = client.new_producer_id()
        assert client.produce("t", [b"a"], producer=(producer_id, 3, 0)) == (0, 0)
    assert server.stop()[0] == 0
    server = start()
    with WireClient(server.endpoint) as client:
        assert client.produce("t", [b"a"], producer=(producer_id, 3, 0)) == (0, 0)
        assert client.produce("t", [b"b"], producer=(producer_id, 2, 1))[0] == 47  # fenced
        assert client.produce("t", [b"b"], producer=(producer_id, 4, 0)) == (0, 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_in_an_orderly_way(start, number):
    server = start()
    assert produce(server, "t", [b"1"]) == []
    server.process.send_signal(number)
    told = server.process.stdout.read().decode().splitlines()
    assert told[-2].startswith(f"stopping {server.data}: requests under way have up to ")
    assert told[-1] == f"stopped {server.data}"
    code, errors = server.stop(number)
    assert (code, errors) == (0, "")
