"""Certificates and keys that are no good, at the start and when they change."""

import asyncio
import datetime
import os
import time
from pathlib import Path

import pytest
from signed import DAY, HOUR, Authority, new_key, pem_of_key

from logstore.certificates import Certificates, Files, doubts, files_of, load
from logstore.config import Config
from logstore.errors import Failed, InvalidSetting, LogstoreError
from logstore.node.tls import NodeTls
from logstore.subject import parse_rules


def files(pair, client_ca=None, required=False):
    cert, key = map(Path, pair)
    return Files(cert, key, client_ca and Path(client_ca), required)


def half(path):
    """The first half of it, in a file beside it."""
    content = Path(path).read_bytes()
    other = Path(f"{path}.half")
    other.write_bytes(content[: len(content) // 2])
    return str(other)


def other(path, content):
    file = Path(f"{path}.other")
    file.write_bytes(content)
    return str(file)


def spoilt(path):
    """Base64 that is no certificate or key."""
    lines = Path(path).read_bytes().splitlines()
    return other(path, b"\n".join([lines[0], b"AAAA", b"AAAA", lines[-1], b""]))


def expired(authority, cert, key):
    return authority.server("expired", starts=-3 * DAY, lasts=2 * DAY)


def pipe(path):
    """Nobody writes into it: who opens it to read waits."""
    os.mkfifo(f"{path}.pipe")
    return f"{path}.pipe"


BAD = {
    "a pipe": (
        lambda a, cert, key: (cert, pipe(key)), "server.key.pipe: can't be read: not a file",
    ),
    "a file without end": (
        lambda a, cert, key: (other(cert, bytes((16 << 20) + 1)), key),
        "server.pem.other: can't be read: it has more than 16777216 bytes",
    ),
    "there is no certificate": (
        lambda a, cert, key: (f"{cert}.none", key), "server.pem.none: can't be read: No such file",
    ),
    "there is no key": (
        lambda a, cert, key: (cert, f"{key}.none"), "server.key.none: can't be read: No such file",
    ),
    "a directory": (
        lambda a, cert, key: (str(Path(cert).parent), key), "can't be read: Is a directory",
    ),
    "half a certificate": (
        lambda a, cert, key: (half(cert), key),
        "server.pem.half: ends in the middle of a certificate: it is only half written",
    ),
    "half a key": (
        lambda a, cert, key: (cert, half(key)),
        "server.key.half: ends in the middle of a private key: it is only half written",
    ),
    "a certificate with a name that is no text": (
        lambda a, cert, key: a.server("latin", names=(), no_text=True),
        "latin.pem: a name in the certificate is not text",
    ),
    "an empty certificate": (
        lambda a, cert, key: (other(cert, b""), key), "server.pem.other: has no certificate in PEM",
    ),
    "an empty key": (
        lambda a, cert, key: (cert, other(key, b"")), "server.key.other: has no private key in PEM",
    ),
    "a certificate that is no text": (
        lambda a, cert, key: (other(cert, bytes(range(256))), key),
        "server.pem.other: has no certificate in PEM",
    ),
    "a spoilt certificate": (
        lambda a, cert, key: (spoilt(cert), key), "server.pem.other: not a certificate: ",
    ),
    "a spoilt key": (
        lambda a, cert, key: (cert, spoilt(key)), "server.key.other: not a private key: ",
    ),
    "the two the other way round": (
        lambda a, cert, key: (key, cert), "server.key: has no certificate in PEM",
    ),
    "the key of another": (
        lambda a, cert, key: (cert, other(key, pem_of_key(new_key()))),
        "server.key.other: the key does not belong to the certificate in",
    ),
    "the key of another kind": (
        lambda a, cert, key: (cert, other(key, pem_of_key(new_key("2048")))), "server.key.other: ",
    ),
    "an encrypted key": (
        lambda a, cert, key: (cert, other(key, pem_of_key(new_key(), b"secret"))),
        "server.key.other: the key is encrypted, and a server cannot ask for its password",
    ),
    "a short key": (
        lambda a, cert, key: a.server("short", kind="1024"), "short.pem: its key is too short",
    ),
    "one that has expired": (
        expired, "expired.pem: no client would accept it: certificate has expired",
    ),
    "one of tomorrow": (
        lambda a, cert, key: a.server("early", starts=DAY),
        "early.pem: no client would accept it: certificate is not yet valid",
    ),
    "one of a client": (
        lambda a, cert, key: a.client("al"),
        "al.pem: no client would accept it: unsuitable certificate purpose",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_good_is_refused_in_one_line_that_says_which_file(authority, case):
    make, why = BAD[case]
    pair = make(authority, *authority.server())
    with pytest.raises(LogstoreError) as raised:
        load(files(pair))
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


BAD_AUTHORITIES = {
    "none": (lambda it: f"{it}.none", "can't be read"),
    "half": (half, "only half written"),
    "empty": (lambda it: other(it, b""), "has no certificate in PEM"),
    "spoilt": (spoilt, "not a certificate"),
}


@pytest.mark.parametrize("case", BAD_AUTHORITIES)
def test_an_authority_of_clients_that_is_no_good_is_refused(authority, case):
    make, why = BAD_AUTHORITIES[case]
    path = make(authority.path)
    with pytest.raises(Failed, match="^" + path.replace(".", r"\.")) as raised:
        load(files(authority.server(), path))
    assert why in str(raised.value)


def test_a_good_one_is_loaded_whoever_has_signed_it(authority, tmp_path):
    loaded = load(files(authority.server()))
    assert loaded.shown["subject"] != loaded.shown["issuer"]
    assert loaded.names == ["localhost", "127.0.0.1", "0:0:0:0:0:0:0:1"]
    assert loaded.expires_s > time.time() + 28 * 86_400
    itself = tmp_path / "both.pem"
    itself.write_bytes(authority.pem + pem_of_key(authority.key))  # key and certificate in one file
    shown = load(files((itself, itself))).shown
    assert shown["subject"] == shown["issuer"]


@pytest.mark.parametrize("kind", ["ec", "2048"])
def test_of_what_kind_its_key_is(authority, kind):
    assert load(files(authority.server(kind=kind))).names


def test_the_settings_that_belong_together():
    def of(**given):
        texts = {it.replace("_", "."): (text, "test") for it, text in given.items()}
        return files_of(Config(texts).store, "/data")

    assert of() is None
    assert of(tls_cert="a.pem").key == Path("/data/a.pem")
    found = of(tls_cert="/etc/a.pem", tls_key="a.key", tls_client_ca="ca.pem")
    assert [str(it) for it in found.paths] == ["/etc/a.pem", "/data/a.key", "/data/ca.pem"]
    assert not found.required
    assert of(tls_cert="a", tls_client_ca="c", tls_client_auth="required").required
    for given, why in (
        ({"tls_key": "a.key"}, "tls.key is set, but tls.cert is not"),
        ({"tls_client_ca": "a"}, "tls.client.ca is set, but tls.cert is not"),
        ({"tls_cert": "a", "tls_client_auth": "required"}, "tls.client.ca is not set"),
    ):
        with pytest.raises(InvalidSetting, match=why):
            of(**given)


# What clients will find out


@pytest.mark.parametrize(
    ("names", "host", "covered"),
    [
        (["a.example"], "a.example", True),
        (["a.example"], "A.Example.", True),
        (["a.example"], "b.example", False),
        (["*.example"], "a.example", True),
        (["*.example"], "a.b.example", False),
        (["*.example"], "example", False),
        (["10.0.0.5"], "10.0.0.5", True),
        (["10.0.0.5"], "10.0.0.6", False),
        (["::1"], "::1", True),
        (["a.example"], "10.0.0.5", False),
    ],
)
def test_for_which_names_it_is(authority, names, host, covered):
    assert load(files(authority.server(names=names))).covers(host) is covered


def test_what_is_likely_to_be_found_out_is_told(authority):
    loaded = load(files(authority.server(names=["a.example"])))
    now = time.time()
    assert doubts(loaded, ["a.example"], now) == []
    [line] = doubts(loaded, ["b.example"], now)
    assert line.startswith("is not for b.example, which Kafka clients are told to connect to")
    [line] = doubts(loaded, [], now + 20 * 86_400)
    assert line.startswith("expires in 10 days")
    [line] = doubts(loaded, [], now + 31 * 86_400)
    assert line.startswith("has expired, on ")
    [line] = doubts(load(files(authority.server(names=()))), [], now)
    assert line.startswith("has no subjectAltName")


# Reloading


def in_use(pair, **how):
    it = files(pair, **how)
    return Certificates(it, parse_rules("DEFAULT"), load(it))


def put(path, content):
    """As editors do it: another file takes its place."""
    new = Path(f"{path}.new")
    new.write_bytes(content)
    new.rename(path)


def test_what_changes_right_after_it_was_loaded_is_found(authority):
    """Before anybody has looked at the time of the file."""
    cert, key = map(Path, authority.server("quick"))
    it = files((cert, key))
    loaded = load(it)
    put(cert, cert.read_bytes() + b"\n")
    assert Certificates(it, parse_rules("DEFAULT"), loaded).load_changed() is not None


def test_only_what_has_changed_is_loaded(authority):
    cert, key = authority.server("changing")
    using = in_use((cert, key))
    assert using.load_changed() is None
    os.utime(cert)
    assert using.load_changed() is None  # the same bytes
    before, context = Path(cert).read_bytes(), using.context
    put(cert, before + b"\n# looked at\n")
    loaded = using.load_changed()
    assert using.context is context  # not before it is used
    using.use(loaded)
    assert using.context is not context
    assert using.load_changed() is None
    assert using.load_changed(asked=True) is None


def test_what_is_half_written_is_told_of_once_and_loaded_when_it_is_whole(authority):
    cert, key = authority.server("turning")
    using = in_use((cert, key))
    context = using.context
    new_cert, new = map(Path, authority.server("turned"))
    put(cert, new_cert.read_bytes())
    with pytest.raises(Failed, match="the key does not belong to the certificate"):
        using.load_changed()
    assert using.load_changed() is None
    with pytest.raises(Failed, match="the key does not belong to the certificate"):
        using.load_changed(asked=True)  # who asks is told
    put(key, new.read_bytes())
    using.use(using.load_changed())
    assert using.context is not context


def test_what_is_away_for_a_while_is_told_of_once(authority):
    cert, key = authority.server("away")
    using = in_use((cert, key))
    Path(key).rename(f"{key}.away")
    with pytest.raises(Failed, match="can't be read: No such file"):
        using.load_changed()
    assert using.load_changed() is None
    Path(f"{key}.away").rename(key)
    assert using.load_changed() is None  # it is the one that is in use


def test_a_link_that_leads_elsewhere_is_a_change(authority, tmp_path):
    """Kubernetes has a link to a folder, and swaps that."""
    for name in ("one", "two"):
        Authority(tmp_path / name).server()
    (tmp_path / "now").symlink_to("one")
    using = in_use((tmp_path / "now/server.pem", tmp_path / "now/server.key"))
    assert using.load_changed() is None
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "now")
    assert using.load_changed() is not None


def looked_after(test):
    """``test(tls, at_once)``: a node's certificate, and work that is done at once."""

    def started(authority, caplog):
        cert, key = authority.server(test.__name__)
        settings = Config({"tls.cert": (cert, "test"), "tls.key": (key, "test")}).store

        async def run():
            tls = NodeTls(asyncio.get_running_loop(), settings, "/")
            tls.start(lambda job, done: done(job()))
            try:
                test(tls, cert, key, lambda: [it.getMessage() for it in caplog.records])
            finally:
                tls.close()

        asyncio.run(run())

    started.__name__ = test.__name__
    return started


@looked_after
def test_a_reload_keeps_the_old_one_and_says_so(tls, cert, key, told):
    context = tls.tls.context
    put(cert, b"")
    tls.asked()
    [line] = told()
    assert line == (
        f"{cert}: has no certificate in PEM: -----BEGIN ...-----; the certificate stays that was "
        f"loaded before"
    )
    assert tls.tls.context is context


@looked_after
def test_a_reload_says_until_when_the_new_one_is_valid(tls, cert, key, told):
    context = tls.tls.context
    tls.asked()
    put(cert, Path(cert).read_bytes() + b"\n")
    tls._look()
    same, new = told()
    assert same == f"{cert}: not changed since it was loaded"
    year = datetime.datetime.now(datetime.UTC) + 30 * DAY - HOUR
    assert new.startswith(f"{cert}: loaded anew: valid until ")
    assert f"{year:%Y}" in new
    assert tls.tls.context is not context


@looked_after
def test_what_changes_while_it_is_loaded_is_loaded_after_that(tls, cert, key, told):
    jobs = []
    tls.start(lambda job, done: jobs.append(lambda: done(job())))
    put(cert, Path(cert).read_bytes() + b"\n")
    tls.asked()
    tls.asked()
    tls.asked()
    tls._look()
    assert len(jobs) == 1
    jobs.pop()()
    jobs.pop()()
    assert not jobs
    assert ["anew" in line or "not changed" in line for line in told()] == [True, True]


def test_a_server_without_a_certificate_loads_none(caplog):
    async def run():
        tls = NodeTls(asyncio.get_running_loop(), Config().store, "/")
        tls.start(lambda job, done: done(job()))
        tls.asked()
        tls.close()
        return tls.tls

    assert asyncio.run(run()) is None
    assert "nothing to load anew" in caplog.text
