"""``logstore exchange`` and ``logstore queue``: on a directory that no server has, and on one that
is served, through the server. What they print is the same.
"""

import json
import signal

import pytest
from serving import Serving

import logstore as library


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("broker") / "data", amqp_port=0)
    yield running
    code, errors = running.stop()
    assert code == 0
    assert "Traceback" not in errors


@pytest.fixture(params=["here", pytest.param("served", marks=pytest.mark.long)])
def way(request, monkeypatch, data):
    """Whether the directory is open here, or in a server that all these tests share."""
    if request.param == "served":
        monkeypatch.setenv("LOGSTORE_DATA", str(request.getfixturevalue("broker").data))
    return request.param


@pytest.fixture
def both(way, logstore):
    """As ``logstore``, in either way; what it declares is gone afterwards."""
    made = []

    def run(*words, **given):
        if words[1] == "declare" and words[2:]:
            made.append((words[0], words[2]))
        return logstore(*words, **given)

    yield run
    for what, name in made if way == "served" else ():
        if not name.startswith("amq."):
            logstore(what, "delete", name, "--yes", code=None)


@pytest.fixture
def events(both):
    """A topic exchange, and a queue that is bound to it."""
    both("exchange", "declare", "events", "--type", "topic")
    both("queue", "declare", "mail")
    both("exchange", "bind", "events", "mail", "--key", "mail.#")


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """As ``events`` makes it, for all that changes nothing."""
    path = tmp_path_factory.mktemp("standing") / "data"
    with library.open(path) as store:
        store.exchange("events", "topic")
        store.queue("mail").bind("events", "mail.#")
    return path


def publish(logstore, *words, **given):
    return logstore("exchange", "publish", *words, **given)


def objects(result):
    return [json.loads(line) for line in result.lines]


def ready(logstore, queue):
    found = json.loads(logstore("queue", "list", "--json").out)
    return next(it["ready"] for it in found if it["queue"] == queue)


def test_declaring_makes_the_store(logstore, data):
    assert logstore("exchange", "declare", "e").out == "declared exchange e of type direct\n"
    assert logstore("queue", "declare", "q").out == "declared queue q\n"
    assert data.is_dir()


@pytest.mark.parametrize("words", [("queue", "list"), ("exchange", "list"), ("queue", "get", "q")])
def test_looking_makes_no_store(logstore, data, words):
    assert "not a store" in logstore(*words, code=1).err
    assert not data.exists()


@pytest.mark.usefixtures("events")
def test_a_message_goes_where_its_key_leads(both):
    result = publish(both, "events", "--key", "mail.new", "--message", "hello")
    assert (result.out, result.err) == ("published 1 message to events\n", "")
    result = publish(both, "events", "--key", "sms.new", "--message", "hello")
    assert result.err == "1 message reached no queue\n"
    assert both("queue", "consume", "mail").out == "hello\n"
    assert both("queue", "consume", "mail").out == ""


@pytest.mark.usefixtures("events")
def test_lines_become_messages_with_headers_and_properties(both):
    lines = b'{"kind":"mail.a","n":1}\n{"kind":"mail.b","n":2}\n'
    result = publish(
        both, "events", "--key-field", "kind", "--header-field", "n", "--header", "from=test",
        "--property", "priority=3", "--property", "content-type=application/json", stdin=lines,
    )  # fmt: skip
    assert result.err.startswith("published 2 messages to events (48 B read in ")
    assert result.err.endswith(" messages/s)\n")
    found = objects(both("queue", "consume", "mail", "--format", "json"))
    assert [it.pop("body") for it in found] == lines.decode().splitlines()
    assert [it.pop("key") for it in found] == ["mail.a", "mail.b"]
    assert [it.pop("headers") for it in found] == [
        {"from": "test", "n": "1"}, {"from": "test", "n": "2"},
    ]  # fmt: skip
    properties = {"content_type": "application/json", "delivery_mode": 2, "priority": 3}
    assert found[0] == {
        "queue": "mail", "exchange": "events", "redelivered": False, "properties": properties,
    }  # fmt: skip


@pytest.mark.usefixtures("events")
def test_a_line_that_is_no_message_ends_it_or_is_skipped(both):
    lines = b'{"kind":"mail.a"}\nno json\n{"kind":"mail.b"}\n'
    words = ("events", "--key-field", "kind")
    told = publish(both, *words, stdin=lines, code=1).err
    assert "line 2: not JSON" in told
    assert told.endswith(
        "published 1 message to events. Correct the line, or use --on-error skip\n"
    )
    told = publish(both, *words, "--on-error", "skip", stdin=lines).err
    assert "published 2 messages" in told
    assert "skipped 1 line" in told
    assert ready(both, "mail") == 3


