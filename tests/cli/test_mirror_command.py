"""``logstore mirror`` between real stores and a real server, whichever side is which."""

import json
import random
import signal
from itertools import count
from pathlib import Path

import pytest
from cli_process import DEADLINE_S
from confluent_kafka import Producer
from librdkafka import admin
from logstore_cli.mirror.journal import FILE, Journal
from waiting import until

import logstore as library
from logstore.records.record import Message

pytestmark = pytest.mark.long

NUMBERS = count()


class Side:
    """A store or a cluster: what leads to it, and what it holds."""

    def __init__(self, logstore, words, text):
        self._logstore, self._words, self.text = logstore, words, text

    def __call__(self, *words, **more):
        return self._logstore(*words, *self._words, **more)

    def records(self, topic):
        """All but the offsets, by partition."""
        found = {}
        for line in self("consume", topic, "--format", "json").lines:
            record = json.loads(line)
            del record["offset"]
            found.setdefault(record["partition"], []).append(record)
        return found

    def committed(self, group):
        rows = json.loads(self("group", "describe", group, "--json").out)["partitions"]
        return {(it["topic"], it["partition"]): it["committed"] for it in rows}


@pytest.fixture
def store_side(logstore, tmp_path):
    def make():
        path = tmp_path / f"store-{next(NUMBERS)}"
        return Side(logstore, ("--data", path), path)

    return make


@pytest.fixture
def cluster_side(logstore, server):
    def make(running=server):
        return Side(logstore, ("--bootstrap", running.address), running.address)

    return make


@pytest.fixture
def second_server(tmp_path, start_serving):
    return lambda: start_serving(tmp_path / "second")


def fill(side, topic):
    """Everything that a record may have, in three partitions."""
    side("topic", "create", topic, "--partitions", 3, "--config", "retention.ms=-1")
    lines = [
        {"k": f"key-{n}", "t": f"@{1_000_000 + n}ms", "h": "x" * n, "v": f"value-{n}" * n}
        for n in range(80)
    ]
    fields = "--key-field k --timestamp-field t --header-field h --value-field v".split()  # noqa: SIM905
    data = b"".join(json.dumps(it).encode() + b"\n" for it in lines)
    side("produce", topic, "--header", "same=", *fields, stdin=data)
    side("consume", topic, "--group", topic, "--max", 7)


@pytest.mark.parametrize("from_", ["store", "cluster"])
@pytest.mark.parametrize("to", ["store", "cluster"])
def test_each_direction(
    logstore, store_side, cluster_side, second_server, name, from_, to, tmp_path
):
    source = store_side() if from_ == "store" else cluster_side()
    words = ["mirror", "--from", source.text, "--topic", name, "--group", name, "--to"]
    if (from_, to) == ("cluster", "cluster"):
        target = cluster_side(second_server())
        assert (
            "a copy between two clusters needs --state" in logstore(*words, target.text, code=2).err
        )
        words += [target.text, "--state", tmp_path / "state"]
    else:
        target = store_side() if to == "store" else cluster_side()
        words.append(target.text)
    fill(source, name)
    told = logstore(*words)
    assert told.lines[0] == f"{name}: 80 records"
    assert told.lines[1].startswith(f"group {name}: ")
    assert told.err == ""
    assert target.records(name) == source.records(name)
    assert len(target.records(name)) == 3
    settings = json.loads(target("topic", "describe", name, "--json").out)["settings"]
    assert settings["retention.ms"] == {"value": -1, "source": "topic"}
    go_on = ("consume", name, "--group", name, "--format", "{partition} {value}")
    left = sorted(source(*go_on).lines)
    assert len(left) == 73
    assert sorted(target(*go_on).lines) == left
    source("produce", name, "--partition", 1, stdin=b"more\n")
    assert logstore(*words).lines[0] == f"{name}: 1 record"
    assert target.records(name) == source.records(name)
    assert target.committed(name) == source.committed(name)


def test_between_stores_batches_keep_their_bytes(logstore, store_side, name):
    source, target = store_side(), store_side()
    fill(source, name)
    logstore("mirror", "--from", source.text, "--to", target.text)

    def batches(side):
        with library.open(side.text, "read") as store:
            logs = store.topic(name).partitions
            return [bytes(it.data) for log in logs for it in log.read(0, 1 << 20)]

    assert batches(source) == batches(target)


