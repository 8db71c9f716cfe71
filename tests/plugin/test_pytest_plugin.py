"""The pytest plugin, as others have it: pytest in a process of its own, with files of tests."""

import os
import select
import signal
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from time import monotonic

import pytest
from confluent_kafka import Consumer, Producer
from waiting import until

from pytest_logstore.faults import Faults
from pytest_logstore.server import NotStarted, ServerProcess

pytest_plugins = ["pytester"]

DEADLINE_S = 60
# An editable environment that was made before the plugin was does not know of it.
KNOWN = any(it.value == "pytest_logstore.plugin" for it in entry_points(group="pytest11"))
PLUGIN = () if KNOWN else ("-p", "pytest_logstore.plugin")


@pytest.fixture
def run(pytester, monkeypatch):
    """run(source, *words, **environment): what pytest says of a file of tests."""
    for name in [it for it in os.environ if it.startswith(("LOGSTORE_", "PYTEST_"))]:
        monkeypatch.delenv(name)

    def run(source, *words, **environment):
        pytester.makepyfile(source)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        words = (*PLUGIN, "-p", "no:cacheprovider", *words)
        return pytester.runpytest_subprocess(*words, timeout=DEADLINE_S)

    return run


def test_a_test_has_a_server_with_all_its_doors(run):
    """The one that is run whenever anything is."""
    result = run(
        """
        import socket

        def test_addresses(
            logstore_server, kafka_bootstrap, redis_url, amqp_url, logstore_http_url
        ):
            server = logstore_server
            assert (kafka_bootstrap, redis_url) == (server.kafka, server.redis)
            assert (amqp_url, logstore_http_url) == (server.amqp, server.http)
            assert server.api.get("server")["path"] == str(server.data)
            assert redis_url.startswith("redis://127.0.0.1:") and redis_url.endswith("/0")
            assert amqp_url.startswith("amqp://guest:guest@127.0.0.1:")
            http = logstore_http_url.removeprefix("http://")
            for address in (kafka_bootstrap, redis_url[8:-2], amqp_url[19:-4], http):
                host, port = address.split(":")
                socket.create_connection((host, int(port))).close()
        """
    )
    result.assert_outcomes(passed=1)


@pytest.mark.long
def test_the_plugin_costs_nothing_where_no_test_asks_for_it(run):
    result = run(
        """
        import sys

        def test_nothing_is_imported():
            assert "pytest_logstore.plugin" in sys.modules
            found = {it for it in sys.modules if it.split(".")[0] in ("logstore", "logstore_cli")}
            assert not found
            assert "pytest_logstore.server" not in sys.modules
        """,
        "-p", "no:hypothesispytest", "-p", "no:xdist",
    )  # fmt: skip
    result.assert_outcomes(passed=1)


long = pytest.mark.long


@long
def test_it_is_in_the_help_and_its_marker_is_known(run):
    help_ = run("", "--help").stdout.str()
    assert "--logstore-reset={none,names,wipe}" in help_
    assert "logstore_settings (linelist)" in help_
    assert (
        "@pytest.mark.logstore(settings=None, isolated=False)" in run("", "--markers").stdout.str()
    )


@long
def test_a_failed_test_shows_what_the_server_said(run):
    result = run(
        """
        def test_fails(logstore_server):
            assert 0
        def test_without_a_server_fails():
            assert 0
        """
    )
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    assert text.count("logstore server") == 1
    assert "Kafka clients at 127.0.0.1:" in text


@long
def test_a_test_can_have_a_server_of_its_own_with_settings(run):
    result = run(
        """
        import pytest

        @pytest.mark.logstore(settings={"kafka.advertised.address": "example.org:1",
                                        "auto.create.topics.enable": False,
                                        "notify": ["topics", "groups"]})
        def test_settings(logstore, request):
            assert "logstore_server" not in request.node.stash
            lines = (logstore.data / "logstore.toml").read_text()
            assert '"auto.create.topics.enable" = "false"' in lines
            assert '"notify" = "topics,groups"' in lines
            assert logstore.kafka.startswith("127.0.0.1:")

        @pytest.mark.logstore(isolated=True)
        def test_isolated(logstore, other):
            assert logstore.data != other.data

        @pytest.fixture
        def other(logstore_server):
            return logstore_server
        """
    )
    result.assert_outcomes(passed=1, failed=0, errors=1)  # the second asks for both
    assert "has a server of its own, and logstore_server is of the session's" in result.stdout.str()


@long
@pytest.mark.parametrize(
    ("marker", "told"),
    [
        ("settings={'kafka.prot': 1}", "no setting 'kafka.prot' (did you mean kafka.port?)"),
        ("settings={'num.partitions': 'x'}", "num.partitions=x: must be a whole number"),
        ("", "the marker logstore says nothing"),
        ("setings={}", "unexpected keyword argument 'setings'"),
    ],
)
def test_a_wrong_marker_is_an_error_that_says_so(run, marker, told):
    result = run(
        f"""
        import pytest

        @pytest.mark.logstore({marker})
        def test_settings(logstore):
            pass
        """
    )
    assert result.ret == 1
    assert told in result.stdout.str()


@long
def test_settings_of_the_shared_server_are_in_the_configuration_of_pytest(run, pytester):
    pytester.makeini("[pytest]\nlogstore_settings =\n  num.partitions = 7\n  resp.port=-1\n")
    result = run(
        """
        def test_settings(logstore_server):
            assert '"num.partitions" = "7"' in (logstore_server.data / "logstore.toml").read_text()
            assert logstore_server.redis == ""
        """
    )
    result.assert_outcomes(passed=1)
    pytester.makeini("[pytest]\nlogstore_settings =\n  num.partitions\n")
    assert "'num.partitions' is not NAME=VALUE" in run("def test(logstore): pass").stdout.str()
    pytester.makeini("[pytest]\nlogstore_reset = some\n")
    assert "logstore_reset = some: must be one of none, names, wipe" in (
        run("def test(logstore): pass").stdout.str()
    )


@long
def test_each_process_of_xdist_has_a_server_of_its_own(run, pytester):
    result = run(
        """
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_where(logstore_server, n, worker_id):
            with open("where", "a") as file:
                file.write(f"{worker_id} {logstore_server.kafka}\\n")
        """,
        "-n", "2", "--dist", "load",
    )  # fmt: skip
    result.assert_outcomes(passed=4)
    lines = [it.split() for it in (pytester.path / "where").read_text().splitlines()]
    assert len({tuple(it) for it in lines}) == len({worker for worker, _ in lines}) == 2


@long
def test_a_store_in_this_process_needs_no_server(run):
    result = run(
        """
        def test_store(logstore_store):
            logstore_store.create_topic("t").append(b"value")
            with logstore_store.consumer("t") as consumer:
                assert [it.value for it in consumer] == [b"value"]
            assert logstore_store.mode == "write"

        def test_another(logstore_store):
            assert logstore_store.topics() == []
        """
    )
    result.assert_outcomes(passed=2)


# The server by itself -----------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    with ServerProcess(tmp_path) as server:
        yield server


def ping(server):
    host, port = server.redis[8:-2].split(":")
    with socket.create_connection((host, int(port)), DEADLINE_S) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16)


@long
def test_a_server_keeps_data_and_ports_when_it_is_begun_again(server):
    before = (server.kafka, server.redis, server.amqp, server.http)
    number = server.process_id
    server.api.put("vhosts", "kept")
    for again in (server.restart, lambda: (server.kill(), server.start())):
        again()
        assert (server.kafka, server.redis, server.amqp, server.http) == before
        assert server.process_id != number
        assert [it["name"] for it in server.api.rows("vhosts")] == ["/", "kept"]
        assert ping(server) == b"+PONG\r\n"
    server.stop()
    server.stop()  # without effect
    with pytest.raises(OSError, match=r"refused|No such file"):
        server.api.get("server")
    assert "can't be told" not in server.log


