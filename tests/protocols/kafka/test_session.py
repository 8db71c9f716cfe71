import struct

import kio_oracle as kio
import pytest
from door_kit import Talk, a_batch, produce_body, produced
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import LogFailed
from logstore.kafka.messages import (
    api_versions,
    describe_configs,
    list_offsets,
    metadata,
)
from logstore.kafka.wire import ELEMENTS_MAX
from logstore.protocols.kafka.apis import APIS
from logstore.protocols.kafka.door import Later
from logstore.protocols.kafka.session import (
    OTHER_BYTES_MAX,
    OWED_BYTES_MAX,
    SLOTS_MAX,
    TAKEN_AT_ONCE,
)

VERSIONS = [(key, version) for key, api in APIS.items() for version in range(api.low, api.high + 1)]


@pytest.mark.parametrize(("key", "version"), [it for it in VERSIONS if it[0] not in (0, 1)])
def test_the_table_knows_which_versions_are_flexible(key, version):
    _, flexible, _ = kio.header(APIS[key].name, version, "request")
    assert flexible == (version >= APIS[key].flexible)


@pytest.mark.parametrize("key", [key for key, api in APIS.items() if api.raw is None])
def test_every_request_of_the_table_is_carried_out_between_its_own_messages(key):
    handler, messages = APIS[key].handler(), kio.ours(APIS[key].name)
    assert (handler.request, handler.response) == (messages.Request, messages.Response)


@pytest.mark.parametrize("version", range(5))
def test_the_versions_served_are_told(version):
    answer = Talk().ask(18, version, api_versions.Request("x", "1"), api_versions.Response)
    assert answer.error_code == 0
    assert {it.api_key: (it.min_version, it.max_version) for it in answer.api_keys} == {
        key: (api.low, api.high) for key, api in APIS.items()
    }


def test_an_unknown_version_of_api_versions_is_answered_in_version_0():
    talk = Talk()
    talk.send(18, 9, b"whatever this is")
    [(_, body)] = talk.replies()
    answer = Talk.read(18, 0, api_versions.Response, body)
    assert answer.error_code == 35
    assert len(answer.api_keys) == len(APIS)
    assert talk.session.closed is None


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (struct.pack(">ihhi", 10, 999, 0, 1) + b"\0\0", "api key 999"),
        (struct.pack(">ihhi", 10, 3, 99, 1) + b"\0\0", "metadata version 99"),
        (struct.pack(">i", 7) + b"1234567", "a request of 7 bytes"),
        (struct.pack(">i", -5), "a request of -5 bytes"),
        (b"GET / HTTP/1.1\r\n\r\n", "the peer speaks HTTP"),
        (struct.pack(">ihhih", 10, 3, 1, 1, 30), "in the middle"),
        (struct.pack(">ihhihi", 14, 3, 1, 1, -1, 99), "99 elements"),
    ],
)
def test_what_is_no_request_ends_the_connection_with_a_reason(frame, reason):
    talk = Talk()
    talk.feed(frame)
    assert reason in talk.session.closed
    assert talk.out() == b""
    assert talk.feed(talk.frame(18, 0, b"")) == 0  # nothing is taken any more


def test_a_request_over_the_limit_ends_the_connection():
    talk = Talk(settings={"socket.request.max.bytes": 1024})
    talk.feed(struct.pack(">i", 1025))
    assert "socket.request.max.bytes is 1024" in talk.session.closed


def test_how_much_of_a_message_is_wanted_is_known_from_its_size():
    talk = Talk()
    frame = talk.frame(18, 0, b"")
    talk.feed(frame[:3])
    assert talk.session.wants == 0
    talk.feed(frame[3:8])
    assert talk.session.wants == len(frame)
    talk.feed(frame[8:])
    assert (talk.session.wants, len(talk.replies())) == (0, 1)


def a_conversation(talk):
    """Requests of several kinds, back to back."""
    talk.topics.create("t", 1, {})
    names = struct.pack(">ih", 1, 1) + b"t"
    return [
        talk.frame(18, 0, b""),
        talk.frame(0, 8, produce_body("t", a_batch(b"one"))),
        talk.frame(3, 1, names),
        talk.frame(0, 8, produce_body("t", a_batch(b"two", b"three"), acks=0)),
        talk.frame(2, 1, struct.pack(">iih", -1, 1, 1) + b"t" + struct.pack(">iiq", 1, 0, -1)),
        talk.frame(1, 4, struct.pack(">iiiibih", -1, 0, 1, 1 << 20, 0, 1, 1) + b"t"
                   + struct.pack(">iiqi", 1, 0, 0, 1 << 20)),
    ]  # fmt: skip


def whole():
    talk = Talk()
    for frame in a_conversation(talk):
        talk.feed(frame)
    return talk.out()


WHOLE = whole()