@pytest.mark.usefixtures("events")
def test_peek_shows_messages_and_takes_none(both):
    for body, key in (("a", "mail.1"), ("b" * 3000, "mail.2"), ("c", "mail.3")):
        publish(both, "events", "--key", key, "--message", body, "--header", "h=1")
    template = ("--format", "{position} {state} {key} {headers} {redelivered} {body}")
    result = both("queue", "peek", "mail", "--max", 2, *template)
    assert result.lines == [
        '0 ready mail.1 {"h":"1"} no a', '1 ready mail.2 {"h":"1"} no ' + "b" * 3000,
    ]  # fmt: skip
    assert result.err == "there are more messages: begin with --from 2\n"
    result = both("queue", "peek", "mail", "--from", 2, "--format", "json")
    [found] = objects(result)
    assert (found["position"], found["state"], found["body"]) == ("2", "ready", "c")
    assert found["properties"] == {"delivery_mode": 2}
    assert result.err == ""
    assert both("queue", "peek", "mail").out == f"a\n{'b' * 3000}\nc\n"
    assert ready(both, "mail") == 3
    assert both("queue", "get", "mail", "--format", "{redelivered}").out == "no\n"


@pytest.mark.usefixtures("events")
def test_what_can_not_be_peeked_is_said(both):
    assert "no queue 'nobody'" in both("queue", "peek", "nobody", code=1).err
    assert (
        "not the position of a message" in both("queue", "peek", "mail", "--from", "x", code=1).err
    )
    assert "bodi" in both("queue", "peek", "mail", "--format", "{bodi}", code=2).err
    both("queue", "peek", "mail", "--vhost", "v", code=1)


@pytest.mark.usefixtures("events")
def test_get_shows_messages_or_takes_them(both):
    publish(both, "events", "--key", "mail.x", stdin=b"a\nb\nc\n")
    assert both("queue", "get", "mail", "--requeue", "--max", 2).out == "a\nb\n"
    assert both("queue", "get", "mail").out == "a\n"
    again = both("queue", "get", "mail", "--max", 9, "--format", "{redelivered} {key} {body}")
    assert again.out == "yes mail.x b\nno mail.x c\n"
    assert both("queue", "get", "mail").out == ""


def test_what_get_rejects_is_a_dead_letter(both):
    both("queue", "declare", "dead")
    to_dead = ("x-dead-letter-exchange=", "x-dead-letter-routing-key=dead")
    both("queue", "declare", "work", *(it for one in to_dead for it in ("--argument", one)))
    publish(both, "", "--key", "work", stdin=b"a\nb\n")
    assert both("queue", "get", "work", "--reject", "--requeue", code=2).out == ""
    assert both("queue", "get", "work", "--reject").out == "a\n"
    [found] = objects(both("queue", "get", "dead", "--format", "json"))
    assert (found["body"], found["headers"]["x-death"][0]["reason"]) == ("a", "rejected")
    assert both("queue", "get", "work", "--max", 9).out == "b\n"


@pytest.mark.usefixtures("events")
def test_consume_takes_as_many_as_it_is_told(both):
    publish(both, "events", "--key", "mail.x", stdin=b"".join(b"%d\n" % n for n in range(1500)))
    assert both("queue", "consume", "mail", "--max", 2).lines == ["0", "1"]
    assert ready(both, "mail") == 1498
    found = both("queue", "consume", "mail", "--format", "hex")
    assert found.lines[0] == b"2".hex()
    assert len(found.lines) == 1498
    assert ready(both, "mail") == 0


def test_the_highest_priority_comes_first_and_the_rejected_go_elsewhere(both):
    both("queue", "declare", "dead")
    arguments = (
        "x-max-priority=5", "x-max-length=2", "x-overflow=reject-publish",
        "x-dead-letter-exchange=", "x-dead-letter-routing-key=dead", "x-message-ttl=1h",
    )  # fmt: skip
    both("queue", "declare", "work", *(it for one in arguments for it in ("--argument", one)))
    described = json.loads(both("queue", "describe", "work", "--json").out)
    assert described["arguments"]["x-max-priority"] == 5
    assert described["arguments"]["x-message-ttl"] == 3_600_000
    publish(both, "", "--key", "work", "--message", "low")
    publish(both, "", "--key", "work", "--message", "high", "--property", "priority=5")
    told = publish(both, "", "--key", "work", "--message", "more", code=1).err
    assert told.startswith("logstore: a queue is full and did not take 1 message; ")
    assert both("queue", "consume", "work").lines == ["high", "low"]
    publish(both, "", "--key", "work", "--message", "old", "--property", "expiration=0")
    both("queue", "consume", "work")
    found = objects(both("queue", "get", "dead", "--format", "json"))
    assert found[0]["headers"]["x-death"][0]["reason"] == "expired"


