"""The cluster that a server is a node of, as it is asked for."""

import json

import pytest
from amqp_users import Users
from cluster_facts import cluster
from figures_kit import Watching
from http_kit import answers, request
from http_topics import check

from logstore.access.identity import Identity
from logstore.cluster_seen import PartitionSeen


def get(watching, path):
    [(status, _, body)] = answers(watching.peer.say(request("GET", f"/api/v1/{path}")))
    return status, json.loads(body), body


def test_it_is_shown_as_it_is_described():
    watching = Watching(cluster=cluster)
    status, found, body = get(watching, "cluster")
    assert status == 200
    check("GET", "cluster", body)
    assert [it["state"] for it in found["partitions"]] == ["here", "elsewhere"]
    assert found["partitions"][1]["address"] == "host-2:7070"
    assert found["behind"] == [{"log": "orders-0", "bytes": 30, "appends": 3, "waits_s": 0.5}]
    assert get(watching, "whoami")[1]["cluster"] is True


def test_a_server_with_its_own_directory_is_a_node_of_none():
    watching = Watching()
    status, found, _ = get(watching, "cluster")
    assert (status, found["error"]) == (
        404, "this server keeps its data in a directory: it is not a node of a cluster",
    )  # fmt: skip
    assert get(watching, "whoami")[1]["cluster"] is False


LOST = [PartitionSeen(0, "nobody", None, None, None, None, None)]


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"failure": "refused"}, "the cluster is not reached: refused"),
        ({"facts_failure": "gone"}, "what nodes share is not read: gone"),
        ({"no_queues": "no fence"}, "no queues are served: no fence"),
        (
            {"partitions": LOST},
            "partitions of the queues' journal whose owner is gone, or not reached: 1",
        ),
        ({"databases": LOST}, "databases of keys that no node serves: 1"),
        ({"stalled": 2}, "partitions of the cluster that acknowledge nothing now: 2"),
    ],
)
def test_what_is_wrong_with_it_is_of_the_servers_health(facts, what):
    watching = Watching(cluster=lambda: cluster(**facts))
    health = get(watching, "overview")[1]["health"]
    assert health["state"] == "error"
    assert health["warnings"] == [{"what": what, "object": "", "view": "#/server/cluster"}]


def test_all_well_is_no_warning():
    health = get(Watching(cluster=cluster), "overview")[1]["health"]
    assert health["state"] == "ok"


@pytest.mark.parametrize(("tag", "status"), [("management", 403), ("monitoring", 200)])
def test_it_is_for_who_may_see_everything(tag, status):
    users = Users()
    users.add("anna", tag)
    who = Identity("anna", "192.0.2.1", "PLAIN", "http")
    watching = Watching(who=who, access=users.access, cluster=cluster)
    assert get(watching, "cluster")[0] == status
    assert get(watching, "whoami")[1]["cluster"] is (status == 200)


def test_a_node_does_no_upkeep_of_what_is_its_clusters():
    watching = Watching(cluster=cluster)
    said = request("POST", "/api/v1/jobs", b'{"name": "retention"}')
    [(status, _, body)] = answers(watching.peer.say(said))
    assert status == 409
    assert "they are the cluster's, and so is their upkeep" in json.loads(body)["error"]
    assert watching.peer.jobs == []
