"""RabbitMQ's API of connections and channels: whose they are, who sees them, who closes them."""

import pytest
from amqp_users import Users
from rabbit_api import NOT_FOUND, REFUSED, new_api

from logstore.access.audit import CONNECTION
from logstore.protocols.amqp_clients import AmqpClients, Client, ClientChannel
from logstore.protocols.http.common.node import NODE

PATH = "connections/{}"


class Connected:
    """A session that is closed only in so far as it remembers why."""

    def __init__(self, port, user, vhost="/", channels=(), **more):
        self.name = f"127.0.0.1:{port} -> 127.0.0.1:5672"
        self.ended = None
        self.vhost, self.user, self.port, self.more = vhost, user, port, more
        self.channels = [
            ClientChannel(number, f"{self.name} ({number})", "running", 1, True, False, 3, 7,
                          unacked, 2, 0, 0)
            for number, unacked in channels
        ]  # fmt: skip

    def seen(self):
        if self.ended is not None:
            return None
        return Client(
            self.name, self.user, self.vhost, "running", ("127.0.0.1", 5672),
            ("127.0.0.1", self.port), False, "PLAIN", 2047, 131_072, 60, self.more,
            len(self.channels), 5,
        )  # fmt: skip

    def seen_channels(self):
        return self.channels

    def end_by(self, reason):
        self.ended = reason

    @property
    def path(self):
        return self.name.replace(":", "%3A").replace(" ", "%20").replace(">", "%3E")


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    lives, api = new_api(tmp_path_factory.mktemp("rabbit"))
    yield api
    lives.end()


@pytest.fixture
def those():
    return [
        Connected(50_001, "al", channels=[(1, 4), (3, 0)], connection_name="mine", n=[1, b"\xff"]),
        Connected(50_002, "bo"),
    ]


@pytest.fixture
def api(life, those):
    life.users = Users()
    for name, tag in (("al", "management"), ("bo", "management"), ("watch", "monitoring")):
        life.users.add(name, tag)
    clients = AmqpClients()
    clients.come_from(lambda: those)
    life.more["amqp_clients"] = clients
    yield life
    life.node.empty()


def names(rows):
    return [it["name"] for it in rows]


def test_a_connection_is_shown_with_all_that_tools_read(api, those):
    found = api.get(f"connections/{those[0].path}")
    wanted = {
        "name": those[0].name, "node": NODE, "user": "al", "vhost": "/", "state": "running",
        "protocol": "AMQP 0-9-1", "type": "network", "channels": 2, "channel_max": 2047,
        "frame_max": 131_072, "timeout": 60, "host": "127.0.0.1", "port": 5672,
        "peer_host": "127.0.0.1", "peer_port": 50_001, "ssl": False, "auth_mechanism": "PLAIN",
        "send_pend": 5, "user_provided_name": "mine",
        "client_properties": {"connection_name": "mine", "n": [1, "\udcff"]},
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted


def test_channels_are_shown_with_what_they_owe(api, those):
    first, second = api.get("channels")
    assert (first["number"], second["number"]) == (1, 3)
    wanted = {
        "name": f"{those[0].name} (1)", "user": "al", "vhost": "/", "state": "running",
        "confirm": True, "transactional": False, "consumer_count": 1, "prefetch_count": 3,
        "global_prefetch_count": 7, "messages_unacknowledged": 4, "messages_unconfirmed": 2,
        "connection_details": {
            "name": those[0].name, "peer_host": "127.0.0.1", "peer_port": 50_001,
        },
    }  # fmt: skip
    assert {name: first[name] for name in wanted} == wanted
    assert names(api.get("channels?sort=messages_unacknowledged")) == names([second, first])
    assert names(api.get(f"connections/{those[0].path}/channels")) == names([first, second])
    assert names(api.get("vhosts/%2F/channels")) == names([first, second])
    found = api.get(f"channels/{those[0].path}%20%283%29")
    assert (found["number"], found["consumer_details"]) == (3, [])
    for path in ("channels/nope", f"channels/{those[0].path}%20%282%29", "channels/%FF%20%281%29"):
        assert api.ask("GET", path) == (404, NOT_FOUND)


def test_one_sees_ones_own_and_with_a_tag_those_of_all(api, those):
    both, mine = [it.name for it in those], [those[0].name]
    for user, found in (("al", mine), ("watch", both), ("root", both)):
        assert names(api.get("connections", user=user)) == found
        assert api.get("overview", user=user)["object_totals"]["connections"] == len(found)
    assert api.ask("GET", f"connections/{those[1].path}", user="al") == (404, NOT_FOUND)
    assert names(api.get("channels", user="bo")) == []
    assert names(api.get("connections/username/al", user="bo")) == []
    [row] = api.get("connections/username/al", user="watch")
    assert row == {"name": those[0].name, "node": NODE, "user": "al", "vhost": "/"}


def test_connections_are_listed_by_virtual_host(api, those):
    api.node.add_vhost(b"other")
    those.append(Connected(50_003, "al", "other"))
    assert names(api.get("vhosts/other/connections")) == [those[2].name]
    assert api.ask("GET", "vhosts/nope/connections") == (404, NOT_FOUND)
    api.node.delete_vhost(b"other")


def test_one_closes_ones_own_and_an_administrator_any(api, those):
    first, second = those
    assert api.ask("DELETE", f"connections/{second.path}", user="al") == (404, NOT_FOUND)
    assert api.ask("DELETE", f"connections/{second.path}", user="watch") == (401, REFUSED)
    assert api.ask("DELETE", "connections/username/bo", user="al") == (401, REFUSED)
    assert (first.ended, second.ended) == (None, None)
    # Whether another is there is told nobody.
    assert api.ask("DELETE", "connections/username/nobody", user="al") == (401, REFUSED)
    api.delete(f"connections/{first.path}", user="al")
    api.delete(f"connections/{second.path}", user="root", headers=("x-reason: enough\x07",))
    assert first.ended == "Closed via management plugin"
    assert second.ended == "enough\\x07"
    assert [it[1].user for it in api.audit if it[0] == CONNECTION] == ["al", "root"]
    assert api.audit[-1][2] == f"amqp {second.name}: enough\\x07"
    assert api.ask("DELETE", f"connections/{first.path}", user="root") == (404, NOT_FOUND)


def test_all_of_a_user_are_closed_together(api, those):
    those.append(Connected(50_003, "al"))
    api.delete("connections/username/al")
    assert [it.ended is not None for it in those] == [True, False, True]
    api.delete("connections/username/nobody")
