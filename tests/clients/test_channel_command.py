"""``logstore channel`` against a running server."""

import base64
import json
import signal
import subprocess

import pytest
import redis
from kept_channels import keeping_orders
from serving import COMMAND, DEADLINE_S, Serving

pytestmark = pytest.mark.long


def run(server, *words, code=0, **options):
    done = subprocess.run(
        [COMMAND, "channel", *words, "--data", server.data], capture_output=True, text=True,
        timeout=DEADLINE_S, check=False, **options,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def listen(server):
    """listen("subscribe", NAME...) -> a process that listens already"""
    running = []

    def begin(*words):
        process = subprocess.Popen(
            [COMMAND, "channel", *words, "--data", server.data], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        running.append(process)
        assert process.stderr.readline().startswith("listening to ")
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


def test_what_is_published_is_printed(server, listen, topic):
    one, two = (
        listen("subscribe", topic, "other", "--max", "3"),
        listen("psubscribe", "t*", "--json"),
    )
    assert (
        run(server, "publish", topic, "hello") == f"published 1 message to {topic}: 2 deliveries\n"
    )
    assert run(server, "publish", topic, "--from-stdin", input="a\nb b\n") == (
        f"published 2 messages to {topic}: 4 deliveries\n"
    )
    assert one.communicate(timeout=DEADLINE_S)[0] == "hello\na\nb b\n"
    assert one.returncode == 0
    first = json.loads(two.stdout.readline())
    assert first == {"channel": topic, "payload": "hello", "pattern": "t*"}
    two.send_signal(signal.SIGINT)
    two.communicate(timeout=DEADLINE_S)
    assert two.returncode == 130


def test_bytes_that_are_no_text_are_told_apart_in_json(server, listen, topic):
    """The two bytes ff fe, and the eight characters that they were shown as."""
    listening = listen("psubscribe", f"{topic}*", "--json", "--max", "3")
    publisher = redis.Redis(*server.redis)
    payloads = (b"\xff\xfe", rb"\xff\xfe", b"text")
    for payload in payloads:
        publisher.publish(topic.encode() + b"\xff", payload)
    shown = [json.loads(line) for line in listening.communicate(timeout=DEADLINE_S)[0].splitlines()]
    assert [(it["payload"], it.get("payload_encoding")) for it in shown] == [
        ("//4=", "base64"), (r"\xff\xfe", None), ("text", None),
    ]  # fmt: skip
    for it in shown:
        assert base64.b64decode(it["channel"]) == topic.encode() + b"\xff"
        assert (it["channel_encoding"], it["pattern"]) == ("base64", f"{topic}*")


def test_channels_whose_names_are_no_text_are_told_apart_in_json(server, topic):
    names = (b"\xff" + topic.encode(), rb"\xff" + topic.encode())
    with redis.Redis(*server.redis).pubsub() as subscriber:
        subscriber.subscribe(*names)
        for _ in names:
            assert subscriber.get_message(timeout=DEADLINE_S)["type"] == "subscribe"
        listed = json.loads(run(server, "list", f"*{topic}", "--json"))
    assert {(it["channel"], it.get("channel_encoding")) for it in listed} == {
        (base64.b64encode(names[0]).decode(), "base64"), (names[1].decode(), None),
    }  # fmt: skip


def test_lines_are_published_as_they_come(server, listen, topic):
    listening = listen("subscribe", topic)
    with subprocess.Popen(
        [COMMAND, "channel", "publish", topic, "--from-stdin", "--data", server.data], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as publishing:  # fmt: skip
        for word in ("one", "two"):
            publishing.stdin.write(word + "\n")
            publishing.stdin.flush()
            assert listening.stdout.readline() == word + "\n"
        assert publishing.communicate(timeout=DEADLINE_S)[0].startswith("published 2 messages")


def test_a_line_is_published_as_it_stands(server, listen, topic):
    listening = listen("subscribe", topic, "--json", "--max", "2")
    run(server, "publish", topic, "--from-stdin", input="a\r\nb\n")
    out = listening.communicate(timeout=DEADLINE_S)[0]
    assert [json.loads(line)["payload"] for line in out.splitlines()] == ["a\r", "b"]


def test_ten_thousand_lines_come_in_order(server, listen, topic):
    listening = listen("subscribe", topic, "--max", "10000")
    lines = "".join(f"{number}\n" for number in range(10_000))
    publishing = subprocess.Popen(
        [COMMAND, "channel", "publish", topic, "--from-stdin", "--data", server.data], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    publishing.stdin.write(lines)
    publishing.stdin.close()
    publishing.stdin = None
    assert listening.communicate(timeout=DEADLINE_S)[0] == lines
    assert "10,000 deliveries" in publishing.communicate(timeout=DEADLINE_S)[0]


def test_who_listens_is_listed(server, listen, topic):
    listen("subscribe", topic)
    assert run(server, "list", topic).split() == ["CHANNEL", "SUBSCRIBERS", topic, "1"]
    assert json.loads(run(server, "list", topic, "--json")) == [
        {"channel": topic, "subscribers": 1}
    ]


@pytest.fixture
def keeping(tmp_path):
    """A server whose channels orders.* keep a history; in two of them there are messages."""
    running = Serving(keeping_orders(tmp_path / "data"))
    for name, count in (("orders.eu", 30), ("orders.us", 1)):
        lines = "".join(f"{name} {number}\n" for number in range(count))
        run(running, "publish", name, "--from-stdin", input=lines)
    yield running
    running.stop()


def test_channels_with_a_history_are_listed_without_subscribers(keeping):
    run(keeping, "publish", "news", "kept by nobody")
    found = json.loads(run(keeping, "list", "--json"))
    assert found == [{"channel": f"orders.{it}", "subscribers": 0} for it in ("eu", "us")]
    assert run(keeping, "list", "orders.u*").split() == ["CHANNEL", "SUBSCRIBERS", "orders.us", "0"]
    assert run(keeping, "list", "--server", "{}:{}".format(*keeping.redis)).split() == [
        "CHANNEL", "SUBSCRIBERS",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "first"), [("27", 27), ("-3", 27), ("earliest", 0), ("2000-01-01", 0), ("-1h", 0)]
)
def test_who_subscribes_late_reads_the_past_and_goes_on(keeping, place, first):
    words = ("subscribe", "orders.eu", "--from", place, "--max", str(31 - first))
    with subprocess.Popen(
        [COMMAND, "channel", *words, "--data", keeping.data], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as late:  # fmt: skip
        assert late.stderr.readline() == "listening to orders.eu\n"
        assert late.stdout.readline() == f"orders.eu {first}\n"
        run(keeping, "publish", "orders.eu", "new")
        rest = [f"orders.eu {number}\n" for number in range(first + 1, 30)]
        assert late.stdout.read() == "".join([*rest, "new\n"])
    assert late.returncode == 0


def test_the_past_of_several_channels_as_json(keeping):
    words = ("subscribe", "orders.us", "orders.eu", "--from", "-2", "--max", "3", "--json")
    shown = [json.loads(line) for line in run(keeping, *words).splitlines()]
    assert [(it["channel"], it["offset"], it["payload"]) for it in shown] == [
        ("orders.us", 0, "orders.us 0"),
        ("orders.eu", 28, "orders.eu 28"),
        ("orders.eu", 29, "orders.eu 29"),
    ]
    assert all(it["timestamp"].startswith("20") for it in shown)


def test_a_past_that_is_not_there(keeping):
    said = run(keeping, "subscribe", "orders.eu", "news", "--from", "0", code=1)
    assert said == (
        f"logstore: channel news keeps no history: give {keeping.data}/logstore.toml a [[channel]]"
        " table whose pattern matches it, and restart the server\n"
    )
    assert "listening" not in said
    said = run(keeping, "subscribe", "orders.eu", "--from", "99", code=1)
    assert "offset 99 is above the end" in said
    assert "ERR" not in said
    assert "is not a time" in run(keeping, "subscribe", "orders.eu", "--from", "soon", code=2)


def test_latest_is_what_there_is_without_a_place(keeping):
    words = ("subscribe", "news", "--from", "latest", "--max", "1")
    with subprocess.Popen(
        [COMMAND, "channel", *words, "--data", keeping.data], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as listening:  # fmt: skip
        assert listening.stderr.readline() == "listening to news\n"
        run(keeping, "publish", "news", "new")
        assert listening.stdout.read() == "new\n"


def test_mistakes_are_one_line(server, tmp_path):
    assert "MESSAGE or --from-stdin" in run(server, "publish", "a", code=2)
    assert "is not HOST:PORT" in run(server, "list", "--server", "x", code=2)
    assert "can't connect to a server" in run(server, "list", "--server", "127.0.0.1:1", code=1)
    done = subprocess.run(
        [COMMAND, "channel", "list", "--data", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"logstore: {tmp_path}: no server has this directory open for Redis clients: run "
        f"`logstore serve`, or name a server with --server HOST:PORT\n"
    )
