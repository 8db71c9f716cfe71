"""Topics over HTTP: what there is, what is made of it, what is not, and who may."""

import json
import shutil

import pytest
from http_kit import answers, request
from http_topics import Topical

from logstore.figures.figures import Seen
from logstore.figures.ring import STEP_S, STEPS
from logstore.figures.sources import TopicSource
from logstore.records.record import Message


@pytest.fixture
def api(tmp_path):
    found = Topical(tmp_path / "data")
    yield found
    found.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """For those that change nothing: a topic ``t``."""
    found = Topical(tmp_path_factory.mktemp("shared") / "data")
    found.topics.create("t", 1, {})
    yield found
    found.close()


def names(answer):
    return [it["name"] for it in answer["items"]]


def test_a_topic_from_the_beginning_to_the_end(api):
    asked = {"name": "flights", "partitions": 2, "settings": {"retention.ms": "-1"}}
    setting = {
        "name": "retention.ms", "value": "-1", "source": "topic", "default": "604800000",
        "unit": "ms",
    }  # fmt: skip
    trial = api.ask("POST", "topics", asked | {"dry_run": True})
    assert api.items("topics") == []
    made = api.ask("POST", "topics", asked, 201)
    assert trial == made | {"dry_run": True}
    assert (made["name"], made["partitions"], made["dry_run"]) == ("flights", 2, False)
    [found] = made["settings"]
    assert found.items() >= setting.items()
    api.topics.topic("flights").append_many([Message(b"v" * 100)] * 5, partition=1)
    api.commit("billing", {("flights", 1): 2})
    row = api.ask("GET", "topics/flights")
    assert row.pop("history") == {"step_s": STEP_S, "in": [None] * STEPS}
    assert row == api.items("topics")[0]
    assert row["in_per_s"] is None  # nobody has looked yet
    assert (row["records"], row["partitions"], row["groups"]) == ("5", 2, 1)
    assert (row["kind"], row["internal"], row["error"]) == ("topic", False, None)
    assert (row["cleanup_policy"], row["retention_ms"]) == ("delete", -1)
    assert int(row["bytes"]) > 500
    assert row["created_ms"] > 0

    grown = api.ask("PUT", "topics/flights/partitions", {"count": 3, "dry_run": True})
    assert grown == {"name": "flights", "from": 2, "to": 3, "dry_run": True}
    assert api.ask("GET", "topics/flights")["partitions"] == 2
    assert api.ask("PUT", "topics/flights/partitions", {"count": 3})["dry_run"] is False
    assert api.ask("GET", "topics/flights")["partitions"] == 3

    trial = api.ask("DELETE", "topics/flights", {"dry_run": True})
    assert (trial["records"], trial["groups"]) == ("5", ["billing"])
    assert api.ask("DELETE", "topics/flights") == trial | {"dry_run": False}
    assert api.items("topics") == []
    assert [(event, what) for event, _, what, _ in api.audit] == [("topic", "deleted flights")]


