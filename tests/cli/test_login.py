"""Commands that log in at a server: options, profile files, and the owner of its directory."""

import json
import os
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logstore_cli.cluster.scram import ScramClient
from logstore_cli.ends import CommandFailed
from logstore_cli.login import Tls
from serving import COMMAND, Serving
from signed import HERE, Authority
from terminal import at_a_terminal

from logstore.access.logins import Found
from logstore.access.sasl import Refusal
from logstore.access.scram import ScramServer
from logstore.access.scram_keys import keys_of
from logstore.errors import Failed
from logstore.storage.disk import Disk
from logstore.storage.lock import owner_of

pytestmark = pytest.mark.long

PROFILE = 'user = "ana"\npassword-file = "ana.pw"\n'


class Users:
    """A server with users: root, who may do everything; ana, who has some rights; cy with none."""

    def __init__(self, folder, logstore):
        self.folder, self.data = folder, folder / "data"
        for name in ("root", "ana", "cy", "wrong"):
            path = folder / f"{name}.pw"
            path.write_text(f"secret of {name}\n")
            path.chmod(0o600)
        self.run = logstore
        self.run("user", "add", "root", "--tag", "administrator", *self.password("root"))
        for name in ("ana", "cy"):
            self.run("user", "add", name, *self.password(name))
        for rule in ("read,write topic:t", "read group:g", "read,write channel:c"):
            self.run("acl", "allow", "ana", *rule.split())
        self.run("permission", "set", "ana", "--configure", "^q$", "--write", ".*", "--read", "^q$")
        self.run("topic", "create", "t")
        self.server = Serving(self.data, amqp_port=0)

    def password(self, name):
        return "--password-file", self.folder / f"{name}.pw"

    def as_(self, name):
        return "--user", name, *self.password(name)

    @property
    def kafka(self):
        return "--bootstrap", self.server.address

    @property
    def redis(self):
        host, port = self.server.redis
        return "--server", f"{host}:{port}"


@pytest.fixture
def users(tmp_path, logstore):
    made = Users(tmp_path, logstore)
    yield made
    code, errors = made.server.stop()
    assert code == 0
    assert "Traceback" not in errors
    assert "secret of" not in errors


def test_the_owner_of_the_directory_needs_no_login_at_its_server(users):
    run = users.run
    run("produce", "t", stdin=b"hello\n")
    assert run("consume", "t", "--group", "other").out == "hello\n"
    run("topic", "create", "mine")
    run("queue", "declare", "mine")
    run("exchange", "publish", "", "--key", "mine", "--message", "hi")
    assert run("queue", "consume", "mine").out == "hi\n"
    assert run("channel", "publish", "any", "m").out == "published 1 message to any: 0 deliveries\n"
    run("mirror", "--from", users.data, "--to", users.folder / "copy")


def test_the_owner_needs_none_where_a_server_takes_no_password_in_the_clear(logstore, tmp_path):
    path = tmp_path / "root.pw"
    path.write_text("secret\n")
    path.chmod(0o600)
    logstore("user", "add", "root", "--tag", "administrator", "--password-file", path)
    settings = tmp_path / "data" / "logstore.toml"
    settings.write_text('"sasl.enabled.mechanisms" = "SCRAM-SHA-512"\n')
    logstore("topic", "create", "t")
    server = Serving(tmp_path / "data")
    try:
        logstore("produce", "t", stdin=b"hello\n")
        assert logstore("consume", "t", "--max", "1").out == "hello\n"
    finally:
        server.stop()


def test_who_says_nothing_is_asked_at_each_door(users):
    run = users.run
    told = run("topic", "list", *users.kafka, code=1).err
    assert "the server requires a login: use --user NAME (mechanisms: PLAIN, SCRAM-SHA-256" in told
    told = run("channel", "publish", "c", "m", *users.redis, code=1).err
    assert "NOAUTH Authentication required.: use --user NAME" in told


@pytest.mark.parametrize(
    ("words", "door"),
    [
        (("topic", "list"), "kafka"),
        (("produce", "t"), "kafka"),
        (("consume", "t"), "kafka"),
        (("queue", "get", "q"), "amqp"),
        (("channel", "publish", "c", "m"), "redis"),
    ],
)
def test_a_wrong_password_is_one_line(users, words, door):
    place = {"kafka": users.kafka, "amqp": (), "redis": users.redis}[door]
    for user in ("ana", "nobody"):
        told = users.run(*words, *place, "--user", user, *users.password("wrong"), code=1).err
        assert told.count("\n") == 1
        assert "secret" not in told


