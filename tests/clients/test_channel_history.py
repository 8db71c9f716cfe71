"""Channels that keep a history: through both doors, the library, and restarts."""

import subprocess
import time

import confluent_kafka
import confluent_kafka.admin
import pytest
from kept_channels import ORDERS_KEPT, keeping_orders
from redis_parts import Raw, request
from serving import COMMAND, DEADLINE_S, Serving

import logstore
from logstore.errors import InvalidSetting, UnknownSetting

pytestmark = pytest.mark.long


@pytest.fixture
def data(tmp_path):
    return keeping_orders(tmp_path / "data")


@pytest.fixture
def serve(data):
    running, connections = [], []

    def begin(**settings):
        running.append(Serving(data, **settings))
        return running[-1]

    def connect():
        connections.append(Raw(running[-1]))
        return connections[-1]

    begin.connect = connect
    yield begin
    for it in connections:
        it.close()
    for it in running:
        if it.process.poll() is None:
            code, errors = it.stop()
            assert code == 0, errors
            assert "Traceback" not in errors, errors


def ask(connection, *words):
    """The reply, as bytes; what came before it is left out."""
    mark = b"mark %d" % time.monotonic_ns()
    before = len(connection.got)
    connection.send(request(*words) + request("ECHO", mark))
    end = b"$%d\r\n%b\r\n" % (len(mark), mark)
    return connection.until(end)[before : -len(end)]


def entries(reply):
    """[payload] of a CHANNEL.READ reply in RESP2 with payloads without line ends."""
    lines = reply.split(b"\r\n")
    assert lines[0].startswith(b"*"), reply
    return [lines[at + 4] for at in range(1, len(lines) - 5, 5)] if lines[0] != b"*0" else []


def test_it_survives_a_restart_and_can_be_read_again(serve):
    server = serve()
    one = serve.connect()
    assert ask(one, "PUBLISH", "orders.eu", "a") == b":0\r\n"
    assert ask(one, "PUBLISH", "orders.eu", "b") == b":0\r\n"
    assert ask(one, "PUBLISH", "other", "x") == b":0\r\n"
    assert server.stop(9)[0] == -9
    serve()
    two = serve.connect()
    assert entries(ask(two, "CHANNEL.READ", "orders.eu", "FROM", "0")) == [b"a", b"b"]
    ask(two, "PUBLISH", "orders.eu", "c")
    assert entries(ask(two, "CHANNEL.READ", "orders.eu", "FROM", "-2")) == [b"b", b"c"]
    assert entries(ask(two, "CHANNEL.READ", "orders.eu", "FROM", "1", "COUNT", "1")) == [b"b"]
    assert entries(ask(two, "CHANNEL.READ", "orders.eu", "FROM", "2000-01-01")) == [
        b"a",
        b"b",
        b"c",
    ]
    assert entries(ask(two, "CHANNEL.READ", "orders.eu", "FROM", "2999-01-01T00:00Z")) == []
    assert b"-ERR orders.eu-0: offset 99 is above the end" in ask(
        two, "CHANNEL.READ", "orders.eu", "FROM", "99"
    )
    assert b"keeps no history" in ask(two, "CHANNEL.READ", "other", "FROM", "0")
    for words in ((), ("FROM",), ("SINCE", "0")):
        said = ask(two, "CHANNEL.READ", "orders.eu", *words)
        assert said.startswith(b"-ERR syntax error: CHANNEL.READ name FROM offset|time|-N")


def test_who_follows_gets_the_past_and_what_comes(serve):
    serve()
    publisher, follower = serve.connect(), serve.connect()
    ask(publisher, "PUBLISH", "orders.eu", "a")
    follower.send(request("HELLO", "3"))
    follower.send(request("CHANNEL.READ", "orders.eu", "FROM", "0", "FOLLOW"))
    follower.until(b"$1\r\na\r\n")
    for number in range(50):
        ask(publisher, "PUBLISH", "orders.eu", f"n{number:02d}")
    got = follower.until(b"n49\r\n")
    places = [got.index(b">5\r\n$12\r\nchannel.read\r\n$9\r\norders.eu\r\n:%d\r\n" % (number + 1))
              for number in range(50)]  # fmt: skip
    assert places == sorted(places)


