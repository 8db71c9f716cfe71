"""Definitions in and out: what is taken, what is refused before anything changes, what is named."""

import json

import pytest

import logstore
from logstore.broker.policies import POLICIES_MAX
from logstore.definitions.refusals import BYTES_MAX, InvalidDefinitions
from logstore.definitions.wanted import NOTES_MAX
from logstore.kept.users import KeptUser
from logstore.slices import UNITS, Slices

GUEST = "yN9US6zNdn2qoBaqEX+7X1eIJYk3Gu/DNRZmbrqSArmN32iK"  # of a rabbitmq-server, for guest
ALL = {"configure": ".*", "write": ".*", "read": ".*"}


def exchange(name, kind="topic", vhost="/", **more):
    return {"name": name, "vhost": vhost, "type": kind, "durable": True, "auto_delete": False,
            "internal": False, "arguments": {}, **more}  # fmt: skip


def queue(name, vhost="/", **more):
    return {
        "name": name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": {}, **more
    }  # fmt: skip


def binding(source, destination, key="", kind="queue", vhost="/", **arguments):
    return {"source": source, "vhost": vhost, "destination": destination, "routing_key": key,
            "destination_type": kind, "arguments": arguments}  # fmt: skip


def policy(name, vhost="/", pattern="^q", priority=0, apply_to="all", **definition):
    settings = {key.replace("_", "-"): it for key, it in definition.items()}
    return {"vhost": vhost, "name": name, "pattern": pattern, "apply-to": apply_to,
            "definition": settings, "priority": priority}  # fmt: skip


