"""Users, rules and permissions over HTTP: what is changed, what is refused, what is never said."""

import json
from types import SimpleNamespace

import pytest
from http_kit import HttpPeer, answers, request

from logstore.access.access import Access, Unkept
from logstore.access.scram_keys import HASHES
from logstore.broker.queues.refusals import NoVhost
from logstore.errors import StorageFull
from logstore.kept.keeping import Keeping
from logstore.kept.users import KeptAccess, KeptPermission, KeptRule, KeptUser

SECRET = "open sesame"
ROOT = KeptUser("root", tags=("administrator",))


class Vhosts:
    """Queues with two virtual hosts."""

    def vhost(self, name):
        if name not in (b"/", b"a/b", b"\xff"):
            raise NoVhost(name)
        return SimpleNamespace(name=name)


@pytest.fixture
def access():
    return Access(Unkept(KeptAccess([ROOT])))


@pytest.fixture
def ask(access):
    peer = HttpPeer(queues=Vhosts(), access=access, keeps_history=lambda name: name == "news")

    def ask(method, path, value=None, status=200):
        body = b"" if value is None else json.dumps(value).encode()
        [(found, _, answer)] = answers(peer.say(request(method, f"/api/v1/{path}", body)))
        assert found == status, answer
        assert SECRET.encode() not in answer
        return json.loads(answer)

    return ask


def test_a_user_from_the_beginning_to_the_end(ask, access):
    asked = {"name": "al ice", "password": SECRET, "tags": ["management"], "iterations": 4096}
    row = {"name": "al ice", "tags": ["management"], "mechanisms": sorted(HASHES), "redis": None,
           "weak": 0}  # fmt: skip
    assert ask("POST", "users", asked, 201) == row
    assert ask("GET", "users/al%20ice") == row
    assert [it["name"] for it in ask("GET", "users")["items"]] == ["al ice", "root"]
    before = access.users["al ice"].scram
    ask("PUT", "users/al%20ice/password", {"password": SECRET, "iterations": 4096})
    after = access.users["al ice"].scram
    assert all(before[it].stored_key != after[it].stored_key for it in HASHES)
    ask("PUT", "users/al%20ice/tags", {"tags": []})
    assert access.users["al ice"] == KeptUser("al ice", after)
    assert ask("DELETE", "users/al%20ice") == {"name": "al ice"}
    assert ask("GET", "users/al%20ice", status=404)["kind"] == "UnknownUser"


def test_what_is_permitted_while_a_virtual_host_is_deleted_goes_with_it(access):
    class Going(Vhosts):
        def vhost(self, name):
            topology = SimpleNamespace(exchanges=lambda: ())
            return SimpleNamespace(name=name, topology=topology, count_queues=lambda: 0)

        def delete_vhost(self, name):
            access.change([KeptPermission("root", "a/b", "", "", ".*")])  # another's request
            pending = Keeping()
            pending.finish(None)
            return pending

    access.change(
        [KeptPermission("root", "a/b", ".*", "", ""), KeptPermission("root", "/", "", "", "")]
    )
    peer = HttpPeer(queues=Going(), access=access)
    [(status, _, _)] = answers(peer.say(request("DELETE", "/api/v1/vhosts/a%2Fb", b"")))
    assert status == 200
    assert list(access.permissions) == [("root", "/")]


def test_a_user_without_a_password_has_nothing_to_log_in_with_but_a_certificate(ask):
    assert ask("POST", "users", {"name": "cert"}, 201)["mechanisms"] == []


