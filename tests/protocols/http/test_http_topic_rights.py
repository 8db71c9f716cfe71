"""Who may see, read and change which topics and groups over HTTP."""

import pytest
from http_topics import Topical, users

from logstore.access.audit import REFUSED

ANN = (
    ("describe", "topic", "seen"), ("read", "group", "g"), ("create", "topic", "new"),
    ("describe", "channel", "news"), ("delete", "topic", "gone"), ("read", "topic", "read"),
    ("alter-configs", "topic", "set"), ("describe", "group", "watched"),
)  # fmt: skip


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    access = users(
        ann=ANN, bob=(("create", "cluster", "kafka-cluster"),),
        eve=(("describe", "cluster", "kafka-cluster"),),
        cy=(("all", "cluster", "kafka-cluster"), ("read", "group", "g")),
        dee=(("delete", "group", "g"), ("describe", "topic", "seen")),
    )  # fmt: skip
    found = Topical(tmp_path_factory.mktemp("rights") / "data", access)
    for name in ("hidden", "seen", "news", "gone", "read", "set"):
        found.topics.create(name, 1, {})
    found.commit("g", {("seen", 0): 0, ("hidden", 0): 0, ("read", 0): 0})
    found.commit("watched", {("seen", 0): 0})
    found.commit("secret", {("seen", 0): 0})
    yield found
    found.close()


@pytest.fixture
def by(api):
    """One of them asks."""

    def as_user(name):
        api.user = name
        return api

    return as_user


def names(rows):
    return [it["name"] for it in rows]


ALL = ["gone", "hidden", "news", "read", "seen", "set"]


def test_a_list_shows_what_one_may_see(by):
    # ``news`` keeps no history here: it is a topic, and the right is to a channel.
    assert names(by("ann").items("topics")) == ["gone", "read", "seen"]
    assert by("ann").ask("GET", "topics?page_size=1")["total"] == 3
    assert names(by("ann").items("topics?sort=-bytes")) == ["gone", "read", "seen"]
    assert names(by("bob").items("topics")) == []
    for name in ("mon", "root"):
        assert names(by(name).items("topics")) == ALL
    assert names(by("ann").items("groups")) == ["g", "watched"]
    for name in ("mon", "eve"):
        assert names(by(name).items("groups")) == ["g", "secret", "watched"]
    assert names(by("eve").items("topics")) == []
    assert names(by("ann").items("topics/seen/groups")) == ["g", "watched"]
    assert names(by("root").items("topics/seen/groups")) == ["g", "secret", "watched"]
    assert by("ann").ask("GET", "topics/seen")["groups"] == 2
    assert by("root").ask("GET", "topics/seen")["groups"] == 3


def test_a_group_names_no_topic_that_one_may_not_see(by):
    found = by("ann").ask("GET", "groups/g")
    assert [it["topic"] for it in found["partitions"]] == ["read", "seen"]
    assert found["partitions_total"] == 2
    found = by("mon").ask("GET", "groups/g")
    assert [it["topic"] for it in found["partitions"]] == ["hidden", "read", "seen"]


@pytest.mark.parametrize(
    ("method", "path", "value"),
    [
        ("GET", "topics/hidden", None),
        ("GET", "topics/nope", None),  # whether it is there is told nobody
        ("GET", "topics/hidden/partitions", None),
        ("GET", "topics/hidden/groups", None),
        ("GET", "topics/seen/settings", None),
        ("GET", "groups/secret", None),
        ("GET", "groups/nope", None),
        ("GET", "settings", None),
        ("DELETE", "topics/seen", None),
        ("DELETE", "topics/seen", {"dry_run": True}),
        ("DELETE", "groups/g", {"dry_run": True}),
        ("POST", "topics", {"name": "other"}),
        ("POST", "topics", {"name": "hidden"}),
        ("POST", "topics", {"name": "other", "dry_run": True}),
        ("PUT", "topics/seen/partitions", {"count": 2}),
        ("PUT", "topics/seen/settings", {"set": {}}),
        ("POST", "topics/read/trim", {"before": "latest"}),
        ("POST", "groups/watched/reset", {"to": "latest"}),
        ("POST", "groups/g/reset", {"to": "latest"}),  # in one of its topics
        ("POST", "groups/g/reset", {"to": "latest", "topics": ["seen"], "dry_run": True}),
        ("POST", "groups/g/reset", {"to": "latest", "topics": ["nope"]}),
        ("POST", "groups/g/reset",
         {"to": "offsets", "offsets": [{"topic": "seen", "partition": 0, "offset": 0}]}),
    ],
)  # fmt: skip
def test_what_one_may_not_is_refused(by, method, path, value):
    answer = by("ann").ask(method, path, value, 403)
    assert "may not" in answer["error"]


def test_what_one_may_is_done(by):
    ann = by("ann")
    assert ann.ask("POST", "topics", {"name": "new", "dry_run": True})["dry_run"]
    assert by("bob").ask("POST", "topics", {"name": "bobs", "dry_run": True})["dry_run"]
    ann = by("ann")
    assert ann.ask("DELETE", "topics/gone", {"dry_run": True})["name"] == "gone"
    assert ann.items("topics/set/settings")
    assert ann.ask("PUT", "topics/set/settings", {"set": {"flush.ms": "5"}})["changed"]
    moved = ann.ask("POST", "groups/g/reset", {"to": "latest", "topics": ["read"]})
    assert [it["topic"] for it in moved["partitions"]] == ["read"]
    assert ann.audit[-1][1].user == "ann"


def test_who_sees_all_facts_may_change_nothing_by_that(by):
    for method, path, value in [
        ("DELETE", "topics/seen", None), ("POST", "topics", {"name": "x"}),
        ("POST", "topics/seen/trim", {"before": "latest"}), ("DELETE", "groups/g", None),
        ("PUT", "topics/seen/settings", {"set": {}}), ("POST", "groups/g/reset", {"to": "latest"}),
    ]:  # fmt: skip
        by("mon").ask(method, path, value, 403)
    assert by("mon").items("topics/seen/settings")
    assert by("mon").items("settings")


def test_nobody_may_create_the_audit_log(by):
    for name in ("ann", "bob", "root"):
        by(name).ask("POST", "topics", {"name": "__audit"}, 403)


def test_a_refusal_by_a_handler_is_known_afterwards(by):
    api = by("ann")
    api.ask("POST", "topics", {"name": "forbidden-fruit"}, 403)
    assert [it[2] for it in api.audit if it[3] == REFUSED][-1:] == ["create topic forbidden-fruit"]


def test_moving_a_group_names_no_topic_that_one_may_not_see(by):
    answer = by("ann").ask("POST", "groups/g/reset", {"to": "latest"}, 403)
    assert answer["error"] == (
        "user 'ann' may not read all topics that the group has committed in: name those that are "
        "to be moved"
    )
    answer = by("ann").ask("POST", "groups/g/reset", {"to": "latest", "topics": ["hidden"]}, 403)
    assert answer["error"] == "user 'ann' may not read topic 'hidden'"  # as he has said


def test_deleting_a_group_names_no_topic_that_one_may_not_see(by):
    found = by("dee").ask("DELETE", "groups/g", {"dry_run": True})
    assert (found["topics"], found["offsets"]) == (["seen"], 3)
    found = by("root").ask("DELETE", "groups/g", {"dry_run": True})
    assert found["topics"] == ["hidden", "read", "seen"]


def test_a_right_to_the_cluster_reads_no_topic(by):
    moved = {"to": "latest", "topics": ["seen"], "dry_run": True}
    assert "may not read topic" in by("cy").ask("POST", "groups/g/reset", moved, 403)["error"]