def test_a_user_may_do_what_he_has_a_right_to(users):
    run, ana = users.run, users.as_("ana")
    run("produce", "t", *users.kafka, *ana, stdin=b"a\nb\n")
    assert run("consume", "t", *users.kafka, *ana).out == "a\nb\n"
    assert run("consume", "t", "--group", "g", *users.kafka, *ana).out == "a\nb\n"
    assert [it["topic"] for it in json.loads(
        run("topic", "list", "--json", *users.kafka, *ana).out)] == ["t"]  # fmt: skip
    run("queue", "declare", "q", *ana)
    run("exchange", "publish", "", "--key", "q", "--message", "hi", *ana)
    assert run("queue", "get", "q", *ana).out == "hi\n"
    run("channel", "publish", "c", "m", *users.redis, *ana)


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("produce", "t"), "kafka"),
        (("consume", "t"), "kafka"),
        (("topic", "create", "n"), "kafka"),
        (("topic", "delete", "t", "--yes"), "kafka"),
        (("group", "describe", "g"), "kafka"),
        (("queue", "declare", "q"), "amqp"),
        (("channel", "publish", "c", "m"), "redis"),
        (("channel", "subscribe", "c"), "redis"),
    ],
)
def test_what_a_user_has_no_right_to_is_one_line(users, words, place):
    users.run("produce", "t", stdin=b"a\n")
    where = {"kafka": users.kafka, "amqp": (), "redis": users.redis}[place]
    told = users.run(*words, *where, *users.as_("cy"), code=1, stdin=b"x\n").err
    assert told.count("\n") == 1


def test_a_producer_that_may_not_begin_is_one_line(users, tmp_path):
    """An idempotent producer needs a right to write somewhere before it gets its number."""
    users.run("acl", "allow", "cy", "describe", "topic:t")
    told = users.run("produce", "t", *users.kafka, *users.as_("cy"), code=1, stdin=b"x\n" * 100)
    assert "can't produce to topic 't': " in told.err
    assert "Cluster authorization failed" in told.err
    assert told.err.count("\n") == 1
    (tmp_path / "cy.toml").write_text('user = "cy"\npassword-file = "cy.pw"\n')
    users.run("topic", "create", "u", "--data", tmp_path / "from")
    users.run("produce", "u", "--data", tmp_path / "from", stdin=b"x\n" * 100)
    users.run("topic", "create", "u")
    for what in ("describe", "describe-configs", "alter-configs"):
        users.run("acl", "allow", "cy", what, "topic:u")
    told = users.run(
        "mirror", "--from", tmp_path / "from", "--to", users.server.address, "--to-profile",
        tmp_path / "cy.toml", code=1,
    )  # fmt: skip
    assert told.err.count("\n") == 1


def test_a_profile_says_who_one_is(users, monkeypatch):
    profile = users.folder / "p.toml"
    profile.write_text(PROFILE + 'mechanism = "SCRAM-SHA-256"\n')
    users.run("topic", "list", *users.kafka, "--profile", profile)
    users.run("topic", "list", *users.kafka, "--profile", profile, *users.as_("cy"))
    monkeypatch.setenv("LOGSTORE_PROFILE", str(profile))
    assert users.run("topic", "list", *users.kafka).err == ""
    users.run("topic", "list")  # of files: nobody is asked
    profile.write_text('user = "ana"\npassword = "secret of ana"\nmechanism = "PLAIN"\n')
    profile.chmod(0o644)
    warned = users.run("topic", "list", *users.kafka).err
    assert warned == (
        f"logstore: warning: {profile}: other users can read this password: chmod 600 {profile}\n"
    )
    profile.chmod(0o600)
    assert users.run("topic", "list", *users.kafka).err == ""