def test_a_producer_s_number_stays_where_it_means_something(logstore, server, store_side, name):
    """The server's batches have it: in the copy another producer may come to have the same."""
    source, target = Side(logstore, ("--data", server.data), server.data), store_side()
    source("topic", "create", name)
    source("produce", name, stdin=b"1\n2\n")
    logstore("mirror", "--from", source.text, "--to", target.text, "--topic", name)
    with library.open(server.data, "read") as store:
        assert store.topic(name).partition(0).read(0, 1)[0].producer_id >= 0
    with library.open(target.text, "read") as store:
        [batch] = store.topic(name).partition(0).read(0, 1)
        batch.check()
        assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (-1, -1, -1)
    assert target("consume", name).lines == ["1", "2"]


@pytest.mark.parametrize("to", ["store", "cluster"])
def test_a_compacted_source(logstore, store_side, cluster_side, name, to):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    source, target = store_side(), store_side() if to == "store" else cluster_side()
    words = ("--config", "cleanup.policy=compact", "--config", "segment.bytes=400")
    source("topic", "create", name, *words)
    with library.open(source.text, "write") as store:
        for n in range(120):
            store.topic(name).append_many(
                [Message(b"%d" % n, b"%d" % rng.randrange(25)) for _ in range(rng.randint(1, 4))]
            )
    source("compact", "run")
    with library.open(source.text, "read") as store:
        offsets = [record.offset for record in store.consumer(name)]
    assert offsets[-1] - offsets[0] >= len(offsets)  # there are gaps
    at = rng.choice(offsets[:-1]) + 1  # often within a gap
    source("consume", name, "--group", name, "--max", 1)
    source("group", "reset-offsets", name, "--to", at)
    run = ("mirror", "--from", source.text, "--to", target.text, "--topic", name, "--group", name)
    logstore(*run)
    assert target.records(name) == source.records(name)
    left = source("consume", name, "--group", name).lines
    assert len(left) == sum(it >= at for it in offsets)
    assert target("consume", name, "--group", name).lines == left
    settings = json.loads(target("topic", "describe", name, "--json").out)["settings"]
    assert settings["cleanup.policy"]["value"] == ["compact"]
    assert f"{name}: 0 records" in logstore(*run).lines


def copied(folder):
    """How much of the source is noted."""
    files = list(folder.glob(f"*/{FILE}"))
    lines = files[0].read_bytes().split(b"\n")[:-1] if files else []
    last = json.loads(lines[-1]) if lines else [""]
    return last[3] + last[5] if last[0] == "run" else 0


def kill_at(goal, mirror, notes):
    """Whether it was still at work."""
    until(lambda: copied(notes) >= goal or mirror.popen.poll() is not None)
    at_work = mirror.popen.poll() is None
    mirror.send(signal.SIGKILL)
    mirror.popen.wait()
    return at_work


@pytest.mark.parametrize("to", ["store", "cluster"])
def test_killed_and_continued(logstore, spawn, store_side, cluster_side, name, tmp_path, to):
    source, target = store_side(), store_side() if to == "store" else cluster_side()
    source("topic", "create", name)
    records = 4000
    with library.open(source.text, "write") as store, store.producer(name) as producer:
        producer.send_many([Message(b"%d " % n + b"x" * 1000) for n in range(records)])
    notes = tmp_path / "notes"
    words = ("mirror", "--from", source.text, "--to", target.text, "--state", notes)
    kills = sum(kill_at(goal, spawn(*words), notes) for goal in (1, 2000))
    assert kills  # or nothing was tried
    logstore(*words)
    values = [line.split()[0] for line in target("consume", name).lines]
    assert values == [str(n) for n in range(records)]


# The command as it is, but for how often it looks around.
ATTENTIVE = """
from logstore_cli.main import main
from logstore_cli.mirror import command
command.LOOK_AROUND_S = 0.05
main()
"""


def parts(side, topic):
    return len(json.loads(side("topic", "describe", topic, "--json").out)["partitions"])


