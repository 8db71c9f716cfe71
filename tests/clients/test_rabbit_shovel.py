"""``logstore shovel`` between a real rabbitmq-server and ours, either way, also when killed."""

import subprocess
from contextlib import contextmanager

import pika
import pytest
from cli_process import COMMAND, DEADLINE_S
from rabbit_parts import RealRabbit, needs_rabbitmq
from serving import Serving
from waiting import until

pytestmark = [needs_rabbitmq, pytest.mark.foreign]

MESSAGES, KILLS = 2000, 5
PROPERTIES = pika.BasicProperties(
    content_type="text/plain", delivery_mode=2, priority=3, correlation_id="c", reply_to="r",
    expiration="86400000", message_id="m", timestamp=1_700_000_000, type="t", user_id="guest",
    app_id="a", headers={"n": 1, "b": b"\xff", "t": {"x": [True, None, 7]}, "i": 1 << 40},
)  # fmt: skip


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shovel")
    theirs = RealRabbit(folder)
    ours = Serving(folder / "data", amqp_port=0)
    yield {"theirs": theirs, "ours": ours}
    ours.stop()
    theirs.stop()


@contextmanager
def channel_of(server):
    host, port = server.amqp
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
        yield connection.channel()


def counts(server, queue):
    with channel_of(server) as channel:
        found = channel.queue_declare(queue, passive=True).method
        return found.message_count, found.consumer_count


def shovel(servers, way, queue, *words):
    source, target = way.split()[0], way.split()[-1]
    ends = ["amqp://guest:guest@{}:{}".format(*servers[it].amqp) for it in (source, target)]
    words = ["shovel", "--from", ends[0], "--to", ends[1], "--queue", queue, *words]
    return subprocess.Popen([COMMAND, *map(str, words)], stderr=subprocess.PIPE, text=True)


def filled(servers, way, queue, bodies, arguments=None):
    source, target = (servers[way.split()[place]] for place in (0, -1))
    for server in (source, target):
        with channel_of(server) as channel:
            channel.queue_declare(queue, durable=True, arguments=arguments)
    with channel_of(source) as channel:
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish("", queue, body, PROPERTIES)
    return source, target


def fetched(server, queue):
    found = []
    with channel_of(server) as channel:
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            found.append(got)
    return found


WAYS = pytest.mark.parametrize("way", ["theirs to ours", "ours to theirs"])


@WAYS
@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_messages_arrive_as_they_are(servers, way, kind):
    queue, bodies = f"plain {way} {kind}", [b"", b"hello", b"\x00\xff" * 200_000]
    source, target = filled(servers, way, queue, bodies, {"x-queue-type": kind})
    moving = shovel(servers, way, queue)
    _, said = moving.communicate(timeout=DEADLINE_S)
    assert moving.returncode == 0, said
    assert said.startswith("moved 3 messages from queue ")
    found = fetched(target, queue)
    assert [body for _, _, body in found] == bodies
    for _, it, _ in found:
        it.headers.pop("x-delivery-count", None)  # added by their quorum queues
        assert vars(it) == vars(PROPERTIES)
    until(lambda: counts(source, queue)[0] == 0)


@WAYS
def test_what_no_queue_takes_stays(servers, way):
    queue = f"lost {way}"
    source, target = filled(servers, way, queue, [b"1", b"2"])
    with channel_of(target) as channel:
        channel.exchange_declare("nowhere", "fanout")
    moving = shovel(servers, way, queue, "--to-exchange", "nowhere")
    _, said = moving.communicate(timeout=DEADLINE_S)
    assert moving.returncode == 1
    assert "no queue receives messages with the key" in said
    until(lambda: counts(source, queue) == (2, 0))


@WAYS
def test_a_wrong_password_is_one_line(servers, way):
    source = servers[way.split()[0]]
    words = ["--from", "amqp://guest:wrong@{}:{}".format(*source.amqp), "--to", "x", "--queue", "q"]
    done = subprocess.run([COMMAND, "shovel", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "Login was refused" in done.stderr


@WAYS
def test_killed_at_any_moment_it_loses_nothing(servers, way):
    queue = f"killed {way}"
    source, target = filled(servers, way, queue, [b"%d" % n for n in range(MESSAGES)])
    for _ in range(KILLS):
        moving = shovel(servers, way, queue, "--prefetch", 20)
        there = counts(target, queue)[0]
        until(lambda: counts(target, queue)[0] > there or moving.poll() is not None)  # noqa: B023
        moving.kill()
        moving.communicate()
        until(lambda: counts(source, queue)[1] == 0)
    moving = shovel(servers, way, queue)
    _, said = moving.communicate(timeout=DEADLINE_S)
    assert moving.returncode == 0, said
    assert {int(body) for _, _, body in fetched(target, queue)} == set(range(MESSAGES))
