"""Two of three brokers are gone: nothing is acknowledged, and not all that comes is held."""

import signal

import pytest

from logstore.cluster.writer import PARTITION_BYTES_MAX
from logstore.errors import ClusterBehind

VALUE_BYTES = 100_000


def value(number):
    return b"%d " % number * (VALUE_BYTES // 10)


def test_what_was_not_acknowledged_stands_once_after_brokers_are_back(cluster, make_topic, connect):
    topic, client = make_topic(), connect()
    log = client.log(topic)
    for number in range(10):
        client.append(log, value(number))
    client.until(log, lambda: log.done == 10)
    gone = [it for it in cluster.brokers.values() if it is not cluster.leader(topic)]
    for it in gone:
        it.signal(signal.SIGKILL)
    count = 10
    while client.writer.bytes + VALUE_BYTES < PARTITION_BYTES_MAX:
        client.append(log, value(count))
        count += 1
    with pytest.raises(ClusterBehind, match=f"{topic}-0: "):
        client.append(log, bytes(2 * VALUE_BYTES))
    assert log.done == 10
    assert client.writer.bytes <= PARTITION_BYTES_MAX
    cluster.heal()
    client.until(log, lambda: log.done == log.safe == count)
    assert client.writer.bytes == 0
    assert client.read_all(log) == [value(it) for it in range(count)]
    late = connect()
    assert late.read_all(late.log(topic)) == [value(it) for it in range(count)]
    client.append(log, b"more")
    client.until(log, lambda: log.done == count + 1)
