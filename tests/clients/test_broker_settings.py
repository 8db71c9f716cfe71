"""DescribeConfigs: what tools look for in any broker, with what is true of this one."""

import pytest
from librdkafka import create
from wire_client import WireClient

from logstore.kafka.messages import describe_configs, incremental_alter_configs

TOPIC, NODE, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
BOOLEAN, STRING, INT, SHORT, LONG, DOUBLE, LIST, CLASS, PASSWORD = range(1, 10)
INVALID_REQUEST, UNKNOWN_TOPIC = 42, 3


@pytest.fixture
def client(server):
    with WireClient(server.endpoint) as found:
        yield found


def ask(client, kind, name, keys=None, version=4, **more):
    """(error code, settings by name)"""
    request = describe_configs.Request([describe_configs.Resource(kind, name, keys)], **more)
    [found] = client.ask(32, version, request, describe_configs.Response).results
    assert (found.resource_type, found.resource_name) == (kind, name)
    settings = {it.name: it for it in found.configs}
    assert len(settings) == len(found.configs)
    return found.error_code, settings


SOUGHT = {
    "advertised.listeners": STRING, "auto.create.topics.enable": BOOLEAN, "broker.id": INT,
    "compression.type": STRING, "default.replication.factor": INT, "delete.topic.enable": BOOLEAN,
    "group.max.session.timeout.ms": INT, "listeners": STRING, "log.cleanup.policy": LIST,
    "log.dirs": STRING, "log.retention.bytes": LONG, "log.retention.hours": INT,
    "log.retention.minutes": INT, "log.retention.ms": LONG, "log.roll.ms": LONG,
    "log.segment.bytes": INT, "message.max.bytes": INT, "min.insync.replicas": INT,
    "node.id": INT, "num.partitions": INT, "offsets.retention.minutes": INT,
    "offsets.topic.replication.factor": SHORT, "process.roles": LIST,
    "socket.request.max.bytes": INT, "transaction.max.timeout.ms": INT,
    "unclean.leader.election.enable": BOOLEAN,
}  # fmt: skip


def test_every_setting_of_a_broker_that_tools_look_for_is_there(client, server):
    code, settings = ask(client, NODE, "1")
    assert code == 0
    assert {name: settings[name].config_type for name in SOUGHT} == SOUGHT
    values = {name: settings[name].value for name in SOUGHT}
    assert None not in values.values()
    endpoint = "PLAINTEXT://{}:{}".format(*server.endpoint)
    assert values["listeners"] == values["advertised.listeners"] == endpoint
    assert values["log.dirs"] == str(server.data)
    ones = ("broker.id", "node.id", "default.replication.factor", "min.insync.replicas")
    assert {values[name] for name in ones} == {"1"}
    assert (values["log.retention.ms"], values["log.retention.hours"]) == ("604800000", "168")
    assert values["message.max.bytes"] == "1048588"
    assert all(it.read_only for it in settings.values())
    assert settings["num.partitions"].config_source == 5
    assert settings["broker.id"].config_source == 4


def test_a_broker_is_described_with_what_it_was_told(start):
    server = start(topic_retention_ms=7_200_000, topic_max_message_bytes=5000, num_partitions=3)
    with WireClient(server.endpoint) as client:
        _, settings = ask(client, NODE, "1", include_synonyms=True)
        for name, value, default in (
            ("log.retention.ms", "7200000", "604800000"),
            ("log.retention.hours", "2", "168"),
            ("message.max.bytes", "5000", "1048588"),
            ("num.partitions", "3", "1"),
        ):
            it = settings[name]
            assert (it.value, it.config_source) == (value, 4)
            assert [(one.name, one.value, one.source) for one in it.synonyms] == [
                (name, value, 4),
                (name, default, 5),
            ]


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_only_what_is_asked_for_is_told(client, version):
    keys = ["log.dirs", "nosuch", "num.partitions"]
    _, settings = ask(client, NODE, "1", keys, version)
    assert set(settings) == {"log.dirs", "num.partitions"}
    assert all(not it.synonyms and not it.documentation for it in settings.values())
    assert ask(client, NODE, "1", [], version) == (0, {})
    _, more = ask(client, NODE, "1", keys, version, include_synonyms=True)
    assert all(it.synonyms for it in more.values())
    if version >= 3:
        _, more = ask(client, NODE, "1", None, version, include_documentation=True)
        assert all(it.documentation for it in more.values())


def test_passwords_are_told_as_such(client):
    _, settings = ask(client, NODE, "1")
    secret = {name for name, it in settings.items() if it.is_sensitive}
    assert {"ssl.keystore.password", "sasl.jaas.config"} <= secret
    assert {(settings[it].value, settings[it].config_type) for it in secret} == {(None, PASSWORD)}


def test_resources_other_than_this_node_are_told_apart(client, topic):
    assert ask(client, NODE, "") == (0, {})  # nothing was changed for all nodes
    for kind, name in ((NODE, "7"), (NODE, "x"), (LOGGER, "7"), (LOGGER, ""), (GROUP, ""),
                       (METRICS, ""), (99, "1")):  # fmt: skip
        assert ask(client, kind, name) == (INVALID_REQUEST, {})
    assert ask(client, TOPIC, topic) == (UNKNOWN_TOPIC, {})
    assert ask(client, METRICS, "any") == (0, {})
    code, loggers = ask(client, LOGGER, "1")
    assert (code, loggers["root"].value, loggers["root"].config_source) == (0, "WARN", 6)
    assert loggers["kafka"].value == "WARN"
    assert not loggers["kafka"].read_only
    code, of_group = ask(client, GROUP, "readers")
    assert (code, of_group["consumer.session.timeout.ms"].value) == (0, "45000")
    assert of_group["consumer.heartbeat.interval.ms"].value == "5000"


