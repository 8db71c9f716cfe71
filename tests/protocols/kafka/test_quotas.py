"""Clients that use more than they are given: what they are told, and what is taken of them then."""

import math
import struct

import pytest
from door_kit import Talk, a_batch, produce_body, produced
from sasl_kit import AL, PLAIN, ROOT, Stranger

from logstore.kafka.fetch_codec import Asked, FetchRequest, read_response, write_request
from logstore.kafka.messages import alter_client_quotas as alter
from logstore.kafka.messages import describe_client_quotas as describe
from logstore.kept.users import KeptQuota
from logstore.protocols.kafka.quotas import NAME_MAX

BATCH = a_batch(b"x" * 1000)


def entity(**given):
    return tuple(sorted((kind.replace("_", "-"), name) for kind, name in given.items()))


def limited(talk, key="producer_byte_rate", limit=100.0, **of):
    quota = KeptQuota(entity(**(of or {"client_id": "test"})), {key: limit})
    assert talk.door.access.change([quota]).error is None
    return talk


@pytest.fixture
def talk():
    talk = Talk()
    talk.topics.create("t", 1, {})
    return talk


def produce(talk, version=8, acks=-1, client_id=b"test"):
    talk.feed(talk.frame(0, version, produce_body("t", BATCH, acks), client_id))


def throttle_ms(body):
    """Of a produce answer, versions 1 to 8."""
    return struct.unpack_from(">i", body, len(body) - 4)[0]


def size_of_a_request():
    return len(Talk().frame(0, 8, produce_body("t", BATCH, -1))) - 4


# Produce


def test_who_stays_below_is_told_nothing_of_it(talk):
    limited(talk, limit=1e9)
    produce(talk)
    [(_, body)] = talk.replies()
    assert throttle_ms(body) == 0
    assert talk.session.deadline is None
    assert not talk.session.busy


def test_who_sends_too_much_is_told_how_long_to_wait_and_nothing_is_taken_meanwhile(talk):
    limited(talk, limit=100.0)
    produce(talk)
    [(_, body)] = talk.replies()
    wait_ms = throttle_ms(body)
    assert wait_ms == int((size_of_a_request() / 100 - 10) * 1000)
    assert produced(body, "t")[:2] == (0, 0)  # what was sent is taken all the same
    assert talk.topics.get("t").partition(0).end == 1
    produce(talk)
    assert talk.out() == b""
    assert talk.session.busy
    assert talk.session.deadline == pytest.approx(talk.now + wait_ms / 1000, abs=0.001)
    talk.pass_time(wait_ms / 1000 - 0.01)
    talk.feed(b"")
    assert talk.out() == b""
    talk.pass_time(0.02)
    talk.feed(b"")
    [(_, body)] = talk.replies()
    assert produced(body, "t")[:2] == (0, 1)


@pytest.mark.parametrize("version", [3, 5])
def test_an_old_client_is_not_answered_until_it_has_waited(talk, version):
    limited(talk, limit=100.0)
    talk.feed(talk.frame(0, version, produce_body("t", BATCH, -1)))
    assert talk.out() == b""
    assert talk.topics.get("t").partition(0).end == 1
    wait_s = talk.session.deadline - talk.now
    assert wait_s == pytest.approx(size_of_a_request() / 100 - 10, abs=0.001)
    talk.pass_time(wait_s + 0.001)
    [(_, body)] = talk.replies()
    assert throttle_ms(body) == pytest.approx(wait_s * 1000, abs=1.1)
    assert not talk.session.busy


def test_a_held_answer_goes_out_when_the_peer_or_the_server_ends(talk):
    limited(talk, limit=100.0)
    talk.feed(talk.frame(0, 3, produce_body("t", BATCH, -1)))
    assert talk.out() == b""
    talk.session.finish(talk.now)
    assert len(talk.replies()) == 1
    assert not talk.session.busy


def test_one_that_wants_no_answer_is_muted_all_the_same(talk):
    limited(talk, limit=100.0)
    for _ in range(3):
        produce(talk, acks=0)
    assert talk.out() == b""
    assert talk.topics.get("t").partition(0).end == 1
    talk.session.finish(talk.now)  # it sends nothing more: what has come is taken
    talk.feed(b"")
    assert talk.topics.get("t").partition(0).end == 3
    assert not talk.session.busy


