"""``logstore shovel`` between servers of ours, killed, stopped and refused on its way."""

import signal
from contextlib import contextmanager

import pika
import pytest
from waiting import until

pytestmark = pytest.mark.long

EVERYTHING = pika.BasicProperties(
    content_type="text/plain", content_encoding="none", delivery_mode=2, priority=3,
    correlation_id="c", reply_to="r", expiration="86400000", message_id="m",
    timestamp=1_700_000_000,
    type="t", app_id="a", cluster_id="x",
    headers={"n": 1, "b": b"\xff", "t": {"x": [True, None, 7]}, "s": "text", "i": 1 << 40},
)  # fmt: skip


@pytest.fixture
def sides(tmp_path, start_serving):
    """Two servers."""
    return [start_serving(tmp_path / name, amqp_port=0) for name in ("from", "to")]


@contextmanager
def channel_of(server):
    host, port = server.amqp
    with pika.BlockingConnection(pika.ConnectionParameters(host, port)) as connection:
        yield connection.channel()


def declare(server, queue="q", **arguments):
    given = {f"x-{name.replace('_', '-')}": value for name, value in arguments.items()}
    with channel_of(server) as channel:
        channel.queue_declare(queue, durable=True, arguments=given)


def publish(server, *bodies, properties=None, queue="q"):
    with channel_of(server) as channel:
        channel.confirm_delivery()
        for body in bodies:
            channel.basic_publish("", queue, body, properties or EVERYTHING, mandatory=True)


def ready(server, queue="q"):
    with channel_of(server) as channel:
        return channel.queue_declare(queue, passive=True).method.message_count


def fetched(server, queue="q"):
    found = []
    with channel_of(server) as channel:
        while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
            found.append(got)
    return found


def uri(server):
    return "amqp://guest:guest@{}:{}".format(*server.amqp)


def numbers(count):
    return [b"%d" % n for n in range(count)]


def test_messages_are_moved_with_all_that_they_have(logstore, sides, tmp_path):
    source, target = sides
    declare(source)
    declare(target)
    publish(source, b"hello", b"", b"\x00\xff" * 200_000)
    done = logstore("shovel", "--from", tmp_path / "from", "--to", uri(target), "--queue", "q")
    assert done.err.startswith("moved 3 messages from queue q at ")
    assert done.err.count("\n") == 1
    assert "guest" not in done.err
    assert ready(source) == 0
    found = fetched(target)
    assert [body for _, _, body in found] == [b"hello", b"", b"\x00\xff" * 200_000]
    for method, properties, _ in found:
        assert properties == EVERYTHING
        assert (method.routing_key, method.redelivered) == ("q", False)


def test_all_queues_that_last_go_with_one_command(logstore, sides, tmp_path):
    source, target = sides
    words = ("shovel", "--from", tmp_path / "from", "--to", tmp_path / "to", "--all")
    assert logstore(*words).err.startswith("moved 0 messages: every durable queue at ")
    for name in ("a", "b c", "empty"):
        declare(source, name)
    for name in ("a", "b c"):
        declare(target, name)
        publish(source, *numbers(5), queue=name)
    declare(source, "topic", queue_type="stream")
    publish(source, b"stays", queue="topic")
    with channel_of(source) as channel:
        channel.queue_declare("short")
        channel.basic_publish("", "short", b"stays")
        done = logstore(*words)
    assert [line.split(" at ")[0] for line in done.err.splitlines()] == [
        "moved 5 messages from queue a", "moved 5 messages from queue b c",
    ]  # fmt: skip
    for name in ("a", "b c"):
        assert [body for _, _, body in fetched(target, name)] == numbers(5)
    assert ready(source, "a") == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "use --queue QUEUE or --all"),
        (("--all", "--queue", "q"), "use --queue QUEUE or --all"),
        (("--all", "--limit", "1"), "--all moves each queue once"),
        (("--all", "--to-queue", "r"), "--all moves each queue once"),
    ],
)
def test_one_queue_is_meant_or_all(logstore, tmp_path, words, text):
    places = ("--from", tmp_path / "a", "--to", tmp_path / "b")
    assert text in logstore("shovel", *places, *words, code=2).err


def test_all_are_those_of_a_directory(logstore, tmp_path):
    words = ("shovel", "--from", "amqp://rabbit", "--to", tmp_path / "b", "--all")
    assert "--all needs a data directory" in logstore(*words, code=2).err


def test_so_many_go_to_another_queue_as_are_asked_for(logstore, sides, tmp_path):
    source, target = sides
    declare(source)
    declare(target, "other")
    publish(source, *numbers(20))
    words = ("shovel", "--from", uri(source), "--to", tmp_path / "to", "--queue", "q")
    done = logstore(*words, "--to-queue", "other", "--limit", "7")
    assert done.err.startswith("moved 7 messages from queue q at ")
    assert [body for _, _, body in fetched(target, "other")] == numbers(7)
    assert sorted(int(body) for _, _, body in fetched(source)) == list(range(7, 20))


