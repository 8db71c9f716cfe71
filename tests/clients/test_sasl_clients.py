"""Unmodified clients log in, by each mechanism that they have."""

import asyncio
import gc
import logging
import os
import subprocess
import warnings
from time import monotonic, time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError as AioKafkaError
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from kept_users_kit import keep, usual
from serving import COMMAND, Serving

from logstore.access.resources import ALL, GROUP, TOPIC
from logstore.kept.users import KeptRule

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # its own, of importlib.resources
    from kafka import KafkaConsumer, KafkaProducer
    from kafka import TopicPartition as KafkaTopicPartition
    from kafka.errors import KafkaError as PythonKafkaError

pytestmark = pytest.mark.filterwarnings("ignore:read_text is deprecated")

MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
DEADLINE_S = 20
VALUES = [b"one", b"two", b"three"]


@pytest.fixture
def collected():
    """Clients that are refused leave their sockets to the collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A server that has users; whatever is refused, no password and no traceback is in its log."""
    data = tmp_path_factory.mktemp("secured") / "data"
    usual(data)
    # All come from one address, and the tests are not about how long it is held back.
    running = Serving(data, resp_port=-1, connection_failed_authentication_delay_ms=0)
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors
    assert not any(it in errors for it in ("pencil", "cGVuY2ls", "brush")), errors


def rdkafka(server, mechanism, user="al", password="pencil", **more):
    return {
        "bootstrap.servers": server.address,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
        "logger": logging.getLogger("quiet"),
    } | more


def python(server, mechanism, user="al", password="pencil"):
    return {
        "bootstrap_servers": server.address,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


def by_librdkafka(server, topic, mechanism):
    producer = Producer(rdkafka(server, mechanism))
    for value in VALUES:
        producer.produce(topic, value)
    assert producer.flush(DEADLINE_S) == 0
    consumer = Consumer(
        rdkafka(server, mechanism, **{"group.id": topic, "auto.offset.reset": "earliest"})
    )
    try:
        consumer.subscribe([topic])
        found = []
        while len(found) < len(VALUES):
            found += consumer.consume(len(VALUES), DEADLINE_S)
        assert [it.value() for it in found] == VALUES
    finally:
        consumer.close()


def by_kafka_python(server, topic, mechanism):
    producer = KafkaProducer(**python(server, mechanism))
    sent = [producer.send(topic, value) for value in VALUES]
    assert [it.get(DEADLINE_S).offset for it in sent] == [0, 1, 2]
    producer.close()
    consumer = KafkaConsumer(
        **python(server, mechanism), consumer_timeout_ms=1000 * DEADLINE_S, enable_auto_commit=False
    )
    consumer.assign([KafkaTopicPartition(topic, 0)])
    consumer.seek(KafkaTopicPartition(topic, 0), 0)
    assert [next(consumer).value for _ in VALUES] == VALUES
    consumer.close()


def by_aiokafka(server, topic, mechanism):
    async def talk():
        async with AIOKafkaProducer(**python(server, mechanism)) as producer:
            for value in VALUES:
                await producer.send_and_wait(topic, value)
        consumer = AIOKafkaConsumer(**python(server, mechanism), enable_auto_commit=False)
        async with consumer:
            consumer.assign([TopicPartition(topic, 0)])
            consumer.seek(TopicPartition(topic, 0), 0)
            assert [(await consumer.getone()).value for _ in VALUES] == VALUES

    asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))


CLIENTS = [by_librdkafka, by_kafka_python, by_aiokafka]


def test_librdkafka_logs_in_by_scram(secured, topic):
    by_librdkafka(secured, topic, "SCRAM-SHA-256")


@pytest.mark.long
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_logs_in_produces_and_consumes(secured, topic, client, mechanism):
    client(secured, topic, mechanism)


def refusal_of_librdkafka(server, mechanism, user, password):
    """What it tells the program that uses it, once it was refused."""
    told = {}

    def tell(error):
        told[error.code()] = error.str()

    conf = rdkafka(server, mechanism, user, password) | {"error_cb": tell}
    admin = AdminClient(conf)
    admin.describe_cluster()
    until = monotonic() + DEADLINE_S
    while KafkaError._AUTHENTICATION not in told and monotonic() < until:
        admin.poll(0.1)
    return told[KafkaError._AUTHENTICATION]


@pytest.mark.long
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(("user", "password"), [("al", "brush"), ("nobody", "pencil")])
def test_librdkafka_is_told_why_it_does_not_come_in(secured, mechanism, user, password):
    assert "Authentication failed" in refusal_of_librdkafka(secured, mechanism, user, password)


@pytest.mark.long
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.usefixtures("collected")
def test_kafka_python_is_told_that_it_does_not_come_in(secured, mechanism):
    with pytest.raises(PythonKafkaError):
        KafkaProducer(**python(secured, mechanism, password="brush"), bootstrap_timeout_ms=500)


@pytest.mark.long
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.usefixtures("collected")
def test_aiokafka_is_told_that_it_does_not_come_in(secured, mechanism):
    async def talk():
        producer = AIOKafkaProducer(**python(secured, mechanism, password="brush"))
        try:
            with pytest.raises(AioKafkaError):
                await producer.start()
        finally:
            await producer.stop()

    asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))


@pytest.mark.long
def test_who_does_not_log_in_is_not_served(secured):
    admin = AdminClient(
        {"bootstrap.servers": secured.address, "logger": logging.getLogger("quiet")}
    )
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=1)