@pytest.mark.usefixtures("events")
def test_what_is_described(both):
    text = both("exchange", "describe", "events").out
    assert "type         topic" in text
    assert "mail.#  queue  mail" in text
    found = json.loads(both("exchange", "describe", "events", "--json").out)
    assert (found["durable"], found["bindings"][0]["destination"]) == (True, "mail")
    found = json.loads(both("queue", "describe", "mail", "--json").out)
    assert [it["key"] for it in found["bindings"]] == ["mail", "mail.#"]
    assert "(default)  mail" in both("queue", "describe", "mail").out
    names = [it["exchange"] for it in json.loads(both("exchange", "list", "--json").out)]
    assert names[0] == ""
    assert {"events", "amq.topic"} <= set(names)


@pytest.mark.long
@pytest.mark.usefixtures("events")
def test_exchanges_are_bound_to_exchanges(both):
    both("exchange", "declare", "all", "--type", "fanout")
    both("exchange", "bind", "all", "events", "--to-exchange")
    publish(both, "all", "--key", "mail.x", "--message", "through")
    assert both("queue", "consume", "mail").out == "through\n"
    both("exchange", "unbind", "all", "events", "--to-exchange")
    told = publish(both, "all", "--key", "mail.x", "--message", "nowhere").err
    assert told == "1 message reached no queue\n"


def test_an_argument_that_no_queue_has_is_warned_of(both):
    words = ("--argument", "x-max-prio=5", "--argument", "x-max-length=9")
    result = both("queue", "declare", "work", *words)
    assert result.out == "declared queue work\n"
    assert result.err == (
        "queue work: unknown argument x-max-prio (did you mean x-max-priority?); it has no effect\n"
    )
    described = json.loads(both("queue", "describe", "work", "--json").out)
    assert described["arguments"] == {"x-max-length": 9, "x-max-prio": 5}


@pytest.mark.usefixtures("events")
def test_a_message_expires_after_a_duration(both):
    words = ("--message", "soon gone", "--property", "expiration=1h")
    publish(both, "events", "--key", "mail.x", *words)
    [found] = objects(both("queue", "get", "mail", "--format", "json"))
    assert found["properties"]["expiration"] == "3600000"


@pytest.mark.usefixtures("events")
def test_the_key_of_a_binding_is_said_and_so_is_one_that_is_empty(both):
    words = ("events", "mail", "--key", "a.#")
    assert both("exchange", "bind", *words).out == "bound mail to events with key 'a.#'\n"
    assert both("exchange", "unbind", *words).out == "unbound mail from events with key 'a.#'\n"
    assert both("exchange", "bind", "events", "mail").out == "bound mail to events with key ''\n"
    result = publish(both, "events", "--message", "hello")
    assert (result.out, result.err) == ("published 1 message to events with key ''\n", "")
    both("exchange", "unbind", "events", "mail")
    told = publish(both, "events", stdin=b"a\nb\n").err
    assert told.endswith("\n2 messages with key '' reached no queue\n")


@pytest.mark.usefixtures("events")
def test_a_binding_that_there_is_not_is_not_said_to_be_removed(both):
    unbind = ("exchange", "unbind", "events", "mail")
    both("exchange", "bind", "events", "mail", "--key", "b", "--argument", "n=1")
    assert both(*unbind, code=1).err == (
        "logstore: mail is not bound to events with key '', but with 'b', 'mail.#'; name the key"
        " with --key\n"
    )
    assert 'name those of the binding: {"n": 1}' in both(*unbind, "--key", "b", code=1).err
    both(*unbind, "--key", "b", "--argument", "n=1")
    both(*unbind, "--key", "mail.#")
    assert both(*unbind, code=1).err == (
        "logstore: mail is not bound to events; `logstore exchange describe` shows its bindings\n"
    )
    assert "no queue 'nobody'" in both("exchange", "unbind", "events", "nobody", code=1).err


