"""The Redis door with the clients that people use: redis-cli, redis-benchmark, redis-py; and with
ioredis and node-redis where Node is there and npm can fetch them.
"""

import asyncio
import fcntl
import os
import pty
import resource
import select
import signal
import socket
import struct
import subprocess
import termios

import pytest
import redis
import redis.asyncio
from node_clients import both_of_node, needs_node
from redis_parts import DEADLINE_S, Raw, needs_tools, request
from serving import COMMAND, Serving, resident_bytes

pytestmark = pytest.mark.long


@pytest.fixture
def client(server):
    made = []

    def connect(**options):
        host, port = server.redis
        made.append(redis.Redis(host=host, port=port, socket_timeout=DEADLINE_S, **options))
        return made[-1]

    yield connect
    for it in made:
        it.close()


def next_message(listener):
    """What comes next, told apart from confirmations."""
    while True:
        found = listener.get_message(timeout=DEADLINE_S)
        assert found is not None
        if found["type"].endswith("message"):
            return found


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(client, topic, protocol):
    publisher = client(protocol=protocol, client_name="publisher")
    assert publisher.ping()
    assert publisher.client_getname() in ("publisher", b"publisher")
    with client(protocol=protocol).pubsub() as listener:
        listener.subscribe(topic)
        listener.psubscribe(topic[:-1] + "?")
        assert listener.get_message(timeout=DEADLINE_S)["data"] == 1
        assert listener.get_message(timeout=DEADLINE_S)["data"] == 2
        assert publisher.publish(topic, b"\x00\r\n") == 2
        assert next_message(listener) == {
            "type": "message", "pattern": None, "channel": topic.encode(), "data": b"\x00\r\n",
        }  # fmt: skip
        assert next_message(listener)["pattern"] == topic[:-1].encode() + b"?"
        assert publisher.pubsub_numsub(topic) == [(topic.encode(), 1)]
        assert publisher.pubsub_channels(topic) == [topic.encode()]
        assert publisher.pubsub_numpat() >= 1
        listener.unsubscribe(topic)
        assert listener.get_message(timeout=DEADLINE_S)["type"] == "unsubscribe"
        with publisher.pipeline(transaction=True) as transaction:
            for number in range(100):
                transaction.publish(topic, str(number))
            assert transaction.execute() == [1] * 100
        got = [next_message(listener)["data"] for _ in range(100)]
        assert got == [b"%d" % number for number in range(100)]
        assert listener.ping() is None
    assert publisher.info()["loading"] == 0
    assert publisher.config_get("maxclients") == {"maxclients": "10000"}
    assert publisher.get("a") is None


def test_a_harness_that_empties_its_database_first_can_run(client):
    """As redis-py's own tests begin and end, and those of most who test against Redis."""
    ours = client(db=9)
    info = ours.info()
    assert (info["arch_bits"], info["cluster_enabled"], info["redis_mode"]) == (64, 0, "standalone")
    assert info["used_memory"] > 1 << 20
    assert info["used_cpu_user"] > 0
    assert ours.info("stats")["total_net_output_bytes"] > 1000  # that answer was
    assert ours.info("everything").keys() > ours.info("server", "keyspace").keys()
    assert ours.flushdb()
    assert ours.flushall(asynchronous=True)
    assert ours.dbsize() == 0
    assert ours.keys() == list(ours.scan_iter("a*")) == []
    assert ours.exists("a", "b") == ours.delete("a", "b") == ours.unlink("a") == 0
    assert (ours.type("a"), ours.ttl("a"), ours.pttl("a")) == (b"none", -2, -2)
    assert ours.randomkey() is None
    with ours.pipeline() as transaction:
        transaction.watch("a")
        transaction.multi()
        transaction.publish("a", "b")
        assert transaction.execute() == [0]


def test_who_asks_for_what_is_not_there_is_told_so(client):
    ours = client()
    with pytest.raises(redis.ResponseError, match="runs no Lua"):
        ours.eval("return 1", 0)
    with pytest.raises(redis.ResponseError, match=r"^unknown command 'NOPE', with args [^(]*$"):
        ours.execute_command("NOPE", "a")


def test_redis_py_sharded(client, topic):
    publisher = client()
    with client().pubsub() as listener:
        listener.ssubscribe(topic)
        listener.get_sharded_message(timeout=DEADLINE_S)
        assert publisher.spublish(topic, "x") == 1
        assert listener.get_sharded_message(timeout=DEADLINE_S)["data"] == b"x"


def test_redis_py_asyncio(server, topic):
    host, port = server.redis

    async def run():
        client = redis.asyncio.Redis(host=host, port=port, protocol=3)
        async with client, client.pubsub() as listener:
            await listener.subscribe(topic)
            await client.publish(topic, "before")
            receivers = await asyncio.gather(
                *(client.publish(topic, str(number)) for number in range(50))
            )
            assert receivers == [1] * 50
            got = []
            async for message in listener.listen():
                if message["type"] == "message":
                    got.append(message["data"])
                if len(got) == 51:
                    break
        assert got[0] == b"before"
        assert sorted(got[1:]) == sorted(str(number).encode() for number in range(50))

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


