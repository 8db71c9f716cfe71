"""Users at the Redis door of a real server: redis-py and redis-cli log in, are refused, and change
users; before a login nobody makes the server hold much."""

import asyncio
import logging
import os
import socket
import subprocess

import pytest
import redis
import redis.asyncio
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from kept_channels import keeping_orders
from kept_users_kit import a_user, keep
from node_clients import needs_node, printed
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis_parts import DEADLINE_S, Raw, needs_tools, request
from serving import Serving, resident_bytes

from logstore.access.access import ADMINISTRATOR
from logstore.kept.users import GLOB, KeptRule

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = keeping_orders(tmp_path_factory.mktemp("users") / "data")
    keep(
        data,
        a_user("root", "key", ADMINISTRATOR),
        a_user("al", "pencil"),
        KeptRule("al", "read", "channel", "news.*", GLOB),
        KeptRule("al", "write", "channel", "news.*", GLOB),
        KeptRule("di", "read", "group", "any"),
    )
    running = Serving(data, connection_failed_authentication_delay_ms=0)
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors
    assert "pencil" not in errors


@pytest.fixture
def client(server):
    made = []

    def connect(user="root", password="key", of=server, **options):
        host, port = of.redis
        made.append(
            redis.Redis(host=host, port=port, username=user, password=password,
                        socket_timeout=DEADLINE_S, retry=Retry(NoBackoff(), 0), **options)
        )  # fmt: skip
        return made[-1]

    yield connect
    for it in made:
        it.close()


def until_gone(listener):
    """Read until the connection ends."""
    try:
        while listener.parse_response(block=True) is not None:
            pass
    except redis.ConnectionError:
        return
    raise AssertionError("it goes on")


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_logs_in_and_is_refused_what_is_not_allowed(client, protocol):
    with pytest.raises(redis.AuthenticationError, match="invalid username-password pair"):
        client("al", "no", protocol=protocol).ping()
    with pytest.raises(redis.AuthenticationError):
        client(None, None, protocol=protocol).ping()
    al = client("al", "pencil", protocol=protocol, client_name="al's")
    assert al.ping()
    assert al.acl_whoami() in ("al", b"al")
    with al.pubsub() as listener:
        listener.subscribe("news.it")
        listener.psubscribe("news.*")
        while al.pubsub_numsub("news.it")[0][1] == 0 or al.pubsub_numpat() == 0:
            pass
        assert al.publish("news.it", "hi") == 2
        found = []
        while len(found) < 2:
            message = listener.get_message(timeout=DEADLINE_S)
            found += [message["data"]] if message["type"].endswith("message") else []
        assert found == [b"hi"] * 2
    for refused in (
        lambda: al.publish("other", "x"), al.info, lambda: al.config_get("*"), al.acl_list,
        lambda: al.exists("k"), lambda: al.execute_command("FLUSHALL"),
    ):  # fmt: skip
        with pytest.raises(redis.exceptions.NoPermissionError):
            refused()
    with al.pubsub() as listener:
        listener.psubscribe("new*")
        with pytest.raises(redis.exceptions.NoPermissionError):
            listener.parse_response(block=True)


@pytest.mark.long
@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_s_commands_of_acl(client, protocol):
    root = client(protocol=protocol, decode_responses=True)
    assert root.acl_setuser(
        "bo", enabled=True, reset=True, passwords=["+one"], categories=["+@pubsub", "-@dangerous"],
        commands=["+ping", "+exists", "-publish"], keys=["k*"], channels=["c*"],
        selectors=[("+del", "~d*")],
    )  # fmt: skip
    shown = root.acl_getuser("bo")
    assert shown["enabled"]
    assert "on" in shown["flags"]
    assert shown["keys"] == ["~k*"]
    assert shown["channels"] == ["&c*"]
    assert {"+ping", "+exists", "-publish"} <= set(shown["commands"])
    assert shown["passwords"] == []
    assert set(root.acl_users()) >= {"bo", "root", "al"}
    assert any(line.startswith("user bo on ") for line in root.acl_list())
    assert "pubsub" in root.acl_cat()
    assert "publish" in root.acl_cat("pubsub")
    assert len(root.acl_genpass()) == 64
    assert root.acl_dryrun("bo", "exists", "k1")
    bo = client("bo", "one", protocol=protocol)
    assert bo.exists("k1") == 0
    assert bo.execute_command("DEL", "d1") == 0
    with pytest.raises(redis.exceptions.NoPermissionError):
        bo.publish("c1", "x")
    assert root.acl_log()[0]["username"] == "bo"
    assert root.acl_log_reset()
    assert root.acl_deluser("bo") == 1
    with pytest.raises(redis.ConnectionError):
        client("bo", "one", protocol=protocol).ping()
    assert root.acl_getuser("bo") is None


