"""RabbitMQ's command lines for its management API, both of them, against ours."""

import json
import subprocess

import pytest
from serving import Serving

DEADLINE_S = 60


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    running = Serving(
        tmp_path_factory.mktemp("rabbit") / "data", resp_port=-1, amqp_port=0, http_port=0
    )
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


def run(command, *words, fails=False):
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, f"{words}:\n{said}"
    return said


# The first


@pytest.fixture
def first(broker, built):
    """first(words) -> what it prints; lists as they came."""
    host, port = broker.http
    command = [*built("rabbitmqadmin 1"), "-H", host, "-P", str(port), "-f", "raw_json"]

    def ask(*words, fails=False):
        said = run(command, *words, fails=fails)
        return json.loads(said) if words[0] in ("list", "show", "get") and not fails else said

    return ask


def names(rows):
    return [it["name"] for it in rows]


def test_the_first_declares_lists_and_deletes(first):
    first("declare", "vhost", "name=shop")
    assert "shop" in names(first("list", "vhosts"))
    first("declare", "exchange", "name=x", "type=topic")
    first("declare", "queue", "name=q", 'arguments={"x-max-length": 5}')
    first("declare", "binding", "source=x", "destination=q", "routing_key=a.*")
    assert "x" in names(first("list", "exchanges", "name"))
    [queue] = first("list", "queues", "name", "messages", "durable", "arguments")
    assert queue == {
        "name": "q", "messages": 0, "durable": True, "arguments": {"x-max-length": 5},
    }  # fmt: skip
    assert len(first("list", "bindings")) == 2
    words = ("source=x", "destination_type=queue", "destination=q", "properties_key=a.%2A")
    first("delete", "binding", *words)
    assert len(first("list", "bindings")) == 1
    for what in ("exchange name=x", "queue name=q", "vhost name=shop"):
        first("delete", *what.split())
    assert "Not found" in first("delete", "queue", "name=q", fails=True)


def test_the_first_publishes_fetches_and_purges(first):
    first("declare", "queue", "name=q")
    said = first("publish", "routing_key=q", "payload=hello", 'properties={"priority": 3}')
    assert "Message published" in said
    assert "NOT routed" in first("publish", "routing_key=nowhere", "payload=hello")
    for redelivered in (False, True):
        [message] = first("get", "queue=q")
        assert (message["payload"], message["redelivered"]) == ("hello", redelivered)
    assert message["properties"]["priority"] == 3
    first("purge", "queue", "name=q")
    assert first("get", "queue=q") == []
    first("delete", "queue", "name=q")


@pytest.mark.parametrize(
    "what", ["connections", "channels", "consumers", "users", "permissions", "nodes", "parameters",
             "policies", "operator_policies", "vhost_limits"],
)  # fmt: skip
def test_the_first_lists_everything_that_there_is(first, what):
    assert isinstance(first("list", what), list)


def test_the_first_shows_the_overview(first):
    shown = first("show", "overview")
    about = shown[0] if isinstance(shown, list) else shown
    assert about["rabbitmq_version"].count(".") == 2


def test_the_first_sets_policies_and_takes_definitions(first, tmp_path):
    first("declare", "queue", "name=q1")
    definition = '{"max-length": 5}'
    first("declare", "policy", "name=p", "pattern=^q", f"definition={definition}", "priority=2")
    [policy] = first("list", "policies")
    assert (policy["name"], policy["definition"]) == ("p", {"max-length": 5})
    [queue] = first("list", "queues", "name", "policy")
    assert queue == {"name": "q1", "policy": "p"}
    file = tmp_path / "all.json"
    first("export", str(file))
    assert [it["name"] for it in json.loads(file.read_text())["policies"]] == ["p"]
    first("delete", "policy", "name=p")
    first("delete", "queue", "name=q1")
    first("import", str(file))
    assert [it["policy"] for it in first("list", "queues", "policy")] == ["p"]
    first("delete", "policy", "name=p")
    first("delete", "queue", "name=q1")
    said = first("declare", "policy", "name=p", "pattern=(", f"definition={definition}", fails=True)
    assert "pattern should be regular expression" in said


