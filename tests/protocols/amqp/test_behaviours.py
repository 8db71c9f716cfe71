"""Each behaviour that clients of other brokers tripped over has a test of its number.

The numbers are those of the tests' names (``test_t6_...``). What is on disk is tested below the
door, by names that say what it is; those count as well, and are named here.
"""

import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[2]

BEHAVIOURS = {
    1: "a requeued message goes back to its own place",
    2: "basic.cancel requeues nothing",
    3: "every return counts, but for a server that stops",
    4: "x-delivery-count is absent at first, and a long",
    5: "the delivery limit acts at the return",
    6: "x-death: an entry for each queue and reason, newest first",
    7: "an x-death that a client made",
    8: "where a dead letter goes, with which keys",
    9: "cycles of dead letters",
    10: "no dead letter is lost",
    11: "messages expire at the head",
    12: "expiration is a decimal text",
    13: "x-expires counts from the last use",
    14: "lengths count what is ready",
    15: "confirms never speak for a nacked message",
    16: "a return comes before its ack",
    17: "alternate exchanges and mandatory",
    18: "unknown delivery tags",
    19: "prefetch of consumers and of channels",
    20: "priorities and prefetch",
    21: "passive declares, names of the server",
    22: "equivalence, in RabbitMQ's order",
    23: "exclusive queues after a reconnect",
    24: "auto-delete",
    25: "cancelled consumers are told",
    26: "heartbeats",
    27: "blocked connections",
    28: "direct replies",
    29: "headers exchanges",
    30: "topic exchanges",
    31: "CC and BCC",
    32: "delayed exchanges",
    33: "consumer timeouts",
    34: "exclusive and single active consumers",
    35: "transactions",
    36: "traps of storage",
    37: "who nacks for ever",
    38: "sizes of messages and frames",
}
BELOW = {
    5: ["test_the_count_and_the_limit_outlive_a_restart"],
    10: [
        "test_a_kill_on_the_way_loses_no_dead_letter",
        "test_a_dying_message_is_settled_only_when_it_is_safe_elsewhere",
        "test_a_full_disk_loses_no_dead_letter",
    ],
    20: ["test_high_priorities_go_first_and_each_in_order"],
    36: [
        "test_a_purge_outlives_a_kill_also_of_what_was_requeued",
        "test_a_queue_of_the_same_name_never_finds_old_settlements",
        "test_a_drained_idle_queue_has_one_empty_segment",
        "test_one_unsettled_message_keeps_what_stands_above_it_and_no_more",
        "test_one_old_message_keeps_next_to_nothing_of_what_is_settled_behind_it",
        "test_damage_in_one_queue_harms_no_other_and_is_not_acknowledged",
    ],
}


def names():
    """Of all tests that are functions."""
    for path in TESTS.rglob("test_*.py"):
        yield from re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)


def test_each_behaviour_has_tests_of_its_number():
    known = set(names())
    numbered = defaultdict(list)
    for name in known:
        if found := re.match(r"test_t(\d+)_", name):
            numbered[int(found[1])].append(name)
    assert numbered.keys() == BEHAVIOURS.keys() == set(range(1, 39))
    assert [it for those in BELOW.values() for it in those if it not in known] == []
