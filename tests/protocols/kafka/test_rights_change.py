"""Rules that change between and under requests: each answer is one that the rules of then allow."""

from door_kit import Talk, a_batch, produce_body, produced
from fetch_kit import MIB, answer, asking
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.identity import Identity
from logstore.access.resources import ALL, READ, TOPIC, WRITE
from logstore.kept.users import PREFIX, KeptAccess, KeptRule, KeptUser

TOPICS, USERS = ("ta", "tb"), ("al", "bo")
FETCH, PRODUCE, NOT_ALLOWED = 1, 0, 29
RULES = st.builds(
    KeptRule,
    st.sampled_from((*USERS, "*")),
    st.sampled_from((READ, WRITE, ALL)),
    st.just(TOPIC),
    st.sampled_from((*TOPICS, "*", "t")),
    st.just("literal"),
    st.booleans(),
    st.sampled_from(("*", "192.0.2.1", "192.0.2.2")),
).map(lambda it: it if it.name != "t" else KeptRule(
    it.user, it.operation, it.kind, "t", PREFIX, it.allow, it.host
))  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), RULES),
        st.tuples(st.just("forget"), st.integers(0, 5)),
        st.tuples(st.just("fetch"), st.sampled_from(USERS), st.sampled_from(TOPICS)),
        st.tuples(st.just("produce"), st.sampled_from(USERS), st.sampled_from(TOPICS)),
        st.tuples(st.just("pass time")),
    ),
    max_size=30,
)


class Node:
    def __init__(self):
        users = (KeptUser("root", tags=(ADMINISTRATOR,)), *map(KeptUser, USERS))
        everything = [KeptRule(name, ALL, TOPIC, "*") for name in USERS]
        self.access = Access(Unkept(KeptAccess(users, everything)))
        node = Talk(access=self.access)
        for name in TOPICS:
            node.topics.create(name, 1, {})
        self.talks = {name: Talk(beside=node) for name in USERS}
        for name, talk in self.talks.items():
            talk.session._login = None
            talk.session._client.become(Identity(name, "192.0.2.1", "PLAIN", "kafka"))
        self.waiting = {}  # by user: the topic, and whether it could be read since it was asked
        self.offsets = dict.fromkeys(TOPICS, 0)

    def may(self, user, operation, topic):
        """As the rules are now, without anything that is remembered."""
        who = Identity(user, "192.0.2.1", "PLAIN", "kafka")
        return self.access.decision(who, operation, TOPIC, topic).allowed

    def keep(self, rule):
        self.access.change([rule])

    def forget(self, number):
        self.access.change(forget=self.access.rules[number : number + 1])

    def fetch(self, user, topic):
        if user not in self.waiting:  # one after the other
            self.waiting[user] = topic
            places = [(topic, 0, self.offsets[topic], MIB)]
            self.talks[user].send(FETCH, 11, asking(11, places, wait_ms=10_000))

    def produce(self, user, topic):
        if user in self.waiting:  # answers come in order
            return
        talk = self.talks[user]
        talk.send(PRODUCE, 8, produce_body(topic, a_batch(b"v"), acks=1))
        [(_, body)] = talk.replies()
        allowed = self.may(user, WRITE, topic)
        assert produced(body, topic)[0] == (0 if allowed else NOT_ALLOWED)

    def pass_time(self):
        for talk in self.talks.values():
            talk.pass_time(20)

    def look(self):
        """What those who wait are told by now."""
        for user, topic in list(self.waiting.items()):
            talk = self.talks[user]
            talk.session.wake(talk.now)
            before = talk.replies
            found = before()
            allowed = self.may(user, READ, topic)
            if not found:
                assert allowed, "what is not allowed is told at once"
                continue
            del self.waiting[user]
            talk.replies = lambda found=found: found
            [told] = [part for it in answer(talk, 11)["responses"] for part in it["partitions"]]
            talk.replies = before
            assert told["error_code"] == (0 if allowed else NOT_ALLOWED)
            assert allowed or not told["records"]


@settings(max_examples=50)
@given(STEPS)
def test_every_answer_is_one_that_the_rules_allow(steps):
    node = Node()
    for what, *facts in steps:
        getattr(node, what.replace(" ", "_"))(*facts)
        node.look()