def test_the_same_comes_out_however_the_bytes_come_in():
    assert struct.unpack_from(">ii", WHOLE)[1] == 1
    for size in (1, 2, 3, 7, 1000):
        talk = Talk()
        data = b"".join(a_conversation(talk))
        for at in range(0, len(data), size):
            talk.feed(data[at : at + size])
        assert talk.out() == WHOLE


@given(st.lists(st.integers(1, 60), min_size=1))
def test_the_same_comes_out_at_any_split(sizes):
    talk, out = Talk(), b""
    data = b"".join(a_conversation(talk))
    at = 0
    while at < len(data):
        size = sizes[at % len(sizes)]
        talk.feed(data[at : at + size])
        out += talk.out(bytes_max=1)
        at += size
    assert out == WHOLE


def test_answers_leave_in_the_order_of_the_requests():
    talk = Talk()
    log = talk.topics.create("t", 1, {}).partitions[0]
    log.hold()
    first = talk.send(0, 8, produce_body("t", a_batch(b"x")))
    second = talk.send(18, 0, b"")
    assert talk.replies() == []
    assert talk.session.busy
    log.sync()
    assert talk.woken
    talk.session.wake(talk.now)
    assert [correlation for correlation, _ in talk.replies()] == [first, second]
    assert not talk.session.busy


def test_what_follows_a_request_that_is_done_elsewhere_waits_for_it():
    jobs = []
    talk = Talk(work=lambda job, done: jobs.append((job, done)))
    names = struct.pack(">ih", 1, 1) + b"t"
    first = talk.send(3, 4, names + b"\1")  # makes the topic
    assert talk.send(3, 4, names + b"\0")
    assert talk.session.busy
    assert talk.replies() == []
    [(job, done)] = jobs
    done(job())
    talk.session.wake(talk.now)
    [(correlation, body)] = talk.replies()
    assert correlation == first
    talk.feed(b"")
    [(_, again)] = talk.replies()
    assert body == again
    answer = Talk.read(3, 4, metadata.Response, body)
    assert [(it.name, it.error_code, len(it.partitions)) for it in answer.topics] == [("t", 0, 1)]


def test_requests_under_way_are_bounded():
    talk = Talk()
    talk.topics.create("t", 1, {}).partitions[0].hold()
    frames = b"".join(
        talk.frame(0, 8, produce_body("t", a_batch(b"x"))) for _ in range(SLOTS_MAX + 10)
    )
    taken = talk.feed(frames)
    while more := talk.feed(b""):
        taken += more
    assert 0 < taken < len(frames)
    talk.topics.get("t").partitions[0].sync()
    assert len(talk.replies()) == SLOTS_MAX
    talk.feed(b"")
    talk.topics.get("t").partitions[0].sync()
    assert len(talk.replies()) == 10


def test_a_closed_session_lets_go_of_its_logs():
    talk = Talk()
    log = talk.topics.create("t", 1, {}).partitions[0]
    log.hold()
    talk.send(0, 8, produce_body("t", a_batch(b"x")))
    talk.session.close()
    talk.woken = 0
    log.sync()
    assert (talk.woken, talk.out()) == (0, b"")


def test_a_later_answer_may_be_there_before_anybody_waits():
    later, woken = Later(), []
    later.give("answer")
    later.waiting(lambda: woken.append(1))
    assert (later.answer, woken) == ("answer", [1])


def test_a_produce_that_is_stuck_is_answered_at_its_deadline():
    talk = Talk()
    talk.topics.create("t", 1, {}).partitions[0].hold()
    talk.send(0, 8, produce_body("t", a_batch(b"x"), timeout_ms=1500))
    assert talk.session.deadline == talk.now + 1.5
    talk.pass_time(1.4)
    assert talk.replies() == []
    talk.pass_time(0.2)
    [(_, body)] = talk.replies()
    assert produced(body, "t")[:2] == (7, -1)


def test_answers_that_nobody_reads_are_bounded_before_they_are_made():
    talk = Talk()
    talk.topics.create("t", 100, {})
    talk.send(3, 1, struct.pack(">i", -1))
    [(_, answer)] = talk.replies()
    asked = OWED_BYTES_MAX // len(answer) + 1
    assert asked < TAKEN_AT_ONCE
    frames = b"".join(talk.frame(3, 1, struct.pack(">i", -1)) for _ in range(200))
    assert talk.feed(frames) == asked * len(frames) // 200
    assert len(talk.replies()) == asked
    talk.feed(b"")
    assert len(talk.replies()) == asked  # those behind are taken when there is room


def test_a_burst_is_taken_a_part_at_a_time():
    talk = Talk()
    frames = b"".join(talk.frame(18, 0, b"") for _ in range(TAKEN_AT_ONCE + 1))
    assert talk.feed(frames) == len(frames) * TAKEN_AT_ONCE // (TAKEN_AT_ONCE + 1)
    talk.feed(b"")
    assert len(talk.replies()) == TAKEN_AT_ONCE + 1