def test_what_waits_for_a_sync_is_answered_with_the_time_to_wait(talk):
    limited(talk, limit=100.0)
    log = talk.topics.get("t").partition(0)
    log.hold()
    produce(talk)
    assert talk.out() == b""
    log.sync()
    talk.session.wake(talk.now)
    [(_, body)] = talk.replies()
    assert throttle_ms(body) > 0
    assert produced(body, "t")[0] == 0


def test_versions_with_tagged_fields_have_the_time_where_it_belongs(talk):
    limited(talk, limit=100.0)
    name = b"\x02t"
    body = (
        b"\0" + struct.pack(">hi", -1, 1000) + b"\x02" + name + b"\x02" + struct.pack(">i", 0)
        + wire_length(len(BATCH) + 1) + BATCH + b"\0\0\0"
    )  # fmt: skip
    talk.feed(talk.frame(0, 9, body))
    [(_, answer)] = talk.replies()
    assert answer[-1:] == b"\0"
    assert struct.unpack_from(">i", answer, len(answer) - 5)[0] > 0


def test_a_request_that_is_looked_into_in_parts_is_told_how_long_to_wait(talk):
    limited(talk, limit=100.0)
    parts = b"".join(struct.pack(">ii", 0, len(BATCH)) + BATCH for _ in range(1001))
    body = struct.pack(">hhii", -1, -1, 1000, 1) + b"\0\1t" + struct.pack(">i", 1001) + parts
    talk.feed(talk.frame(0, 8, body))
    [(_, answer)] = talk.replies()
    assert throttle_ms(answer) > 1000 * len(parts) / 100 - 11_000
    assert talk.topics.get("t").partition(0).end == 1001
    produce(talk)
    assert talk.out() == b""


