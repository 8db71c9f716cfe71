"""``logstore policy``: on a directory that no server has, and through a server."""

import json

import pytest
from serving import Serving


@pytest.fixture(scope="module")
def served_data(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("policies") / "data", resp_port=-1, amqp_port=0)
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


def test_a_policy_from_its_beginning_to_its_end(either):
    either("queue", "declare", "mail1")
    for n in range(3):
        either("exchange", "publish", "", "--key", "mail1", "--message", str(n))
    for _ in range(2):
        words = (
            "--set",
            "max-length=2",
            "--set",
            "message-ttl=7d",
            "--set",
            "max-length-bytes=1MB",
        )
        made = either("policy", "set", "short", "^mail", *words)
        assert made.out == "set policy short in virtual host /\n"
    assert either("queue", "get", "mail1", "--requeue").out == "1\n"
    definition = '{"overflow": "reject-publish", "max-length": 1}'
    made = either(
        "policy", "set", "drop", "", definition, "--priority", "1.5", "--apply-to", "queues"
    )
    assert made.out == "set policy drop in virtual host /\n"
    rows = json.loads(either("policy", "list", "--json").out)
    assert rows == [
        {"policy": "drop", "pattern": "", "apply_to": "queues", "priority": 1.5,
         "definition": {"overflow": "reject-publish", "max-length": 1}},
        {"policy": "short", "pattern": "^mail", "apply_to": "all", "priority": 0,
         "definition": {
            "max-length": 2, "message-ttl": 604_800_000, "max-length-bytes": 1_000_000,
         }},
    ]  # fmt: skip
    shown = either("policy", "list").lines
    assert shown[0].split() == ["POLICY", "PATTERN", "APPLY-TO", "PRIORITY", "DEFINITION"]
    assert "short" in shown[2]
    for name in ("drop", "short"):
        told = either("policy", "delete", name).out
        assert told == f"deleted policy {name} of virtual host /\n"
    assert json.loads(either("policy", "list", "--json").out) == []
    either("queue", "delete", "mail1", "--yes")


@pytest.mark.long
def test_what_has_no_effect_is_said(either):
    made = either("policy", "set", "ha", "", "--set", "ha-mode=all", "--set", "expires=1")
    assert "ha-mode has no effect here: there is one node" in made.err
    either("policy", "delete", "ha")


SET = ("--set", "expires=1")


@pytest.mark.long
def test_what_cannot_be_done_is_one_line(either):
    for words, error in (
        (("set", "p", "(", *SET), "policy 'p': pattern '(' is not a regular expression of RE2: "
         "missing ): (; use another expression"),
        (("set", "p", ""), "policy 'p': it sets nothing; give at least one setting"),
        (("set", "p", "", "--set", "a=1"), "policy 'p': 'a' is not a setting of policies"),
        (("set", "p", "", "--set", "expires=0"),
         "policy 'p': expires 0 is not a valid queue expiry"),
        (("set", "p", "", *SET, "--apply-to", "x"), "policy 'p': apply-to 'x' is not one of all, "
         "queues, exchanges, classic_queues, quorum_queues, streams"),
        (("delete", "no"), "no policy 'no' in virtual host '/'"),
        (("list", "--vhost", "no"), "no virtual host 'no'; use an existing one"),
    ):  # fmt: skip
        assert either("policy", *words, code=1).err == f"logstore: {error}\n"
    for words, error in (
        (("set", "p", "", "{"), "DEFINITION is not JSON: "),
        (("set", "p", "", "[]"), "DEFINITION is not a JSON object"),
        (("set", "p", "", "--set", "x"), "'x' is not NAME=VALUE"),
        (("set", "p", "", "--set", "expires=1", "--priority", "high"), "'high' is not a number"),
    ):
        assert error in either("policy", *words, code=2).err


@pytest.mark.long
def test_there_is_no_directory(logstore):
    assert logstore("policy", "list", code=1).err.count("\n") == 1