def test_an_exchange_gets_each_with_its_key_or_all_with_one(logstore, sides):
    source, target = sides
    with channel_of(source) as channel:
        channel.exchange_declare("e", "fanout")
        channel.queue_declare("q", durable=True)
        channel.queue_bind("q", "e")
        for key in ("a.1", "b.2"):
            channel.basic_publish("e", key, key.encode())
    with channel_of(target) as channel:
        channel.exchange_declare("events", "topic")
        channel.queue_declare("all", durable=True)
        channel.queue_bind("all", "events", "#")
    words = ("shovel", "--from", uri(source), "--to", uri(target), "--queue", "q")
    logstore(*words, "--to-exchange", "events")
    assert [(it.routing_key, body) for it, _, body in fetched(target, "all")] == [
        ("a.1", b"a.1"), ("b.2", b"b.2")
    ]  # fmt: skip
    publish(source, b"3")
    logstore(*words, "--to-exchange", "events", "--key", "one")
    assert [it.routing_key for it, _, _ in fetched(target, "all")] == ["one"]


def test_what_no_queue_takes_stays_at_the_source_and_the_rest_is_moved(logstore, sides):
    source, target = sides
    with channel_of(source) as channel:
        channel.exchange_declare("e", "fanout")
        channel.queue_declare("q", durable=True)
        channel.queue_bind("q", "e")
        for n in range(9):
            channel.basic_publish("e", "lost" if n == 4 else "found", b"%d" % n)
    with channel_of(target) as channel:
        channel.exchange_declare("events", "direct")
        channel.queue_declare("found", durable=True)
        channel.queue_bind("found", "events", "found")
    words = ("shovel", "--from", uri(source), "--to", uri(target), "--queue", "q")
    done = logstore(*words, "--to-exchange", "events", code=1)
    assert "no queue receives messages with the key 'lost' at exchange 'events'" in done.err
    assert done.err.count("\n") == 1
    there = [body for _, _, body in fetched(target, "found")]
    left = [body for _, _, body in fetched(source)]
    assert b"4" in left
    assert sorted(there + left) == numbers(9)  # each once


def test_a_full_queue_is_tried_again_and_then_given_up(logstore, sides):
    source, target = sides
    declare(source)
    declare(target, max_length=5, overflow="reject-publish")
    publish(source, *numbers(20))
    words = ("shovel", "--from", uri(source), "--to", uri(target), "--queue", "q")
    done = logstore(*words, "--give-up-after", "0.2", code=1)
    assert "has no room for" in done.err
    there = [body for _, _, body in fetched(target)]
    assert len(there) == 5
    assert sorted(there + [body for _, _, body in fetched(source)], key=int) == numbers(20)


def test_a_queue_from_which_nothing_comes_is_given_up(logstore, sides):
    source, target = sides
    declare(source, "stream", queue_type="stream")
    declare(source, "single", single_active_consumer=True)
    declare(target)
    words = ("shovel", "--from", uri(source), "--to", uri(target), "--to-queue", "q")
    with channel_of(source) as channel:
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume("single", lambda *_: None)
        for queue in ("stream", "single"):
            publish(source, *numbers(3), queue=queue)
            done = logstore(*words, "--queue", queue, "--give-up-after", "0.1", code=1)
            assert f"queue '{queue}' delivers nothing, although" in done.err
            assert done.err.count("\n") == 1
    assert (ready(source, "stream"), ready(source, "single"), ready(target)) == (3, 3, 0)


def test_a_full_queue_takes_the_rest_once_it_has_room(spawn, sides):
    source, target = sides
    declare(source)
    declare(target, max_length=5, overflow="reject-publish")
    publish(source, *numbers(12))
    words = ("shovel", "--from", uri(source), "--to", uri(target), "--queue", "q")
    shovel = spawn(*words)
    found = []
    while len(found) < 12:
        found += [int(body) for _, _, body in fetched(target)]
    code, _, err = shovel.end()
    assert (code, sorted(found)) == (0, list(range(12)))
    assert "trying again in" in err


def test_a_name_of_another_user_and_counts_of_the_source_are_left_behind(logstore, sides):
    source, target = sides
    declare(source, queue_type="quorum")
    declare(target)
    publish(source, b"1", properties=pika.BasicProperties(
        user_id="guest", headers={"x-delivery-count": 7, "mine": 1}))  # fmt: skip
    with channel_of(source) as channel:
        method, _, _ = channel.basic_get("q")
        channel.basic_nack(method.delivery_tag, requeue=True)
    logstore("shovel", "--from", uri(source), "--to", uri(target), "--queue", "q")
    ((_, properties, _),) = fetched(target)
    assert (properties.headers, properties.user_id) == ({"mine": 1}, "guest")


def test_copies_that_the_sender_wanted_are_not_made_again(logstore, sides):
    source, target = sides
    declare(source)
    for name in ("q", "copy"):
        declare(target, name)
    publish(source, b"1", properties=pika.BasicProperties(headers={"CC": ["copy"], "mine": 1}))
    logstore("shovel", "--from", uri(source), "--to", uri(target), "--queue", "q")
    assert ready(target, "copy") == 0
    assert [it.headers for _, it, _ in fetched(target)] == [{"mine": 1}]