def wire_length(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def test_another_client_goes_on(talk):
    limited(talk, limit=100.0)
    produce(talk)
    assert len(talk.replies()) == 1
    other = Talk(beside=talk)
    other.feed(other.frame(0, 8, produce_body("t", BATCH, -1), b"other"))
    assert throttle_ms(other.replies()[0][1]) == 0
    same = Talk(beside=talk)
    produce(same)
    assert throttle_ms(same.replies()[0][1]) > 1000 * size_of_a_request() / 100


def test_a_quota_that_is_taken_away_lets_go_of_whoever_waits(talk):
    limited(talk, limit=1.0)
    produce(talk)
    assert throttle_ms(talk.replies()[0][1]) > 1_000_000
    produce(talk)
    assert talk.out() == b""
    woken = talk.woken
    talk.door.access.change(forget=[KeptQuota(entity(client_id="test"))])
    assert talk.woken > woken
    talk.feed(b"")
    assert len(talk.replies()) == 1


def test_other_requests_are_not_counted_but_wait_behind(talk):
    limited(talk, limit=100.0)
    talk.say(48, 0, describe.Request())
    assert len(talk.replies()) == 1
    produce(talk)
    assert len(talk.replies()) == 1
    talk.say(48, 0, describe.Request())
    assert talk.out() == b""


# Fetch


def fetch(talk, version=11, epoch=-1, session=0, max_bytes=1 << 20, offset=0):
    asked = [Asked("t", 0, offset, 1 << 20)]
    request = FetchRequest(0, 1, max_bytes, 0, session, epoch, asked, [], False)
    talk.send(1, version, write_request(version, request))


def fetched(talk, version=11):
    """(throttle time, what else was said)"""
    [(_, body)] = talk.replies()
    return struct.unpack_from(">i", body)[0], read_response(version, memoryview(body), 0)


def fill(talk, count=20):
    for _ in range(count):
        produce(talk)
        assert len(talk.replies()) == 1


def test_a_consumer_gets_no_more_at_once_than_a_window_gives(talk):
    fill(talk)
    limited(talk, "consumer_byte_rate", 500.0)
    fetch(talk)
    wait_ms, found = fetched(talk)
    assert wait_ms == 0
    [got] = found.got
    assert 0 < len(got.records) <= 5000


def test_a_consumer_that_is_above_its_rate_is_answered_empty_and_muted(talk):
    fill(talk)
    limited(talk, "consumer_byte_rate", 500.0)
    fetch(talk)
    assert fetched(talk)[0] == 0
    fetch(talk, offset=4)
    wait_ms, found = fetched(talk)
    assert wait_ms > 0
    assert (found.error_code, found.session_id, list(found.got)) == (0, 0, [])
    fetch(talk, offset=4)
    assert talk.out() == b""
    talk.pass_time(11)  # what was used before counts no more
    talk.feed(b"")
    wait_ms, found = fetched(talk)
    assert (wait_ms, len(found.got)) == (0, 1)


def test_a_consumer_gets_its_rate_in_the_long_run(talk):
    """As with Kafka, a window's worth at once, and that again when the window is over."""
    fill(talk, 400)
    limited(talk, "consumer_byte_rate", 5000.0)
    began, offset, got = talk.now, 0, 0
    while got < 350_000:
        fetch(talk, offset=offset, max_bytes=4000)
        wait_ms, found = fetched(talk)
        for it in found.got:
            got += len(it.records)
            offset += len(it.records) // len(BATCH)
        talk.pass_time(wait_ms / 1000 + 0.01)
    assert 0.8 < got / (talk.now - began) / 5000 < 1.15


def test_a_batch_larger_than_a_window_gives_is_got_by_who_has_had_nothing(talk):
    fill(talk, 3)
    limited(talk, "consumer_byte_rate", 10.0)
    for offset in range(3):
        fetch(talk, offset=offset)
        wait_ms, found = fetched(talk)
        assert [len(it.records) for it in found.got] == [len(BATCH)]
        assert wait_ms == int((len(BATCH) / 10 - 10) * 1000)
        fetch(talk, offset=offset)
        assert talk.out() == b""
        talk._left = b""
        talk.pass_time(wait_ms / 1000 + 0.01)


def test_a_fetch_session_goes_on_where_it_was(talk):
    fill(talk)
    limited(talk, "consumer_byte_rate", 500.0)
    fetch(talk, epoch=0)
    wait_ms, found = fetched(talk)
    session = found.session_id
    assert session
    assert wait_ms == 0
    fetch(talk, epoch=1, session=session, offset=4)
    wait_ms, found = fetched(talk)
    assert wait_ms > 0
    assert (found.session_id, list(found.got)) == (session, [])
    talk.pass_time(11)
    fetch(talk, epoch=2, session=session, offset=4)
    wait_ms, found = fetched(talk)
    assert (wait_ms, found.session_id, len(found.got)) == (0, session, 1)


def test_a_session_that_would_begin_is_not_told(talk):
    fill(talk)
    limited(talk, "consumer_byte_rate", 500.0)
    fetch(talk)
    assert fetched(talk)[0] == 0
    fetch(talk, epoch=0, offset=4)
    wait_ms, found = fetched(talk)
    assert wait_ms > 0
    assert (found.session_id, list(found.got)) == (0, [])


def test_an_old_consumer_is_not_answered_until_it_has_waited(talk):
    fill(talk)
    limited(talk, "consumer_byte_rate", 500.0)
    fetch(talk, version=7)
    assert fetched(talk, 7)[0] == 0
    fetch(talk, version=7, offset=4)
    assert talk.out() == b""
    wait_s = talk.session.deadline - talk.now
    talk.pass_time(wait_s + 0.001)
    wait_ms, found = fetched(talk, 7)
    assert (wait_ms, list(found.got)) == (pytest.approx(wait_s * 1000, abs=1.1), [])


def test_what_is_held_back_lets_go_of_its_files_when_the_connection_is_gone(talk):
    class Extent:
        released = 0
        following = 1

        def __init__(self, size):
            self.size = size

        def __len__(self):
            return self.size

        def release(self):
            Extent.released += 1

    log = talk.topics.get("t").partition(0)
    fill(talk, 1)
    log.extent = lambda offset, bytes_max: Extent(len(BATCH))
    limited(talk, "consumer_byte_rate", 10.0)
    fetch(talk, version=7)
    assert talk.out() == b""
    assert talk.session.busy
    talk.session.close()
    assert Extent.released == 1


# Requests


def ask_to_alter(talk, *entries, validate_only=False, version=1):
    request = alter.Request(
        [
            alter.EntryData(
                [alter.EntityData(kind.replace("_", "-"), name) for kind, name in of],
                [
                    alter.OpData(key, 0.0 if value is None else value, value is None)
                    for key, value in ops.items()
                ],
            )
            for of, ops in entries
        ],
        validate_only,
    )
    answer = talk.ask(49, version, request, alter.Response)
    return [(it.error_code, it.error_message) for it in answer.entries]


def shown(talk, *components, strict=False, version=1):
    asked = [describe.ComponentData(*it) for it in components]
    answer = talk.ask(48, version, describe.Request(asked, strict), describe.Response)
    if answer.error_code:
        return answer.error_code, answer.error_message
    return [
        ({it.entity_type: it.entity_name for it in entry.entity},
         {it.key: it.value for it in entry.values})
        for entry in answer.entries
    ]  # fmt: skip


AL_AND_C = (("user", "al"), ("client-id", "c"))


@pytest.mark.parametrize("version", [0, 1])
def test_quotas_are_set_changed_removed_and_shown(talk, version):
    ops = {"producer_byte_rate": 10.0, "consumer_byte_rate": 20.0}
    assert ask_to_alter(talk, (AL_AND_C, ops), version=version) == [(0, None)]
    assert shown(talk, version=version) == [({"client-id": "c", "user": "al"}, ops)]
    changed = {"producer_byte_rate": None, "consumer_byte_rate": 30.0}
    assert ask_to_alter(talk, (AL_AND_C[::-1], changed)) == [(0, None)]
    assert shown(talk) == [({"client-id": "c", "user": "al"}, {"consumer_byte_rate": 30.0})]
    assert ask_to_alter(talk, (AL_AND_C, {"consumer_byte_rate": None})) == [(0, None)]
    assert ask_to_alter(talk, (AL_AND_C, {"consumer_byte_rate": None})) == [(0, None)]
    assert shown(talk) == []


def test_what_is_only_to_be_checked_changes_nothing(talk):
    asked = ((("user", None),), {"producer_byte_rate": 1.0})
    assert ask_to_alter(talk, asked, validate_only=True) == [(0, None)]
    assert shown(talk) == []


def test_keys_without_effect_are_kept_shown_and_said_to_have_none(talk):
    ops = {"request_percentage": 12.5, "controller_mutation_rate": 0.5, "producer_byte_rate": 5.0}
    [(code, text)] = ask_to_alter(talk, ((("client-id", "c"),), ops))
    assert code == 0
    assert text == (
        "kept and shown, without effect here: controller_mutation_rate, request_percentage"
    )
    assert shown(talk) == [({"client-id": "c"}, ops)]


BAD = [
    ((), {}, "Invalid empty client quota entity"),
    ((("group", "g"),), {}, "Unhandled client quota entity type: group"),
    ((("user", ""),), {}, "Empty user not supported"),
    ((("user", "a"), ("user", "b")), {},
     "Invalid client quota entity, duplicate entity entry user"),
    ((("ip", "10.0.0.1"), ("user", "a")), {}, "Invalid quota entity combination, IP entity should "
     "not be combined with User or ClientId"),
    ((("ip", "nowhere.example"),), {}, "nowhere.example is not a valid IP or resolvable host."),
    ((("user", "x" * (NAME_MAX + 1)),), {}, f"user of more than {NAME_MAX} characters"),
    ((("user", "a"),), {"connection_creation_rate": 1.0},
     "Invalid configuration key connection_creation_rate"),
    ((("ip", None),), {"producer_byte_rate": 1.0}, "Invalid configuration key producer_byte_rate"),
    ((("user", "a"),), {"nonsense": None}, "Invalid configuration key nonsense"),
    ((("user", "a"),), {"producer_byte_rate": 0.0},
     "Quota producer_byte_rate must be greater than 0"),
    ((("user", "a"),), {"request_percentage": -1.0},
     "Quota request_percentage must be greater than 0"),
    ((("user", "a"),), {"producer_byte_rate": 1.5},
     "producer_byte_rate cannot be a fractional value."),
    ((("user", "a"),), {"producer_byte_rate": 1e30},
     "Proposed value for producer_byte_rate is too large for a LONG."),
    ((("ip", None),), {"connection_creation_rate": 2.0**31},
     "Proposed value for connection_creation_rate is too large for an INT."),
    ((("user", "a"),), {"producer_byte_rate": math.nan},
     "Quota producer_byte_rate must be greater than 0"),
    ((("user", "a"),), {"request_percentage": math.inf},
     "Quota request_percentage must be a number"),
]  # fmt: skip


@pytest.mark.parametrize(("of", "ops", "text"), BAD, ids=[it[2][:40] for it in BAD])
def test_what_cannot_be_is_refused_and_all_else_is_done(talk, of, ops, text):
    good = ((("client-id", None),), {"producer_byte_rate": 7.0})
    assert ask_to_alter(talk, good, (of, ops), good) == [(0, None), (42, text), (0, None)]
    assert shown(talk) == [({"client-id": None}, {"producer_byte_rate": 7.0})]


@pytest.mark.parametrize(
    ("written", "known"),
    [("0:0:0:0:0:0:0:1", "::1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("10.0.0.1", "10.0.0.1")],
)
def test_an_address_is_known_however_it_is_written(talk, written, known):
    limit = {"connections_max": 3.0}
    assert ask_to_alter(talk, ((("ip", written),), limit)) == [(0, None)]
    assert shown(talk) == [({"ip": known}, limit)]


ALL = [
    {"user": "al"}, {"user": None}, {"client-id": "c"}, {"user": "al", "client-id": "c"},
    {"user": "al", "client-id": None}, {"user": "bo", "client-id": "c"},
]  # fmt: skip
FILTERS = [
    ((), False, ALL),
    ((), True, []),
    ((("user", 0, "al"),), False, [ALL[0], ALL[3], ALL[4]]),
    ((("user", 0, "al"),), True, [ALL[0]]),
    ((("user", 1, None),), False, [ALL[1]]),
    ((("user", 2, None),), True, [ALL[0], ALL[1]]),
    ((("user", 2, None), ("client-id", 2, None)), True, ALL[3:]),
    ((("user", 2, None), ("client-id", 1, None)), False, [ALL[4]]),
    ((("client-id", 0, "c"),), False, [ALL[2], ALL[3], ALL[5]]),
    ((("ip", 2, None),), False, []),
]  # fmt: skip


@pytest.mark.parametrize(("components", "strict", "expected"), FILTERS)
def test_filters(talk, components, strict, expected):
    quotas = [KeptQuota(tuple(sorted(it.items())), {"producer_byte_rate": 1.0}) for it in ALL]
    talk.door.access.change(quotas)
    found = [dict(of) for of, _ in shown(talk, *components, strict=strict)]
    assert sorted(found, key=str) == sorted((dict(sorted(it.items())) for it in expected), key=str)


WRONG_FILTERS = [
    ((("", 2, None),), 42, "Invalid empty entity type."),
    ((("user", 2, None), ("user", 1, None)), 42,
     "Entity type user cannot appear more than once in the filter."),
    ((("group", 2, None),), 35, "Unsupported entity type group"),
    ((("user", 0, None),), 42, "Request specified MATCH_TYPE_EXACT, but set match string to null."),
    ((("user", 1, "a"),), 42,
     "Request specified MATCH_TYPE_DEFAULT, but also specified a match string."),
    ((("user", 2, "a"),), 42,
     "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string."),
    ((("user", 3, None),), 42, "Unknown match type 3"),
    ((("user", 2, None), ("ip", 2, None)), 42,
     "Invalid entity filter component combination, IP filter component should not be used with "
     "User or ClientId filter component."),
]  # fmt: skip


@pytest.mark.parametrize(("components", "code", "text"), WRONG_FILTERS)
def test_filters_that_cannot_be(talk, components, code, text):
    assert shown(talk, *components) == (code, text)


# Users


def test_the_quota_of_a_user_counts_for_who_logs_in_as_him():
    talk = Stranger(users=(AL, ROOT))
    talk.topics.create("t", 1, {})
    limited(talk, "producer_byte_rate", 100.0, user="root")
    assert talk.log_in(b"\0root\0key").error_code == 0
    produce(talk)
    assert throttle_ms(talk.replies()[0][1]) > 0


def test_a_user_has_no_more_connections_than_he_is_given():
    first = Stranger(users=(AL, ROOT))
    limited(first, "connections_max", 1.0, user="al")
    assert first.log_in(PLAIN).error_code == 0
    second = Stranger(beside=first)
    answer = second.log_in(PLAIN)
    assert answer.error_code == 58
    assert answer.error_message == "Authentication failed: user connection limit (1) is reached"
    assert second.closed
    second.session.close()
    assert Stranger(beside=first).log_in(b"\0root\0key").error_code == 0
    first.session.close()
    third = Stranger(beside=first)
    assert third.log_in(PLAIN).error_code == 0
