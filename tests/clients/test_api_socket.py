"""A real server, asked through the socket of its data directory."""

import json
import os
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack, suppress

import pika
import pytest
from http_kit import answers, request
from serving import Serving
from waiting import until

from logstore.errors import Failed, InvalidName, NoneOfThatName, Refused
from logstore.server_socket import ServerSocket
from logstore.storage.disk import Disk

DEADLINE_S = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Serving(tmp_path_factory.mktemp("api") / "data", resp_port=-1, amqp_port=0)
    yield made
    code, errors = made.stop()
    assert code == 0
    assert "Traceback" not in errors


@pytest.fixture
def channel(server):
    host, port = server.amqp
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
    yield connection.channel()
    connection.close()


@pytest.fixture
def api(server):
    return ServerSocket(str(server.data))


def connect(server):
    connection = Disk().connect(str(server.data / "api.sock"))
    connection.settimeout(DEADLINE_S)
    return connection


def answer_to(connection, data, count=1):
    connection.sendall(data)
    found = b""
    while found.count(b"HTTP/1.1 ") < count or not whole(found):
        more = connection.recv(65_536)
        assert more
        found += more
    return answers(found)


def whole(data):
    try:
        answers(data)
    except (AssertionError, IndexError, ValueError, KeyError):
        return False
    return True


def test_only_the_user_of_the_server_may_open_the_socket(server):
    found = (server.data / "api.sock").stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert found.st_mode & 0o777 == 0o600


def test_the_server_says_where_its_doors_are(server, api):
    found = api.get("server")
    assert found["process_id"] == server.process.pid
    assert found["path"] == str(server.data)
    assert found["doors"] == {
        "kafka": {"host": "127.0.0.1", "port": server.endpoint[1]},
        "amqp": {"host": "127.0.0.1", "port": server.amqp[1]},
    }


def test_queues_with_their_counts(api, channel):
    arguments = {"x-max-priority": 5, "x-dead-letter-exchange": "dead", "x-big": 2**60}
    channel.queue_declare("mail", durable=True, arguments=arguments)
    channel.queue_declare("mine", exclusive=True)
    channel.confirm_delivery()
    for number in range(6):
        properties = pika.BasicProperties(priority=number % 2)
        channel.basic_publish("", "mail", b"hello", properties)
    channel.basic_get("mail")
    channel.basic_qos(prefetch_count=2)
    channel.basic_consume("mail", lambda *_: None, consumer_tag="me")
    until(lambda: api.get("queues", "mail")["unacked"] == 3)
    rows = {row["name"]: row for row in api.rows("queues")}
    size = rows["mail"].pop("bytes")
    assert size > 6 * 5
    assert rows["mail"].pop("oldest_ms") > 0
    assert {rows["mail"].pop(f"{it}_per_s") for it in ("in", "out", "ack")} == {None}
    assert rows["mail"] == {
        "vhost": "/", "name": "mail", "durable": True, "exclusive": False, "auto_delete": False,
        "arguments": {"x-max-priority": 5, "x-dead-letter-exchange": "dead", "x-big": str(2**60)},
        "ready": 3, "unacked": 3, "consumers": 1, "error": None, "state": "running", "dropped": 0,
        "type": "classic", "topic": None, "policy": None,
    }  # fmt: skip
    assert rows["mine"]["exclusive"]
    assert not rows["mine"]["durable"]
    found = api.get("queues", "mail")
    assert found["bytes"] == size
    facts = [
        {name: lane[name] for name in ("priority", "ready", "unacked", "floor", "cursor", "end")}
        for lane in found["lanes"]
    ]
    assert facts == [
        {"priority": 1, "ready": 0, "unacked": 3, "floor": "0", "cursor": "3", "end": "3"},
        {"priority": 0, "ready": 3, "unacked": 0, "floor": "0", "cursor": "0", "end": "3"},
    ]
    assert found["dead_letters"] == {
        "exchange": "dead", "routing_key": None, "strategy": "at-most-once", "here": 0,
        "dropped": 0,
    }  # fmt: skip
    [consumer] = api.rows("queues", "mail", "consumers")
    assert consumer.pop("channel").startswith("127.0.0.1:")
    assert consumer == {
        "tag": "me", "no_ack": False, "exclusive": False, "priority": 0, "prefetch": 2,
        "unacked": 2, "active": True,
    }  # fmt: skip


