"""Groups over HTTP: how far they are and who is in them; moved, and deleted, or why not."""

import pytest
from http_topics import Topical

from logstore.broker.coordinator.calls import Beat, Identity, Join, Sync
from logstore.broker.coordinator.undecided import Unread
from logstore.errors import CorruptStore, StorageFull
from logstore.figures.ring import STEP_S, STEPS
from logstore.kept.groups import OffsetToCommit
from logstore.protocols.kafka.subscription import assigned
from logstore.records.record import Message


def filled(path):
    """A topic ``t`` of two partitions, with four records each, the first two of one trimmed."""
    found = Topical(path)
    topic = found.topics.create("t", 2, {})
    messages = [Message(b"v", timestamp_ms=1000 * after) for after in range(1, 5)]
    for number in range(2):
        topic.append_many(messages, number)
    topic.partition(1).trim(2)
    return found


@pytest.fixture
def api(tmp_path):
    found = filled(tmp_path / "data")
    yield found
    found.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The same for many, with a topic ``u`` and a group ``g``, which stay as they are."""
    found = filled(tmp_path_factory.mktemp("groups") / "data")
    found.topics.create("u", 1, {}).append(b"v")
    found.commit("g", {("t", 0): 3, ("t", 1): 3})
    yield found
    found.close()


def by_place(answer):
    return {
        (it["topic"], it["partition"]): (it["from"], it["to"]) for it in answer["partitions"]
    }  # fmt: skip


def offsets(api, group):
    return {place: it.offset for place, it in api.keeper.offsets.get(group, {}).items()}


def classic(api, group="g"):
    """A member that reads t-0."""
    told = []
    join = Join(
        group, "", Identity("client", "/192.0.2.7", "first"), "consumer", [("range", b"\0\0")],
        10_000, 10_000,
    )  # fmt: skip
    api.coordinator.join(join, api.timer_ms, told.append)
    [joined] = told
    assignments = {joined.member_id: assigned(0, [("t", 0)])}
    sync = Sync(group, joined.generation, joined.member_id, assignments=assignments)
    api.coordinator.sync(sync, api.timer_ms, told.append)
    assert told[1].error is None
    return joined.member_id


def consumer(api, group="g"):
    """A member of the new protocol that reads all of t."""
    told = []
    beat = Beat(
        group, "m1", 0, Identity("client", "/192.0.2.7"), 10_000, frozenset(["t"]),
        owned=frozenset(),
    )  # fmt: skip
    api.coordinator.consumer_heartbeat(beat, api.timer_ms, told.append)
    assert told[0].error is None


def share(api, *members, group="g"):
    """Members of a share group that reads all of t."""
    told = []
    for member in members * 2:  # once more, so that each has heard of all
        beat = Beat(group, member, 0, Identity("client", "/192.0.2.7"), topics=frozenset(["t"]))
        api.coordinator.share_heartbeat(beat, api.timer_ms, told.append)
    assert {it.error for it in told} == {None}


def test_a_share_group_shows_its_members_and_no_offsets(api):
    share(api, "m", "n", "o")
    found = api.ask("GET", "groups/g")
    assert (found["kind"], found["state"], found["protocol"]) == ("share", "Stable", "simple")
    assert (found["lag"], found["members_total"]) == (None, 3)
    numbers = sorted(
        n for it in found["members"] for at in it["assignment"] for n in at["partitions"]
    )
    assert numbers in ([0, 0, 1], [0, 1, 1])
    rows = [(it["partition"], it["committed"], it["lag"]) for it in found["partitions"]]
    assert rows == [(0, None, None), (1, None, None)]
    readers = [(it["readers"], it["owner"] is None) for it in found["partitions"]]
    assert sorted(readers) == [(1, False), (2, True)]
    [row] = api.ask("GET", "groups")["items"]
    assert (row["kind"], row["members"], row["topics"], row["lag"]) == ("share", 3, 1, None)
    assert row["error"] is None
    assert [it["name"] for it in api.ask("GET", "topics/t/groups")["items"]] == ["g"]


class Settled:
    """Shares of a group that has done with this of t: {partition: (start, lag)}."""

    def __init__(self, topic, standings):
        self.topic, self.standings, self.opened = topic, standings, self

    def topics(self, group):
        assert group == "g"
        return [self.topic.uuid]

    def standing(self, place, end):
        assert (place.group, place.topic_id, end) == ("g", self.topic.uuid, 4)
        found = self.standings.get(place.partition)
        if found == "damaged":
            raise CorruptStore("damaged")
        return found


@pytest.mark.parametrize(
    ("standings", "rows", "lag"),
    [
        ({0: (1, 2), 1: (4, 0)}, [("1", "2"), ("4", "0")], "2"),
        ({1: (3, 1)}, [(None, None), ("3", "1")], None),
        ({0: "damaged", 1: (3, 1)}, [(None, None), ("3", "1")], None),
    ],
)
def test_a_share_group_shows_what_it_has_not_done_with(api, standings, rows, lag):
    share(api, "m")
    api.coordinator.share_heartbeat(Beat("g", "m", -1), api.timer_ms, lambda _: None)
    api.peer = api.new_peer(shares_of=Settled(api.topics.get("t"), standings))
    found = api.ask("GET", "groups/g")
    assert [(it["committed"], it["lag"]) for it in found["partitions"]] == rows
    assert (found["lag"], found["partitions_total"], found["members"]) == (lag, 2, [])


class Forgetful:
    """Shares that are there, and say what they are to forget."""

    def __init__(self, error=None):
        self.error, self.forgotten = error, []

    def when_open(self, then):
        then(self)

    def group_gone(self, group, done):
        self.forgotten.append(group)
        done(self.error)


def test_a_share_group_whose_past_can_not_be_forgotten_is_told_of(api):
    share(api, "m")
    api.coordinator.share_heartbeat(Beat("g", "m", -1), api.timer_ms, lambda _: None)
    api.peer = api.new_peer(shares_of=Forgetful(StorageFull("the disk is full")))
    assert "the disk is full" in api.ask("DELETE", "groups/g", None, 503)["error"]


def test_a_share_group_can_be_deleted_and_not_moved(api):
    share(api, "m")
    assert api.ask("DELETE", "groups/g", None, 409)["kind"] == "GroupBusy"
    body = {"to": "earliest", "topics": ["t"]}
    assert "'g' is a share group" in api.ask("POST", "groups/g/reset", body, 409)["error"]
    beat = Beat("g", "m", -1)
    api.coordinator.share_heartbeat(beat, api.timer_ms, lambda _: None)
    shares = Forgetful()
    api.peer = api.new_peer(shares_of=shares)
    assert api.ask("DELETE", "groups/g") == {
        "name": "g", "kind": "share", "offsets": 0, "topics": [], "dry_run": False,
    }  # fmt: skip
    assert shares.forgotten == ["g"]
    assert api.ask("GET", "groups")["items"] == []


def test_a_group_shows_how_far_it_is_in_each_partition(api):
    api.commit("g", {("t", 0): 1})
    found = api.ask("GET", "groups/g")
    first, second = found["partitions"]
    assert first == {
        "topic": "t", "partition": 0, "committed": "1", "commit_ms": 0, "metadata": "",
        "start": "0", "end": "4", "lag": "3", "owner": None, "oldest_unread_ms": 1000,
        "pending": False,
        "readers": 0,
    }  # fmt: skip
    assert (second["committed"], second["start"], second["lag"]) == (None, "2", "2")
    assert (found["lag"], found["state"], found["kind"]) == ("5", "Empty", "simple")
    assert (found["members"], found["partitions_total"]) == ([], 2)
    assert found["history"] == {"step_s": STEP_S, "lag": [None] * STEPS}
    assert found["lag_per_s"] is None
    page = api.ask("GET", "groups/g?page=2&page_size=1")
    assert [it["partition"] for it in page["partitions"]] == [1]
    assert (page["pages"], page["partitions_total"]) == (2, 2)
    [row] = api.items("groups")
    assert row.items() >= {
        "name": "g", "kind": "simple", "state": "Empty", "members": 0, "topics": 1, "lag": "5",
        "error": None,
    }.items()  # fmt: skip
    assert api.items("topics/t/groups") == [row]


def test_what_a_group_has_read_is_no_lag(api):
    api.commit("g", {("t", 0): 4, ("t", 1): 4})
    assert [it["lag"] for it in api.ask("GET", "groups/g")["partitions"]] == ["0", "0"]
    assert [it["oldest_unread_ms"] for it in api.ask("GET", "groups/g")["partitions"]] == [None] * 2
    api.commit("g", {("t", 0): 9})  # beyond the end, as after a loss
    assert api.ask("GET", "groups/g")["lag"] == "0"


def test_the_members_of_a_classic_group_show_what_they_read(api):
    member = classic(api)
    found = api.ask("GET", "groups/g")
    assert found["members"] == [{
        "id": member, "client_id": "client", "host": "/192.0.2.7", "instance_id": "first",
        "assignment": [{"topic": "t", "partitions": [0]}],
    }]  # fmt: skip
    assert (found["kind"], found["state"], found["protocol"]) == ("classic", "Stable", "range")
    assert [it["owner"] for it in found["partitions"]] == [member, None]
    [row] = api.items("groups")
    assert (row["members"], row["state"]) == (1, "Stable")
    assert (row["topics"], row["lag"], found["lag"]) == (1, "6", "6")  # before its first commit


def test_the_members_of_a_new_group_show_what_they_read(api):
    consumer(api)
    found = api.ask("GET", "groups/g")
    [member] = found["members"]
    assert member["assignment"] == [{"topic": "t", "partitions": [0, 1]}]
    assert [it["owner"] for it in found["partitions"]] == ["m1", "m1"]
    assert (found["kind"], found["members_total"]) == ("consumer", 1)
    assert [it["lag"] for it in api.items("topics/t/groups")] == ["6"]


def test_groups_are_sorted_by_any_of_their_columns(api):
    api.topics.create("u", 1, {}).append(b"v")
    api.commit("a", {("t", 0): 4, ("t", 1): 4})
    api.commit("b", {("t", 0): 0, ("u", 0): 0})
    classic(api, "c")
    for sort, expected in [
        ("", "abc"), ("-name", "cba"), ("-lag", "bca"), ("-topics", "bac"), ("-members", "cab"),
        ("kind", "cab"), ("-state", "cab"), ("lag_per_s", "abc"),
    ]:  # fmt: skip
        found = "".join(it["name"] for it in api.items(f"groups?sort={sort}"))
        assert found == expected, sort
    assert [it["name"] for it in api.items("topics/u/groups")] == ["b"]
    assert api.items("topics/u/groups")[0]["lag"] == "1"
    assert [it["name"] for it in api.items("topics/t/groups?sort=-lag")] == ["b", "c", "a"]


MOVES = [
    ({"to": "earliest"}, {("t", 0): ("3", "0"), ("t", 1): ("3", "2")}),
    ({"to": "latest"}, {("t", 0): ("3", "4"), ("t", 1): ("3", "4")}),
    ({"to": "offset", "value": "2"}, {("t", 0): ("3", "2"), ("t", 1): ("3", "2")}),
    ({"to": "offset", "value": 4, "partitions": [1]}, {("t", 1): ("3", "4")}),
    ({"to": "time_ms", "value": 2001}, {("t", 0): ("3", "2"), ("t", 1): ("3", "2")}),
    ({"to": "time_ms", "value": "4000"}, {("t", 0): ("3", "3"), ("t", 1): ("3", "3")}),
    ({"to": "time_ms", "value": 9000}, {("t", 0): ("3", "4"), ("t", 1): ("3", "4")}),
    ({"to": "shift", "value": -2}, {("t", 0): ("3", "1"), ("t", 1): ("3", "2")}),
    ({"to": "shift", "value": "-" + "9" * 18}, {("t", 0): ("3", "0"), ("t", 1): ("3", "2")}),
    ({"to": "shift", "value": "+7"}, {("t", 0): ("3", "4"), ("t", 1): ("3", "4")}),
    ({"to": "latest", "topics": ["u"]}, {("u", 0): (None, "1")}),
    ({"to": "shift", "value": 1, "topics": ["u"]}, {}),
    ({"to": "latest", "topics": ["u", "u"], "partitions": [0, 0]}, {("u", 0): (None, "1")}),
    ({"to": "offsets", "offsets": [{"topic": "u", "partition": 0, "offset": "0"},
                                   {"topic": "t", "partition": 1, "offset": 4}]},
     {("u", 0): (None, "0"), ("t", 1): ("3", "4")}),
    ({"to": "offsets", "offsets": []}, {}),
    ({"to": "earliest", "topics": []}, {}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(MOVES)))
def test_a_group_is_moved_as_the_trial_has_said(shared, number):
    (asked, expected), group = MOVES[number], f"moved-{number}"
    before = {("t", 0): 3, ("t", 1): 3}
    shared.commit(group, before)
    del shared.audit[:]
    trial = shared.ask("POST", f"groups/{group}/reset", asked | {"dry_run": True})
    assert by_place(trial) == expected
    assert offsets(shared, group) == before
    assert list(shared.audit) == []
    assert shared.ask("POST", f"groups/{group}/reset", asked) == trial | {"dry_run": False}
    after = before | {place: int(to) for place, (_, to) in expected.items()}
    assert offsets(shared, group) == after
    assert len(shared.audit) == bool(expected)


REFUSED = [
    ("POST", "groups/nope/reset", {"to": "earliest"}, 404, "UnknownGroup"),
    ("POST", "groups/nope/reset", {"to": "earliest", "topics": ["t"]}, 404, "UnknownGroup"),
    ("POST", "groups/g/reset", {"to": "earliest", "topics": ["nope"]}, 404, "UnknownTopic"),
    ("POST", "groups/g/reset", {"to": "earliest", "partitions": [2]}, 404, "UnknownPartition"),
    ("POST", "groups/g/reset", {"to": "earliest", "partitions": [-1]}, 404, "UnknownPartition"),
    ("POST", "groups/g/reset", {"to": "offset", "value": "1"}, 409, "OffsetBelowStart"),
    ("POST", "groups/g/reset", {"to": "offset", "value": "5"}, 409, "OffsetAboveEnd"),
    ("POST", "groups/g/reset", {"to": "offset", "value": "-1"}, 400, None),
    ("POST", "groups/g/reset", {"to": "offset", "value": "9" * 20}, 400, None),
    ("POST", "groups/g/reset", {"to": "offset", "value": "\u0663"}, 400, None),
    ("POST", "groups/g/reset", {"to": "offset", "value": 1.5}, 400, None),
    ("POST", "groups/g/reset", {"to": "offset"}, 400, None),
    ("POST", "groups/g/reset", {"to": "latest", "value": 1}, 400, None),
    ("POST", "groups/g/reset", {"to": "time_ms", "value": "9" * 18}, 400, None),
    ("POST", "groups/g/reset", {"to": "shift", "value": "--1"}, 400, None),
    ("POST", "groups/g/reset", {"to": "shift", "value": ""}, 400, None),
    ("POST", "groups/g/reset", {"to": "nowhere"}, 400, None),
    ("POST", "groups/g/reset", {"to": "offsets"}, 400, None),
    ("POST", "groups/g/reset", {"to": "latest", "offsets": []}, 400, None),
    ("POST", "groups/g/reset", {"to": "offsets", "offsets": [], "topics": ["t"]}, 400, None),
    ("POST", "groups/g/reset",
     {"to": "offsets", "offsets": [{"topic": "t", "partition": 0, "offset": 1}] * 2}, 400, None),
    ("POST", "groups/g/reset",
     {"to": "offsets", "offsets": [{"topic": "t", "partition": 1, "offset": 1}]}, 409,
     "OffsetBelowStart"),
    ("POST", "groups/g/reset",
     {"to": "offsets", "offsets": [{"topic": "t", "partition": 9, "offset": 1}]}, 404,
     "UnknownPartition"),
    ("POST", "groups/g/reset", {"to": "latest", "dryrun": True}, 400, None),
    ("GET", "groups/nope", None, 404, "UnknownGroup"),
    ("GET", "groups/%00", None, 404, "UnknownGroup"),
    ("GET", "groups/%ff", None, 400, None),
    ("DELETE", "groups/nope", None, 404, "UnknownGroup"),
    ("GET", "topics/nope/groups", None, 404, "UnknownTopic"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "value", "status", "kind"), REFUSED)
def test_what_cannot_be_is_refused(shared, method, path, value, status, kind):
    answer = shared.ask(method, path, value, status)
    assert answer.get("kind") == kind
    assert "\n" not in answer["error"]
    assert offsets(shared, "g") == {("t", 0): 3, ("t", 1): 3}
    if value is not None and "dryrun" not in value:
        assert shared.ask(method, path, value | {"dry_run": True}, status) == answer


@pytest.mark.parametrize("join", [classic, consumer])
def test_a_group_that_is_in_use_is_not_moved_and_not_deleted(api, join):
    api.commit("g", {("t", 0): 1})
    join(api)
    for dry_run in (True, False):
        asked = {"to": "latest", "dry_run": dry_run}
        assert api.ask("POST", "groups/g/reset", asked, 409)["kind"] == "GroupBusy"
        answer = api.ask("DELETE", "groups/g", {"dry_run": dry_run}, 409)
        assert answer["kind"] == "GroupBusy"
    assert offsets(api, "g") == {("t", 0): 1}


def test_a_group_that_is_read_in_the_directory_is_not_moved(api):
    api.commit("g", {("t", 0): 1})
    api.keeper.living.add("g")
    assert api.ask("POST", "groups/g/reset", {"to": "latest"}, 409)["kind"] == "GroupBusy"
    assert api.ask("DELETE", "groups/g", None, 409)["kind"] == "GroupBusy"
    assert offsets(api, "g") == {("t", 0): 1}
    assert list(api.audit) == []


def test_a_change_that_cannot_be_kept_is_said(api):
    api.commit("g", {("t", 0): 1})
    api.keeper.error = StorageFull("disk full")
    assert "error" in api.ask("POST", "groups/g/reset", {"to": "latest"}, 503)
    assert "disk full" in api.ask("DELETE", "groups/g", None, 503)["error"]
    api.keeper.error = None
    assert offsets(api, "g") == {("t", 0): 1}
    assert list(api.audit) == []


def test_partitions_with_offsets_in_open_transactions_are_told(api):
    class OneOfThem(Unread):
        def unstable(self, group):
            return {(api.topics.get("t").uuid, 1)} if group == "g" else ()

    api.commit("g", {("t", 0): 1, ("t", 1): 1})
    api.coordinator.undecided = OneOfThem()
    assert [it["pending"] for it in api.ask("GET", "groups/g")["partitions"]] == [False, True]
    api.coordinator.undecided = Unread()
    assert [it["pending"] for it in api.ask("GET", "groups/g")["partitions"]] == [False, False]


def test_until_it_is_known_what_is_pending_in_transactions_it_is_said(api):
    api.commit("g", {("t", 0): 1})
    api.coordinator.undecided = Unread()
    assert "error" in api.ask("POST", "groups/g/reset", {"to": "latest"}, 503)
    assert "error" in api.ask("DELETE", "groups/g", None, 503)
    assert offsets(api, "g") == {("t", 0): 1}


def test_a_group_is_deleted_with_its_offsets(api):
    api.commit("g", {("t", 0): 1, ("t", 1): 2})
    trial = api.ask("DELETE", "groups/g", {"dry_run": True})
    assert trial == {"name": "g", "kind": "simple", "offsets": 2, "topics": ["t"], "dry_run": True}
    assert offsets(api, "g") != {}
    assert api.ask("DELETE", "groups/g") == trial | {"dry_run": False}
    assert offsets(api, "g") == {}
    assert [(event, what) for event, _, what, _ in api.audit] == [("group", "deleted g")]
    api.ask("GET", "groups/g", status=404)


def test_a_topic_that_is_deleted_while_a_group_is_moved_is_named(api):
    api.commit("g", {("t", 0): 1})
    api.keeper.gone.add("t")
    assert api.ask("POST", "groups/g/reset", {"to": "latest"}, 404)["kind"] == "UnknownTopic"
    assert list(api.audit) == []


def test_more_partitions_than_a_turn_may_move_are_refused(api, monkeypatch):
    api.commit("g", {("t", 0): 1})
    monkeypatch.setattr("logstore.protocols.http.native.group_reset.PLACES_MAX", 1)
    answer = api.ask("POST", "groups/g/reset", {"to": "latest"}, 409)
    assert "name some of the topics" in answer["error"]
    api.ask("POST", "groups/g/reset", {"to": "latest", "partitions": [0]})
    assert offsets(api, "g") == {("t", 0): 4}


def test_offsets_are_kept_for_the_topic_that_was_looked_at(api):
    """Not for another one that has its name by then."""
    api.commit("g", {("t", 0): 1})
    given = []
    commit = api.keeper.commit
    api.keeper.commit = lambda group, offsets: given.append(offsets) or commit(group, offsets)
    api.ask("POST", "groups/g/reset", {"to": "latest", "partitions": [0]})
    topic_id = api.topics.topic("t").id
    assert given == [{("t", 0): OffsetToCommit(4, topic_id=topic_id)}]


def test_the_rows_of_a_page_are_as_they_are_now(api):
    """Those that were found by a look that was a while ago."""
    api.commit("a", {("t", 0): 1})
    api.commit("b", {("t", 0): 1})
    assert [it["lag"] for it in api.items("groups")] == ["5", "5"]
    api.keeper.commit("a", {("t", 0): OffsetToCommit(4)})
    api.keeper.delete_group("b")
    [row] = api.items("groups")
    assert (row["name"], row["lag"]) == ("a", "2")


def test_names_of_any_characters_are_shown_as_they_are(api):
    api.commit("<script>\u202e/\u00e4", {("t", 0): 1})
    [row] = api.items("groups?filter=%3Cscript")
    assert row["name"] == "<script>\u202e/\u00e4"
    assert api.ask("GET", "groups/%3Cscript%3E%E2%80%AE%2F%C3%A4")["name"] == row["name"]
