"""``logstore serve`` as a process: starting, limits, faults, stopping."""

import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import ExitStack
from shutil import which

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from librdkafka import consume, produce
from serving import CLIENTS, COMMAND, DEADLINE_S, OF_SLOW_MACHINES, resident_bytes
from wire_client import WireClient, produce_body

import logstore
from logstore.errors import StoreLocked
from logstore.kafka.messages import api_versions, delete_topics, metadata
from logstore.storage.catalog import Catalog
from logstore.storage.disk import Disk
from logstore.storage.lock import owner_of

pytestmark = pytest.mark.long


def refused(*words, data):
    done = subprocess.run(
        [COMMAND, "serve", "--data", data, *words], capture_output=True, timeout=DEADLINE_S
    )
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    return line


def test_a_host_that_is_nobody_s_name_is_one_line(tmp_path):
    logstore.open(tmp_path / "data", "write").close()
    process = serve(tmp_path / "data", "a b", "--insecure")
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "logstore: a b:9092: can't listen: Name or service not known; " in errors


def test_a_port_in_use_is_one_line_that_names_the_setting(start, tmp_path):
    port = start().endpoint[1]
    line = refused("--kafka-port", str(port), data=tmp_path / "other")
    assert f"127.0.0.1:{port}: can't listen: Address already in use" in line
    assert "kafka.port" in line


DEFAULT_PORTS = {
    "kafka": 9092, "resp": 6379, "amqp": 5672, "mqtt": 1883, "stomp": 61613, "http": 15672,
}  # fmt: skip


@pytest.fixture
def address():
    """Of this machine, and of nobody else: so its default ports are."""
    return f"127.{os.getpid() >> 16 & 255}.{os.getpid() >> 8 & 255}.{2 + os.getpid() % 250}"