MISTAKES = {
    "no such source": (["--from", "amqp://u:secret@127.0.0.1:1", "--to", "TO"], 1, "127.0.0.1:1"),
    "no such target": (["--from", "FROM", "--to", "amqp://127.0.0.1:1"], 1, "127.0.0.1:1"),
    "a wrong password": (["--from", "BAD", "--to", "TO"], 1, "Login was refused"),
    "no such vhost": (["--from", "FROM", "--to", "TO/none"], 1, "no virtual host 'none'"),
    "no queue there": (["--from", "FROM", "--to", "TO", "--to-queue", "none"], 1, "'none'"),
    "no exchange": (["--from", "FROM", "--to", "TO", "--to-exchange", "none"], 1, "'none'"),
    "no server": (["--from", "FROM", "--to", "nothing"], 1,
                  "nothing: no server has this directory open"),
    "the same queue": (["--from", "FROM", "--to", "FROM"], 2, "are the same queue"),
    "another scheme": (["--from", "http://x", "--to", "TO"], 2, "expected amqp://"),
    "both targets": (["--from", "FROM", "--to", "TO", "--to-queue", "a", "--to-exchange", "b"], 2,
                     "not both"),
    "a key of a queue": (["--from", "FROM", "--to", "TO", "--key", "k"], 2, "--to-exchange"),
    "a long name": (["--from", "FROM", "--to", "TO", "--to-queue", "q" * 256], 2, "255 bytes"),
    "nothing at once": (["--from", "FROM", "--to", "TO", "--prefetch", "0"], 2, "--prefetch"),
}  # fmt: skip


def test_mistakes_are_told_in_one_line_and_move_nothing(logstore, sides):
    source, target = sides
    declare(source)
    declare(target)
    publish(source, b"1")
    for what, (words, code, said) in MISTAKES.items():
        bad = uri(source).replace("guest:guest", "guest:secret")
        words = [it.replace("FROM", uri(source)).replace("TO", uri(target)).replace("BAD", bad)
                 for it in words]  # fmt: skip
        done = logstore("shovel", *words, "--queue", "q", code=code)
        assert said in done.err, what
        assert "secret" not in done.err, what
        if code == 1:
            assert done.err.count("\n") == 1, what
    done = logstore("shovel", "--from", uri(source), "--to", uri(target), "--queue", "z", code=1)
    assert "'z'" in done.err
    assert (ready(source), ready(target)) == (1, 0)


def test_a_source_whose_queue_goes_is_told(spawn, sides):
    source, target = sides
    declare(source)
    declare(target)
    publish(source, b"1")
    shovel = spawn("shovel", "--from", uri(source), "--to", uri(target), "--queue", "q", "-f")
    until(lambda: ready(target) == 1)
    with channel_of(source) as channel:
        channel.queue_delete("q")
    code, _, err = shovel.end()
    assert code == 1
    assert "moved 1 message from queue q" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(spawn, sides, number):
    source, target = sides
    declare(source)
    declare(target)
    publish(source, *numbers(50))
    shovel = spawn("shovel", "--from", uri(source), "--to", uri(target), "--queue", "q", "-f")
    until(lambda: ready(target) == 50)
    shovel.send(number)
    code, _, err = shovel.end()
    assert code == 128 + number
    assert "stopped: moved 50 messages" in err
    assert (ready(source), ready(target)) == (0, 50)


def test_a_target_that_comes_back_gets_the_rest(spawn, start_serving, sides, tmp_path):
    source, target = sides
    declare(source)
    declare(target)
    publish(source, b"before")
    shovel = spawn("shovel", "--from", uri(source), "--to", tmp_path / "to", "--queue", "q", "-f")
    until(lambda: ready(target) == 1)
    target.stop(signal.SIGKILL)
    publish(source, *numbers(20))
    assert b"trying again in" in shovel.line("stderr")
    target = start_serving(tmp_path / "to", amqp_port=0)
    until(lambda: ready(target) >= 21)
    shovel.send(signal.SIGTERM)
    shovel.end()
    found = {body for _, _, body in fetched(target)}
    assert found == {b"before", *numbers(20)}
    assert ready(source) == 0


def test_killed_at_any_moment_it_loses_nothing(spawn, sides):
    source, target = sides
    declare(source)
    declare(target)
    publish(source, *numbers(3000), properties=pika.BasicProperties(delivery_mode=2))
    words = ("shovel", "--from", uri(source), "--to", uri(target), "--queue", "q", "--prefetch", 20)
    for _ in range(5):
        shovel = spawn(*words)
        there = ready(target)
        until(lambda: ready(target) > there or shovel.popen.poll() is not None)  # noqa: B023
        shovel.popen.kill()
        shovel.popen.wait()
        until(lambda: consumers(source) == 0)
    code, _, err = spawn(*words[:-2]).end()
    assert code == 0, err
    assert {int(body) for _, _, body in fetched(target)} == set(range(3000))


def consumers(server):
    with channel_of(server) as channel:
        return channel.queue_declare("q", passive=True).method.consumer_count
