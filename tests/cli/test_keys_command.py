"""``logstore keys`` beside a server, and without one."""

import json
from types import SimpleNamespace

import pytest
from logstore_cli import keys as command

ROWS = [
    {"key": "a", "type": "string", "expires_ms": None, "bytes": 3, "elements": None,
     "value": {"text": "Ada"}},
    {"key": "h", "type": "hash", "expires_ms": 1, "bytes": 2000, "elements": 2,
     "value": [[{"text": "f"}, {"base64": "/g=="}], [{"text": "g"}, {"text": "1"}]]},
]  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """What a server was asked that has two keys, and gives one at a time."""
    found = []

    def get(*path, **query):
        found.append((path, query))
        if len(path) == 1:
            row = dict.fromkeys(("expiring", "hits", "misses", "expired", "evicted"), 0)
            return {"loading": False, "damage": None, "failing": "no space left", "databases": [
                {"database": 3, "topic": "__keys.3", "keys": 2, "bytes": 2048, **row}]}  # fmt: skip
        if len(path) == 3:
            return next(it for it in ROWS if it["key"] == path[2])
        at = int(query["cursor"])
        return {"items": ROWS[at : at + 1], "cursor": "1" if at == 0 else None}

    def delete(*path):
        found.append(("delete", *path))

    monkeypatch.setattr(command, "_server", lambda _: SimpleNamespace(get=get, delete=delete))
    return found


def test_all_keys_are_listed_part_by_part(asked, logstore):
    lines = logstore("keys", "list", "user:*", "--type", "hash", "-n", "3").lines
    assert [line.split() for line in lines] == [
        ["KEY", "TYPE", "EXPIRES", "ELEMENTS", "SIZE", "VALUE"],
        ["a", "string", "-", "-", "3", "B", "Ada"],
        ["h", "hash", "in", "0", "s", "2", "2.0", "KiB", "f:", "/g==,", "g:", "1"],
    ]
    query = {"pattern": "user:*", "type": "hash"}
    assert asked == [(("keys", "3"), {**query, "cursor": it}) for it in ("0", "1")]


def test_no_more_are_asked_for_than_are_wanted(asked, logstore):
    [line] = logstore("keys", "list", "--max", "1", "--json").lines
    assert json.loads(line) == ROWS[0]
    assert len(asked) == 1


def test_one_is_shown_with_its_elements(asked, logstore):
    lines = logstore("keys", "get", "h").lines
    assert [line.split() for line in lines[-3:]] == [["FIELD", "VALUE"], ["f", "/g=="], ["g", "1"]]
    assert logstore("keys", "get", "a").out.endswith("\nAda\n")
    assert json.loads(logstore("keys", "get", "a", "--json").out) == ROWS[0]


def test_keys_are_deleted_and_databases_are_counted(asked, logstore):
    assert "deleted 2 keys" in logstore("keys", "delete", "a", "b", "--database", "3").out
    assert asked == [("delete", "keys", "3", "a"), ("delete", "keys", "3", "b")]
    done = logstore("keys", "stats")
    assert done.lines[1].split()[:4] == ["3", "__keys.3", "2", "0"]
    assert "no space left" in done.err


def test_without_a_server_it_is_said_how_to_begin_one(data, logstore):
    data.mkdir()
    assert "start one with `logstore serve`" in logstore("keys", "list", code=1).err