class TestFollow:
    def test_what_comes_is_copied_until_it_is_stopped(
        self, logstore, spawn, store_side, cluster_side, name
    ):
        source, target = store_side(), cluster_side()
        fill(source, name)
        target("topic", "create", name)
        words = ("mirror", "--from", source.text, "--to", target.text)
        mirror = spawn(*words, "--follow", "--group", name)
        until(lambda: parts(target, name) == 3)
        reader = spawn("consume", name, "--follow", "--bootstrap", target.text)
        for _ in range(80):
            reader.line()
        source("produce", name, stdin=b"later\n")
        assert reader.line() == b"later\n"
        mirror.send(signal.SIGTERM)
        code, out, err = mirror.end()
        assert (code, err) == (143, "")
        assert f"{name}: 81 records" in out.decode()
        reader.send(signal.SIGTERM)
        reader.end()
        assert target.committed(name)[name, 0] == 7

    def test_new_topics_and_partitions_are_taken_in(self, spawn_python, store_side, name):
        source, target = store_side(), store_side()
        fill(source, name)
        words = ("mirror", "--from", source.text, "--to", target.text, "--follow")
        mirror = spawn_python(ATTENTIVE, *words)
        until(lambda: (target.text / "catalog.mdb").exists())
        source("topic", "alter", name, "--partitions", 4)
        source("produce", name, "--partition", 3, stdin=b"new\n")
        source("topic", "create", f"{name}-2")
        source("produce", f"{name}-2", stdin=b"new\n")

        def there():
            try:
                with library.open(target.text, "read") as store:
                    parts = store.topic(name).partitions
                    more = store.topic(f"{name}-2").partition(0)
                    return len(parts) == 4 and parts[3].safe == 1 and more.safe == 1
            except library.LogstoreError:
                return False

        until(there)
        mirror.send(signal.SIGINT)
        assert mirror.end()[0] == 130
        assert target.records(name) == source.records(name)


def test_a_store_that_a_server_holds(logstore, store_side, start_serving, tmp_path, name):
    """It is written through the server; a later mirror goes on where that one ended."""
    source, served = store_side(), Side(logstore, ("--data", tmp_path / "held"), tmp_path / "held")
    fill(source, name)
    server = start_serving(served.text)
    words = ("mirror", "--from", source.text, "--to")
    assert f"{name}: 80 records" in logstore(*words, served.text).lines
    source("produce", name, stdin=b"1\n")
    by_port = (server.address, "--state", served.text / "mirror")
    assert f"{name}: 1 record" in logstore(*words, *by_port).lines
    server.stop()
    source("produce", name, stdin=b"2\n")
    assert f"{name}: 1 record" in logstore(*words, served.text).lines
    assert served.records(name) == source.records(name)
    assert "nothing is damaged" in served("verify").out


def test_others_write_to_a_cluster_s_copy_at_the_same_time(
    logstore, store_side, cluster_side, name, monkeypatch
):
    source, target = store_side(), cluster_side()
    source("topic", "create", name)
    source("produce", name, stdin=b"1\n2\n")
    note = Journal.note

    def written_meanwhile(journal, runs):
        note(journal, runs)
        producer = Producer({"bootstrap.servers": target.text})
        producer.produce(name, b"theirs")
        assert producer.flush(DEADLINE_S) == 0
        producer.close()

    words = ("mirror", "--from", source.text, "--to", target.text)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "note", written_meanwhile)
        told = logstore(*words, code=1).err
    assert f"{name}-0: the record at offset 0 of the source was to stand at 0" in told
    assert "another program wrote to the copy" in logstore(*words, code=1).err


class TestTimestamps:
    def test_the_time_of_the_append_is_kept_in_a_store(self, logstore, store_side, name):
        source, target = store_side(), store_side()
        source("topic", "create", name, "--config", "message.timestamp.type=LogAppendTime")
        source("produce", name, stdin=b"1\n2\n")
        logstore("mirror", "--from", source.text, "--to", target.text)
        assert target.records(name) == source.records(name)

    def test_in_a_cluster_too_and_the_setting_is_not(
        self, logstore, store_side, cluster_side, name
    ):
        source, target = store_side(), cluster_side()
        source("topic", "create", name, "--config", "message.timestamp.type=LogAppendTime")
        source("produce", name, stdin=b"1\n2\n")
        told = logstore("mirror", "--from", source.text, "--to", target.text).err
        assert f"topic {name}: message.timestamp.type=LogAppendTime is not copied" in told
        assert target.records(name) == source.records(name)

    def test_what_the_client_can_not_send(self, logstore, store_side, cluster_side, name):
        source, target = store_side(), cluster_side()
        source("topic", "create", name)
        words = ("--timestamp-field", "t", "--value-field", "v")
        source("produce", name, *words, stdin=b'{"t":0,"v":"a"}\n{"t":"@5ms","v":"b"}\n')
        told = logstore("mirror", "--from", source.text, "--to", target.text).err
        assert f"{name}-0: the record at offset 0 of the source has timestamp 0" in told
        found = target("consume", name, "--format", "{timestamp_ms} {value}").lines
        assert found == ["1 a", "5 b"]