@long
def test_a_server_that_does_not_come_up_says_why(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(NotStarted, match=r"ended with code 1: .*Address already in use"):
            ServerProcess(tmp_path, {"kafka.port": port}).__enter__()


@long
def test_a_long_path_does_not_matter(tmp_path):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    with ServerProcess(folder) as server:
        assert server.api.get("server")["path"] == str(server.data)


@long
def test_a_server_ends_with_the_tests_however_they_end(tmp_path):
    source = (
        "import sys; from pathlib import Path; from pytest_logstore.server import ServerProcess\n"
        "server = ServerProcess(Path(sys.argv[1])).__enter__()\n"
        "print(server.process_id, flush=True)\n"
        "sys.stdin.read()"
    )
    tests = subprocess.Popen(
        [sys.executable, "-c", source, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with tests:
        watched = os.pidfd_open(int(tests.stdout.readline()))
        tests.send_signal(signal.SIGKILL)
    ready, _, _ = select.select([watched], [], [], DEADLINE_S)
    os.close(watched)
    assert ready
    assert (tmp_path / "server.log").exists()


@long
def test_a_paused_server_answers_once_it_is_resumed_and_can_be_stopped_before(server):
    server.pause()
    host, port = server.redis[8:-2].split(":")
    with socket.create_connection((host, int(port)), DEADLINE_S) as connection:
        connection.sendall(b"PING\r\n")
        with open(f"/proc/{server.process_id}/stat") as stat:
            assert stat.read().rpartition(")")[2].split()[0] == "T"
        server.resume()
        assert connection.recv(16) == b"+PONG\r\n"
    server.pause()
    server.stop()
    server.start()
    assert ping(server) == b"+PONG\r\n"


# What is made for a test, and what becomes of it --------------------------------------------------

MAKING = """
import pytest

MADE = []

def test_first(kafka_topic, amqp_queue, redis_channel, logstore):
    settings = {"retention.ms": 1000, "preallocate": True}
    MADE.append(kafka_topic("orders", partitions=3, settings=settings))
    MADE.append(kafka_topic("orders"))
    MADE.append(amqp_queue("mail", arguments={"x-max-priority": 5}))
    MADE.append(redis_channel("news"))
    assert len(set(MADE)) == 4
    topic = logstore.api.get("topics", MADE[0])
    assert topic["partitions"] == 3
    assert logstore.api.get("queues", MADE[2], vhost="/")["arguments"] == {"x-max-priority": 5}
    logstore.api.delete("topics", MADE[1])  # the test may do it itself
    logstore.api.post("topics", value={"name": logstore.name("kept")})
    MADE.append(logstore.name("kept"))
    logstore.api.put("queues", "kept", vhost="/", value={})
    logstore.api.put("exchanges", "kept", vhost="/", value={"type": "fanout"})
    logstore.api.put("vhosts", "kept")

def test_second(logstore):
    topics = {it["name"] for it in logstore.api.rows("topics")}
    queues = {it["name"] for it in logstore.api.rows("queues")}
    vhosts = {it["name"] for it in logstore.api.rows("vhosts")}
    exchanges = {it["name"] for it in logstore.api.rows("exchanges", vhost="/")}
    assert not {*MADE[:4]} & (topics | queues)
    print(f"RESULT {logstore.name('x') != 'x'} {MADE[4] in topics} {'kept' in queues}"
          f" {'kept' in exchanges} {'kept' in vhosts}")
"""


@long
@pytest.mark.parametrize(
    ("how", "result"),
    [("names", "True True True True True"), ("none", "False True True True True"),
     ("wipe", "False False False False False")],
)  # fmt: skip
def test_how_tests_are_kept_apart(run, how, result):
    found = run(MAKING, "-s", f"--logstore-reset={how}")
    found.assert_outcomes(passed=2)
    assert f"RESULT {result}" in found.stdout.str()


@long
def test_a_clean_server_is_empty_before_and_after(run):
    result = run(
        """
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def made_before(logstore_server):
            logstore_server.api.post("topics", value={"name": "before"})

        def names(server):
            return [it["name"] for it in server.api.rows("topics")]

        def test_shared(logstore):
            assert names(logstore) == ["before"]

        def test_clean(logstore_clean):
            assert names(logstore_clean) == []
            logstore_clean.api.post("topics", value={"name": "t"})
            logstore_clean.pause()

        def test_after(logstore):
            assert names(logstore) == []
        """
    )
    result.assert_outcomes(passed=3)


@long
@pytest.mark.parametrize("how", ["names", "wipe"])
def test_the_shared_server_runs_again_whatever_a_test_has_done_to_it(run, how):
    result = run(
        """
        import os, signal, pytest

        def crash(it):
            os.kill(it.process_id, signal.SIGKILL)
            os.waitid(os.P_PID, it.process_id, os.WEXITED | os.WNOWAIT)

        ACTS = {
            "stopped": lambda it: it.stop(),
            "killed": lambda it: it.kill(),
            "paused": lambda it: it.pause(),
            "crashed": crash,
        }

        @pytest.mark.parametrize("act", ACTS)
        def test_harms(logstore_server, act):
            before = logstore_server.kafka
            assert logstore_server.api.get("server")
            ACTS[act](logstore_server)

        def test_after(logstore):
            assert logstore.api.get("server")
        """,
        f"--logstore-reset={how}",
    )
    result.assert_outcomes(passed=5)


@long
def test_a_server_that_runs_already_is_used_and_left_as_it_is(run, server):
    server.api.post("topics", value={"name": "theirs"})
    source = """
        import pytest

        def test_uses_it(logstore_server, kafka_topic, redis_url, logstore_http_url):
            assert not logstore_server.ours
            assert kafka_topic() in {it["name"] for it in logstore_server.api.rows("topics")}
            assert logstore_http_url
            for act in ("restart", "stop", "start", "kill", "pause", "resume"):
                with pytest.raises(RuntimeError, match="was not started here"):
                    getattr(logstore_server, act)()

        def test_empties_it(logstore_clean):
            assert 0

        def test_harms_it(logstore_faults):
            assert 0

        @pytest.mark.logstore(isolated=True)
        def test_has_another(logstore):
            assert logstore.ours
        """
    result = run(source, "-rs", LOGSTORE_TEST_URL=server.http)
    result.assert_outcomes(passed=2, skipped=2)
    assert "was not started here, and may not be emptied" in result.stdout.str()
    assert [it["name"] for it in server.api.rows("topics")] == ["theirs"]
    result = run("def test(logstore): pass", "--logstore-reset=wipe", LOGSTORE_TEST_URL=server.http)
    assert result.ret != 0
    assert "--logstore-reset=wipe: LOGSTORE_TEST_URL names a server that others use" in (
        result.stdout.str() + result.stderr.str()
    )
    assert [it["name"] for it in server.api.rows("topics")] == ["theirs"]
    result = run("def test(logstore): pass", LOGSTORE_TEST_URL="127.0.0.1:1")
    assert "LOGSTORE_TEST_URL=127.0.0.1:1: must be http://HOST:PORT" in result.stdout.str()


@long
def test_emptying_takes_groups_and_leaves_those_in_use_their_members(server):
    append(server, "t")
    consumers = [
        Consumer({
            "bootstrap.servers": server.kafka, "group.id": name, "auto.offset.reset": "earliest",
        })
        for name in ("ended", "in-use")
    ]  # fmt: skip
    for consumer in consumers:
        consumer.subscribe(["t"])
        assert consumer.poll(DEADLINE_S).value() == b"value"
        consumer.commit(asynchronous=False)
    ended, in_use = consumers
    ended.close()

    def left():
        """What is listed of groups is up to a second old."""
        server.empty()
        return [it["name"] for it in server.api.rows("groups")]

    until(lambda: left() == ["in-use"])
    assert server.api.rows("topics") == []
    in_use.close()
    until(lambda: left() == [])


# Faults -------------------------------------------------------------------------------------------


@pytest.fixture
def faults(server):
    faults = Faults(server)
    yield faults
    faults.end()


def append(server, topic, **conf):
    """A record; the time until it is acknowledged, or why it is not."""
    producer = Producer({"bootstrap.servers": server.kafka, **conf})
    told = []
    producer.produce(topic, b"value", on_delivery=lambda error, _: told.append(error))
    began = monotonic()
    assert producer.flush(DEADLINE_S) == 0
    return monotonic() - began, told[0]


@long
def test_a_slow_disk_delays_what_is_acknowledged_until_it_is_well_again(server, faults):
    append(server, "t")
    faults.slow_disk(1.0)
    assert append(server, "t") >= (1.0, None)
    faults.end()
    with open(f"/proc/{server.process_id}/stat") as stat:
        assert stat.read().rpartition(")")[2].split()[0] in "SR"
    server.api.get("server")


@long
def test_a_full_disk_refuses_and_takes_again(server, faults):
    assert append(server, "t")[1] is None
    faults.full_disk()
    error = append(server, "t", **{"message.timeout.ms": 1000})[1]
    assert error is not None
    faults.full_disk(False)
    assert append(server, "t")[1] is None


@long
def test_a_paused_server_is_resumed_at_the_end_of_the_block(server, faults):
    with faults.paused(), open(f"/proc/{server.process_id}/stat") as stat:
        assert stat.read().rpartition(")")[2].split()[0] == "T"
    assert ping(server) == b"+PONG\r\n"


@long
def test_clients_are_cut_off_of_one_door_or_of_all(server, faults):
    def connected(url):
        host, port = url.rpartition("@")[2].removeprefix("redis://").split("/")[0].split(":")
        return socket.create_connection((host, int(port)), DEADLINE_S)

    with connected(server.redis) as redis, connected(server.kafka) as kafka:
        redis.sendall(b"PING\r\n")
        assert redis.recv(16) == b"+PONG\r\n"
        assert faults.cut_clients("resp") == 1
        assert redis.recv(16) == b""
        assert faults.cut_clients() == 1
        assert kafka.recv(16) == b""
    assert faults.cut_clients() == 0
    assert ping(server) == b"+PONG\r\n"
