"""Clients of other languages log in, by each mechanism that they have."""

import json
import os
from time import monotonic, time

import pytest
import tools
from kept_users_kit import keep, usual
from serving import Serving
from signed import Authority
from speaking import Client, Failed

from logstore.access.resources import ALL, GROUP, TOPIC
from logstore.kept.users import KeptRule

CLIENTS = ["java", "java-3.9", "kafkajs", "franz-go"]
PASSWORDS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
LOGIN = "org.apache.kafka.common.security.{}LoginModule required {};"
MODULES = {"PLAIN": "plain.Plain", "OAUTHBEARER": "oauthbearer.OAuthBearer"}
CALLBACK = {
    "java": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    "java-3.9": "org.apache.kafka.common.security.oauthbearer.secured."
    "OAuthBearerLoginCallbackHandler",
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A server with users that trusts an issuer of tokens; no secret is in its log."""
    jwt_kit = pytest.importorskip("jwt_kit")
    directory = tmp_path_factory.mktemp("secured")
    usual(directory / "data")
    keep(directory / "data", KeptRule("svc", ALL, TOPIC, "*"), KeptRule("svc", ALL, GROUP, "*"))
    (directory / "keys.json").write_bytes(jwt_kit.public(jwt_kit.RSA))
    authority = Authority(directory / "signed")
    cert, key = authority.server()
    running = Serving(
        directory / "data",
        resp_port=-1,
        resp_tls_port=-1,
        amqp_tls_port=-1,
        tls_cert=cert,
        tls_key=key,
        sasl_oauthbearer_jwks_endpoint_url=f"file://{directory}/keys.json",
        connection_failed_authentication_delay_ms=0,
    )
    running.token = jwt_kit.signed({"sub": "svc", "exp": time() + 3600, "iat": time()})
    (directory / "token").write_text(running.token)
    running.token_file = directory / "token"
    running.ca = authority.path
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert not any(it in errors for it in ("Traceback", "pencil", "brush", running.token)), errors


def with_tls(server):
    """Where it is reached by the name that its certificate has."""
    return f"localhost:{server.tls['kafka'][1]}"


def of_java(client, server, mechanism, user, password, *, tls=False):
    """Its properties."""
    words = f'username="{user}" password="{password}"' if mechanism in PASSWORDS else ""
    found = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.jaas.config": LOGIN.format(MODULES.get(mechanism, "scram.Scram"), words),
    }
    if mechanism == "OAUTHBEARER":
        found["sasl.login.callback.handler.class"] = CALLBACK[client]
        found["sasl.oauthbearer.token.endpoint.url"] = f"file://{server.token_file}"
    if tls:
        found["security.protocol"] = "SASL_SSL"
        found |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": server.ca}
    return found


@pytest.fixture
def log_in(secured, built):
    """log_in(client, mechanism, password) -> a client that does what it is told."""
    running = []

    def start(name, mechanism, password="pencil", user="al", *, tls=False):
        said = {"mechanism": mechanism, "user": user, "password": password}
        if tls:
            said["ca"] = secured.ca
        if mechanism == "OAUTHBEARER":
            said["token"] = secured.token
        if name.startswith("java"):
            said = {"properties": of_java(name, secured, mechanism, user, password, tls=tls)}
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://{secured.token_file}"
        more = {"KAFKA_SECURITY": json.dumps(said), "JAVA_TOOL_OPTIONS": allowed}
        address = with_tls(secured) if tls else secured.address
        running.append(Client([*built(name), address], env=os.environ | more))
        return running[-1]

    yield start
    for it in running:
        it.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("mechanism", [*PASSWORDS, "OAUTHBEARER"])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_logs_in_produces_and_consumes(log_in, topic, name, mechanism, tls):
    client = log_in(name, mechanism, tls=tls)
    sent = [{"partition": 0, "key": f"k{n}", "value": f"v{n}"} for n in range(10)]
    client("create", topic=topic)
    assert client("produce", topic=topic, records=sent)["offsets"] == list(range(10))
    found = client("consume", topic=topic, count=10)["records"]
    assert [it["value"] for it in found] == [it["value"] for it in sent]


@pytest.mark.parametrize("mechanism", PASSWORDS)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_is_told_that_its_password_is_wrong(log_in, topic, name, mechanism):
    client = log_in(name, mechanism, "brush")
    with pytest.raises((Failed, AssertionError), match=r"(?i)authentication"):
        client("create", topic=topic)


def test_kafka_configs_gives_a_user_a_password_and_takes_it_away(log_in, secured, built, tmp_path):
    built("java")
    config = tmp_path / "root.properties"
    properties = of_java("java", secured, "SCRAM-SHA-512", "root", "key", tls=True)
    config.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))

    def configs(*words):
        of = ("--bootstrap-server", with_tls(secured), "--command-config", config)
        return tools.run("kafka-configs", *of, "--entity-type", "users", *words)

    new = ("--entity-name", "new")
    said = configs(
        "--alter", *new, "--add-config", "SCRAM-SHA-256=[iterations=5000,password=paper]"
    )
    assert "Completed updating config for user new" in said
    assert "SCRAM-SHA-256=iterations=5000" in configs("--describe", *new)
    assert "'al'" in configs("--describe")
    new_user = log_in("java", "SCRAM-SHA-256", "paper", user="new")
    with pytest.raises(Failed, match="Authorization"):  # and not Authentication
        new_user("create", topic="of-new")
    configs("--alter", *new, "--delete-config", "SCRAM-SHA-256")
    with pytest.raises(Failed, match="Authentication"):
        log_in("java", "SCRAM-SHA-256", "paper", user="new")("create", topic="of-new")


@pytest.mark.parametrize("name", ["java", "java-3.9"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_java_logs_in_again_on_the_same_connection(built, tmp_path, name, mechanism):
    usual(tmp_path / "data")
    server = Serving(tmp_path / "data", resp_port=-1, connections_max_reauth_ms=1000)
    said = {"properties": of_java(name, server, mechanism, "al", "pencil")}
    more = {"KAFKA_SECURITY": json.dumps(said)}
    client = Client([*built(name), server.address], env=os.environ | more)
    try:
        client("create", topic="t")
        before = inbound(server)
        assert before
        until = monotonic() + 3  # a login is good for a second
        while monotonic() < until:
            assert client("ends", topic="t") == {"start": 0, "end": 0}
        assert inbound(server) == before
    finally:
        client.close()
        code, errors = server.stop()
    assert code == 0, errors
    assert "the time is over" not in errors


def inbound(server):
    """The clients' ends of the connections that there are."""
    with open(f"/proc/{server.process.pid}/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    here, established = f"0100007F:{server.endpoint[1]:04X}", "01"
    return {row[2] for row in rows if (row[1], row[3]) == (here, established)}