@pytest.mark.parametrize(
    ("method", "path", "value", "status", "error"),
    [
        ("POST", "users", {"name": "root", "password": SECRET}, 409, "user 'root' already exists"),
        ("POST", "users", {"name": "*", "password": SECRET}, 400, "user name '*' is not allowed"),
        ("POST", "users", {"name": "a", "password": ""}, 409, "the password is empty"),
        ("POST", "users", {"name": "a", "password": "x\0" + SECRET}, 409, "has a NUL character"),
        ("POST", "users", {"name": "a", "password": SECRET * 100}, 409, "has 1100 bytes"),
        ("POST", "users", {"name": "a", "password": SECRET, "iterations": 1}, 409, "must be 4096"),
        ("POST", "users", {"name": "a", "passwort": SECRET}, 400, "unknown field `passwort`"),
        ("POST", "users", {"name": "a", "password": [SECRET]}, 400, "Expected `str | null`"),
        ("POST", "users", None, 400, "the request's body"),
        ("PUT", "users/al/password", {"password": SECRET}, 404, "no user 'al'"),
        ("PUT", "users/root/password", {"password": ""}, 409, "the password is empty"),
        ("PUT", "users/root/tags", {"tags": ["a b"]}, 409, "tag 'a b' is not allowed"),
        ("PUT", "users/%FF/tags", {"tags": []}, 400, "is not UTF-8"),
        ("PUT", "users/root/tags", {"tags": []}, 409, "the last user with the tag administrator"),
        ("DELETE", "users/root", None, 409, "the last user with the tag administrator"),
        ("DELETE", "users/rot", None, 404, "did you mean root?"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line(ask, access, method, path, value, status, error):
    assert error in ask(method, path, value, status)["error"]
    assert access.version == 0


RULE = {"user": "al", "operations": ["read", "write"], "kind": "topic", "name": "t"}


def test_rules_are_added_listed_and_removed(ask, access):
    rows = ask("POST", "rules", RULE, 201)
    assert rows == ask("GET", "rules")["items"]
    assert [it["operation"] for it in rows] == ["read", "write"]
    ask("POST", "rules", RULE, 201)
    denied = {"operations": ["delete"], "allow": False, "host": "2001:DB8::0", "pattern": "prefix"}
    ask("POST", "rules", RULE | denied, 201)
    assert ask("GET", "rules")["total"] == 3
    assert ask("GET", "rules?user=al&kind=topic&name=t")["total"] == 3
    assert ask("GET", "rules?user=bob")["total"] == 0
    assert ask("DELETE", "rules", RULE) == rows
    assert access.rules == (KeptRule("al", "delete", "topic", "t", "prefix", False, "2001:db8::"),)
    assert ask("DELETE", "rules", RULE, 404)["error"].startswith("no rule for al about read on")


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [("operations", ["reed"], 409), ("operations", ["cluster-action"], 409), ("kind", "tpic", 409),
     ("pattern", "regex", 409), ("host", "localhost", 409), ("name", "", 400), ("user", "", 400),
     ("allow", "yes", 400)],
)  # fmt: skip
def test_a_rule_that_cannot_be_is_refused(ask, access, field, value, status):
    ask("POST", "rules", RULE | {field: value}, status)
    assert access.rules == ()


def test_a_check_says_what_decides(ask):
    query = "rules/check?user=al&operation=describe&kind=topic&name=t"
    ask("POST", "users", {"name": "al"}, 201)
    assert ask("GET", query) == {"allowed": False, "why": "no rule allows it"}
    ask("POST", "rules", RULE, 201)
    assert ask("GET", query)["allowed"]
    assert "read topic:t" in ask("GET", query)["why"]
    ask("POST", "rules", RULE | {"operations": ["all"], "allow": False, "host": "10.0.0.1"}, 201)
    assert ask("GET", query)["allowed"]
    assert not ask("GET", query + "&host=10.0.0.1")["allowed"]
    assert "no operation 'descrbe'" in ask("GET", query.replace("describe", "descrbe"), None, 409)[
        "error"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "stands_for"), [("news", "channel:news"), ("__queue.mail", "queue:mail")]
)
def test_a_check_asks_what_the_name_of_a_topic_stands_for(ask, name, stands_for):
    """As all doors do."""
    ask("POST", "users", {"name": "al"}, 201)
    query = f"rules/check?user=al&operation=read&kind=topic&name={name}"
    ask("POST", "rules", RULE | {"name": "*"}, 201)
    why = f"it is {stands_for}: no rule allows it"
    assert ask("GET", query) == {"allowed": False, "why": why}
    kind, _, name = stands_for.partition(":")
    ask("POST", "rules", RULE | {"kind": kind, "name": name}, 201)
    assert ask("GET", query)["allowed"]


PERMISSION = {"configure": "^a", "write": "", "read": ".*"}
TOPIC = {"exchange": "x", "write": "^a\\.", "read": ""}


def test_permissions_are_given_listed_and_taken(ask, access):
    for path, asked in (("permissions", PERMISSION), ("topic-permissions", TOPIC)):
        row = asked | {"vhost": "a/b", "user": "root"}
        assert ask("PUT", f"{path}/a%2Fb/root", asked) == row
        assert ask("GET", path)["items"] == [row]
        assert ask("GET", f"{path}?user=root&vhost=a/b")["total"] == 1
        assert ask("GET", f"{path}?vhost=/")["total"] == 0
        query = "?exchange=x" if "topic" in path else ""
        ask("DELETE", f"{path}/a%2Fb/root{query}")
        assert ask("GET", path)["total"] == 0
        assert "no permission" in ask("DELETE", f"{path}/a%2Fb/root{query}", status=404)["error"]


def test_a_virtual_host_may_have_any_bytes(ask, access):
    for path, asked in (("permissions", PERMISSION), ("topic-permissions", TOPIC)):
        assert ask("PUT", f"{path}/%FF/root", asked)["vhost"] == "\udcff"
        ask("DELETE", f"{path}/%FF/root" + "?exchange=x" * ("topic" in path))
        assert ask("GET", path)["total"] == 0


@pytest.mark.parametrize(
    ("path", "change", "status", "error"),
    [
        ("no/root", {}, 404, "no virtual host 'no'"),
        ("%2F/rot", {}, 404, "no user 'rot'"),
        ("%2F/root", {"read": "("}, 409, "missing ): "),
        ("%2F/root", {"read": None}, 400, "Expected `str`"),
    ],
)
def test_a_permission_that_cannot_be_is_refused(ask, access, path, change, status, error):
    for kind, asked in (("permissions", PERMISSION), ("topic-permissions", TOPIC)):
        assert error in ask("PUT", f"{kind}/{path}", asked | change, status)["error"]
    assert access.version == 0


class Full(Unkept):
    """A keeper whose disk is full."""

    def change(self, keep=(), forget=()):
        keeping = Keeping()
        keeping.finish(StorageFull("no space is left"))
        return keeping


def test_what_could_not_be_kept_is_said_and_not_shown():
    access = Access(Full(KeptAccess([ROOT])))
    peer = HttpPeer(access=access)
    asked = json.dumps({"name": "al", "password": SECRET}).encode()
    [(status, _, body)] = answers(peer.say(request("POST", "/api/v1/users", asked)))
    assert (status, json.loads(body)["kind"]) == (503, "StorageFull")
    assert list(access.users) == ["root"]


def test_a_ticket_is_given_where_one_has_to_log_in(ask):
    found = ask("POST", "ticket")
    assert found == {"required": True, "user": "__owner__", "password": "a ticket"}
    [(_, _, body)] = answers(HttpPeer().say(request("POST", "/api/v1/ticket")))
    assert json.loads(body) == {"required": False, "user": "__owner__", "password": ""}
