"""RabbitMQ's API of users and permissions; and who may use the rest of it."""

import pytest
from amqp_users import Users
from rabbit_api import NOT_FOUND, new_api

from logstore.access.access import Access, Unkept
from logstore.access.audit import REFUSED
from logstore.access.identity import BASIC, OWNER, Identity
from logstore.access.refusals import Refusals
from logstore.access.resources import CREATE, DELETE, DESCRIBE, EXCHANGE, QUEUE, READ, WRITE
from logstore.kept.users import KeptAccess, KeptPermission, KeptRule, KeptUser
from logstore.names import OWNER_NAME
from logstore.protocols.http.rabbit import users

ALL = {"configure": ".*", "write": ".*", "read": ".*"}
ENTRY = KeptPermission("al", "/", "^$", "^$", "^$")  # he may be there, and do nothing


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    lives, api = new_api(tmp_path_factory.mktemp("rabbit"))
    yield api
    lives.end()


@pytest.fixture
def api(life):
    life.users = Users()
    life.users.add("al", "management")
    yield life
    life.node.empty()


def let(api, *what):
    """Al may do this, and nothing else."""
    rows = [KeptRule("al", operation, kind, name) for operation, kind, name in what]
    api.users.access.change(keep=[ENTRY, *rows])


# Users


def test_who_asks_is_told(api):
    assert api.get("whoami", user="al") == {"name": "al", "tags": ["management"]}
    assert api.get("whoami", user="root") == {"name": "root", "tags": ["administrator"]}
    assert api.get("whoami") == {"name": "__owner__", "tags": ["administrator"]}


def test_the_owner_by_a_ticket_has_all_tags(api):
    door = api.peer(OWNER).door
    ticket = Identity(OWNER_NAME, "127.0.0.1", BASIC, "http")
    assert users.standing(door, ticket) == (OWNER_NAME, ["administrator"])
    assert users.standing(door, Identity(OWNER_NAME, "127.0.0.1", "EXTERNAL")) == (OWNER_NAME, [])


def test_while_there_are_no_users_one_is_guest(life):
    life.users = Users()
    life.users.access = Access(Unkept(KeptAccess()))
    found = life.get("whoami", user="guest")
    assert found == {"name": "guest", "tags": ["administrator"]}


def test_a_user_from_the_beginning_to_the_end(api):
    api.put("users/new", {"password": "secret", "tags": "monitoring, management"})
    row = {"name": "new", "password_hash": "", "limits": {}, "tags": ["monitoring", "management"],
           "hashing_algorithm": "rabbit_password_hashing_sha256"}  # fmt: skip
    assert api.get("users/new") == row
    keys = api.users.access.users["new"].scram
    api.put("users/new", {"password": "other", "tags": ["administrator"]}, status=204)
    user = api.users.access.users["new"]
    assert user.tags == ("administrator",)
    assert all(user.scram[it].stored_key != keys[it].stored_key for it in keys)
    api.put("users/new", {"password_hash": "", "tags": ""}, status=204)
    assert api.users.access.users["new"] == KeptUser("new")
    assert [it["name"] for it in api.get("users")] == ["al", "new", "root"]
    api.delete("users/new")
    assert api.ask("DELETE", "users/new") == api.ask("GET", "users/new") == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"password": "x"}, "tags_not_present"),
        ({"password": "x", "tags": 5}, ["not_tags", "5"]),
        ({"password": 5, "tags": ""}, ["not_string", "password"]),
        ({"password_hash": "AAAA", "tags": ""},
         "password_hash: a hash of 3 bytes is none of sha256 with its salt"),
        ({"tags": "a tag"}, None),
    ],
)  # fmt: skip
def test_a_user_that_cannot_be_is_refused(api, body, reason):
    found = api.refuses("PUT", "users/new", body)
    assert reason is None or found == reason
    assert "new" not in api.users.access.users


def test_the_last_administrator_stays(api):
    assert "administrator" in api.refuses("DELETE", "users/root")
    api.refuses("PUT", "users/root", {"password": "x", "tags": ""})
    api.refuses("POST", "users/bulk-delete", {"users": ["al", "root"]})
    assert api.users.access.users.keys() == {"al", "root"}


def test_several_users_are_deleted_together_or_none_is(api):
    api.users.add("bo")
    assert api.refuses("POST", "users/bulk-delete", {"users": ["al", "cy"]}) == [
        "no_such_user",
        "cy",
    ]
    api.refuses("POST", "users/bulk-delete", {})
    api.refuses("POST", "users/bulk-delete", {"users": "al"})
    api.post("users/bulk-delete", {"users": ["al", "bo", "al"]}, 204)
    assert api.users.access.users.keys() == {"root"}


# Permissions