@pytest.mark.long
def test_librdkafka_sets_a_password_logs_in_with_it_and_takes_it_away(secured, topic):
    admin = AdminClient(rdkafka(secured, "SCRAM-SHA-512", "root", "key"))
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 5000)
    upsertion = UserScramCredentialUpsertion("new", info, b"paper", b"some salt")
    [done] = admin.alter_user_scram_credentials([upsertion]).values()
    done.result(DEADLINE_S)
    [told] = admin.describe_user_scram_credentials(["new"]).values()
    [found] = told.result(DEADLINE_S).scram_credential_infos
    assert (found.mechanism, found.iterations) == (ScramMechanism.SCRAM_SHA_256, 5000)
    other = AdminClient(rdkafka(secured, "SCRAM-SHA-256", "new", "paper"))
    assert topic not in other.list_topics(timeout=DEADLINE_S).topics
    deletion = UserScramCredentialDeletion("new", ScramMechanism.SCRAM_SHA_256)
    [done] = admin.alter_user_scram_credentials([deletion]).values()
    done.result(DEADLINE_S)
    assert refusal_of_librdkafka(secured, "SCRAM-SHA-256", "new", "paper")


@pytest.mark.long
def test_librdkafka_goes_on_over_the_end_of_its_login(tmp_path, topic):
    usual(tmp_path / "data")
    server = Serving(tmp_path / "data", resp_port=-1, connections_max_reauth_ms=1000)
    try:
        producer = Producer(rdkafka(server, "SCRAM-SHA-256"))
        failed = []
        for number in range(40):  # two seconds and more
            producer.produce(topic, b"%d" % number, on_delivery=lambda e, _: e and failed.append(e))
            producer.poll(0.06)
        assert producer.flush(DEADLINE_S) == 0
        assert not failed
    finally:
        code, errors = server.stop()
    assert (code, "the time is over" in errors) == (0, False), errors


# Tokens of an issuer


@pytest.fixture(scope="module")
def trusting(tmp_path_factory):
    """A server that trusts an issuer; ``svc`` is none of its users, and may read and write."""
    jwt_kit = pytest.importorskip("jwt_kit")
    directory = tmp_path_factory.mktemp("trusting")
    usual(directory / "data")
    keep(directory / "data", KeptRule("svc", ALL, TOPIC, "*"), KeptRule("svc", ALL, GROUP, "*"))
    (directory / "keys.json").write_bytes(jwt_kit.public(jwt_kit.RSA))
    running = Serving(
        directory / "data",
        resp_port=-1,
        sasl_oauthbearer_jwks_endpoint_url=f"file://{directory}/keys.json",
        sasl_oauthbearer_expected_audience="logstore",
        connection_failed_authentication_delay_ms=0,
    )
    running.signed = jwt_kit.signed
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors
    assert "eyJ" not in errors, errors  # no token


def token_of(server, seconds=600, **more):
    claims = {"sub": "svc", "exp": time() + seconds, "iat": time(), "aud": "logstore"} | more
    return server.signed(claims)


def bearing(server, token, **more):
    return {
        "bootstrap.servers": server.address,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "oauth_cb": lambda _: (token, time() + 600),
        "logger": logging.getLogger("quiet"),
    } | more


@pytest.mark.long
def test_librdkafka_logs_in_by_a_token(trusting, topic):
    producer = Producer(bearing(trusting, token_of(trusting)))
    failed = []
    for value in VALUES:
        producer.produce(topic, value, on_delivery=lambda e, _: e and failed.append(e))
    assert producer.flush(DEADLINE_S) == 0
    assert not failed


@pytest.mark.long
@pytest.mark.parametrize("more", [{"aud": "others"}, {"exp": 1.5}, {"sub": None}])
def test_librdkafka_is_told_that_its_token_is_not_good(trusting, more):
    told = {}

    def tell(error):
        told[error.code()] = error.str()

    admin = AdminClient(bearing(trusting, token_of(trusting, **more), error_cb=tell))
    admin.poll(0.1)
    admin.describe_cluster()
    until = monotonic() + DEADLINE_S
    while KafkaError._AUTHENTICATION not in told and monotonic() < until:
        admin.poll(0.1)
    assert "invalid_token" in told[KafkaError._AUTHENTICATION]


class Held(AbstractTokenProvider):
    """Of aiokafka: a token that is there already."""

    def __init__(self, token):
        self.held = token

    async def token(self):
        return self.held


@pytest.mark.long
def test_aiokafka_logs_in_by_a_token(trusting, topic):
    async def talk():
        producer = AIOKafkaProducer(
            bootstrap_servers=trusting.address,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="OAUTHBEARER",
            sasl_oauth_token_provider=Held(token_of(trusting)),
        )
        async with producer:
            assert (await producer.send_and_wait(topic, b"one")).offset == 0

    asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))


@pytest.mark.long
def test_kafka_python_logs_in_by_a_token(trusting, topic):
    from kafka.net.sasl.oauth import AbstractTokenProvider as PythonTokenProvider

    class Ready(PythonTokenProvider):
        def token(self):
            return token_of(trusting)

    producer = KafkaProducer(
        bootstrap_servers=trusting.address,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="OAUTHBEARER",
        sasl_oauth_token_provider=Ready(),
    )
    assert producer.send(topic, b"one").get(DEADLINE_S).offset == 0
    producer.close()


@pytest.mark.long
def test_a_server_that_is_to_trust_keys_from_anywhere_does_not_start(tmp_path):
    url = {"LOGSTORE_SASL_OAUTHBEARER_JWKS_ENDPOINT_URL": "http://example.org/keys"}
    result = subprocess.run(
        [COMMAND, "serve", "--data", tmp_path / "data", "--kafka-port", "0", "--resp-port", "-1"],
        env=os.environ | url,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert result.returncode == 1
    assert "can't be replaced on the way" in result.stderr
    assert "Traceback" not in result.stderr
