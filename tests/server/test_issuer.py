"""Where the keys of an issuer come from, and what becomes of tokens while they are read."""

import logging
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from jwt_kit import EC, NOW_S, RSA, claims, public, signed

from logstore.access.tokens import BadToken, Bearer
from logstore.config import Config
from logstore.errors import InvalidSetting
from logstore.issuer import AGAIN_S, KEYS_BYTES_MAX, NO_KEYS, Issuer, check_settings

GOOD = Bearer("al", NOW_S + 600)
RSA_TOKEN = signed(claims())
EC_TOKEN = signed(claims(), EC, "ES256")


def settings(url, **more):
    given = {f"sasl.oauthbearer.{name}": (value, "test") for name, value in more.items()}
    return Config(given | {"sasl.oauthbearer.jwks.endpoint.url": (url, "test")}).store


class Bench:
    """An issuer, with its workers and clock in the test's hands."""

    def __init__(self, url):
        self.jobs, self.now, self.done = [], 0.0, 0
        self.issuer = Issuer(
            settings(url), lambda *it: self.jobs.append(it), lambda: NOW_S, lambda: self.now
        )

    def begin(self, token):
        told = []
        self.issuer.check(token, told.append)
        return told

    def work(self):
        while self.jobs:
            job, then = self.jobs.pop(0)
            then(job())
            self.done += 1

    def check(self, token):
        told = self.begin(token)
        self.work()
        [outcome] = told
        return outcome


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "the keys.json"
    path.write_bytes(public(RSA))
    return path


def in_file(path):
    return Bench("file://" + str(path).replace(" ", "%20"))


def replace(path, text):
    other = path.with_suffix(".new")
    other.write_bytes(text)
    os.replace(other, path)


def test_keys_of_a_file_check_tokens(keys):
    bench = in_file(keys)
    assert bench.check(RSA_TOKEN) == GOOD
    assert isinstance(bench.check(EC_TOKEN), BadToken)


def test_a_file_is_read_again_when_it_has_changed_and_not_else(keys):
    bench = in_file(keys)
    bench.check(RSA_TOKEN)
    before = bench.issuer._keys
    bench.now += 2
    assert bench.check(RSA_TOKEN) == GOOD
    assert bench.issuer._keys is before
    replace(keys, public(EC))
    bench.now += 2
    assert bench.check(EC_TOKEN) == GOOD
    assert isinstance(bench.check(RSA_TOKEN), BadToken)


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", public(RSA)[:-40], b"x" * (KEYS_BYTES_MAX + 1)],
    ids=["empty", "no set", "half", "large"],  # keys are others in each process
)
def test_a_file_that_is_half_written_takes_no_key_away(keys, text, caplog):
    bench = in_file(keys)
    bench.check(RSA_TOKEN)
    replace(keys, text)
    for _ in range(3):
        bench.now += 20
        with caplog.at_level(logging.WARNING):
            assert bench.check(RSA_TOKEN) == GOOD
    [line] = [it.getMessage() for it in caplog.records]  # told once
    assert "those that were known stay good" in line
    replace(keys, public(EC))
    bench.now += 20
    assert bench.check(EC_TOKEN) == GOOD


def test_a_file_that_is_not_there_lets_nobody_in_until_it_is(tmp_path, caplog):
    path = tmp_path / "keys.json"
    bench = in_file(path)
    assert bench.check(RSA_TOKEN) is NO_KEYS
    assert "No such file" in caplog.text
    path.write_bytes(public(RSA))
    bench.now += 2
    assert bench.check(RSA_TOKEN) == GOOD


def test_a_pipe_holds_up_no_worker(tmp_path, caplog):
    os.mkfifo(tmp_path / "keys.json")
    assert in_file(tmp_path / "keys.json").check(RSA_TOKEN) is NO_KEYS
    assert "not a file" in caplog.text


