"""Rules by librdkafka's admin client, and what they allow its producers and consumers."""

import logging
import socket
import struct
import subprocess
import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from kept_users_kit import a_user, keep
from serving import COMMAND, Serving

from logstore.access.access import ADMINISTRATOR

DEADLINE_S = 20
EVERYONE = "*"
WITHOUT_TOPIC = KafkaError.TOPIC_AUTHORIZATION_FAILED
ANY_RULE = AclBindingFilter(
    ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY,
    AclPermissionType.ANY,
)  # fmt: skip


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    data = tmp_path_factory.mktemp("ruled") / "data"
    keep(data, a_user("root", "key", ADMINISTRATOR), a_user("al", "pencil"))
    (data / "logstore.toml").write_text('[[channel]]\npattern = "news*"\nhistory = "1d"\n')
    running = Serving(data, resp_port=-1)
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


def settings(server, user="al", password="pencil", **more):
    return {
        "bootstrap.servers": server.address,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
        "logger": logging.getLogger("quiet"),
    } | {name.replace("_", "."): value for name, value in more.items()}


@pytest.fixture
def admin(secured):
    """The super-user; the rules that a test makes are gone after it."""
    found = AdminClient(settings(secured, "root", "key"))
    yield found
    _done(found.delete_acls([ANY_RULE]))


def _done(futures):
    return [it.result(DEADLINE_S) for it in futures.values()]


def a_rule(operation, name, kind=ResourceType.TOPIC, pattern=ResourcePatternType.LITERAL,
           permission=AclPermissionType.ALLOW):  # fmt: skip
    return AclBinding(kind, name, pattern, "User:al", EVERYONE, operation, permission)


def allow(admin, *rules):
    _done(admin.create_acls(list(rules)))


def made(admin, *names):
    try:
        _done(admin.create_topics([NewTopic(it, 1, 1) for it in names]))
    except KafkaException as error:
        assert error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS  # noqa: PT017


def sent(server, topic, **more):
    """The code of what became of a message."""
    told = []
    producer = Producer(settings(server, **more))
    producer.produce(topic, b"v", on_delivery=lambda error, _: told.append(error and error.code()))
    producer.flush(DEADLINE_S)
    return told


def test_rules_are_made_shown_and_removed_by_an_admin_client(admin):
    rules = [
        a_rule(AclOperation.READ, "orders"),
        a_rule(AclOperation.ALL, "a", pattern=ResourcePatternType.PREFIXED),
        a_rule(AclOperation.WRITE, "*", permission=AclPermissionType.DENY),
        a_rule(AclOperation.READ, "g", ResourceType.GROUP),
        a_rule(AclOperation.DESCRIBE, "kafka-cluster", ResourceType.BROKER),
    ]  # fmt: skip
    allow(admin, *rules)
    assert set(admin.describe_acls(ANY_RULE).result(DEADLINE_S)) == set(rules)
    prefixes = AclBindingFilter(
        ResourceType.TOPIC, "abc", ResourcePatternType.MATCH, None, None, AclOperation.ANY,
        AclPermissionType.ALLOW,
    )  # fmt: skip
    [gone] = _done(admin.delete_acls([prefixes]))
    assert gone == [rules[1]]
    assert set(admin.describe_acls(ANY_RULE).result(DEADLINE_S)) == {*rules} - {rules[1]}


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_producer_needs_the_right_to_write_and_no_other(secured, admin, idempotent):
    made(admin, "orders", "secret")
    more = {"enable_idempotence": idempotent}
    allow(admin, a_rule(AclOperation.WRITE, "orders"))
    assert sent(secured, "orders", **more) == [None]
    assert sent(secured, "secret", **more) == [WITHOUT_TOPIC]
    assert sent(secured, "none", **more) == [WITHOUT_TOPIC]


def test_a_client_is_shown_the_topics_that_it_may_describe(secured, admin):
    made(admin, "orders", "secret")
    client = AdminClient(settings(secured))
    assert "orders" not in client.list_topics(timeout=DEADLINE_S).topics
    allow(admin, a_rule(AclOperation.READ, "orders"))
    shown = client.list_topics(timeout=DEADLINE_S).topics
    assert "orders" in shown
    assert "secret" not in shown


def test_an_admin_client_without_the_right_is_refused(secured, admin):
    client = AdminClient(settings(secured))
    assert client.describe_acls(ANY_RULE).result(DEADLINE_S) == []  # this client shows no error
    for asked in (
        *client.create_acls([a_rule(AclOperation.ALL, "*")]).values(),
        *client.create_topics([NewTopic("new", 1, 1)]).values(),
    ):
        with pytest.raises(KafkaException, match="authorization failed"):
            asked.result(DEADLINE_S)
    assert "new" not in admin.list_topics(timeout=DEADLINE_S).topics


def _error_of(consumer):
    """The code of the first error that it is told."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is not None and message.error() is not None:
            return message.error().code()
    return None


def test_a_consumer_needs_its_group_and_its_topics(secured, admin):
    made(admin, "orders")
    allow(admin, a_rule(AclOperation.READ, "orders"))
    consumer = Consumer(settings(secured, group_id="g", auto_offset_reset="earliest"))
    consumer.subscribe(["orders"])
    assert _error_of(consumer) == KafkaError.GROUP_AUTHORIZATION_FAILED
    consumer.close()


def test_a_consumer_that_waits_hears_that_its_right_was_taken(secured, admin):
    made(admin, "orders")
    allow(
        admin,
        a_rule(AclOperation.READ, "orders"),
        a_rule(AclOperation.WRITE, "orders"),
        a_rule(AclOperation.READ, "none", ResourceType.GROUP),
    )
    waits = {"fetch_wait_max_ms": 60_000, "socket_timeout_ms": 90_000}
    consumer = Consumer(settings(secured, group_id="none", auto_offset_reset="earliest", **waits))
    consumer.assign([TopicPartition("orders", 0, 0)])
    assert sent(secured, "orders") == [None]
    assert consumer.poll(DEADLINE_S).error() is None
    of_topics = AclBindingFilter(
        ResourceType.TOPIC, "orders", ResourcePatternType.ANY, None, None, AclOperation.READ,
        AclPermissionType.ANY,
    )  # fmt: skip
    [gone] = _done(admin.delete_acls([of_topics]))
    assert len(gone) == 1
    assert _error_of(consumer) == WITHOUT_TOPIC
    consumer.close()


@pytest.mark.long
def test_the_history_of_a_channel_is_a_channel_through_this_door_too(secured, admin):
    made(admin, "news.sport")
    allow(admin, a_rule(AclOperation.ALL, "*"))  # every topic
    assert sent(secured, "news.sport") == [WITHOUT_TOPIC]
    assert "news.sport" not in AdminClient(settings(secured)).list_topics(timeout=DEADLINE_S).topics
    assert sent(secured, "orders") == [None]


@pytest.mark.long
def test_the_first_user_ends_connections_that_nobody_logged_in_to(tmp_path):
    running = Serving(tmp_path / "data", resp_port=-1)
    with socket.create_connection(running.endpoint, DEADLINE_S) as connection:
        ask = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # ApiVersions, without a client's id
        connection.sendall(ask)
        assert connection.recv(4) != b""
        subprocess.run(
            [COMMAND, "user", "add", "root", "--tag", "administrator", "--password-file", "-",
             "--data", tmp_path / "data"],
            input=b"key\n", check=True, capture_output=True, timeout=DEADLINE_S,
        )  # fmt: skip
        while connection.recv(65536):
            """The rest of the answer, and then the end."""
    code, errors = running.stop()
    assert (code, "Traceback" in errors) == (0, False), errors
