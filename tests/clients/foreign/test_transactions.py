"""Transactional producers of other languages, old and new, and what Flink's sink does with one."""

import re
import signal

import librdkafka
import pytest
import tools
from matrix_transactions import Transactions, WithOffsets, committed, goes_on, records
from speaking import Client, Failed


class TestJava(WithOffsets):
    """Of today, so with transactions of version 2 (KIP-890)."""

    client_name = "java"


class TestJava39(WithOffsets):
    """From before 4.0: version 1."""

    client_name = "java-3.9"


class TestFranz(Transactions):
    client_name = "franz-go"


class TestKafkajs(WithOffsets):
    client_name = "kafkajs"


# Over a kill of the server


@pytest.fixture
def speak(built):
    """speak(server, name) -> a client of that server."""
    running = []

    def begin(server, name="java"):
        running.append(Client([*built(name), server.address]))
        return running[-1]

    yield begin
    for it in running:
        it.close()


@pytest.mark.parametrize("name", ["java", "java-3.9"])
def test_a_producer_goes_on_after_its_server_was_killed(start, speak, name):
    server = start()
    client = speak(server, name)
    client("create", topic="t")
    client("tx_init", id="tx")
    client("tx_begin", id="tx")
    client("tx_send", id="tx", topic="t", records=records(1))
    server.stop(signal.SIGKILL)
    again = start(port=server.address.rpartition(":")[2])
    client("tx_send", id="tx", topic="t", records=records(2))
    client("tx_end", id="tx", commit=True)
    assert committed(again, "t", 2) == ["v1", "v2"]
    client("tx_begin", id="tx")
    client("tx_send", id="tx", topic="t", records=records(3))
    again.stop(signal.SIGKILL)
    third = start(port=server.address.rpartition(":")[2])
    client("tx_end", id="tx", commit=False)
    client("tx_begin", id="tx")
    client("tx_send", id="tx", topic="t", records=records(4))
    client("tx_end", id="tx", commit=True)
    assert committed(third, "t", 3) == ["v1", "v2", "v4"]


@pytest.mark.parametrize("name", ["java", "java-3.9"])
def test_t31_a_checkpoint_is_committed_by_another_process(start, speak, name):
    """As Flink's sink does: after its own crash, and one of the server; and once more."""
    server = start()
    client = speak(server, name)
    client("create", topic="t")
    client("tx_init", id="flink-0")
    client("tx_begin", id="flink-0")
    client("tx_send", id="flink-0", topic="t", records=records(1, 2))
    kept = client("tx_state", id="flink-0")
    client.kill()
    server.stop(signal.SIGKILL)
    server = start()
    other = speak(server, name)
    other("tx_resume", id="flink-0", **kept)
    other("tx_end", id="flink-0", commit=True)
    assert committed(server, "t", 2) == ["v1", "v2"]
    third = speak(server, name)
    third("tx_resume", id="flink-0", **kept)
    said = "done"
    try:
        third("tx_end", id="flink-0", commit=True)
    except Failed as error:
        said = str(error)
    # As Flink expects it of a broker that has done it already.
    assert re.search("done|Fenced|InvalidProducerEpoch|InvalidTxnState", said)
    assert committed(server, "t", 2) == ["v1", "v2"]


# Kafka's tools


@pytest.fixture
def tool(server, built):
    """tool(name, words, ...) -> what it prints; it is told where the server is."""
    built("java")

    def run(name, *words, **more):
        return tools.run(name, "--bootstrap-server", server.address, *words, **more)

    return run


def rows(text):
    lines = [line.split() for line in text.splitlines() if "\t" in line or "  " in line]
    return [dict(zip(lines[0], row, strict=False)) for row in lines[1:]]


def test_kafka_transactions(tool, server, built, topic, speak):
    client = speak(server)
    client("create", topic=topic)
    client("tx_init", id="held")
    client("tx_begin", id="held")
    client("tx_send", id="held", topic=topic, records=records(1))
    [row] = [
        it for it in rows(tool("kafka-transactions", "list")) if it["TransactionalId"] == "held"
    ]
    assert row["TransactionState"] == "Ongoing"
    [row] = rows(tool("kafka-transactions", "describe", "--transactional-id", "held"))
    assert (row["TransactionState"], row["TransactionTimeoutMs"]) == ("Ongoing", "60000")
    assert f"{topic}-0" in str(row)
    [row] = rows(tool("kafka-transactions", "describe-producers", "--topic", topic,
                      "--partition", 0))  # fmt: skip
    assert row["CurrentTransactionStartOffset"] == "0"
    said = tool("kafka-transactions", "find-hanging", "--broker-id", 1,
                "--max-transaction-timeout", 15)  # fmt: skip
    assert topic not in said
    tool("kafka-transactions", "abort", "--topic", topic, "--partition", 0, "--start-offset", 0)
    assert not goes_on(client, "held", topic)
    librdkafka.produce(server, topic, [b"after"])
    assert committed(server, topic, 1) == ["after"]


def test_kafka_dump_log_shows_markers_and_what_was_aborted(start, speak):
    server = start()
    client = speak(server)
    client("create", topic="t")
    client("tx_init", id="tx")
    for number, commit in enumerate((True, False, True, False)):
        client("tx_begin", id="tx")
        client("tx_send", id="tx", topic="t", records=records(number))
        client("tx_end", id="tx", commit=commit)
    assert server.stop() == (0, "")
    log, index = (
        tools.run("kafka-dump-log", "--files", next((server.data / "t-0").glob(f"*.{end}")),
                  *(["--print-data-log"] if end == "log" else []))
        for end in ("log", "txnindex")
    )  # fmt: skip
    assert re.findall(r"endTxnMarker: (\w+)", log) == ["COMMIT", "ABORT", "COMMIT", "ABORT"]
    assert log.count("isTransactional: true") == 8
    assert re.findall(r"firstOffset: (\d+) lastOffset: (\d+)", index) == [("2", "3"), ("6", "7")]


def test_transactional_message_copier(server, built, topic, speak):
    """Kafka's own: what its system tests copy with, killed and begun anew."""
    built("java")
    client = speak(server)
    client("create", topic=topic, partitions=2)
    client("create", topic=f"{topic}-copy", partitions=2)
    client("produce", topic=topic, idempotent=True, records=[
        {"partition": n % 2, "key": None, "value": f"{n}"} for n in range(1000)
    ])  # fmt: skip
    said = [
        tools.run(
            "transactional-message-copier", "--broker-list", server.address,
            "--input-topic", topic, "--input-partition", partition, "--output-topic",
            f"{topic}-copy", "--transactional-id", f"copier-{partition}", "--consumer-group",
            f"group-of-{topic}", "--transaction-size", 50, "--enable-random-aborts",
            "--max-messages", 500, "--use-group-metadata",
        )
        for partition in (0, 1)
    ]  # fmt: skip
    assert all("ShutdownComplete" in it for it in said), said
    found = committed(server, f"{topic}-copy", 500) + committed(server, f"{topic}-copy", 500, 1)
    assert sorted(map(int, found)) == list(range(1000))
