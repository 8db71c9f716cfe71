"""Policies: what they may be, and which of them counts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.policies import (
    CLASSIC,
    SETTINGS,
    WITHOUT_EFFECT,
    InvalidPolicy,
    Policies,
    Policy,
    check,
    without_unknown,
)
from logstore.broker.queues.limits import CHECKS, QueueFacts, limits_of
from logstore.broker.routing.arguments import Arguments, Field
from logstore.expressions import expression

GOOD = {
    "alternate-exchange": "other",
    "consumer-timeout": 1000,
    "dead-letter-exchange": "",
    "dead-letter-routing-key": "k",
    "dead-letter-strategy": "at-least-once",
    "delayed-retry-max": 5,
    "delayed-retry-min": 5,
    "delayed-retry-type": "all",
    "delivery-limit": -1,
    "expires": 1,
    "max-age": "7D",
    "max-length": 0,
    "max-length-bytes": 0,
    "message-ttl": 0,
    "overflow": "reject-publish",
    "retention-bytes": 0,
    "retention-ms": 0,
    "stream-max-segment-size-bytes": 1000,
    "x-cache-persistence": "disk",
    "x-cache-size": 1,
    "x-cache-ttl": 1,
}
BAD = {
    "alternate-exchange": 5,
    "consumer-timeout": "1",
    "dead-letter-exchange": None,
    "dead-letter-routing-key": [],
    "dead-letter-strategy": "never",
    "delayed-retry-max": -1,
    "delayed-retry-min": 1.5,
    "delayed-retry-type": {},
    "delivery-limit": -2,
    "expires": 0,
    "max-age": "7W",
    "max-length": -1,
    "max-length-bytes": 1 << 63,
    "message-ttl": True,
    "overflow": ["drop-head"],
    "retention-bytes": -2,
    "retention-ms": "1h",
    "stream-max-segment-size-bytes": 3_000_000_001,
    "x-cache-persistence": "tape",
    "x-cache-size": 0,
    "x-cache-ttl": "1",
}


def policy(name="p", pattern="", priority=0, apply_to="all", **definition):
    settings = {key.replace("_", "-"): value for key, value in definition.items()}
    return Policy(name, pattern, settings or {"max-length": 1}, priority, apply_to)


def facts(name=b"q", **arguments):
    def field(value):
        return Field("S", value.encode()) if isinstance(value, str) else Field("l", value)

    named = {f"x-{it.replace('_', '-')}".encode(): field(v) for it, v in arguments.items()}
    return QueueFacts(name, True, arguments=Arguments.of(named))


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_each_setting_takes_what_it_is_for_and_nothing_else(setting):
    assert check(Policy("p", "", {setting: GOOD[setting]}))
    with pytest.raises(InvalidPolicy) as refused:
        check(Policy("p", "", {setting: BAD[setting]}))
    assert f"is not a valid {SETTINGS[setting].called}" in refused.value.fault
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("setting", sorted(WITHOUT_EFFECT))
def test_what_has_no_effect_here_is_taken_with_a_reason(setting):
    value = {"queue-mode": "lazy", "queue-leader-locator": "balanced"}.get(setting, 2)
    assert check(Policy("p", "", {setting: value}))
    assert WITHOUT_EFFECT[setting]
    with pytest.raises(InvalidPolicy):
        check(Policy("p", "", {setting: {"a": 1}}))


def test_settings_of_queues_are_arguments_of_queues():
    of_streams = {b"x-max-age", b"x-stream-max-segment-size-bytes", b""}
    assert {it.argument for it in SETTINGS.values()} - of_streams <= CHECKS.keys()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (policy(priority="7"), 'priority should be a number, actually was <<"7">>'),
        (policy(priority=True), "priority should be a number, actually was true"),
        (policy(priority=float("nan")), "priority too large"),
        (policy(priority=1 << 70), "priority too large"),
        (policy(pattern=5), "pattern should be a binary but was 5"),
        (policy(pattern="("), "pattern should be regular expression but is invalid: "),
        (policy(apply_to="foo"), "apply-to 'foo' unrecognised; should be 'queues', "),
        (policy(apply_to=5), "apply-to '5' unrecognised"),
        (policy(apply_to=["all"]), "apply-to '"),
        (policy(name=""), "name should be a short text"),
        (policy(name="n" * 256), "name should be a short text"),
        (policy(foo=1), '[{<<"foo">>,1}] are not recognised policy settings'),
        (policy(max_priority=5), "are not recognised policy settings"),
        (Policy("p", "", {}), "no policy provided"),
        (Policy("p", "", [1]), "definition must be a dictionary: [1]"),
        (Policy("p", "", None), "definition must be a dictionary: null"),
        (policy(alternate_exchange="n" * 1025), "is not a valid alternate exchange name"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(given, fault):
    with pytest.raises(InvalidPolicy) as refused:
        check(given)
    assert refused.value.fault.startswith(fault) or fault in refused.value.fault
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("value", [True, 1.0, "1", 3, None])
def test_a_number_is_of_its_type(value):
    with pytest.raises(InvalidPolicy, match="queue-version"):
        check(policy(queue_version=value))


def test_unknown_settings_are_told_from_others():
    found, unknown = without_unknown(policy(max_length=1, foo=2, ha_mode="all"))
    assert (found.definition, unknown) == ({"max-length": 1, "ha-mode": "all"}, ["foo"])


# Which one counts


def counting(*those):
    found = Policies()
    found.put(*those)
    return found


def test_the_highest_priority_counts_then_the_first_name():
    those = counting(
        policy("low", "^q", 1), policy("b", "^q", 2), policy("a", "q", 2), policy("not", "^x", 3)
    )
    assert those.of_queue(b"q1", "classic").name == "a"
    assert those.of_queue(b"r", "classic") is None
    assert [it.name for it in those] == ["not", "a", "b", "low"]
    those.remove("a")
    assert those.of_queue(b"q1", "classic").name == "b"
    those.put(policy("low", "^q", 7.5))
    assert those.of_queue(b"q1", "classic").name == "low"


def test_each_counts_for_what_it_applies_to():
    those = counting(
        policy("x", apply_to="exchanges", priority=5),
        policy("c", apply_to="classic_queues", priority=4),
        policy("k", apply_to="quorum_queues", priority=4),
        policy("s", apply_to="streams", priority=4, max_age="1D"),
        policy("q", apply_to="queues", priority=3),
        policy("all"),
    )
    assert those.of_exchange(b"a").name == "x"
    assert those.of_queue(b"a", "classic").name == "c"
    assert those.of_queue(b"a", "quorum").name == "k"
    assert those.of_queue(b"a", "stream").name == "s"
    those.remove("c")
    assert those.of_queue(b"a", "classic").name == "q"
    those.remove("x")
    assert those.of_exchange(b"a").name == "all"


def test_a_setting_that_a_type_does_not_have_takes_the_whole_policy_from_it():
    those = counting(
        policy("limit", priority=2, delivery_limit=5, max_length=1),
        policy("mode", priority=1, queue_mode="lazy"),
        policy("rest", max_length_bytes=9),
    )
    assert those.of_queue(b"a", "quorum").name == "limit"
    assert those.of_queue(b"a", "classic").name == "mode"
    assert those.of_queue(b"a", "stream").name == "rest"
    assert those.of_queue(b"a", "unheard of").name == "mode"
    assert those.of_exchange(b"a").name == "limit"


def test_a_pattern_that_another_logstore_took_matches_nothing():
    assert counting(policy("p", "(a)\\1")).of_queue(b"aa", "classic") is None


# What a queue makes of it


def limits(definition, **arguments):
    return limits_of(facts(**arguments), definition)


def test_an_argument_beats_a_policy():
    found = limits(
        {"dead-letter-exchange": "p", "overflow": "reject-publish", "dead-letter-routing-key": "k"},
        dead_letter_exchange="a",
    )
    assert (found.dead_letter_exchange, found.dead_letter_key) == (b"a", b"k")
    assert found.overflow == b"reject-publish"
    assert limits({"overflow": "reject-publish"}, overflow="drop-head").overflow == b"drop-head"


SMALLER = [
    ("message-ttl", "ttl_ms"), ("expires", "expires_ms"), ("max-length", "max_length"),
    ("max-length-bytes", "max_bytes"), ("delivery-limit", "delivery_limit"),
    ("retention-ms", "retention_ms"), ("retention-bytes", "retention_bytes"),
]  # fmt: skip


@given(st.sampled_from(SMALLER), st.integers(1, 9), st.integers(1, 9) | st.none())
def test_of_two_limits_the_smaller_one_counts(names, said, own):
    setting, field = names
    arguments = {} if own is None else {setting: own}
    assert getattr(limits({setting: said}, **arguments), field) == min(said, own or said)


def test_a_delivery_limit_counts_against_no_limit():
    assert limits({"delivery-limit": 5}, **{"delivery-limit": -1}).delivery_limit == 5
    assert limits({"delivery-limit": -1}, **{"delivery-limit": 5}).delivery_limit == 5
    assert limits({"delivery-limit": -1}).delivery_limit is None


def test_what_is_no_limit_of_a_queue_changes_nothing():
    definition = {"alternate-exchange": "x", "ha-mode": "all", "queue-mode": "lazy"}
    assert limits(definition) == limits({})


def test_times_have_their_bound():
    ten_years_ms = 315_360_000_000
    found = limits({"message-ttl": 1 << 60, "expires": 1 << 60})
    assert (found.ttl_ms, found.expires_ms) == (ten_years_ms, ten_years_ms)


def test_the_page_tells_of_each_setting():
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()
    untold = [it for it in (*SETTINGS, *WITHOUT_EFFECT) if f"`{it}`" not in page]
    assert all(it.startswith("ha-") for it in untold)  # "and its kin"


def test_one_more_policy_compiles_no_expression_anew():
    policies = Policies()
    policies.put(*(Policy(f"p{n}", f"^a{n}", {"expires": 5}) for n in range(20)))
    expression.cache_clear()  # as others' expressions do
    policies.put(Policy("one more", "^b", {"expires": 5}))
    policies.remove("p3")
    assert expression.cache_info().misses == 1
    assert policies.of_queue(b"a7", CLASSIC).name == "p7"
    policies.put(Policy("p7", "^c", {"expires": 5}))
    assert policies.of_queue(b"a7", CLASSIC) is None
    assert policies.of_queue(b"c", CLASSIC).name == "p7"
