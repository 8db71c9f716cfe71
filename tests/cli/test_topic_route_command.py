"""Topics that feed exchanges, and exchanges that lead to topics: on a directory that no server has,
and through a server.
"""

import json

import pytest
from serving import Serving


@pytest.fixture(scope="module")
def served_data(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("routes") / "data", resp_port=-1, amqp_port=0)
    yield running.data
    code, errors = running.stop()
    assert code == 0
    assert "Traceback" not in errors


@pytest.fixture(params=["here", pytest.param("served", marks=pytest.mark.long)])
def either(request, monkeypatch, data, logstore):
    """``logstore``, whose directory is open here, or in a server that all these tests share."""
    if request.param == "served":
        monkeypatch.setenv("LOGSTORE_DATA", str(request.getfixturevalue("served_data")))
    return logstore


def test_a_topic_feeds_an_exchange_until_it_is_told_not_to(either):
    either("topic", "create", "flights")
    either("exchange", "declare", "events", "--type", "topic")
    either("queue", "declare", "lh")
    either("exchange", "bind", "events", "lh", "--key", "LH.#")
    made = either(
        "topic", "route", "flights", "--to", "exchange:events", "--key", "{header:carrier}.{key}",
        "--fallback", "none",
    )  # fmt: skip
    assert made.out == "topic flights is published to exchange:events\n"
    fields = ("--format", "json", "--key-field", "key", "--header", "carrier=LH")
    either("produce", "flights", *fields, stdin=b'{"key": "a1"}\n')
    got = either("queue", "consume", "lh", "--follow", "--max", "1")
    assert got.out == '{"key": "a1"}\n'
    [row] = json.loads(either("topic", "routes", "--json").out)
    assert (row["topic"], row["exchange"], row["key"]) == (
        "flights", "events", "{header:carrier}.{key}"
    )  # fmt: skip
    assert (row["fallback"], row["waits"]) == ("none", None)
    shown = either("topic", "routes").lines
    assert shown[0].split() == ["TOPIC", "EXCHANGE", "KEY", "LAG", "WAITS", "FOR"]
    assert row["group"] in either("group", "list").out
    gone = either("topic", "unroute", "flights", "--to", "exchange:events")
    assert gone.out == "topic flights is no longer published to exchange:events\n"
    assert json.loads(either("topic", "routes", "--json").out) == []
    again = either("topic", "unroute", "flights", "--to", "exchange:events", code=None)
    assert "does not feed" in again.err


@pytest.mark.long
def test_an_exchange_leads_to_a_topic_and_a_channel(either):
    either("topic", "create", "audit")
    either("exchange", "declare", "orders", "--type", "topic")
    bound = either("exchange", "bind", "orders", "--to", "topic:audit", "--key", "order.#")
    assert bound.out == "bound topic:audit to orders with key 'order.#'\n"
    either("exchange", "bind", "orders", "--to", "channel:news")
    either("exchange", "publish", "orders", "--key", "order.eu", "--message", "one")
    either("exchange", "publish", "orders", "--key", "other", "--message", "two")
    read = either("consume", "audit", "--from", "earliest", "--format", "json")
    [record] = [json.loads(it) for it in read.lines]
    assert (record["key"], record["value"]) == ("order.eu", "one")
    assert {"name": "amqp.exchange", "value": "orders"} in record["headers"]
    gone = either("exchange", "unbind", "orders", "--to", "topic:audit", "--key", "order.#")
    assert gone.out == "unbound topic:audit from orders with key 'order.#'\n"


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("topic", "route", "t1", "--to", "queue:q"), "is not an exchange"),
        (("topic", "route", "t1", "--to", "exchange:none"), "no exchange 'none'"),
        (("topic", "route", "none", "--to", "exchange:amq.topic"), "no topic 'none'"),
        (("topic", "route", "t1", "--to", "exchange:amq.topic", "--key", "{x}"), "no field {x}"),
        (("topic", "route", "t1", "--to", "exchange:amq.topic", "--from", "soon"), "soon"),
        (("exchange", "bind", "amq.topic", "--to", "topic:none"), "no topic 'none'"),
        (("exchange", "bind", "amq.topic", "--to", "queue:q"), "topic:NAME or channel:NAME"),
        (("exchange", "bind", "amq.topic", "q", "--to", "topic:t1"), "leave out DESTINATION"),
        (("exchange", "bind", "amq.topic"), "DESTINATION, or use --to"),
    ],
)
def test_what_can_not_be_ends_with_one_line(either, command, why):
    either("topic", "create", "t1", code=None)  # there from the test before, on a server
    refused = either(*command, code=None)
    assert why in refused.err
    assert "Traceback" not in refused.err
    assert json.loads(either("topic", "routes", "--json").out) == []


@pytest.mark.long
def test_a_circle_is_refused_with_its_way(either):
    either("topic", "create", "round")
    either("exchange", "declare", "in", "--type", "fanout")
    either("topic", "route", "round", "--to", "exchange:in")
    refused = either("exchange", "bind", "in", "--to", "topic:round", code=None)
    assert "topic round -> exchange 'in'" in refused.err
    either("topic", "unroute", "round", "--to", "exchange:in")
