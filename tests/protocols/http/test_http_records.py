"""Records over HTTP: looked for, shown whole, downloaded, appended."""

import base64
import json

import pytest
from http_kit import answers, request
from http_topics import Topical, users

from logstore.broker import search as searching
from logstore.protocols.http.common import downloads
from logstore.protocols.http.native import record_rows, search
from logstore.records.record import Message


@pytest.fixture
def api(tmp_path):
    found = Topical(tmp_path / "data")
    yield found
    found.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A topic ``t`` of two partitions with 30 records each, and ``c``, compacted."""
    found = Topical(tmp_path_factory.mktemp("records") / "data")
    topic = found.topics.create("t", 2, {})
    for at in range(60):
        topic.append(
            b"value %d" % at, b"k%d" % (at % 7), [("n", b"%d" % (at % 5)), ("null", None)],
            timestamp_ms=1_000_000 + 1000 * at, partition=at % 2,
        )  # fmt: skip
    topic.partition(1).trim(10)
    found.topics.create("c", 1, {"cleanup.policy": "compact"})
    found.topics.create("empty", 3, {})
    yield found
    found.close()


def found(api, asked, topic="t"):
    *lines, last = api.lines(f"topics/{topic}/search", asked)
    return [it["record"] for it in lines if "record" in it], last


def places(records):
    return [(it["partition"], int(it["offset"])) for it in records]


def numbers(records):
    return [int(it["value_preview"]["text"].split()[1]) for it in records]


# Looking


def test_a_search_shows_records_in_the_order_of_time(shared):
    records, end = found(shared, {"limit": 500})
    assert numbers(records) == sorted({*range(0, 60, 2), *range(21, 60, 2)})
    assert records[0] == {
        "partition": 0, "offset": "0", "time_ms": 1_000_000, "key": {"text": "k0"},
        "key_bytes": 2, "value_preview": {"text": "value 0"}, "value_bytes": 7, "truncated": False,
        "headers": [["n", {"text": "0"}], ["null", None]], "headers_total": 2,
    }  # fmt: skip
    assert end["scanned_to"] == {"0": "30", "1": "30"}
    assert (end["more"], end["found"], end["scanned_records"]) == (False, 50, "50")
    assert int(end["scanned_bytes"]) > 1000
    assert (end["damages"], end["damages_left_out"]) == ([], 0)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"from": {"offset": "28"}}, [56, 57, 58, 59]),
        ({"from": {"offset": 0}, "partitions": [1], "limit": 2}, [21, 23]),  # below the start
        ({"from": {"offset": "99"}}, []),  # above the end
        ({"from": {"time_ms": 1_057_001}}, [58, 59]),
        ({"from": {"time_ms": 9_999_999}}, []),
        ({"from": {"last": 3}}, [59, 58, 57]),
        ({"from": {"last": 3}, "partitions": [0, 0]}, [58, 56, 54]),
        ({"from": {"last": 3}, "text": "value 3"}, [39, 38, 37]),
        ({"from": {"last": 9}, "limit": 2}, [59, 58]),
        ({"from": {"last": 2}, "until": {"time_ms": 1_050_000}}, [49, 48]),
        ({"from": {"offset": "20"}, "until": {"offset": "21"}}, [40, 41]),
        ({"from": {"time_ms": 1_040_000}, "until": {"time_ms": 1_042_000}}, [40, 41]),
        ({"until": {"offset": "0"}}, []),
        ({"key": "k6", "from": {"offset": "20"}}, [41, 48, 55]),
        ({"key": {"base64": base64.b64encode(b"k6").decode()}, "from": {"offset": 27}}, [55]),
        ({"text": {"text": "ue 58"}}, [58]),
        ({"header": {"name": "n", "value": "4"}, "from": {"offset": 25}}, [54, 59]),
        ({"header": {"name": "null"}, "limit": 1}, [0]),
        ({"header": {"name": "nope"}}, []),
        ({"key": "k6", "text": "nope"}, []),
    ],
)
def test_a_search_begins_and_ends_where_it_is_told(shared, asked, expected):
    records, end = found(shared, asked)
    assert numbers(records) == expected
    assert end["found"] == len(expected)


def test_a_search_is_gone_on_with_from_its_cursor(shared):
    seen, begin, more = [], {"offset": 0}, True
    while more:
        records, end = found(shared, {"from": begin, "limit": 7})
        seen += numbers(records)
        begin, more = {"cursor": end["cursor"]}, end["more"]
    assert seen == sorted({*range(0, 60, 2), *range(21, 60, 2)})


def test_older_ones_are_reached_from_the_newest(shared):
    seen, begin, more = [], {"last": 8}, True
    while more:
        records, end = found(shared, {"from": begin, "limit": 8})
        seen += numbers(records)
        begin, more = {"cursor": end["cursor"]}, end["more"]
    assert seen == sorted({*range(0, 60, 2), *range(21, 60, 2)}, reverse=True)


def test_what_is_new_is_reached_from_where_the_newest_were(api):
    topic = api.topics.create("t", 2, {})
    topic.append(b"value 0", partition=0)
    _, end = found(api, {"from": {"last": 5}})
    topic.append(b"value 1", partition=1)
    topic.append(b"value 2", partition=0)
    records, _ = found(api, {"from": {"cursor": end["newest"]}})
    assert sorted(numbers(records)) == [1, 2]


def test_an_empty_topic_has_nothing(shared):
    records, end = found(shared, {}, "empty")
    assert records == []
    assert (end["more"], end["scanned_to"]) == (False, {"0": "0", "1": "0", "2": "0"})
    assert found(shared, {"from": {"last": 5}}, "empty")[0] == []


def test_no_body_is_a_search_from_the_start(shared):
    status, _, body = shared.raw("POST", "topics/t/search")
    assert (status, len(body.splitlines())) == (200, search.LIMIT + 1)


def test_a_search_that_has_used_its_budget_says_how_far_it_came(api, monkeypatch):
    monkeypatch.setattr(search, "BUDGET_BYTES", 1)
    monkeypatch.setattr(search, "PART_BYTES", 1)
    monkeypatch.setattr(searching, "READ_BYTES", 1)
    topic = api.topics.create("t", 2, {})
    for at in range(30):
        topic.append(b"value %d" % at + b" " * 10_000, partition=at % 2)
    records, end = found(api, {"text": "value 28"})
    assert (records, end["more"]) == ([], True)
    assert 0 < int(end["scanned_records"]) < 30
    seen = []
    while end["more"]:
        before = end["cursor"]
        records, end = found(api, {"text": "value 28", "from": {"cursor": before}})
        assert end["cursor"] != before
        seen += numbers(records)
    assert seen == [28]


@pytest.mark.long
def test_time_is_a_budget_too(tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "READ_BYTES", 1)
    seconds = iter(range(10**6))
    api = Topical(tmp_path / "data", stopwatch=lambda: next(seconds))
    topic = api.topics.create("t", 20, {})  # to open them all takes more than the budget
    for _ in range(10):
        topic.append_many([Message(b"value 1")] * 3, 0)
    records, end = found(api, {"text": "nope"})
    assert (records, end["more"]) == ([], True)
    assert 0 < int(end["scanned_records"]) < 30
    assert len(end["scanned_to"]) == 20
    api.close()


def test_hits_that_fill_an_answer_end_it(shared, monkeypatch):
    monkeypatch.setattr(search, "OUT_BYTES", 1)
    monkeypatch.setattr(search, "PART_BYTES", 1)
    seen, begin, more = [], {"offset": 0}, True
    while more:
        records, end = found(shared, {"from": begin, "limit": 500})
        seen += numbers(records)
        begin, more = {"cursor": end["cursor"]}, end["more"]
    assert seen == sorted({*range(0, 60, 2), *range(21, 60, 2)})


def test_two_searches_take_turns(shared, monkeypatch):
    monkeypatch.setattr(search, "PART_BYTES", 1)
    shared.held = []
    peers = [shared.new_peer() for _ in range(2)]
    door = peers[0].door
    peers[1].session._door = door
    for peer in peers:
        peer.say(request("POST", "/api/v1/topics/t/search", b'{"text":"nope"}'))
    assert (len(shared.held), len(door.searches)) == (1, 1)
    order = []
    while shared.held:
        [(job, done)] = shared.held
        shared.held.clear()
        order.append(job.__self__)
        done(job())
    shared.held = None
    assert order[:4] == [order[0], order[1], order[0], order[1]]
    assert order[0] is not order[1]
    for peer in peers:
        [(status, _, body)] = answers(peer.out())
        assert (status, json.loads(body.splitlines()[-1])["more"]) == (200, False)


def test_who_has_gone_is_looked_for_no_more(shared, monkeypatch):
    monkeypatch.setattr(search, "PART_BYTES", 1)
    shared.held = []
    peer = shared.new_peer()
    peer.say(request("POST", "/api/v1/topics/t/search", b"{}"))
    peer.session.close()
    [(job, done)] = shared.held
    shared.held = []
    done(job())
    assert shared.held == []
    shared.held = None


def test_a_topic_that_is_deleted_meanwhile_ends_the_search(api, monkeypatch):
    monkeypatch.setattr(search, "PART_BYTES", 1)
    monkeypatch.setattr(searching, "READ_BYTES", 1)
    topic = api.topics.create("t", 1, {})
    for at in range(3):
        topic.append_many([Message(b"value %d" % at * 40)] * 200)
    api.held = []
    api.peer.say(request("POST", "/api/v1/topics/t/search", b'{"limit":500}'))
    for _ in range(2):
        [(job, done)] = api.held
        api.held = []
        done(job())
    api.topics.delete("t")
    api.work()
    [(status, _, body)] = answers(api.peer.out())
    *_, last = body.splitlines()
    assert (status, json.loads(last)["kind"]) == (200, "UnknownPartition"), body


def test_who_may_not_read_any_more_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "PART_BYTES", 1)
    access = users(ann=[("read", "topic", "t")])
    api = Topical(tmp_path / "data", access)
    api.topics.create("t", 1, {}).append(b"secret")
    api.held, api.user = [], "ann"
    api.begin("POST", "topics/t/search", {})
    access.change((), list(access.rules))
    api.work()
    [(status, _, body)] = answers(api.peer.out())
    assert (status, json.loads(body)["kind"]) == (403, "Forbidden")
    assert b"secret" not in body
    api.close()


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"from": {"offset": "1", "last": 1}}, 400), ({"from": {"offset": "x"}}, 400),
        ({"from": {"offset": -1}}, 400), ({"from": {"offset": "9" * 20}}, 400),
        ({"from": {"last": 0}}, 400), ({"from": {"last": 501}}, 400),
        ({"from": {"time_ms": -1}}, 400), ({"from": {"time_ms": 10**18}}, 400),
        ({"from": {"cursor": "x"}}, 400), ({"from": "earliest"}, 400), ({"from": {"now": 1}}, 400),
        ({"limit": 0}, 400), ({"limit": 501}, 400), ({"limit": "5"}, 400),
        ({"until": {}}, 400), ({"until": {"offset": 1, "time_ms": 1}}, 400),
        ({"partitions": [2]}, 404), ({"partitions": [-1]}, 404), ({"partitions": 0}, 400),
        ({"key": {"text": "a", "base64": "YQ=="}}, 400), ({"key": {}}, 400),
        ({"key": {"base64": "?"}}, 400), ({"text": "x" * 1025}, 400), ({"text": 7}, 400),
        ({"header": {"value": "x"}}, 400), ({"header": "x"}, 400), ({"txet": "x"}, 400),
        ([], 400),
    ],
)  # fmt: skip
def test_what_is_no_search_is_refused(shared, asked, status):
    assert "\n" not in shared.ask("POST", "topics/t/search", asked, status)["error"]


def test_there_are_not_too_many_searches_at_once(shared, monkeypatch):
    monkeypatch.setattr(search, "SEARCHES_MAX", 1)
    shared.held = []
    first, second = shared.new_peer(), shared.new_peer()
    second.session._door = first.door
    first.say(request("POST", "/api/v1/topics/t/search", b"{}"))
    [(status, _, _)] = answers(second.say(request("POST", "/api/v1/topics/t/search", b"{}")))
    assert status == 503
    shared.work()
    shared.held = None
    [(status, _, _)] = answers(first.out())
    assert (status, first.door.searching) == (200, set())


def test_a_list_of_very_many_partitions_is_refused_at_once(shared, monkeypatch):
    asked = []
    topic = shared.topics.topic("t")
    monkeypatch.setattr(type(topic), "at_hand", lambda self, number: asked.append(number))
    shared.ask("POST", "topics/t/search", {"partitions": [0] * 100_000}, 409)
    assert asked == []


def test_too_many_partitions_are_not_searched_at_once(shared, monkeypatch):
    monkeypatch.setattr(search, "PARTITIONS_MAX", 1)
    assert "name some" in shared.ask("POST", "topics/t/search", {}, 409)["error"]
    assert numbers(found(shared, {"partitions": [1], "limit": 1})[0]) == [21]


# Shown


def test_a_record_is_shown_whole(shared):
    assert shared.ask("GET", "topics/t/records/1/29") == {
        "partition": 1, "offset": "29", "time_ms": 1_059_000, "key": {"text": "k3"},
        "key_bytes": 2, "value": {"text": "value 59"}, "value_bytes": 8, "truncated": False,
        "headers": [["n", {"text": "4"}], ["null", None]], "headers_total": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("topics/t/records/1/9", 404, "below the start"),
        ("topics/t/records/0/30", 404, "it ends at 30"),
        ("topics/t/records/0/31", 404, "above the end"),
        ("topics/t/records/2/0", 404, "has no partition 2"),
        ("topics/t/records/0/x", 400, "must be a string of digits"),
        ("topics/t/records/0/-1", 400, "must be a string of digits"),
        ("topics/t/records/0/%D9%A3", 400, "must be a string of digits"),
        ("topics/t/records/0/99999999999999999999", 400, "must be a string of digits"),
        ("topics/t/records/0/9999999999999999999/value", 404, "above the end"),
        ("topics/nope/records/0/0", 404, "no topic 'nope'"),
        ("topics/t/records/1/9/value", 404, "below the start"),
    ],
)
def test_a_record_that_is_not_there_is_said(shared, path, status, error):
    assert error in shared.ask("GET", path, status=status)["error"]


@pytest.mark.long
def test_what_was_compacted_away_is_said(api):
    topic = api.topics.create("c", 1, {"cleanup.policy": "compact", "min.compaction.lag.ms": "0"})
    for value in (b"1", b"2", b"3"):
        topic.append(value, b"k")
    list(api.store.compaction("c", seal=True))
    assert api.ask("GET", "topics/c/records/0/2")["value"] == {"text": "3"}
    assert "compacted away" in api.ask("GET", "topics/c/records/0/0", status=404)["error"]


def test_bytes_that_are_no_text_are_base64(api):
    api.topics.create("t", 1, {}).append(
        b"\xff\0", b"\x80", [("h\udcff", b"\xfe"), ("\u202e", b"")]
    )
    record = api.ask("GET", "topics/t/records/0/0")
    assert record["key"] == {"base64": "gA=="}
    assert record["value"] == {"base64": "/wA="}
    assert record["headers"] == [["h\udcff", {"base64": "/g=="}], ["\u202e", {"text": ""}]]
    [hit], _ = found(api, {})
    assert (hit["value_preview"], hit["headers"]) == (record["value"], record["headers"])


@pytest.mark.long
def test_of_a_large_record_a_line_shows_the_beginning(api):
    topic = api.topics.create("t", 1, {"max.message.bytes": str(8 << 20)})
    value = ("\u00e4" * (3 << 20)).encode()
    headers = [(f"h{at}", b"x" * 200) for at in range(100)]
    topic.append(value, b"k" * 5000, headers)
    [hit], _ = found(api, {"text": {"base64": base64.b64encode(value[-1024:]).decode()}})
    assert hit["value_preview"] == {"text": "\u00e4" * 512}
    assert (hit["value_bytes"], hit["truncated"]) == (len(value), True)
    assert (len(hit["key"]["text"]), hit["key_bytes"]) == (1024, 5000)
    assert (hit["headers_total"], len(hit["headers"]) < 50) == (100, True)
    whole = api.ask("GET", "topics/t/records/0/0")
    assert (whole["truncated"], len(whole["headers"])) == (True, 100)
    status, headers, body = api.raw("GET", "topics/t/records/0/0/value")
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    assert headers["content-disposition"] == 'attachment; filename="t-0-0.bin"'
    assert body == value


def test_large_values_are_not_held_for_all_who_download_them(api, monkeypatch):
    monkeypatch.setattr(downloads, "BYTES_MAX", 3 << 20)
    topic = api.topics.create("t", 1, {"max.message.bytes": str(8 << 20)})
    topic.append(b"x" * (2 << 20))
    ask = request("GET", "/api/v1/topics/t/records/0/0/value")
    peers = [api.new_peer() for _ in range(3)]
    door = peers[0].door
    for peer in peers[1:]:
        peer.session._door = door
    peers[0].feed(ask)  # and nothing is read of it
    assert door.downloads.bytes == 2 << 20
    [(status, _, _)] = answers(peers[1].say(ask))
    assert status == 503
    peers[0].session.close()
    assert door.downloads.bytes == 0
    [(status, _, body)] = answers(peers[2].say(ask))
    assert (status, len(body), door.downloads.bytes) == (200, 2 << 20, 0)


def test_a_value_is_downloaded_as_it_is(api):
    topic = api.topics.create("t", 1, {})
    topic.append(b"<script>")
    topic.append(None, b"k")
    topic.append(b"")
    _, headers, body = api.raw("GET", "topics/t/records/0/0/value")
    assert (headers["content-type"], body) == ("application/octet-stream", b"<script>")
    assert "is null" in api.ask("GET", "topics/t/records/0/1/value", status=404)["error"]
    assert api.raw("GET", "topics/t/records/0/2/value")[2] == b""
    assert api.ask("GET", "topics/t/records/0/1")["value"] is None


def test_a_line_is_no_more_than_some_kilobytes():
    from logstore.http.bodies import encode
    from logstore.records.record import Record

    headers = tuple((f"{at}" + "\0" * 10**4, b"\0" * 10**5) for at in range(1000))
    record = Record("t", 0, 0, 0, b"\0" * 10**5, b"\0" * 10**6, headers)
    assert len(encode(record_rows.row(record))) < 50_000


# Appended


def test_a_record_is_appended_and_acknowledged_when_it_is_safe(api):
    topic = api.topics.create("t", 3, {})
    asked = {
        "key": "k", "value": "v", "headers": [["h", "1"], ["h", None]], "time_ms": 1_234_567,
        "partition": 2,
    }  # fmt: skip
    made = api.ask("POST", "topics/t/records", asked, 201)
    assert made == {"partition": 2, "offset": "0", "time_ms": 1_234_567}
    record = api.ask("GET", "topics/t/records/2/0")
    assert (record["key"], record["value"]) == ({"text": "k"}, {"text": "v"})
    assert record["headers"] == [["h", {"text": "1"}], ["h", None]]
    assert topic.partition(2).synced == 1


def test_a_key_decides_the_partition_as_kafkas_clients_have_it(api):
    topic = api.topics.create("t", 7, {})
    for key in ("a", "b", "\u00e4"):
        made = api.ask("POST", "topics/t/records", {"key": key, "value": "v"}, 201)
        assert made["partition"] == topic.append(b"v", key.encode()).partition


def test_bytes_are_given_as_base64(api):
    api.topics.create("t", 1, {})
    asked = {"key": "/w==", "value": "AP8=", "headers": [["h", "/g=="]], "encoding": "base64"}
    api.ask("POST", "topics/t/records", asked, 201)
    record = api.ask("GET", "topics/t/records/0/0")
    assert record["value"] == {"base64": "AP8="}
    assert record["headers"] == [["h", {"base64": "/g=="}]]


def test_no_value_is_a_tombstone(api):
    api.topics.create("t", 1, {"cleanup.policy": "compact"})
    api.ask("POST", "topics/t/records", {"key": "k"}, 201)
    assert api.ask("GET", "topics/t/records/0/0")["value"] is None


@pytest.mark.parametrize(
    ("topic", "asked", "status"),
    [
        ("c", {"value": "v"}, 400),  # a compacted topic needs keys
        ("t", {"value": "v", "partition": 2}, 404), ("t", {"value": "v", "partition": -1}, 404),
        ("t", {"value": "?", "encoding": "base64"}, 400),
        ("t", {"value": "v", "encoding": "hex"}, 400), ("t", {"value": 1}, 400),
        ("t", {"value": "v", "time_ms": 10**15}, 400), ("t", {"value": "v", "time_ms": 2**70}, 400),
        ("t", {"value": "v", "time_ms": -(2**63)}, 400), ("t", {"headers": [["a"]]}, 400),
        ("t", {"headers": {"a": "b"}}, 400), ("t", {"headers": [["\ud800", "b"]]}, 400),
        ("t", {"value": "\ud800"}, 400), ("t", {"valeu": "v"}, 400), ("t", [], 400),
        ("nope", {"value": "v"}, 404),
    ],
)  # fmt: skip
def test_what_the_topic_does_not_take_is_refused(shared, topic, asked, status):
    answer = shared.ask("POST", f"topics/{topic}/records", asked, status)
    assert "\n" not in answer["error"]
    assert shared.topics.topic("t").partition(0).end == 30


def test_a_sync_that_fails_is_no_acknowledgement(api, monkeypatch):
    from logstore.errors import LogFailed

    topic = api.topics.create("t", 1, {})
    log = topic.partition(0)
    api.topics.topic("t")._opened[0] = Failing(log, LogFailed("t-0: input/output error"))
    assert api.ask("POST", "topics/t/records", {"value": "v"}, 500)["kind"] == "LogFailed"


class Failing:
    """A log whose sync fails once it was appended to."""

    def __init__(self, log, error):
        self._log, self._error = log, error
        self.done = self.end = 0

    def append(self, batch):
        return 0

    def check_failure(self):
        raise self._error

    def watch(self, wake):
        self._wake = wake
        return lambda: None

    def sync_soon(self, *, hurry=True, always=False):
        self._wake()


def test_who_may_write_may_not_read(tmp_path):
    access = users(ann=[("write", "topic", "t")], bob=[("read", "topic", "t")])
    api = Topical(tmp_path / "data", access)
    api.topics.create("t", 1, {})
    api.user = "ann"
    api.ask("POST", "topics/t/records", {"value": "secret"}, 201)
    for user in ("ann", "mon"):  # who sees all facts sees no contents
        api.user = user
        api.ask("POST", "topics/t/search", {}, 403)
        api.ask("GET", "topics/t/records/0/0", status=403)
        api.ask("GET", "topics/t/records/0/0/value", status=403)
    for user in ("bob", "mon"):
        api.user = user
        api.ask("POST", "topics/t/records", {"value": "v"}, 403)
    api.user = "bob"
    assert found(api, {})[0][0]["value_preview"] == {"text": "secret"}
    api.user = "root"
    api.topics.create("__audit", 1, {})
    api.ask("POST", "topics/__audit/records", {"value": "forged"}, 403)
    api.close()
