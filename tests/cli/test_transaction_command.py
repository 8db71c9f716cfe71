"""``logstore transaction`` beside a server, and without one."""

import json
from types import SimpleNamespace

import pytest
from logstore_cli import transaction as command

ROWS = [
    {"id": "copier", "state": "Ongoing", "producer_id": "4294967296", "epoch": 3,
     "timeout_ms": 60_000, "began_ms": 1_700_000_000_000, "since_ms": 1_700_000_000_000,
     "partitions": 2},
    {"id": "idle", "state": "CompleteCommit", "producer_id": "4294967297", "epoch": 0,
     "timeout_ms": 1500, "began_ms": None, "since_ms": 1_700_000_000_000, "partitions": 0},
]  # fmt: skip
PARTS = [
    {"topic": "orders", "partition": 0, "first_offset": "7", "holds_back": True},
    {"topic": None, "partition": 4, "first_offset": "9", "holds_back": False},
]


@pytest.fixture
def asked(monkeypatch):
    """What a server was asked that has two ids."""
    found = []

    def rows(*path, **query):
        found.append((path, query))
        return ROWS[:1] if query else ROWS

    def get(*path):
        parts = PARTS if path[1] == "copier" else []
        row = next(it for it in ROWS if it["id"] == path[1])
        return {**row, "parts": parts, "groups": ["g", "h"]}

    def post(*path, value):
        found.append(("post", *path, value))

    server = SimpleNamespace(rows=rows, get=get, post=post)
    monkeypatch.setattr(command, "_server", lambda _: server)
    return found


def test_all_are_listed_with_what_they_are_at(asked, logstore):
    lines = logstore("transaction", "list").lines
    assert [line.split() for line in lines[1:]] == [
        ["copier", "Ongoing", "4294967296", "3", "2", "2023-11-14T22:13:20.000Z", "60", "s"],
        ["idle", "CompleteCommit", "4294967297", "0", "0", "-", "1.5", "s"],
    ]
    assert json.loads(logstore("transaction", "list", "--open", "--json").out) == ROWS[:1]
    assert asked == [(("transactions",), {}), (("transactions",), {"open": "true"})]


def test_one_is_shown_with_whom_it_holds_back(asked, logstore):
    lines = logstore("transaction", "describe", "copier").lines
    assert [line.split() for line in lines[-2:]] == [
        ["orders", "0", "7", "yes"], ["-", "4", "9", "no"]
    ]  # fmt: skip
    assert "g, h" in "\n".join(lines)
    assert "holds" not in logstore("transaction", "describe", "idle").out
    found = json.loads(logstore("transaction", "describe", "copier", "--json").out)
    assert found["parts"] == PARTS


def test_several_are_aborted(asked, logstore):
    logstore("transaction", "abort", "copier", "idle")
    assert asked == [("post", "transactions", it, "abort", None) for it in ("copier", "idle")]


def test_without_a_server_there_is_one_line(logstore, tmp_path):
    done = logstore("transaction", "list", "--data", tmp_path, code=1)
    assert done.err.count("\n") == 1
