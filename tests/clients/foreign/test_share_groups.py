"""Share groups by Kafka's console tool, and by the one that its system tests use."""

import json
import subprocess

import librdkafka
import pytest
import tools

COUNT = 500


@pytest.fixture
def tool(built):
    """tool(server, name, words, ...) -> what it prints."""
    built("java")

    def run(server, name, *words, **more):
        return tools.run(name, "--bootstrap-server", server.address, *words, **more)

    return run


def filled(server, topic, count=COUNT, partitions=1, **config):
    librdkafka.create(server, topic, partitions, **config)
    for number in range(partitions):
        values = [b"%d" % it for it in range(number, count, partitions)]
        # Small batches: one that is large goes to one member as a whole.
        few = {"batch.num.messages": 50}
        assert librdkafka.produce(server, topic, values, partition=number, **few) == []


def from_the_start(tool, server, group):
    """The group reads from the first record on."""
    tool(server, "kafka-configs", "--alter", "--entity-type", "groups", "--entity-name", group,
         "--add-config", "share.auto.offset.reset=earliest")  # fmt: skip


def console(tool, server, topic, group, count, *words):
    return tool(server, "kafka-console-share-consumer", "--topic", topic, "--group", group,
                "--max-messages", count, "--timeout-ms", 30_000, *words)  # fmt: skip


def test_what_one_accepts_another_does_not_get(tool, server, topic):
    group = f"share-{topic}"
    filled(server, topic)
    from_the_start(tool, server, group)
    first = console(tool, server, topic, group, 200).split()
    assert sorted(map(int, first)) == list(range(200))
    rest = console(tool, server, topic, group, COUNT - 200).split()
    assert sorted(map(int, rest)) == list(range(200, COUNT))


def test_what_is_released_comes_again_until_it_was_delivered_too_often(tool, server, topic):
    group = f"share-{topic}"
    filled(server, topic, 3)
    from_the_start(tool, server, group)
    said = console(tool, server, topic, group, 15, "--release").split()
    assert sorted(map(int, said)) == sorted([0, 1, 2] * 5)
    librdkafka.produce(server, topic, [b"3"])
    assert console(tool, server, topic, group, 1).split() == ["3"]


def verifiable(server, topic, group, count):
    """Kafka's own for its system tests: it says what it was given, and what it has accepted."""
    return subprocess.Popen(
        tools.command(
            "kafka-verifiable-share-consumer", "--bootstrap-server", server.address, "--topic",
            topic, "--group-id", group, "--acknowledgement-mode", "sync",
            "--offset-reset-strategy", "earliest", "--max-messages", count,
        ),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def accepted(output):
    """(partition, offset) of what it has accepted, each as often as it was."""
    found = []
    for line in output.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if told.get("name") == "offsets_acknowledged" and told["success"]:
            for it in told["partitions"]:
                found += [(it["partition"], offset) for offset in it["offsets"]]
    return found


def test_several_share_a_partition(server, topic, built):
    """Each asks on until it has accepted its number, by as many as a poll gives: mostly 500, of
    whole batches. So the first has 1,150 at the most, and the other one finds enough.
    """
    built("java")
    group = f"share-{topic}"
    filled(server, topic, 2000)
    wanted, poll = 600, 500 + 50
    running = [verifiable(server, topic, group, wanted) for _ in range(2)]
    one, two = (accepted(it.communicate(timeout=60)[0]) for it in running)
    assert wanted <= len(one) < wanted + poll
    assert wanted <= len(two) < wanted + poll
    assert len(one) + len(two) == len({*one, *two})