# As a rabbitmq-server 3.10.8 writes them.
WHOLE = {
    "rabbit_version": "3.10.8",
    "rabbitmq_version": "3.10.8",
    "product_name": "RabbitMQ",
    "product_version": "3.10.8",
    "users": [
        {"name": "guest", "password_hash": GUEST, "tags": ["administrator"], "limits": {},
         "hashing_algorithm": "rabbit_password_hashing_sha256"},
        {"name": "ana", "password_hash": "", "tags": "management, policymaker",
         "hashing_algorithm": "rabbit_password_hashing_sha256"},
    ],
    "vhosts": [{"name": "/"}, {"name": "shop", "metadata": {"description": "", "tags": ["a"]}}],
    "permissions": [
        {"user": "guest", "vhost": "/", **ALL}, {"user": "ana", "vhost": "shop", **ALL}
    ],
    "topic_permissions": [
        {"user": "ana", "vhost": "shop", "exchange": "x", "write": "^a", "read": ".*"}
    ],
    "parameters": [
        {"value": {"pattern": "^q", "definition": {"max-length": 2}, "priority": 0,
                   "apply-to": "all"}, "vhost": "/", "component": "operator_policy", "name": "op"},
        {"value": {}, "vhost": "/", "component": "shovel", "name": "move"},
    ],
    "global_parameters": [
        {"name": "cluster_name", "value": "a"}, {"name": "mine", "value": 5},
    ],
    "policies": [
        policy("ha", "shop", max_length=5, ha_mode="all"), policy("far", federation_upstream="x"),
    ],
    "queues": [
        queue("q1", "shop", arguments={"x-max-priority": 5, "x-message-ttl": 60000}),
        queue("q2", durable=False, arguments={"x-queue-type": "classic"}), queue("amq.gen-x"),
    ],
    "exchanges": [
        exchange("x", "topic", "shop", arguments={"alternate-exchange": "amq.fanout"}),
        exchange("h", "headers", "shop"),
    ],
    "bindings": [
        binding("x", "q1", "a.#", vhost="shop"),
        binding("h", "q1", vhost="shop", **{"x-match": "all", "n": 5}),
        binding("x", "h", "b", "exchange", "shop"),
        binding("x", "gone", "b", vhost="shop"),
    ],
    "unheard": [],
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data", mode="write") as found:
        yield found


def imported(store, definitions, **given):
    return store.import_definitions(json.dumps(definitions).encode(), **given)


def contents(store):
    """All that there is, but what says who wrote it."""
    found = store.export_definitions().definitions
    return {name: it for name, it in found.items() if "version" not in name}


def test_all_of_a_rabbitmq_is_taken(store):
    plan = imported(store, WHOLE)
    assert {kind: it.added for kind, it in plan.counts.items()} == {
        "users": 2, "vhosts": 1, "permissions": 2, "topic_permissions": 1, "policies": 2,
        "exchanges": 2, "queues": 2, "bindings": 3,
    }  # fmt: skip
    assert plan.notes == [
        "user 'ana' comes without a password: an existing password is kept",
        "tags of virtual host 'shop' means nothing here",
        "operator policy 'op' of virtual host '/' is left out: it is not supported",
        "shovel 'move' of virtual host '/' is left out: it is not supported",
        "global parameter 'mine' is left out: it is not supported",
        "ha-mode of policy 'ha' of virtual host 'shop' has no effect: there is one node",
        "federation-upstream of policy 'far' of virtual host '/' has no effect: RabbitMQ's plugin "
        "for it is not here",
        "queue 'amq.gen-x' is left out: its name is the server's to give",
        "'unheard' means nothing here, and is left out",
        "the binding from 'x' to queue 'gone' of virtual host 'shop' is left out: queue "
        "'gone' does not exist",
    ]
    shop = store.queue("q1", vhost="shop")
    assert [it.key for it in shop.bindings() if it.source] == ["a.#", ""]
    desk = store.internals().queues().within("shop")
    assert desk.do(lambda vhost: vhost.queue(b"q1").limits.max_length) == 5


def test_what_was_taken_is_there_already(store):
    imported(store, WHOLE)
    before = contents(store)
    plan = imported(store, WHOLE)
    assert sum(it.added + it.changed for it in plan.counts.values()) == 0
    assert plan.said() == "nothing new"
    assert contents(store) == before


@pytest.mark.long
def test_what_is_given_is_taken_again_by_another_store(store, tmp_path):
    imported(store, WHOLE)
    given = contents(store)
    assert given["queues"][0] == queue("q2", durable=False, arguments={"x-queue-type": "classic"})
    with logstore.open(tmp_path / "other", mode="write") as other:
        imported(other, given)
        assert contents(other) == given
    with logstore.open(tmp_path / "other", mode="write") as other:  # after a restart
        volatile = [it for it in given["queues"] if not it["durable"]]
        left = [it for it in given["queues"] if it not in volatile]
        assert contents(other) == given | {"queues": left}


def test_a_dry_run_changes_nothing(store):
    before = contents(store)
    plan = imported(store, WHOLE, dry_run=True)
    assert (plan.counts["queues"].added, len(plan.notes)) == (2, 10)
    assert contents(store) == before
    assert store.vhosts() == ["/"]


CONTRADICTIONS = [
    ({"queues": [queue("q", durable=False)]},
     "queues: queue 'q' already exists with durable true, not false"),
    ({"queues": [queue("q", arguments={"x-max-length": 5})]}, "with x-max-length none, not 5"),
    ({"queues": [queue("n"), queue("n", auto_delete=True)]},
     "queues: queue 'n' already exists with auto_delete false, not true"),
    ({"exchanges": [exchange("x", "direct")]}, "exchange 'x' already exists with type"),
    ({"exchanges": [exchange("n", "nope")]}, "exchanges: "),
    ({"exchanges": [exchange("n", arguments={"alternate-exchange": 5})]}, "alternate-exchange"),
    ({"queues": [queue("n", arguments={"x-max-length": "a"})]},
     "queues[0] 'n': queue 'n' can't have x-max-length a: no integer"),
    ({"queues": [queue("n", "nowhere")]}, "virtual host 'nowhere' exists neither here"),
    ({"policies": [policy("p", "nowhere", expires=5)]}, "virtual host 'nowhere'"),
    ({"policies": [policy("p", max_length="5")]}, "max-length '5' is not a valid maximum length"),
    ({"policies": [policy("p", pattern="(", max_length=5)]}, "pattern '('"),
    ({"policies": [policy(f"p{n}", max_length=5) for n in range(POLICIES_MAX + 1)]},
     f"virtual host '/' has at most {POLICIES_MAX}"),
    ({"permissions": [{"user": "nobody", "vhost": "/", **ALL}]}, "no user 'nobody'"),
    ({"permissions": [{"user": "ana", "vhost": "/", **ALL, "read": "("}]}, "expression of RE2"),
    ({"users": [{"name": "u"}]}, "users[0] 'u': it has no tags"),
    ({"users": [{"name": "u", "tags": 5}]}, "tags are neither a text nor a list of texts"),
    ({"users": [{"name": "u", "tags": "", "password": "p", "password_hash": GUEST}]},
     "it has a password and a hash of one"),
    ({"users": [{"name": "root", "tags": ""}]},
     "users: none would be left with the tag administrator"),
    ({"users": [{"name": "u", "tags": "", "scram": {"SCRAM-SHA-256": {}}}]}, "scram is none"),
    ({"vhosts": [{"name": ""}]}, "names of virtual hosts have 1 to 255 bytes"),
    ({"vhosts": [{"name": "v" * 256}]}, "names of virtual hosts have 1 to 255 bytes"),
    ({"bindings": [binding("x", "q", kind="topic")]}, "is neither queue nor exchange"),
    ({"bindings": [binding("x", "q", "k" * 256)]}, "routing_key has 256 bytes"),
    ({"exchanges": [exchange("h", "headers")],
      "bindings": [binding("h", "q", **{"x-match": "some"})]}, "x-match"),
    ({"queues": 5}, "queues is not a list"),
    ({"queues": [5]}, "queues[0]: it is not an object"),
    ({"queues": [queue("q", durable="maybe")]}, "durable is neither true nor false"),
    ({"queues": [{"name": "q"}]}, "queues[0] 'q': vhost is missing"),
    ({"queues": [queue("n" * 256)]}, "name has 256 bytes: at most 255 are allowed"),
    ({"queues": [queue("n", arguments=[1])]}, "not_a_table"),
    ({"queues": [queue("no/topic", arguments={"x-queue-type": "stream"})]}, "can't be a stream"),
    ({"queues": [queue("s", durable=False, arguments={"x-queue-type": "stream"})]},
     "is a stream and can't be non-durable"),
    ({"queues": [queue("many", arguments={"x-queue-type": "stream"})]}, "has 3 partitions"),
    ({"bindings": [binding("x", "into", kind="exchange")]}, "fed"),
    ({"exchanges": [exchange("y")], "bindings": [
        binding("x", "y", kind="exchange"), binding("y", "into", kind="exchange"),
    ]}, "topic fed -> exchange 'x' -> exchange 'y' -> exchange 'into' -> topic fed"),
    ({"exchanges": [exchange("z", arguments={"alternate-exchange": "into"})],
      "bindings": [binding("x", "z", kind="exchange")]}, "topic fed -> exchange 'x'"),
    ({"exchanges": [exchange("to-fed", "x-topic", arguments={"x-target": "fed"})],
      "bindings": [binding("x", "to-fed", kind="exchange")]}, "exchange 'to-fed' -> topic fed"),
    ({"queues": [queue("fed", arguments={"x-queue-type": "stream"})],
      "bindings": [binding("x", "fed")]}, "exchange 'x' -> topic fed"),
    ({"queues": [queue("w.delayed", arguments={"x-queue-type": "stream"})]},
     "holds delayed records of 'w'"),
    ({"policies": [policy("alt", pattern="^x$", alternate_exchange="into")]},
     "topic fed -> exchange 'x' -> exchange 'into' -> topic fed"),
    ({"exchanges": [exchange("y")], "bindings": [binding("x", "y", kind="exchange")],
      "policies": [policy("alt", pattern="^y$", alternate_exchange="into")]},
     "exchange 'y' -> exchange 'into'"),
    ({"exchanges": [exchange("i", "x-topic", arguments={"x-target": "no/topic"})]},
     "invalid x-target 'no/topic'"),
    ({"exchanges": [exchange("no/topic", "x-topic")]}, "invalid x-target 'no/topic'"),
    ({"bindings": [binding("x", "", kind="exchange")]}, "the default exchange is predefined"),
    ({"queues": [queue("\ud800")]}, "not a JSON object"),
    ({"policies": [policy("p", pattern="\udc7f", max_length=5)]}, "not a JSON object"),
    ({"queues": [queue("n", arguments={"n": float("nan")})]}, "not a JSON object"),
    ([], "not a JSON object"),
]  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with logstore.open(tmp_path_factory.mktemp("store") / "data", mode="write") as store:
        users = [KeptUser("root", tags=("administrator",)), KeptUser("ana")]
        store.internals().access().change(users)
        store.create_topic("many", partitions=3)
        store.create_topic("fed")
        store.create_topic("w", settings={"delivery.schedule": "true"})
        into = exchange("into", "x-topic", arguments={"x-target": "fed"})
        imported(store, {"queues": [queue("q")], "exchanges": [exchange("x"), into]})
        store.route_topic("fed", "x")
        yield store


@pytest.mark.parametrize(("definitions", "why"), CONTRADICTIONS)
def test_what_can_not_be_refuses_all_of_it(shared, definitions, why):
    store = shared
    before = contents(store)
    if isinstance(definitions, dict):
        definitions = {"vhosts": [{"name": "new"}], **definitions}
        definitions.setdefault("queues", [])
        if isinstance(definitions["queues"], list):
            definitions["queues"] = [*definitions["queues"], queue("good")]
    for dry_run in (True, False):
        with pytest.raises(InvalidDefinitions) as refused:
            imported(store, definitions, dry_run=dry_run)
        assert why in str(refused.value)
        assert str(refused.value).endswith(": nothing was changed")
        assert "\n" not in str(refused.value)
    assert contents(store) == before


def test_all_that_contradicts_is_told_in_one_line(store):
    imported(store, {"queues": [queue(f"q{n}") for n in range(8)]})
    with pytest.raises(InvalidDefinitions) as refused:
        imported(store, {"queues": [queue(f"q{n}", auto_delete=True) for n in range(8)]})
    assert str(refused.value).count("already exists") == 5
    assert "; and 3 more: nothing was changed" in str(refused.value)


@pytest.mark.long
def test_what_is_too_large_or_no_json_is_refused(store):
    for given, why in (
        (b" " * (BYTES_MAX + 1), f"at most {BYTES_MAX} are allowed"),
        (b"{", "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b'{"queues": "\xff"}', "not a JSON object"),
    ):
        with pytest.raises(InvalidDefinitions, match=why):
            store.import_definitions(given)
    assert store.import_definitions(b"").said() == "nothing new"


def test_users_are_changed_and_keep_what_is_not_said(store):

    def user():
        return store.internals().access().users["u"]

    imported(store, {"users": [{"name": "u", "tags": "administrator", "password": "secret"}]})
    keys = user().scram
    assert set(keys) == {"SCRAM-SHA-256", "SCRAM-SHA-512"}
    plan = imported(store, {"users": [{"name": "u", "tags": "administrator,monitoring"}]})
    assert (plan.counts["users"].changed, user().scram) == (1, keys)
    imported(store, {"users": [{"name": "u", "tags": "administrator", "password_hash": GUEST}]})
    assert user().scram == {}
    assert user().rabbit is not None


@pytest.mark.long
def test_keys_of_passwords_are_given_and_taken(store, tmp_path):
    imported(store, {"users": [{"name": "u", "tags": "administrator", "password": "secret"}]})
    found = store.export_definitions()
    assert found.notes == [
        "user 'u' has a password hash that RabbitMQ can't check: set a password in RabbitMQ"
    ]
    with logstore.open(tmp_path / "other", mode="write") as other:
        imported(other, found.definitions)
        ours, theirs = (it.internals().access().users["u"] for it in (store, other))
        assert ours == theirs


def test_a_hash_that_is_none_is_named(store):
    users = [
        {"name": "u", "tags": "", "password_hash": "AAAA"},
        {"name": "v", "tags": "", "password_hash": GUEST, "hashing_algorithm": "own"},
    ]
    assert imported(store, {"users": users}).notes == [
        "the password of user 'u' is left out: a hash of 3 bytes is none of sha256 with its salt",
        "the password of user 'v' is left out: the hashing algorithm 'own' is not known",
    ]


def test_of_a_thousand_notes_the_rest_is_counted(store):
    parameters = [
        {"component": "shovel", "name": str(n), "vhost": "/"} for n in range(NOTES_MAX + 9)
    ]
    notes = imported(store, {"parameters": parameters}).notes
    assert (len(notes), notes[-1]) == (NOTES_MAX + 1, "and 9 more")


def test_definitions_of_one_virtual_host(store):
    store.add_vhost("v")
    given = {"queues": [queue("q") | {"vhost": "elsewhere"}], "users": [], "vhosts": []}
    plan = imported(store, given, vhost="v")
    assert store.queues(vhost="v") == ["q"]
    assert plan.notes == [
        f"{kind} are left out: these definitions are for one virtual host"
        for kind in ("users", "vhosts")
    ]
    found = store.export_definitions(vhost="v").definitions
    assert found["queues"] == [{it: value for it, value in queue("q").items() if it != "vhost"}]
    assert "users" not in found
    for act in (store.import_definitions, store.export_definitions):
        with pytest.raises(logstore.LogstoreError, match="no virtual host 'nope'"):
            act(*([b"{}"] if act == store.import_definitions else []), vhost="nope")


def test_bindings_that_differ_in_the_width_of_a_number_are_one(store):
    imported(store, {"queues": [queue("q")], "exchanges": [exchange("h", "headers")]})
    store.queue("q").bind("h", "", {"n": 5})
    plan = imported(store, {"bindings": [binding("h", "q", n=5), binding("h", "q", n=6)]})
    assert (plan.counts["bindings"].there, plan.counts["bindings"].added) == (1, 1)


def test_policies_with_settings_that_mean_nothing_are_named(store):
    plan = imported(store, {"policies": [
        policy("some", unheard_of=1, max_length=5), policy("none", unheard_of=1)
    ]})  # fmt: skip
    assert plan.notes == [
        "'unheard-of' of policy 'some' of virtual host '/' means nothing here, and is left out",
        "'unheard-of' of policy 'none' of virtual host '/' means nothing here, and is left out",
        "policy 'none' of virtual host '/' is left out: nothing of it means anything here",
    ]
    assert [it.name for it in store.policies()] == ["some"]


def test_what_a_rabbitmq_would_not_know_is_named(store):
    store.set_policy("keep", "", {"retention-ms": 5})
    store.create_topic("t")
    imported(store, {"exchanges": [exchange("t", "x-topic")]})
    assert store.export_definitions().notes == [
        "policy 'keep' of virtual host '/' sets retention-ms, which a RabbitMQ refuses",
        "exchange 't' of virtual host '/' is of type x-topic, which a RabbitMQ has not",
    ]


def test_where_it_is_interrupted_it_can_be_taken_again(store, monkeypatch):
    from logstore.broker.queues.vhost import Vhost
    from logstore.errors import StorageFull

    bind = Vhost.bind
    calls = []

    def full(self, it, *more):
        calls.append(it)
        if len(calls) == 2:
            raise StorageFull("no space left")
        return bind(self, it, *more)

    monkeypatch.setattr(Vhost, "bind", full)
    with pytest.raises(StorageFull):
        imported(store, WHOLE)
    plan = imported(store, WHOLE)
    assert plan.counts["queues"].there == 2
    assert plan.counts["bindings"].added + plan.counts["bindings"].there == 3
    assert len(list(contents(store)["bindings"])) == 3


def test_passwords_that_are_to_be_hashed_are_few(store):
    users = [{"name": f"u{n}", "tags": "", "password": "x"} for n in range(5)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logstore.definitions.reading.PASSWORDS_MAX", 4)
        with pytest.raises(InvalidDefinitions, match=r"users\[4\] 'u4': more than 4 passwords"):
            imported(store, {"users": users})


def test_thousands_of_faults_are_not_all_looked_for(store):
    rows = [queue(f"q{n}", "nowhere") for n in range(3000)]
    with pytest.raises(InvalidDefinitions, match="and many more: nothing was changed"):
        imported(store, {"queues": rows})


@pytest.mark.long
def test_the_work_of_an_import_is_done_in_slices(store):
    """So that a server does other things, too."""
    count = 3000
    given = {
        "users": [{"name": f"u{n}", "tags": ""} for n in range(count)],
        "permissions": [{"user": f"u{n}", "vhost": "/", **ALL} for n in range(count)],
        "exchanges": [exchange("x")],
        "queues": [queue(f"q{n}") for n in range(count)],
        "bindings": [binding("x", f"q{n}", f"a.{n}") for n in range(count)],
    }
    longest = []

    class Watched(Slices):
        def begin(self, *given):
            super().begin(*given)
            longest.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logstore.store_queues.Slices", Watched)
        imported(store, given)
        store.export_definitions()
    assert max(it.longest for it in longest) <= UNITS + 400