def test_permissions_from_the_beginning_to_the_end(api):
    assert [it["name"] for it in api.get("users/without-permissions")] == ["al", "root"]
    api.put("permissions/%2F/al", ALL)
    api.put("permissions/%2F/al", ALL | {"read": "^a"}, status=204)
    row = {"user": "al", "vhost": "/", **ALL, "read": "^a"}
    for path in ("permissions", "users/al/permissions", "vhosts/%2F/permissions"):
        assert api.get(path) == [row]
    assert api.get("permissions/%2F/al") == row
    assert [it["name"] for it in api.get("users/without-permissions")] == ["root"]
    api.delete("permissions/%2F/al")
    for method in ("GET", "DELETE"):
        assert api.ask(method, "permissions/%2F/al") == (404, NOT_FOUND)


def test_topic_permissions_from_the_beginning_to_the_end(api):
    given = {"exchange": "amq.topic", "write": "^a", "read": ".*"}
    api.put("topic-permissions/%2F/al", given)
    api.put("topic-permissions/%2F/al", given, status=204)
    api.put("topic-permissions/%2F/al", {**given, "exchange": "other"})
    rows = [{"user": "al", "vhost": "/", **given, "exchange": it} for it in ("amq.topic", "other")]
    for path in ("topic-permissions", "users/al/topic-permissions", "topic-permissions/%2F/al",
                 "vhosts/%2F/topic-permissions"):  # fmt: skip
        assert api.get(path) == rows
    api.delete("topic-permissions/%2F/al")
    for method in ("GET", "DELETE"):
        assert api.ask(method, "topic-permissions/%2F/al") == (404, NOT_FOUND)


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("permissions/%2F/al", {"write": ""}, "[{key_missing,configure},{key_missing,read}]"),
        ("permissions/%2F/no", ALL, "vhost_or_user_not_found"),
        ("permissions/no/al", ALL, "vhost_or_user_not_found"),
        ("permissions/%2F/al", ALL | {"read": "("}, None),
        ("topic-permissions/%2F/al", {}, "[{key_missing,exchange},{key_missing,write},"
                                         "{key_missing,read}]"),
        ("topic-permissions/no/al", {"exchange": "", "write": "", "read": ""},
         "vhost_or_user_not_found"),
    ],
)  # fmt: skip
def test_a_permission_that_cannot_be_is_refused(api, path, body, reason):
    found = api.refuses("PUT", path, body)
    assert reason is None or found == reason


def test_whoever_makes_a_virtual_host_may_do_everything_there(api):
    api.put("vhosts/shop", user="root")
    assert api.get("permissions/shop/root") == {"user": "root", "vhost": "shop", **ALL}
    api.delete("vhosts/shop", user="root")
    assert api.get("permissions") == []


# What others may


def test_one_without_a_password_or_a_tag_is_kept_out(api):
    api.users.add("bo")
    for user, status in (("nobody", 401), ("bo", 401)):
        found, answer = api.ask("GET", "overview", user=user)
        assert (found, answer.keys()) == (status, {"error", "reason"})


@pytest.mark.parametrize("path", ["queues/%2F", "queues/nope", "exchanges/%2F", "bindings/%2F",
                                  "consumers/%2F", "vhosts/%2F", "vhosts/nope",
                                  "aliveness-test/%2F"])  # fmt: skip
def test_a_virtual_host_that_one_may_not_enter_looks_as_none_does(api, path):
    reason = api.refuses("GET", path, status=401, user="al")
    assert reason == "User not authorised to access virtual host"


def test_lists_show_what_one_may_see(api):
    for name in (b"mine", b"theirs"):
        api.node.declare(name)
        api.node.exchange(b"x-" + name)
        api.node.bind(b"x-" + name, name)
    assert api.get("queues", user="al") == api.get("vhosts", user="al") == []
    let(
        api, (READ, QUEUE, "mine"), (DESCRIBE, EXCHANGE, "x-mine"), (DESCRIBE, EXCHANGE, "x-theirs")
    )
    assert [it["name"] for it in api.get("queues", user="al")] == ["mine"]
    assert [it["name"] for it in api.get("exchanges/%2F", user="al")] == ["x-mine", "x-theirs"]
    assert [it["source"] for it in api.get("bindings", user="al")] == ["x-mine"]
    totals = api.get("overview", user="al")["object_totals"]
    assert (totals["queues"], totals["exchanges"]) == (1, 2)
    for path in ("queues/%2F/theirs", "queues/%2F/nope", "queues/%2F/theirs/bindings",
                 "exchanges/%2F/amq.direct", "bindings/%2F/e/x-theirs/q/theirs"):  # fmt: skip
        assert api.refuses("GET", path, status=401, user="al") == "Access refused."


