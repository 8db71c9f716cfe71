"""Topics and groups of a real server over HTTP, beside Kafka's own client."""

import json
from http.client import HTTPConnection

import pytest
from confluent_kafka import Consumer, Producer
from serving import DEADLINE_S, Serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Serving(tmp_path_factory.mktemp("topics") / "data", resp_port=-1, http_port=0)
    yield server
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors
    assert "a bug" not in errors


class Api:
    def __init__(self, server):
        self.host, self.port = server.http

    def begin(self, method, path, value=None):
        connection = HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
        body = None if value is None else json.dumps(value)
        headers = {"host": "localhost", "x-logstore": "1", "content-type": "application/json"}
        connection.request(method, f"/api/v1/{path}", body, headers)
        return connection, connection.getresponse()

    def ask(self, method, path, value=None, status=200):
        connection, answer = self.begin(method, path, value)
        body = answer.read()
        connection.close()
        assert answer.status == status, body
        return json.loads(body)

    def search(self, topic, value):
        connection, answer = self.begin("POST", f"topics/{topic}/search", value)
        *lines, end = [json.loads(line) for line in answer.read().splitlines()]
        connection.close()
        return [it["record"] for it in lines if "record" in it], end


@pytest.fixture
def api(server):
    return Api(server)


def produced(server, topic, values, **more):
    producer = Producer({"bootstrap.servers": server.address, "partitioner": "murmur2_random"})
    for value in values:
        producer.produce(topic, value, **more)
    assert producer.flush(DEADLINE_S) == 0


def test_what_kafkas_client_writes_is_found_and_the_other_way_round(server, api):
    api.ask("POST", "topics", {"name": "both", "partitions": 2}, 201)
    produced(server, "both", ["from kafka"], key="k", headers=[("h", b"1")])
    [record], end = api.search("both", {"text": "from kafka"})
    assert (record["key"], record["headers"]) == ({"text": "k"}, [["h", {"text": "1"}]])
    assert not end["more"]
    made = api.ask("POST", "topics/both/records", {"key": "k", "value": "from http"}, 201)
    assert made["partition"] == record["partition"]  # of one key
    consumer = Consumer(
        {"bootstrap.servers": server.address, "group.id": "g", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe(["both"])
    values = []
    while len(values) < 2:
        message = consumer.poll(DEADLINE_S)
        assert message.error() is None
        values.append(message.value())
    assert values == [b"from kafka", b"from http"]
    consumer.commit(asynchronous=False)
    group = api.ask("GET", "groups/g")
    [member] = group["members"]
    assert member["assignment"] == [{"topic": "both", "partitions": [0, 1]}]
    assert api.ask("POST", "groups/g/reset", {"to": "earliest"}, 409)["kind"] == "GroupBusy"
    consumer.close()
    moved = api.ask("POST", "groups/g/reset", {"to": "earliest"})
    place = next(it for it in moved["partitions"] if it["partition"] == made["partition"])
    assert (place["from"], place["to"]) == ("2", "0")


@pytest.mark.long
def test_a_topic_is_followed_while_kafkas_client_writes(server, api):
    api.ask("POST", "topics", {"name": "followed", "partitions": 1}, 201)
    connection, events = api.begin("GET", "topics/followed/tail")
    found = []
    written = 0
    while len(found) < 20:
        line = events.readline()
        if line.startswith(b"data: "):
            found += [it["value_preview"]["text"] for it in json.loads(line[6:])["records"]]
            if written <= len(found) and written < 20:
                produced(server, "followed", [f"{at}" for at in range(written, written + 5)])
                written += 5
    connection.close()
    assert found == [str(at) for at in range(20)]


@pytest.mark.long
def test_a_search_of_very_much_holds_nobody_up(server, api):
    api.ask("POST", "topics", {"name": "large", "partitions": 4}, 201)
    for _ in range(4):
        produced(server, "large", [b"%d" % at * 20 for at in range(20_000)])
    connections = [api.begin("POST", "topics/large/search", {"key": "nope"}) for _ in range(8)]
    for _ in range(50):
        assert api.ask("GET", "whoami")["login_needed"] is False
    for connection, answer in connections:
        end = json.loads(answer.read().splitlines()[-1])
        assert (end["more"], end["found"]) == (False, 0)
        assert end["scanned_records"] == "80000"
        connection.close()


@pytest.mark.long
def test_searches_and_followers_that_go_leave_nothing(server, api):
    api.ask("POST", "topics", {"name": "left", "partitions": 8}, 201)
    produced(server, "left", [b"x" * 1000] * 2000)
    for _ in range(30):
        for method, path, value in (
            ("POST", "topics/left/search", {"limit": 500}), ("GET", "topics/left/tail", None),
        ):  # fmt: skip
            connection, _ = api.begin(method, path, value)
            connection.close()
    produced(server, "left", [b"y"] * 10)
    records, _ = api.search("left", {"from": {"last": 3}})
    assert [it["value_preview"]["text"] for it in records] == ["y"] * 3
