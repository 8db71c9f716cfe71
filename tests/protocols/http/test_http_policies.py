"""Policies by both APIs, over a real directory: what is set, shown, refused, and who may."""

import json

import pytest
from amqp_users import Users
from http_kit import HttpPeer, answers, request
from queue_parts import Lives

from logstore.access.identity import OWNER, Identity


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    lives = Lives(tmp_path_factory.mktemp("node"))
    yield lives.open()
    lives.end()


class Api:
    def __init__(self, node, who=OWNER, access=None, **more):
        self.node = node
        self.peer = HttpPeer(queues=node.queues, who=who, access=access, **more)

    def __call__(self, method, path, value=None, status=200):
        body = b"" if value is None else json.dumps(value).encode()
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


SHORT = {"pattern": "^q", "definition": {"max-length": 1}, "priority": 1, "apply_to": "queues"}


def test_a_policy_is_set_shown_changed_and_deleted(api, node):
    queue = node.declare(b"q1")
    made = api("PUT", "/api/v1/policies/short", SHORT, 201)
    assert made == {"vhost": "/", "name": "short", "without_effect": {}, **SHORT}
    assert queue.limits.max_length == 1
    assert api("PUT", "/api/v1/policies/short", SHORT) == made
    assert api("GET", "/api/v1/policies/short") == made | {"queues": 1, "exchanges": 0}
    assert api("GET", "/api/v1/policies")["items"] == [made]
    assert api("GET", "/api/v1/queues/q1")["policy"] == "short"
    assert api("GET", "/api/v1/queues/q1")["limits"]["max_length"] == 1
    assert api("GET", "/api/v1/exchanges/amq.topic")["policy"] is None
    would = api("DELETE", "/api/v1/policies/short", {"dry_run": True})
    assert would == made | {"dry_run": True}
    assert api("DELETE", "/api/v1/policies/short") == made | {"dry_run": False}
    assert api("GET", "/api/v1/policies")["items"] == []
    assert queue.limits.max_length is None


def test_what_has_no_effect_is_named(api):
    found = api(
        "PUT", "/api/v1/policies/ha", {"pattern": "", "definition": {"ha-mode": "all"}}, 201
    )
    assert found["without_effect"] == {"ha-mode": "there is one node"}
    assert found["apply_to"] == "all"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"pattern": "("}, "pattern '(' is not a regular expression of RE2: missing ): ("),
        ({"definition": {}}, "it sets nothing; give at least one setting"),
        ({"definition": {"a": 1}}, "'a' is not a setting of policies"),
        ({"definition": {"max-length": "x"}}, "max-length 'x' is not a valid maximum length"),
        ({"apply_to": "topics"}, "apply-to 'topics' is not one of all, queues, exchanges,"),
        ({"priority": 1e300}, "priority is too large; use a smaller one"),
        ({"priority": "1"}, "Expected `int | float`, got `str`"),
        ({"unheard": 1}, "unknown field `unheard`"),
    ],
)
def test_what_can_not_be_is_one_line(api, value, error):
    said = api("PUT", "/api/v1/policies/p", SHORT | value, 400)["error"]
    assert error in said
    assert "\n" not in said
    assert api("GET", "/api/v1/policies")["items"] == []


def test_names_that_are_not_there_and_names_that_can_not_be(api):
    assert "no policy 'nope'" in api("GET", "/api/v1/policies/nope", status=404)["error"]
    assert "no policy 'nope'" in api("DELETE", "/api/v1/policies/nope", status=404)["error"]
    assert "no virtual host" in api("PUT", "/api/v1/policies/p?vhost=v", SHORT, 404)["error"]
    assert "names have 1 to 255" in api("PUT", f"/api/v1/policies/{'n' * 256}", SHORT, 400)["error"]
    for name in ("%FF", "a%2Fb"):
        api("PUT", f"/api/v1/policies/{name}", SHORT, 201)
        api("DELETE", f"/api/v1/policies/{name}")


def test_policies_of_virtual_hosts_are_told_apart(api, node):
    node.add_vhost(b"v")
    api("PUT", "/api/v1/policies/p?vhost=v", SHORT, 201)
    api("PUT", "/api/v1/policies/p", SHORT | {"priority": 0.5}, 201)
    rows = [(it["vhost"], it["priority"]) for it in api("GET", "/api/v1/policies")["items"]]
    assert rows == [("/", 0.5), ("v", 1)]
    assert len(api("GET", "/api/v1/policies?vhost=v")["items"]) == 1
    assert node.delete_vhost(b"v") is None


def test_rabbits_api_shows_what_counts(api, node):
    node.declare(b"q1")
    asked = {"pattern": "^q", "definition": {"max-length": 1, "ha-mode": "all"}}
    api("PUT", "/api/policies/%2F/p", asked, 201)
    queue = api("GET", "/api/queues/%2F/q1")
    assert (queue["policy"], queue["operator_policy"]) == ("p", None)
    assert queue["effective_policy_definition"] == asked["definition"]
    [row] = api("GET", "/api/policies")
    assert row == {"vhost": "/", "name": "p", "priority": 0, "apply-to": "all", **asked}
    refused = api("PUT", "/api/operator-policies/%2F/p", asked, 400)
    assert refused["reason"] == "there are no operator policies here: set a policy instead"


# Who may


@pytest.mark.parametrize(
    ("tag", "sees", "sets"),
    [("management", True, False), ("policymaker", True, True), ("monitoring", True, False)],
)
@pytest.mark.parametrize("path", ["/api/v1/policies/p", "/api/policies/%2F/p"])
def test_policymakers_set_policies_and_others_look_at_them(node, tag, sees, sets, path):
    users = Users()
    users.add("ana", tag)
    users.permit("ana", ".*", ".*", ".*")
    api = Api(node, Identity("ana", "192.0.2.7"), users.access)
    body = {"pattern": "^q", "definition": {"max-length": 1}}
    status = 201 if sets else 403 if "v1" in path else 401
    api("PUT", path, body, status)
    listed = "/api/v1/policies" if "v1" in path else "/api/policies"
    found = api("GET", listed, status=200 if sees else 403)
    assert len(found["items"] if "v1" in path else found) == sets
    node.empty()
