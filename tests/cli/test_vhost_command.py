"""``logstore vhost``: on a directory that no server has, and through a server."""

import json

import pytest
from serving import Serving


@pytest.fixture(scope="module")
def served_data(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("vhosts") / "data", resp_port=-1, amqp_port=0)
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


def test_a_virtual_host_from_its_beginning_to_its_end(either):
    for _ in range(2):
        assert either("vhost", "add", "a/b").out == "added virtual host a/b\n"
    either("queue", "declare", "q", "--vhost", "a/b")
    either("exchange", "publish", "", "--key", "q", "--message", "x", "--vhost", "a/b")
    rows = {it["vhost"]: it for it in json.loads(either("vhost", "list", "--json").out)}
    assert list(rows) == ["/", "a/b"]
    assert rows["a/b"] == {"vhost": "a/b", "exchanges": 7, "queues": 1}
    assert "q" not in either("queue", "list").out
    assert either("vhost", "list").lines[2].split() == ["a/b", "7", "1"]
    asked = either("vhost", "delete", "a/b", code=2).err
    assert "use --yes to delete virtual host a/b and its 1 queue" in asked
    assert either("vhost", "delete", "a/b", "--yes").out == "deleted virtual host a/b\n"
    assert either("vhost", "list").lines[1:] == [either("vhost", "list").lines[-1]]
    assert "no virtual host 'a/b'" in either("queue", "list", "--vhost", "a/b", code=1).err


def test_what_cannot_be_done_is_one_line(either):
    either("queue", "declare", "q")
    for words, error in (
        (("add", "x" * 256), "a virtual host of 256 bytes: names have 1 to 255 bytes"),
        (("add", ""), "a virtual host without a name: names have 1 to 255 bytes"),
        (("delete", "no", "--yes"), "no virtual host 'no'; use an existing one"),
        (("delete", "/", "--yes"),
         "the default virtual host stays; delete its queues and exchanges instead"),
    ):  # fmt: skip
        assert either("vhost", *words, code=1).err == f"logstore: {error}\n"


def test_there_is_no_directory(logstore):
    assert logstore("vhost", "list", code=1).err.count("\n") == 1