def test_exchanges_with_their_bindings(api, channel):
    channel.exchange_declare("events", "topic", durable=True, arguments={"alternate-exchange": "x"})
    channel.exchange_declare("inner", "fanout", internal=True, auto_delete=True)
    channel.queue_declare("bound", durable=True)
    channel.queue_bind("bound", "events", "a.#", arguments={"n": 1, "t": {"x": [True, None, 2]}})
    channel.exchange_bind("inner", "events", "b")
    rows = {row["name"]: row for row in api.rows("exchanges", filter="n")}
    assert set(rows) == {"amq.fanout", "events", "inner"}
    assert rows["events"] == api.get("exchanges", "events")
    assert rows["events"] == {
        "vhost": "/", "name": "events", "type": "topic", "durable": True, "auto_delete": False,
        "internal": False, "arguments": {"alternate-exchange": "x"}, "bindings": 2,
        "policy": None, "repeats": None, "waiting": None,
    }  # fmt: skip
    assert (rows["inner"]["internal"], rows["inner"]["auto_delete"]) == (True, True)
    first, second = api.rows("exchanges", "events", "bindings")
    assert first.pop("id") != second["id"]
    assert first == {
        "source": "events", "destination": "bound", "kind": "queue", "key": "a.#",
        "arguments": {"n": 1, "t": {"x": [True, None, 2]}},
    }  # fmt: skip
    assert list(api.rows("exchanges", "inner", "bindings", end="destination")) == [second]
    assert (second["kind"], second["destination"]) == ("exchange", "inner")
    assert [it["source"] for it in api.rows("queues", "bound", "bindings")] == ["", "events"]
    count = api.get("queues")["total"]
    assert api.get("exchanges", "")["bindings"] == count
    assert len(list(api.rows("exchanges", "", "bindings"))) == count


def test_virtual_hosts_are_added_used_and_deleted(server, api):
    assert [it["name"] for it in api.rows("vhosts")] == ["/"]
    for _ in range(2):
        added = api.put("vhosts", "a/b")
        assert added == {"name": "a/b", "exchanges": 7, "queues": 0}
    host, port = server.amqp
    there = pika.ConnectionParameters(host, port, virtual_host="a/b")
    connection = pika.BlockingConnection(there)
    connection.channel().queue_declare("inside", durable=True)
    [row] = api.rows("queues", vhost="a/b")
    assert (row["name"], row["vhost"]) == ("inside", "a/b")
    assert [it["queues"] for it in api.rows("vhosts") if it["name"] == "a/b"] == [1]
    assert "inside" not in [it["name"] for it in api.rows("queues", vhost="/")]
    with pytest.raises(NoneOfThatName, match="no queue 'inside'"):
        api.get("queues", "inside")
    assert api.get("queues", "inside", vhost="a/b")["lanes"] == []
    assert api.delete("vhosts", "a/b")["queues"] == 1
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as closed:
        connection.process_data_events(DEADLINE_S)
    assert (closed.value.reply_code, closed.value.reply_text) == (
        320, "CONNECTION_FORCED - vhost 'a/b' is deleted",
    )  # fmt: skip
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
        pika.BlockingConnection(there)
    for request_, error in (
        (lambda: api.delete("vhosts", "a/b"), NoneOfThatName),
        (lambda: api.delete("vhosts", "/"), Refused),
        (lambda: api.put("vhosts", ""), InvalidName),
        (lambda: api.put("vhosts", "x" * 256), InvalidName),
    ):
        with pytest.raises(error):
            request_()


@pytest.mark.parametrize("name", ["a/b", "%2F", "?x=1&y", "..", " ", "größe", "#"])
def test_names_stand_in_paths_and_queries(api, channel, name):
    channel.queue_declare(name, exclusive=True)
    assert api.get("queues", name)["name"] == name
    assert [it["name"] for it in api.rows("queues", filter=name)] == [name]