@pytest.mark.long
def test_a_user_that_loses_a_channel_or_is_deleted_is_cut_off(client):
    root = client()
    root.execute_command("ACL", "SETUSER", "cy", "on", ">pw", "&a", "&b", "+@all")
    with client("cy", "pw").pubsub() as first, client("cy", "pw").pubsub() as second:
        first.subscribe("a")
        second.subscribe("b")
        while root.pubsub_numsub("a", "b") != [(b"a", 1), (b"b", 1)]:
            pass
        root.execute_command("ACL", "SETUSER", "cy", "resetchannels", "&b")
        until_gone(first)
        assert root.publish("b", "x") == 1
        root.execute_command("ACL", "DELUSER", "cy")
        until_gone(second)


@pytest.mark.long
def test_users_made_by_redis_are_there_after_a_restart(start, client):
    first = start()
    root = client(None, None, of=first)
    root.execute_command("ACL", "SETUSER", "default", ">chief")
    root = client(None, "chief", of=first)
    root.execute_command("ACL", "SETUSER", "al", "on", ">pw", "~k", "&c*", "+@all", "(+del ~d)")
    listed = root.execute_command("ACL", "LIST")
    first.stop()
    again = start()
    assert client(None, "chief", of=again).execute_command("ACL", "LIST") == listed
    al = client("al", "pw", of=again)
    assert al.publish("c1", "x") == 0
    with pytest.raises(redis.exceptions.NoPermissionError):
        al.publish("d1", "x")
    with pytest.raises(redis.AuthenticationError):
        client(None, None, of=again).ping()
    with pytest.raises(redis.AuthenticationError):
        client("al", "no", of=again).ping()


@pytest.mark.long
def test_many_connect_at_once_with_one_password(server):
    host, port = server.redis

    async def work():
        pool = redis.asyncio.BlockingConnectionPool(
            host=host, port=port, username="al", password="pencil", max_connections=200,
            timeout=DEADLINE_S,
        )  # fmt: skip
        shared = redis.asyncio.Redis(connection_pool=pool)
        counts = await asyncio.gather(*(shared.publish("news.a", "x") for _ in range(1000)))
        await pool.aclose()
        return counts

    assert asyncio.run(work()) == [0] * 1000


@needs_tools
@pytest.mark.long
def test_redis_cli_logs_in(server):
    host, port = server.redis

    def cli(*words, **environment):
        ran = subprocess.run(
            ["redis-cli", "-h", host, "-p", str(port), *words],
            capture_output=True, text=True, timeout=DEADLINE_S, env={**os.environ, **environment},
        )  # fmt: skip
        return (ran.stdout + ran.stderr).strip()

    assert cli("PING") == "NOAUTH Authentication required."
    words = ("--user", "al", "PUBLISH")
    assert cli(*words, "news.a", "x", REDISCLI_AUTH="pencil") == "0"
    assert cli(*words, "other", "x", REDISCLI_AUTH="pencil") == (
        "NOPERM No permissions to access a channel"
    )
    assert "WRONGPASS" in cli(*words, "news.a", "x", REDISCLI_AUTH="no")
    assert cli("-3", "--user", "root", "ACL", "WHOAMI", REDISCLI_AUTH="key") == "root"


@needs_node
@pytest.mark.long
def test_ioredis_and_node_redis_log_in(server, tmp_path):
    host, port = server.redis
    words = (host, str(port), "news.a", "other", "al", "pencil")
    by_ioredis, by_node_redis = printed(tmp_path, "users.js", *words)
    refused = "NOPERM No permissions to access a channel"
    assert by_ioredis[:2] == by_node_redis[:2] == [0, refused]
    assert "WRONGPASS" in by_node_redis[2]
    assert by_ioredis[2] != 0


@pytest.mark.long
def test_who_never_reads_makes_the_server_hold_nothing_before_a_login(server):
    """CVE-2025-21605: replies to whoever has not logged in piled up."""
    before = resident_bytes(server)
    crowd = [Raw(server) for _ in range(4)]
    data = request("PING") * 10_000
    for connection in crowd:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        connection.socket.setblocking(False)
    sent = quiet = 0
    while quiet < 30 and sent < 64 * MIB:
        went = 0
        for connection in crowd:
            try:
                went += connection.socket.send(data)
            except (BlockingIOError, ConnectionError):  # its time to log in may be over
                continue
        sent += went
        quiet = 0 if went else quiet + 1
        if not went:
            other = Raw(server)  # the others are served, and time goes by
            other.send(request("PING"))
            assert other.until(b"\r\n") == b"-NOAUTH Authentication required.\r\n"
            other.close()
    assert quiet == 30, "it takes all without being read"
    assert resident_bytes(server) - before < 24 * MIB
    for connection in crowd:
        connection.close()