def test_subscribers_see_a_channel_like_any_other(serve):
    serve()
    publisher, by_name, by_pattern = (serve.connect() for _ in range(3))
    ask(publisher, "PUBLISH", "orders.eu", "before")
    by_name.send(request("SUBSCRIBE", "orders.eu", "other"))
    by_name.until(b":2\r\n")
    by_pattern.send(request("PSUBSCRIBE", "orders.*"))
    by_pattern.until(b":1\r\n")
    data = request("PUBLISH", "orders.eu", "hello") * 100 + request("ECHO", "done")
    publisher.send(data)
    assert b":2\r\n" * 100 in publisher.until(b"done")
    ask(publisher, "PUBLISH", "orders.eu", "the end")
    message = b"*3\r\n$7\r\nmessage\r\n$9\r\norders.eu\r\n$5\r\nhello\r\n"
    assert message * 100 in by_name.until(b"the end")
    assert by_pattern.until(b"the end").count(b"pmessage") == 101
    assert b"before" not in by_name.got


def test_it_is_a_topic_for_kafka_clients_both_ways(serve):
    server = serve()
    publisher, listener = serve.connect(), serve.connect()
    listener.send(request("SUBSCRIBE", "orders.eu"))
    listener.until(b":1\r\n")
    ask(publisher, "PUBLISH", "orders.eu", "by redis")
    producer = confluent_kafka.Producer({"bootstrap.servers": server.address})
    producer.produce("orders.eu", b"by kafka")
    producer.flush(DEADLINE_S)
    listener.until(b"by kafka\r\n")
    consumer = confluent_kafka.Consumer({"bootstrap.servers": server.address, "group.id": "g"})
    consumer.assign([confluent_kafka.TopicPartition("orders.eu", 0, 0)])
    got = []
    until = time.monotonic() + DEADLINE_S
    while len(got) < 2 and time.monotonic() < until:
        message = consumer.poll(1.0)
        if message is not None and not message.error():
            got.append(message.value())
    consumer.close()
    assert got == [b"by redis", b"by kafka"]


def test_a_slow_subscriber_loses_nothing(serve):
    serve(resp_client_output_buffer_limit="4mb 0 0")
    slow, publisher = serve.connect(), serve.connect()
    slow.send(request("SUBSCRIBE", "orders.eu"))
    slow.until(b":1\r\n")
    for number in range(200):  # 20 MB, and it reads none of them
        assert (
            ask(publisher, "PUBLISH", "orders.eu", b"%03d" % number + b"x" * 100_000) == b":1\r\n"
        )
    ask(publisher, "PUBLISH", "orders.eu", "the end")
    got = bytearray()
    while not got.endswith(b"the end\r\n"):
        data = slow.socket.recv(1 << 20)
        assert data
        got += data
    places = [got.index(b"\r\n%03dxxx" % number) for number in range(200)]
    assert places == sorted(places)
    assert got.count(b"message") == 201
    ask(publisher, "PUBLISH", "orders.eu", "and on")
    slow.until(b"and on")


def test_a_channel_with_a_history_is_named_as_a_topic(serve):
    serve()
    one = serve.connect()
    assert ask(one, "PUBLISH", "orders.a b", "x").startswith(b"-ERR ")
    assert ask(one, "PUBLISH", b"orders.\xff", "x").startswith(b"-ERR channel ")
    assert ask(one, "PUBLISH", "orders.eu", "x" * 2_000_000).startswith(b"-ERR topic 'orders.eu'")
    assert ask(one, "PUBLISH", "orders.eu", "x") == b":0\r\n"


