"""What a real server says of its clients: at one look, as a list, and as news."""

import http.client
import json

import pika
import pytest
import redis
from confluent_kafka.admin import AdminClient
from serving import Serving
from waiting import until


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    serving = Serving(
        tmp_path_factory.mktemp("figures") / "data", amqp_port=0, http_port=0,
    )  # fmt: skip
    yield serving
    code, errors = serving.stop()
    assert code == 0, errors


def asked(server, method, path, value=None):
    line = http.client.HTTPConnection(*server.http, timeout=30)
    headers = {"x-logstore": "1", "content-type": "application/json"}
    line.request(method, path, None if value is None else json.dumps(value), headers)
    answer = line.getresponse()
    body = json.loads(answer.read())
    line.close()
    return answer.status, body


def connections(server, door):
    status, found = asked(server, "GET", f"/api/v1/connections?door={door}")
    assert status == 200
    return found["items"]


def test_clients_of_all_doors_are_listed_by_what_they_call_themselves(server):
    kafka = AdminClient({"bootstrap.servers": server.address, "client.id": "admin-1"})
    kafka.list_topics(timeout=30)
    resp = redis.Redis(*server.redis, client_name="listener-1")
    listening = resp.pubsub()
    listening.subscribe("news")
    assert listening.get_message(timeout=30)["type"] == "subscribe"
    parameters = pika.ConnectionParameters(
        *server.amqp, client_properties={"connection_name": "worker-1"}
    )
    amqp = pika.BlockingConnection(parameters)
    amqp.channel()
    # Its first connection is given up for another one, which says nothing for a while.
    until(
        lambda: ("admin-1", True) in {
            (it["client"], "kafka" in it["software"]) for it in connections(server, "kafka")
        },
        lambda: kafka.list_topics(timeout=30),
    )  # fmt: skip
    [subscriber] = [it for it in connections(server, "redis") if it["state"] == "pubsub"]
    assert subscriber["client"] == "listener-1"
    assert int(subscriber["bytes_in"]) > 0
    [worker] = connections(server, "amqp")
    assert (worker["client"], worker["about"]["channels"]) == ("worker-1", 1)

    status, found = asked(server, "GET", "/api/v1/overview")
    assert status == 200
    counted = {it["name"]: it["connections"] for it in found["doors"]}
    assert counted["amqp"] == 1
    assert counted["http"] == 1
    assert found["counts"]["channels"] == 1

    status, _ = asked(server, "DELETE", f"/api/v1/connections/{worker['id']}", {"reason": "tired"})
    assert status == 200
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="tired"):
        until(lambda: amqp.process_data_events(0.01))
    status, _ = asked(server, "DELETE", f"/api/v1/connections/{subscriber['id']}")
    assert status == 200
    assert subscriber["id"] not in {it["id"] for it in connections(server, "redis")}
    listening.close()
    resp.close()
    errors = server.errors()
    assert errors.count("connection closed") == 2
    assert "tired" in errors


def test_the_connection_that_asks_can_be_ended_itself(server):
    line = http.client.HTTPConnection(*server.http, timeout=30)
    headers = {"x-logstore": "1"}
    line.request("GET", "/api/v1/connections?door=http", headers=headers)
    [me] = json.loads(line.getresponse().read())["items"]
    line.request("DELETE", f"/api/v1/connections/{me['id']}", headers=headers)
    answer = line.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read())["id"] == me["id"]
    assert line.sock is None or line.sock.recv(1) == b""
    line.close()


def test_news_come_as_events(server):
    line = http.client.HTTPConnection(*server.http, timeout=30)
    line.request("GET", "/api/v1/events?view=overview")
    answer = line.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = []
    while not lines or not lines[-1].startswith(b"data: "):
        lines.append(answer.readline())
    assert b"event: figures\n" in lines
    told = json.loads(lines[-1][6:])
    assert told["health"]["state"] in ("ok", "warning")
    assert set(told["flows"]["doors"]) == {"kafka", "resp", "amqp", "http"}
    answer.close()
    line.close()
