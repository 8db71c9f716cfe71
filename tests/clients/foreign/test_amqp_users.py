"""RabbitMQ's Java client with users: by a password, over TLS, and by a certificate alone."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import load_pem_x509_certificate
from exercising import Spoken
from served_users import SECRET, ServedUsers
from serving import Serving
from signed import Authority

STORE_PASSWORD = b"changeit"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("signed"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory, authority):
    cert, key = authority.server()
    running = Serving(
        tmp_path_factory.mktemp("amqp") / "data", resp_port=-1, amqp_port=0, tls_cert=cert,
        tls_key=key, tls_client_ca=authority.path, tls_client_user_rules="RULE:CN=([^,]*).*/$1/",
        connection_failed_authentication_delay_ms=0, kafka_tls_port=-1, resp_tls_port=-1,
    )  # fmt: skip
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors
    assert SECRET not in errors


@pytest.fixture(scope="module")
def users(broker):
    return ServedUsers(broker)


def store_of(authority, name):
    """A certificate and its key as Java reads them."""
    cert, key = (Path(it).read_bytes() for it in authority.client(name))
    return authority.write(f"{name}.p12", pkcs12.serialize_key_and_certificates(
        name.encode(),
        serialization.load_pem_private_key(key, None),
        load_pem_x509_certificate(cert),
        None,
        serialization.BestAvailableEncryption(STORE_PASSWORD),
    ))  # fmt: skip


@pytest.mark.parametrize("how", ["plain", "tls", "certificate"])
def test_the_java_client_as_a_user(broker, users, authority, built, how):
    name = f"al-{how}"
    users.add(name)
    users.permit(name, f"^{how}$", "^amq\\.default$", f"^{how}$")
    host, port = broker.amqp if how == "plain" else ("localhost", broker.tls["amqp"][1])
    keys = store_of(authority, name) if how == "certificate" else "-"
    trusts = "-" if how == "plain" else authority.path
    program = Spoken(
        [*built("rabbitmq-java user"), host, port, name, SECRET, trusts, keys, how]
    )  # fmt: skip
    try:
        program.says("ready")
        users.delete(name)
        program.says("done")
    finally:
        program.kill()