def cli(server, *words, **options):
    command = ["redis-cli", "-h", server.redis[0], "-p", str(server.redis[1]), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE_S, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_tools
def test_redis_cli(server, topic):
    assert cli(server, "PING") == "PONG\n"
    assert cli(server, "-3", "PUBLISH", topic, "x") == "0\n"
    assert cli(server, "PUBLISH", topic, "x") == "0\n"
    assert cli(server, input=f"PING\nPUBLISH {topic} 'a b'\nMULTI\nPING\nEXEC\n") == (
        "PONG\n0\nOK\nQUEUED\nPONG\n"
    )
    assert cli(server, "GET", "x") == "\n"


@needs_tools
@pytest.mark.parametrize("version", [[], ["-3"]])
def test_redis_cli_listens(server, topic, version):
    command = ["redis-cli", "-h", server.redis[0], "-p", str(server.redis[1]), *version]
    with subprocess.Popen(
        [*command, "--no-raw", "SUBSCRIBE", topic], stdout=subprocess.PIPE, text=True
    ) as listening:
        lines = iter(listening.stdout.readline, "")
        assert any("(integer) 1" in line for line in lines)
        assert cli(server, "PUBLISH", topic, "hello") == "1\n"
        assert any('"hello"' in line for line in lines)
        listening.terminate()


@needs_tools
def test_redis_cli_at_a_terminal(server, topic):
    """It asks for COMMAND DOCS first, for its hints."""
    main, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = ["redis-cli", "-h", server.redis[0], "-p", str(server.redis[1])]
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=environment
    ) as shell:
        os.close(follower)
        shown, typed = b"", False
        try:
            while b"(integer) 0" not in shown:
                assert select.select([main], [], [], DEADLINE_S)[0], shown
                shown += os.read(main, 1 << 16)
                if not typed and shown.endswith(b"> "):
                    typed = bool(os.write(main, f"publish {topic} x\r".encode()))
        finally:
            shell.terminate()
            os.close(main)


@needs_tools
def test_redis_benchmark(server, topic):
    command = ["redis-benchmark", "-h", server.redis[0], "-p", str(server.redis[1]), "--csv"]
    for words in (
        ["-t", "ping"],
        ["-P", "16", "PUBLISH", topic, "x"],
        ["-3", "PUBLISH", topic, "x"],
    ):
        done = subprocess.run(
            [*command, "-n", "2000", "-c", "20", *words], capture_output=True, text=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) >= 2, done.stdout


@needs_tools
@pytest.mark.parametrize("words", [[], ["-P", "16", "-r", "1000"], ["-3", "--threads", "2"]])
def test_redis_benchmark_with_all_that_it_does_by_itself(server, words):
    command = ["redis-benchmark", "-h", server.redis[0], "-p", str(server.redis[1]), "--csv"]
    done = subprocess.run(
        [*command, "-n", "500", "-c", "20", *words], capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split(",")[0].strip('"') for line in done.stdout.splitlines()]
    assert rows == [
        "test", "PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP",
        "RPOP", "SADD", "HSET", "SPOP", "ZADD", "ZPOPMIN", "LPUSH (needed to benchmark LRANGE)",
        "LRANGE_100 (first 100 elements)", "LRANGE_300 (first 300 elements)",
        "LRANGE_500 (first 500 elements)", "LRANGE_600 (first 600 elements)", "MSET (10 keys)",
    ]  # fmt: skip


@needs_tools
def test_redis_cli_looks_through_the_keys(client, server):
    keys = client(db=9)
    keys.mset({"s:1": "x" * 100, "s:2": "y"})
    keys.rpush("list", *range(30))
    keys.hset("hash", mapping={"f": 1, "g": 2})
    keys.sadd("set", "a", "b", "c")
    keys.zadd("zset", {"a": 1, "b": 2, "c": 3, "d": 4})
    try:
        found = cli(server, "-n", "9", "--bigkeys")
        assert "Sampled 6 keys in the keyspace!" in found
        for line in (
            "string found '\"s:1\"' has 100 bytes", "list found '\"list\"' has 30 items",
            "hash found '\"hash\"' has 2 fields", "set found '\"set\"' has 3 members",
            "zset found '\"zset\"' has 4 members", "2 strings with 101 bytes",
        ):  # fmt: skip
            assert line in found
        assert "Biggest string found '\"s:1\"'" in cli(server, "-n", "9", "--memkeys")
        assert sorted(cli(server, "-n", "9", "--scan").split()) == [
            "hash", "list", "s:1", "s:2", "set", "zset",
        ]  # fmt: skip
        assert sorted(cli(server, "-n", "9", "--scan", "--pattern", "s*").split()) == [
            "s:1", "s:2", "set",
        ]  # fmt: skip
        told = cli(server, "-n", "9", "--pipe", input="SET p 1\r\nSET q 2\r\nINCR p\r\n")
        assert told.endswith("errors: 0, replies: 3\n")
        assert keys.get("p") == b"2"
    finally:
        keys.flushdb()


