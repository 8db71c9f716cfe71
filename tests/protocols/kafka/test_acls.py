"""Rules in Kafka's words: made, shown and removed by the requests of Kafka's admin clients."""

import pytest
from door_kit import Talk

from logstore.access.access import ADMINISTRATOR, Access, Unkept, open_access
from logstore.access.identity import Identity
from logstore.access.resources import ALL, ALTER, CHANNEL, CLUSTER, CLUSTER_NAME, READ, TOPIC, WRITE
from logstore.errors import StorageFull
from logstore.kafka.messages import create_acls, delete_acls, describe_acls
from logstore.kept.keeping import Keeping
from logstore.kept.users import GLOB, PREFIX, KeptAccess, KeptRule, KeptUser
from logstore.protocols.kafka.acls import CHANGED_AT_ONCE, FEW

ANY, MATCH, LITERAL, PREFIXED = 1, 2, 3, 4
DENY, ALLOW = 2, 3
UNKNOWN = 0
OF_TOPIC, OF_GROUP, OF_CLUSTER, OF_TXN, OF_TOKEN, OF_USER = 2, 3, 4, 5, 6, 7
READS, WRITES, CREATES, ALTERS, TWO_PHASE_COMMIT = 3, 4, 5, 7, 15
INVALID, DISABLED, FULL = 42, 54, 56
USERS = (KeptUser("root", tags=(ADMINISTRATOR,)), KeptUser("al"))
HIDDEN = (
    KeptRule("al", READ, CHANNEL, "*"),
    KeptRule("al", READ, TOPIC, "a*b", GLOB),
    KeptRule("bo", WRITE, TOPIC, "a?", GLOB, allow=False),
)


def a_talk(rules=(), access=None, work=None):
    access = access or Access(Unkept(KeptAccess(USERS, rules)))
    talk = Talk(access=access, work=work)
    talk.access = access
    talk.session._login = None
    talk.session._client.become(Identity("root", "192.0.2.1", "PLAIN", "kafka"))
    return talk


def a_creation(kind=OF_TOPIC, name="t", pattern=LITERAL, who="User:al", host="*", operation=READS,
               permission=ALLOW):  # fmt: skip
    return create_acls.AclCreation(kind, name, pattern, who, host, operation, permission)


def created(talk, *creations, version=3):
    request = create_acls.Request(creations)
    answer = talk.ask(30, version, request, create_acls.Response)
    return [it.error_code for it in answer.results]


def a_filter(message, kind=ANY, name=None, pattern=ANY, who=None, host=None, operation=ANY,
             permission=ANY):  # fmt: skip
    return message(kind, name, pattern, who, host, operation, permission)


def shown(talk, version=3, **wanted):
    request = a_filter(describe_acls.Request, **wanted)
    answer = talk.ask(29, version, request, describe_acls.Response)
    assert (answer.error_code, answer.error_message) == (0, None)
    return {
        (it.resource_type, it.resource_name, it.pattern_type, *each)
        for it in answer.resources
        for each in (
            (one.principal, one.host, one.operation, one.permission_type) for one in it.acls
        )
    }


def removed(talk, *filters, version=3):
    request = delete_acls.Request(filters)
    answer = talk.ask(31, version, request, delete_acls.Response)
    return [
        it.error_code or [(one.resource_type, one.resource_name) for one in it.matching_acls]
        for it in answer.filter_results
    ]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_rule_that_is_made_is_shown_counts_and_is_removed(version):
    talk = a_talk()
    rights = talk.access.rights(Identity("al", "192.0.2.1"))
    assert not rights.may(READ, TOPIC, "t")
    assert created(talk, a_creation(), version=version) == [0]
    assert rights.may(READ, TOPIC, "t")
    assert shown(talk, version) == {(OF_TOPIC, "t", LITERAL, "User:al", "*", READS, ALLOW)}
    filters = a_filter(delete_acls.Filter, name="t"), a_filter(delete_acls.Filter, name="u")
    assert removed(talk, *filters, version=version) == [[(OF_TOPIC, "t")], []]
    assert not rights.may(READ, TOPIC, "t")
    assert shown(talk, version) == set()


def test_a_rule_that_is_made_twice_is_one():
    talk = a_talk()
    assert created(talk, a_creation(), a_creation()) == [0, 0]
    assert created(talk, a_creation()) == [0]
    assert len(shown(talk)) == 1