@pytest.mark.parametrize("name", ["(default)", "amq.default"])
@pytest.mark.usefixtures("events")
def test_the_default_exchange_is_said_to_have_no_name(both, name):
    assert publish(both, name, "--key", "mail", "--message", "x", code=1).err == (
        f"logstore: no exchange '{name}'; the name of the default exchange is empty: ''\n"
    )


@pytest.mark.usefixtures("events")
def test_a_topic_taken_for_a_queue_is_said_to_be_one_and_the_reverse(both):
    both("topic", "create", "flights")
    assert both("queue", "consume", "flights", code=1).err == (
        "logstore: 'flights' is a topic, not a queue; `logstore consume flights` reads it\n"
    )
    told = both("exchange", "bind", "events", "flights", code=1).err
    assert told.endswith("; bind it with --to topic:flights\n")
    assert both("consume", "mail", code=1).err == (
        "logstore: no topic 'mail'; 'mail' is a queue: `logstore queue consume mail` reads it\n"
    )


@pytest.mark.usefixtures("events")
def test_deleting_is_confirmed(both):
    publish(both, "events", "--key", "mail.x", stdin=b"a\nb\n")
    words = (
        ("queue", "purge", "mail"),
        ("queue", "delete", "mail"),
        ("exchange", "delete", "events"),
    )
    for command in words:
        assert "use --yes to delete" in both(*command, code=2).err
    assert ready(both, "mail") == 2
    assert "not empty" in both("queue", "delete", "mail", "--if-empty", "--yes", code=1).err
    assert both("queue", "purge", "mail", "--yes").out == "purged queue mail of 2 messages\n"
    told = both("exchange", "delete", "events", "--if-unused", "--yes", code=1).err
    assert "has bindings" in told
    both("exchange", "delete", "events", "--yes")
    assert both("queue", "delete", "mail", "--yes").out == (
        "deleted queue mail and its 0 messages\n"
    )
    assert json.loads(both("queue", "list", "--json").out) == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("queue", "get", "none"), 1, "no queue 'none'; declare it first"),
        (("queue", "consume", "none"), 1, "no queue 'none'"),
        (("exchange", "publish", "none", "--message", "a"), 1, "no exchange 'none'"),
        (("exchange", "bind", "events", "none"), 1, "no queue 'none'"),
        (("exchange", "bind", "none", "mail"), 1, "no exchange 'none'"),
        (("queue", "get", "mial"), 1, "no queue 'mial' (did you mean mail?)"),
        (("queue", "describe", "mial"), 1, "no queue 'mial' (did you mean mail?)"),
        (("queue", "browse", "mial"), 1, "no queue 'mial' (did you mean mail?)"),
        (("exchange", "bind", "events", "mial"), 1, "no queue 'mial' (did you mean mail?)"),
        (("exchange", "describe", "evnts"), 1, "no exchange 'evnts' (did you mean events?)"),
        (("exchange", "publish", "evnts", "--message", "a"), 1, "(did you mean events?)"),
        (
            ("exchange", "bind", "mail", "events"),
            1,
            "'mail' is a queue, not an exchange; the exchange comes first",
        ),
        (
            ("exchange", "bind", "events", "amq.fanout"),
            1,
            "'amq.fanout' is an exchange, not a queue; bind it with --to-exchange",
        ),
        (
            ("exchange", "publish", "mail", "--message", "a"),
            1,
            "'mail' is a queue, not an exchange; publish to it with `logstore exchange publish ''"
            " --key mail`",
        ),
        (("queue", "consume", "events"), 1, "'events' is an exchange, not a queue; a queue"),
        (("exchange", "declare", "x", "--type", "topc"), 1, "unknown exchange type 'topc'"),
        (
            ("exchange", "declare", "x", "--type", "topik"),
            1,
            "(did you mean topic?); use one of direct, fanout, headers, topic, x-consistent-hash",
        ),
        (
            ("queue", "declare", "q", "--argument", "x-queue-type=quorm"),
            1,
            "invalid queue type; use classic, quorum or stream",
        ),
        (
            ("queue", "declare", "q", "--argument", "x-message-ttl=soon"),
            2,
            "x-message-ttl=soon: must be a number of ms, or an amount such as 90s, 1h or 7d",
        ),
        (("exchange", "declare", "events"), 1, "already exists with type topic, not direct"),
        (("exchange", "declare", "amq.mine"), 1, "reserved"),
        (("queue", "declare", "mail", "--argument", "x-max-priority=5"), 1, "already exists"),
        (("queue", "declare", "q", "--argument", "x-max-priority=high"), 1, "x-max-priority"),
        (("queue", "declare", "q", "--argument", "novalue"), 2, "is not NAME=VALUE"),
        (("queue", "declare", "q", "--argument", f"a={1 << 70}"), 2, "does not fit a field"),
        (("queue", "declare", "q", "--argument", f"{'n' * 256}=1"), 2, "at most 255 bytes"),
        (
            ("queue", "declare", "q", "--argument", "a=" + '{"a":' * 200 + "1" + "}" * 200),
            2,
            "nested more than 128 deep",
        ),
        (("queue", "declare", "q" * 256), 1, "a name of 256 bytes"),
        (("queue", "get", "q" * 256), 1, "a name of 256 bytes"),
        (("queue", "get", "mail", "--vhost", "v" * 256), 1, "no virtual host 'vvv"),
        (("exchange", "declare", "x", "--type", "t" * 256), 1, "unknown exchange type 'ttt"),
        (("exchange", "bind", "events", "mail", "--key", "k" * 256), 1, "routing key of 256"),
        (
            ("exchange", "publish", "events", "--key", "k" * 256, "--message", "m"),
            1,
            "routing key of 256",
        ),
        (
            (
                "exchange",
                "publish",
                "events",
                "--key",
                "k",
                "--header",
                f"{'n' * 256}=1",
                "--message",
                "m",
            ),
            1,
            "at most 255 bytes",
        ),
        (
            ("exchange", "publish", "events", "--property", "priority=256"),
            2,
            "too large for this property",
        ),
        (
            ("exchange", "publish", "events", "--property", "type=" + "t" * 256),
            2,
            "too large for this property",
        ),
        (
            ("exchange", "publish", "events", "--property", "expiration=soon", "--message", "m"),
            2,
            "expiration=soon: must be a number of ms, or an amount such as 90s, 1h or 7d",
        ),
        (("queue", "get", "mail", "--format", "jsno"), 2, "did you mean json"),
        (("queue", "get", "mail", "--format", "{bdy}"), 2, "did you mean body"),
        (("exchange", "publish", "events", "--property", "prio=1"), 2, "no property 'prio'"),
        (("exchange", "publish", "events", "--property", "priority=x"), 2, "must be a number"),
        (("exchange", "publish", "events", "--on-error", "no"), 2, "must be stop or skip"),
        (
            ("exchange", "publish", "events", "f", "--message", "a"),
            2,
            "--message replaces the input",
        ),
    ],
)
def test_what_cannot_be_is_one_line(way, request, standing, logstore, words, code, message):
    if way == "here":
        request.getfixturevalue("monkeypatch").setenv("LOGSTORE_DATA", str(standing))
    else:
        request.getfixturevalue("events")
    told = logstore(*words, code=code).err
    assert message in told.splitlines()[-1]
    assert "Traceback" not in told


