"""MQTT sessions and subscriptions, in LMDB."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import logstore
from logstore.kept.mqtt import NEVER, KeptMqtt, KeptSession, KeptSubscription
from logstore.storage import mqtt, queues

texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=40)
sessions = st.builds(
    KeptSession, st.integers(1, 2**62), texts, texts, st.integers(0, 2**62),
    st.sampled_from([4, 5]), st.integers(0, NEVER), st.integers(-1, 2**50), st.booleans(),
)  # fmt: skip
subscriptions = st.builds(
    KeptSubscription, st.integers(1, 2**62), st.integers(1, 2**62), texts.map(str.encode),
    st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 268_435_455),
)  # fmt: skip


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    with logstore.open(tmp_path_factory.mktemp("mqtt") / "data") as store:
        yield store.internals().groups.environment


def change(environment, keep=(), forget=(), alive_ms=0):
    environment.transact(mqtt.TABLES, lambda it: mqtt.change(it, keep, forget, alive_ms))


def empty(environment):
    kept = mqtt.load(environment)
    change(environment, (), [*kept.sessions, *kept.subscriptions])


def test_a_new_store_has_none_and_no_table_is_made_by_looking(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        environment = store.internals().groups.environment
        assert not mqtt.used(environment)
        assert mqtt.load(environment) == KeptMqtt()
        assert not environment.has(mqtt.SESSIONS)


@given(
    st.lists(sessions, unique_by=lambda it: it.id, max_size=5),
    st.lists(subscriptions, unique_by=lambda it: it[:2], max_size=5),
)
def test_what_is_kept_is_loaded(environment, those, their):
    empty(environment)
    change(environment, [*those, *their])
    kept = mqtt.load(environment)
    assert sorted(kept.sessions) == sorted(those)
    assert sorted(kept.subscriptions) == sorted(their)
    assert not kept.damaged
    assert mqtt.used(environment) == bool(those)


def test_a_session_that_is_forgotten_takes_its_subscriptions_along_and_no_others(environment):
    empty(environment)
    one, other = KeptSession(7, "a"), KeptSession(8, "b")
    its = [KeptSubscription(7, n, b"f%d" % n) for n in range(1, 5000)]
    theirs = [KeptSubscription(8, 1, b"f")]
    change(environment, [one, other, *its, *theirs])
    change(environment, [], [one])
    kept = mqtt.load(environment)
    assert (kept.sessions, kept.subscriptions) == ([other], theirs)


def test_a_number_of_a_session_is_given_to_no_queue_though_the_session_is_gone(environment):
    change(environment, [KeptSession(2**62 + 5, "a")])
    change(environment, [], [KeptSession(2**62 + 5, "a")])
    assert queues.load(environment).next_id == 2**62 + 6


def test_when_a_process_was_seen_alive_is_loaded(environment):
    change(environment, alive_ms=17)
    change(environment, [KeptSession(9, "c")])
    assert mqtt.load(environment).alive_ms == 17


@pytest.mark.parametrize(
    ("table", "key"), [(mqtt.SESSIONS, bytes(8)), (mqtt.SUBSCRIPTIONS, bytes(16))]
)
@pytest.mark.parametrize("value", [b"", bytes(4), bytes(8), b"\xff" * 30])
def test_a_damaged_row_is_named_and_keeps_nothing_else_from_being_read(
    environment, table, key, value
):
    empty(environment)
    change(environment, [KeptSession(9, "c")])
    environment.transact((table,), lambda it: it.change(table, key, value))
    kept = mqtt.load(environment)
    environment.transact((table,), lambda it: it.change(table, key, None))
    assert kept.sessions == [KeptSession(9, "c")]
    assert len(kept.damaged) == 1
    assert key.hex() in str(kept.damaged[0])


def test_any_bit_that_flips_is_found(environment):
    empty(environment)
    change(environment, [KeptSession(9, "c"), KeptSubscription(9, 1, b"a/+", 1)])
    for table in (mqtt.SESSIONS, mqtt.SUBSCRIPTIONS):
        ((key, good),) = environment.items(table)
        for bit in range(0, 8 * len(good), 7):
            flipped = (int.from_bytes(good) ^ 1 << bit).to_bytes(len(good))
            environment.transact((table,), lambda it: it.change(table, key, flipped))  # noqa: B023
            assert len(mqtt.load(environment).damaged) == 1, bit
        environment.transact((table,), lambda it: it.change(table, key, good))  # noqa: B023
