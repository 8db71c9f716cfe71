"""The log of a server: for people or for machines, of each part as much as was asked for."""

import json
import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logstore_cli import ends
from logstore_cli.logs import AsJson, ServerLog, server_log

from logstore import log_facts
from logstore.settings import LOG_PARTS


@pytest.fixture
def err(monkeypatch, capfdbinary):
    """What a server's log has said in here, as lines; everything is as it was afterwards."""
    monkeypatch.setattr(ends, "_look", None)
    root, ours = logging.getLogger(), logging.getLogger("logstore")
    monkeypatch.setattr(root, "handlers", [])
    loggers = [ours, *(logging.getLogger(f"logstore.{it}") for it in LOG_PARTS)]
    levels = [it.level for it in loggers]
    yield lambda: capfdbinary.readouterr().err.decode().splitlines()
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def log_of(part):
    return logging.getLogger(f"logstore.{part}")


def record(message, *given_, name="logstore.queues", **more):
    return logging.LogRecord(name, logging.WARNING, "", 0, message, given_, None, **more)


def test_a_line_of_json_says_what_and_about_what(err):
    ServerLog().show("json", "info")
    log_of("kafka").info("%s: came in", "10.0.0.1:5", extra=log_facts.about(peer="10.0.0.1:5", n=3))
    [line] = map(json.loads, err())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "part": "kafka", "message": "10.0.0.1:5: came in",
        "peer": "10.0.0.1:5", "n": 3,
    }  # fmt: skip


def test_a_bug_is_one_line_of_json_too(err):
    ServerLog().show("json")
    try:
        raise ValueError("x\ny")
    except ValueError:
        log_of("server").exception("a bug")
    [line] = map(json.loads, err())
    assert (line["level"], line["message"]) == ("error", "a bug")
    assert line["exception"].startswith("Traceback")
    assert "x\ny" in line["exception"]


@given(st.text(st.characters()), st.dictionaries(st.text(max_size=5), st.text() | st.integers()))
def test_whatever_is_said_is_one_line_of_ascii_that_every_reader_takes(message, facts):
    it = record("%s", message)
    it.facts = facts
    line = AsJson().format(it)
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    found["message"].encode()  # no half of a pair, which some readers refuse
    assert {"time", "level", "part", "message"} <= set(found)
    assert found["part"] == "queues"


def test_no_fact_takes_the_place_of_the_line_itself():
    it = record("it")
    it.facts = {"message": "other", "level": "debug"}
    found = json.loads(AsJson().format(it))
    assert (found["message"], found["level"]) == ("it", "warning")


def test_the_time_is_of_the_line_and_universal():
    it = record("it")
    it.created = 86_400.9996
    assert json.loads(AsJson().format(it))["time"] == "1970-01-02T00:00:01.000Z"


def test_each_part_says_as_much_as_was_asked_for(err):
    ServerLog().show("text", "error", ["kafka=info", "amqp=debug"])
    for part in ("kafka", "amqp", "resp"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            log_of(part).log(level, "said")
    assert [line.split(",", 1)[1].split(" ", 1)[1] for line in err()] == [
        "INFO logstore.kafka: said",
        "WARNING logstore.kafka: said",
        "ERROR logstore.kafka: said",
        "DEBUG logstore.amqp: said",
        "INFO logstore.amqp: said",
        "WARNING logstore.amqp: said",
        "ERROR logstore.amqp: said",
        "ERROR logstore.resp: said",
    ]


@pytest.mark.parametrize(("level", "shown"), [("warning", ["early"]), ("error", [])])
def test_what_was_said_before_it_was_known_how_is_shown_as_it_is_to_look(err, level, shown):
    log = ServerLog()
    log_of("config").warning("early")
    assert err() == []
    log.show("json", level)
    assert [json.loads(line)["message"] for line in err()] == shown


@pytest.mark.parametrize(("form", "shown"), [("text", "early"), ("json", '"message": "early"')])
def test_what_was_said_is_shown_though_there_was_no_beginning(err, form, shown):
    def fails():
        log_of("config").warning("early")
        raise KeyError

    with pytest.raises(KeyError), server_log(form):
        fails()
    [line] = err()
    assert shown in line


def test_what_the_command_says_itself_is_json_too(err, capfdbinary):
    ServerLog().show("json")
    ends.tell("serving x: Kafka clients at 127.0.0.1:9092")
    ends.say("logstore: no such thing")
    ends.say("logstore: warning: beware", "warning")
    told = capfdbinary.readouterr()
    lines = [*told.out.splitlines(), *told.err.splitlines()]
    assert [(it["level"], it["message"]) for it in map(json.loads, lines)] == [
        ("info", "serving x: Kafka clients at 127.0.0.1:9092"),
        ("error", "no such thing"),
        ("warning", "warning: beware"),
    ]


def test_every_part_of_the_program_can_be_named():
    said = set()
    for file in Path(log_facts.__file__).parent.rglob("*.py"):
        said |= set(re.findall(r'getLogger\("logstore\.(\w+)"\)', file.read_text()))
    assert said <= set(LOG_PARTS)
    assert sorted(LOG_PARTS) == list(LOG_PARTS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--log-level", "kafak=info"], "a part is one of access"),
        (["--log-level", "loud"], "one of debug, info, warning, error"),
        (["--log-format", "xml"], "one of text, json"),
    ],
)
def test_a_level_or_format_that_there_is_not_is_refused(logstore, err, words, said):
    assert said in logstore("serve", *words, code=2).err


@pytest.mark.long
def test_a_server_that_can_not_begin_says_so_in_json(spawn):
    doors = ("kafka", "resp", "amqp", "mqtt", "stomp", "http")
    ports = [word for door in doors for word in (f"--{door}-port", -1)]
    process = spawn("serve", "--log-format", "json", *ports)
    code, out, errors = process.end()
    [line] = map(json.loads, errors.splitlines())
    assert (code, out, line["level"]) == (1, b"", "error")
    assert "no port is open for clients" in line["message"]