def test_a_list_comes_by_pages(api, channel):
    names = [f"page-{number:02}" for number in range(7)]
    for name in names:
        channel.queue_declare(name, exclusive=True)
    found = [api.get("queues", filter="page-", page=number, page_size=3) for number in range(1, 5)]
    assert [[it["name"] for it in page.pop("items")] for page in found] == [
        names[:3], names[3:6], names[6:], [],
    ]  # fmt: skip
    assert found[0] == {"page": 1, "page_size": 3, "pages": 3, "total": 7}
    assert len(list(api.rows("queues", filter="page-"))) == 7


def test_what_is_not_there(api):
    for path, error in (
        (("queues", "no"), "no queue 'no'; declare it first"),
        (("queues", "no", "bindings"), "no queue 'no'; declare it first"),
        (("queues", "no", "consumers"), "no queue 'no'; declare it first"),
        (("exchanges", "no"), "no exchange 'no'; declare it first"),
        (("exchanges", "no", "bindings"), "no exchange 'no'; declare it first"),
        (("nothing",), "no such path: /api/v1/nothing"),
    ):
        with pytest.raises(NoneOfThatName) as raised:
            api.get(*path)
        assert str(raised.value) == error
    with pytest.raises(NoneOfThatName, match="no virtual host 'no'"):
        api.get("queues", vhost="no")
    with pytest.raises(Refused, match="end=x: must be source or destination"):
        api.get("exchanges", "", "bindings", end="x")


def test_a_connection_stays_and_requests_may_come_together(server):
    ask = request("GET", "/api/v1/vhosts")
    with connect(server) as connection:
        for _ in range(3):
            [(status, _, body)] = answer_to(connection, ask)
            assert status == 200
            assert [it["name"] for it in json.loads(body)["items"]] == ["/"]
        found = answer_to(connection, ask * 50, 50)
        assert [status for status, _, _ in found] == [200] * 50
        [(status, headers, _)] = answer_to(connection, b"no request\r\n\r\n" + bytes(1 << 20))
        assert (status, headers["connection"]) == (400, "close")


def test_connections_too_many_are_told_so(server):
    with ExitStack() as stack:
        many = [stack.enter_context(connect(server)) for _ in range(70)]
        answered = [answer_or_refusal(it, request("GET", "/api/v1/server")) for it in many]
    refused = [body for status, _, body in answered if status == 503]
    assert set(refused) == {b'{"error":"too many connections: try again"}\n'}
    assert 6 <= len(refused) < 12  # those of tests before may not be gone yet
    assert {status for status, _, _ in answered} == {200, 503}


def answer_or_refusal(connection, data):
    with suppress(BrokenPipeError):  # refused before it was asked
        connection.sendall(data)
    found = b""
    while not (found and whole(found)):
        more = connection.recv(65_536)
        assert more
        found += more
    return answers(found)[0]


@pytest.mark.long
def test_a_job_of_upkeep_is_done_by_the_server(server):
    command = ["logstore", "--data", server.data, "recompress", "run"]
    bin_folder = os.path.dirname(sys.executable)
    environment = {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert f"handed to pid {server.process.pid}" in done.stderr
    assert done.stdout == "nothing to do: no topic's compression.sealed is set\n"
    done = subprocess.run(
        [*command, "--topic", "x"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1, "logstore: no topic 'x'; there is no topic yet",
    )  # fmt: skip


@pytest.mark.long
def test_a_server_that_was_killed_leaves_a_socket_where_nobody_answers(tmp_path):
    server = Serving(tmp_path / "data", resp_port=-1)
    server.stop(9)
    assert (server.data / "api.sock").exists()
    with pytest.raises(Failed, match="no process that writes this store answers at this socket"):
        ServerSocket(str(server.data)).get("server")
    server = Serving(tmp_path / "data", resp_port=-1)
    assert ServerSocket(str(server.data)).get("server")["process_id"] == server.process.pid
    assert server.stop()[0] == 0
    assert not (server.data / "api.sock").exists()


@pytest.mark.long
def test_a_client_that_shuts_its_side_is_answered_still(server):
    with connect(server) as connection:
        connection.sendall(request("GET", "/api/v1/server"))
        connection.shutdown(socket.SHUT_WR)
        [(status, _, _)] = answers(connection.makefile("rb").read())
        assert status == 200
