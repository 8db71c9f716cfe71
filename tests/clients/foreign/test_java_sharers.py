"""Members of share groups (KIP-932), by Apache Kafka's own client and tools."""

import json
import re
import signal
from contextlib import ExitStack

import librdkafka
import pytest
import tools
from speaking import Program, until

COUNT = 300


class Sharer(Program):
    """Commits what it has been given, after telling of it."""

    def __init__(self, words):
        super().__init__(words)
        self.records = []  # (value, how often it was delivered)
        self.done = []  # values that are committed
        self.failed = 0  # commits

    def note(self, told):
        self.records += [tuple(it) for it in told.get("records", ())]
        self.done += told.get("done", ())
        self.failed += "failed" in told


@pytest.fixture
def share(built):
    """share(server, group, **settings) -> a new member, in a process of its own."""
    with ExitStack() as stack:

        def begin(server, group, **settings):
            told = json.dumps({"topic": "t", "group": group, **settings})
            sharer = Sharer([*built("java sharer"), server.address, told])
            stack.callback(sharer.close)
            return sharer

        yield begin


@pytest.fixture
def tool(built):
    built("java")
    return tools.run


def filled(server, tool, group="g", partitions=3):
    librdkafka.create(server, "t", partitions)
    for n in range(partitions):
        values = [b"%d" % it for it in range(n, COUNT, partitions)]
        assert librdkafka.produce(server, "t", values, n) == []
    tool(
        "kafka-configs", "--bootstrap-server", server.address, "--entity-type", "groups",
        "--entity-name", group, "--alter", "--add-config", "share.auto.offset.reset=earliest",
    )  # fmt: skip
    return {str(it) for it in range(COUNT)}


MODES = [
    {"mode": "implicit"},
    {"mode": "explicit"},
    {"mode": "explicit", "acquire": "record_limit"},
]


@pytest.mark.parametrize("settings", MODES, ids=lambda it: " ".join(it.values()))
def test_members_share_records_and_each_is_done_once(start, share, tool, settings):
    server = start()
    values = filled(server, tool)
    one, two = share(server, "g", **settings), share(server, "g", **settings)
    until(lambda: len(one.done) + len(two.done) >= COUNT, one, two)
    assert sorted(one.done + two.done) == sorted(values)
    assert one.failed == two.failed == 0
    often = {value for value, deliveries in one.records + two.records if deliveries > 1}
    expected = (
        {it for it in values if it.endswith("3")} if settings["mode"] == "explicit" else set()
    )
    assert often == expected
    one.close()
    two.close()
    assert offsets(tool, server) == {("t", n): (COUNT // 3, 0) for n in range(3)}
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors


def offsets(tool, server, group="g"):
    """Where the group stands, and how far behind."""
    said = tool(
        "kafka-share-groups", "--bootstrap-server", server.address, "--describe", "--group", group
    )
    rows = re.findall(rf"^{group}\s+(\S+)\s+(\d+)\s+(\d+|-)\s+(\d+|-)", said, re.MULTILINE)
    return {(topic, int(n)): (int(start), int(lag)) for topic, n, start, lag in rows}


def test_a_member_goes_on_when_the_server_was_killed(start, share, tool):
    server = start()
    values = filled(server, tool)
    sharer = share(server, "g", mode="explicit")
    until(lambda: len(sharer.done) >= 50, sharer)
    server.stop(signal.SIGKILL)
    again = start(port=server.endpoint[1])
    until(lambda: set(sharer.done) == values, sharer)
    assert len(sharer.done) == len(values)  # nothing that was committed came again
    sharer.close()
    assert offsets(tool, again) == {("t", n): (COUNT // 3, 0) for n in range(3)}


def test_tools_move_groups_and_delete_them(start, share, tool):
    server = start()
    filled(server, tool, partitions=1)
    sharer = share(server, "g")
    until(lambda: len(sharer.done) >= COUNT, sharer)
    at = "--bootstrap-server", server.address
    said = tool("kafka-share-groups", *at, "--delete", "--group", "g", fails=None)
    assert "GroupNotEmptyException" in said
    sharer.close()
    tool(
        "kafka-share-groups", *at, "--reset-offsets", "--to-earliest", "--topic", "t",
        "--group", "g", "--execute",
    )  # fmt: skip
    assert offsets(tool, server) == {("t", 0): (0, COUNT)}
    tool("kafka-share-groups", *at, "--delete-offsets", "--topic", "t", "--group", "g")
    assert offsets(tool, server) == {}
    assert "was successful" in tool("kafka-share-groups", *at, "--delete", "--group", "g")
    assert "g" not in tool("kafka-share-groups", *at, "--list").split()
    assert server.stop()[0] == 0
