"""Members of share groups at a real server: over restarts, in commands and over HTTP."""

import json
import signal
import subprocess
import time
import urllib.request

import pytest
from confluent_kafka import ShareConsumer
from librdkafka import create, produce
from serving import COMMAND, DEADLINE_S
from wire_client import WireClient

from logstore.kafka.messages import (
    describe_configs,
    incremental_alter_configs,
    share_group_describe,
    share_group_heartbeat,
)

pytestmark = pytest.mark.long

GROUP, LOCK = 32, "share.record.lock.duration.ms"


def beat(client, member, epoch=0, topics=("t",)):
    request = share_group_heartbeat.Request("g", member, epoch, None, topics)
    return client.ask(76, 1, request, share_group_heartbeat.Response)


def numbers(answer):
    return {n for it in answer.assignment.topic_partitions for n in it.partitions}


def group_of(server):
    host, port = server.http
    with urllib.request.urlopen(f"http://{host}:{port}/api/v1/groups/g") as answer:
        return json.load(answer)


def said(server, *words):
    command = [COMMAND, *words, "--data", server.data]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_members_and_settings_are_there_when_the_server_is_back(start, how):
    server = start()
    create(server, "t", 4)
    with WireClient(server.endpoint) as client:
        assert numbers(beat(client, "m")) == {0, 1, 2, 3}
        two = beat(client, "n")
        one = beat(client, "m", 1, None)
        assert (one.member_epoch, two.member_epoch) == (2, 2)
        assert numbers(one) | numbers(two) == {0, 1, 2, 3}
        change = incremental_alter_configs.AlterableConfig(LOCK, 0, "15000")
        resource = incremental_alter_configs.AlterConfigsResource(GROUP, "g", [change])
        request = incremental_alter_configs.Request([resource])
        [told] = client.ask(44, 1, request, incremental_alter_configs.Response).responses
        assert told.error_code == 0, told.error_message
    server.stop(how)
    server = start()
    with WireClient(server.endpoint) as client:
        assert beat(client, "m", 2, None).error_code == 0
        assert numbers(beat(client, "n", 2)) == numbers(two)
        request = describe_configs.Request([describe_configs.Resource(GROUP, "g", [LOCK])])
        [found] = client.ask(32, 4, request, describe_configs.Response).results
        assert [it.value for it in found.configs] == ["15000"]
        beat(client, "m", -1, None), beat(client, "n", -1, None)
    server.stop(how)
    server = start()
    with WireClient(server.endpoint) as client:
        request = share_group_describe.Request(["g"])
        [group] = client.ask(77, 1, request, share_group_describe.Response).groups
        assert (group.group_state, group.members) == ("Empty", [])
        assert group.group_epoch == group.assignment_epoch
        assert beat(client, "o").member_epoch == group.group_epoch + 1
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors


def test_the_api_shows_how_far_librdkafkas_share_consumer_is(start):
    server = start(http_port=0, group_share_auto_offset_reset="earliest")
    create(server, "t")
    produce(server, "t", [b"%d" % n for n in range(10)])
    consumer = ShareConsumer({"bootstrap.servers": server.address, "group.id": "g"})
    consumer.subscribe(["t"])
    found, deadline = [], time.monotonic() + DEADLINE_S
    while len(found) < 10 and time.monotonic() < deadline:
        found += [it.value() for it in consumer.poll(0.5)]
    assert (len(found), group_of(server)["members_total"]) == (10, 1)
    consumer.commit_sync(10.0)
    consumer.close()
    produce(server, "t", [b"10"])
    group = group_of(server)
    assert [(it["committed"], it["lag"]) for it in group["partitions"]] == [("10", "1")]
    assert (group["lag"], group["members"], group["state"]) == ("1", [], "Empty")
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors


def test_commands_and_the_api_show_who_is_there(start):
    server = start(http_port=0)
    create(server, "t", 4)
    with WireClient(server.endpoint) as client:
        beat(client, "m")
        assert said(server, "group", "list").stdout == "GROUP  MEMBERS  LAG\ng            1    -\n"
        found = json.loads(said(server, "group", "describe", "g", "--json").stdout)
        assert [it["id"] for it in found["members"]] == ["m"]
        assert found["members"][0]["partitions"] == [["t", n] for n in range(4)]
        assert {(it["committed"], it["lag"]) for it in found["partitions"]} == {(None, None)}
        group = group_of(server)
        assert (group["kind"], group["members_total"]) == ("share", 1)
        moved = said(server, "group", "reset-offsets", "g", "--to", "earliest", "--topic", "t")
        assert (moved.returncode, "is a share group" in moved.stderr) == (1, True)
        address = server.address
        command = [COMMAND, "group", "describe", "g", "--bootstrap", address]
        remote = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        assert "is a share group" in remote.stderr, remote.stderr
        assert remote.returncode == 1
        busy = said(server, "group", "delete", "g")
        assert (busy.returncode, len(busy.stderr.splitlines())) == (1, 1)
        beat(client, "m", -1, None)
        assert said(server, "group", "delete", "g").returncode == 0
        assert said(server, "group", "list").stdout == "GROUP  MEMBERS  LAG\n"
    code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors
