"""The same commands, through a server's port: by --bootstrap, and by themselves where a server
holds the directory. What they print is what they print of a directory.
"""

import json
import logging
import os
import re
import signal
import threading

import pytest
from cli_process import DEADLINE_S
from confluent_kafka import KafkaError, Producer
from logstore_cli.cluster import producer as cluster_producer
from logstore_cli.cluster.address import Address
from logstore_cli.cluster.refusal import refused
from serving import Serving
from waiting import until

pytestmark = pytest.mark.long

HOUR_MS = 3_600_000


@pytest.fixture(params=["bootstrap", "held"])
def way(request, server):
    """The words that lead to the server."""
    ways = {"bootstrap": ("--bootstrap", server.address), "held": ("--data", server.data)}
    return ways[request.param]


@pytest.fixture
def through(logstore, way):
    return lambda *words, **more: logstore(*words, *way, **more)


@pytest.mark.parametrize("before", ["", "Commit failed: "])
def test_a_code_without_words_is_said_with_what_was_asked_and_of_whom(before):
    code = KafkaError.UNKNOWN_TOPIC_OR_PART
    error = KafkaError(code, f"{before}Broker: Unknown topic or partition")
    told = str(refused(error, Address("here:1"), "consume t"))
    assert told == "here:1: can't consume t: Broker: Unknown topic or partition"


@pytest.fixture
def by_port(logstore, server):
    """Where what leads to the server makes no difference."""
    return lambda *words, **more: logstore(*words, "--bootstrap", server.address, **more)


@pytest.fixture
def direct(logstore, server):
    """The served directory, read beside the server."""
    return lambda *words, **more: logstore(*words, "--data", server.data, **more)


def lines(number):
    return b"".join(b'{"n": "%d", "t": "@%dms"}\n' % (n, n * HOUR_MS + 1) for n in range(number))


FIELDS = ("--value-field", "n", "--timestamp-field", "t", "--key-field", "n")


@pytest.fixture
def numbers(logstore, server, name):
    """Five records in one partition, an hour apart: their values are their offsets."""
    logstore("topic", "create", name, "--bootstrap", server.address)
    producer = Producer({"bootstrap.servers": server.address})
    for n in range(5):
        text = b"%d" % n
        at = n * HOUR_MS + 1
        producer.produce(name, text, text, timestamp=at, headers={"a": b"b"})
    assert producer.flush(30) == 0
    producer.close()
    return name


class TestTopics:
    def test_create_describe_alter_delete(self, through, direct, name):
        words = ("--partitions", 2, "--config", "retention.ms=5000")
        assert through("topic", "create", name, *words).out == (
            f"created topic {name} with 2 partitions\n"
        )
        assert "already" in through("topic", "create", name, code=1).err
        assert through("topic", "alter", name, "--partitions", 3).out == f"altered topic {name}\n"
        through("topic", "alter", name, "--config", "retention.bytes=7kB")
        through("topic", "alter", name, "--delete-config", "retention.ms")
        told = json.loads(through("topic", "describe", name, "--json").out)
        known = json.loads(direct("topic", "describe", name, "--json").out)
        assert told["settings"] == known["settings"]
        assert told["settings"]["retention.bytes"] == {"value": 7000, "source": "topic"}
        assert told["id"] == known["id"]
        assert [it["partition"] for it in told["partitions"]] == [0, 1, 2]
        assert re.search(rf"(?m)^{name} +3 +0 ", through("topic", "list").out)
        through("topic", "delete", name, "--yes")
        assert name not in through("topic", "list").out

    def test_without_a_number_of_partitions(self, through, name):
        assert through("topic", "create", name).out == f"created topic {name} with 1 partition\n"

    def test_offsets(self, through, direct, numbers):
        places = {"earliest": 0, "@-5ms": 0, "@7200000ms": 2, "-1h": 5, "now": 5, "latest": 5}
        words = ("topic", "offsets", numbers, *(it for at in places for it in ("--at", at)))
        told = through(*words, "--json").out
        assert json.loads(told) == [{"partition": 0, "at": places, "offsets": None}]
        assert direct(*words, "--json").out == told
        through("topic", "trim", numbers, "--before", 3)
        for where in (through, direct):
            assert where("topic", "offsets", numbers).lines[1].split() == ["0", "3", "5", "2"]

    def test_trim(self, through, numbers):
        words = ("topic", "trim", numbers, "--before")
        dry = through(*words, 2, "--dry-run").lines
        assert dry[1].split() == ["0", "0", "2", "2"]
        assert through(*words, 2).lines == dry[:2]
        assert through("consume", numbers).lines == ["2", "3", "4"]
        assert "offset 6 is above the end, 5" in through(*words, 6, code=1).err


class TestProduce:
    def test_by_itself_through_the_server_that_holds_the_directory(self, direct, numbers):
        told = direct("produce", numbers, "--key", "k", stdin=b"5\n6\n").err
        assert f"produced 2 records to {numbers}" in told
        assert direct("consume", numbers).lines == [str(n) for n in range(7)]

    def test_what_is_produced_is_what_is_read(self, by_port, direct, name):
        by_port("topic", "create", name)
        by_port("produce", name, *FIELDS, "--header", "a=b", stdin=lines(5))
        shown = ("consume", name, "--format", "json")
        assert by_port(*shown).bytes == direct(*shown).bytes
        [first, *_] = map(json.loads, by_port(*shown).lines)
        assert first["headers"] == [{"name": "a", "value": "b"}]
        assert (first["key"], first["value"], first["timestamp_ms"]) == ("0", "0", 1)

    def test_keys_go_where_a_store_sends_them(self, by_port, logstore, name):
        keyed = b"".join(b'{"n": "%d"}\n' % n for n in range(100))
        shown = ("--format", "{partition} {key} {value}")
        for run in (by_port, logstore):
            run("topic", "create", name, "--partitions", 5)
            run("produce", name, "--key-field", "n", stdin=keyed)
        assert sorted(by_port("consume", name, *shown).lines) == sorted(
            logstore("consume", name, *shown).lines
        )

    def test_every_codec(self, by_port, numbers):
        codecs = ("none", "gzip", "snappy", "lz4", "zstd")
        for codec in codecs:
            by_port("produce", numbers, "--compression", codec, stdin=codec.encode() * 20)
        assert by_port("consume", numbers, "--from", 5).lines == [it * 20 for it in codecs]

    def test_a_moment_that_the_client_can_not_tell(self, by_port, numbers):
        told = by_port("produce", numbers, *FIELDS, stdin=b'{"n":"1","t":0}\n', code=1).err
        assert "a timestamp of 0 can't be sent" in told

    def test_a_record_that_the_topic_does_not_take(self, by_port, name):
        by_port("topic", "create", name, "--config", "max.message.bytes=1000")
        given = b"one\n" + os.urandom(800).hex().encode() + b"\ntwo\n"
        result = by_port("produce", name, stdin=given, code=1)
        assert "standard input, line 2" in result.err
        assert f"produced 1 record to {name}" in result.err
        result = by_port("produce", name, "--on-error", "skip", stdin=given)
        assert f"produced 2 records to {name}" in result.err
        assert "skipped 1 line" in result.err
        assert by_port("consume", name).lines == ["one", "one", "two"]

    def test_a_compacted_topic_wants_keys(self, by_port, name):
        by_port("topic", "create", name, "--config", "cleanup.policy=compact")
        assert "a record needs a key" in by_port("produce", name, stdin=b"1\n", code=1).err

    def test_dead_letters(self, by_port, name):
        for topic in (name, f"{name}-dead"):
            by_port("topic", "create", topic)
        words = ("--format", "json", "--dead-letter", f"{name}-dead")
        by_port("produce", name, *words, stdin=b'{"a":1}\nno json\n')
        assert by_port("consume", f"{name}-dead").lines == ["no json"]


@pytest.mark.usefixtures("numbers")
class TestConsume:
    def test_from(self, by_port, numbers):
        places = {"earliest": 0, "latest": 5, "3": 3, "@7200000ms": 2, "-1h": 5, "-2": 3}
        for place, first in places.items():
            result = by_port("consume", numbers, "--from", place)
            assert result.lines == [str(n) for n in range(first, 5)]

    def test_to(self, by_port, numbers):
        places = {"earliest": 0, "latest": 5, "3": 3, "9": 5, "@7200000ms": 2, "now": 5}
        for place, end in places.items():
            result = by_port("consume", numbers, "--to", place)
            assert result.lines == [str(n) for n in range(end)]
        assert by_port("consume", numbers, "--from", 4, "--to", 2).lines == []

    def test_a_group_goes_on_where_it_was_to_end(self, by_port, numbers):
        words = ("consume", numbers, "--group", numbers)
        assert by_port(*words, "--to", 2).lines == ["0", "1"]
        assert by_port(*words, "--to", 2).lines == []
        assert by_port(*words, "--key", "3").lines == ["3"]
        assert by_port(*words).lines == []

    def test_a_key(self, by_port, numbers):
        assert by_port("consume", numbers, "--key", "3").lines == ["3"]
        assert by_port("consume", numbers, "--key", "3", "--max", 1).lines == ["3"]

    def test_records_are_loaded_back(self, by_port, numbers):
        copy = f"{numbers}-copy"
        by_port("topic", "create", copy, "--partitions", 2)
        shown = ("--format", "{partition} {offset} {timestamp} {key} {value} {headers}")
        printed = by_port("consume", numbers, "--format", "json").bytes
        by_port("produce", copy, "--format", "record", stdin=printed)
        assert by_port("consume", copy, *shown).lines == by_port("consume", numbers, *shown).lines

    def test_how_far_a_replay_is(self, by_port, numbers):
        words = ("--progress", "--speed", 4 * HOUR_MS / 1000 / 1.2)  # for 1.2 s
        told = by_port("replay", numbers, *words).err
        assert re.fullmatch(r"(at 1970-01-01T0[34]:\d\d:\S+Z, \d records, 0 s left\n)+", told)

    def test_max(self, by_port, numbers):
        assert by_port("consume", numbers, "--max", 2).lines == ["0", "1"]

    def test_follow(self, spawn, by_port, server, numbers):
        consumer = spawn("consume", numbers, "--follow", "--bootstrap", server.address)
        for n in range(5):
            assert consumer.line() == b"%d\n" % n
        by_port("produce", numbers, stdin=b"more\n")
        assert consumer.line() == b"more\n"
        consumer.send(signal.SIGTERM)
        assert consumer.end() == (143, b"", "")

    def test_replay(self, by_port, numbers):
        words = ("replay", numbers, "--from", "1970-01-01T01:00Z", "--to", "1970-01-01T04:00Z")
        assert by_port(*words).lines == ["1", "2", "3"]
        told = by_port(*words, "--into", f"{numbers}-again").err
        assert f"replayed 3 records of {numbers} into {numbers}-again" in told
        assert by_port("consume", f"{numbers}-again").lines == ["1", "2", "3"]

    def test_replay_in_the_order_of_time_over_all_partitions(self, by_port, name):
        topic = f"{name}-parts"
        by_port("topic", "create", topic, "--partitions", 3)
        by_port("produce", topic, *FIELDS, stdin=lines(50))
        assert by_port("replay", topic).lines == [str(n) for n in range(50)]

    def test_replay_into_another_directory(self, by_port, logstore, numbers, tmp_path):
        words = ("--into", "copy", "--into-data", tmp_path / "other")
        by_port("replay", numbers, *words)
        found = logstore("consume", "copy", "--data", tmp_path / "other").lines
        assert found == [str(n) for n in range(5)]


