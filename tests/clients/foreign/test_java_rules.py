"""Rules by Apache Kafka's command-line tools, over TLS, and what they let them do."""

import pytest
import tools
from kept_users_kit import a_user, keep
from serving import Serving
from signed import Authority

from logstore.access.access import ADMINISTRATOR

LOGGED_IN = """security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location={ca}
sasl.mechanism=SCRAM-SHA-256
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\
  username="{user}" password="{password}";
"""
PASSWORDS = {"root": "key", "al": "pencil"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("signed"))


@pytest.fixture(scope="module")
def ruled(tmp_path_factory, authority):
    """A server where ``al`` may do nothing yet."""
    data = tmp_path_factory.mktemp("ruled") / "data"
    keep(data, a_user("root", PASSWORDS["root"], ADMINISTRATOR), a_user("al", PASSWORDS["al"]))
    certificate, key = authority.server()
    running = Serving(
        data, resp_port=-1, tls_cert=certificate, tls_key=key, kafka_tls_port=0, resp_tls_port=-1,
        amqp_tls_port=-1,
    )  # fmt: skip
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture
def tool(ruled, built, authority, tmp_path):
    """tool(user, name, words, ...) -> what it prints."""
    built("java")
    host, port = ruled.tls["kafka"]

    def run(user, name, *words, option="--command-config", **more):
        config = tmp_path / f"{user}.properties"
        config.write_text(LOGGED_IN.format(user=user, password=PASSWORDS[user], ca=authority.path))
        return tools.run(
            name, "--bootstrap-server", f"{host}:{port}", option, config, *words, **more
        )

    return run


def acls(tool, *words):
    return tool("root", "kafka-acls", *words)


def acls_of(tool, user, **more):
    return tool(user, "kafka-acls", "--list", **more)


AL = ("--allow-principal", "User:al")


def test_rules_are_added_listed_and_removed(tool):
    acls(tool, "--add", *AL, "--operation", "Read", "--operation", "Describe", "--topic", "orders")
    acls(tool, "--add", "--deny-principal", "User:*", "--deny-host", "10.0.0.9", "--operation",
         "All", "--group", "g", "--resource-pattern-type", "prefixed")  # fmt: skip
    acls(tool, "--add", *AL, "--operation", "Alter", "--cluster")
    said = acls(tool, "--list")
    for line in (
        "ResourcePattern(resourceType=TOPIC, name=orders, patternType=LITERAL)",
        "(principal=User:al, host=*, operation=READ, permissionType=ALLOW)",
        "(principal=User:al, host=*, operation=DESCRIBE, permissionType=ALLOW)",
        "ResourcePattern(resourceType=GROUP, name=g, patternType=PREFIXED)",
        "(principal=User:*, host=10.0.0.9, operation=ALL, permissionType=DENY)",
        "ResourcePattern(resourceType=CLUSTER, name=kafka-cluster, patternType=LITERAL)",
    ):
        assert line in said
    assert "GROUP" not in acls(tool, "--list", "--topic", "orders")
    acls(tool, "--remove", "--force", *AL, "--operation", "Read", "--topic", "orders")
    said = acls(tool, "--list", "--topic", "orders")
    assert "operation=DESCRIBE" in said
    assert "operation=READ" not in said
    acls(tool, "--remove", "--force", "--topic", "orders")
    acls(tool, "--remove", "--force", "--cluster")
    acls(tool, "--remove", "--force", "--group", "g", "--resource-pattern-type", "prefixed")
    assert acls(tool, "--list").strip() == ""


def test_a_producer_and_a_consumer_may_do_what_kafka_s_own_rules_for_them_allow(tool):
    tool("root", "kafka-topics", "--create", "--topic", "mine")
    tool("root", "kafka-topics", "--create", "--topic", "secret")
    acls(tool, "--add", *AL, "--producer", "--topic", "mine")
    produce = ("al", "kafka-console-producer", "--topic")
    tool(*produce, "mine", stdin="one\ntwo\n")
    said = tool(*produce, "secret", stdin="one\n", fails=None)
    assert "TopicAuthorizationException" in said
    assert tool("al", "kafka-topics", "--list").split() == ["mine"]
    consume = ("al", "kafka-console-consumer", "--topic", "mine", "--from-beginning", "--group",
               "readers", "--max-messages", 2)  # fmt: skip
    assert "AuthorizationException" in tool(*consume, fails=None)
    acls(tool, "--add", *AL, "--consumer", "--topic", "mine", "--group", "readers")
    assert tool(*consume).split() == ["one", "two"]


def test_a_user_s_scram_keys_are_set_and_it_logs_in_by_them(tool, monkeypatch):
    new = ("--entity-type", "users", "--entity-name", "bo")
    tool("root", "kafka-configs", "--alter", *new, "--add-config",
         "SCRAM-SHA-256=[iterations=4096,password=brush]")  # fmt: skip
    said = tool("root", "kafka-configs", "--describe", *new)
    assert "SCRAM-SHA-256=iterations=4096" in said
    monkeypatch.setitem(PASSWORDS, "bo", "brush")
    acls(tool, "--add", "--allow-principal", "User:bo", "--operation", "Describe", "--cluster")
    assert "cluster" in acls_of(tool, "bo").lower()
    tool("root", "kafka-configs", "--alter", *new, "--delete-config", "SCRAM-SHA-256")
    assert "SaslAuthenticationException" in acls_of(tool, "bo", fails=None)


def test_tools_without_the_right_say_so(tool):
    for name, *words in (
        ("kafka-acls", "--list"),
        ("kafka-topics", "--create", "--topic", "new"),
        ("kafka-consumer-groups", "--describe", "--group", "g"),
        ("kafka-configs", "--entity-type", "brokers", "--entity-name", "1", "--describe"),
        ("kafka-log-dirs", "--describe"),
    ):
        assert "authoriz" in tool("al", name, *words, fails=None).lower(), name
