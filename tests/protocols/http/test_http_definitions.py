"""Definitions by both APIs: taken, given, refused; and how many may be at it."""

import json

import pytest
from amqp_users import Users
from heard_audit import Heard
from http_kit import HttpPeer, answers, request
from queue_parts import Lives

from logstore.access.identity import OWNER, Identity
from logstore.definitions.refusals import BYTES_MAX


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    lives = Lives(tmp_path_factory.mktemp("node"))
    yield lives.open()
    lives.end()


class Api:
    def __init__(self, node, who=OWNER, access=None, **more):
        self.node = node
        self.peer = HttpPeer(queues=node.queues, who=who, access=access, work=node.work, **more)

    def __call__(self, method, path, value=None, status=200):
        body = b"" if value is None else value
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        said = [self.peer.say(request(method, path, body))]

        def answered():
            said.append(self.peer.out())
            return any(said)

        self.node.run(until=answered)
        [(found, _, body)] = answers(b"".join(said))
        assert found == status, body
        return json.loads(body) if body else None


@pytest.fixture
def api(node):
    yield Api(node)
    node.empty()


GIVEN = {
    "queues": [{"name": "q", "vhost": "/", "durable": True, "arguments": {"x-max-length": 5}}],
    "parameters": [{"vhost": "/", "component": "operator_policy", "name": "op"}],
}
NAMED = "operator policy 'op' of virtual host '/' is left out: it is not supported"


def test_the_audit_log_is_told_of_hashes_only_where_some_were_given(node):
    heard = Heard()
    api = Api(node, audit=heard)
    api("GET", "/api/definitions")
    api("GET", "/api/definitions/%2F")
    whats = [it[2] for it in heard]
    assert whats == ["given, with hashes of passwords", "given of virtual host /"]


def test_definitions_are_taken_and_given(api, node):
    would = api("POST", "/api/v1/definitions?dry_run=true", GIVEN)
    assert (would["dry_run"], would["counts"]["queues"]["added"]) == (True, 1)
    assert not list(node.vhost.queues())
    done = api("POST", "/api/v1/definitions", GIVEN)
    assert done == would | {"dry_run": False}
    assert done["notes"] == [NAMED]
    found = api("GET", "/api/v1/definitions")
    [queue] = found["definitions"]["queues"]
    assert (queue["name"], queue["arguments"]) == ("q", {"x-max-length": 5})
    assert found["notes"] == []
    assert api("GET", "/api/definitions") == found["definitions"]
    of_one = api("GET", "/api/v1/definitions?vhost=/")["definitions"]
    assert of_one == api("GET", "/api/definitions/%2F")
    assert "vhost" not in of_one["queues"][0]


def test_what_contradicts_is_refused_whole_by_both(api, node):
    api("POST", "/api/v1/definitions", GIVEN)
    other = {"vhosts": [{"name": "v"}], "queues": [{"name": "q", "vhost": "/", "durable": False}]}
    refused = api("POST", "/api/v1/definitions", other, 400)
    assert refused["kind"] == "InvalidDefinitions"
    assert "queue 'q' already exists with durable true, not false" in refused["error"]
    refused = api("POST", "/api/definitions", other, 400)
    assert "queue 'q' already exists" in refused["reason"]
    assert b"v" not in node.queues.vhosts


@pytest.mark.parametrize(
    ("path", "value", "status", "error"),
    [
        ("/api/v1/definitions?dry_run=maybe", {}, 400, "dry_run=maybe: must be true or false"),
        ("/api/v1/definitions?vhost=no", {}, 404, "no virtual host 'no'"),
        ("/api/v1/definitions", b"{", 400, "not a JSON object"),
        *(
            (path, body, 400, error)
            for path, error in (
                ("/api/v1/definitions", "not a JSON object"),
                ("/api/definitions", "bad_request"),
            )
            for body in (
                b'{"queues": [{"name": "\\ud800", "vhost": "/"}]}',
                b'{"queues": ["\\udcff", ' + b"[" * 100_000,
                b'{"queues": NaN}',
            )
        ),
        ("/api/v1/definitions", b"x" * (BYTES_MAX + 1), 413, "at most 10000000 bytes"),
    ],
)
def test_what_can_not_be_is_one_line(api, path, value, status, error):
    assert error in api("POST", path, value, status)["error"]


def test_one_at_a_time_is_at_it(node):
    jobs = []
    peer = HttpPeer(queues=node.queues, work=lambda job, done: jobs.append((job, done)))
    peer.say(request("POST", "/api/v1/definitions", b"{}"))
    [(job, done)] = jobs
    other = HttpPeer(queues=node.queues, door=peer.door)
    for method in ("GET", "POST"):
        [(status, _, body)] = answers(other.say(request(method, "/api/v1/definitions", b"")))
        assert (status, b"others take or give definitions just now" in body) == (503, True)
    done(job())
    assert peer.door.importing == set()


def test_only_administrators_may(node):
    users = Users()
    users.add("ana", "policymaker", "management", "monitoring")
    users.permit("ana", ".*", ".*", ".*")
    api = Api(node, Identity("ana", "192.0.2.7"), users.access)
    for path, status in (("/api/v1/definitions", 403), ("/api/definitions", 401),
                         ("/api/definitions/%2F", 401)):  # fmt: skip
        api("GET", path, status=status)
        api("POST", path, {}, status)
