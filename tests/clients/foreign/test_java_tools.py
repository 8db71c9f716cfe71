"""The command-line tools of Apache Kafka."""

import json
import re
from datetime import UTC, datetime

import librdkafka
import pytest
import tools
from speaking import until

from logstore.protocols.kafka.apis import APIS

START_MS = 1_700_000_000_000


@pytest.fixture
def tool(server, built):
    """tool(name, words, ...) -> what it prints; it is told where the server is."""
    built("java")

    def run(name, *words, **more):
        return tools.run(name, "--bootstrap-server", server.address, *words, **more)

    return run


def table(text):
    """Rows of columns, by the names in the first line."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    [head, *rows] = [it for it in lines if it[0] != "Consumer"]
    return [dict(zip(head, row, strict=False)) for row in rows]


def numbered(count):
    return [b"%d" % n for n in range(count)]


def consumed(server, topic, count):
    return [(it.key(), it.value()) for it in librdkafka.consume(server, count, (topic, 0, 0))]


def test_kafka_topics(tool, topic):
    tool("kafka-topics", "--create", "--topic", topic, "--partitions", 3,
         "--config", "retention.ms=5000")  # fmt: skip
    assert topic in tool("kafka-topics", "--list").split()
    [first, *rest] = tool("kafka-topics", "--describe", "--topic", topic).splitlines()
    assert re.search(
        r"PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: retention.ms=5000", first
    )
    assert len(rest) == 3
    assert all(re.search(r"Leader: 1\s+Replicas: 1\s+Isr: 1", it) for it in rest)
    tool("kafka-topics", "--alter", "--topic", topic, "--partitions", 5)
    assert "PartitionCount: 5" in tool("kafka-topics", "--describe", "--topic", topic)
    assert tool("kafka-topics", "--describe", "--unavailable-partitions").strip() == ""
    said = tool("kafka-topics", "--create", "--topic", topic, fails=True)
    assert "TopicExistsException" in said
    tool("kafka-topics", "--delete", "--topic", topic)
    assert topic not in tool("kafka-topics", "--list").split()


def test_what_tools_ask_of_any_cluster(tool, server, topic):
    librdkafka.create(server, topic)
    assert "No partition reassignments" in tool("kafka-reassign-partitions", "--list")
    said = tool("kafka-leader-election", "--election-type", "preferred", "--topic", topic,
                "--partition", 0)  # fmt: skip
    assert f"already elected for partitions {topic}-0" in said
    said = tool("kafka-metadata-quorum", "describe", "--status")
    assert re.search(r"LeaderId:\s+1\n", said)
    assert re.search(r"MaxFollowerLag:\s+0\n", said)
    assert re.search(r"^1\s+\S+\s+0\s+0\s+.*Leader", tool(
        "kafka-metadata-quorum", "describe", "--replication"), re.MULTILINE)  # fmt: skip
    tool("kafka-features", "describe")
    assert tool("kafka-configs", "--entity-type", "users", "--describe").strip() == ""


def test_kafka_configs(tool, server, topic):
    librdkafka.create(server, topic)
    of = ["--entity-type", "topics", "--entity-name", topic]
    tool("kafka-configs", *of, "--alter", "--add-config",
         "retention.ms=5000,cleanup.policy=[compact,delete]")  # fmt: skip
    said = tool("kafka-configs", *of, "--describe")
    assert "retention.ms=5000" in said
    assert "cleanup.policy=compact,delete" in said
    assert "segment.bytes=1073741824" in tool("kafka-configs", *of, "--describe", "--all")
    tool("kafka-configs", *of, "--alter", "--delete-config", "retention.ms")
    assert "retention.ms" not in tool("kafka-configs", *of, "--describe")
    said = tool("kafka-configs", *of, "--alter", "--add-config", "retention.sm=1", fails=True)
    assert "InvalidConfigurationException" in said
    assert "retention.ms" in said
    node = ["--entity-type", "brokers", "--entity-name", "1"]
    assert "num.partitions=1" in tool("kafka-configs", *node, "--describe", "--all")


def test_quotas_by_kafka_configs(tool):
    client = ["--entity-type", "users", "--entity-name", "al", "--entity-type", "clients",
              "--entity-name", "c"]  # fmt: skip
    tool("kafka-configs", *client, "--alter", "--add-config",
         "producer_byte_rate=1024,request_percentage=12.5")  # fmt: skip
    said = tool("kafka-configs", *client, "--describe")
    assert "producer_byte_rate=1024.0" in said
    assert "request_percentage=12.5" in said
    ip = ["--entity-type", "ips", "--entity-default"]
    tool("kafka-configs", *ip, "--alter", "--add-config", "connection_creation_rate=1000")
    assert "connection_creation_rate=1000.0" in tool("kafka-configs", *ip, "--describe")
    default = ["--entity-type", "users", "--entity-default"]
    said = tool("kafka-configs", *default, "--alter", "--add-config", "producer_byte_rate=-1",
                fails=True)  # fmt: skip
    assert "Quota producer_byte_rate must be greater than 0" in said
    tool("kafka-configs", *client, "--alter", "--delete-config",
         "producer_byte_rate,request_percentage")  # fmt: skip
    tool("kafka-configs", *ip, "--alter", "--delete-config", "connection_creation_rate")
    assert tool("kafka-configs", *client, "--describe").strip() == ""


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_the_console_producer_and_consumer(tool, server, topic, codec):
    lines = "".join(f"k{n}\tgrößer {n}\n" for n in range(200))
    words = ["--topic", topic, "--compression-codec", codec, "--reader-property", "parse.key=true"]
    tool("kafka-console-producer", *words, stdin=lines)
    assert consumed(server, topic, 200) == [
        (b"k%d" % n, f"größer {n}".encode()) for n in range(200)
    ]
    shown = ["print.key=true", "print.offset=true", "print.partition=true"]
    said = tool(
        "kafka-console-consumer", "--topic", topic, "--from-beginning", "--max-messages", 200,
        *(word for it in shown for word in ("--formatter-property", it)),
    )  # fmt: skip
    assert said.splitlines() == [f"Partition:0\tOffset:{n}\tk{n}\tgrößer {n}" for n in range(200)]


def test_the_console_consumer_of_a_partition_from_an_offset(tool, server, topic):
    assert librdkafka.produce(server, topic, numbered(100)) == []
    words = ["--topic", topic, "--partition", 0, "--offset", 90, "--max-messages", 10]
    assert tool("kafka-console-consumer", *words).split() == [str(n) for n in range(90, 100)]


def test_the_console_consumer_goes_on_where_its_group_was(tool, server, topic):
    assert librdkafka.produce(server, topic, numbered(20)) == []
    words = ["--topic", topic, "--group", f"group-of-{topic}", "--max-messages", 10]
    first = tool("kafka-console-consumer", *words, "--from-beginning")
    second = tool("kafka-console-consumer", *words)
    assert (first + second).split() == [str(n) for n in range(20)]


def test_kafka_consumer_groups(tool, server, join, topic):
    group = f"group-of-{topic}"
    times = [START_MS + 1000 * n for n in range(20)]
    assert librdkafka.produce(server, topic, numbered(20), timestamps=times) == []
    member = join(topic, group, "java")
    until(lambda: member.committed == {0: 20}, member)
    assert group in tool("kafka-consumer-groups", "--list").split()
    of = ["--group", group]
    [row] = table(tool("kafka-consumer-groups", *of, "--describe"))
    assert (row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"]) == ("20", "20", "0")
    [row] = table(tool("kafka-consumer-groups", *of, "--describe", "--members", "--verbose"))
    assert row["#PARTITIONS"] == "1"
    assert " Stable " in tool("kafka-consumer-groups", *of, "--describe", "--state")
    assert "GroupNotEmptyException" in tool("kafka-consumer-groups", *of, "--delete")
    member.close()
    assert " Empty " in tool("kafka-consumer-groups", *of, "--describe", "--state")
    reset = ["kafka-consumer-groups", *of, "--reset-offsets", "--topic", topic, "--execute"]
    moment = datetime.fromtimestamp(START_MS / 1000 + 5, UTC).strftime(
        "%Y-%m-%dT%H:%M:%S.000+00:00"
    )
    for words, place in [(["--to-earliest"], "0"), (["--shift-by", 7], "7"),
                         (["--to-datetime", moment], "5"), (["--to-latest"], "20")]:  # fmt: skip
        tool(*reset, *words)
        [row] = table(tool("kafka-consumer-groups", *of, "--describe"))
        assert row["CURRENT-OFFSET"] == place
    tool("kafka-consumer-groups", *of, "--delete-offsets", "--topic", topic)
    assert topic not in tool("kafka-consumer-groups", *of, "--describe")
    tool("kafka-consumer-groups", *of, "--delete")
    assert group not in tool("kafka-consumer-groups", "--list").split()


def test_kafka_groups(tool, server, join, topic):
    old, new = (
        join(topic, f"{it}-of-{topic}", "java", protocol=it) for it in ("classic", "consumer")
    )
    assert librdkafka.produce(server, topic, numbered(1)) == []
    until(lambda: old.records and new.records, old, new)
    kinds = {row["GROUP"]: row["TYPE"] for row in table(tool("kafka-groups", "--list"))}
    assert kinds[f"classic-of-{topic}"] == "Classic"
    assert kinds[f"consumer-of-{topic}"] == "Consumer"


def test_kafka_get_offsets(tool, server, topic):
    times = [START_MS + n for n in (0, 9000, 4000)]
    assert librdkafka.produce(server, topic, numbered(3), timestamps=times) == []
    asked = {"-2": 0, "-1": 3, "-3": 1, str(START_MS + 1): 1}
    for at, offset in asked.items():
        said = tool("kafka-get-offsets", "--topic", topic, "--time", at)
        assert said.split() == [f"{topic}:0:{offset}"]


def test_kafka_delete_records(tool, server, topic, tmp_path):
    assert librdkafka.produce(server, topic, numbered(10)) == []
    asked = {"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 4}]}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    said = tool("kafka-delete-records", "--offset-json-file", tmp_path / "asked.json")
    assert "low_watermark: 4" in said
    assert tool("kafka-get-offsets", "--topic", topic, "--time", "-2").split() == [f"{topic}:0:4"]


def test_kafka_log_dirs(tool, server, topic):
    assert librdkafka.produce(server, topic, numbered(100)) == []
    said = tool("kafka-log-dirs", "--describe", "--topic-list", topic)
    [told] = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    [node] = told["brokers"]
    [folder] = node["logDirs"]
    [partition] = folder["partitions"]
    assert (node["broker"], folder["error"], partition["partition"]) == (1, None, f"{topic}-0")
    assert partition["size"] > 100
    assert partition["offsetLag"] == 0


def test_the_performance_tools(tool, server, topic):
    librdkafka.create(server, topic, 3)
    said = tool("kafka-producer-perf-test", "--topic", topic, "--num-records", 20_000,
                "--record-size", 100, "--throughput", "-1")  # fmt: skip
    assert said.splitlines()[-1].startswith("20000 records sent")
    said = tool("kafka-consumer-perf-test", "--topic", topic, "--num-records", 20_000)
    [row] = [line.split(", ") for line in said.splitlines() if re.match(r"\d{4}-", line)]
    assert int(row[4]) == 20_000


def test_end_to_end_latency(tool, topic):
    said = tool("kafka-e2e-latency", "--topic", topic, "--num-records", 500, "--producer-acks",
                "all", "--record-size", 100)  # fmt: skip
    assert re.search(r"Percentiles: 50th = \d+", said)


def test_the_verifiable_producer_and_consumer(tool, server, topic):
    said = tool("kafka-verifiable-producer", "--topic", topic, "--max-messages", 1000, "--acks", -1)
    told = [json.loads(line) for line in said.splitlines()]
    assert sum(it["name"] == "producer_send_success" for it in told) == 1000
    said = tool("kafka-verifiable-consumer", "--topic", topic, "--group-id", f"group-of-{topic}",
                "--max-messages", 1000, "--reset-policy", "earliest")  # fmt: skip
    told = [json.loads(line) for line in said.splitlines()]
    assert sum(it.get("count", 0) for it in told if it["name"] == "records_consumed") == 1000
    assert [it for it in told if it["name"] == "offsets_committed"][-1]["success"]


def test_kafka_broker_api_versions(tool):
    usable = r"\((\d+)\): (\d+)(?: to (\d+))? \[usable"
    found = re.findall(usable, tool("kafka-broker-api-versions"))
    shown = {int(key): (int(low), int(high or low)) for key, low, high in found}
    assert shown == {key: (api.low, api.high) for key, api in APIS.items()}


def test_kafka_cluster(tool, server):
    at = ["--bootstrap-server", server.address]
    assert re.fullmatch(r"Cluster ID: \S+", tools.run("kafka-cluster", "cluster-id", *at).strip())


def test_kafka_acls_are_told_that_there_are_none(tool):
    said = tool("kafka-acls", "--list", fails=True)
    assert "SecurityDisabledException" in said


def test_kafka_transactions_are_none(tool):
    assert len(tool("kafka-transactions", "list").splitlines()) == 1  # the head


def test_the_console_share_consumer(tool, server, topic):
    assert librdkafka.produce(server, topic, numbered(2)) == []
    group = f"group-of-{topic}"
    tool(
        "kafka-configs", "--entity-type", "groups", "--entity-name", group, "--alter",
        "--add-config", "share.auto.offset.reset=earliest",
    )  # fmt: skip
    words = ["--topic", topic, "--group", group, "--max-messages", 2, "--timeout-ms", 20_000]
    assert tool("kafka-console-share-consumer", *words).split() == ["0", "1"]