@pytest.mark.parametrize("size", [b"*2147483647\r\n", b"*2\r\n$4\r\nAUTH\r\n$2147483647\r\n"])
def test_a_size_that_is_only_claimed_costs_nothing_before_a_login(server, size):
    before = resident_bytes(server)
    for _ in range(300):
        connection = Raw(server)
        connection.send(size)
        assert b"Protocol error: " in connection.until(b"\r\n")
        connection.until(b"no such thing comes")
        connection.close()
    assert resident_bytes(server) - before < 8 * MIB


@pytest.mark.long
def test_nothing_is_made_for_who_may_not_publish(client):
    al, root = client("al", "pencil"), client()
    for words in (["PUBLISH", "orders.secret", "x"], ["SUBSCRIBE", "orders.secret"]):
        with pytest.raises(redis.exceptions.NoPermissionError):
            al.execute_command(*words)
    with pytest.raises(redis.ResponseError, match="keeps no history"):
        root.execute_command("CHANNEL.READ", "orders.secret", "FROM", "0")
    assert root.publish("orders.open", "x") == 0
    assert len(root.execute_command("CHANNEL.READ", "orders.open", "FROM", "0")) == 1
    with pytest.raises(redis.exceptions.NoPermissionError):
        al.execute_command("CHANNEL.READ", "orders.open", "FROM", "0")


def _by_kafka(server, user, password):
    return {
        "bootstrap.servers": server.address,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": password,
        "logger": logging.getLogger("quiet"),
    }


@pytest.mark.long
def test_a_user_made_by_redis_is_the_same_at_kafka_s_door(server, client):
    root = client()
    root.publish("orders.shared", "one")
    rules = ["resetchannels", "&orders.*", "-@all", "+subscribe", "+channel.read"]
    root.execute_command("ACL", "SETUSER", "di", "on", ">pw", *rules)
    consumer = Consumer(_by_kafka(server, "di", "pw") | {"group.id": "any"})
    consumer.assign([TopicPartition("orders.shared", 0, 0)])
    assert consumer.consume(1, DEADLINE_S)[0].value() == b"one"
    refused = []
    producer = Producer(_by_kafka(server, "di", "pw"))
    producer.produce("orders.shared", b"two", callback=lambda error, _: refused.append(error))
    producer.flush(DEADLINE_S)
    assert [it.code() for it in refused] == [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    # Taken away by Redis's words, it is gone at Kafka's door at once.
    root.execute_command("ACL", "SETUSER", "di", "resetchannels")
    with pytest.raises(redis.exceptions.NoPermissionError):
        client("di", "pw").execute_command("CHANNEL.READ", "orders.shared", "FROM", "0")
    root.publish("orders.shared", "three")
    [found] = consumer.consume(1, DEADLINE_S)
    assert found.error().code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    consumer.close()
    root.execute_command("ACL", "SETUSER", "di", "off")
    for attempt in (_by_kafka(server, "di", "pw"), _by_kafka(server, "di", "no")):
        told = []
        stranger = Producer(attempt | {"error_cb": told.append})
        for _ in range(DEADLINE_S):
            if KafkaError._AUTHENTICATION not in [it.code() for it in told]:
                stranger.poll(1)
        assert KafkaError._AUTHENTICATION in [it.code() for it in told]
        with pytest.raises(KafkaException):
            stranger.list_topics(timeout=1)


def _other_address():
    """Of this machine, but not loopback; None: it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            return None
        host = probe.getsockname()[0]
    return None if host.startswith("127.") else host


@pytest.mark.skipif(_other_address() is None, reason="this machine has no address but loopback")
@pytest.mark.long
def test_from_another_machine_nobody_comes_in_without_a_password(tmp_path):
    keep(tmp_path / "data", a_user("root", "key", ADMINISTRATOR))
    host = _other_address()
    server = Serving(tmp_path / "data", words=("--host", host))
    try:
        root = redis.Redis(host=host, port=server.redis[1], username="root", password="key")
        assert root.ping()
        root.execute_command("ACL", "SETUSER", "default", "on", "nopass", "&*", "+@all")
        stranger = Raw(server)
        told = stranger.until(b"no such thing comes")
        assert told.startswith(b"-DENIED Redis is running in protected mode")
        assert told.endswith(b"\r\n")
        assert root.ping()
        root.close()
    finally:
        code, errors = server.stop()
    assert code == 0, errors
