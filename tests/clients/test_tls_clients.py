"""Unmodified clients through doors with TLS: with a password, with a certificate, and refused."""

import asyncio
import shutil
import signal
import socket
import ssl
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path
from time import monotonic

import aio_pika
import pika
import pytest
import redis
import redis.asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource
from kept_users_kit import keep, usual
from node_clients import both_of_node, needs_node
from serving import COMMAND, Serving
from signed import Authority
from wire_client import WireClient

from logstore.kafka.messages import describe_cluster, find_coordinator, metadata
from logstore.kept.users import KeptPermission

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources
    from kafka import KafkaConsumer, KafkaProducer
    from kafka import TopicPartition as KafkaTopicPartition

pytestmark = pytest.mark.filterwarnings("ignore:read_text is deprecated")

DEADLINE_S = 20
VALUES = [b"one", b"two", b"x" * 200_000]


class Secured(Serving):
    """A server with TLS; ``authority`` is whom its clients trust."""

    def __init__(self, folder, *, users=False, **settings):
        self.authority = Authority(folder / "signed")
        cert, key = self.authority.server()
        if users:
            usual(folder / "data")
            keep(folder / "data", KeptPermission("al", "/", ".*", ".*", ".*"))
        super().__init__(
            folder / "data", amqp_port=0, tls_cert=cert, tls_key=key,
            tls_client_ca=self.authority.path, tls_client_user_rules="RULE:CN=([^,]*).*/$1/",
            connection_failed_authentication_delay_ms=0, **settings,
        )  # fmt: skip
        self.al = self.authority.client("al")

    @property
    def kafka(self):
        return f"localhost:{self.tls['kafka'][1]}"

    def asks(self, shows=None):
        return self.authority.asks(shows)


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A server without users."""
    yield from ended_well(Secured(tmp_path_factory.mktemp("tls")))


@pytest.fixture(scope="module")
def with_users(tmp_path_factory):
    yield from ended_well(Secured(tmp_path_factory.mktemp("tls-users"), users=True))


def ended_well(running):
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


# Kafka


def librdkafka(server, shows=None, sasl=False, **more):
    """``shows``: certificate and key of the client."""
    told = {
        "bootstrap.servers": server.kafka,
        "security.protocol": "sasl_ssl" if sasl else "ssl",
        "ssl.ca.location": server.authority.path,
        "log_level": 0,
    }
    if shows:
        told |= {"ssl.certificate.location": shows[0], "ssl.key.location": shows[1]}
    if sasl:
        told |= {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "al"}
        told |= {"sasl.password": "pencil"}
    return told | more


def by_librdkafka(server, topic, **how):
    producer = Producer(librdkafka(server, **how))
    for value in VALUES:
        producer.produce(topic, value)
    assert producer.flush(DEADLINE_S) == 0
    more = {"group.id": topic, "auto.offset.reset": "earliest"}
    consumer = Consumer(librdkafka(server, **how) | more)
    consumer.subscribe([topic])
    got, until = [], monotonic() + DEADLINE_S
    while len(got) < len(VALUES) and monotonic() < until:
        got += [it.value() for it in consumer.consume(10, 0.5)]
    consumer.close()
    return got


def test_librdkafka_checks_our_name_and_is_served(secured, topic):
    """By its default it compares the name of the certificate with the one that it connects to."""
    assert by_librdkafka(secured, topic) == VALUES


@pytest.mark.long
def test_librdkafka_logs_in_over_tls(with_users, topic):
    assert by_librdkafka(with_users, topic, sasl=True) == VALUES


@pytest.mark.long
def test_librdkafka_shows_a_certificate_and_needs_no_password(with_users, topic):
    assert by_librdkafka(with_users, topic, shows=with_users.al) == VALUES


@pytest.mark.long
def test_who_shows_a_certificate_may_log_in_as_another(with_users, topic):
    root = librdkafka(with_users, shows=with_users.al, sasl=True)
    admin = AdminClient(root | {"sasl.username": "root", "sasl.password": "key"})
    [told] = admin.describe_configs([ConfigResource("broker", "1")]).values()
    assert told.result(DEADLINE_S)["listen.host"].value == "127.0.0.1"


def aiokafka_of(server, sasl):
    told = {"bootstrap_servers": server.kafka, "ssl_context": server.asks()}
    if not sasl:
        return told | {"security_protocol": "SSL"}
    return told | {
        "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "al", "sasl_plain_password": "pencil",
    }  # fmt: skip


@pytest.mark.parametrize("users", [False, True])
@pytest.mark.long
def test_aiokafka(secured, with_users, topic, users):
    server = with_users if users else secured

    async def talk():
        async with AIOKafkaProducer(**aiokafka_of(server, users)) as producer:
            for value in VALUES:
                await producer.send_and_wait(topic, value)
        async with AIOKafkaConsumer(**aiokafka_of(server, users)) as consumer:
            consumer.assign([TopicPartition(topic, 0)])
            await consumer.seek_to_beginning()
            return [(await consumer.getone()).value for _ in VALUES]

    assert asyncio.run(asyncio.wait_for(talk(), DEADLINE_S)) == VALUES


@pytest.mark.parametrize("users", [False, True])
@pytest.mark.long
def test_kafka_python(secured, with_users, topic, users):
    server = with_users if users else secured
    told = {
        "bootstrap_servers": server.kafka,
        "security_protocol": "SASL_SSL" if users else "SSL",
        "ssl_cafile": server.authority.path,
    }
    if users:
        told |= {"sasl_mechanism": "PLAIN", "sasl_plain_username": "al"}
        told |= {"sasl_plain_password": "pencil"}
    producer = KafkaProducer(**told)
    for value in VALUES:
        producer.send(topic, value).get(DEADLINE_S)
    producer.close()
    consumer = KafkaConsumer(**told)
    consumer.assign([KafkaTopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    got, until = [], monotonic() + DEADLINE_S
    while len(got) < len(VALUES) and monotonic() < until:
        for records in consumer.poll(500).values():
            got += [it.value for it in records]
    consumer.close()
    assert got == VALUES


@pytest.mark.long
def test_kafka_clients_are_told_the_address_of_the_door_that_they_came_by(tmp_path, topic):
    """And of no other: one without TLS would be of no use to them."""
    server = Secured(
        tmp_path, kafka_advertised_address="plain.example:1",
        kafka_tls_advertised_address="tls.example:2",
    )  # fmt: skip
    entrances = {
        ("tls.example", 2): WireClient(server.tls["kafka"], server.asks()),
        ("plain.example", 1): WireClient(server.endpoint),
    }
    for place, client in entrances.items():
        with client:
            [node] = client.ask(3, 12, metadata.Request(()), metadata.Response).brokers
            cluster = client.ask(60, 0, describe_cluster.Request(), describe_cluster.Response)
            request = find_coordinator.Request(key_type=0, coordinator_keys=("g",))
            found = client.ask(10, 4, request, find_coordinator.Response)
            for it in (node, *cluster.brokers, *found.coordinators):
                assert (it.host, it.port) == place
    _, errors = server.stop()
    assert "the certificate is not for tls.example" in errors


# Redis


def test_redis_py(secured):
    host, port = secured.tls["resp"]
    client = redis.Redis(host, port, ssl=True, ssl_ca_certs=secured.authority.path)
    pubsub = client.pubsub()
    pubsub.subscribe("c")
    assert pubsub.get_message(timeout=DEADLINE_S)["type"] == "subscribe"
    for value in VALUES:
        assert client.publish("c", value) == 1
        assert pubsub.get_message(timeout=DEADLINE_S)["data"] == value
    pubsub.close()
    client.close()


@pytest.mark.long
def test_redis_py_with_a_password(with_users):
    """A certificate alone is no login here, as in Redis."""
    host, port = with_users.tls["resp"]
    cert, key = with_users.al
    told = {"ssl": True, "ssl_ca_certs": with_users.authority.path, "ssl_check_hostname": True}
    client = redis.Redis(
        host, port, username="al", password="pencil", ssl_certfile=cert, ssl_keyfile=key, **told
    )
    assert client.ping()
    assert client.acl_whoami() == "al"
    client.close()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(host, port, ssl_certfile=cert, ssl_keyfile=key, **told).ping()


@pytest.mark.long
def test_redis_py_without_blocking(secured):
    host, port = secured.tls["resp"]

    async def talk():
        async with (
            redis.asyncio.Redis(
                host=host, port=port, ssl=True, ssl_ca_certs=secured.authority.path
            ) as client,
            client.pubsub() as pubsub,
        ):
            await pubsub.subscribe("d")
            assert (await pubsub.get_message(timeout=DEADLINE_S))["type"] == "subscribe"
            assert await client.publish("d", b"x") == 1
            return (await pubsub.get_message(timeout=DEADLINE_S))["data"]

    assert asyncio.run(talk()) == b"x"


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="no redis-cli")
@pytest.mark.long
def test_redis_cli(secured):
    host, port = secured.tls["resp"]
    command = ["redis-cli", "--tls", "--cacert", secured.authority.path, "-h", host, "-p", port]
    done = subprocess.run(
        [str(it) for it in (*command, "ping")], capture_output=True, timeout=DEADLINE_S, check=True
    )
    if b"Unrecognized option" in done.stdout + done.stderr:
        pytest.skip("this redis-cli was built without TLS")
    assert done.stdout == b"PONG\n"


@needs_node
@pytest.mark.long
def test_clients_of_node(with_users, topic, tmp_path):
    """ioredis and node-redis."""
    login = (with_users.authority.path, "root", "key")
    host, port = "localhost", with_users.tls["resp"][1]
    got = both_of_node(tmp_path, host, port, topic, *login)
    assert got == [[["1", "2", "3"], [1, 1, 1]]] * 2


# RabbitMQ


def pika_of(server, shows=None, **how):
    host, port = server.tls["amqp"]
    if shows is not None:
        how["credentials"] = pika.credentials.ExternalCredentials()
    options = pika.SSLOptions(server.asks(shows), "localhost")
    return pika.BlockingConnection(
        pika.ConnectionParameters(host, port, ssl_options=options, **how)
    )


def round_trip(connection, queue):
    channel = connection.channel()
    channel.queue_declare(queue)
    channel.confirm_delivery()
    for value in VALUES:
        channel.basic_publish("", queue, value)
    got = [channel.basic_get(queue, auto_ack=True)[2] for _ in VALUES]
    connection.close()
    return got


@pytest.mark.long
def test_pika(secured, topic):
    assert round_trip(pika_of(secured), topic) == VALUES


@pytest.mark.long
def test_pika_with_a_password_and_with_a_certificate(with_users, topic):
    password = pika.PlainCredentials("al", "pencil")
    assert round_trip(pika_of(with_users, credentials=password), f"{topic}-password") == VALUES
    assert round_trip(pika_of(with_users, with_users.al), f"{topic}-certificate") == VALUES


@pytest.mark.long
def test_pika_with_a_certificate_of_nobody_is_told_so_in_rabbitmqs_words(with_users):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError, match="using authentication"):
        pika_of(with_users, with_users.authority.client("zoe"))


@pytest.mark.parametrize("shows", [False, True])
@pytest.mark.long
def test_aio_pika(with_users, topic, shows):
    host, port = with_users.tls["amqp"]
    login = "al:pencil@" if not shows else ""
    url = f"amqps://{login}{host}:{port}/" + ("?auth=external" if shows else "")

    async def talk():
        context = with_users.asks(with_users.al if shows else None)
        connection = await aio_pika.connect(url, ssl=True, ssl_context=context)
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(topic + str(shows))
            for value in VALUES:
                await channel.default_exchange.publish(aio_pika.Message(value), queue.name)
            return [(await queue.get(no_ack=True)).body for _ in VALUES]

    assert asyncio.run(asyncio.wait_for(talk(), DEADLINE_S)) == VALUES


# A server


@pytest.mark.long
def test_a_certificate_is_changed_while_connections_go_on(tmp_path):
    server = Secured(tmp_path)
    host, port = server.tls["resp"]
    told = {"ssl": True, "ssl_ca_certs": server.authority.path}
    before = redis.Redis(host, port, **told)
    assert before.ping()
    cert, key = server.authority.server("next")
    Path(cert).rename(tmp_path / "signed/server.pem")
    server.process.send_signal(signal.SIGHUP)
    wait_for(server, "does not belong to the certificate in")
    redis.Redis(host, port, **told).ping()  # with the one before
    Path(key).rename(tmp_path / "signed/server.key")
    server.process.send_signal(signal.SIGHUP)
    wait_for(server, "loaded anew: valid until")
    redis.Redis(host, port, **told).ping()
    assert before.ping()
    before.close()
    assert server.stop()[0] == 0


def wait_for(server, text):
    until = monotonic() + DEADLINE_S
    while text not in server.errors():
        assert monotonic() < until, server.errors()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"tls_cert": "none.pem"}, "none.pem: can't be read: No such file or directory"),
        ({"tls_key": "some.key"}, "tls.key is set, but tls.cert is not"),
        ({"tls_client_user_rules": "RULE:x", "tls_cert": "none.pem"}, "tls.client.user.rules: "),
        ({"kafka_tls_port": "0"}, "kafka.tls.port is set, but tls.cert is not"),
    ],
)
@pytest.mark.long
def test_a_server_whose_certificate_is_no_good_does_not_start(tmp_path, settings, why):
    given = {"kafka_port": 0, "resp_port": -1, "amqp_port": -1, "kafka_tls_port": -1} | settings
    done = subprocess.run(
        [COMMAND, "serve", "--data", tmp_path / "data"], env=environment(given),
        capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def environment(settings):
    given = {f"LOGSTORE_{name.upper()}": str(value) for name, value in settings.items()}
    return {"PATH": "/usr/bin:/bin", **given}


CLOSED = (
    "kafka", "resp", "amqp", "mqtt", "stomp", "http", "resp-tls", "amqp-tls", "mqtt-tls",
    "stomp-tls", "http-tls",
)  # fmt: skip


@pytest.mark.long
def test_a_server_may_have_doors_with_tls_alone(tmp_path):
    authority = Authority(tmp_path / "signed")
    cert, key = authority.server()
    given = environment({"tls_cert": cert, "tls_key": key, "kafka_tls_port": 0})
    ports = [f"--{it}-port=-1" for it in CLOSED]
    process = subprocess.Popen(
        [COMMAND, "serve", "--data", tmp_path / "data", *ports],
        env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    line = process.stdout.readline()
    assert "Kafka clients with TLS at 127.0.0.1:" in line
    port = line.rsplit(":", 1)[1].strip()
    told = {
        "bootstrap.servers": f"localhost:{port}", "security.protocol": "ssl",
        "ssl.ca.location": authority.path,
    }  # fmt: skip
    assert AdminClient(told).list_topics(timeout=DEADLINE_S).brokers[1].port == int(port)
    process.terminate()
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.long
def test_a_plain_client_at_a_door_with_tls_is_told_of(secured):
    with socket.create_connection(secured.tls["resp"], DEADLINE_S) as sock:
        sock.sendall(b"PING\r\n")
        with suppress(ConnectionError):
            assert sock.recv(100) == b""
    wait_for(secured, "plain text on a port for TLS: the peer must use TLS")


@pytest.mark.long
def test_a_client_with_tls_at_a_plain_door_is_told_of(secured):
    sock = socket.create_connection(secured.redis, DEADLINE_S)
    with sock, pytest.raises((ssl.SSLError, ConnectionError)):
        secured.asks().wrap_socket(sock, server_hostname="localhost")
    wait_for(secured, "the peer speaks TLS: the Redis protocol is served here, without TLS")