def test_while_keys_are_read_for_the_first_time_tokens_wait_for_one_read(keys):
    bench = in_file(keys)
    told = [bench.begin(RSA_TOKEN) for _ in range(10)]
    assert len(bench.jobs) == 1
    assert not any(told)
    bench.work()
    assert told == [[GOOD]] * 10


class Answers:
    """An issuer's web server."""

    def __init__(self):
        self.status, self.text, self.asked, self.headers = 200, public(RSA), 0, {}
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                answers.asked += 1
                self.send_response(answers.status)
                for name, value in answers.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answers.text)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"


@pytest.fixture
def web():
    answers = Answers()
    yield answers
    answers.server.shutdown()
    answers.thread.join()
    answers.server.server_close()


def test_keys_of_an_address_are_fetched_once_and_then_once_in_a_while(web):
    bench = Bench(web.url)
    for _ in range(5):
        assert bench.check(RSA_TOKEN) == GOOD
    assert web.asked == 1
    bench.now += 3601
    assert bench.check(RSA_TOKEN) == GOOD
    assert web.asked == 2


def test_a_key_that_is_not_known_is_looked_for_and_strangers_can_not_have_it_done_often(web):
    bench = Bench(web.url)
    bench.check(RSA_TOKEN)
    web.text = public(RSA, EC)
    assert isinstance(bench.check(EC_TOKEN), BadToken)  # fetched a moment ago
    assert web.asked == 1
    bench.now += AGAIN_S
    assert bench.check(EC_TOKEN) == GOOD
    assert web.asked == 2
    unknown = signed(claims(), kid="unknown")
    for _ in range(20):
        assert isinstance(bench.check(unknown), BadToken)
    assert web.asked == 2


@pytest.mark.parametrize(
    ("status", "text", "headers"),
    [
        (404, b"", {}),
        (500, public(EC), {}),
        (200, b'{"keys":[]}', {}),
        (200, b"", {}),
        (200, b"x" * (KEYS_BYTES_MAX + 1), {}),
        (204, b"", {}),
        (302, b"", {"Location": "http://127.0.0.1:1/"}),
    ],
    ids=["not found", "error", "no keys", "empty", "large", "no content", "elsewhere"],
)
def test_an_answer_that_is_none_takes_no_key_away(web, status, text, headers):
    bench = Bench(web.url)
    assert bench.check(RSA_TOKEN) == GOOD
    web.status, web.text, web.headers = status, text, headers
    bench.now += 3601
    assert bench.check(RSA_TOKEN) == GOOD
    assert web.asked == 2


def test_an_address_that_does_not_answer_is_not_asked_for_each_token(web):
    web.status = 500
    bench = Bench(web.url)
    for _ in range(5):
        assert bench.check(RSA_TOKEN) is NO_KEYS
    assert web.asked == 1
    web.status = 200
    bench.now += AGAIN_S
    assert bench.check(RSA_TOKEN) == GOOD


def test_a_fault_in_a_worker_lets_nobody_in(keys):
    bench = in_file(keys)
    bench.check(RSA_TOKEN)
    told = bench.begin(RSA_TOKEN)
    _, then = bench.jobs.pop()
    then(None)
    assert isinstance(told[0], BadToken)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/keys",
        "keys.json",
        "file:keys.json",
        "file://host/x",
        "ftp://h/x",
        "https:///x",
        "https://[::1/x",
    ],
)
def test_keys_that_anybody_between_could_change_are_refused_at_the_start(url):
    with pytest.raises(InvalidSetting, match="can't be replaced on the way"):
        check_settings(settings(url))


@pytest.mark.parametrize("url", ["https://al:pencil@issuer/keys", "http://pencil@localhost/k"])
def test_an_address_with_a_password_is_refused_without_saying_it(url):
    with pytest.raises(InvalidSetting, match="a password") as refused:
        check_settings(settings(url))
    assert "pencil" not in str(refused.value)


@pytest.mark.parametrize("url", ["https://issuer/keys", "file:///k", "http://localhost:8080/k"])
def test_addresses_that_are_taken(url):
    check_settings(settings(url))