def test_messages_are_counted_of_queues_that_one_may_see(api):
    for name in (b"mine", b"theirs"):
        api.node.declare(name)
        api.node.publish(name, b"x")
    let(api, (READ, QUEUE, "mine"))
    for found in (api.get("vhosts/%2F", user="al"), api.get("vhosts", user="al")[0],
                  api.get("overview", user="al")["queue_totals"]):  # fmt: skip
        assert found["messages"] == 1


def test_the_tag_monitoring_sees_everything_and_does_nothing(api):
    api.node.declare(b"q")
    api.users.add("watch", "monitoring")
    assert [it["name"] for it in api.get("queues", user="watch")] == ["q"]
    assert api.get("queues/%2F/q", user="watch")["name"] == "q"
    assert len(api.get("nodes", user="watch")) == 1
    get = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    message = {"properties": {}, "routing_key": "q", "payload": "", "payload_encoding": "string"}
    for method, path, body in (
        ("PUT", "queues/%2F/new", {}), ("DELETE", "queues/%2F/q", None),
        ("DELETE", "queues/%2F/q/contents", None), ("POST", "queues/%2F/q/get", get),
        ("POST", "exchanges/%2F/amq.default/publish", message),
        ("PUT", "exchanges/%2F/new", {}), ("POST", "bindings/%2F/e/amq.topic/q/q", {}),
    ):  # fmt: skip
        api.refuses(method, path, body, status=401, user="watch")


# Each act, and the rights that it needs, as the AMQP door asks for them.
ACTS = {
    "declare a queue": ("PUT", "queues/%2F/new", {}, 201, [(CREATE, QUEUE, "new")]),
    "with dead letters": (
        "PUT", "queues/%2F/new", {"arguments": {"x-dead-letter-exchange": "x"}}, 201,
        [(CREATE, QUEUE, "new"), (READ, QUEUE, "new"), (WRITE, EXCHANGE, "x")],
    ),
    "delete a queue": ("DELETE", "queues/%2F/q", None, 204, [(DELETE, QUEUE, "q")]),
    "purge a queue": ("DELETE", "queues/%2F/q/contents", None, 204, [(READ, QUEUE, "q")]),
    "fetch": (
        "POST", "queues/%2F/q/get", {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"},
        200, [(READ, QUEUE, "q")],
    ),
    "declare an exchange": ("PUT", "exchanges/%2F/new", {}, 201, [(CREATE, EXCHANGE, "new")]),
    "with an alternate": (
        "PUT", "exchanges/%2F/new", {"arguments": {"alternate-exchange": "x"}}, 201,
        [(CREATE, EXCHANGE, "new"), (READ, EXCHANGE, "new"), (WRITE, EXCHANGE, "x")],
    ),
    "delete an exchange": ("DELETE", "exchanges/%2F/x", None, 204, [(DELETE, EXCHANGE, "x")]),
    "publish": (
        "POST", "exchanges/%2F/x/publish",
        {"properties": {}, "routing_key": "k", "payload": "", "payload_encoding": "string"}, 200,
        [(WRITE, EXCHANGE, "x")],
    ),
    "bind": (
        "POST", "bindings/%2F/e/x/q/q", {}, 201, [(WRITE, QUEUE, "q"), (READ, EXCHANGE, "x")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("act", ACTS)
def test_each_act_needs_its_rights_and_no_others(api, act):
    method, path, body, status, needed = ACTS[act]
    api.node.declare(b"q")
    api.node.exchange(b"x")
    for missing in needed:
        let(api, *(it for it in needed if it != missing))
        api.refuses(method, path, body, status=401, user="al")
        api.users.access.change(forget=[*api.users.access.rules])
    let(api, *needed)
    found, answer = api.ask(method, path, body, user="al")
    assert found == status, answer


def test_what_is_removed_is_told_to_the_audit_log(api):
    api.node.declare(b"q")
    api.delete("queues/%2F/q/contents")
    api.delete("queues/%2F/q")
    assert [what for _, _, what, _ in api.audit[-2:]] == ["purged q", "deleted q"]


def test_what_is_refused_is_told(api):
    api.node.declare(b"q")
    api.more["refusals"] = Refusals(lambda: 0.0, api.audit)
    api.refuses("GET", "queues/nope", status=401, user="al")
    let(api, (DESCRIBE, QUEUE, "q"))
    api.refuses("DELETE", "queues/%2F/q/contents", status=401, user="al")
    api.refuses("PUT", "vhosts/new", {}, status=401, user="al")
    told = [what for _, who, what, outcome in api.audit if (who.user, outcome) == ("al", REFUSED)]
    del api.more["refusals"]
    assert told == ["enter vhost nope", "read queue q", "PUT path /api/vhosts/{vhost}"]