@pytest.fixture
def mail(logstore):
    logstore("queue", "declare", "mail")


@pytest.mark.long
@pytest.mark.usefixtures("mail")
def test_follow_prints_until_a_signal_and_gives_back_nothing(logstore, spawn):
    publish(logstore, "", "--key", "mail", stdin=b"a\nb\n")
    process = spawn("queue", "consume", "mail", "--follow")
    assert [process.line() for _ in range(2)] == [b"a\n", b"b\n"]
    told = logstore("queue", "list", code=1).err
    assert "logstore queue consume mail --follow" in told  # who has the store
    process.send(signal.SIGTERM)
    assert process.end()[0] == 143
    assert ready(logstore, "mail") == 0


def test_names_of_queues_reach_no_terminal_as_they_are(logstore):
    evil = "e\x1b[2J\nforged\u202e"
    told = logstore("exchange", "declare", evil).out + logstore("queue", "declare", evil).out
    told += logstore("exchange", "bind", evil, evil, "--key", evil).out
    for words in (("list",), ("describe", evil), ("delete", evil, "--yes")):
        told += logstore("queue", *words).out + logstore("exchange", *words).out
    told += logstore("queue", "get", evil, code=1).err
    assert [it for it in told if not it.isprintable() and it != "\n"] == []
    assert not any(line.startswith("forged") for line in told.splitlines())


def test_numbers_that_are_none_are_texts_in_json(both):
    def no_json(word):
        raise AssertionError(f"{word} is not JSON")

    both("queue", "declare", "odd", "--argument", "x-a=NaN", "--argument", "x-b=1e999")
    told = both("queue", "describe", "odd", "--json").out
    found = json.loads(told, parse_constant=no_json)
    assert found["arguments"] == {"x-a": "nan", "x-b": "inf"}