def serve(data, address, *words, **settings):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTORE_")}
    return subprocess.Popen(
        [COMMAND, "serve", "--data", data, "--host", address, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment | settings,
    )  # fmt: skip


def told(errors):
    """Lines of standard error, but for how slow the machine is."""
    return [it for it in errors.splitlines() if not any(slow in it for slow in OF_SLOW_MACHINES)]


@pytest.mark.parametrize("closed", DEFAULT_PORTS)
def test_a_default_port_in_use_leaves_this_door_closed_and_the_others_serve(
    tmp_path, address, closed
):
    with socket.create_server((address, DEFAULT_PORTS[closed])):
        process = serve(tmp_path / "data", address)
        open_ = [name for name in DEFAULT_PORTS if name != closed]
        for name in open_:
            place = f"{address}:{DEFAULT_PORTS[name]}"
            says = f"page at http://{place}/" if name == "http" else f"clients at {place}"
            assert says in process.stdout.readline()
            socket.create_connection((address, DEFAULT_PORTS[name])).close()
        owner = owner_of(Disk(), str(tmp_path / "data" / "lock"))
        assert list(owner.endpoints) == open_
        created = subprocess.run(
            [COMMAND, "topic", "create", "t", "--data", tmp_path / "data"],
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert created.returncode == (closed == "kafka")
        missing = "accepts no Kafka clients, which this command needs: start the server"
        assert (missing in created.stderr) == (closed == "kafka")
        process.terminate()
        out, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert [line.split()[0] for line in out.splitlines()] == ["stopping", "stopped"]
    (line,) = told(errors)
    assert line.endswith(
        f"{address}:{DEFAULT_PORTS[closed]}: can't accept {CLIENTS[closed]} clients: Address "
        f"already in use; choose another with --{closed}-port ({closed}.port)"
    )


@pytest.mark.parametrize("how", ["option", "variable", "file"])
@pytest.mark.parametrize("door", DEFAULT_PORTS)
def test_a_port_that_was_asked_for_and_is_in_use_is_an_error_though_it_is_the_default(
    tmp_path, address, door, how
):
    data, port = tmp_path / "data", DEFAULT_PORTS[door]
    others = [it for name in DEFAULT_PORTS if name != door for it in (f"--{name}-port", "0")]
    asked, settings = [], {}
    if how == "option":
        asked = [f"--{door}-port", str(port)]
    elif how == "variable":
        settings = {f"LOGSTORE_{door.upper()}_PORT": str(port)}
    else:
        data.mkdir()
        (data / "logstore.toml").write_text(f"{door}.port = {port}\n")
    with socket.create_server((address, port)):
        process = serve(data, address, *others, *asked, **settings)
        out, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (1, "")
    (line,) = told(errors)
    assert line.startswith(
        f"logstore: {address}:{port}: can't listen: Address already in use; choose "
    )
    assert f"--{door}-port ({door}.port" in line


def test_a_server_that_no_client_could_come_to_does_not_start(tmp_path, address):
    with ExitStack() as held:
        for port in DEFAULT_PORTS.values():
            held.enter_context(socket.create_server((address, port)))
        process = serve(tmp_path / "data", address)
        out, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out) == (1, "")
    *warnings, line = told(errors)
    assert len(warnings) == len(DEFAULT_PORTS)
    assert "no port is open for clients" in line
    assert ", ".join(f"--{it}-port ({it}.port)" for it in DEFAULT_PORTS) in line


def test_a_store_without_users_is_not_served_to_other_machines(tmp_path):
    data = tmp_path / "data"
    line = refused("--host", "0.0.0.0", "--kafka-port", "0", data=data)
    assert f"0.0.0.0 can be reached from other machines, and {data} has no users" in line
    for command in ("`logstore user add NAME`", "`logstore acl allow NAME WHAT ON`", "--insecure"):
        assert command in line
    assert not data.exists()
    logstore.open(data, "write").close()
    for host in ("::", "192.0.2.1", "example.org"):
        assert "has no users" in refused("--host", host, "--kafka-port", "0", data=data)


def served_beyond(data, *words, **settings):
    """What it says of its first door and, once it was stopped, on standard error."""
    process = serve(data, "0.0.0.0", *NO_DOORS, *words, **settings)
    ready = process.stdout.readline()
    process.terminate()
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    return ready, "\n".join(told(errors))


CLOSED = ("resp", "amqp", "mqtt", "stomp", "http")
NO_DOORS = ("--kafka-port", "0", *(it for door in CLOSED for it in (f"--{door}-port", "-1")))


@pytest.mark.parametrize("how", ["option", "variable", "file"])
def test_listening_beyond_this_machine_without_users_is_warned_of(tmp_path, how):
    data = tmp_path / "data"
    words = ["--insecure"] if how == "option" else []
    settings = {"LOGSTORE_LISTEN_INSECURE": "true"} if how == "variable" else {}
    if how == "file":
        data.mkdir()
        (data / "logstore.toml").write_text("listen.insecure = true\n")
    ready, errors = served_beyond(data, *words, **settings)
    assert "Kafka clients at 0.0.0.0:" in ready
    assert "there are no users: every client that reaches 0.0.0.0 may do everything" in errors


def test_with_users_a_store_is_served_to_other_machines(tmp_path):
    data = tmp_path / "data"
    subprocess.run([COMMAND, "user", "add", "al", "--data", data], input=b"secret", check=True)
    for words in ((), ("--insecure",)):
        ready, errors = served_beyond(data, *words)
        assert "Kafka clients at 0.0.0.0:" in ready
        assert errors == ""


def is_closed(data):
    catalog = Catalog(Disk(), str(data / "catalog.mdb"), create=False, write=False)
    try:
        return catalog.clean
    finally:
        catalog.close()


SIGNALLED = """
import os, signal, sys
from logstore.storage.writer import WriterDirectory
real = WriterDirectory.{name}
def signalled(self):
    os.kill(os.getpid(), signal.SIG{signal})
    real(self)
WriterDirectory.{name} = signalled
from logstore_cli.main import main
doors = ("kafka", "resp", "amqp", "mqtt", "stomp", "http")
ports = [word for it in doors for word in (f"--{{it}}-port", "0")]
sys.argv = ["logstore", "serve", "--data", sys.argv[1], *ports]
main()
"""


@pytest.mark.parametrize("number", ["TERM", "INT"])
def test_a_signal_while_the_store_is_opened_ends_in_good_order(tmp_path, number):
    code = SIGNALLED.format(name="_mark_unrecovered", signal=number)
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "data"], capture_output=True, timeout=DEADLINE_S
    )
    said = f"stopped {tmp_path / 'data'}\n".encode()
    assert (done.returncode, done.stdout, done.stderr) == (0, said, b"")
    assert is_closed(tmp_path / "data")