def test_bounds_of_settings_of_share_groups_are_told_by_kafkas_names(client):
    _, settings = ask(client, NODE, "1")
    for name, low, high in (
        ("heartbeat.interval.ms", 5000, 15_000), ("session.timeout.ms", 45_000, 60_000),
        ("record.lock.duration.ms", 15_000, 60_000), ("delivery.count.limit", 2, 10),
        ("partition.max.record.locks", 100, 4000),
    ):  # fmt: skip
        bounds = [settings[f"group.share.{end}.{name}"].value for end in ("min", "max")]
        assert bounds == [str(low), str(high)]
        assert low <= int(settings[f"group.share.{name}"].value) <= high
    assert settings["group.share.max.size"].value == "200"


def change_levels(client, *changes, name="1", **more):
    """(error code, message)"""
    configs = [incremental_alter_configs.AlterableConfig(*it) for it in changes]
    resource = incremental_alter_configs.AlterConfigsResource(LOGGER, name, configs)
    request = incremental_alter_configs.Request([resource], **more)
    [found] = client.ask(44, 1, request, incremental_alter_configs.Response).responses
    return found.error_code, found.error_message


SET, DELETE, APPEND = range(3)


def test_levels_of_the_log_are_set_while_it_serves_and_go_back(client):
    assert change_levels(client, ("upkeep", SET, "ERROR"), ("slices", SET, "DEBUG")) == (0, None)
    levels = {name: it.value for name, it in ask(client, LOGGER, "1")[1].items()}
    assert (levels["upkeep"], levels["slices"], levels["turn"]) == ("ERROR", "DEBUG", "WARN")
    assert change_levels(client, ("upkeep", SET, "INFO"), validate_only=True) == (0, None)
    assert change_levels(client, ("upkeep", DELETE, None), ("slices", DELETE, None)) == (0, None)
    levels = {name: it.value for name, it in ask(client, LOGGER, "1")[1].items()}
    assert set(levels.values()) == {"WARN"}


@pytest.mark.parametrize(
    ("changes", "name", "said"),
    [
        ([("kafak", SET, "INFO")], "1", "there is no logger 'kafak' (did you mean kafka?)"),
        ([("kafka", SET, "LOUD")], "1", "must be one of FATAL, ERROR, WARN, INFO, DEBUG, TRACE"),
        ([("kafka", SET, None)], "1", "must be one of"),
        ([("root", DELETE, None)], "1", "can be set, and not deleted"),
        ([("kafka", APPEND, "INFO")], "1", "is set or deleted"),
        ([("kafka", SET, "INFO"), ("kafka", SET, "WARN")], "1", "is in the request twice"),
        ([("kafka", SET, "INFO")], "7", "there is no node '7'"),
    ],
)
def test_levels_that_there_are_not_change_nothing(client, changes, name, said):
    code, message = change_levels(client, ("upkeep", SET, "ERROR"), *changes, name=name)
    assert code
    assert said in message
    assert ask(client, LOGGER, "1")[1]["upkeep"].value == "WARN"


# Kafka 4.1's, but for those that are internal.
OF_TOPICS = {
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
}


def test_every_setting_of_a_topic_is_told_with_the_brokers_default(client, server, topic):
    create(server, topic, retention_ms="5000")
    _, settings = ask(client, TOPIC, topic, include_synonyms=True)
    assert set(settings) >= OF_TOPICS
    assert not any(it.read_only for it in settings.values())
    told = [(it.name, it.value, it.source) for it in settings["retention.ms"].synonyms]
    assert told == [("retention.ms", "5000", 1), ("log.retention.ms", "604800000", 5)]
    [default] = settings["max.message.bytes"].synonyms
    assert (default.name, default.value, default.source) == ("message.max.bytes", "1048588", 5)


LISTS = {
    "cleanup.policy": "compact,delete",
    "leader.replication.throttled.replicas": "0:1,1:1",
    "follower.replication.throttled.replicas": "0:1",
    "retention.groups": "a,b",
}


@pytest.mark.parametrize("name", LISTS)
def test_the_last_item_of_a_list_can_be_taken_away(client, server, topic, name):
    create(server, topic, **{name: LISTS[name]})

    def change(operation, value):
        config = incremental_alter_configs.AlterableConfig(name, operation, value)
        resource = incremental_alter_configs.AlterConfigsResource(TOPIC, topic, [config])
        request = incremental_alter_configs.Request([resource])
        [told] = client.ask(44, 1, request, incremental_alter_configs.Response).responses
        assert told.error_code == 0, told.error_message
        return ask(client, TOPIC, topic)[1][name].value

    for word in LISTS[name].split(","):
        left = change(3, word)
    assert left == ""
    assert change(2, LISTS[name].split(",")[0]) == LISTS[name].split(",")[0]