def test_every_kind_of_object_and_principal_comes_back_as_it_was_given():
    given = {
        (OF_TOPIC, "*", LITERAL, "User:*", "*", 2, DENY),
        (OF_GROUP, "g", PREFIXED, "User:a b,c=d", "10.1.2.3", READS, ALLOW),
        (OF_CLUSTER, CLUSTER_NAME, LITERAL, "User:al", "::1", ALTERS, ALLOW),
        (OF_TXN, "x", LITERAL, "User:al", "*", WRITES, ALLOW),
        (OF_TOKEN, "k", LITERAL, "User:al", "*", 8, ALLOW),
        (OF_USER, "u", LITERAL, "User:al", "*", 8, ALLOW),
        (OF_TOPIC, "t", LITERAL, "User:ANONYMOUS", "*", READS, DENY),
    }
    talk = a_talk()
    rules = [a_creation(*it) for it in given]
    assert created(talk, *rules) == [0] * len(given)
    assert shown(talk) == given


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": UNKNOWN}, {"kind": ANY}, {"kind": 99}, {"name": ""}, {"name": "a\0b"},
        {"pattern": UNKNOWN}, {"pattern": ANY}, {"pattern": MATCH}, {"permission": ANY},
        {"permission": UNKNOWN}, {"operation": ANY}, {"operation": UNKNOWN},
        {"operation": TWO_PHASE_COMMIT}, {"kind": OF_CLUSTER, "name": "c", "operation": ALTERS},
        {"kind": OF_CLUSTER, "name": CLUSTER_NAME, "pattern": PREFIXED, "operation": ALTERS},
        {"kind": OF_GROUP, "operation": CREATES}, {"who": "al"}, {"who": "Group:al"},
        {"who": "User:"}, {"host": ""}, {"host": "a host"}, {"host": "10.0.0.0/8"},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_rule_is_refused_and_those_beside_it_are_made(wrong):
    talk = a_talk()
    assert created(talk, a_creation(**wrong), a_creation(name="fine")) == [INVALID, 0]
    assert {name for _, name, *_ in shown(talk)} == {"fine"}


def some_rules():
    return (
        KeptRule("al", READ, TOPIC, "orders"),
        KeptRule("al", WRITE, TOPIC, "ord", PREFIX),
        KeptRule("*", READ, TOPIC, "*", allow=False, host="10.0.0.9"),
        KeptRule("bo", ALL, TOPIC, "other"),
        KeptRule("bo", ALTER, CLUSTER, CLUSTER_NAME),
    )


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, {"orders", "ord", "*", "other", CLUSTER_NAME}),
        ({"kind": OF_TOPIC}, {"orders", "ord", "*", "other"}),
        ({"name": "orders"}, {"orders"}),
        ({"name": "orders", "pattern": MATCH}, {"orders", "ord", "*"}),
        ({"name": "orders", "pattern": LITERAL}, {"orders"}),
        ({"name": "ord", "pattern": LITERAL}, set()),
        ({"name": "ord", "pattern": PREFIXED}, {"ord"}),
        ({"pattern": PREFIXED}, {"ord"}),
        ({"who": "User:al"}, {"orders", "ord"}),
        ({"who": "User:*"}, {"*"}),
        ({"who": "Group:al"}, set()),
        ({"host": "10.0.0.9"}, {"*"}),
        ({"host": "::FFFF:10.0.0.9"}, {"*"}),  # as a rule with it is kept
        ({"host": "a host"}, set()),
        ({"host": "*"}, {"orders", "ord", "other", CLUSTER_NAME}),
        ({"operation": READS}, {"orders", "*"}),
        ({"operation": 2}, {"other"}),
        ({"permission": DENY}, {"*"}),
        ({"permission": DENY, "operation": WRITES}, set()),
    ],
    ids=lambda it: str(sorted(it)) if isinstance(it, set) else str(it),  # alike in all processes
)
def test_a_filter_takes_what_kafka_s_takes(wanted, names):
    talk = a_talk(some_rules())
    assert {name for _, name, *_ in shown(talk, **wanted)} == names
    [gone] = removed(talk, a_filter(delete_acls.Filter, **wanted))
    assert {name for _, name in gone} == names
    assert len(shown(talk)) == len(some_rules()) - len(names)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": UNKNOWN}, {"pattern": UNKNOWN}, {"operation": UNKNOWN}, {"permission": UNKNOWN},
        {"operation": 99},
    ],
    ids=str,
)  # fmt: skip
def test_a_filter_that_means_nothing_is_refused_and_takes_nothing(wrong):
    talk = a_talk(some_rules())
    request = a_filter(describe_acls.Request, **wrong)
    answer = talk.ask(29, 3, request, describe_acls.Response)
    assert (answer.error_code, answer.resources) == (INVALID, [])
    rest = a_filter(delete_acls.Filter, name="orders")
    assert removed(talk, a_filter(delete_acls.Filter, **wrong), rest) == [
        INVALID, [(OF_TOPIC, "orders")],
    ]  # fmt: skip