# The second


@pytest.fixture
def second(broker, built):
    """second(words) -> what it prints."""
    host, port = broker.http
    command = [
        *built("rabbitmqadmin 2"), "--host", host, "--port", str(port), "--non-interactive",
    ]  # fmt: skip
    return lambda *words, **more: run(command, *words, **more)


def test_the_second_declares_lists_and_deletes(second):
    second("vhosts", "declare", "--name", "shop")
    assert "shop" in second("vhosts", "list")
    shop = ("--vhost", "shop")
    second(*shop, "exchanges", "declare", "--name", "x", "--type", "topic")
    arguments = ("--arguments", '{"x-max-length": 5}')
    second(*shop, "queues", "declare", "--name", "q", "--type", "classic", *arguments)
    ends = ("--source", "x", "--destination-type", "queue", "--destination", "q")
    second(*shop, "bindings", "declare", *ends, "--routing-key", "a.*")
    assert "topic" in second(*shop, "exchanges", "list")
    assert "classic" in second(*shop, "queues", "list")
    assert "a.*" in second(*shop, "bindings", "list")
    second(*shop, "bindings", "delete", *ends, "--routing-key", "a.*", "--arguments", "{}")
    assert "a.*" not in second(*shop, "bindings", "list")
    second(*shop, "exchanges", "delete", "--name", "x")
    second(*shop, "queues", "delete", "--name", "q")
    second(*shop, "queues", "delete", "--name", "q", fails=True)
    second(*shop, "queues", "delete", "--name", "q", "--idempotently")
    second("vhosts", "delete", "--name", "shop")


def test_the_second_publishes_fetches_and_purges(second):
    second("queues", "declare", "--name", "q", "--type", "quorum")
    second("publish", "message", "--routing-key", "q", "--payload", "hello", "--properties",
           '{"priority": 3}')  # fmt: skip
    found = second("get", "messages", "--queue", "q", "--count", "1", "--ack-mode",
                   "ack_requeue_true")  # fmt: skip
    assert "hello" in found
    second("queues", "purge", "--name", "q")
    second("queues", "delete", "--name", "q")


@pytest.mark.parametrize(
    "words",
    [
        "show overview", "show churn", "nodes list", "users list", "permissions list",
        "connections list", "channels list", "list consumers", "policies list",
        "operator_policies list", "parameters list_all", "global_parameters list",
        "vhost_limits list", "user_limits list", "feature_flags list", "deprecated_features list",
        "plugins list_all", "health_check local_alarms", "health_check cluster_wide_alarms",
        "health_check node_is_quorum_critical", "health_check protocol_listener --protocol amqp",
        "rebalance queues",
    ],
)  # fmt: skip
def test_the_second_reads_every_answer(second, words):
    second(*words.split())


def test_the_second_checks_ports(broker, second):
    port = ("health_check", "port_listener", "--port")
    second(*port, str(broker.amqp[1]))
    second(*port, "1", fails=True)
    second("health_check", "protocol_listener", "--protocol", "mqtt", fails=True)


def test_the_second_sets_policies_and_takes_definitions(second, tmp_path):
    second("queues", "declare", "--name", "q1", "--type", "classic")
    second("policies", "declare", "--name", "p", "--pattern", "^q", "--apply-to", "classic_queues",
           "--priority", "1", "--definition", '{"max-length": 5}')  # fmt: skip
    assert "max-length" in second("policies", "list")
    matching = ("--name", "q1", "--type", "classic_queues")
    assert "max-length" in second("policies", "list_matching_object", *matching)
    file = tmp_path / "all.json"
    second("definitions", "export", "--file", str(file))
    assert [it["name"] for it in json.loads(file.read_text())["policies"]] == ["p"]
    second("policies", "delete", "--name", "p")
    second("queues", "delete", "--name", "q1")
    second("definitions", "import", "--file", str(file))
    assert "max-length" in second("policies", "list")
    second("policies", "delete", "--name", "p")
    second("queues", "delete", "--name", "q1")
