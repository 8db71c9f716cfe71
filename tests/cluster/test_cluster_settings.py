"""Where a cluster is, and who this process is there, out of the settings."""

import ssl
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.cluster.cluster_settings import SERVERS_MAX, ClusterSettings, addresses_of
from logstore.config import Config
from logstore.errors import Failed, InvalidSetting, LogstoreError
from logstore.settings import StoreSettings
from logstore.variables import CLUSTER_PASSWORD

SECRET = "correct horse"
LOGIN = {"security_protocol": "SASL_PLAINTEXT", "sasl_user": "al"}


@pytest.fixture
def of(tmp_path):
    def of(servers=("kafka-1:9092",), environment=(), **its):
        its = {f"cluster_{name}": value for name, value in its.items()}
        store = StoreSettings(cluster_bootstrap_servers=servers, **its)
        return ClusterSettings.of(store, dict(environment), tmp_path)

    return of


def configured(text):
    return Config({"cluster.bootstrap.servers": (text, "test")}).store.cluster_bootstrap_servers


def test_without_brokers_there_is_no_cluster(of):
    assert of(()) is None


def test_addresses_are_hosts_and_ports():
    found = addresses_of(configured("kafka-1:9092, 10.0.0.7:1,[::1]:65535 ,a.example:09092"))
    assert found == [("kafka-1", 9092), ("10.0.0.7", 1), ("::1", 65535), ("a.example", 9092)]


@pytest.mark.parametrize(
    "text",
    ["kafka-1", ":9092", "a:b", "a:0", "a:65536", "a:99999", "a:", "::1:9092", "[::1]", "a b:1",
     "http://a:1", "al:pw@a:1", "a:1,,b:1", "a:1 b:2", "[a]:1", "a:-1", "a:\u0661"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InvalidSetting, match="host:port") as told:
        addresses_of(configured(text))
    assert "\n" not in str(told.value)


HOSTS = st.text("az09-.", min_size=1, max_size=20)
V6 = st.ip_addresses(v=6).map(str)


@settings(max_examples=30)
@given(st.lists(st.tuples(HOSTS | V6, st.integers(1, 65_535)), min_size=1, max_size=9, unique=True))
def test_any_addresses_come_back(pairs):
    text = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in pairs)
    assert addresses_of(configured(text)) == pairs


@settings(max_examples=50)
@given(st.text(max_size=60) | st.text("a:[]1,. ", max_size=12))
def test_any_text_is_addresses_or_refused_in_one_line(text):
    try:
        found = addresses_of(configured(text))
    except InvalidSetting as error:
        found = str(error)
    if isinstance(found, str):
        assert "\n" not in found
    else:
        assert all(host and 0 < port < 65_536 for host, port in found)


def test_there_is_an_end_to_addresses(of):
    with pytest.raises(InvalidSetting, match="101 addresses, at most 100"):
        of([f"k{number}:1" for number in range(SERVERS_MAX + 1)])


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_the_password_is_in_a_file_or_the_environment(of, tmp_path, mechanism):
    (tmp_path / "pw").write_text(SECRET + "\n")
    for its in ({"sasl_password_file": "pw"}, {"environment": {CLUSTER_PASSWORD: SECRET}}):
        found = of(**LOGIN, **its, sasl_mechanism=mechanism)
        assert (found.credentials.mechanism, found.credentials.user) == (mechanism, "al")
        assert found.credentials.password == SECRET
        assert SECRET not in repr(found)


def test_no_setting_has_the_password():
    names = [it.name for it in fields(StoreSettings) if "password" in it.name]
    assert names == ["cluster_sasl_password_file"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "one line"), (b"\n", "one line"), (b"secret1\nsecret2\n", "one line"),
        (b"secret" * 500, "one line"), (b"\xffsecret", "not UTF-8"), (b"sec\0ret", "one line"),
        (None, "can't be read: No such file"),
    ],
)  # fmt: skip
def test_a_file_without_a_password_is_refused_and_not_shown(of, tmp_path, content, text):
    if content is not None:
        (tmp_path / "pw").write_bytes(content)
    with pytest.raises(LogstoreError, match=text) as told:
        of(**LOGIN, sasl_password_file="pw")
    assert str(tmp_path / "pw") in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("its", "text"),
    [
        ({"security_protocol": "SASL_SSL"}, "set cluster.sasl.user"),
        (LOGIN, "name its file in cluster.sasl.password.file, or set LOGSTORE_CLUSTER_SASL_PASSW"),
        (LOGIN | {"sasl_password_file": "pw", "environment": {CLUSTER_PASSWORD: SECRET}}, "both"),
        (LOGIN | {"environment": {CLUSTER_PASSWORD: ""}}, "one line"),
        ({"sasl_user": "al"}, "cluster.sasl.user is set, and cluster.security.protocol is PLAIN"),
        ({"sasl_password_file": "pw"}, "cluster.sasl.password.file is set, and"),
        ({"tls_ca": "ca"}, "cluster.tls.ca is set, and cluster.security.protocol is PLAINTEXT"),
        (LOGIN | {"tls_server_name": "k"}, "cluster.tls.server.name is set, and"),
        ({"security_protocol": "SSL", "tls_key": "k"}, "cluster.tls.key is set, and cluster.tls.c"),
    ],
)
def test_settings_that_do_not_fit_are_refused(of, its, text):
    with pytest.raises(InvalidSetting, match=text) as told:
        of(**its)
    assert SECRET not in str(told.value)


def test_with_tls_brokers_have_to_show_who_they_are(of):
    found = of(security_protocol="SSL", tls_server_name="kafka.example", client_rack="eu-1a")
    assert (found.tls.verify_mode, found.tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert found.tls.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (found.server_name, found.rack, found.credentials) == ("kafka.example", "eu-1a", None)


@pytest.mark.parametrize(
    ("its", "content", "text"),
    [
        ({"tls_ca": "x"}, None, "x: can't be read: No such file"),
        ({"tls_ca": "x"}, b"nothing", "x: not a certificate in PEM"),
        ({"tls_cert": "x"}, None, "x: can't be read: No such file"),
        ({"tls_cert": "x"}, b"nothing", "are not a certificate and its own private key"),
    ],
)
def test_files_that_are_no_certificates_are_refused(of, tmp_path, its, content, text):
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    with pytest.raises(Failed, match=text):
        of(security_protocol="SSL", **its)