@needs_node
def test_node_clients(server, topic, tmp_path):
    assert both_of_node(tmp_path, *server.redis, topic) == [[["1", "2", "3"], [1, 1, 1]]] * 2


# What a crowd and a slow reader may do


def test_a_slow_reader_is_cut_off_and_nobody_else_notices(start):
    server = start(resp_client_output_buffer_limit="1mb 0 0")
    slow, quick, publisher = Raw(server), Raw(server), Raw(server)
    for it in (slow, quick):
        it.send(request("SUBSCRIBE", "a"))
        it.until(b":1\r\n")
    message = len(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$100000\r\n\r\n") + 100_000
    for number in range(300):
        publisher.send(request("PUBLISH", "a", b"x" * 100_000) + request("ECHO", number))
        publisher.until(b"$%d\r\n%d\r\n" % (len(str(number)), number))
        left = message
        while left:
            data = quick.socket.recv(left)
            assert data
            left -= len(data)
    publisher.send(request("INFO", "stats") + request("ECHO", "done"))
    assert b"client_output_buffer_limit_disconnections:1\r\n" in publisher.until(b"done\r\n")
    assert publisher.got.startswith(b":2\r\n")
    assert b":1\r\n$3\r\n299\r\n" in publisher.got
    assert len(slow.until(b"never")) < 20_000_000
    for it in (slow, quick, publisher):
        it.close()
    code, errors = server.stop()
    assert code == 0
    assert errors.count("client-output-buffer-limit") == 1


def test_one_client_too_many_is_told_so(start):
    server = start(resp_maxclients=2)
    connections = [Raw(server) for _ in range(2)]
    for it in connections:
        it.send(request("PING"))
        it.until(b"PONG")
    refused = Raw(server)
    assert refused.until(b"never") == b"-ERR max number of clients reached\r\n"
    connections[0].send(request("CONFIG", "SET", "maxclients", "3"))
    connections[0].until(b"OK")
    let_in = Raw(server)
    let_in.send(request("PING"))
    let_in.until(b"PONG")
    for it in (*connections, refused, let_in):
        it.close()


def test_a_port_in_use_names_its_setting(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [COMMAND, "serve", "--data", tmp_path, "--kafka-port", "0", "--resp-port", port,
             "--amqp-port", "-1", "--mqtt-port", "-1", "--stomp-port", "-1", "--http-port", "-1"],
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        f"logstore: 127.0.0.1:{port}: can't listen: Address already in use; choose "
        f"another address with --host (listen.host) and --resp-port (resp.port; -1: no port for "
        f"Redis clients)\n"
    )


def test_without_a_redis_door(tmp_path):
    server = Serving(tmp_path / "data", resp_port=-1)
    server.process.send_signal(signal.SIGTERM)
    told = server.process.stdout.read().decode().splitlines()
    assert [line.split()[0] for line in told] == ["stopping", "stopped"]  # no door but Kafka's
    assert server.stop() == (0, "")


def test_five_thousand_subscribers_are_cheap(start):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 5100:
        pytest.skip(f"this process may open {most} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = start()
    before = resident_bytes(server)
    listeners = [Raw(server) for _ in range(5000)]
    for number, it in enumerate(listeners):
        it.send(request("SUBSCRIBE", f"own {number}", "all"))
    for it in listeners:
        it.until(b":2\r\n")
    publisher = Raw(server)
    publisher.send(request("PUBLISH", "own 7", "x") + request("PUBLISH", "all", "the end"))
    assert publisher.until(b"\r\n:5000\r\n") == b":1\r\n:5000\r\n"
    for it in listeners:
        it.until(b"the end\r\n")
    assert resident_bytes(server) - before < 5000 * 8192
    for it in (*listeners, publisher):
        it.close()


@pytest.mark.long
def test_what_config_rewrite_kept_holds_at_the_next_start(start, tmp_path):
    first = start(resp_maxclients=50)
    raw = Raw(first)
    asked = ("maxmemory", "9mb", "maxmemory-policy", "volatile-ttl", "appendfsync", "everysec",
             "notify-keyspace-events", "KEx", "maxclients", "50")  # fmt: skip
    raw.send(request("CONFIG", "SET", *asked) + request("CONFIG", "REWRITE") + request("QUIT"))
    assert raw.until(b"+OK\r\n+OK\r\n+OK\r\n")
    assert first.stop()[0] == 0
    raw = Raw(start())
    names = sorted(asked[:-2:2])
    raw.send(request("CONFIG", "GET", *names) + request("QUIT"))
    raw.until(b"+OK\r\n")
    assert raw.got.split(b"\r\n")[2:-2:2] == [
        b"appendfsync", b"everysec", b"maxmemory", b"9437184", b"maxmemory-policy",
        b"volatile-ttl", b"notify-keyspace-events", b"xKE",
    ]  # fmt: skip
