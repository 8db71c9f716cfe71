"""Every Kafka request, with each of the rights that it needs and without: made from the table.

A request of which the table or the examples know nothing fails here.
"""

import dataclasses
from functools import cache

import pytest
from door_kit import Talk
from requests_by_key import GROUP, LEFT, MEMBERS, SHARERS, TOPIC, TXN, answered, bodies
from requests_by_key import share_fetch as shares_begin
from transacting_talk import TransactingTalk

from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.covers import COVERED_BY
from logstore.access.identity import Identity
from logstore.access.resources import ALL, CHANNEL, CLUSTER, CLUSTER_NAME, QUEUE
from logstore.access.resources import GROUP as GROUPS
from logstore.access.resources import TOPIC as TOPICS
from logstore.broker.coordinator.calls import OffsetCommit
from logstore.kafka.messages import (
    consumer_group_heartbeat,
    sasl_authenticate,
    sasl_handshake,
    share_fetch,
    share_group_heartbeat,
)
from logstore.kept.groups import OffsetToCommit
from logstore.kept.users import ANYONE, KeptAccess, KeptRule, KeptUser
from logstore.protocols.kafka.apis import API_VERSIONS, APIS
from logstore.protocols.kafka.asks import ASKS, CODES, When
from logstore.protocols.kafka.errors import SASL_AUTHENTICATION_FAILED

AL = "al"
HANDSHAKE, AUTHENTICATE = 17, 36
USERS = (KeptUser("root", tags=(ADMINISTRATOR,)), KeptUser(AL))
REFUSED = set(CODES.values())
# What a client may do with an object is told on top, by these requests.
TELLS = {
    3: {TOPICS, CLUSTER},
    15: {GROUPS},
    60: {CLUSTER},
    69: {GROUPS},
    75: {TOPICS},
    77: {GROUPS},
}
ASKING = [key for key in APIS if ASKS[key]]
ALSO = {3: {8}}  # versions 8 to 10 tell what may be done with the cluster
WITH_CODE = {35: 3}  # the first version with a code for all of it
OLDEST = {key: 3 if key == 0 else APIS[key].low for key in ASKING}  # that is carried out


def with_their_versions(keys):
    """Of each the first and the last; of a long run, all."""
    for key in keys:
        name, low, high = APIS[key].name, OLDEST[key], APIS[key].high
        yield pytest.param(key, sorted({low, high} | ALSO.get(key, set())), id=name)
        if high - low > 1:
            between = range(low + 1, high)
            yield pytest.param(key, between, id=f"{name}-between", marks=pytest.mark.long)


every_request = pytest.mark.parametrize(("key", "versions"), [*with_their_versions(ASKING)])


class Recorded(Access):
    """Which rights were asked for."""

    def __init__(self, rules):
        super().__init__(Unkept(KeptAccess(USERS, rules)))
        self.asked = set()

    def decision(self, who, operation, kind, name):
        if who.user == AL:
            self.asked.add((operation, kind))
        return super().decision(who, operation, kind, name)

    def decision_some(self, who, operation, kind):
        self.asked.add((operation, kind))
        return super().decision_some(who, operation, kind)


class Told:
    def __init__(self):
        self.lines = []

    def tell(self, who, operation, kind, name, why):
        self.lines.append((who.principal, operation, kind, name))


def a_rule(operation, kind, *, allow=True):
    return KeptRule(AL, operation, kind, CLUSTER_NAME if kind == CLUSTER else ANYONE, allow=allow)


def _rules(key):
    return [a_rule(it.operation, it.kind) for it in ASKS[key]]


@cache
def with_all(key, version):
    return Outcome(key, version, _rules(key))


@cache
def with_none(key, version):
    return Outcome(key, version, [])


