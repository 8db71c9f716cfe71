"""The audit log over HTTP: who did what, the newest first, for those who may read it."""

import json
from contextlib import closing

import pytest
from http_topics import Topical, users

from logstore.access.audit import DONE, REFUSED, Entry
from logstore.names import AUDIT_TOPIC
from logstore.protocols.http.native import audit

SECOND = 1_700_000_000_000
AUDITOR = [("read", "topic", AUDIT_TOPIC)]


def entry(number, event="topic", outcome=DONE, user="ann", what=None, host="192.0.2.1"):
    at = SECOND + 1000 * number
    said = {what or f"deleted t{number}": None}
    return Entry(event, outcome, user, host, "http", "PLAIN", at, at + 5, 1 + number, said)


ENTRIES = [entry(number) for number in range(40)] + [
    entry(40, "access", REFUSED, "eve", "read topic secret"),
    entry(41, "login", REFUSED, 'e"v\\e', "x"),
    entry(42, "login", DONE, "\u00e4nn", "x", host="198.51.100.7"),
]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A log with some entries, and a record that is none."""
    path = tmp_path_factory.mktemp("audit") / "data"
    found = Topical(path, users(ann=[("describe", "topic", AUDIT_TOPIC)], bob=AUDITOR))
    topic = found.topics.create(AUDIT_TOPIC, 1, {})
    for it in ENTRIES:
        topic.append(json.dumps(it.fields()).encode(), it.key(), timestamp_ms=it.last_ms)
    topic.append(b"no entry", timestamp_ms=SECOND + 90_000)
    found.user = "bob"
    yield found
    found.close()


def asked(api, query=""):
    return api.ask("GET", f"audit{query}")


def test_the_newest_come_first(api):
    found = asked(api, "?page_size=3")
    first = found["items"][0]
    assert first == {
        "offset": "42", "time_ms": SECOND + 42_005, "first_ms": SECOND + 42_000, "event": "login",
        "outcome": "done", "user": "\u00e4nn", "host": "198.51.100.7", "door": "http",
        "mechanism": "PLAIN", "what": "x", "count": 43,
    }  # fmt: skip
    assert [it["offset"] for it in found["items"]] == ["42", "41", "40"]
    assert (found["total"], found["complete"], found["damages"]) == (44, True, [])
    found = asked(api, "?page_size=3&page=2")
    assert [it["what"] for it in found["items"]] == ["deleted t39", "deleted t38", "deleted t37"]
    assert asked(api, "?page=9")["items"] == []


@pytest.mark.parametrize(
    ("query", "offsets"),
    [
        ("?event=login", [42, 41]), ("?outcome=refused", [41, 40]),
        ("?event=login&outcome=refused", [41]), ("?user=eve", [40]), ("?user=%C3%A4nn", [42]),
        ("?user=e%22v%5Ce", [41]), ("?user=%ff", []), ("?host=198.51.100.7", [42]),
        ("?filter=secret", [40]), ("?filter=t39", [39]), ("?filter=198.51", [42]),
        ("?filter=eve", [40]), ("?filter=nope", []), ("?door=resp", []),
        (f"?from_ms={SECOND + 40_000}", [42, 41, 40]),
        (f"?until_ms={SECOND + 1006}&user=ann", [1, 0]),
        (f"?from_ms={SECOND + 2000}&until_ms={SECOND + 3006}", [3, 2]),
    ],
)  # fmt: skip
def test_entries_are_found_by_what_they_say(api, query, offsets):
    found = asked(api, query)
    assert [int(it["offset"]) for it in found["items"]] == offsets
    assert (found["total"], found["complete"]) == (len(offsets), True)


def test_what_is_found_is_paged(api):
    found = asked(api, "?user=ann&page_size=10&page=2")
    assert [int(it["offset"]) for it in found["items"]] == list(range(29, 19, -1))
    assert found["total"] > 20


def test_a_budget_ends_it(api, monkeypatch):
    monkeypatch.setattr(audit, "BUDGET_BYTES", 1)
    monkeypatch.setattr(audit, "PART_S", 0)
    found = asked(api, "?filter=t3&page_size=500")
    assert found["complete"] is False
    assert found["total"] == len(found["items"]) < 11


@pytest.mark.parametrize(
    "query",
    ["?page=101", "?page=21&page_size=500", "?from_ms=x", "?until_ms=-1", "?sort=user",
     "?from_ms=99999999999999999"],
)  # fmt: skip
def test_what_can_not_be_asked_is_said(api, query):
    assert "\n" not in api.ask("GET", f"audit{query}", status=400)["error"]


def test_only_who_may_read_it_does(api):
    for user, status in [("ann", 403), ("mon", 403), ("root", 200), ("bob", 200)]:
        api.user = user
        api.ask("GET", "audit", status=status)
    api.user = "bob"


def test_records_that_are_no_entries_are_left_out(tmp_path):
    with closing(Topical(tmp_path / "data", users(bob=AUDITOR))) as found:
        found.user = "bob"
        topic = found.topics.create(AUDIT_TOPIC, 1, {})
        for nothing in (b'{"event":"\xff"}', b'{"event":' + b"[" * 100_000, b""):
            topic.append(nothing, timestamp_ms=SECOND)
        assert asked(found)["items"] == []


def test_before_there_were_users_there_is_nothing(tmp_path):
    api = Topical(tmp_path / "data")
    assert asked(api) == {
        "items": [], "page": 1, "page_size": 100, "pages": 0, "total": 0, "complete": True,
    }  # fmt: skip
    api.close()


def test_jobs_are_shown_while_they_run_and_afterwards(tmp_path):
    api = Topical(tmp_path / "data")
    api.topics.create("t", 1, {"retention.ms": "1"})
    found = api.ask("GET", "jobs")
    assert (found["running"], found["history"]) == ([], [])
    list(api.store.retention("t", dry_run=True))
    [ended] = api.ask("GET", "jobs")["history"]
    assert (ended["name"], ended["object"], ended["dry_run"]) == ("retention", "t", True)
    assert ended["outcome"] == "nothing was to be done"
    api.close()
