"""The map of topics that can be walked: against a dictionary, and a naive matcher."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from logstore.broker.mqtt import ordered
from logstore.broker.mqtt.ordered import Ordered
from logstore.broker.mqtt.walk import Walk

# Around "/" in the order of bytes, and what wildcards treat apart.
WORDS = st.sampled_from([b"", b"a", b"a-", b"a0", b"b", b"$s", b"$", b"!", b"a\n", b"\xc3\xa4"])
TOPICS = st.lists(WORDS, min_size=1, max_size=4).map(b"/".join).filter(bool)
LEVELS = st.lists(st.one_of(WORDS, st.just(b"+")), min_size=1, max_size=4)
FILTERS = st.tuples(LEVELS, st.booleans()).map(
    lambda it: b"/".join([*it[0], *([b"#"] if it[1] else [])])
).filter(bool) | st.just(b"#")


def naive(filter_, topic):
    levels, words = filter_.split(b"/"), topic.split(b"/")
    if levels[0] in (b"+", b"#") and topic.startswith(b"$"):
        return False
    if levels[-1] == b"#":
        levels.pop()
        words = words[: len(levels)]
    return len(levels) == len(words) and all(
        level in (b"+", word) for level, word in zip(levels, words, strict=True)
    )


def walked(walk, most=1):
    found = []
    while not walk.over:
        topics, values = walk.some(most)
        assert [it[::-1] for it in topics] == values
        found += topics
    return found


@given(st.sets(TOPICS, max_size=60), FILTERS, st.integers(1, 50))
@example({b"a", b"a-", b"a/b", b"a0"}, b"a/#", 50)
@example({b"!", b"$s", b"a"}, b"#", 50)
@example({b"a/b", b"a-/b", b"a0/b", b"a"}, b"+/b", 1)
def test_a_walk_finds_what_a_naive_matcher_finds_in_order(topics, filter_, most):
    it = Ordered()
    for topic in topics:
        it.put(topic, topic[::-1])
    assert walked(Walk(it, filter_), most) == sorted(t for t in topics if naive(filter_, t))


@given(st.sets(TOPICS, max_size=40), FILTERS)
def test_what_is_there_all_the_time_is_found_once_whatever_comes_and_goes(topics, filter_):
    listed = sorted(topics)
    stays, comes = listed[::2], listed[1::2]
    it = Ordered()
    for topic in stays:
        it.put(topic, topic[::-1])
    walk, found = Walk(it, filter_), []
    for topic in comes:
        found += walk.some(1)[0] if not walk.over else []
        it.put(topic, topic[::-1])
        found += walk.some(1)[0] if not walk.over else []
        it.pop(topic)
    found += walked(walk)
    assert [t for t in found if t in stays] == [t for t in stays if naive(filter_, t)]
    assert len(found) == len(set(found))


def test_a_wildcard_looks_at_no_topics_that_lie_between():
    it = Ordered()
    for n in range(100):
        for m in range(100):
            it.put(b"d%02d/s%02d" % (n, m), b"")
    walk, looked = Walk(it, b"+/s50"), 0
    while not walk.over:
        walk.some(1)
        looked += 1
    assert looked < 500


def test_a_topic_as_long_as_can_be_counts_for_many():
    it = Ordered()
    for n in range(50):
        it.put(b"a/%02d" % n + b"/" * 65_000, b"")
    walk = Walk(it, b"a/#")
    assert len(walk.some(500)[0]) <= 4


class Model(RuleBasedStateMachine):
    """Against a dictionary, with lists of so few topics that they are parted and given up."""

    def __init__(self):
        super().__init__()
        self.most, ordered.CHUNK_MAX = ordered.CHUNK_MAX, 4
        self.it, self.model = Ordered(), {}

    def teardown(self):
        ordered.CHUNK_MAX = self.most

    @rule(topic=TOPICS, value=st.binary(max_size=2))
    def put(self, topic, value):
        assert self.it.put(topic, value) == self.model.get(topic)
        self.model[topic] = value

    @rule(topic=TOPICS)
    def pop(self, topic):
        assert self.it.pop(topic) == self.model.pop(topic, None)

    @rule(topic=TOPICS, most=st.integers(1, 9))
    def run(self, topic, most):
        topics, values = self.it.run(topic, most)
        behind = [it for it in sorted(self.model) if it >= topic]
        assert topics == behind[: len(topics)]
        assert bool(topics) == bool(behind)
        assert values == [self.model[it] for it in topics]

    @invariant()
    def same(self):
        assert list(self.it) == sorted(self.model)
        assert len(self.it) == len(self.model)
        assert all(self.it.get(topic) == value for topic, value in self.model.items())


TestOrderedAsADictionary = Model.TestCase
TestOrderedAsADictionary.settings = settings(max_examples=15, stateful_step_count=40)


def test_a_name_is_looked_up_whatever_its_levels():
    ordered, name = Ordered(), b"/" * 65_535
    ordered.put(name, b"1")
    walk = Walk(ordered, name)
    assert walk._levels == [name]
    assert walk.some(1) == ([name], [b"1"])
    assert walk.over
    assert Walk(ordered, b"a").some(1) == ([], [])