class Outcome:
    """What becomes of the requests of one kind under these rules."""

    def __init__(self, key, version, rules, user=AL):
        self.key, self.version = key, version
        self._access, self._told = Recorded(rules), Told()
        node = TransactingTalk(access=self._access)
        object.__setattr__(node.door, "refusals", self._told)
        topic = _furnished(node)
        self.answers = [
            self._answer(TransactingTalk(beside=node), it, user)
            for it in bodies(key, version, topic.uuid)
        ]
        self.asked = self._access.asked
        self.told = {(operation, kind) for _, operation, kind, _ in self._told.lines}
        self.codes = set().union(*map(_codes, self.answers)) & REFUSED

    def _answer(self, talk, body, user):
        log_in(talk, user)
        talk.send(self.key, self.version, body)
        talk.node.settle()
        [(_, answer)] = talk.replies()
        assert talk.session.closed is None
        return answered(self.key, self.version, answer)


def log_in(talk, user):
    client = talk.session._client
    talk.session._login = None
    client.become(Identity(user, client.peer[0], "PLAIN", "kafka"))


def _furnished(node):
    """A topic, groups with offsets or members, share sessions, and a transactional id."""
    topic = node.topics.create(TOPIC, 1, {})
    offsets = {(TOPIC, 0): OffsetToCommit(0)}
    node.coordinator.commit(OffsetCommit(GROUP, offsets, -1, "", None), 0, lambda _: None)
    root = TransactingTalk(beside=node)
    log_in(root, "root")
    root.producer(TXN)
    beat = consumer_group_heartbeat.Request(
        MEMBERS, "m", 0, rebalance_timeout_ms=60_000, subscribed_topic_names=[TOPIC],
        topic_partitions=[],
    )  # fmt: skip
    assert root.ask(68, 0, beat, consumer_group_heartbeat.Response).error_code == 0
    share = share_group_heartbeat.Request(SHARERS, "m", 0, None, [TOPIC])
    assert root.ask(76, 1, share, share_group_heartbeat.Response).error_code == 0
    for group in (SHARERS, LEFT):
        fetch = shares_begin(share_fetch, topic.uuid, group)
        assert root.ask(78, 2, fetch, share_fetch.Response).error_code == 0
    return topic


def _codes(message):
    if isinstance(message, (list, tuple)):
        return set().union(*map(_codes, message))
    if not dataclasses.is_dataclass(message):
        return set()
    found = set()
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        found |= {value} if field.name.endswith("error_code") else _codes(value)
    return found


@every_request
def test_whoever_has_the_rights_is_served_and_is_asked_for_no_others(key, versions):
    named = {(it.operation, it.kind) for it in ASKS[key]}
    named |= {one for it in ASKS[key] for one in it.enough}
    if TOPICS in {kind for _, kind in named}:  # any kind that the name of a topic may stand for
        named |= {(operation, it) for operation, _ in named for it in (CHANNEL, QUEUE)}
    for version in versions:
        outcome = with_all(key, version)
        assert outcome.codes == set()
        assert outcome.told == set()
        assert {it for it in outcome.asked - named if it[1] not in TELLS.get(key, ())} == set()


@pytest.mark.parametrize("key", ASKING)
def test_every_right_that_the_table_names_is_asked_for(key):
    versions = {OLDEST[key], APIS[key].high} | ALSO.get(key, set())
    asked = set().union(*(with_all(key, it).asked for it in versions))
    asked |= set().union(*(with_none(key, it).asked for it in versions))
    assert {(it.operation, it.kind) for it in ASKS[key]} <= asked
    assert {one for it in ASKS[key] for one in it.enough} <= asked


@every_request
def test_whoever_lacks_a_right_is_refused_by_its_code_and_that_is_told(key, versions):
    for version in versions:
        served = with_all(key, version)
        for ask in dict.fromkeys((it.operation, it.kind) for it in ASKS[key]):
            if ask in served.asked:  # by this version
                rules = [*_without(key, *ask)], [*_rules(key), a_rule(*ask, allow=False)]
                for outcome in (Outcome(key, version, it) for it in rules):
                    _check_refused(outcome, served, *ask)


