"""``logstore schedule``: on a directory that no server has, and through a server."""

import json

import pytest
from serving import Serving

YEAR_MS = 365 * 86_400_000


@pytest.fixture(scope="module")
def served_data(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("schedules") / "data", resp_port=-1, amqp_port=0)
    yield running.data
    code, errors = running.stop()
    assert code == 0
    assert "Traceback" not in errors


@pytest.fixture(params=["here", pytest.param("served", marks=pytest.mark.long)])
def either(request, monkeypatch, data, logstore):
    if request.param == "served":
        monkeypatch.setenv("LOGSTORE_DATA", str(request.getfixturevalue("served_data")))
    return logstore


def made(either):
    either("exchange", "declare", "later", "--type", "x-delayed-message",
           "--argument", "x-delayed-type=topic")  # fmt: skip
    for number in (3, 1, 2):
        either("exchange", "publish", "later", "--key", f"k{number}", "--message", "hello",
               "--header", f"x-delay={number * YEAR_MS}")  # fmt: skip


def test_what_waits_at_an_exchange_is_counted_listed_and_cancelled(either):
    made(either)
    rows = {it["name"]: it for it in json.loads(either("schedule", "list", "--json").out)}
    assert (rows["later"]["kind"], rows["later"]["waiting"]) == ("exchange", 3)
    found = json.loads(either("schedule", "list", "exchange:later", "--json").out)
    assert [it["key"] for it in found] == ["k1", "k2", "k3"]
    assert [it["place"] for it in found] == ["1", "2", "0"]
    shown = either("schedule", "list", "exchange:later", "--limit", "1").lines
    assert shown[0].split() == ["PLACE", "DUE", "KEY", "BYTES"]
    assert shown[1].split()[2:] == ["k1", "5"]
    assert either("schedule", "cancel", "exchange:later", "1", "2").out == "cancelled 2 messages\n"
    again = either("schedule", "cancel", "exchange:later", "0", "1", code=1)
    assert again.out == "cancelled 1 message\n"
    assert "no message waits at offset 1 of exchange 'later'" in again.err
    assert json.loads(either("schedule", "list", "exchange:later", "--json").out) == []


@pytest.mark.long
def test_what_waits_for_a_topic_is_counted_listed_and_cancelled(either):
    either("topic", "create", "orders", "--partitions", "1", "--config", "delivery.schedule=true")
    for number in (2, 1):
        header = f"x-delay={number * YEAR_MS}"
        either("produce", "orders.delayed", "--header", header, stdin=b"v%d\n" % number)
    for _ in range(200):
        found = json.loads(either("schedule", "list", "topic:orders", "--json").out)
        if len(found) == 2:
            break
    assert [(it["place"], it["bytes"]) for it in found] == [("0/1", 2), ("0/0", 2)]
    assert "topic:orders" in either("schedule", "list").out
    assert either("schedule", "cancel", "topic:orders", "0/1").out == "cancelled 1 record\n"
    assert "does not wait" in either("schedule", "cancel", "topic:orders", "0/1", code=1).err
    assert "no record waits" in either("schedule", "cancel", "topic:orders", "0/9", code=1).err


@pytest.mark.long
def test_what_cannot_be_done_is_one_line(either):
    either("exchange", "declare", "plain")
    either("topic", "create", "plain", "--partitions", "1")
    for words, error, code in (
        (("list", "queue:q"), "use exchange:NAME or topic:NAME", 2),
        (("list", "exchange:none"), "no exchange 'none'", 1),
        (("list", "exchange:plain"), "its type is direct, not x-delayed-message", 1),
        (("list", "topic:none"), "no topic 'none'", 1),
        (("list", "topic:plain"), "has no 'plain.delayed': set delivery.schedule=true", 1),
        (("cancel", "exchange:plain", "x"), "use an offset, such as 17", 2),
        (("cancel", "topic:plain", "7"), "use PARTITION/OFFSET, such as 0/17", 2),
        (("cancel", "exchange:plain", "7"), "its type is direct, not x-delayed-message", 1),
    ):
        found = either("schedule", *words, code=code).err
        assert error in found
        assert found.count("\n") == 1
        assert "Traceback" not in found