def test_a_mirror_logs_in_at_both_of_its_sides(users, tmp_path):
    users.run("produce", "t", stdin=b"a\n")
    for name in ("root", "cy"):
        (tmp_path / f"{name}.toml").write_text(f'user = "{name}"\npassword-file = "{name}.pw"\n')
    words = ("mirror", "--from", users.server.address, "--to", tmp_path / "copy")
    users.run(*words, "--from-profile", tmp_path / "cy.toml", "--topic", "t", code=1)
    users.run(*words, "--from-profile", tmp_path / "root.toml", "--topic", "t")
    assert users.run("consume", "t", "--data", tmp_path / "copy").out == "a\n"
    (tmp_path / "bad").write_text("x = 1")
    users.run(*words, "--to-profile", tmp_path / "bad", code=2)


def test_a_mirror_of_a_topic_whose_settings_one_may_not_see_says_so(users, tmp_path):
    profile = tmp_path / "ana.toml"
    profile.write_text(f'user = "ana"\npassword-file = "{users.folder}/ana.pw"\n')
    words = ("mirror", "--from", users.server.address, "--to", tmp_path / "copy", "--topic", "t")
    told = users.run(*words, "--from-profile", profile, code=1).err
    assert "can't read the settings of topic 't': Topic authorization failed." in told


def test_a_login_where_nobody_asks_is_refused(users, tmp_path, start_serving):
    server = start_serving(tmp_path / "open")
    told = users.run("topic", "list", "--bootstrap", server.address, *users.as_("ana"), code=1).err
    assert told == f"logstore: {server.address}: the server has no login: leave --user out\n"


# What is wrong on the command line


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("user = ", "not TOML: see end of document"),
        ('user = "ana"\npassword = "secret', "not TOML: see end of document"),
        ("\npassword = secret\n", "not TOML: see line 2, column 12"),
        (b"\xff", "not TOML: not UTF-8 at byte 0"),
        (
            'usr = "ana"',
            "unknown key 'usr' in the profile (did you mean user?); the keys are user, password",
        ),
        ("user = 1", "user: must be a text"),
        ('user = ""', "user: must be a text"),
        ('tls = "yes"', "tls: must be true or false"),
        (
            'user = "a"\nmechanism = "GSSAPI"',
            "mechanism: must be one of SCRAM-SHA-512, SCRAM-SHA-256, PLAIN",
        ),
        ('password = "secret"', "a password needs a user: use --user NAME"),
        ('tls-key = "k"', "tls-key needs tls-cert"),
    ],
)
def test_what_is_no_profile_is_a_usage_error_of_one_line(logstore, tmp_path, text, error):
    path = tmp_path / "p.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    told = logstore("topic", "list", "--bootstrap", "127.0.0.1:1", "--profile", path, code=2).err
    assert error in told
    assert told.count("\n") == 1 + ("other users can read" in told)
    assert "secret" not in told


def test_options_that_cannot_be_are_usage_errors(logstore, tmp_path):
    place = ("--bootstrap", "127.0.0.1:1")
    for words, error in (
        ((*place, "--password-file", "x"), "a password needs a user"),
        (
            (*place, "--user", "a", "--password-file", "-"),
            "'--password-file': must be a file, because",
        ),
        ((*place, "--profile", tmp_path / "no"), "no: No such file or directory"),
        (("--user", "a"), "'--user': a login needs a server: use --bootstrap HOST:PORT"),
    ):
        told = logstore("topic", "list", *words, code=2).err
        assert error in told
        assert told.count("\n") == 1
    told = logstore("queue", "declare", "q", "--user", "a", code=2).err
    assert "'--user': a login needs a server: no server has" in told


def test_a_password_that_no_one_can_type_is_asked_for_in_vain(users, spawn):
    process = spawn("topic", "list", *users.kafka, "--user", "ana", start_new_session=True)
    _, errors = process.popen.communicate(timeout=30)
    assert process.popen.returncode == 1
    assert b"there is no terminal to ask for the password: use --password-file FILE" in errors


@pytest.mark.parametrize("words", [("consume", "t"), ("produce", "t"), ("topic", "list")])
def test_a_password_is_typed_and_ctrl_c_ends_the_wait(users, words):
    words = (*words, *users.kafka, "--user", "ana")
    said, code = at_a_terminal(users.data, *words, typed=[b"\x03"])
    assert code == 130
    assert "Password of ana: " in said
    assert "Traceback" not in said
    if words[0] == "topic":
        said, code = at_a_terminal(users.data, *words, typed=[b"secret of ana\n"])
        assert code == 0
        assert "secret" not in said
        assert "TOPIC" in said


# TLS


@pytest.mark.parametrize("text", [None, b"", b"no certificate\n"])
def test_a_file_without_certificates_is_named(tmp_path, text):
    file = tmp_path / "ca.pem"
    if text is not None:
        file.write_bytes(text)
    for tls in (Tls(file), Tls(None, file), Tls(None, file, file)):
        with pytest.raises(CommandFailed) as failed:
            tls.context()
        assert str(file) in str(failed.value)
        assert str(failed.value).isprintable()


def test_a_port_without_tls_is_one_line(users, tmp_path):
    certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    if not os.path.exists(certificates):
        pytest.skip("this machine trusts nobody")
    told = users.run("topic", "list", *users.kafka, "--tls-ca", certificates, code=1).err
    assert f"{users.server.address}: TLS handshake failed: " in told
    assert told.count("\n") == 1


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


class Secured:
    """A server with TLS, and where its doors for that are."""

    def __init__(self, users, authority, *, plain, name=None, **settings):
        users.server.stop()
        cert, key = authority.server(names=HERE if name is None else (name,))
        ports = [it for door in ("kafka", "resp", "amqp") for it in (f"--{door}-tls-port", "0")]
        users.server = serve(users.data, ports, plain=plain, tls_cert=cert, tls_key=key, **settings)
        endpoints = owner_of(Disk(), str(users.data / "lock")).endpoints
        self.kafka = "--bootstrap", endpoints["kafka-tls"]
        self.redis = "--server", endpoints["resp-tls"]