def _check_refused(outcome, served, operation, kind):
    key = outcome.key
    when = {it.when for it in ASKS[key] if (it.operation, it.kind) == (operation, kind)}
    if when != {When.SHOWN}:
        assert (operation, kind) in outcome.told
        if outcome.version >= WITH_CODE.get(key, 0):
            assert CODES[kind] in outcome.codes
        else:
            assert outcome.answers != served.answers
    elif outcome.version == APIS[key].high:  # older ones may have no field for it
        assert outcome.answers != served.answers
    if When.SHOWN in when and outcome.version == APIS[key].high:
        assert outcome.answers != served.answers


def _without(key, operation, kind):
    """All rights of the table but this one, and what would imply it."""
    for it in ASKS[key]:
        if it.kind != kind or it.operation not in COVERED_BY[operation]:
            yield a_rule(it.operation, it.kind)


@pytest.mark.parametrize(
    ("key", "ask", "enough"),
    [(key, ask, it) for key, asks in ASKS.items() for ask in asks for it in ask.enough],
)
def test_another_right_that_is_enough_is_enough(key, ask, enough):
    others = [a_rule(it.operation, it.kind) for it in ASKS[key] if enough not in it.enough]
    outcome = Outcome(key, APIS[key].high, [*others, a_rule(*enough)])
    assert outcome.codes == set()
    assert outcome.told == set()


@every_request
def test_whoever_has_no_right_learns_nothing(key, versions):
    for version in versions:
        outcome = with_none(key, version)
        if any(it.when is not When.SHOWN for it in ASKS[key]):
            assert outcome.codes or version < WITH_CODE.get(key, 0)
            assert outcome.told
        else:
            assert outcome.told == set()
            assert repr(GROUP) not in repr(outcome.answers)


@every_request
def test_whoever_has_no_right_is_not_told_whether_it_is_there(key, versions):
    for version in versions:
        assert _told_of(key, version, there=True) == _told_of(key, version, there=False)


def _told_of(key, version, *, there):
    """What is answered to who may do everything with other objects."""
    rules = [KeptRule(AL, ALL, TOPICS, "u"), KeptRule(AL, ALL, GROUPS, "h")]
    node = TransactingTalk(access=Access(Unkept(KeptAccess(USERS, rules))))
    node.topics.create("u", 1, {})
    if there:
        _furnished(node)
    answers = []
    for body in bodies(key, version, bytes(16)):
        talk = TransactingTalk(beside=node)
        log_in(talk, AL)
        talk.send(key, version, body)
        talk.node.settle()
        answers += [answer for _, answer in talk.replies()]
    assert answers
    return answers


@every_request
def test_a_super_user_passes_every_check(key, versions):
    for version in versions:
        outcome = Outcome(key, version, [a_rule(ALL, TOPICS, allow=False)], user="root")
        assert outcome.codes == set()
        assert outcome.told == set()


SERVED_LATER = [key for key in APIS if key not in (HANDSHAKE, AUTHENTICATE, API_VERSIONS)]


def a_frame(talk, key):
    version = APIS[key].high
    body = bodies(key, version, bytes(16))[0] if ASKS[key] else b""
    return talk.frame(key, version, body)


@pytest.mark.parametrize("key", SERVED_LATER)
def test_whoever_has_not_logged_in_is_answered_nothing(key):
    talk = Talk(access=Recorded([]))
    talk.feed(a_frame(talk, key))
    assert talk.out() == b""
    assert talk.session.closed is not None


@pytest.mark.parametrize("key", SERVED_LATER)
def test_whoever_has_a_wrong_password_is_answered_that_and_nothing_else(key):
    talk = Talk(access=Recorded([]))  # to which no password is right
    talk.say(HANDSHAKE, 1, sasl_handshake.Request("PLAIN"))
    talk.say(AUTHENTICATE, 1, sasl_authenticate.Request(b"\0root\0wrong"))
    talk.feed(a_frame(talk, key))
    talk.pass_time(10)
    [_, (_, body)] = talk.replies()
    refused = talk.read(AUTHENTICATE, 1, sasl_authenticate.Response, body)
    assert refused.error_code == SASL_AUTHENTICATION_FAILED
    assert talk.session.closed is not None
    talk.feed(a_frame(talk, key))
    assert talk.out() == b""