def test_a_hangup_ends_no_server_however_early_it_comes(tmp_path):
    """It has a certificate loaded anew; before there is one, it is about to be loaded anyway."""
    code = SIGNALLED.format(name="_mark_unrecovered", signal="HUP")
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "data"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert b"Kafka clients at" in process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert b"SIGHUP: nothing to load anew" in process.stderr.readline()
    process.terminate()
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0


def test_a_signal_before_the_store_is_opened_leaves_it_alone(tmp_path):
    code = f"""
import os, signal, sys
import logstore_cli.logs
logstore_cli.logs.ServerLog.show = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
from logstore_cli.main import main
sys.argv = ["logstore", "serve", "--data", {str(tmp_path / "data")!r}]
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=DEADLINE_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not (tmp_path / "data").exists()


def test_one_more_signal_while_the_store_is_closed_ends_nothing_half_way(tmp_path):
    code = SIGNALLED.format(name="close", signal="TERM")
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "data"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert b"Kafka clients at" in process.stdout.readline()
    process.terminate()
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, b"")
    assert is_closed(tmp_path / "data")


def test_a_server_that_was_killed_recovers_what_nobody_uses_and_keeps_it_for_readers(start):
    server = start()
    with WireClient(server.endpoint) as client:
        for name in ("a", "b", "c"):
            client.ask(3, 9, metadata.Request([metadata.Topic(name=name)]), metadata.Response)
            produce(server, name, [b"1", b"2", b"3"])
    server.stop(signal.SIGKILL)
    again = start()
    with logstore.open(server.data, "read") as reader:
        assert [reader.topic(name).partition(0).end for name in ("a", "b", "c")] == [3, 3, 3]
    assert again.stop() == (0, "")


def test_the_lock_file_says_where_the_server_is_spoken_to(start):
    server = start()
    owner = owner_of(Disk(), str(server.data / "lock"))
    assert owner.pid == server.process.pid
    assert owner.endpoints == {"kafka": server.address, "resp": "{}:{}".format(*server.redis)}
    with pytest.raises(StoreLocked):
        logstore.open(server.data)
    line = refused(data=server.data)
    assert line.startswith(
        f"logstore: {server.data}: is already served by pid {owner.pid} (logstore "
    )
    assert line.endswith("); commands use that server; stop it before you start another")
    server.stop()
    assert owner_of(Disk(), str(server.data / "lock")) is None


def test_an_advertised_address_is_what_clients_are_told(start):
    server = start(kafka_advertised_address="kafka.example.org:1234")
    with WireClient(server.endpoint) as client:
        told = client.ask(3, 9, metadata.Request([]), metadata.Response)
    assert [(it.host, it.port) for it in told.brokers] == [("kafka.example.org", 1234)]


def test_topics_are_not_made_where_the_setting_says_so(start):
    server = start(auto_create_topics_enable="false")
    with WireClient(server.endpoint) as client:
        told = client.ask(3, 9, metadata.Request([metadata.Topic(name="t")]), metadata.Response)
    assert [it.error_code for it in told.topics] == [3]


GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),  # TLS
    struct.pack(">ihhi", 10, 3, 9, 1) + b"\xff\xff",
    struct.pack(">ihhih", 100, 3, 1, 1, -1) + b"\x7f" * 90,
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_ends_its_connection_with_one_line(start, garbage):
    server = start()
    with WireClient(server.endpoint) as bystander, WireClient(server.endpoint) as client:
        client.socket.sendall(garbage)
        assert client.ended()
        bystander.new_producer_id()
    code, errors = server.stop()
    [line] = errors.splitlines()
    assert (code, "connection closed" in line) == (0, True)


def test_a_request_over_the_limit_is_not_taken(start):
    server = start(socket_request_max_bytes=10_000)
    with WireClient(server.endpoint) as client:
        client.socket.sendall(struct.pack(">i", 10_001) + bytes(100))
        assert client.ended()
    assert "socket.request.max.bytes is 10000" in server.stop()[1]


def test_a_size_that_is_claimed_costs_no_memory(start):
    server = start()
    with ExitStack() as stack:
        clients = [stack.enter_context(WireClient(server.endpoint)) for _ in range(40)]
        before = resident_bytes(server)
        for client in clients:
            client.socket.sendall(struct.pack(">ihhih", 100 << 20, 0, 3, 1, -1))
        with WireClient(server.endpoint) as other:
            other.new_producer_id()
        assert resident_bytes(server) - before < 40 << 20


def test_five_thousand_idle_connections_are_cheap(start):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 5100:
        pytest.skip(f"this process may open {most} files only")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = start()
    before = resident_bytes(server)
    idle = [socket.create_connection(server.endpoint, DEADLINE_S) for _ in range(5000)]
    try:
        for it in idle[::100]:
            it.sendall(struct.pack(">ihhihi", 14, 18, 0, 7, -1, 0))
            assert it.recv(8)[4:] == b"\0\0\0\7"
        assert produce(server, "t", [b"x"]) == []
        assert resident_bytes(server) - before < 5000 * 8192
    finally:
        for it in idle:
            it.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


@pytest.mark.skipif(which("prlimit") is None, reason="there is no prlimit here")
def test_at_a_low_ulimit_many_topics_and_connections_keep_nobody_out(start):
    """77 topics in use took all 256 descriptors; nobody else could come in."""
    server = start(wrapped=("prlimit", "--nofile=256:256"))
    idle = [socket.create_connection(server.endpoint, DEADLINE_S) for _ in range(300)]
    try:
        for it in idle[:200]:
            it.close()
        with WireClient(server.endpoint) as client:
            for offset in range(2):
                for n in range(120):
                    assert client.produce(f"t{n}", [b"x"]) == (0, offset)
    finally:
        for it in idle:
            it.close()
    code, errors = server.stop()
    assert code == 0
    assert "raise ulimit -n" in errors
    assert "Too many open files" not in errors


def test_no_more_partitions_are_made_than_the_setting_says(start):
    POLICY_VIOLATION = 44
    server = start(partitions_max=3)
    admin = AdminClient({"bootstrap.servers": server.address})

    def refused(futures):
        [future] = futures.values()
        with pytest.raises(KafkaException, match=r"partitions.max, 3: delete topics") as error:
            future.result(DEADLINE_S)
        return error.value.args[0].code()

    [made] = admin.create_topics([NewTopic("a", 2)]).values()
    made.result(DEADLINE_S)
    for validate_only in (True, False):
        new, more = [NewTopic("b", 2)], [NewPartitions("a", 4)]
        assert refused(admin.create_topics(new, validate_only=validate_only)) == POLICY_VIOLATION
        more = admin.create_partitions(more, validate_only=validate_only)
        assert refused(more) == POLICY_VIOLATION
    with WireClient(server.endpoint) as client:
        asked = metadata.Request([metadata.Topic(name="c"), metadata.Topic(name="d")])
        told = client.ask(3, 9, asked, metadata.Response)
    assert [it.error_code for it in told.topics] == [0, POLICY_VIOLATION]
    [gone] = admin.delete_topics(["a"]).values()
    gone.result(DEADLINE_S)
    [made] = admin.create_topics([NewTopic("b", 2)]).values()
    made.result(DEADLINE_S)


def test_stopping_answers_what_waits(start):
    server = start()
    with WireClient(server.endpoint) as client:
        client.create("t")
        waiting = struct.pack(">iiiibih", -1, 60_000, 1, 1 << 20, 0, 1, 1) + b"t"
        client.send(1, 4, waiting + struct.pack(">iiqi", 1, 0, 0, 1 << 20))
        ended = []
        stopper = threading.Thread(target=lambda: ended.append(server.stop()))
        stopper.start()
        _, body = client.receive()
        assert struct.unpack_from(">ih", body, 4 + 4 + 2 + 1 + 4)[1] == 0
        stopper.join(DEADLINE_S)
        assert client.ended()
    assert ended == [(0, "")]


def test_a_topic_is_deleted_while_it_is_read_and_written(start):
    server = start()
    with WireClient(server.endpoint) as reader, WireClient(server.endpoint) as writer:
        assert writer.produce("t", [b"1"]) == (0, 0)
        waiting = struct.pack(">iiiibih", -1, 60_000, 1, 1 << 20, 0, 1, 1) + b"t"
        reader.send(1, 4, waiting + struct.pack(">iiqi", 1, 0, 1, 1 << 20))
        done = writer.ask(20, 1, delete_topics.Request(topic_names=["t"]), delete_topics.Response)
        assert [it.error_code for it in done.responses] == [0]
        _, body = reader.receive()
        assert struct.unpack_from(">ih", body, 4 + 4 + 2 + 1 + 4)[1] == 3
        writer.send(0, 3, produce_body("t", 0, b"", acks=1))
        _, body = writer.receive()
        assert struct.unpack_from(">h", body, 4 + 2 + 1 + 4 + 4) == (3,)
        assert writer.produce("t", [b"2"]) == (0, 0)  # made anew


def test_a_first_request_may_come_before_anything_is_known(start):
    server = start()
    with WireClient(server.endpoint) as client:
        told = client.ask(18, 3, api_versions.Request("test", "1"), api_versions.Response)
    assert {it.api_key for it in told.api_keys} >= {0, 1, 3, 18}


def test_the_library_reads_what_clients_produce_while_it_is_served(start):
    server = start()
    assert produce(server, "t", [b"a", b"b"], partition=0) == []
    with logstore.open(server.data, "read") as store:
        assert [it.value for it in store.consumer("t")] == [b"a", b"b"]


def test_clients_read_what_the_library_wrote_before(start, tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t").append_many([logstore.Message(b"%d" % n) for n in range(100)])
    server = start()
    assert [it.value() for it in consume(server, 100, ("t", 0, 0))] == [
        b"%d" % n for n in range(100)
    ]


def test_a_producer_goes_on_when_the_server_comes_back(start):
    server = start()
    failed = []

    def told(error, _):
        if error is not None:
            failed.append(error)

    producer = Producer({"bootstrap.servers": server.address, "enable.idempotence": True,
                         "reconnect.backoff.max.ms": 200, "log_level": 0})  # fmt: skip
    for n in range(100):
        producer.produce(
            "t", b"%d" % n, on_delivery=lambda error, _: error and failed.append(error)
        )
    assert producer.flush(DEADLINE_S) == 0
    server.stop()
    again = start(port=server.endpoint[1])
    for n in range(100, 200):
        producer.produce(
            "t", b"%d" % n, on_delivery=lambda error, _: error and failed.append(error)
        )
    assert producer.flush(DEADLINE_S) == 0
    assert failed == []
    assert [it.value() for it in consume(again, 200, ("t", 0, 0))] == [
        b"%d" % n for n in range(200)
    ]