@pytest.mark.parametrize(
    ("method", "path", "value", "status", "kind"),
    [
        ("GET", "topics/nope", None, 404, "UnknownTopic"),
        ("GET", "topics/nope/settings", None, 404, "UnknownTopic"),
        ("GET", "topics/%00%20/partitions", None, 404, "UnknownTopic"),
        ("DELETE", "topics/nope", None, 404, "UnknownTopic"),
        ("DELETE", "topics/nope", {"dry_run": True}, 404, "UnknownTopic"),
        ("DELETE", "topics/t", {"if_empty": True}, 400, None),
        ("POST", "topics", {"name": "t"}, 409, "TopicExists"),
        ("POST", "topics", {"name": "t", "dry_run": True}, 409, "TopicExists"),
        ("POST", "topics", {"name": "a b"}, 400, "InvalidName"),
        ("POST", "topics", {"name": ""}, 400, "InvalidName"),
        ("POST", "topics", {"name": "x" * 250}, 400, "InvalidName"),
        ("POST", "topics", {"name": "__audit"}, 409, "Refused"),
        ("POST", "topics", {"name": "__cluster_metadata"}, 409, "Refused"),
        ("POST", "topics", {"name": "u", "partitions": 0}, 400, "InvalidSetting"),
        ("POST", "topics", {"name": "u", "partitions": 10**9}, 400, "InvalidSetting"),
        ("POST", "topics", {"name": "u", "partitions": "2"}, 400, None),
        ("POST", "topics", {"name": "u", "settings": {"retention": "1"}}, 400, "UnknownSetting"),
        ("POST", "topics", {"name": "u", "settings": {"retention.ms": "x"}}, 400, "InvalidSetting"),
        ("POST", "topics", {}, 400, None),
        ("PUT", "topics/t/partitions", {"count": 1}, 409, "Refused"),
        ("PUT", "topics/t/partitions", {"count": 1, "dry_run": True}, 409, "Refused"),
        ("PUT", "topics/t/partitions", {"count": 10**7}, 400, "InvalidSetting"),
        ("PUT", "topics/t/partitions", {"count": 10**7, "dry_run": True}, 400, "InvalidSetting"),
        ("GET", "topics/t/partitions/1", None, 404, "UnknownPartition"),
        ("GET", "topics/t/partitions/99999999999", None, 404, "UnknownPartition"),
        ("GET", "topics/t/partitions/-1", None, 400, None),
        ("GET", "topics/t/partitions/%C2%B2", None, 400, None),
        ("PUT", "topics/t/settings", {"set": {"nope": "1"}}, 400, "UnknownSetting"),
        ("PUT", "topics/t/settings", {"set": {"nope": "1"}, "dry_run": True}, 400,
         "UnknownSetting"),
        ("PUT", "topics/t/settings", {"set": {"flush.ms": ""}}, 400, "InvalidSetting"),
        ("PUT", "topics/t/settings", {"reset": ["nope"]}, 400, "UnknownSetting"),
        ("PUT", "topics/t/settings", {"reset": ["nope"], "dry_run": True}, 400, "UnknownSetting"),
        ("PUT", "topics/t/settings", {"set": {"flush.ms": "1"}, "reset": ["flush.ms"]}, 400, None),
        ("POST", "topics/t/trim", {"before": {"offset": "1"}}, 409, "OffsetAboveEnd"),
        ("POST", "topics/t/trim", {"before": {"offset": "-1"}}, 400, None),
        ("POST", "topics/t/trim", {"before": {}}, 400, None),
        ("POST", "topics/t/trim", {"before": {"offset": 0, "time_ms": 0}}, 400, None),
        ("POST", "topics/t/trim", {"before": {"time_ms": 10**17}}, 400, None),
        ("POST", "topics/t/trim", {"before": "earliest"}, 400, None),
        ("POST", "topics/t/trim", {"before": "latest", "partition": 7}, 404, "UnknownPartition"),
        ("POST", "topics/t/trim", {}, 400, None),
        ("GET", "topics?sort=colour", None, 400, None),
        ("GET", "settings?sort=default", None, 400, None),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(shared, method, path, value, status, kind):
    api = shared
    answer = api.ask(method, path, value, status)
    assert answer.get("kind") == kind
    assert "\n" not in answer["error"]
    assert api.topics.names() == ["t"]
    assert len(api.topics.topic("t").partitions) == 1
    assert api.topics.given("t") == {}
    assert list(api.audit) == []


def test_a_list_is_sorted_by_any_of_its_columns(api):
    for number, name in enumerate(["b.x", "a", "c"]):
        settings = {"cleanup.policy": "compact"} if name == "a" else {}
        topic = api.topics.create(name, 3 - number, settings | {"retention.ms": str(number * 1000)})
        topic.append_many([Message(b"x" * 10 ** (3 - number), b"k")] * (number + 1))
    api.commit("g", {("c", 0): 0})
    api.commit("h", {("c", 0): 0, ("a", 0): 1})
    for sort, expected in [
        ("", ["a", "b.x", "c"]), ("-name", ["c", "b.x", "a"]), ("partitions", ["c", "a", "b.x"]),
        ("records", ["b.x", "a", "c"]), ("-bytes", ["b.x", "a", "c"]),
        ("-groups", ["c", "a", "b.x"]), ("cleanup_policy", ["a", "b.x", "c"]),
        ("-retention_ms", ["c", "a", "b.x"]),
    ]:  # fmt: skip
        assert names(api.ask("GET", f"topics?sort={sort}")) == expected, sort
    assert names(api.ask("GET", "topics?filter=.")) == ["b.x"]
    page = api.ask("GET", "topics?sort=-name&page=2&page_size=2")
    assert (names(page), page["total"], page["pages"]) == (["a"], 3, 2)


def test_a_list_opens_no_log(tmp_path):
    api = Topical(tmp_path / "data")
    api.topics.create("t", 2, {}).append(b"value", partition=1)
    api.close()
    api = Topical(tmp_path / "data")
    [row] = api.items("topics?sort=bytes")
    assert (row["records"], int(row["bytes"]) > 60) == ("1", True)
    assert [api.topics.topic("t").at_hand(number) for number in range(2)] == [None, None]
    api.close()


def test_topics_show_how_much_comes(api):
    for name in "abc":
        api.topics.create(name, 1, {}).partition(0)
    figures = api.peer.door.figures
    seconds = [100.0]
    figures._stopwatch = lambda: seconds[0]
    figures.sources["topic"] = TopicSource(api.topics).seen
    for _ in figures.look():
        pass
    for name, count in [("a", 10), ("b", 30)]:
        api.topics.topic(name).append_many([Message(b"v")] * count)
    seconds[0] += 10
    for _ in figures.look():
        pass
    rows = api.items("topics?sort=-in_per_s")
    assert [(it["name"], it["in_per_s"]) for it in rows] == [("b", 3), ("a", 1), ("c", 0)]
    assert api.ask("GET", "topics/b")["in_per_s"] == 3
    api.commit("g", {("b", 0): 0})
    figures.sources["group"] = lambda: [Seen("g", (0, 30, 30))]
    for _ in figures.look():
        pass
    seconds[0] += 10
    figures.sources["group"] = lambda: [Seen("g", (20, 90, 70))]
    for _ in figures.look():
        pass
    assert api.items("groups")[0]["lag_per_s"] == 4


def test_numbers_that_javascript_would_round_are_texts(api):
    settings = {"retention.ms": str(2**62), "retention.bytes": str(2**61)}
    api.topics.create("t", 1, settings)
    row = api.ask("GET", "topics/t")
    assert (row["retention_ms"], row["retention_bytes"]) == (str(2**62), str(2**61))


def test_what_is_deleted_while_it_is_looked_up_is_left_out(api):
    api.topics.create("t", 1, {})
    api.topics.create("u", 1, {})
    api.held = []
    assert api.peer.say(request("GET", "/api/v1/topics?sort=-records")) == b""
    api.topics.delete("t")
    api.work()
    [(status, _, body)] = answers(api.peer.out())
    assert (status, names(json.loads(body))) == (200, ["u"])


def test_who_has_gone_is_looked_up_nothing_more(api):
    api.topics.create("t", 1, {})
    api.held = []
    api.peer.say(request("DELETE", "/api/v1/topics/t"))
    api.peer.session.close()
    api.work()  # who reads it
    assert api.topics.names() == ["t"]


def test_partitions_show_where_they_stand_and_their_segments(api):
    topic = api.topics.create("t", 3, {"segment.bytes": "1048576", "segment.ms": "1000"})
    topic.append(b"v", timestamp_ms=1_700_000_000_000, partition=1)
    topic.append(b"v", timestamp_ms=1_700_000_600_000, partition=1)
    topic.append(b"v", timestamp_ms=1_700_000_601_000, partition=1)
    page = api.ask("GET", "topics/t/partitions?page_size=2")
    assert (page["total"], page["pages"], len(page["items"])) == (3, 2, 2)
    empty, row = page["items"]
    assert (empty["start"], empty["end"], empty["bytes"]) == ("0", "0", "0")
    assert (row["partition"], row["start"], row["safe"], row["end"]) == (1, "0", "3", "3")
    assert row == api.ask("GET", "topics/t/partitions/1")
    assert row["segments_total"] == len(row["segments"]) == 2
    first, last = row["segments"]
    assert first["base_offset"] == "0"
    assert int(first["records"]) + int(last["records"]) == 3
    assert last["last_ms"] == 1_700_000_601_000
    assert (first["active"], last["active"]) == (False, True)
    assert int(row["bytes"]) == int(first["bytes"]) + int(last["bytes"])


def test_a_partition_that_is_broken_hides_no_other(tmp_path):
    api = Topical(tmp_path / "data")
    api.topics.create("t", 2, {}).append(b"v", partition=1)
    api.close()
    shutil.rmtree(tmp_path / "data" / "t-0")
    api = Topical(tmp_path / "data")
    broken, whole = api.items("topics/t/partitions")
    assert "t-0" in broken["error"]
    assert broken["start"] is None
    assert (whole["end"], whole["error"]) == ("1", None)
    [row] = api.items("topics")
    assert "t-0" in row["error"]
    api.close()


def test_settings_of_a_topic_say_where_they_are_from(tmp_path):
    api = Topical(tmp_path / "data", topic_retention_ms=5000)
    api.topics.create("t", 1, {"flush.ms": "7"})
    rows = {it["name"]: it for it in api.items("topics/t/settings?page_size=500")}
    assert rows["flush.ms"]["source"] == "topic"
    assert (rows["retention.ms"]["value"], rows["retention.ms"]["source"]) == ("5000", "test")
    assert rows["cleanup.policy"]["source"] == "default"
    assert rows["cleanup.policy"]["takes"].endswith("delete, compact")
    assert all(row["help"] for row in rows.values())
    asked = {"set": {"retention.ms": "9s"}, "reset": ["flush.ms"]}
    trial = api.ask("PUT", "topics/t/settings", asked | {"dry_run": True})
    assert api.topics.given("t") == {"flush.ms": "7"}
    done = api.ask("PUT", "topics/t/settings", asked)
    assert trial == done | {"dry_run": True}
    assert api.topics.given("t") == {"retention.ms": "9000"}
    assert [(it["name"], it["from"], it["to"], it["source"]) for it in done["changed"]] == [
        ("flush.ms", "7", "9223372036854775807", "default"),
        ("retention.ms", "5000", "9000", "topic"),
    ]
    [(event, _, what, _)] = api.audit
    assert (event, what) == ("settings", "of topic t: retention.ms=9000, flush.ms by default")
    api.close()


def test_settings_of_the_store_are_a_list_like_any_other(tmp_path):
    api = Topical(tmp_path / "data", partitions_max=77)
    [row] = api.items("settings?filter=partitions.max")
    assert (row["value"], row["source"], row["default"] != "77") == ("77", "test", True)
    [first, *_] = api.items("settings?sort=-source")
    assert first["name"] == "partitions.max"
    assert api.items("settings?filter=topic.retention.ms")[0]["source"] == "default"
    api.close()


def test_trimming_says_what_it_would_do_and_then_does_it(api):
    topic = api.topics.create("t", 2, {})
    for after in range(4):
        topic.append(b"v", timestamp_ms=1000 + after, partition=0)
    topic.append(b"v", timestamp_ms=1002, partition=1)
    asked = {"before": {"time_ms": 1002}}
    trial = api.ask("POST", "topics/t/trim", asked | {"dry_run": True})
    assert topic.partition(0).start == 0
    assert list(api.audit) == []
    assert api.ask("POST", "topics/t/trim", asked) == trial | {"dry_run": False}
    assert trial["partitions"] == [
        {"partition": 0, "from": "0", "to": "2", "records": "2"},
        {"partition": 1, "from": "0", "to": "0", "records": "0"},
    ]
    assert trial["records"] == "2"
    assert [what for _, _, what, _ in api.audit] == ["deleted of t-0 those before 2"]
    one = api.ask("POST", "topics/t/trim", {"before": "latest", "partition": 0})
    assert one["partitions"] == [{"partition": 0, "from": "2", "to": "4", "records": "2"}]
    assert (topic.partition(0).start, topic.partition(1).start) == (4, 0)
    error = api.ask("POST", "topics/t/trim", {"before": {"offset": "3"}, "partition": 0}, 409)
    assert error["kind"] == "OffsetBelowStart"


def test_a_compacted_topic_is_not_trimmed(api):
    api.topics.create("t", 1, {"cleanup.policy": "compact"}).append(b"v", b"k")
    answer = api.ask("POST", "topics/t/trim", {"before": "latest"}, 409)
    assert "compacted" in answer["error"]
    assert api.topics.topic("t").partition(0).start == 0