@pytest.mark.usefixtures("numbers")
class TestGroups:
    def test_it_goes_on_where_it_stopped(self, through, numbers):
        words = ("consume", numbers, "--group", numbers)
        assert through(*words, "--max", 2).lines == ["0", "1"]
        assert through(*words).lines == ["2", "3", "4"]
        assert through(*words).lines == []

    def test_from_counts_until_something_is_committed(self, by_port, numbers):
        words = ("consume", numbers, "--group", numbers, "--from", "3")
        assert by_port(*words, "--max", 1).lines == ["3"]
        assert by_port(*words).lines == ["4"]

    def test_what_has_left_the_process_is_committed(self, spawn, by_port, server, numbers):
        consumer = spawn(
            "consume", numbers, "--group", numbers, "--follow", "--bootstrap", server.address
        )
        for n in range(5):
            assert consumer.line() == b"%d\n" % n
        busy = by_port("group", "reset-offsets", numbers, "--to", "earliest", code=1).err
        assert f"group '{numbers}' is consumed by client logstore" in busy
        busy = by_port("group", "delete", numbers, code=1).err
        assert "is consumed by" in busy
        assert busy.endswith(": stop its consumers first\n")
        assert "consumed by  1 member" in by_port("group", "describe", numbers).out
        consumer.send(signal.SIGTERM)
        assert consumer.end()[0] == 143
        [row] = json.loads(by_port("group", "describe", numbers, "--json").out)["partitions"]
        assert (row["committed"], row["end"], row["lag"]) == (5, 5, 0)

    def test_members_share_and_hand_over(self, spawn, by_port, server, name):
        """Every record once, whoever prints it: what was printed is committed before it goes on."""
        topic = f"{name}-shared"
        by_port("topic", "create", topic, "--partitions", 2)
        words = ("consume", topic, "--group", topic, "--follow", "--bootstrap", server.address)

        def produce(value):
            for partition in (0, 1):
                by_port("produce", topic, "--partition", partition, stdin=value)

        def members():
            described = json.loads(by_port("group", "describe", topic, "--json").out)
            return sorted(len(it["partitions"]) for it in described["members"])

        first = spawn(*words)
        produce(b"a\n")
        assert [first.line(), first.line()] == [b"a\n"] * 2
        second = spawn(*words)
        until(lambda: members() == [1, 1])
        produce(b"b\n")
        assert (first.line(), second.line()) == (b"b\n", b"b\n")
        first.send(signal.SIGTERM)
        assert first.end() == (143, b"", "")
        produce(b"c\n")
        assert [second.line(), second.line()] == [b"c\n"] * 2
        second.send(signal.SIGTERM)
        assert second.end() == (143, b"", "")

    def test_some_partitions(self, by_port, name):
        topic = f"{name}-two"
        by_port("topic", "create", topic, "--partitions", 2)
        for number in range(2):
            by_port("produce", topic, "--partition", number, stdin=b"%d\n" % number)
        words = ("consume", topic, "--group", topic, "--partition", 1)
        assert by_port(*words).lines == ["1"]
        assert by_port(*words).lines == []

    def test_list_describe_reset_delete(self, through, direct, numbers):
        through("consume", numbers, "--group", numbers, "--max", 3)
        listed = f"{numbers} 0 2"
        for where in (through, direct):
            assert listed in [" ".join(it.split()) for it in where("group", "list").lines]
        result = through("group", "reset-offsets", numbers, "--to", "1", "--dry-run")
        assert result.lines[1].split() == [numbers, "0", "3", "1"]
        assert through("group", "reset-offsets", numbers, "--to", "1").out == result.out
        assert through("consume", numbers, "--group", numbers).lines == ["1", "2", "3", "4"]
        assert through("group", "delete", numbers).out == f"deleted group {numbers}\n"
        assert numbers not in through("group", "list").out

    def test_a_committed_offset_that_is_gone(self, by_port, numbers):
        by_port("consume", numbers, "--group", numbers, "--max", 1)
        by_port("topic", "trim", numbers, "--before", 3)
        result = by_port("consume", numbers, "--group", numbers, code=1)
        assert "offset 1 is below the start, 3" in result.err
        assert f"`logstore group reset-offsets {numbers} --out-of-range earliest`" in result.err


REFUSED = [
    (("topic", "describe", "nope"), "no topic 'nope'"),
    (("topic", "offsets", "nope"), "no topic 'nope'"),
    (("topic", "alter", "nope", "--partitions", "2"), "no topic 'nope'"),
    (("topic", "alter", "NAME", "--partitions", "1"), "number can only grow"),
    (("topic", "alter", "NAME", "--config", "retention.mss=1"), "(did you mean retention.ms?)"),
    (("topic", "alter", "NAME", "--config", "retention.ms=soon"), "retention.ms=soon: must be"),
    (("topic", "create", "x", "--config", "retention.mss=1"), "(did you mean retention.ms?)"),
    (("topic", "create", "a/b"), "topic name 'a/b' is not allowed"),
    (("topic", "delete", "nope", "--yes"), "no topic 'nope'"),
    (("topic", "trim", "nope", "--before", "latest"), "no topic 'nope'"),
    (("produce", "nope"), "no topic 'nope'"),
    (("produce", "NAME", "--partition", "9"), "has no partition 9, only 0 to 0"),
    (("consume", "nope"), "no topic 'nope'"),
    (("consume", "NAME", "--partition", "9"), "has no partition 9, only 0 to 0"),
    (("consume", "NAME", "--from", "6"), "offset 6 is above the end, 5"),
    (("consume", "NAME", "--group", "g", "--from", "6"), "offset 6 is above the end, 5"),
    (("replay", "nope"), "no topic 'nope'"),
    (("group", "describe", "nope"), "no group 'nope'"),
    (("group", "delete", "nope"), "no group 'nope'"),
    (("group", "reset-offsets", "nope", "--to", "latest"), "no group 'nope'"),
]


def test_what_can_not_be_is_told_as_of_a_directory(logstore, start_serving, tmp_path, name):
    served = start_serving(tmp_path / "served")  # its own: the messages count its topics
    at = ("--bootstrap", served.address)
    for where in ((), at):
        logstore("topic", "create", name, *where)
        logstore("produce", name, *where, stdin=b"x\n" * 5)
    for words, message in REFUSED:
        given = [name if word == "NAME" else word for word in words]
        told = logstore(*given, *at, code=1).err
        assert message in told
        assert told == logstore(*given, code=1).err


class TestNoServer:
    def test_nobody_listens(self, logstore):
        for words in (("topic", "list"), ("produce", "x"), ("consume", "x"), ("group", "list")):
            told = logstore(*words, "--bootstrap", "127.0.0.1:1", code=1).err
            assert told.startswith("logstore: 127.0.0.1:1: can't be reached: Connection refused")

    def test_no_address(self, logstore):
        for text in ("localhost", "localhost:", ":9092", "a:b", "a:1,b", "a:99999"):
            assert "is not host:port" in logstore("topic", "list", "--bootstrap", text, code=2).err

    def test_two_places_at_once(self, logstore):
        words = ("--data", "here", "--bootstrap", "localhost:9092")
        assert (
            "use --data or --bootstrap, not both" in logstore("topic", "list", *words, code=2).err
        )

    def test_it_may_stand_before_the_command(self, logstore, server):
        assert logstore("topic", "--bootstrap", server.address, "list").lines

    def test_a_server_that_dies_while_it_is_produced_to(
        self, logstore, tmp_path, monkeypatch, name
    ):
        monkeypatch.setattr(cluster_producer, "DELIVERY_S", 3.0)
        acknowledged = threading.Semaphore(0)
        delivered = cluster_producer.ClusterProducer._delivered

        def told_of(producer, error, message):
            delivered(producer, error, message)
            acknowledged.release()

        monkeypatch.setattr(cluster_producer.ClusterProducer, "_delivered", told_of)
        served = Serving(tmp_path / "dying")
        words = ("--bootstrap", served.address)
        logstore("topic", "create", name, *words)
        os.mkfifo(tmp_path / "pipe")

        def feed():
            with open(tmp_path / "pipe", "wb", buffering=0) as pipe:
                pipe.write(b"x\n" * 10)
                for _ in range(10):
                    acknowledged.acquire(timeout=DEADLINE_S)
                served.process.kill()
                pipe.write(b"y\n" * 10)

        feeder = threading.Thread(target=feed)
        feeder.start()
        told = logstore("produce", name, tmp_path / "pipe", *words, code=1).err
        feeder.join()
        served.stop()
        assert "no reply" in told
        assert f"produced 10 records to {name}" in told
        assert len(told.splitlines()) == 1