class TestRefused:
    def test_the_same_on_both_sides(self, logstore, server):
        told = logstore("mirror", "--from", server.data, "--to", server.address, code=1).err
        assert "are the same" in told

    def test_what_is_not_there(self, logstore, store_side, name):
        source, target = store_side(), store_side()
        fill(source, name)
        words = ("mirror", "--from", source.text, "--to", target.text)
        assert "no topic 'nope'" in logstore(*words, "--topic", "nope", code=1).err
        assert "no group 'nope'" in logstore(*words, "--group", "nope", code=1).err
        for words in (("--topic", name, "--topic", "nope"), ("--group", name, "--group", "nope")):
            logstore("mirror", "--from", source.text, "--to", "untouched", *words, code=1)
            assert not Path("untouched").exists()  # refused before anything is done
        assert "not a store" in logstore("mirror", "--from", "no", "--to", "x", code=1).err
        assert (
            "can't be reached"
            in logstore("mirror", "--from", source.text, "--to", "127.0.0.1:1", code=1).err
        )

    def test_a_topic_with_other_records(self, logstore, store_side, name):
        source, target = store_side(), store_side()
        for side in (source, target):
            fill(side, name)
        told = logstore("mirror", "--from", source.text, "--to", target.text, code=1).err
        assert f"topic '{name}' already has records in the target" in told

    def test_a_record_that_the_cluster_does_not_take_is_named(
        self, logstore, store_side, cluster_side, name
    ):
        source, target = store_side(), cluster_side()
        source("topic", "create", name)
        large = bytes(range(97, 123)) * 50
        source("produce", name, "--batch-bytes", 1, stdin=b"1\n2\n%b\n4\n" % large)
        target("topic", "create", name, "--config", "max.message.bytes=500")
        words = ("mirror", "--from", source.text, "--to", target.text, "--compression", "none")
        told = logstore(*words, code=1)
        assert f"{name}-0: the record at offset 2 of the source: topic '{name}'" in told.err
        target("topic", "alter", name, "--config", "max.message.bytes=5000")
        logstore(*words)
        assert len(target("consume", name).lines) == 4

    def test_settings_of_logstore_alone(self, logstore, store_side, name):
        source, target = store_side(), store_side()
        source("topic", "create", name, "--config", "retention.groups=a")
        assert logstore("mirror", "--from", source.text, "--to", target.text).err == ""
        settings = json.loads(target("topic", "describe", name, "--json").out)["settings"]
        assert settings["retention.groups"] == {"value": ["a"], "source": "topic"}

    def test_a_group_that_is_consumed_in_the_copy_stays_where_it_is(
        self, logstore, spawn, store_side, cluster_side, name
    ):
        source, target = store_side(), cluster_side()
        fill(source, name)
        words = ("mirror", "--from", source.text, "--to", target.text, "--group", name)
        target("topic", "create", name, "--partitions", 3)
        reader = spawn("consume", name, "--group", name, "-f", "--bootstrap", target.text)
        until(lambda: name in target("group", "list").out)
        until(lambda: "1 member" in target("group", "describe", name).out)
        told = logstore(*words, code=1).err
        assert f"group {name} is not moved: group '{name}' is consumed by" in told
        for _ in range(80):
            reader.line()
        reader.send(signal.SIGTERM)
        assert reader.end()[0] == 143
        logstore(*words)
        assert target.committed(name)[name, 0] == 7


def test_queues_are_neither_shown_to_kafka_clients_nor_mirrored(logstore, tmp_path, start_serving):
    data = tmp_path / "data"
    with library.open(data) as store:
        store.create_topic("t").append(b"x")
        store.queue("mail", max_priority=2).publish(b"1", priority=1)
    logstore("mirror", "--from", data, "--to", tmp_path / "copy")
    server = start_serving(data)
    assert set(admin(server).list_topics(timeout=DEADLINE_S).topics) == {"t"}
    logstore("mirror", "--from", server.address, "--to", tmp_path / "other")
    for copy in ("copy", "other"):
        with library.open(tmp_path / copy, "read") as store:
            assert store.topics() == ["t"]
            assert store.status().queues == 0
        assert not (tmp_path / copy / "queues").exists()
