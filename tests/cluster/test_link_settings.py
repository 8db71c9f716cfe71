"""By which secret nodes know each other, and whether their links have TLS: out of the settings."""

import ssl

import pytest

from logstore.cluster.cluster_settings import ClusterSettings
from logstore.cluster.link_settings import LinkSettings
from logstore.errors import LogstoreError
from logstore.settings import StoreSettings
from logstore.variables import CLUSTER_PASSWORD

SECRET = "correct horse battery"


@pytest.fixture
def of(tmp_path):
    def of(password="", **its):
        its = {f"cluster_link_{name}": value for name, value in its.items() if name != "cert"} | {
            "tls_cert": its.get("cert", "")
        }
        return LinkSettings.of(StoreSettings(**its), password, tmp_path)

    return of


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_secret_is_in_a_file_of_its_own(of, tmp_path, ending):
    (tmp_path / "secret").write_bytes((SECRET + ending).encode())
    found = of("the password", secret_file="secret")
    assert found.secret == SECRET
    assert SECRET not in repr(found)


def test_without_one_it_is_the_password_of_the_cluster():
    store = StoreSettings(
        cluster_bootstrap_servers=("k:1",), cluster_security_protocol="SASL_PLAINTEXT",
        cluster_sasl_user="al",
    )  # fmt: skip
    assert ClusterSettings.of(store, {CLUSTER_PASSWORD: SECRET}, None).link.secret == SECRET


def test_each_cluster_has_another_secret_of_it(of):
    assert of(SECRET).secret_of("one") == of(SECRET).secret_of("one")
    assert (
        len({of(SECRET).secret_of("one"), of(SECRET).secret_of("two"), of("").secret_of("one")})
        == 3
    )


def test_nodes_with_tls_have_to_show_who_they_are(of):
    found = of(tls=True, cert="node.pem").tls
    assert (found.verify_mode, found.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert of(cert="node.pem").tls is None


@pytest.mark.parametrize(
    ("its", "content", "text"),
    [
        ({"secret_file": "x"}, None, "x: can't be read: No such file"),
        (
            {"secret_file": "x"},
            SECRET[:15],
            "x: the file must hold a secret and nothing else: one line of 16 to 1024 bytes",
        ),
        (
            {"secret_file": "x"},
            SECRET * 50,
            "x: the file must hold a secret and nothing else: one line of 16 to 1024 bytes",
        ),
        (
            {"secret_file": "x"},
            f"{SECRET}\n{SECRET}",
            "x: the file must hold a secret and nothing else: one line",
        ),
        ({"secret_file": "x"}, f"{SECRET}\udcff", "x: the secret is not UTF-8"),
        ({"tls": True}, None, "cluster.link.tls is true, but tls.cert is not set"),
        ({"tls_ca": "x"}, None, "cluster.link.tls.ca is set, and cluster.link.tls is false"),
        ({"tls": True, "cert": "c", "tls_ca": "x"}, None, "x: can't be read: No such file"),
        ({"tls": True, "cert": "c", "tls_ca": "x"}, "none", "x: not a certificate in PEM"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_shown(of, tmp_path, its, content, text):
    if content is not None:
        (tmp_path / "x").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(LogstoreError, match=text) as told:
        of(**its)
    assert SECRET[:15] not in str(told.value)
