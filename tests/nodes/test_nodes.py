"""Nodes over a cluster as clients see them: which one they are connected to makes no difference."""

import os
import signal
import subprocess
from contextlib import ExitStack, closing, contextmanager, suppress

import msgspec
import pika
import pytest
import redis
from cluster_nodes import Cluster
from serving import COMMAND, OF_SLOW_MACHINES
from signed import Authority
from waiting import until

from logstore.protocols.http.native.answers import ANSWERS
from logstore.server_socket import ServerSocket

pytestmark = [pytest.mark.long, pytest.mark.nodes]

HISTORIES = '[[channel]]\npattern = "kept-*"\nhistory = "1h"\n'
LASTS = pika.BasicProperties(delivery_mode=2)


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.stop()


@pytest.fixture
def nodes(cluster):
    return [cluster.node(name, config=HISTORIES) for name in ("a", "b")]


@contextmanager
def channel(node):
    """Of a client of RabbitMQ, with confirms."""
    host, port = node.amqp
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
    found = connection.channel()
    found.confirm_delivery()
    yield found
    with suppress(pika.exceptions.AMQPError):  # its node may have gone
        connection.close()


@pytest.fixture
def redises(nodes):
    with ExitStack() as stack:
        yield [stack.enter_context(closing(redis.Redis(*it.redis))) for it in nodes]


def fetched(channel, queue):
    """One message that is acknowledged; None: there is none."""
    method, _, body = channel.basic_get(queue)
    if method is not None:
        channel.basic_ack(method.delivery_tag)
    return body


def all_of(channel, queue, count):
    """So many messages, as they come."""
    found = []

    def more():
        while (body := fetched(channel, queue)) is not None:
            found.append(body)
        return len(found) >= count

    until(more)
    return found


def test_channels_reach_listeners_of_all_nodes(redises):
    a, b = redises
    with closing(b.pubsub()) as listener:
        listens(a, listener)


def listens(a, listener):
    listener.subscribe("news")
    listener.psubscribe("kept-*")
    for _ in range(2):
        assert listener.get_message(timeout=10)["type"].endswith("subscribe")
    for name in ("news", "kept-1"):
        for n in range(20):
            a.publish(name, n)
    found = [listener.get_message(timeout=10) for _ in range(40)]
    for name in (b"news", b"kept-1"):
        assert [it["data"] for it in found if it["channel"] == name] == [
            b"%d" % n for n in range(20)
        ]


def test_a_history_is_the_same_at_each_node(redises):
    a, b = redises
    for n in range(10):
        (a, b)[n % 2].publish("kept-2", n)

    def read(client):
        return client.execute_command("CHANNEL.READ", "kept-2", "FROM", "0")

    until(lambda: len(read(a)) == len(read(b)) == 10)
    assert read(a) == read(b)
    assert [it[2] for it in read(a)] == [b"%d" % n for n in range(10)]


def test_queues_are_consumed_wherever_they_are_owned(nodes):
    with channel(nodes[0]) as a, channel(nodes[1]) as b:
        for number in range(4):  # some are owned by either
            name = f"q{number}"
            a.queue_declare(name, durable=True)
            b.queue_declare(name, durable=True)
            a.basic_publish("", name, b"from a", LASTS)
            b.basic_publish("", name, b"from b", LASTS)
            taking, other = (a, b) if number % 2 else (b, a)
            assert sorted(all_of(taking, name, 2)) == [b"from a", b"from b"]
            assert fetched(other, name) is None


def test_what_one_node_has_declared_just_now_the_others_route_to(nodes):
    """However far behind the others are; the client is told by a Return where they do not."""
    with channel(nodes[0]) as one, channel(nodes[1]) as other:
        for number in range(100):  # before, about 3 of 100 found no queue
            queue = f"new-{number}"
            one.queue_declare(queue, durable=True)
            other.basic_publish("", queue, b"%d" % number, LASTS, mandatory=True)
            one.queue_delete(queue)