def test_what_was_answered_before_a_request_that_ends_the_connection_is_sent():
    jobs = []
    talk = Talk(work=lambda job, done: jobs.append((job, done)))
    first = talk.send(18, 0, b"")
    talk.send(22, 0, struct.pack(">hi", -1, 1000))
    [(_, done)] = jobs
    done(LogFailed("gone"))
    assert [it for it, _ in talk.replies()] == [first]
    assert talk.session.closed == "gone"


def waiting_jobs():
    jobs = []
    return jobs, Talk(work=lambda job, done: jobs.append((job, done)))


@pytest.mark.parametrize(
    ("key", "version", "request_", "response_kind"),
    [
        (3, 9, metadata.Request(None), metadata.Response),
        (3, 9, metadata.Request([metadata.Topic(name="t")] * 2), metadata.Response),
        (
            2, 6, list_offsets.Request(-1, 0, [
                list_offsets.Topic("t", [list_offsets.Partition(n, -1, -1) for n in range(500)])
            ]), list_offsets.Response,
        ),
        (32, 4, describe_configs.Request([describe_configs.Resource(2, "t")]),
         describe_configs.Response),
    ],
)  # fmt: skip
def test_a_request_that_makes_much_work_is_done_in_another_thread(
    key, version, request_, response_kind
):
    jobs, talk = waiting_jobs()
    at_once = Talk(topics=talk.topics)
    for name in "tu":
        talk.topics.create(name, 100, {})
    asked = talk.say(key, version, request_)
    assert talk.replies() == []
    [(job, done)] = jobs
    done(job())
    [(correlation, body)] = talk.replies()
    assert correlation == asked
    assert talk.read(key, version, response_kind, body) == at_once.ask(
        key, version, request_, response_kind
    )


def test_what_is_no_request_ends_the_connection_also_where_it_is_read_elsewhere():
    jobs, talk = waiting_jobs()
    talk.send(2, 6, bytes(4) + b"\0" + b"\xff" * 5000)
    [(job, done)] = jobs
    done(job())
    assert talk.replies() == []
    assert "variable-length" in talk.session.closed


def test_a_large_request_without_records_is_refused_before_it_is_there():
    talk = Talk()
    talk.feed(struct.pack(">i", OTHER_BYTES_MAX + 1))
    talk.feed(struct.pack(">h", 0))
    assert (talk.session.closed, talk.session.wants) == (None, OTHER_BYTES_MAX + 5)
    talk = Talk()
    talk.feed(struct.pack(">ih", OTHER_BYTES_MAX + 1, 3))
    assert f"a request of {OTHER_BYTES_MAX + 1} bytes with api key 3" in talk.session.closed


@pytest.mark.parametrize(
    "frame",
    [
        (8, 2, struct.pack(">hihqi", 0, -1, 0, -1, ELEMENTS_MAX + 1) + bytes(ELEMENTS_MAX * 8)),
        (0, 3, struct.pack(">hhiih", -1, 1, 1, 1, 0) + struct.pack(">i", ELEMENTS_MAX)
         + struct.pack(">ii", 0, -1) * ELEMENTS_MAX),
    ],
)  # fmt: skip
def test_a_request_of_very_many_elements_ends_the_connection(frame):
    talk = Talk()
    talk.send(*frame)
    assert talk.out() == b""
    assert str(ELEMENTS_MAX) in talk.session.closed


def test_a_fetch_taken_after_the_peer_has_ended_its_side_does_not_wait():
    jobs, talk = waiting_jobs()
    talk.topics.create("t", 1, {})
    first = talk.send(22, 0, struct.pack(">hi", -1, 1000))
    second = talk.send(1, 4, struct.pack(">iiiibih", -1, 2**31 - 1, 1, 1 << 20, 0, 1, 1) + b"t"
                       + struct.pack(">iiqi", 1, 0, 0, 1 << 20))  # fmt: skip
    talk.session.finish(talk.now)
    [(job, done)] = jobs
    done(job())
    assert [it for it, _ in talk.replies()] == [first]
    talk.feed(b"")  # as the server does, when an answer is out
    assert [it for it, _ in talk.replies()] == [second]
    assert not talk.session.busy


def test_a_producer_that_is_idle_is_woken_once_by_the_others_and_then_no_more():
    talk = Talk()
    log = talk.topics.create("t", 1, {}).partitions[0]
    log.hold()
    for woken in ([0, 1, 1, 1], [0, 1, 1, 1]):
        talk.send(0, 8, produce_body("t", a_batch(b"x")))
        log.sync()
        talk.session.wake(talk.now)
        assert len(talk.replies()) == 1
        talk.woken, found = 0, []
        for _ in range(4):
            found.append(talk.woken)
            log.sync()  # another's
            if talk.woken > found[-1]:
                talk.session.wake(talk.now)
        assert found == woken