def test_many_rules_are_looked_at_by_a_worker():
    jobs = []
    rules = [KeptRule("al", READ, TOPIC, f"t{number}") for number in range(FEW + 1)]
    talk = a_talk(rules, work=lambda job, done: jobs.append(job) or done(job()))
    assert len(shown(talk)) == len(rules)
    assert len(jobs) == 1
    gone = a_filter(delete_acls.Filter, name="t7"), a_filter(delete_acls.Filter, kind=UNKNOWN)
    assert removed(talk, *gone) == [[(OF_TOPIC, "t7")], INVALID]
    assert len(jobs) == 3
    assert len(talk.access.rules) == FEW


class Counted(Unkept):
    """How large each change is; whatever has this name in it fails."""

    def __init__(self, fails=""):
        super().__init__(KeptAccess(USERS))
        self.sizes, self.fails = [], fails

    def change(self, keep=(), forget=()):
        self.sizes.append(len(keep) + len(forget))
        keeping = Keeping()
        failed = any(it.name == self.fails for it in (*keep, *forget))
        keeping.finish(StorageFull("no room") if failed else None)
        return keeping


def test_very_many_rules_are_changed_some_at_a_time():
    keeper = Counted(fails=f"t{CHANGED_AT_ONCE}")
    talk, count = a_talk(access=Access(keeper)), 2 * CHANGED_AT_ONCE + 1
    codes = created(talk, *(a_creation(name=f"t{number}") for number in range(count)))
    assert codes == [0] * CHANGED_AT_ONCE + [FULL] * CHANGED_AT_ONCE + [0]
    assert keeper.sizes == [CHANGED_AT_ONCE, CHANGED_AT_ONCE, 1]
    assert len(talk.access.rules) == CHANGED_AT_ONCE + 1
    keeper.sizes, keeper.fails = [], "t0"
    request = delete_acls.Request([a_filter(delete_acls.Filter), a_filter(delete_acls.Filter)])
    answer = talk.ask(31, 3, request, delete_acls.Response)
    assert keeper.sizes == [CHANGED_AT_ONCE, 1]
    for result in answer.filter_results:
        codes = [it.error_code for it in result.matching_acls]
        assert codes == [FULL] * CHANGED_AT_ONCE + [0]
    assert len(talk.access.rules) == CHANGED_AT_ONCE


def test_rules_that_kafka_has_no_words_for_are_neither_shown_nor_removed():
    talk = a_talk(HIDDEN)
    assert shown(talk) == set()
    assert removed(talk, a_filter(delete_acls.Filter)) == [[]]
    assert set(talk.access.rules) == set(HIDDEN)


def test_one_of_two_rules_of_an_object_that_is_removed_leaves_the_other():
    rules = [KeptRule("al", READ, TOPIC, "t"), KeptRule("al", WRITE, TOPIC, "t")]
    talk = a_talk(rules)
    assert removed(talk, a_filter(delete_acls.Filter, operation=READS)) == [[(OF_TOPIC, "t")]]
    rights = talk.access.rights(Identity("al", "192.0.2.1"))
    assert (rights.may(READ, TOPIC, "t"), rights.may(WRITE, TOPIC, "t")) == (False, True)


class Failing(Unkept):
    """A full disk."""

    def change(self, keep=(), forget=()):
        keeping = Keeping()
        keeping.finish(StorageFull("no room"))
        return keeping


def test_what_could_not_be_kept_is_told_and_does_not_count():
    talk = a_talk(access=Access(Failing(KeptAccess(USERS, some_rules()))))
    assert created(talk, a_creation(who="x"), a_creation()) == [INVALID, FULL]
    request = delete_acls.Request([a_filter(delete_acls.Filter, name="orders")])
    answer = talk.ask(31, 3, request, delete_acls.Response)
    assert [it.error_code for it in answer.filter_results[0].matching_acls] == [FULL]
    assert len(shown(talk)) == len(some_rules())


class Slow(Unkept):
    """Changes become durable when the test says so."""

    def change(self, keep=(), forget=()):
        self.keeping = Keeping()
        return self.keeping


def test_a_rule_is_answered_when_it_is_durable_and_counts_from_then_on():
    keeper = Slow(KeptAccess(USERS))
    talk = a_talk(access=Access(keeper))
    talk.say(30, 3, create_acls.Request([a_creation()]))
    assert talk.replies() == []
    assert list(talk.access.rules) == []
    keeper.keeping.finish(None)
    [(_, body)] = talk.replies()
    assert talk.read(30, 3, create_acls.Response, body).results[0].error_code == 0
    assert len(talk.access.rules) == 1


def test_without_users_there_are_no_rules():
    talk = a_talk(access=open_access())
    assert created(talk, a_creation(), a_creation()) == [DISABLED, DISABLED]
    assert removed(talk, a_filter(delete_acls.Filter)) == [DISABLED]
    answer = talk.ask(29, 3, a_filter(describe_acls.Request), describe_acls.Response)
    assert answer.error_code == DISABLED