class serve:
    """``Serving`` for a server that need not have a plain door."""

    def __init__(self, data, words, *, plain, **settings):
        ports = [it for door in ("kafka", "resp", "amqp")
                 for it in (f"--{door}-port", "0" if plain else "-1")]  # fmt: skip
        ports += [it for door in ("mqtt", "stomp", "http")
                  for it in (f"--{door}-port", "-1", f"--{door}-tls-port", "-1")]  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTORE_")}
        environment |= {f"LOGSTORE_{name.upper()}": str(it) for name, it in settings.items()}
        self.process = subprocess.Popen(
            [COMMAND, "serve", "--data", data, *ports, *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        for _ in range(6 if plain else 3):
            assert "clients" in self.process.stdout.readline()

    def stop(self):
        self.process.terminate()
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


@pytest.mark.parametrize("plain", [True, False])
def test_commands_connect_with_tls(users, authority, plain):
    secured, ca = Secured(users, authority, plain=plain), ("--tls-ca", authority.path)
    run, ana = users.run, (*users.as_("ana"), *ca)
    run("produce", "t", *secured.kafka, *ana, stdin=b"a\n")
    assert run("consume", "t", *secured.kafka, *ana).out == "a\n"
    run("channel", "publish", "c", "m", *secured.redis, *ana)
    run("queue", "declare", "q", *ana)
    run("exchange", "publish", "", "--key", "q", *ana, stdin=b"x" * 100_000 + b"\nhi\n")
    assert run("queue", "consume", "q", *ana).out == "x" * 100_000 + "\nhi\n"
    # The owner of the directory
    run("topic", "create", "mine", *ca)
    run("queue", "purge", "q", "--yes", *ca)
    run("channel", "publish", "any", "m", *ca)


def test_a_certificate_says_who_one_is(users, authority, tmp_path):
    users.run("user", "add", "CN=cert", "--no-password", "--data", users.data)
    users.run("acl", "allow", "CN=cert", "read,write", "topic:t")
    secured = Secured(users, authority, plain=False, tls_client_ca=authority.path)
    for name in ("cert", "nobody"):
        cert, key = authority.client(name)
        (tmp_path / f"{name}.toml").write_text(
            f'tls-ca = "{authority.path}"\ntls-cert = "{cert}"\ntls-key = "{key}"\n'
        )
    run, cert = users.run, (*secured.kafka, "--profile", tmp_path / "cert.toml")
    run("produce", "t", *cert, stdin=b"a\n")
    assert run("consume", "t", *cert).out == "a\n"
    assert "authorization failed" in run("topic", "create", "u", *cert, code=1).err
    run("topic", "create", "u", *cert, *users.as_("root"))  # who logs in is who he says
    nobody = run("topic", "list", *secured.kafka, "--profile", tmp_path / "nobody.toml", code=1)
    assert "the server accepts no login by this certificate: use --user NAME" in nobody.err


@pytest.mark.long
def test_a_server_that_listens_everywhere_is_reached_by_the_name_of_this_machine(users, authority):
    Secured(users, authority, plain=False, listen_host="0.0.0.0")
    users.run("topic", "create", "mine", "--tls-ca", authority.path)
    users.run("queue", "declare", "mine", "--tls-ca", authority.path)


def test_who_does_not_speak_tls_is_told_at_once(users, authority):
    secured, run = Secured(users, authority, plain=False), users.run
    for words in (("topic", "list", *secured.kafka), ("channel", "list", *secured.redis)):
        told = run(*words, code=1).err
        assert "the server closed the connection" in told
        assert told.endswith("if this port uses TLS, use --tls-ca FILE\n")
    for words in (("topic", "create", "x"), ("queue", "get", "q"), ("channel", "list")):
        assert "clients only with TLS: use --tls-ca FILE" in run(*words, code=1).err


def test_a_server_that_nobody_vouches_for_is_not_talked_to(users, authority, tmp_path):
    Secured(users, authority, plain=False)
    other = Authority(tmp_path / "other")
    for words in (("topic", "create", "x"), ("queue", "get", "q"), ("channel", "list")):
        told = users.run(*words, "--tls-ca", other.path, code=1).err
        assert f"its certificate is not trusted by {other.path}: " in told
        assert told.count("\n") == 1


def test_a_server_of_another_name_is_not_talked_to(users, authority):
    Secured(users, authority, plain=False, name="elsewhere.example")
    for words in (("topic", "create", "x"), ("queue", "get", "q"), ("channel", "list")):
        told = users.run(*words, "--tls-ca", authority.path, code=1).err
        assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in told


# SCRAM, the client's side

MECHANISM = "SCRAM-SHA-256"
KEY = keys_of(b"pencil", 4096)[MECHANISM]


def conversation(user="ana", password="pencil", key=KEY, known=("ana",)):
    """A client that has been answered once, the answer, and what the server says to its proof."""
    client = ScramClient(MECHANISM, user, password)
    server = ScramServer(MECHANISM, lambda name: Found(key, known=name in known))
    steps = []
    server.take(client.first(), steps.append)

    def finish():
        server.take(client.final(steps[0]), steps.append)
        return steps[-1]

    return client, steps[0], finish


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_client_and_server_of_scram_understand_each_other(name):
    client, _, finish = conversation(name, known=(name,))
    done = finish()
    assert done.user == name
    client.check(done.token)


def test_a_wrong_password_is_refused_by_the_server():
    _, _, finish = conversation(password="pencils")
    assert isinstance(finish(), Refusal)


def test_a_server_that_does_not_know_the_password_is_found_out():
    other = keys_of(b"another", 4096)[MECHANISM]
    client, _, finish = conversation()
    for answer in (b"", b"v=", b"v=" + b"A" * 43 + b"=", b"e=other-error", other.server_key):
        finish()
        with pytest.raises(Failed, match="the server could not prove that it knows the password"):
            client.check(answer)


@pytest.mark.parametrize(
    ("pattern", "replacement", "error"),
    [
        (rb"r=", b"r=x", "its nonce differs from ours"),
        (rb"r=.*?,", b"r=abc,", "its nonce differs from ours"),
        (rb",i=.*", b",i=4096,m=x", "not a SCRAM message"),
        (rb",i=.*", b"", "not a SCRAM message"),
        (rb",i=.*", b",i=x", "not a SCRAM message"),
        (rb",i=.*", b",i=0", "0 hash iterations"),
        (rb",i=.*", b",i=1000001", "1000001 hash iterations"),
        (rb",s=.*?,", b",s=!,", "not a SCRAM message"),
        (rb".*", b"\xff", "not a SCRAM message"),
        (rb".*", b"", "not a SCRAM message"),
    ],
)
def test_a_challenge_that_is_none_is_refused_by_the_client(pattern, replacement, error):
    client, challenge, _ = conversation()
    with pytest.raises(Failed, match=error):
        client.final(re.sub(pattern, replacement, challenge, count=1))