def test_a_producer_gets_its_id_without_waiting_for_its_clients_timer(server, numbers, caplog):
    """librdkafka looks for a broker to ask anew every half second, and whenever it hears of one."""
    caplog.set_level(logging.DEBUG, "librdkafka")
    settings = {"bootstrap.servers": server.address, "enable.idempotence": True, "debug": "all"}
    producer = Producer(settings, logger=logging.getLogger("librdkafka"))
    cluster_producer.identified(producer, numbers, Address(server.address))
    until(lambda: producer.poll(0) or "Acquired PID" in caplog.text)
    before, _, _ = caplog.text.partition("Acquiring ProducerId")
    since_it_looked = before.rpartition("Starting PID FSM timer")[2]
    assert "Received MetadataResponse" in since_it_looked
    producer.close()


def test_who_follows_outlives_the_server(spawn, logstore, data, start_serving):
    first = start_serving(data)
    words = ("--bootstrap", first.address)
    logstore("topic", "create", "x", *words)
    logstore("produce", "x", *words, stdin=b"1\n")
    consumer = spawn("consume", "x", "--group", "g", "--follow", *words)
    assert consumer.line() == b"1\n"
    first.stop()
    second = start_serving(data, port=first.endpoint[1])
    logstore("produce", "x", *words, stdin=b"2\n")
    assert consumer.line() == b"2\n"
    consumer.send(signal.SIGTERM)
    assert consumer.end() == (143, b"", "")
    second.stop()
    assert logstore("consume", "x", "--group", "g").lines == []


class TestHeldByOthers:
    def test_a_writer_without_a_port_is_named(self, logstore, store):
        logstore("topic", "create", "mine")
        with store("write"):
            for words in ("topic create x", "produce mine", "topic delete mine --yes"):
                told = logstore(*words.split(), code=1).err
                assert f"written by pid {os.getpid()}" in told

    def test_a_group_that_is_consumed_without_the_server_stays_so(
        self, logstore, spawn, data, start_serving
    ):
        logstore("topic", "create", "x")
        logstore("produce", "x", stdin=b"1\n2\n")
        consumer = spawn("consume", "x", "--group", "g", "--follow")
        assert [consumer.line(), consumer.line()] == [b"1\n", b"2\n"]
        start_serving(data)
        pid = f"pid {consumer.popen.pid} "
        assert pid in logstore("group", "describe", "g").out
        assert f"consumed by {pid}" in logstore("group", "delete", "g", code=1).err
        consumer.send(signal.SIGTERM)
        assert consumer.end()[0] == 143
        logstore("produce", "x", stdin=b"3\n")
        assert logstore("consume", "x", "--group", "g").lines == ["3"]


def test_help_needs_no_client(spawn):
    process = spawn("produce", "--help", env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"})
    code, _, told = process.end()
    assert code == 0
    assert "typer" in told
    assert "confluent_kafka" not in told
