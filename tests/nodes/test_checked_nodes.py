"""A cluster is tried by a command, and by each node when it starts; nodes tell who owns what."""

import json
import signal
import subprocess
from contextlib import closing

import pika
import pytest
import redis
from cluster_nodes import Cluster
from serving import COMMAND
from waiting import until

pytestmark = [pytest.mark.long, pytest.mark.nodes]


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.stop()


def run(*words):
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)


def test_the_command_tells_of_each_thing(cluster, tmp_path):
    words = "cluster", "check", "--cluster", cluster.address, "--data", tmp_path / "none"
    done = run(*words)
    assert done.returncode == 1
    assert done.stderr == "logstore: the cluster: 1 finding: see above\n"
    assert [line for line in done.stdout.splitlines() if not line.startswith("ok ")] == [
        "finding  topics     the cluster has 1 broker, should be 3 or more: where one dies, nodes "
        "stop or lose what they acknowledged"
    ]
    found = json.loads(run(*words, "--json").stdout)
    assert found["state"] == "finding"
    assert {it["name"]: it["state"] for it in found["checks"]}["fence"] == "ok"
    assert not (tmp_path / "none").exists()


def test_a_node_serves_no_queues_where_there_is_no_fence(cluster):
    """The cluster is one that deletes no records of its topic."""
    where = "--bootstrap", cluster.address
    run("topic", "create", *where, "__logstore-self-check", "--config", "cleanup.policy=compact")
    node = cluster.node("a")
    with pytest.raises(pika.exceptions.AMQPConnectionError, match="can't be checked"):
        pika.BlockingConnection(pika.ConnectionParameters(*node.amqp))
    with closing(redis.Redis(*node.redis)) as client:
        assert client.publish("news", "1") == 0
    code, said = node.stop()
    assert code == 0
    assert f"no queues are served: cluster {cluster.address} can't be checked" in said


def status_of(node):
    return json.loads(run("status", "--cluster", "--json", "--data", node.data).stdout)


def ready(node):
    return run("status", "--ready", "--data", node.data)


def test_a_node_tells_who_owns_what(cluster):
    a, b = (cluster.node(it) for it in "ab")

    def states():
        return [[it["state"] for it in status_of(node)["partitions"]] for node in (a, b)]

    def shared():
        ours, theirs = states()
        return {*ours} == {*theirs} == {"here", "elsewhere"} and all(map(str.__ne__, ours, theirs))

    until(shared)
    ours, _ = states()
    lines = run("status", "--cluster", "--data", a.data).stdout.splitlines()
    assert any(line.startswith("reached") and line.endswith("yes") for line in lines)
    lines = lines[: next(n for n, line in enumerate(lines) if line.startswith("DATABASE"))]
    assert len([line for line in lines if " here " in line]) == ours.count("here")
    until(lambda: {it["state"] for it in status_of(a)["databases"]} == {"here", "elsewhere"})
    other = run("status", "--cluster", "--data", cluster.broker.data)
    assert (other.returncode, other.stdout) == (1, "")


def test_a_cluster_that_does_not_answer_makes_a_node_unready(cluster):
    node = cluster.node("a")
    assert ready(node).stdout == "ready\n"
    cluster.broker.process.send_signal(signal.SIGSTOP)
    try:
        with closing(redis.Redis(*node.redis)) as client:
            client.publish("news", "1")
        until(lambda: ready(node).returncode == 1)
        assert "does not answer" in ready(node).stderr
        assert status_of(node)["appends"] == 1
    finally:
        cluster.broker.process.send_signal(signal.SIGCONT)
    until(lambda: ready(node).returncode == 0)
    until(lambda: status_of(node)["appends"] == 0)
    assert status_of(node)["stalls"] == 1


OF_TOPICS = "topics and groups: use --bootstrap"
OF_UPKEEP = "topics and queues: use its own tools"


def test_what_is_the_clusters_is_not_done_at_a_node(cluster, tmp_path):
    node = cluster.node("a")
    where = f"{node.data} belongs to a node of cluster {cluster.address}, which stores "
    for words, why in (
        (("retention", "run"), OF_UPKEEP),
        (("compact", "run"), OF_UPKEEP),
        (("recompress", "run"), OF_UPKEEP),
        (("verify",), OF_UPKEEP),
        (("backup", tmp_path / "copy"), OF_UPKEEP),
        (("topic", "list"), f"{OF_TOPICS} {cluster.address}"),
        (("consume", "orders"), f"{OF_TOPICS} {cluster.address}"),
        (("group", "list"), f"{OF_TOPICS} {cluster.address}"),
    ):
        done = run(*words, "--data", node.data)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"logstore: {where}{why}\n")
    told = run("status", "--data", node.data).stdout
    assert f"cluster     {cluster.address}, which has topics and queues" in told