def test_what_one_node_declares_the_others_route_by(nodes):
    with channel(nodes[0]) as a, channel(nodes[1]) as b:
        a.exchange_declare("events", "topic", durable=True)
        a.queue_declare("bound", durable=True)
        a.queue_bind("bound", "events", "x.#")
        b.queue_declare("bound", passive=True)  # reads what it does not know
        b.basic_publish("events", "x.y", b"1", LASTS, mandatory=True)
        assert all_of(b, "bound", 1) == [b"1"]
        a.queue_delete("bound")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            until(lambda: b.queue_declare("bound", passive=True) is None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_another_node_takes_over_with_all_that_is_settled(nodes, number):
    names = [f"k{n}" for n in range(4)]
    with channel(nodes[1]) as b, channel(nodes[0]) as a:
        for name in names:
            a.queue_declare(name, durable=True)
            b.queue_declare(name, durable=True)
            for n in range(10):
                b.basic_publish("", name, b"%d" % n, LASTS)
        acked = {name: [fetched(a, name) for _ in range(4)] for name in names}
        unacked = {name: a.basic_get(name)[2] for name in names}
        for name in names:  # it is settled once a later request is answered
            a.queue_declare(name, passive=True)
        nodes[0].process.send_signal(number)
        nodes[0].process.wait(30)
        for name in names:
            left = all_of(b, name, 6)
            assert unacked[name] in left
            assert not set(left) & set(acked[name])
            assert sorted([*left, *acked[name]]) == [b"%d" % n for n in range(10)]


def test_a_consumer_goes_on_with_the_next_owner(nodes):
    with channel(nodes[1]) as b, channel(nodes[0]) as a:
        names = [f"c{n}" for n in range(4)]
        got = []

        def take(channel, method, properties, body):
            got.append(body)
            channel.basic_ack(method.delivery_tag)

        for name in names:
            b.queue_declare(name, durable=True)
            b.basic_consume(
                name, lambda c, m, p, body: (got.append(body), c.basic_ack(m.delivery_tag))
            )
            a.queue_declare(name, durable=True)
        for name in names:
            a.basic_publish("", name, name.encode(), LASTS)
        until(lambda: b.connection.process_data_events(0.01) or len(got) == 4)
        nodes[0].stop()
        with channel(nodes[1]) as other:
            for name in names:
                other.basic_publish("", name, b"again " + name.encode(), LASTS)
        until(lambda: b.connection.process_data_events(0.01) or len(set(got)) == 8)


def test_a_node_says_what_it_does_not_serve(cluster, tmp_path):
    node = cluster.node("a")
    with channel(node) as a:
        a.queue_declare("q", durable=True)
    host, port = node.amqp
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
        tx = connection.channel()
        tx.tx_select()
        tx.basic_publish("", "q", b"1", LASTS)
        with pytest.raises(pika.exceptions.AMQPError, match="NOT_IMPLEMENTED"):
            tx.tx_commit()
    code, errors = node.stop()
    assert code == 0
    assert [line for line in errors.splitlines() if "NOT_IMPLEMENTED" not in line] == []


def test_nodes_speak_with_tls_and_know_each_other_by_a_secret_of_their_own(cluster, tmp_path):
    authority = Authority(tmp_path / "signed")
    cert, key = authority.server()
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery")
    tls = {
        "cluster_link_tls": "true", "cluster_link_tls_ca": authority.path, "tls_cert": cert,
        "tls_key": key, "tls_client_ca": authority.path, "tls_client_auth": "required",
        "amqp_tls_port": -1, "resp_tls_port": -1, "http_tls_port": -1,
    }  # fmt: skip
    its = tls | {"cluster_link_secret_file": secret}
    test_queues_are_consumed_wherever_they_are_owned([cluster.node(it, **its) for it in "ab"])
    stranger = cluster.node("c", **tls)
    until(lambda: "has another secret" in stranger.errors())


def test_nobody_listens_for_strangers_without_a_secret(cluster, tmp_path):
    words = [
        "serve", "--data", tmp_path / "a", "--cluster", cluster.address, "--host", "0.0.0.0",
        "--resp-port", "0", "--amqp-port", "-1", "--stomp-port", "-1", "--http-port", "-1",
    ]  # fmt: skip
    password = tmp_path / "password"
    password.write_text("correct horse")
    admin = {"LOGSTORE_ADMIN_USER": "al", "LOGSTORE_ADMIN_PASSWORD_FILE": str(password)}
    done = subprocess.run(
        [COMMAND, *words], capture_output=True, check=False, text=True, env=os.environ | admin
    )
    assert done.returncode == 1
    assert (
        "every client that reaches 0.0.0.0 would be taken for a node of the cluster" in done.stderr
    )


def test_a_cluster_that_is_not_there_is_told_in_one_line(tmp_path):
    words = ["serve", "--data", tmp_path / "a", "--cluster", "127.0.0.1:1", "--resp-port", "0"]
    done = subprocess.run([COMMAND, *words], capture_output=True, check=False, text=True)
    assert done.returncode == 1
    [line] = [it for it in done.stderr.splitlines() if not any(s in it for s in OF_SLOW_MACHINES)]
    assert line.startswith("logstore: the cluster can't be reached: broker 127.0.0.1:1")


def test_what_a_node_says_of_its_cluster_is_what_is_described(nodes):
    with channel(nodes[0]) as a:
        a.queue_declare("q", durable=True)

    def told():
        return ServerSocket(str(nodes[0].data)).get("cluster")

    msgspec.convert(told(), ANSWERS["GET /cluster"])