def test_the_library_keeps_it_too(data):
    with logstore.open(data) as store:
        with store.listen("orders.eu") as listener:
            assert store.channel("orders.eu").publish(b"a") == 1
            assert listener.get(DEADLINE_S) == (b"orders.eu", b"a", None)
        store.channel("orders.eu").publish(b"b")
        topic = store.topic("orders.eu")
        assert topic.settings.retention_ms == 3_600_000
    with logstore.open(data) as store:
        assert [record.value for record in store.consumer("orders.eu")] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ('[[channel]]\npattern = "a"\n', InvalidSetting, "needs pattern"),
        (
            '[[channel]]\npattern = "a"\nhistory = "soon"\n',
            InvalidSetting,
            "history 'soon': .*'30m'",
        ),
        (
            '[[channels]]\npattern = "a"\n',
            UnknownSetting,
            r"'channels' \(did you mean \[\[channel\]\]?",
        ),
        ('[[channel]]\npatern = "a"\nhistory = "1h"\n', UnknownSetting, "did you mean pattern?"),
        ('[channel]\npattern = "a"\n', InvalidSetting, "list of tables"),
    ],
)
def test_rules_that_are_wrong_stop_the_start(tmp_path, text, error, says):
    (tmp_path / "logstore.toml").write_text(text)
    with pytest.raises(error, match=says.replace("?", r"\?")):
        logstore.open(tmp_path)
    done = subprocess.run(
        [COMMAND, "serve", "--data", tmp_path], capture_output=True, text=True, check=False,
        timeout=DEADLINE_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_as_many_are_read_as_are_asked_for_however_many_reads_that_takes(serve):
    serve(topic_segment_bytes="1000")
    one = serve.connect()
    given = [b"%d" % n + b"x" * 600 for n in range(5)]
    for it in given:
        ask(one, "PUBLISH", "orders.eu", it)
    assert entries(ask(one, "CHANNEL.READ", "orders.eu", "FROM", "0")) == given
    assert entries(ask(one, "CHANNEL.READ", "orders.eu", "FROM", "1", "COUNT", "3")) == given[1:4]
    large = [b"%d" % n + b"y" * 400_000 for n in range(4)]
    for it in large:
        ask(one, "PUBLISH", "orders.us", it)
    found = entries(ask(one, "CHANNEL.READ", "orders.us", "FROM", "0"))
    assert found == large[: len(found)]
    assert 2 <= len(found) <= 3, "about a megabyte"


def test_no_more_is_read_at_once_whatever_part_of_the_records_is_large(serve):
    server = serve()
    one = serve.connect()
    ask(one, "PUBLISH", "orders.eu", "first")
    producer = confluent_kafka.Producer({"bootstrap.servers": server.address, "linger.ms": 0})
    for n in range(6):
        producer.produce("orders.eu", b"", headers={"h": b"%d" % n + b"x" * 300_000})
        assert producer.flush(DEADLINE_S) == 0
    found = entries(ask(one, "CHANNEL.READ", "orders.eu", "FROM", "1"))
    assert 1 <= len(found) < 6


def test_events_are_told_where_they_are_asked_for(serve):
    server = serve(notify="topics,segments", topic_segment_bytes="1000")
    listener, publisher = serve.connect(), serve.connect()
    listener.send(request("PSUBSCRIBE", "__logstore__:*"))
    listener.until(b":1\r\n")
    for _ in range(3):
        ask(publisher, "PUBLISH", "orders.eu", "x" * 600)
    assert b"__logstore__:topic-created\r\n$9\r\norders.eu\r\n" in listener.until(b"orders.eu-0 2")
    assert b"__logstore__:segment-rolled\r\n$13\r\norders.eu-0 1\r\n" in listener.got
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": server.address})
    admin.delete_topics(["orders.eu"])["orders.eu"].result(DEADLINE_S)
    listener.until(b"topic-deleted\r\n$9\r\norders.eu\r\n")
    assert ask(publisher, "PUBLISH", "orders.eu", "again").startswith((b":0", b"-ERR"))
    assert ask(publisher, "PUBLISH", "orders.eu", "anew") == b":0\r\n"


def test_a_group_that_is_rebalanced_is_told_of(serve):
    server = serve(notify="groups")
    listener, publisher = serve.connect(), serve.connect()
    listener.send(request("SUBSCRIBE", "__logstore__:group-rebalanced"))
    listener.until(b":1\r\n")
    ask(publisher, "PUBLISH", "orders.eu", "x")
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": server.address,
            "group.id": "billing",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["orders.eu"])
    assert consumer.poll(DEADLINE_S).value() == b"x"
    consumer.close()
    listener.until(b"$7\r\nbilling\r\n")


def test_events_are_off_unless_asked_for(serve):
    serve()
    listener, publisher = serve.connect(), serve.connect()
    listener.send(request("PSUBSCRIBE", "*"))
    listener.until(b":1\r\n")
    ask(publisher, "PUBLISH", "orders.eu", "x")
    ask(publisher, "PUBLISH", "end", "x")
    assert b"__logstore__" not in listener.until(b"$3\r\nend\r\n")


def test_events_keep_no_history_though_a_rule_says_so_of_every_channel(serve, data):
    (data / "logstore.toml").write_text(ORDERS_KEPT.replace("orders.*", "*"))
    serve(notify="topics")
    listener, publisher = serve.connect(), serve.connect()
    # Each takes effect when its histories are there: in one request, the event would come before.
    listener.send(request("SUBSCRIBE", "__logstore__:topic-created"))
    listener.send(request("SUBSCRIBE", "orders.eu"))
    listener.until(b":2\r\n")
    listener.until(b"__logstore__:topic-created\r\n$9\r\norders.eu\r\n")
    assert ask(publisher, "PUBLISH", "orders.eu", "kept") == b":1\r\n"
    listener.until(b"$9\r\norders.eu\r\n$4\r\nkept\r\n")
    with logstore.open(data, "read") as store:
        assert store.topics() == ["orders.eu"]
